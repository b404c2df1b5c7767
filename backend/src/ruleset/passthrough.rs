//! VPN passthrough: which tunnels between the home and the internet are let through, counted or refused.
//!
//! One list of [`FlowMatch`]es per part is the source of everything: the sets that catch its packets, the
//! conntrack entries that are counted as open, and those that end when it is switched off. So they cannot differ.

mod ipsec;
mod l2tp;
mod permission;
mod places;
mod pptp;
#[cfg(test)]
mod tests;

use super::table::{Chain, Counter, Table};
use super::{Capabilities, FlowMatch, Sides, Switch, Vpn, ended, forwards, helpers};
use crate::settings::{Role, Settings};

pub(super) use ipsec::many_clients::by_another_way;
pub use ipsec::many_clients::{CONFIRMED, KEPT};
pub use permission::withdrawn;
pub use places::{Places, pair_of, places};

/// Whether the rules of these settings learn whose IPsec packets are.
pub fn learns(settings: &Settings, capabilities: &Capabilities) -> bool {
    ipsec::many_clients::wanted(&settings.passthrough.ipsec, capabilities)
}

const TCP: u8 = 6;
const UDP: u8 = 17;

/// A protocol, or the part of one that has a switch of its own.
struct Part {
    /// Its switch.
    switch: Switch,
    /// Its packets from the home, and from the internet.
    chains: (Chain, Chain),
    /// What counts them when they pass, and when they do not.
    counters: (Counter, Counter),
    /// What belongs to it.
    flows: Vec<FlowMatch>,
    /// What happens to it.
    fate: Fate,
}

impl Part {
    fn refuses(&self, protocol: u8) -> bool {
        matches!(self.fate, Fate::Refused(_)) && self.flows.iter().any(|flow| flow.protocol == protocol)
    }
}

