//! What to add to another firewall, as commands for root that can be run as they stand (`tests/tests/companion/remedies.rs` runs
//! each), and how to keep it.

use super::others::Others;
use super::trace::{Dropper, can_be_named};
use crate::ruleset::{Defeat, Vpn};
use crate::settings::Settings;

/// What to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Remedy {
    /// In words, with the commands in them.
    pub(super) text: String,
    /// Each for a shell of root, in this order; none: there is no one way.
    pub(super) commands: Vec<String>,
}

impl Remedy {
    fn run(lead: &str, commands: Vec<String>, after: &str) -> Self {
        Self { text: format!("{lead}: {}. {after}", commands.join("; ")).trim().to_owned(), commands }
    }

    fn words(text: &str) -> Self {
        Self { text: text.to_owned(), commands: Vec::new() }
    }
}

/// Whose rules a table holds, and how they are told something.
enum Program<'a> {
    Nft {
        table: &'a str,
        chain: &'a str,
    },
    /// `iptables` or `iptables-legacy`.
    Iptables(&'static str),
    Firewalld,
}

fn program<'a>(table: &'a str, chain: &'a str) -> Program<'a> {
    match table {
        "inet firewalld" => Program::Firewalld,
        _ if table.starts_with("ip ") && chain.chars().all(|c| c.is_ascii_uppercase()) => {
            Program::Iptables("iptables")
        }
        _ => Program::Nft { table, chain },
    }
}

/// The names of both sides, and the ports.
struct Words {
    lan: String,
    wan: String,
    prefix: String,
    pptp: String,
    l2tp: String,
}

/// What to add against `how`, where `dropper` is to blame.
pub(super) fn remedy(
    vpn: Vpn,
    how: Defeat,
    dropper: Option<&Dropper>,
    others: &Others,
    settings: &Settings,
) -> Remedy {
    let name = |device: Option<crate::settings::names::IfName>| {
        device.map(|name| name.to_string()).unwrap_or_default()
    };
    let address = settings.local_network.address;
    let words = Words {
        lan: name(settings.local_network.device()),
        wan: name(settings.internet_side()),
        prefix: format!("{}/{}", address.network(), address.prefix()),
        pptp: settings.passthrough.pptp.ports.to_string(),
        l2tp: settings.passthrough.l2tp.ports.to_string(),
    };
    if !dropper.is_none_or(named) {
        return Remedy::words(
            "Take that rule out, or let it except VPN protocols: its table or chain has a name that cannot be written into a command.",
        );
    }
    match how {
        Defeat::Plain => plain(&words, others),
        Defeat::Untracked | Defeat::Helped => around(vpn, how, dropper, &words),
        Defeat::LostOut | Defeat::LostIn => let_through(vpn, how, dropper, &words),
    }
}

/// Its names may stand in a command.
fn named(dropper: &Dropper) -> bool {
    match dropper {
        Dropper::Rule { table, entry, chain, .. } => can_be_named(table, entry) && can_be_named(table, chain),
        Dropper::Policy { table, chain } => can_be_named(table, chain),
        Dropper::AnyOf { rules } => rules.iter().all(named),
        Dropper::Hidden => true,
    }
}

