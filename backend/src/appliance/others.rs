//! Rules of others that reach into passthrough, as `nft list ruleset` prints them. Nothing is decided by these words: they tell the
//! owner where to look, and what does not work beside them.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use super::trace::{Dropper, can_be_named, shown, tidy, unquoted};
use crate::ruleset::Vpn;
use crate::settings::Settings;

/// What is in all tables but ours.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Others {
    /// Rules that keep packets from conntrack.
    pub(super) notracks: Vec<Dropper>,
    /// Rules that attach a conntrack helper, each with the kernel's name of it; none: not shown.
    pub(super) helpers: Vec<(Option<String>, Dropper)>,
    /// Rules that put known IKE (UDP from port 500 to 500) into a flow table.
    pub(super) offloads: Vec<Dropper>,
    /// Table and chain where source addresses are translated.
    pub(super) srcnat: Option<(String, String)>,
    /// Family and name of each table.
    pub(super) tables: BTreeSet<String>,
    /// Some are written by iptables.
    pub(super) iptables: bool,
}

/// How nft shows a helper that iptables attaches: not which it is (xt_CT has no translation for it).
const TARGET: &str = "target CT";

impl Others {
    /// Out of `nft --stateless list ruleset`.
    pub(super) fn read(listing: &str) -> Self {
        let mut others = Self::default();
        let (mut table, mut chain, mut object) = ("", "", "");
        // The kernel's names of helpers, by table and object. nft lists objects before the rules that use them.
        let mut objects: BTreeMap<(&str, &str), &str> = BTreeMap::new();
        // IKE that an earlier rule of the chain has let through does not come to the rule with the flow table.
        let mut spared = false;
        let whole = unquoted(listing);
        for line in whole.as_deref().unwrap_or(listing).lines() {
            if let Some(name) = line.strip_prefix("table ").and_then(|rest| rest.strip_suffix(" {")) {
                table = name;
                if name != OURS {
                    others.tables.insert(shown(name));
                }
            } else if let Some(name) = line.strip_prefix("\tchain ").and_then(|rest| rest.strip_suffix(" {"))
            {
                (chain, spared) = (name, false);
                others.iptables |= table.starts_with("ip") && IPTABLES.contains(&name);
            } else if let Some(name) =
                line.strip_prefix("\tct helper ").and_then(|rest| rest.strip_suffix(" {"))
            {
                object = name;
            } else if let Some(name) =
                line.strip_prefix("\t\ttype \"").and_then(|rest| rest.split('"').next())
            {
                objects.insert((table, object), name);
            } else if line.starts_with("\t\ttype nat hook postrouting")
                && table != OURS
                && !table.starts_with("ip6")
                && can_be_named(table, chain)
            {
                others.srcnat.get_or_insert_with(|| (table.to_owned(), chain.to_owned()));
            } else if table != OURS && line.starts_with("\t\t") {
                let rule = line.trim();
                let attached = helper(rule).and_then(|object| objects.get(&(table, object)).copied());
                others.rule(table, chain, rule, attached, &mut spared);
            }
        }
        others
    }

    fn rule(&mut self, table: &str, chain: &str, rule: &str, attached: Option<&str>, spared: &mut bool) {
        let named = || Dropper::Rule {
            table: shown(table),
            entry: shown(chain),
            chain: shown(chain),
            rule: tidy(rule),
        };
        if keeps_from_conntrack(rule) {
            self.notracks.push(named());
        }
        if helper(rule).is_some() || rule.contains(TARGET) {
            self.helpers.push((attached.map(str::to_owned), named()));
        }
        let ike = [Packet { protocol: "udp", port: Some(500) }];
        let what = rule.split(" comment ").next().unwrap_or_default();
        if what.contains("flow add @") || what.contains("flow offload @") {
            if !*spared && meets(what, &ike) {
                self.offloads.push(named());
            }
        } else {
            *spared |= spares_ike(what);
        }
    }

    /// The rules that attach this helper, or may.
    pub(super) fn attach(&self, name: &str) -> Vec<Dropper> {
        let these =
            self.helpers.iter().filter(|(attached, _)| attached.as_deref().is_none_or(|one| one == name));
        these.map(|(_, rule)| rule.clone()).collect()
    }