/// What happens to a part's packets.
enum Fate {
    /// They pass; the comment says what is counted.
    Passed(&'static str),
    /// They are refused; the comment says why.
    Refused(&'static str),
}

fn parts(settings: &Settings, capabilities: &Capabilities) -> Vec<Part> {
    let section = &settings.passthrough;
    let [ipsec, nat_traversal] = ipsec::parts(&section.ipsec);
    vec![pptp::part(&section.pptp, capabilities), l2tp::part(&section.l2tp), ipsec, nat_traversal]
}

pub(super) fn rules(table: &mut Table, sides: &Sides, settings: &Settings, capabilities: &Capabilities) {
    let parts = parts(settings, capabilities);
    permission::rules(table, settings, &parts, learns(settings, capabilities));
    ended::rules(table);
    let passes = |part: &Part| matches!(part.fate, Fate::Passed(_));
    places::rules(table, settings, |vpn| parts.iter().any(|part| part.switch.vpn() == vpn && passes(part)));
    if ipsec::many_clients::wanted(&settings.passthrough.ipsec, capabilities) {
        // Whoever began: a server that speaks first to its client is in the client's zone too.
        for (from, to) in [(Chain::PassthroughOut, Chain::IpsecOut), (Chain::PassthroughIn, Chain::IpsecIn)] {
            table.rule(from, format!("ct zone != 0 goto {to}"), "only IPsec has zones");
        }
        let servers = forwards::ipsec_servers(settings, capabilities);
        ipsec::many_clients::rules(table, sides, &servers);
    } else if capabilities.many_clients {
        ipsec::many_clients::forget(table);
    }
    l2tp::dispatch_moved(table);
    dispatch(table, &parts);
    ipsec::dispatch_let_in(table);
    // Beside another firewall, what the internet may begin over IPv6 is that one's to say.
    if settings.role == Role::Router {
        ipsec::from_the_internet(table, settings);
    }
    pptp::track_calls(table, sides, &settings.passthrough.pptp, capabilities);
    l2tp::answers_from_another_port(table, sides, &settings.passthrough.l2tp);
    for part in &parts {
        match part.fate {
            Fate::Passed(what) => {
                table.forgotten(&[part.switch.set()]);
                pass(table, part, what);
            }
            Fate::Refused(why) => {
                table.learnt(&[part.switch.set()]);
                table.rule(part.chains.0, part.switch.rule(), "who tries what is off");
                refuse(table, part, why);
            }
        }
    }
}

/// A protocol whose packets are watched beside another firewall.
pub(super) struct Watched {
    /// Which.
    pub(super) vpn: Vpn,
    /// Whether it is on. What is off is not let through in any case.
    pub(super) passes: bool,
    /// What the home begins, one match each.
    pub(super) out: Vec<String>,
    /// What the internet may begin with a device that has called.
    pub(super) back: Vec<String>,
}

/// What begins a conversation of each protocol, IPv4.
pub(super) fn watched(settings: &Settings, capabilities: &Capabilities) -> Vec<Watched> {
    let parts = parts(settings, capabilities);
    let on = |vpn: Vpn| {
        parts.iter().filter(move |part| part.switch.vpn() == vpn && matches!(part.fate, Fate::Passed(_)))
    };
    let watched = |vpn: Vpn| {
        let flows: Vec<FlowMatch> = on(vpn).flat_map(|part| &part.flows).copied().collect();
        let mut out = Vec::new();
        for protocol in [TCP, UDP] {
            let ports = ports(&flows, protocol);
            if !ports.is_empty() {
                out.push(format!("{} dport {{ {ports} }}", transport(protocol)));
            }
        }
        // AH never survives translation, and is no reason to say anything.
        let without = flows.iter().filter(|flow| flow.server_port.is_none() && flow.protocol != ipsec::AH);
        out.extend(without.map(|flow| format!("meta l4proto {}", flow.protocol)));
        let back = match vpn {
            Vpn::Pptp => vec!["ct state related meta l4proto 47 ct helper \"pptp\"".to_owned()],
            Vpn::L2tp => vec![l2tp::moved()],
            Vpn::Ipsec if learns(settings, capabilities) => vec!["ct zone != 0 ct status dnat".to_owned()],
            Vpn::Ipsec => Vec::new(),
        };
        Watched { vpn, passes: !flows.is_empty(), out, back }
    };
    Vpn::ALL.map(watched).into()
}

/// Established conversations that are nobody's VPN leave by the first rules. In the order in which a packet fails soonest.
pub(super) fn shortcut(table: &mut Table, sides: &Sides, settings: &Settings, capabilities: &Capabilities) {
    let parts = parts(settings, capabilities);
    if let Some(refused) = parts.iter().find(|part| part.refuses(ipsec::AH)) {
        let (out, back) = refused.chains;
        for (side, to) in [(sides.outward(), out), (sides.inward(), back)] {
            let rule = format!("{side} ip6 nexthdr {} jump {to}", ipsec::AH);
            table.rule(Chain::Forward, rule, "AH over IPv6 is off, whatever it carries");
        }
    }
    if settings.role == Role::Router {
        ipsec::strict_about_authentication_header(table, sides, settings);
    }
    let helped = helpers::flows(settings, capabilities);
    for protocol in [TCP, UDP] {
        let ports = ports(parts.iter().flat_map(|part| &part.flows).chain(&helped), protocol);
        // What a server began and we handed over is L2TP, on whatever port (see `l2tp.rs`).
        let ours = if protocol == UDP { "ct status & dnat == 0 " } else { "" };
        for (direction, port) in DIRECTIONS {
            let rule = format!("{} {port} != {{ {ports} }} ct direction {direction}", transport(protocol));
            table.rule(
                Chain::Forward,
                format!("{rule} {ours}ct state established accept"),
                "a known conversation that is no VPN passthrough",
            );
        }
    }
}

/// The server's port is the destination of what the home sent first, and the source of the answer. `ct direction`
/// keeps innocents out whose own, chosen port happens to be one of these: an old system on the internet may well use
/// port 1723 or 1701 for itself when it calls a server here.
const DIRECTIONS: [(&str, &str); 2] = [("original", "dport"), ("reply", "sport")];

/// By sets and not by one verdict map, which would lose packets in a swap: see [`super::input::known`].
///
/// Protocols without ports are caught whoever began: a PPTP server may send the first GRE packet of a call.
fn dispatch(table: &mut Table, parts: &[Part]) {
    let [(original, dport), (reply, sport)] = DIRECTIONS;
    towards(table, Chain::PassthroughOut, parts, original, dport, |part| part.chains.0);
    towards(table, Chain::PassthroughIn, parts, reply, sport, |part| part.chains.1);
    ipsec::authentication_header_over_ipv6(table);
}

/// The dispatch of one chain.
fn towards<'a>(
    table: &mut Table,
    from: Chain,
    parts: impl IntoIterator<Item = &'a Part>,
    direction: &str,
    port: &str,
    to: impl Fn(&Part) -> Chain,
) {
    for part in parts {
        for protocol in [TCP, UDP] {
            let ports = ports(&part.flows, protocol);
            if !ports.is_empty() {
                let rule = format!("{} {port} {{ {ports} }} ct direction {direction}", transport(protocol));
                table.rule(from, format!("{rule} goto {}", to(part)), "by the server's port");
            }
        }
        // Numbers and no names: nft looks most names up in /etc/protocols, which a small system may not have.
        let without = part.flows.iter().filter(|flow| flow.server_port.is_none());
        let protocols: Vec<String> = without.map(|flow| flow.protocol.to_string()).collect();
        if !protocols.is_empty() {
            let rule = format!("meta l4proto {{ {} }} goto {}", protocols.join(", "), to(part));
            table.rule(from, rule, "by the protocol: 47 GRE, 115 L2TPv3, 50 ESP, 51 AH");
        }
    }
}

fn transport(protocol: u8) -> &'static str {
    if protocol == TCP { "tcp" } else { "udp" }
}

