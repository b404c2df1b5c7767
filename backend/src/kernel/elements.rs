//! What rules have learnt: the elements of our sets and maps, read and put back as bytes. Only a few sets are ever asked for, and
//! only so many of each. nft 1.0.6 would read every element of every set, and cannot read back what it writes for raw payload keys.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::io;

use rustix::io::Errno;

use super::netlink::{Message, Request, Socket, attribute, attributes, net_u64, word};
use super::table::{INET, NAME, SUBSYSTEM};
use super::{Counter, Element, Error};

// include/uapi/linux/netfilter/nf_tables.h
const NFT_MSG_NEWSETELEM: u16 = SUBSYSTEM | 12;
const NFT_MSG_GETSETELEM: u16 = SUBSYSTEM | 13;
const NFT_MSG_DELSETELEM: u16 = SUBSYSTEM | 14;
const NFTA_SET_ELEM_LIST_TABLE: u16 = 1;
const NFTA_SET_ELEM_LIST_SET: u16 = 2;
const NFTA_SET_ELEM_LIST_ELEMENTS: u16 = 3;
const NFTA_LIST_ELEM: u16 = 1;
const NFTA_SET_ELEM_KEY: u16 = 1;
const NFTA_SET_ELEM_DATA: u16 = 2;
const NFTA_SET_ELEM_TIMEOUT: u16 = 4;
const NFTA_SET_ELEM_EXPIRATION: u16 = 5;
const NFTA_SET_ELEM_EXPR: u16 = 7;
const NFTA_DATA_VALUE: u16 = 1;

/// Elements in one request: it must fit into an attribute, 64 KiB, with at most 100 bytes each.
const AT_ONCE: usize = 256;

/// At most `most` elements of each. Blocking.
pub(super) fn read(
    sets: &[&'static str],
    most: usize,
) -> Result<BTreeMap<&'static str, Vec<Element>>, Error> {
    let refused = |source| Error::Netlink { what: "show what the rules have learnt".into(), source };
    let mut socket = Socket::netfilter().map_err(refused)?;
    let mut found = BTreeMap::new();
    for set in sets.iter().copied() {
        found.insert(set, one(&mut socket, set, most).map_err(refused)?);
    }
    Ok(found)
}

/// At most `most` elements of one. Blocking.
pub(super) fn read_one(set: &str, most: usize) -> Result<Vec<Element>, Error> {
    let refused = |source| Error::Netlink { what: "show what the rules have learnt".into(), source };
    let mut socket = Socket::netfilter().map_err(refused)?;
    one(&mut socket, set, most).map_err(refused)
}

/// Takes out what is there of `elements`, one at a time: one that has timed out meanwhile keeps none of the others. Blocking.
pub(super) fn remove(set: &str, elements: &[Element]) -> Result<(), Error> {
    let refused = |source| Error::Netlink { what: "forget what the rules have learnt".into(), source };
    let mut socket = Socket::netfilter().map_err(refused)?;
    for element in elements {
        match send(&mut socket, NFT_MSG_DELSETELEM, set, std::slice::from_ref(element)) {
            Err(e) if e.raw_os_error() != Some(Errno::NOENT.raw_os_error()) => return Err(refused(e)),
            _ => {}
        }
    }
    Ok(())
}

fn one(socket: &mut Socket, set: &str, most: usize) -> io::Result<Vec<Element>> {
    let request = Request::list(NFT_MSG_GETSETELEM, &[INET, 0, 0, 0])
        .word(NFTA_SET_ELEM_LIST_TABLE, NAME)
        .word(NFTA_SET_ELEM_LIST_SET, set);
    let kept = Cell::new(0);
    let several = |message: &Message<'_>| {
        let mut all = elements(message)?;
        all.truncate(most.saturating_sub(kept.get()));
        kept.set(kept.get() + all.len());
        Some(all)
    };
    match socket.list_from(&request, || kept.set(0), several) {
        Ok(lists) => Ok(lists.into_iter().flatten().collect()),
        // Not there: rules of another kind are loaded.
        Err(e) if e.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(Vec::new()),
        Err(e) => Err(e),
    }
}

pub(super) fn elements(message: &Message<'_>) -> Option<Vec<Element>> {
    if message.kind != NFT_MSG_NEWSETELEM || message.payload.first() != Some(&INET) {
        return None;
    }
    let inside = message.payload.get(4..)?;
    word(attribute(inside, NFTA_SET_ELEM_LIST_TABLE)?).filter(|table| *table == NAME)?;
    Some(
        attributes(attribute(inside, NFTA_SET_ELEM_LIST_ELEMENTS)?)
            .filter_map(|(_, one)| element(one))
            .collect(),
    )
}

fn element(bytes: &[u8]) -> Option<Element> {
    let value =
        |kind| attribute(bytes, kind).and_then(|data| attribute(data, NFTA_DATA_VALUE)).map(<[u8]>::to_vec);
    let milliseconds = |kind| attribute(bytes, kind).and_then(net_u64);
    Some(Element {
        key: value(NFTA_SET_ELEM_KEY)?,
        data: value(NFTA_SET_ELEM_DATA).unwrap_or_default(),
        timeout_ms: milliseconds(NFTA_SET_ELEM_TIMEOUT),
        rest_ms: milliseconds(NFTA_SET_ELEM_EXPIRATION),
        counted: attribute(bytes, NFTA_SET_ELEM_EXPR).and_then(counter),
    })
}

