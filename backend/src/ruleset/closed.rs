//! No settings open the box: thousands of random documents are compiled, and a reader of its own (`reader.rs`) looks for a way
//! by which something that the internet begins, and that no setting names, is accepted. It knows nothing of the compiler but its text.

mod reader;

use std::net::Ipv4Addr;

use reader::{Packet, Rules};

use super::{Capabilities, chains, compile};
use crate::settings::chance::{Around, change, numbers};
use crate::settings::firewall::Ipv6Ipsec;
use crate::settings::names::DmzHost;
use crate::settings::tests::router;
use crate::settings::{Role, Settings, keys};

const AROUND: Around<'_> =
    Around { until: "2026-11-21T10:30:00Z", moves: true, ports: ["eth0", "eth1", "eth2"], nonsense: 0 };

/// Walks from one valid document to the next.
struct Walk<F> {
    settings: Settings,
    below: F,
}

impl<F: FnMut(u64) -> u64> Walk<F> {
    fn next(&mut self) -> &Settings {
        loop {
            let mut wanted = self.settings.clone();
            for (key, value) in change(&mut self.below, AROUND) {
                // What one key refuses leaves the others.
                let _ = keys::set(&mut wanted, &key, &value);
            }
            if wanted.check().is_empty() && wanted.not_built().is_empty() {
                self.settings = wanted;
                return &self.settings;
            }
        }
    }
}

/// How many: `POSTERN_COMPILED`, or so many.
fn count() -> usize {
    std::env::var("POSTERN_COMPILED").ok().and_then(|text| text.parse().ok()).unwrap_or(3000)
}

fn seed() -> u64 {
    let asked = std::env::var("POSTERN_SEED").ok().and_then(|text| text.parse().ok());
    asked.unwrap_or_else(|| u64::from(std::process::id()))
}

const TCP: u8 = 6;
const UDP: u8 = 17;
const GRE: u8 = 47;
const ESP: u8 = 50;
const AH: u8 = 51;