    /// Whether firewalld is here.
    pub(super) fn firewalld(&self) -> bool {
        self.tables.contains("inet firewalld")
    }
}

/// What tells the rules of others, as `nft --stateless list ruleset` prints them, from other ones: without our table, and without
/// elements that time alone changes.
pub(super) fn theirs(listing: &str) -> u64 {
    let whole = unquoted(listing);
    let (mut ours, mut hasher) = (false, DefaultHasher::new());
    for line in whole.as_deref().unwrap_or(listing).lines() {
        if let Some(table) = line.strip_prefix("table ") {
            ours = table.strip_suffix(" {") == Some(OURS);
        }
        if !ours && !line.contains(" expires ") {
            line.hash(&mut hasher);
        }
    }
    hasher.finish()
}

const OURS: &str = "inet postern";
/// Chains of iptables, which nobody else writes in capitals.
const IPTABLES: [&str; 3] = ["FORWARD", "PREROUTING", "POSTROUTING"];

/// Whether a rule does that.
pub(super) fn keeps_from_conntrack(rule: &str) -> bool {
    rule.split(" comment ").next().unwrap_or_default().split_whitespace().any(|word| word == "notrack")
}

/// The helper object that a rule attaches.
fn helper(rule: &str) -> Option<&str> {
    rule.split("ct helper set \"").nth(1)?.split('"').next()
}

/// No known IKE comes past this rule, for sure: it looks at nothing but protocol, ports and state, and lets it through.
fn spares_ike(rule: &str) -> bool {
    const WORDS: [&str; 4] = ["udp sport ", "udp dport ", "meta l4proto ", "ct state "];
    let Some(mut rest) = ["accept", "return"].iter().find_map(|end| rule.trim_end().strip_suffix(end)) else {
        return false;
    };
    while !rest.is_empty() {
        if let Some(after) = rest.strip_prefix("counter ") {
            rest = match after.strip_prefix("packets ") {
                Some(counted) => counted.splitn(4, ' ').nth(3).unwrap_or_default(),
                None => after,
            };
            continue;
        }
        let Some(key) = WORDS.into_iter().find(|key| rest.starts_with(key)) else { return false };
        let value = &rest[key.len()..];
        let parted = match value.strip_prefix("{ ") {
            Some(set) => set.split_once(" } "),
            None => value.split_once(' '),
        };
        let Some((value, after)) = parted else { return false };
        let number = |text: &str| text.parse::<u16>().ok();
        let covers = |one: &str| match key {
            "meta l4proto " => one == "udp" || one == "17",
            "ct state " => one == "established",
            _ => {
                let (from, to) = one.split_once('-').unwrap_or((one, one));
                number(from).zip(number(to)).is_some_and(|(from, to)| (from..=to).contains(&500))
            }
        };
        // A negation (`!= 53`) is none of these either.
        if !value.split(',').any(|one| covers(one.trim())) {
            return false;
        }
        rest = after;
    }
    true
}

/// Those of `rules` that could be about packets of this protocol.
pub(super) fn about(rules: &[Dropper], vpn: Vpn, settings: &Settings) -> Vec<Dropper> {
    let packets = packets(vpn, settings);
    let meets = |one: &&Dropper| match one {
        Dropper::Rule { rule, .. } => meets(rule.split(" comment ").next().unwrap_or_default(), &packets),
        _ => true,
    };
    rules.iter().filter(meets).cloned().collect()
}

/// A kind of packet that leaves the home, by transport protocol as nft names it and server's port.
struct Packet {
    protocol: &'static str,
    port: Option<u16>,
}

fn packets(vpn: Vpn, settings: &Settings) -> Vec<Packet> {
    let of = |protocol, ports: &[u16]| -> Vec<Packet> {
        ports.iter().map(|port| Packet { protocol, port: Some(*port) }).collect()
    };
    let passthrough = &settings.passthrough;
    let mut all = match vpn {
        Vpn::Pptp => of("tcp", &passthrough.pptp.ports.iter().map(|port| port.number()).collect::<Vec<_>>()),
        Vpn::L2tp => of("udp", &passthrough.l2tp.ports.iter().map(|port| port.number()).collect::<Vec<_>>()),
        Vpn::Ipsec => of("udp", &[500, 4500]),
    };
    match vpn {
        Vpn::Pptp => all.push(Packet { protocol: "gre", port: None }),
        Vpn::Ipsec => all.push(Packet { protocol: "esp", port: None }),
        Vpn::L2tp => {}
    }
    all
}