fn plain(words: &Words, others: &Others) -> Remedy {
    const LEAD: &str = "If no other router translates, add";
    let (wan, prefix) = (&words.wan, &words.prefix);
    if others.firewalld() {
        let zone = zone_of(wan);
        let commands = vec![
            format!("firewall-cmd --permanent --zone={zone} --add-masquerade"),
            "firewall-cmd --reload".to_owned(),
        ];
        return Remedy::run(LEAD, commands, "");
    }
    let rule = format!("ip saddr {prefix} oifname \"{wan}\" masquerade");
    match &others.srcnat {
        Some((table, chain)) if matches!(program(table, chain), Program::Nft { .. }) => {
            let after = match table.as_str() {
                "inet fw4" => format!(
                    "To keep it, set \u{201c}option masq 1\u{201d} in the zone of {wan} in /etc/config/firewall."
                ),
                _ => "To keep it, write it into the file that the table comes from.".to_owned(),
            };
            Remedy::run(LEAD, vec![format!("nft add rule {table} {chain} '{rule}'")], &after)
        }
        None if !others.tables.is_empty() && !others.iptables => {
            let commands = vec![
                "nft add table ip nat".to_owned(),
                "nft add chain ip nat postrouting '{ type nat hook postrouting priority srcnat; }'"
                    .to_owned(),
                format!("nft add rule ip nat postrouting '{rule}'"),
            ];
            Remedy::run(LEAD, commands, "To keep it, write it into the file that your rules come from.")
        }
        _ => {
            let program = if others.tables.is_empty() { "iptables-legacy" } else { "iptables" };
            let commands =
                vec![format!("{program} -t nat -A POSTROUTING -s {prefix} -o {wan} -j MASQUERADE")];
            let after =
                "To keep it, write it where your rules are kept (ufw: a part *nat in /etc/ufw/before.rules).";
            Remedy::run(LEAD, commands, after)
        }
    }
}

/// The rule is passed by before it is met.
fn around(vpn: Vpn, how: Defeat, dropper: Option<&Dropper>, words: &Words) -> Remedy {
    let Words { lan, wan, pptp, l2tp, .. } = words;
    let (protocol, ports, number) = match (how, vpn) {
        (Defeat::Helped, _) => ("tcp", pptp.as_str(), None),
        (_, Vpn::Pptp) => ("tcp", pptp.as_str(), Some(47)),
        (_, Vpn::L2tp) => ("udp", l2tp.as_str(), None),
        (_, Vpn::Ipsec) => ("udp", "500, 4500", Some(50)),
    };
    // Where it comes in: before routing nobody knows where a packet will leave.
    let ways = [(lan, "dport"), (wan, "sport")];
    let ways = if how == Defeat::Helped { &ways[..1] } else { &ways[..] };
    let nft: Vec<String> = ways
        .iter()
        .map(|(from, way)| format!("iifname \"{from}\" {protocol} {way} {{ {ports} }}"))
        .chain(number.into_iter().flat_map(|number| {
            ways.iter().map(move |(from, _)| format!("iifname \"{from}\" meta l4proto {number}"))
        }))
        .collect();
    let listed = ports.replace(' ', "");
    let iptables = |program: &str| -> Vec<String> {
        let of_ports =
            ways.iter().map(|(from, way)| format!("-i {from} -p {protocol} -m multiport --{way}s {listed}"));
        let without = number
            .into_iter()
            .flat_map(|number| ways.iter().map(move |(from, _)| format!("-i {from} -p {number}")));
        let all = of_ports.chain(without);
        all.map(|one| format!("{program} -t raw -I PREROUTING {one} -j RETURN")).collect()
    };
    let mut commands = Vec::new();
    let rules = match dropper {
        None => return Remedy::default(),
        Some(Dropper::AnyOf { rules }) => rules.as_slice(),
        Some(one) => std::slice::from_ref(one),
    };
    for rule in rules {
        let more = match rule {
            Dropper::Rule { table, chain, .. } => match program(table, chain) {
                Program::Nft { table, chain } => {
                    nft.iter().map(|one| format!("nft insert rule {table} {chain} '{one} return'")).collect()
                }
                Program::Iptables(program) => iptables(program),
                Program::Firewalld => {
                    return Remedy::words(
                        "Take that rule out of firewalld's configuration, or let it except VPN protocols.",
                    );
                }
            },
            _ => iptables("iptables-legacy"),
        };
        for one in more {
            if !commands.contains(&one) {
                commands.push(one);
            }
        }
    }
    let after = match how {
        Defeat::Helped => {
            "Then the call must be dialled anew: the kernel attaches a helper only when a connection begins. To keep it, write it \
             where that rule comes from."
        }
        _ => "To keep it, write it where that rule comes from.",
    };
    Remedy::run("Let VPN packets by before that rule", commands, after)
}

