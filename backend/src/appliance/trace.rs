//! Reads what `nft monitor trace` tells of packets: which rule of whom dropped one. The lines are nft's words, so nothing is
//! decided by them; they name what packets have shown already.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Who dropped a packet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Dropper {
    /// A rule.
    Rule {
        /// Family and name of its table, for example `inet fw4`.
        table: String,
        /// The chain that the kernel calls and that led to it.
        entry: String,
        /// The chain that it is in.
        chain: String,
        /// As nft writes it.
        rule: String,
    },
    /// The policy of a chain.
    Policy {
        /// Family and name of its table.
        table: String,
        /// The chain.
        chain: String,
    },
    /// Any of these rules, or all of them: packets have not shown which.
    AnyOf {
        /// Each a [`Self::Rule`], at least two.
        rules: Vec<Dropper>,
    },
    /// Nothing that nft shows: rules of the kernel's old iptables, as a rule.
    Hidden,
}

impl Dropper {
    /// What is known of several; none: of none.
    pub(super) fn of(mut rules: Vec<Self>) -> Option<Self> {
        match rules.len() {
            0 => None,
            1 => rules.pop(),
            _ => Some(Self::AnyOf { rules }),
        }
    }
}

/// What others have written, as a page or a terminal may show it: without control characters, and without those that turn the order
/// of what is read (Unicode's bidirectional controls).
pub(super) fn shown(text: &str) -> String {
    let turns = |c| matches!(c, '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
    text.chars().map(|c| if c.is_control() || turns(c) { '\u{fffd}' } else { c }).collect()
}

/// nft writes a comment or a log prefix with the line breaks in it, and has no escapes: a line that stands between quotes is none. The
/// same text, with each such break shown ([`shown`]); none: a quote is left open, and which lines are quoted is not known.
pub(super) fn unquoted(text: &str) -> Option<String> {
    let mut quoted = false;
    let breaks = |c: char| {
        quoted ^= c == '"';
        if quoted && c == '\n' { '\u{fffd}' } else { c }
    };
    let text: String = text.chars().map(breaks).collect();
    (!quoted).then_some(text)
}

/// A table (with its family) and a chain may stand in a command for root: nft's own names can, and nothing else does. The kernel takes
/// any bytes.
pub(super) fn can_be_named(table: &str, chain: &str) -> bool {
    let plain = |name: &str| {
        name.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-'))
    };
    let family = |family: &str| ["ip", "ip6", "inet", "arp", "bridge", "netdev"].contains(&family);
    table.split_once(' ').is_some_and(|(of, name)| family(of) && plain(name)) && plain(chain)
}

/// A rule without what it has counted, as it may be shown.
pub(super) fn tidy(rule: &str) -> String {
    let rule = shown(rule);
    let mut words = rule.split(' ').peekable();
    let mut all: Vec<&str> = Vec::new();
    while let Some(word) = words.next() {
        all.push(word);
        if word == "counter" && words.next_if_eq(&"packets").is_some() {
            // How many packets, `bytes`, and how many of those.
            words.by_ref().take(3).for_each(drop);
        }
    }
    all.join(" ")
}

/// Before the others' rules, and after them; see `companion.rs` of the ruleset.
const BEFORE: &str = "inet postern companion_before ";
const OURS: &str = "inet postern ";
const AFTER: &str = "inet postern companion_forward ";

/// What is known of one packet.
#[derive(Default)]
struct Way {
    /// Its table, and the chain of that one which the kernel called last.
    entry: (String, String),
    begun: bool,
    through: bool,
    dropper: Option<Dropper>,
}

/// Who dropped the packets of this trace, if they were dropped; the last one counts. A packet whose trace ends without a word
/// was dropped by what nft does not show: `ended` says that nothing more can come.
pub fn dropper(trace: &str, ended: bool) -> Option<Dropper> {
    let whole = unquoted(trace);
    let mut ways: BTreeMap<&str, Way> = BTreeMap::new();
    for line in whole.as_deref().unwrap_or(trace).lines() {
        let Some((id, what)) = line.strip_prefix("trace id ").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        ways.entry(id).or_default().hear(what.trim_end());
    }
    if let Some(dropper) = ways.values().rev().find_map(|way| way.dropper.clone()) {
        return Some(dropper);
    }
    let vanished = |way: &Way| way.begun && !way.through;
    (ended && !ways.is_empty() && ways.values().all(vanished)).then_some(Dropper::Hidden)
}

impl Way {
    fn hear(&mut self, what: &str) {
        self.begun |= what.starts_with(BEFORE);
        self.through |= what.starts_with(AFTER);
        if what.starts_with(OURS) {
            return;
        }
        let mut words = what.splitn(5, ' ');
        let (Some(family), Some(name), Some(chain), Some(kind)) =
            (words.next(), words.next(), words.next(), words.next())
        else {
            return;
        };
        let (table, chain) = (shown(&format!("{family} {name}")), shown(chain));
        let rest = words.next().unwrap_or_default();
        if kind == "packet:" || self.entry.0 != table {
            self.entry = (table.clone(), chain.clone());
        }
        if kind == "rule"
            && let Some(rule) = rest.strip_suffix(" (verdict drop)")
        {
            let entry = self.entry.1.clone();
            self.dropper = Some(Dropper::Rule { table, entry, chain, rule: tidy(rule) });
        } else if kind == "policy" && rest == "drop" {
            self.dropper = Some(Dropper::Policy { table, chain });
        }
    }
}

/// The rules of others that packets of this trace have met, of those that are `wanted`; each once.
pub fn met(trace: &str, wanted: &dyn Fn(&str) -> bool) -> Vec<Dropper> {
    let mut all = Vec::new();
    let whole = unquoted(trace);
    for line in whole.as_deref().unwrap_or(trace).lines() {
        let what = line
            .strip_prefix("trace id ")
            .and_then(|rest| rest.split_once(' '))
            .map(|(_, what)| what.trim_end());
        let Some(what) = what.filter(|what| !what.starts_with(OURS)) else { continue };
        let mut words = what.splitn(5, ' ');
        let (Some(family), Some(name), Some(chain), Some("rule"), Some(rest)) =
            (words.next(), words.next(), words.next(), words.next(), words.next())
        else {
            continue;
        };
        let rule = rest.rsplit_once(" (verdict ").map_or(rest, |(rule, _)| rule);
        if wanted(rule) {
            let (table, chain) = (shown(&format!("{family} {name}")), shown(chain));
            let one = Dropper::Rule { table, entry: chain.clone(), chain, rule: tidy(rule) };
            if !all.contains(&one) {
                all.push(one);
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGIN: &str = "trace id 1f inet postern companion_before packet: iif \"lan0\" oif \"wan0\" udp dport 1701 \n\
        trace id 1f inet postern companion_before rule ip saddr . ip daddr @traced meta nftrace set 1 (verdict continue)\n\
        trace id 1f inet postern companion_before policy accept \n\
        trace id 1f inet fw4 mangle_forward packet: iif \"lan0\" oif \"wan0\" udp dport 1701 \n\
        trace id 1f inet fw4 mangle_forward policy accept \n";

    #[test]
    fn a_rule_is_named_with_the_chain_that_led_to_it() {
        let trace = format!(
            "{BEGIN}trace id 1f inet fw4 forward packet: iif \"lan0\" oif \"wan0\" \n\
             trace id 1f inet fw4 forward rule iifname \"lan0\" jump forward_lan (verdict jump forward_lan)\n\
             trace id 1f inet fw4 forward_lan rule udp dport 1701 jump handle_reject (verdict jump handle_reject)\n\
             trace id 1f inet fw4 handle_reject rule reject comment \"!fw4: Reject\" (verdict drop)\n"
        );
        let named = Dropper::Rule {
            table: "inet fw4".into(),
            entry: "forward".into(),
            chain: "handle_reject".into(),
            rule: "reject comment \"!fw4: Reject\"".into(),
        };
        assert_eq!(dropper(&trace, false), Some(named));
    }

    #[test]
    fn a_comment_with_line_breaks_forges_no_line_and_no_name_with_a_shells_letters_is_one() {
        let forged = "trace id 1f inet mine pre rule udp dport 1701 comment \"x\ntrace id 1f ip $(id) pre rule drop (verdict drop)\n\" \
                      (verdict continue)\n";
        assert_eq!(dropper(&format!("{BEGIN}{forged}"), false), None);
        assert_eq!(met(forged, &|rule| rule.ends_with("drop")), []);
        assert_eq!(unquoted("a \"b\nc\"\nd").as_deref(), Some("a \"b\u{fffd}c\"\nd"));
        assert_eq!(
            (unquoted("a \"b\nc"), tidy("x \u{1b}[2J\u{202e}y")),
            (None, "x \u{fffd}[2J\u{fffd}y".into())
        );
        for (table, chain, can) in [
            ("inet fw4", "forward_lan", true),
            ("ip filter", "ufw-before-forward", true),
            ("inet $(id)", "forward", false),
            ("inet fw4", "a;b", false),
            ("inet fw4", "--help", false),
            ("other fw4", "forward", false),
            ("fw4", "forward", false),
        ] {
            assert_eq!(can_be_named(table, chain), can, "{table} {chain}");
        }
    }

    #[test]
    fn a_policy_is_named_and_what_passes_or_is_ours_is_not() {
        let policy = format!(
            "{BEGIN}trace id 1f ip filter FORWARD packet: iif \"lan0\" \ntrace id 1f ip filter FORWARD policy drop \n"
        );
        let named = Dropper::Policy { table: "ip filter".into(), chain: "FORWARD".into() };
        assert_eq!(dropper(&policy, false), Some(named));
        let passed = format!("{BEGIN}trace id 1f inet postern companion_forward packet: iif \"lan0\" \n");
        assert_eq!(dropper(&passed, true), None);
        let ours = format!("{passed}trace id 1f inet postern refused rule reject (verdict drop)\n");
        assert_eq!(dropper(&ours, true), None);
    }

    #[test]
    fn who_vanishes_without_a_word_was_dropped_by_what_nft_does_not_show_and_only_at_the_end() {
        assert_eq!(dropper(BEGIN, false), None);
        assert_eq!(dropper(BEGIN, true), Some(Dropper::Hidden));
        assert_eq!(dropper("", true), None, "no packet came");
        assert_eq!(dropper("Error: no permission", true), None);
    }

    #[test]
    fn the_rules_that_a_packet_has_met_are_named_and_not_what_else_there_is() {
        let trace = "trace id 1f inet postern zone packet: iif \"lan0\" \n\
            trace id 1f ip raw PREROUTING packet: iif \"lan0\" \n\
            trace id 1f ip raw PREROUTING rule udp dport 1701 counter packets 3 bytes 99 notrack (verdict continue)\n\
            trace id 2f ip raw PREROUTING rule udp dport 1701 counter packets 4 bytes 132 notrack (verdict continue)\n\
            trace id 1f inet postern x rule notrack (verdict continue)\n\
            trace id 1f inet mine pre rule iifname \"lan0\" jump other (verdict jump other)\n";
        let rule = |rule: &str| Dropper::Rule {
            table: "ip raw".into(),
            entry: "PREROUTING".into(),
            chain: "PREROUTING".into(),
            rule: rule.into(),
        };
        let notrack = |rule: &str| rule.ends_with("notrack");
        assert_eq!(met(trace, &notrack), [rule("udp dport 1701 counter notrack")]);
        assert_eq!(met("", &notrack), []);
        assert_eq!((Dropper::of(vec![]), Dropper::of(vec![rule("x")])), (None, Some(rule("x"))));
    }
}
