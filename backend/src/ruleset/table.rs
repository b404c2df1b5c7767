//! The table `inet postern`: its fixed chains and counters, and how they are written.

use std::collections::BTreeMap;
use std::fmt::{self, Display, Write};

use super::learnt::Learnt;
use super::permanent::Permanent;
use super::{Helper, Ruleset};

/// Number of this set of chains and objects. A table of another number is not refilled but made anew.
pub const SCHEMA: u32 = 2;

/// Name of the chain whose one rule says, in its comment, which ruleset this is. No packet ever visits it.
pub const ABOUT: &str = "about";

/// nft refuses a longer comment (NFTNL_UDATA_COMMENT_MAXLEN, in bytes).
pub(super) const LONGEST_COMMENT: usize = 128;

/// The chains, in the order of the listing: what a packet meets first comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Chain {
    About,
    Zone,
    Sources,
    ZoneEsp,
    ZoneIke,
    Dstnat,
    CompanionDstnat,
    Forwards,
    Input,
    CompanionBefore,
    Forward,
    CompanionForward,
    CompanionThrough,
    Share,
    ShareOver,
    PassthroughOut,
    PassthroughIn,
    PassthroughDenied,
    PptpDenied,
    L2tpDenied,
    IpsecDenied,
    PptpOut,
    PptpPlaces,
    PptpIn,
    L2tpOut,
    L2tpPlaces,
    L2tpIn,
    L2tpLearn,
    IpsecOut,
    IpsecPlaces,
    IpsecIn,
    NatTraversalOut,
    NatTraversalIn,
    EspOut,
    EspOutAgain,
    EspNew,
    EspTake,
    EspSpeak,
    EspPaid,
    EspBack,
    EspBackSure,
    EspBackAgain,
    EspMatch,
    IkeOut,
    IkeNew,
    IkeChild,
    IpsecClient,
    Refused,
    Helpers,
    Related,
    Invalid,
    Answers,
    Output,
    Srcnat,
    CompanionAfter,
}

/// Whose table it is: which of the chains that the kernel calls are there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// The router's: it decides about every packet.
    Router,
    /// A companion's: other firewalls decide, and it adds VPN passthrough.
    Companion,
}

