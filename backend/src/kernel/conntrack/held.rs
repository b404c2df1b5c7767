//! Who holds how many conntrack entries: counted while the kernel's list streams by, so that a full table costs no memory. And all of
//! somebody's, ended.

use std::cell::{Cell, RefCell};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use super::super::netlink::{Message, Request, Socket, attribute};
use super::{CTA_TUPLE_ORIG, Error, IPCTNL_MSG_CT_GET, IPCTNL_MSG_CT_NEW, end, entry, header, tuple};

/// Entries begun by each of the addresses in `whose`, by the hardware address that this says. Blocking.
pub(in crate::kernel) fn held(whose: &HashMap<IpAddr, [u8; 6]>) -> Result<HashMap<[u8; 6], u64>, Error> {
    let request = Request::list(IPCTNL_MSG_CT_GET, &header(0));
    let counted: RefCell<HashMap<[u8; 6], u64>> = RefCell::default();
    let count = |message: &Message<'_>| -> Option<()> {
        let owner = whose.get(&begun_by(message)?)?;
        *counted.borrow_mut().entry(*owner).or_default() += 1;
        None
    };
    Socket::netfilter()
        .and_then(|mut socket| socket.list_from(&request, || counted.borrow_mut().clear(), count))
        .map_err(|source| Error::Netlink { what: "count connections".into(), source })?;
    Ok(counted.into_inner())
}

/// Entries that are ended at a time: 5 MB.
const AT_ONCE: usize = 16_384;
/// So often, if whoever it is goes on opening more.
const ROUNDS: usize = 64;

/// Deletes the entries begun by any of `addresses`; returns how many were there. Blocking.
pub(in crate::kernel) fn end_begun_by(addresses: &HashSet<IpAddr>) -> Result<usize, Error> {
    let request = Request::list(IPCTNL_MSG_CT_GET, &header(0));
    let mut ended = 0;
    for _ in 0..ROUNDS {
        let kept = Cell::new(0);
        let some = |message: &Message<'_>| {
            let theirs = kept.get() < AT_ONCE && addresses.contains(&begun_by(message)?);
            let flow = theirs.then(|| entry(message, |_, _| true)).flatten()?;
            kept.set(kept.get() + 1);
            Some(flow)
        };
        let flows = Socket::netfilter()
            .and_then(|mut socket| socket.list_from(&request, || kept.set(0), some))
            .map_err(|source| Error::Netlink { what: "list connections".into(), source })?;
        ended += end(&flows)?;
        if flows.len() < AT_ONCE {
            break;
        }
    }
    Ok(ended)
}

/// The source of the first packet.
fn begun_by(message: &Message<'_>) -> Option<IpAddr> {
    if message.kind != IPCTNL_MSG_CT_NEW {
        return None;
    }
    let inside = message.payload.get(4..)?;
    Some(tuple(attribute(inside, CTA_TUPLE_ORIG)?)?.source)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, Ipv6Addr};

    use super::super::super::netlink::{damaged, messages, recorded};
    use super::super::tests::{GRE, SIX, TCP, ZONE};
    use super::*;

    #[test]
    fn an_entry_is_whoevers_first_packet_it_was_in_either_family_and_in_any_zone() {
        for (hex, source) in [
            (TCP, Ipv4Addr::LOCALHOST.into()),
            (ZONE, Ipv4Addr::LOCALHOST.into()),
            (GRE, Ipv4Addr::LOCALHOST.into()),
            (SIX, IpAddr::from(Ipv6Addr::LOCALHOST)),
        ] {
            let bytes = recorded(hex);
            assert_eq!(messages(&bytes).filter_map(|m| begun_by(&m)).collect::<Vec<_>>(), [source]);
        }
    }

    #[test]
    fn foreign_bytes_do_no_harm() {
        for hex in [TCP, ZONE, SIX, GRE] {
            damaged(&recorded(hex), |message| {
                let _ = begun_by(message);
            });
        }
    }
}