fn let_through(vpn: Vpn, how: Defeat, dropper: Option<&Dropper>, words: &Words) -> Remedy {
    let Words { lan, wan, pptp, l2tp, .. } = words;
    let (table, entry) = match dropper {
        Some(Dropper::Rule { table, entry, .. }) => (table.as_str(), entry.as_str()),
        Some(Dropper::Policy { table, chain }) => (table.as_str(), chain.as_str()),
        Some(Dropper::Hidden) => ("", ""),
        Some(Dropper::AnyOf { .. }) | None => return Remedy::default(),
    };
    let program = if table.is_empty() { Program::Iptables("iptables-legacy") } else { program(table, entry) };
    match program {
        Program::Firewalld if how == Defeat::LostOut => {
            let what = match vpn {
                Vpn::Pptp => vec![ports_of("tcp", pptp), "--add-protocol=gre".to_owned()],
                Vpn::L2tp => vec![ports_of("udp", l2tp)],
                Vpn::Ipsec => vec![ports_of("udp", "500, 4500"), "--add-protocol=esp".to_owned()],
            };
            let policy = format!("postern-{}", vpn.name());
            let mut commands = vec![
                format!("firewall-cmd --permanent --new-policy={policy}"),
                format!("firewall-cmd --permanent --policy={policy} --set-priority=-10000"),
                format!("firewall-cmd --permanent --policy={policy} --add-ingress-zone={}", zone_of(lan)),
                format!("firewall-cmd --permanent --policy={policy} --add-egress-zone={}", zone_of(wan)),
            ];
            commands
                .extend(what.iter().map(|what| format!("firewall-cmd --permanent --policy={policy} {what}")));
            commands.push("firewall-cmd --reload".to_owned());
            Remedy::run("Add a policy", commands, anew(vpn))
        }
        Program::Firewalld => Remedy::words(
            "firewalld lets what answers in by itself; something in its configuration forbids it. Take that away, or let it except \
             VPN protocols.",
        ),
        Program::Iptables(program) => {
            let anew = anew(vpn);
            let rules: Vec<String> = ways(vpn, how, words)
                .iter()
                .map(|way| format!("-i {} -o {} {} -j ACCEPT", way.from, way.to, way.iptables))
                .collect();
            let commands = rules.iter().map(|rule| format!("{program} -I FORWARD {rule}")).collect();
            let ufw: Vec<String> =
                rules.iter().map(|rule| format!("\u{201c}-A ufw-before-forward {rule}\u{201d}")).collect();
            let after = format!(
                "{anew}To keep it, write it where your rules are kept (ufw: {} in the part *filter of /etc/ufw/before.rules).",
                ufw.join(" and ")
            );
            Remedy::run("Add before it", commands, &after)
        }
        Program::Nft { table, chain } => {
            let anew = anew(vpn);
            let rules: Vec<String> = ways(vpn, how, words)
                .iter()
                .map(|way| format!("iifname \"{}\" oifname \"{}\" {} accept", way.from, way.to, way.nft))
                .collect();
            let commands =
                rules.iter().map(|rule| format!("nft insert rule {table} {chain} '{rule}'")).collect();
            let quoted: Vec<String> = rules.iter().map(|rule| format!("\u{201c}{rule}\u{201d}")).collect();
            let after = match table {
                "inet fw4" => format!(
                    "{anew}To keep it, write {} into /usr/share/nftables.d/chain-pre/{chain}/postern.nft.",
                    quoted.join(" and ")
                ),
                _ => format!("{anew}To keep it, write it into the file that the table comes from."),
            };
            Remedy::run("Add before it", commands, &after)
        }
    }
}

