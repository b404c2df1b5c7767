//! Conntrack entries: read, counted, deleted.
//!
//! Numbers are those of include/uapi/linux/netfilter/nfnetlink_conntrack.h; netfilter sends its own in network order.

mod entries;
mod held;

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::io::Errno;

use super::netlink::{
    Listener, Message, Request, Socket, attribute, attributes, net_u16, net_u32, net_u64, word,
};
use super::{Announcer, Counter, Error, Event, Flow, FlowHandle, FlowMatch};

pub(super) use entries::entries;
pub(super) use held::{end_begun_by, held};

const SUBSYSTEM: u16 = 1 << 8;
const IPCTNL_MSG_CT_NEW: u16 = SUBSYSTEM;
const IPCTNL_MSG_CT_GET: u16 = SUBSYSTEM | 1;
const IPCTNL_MSG_CT_DELETE: u16 = SUBSYSTEM | 2;

/// NFNLGRP_CONNTRACK_NEW, _UPDATE and _DESTROY (nfnetlink_compat.h).
const GROUPS: [u32; 3] = [1, 2, 3];
/// netlink.h: this message tells of something that is new.
const NLM_F_CREATE: u16 = 0x400;

const CTA_TUPLE_ORIG: u16 = 1;
const CTA_TUPLE_REPLY: u16 = 2;
const CTA_STATUS: u16 = 3;
const CTA_PROTOINFO: u16 = 4;
const CTA_HELP: u16 = 5;
const CTA_COUNTERS_ORIG: u16 = 9;
const CTA_COUNTERS_REPLY: u16 = 10;
const CTA_ID: u16 = 12;
const CTA_TUPLE_MASTER: u16 = 14;
const CTA_ZONE: u16 = 18;
const CTA_TUPLE_ZONE: u16 = 3;

/// nf_conntrack_common.h: packets of both directions were seen.
const IPS_SEEN_REPLY: u32 = 1 << 1;

/// struct nfgenmsg (nfnetlink.h): address family, version 0, and a resource id that conntrack does not use.
const fn header(family: u8) -> [u8; 4] {
    [family, 0, 0, 0]
}

/// The entries that match any of `wanted` or that a helper announced, IPv4 and IPv6. Only these are kept while the kernel's list streams by.
pub(super) fn list(wanted: &[FlowMatch]) -> Result<Vec<Flow>, Error> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    // Family 0 lists every family in one pass over the kernel's table (ctnetlink_dump_table). Kernel-side filters
    // (CTA_FILTER, 5.8) are ignored in silence by older kernels, so the check is here in any case.
    let request = Request::list(IPCTNL_MSG_CT_GET, &header(0));
    Socket::netfilter()
        .and_then(|mut socket| socket.list(&request, |message| flow(message, wanted)))
        .map_err(|source| Error::Netlink { what: "list connections".into(), source })
}

/// Deletes entries; returns how many were still there. The GRE entries of a PPTP control flow go with it: the kernel's
/// helper deletes its expected connections when their master goes (`pptp_destroy_siblings`, nf_conntrack_pptp.c).
pub(super) fn end(flows: &[Flow]) -> Result<usize, Error> {
    if flows.is_empty() {
        return Ok(0);
    }
    let refused = |source| Error::Netlink { what: "end a connection".into(), source };
    let mut socket = Socket::netfilter().map_err(refused)?;
    let mut ended = 0;
    for flow in flows {
        match socket.ask(&delete(flow).map_err(refused)?) {
            Ok(()) => ended += 1,
            // It ended by itself. A newer entry with its tuple has another id, unless it lies in the same memory
            // (nf_ct_get_id): then the same two parties began the same connection anew, and it ends with the old one.
            Err(e) if e.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => {}
            Err(source) => return Err(refused(source)),
        }
    }
    Ok(ended)
}

