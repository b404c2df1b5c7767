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
    /// Nothing that nft shows: rules of the kernel's old iptables, as a rule.
    Hidden,
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
    let mut ways: BTreeMap<&str, Way> = BTreeMap::new();
    for line in trace.lines() {
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
        let (table, rest) = (format!("{family} {name}"), words.next().unwrap_or_default());
        if kind == "packet:" || self.entry.0 != table {
            self.entry = (table.clone(), chain.to_owned());
        }
        if kind == "rule"
            && let Some(rule) = rest.strip_suffix(" (verdict drop)")
        {
            let (entry, chain) = (self.entry.1.clone(), chain.to_owned());
            self.dropper = Some(Dropper::Rule { table, entry, chain, rule: rule.to_owned() });
        } else if kind == "policy" && rest == "drop" {
            self.dropper = Some(Dropper::Policy { table, chain: chain.to_owned() });
        }
    }
}

/// Rules of others that keep packets from conntrack: table, chain and rule, from `nft list ruleset`.
pub fn notracks(listing: &str) -> Vec<(String, String, String)> {
    let (mut table, mut chain, mut all) = ("", "", Vec::new());
    for line in listing.lines() {
        if let Some(name) = line.strip_prefix("table ").and_then(|rest| rest.strip_suffix(" {")) {
            table = name;
        } else if let Some(name) = line.strip_prefix("\tchain ").and_then(|rest| rest.strip_suffix(" {")) {
            chain = name;
        } else if table != "inet postern" && line.split_whitespace().any(|word| word == "notrack") {
            all.push((table.to_owned(), chain.to_owned(), line.trim().to_owned()));
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
    fn notrack_is_found_where_it_stands() {
        let listing = "table inet postern {\n\tchain x {\n\t\tnotrack\n\t}\n}\ntable ip raw {\n\tchain PREROUTING {\n\
            \t\ttype filter hook prerouting priority raw; policy accept;\n\t\tudp dport 1701 notrack\n\t}\n}\n";
        let found = [("ip raw".to_owned(), "PREROUTING".to_owned(), "udp dport 1701 notrack".to_owned())];
        assert_eq!(notracks(listing), found);
    }
}
