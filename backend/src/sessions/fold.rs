//! From conntrack entries to sessions.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::{Call, Folded, Kind, Learnt, OPENVPN, Part, Session, State, Traffic, WIREGUARD, device};
use crate::kernel::{Entries, Entry, Flow, Timeouts};
use crate::settings::Settings;

const TCP: u8 = 6;
const UDP: u8 = 17;
const GRE: u8 = 47;
const ESP: u8 = 50;
const AH: u8 = 51;
const L2TPV3: u8 = 115;
const IKE: u16 = 500;
const NAT_TRAVERSAL: u16 = 4500;
/// nf_conntrack_tcp.h: ESTABLISHED; FIN_WAIT, CLOSE_WAIT, LAST_ACK, TIME_WAIT, CLOSE.
const ESTABLISHED: u8 = 3;
const OVER: [u8; 5] = [4, 5, 6, 7, 8];

/// Most connections of a session that are told one by one: of one protocol and port, and in all. Its bytes are those of all.
const MOST_OF_A_KIND: usize = 4;
const MOST_PARTS: usize = 32;
/// Most calls of a PPTP control connection that are told by their numbers.
const MOST_CALLS: usize = 32;
/// Most SPIs that are told.
const MOST_SPIS: usize = 64;

/// Whose addresses are whose.
pub struct Home<'a> {
    /// Ports and protocols.
    pub settings: &'a Settings,
    /// Whether a device of the home has this address.
    pub inside: &'a dyn Fn(IpAddr) -> bool,
}

/// One entry seen from the device, whoever began it.
struct Seen<'a> {
    flow: &'a Flow,
    zone: u16,
    device: IpAddr,
    device_port: u16,
    server: IpAddr,
    part: Part,
}

impl<'a> Seen<'a> {
    fn of(entry: &'a Entry, timeouts: &Timeouts, home: &Home<'_>) -> Option<Self> {
        let flow = &entry.flow;
        let from_device = (home.inside)(flow.client);
        if from_device && (home.inside)(flow.server) || !from_device && !(home.inside)(entry.answerer()) {
            return None;
        }
        let one_way = |counter: crate::kernel::Counter| (counter.bytes, counter.packets);
        let (out, back) = match from_device {
            true => (one_way(flow.sent), one_way(flow.received)),
            false => (one_way(flow.received), one_way(flow.sent)),
        };
        let traffic =
            Traffic { sent: out.0, received: back.0, packets_sent: out.1, packets_received: back.1 };
        let (device, device_port) =
            if from_device { (flow.client, flow.client_port) } else { entry.answers_from };
        let (server, server_port) =
            if from_device { (flow.server, flow.server_port) } else { (flow.client, flow.client_port) };
        let part = Part {
            protocol: flow.protocol,
            server_port,
            answered: flow.answered,
            from_device,
            tcp_state: flow.tcp_state,
            helped: flow.helper.as_deref() == Some("pptp"),
            traffic: entry.counted.then_some(traffic),
            idle: entry.idle(timeouts).map(u64::from),
            since: entry.since,
        };
        Some(Self { flow, zone: flow.zone, device, device_port, server, part })
    }

    fn is(&self, protocol: u8, ports: &[u16]) -> bool {
        self.part.protocol == protocol && ports.contains(&self.part.server_port)
    }
}

/// What is put together into one session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Group {
    /// By the device's port of the control connection.
    Pptp(u16),
    Gre,
    L2tp,
    L2tpv3,
    Ipsec,
    Openvpn,
    Wireguard,
}

