//! The table `inet postern`: its fixed chains and counters, and how they are written.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};

use super::Ruleset;

/// Number of this set of chains and objects. A table of another number is not refilled but made anew.
pub const SCHEMA: u32 = 1;

/// Name of the chain whose one rule says, in its comment, which ruleset this is. No packet ever visits it.
pub const ABOUT: &str = "about";

/// nft refuses a longer comment (NFTNL_UDATA_COMMENT_MAXLEN, in bytes).
pub(super) const LONGEST_COMMENT: usize = 128;

/// The chains, in the order of the listing: what a packet meets first comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Chain {
    About,
    Input,
    Forward,
    PassthroughOut,
    PassthroughIn,
    PptpOut,
    PptpIn,
    L2tpOut,
    L2tpIn,
    IpsecOut,
    IpsecIn,
    NatTraversalOut,
    NatTraversalIn,
    Related,
    Invalid,
    Srcnat,
}

impl Chain {
    pub(super) const ALL: [Self; 16] = [
        Self::About,
        Self::Input,
        Self::Forward,
        Self::PassthroughOut,
        Self::PassthroughIn,
        Self::PptpOut,
        Self::PptpIn,
        Self::L2tpOut,
        Self::L2tpIn,
        Self::IpsecOut,
        Self::IpsecIn,
        Self::NatTraversalOut,
        Self::NatTraversalIn,
        Self::Related,
        Self::Invalid,
        Self::Srcnat,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::About => ABOUT,
            Self::Input => "input",
            Self::Forward => "forward",
            Self::PassthroughOut => "passthrough_out",
            Self::PassthroughIn => "passthrough_in",
            Self::PptpOut => "pptp_out",
            Self::PptpIn => "pptp_in",
            Self::L2tpOut => "l2tp_out",
            Self::L2tpIn => "l2tp_in",
            Self::IpsecOut => "ipsec_out",
            Self::IpsecIn => "ipsec_in",
            Self::NatTraversalOut => "nat_traversal_out",
            Self::NatTraversalIn => "nat_traversal_in",
            Self::Related => "related",
            Self::Invalid => "invalid",
            Self::Srcnat => "srcnat",
        }
    }

    /// Where the kernel calls it. A nat chain must not have `policy drop`: it sees the first packet of every flow.
    fn hook(self) -> Option<&'static str> {
        match self {
            Self::Input => Some("type filter hook input priority filter; policy drop;"),
            Self::Forward => Some("type filter hook forward priority filter; policy drop;"),
            Self::Srcnat => Some("type nat hook postrouting priority srcnat; policy accept;"),
            _ => None,
        }
    }
}

impl Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The named counters: unlike a rule's own, they go on counting when the rules are swapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counter {
    /// PPTP packets let through.
    PptpPassed,
    /// PPTP packets refused.
    PptpRefused,
    /// L2TP packets let through.
    L2tpPassed,
    /// L2TP packets refused.
    L2tpRefused,
    /// IPsec packets let through.
    IpsecPassed,
    /// IPsec packets refused.
    IpsecRefused,
    /// Packets to this box that nobody asked for.
    InputDropped,
    /// Packets through this box that nobody asked for.
    ForwardDropped,
    /// Packets that fit no connection.
    InvalidDropped,
}

impl Counter {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self::PptpPassed,
        Self::PptpRefused,
        Self::L2tpPassed,
        Self::L2tpRefused,
        Self::IpsecPassed,
        Self::IpsecRefused,
        Self::InputDropped,
        Self::ForwardDropped,
        Self::InvalidDropped,
    ];

    /// Its name in the kernel.
    pub fn name(self) -> &'static str {
        match self {
            Self::PptpPassed => "pptp_passed",
            Self::PptpRefused => "pptp_refused",
            Self::L2tpPassed => "l2tp_passed",
            Self::L2tpRefused => "l2tp_refused",
            Self::IpsecPassed => "ipsec_passed",
            Self::IpsecRefused => "ipsec_refused",
            Self::InputDropped => "input_dropped",
            Self::ForwardDropped => "forward_dropped",
            Self::InvalidDropped => "invalid_dropped",
        }
    }

    fn counts(self) -> &'static str {
        match self {
            Self::PptpPassed => "PPTP packets let through, both ways",
            Self::PptpRefused => "PPTP packets refused, both ways",
            Self::L2tpPassed => "L2TP packets let through, both ways",
            Self::L2tpRefused => "L2TP packets refused, both ways",
            Self::IpsecPassed => "IPsec packets let through, both ways",
            Self::IpsecRefused => "IPsec packets refused, both ways",
            Self::InputDropped => "packets to this box that nobody asked for",
            Self::ForwardDropped => "packets through this box that nobody asked for",
            Self::InvalidDropped => "packets that fit no connection",
        }
    }
}

/// As a statement of a rule.
impl Display for Counter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "counter name \"{}\"", self.name())
    }
}

/// The table while it is being filled.
pub(super) struct Table {
    about: String,
    pptp_helper: bool,
    rules: BTreeMap<Chain, Vec<String>>,
}

impl Table {
    /// An empty table; `standing` says what it is for. The helper object can only be declared where the kernel
    /// knows the helper; without a rule that assigns it, it does nothing.
    pub(super) fn new(standing: &str, pptp_helper: bool) -> Self {
        let about = format!("postern schema {SCHEMA}, {standing}");
        let mut table = Self { about: about.clone(), pptp_helper, rules: BTreeMap::new() };
        table.rule(Chain::About, "return", &about);
        table
    }

    /// Adds a rule with its reason, which the owner reads in `nft list table inet postern`.
    pub(super) fn rule(&mut self, chain: Chain, rule: impl Display, why: &str) {
        debug_assert!(why.len() <= LONGEST_COMMENT, "{why}");
        self.rules.entry(chain).or_default().push(format!("{rule} comment \"{why}\""));
    }

    /// The transaction.
    pub(super) fn ruleset(self) -> Ruleset {
        let mut text = String::new();
        // Writing to a String cannot fail.
        let _ = self.write(&mut text);
        Ruleset { about: Some(self.about), text }
    }

    fn write(&self, text: &mut String) -> fmt::Result {
        writeln!(text, "table inet postern {{\n\tcomment \"postern schema {SCHEMA}\"")?;
        if self.pptp_helper {
            writeln!(text, "\tct helper pptp {{\n\t\ttype \"pptp\" protocol tcp\n\t\tl3proto ip\n\t}}")?;
        }
        for counter in Counter::ALL {
            writeln!(text, "\tcounter {} {{\n\t\tcomment \"{}\"\n\t}}", counter.name(), counter.counts())?;
        }
        for chain in Chain::ALL {
            writeln!(text, "\tchain {chain} {{")?;
            if let Some(hook) = chain.hook() {
                writeln!(text, "\t\t{hook}")?;
            }
            writeln!(text, "\t}}")?;
        }
        writeln!(text, "}}\n\nflush table inet postern\n\ntable inet postern {{")?;
        for (n, (chain, rules)) in self.rules.iter().enumerate() {
            let gap = if n > 0 { "\n" } else { "" };
            writeln!(text, "{gap}\tchain {chain} {{")?;
            rules.iter().try_for_each(|rule| writeln!(text, "\t\t{rule}"))?;
            writeln!(text, "\t}}")?;
        }
        writeln!(text, "}}")
    }
}