/// The ports of a transport protocol, as the elements of a set.
fn ports<'a>(flows: impl IntoIterator<Item = &'a FlowMatch>, protocol: u8) -> String {
    let ours = flows.into_iter().filter(|flow| flow.protocol == protocol);
    let mut ports: Vec<String> = Vec::new();
    for port in ours.filter_map(|flow| flow.server_port).map(|port| port.to_string()) {
        // A port that is also a helper's.
        if !ports.contains(&port) {
            ports.push(port);
        }
    }
    ports.join(", ")
}

/// Counts, and lets the chain `forward` go on. What it will drop is not counted: from the internet, what nobody here
/// asked for.
fn pass(table: &mut Table, part: &Part, what: &str) {
    let passed = part.counters.0;
    table.rule(part.chains.0, format!("ct state new,established,related {passed}"), what);
    table.rule(part.chains.1, format!("ct state established,related {passed}"), what);
}

/// Refuses: the home is told at once, so that its VPN program fails with a reason and not after a minute; the
/// internet is told nothing. The kernel itself limits the ICMP errors it sends (net.ipv4.icmp_ratelimit).
fn refuse(table: &mut Table, part: &Part, why: &str) {
    let refused = part.counters.1;
    let (out, back) = part.chains;
    if part.flows.iter().any(|flow| flow.protocol == TCP) {
        table.rule(out, format!("meta l4proto tcp {refused} reject with tcp reset"), why);
    }
    table.rule(out, format!("{refused} reject with icmpx admin-prohibited"), why);
    table.rule(back, format!("{refused} drop"), why);
}

/// The conntrack entries that belong to each protocol, whether it is on or off.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PassthroughFlows {
    /// Control connections, then GRE.
    pub pptp: Vec<FlowMatch>,
    /// L2TP over UDP, then L2TPv3 over IP.
    pub l2tp: Vec<FlowMatch>,
    /// UDP 500, ESP, AH, then NAT traversal on UDP 4500.
    pub ipsec: Vec<FlowMatch>,
}

/// What to look for in conntrack to count open calls and tunnels.
pub fn passthrough_flows(settings: &Settings) -> PassthroughFlows {
    let section = &settings.passthrough;
    PassthroughFlows {
        pptp: pptp::flows(&section.pptp),
        l2tp: l2tp::flows(&section.l2tp),
        ipsec: ipsec::parts(&section.ipsec).into_iter().flat_map(|part| part.flows).collect(),
    }
}

/// The conntrack entries that a change takes the ground from: whatever was let through and is not any more, and
/// whatever is refused that was not before. The rules stop their packets; these are the entries to delete.
///
/// A PPTP port that leaves the list is among them though it may be used for other things now: its calls run on a
/// helper that nobody would attach again. Deleting a control connection takes its GRE with it.
pub fn ended_by(before: &Settings, after: &Settings, capabilities: &Capabilities) -> Vec<FlowMatch> {
    if after.role == Role::Unset {
        return Vec::new();
    }
    let (passed_before, refused_before) = by_fate(before, capabilities);
    let (passed, refused) = by_fate(after, capabilities);
    let mut ended: Vec<FlowMatch> =
        refused.into_iter().filter(|flow| !refused_before.contains(flow)).collect();
    for flow in passed_before {
        if !passed.contains(&flow) && !ended.contains(&flow) {
            ended.push(flow);
        }
    }
    ended
}

/// The conntrack entries of what passes at all, whoever may use it.
pub fn passed_flows(settings: &Settings, capabilities: &Capabilities) -> Vec<FlowMatch> {
    by_fate(settings, capabilities).0
}

/// The conntrack entries of IPv6 that the internet began, was let in with and may not begin any more.
pub fn let_in_ended_by(before: &Settings, after: &Settings) -> Vec<FlowMatch> {
    let was = before.role == Role::Router && ipsec::let_in(before);
    let ends = after.role == Role::Router && was && !ipsec::let_in(after);
    if ends { ipsec::let_in_flows().into() } else { Vec::new() }
}

/// Flows that pass and flows that are refused. Where we have no role, neither is our doing.
fn by_fate(settings: &Settings, capabilities: &Capabilities) -> (Vec<FlowMatch>, Vec<FlowMatch>) {
    let (mut passed, mut refused) = (Vec::new(), Vec::new());
    if settings.role != Role::Unset {
        for part in parts(settings, capabilities) {
            match part.fate {
                Fate::Passed(_) => passed.extend(part.flows),
                Fate::Refused(_) => refused.extend(part.flows),
            }
        }
    }
    (passed, refused)
}