/// Deletes the entries whose answers come to `address`: those that are translated to it, and the box's own. The kernel
/// does so by itself for what it has masqueraded (`masq_inet_event`, nf_nat_masquerade.c), but not for what a helper
/// announced: a GRE call is translated as its control connection was.
pub(super) fn forget(address: Ipv4Addr) -> Result<usize, Error> {
    let request = Request::list(IPCTNL_MSG_CT_GET, &header(0));
    let refused = |source| Error::Netlink { what: "list connections".into(), source };
    let answered_at = |message: &Message<'_>| {
        let reply = message.payload.get(4..).and_then(|inside| attribute(inside, CTA_TUPLE_REPLY));
        reply.and_then(tuple).is_some_and(|reply| reply.destination == address)
    };
    let there = |message: &Message<'_>| {
        let listed = message.kind == IPCTNL_MSG_CT_NEW && answered_at(message);
        listed.then(|| entry(message, |_, _| true)).flatten()
    };
    let mut socket = Socket::netfilter().map_err(refused)?;
    end(&socket.list(&request, there).map_err(refused)?)
}

/// A delete request without a tuple would flush the whole table (`ctnetlink_del_conntrack`): never sent.
fn delete(flow: &Flow) -> io::Result<Request> {
    let FlowHandle { id, family, tuple } = &flow.handle;
    if tuple.is_empty() || tuple.len() > 1024 {
        return Err(io::Error::from(Errno::INVAL));
    }
    let request = Request::new(IPCTNL_MSG_CT_DELETE, &header(*family)).nested(CTA_TUPLE_ORIG, tuple);
    // A zone of one direction is in the tuple; one of both is beside it, and the kernel wants no second one.
    let request = match (flow.zone, attribute(tuple, CTA_TUPLE_ZONE)) {
        (0, _) | (_, Some(_)) => request,
        (zone, None) => request.attribute(CTA_ZONE, &zone.to_be_bytes()),
    };
    Ok(request.attribute(CTA_ID, &id.to_be_bytes()))
}

/// What the kernel tells of entries whose rule asked for it (`ct event set`).
#[derive(Debug)]
pub(super) struct Events(Listener);

impl Events {
    /// From now on. Needs a runtime of tokio, and CAP_NET_ADMIN.
    pub(super) fn listen() -> Result<Self, Error> {
        let refused = |source| Error::Netlink { what: "tell of connections".into(), source };
        Listener::netfilter(&GROUPS).map(Self).map_err(refused)
    }

    /// Waits for the next ones.
    pub(super) async fn next(&mut self) -> io::Result<Vec<Event>> {
        Ok(self.0.next(event).await?.unwrap_or_else(|| vec![Event::Missed]))
    }
}

/// `ctnetlink_conntrack_event` (nf_conntrack_netlink.c) tells new and changed entries by one kind of message.
pub(super) fn event(message: &Message<'_>) -> Option<Event> {
    let flow = entry(message, |_, _| true)?;
    match message.kind {
        IPCTNL_MSG_CT_NEW if message.flags & NLM_F_CREATE != 0 => Some(Event::New(flow)),
        IPCTNL_MSG_CT_NEW => Some(Event::Update(flow)),
        IPCTNL_MSG_CT_DELETE => Some(Event::Destroy(flow)),
        _ => None,
    }
}

/// Entries in all, and how many fit. Zeros as long as the kernel has no conntrack.
pub(super) fn fill() -> (u64, u64) {
    let number = |name| {
        let text = fs::read_to_string(format!("/proc/sys/net/netfilter/{name}")).unwrap_or_default();
        text.trim().parse().unwrap_or(0)
    };
    (number("nf_conntrack_count"), number("nf_conntrack_max"))
}

/// An entry, if it matches. Bytes that are not one are not one that matches.
fn flow(message: &Message<'_>, wanted: &[FlowMatch]) -> Option<Flow> {
    if message.kind != IPCTNL_MSG_CT_NEW {
        return None;
    }
    entry(message, |tuple, announced| announced || wanted.iter().any(|w| matches(w, tuple)))
}