impl Chain {
    pub(super) const ALL: [Self; 55] = [
        Self::About,
        Self::Zone,
        Self::Sources,
        Self::ZoneEsp,
        Self::ZoneIke,
        Self::Dstnat,
        Self::CompanionDstnat,
        Self::Forwards,
        Self::Input,
        Self::CompanionBefore,
        Self::Forward,
        Self::CompanionForward,
        Self::CompanionThrough,
        Self::Share,
        Self::ShareOver,
        Self::PassthroughOut,
        Self::PassthroughIn,
        Self::PassthroughDenied,
        Self::PptpDenied,
        Self::L2tpDenied,
        Self::IpsecDenied,
        Self::PptpOut,
        Self::PptpPlaces,
        Self::PptpIn,
        Self::L2tpOut,
        Self::L2tpPlaces,
        Self::L2tpIn,
        Self::L2tpLearn,
        Self::IpsecOut,
        Self::IpsecPlaces,
        Self::IpsecIn,
        Self::NatTraversalOut,
        Self::NatTraversalIn,
        Self::EspOut,
        Self::EspOutAgain,
        Self::EspNew,
        Self::EspTake,
        Self::EspSpeak,
        Self::EspPaid,
        Self::EspBack,
        Self::EspBackSure,
        Self::EspBackAgain,
        Self::EspMatch,
        Self::IkeOut,
        Self::IkeNew,
        Self::IkeChild,
        Self::IpsecClient,
        Self::Refused,
        Self::Helpers,
        Self::Related,
        Self::Invalid,
        Self::Answers,
        Self::Output,
        Self::Srcnat,
        Self::CompanionAfter,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::About => ABOUT,
            Self::Input => "input",
            Self::Forward => "forward",
            Self::Share => "share",
            Self::ShareOver => "share_over",
            Self::PassthroughOut => "passthrough_out",
            Self::PassthroughIn => "passthrough_in",
            Self::PassthroughDenied => "passthrough_denied",
            Self::PptpDenied => "pptp_denied",
            Self::L2tpDenied => "l2tp_denied",
            Self::IpsecDenied => "ipsec_denied",
            Self::PptpPlaces => "pptp_places",
            Self::L2tpPlaces => "l2tp_places",
            Self::IpsecPlaces => "ipsec_places",
            Self::PptpOut => "pptp_out",
            Self::PptpIn => "pptp_in",
            Self::L2tpOut => "l2tp_out",
            Self::L2tpIn => "l2tp_in",
            Self::L2tpLearn => "l2tp_learn",
            Self::IpsecOut => "ipsec_out",
            Self::IpsecIn => "ipsec_in",
            Self::NatTraversalOut => "nat_traversal_out",
            Self::NatTraversalIn => "nat_traversal_in",
            Self::Helpers => "helpers",
            Self::Related => "related",
            Self::Invalid => "invalid",
            Self::Zone => "zone",
            Self::Sources => "sources",
            Self::ZoneEsp => "zone_esp",
            Self::ZoneIke => "zone_ike",
            Self::Dstnat => "dstnat",
            Self::Forwards => "forwards",
            Self::Answers => "answers",
            Self::Output => "output",
            Self::EspOut => "esp_out",
            Self::EspOutAgain => "esp_out_again",
            Self::EspNew => "esp_new",
            Self::EspTake => "esp_take",
            Self::EspSpeak => "esp_speak",
            Self::EspPaid => "esp_paid",
            Self::EspBack => "esp_back",
            Self::EspBackSure => "esp_back_sure",
            Self::EspBackAgain => "esp_back_again",
            Self::EspMatch => "esp_match",
            Self::IkeOut => "ike_out",
            Self::IkeNew => "ike_new",
            Self::IkeChild => "ike_child",
            Self::IpsecClient => "ipsec_client",
            Self::Refused => "refused",
            Self::Srcnat => "srcnat",
            Self::CompanionDstnat => "companion_dstnat",
            Self::CompanionBefore => "companion_before",
            Self::CompanionForward => "companion_forward",
            Self::CompanionThrough => "companion_through",
            Self::CompanionAfter => "companion_after",
        }
    }

    /// Whether it is there. What the kernel calls in one standing only must be gone in the other: a chain `input` that drops by
    /// its policy would close a companion's box.
    pub(super) fn stands(self, standing: Standing) -> bool {
        match self {
            Self::Dstnat
            | Self::Input
            | Self::Forward
            | Self::Share
            | Self::ShareOver
            | Self::Answers
            | Self::Srcnat => standing == Standing::Router,
            Self::CompanionDstnat
            | Self::CompanionBefore
            | Self::CompanionForward
            | Self::CompanionThrough
            | Self::CompanionAfter => standing == Standing::Companion,
            _ => true,
        }
    }

    /// Which chain does in `standing` what this one does for a router.
    fn of(self, standing: Standing) -> Self {
        match (self, standing) {
            (Self::Forward, Standing::Companion) => Self::CompanionForward,
            (Self::Dstnat, Standing::Companion) => Self::CompanionDstnat,
            _ => self,
        }
    }

    /// Where the kernel calls it. A nat chain must not have `policy drop`: it sees the first packet of every flow.
    fn hook(self) -> Option<&'static str> {
        match self {
            Self::Input => Some("type filter hook input priority filter; policy drop;"),
            Self::Forward => Some("type filter hook forward priority filter; policy drop;"),
            // Before the conntrack lookup (-200), which looks in the zone that is set here, and after defragmentation (-400).
            Self::Zone => Some("type filter hook prerouting priority -310; policy accept;"),
            Self::Dstnat => Some("type nat hook prerouting priority dstnat; policy accept;"),
            // Before the conntrack lookup, as above.
            Self::Answers => Some("type filter hook output priority -310; policy accept;"),
            Self::Output => Some("type filter hook output priority filter; policy accept;"),
            Self::Srcnat => Some("type nat hook postrouting priority srcnat; policy accept;"),
            // Before the others' translation: what a device of the home waits for goes first, and it is little (see `companion.rs`).
            Self::CompanionDstnat => Some("type nat hook prerouting priority dstnat - 5; policy accept;"),
            // Before and after whatever others do in `forward` (firewalld has 10, `security` is 50), so that what comes and what is
            // left of it can be told apart.
            Self::CompanionBefore => Some("type filter hook forward priority filter - 300; policy accept;"),
            Self::CompanionForward => Some("type filter hook forward priority filter + 300; policy accept;"),
            // After source translation.
            Self::CompanionAfter => {
                Some("type filter hook postrouting priority srcnat + 300; policy accept;")
            }
            _ => None,
        }
    }
}