/// Sessions in order of their names.
pub fn fold(entries: &Entries, learnt: &Learnt, home: &Home<'_>) -> Vec<Folded> {
    let seen: Vec<Seen<'_>> =
        entries.entries.iter().filter_map(|entry| Seen::of(entry, &entries.timeouts, home)).collect();
    let numbers = |list: &crate::settings::names::PortList| -> Vec<u16> {
        list.iter().map(|port| port.number()).collect()
    };
    let pptp = numbers(&home.settings.passthrough.pptp.ports);
    let l2tp = numbers(&home.settings.passthrough.l2tp.ports);
    // Whose GRE it is: the helper announced it by the control connection's own tuple.
    let control: BTreeMap<&[u8], u16> = seen
        .iter()
        .filter(|one| one.is(TCP, &pptp))
        .map(|one| (one.flow.handle.tuple.as_slice(), one.device_port))
        .collect();
    let mut groups: BTreeMap<(IpAddr, IpAddr, Group), Vec<Seen<'_>>> = BTreeMap::new();
    for one in seen {
        let announcer = one.flow.announced_by.as_ref();
        let group = if one.is(TCP, &pptp) {
            Group::Pptp(one.device_port)
        } else if one.part.protocol == GRE {
            announcer.and_then(|by| control.get(by.tuple.as_slice())).map_or(Group::Gre, |p| Group::Pptp(*p))
        } else if one.is(UDP, &l2tp) || moved(&one, &l2tp) {
            Group::L2tp
        } else if one.part.protocol == L2TPV3 {
            Group::L2tpv3
        } else if one.is(UDP, &[IKE, NAT_TRAVERSAL]) || [ESP, AH].contains(&one.part.protocol) {
            Group::Ipsec
        } else if one.is(UDP, &[OPENVPN]) || one.is(TCP, &[OPENVPN]) {
            Group::Openvpn
        } else if one.is(UDP, &[WIREGUARD]) {
            Group::Wireguard
        } else {
            continue;
        };
        groups.entry((one.device, one.server, group)).or_default().push(one);
    }
    // Bare L2TP beside IPsec with the same server is one connection to people.
    let both: Vec<(IpAddr, IpAddr)> = groups
        .keys()
        .filter(|(device, server, group)| {
            *group == Group::L2tp && groups.contains_key(&(*device, *server, Group::Ipsec))
        })
        .map(|(device, server, _)| (*device, *server))
        .collect();
    for (device, server) in both {
        let l2tp = groups.remove(&(device, server, Group::L2tp)).unwrap_or_default();
        groups.entry((device, server, Group::Ipsec)).or_default().extend(l2tp);
    }
    groups.into_iter().map(|((_, _, group), parts)| session(group, parts, learnt, &l2tp)).collect()
}

/// A called server that answers from another port began this entry; what we know of it is the caller's own port.
fn moved(one: &Seen<'_>, l2tp: &[u16]) -> bool {
    one.part.protocol == UDP && !one.part.from_device && l2tp.contains(&one.device_port)
}

fn session(group: Group, mut parts: Vec<Seen<'_>>, learnt: &Learnt, l2tp: &[u16]) -> Folded {
    // What begins a tunnel comes first: TCP, UDP 500, UDP 4500, GRE, ESP. Of one kind, what moved last.
    parts.sort_by_key(|one| (one.part.protocol, one.part.server_port, one.part.idle));
    let (address, server) = (parts[0].device, parts[0].server);
    let has = |protocol| parts.iter().any(|one| one.part.protocol == protocol);
    let kind = match group {
        Group::Pptp(_) => Kind::Pptp,
        Group::Gre => Kind::Gre,
        Group::L2tp => Kind::L2tp,
        Group::L2tpv3 => Kind::L2tpv3,
        Group::Openvpn => Kind::Openvpn,
        Group::Wireguard => Kind::Wireguard,
        Group::Ipsec if parts.iter().any(|one| one.is(UDP, l2tp)) => Kind::L2tpIpsec,
        Group::Ipsec if parts.iter().any(|one| one.is(UDP, &[NAT_TRAVERSAL])) => Kind::IpsecNatT,
        Group::Ipsec if has(ESP) => Kind::IpsecEsp,
        Group::Ipsec if has(AH) => Kind::IpsecAh,
        Group::Ipsec => Kind::Ike,
    };
    let zone = parts.iter().map(|one| one.zone).find(|zone| *zone != 0);
    let of_server = |ask: &dyn Fn(std::net::Ipv4Addr, u16) -> bool| match (server, zone) {
        (IpAddr::V4(server), Some(zone)) => ask(server, zone),
        _ => false,
    };
    let mut spis = match (server, zone) {
        (IpAddr::V4(server), Some(zone)) => learnt.spis(server, zone),
        _ => Vec::new(),
    };
    spis.truncate(MOST_SPIS);
    let state = if of_server(&|server, zone| learnt.waits(server, zone)) {
        State::Waiting
    } else if of_server(&|server, zone| learnt.on_probation(server, zone)) {
        State::Pairing
    } else {
        state(kind, &parts)
    };
    let calls = parts.iter().filter(|one| kind == Kind::Pptp && one.part.protocol == GRE);
    let mut calls: Vec<Call> =
        calls.map(|one| Call { device: one.device_port, server: one.part.server_port }).collect();
    calls.sort_unstable();
    calls.dedup();
    calls.truncate(MOST_CALLS);
    let mut id = format!("{}-{address}-{server}", kind_of_id(group));
    if let Group::Pptp(port) = group {
        id += &format!("-{port}");
    }
    let port =
        parts.iter().find(|one| [TCP, UDP].contains(&one.part.protocol)).map(|one| one.part.server_port);
    let traffic = |one: &Seen<'_>| one.part.traffic;
    Folded {
        flows: parts.iter().map(|one| one.flow.clone()).collect(),
        session: Session {
            id,
            kind,
            device: device(address, None),
            server,
            server_name: None,
            server_port: port,
            state,
            since: parts.iter().filter_map(|one| one.part.since).min(),
            idle: parts.iter().filter_map(|one| one.part.idle).min(),
            // One part that nobody counted makes the sum a lie.
            traffic: parts.iter().map(traffic).try_fold(Traffic::default(), |sum, one| Some(sum.plus(one?))),
            calls,
            spis,
            samples: Vec::new(),
            can_end: kind.passthrough().is_some() && address.is_ipv4() && server.is_ipv4(),
            parts: few(parts.into_iter().map(|one| one.part)),
        },
    }
}