/// Whether any of these could match a rule, by its protocol and ports. Addresses, ports of ours and sets by name are not looked at:
/// then it could.
fn meets(rule: &str, packets: &[Packet]) -> bool {
    packets.iter().any(|packet| {
        let other = ["tcp", "udp"].into_iter().filter(|name| *name != packet.protocol);
        let only_other =
            other.into_iter().any(|name| rule.contains(&format!("{name} ")) && of_ports(rule, name));
        let protocol = ["meta l4proto ", "ip protocol "].iter().all(|key| {
            values(rule, key).is_none_or(|(not, all)| not != all.iter().any(|one| same(one, packet.protocol)))
        });
        let keys = [format!("{} dport ", packet.protocol), "th dport ".to_owned()];
        let port = keys.iter().all(|key| match (values(rule, key), packet.port) {
            (None, _) => true,
            (Some(_), None) => false,
            (Some((not, all)), Some(port)) => not != all.iter().any(|one| covers(one, port)),
        });
        !only_other && protocol && port
    })
}

/// It looks at ports or flags of this protocol, so no other one meets it.
fn of_ports(rule: &str, protocol: &str) -> bool {
    ["dport", "sport", "flags"].iter().any(|what| rule.contains(&format!("{protocol} {what} ")))
}

/// What follows `key`: whether it is negated, and the values.
fn values<'a>(rule: &'a str, key: &str) -> Option<(bool, Vec<&'a str>)> {
    let rest = &rule[rule.find(key)? + key.len()..];
    let (not, rest) = rest.strip_prefix("!= ").map_or((false, rest), |rest| (true, rest));
    let all = match rest.strip_prefix("{ ") {
        Some(set) => set.split(" }").next().unwrap_or_default().split(", ").collect(),
        None => vec![rest.split(' ').next().unwrap_or_default()],
    };
    Some((not, all))
}

fn same(one: &str, protocol: &str) -> bool {
    let number = match protocol {
        "tcp" => "6",
        "udp" => "17",
        "gre" => "47",
        _ => "50",
    };
    one == protocol || one == number || one.starts_with('@')
}