/// An entry that is `wanted`: by its first packet, and whether a helper announced it.
fn entry(message: &Message<'_>, wanted: impl Fn(&Tuple, bool) -> bool) -> Option<Flow> {
    let family = *message.payload.first()?;
    let inside = message.payload.get(4..)?;
    let raw = attribute(inside, CTA_TUPLE_ORIG)?;
    let tuple = tuple(raw)?;
    let master = attribute(inside, CTA_TUPLE_MASTER);
    if !wanted(&tuple, master.is_some()) {
        return None;
    }
    let mut flow = Flow {
        protocol: tuple.protocol,
        client: tuple.source,
        client_port: tuple.source_port,
        server: tuple.destination,
        server_port: tuple.destination_port,
        zone: tuple.zone,
        helper: None,
        announced_by: master.and_then(announcer),
        answered: false,
        tcp_state: None,
        sent: Counter::default(),
        received: Counter::default(),
        handle: FlowHandle { id: 0, family, tuple: raw.to_vec() },
    };
    for (kind, value) in attributes(inside) {
        match kind {
            CTA_STATUS => flow.answered = net_u32(value)? & IPS_SEEN_REPLY != 0,
            // CTA_PROTOINFO_TCP, in it CTA_PROTOINFO_TCP_STATE
            CTA_PROTOINFO => {
                flow.tcp_state = attribute(value, 1).and_then(|t| attribute(t, 1)?.first().copied())
            }
            // CTA_HELP_NAME
            CTA_HELP => flow.helper = attribute(value, 1).and_then(word).map(str::to_owned),
            CTA_COUNTERS_ORIG => flow.sent = counter(value)?,
            CTA_COUNTERS_REPLY => flow.received = counter(value)?,
            CTA_ID => flow.handle.id = net_u32(value)?,
            CTA_ZONE => flow.zone = net_u16(value)?,
            _ => {}
        }
    }
    Some(flow)
}

fn matches(wanted: &FlowMatch, tuple: &Tuple) -> bool {
    wanted.protocol == tuple.protocol && wanted.server_port.is_none_or(|p| p == tuple.destination_port)
}

fn announcer(raw: &[u8]) -> Option<Announcer> {
    let Tuple { protocol, destination_port, .. } = tuple(raw)?;
    Some(Announcer { protocol, server_port: destination_port, tuple: raw.to_vec() })
}

struct Tuple {
    protocol: u8,
    source: IpAddr,
    source_port: u16,
    destination: IpAddr,
    destination_port: u16,
    zone: u16,
}

/// CTA_TUPLE_IP (1), CTA_TUPLE_PROTO (2), and a zone if it is one for this direction only.
fn tuple(bytes: &[u8]) -> Option<Tuple> {
    let addresses = attribute(bytes, 1)?;
    let (source, destination) = match attribute(addresses, 1) {
        Some(v4) => (v4_address(v4)?, v4_address(attribute(addresses, 2)?)?),
        None => (v6_address(attribute(addresses, 3)?)?, v6_address(attribute(addresses, 4)?)?),
    };
    let protocol = attribute(bytes, 2)?;
    // CTA_PROTO_SRC_PORT (2) and CTA_PROTO_DST_PORT (3) also carry the two GRE keys: gre.key lies where ports lie in
    // union nf_conntrack_man_proto, and GRE names nf_ct_port_tuple_to_nlattr as its writer (proto_gre.c).
    let port = |kind| attribute(protocol, kind).and_then(net_u16).unwrap_or(0);
    Some(Tuple {
        protocol: *attribute(protocol, 1)?.first()?,
        source,
        source_port: port(2),
        destination,
        destination_port: port(3),
        zone: attribute(bytes, CTA_TUPLE_ZONE).and_then(net_u16).unwrap_or(0),
    })
}

fn v4_address(value: &[u8]) -> Option<IpAddr> {
    <[u8; 4]>::try_from(value).ok().map(|b| Ipv4Addr::from(b).into())
}

fn v6_address(value: &[u8]) -> Option<IpAddr> {
    <[u8; 16]>::try_from(value).ok().map(|b| Ipv6Addr::from(b).into())
}

/// CTA_COUNTERS_PACKETS (1) and CTA_COUNTERS_BYTES (2).
fn counter(value: &[u8]) -> Option<Counter> {
    Some(Counter { packets: net_u64(attribute(value, 1)?)?, bytes: net_u64(attribute(value, 2)?)? })
}

#[cfg(test)]
mod tests;
