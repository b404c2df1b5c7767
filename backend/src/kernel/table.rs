//! Reads our table back: is it there, is it as we loaded it, what has it counted. All over netlink: no process, no
//! JSON (OpenWrt's smaller nft has none), 64-bit numbers, and no learnt element is ever fetched (nft 1.0.6 fetches all
//! of them even for `list counters`).
//!
//! The fingerprint is made anew only when the ruleset generation has moved: the kernel counts it up with every
//! transaction of anybody (`nf_tables_commit`), and not when a packet adds an element to a set.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use rustix::io::Errno;

use super::fingerprint::fingerprint;
use super::netlink::{Message, Request, Socket, attribute, net_u32, net_u64, word};
use super::{Counter, Error, Table};
use crate::ruleset;

/// Our one table, of family `inet`.
pub(super) const NAME: &str = "postern";

// include/uapi/linux/netfilter/nf_tables.h
pub(super) const SUBSYSTEM: u16 = 10 << 8;
const NFT_MSG_GETTABLE: u16 = SUBSYSTEM | 1;
const NFT_MSG_GETCHAIN: u16 = SUBSYSTEM | 4;
const NFT_MSG_GETRULE: u16 = SUBSYSTEM | 7;
const NFT_MSG_NEWGEN: u16 = SUBSYSTEM | 15;
const NFT_MSG_GETGEN: u16 = SUBSYSTEM | 16;
const NFT_MSG_NEWOBJ: u16 = SUBSYSTEM | 18;
const NFT_MSG_GETOBJ: u16 = SUBSYSTEM | 19;
const NFTA_TABLE_NAME: u16 = 1;
const NFTA_TABLE_USERDATA: u16 = 6;
const NFTA_OBJ_TABLE: u16 = 1;
const NFTA_OBJ_NAME: u16 = 2;
const NFTA_OBJ_TYPE: u16 = 3;
const NFTA_OBJ_DATA: u16 = 4;
const NFT_OBJECT_COUNTER: u32 = 1;
/// NFPROTO_INET.
pub(super) const INET: u8 = 1;

/// Our table and its counters. `known` is the table as of a ruleset generation; the generation of what is returned
/// comes with it, unless the rules changed meanwhile. Blocking.
pub(super) fn read(known: Option<(u32, Table)>) -> Result<Reading, Error> {
    let refused = |source| Error::Netlink { what: "show our rules".into(), source };
    let mut socket = Socket::netfilter().map_err(refused)?;
    let mut tries = 5;
    loop {
        tries -= 1;
        match once(&mut socket, &known) {
            // What was listed first has gone before it was asked for: begin again.
            Err(e) if e.raw_os_error() == Some(Errno::NOENT.raw_os_error()) && tries > 0 => {}
            other => return other.map_err(refused),
        }
    }
}

type Reading = (Option<u32>, Table, BTreeMap<String, Counter>);

fn once(socket: &mut Socket, known: &Option<(u32, Table)>) -> io::Result<Reading> {
    let before = generation(socket)?;
    let table = match known {
        Some((generation, table)) if *generation == before => table.clone(),
        _ => table(socket)?,
    };
    let counters = if table.present { counters(socket)? } else { BTreeMap::new() };
    let after = generation(socket)?;
    Ok(((before == after).then_some(after), table, counters))
}

fn generation(socket: &mut Socket) -> io::Result<u32> {
    let request = Request::new(NFT_MSG_GETGEN, &[0; 4]);
    // NFTA_GEN_ID
    let id =
        |m: &Message<'_>| net_u32(attribute(m.payload.get(4..)?, 1)?).filter(|_| m.kind == NFT_MSG_NEWGEN);
    socket.get(&request, id)?.ok_or_else(|| io::Error::from(Errno::BADMSG))
}

fn table(socket: &mut Socket) -> io::Result<Table> {
    let request = Request::new(NFT_MSG_GETTABLE, &[INET, 0, 0, 0]).word(NFTA_TABLE_NAME, NAME);
    match socket.get(&request, |m| Some(comment(m))) {
        Ok(found) => {
            let comment = found.flatten();
            let fingerprint = fingerprint(socket, comment.as_deref())?;
            let (about, chains) = (about(socket)?, chains(socket)?);
            Ok(Table { present: true, comment, about, chains, fingerprint })
        }
        Err(e) if e.raw_os_error() == Some(Errno::NOENT.raw_os_error()) => Ok(Table::default()),
        Err(e) => Err(e),
    }
}