impl Display for Chain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Takes away the chains that do not stand in `standing`. Declared first, without their hooks, so that they can be deleted whether
/// they are there or not; their rules must be gone before.
pub(super) fn without_chains_of_others(standing: Standing) -> String {
    let others = || Chain::ALL.into_iter().filter(|chain| !chain.stands(standing));
    let declared: String = others().map(|chain| format!("\tchain {chain} {{\n\t}}\n")).collect();
    let deleted: String = others().map(|chain| format!("delete chain inet postern {chain}\n")).collect();
    // The comment of a table is that of whoever makes it first.
    let comment = format!("\tcomment \"postern schema {SCHEMA}\"\n");
    format!("table inet postern {{\n{comment}{declared}}}\nflush table inet postern\n{deleted}\n")
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
    /// IPsec packets held back while another client is paired with the same server.
    IpsecWaiting,
    /// New tunnels of one device beyond its limit.
    IpsecLimited,
    /// New SPIs of servers that were given to the likeliest client, on probation.
    IpsecProbation,
    /// Packets of servers with an SPI that could be several clients', dropped.
    IpsecUnplaced,
    /// Connections let in because FTP announced them.
    FtpLetIn,
    /// Connections let in because TFTP announced them.
    TftpLetIn,
    /// Connections let in because SIP announced them.
    SipLetIn,
    /// Connections let in because H.323 announced them.
    H323LetIn,
    /// Connections let in because IRC announced them.
    IrcLetIn,
    /// Conversations let in by port forwards and the DMZ.
    ForwardsLetIn,
    /// New connections of devices beyond their share of the connection table, refused.
    ShareRefused,
    /// Packets to this box that nobody asked for.
    InputDropped,
    /// Packets through this box that nobody asked for.
    ForwardDropped,
    /// Packets that fit no connection.
    InvalidDropped,
}

impl Counter {
    /// All of them.
    pub const ALL: [Self; 20] = [
        Self::PptpPassed,
        Self::PptpRefused,
        Self::L2tpPassed,
        Self::L2tpRefused,
        Self::IpsecPassed,
        Self::IpsecRefused,
        Self::IpsecWaiting,
        Self::IpsecLimited,
        Self::IpsecProbation,
        Self::IpsecUnplaced,
        Self::FtpLetIn,
        Self::TftpLetIn,
        Self::SipLetIn,
        Self::H323LetIn,
        Self::IrcLetIn,
        Self::ForwardsLetIn,
        Self::ShareRefused,
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
            Self::IpsecWaiting => "ipsec_waiting",
            Self::IpsecLimited => "ipsec_limited",
            Self::IpsecProbation => "ipsec_probation",
            Self::IpsecUnplaced => "ipsec_unplaced",
            Self::FtpLetIn => "ftp_let_in",
            Self::TftpLetIn => "tftp_let_in",
            Self::SipLetIn => "sip_let_in",
            Self::H323LetIn => "h323_let_in",
            Self::IrcLetIn => "irc_let_in",
            Self::ForwardsLetIn => "forwards_let_in",
            Self::ShareRefused => "share_refused",
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
            Self::IpsecWaiting => {
                "IPsec packets held back while another client is paired with the same server"
            }
            Self::IpsecLimited => "new IPsec tunnels of one device beyond its limit, dropped",
            Self::IpsecProbation => "new SPIs of servers given to the likeliest client, on probation",
            Self::IpsecUnplaced => "ESP of servers that could be for several clients, dropped",
            Self::FtpLetIn => "connections let in because FTP announced them",
            Self::TftpLetIn => "connections let in because TFTP announced them",
            Self::SipLetIn => "connections let in because SIP announced them",
            Self::H323LetIn => "connections let in because H.323 announced them",
            Self::IrcLetIn => "connections let in because IRC announced them",
            Self::ForwardsLetIn => "conversations let in by port forwards and the DMZ",
            Self::ShareRefused => "new connections beyond a device's share of the connection table, refused",
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
    standing: Standing,
    about: String,
    helpers: Vec<Helper>,
    learnt: Vec<Learnt>,
    declared: Vec<String>,
    forgotten: Vec<Learnt>,
    permanent: Vec<Permanent>,
    rules: BTreeMap<Chain, Vec<String>>,
}

impl Table {
    /// An empty table; `what` says what it is for.
    pub(super) fn new(standing: Standing, what: &str) -> Self {
        let about = format!("postern schema {SCHEMA}, {what}");
        let mut table = Self {
            standing,
            about: about.clone(),
            helpers: Vec::new(),
            learnt: Vec::new(),
            declared: Vec::new(),
            forgotten: Vec::new(),
            permanent: Vec::new(),
            rules: BTreeMap::new(),
        };
        table.rule(Chain::About, "return", &about);
        table
    }