/// An expression that counts: NFTA_EXPR_NAME, NFTA_EXPR_DATA; in it NFTA_COUNTER_BYTES and NFTA_COUNTER_PACKETS.
fn counter(expression: &[u8]) -> Option<Counter> {
    let name = attribute(expression, 1).and_then(word)?;
    let data = attribute(expression, 2).filter(|_| name == "counter")?;
    Some(Counter { bytes: net_u64(attribute(data, 1)?)?, packets: net_u64(attribute(data, 2)?)? })
}

/// Adds `elements`; one whose key is there already gets the new value. Returns how many the kernel took: what it refuses,
/// because the set is not there, full, or of another kind, is left out. Blocking.
pub(super) fn add(elements: &BTreeMap<String, Vec<Element>>) -> Result<usize, Error> {
    let refused = |source| Error::Netlink { what: "put back what the rules have learnt".into(), source };
    let mut socket = Socket::netfilter().map_err(refused)?;
    let mut taken = 0;
    for (set, all) in elements {
        for some in all.chunks(AT_ONCE) {
            if send(&mut socket, NFT_MSG_NEWSETELEM, set, some).is_ok() {
                taken += some.len();
                continue;
            }
            // One is refused: find out which.
            for one in some {
                taken += usize::from(replace(&mut socket, set, std::slice::from_ref(one)).is_ok());
            }
        }
    }
    Ok(taken)
}

/// A map's element with another value cannot be overwritten (EBUSY, nft_add_set_elem).
fn replace(socket: &mut Socket, set: &str, one: &[Element]) -> io::Result<()> {
    match send(socket, NFT_MSG_NEWSETELEM, set, one) {
        Err(e) if e.raw_os_error() == Some(Errno::BUSY.raw_os_error()) => {
            send(socket, NFT_MSG_DELSETELEM, set, one)?;
            send(socket, NFT_MSG_NEWSETELEM, set, one)
        }
        other => other,
    }
}

/// One transaction, all of one set.
fn send(socket: &mut Socket, kind: u16, set: &str, elements: &[Element]) -> io::Result<()> {
    let request = Request::new(kind, &[INET, 0, 0, 0]).creating();
    let request = request.word(NFTA_SET_ELEM_LIST_TABLE, NAME).word(NFTA_SET_ELEM_LIST_SET, set);
    let list = elements.iter().fold(Request::part(), |list, element| {
        let data = |bytes: &[u8]| Request::part().attribute(NFTA_DATA_VALUE, bytes).inside();
        let mut one = Request::part().nested(NFTA_SET_ELEM_KEY, &data(&element.key));
        if kind == NFT_MSG_NEWSETELEM {
            if !element.data.is_empty() {
                one = one.nested(NFTA_SET_ELEM_DATA, &data(&element.data));
            }
            if let Some(milliseconds) = element.timeout_ms {
                one = one.attribute(NFTA_SET_ELEM_TIMEOUT, &milliseconds.to_be_bytes());
            }
        }
        list.nested(NFTA_LIST_ELEM, &one.inside())
    });
    socket.transact(&request.nested(NFTA_SET_ELEM_LIST_ELEMENTS, &list.inside()))
}

#[cfg(test)]
mod tests {
    use super::super::netlink::{damaged, messages};
    use super::*;

    /// What the kernel would say of one element of `esp_in`.
    fn said(table: &str) -> Vec<u8> {
        let data = |bytes: &[u8]| Request::part().attribute(NFTA_DATA_VALUE, bytes).inside();
        let one = Request::part()
            .nested(NFTA_SET_ELEM_KEY, &data(&[203, 0, 113, 9, 1, 2, 3, 4]))
            .nested(NFTA_SET_ELEM_DATA, &data(&[7, 1, 0, 0]))
            .attribute(NFTA_SET_ELEM_TIMEOUT, &3_600_000u64.to_be_bytes())
            .attribute(NFTA_SET_ELEM_EXPIRATION, &60_000u64.to_be_bytes());
        Request::new(NFT_MSG_NEWSETELEM, &[INET, 0, 0, 0])
            .word(NFTA_SET_ELEM_LIST_TABLE, table)
            .word(NFTA_SET_ELEM_LIST_SET, "esp_in")
            .nested(
                NFTA_SET_ELEM_LIST_ELEMENTS,
                &Request::part().nested(NFTA_LIST_ELEM, &one.inside()).inside(),
            )
            .sealed(1)
    }

    #[test]
    fn an_element_of_our_table_is_read_whole() {
        let expected = Element {
            key: vec![203, 0, 113, 9, 1, 2, 3, 4],
            data: vec![7, 1, 0, 0],
            timeout_ms: Some(3_600_000),
            rest_ms: Some(60_000),
            counted: None,
        };
        assert_eq!(
            messages(&said(NAME)).filter_map(|m| elements(&m)).flatten().collect::<Vec<_>>(),
            [expected]
        );
        assert!(messages(&said("other")).all(|m| elements(&m).is_none()));
    }

    #[test]
    fn damaged_elements_are_no_panic() {
        damaged(&said(NAME), |message| drop(elements(message)));
    }
}