/// What the internet may try, of every kind, through the box and at it.
fn tries(settings: &Settings) -> Vec<Packet> {
    let internet = settings.internet_side().unwrap().to_string();
    let home = settings.local_network.device().unwrap().to_string();
    let mut protocols = vec![(GRE, 0, ""), (ESP, 0, ""), (AH, 0, ""), (115, 0, ""), (132, 9, ""), (4, 0, "")];
    protocols.extend([22, 80, 443, 1723, 8080, 5000, 65000].map(|port| (TCP, port, "")));
    protocols.extend([53, 67, 68, 500, 546, 547, 1194, 1701, 4500, 5000, 51820].map(|port| (UDP, port, "")));
    let mut all = Vec::new();
    for ipv6 in [false, true] {
        let errors: &[(u8, u16, &'static str)] = match ipv6 {
            false => {
                &[(1, 0, "echo-request"), (1, 0, "destination-unreachable"), (1, 0, "timestamp-request")]
            }
            true => &[(58, 0, "echo-request"), (58, 0, "nd-neighbor-solicit"), (58, 0, "packet-too-big")],
        };
        for (protocol, port, icmp) in protocols.iter().chain(errors).copied() {
            for (from, to) in [
                (internet.as_str(), None),
                ("third", None),
                (&internet, Some(home.as_str())),
                (&internet, Some(internet.as_str())),
                (&internet, Some("third")),
                ("third", Some(&home)),
                ("third", Some(&internet)),
            ] {
                let packet = Packet {
                    from: from.to_owned(),
                    to: to.map(str::to_owned),
                    ipv6,
                    protocol,
                    port,
                    icmp,
                    state: "new",
                    dnat: false,
                    zoned: false,
                };
                all.extend(["invalid", "untracked"].map(|state| Packet { state, ..packet.clone() }));
                // An error is never new: it is about a known conversation, or invalid (nf_conntrack_icmp_error).
                if ["destination-unreachable", "packet-too-big"].contains(&icmp) {
                    continue;
                }
                if !ipv6 && to.is_some() {
                    all.push(Packet { dnat: true, ..packet.clone() });
                }
                all.push(packet);
            }
        }
    }
    all
}

/// Whether a setting names this packet of the internet, or every router must take it: read from backend/POLICY.md.
fn named(settings: &Settings, packet: &Packet) -> bool {
    let internet = settings.internet_side().map(|name| name.to_string());
    let home = settings.local_network.device().map(|name| name.to_string());
    let from_internet = internet.as_deref() == Some(&packet.from);
    let ipsec = &settings.passthrough.ipsec;
    let Some(to) = packet.to.as_deref() else {
        return match packet.icmp {
            icmp if icmp.starts_with("nd-") => true,
            "echo-request" => from_internet && settings.firewall.ping,
            _ => {
                packet.ipv6
                    && from_internet
                    && (packet.protocol, packet.port) == (UDP, 546)
                    && settings.internet.ipv6_device().is_some()
            }
        };
    };
    if !from_internet || home.as_deref() != Some(to) || packet.state != "new" {
        return false;
    }
    if packet.ipv6 {
        let ike = packet.protocol == UDP && packet.port == 500;
        let rfc6092 = settings.firewall.ipv6_ipsec == Ipv6Ipsec::Rfc6092;
        return ipsec.enabled && rfc6092 && (ike || matches!(packet.protocol, ESP | AH));
    }
    // Translated by one of our maps: of what a client has asked for, or of a forward.
    let answers = packet.protocol == UDP && settings.passthrough.l2tp.enabled;
    let clients = ipsec.enabled && ipsec.many_clients && matches!(packet.protocol, UDP | ESP);
    // Which protocols are led to it: see `led_elsewhere`.
    let dmz = settings.firewall.dmz != DmzHost::None;
    packet.dnat && (answers || clients || dmz || forwarded(settings, packet))
}

/// Led by a forward to the port that the packet has by now.
fn forwarded(settings: &Settings, packet: &Packet) -> bool {
    settings.forwards.iter().filter(|forward| forward.enabled).any(|forward| {
        forward.takes().iter().any(|(protocol, ports)| {
            let at_device = |(first, last): (u16, u16)| match forward.to.port {
                Some(port) if forward.preset.is_none_or(|preset| preset.one_port()) => {
                    let moved = port.number();
                    (moved..=moved.saturating_add(last - first)).contains(&packet.port)
                }
                _ => (first..=last).contains(&packet.port),
            };
            *protocol == packet.protocol && ports.is_none_or(at_device)
        })
    })
}

/// What is wrong with a router's rules, if anything is.
fn open(text: &str, settings: &Settings) -> Vec<String> {
    let rules = Rules::read(text);
    let mut wrong = rules.strange(&chains(Role::Router));
    for hook in ["input", "forward"] {
        if rules.policy(hook) != Some("drop") || !rules.ends_in_drop(hook) {
            wrong.push(format!("{hook} does not drop what is left"));
        }
    }
    for packet in tries(settings) {
        let hook = if packet.to.is_some() { "forward" } else { "input" };
        let accepts = rules.accepts(hook, &packet);
        if !accepts.is_empty() && !named(settings, &packet) {
            wrong.push(format!("{packet:?} is let in by {accepts:?}"));
        }
    }
    wrong.extend(led_elsewhere(text, settings));
    wrong
}

/// Elements of the maps of forwards that no forward has, and addresses that nobody is to be led to.
fn led_elsewhere(text: &str, settings: &Settings) -> Vec<String> {
    let hosts: Vec<Ipv4Addr> =
        settings.forwards.iter().filter(|one| one.enabled).map(|one| one.to.address).collect();
    let dmz = match settings.firewall.dmz {
        DmzHost::Until(host, _) => Some(host),
        DmzHost::None => None,
    };
    let known = |host: &str| host.parse().is_ok_and(|host| hosts.contains(&host) || dmz == Some(host));
    let mut wrong = Vec::new();
    for line in text.lines().map(str::trim) {
        if let Some((key, value)) = line.trim_end_matches(',').split_once(" : ")
            && let Some((protocol, port)) = key.split_once(" . ")
            && let Ok(protocol) = protocol.parse::<u8>()
        {
            let first = port.split('-').next().and_then(|port| port.parse::<u16>().ok()).unwrap_or_default();
            let takes = |one: &crate::settings::Forward| {
                let mine = |(of, ports): &(u8, Option<(u16, u16)>)| {
                    *of == protocol && ports.is_some_and(|(a, b)| (a..=b).contains(&first))
                };
                one.enabled && one.takes().iter().any(mine)
            };
            let host = value.split(' ').next().unwrap_or_default();
            if !settings.forwards.iter().any(|one| takes(one) && one.to.address.to_string() == host) {
                wrong.push(format!("no forward has the element {line}"));
            }
        }
        if let Some((_, to)) = line.split_once("dnat ip to ")
            && let Some(host) = to.split(' ').next().filter(|word| word.parse::<Ipv4Addr>().is_ok())
            && (!known(host) || !line.contains("meta l4proto "))
        {
            wrong.push(format!("somebody is led to {host}: {line}"));
        }
    }
    wrong
}

/// What is wrong with a companion's rules: it must leave everything to the others.
fn meddles(text: &str) -> Vec<String> {
    let rules = Rules::read(text);
    let mut wrong = rules.strange(&chains(Role::Companion));
    for (chain, policy) in rules.policies() {
        if policy != "accept" || ["input", "forward", "srcnat", "dstnat", "answers"].contains(&chain) {
            wrong.push(format!("the chain {chain} with the policy {policy}"));
        }
    }
    for word in ["masquerade", "notrack", "snat ", "redirect", "forwards"] {
        if text.contains(&format!("\t\t{word}")) || text.contains(&format!(" {word} comment")) {
            wrong.push(format!("it says {word}"));
        }
    }
    wrong
}

#[test]
fn no_random_settings_compile_to_an_open_forward_chain_or_let_in_what_they_do_not_name() {
    let seed = seed();
    let mut walk = Walk { settings: router(), below: numbers(seed) };
    let (mut routers, mut companions, mut without) = (0, 0, 0);
    for number in 0..count() {
        let able = if number % 7 == 6 { Capabilities::nothing() } else { Capabilities::everything() };
        // A walk may be without a role, or without ports, for long.
        if number % 40 == 0 {
            walk.settings = router();
        }
        let settings = walk.next();
        let text = compile(settings, &able).to_string();
        let wrong = match settings.role {
            Role::Router
                if settings.internet.device.is_some() && settings.local_network.device().is_some() =>
            {
                routers += 1;
                open(&text, settings)
            }
            Role::Companion => {
                companions += 1;
                meddles(&text)
            }
            _ => {
                without += 1;
                Vec::new()
            }
        };
        assert!(
            wrong.is_empty(),
            "POSTERN_SEED={seed}, document {number}: {:#?}\n{}\n{text}",
            &wrong[..wrong.len().min(5)],
            settings.to_toml()
        );
    }
    eprintln!("{routers} routers, {companions} companions, {without} without rules");
    assert!(routers > count() / 12 && companions > count() / 120, "{routers}, {companions}, {without}");
}

/// A rule more in the chain, at its end or its begin.
fn planted(text: &str, chain: &str, rule: &str, first: bool) -> String {
    let (before, rules) = text.split_once("flush table inet postern\n").unwrap();
    let head = format!("\tchain {chain} {{\n");
    let begin = rules.find(&head).unwrap() + head.len();
    let end = begin + rules[begin..].find("\t}\n").unwrap();
    let at = if first { begin } else { rules[begin..end - 1].rfind('\n').map_or(begin, |n| begin + n + 1) };
    format!("{before}flush table inet postern\n{}\t\t{rule} comment \"x\"\n{}", &rules[..at], &rules[at..])
}

#[test]
fn whatever_opens_the_box_is_found() {
    let settings = router();
    let text = compile(&settings, &Capabilities::everything()).to_string();
    assert_eq!(open(&text, &settings), [""; 0]);
    let into = "iifname \"eth0\" oifname \"eth1\"";
    let openings = [
        planted(&text, "forward", "accept", true),
        planted(&text, "forward", &format!("{into} accept"), false),
        planted(&text, "forward", &format!("{into} tcp dport 65000 accept"), true),
        planted(&text, "forward", &format!("{into} ct state new limit rate 1/day accept"), false),
        planted(&text, "forward", &format!("{into} meta l4proto 47 jump refused"), true)
            .replace("\t\treject with icmpx admin-prohibited", "\t\taccept"),
        planted(&text, "ipsec_in", "meta nfproto ipv4 accept", true),
        planted(&text, "passthrough_in", "ip saddr 203.0.113.9 accept", true),
        planted(&text, "invalid", &format!("{into} accept"), true),
        planted(&text, "input", "iifname \"eth0\" tcp dport 22 accept", true),
        planted(&text, "input", "ct state untracked accept", true),
        planted(&text, "input", "meta l4proto udp accept", false),
        text.replace("hook forward priority filter; policy drop;", "hook forward priority filter; policy accept;"),
        text.replace("counter name \"forward_dropped\" drop", "counter name \"forward_dropped\""),
        text.replace("flush table inet postern\n", "flush table inet postern\nflush ruleset\n"),
        text.replace("flush table inet postern\n", "flush table inet postern\nadd rule inet theirs forward accept\n"),
        text.replace("flush map inet postern forward_port\n", "flush map inet postern forward_port\nadd element inet postern forward_port {\n\t6 . 22 : 192.168.1.20 . 22\n}\n"),
        planted(&text, "dstnat", "meta l4proto 6 dnat ip to 192.168.1.20", true),
    ];
    for (number, opening) in openings.iter().enumerate() {
        assert_ne!(*opening, text, "opening {number} is one");
        assert!(!open(opening, &settings).is_empty(), "opening {number} is not found");
    }
    let beside = Settings { role: Role::Companion, ..settings };
    let text = compile(&beside, &Capabilities::everything()).to_string();
    assert_eq!(meddles(&text), [""; 0]);
    for meddling in [
        text.replacen("policy accept;", "policy drop;", 1),
        text.replace("flush table inet postern\n", "flush table inet postern\ndelete table inet theirs\n"),
        planted(&text, "companion_after", "masquerade", true),
    ] {
        assert_ne!(meddling, text);
        assert!(!meddles(&meddling).is_empty(), "it is found");
    }
}
