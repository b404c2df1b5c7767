//! Conntrack entries with their age and rest, for whoever explains them: see [`crate::sessions`].

use std::cell::Cell;
use std::net::IpAddr;

use super::super::netlink::{Message, Request, Socket, attribute, net_u32, net_u64};
use super::{CTA_STATUS, Error, FlowMatch, IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_NEW, header, matches};
use crate::kernel::{Entries, Entry, Timeouts, sysctl};

const CTA_TUPLE_REPLY: u16 = 2;
const CTA_TIMEOUT: u16 = 7;
const CTA_COUNTERS_ORIG: u16 = 9;
const CTA_TIMESTAMP: u16 = 20;
/// nf_conntrack_common.h: early eviction spares it; UDP and GRE have their long timeout from then on.
const IPS_ASSURED: u32 = 1 << 2;

/// At most `most` of the entries that match or that a helper announced; the others are counted. One pass over the kernel's
/// table; what does not match costs no memory.
pub(in crate::kernel) fn entries(wanted: &[FlowMatch], most: usize) -> Result<Entries, Error> {
    let request = Request::list(IPCTNL_MSG_CT_GET, &header(0));
    // A list that changed while it was read is read anew: then these begin anew too, at its first message.
    let (kept, left_out) = (Cell::new(0), Cell::new(0));
    let parse = |message: &Message<'_>| {
        let entry = entry(message, wanted)?;
        if kept.get() >= most {
            left_out.set(left_out.get() + 1);
            return None;
        }
        kept.set(kept.get() + 1);
        Some(entry)
    };
    let begin = || {
        kept.set(0);
        left_out.set(0);
    };
    let listed = Socket::netfilter()
        .and_then(|mut socket| socket.list_from(&request, begin, parse))
        .map_err(|source| Error::Netlink { what: "list connections".into(), source })?;
    let (all, room) = super::fill();
    Ok(Entries { entries: listed, left_out: left_out.get(), all, room, timeouts: timeouts() })
}

fn entry(message: &Message<'_>, wanted: &[FlowMatch]) -> Option<Entry> {
    if message.kind != IPCTNL_MSG_CT_NEW {
        return None;
    }
    let wanted =
        |tuple: &super::Tuple, announced: bool| announced || wanted.iter().any(|w| matches(w, tuple));
    let flow = super::entry(message, wanted)?;
    let inside = message.payload.get(4..)?;
    let reply = super::tuple(attribute(inside, CTA_TUPLE_REPLY)?)?;
    // CTA_TIMESTAMP_START: nanoseconds since 1970 (`nf_conntrack_timestamp` must be 1).
    let since = attribute(inside, CTA_TIMESTAMP).and_then(|t| attribute(t, 1)).and_then(net_u64);
    Some(Entry {
        answers_from: (reply.source, reply.source_port),
        since: since.and_then(|ns| i64::try_from(ns / 1_000_000_000).ok()),
        rest: attribute(inside, CTA_TIMEOUT).and_then(net_u32),
        assured: attribute(inside, CTA_STATUS).and_then(net_u32)? & IPS_ASSURED != 0,
        counted: attribute(inside, CTA_COUNTERS_ORIG).is_some(),
        flow,
    })
}

/// What the kernel gives an entry after each of its packets, in seconds.
fn timeouts() -> Timeouts {
    let read = |name: &str| {
        sysctl::read(&format!("net/netfilter/nf_conntrack_{name}")).ok().flatten()?.trim().parse().ok()
    };
    Timeouts {
        udp: [read("udp_timeout"), read("udp_timeout_stream")],
        gre: [read("gre_timeout"), read("gre_timeout_stream")],
        other: read("generic_timeout"),
    }
}

impl Entry {
    /// Seconds since its last packet: what the kernel gave it then, less what is left. None: this kernel does not tell, and of TCP,
    /// whose timeout depends on what is on its way (`nf_conntrack_tcp_packet`).
    pub fn idle(&self, timeouts: &Timeouts) -> Option<u32> {
        let full = match self.flow.protocol {
            6 => None,
            17 => timeouts.udp[usize::from(self.assured)],
            47 => timeouts.gre[usize::from(self.assured)],
            _ => timeouts.other,
        };
        full?.checked_sub(self.rest?)
    }

    /// The address at home of a conversation that the internet began, once translated.
    pub fn answerer(&self) -> IpAddr {
        self.answers_from.0
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::netlink::{damaged, messages, recorded};
    use super::super::tests::{GRE, SIX, TCP, ZONE};
    use super::*;

    const ANY: [FlowMatch; 3] = [
        FlowMatch { protocol: 6, server_port: None },
        FlowMatch { protocol: 17, server_port: None },
        FlowMatch { protocol: 47, server_port: None },
    ];

    #[test]
    fn what_the_kernel_tells_besides_is_understood() {
        let read = |hex: &str| {
            let bytes = recorded(hex);
            messages(&bytes).find_map(|m| entry(&m, &ANY)).unwrap()
        };
        let udp = read(ZONE);
        assert_eq!((udp.rest, udp.assured, udp.counted, udp.since), (Some(29), false, true, None));
        assert_eq!(udp.answers_from, ([127, 0, 0, 2].into(), 500));
        let timeouts = Timeouts { udp: [Some(30), Some(120)], ..Timeouts::default() };
        assert_eq!(udp.idle(&timeouts), Some(1));
        assert_eq!(read(TCP).idle(&timeouts), None, "its timeout says nothing");
        assert_eq!(read(GRE).idle(&timeouts), None, "this kernel does not tell");
    }

    #[test]
    fn foreign_bytes_do_no_harm() {
        for hex in [TCP, ZONE, SIX, GRE] {
            damaged(&recorded(hex), |message| drop(entry(message, &ANY)));
        }
    }
}