    /// Declares a helper, which can only be done where the kernel knows it. Without a rule that assigns it, it does nothing.
    pub(super) fn helper(&mut self, helper: Helper) {
        self.helpers.push(helper);
    }

    /// Declares sets and maps. Those of an earlier ruleset stay, with their elements, until the table is made anew.
    pub(super) fn learnt(&mut self, learnt: &[Learnt]) {
        debug_assert!(learnt.iter().all(|one| one.why.len() <= LONGEST_COMMENT));
        self.learnt.extend(learnt);
    }

    /// Declares a set that the settings have a say in, as it is written inside the table.
    pub(super) fn declare(&mut self, set: String) {
        self.declared.push(set);
    }

    /// Declares sets and maps, and empties them.
    pub(super) fn forgotten(&mut self, forgotten: &[Learnt]) {
        self.learnt(forgotten);
        self.forgotten.extend(forgotten);
    }

    /// Declares sets and maps, and fills them.
    pub(super) fn permanent(&mut self, permanent: impl IntoIterator<Item = Permanent>) {
        self.permanent.extend(permanent);
    }

    /// Adds a rule with its reason, which the owner reads in `nft list table inet postern`. A companion's `forward` and `dstnat`
    /// are chains of their own.
    pub(super) fn rule(&mut self, chain: Chain, rule: impl Display, why: &str) {
        let chain = chain.of(self.standing);
        debug_assert!(chain.stands(self.standing), "{chain}");
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
        self.helpers.iter().try_for_each(|helper| text.write_str(&helper.declared()))?;
        for counter in Counter::ALL {
            writeln!(text, "\tcounter {} {{\n\t\tcomment \"{}\"\n\t}}", counter.name(), counter.counts())?;
        }
        self.learnt.iter().try_for_each(|one| write!(text, "{one}"))?;
        self.declared.iter().try_for_each(|one| text.write_str(one))?;
        self.permanent.iter().try_for_each(|one| text.write_str(&one.declared()))?;
        for chain in Chain::ALL.into_iter().filter(|chain| chain.stands(self.standing)) {
            writeln!(text, "\tchain {chain} {{")?;
            if let Some(hook) = chain.hook() {
                writeln!(text, "\t\t{hook}")?;
            }
            writeln!(text, "\t}}")?;
        }
        writeln!(text, "}}\n\nflush table inet postern")?;
        self.forgotten.iter().try_for_each(|one| writeln!(text, "{}", one.flush()))?;
        self.permanent.iter().try_for_each(|one| text.write_str(&one.filled()))?;
        writeln!(text, "\ntable inet postern {{")?;
        for (n, (chain, rules)) in self.rules.iter().enumerate() {
            let gap = if n > 0 { "\n" } else { "" };
            writeln!(text, "{gap}\tchain {chain} {{")?;
            rules.iter().try_for_each(|rule| writeln!(text, "\t\t{rule}"))?;
            writeln!(text, "\t}}")?;
        }
        writeln!(text, "}}")
    }
}