fn covers(range: &str, port: u16) -> bool {
    let number = |text: &str| text.parse::<u16>().ok();
    match range.split_once('-') {
        Some((from, to)) => number(from).zip(number(to)).is_none_or(|(from, to)| (from..=to).contains(&port)),
        // A name, or a set's: it could.
        None => number(range).is_none_or(|one| one == port),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LISTING: &str = "table inet postern {\n\tchain x {\n\t\tnotrack\n\t\tmeta l4proto { tcp, udp } flow add @ft\n\t}\n}\n\
        table inet fw4 {\n\tct helper ftp {\n\t\ttype \"ftp\" protocol tcp\n\t}\n\n\tct helper calls {\n\t\ttype \"pptp\" protocol tcp\n\t}\n\n\
        \tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n\t\tmeta l4proto { tcp, udp } flow add @ft\n\t}\n\n\
        \tchain helper_lan {\n\t\ttcp dport 21 ct helper set \"ftp\" comment \"!fw4: FTP\"\n\t\ttcp dport 1723 ct helper set \"calls\"\n\
        \t\ttcp dport 1000-2000 ct helper set \"ftp\"\n\t}\n\n\tchain srcnat {\n\t\ttype nat hook postrouting priority srcnat; policy accept;\n\t}\n}\n\
        table ip raw {\n\tchain PREROUTING {\n\t\ttype filter hook prerouting priority raw; policy accept;\n\
        \t\tudp dport 53 counter notrack\n\t\tudp dport { 500, 1701 } counter packets 7 bytes 9 notrack\n\t\ttcp dport 1723 counter xt target CT\n\t}\n}\n";

    fn rules(all: &[Dropper]) -> Vec<String> {
        let rule = |one: &Dropper| match one {
            Dropper::Rule { table, chain, rule, .. } => format!("{table} {chain}: {rule}"),
            other => panic!("{other:?}"),
        };
        all.iter().map(rule).collect()
    }

    #[test]
    fn only_rules_that_could_be_meant_are_named() {
        let others = Others::read(LISTING);
        let settings = crate::settings::tests::router();
        let of = |vpn| rules(&about(&others.notracks, vpn, &settings));
        let both = "ip raw PREROUTING: udp dport { 500, 1701 } counter notrack";
        assert_eq!((of(Vpn::L2tp), of(Vpn::Ipsec)), (vec![both.to_owned()], vec![both.to_owned()]));
        assert_eq!(of(Vpn::Pptp), Vec::<String>::new());
        assert_eq!(
            rules(&about(&others.attach("ftp"), Vpn::Pptp, &settings)),
            [
                "inet fw4 helper_lan: tcp dport 1000-2000 ct helper set \"ftp\"",
                "ip raw PREROUTING: tcp dport 1723 counter xt target CT"
            ],
            "an object may have any name, and iptables does not say which helper it attaches"
        );
        assert_eq!(rules(&others.attach("pptp")).len(), 2);
        assert!(others.iptables && !others.firewalld() && !others.tables.contains("inet postern"));
        assert_eq!(others.srcnat, Some(("inet fw4".into(), "srcnat".into())));
    }

    #[test]
    fn our_own_table_and_the_time_left_of_an_element_are_no_change_of_theirs() {
        let with = |ours: &str, left: &str, rule: &str| {
            theirs(&format!(
                "table inet postern {{\n\tchain x {{\n\t\t{ours}\n\t}}\n}}\ntable ip nat {{\n\tset s {{\n\t\telements = {{ 192.0.2.1 \
                 timeout 1m expires {left} }}\n\t}}\n\tchain y {{\n\t\t{rule}\n\t}}\n}}\n"
            ))
        };
        assert_eq!(with("accept", "1s", "masquerade"), with("drop", "2s", "masquerade"));
        assert_ne!(with("accept", "1s", "masquerade"), with("accept", "1s", "accept"));
    }

    #[test]
    fn a_flow_table_is_told_where_it_takes_ike() {
        let with = |rules: &str| {
            let text = format!("table inet mine {{\n\tchain forward {{\n{rules}\t}}\n}}\n");
            !Others::read(&text).offloads.is_empty()
        };
        for taken in [
            "\t\tmeta l4proto { tcp, udp } flow add @ft\n",
            "\t\tct state established flow add @ft\n",
            "\t\tip protocol { 6, 17 } flow offload @f counter\n",
            "\t\tudp dport 500 flow add @ft\n",
            "\t\tudp dport != 53 flow add @ft\n",
            "\t\tudp dport 53 accept\n\t\tmeta l4proto udp flow add @ft\n",
            "\t\tip saddr 192.168.1.9 udp dport 500 accept\n\t\tmeta l4proto udp flow add @ft\n",
            "\t\tudp dport 500 ct state new accept\n\t\tmeta l4proto udp flow add @ft\n",
            "\t\tudp dport 500 limit rate 5/second accept\n\t\tmeta l4proto udp flow add @ft\n",
            "\t\tlog prefix \"a\n\t\tudp dport 500 accept\n\" drop\n\t\tmeta l4proto udp flow add @ft\n",
        ] {
            assert!(with(taken), "{taken}");
        }
        for spared in [
            "\t\tmeta l4proto tcp flow add @ft\n",
            "\t\ttcp dport 443 flow add @ft\n",
            "\t\tip protocol tcp flow add @ft\n",
            "\t\tudp dport { 443, 4500-4600 } flow add @ft\n",
            "\t\tudp sport 500 udp dport 500 ct state established accept\n\t\tmeta l4proto { tcp, udp } flow add @ft\n",
            "\t\tmeta l4proto { tcp, udp } udp dport 400-600 counter packets 1 bytes 2 return\n\t\tmeta l4proto udp flow add @ft\n",
            "\t\tudp dport 500 accept comment \"flow add @x\"\n",
        ] {
            assert!(!with(spared), "{spared}");
        }
    }
}