/// The kernel expects GRE of a call once in each direction, and what was dropped has used that up (`nf_ct_find_expectation`).
fn anew(vpn: Vpn) -> &'static str {
    if vpn == Vpn::Pptp { "Then the call must be dialled anew. " } else { "" }
}

/// What is to be let through, and which way.
struct Way<'a> {
    from: &'a str,
    to: &'a str,
    nft: String,
    iptables: String,
}

/// A rule without ports drops both directions of a protocol that has none, and of what is known nobody is told: so they are let
/// through together.
fn ways(vpn: Vpn, how: Defeat, words: &Words) -> Vec<Way<'_>> {
    let Words { lan, wan, pptp, l2tp, .. } = words;
    let out = |nft: String, iptables: String| Way { from: lan, to: wan, nft, iptables };
    let back = |nft: String, iptables: String| Way { from: wan, to: lan, nft, iptables };
    let ports = |protocol: &str, ports: &str| {
        out(
            format!("{protocol} dport {{ {ports} }}"),
            format!("-p {protocol} -m multiport --dports {}", ports.replace(' ', "")),
        )
    };
    let without = |number: u8| {
        [
            out(format!("meta l4proto {number}"), format!("-p {number}")),
            back(
                format!("meta l4proto {number} ct state established,related"),
                format!("-p {number} -m conntrack --ctstate ESTABLISHED,RELATED"),
            ),
        ]
    };
    let handed_over = |number: u8| {
        back(
            format!("meta l4proto {number} ct status dnat"),
            format!("-p {number} -m conntrack --ctstate DNAT"),
        )
    };
    match (vpn, how) {
        (Vpn::Pptp, Defeat::LostOut) => std::iter::once(ports("tcp", pptp)).chain(without(47)).collect(),
        (Vpn::Pptp, _) => without(47).into(),
        (Vpn::L2tp, Defeat::LostOut) => vec![ports("udp", l2tp)],
        (Vpn::L2tp, _) => vec![handed_over(17)],
        (Vpn::Ipsec, Defeat::LostOut) => {
            std::iter::once(ports("udp", "500, 4500")).chain(without(50)).collect()
        }
        (Vpn::Ipsec, _) => vec![handed_over(17), handed_over(50)],
    }
}

/// What tells the zone of a port, inside a command. One that is in no zone by name is in the default zone, and firewall-cmd says
/// “no zone” of it.
fn zone_of(device: &str) -> String {
    format!(
        "$(firewall-cmd --get-zone-of-interface={device} 2>/dev/null | grep -v ' ' || firewall-cmd --get-default-zone)"
    )
}

fn ports_of(protocol: &str, ports: &str) -> String {
    let all: Vec<String> = ports.split(", ").map(|port| format!("--add-port={port}/{protocol}")).collect();
    all.join(" ")
}

/// What a flow table of theirs costs, and what to add there.
pub(super) fn flow_table(rule: &Dropper) -> Option<String> {
    let writable = named(rule);
    let Dropper::Rule { table, chain, rule, .. } = rule else { return None };
    let what = match table.as_str() {
        _ if !writable => "Let that rule except UDP from port 500 to 500".to_owned(),
        // Nothing comes before that rule there: fw4 writes it first (`ruleset.uc`).
        "inet fw4" => "On OpenWrt switch flow offloading off (\u{201c}option flow_offloading 0\u{201d} in the section defaults of \
                       /etc/config/firewall, then fw4 reload)"
            .to_owned(),
        _ => format!(
            "Keep IKE out of it: nft insert rule {table} {chain} 'udp sport 500 udp dport 500 ct state established accept', and in \
             the file that the table comes from"
        ),
    };
    Some(format!(
        "The rule \u{201c}{rule}\u{201d} in chain {chain} of table {table} puts IKE into a flow table, which knows no conntrack zones: of \
         several devices that use IPsec to one server without NAT traversal, all but one lose their answers. {what}; or switch \
         many clients off, which this box then does not promise."
    ))
}

#[cfg(test)]
mod tests;