/// The names of our table's chains. NFTA_CHAIN_TABLE, NFTA_CHAIN_NAME.
fn chains(socket: &mut Socket) -> io::Result<BTreeSet<String>> {
    let request = Request::list(NFT_MSG_GETCHAIN, &[INET, 0, 0, 0]).word(1, NAME);
    let name = |m: &Message<'_>| {
        let inside = m.payload.get(4..)?;
        let ours = m.payload.first() == Some(&INET) && word(attribute(inside, 1)?)? == NAME;
        attribute(inside, 3).filter(|_| ours).and_then(word).map(str::to_owned)
    };
    Ok(socket.list(&request, name)?.into_iter().collect())
}

/// The comment of the first rule in the chain `about`. NFTA_RULE_TABLE, NFTA_RULE_CHAIN, NFTA_RULE_USERDATA.
fn about(socket: &mut Socket) -> io::Result<Option<String>> {
    let request = Request::list(NFT_MSG_GETRULE, &[INET, 0, 0, 0]).word(1, NAME).word(2, ruleset::ABOUT);
    let said = |m: &Message<'_>| {
        let inside = m.payload.get(4..)?;
        let ours = m.payload.first() == Some(&INET)
            && word(attribute(inside, 1)?)? == NAME
            && word(attribute(inside, 2)?)? == ruleset::ABOUT;
        attribute(inside, 7).filter(|_| ours).and_then(kept_comment)
    };
    Ok(socket.list(&request, said)?.into_iter().next())
}

pub(super) fn comment(message: &Message<'_>) -> Option<String> {
    kept_comment(attribute(message.payload.get(4..)?, NFTA_TABLE_USERDATA)?)
}

/// Kind 0 (NFTNL_UDATA_TABLE_COMMENT and NFTNL_UDATA_RULE_COMMENT of libnftnl) of the bytes that nft keeps with a table
/// or a rule: kind, length, word.
fn kept_comment(mut kept: &[u8]) -> Option<String> {
    while let [kind, length, rest @ ..] = kept {
        let value = rest.get(..usize::from(*length))?;
        if *kind == 0 {
            return word(value).map(str::to_owned);
        }
        kept = &rest[value.len()..];
    }
    None
}

fn counters(socket: &mut Socket) -> io::Result<BTreeMap<String, Counter>> {
    let request = Request::list(NFT_MSG_GETOBJ, &[INET, 0, 0, 0])
        .word(NFTA_OBJ_TABLE, NAME)
        .attribute(NFTA_OBJ_TYPE, &NFT_OBJECT_COUNTER.to_be_bytes());
    Ok(socket.list(&request, counter)?.into_iter().collect())
}

pub(super) fn counter(message: &Message<'_>) -> Option<(String, Counter)> {
    let inside = message.payload.get(4..)?;
    let ours = message.kind == NFT_MSG_NEWOBJ
        && message.payload.first() == Some(&INET)
        && word(attribute(inside, NFTA_OBJ_TABLE)?)? == NAME
        && net_u32(attribute(inside, NFTA_OBJ_TYPE)?)? == NFT_OBJECT_COUNTER;
    let data = attribute(inside, NFTA_OBJ_DATA).filter(|_| ours)?;
    // NFTA_COUNTER_BYTES, NFTA_COUNTER_PACKETS
    let counter = Counter { bytes: net_u64(attribute(data, 1)?)?, packets: net_u64(attribute(data, 2)?)? };
    Some((word(attribute(inside, NFTA_OBJ_NAME)?)?.to_owned(), counter))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::netlink::{damaged, messages, recorded};

    /// Recorded from Linux 6.18: a counter `seen`, and a helper object.
    const COUNTER: &str = "64000000120a020801000000aa580000010000020c000100706f737465726e00090002007365656e0000000008000300\
     000000010c000600000000000000000308000500000000011c0004000c000100000000000000027b0c00020000000000\
     0000000c";
    const HELPER: &str = "68000000120a020801000000aa580000010000020c000100706f737465726e0009000200707074700000000008000300\
     000000030c00060000000000000000040800050000000001200004000900010070707470000000000500030006000000\
     0600020000020000";

    #[test]
    fn counters_are_understood_and_nothing_else() {
        let read = |hex: &str| {
            let bytes = recorded(hex);
            messages(&bytes).filter_map(|m| counter(&m)).collect::<Vec<_>>()
        };
        assert_eq!(read(COUNTER), [("seen".to_owned(), Counter { packets: 12, bytes: 635 })]);
        assert_eq!(read(HELPER), []);
        damaged(&recorded(COUNTER), |m| drop(counter(m)));
    }
}