/// The first of each kind: a device can open thousands of ports to one server, and the page must stay small.
fn few(parts: impl Iterator<Item = Part>) -> Vec<Part> {
    let mut seen: BTreeMap<(u8, u16), usize> = BTreeMap::new();
    let mut first = |part: &Part| {
        let count = seen.entry((part.protocol, part.server_port)).or_default();
        *count += 1;
        *count <= MOST_OF_A_KIND
    };
    parts.filter(|part| first(part)).take(MOST_PARTS).collect()
}

/// The first word of a session's name: it does not change when NAT-T begins, or ESP.
fn kind_of_id(group: Group) -> &'static str {
    match group {
        Group::Pptp(_) => "pptp",
        Group::Gre => "gre",
        Group::L2tp => "l2tp",
        Group::L2tpv3 => "l2tpv3",
        Group::Ipsec => "ipsec",
        Group::Openvpn => "openvpn",
        Group::Wireguard => "wireguard",
    }
}

fn state(kind: Kind, parts: &[Seen<'_>]) -> State {
    let answered = |one: &Seen<'_>| one.part.answered;
    match kind {
        Kind::Pptp => pptp(parts),
        // Keys alone are no tunnel.
        Kind::Ike if parts.iter().any(answered) => State::Halfway,
        Kind::IpsecNatT | Kind::IpsecEsp | Kind::IpsecAh | Kind::L2tpIpsec => {
            let tunnel = |one: &&Seen<'_>| !one.is(UDP, &[IKE]);
            match (parts.iter().filter(tunnel).any(answered), parts.iter().any(answered)) {
                (true, _) => State::Open,
                (false, true) => State::Halfway,
                (false, false) => State::Calling,
            }
        }
        _ if parts.iter().any(answered) => State::Open,
        _ => State::Calling,
    }
}

fn pptp(parts: &[Seen<'_>]) -> State {
    let control = parts.iter().find(|one| one.part.protocol == TCP);
    let Some((control, tcp)) = control.and_then(|one| Some((one, one.part.tcp_state?))) else {
        return State::Halfway;
    };
    if OVER.contains(&tcp) {
        return State::Ending;
    }
    if tcp != ESTABLISHED {
        return State::Calling;
    }
    // The helper knows IPv4 only, and over IPv6 there is no NAT that would need it.
    if !control.part.helped && control.device.is_ipv4() {
        return State::MustRedial;
    }
    let gre: Vec<&Seen<'_>> = parts.iter().filter(|one| one.part.protocol == GRE).collect();
    // Each side may have an entry of its own, if both spoke first.
    let from = |device: bool| gre.iter().any(|one| one.part.answered || one.part.from_device == device);
    if from(true) && from(false) { State::Open } else { State::Halfway }
}
