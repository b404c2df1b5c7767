//! A number that changes when anybody edits our table, and not when it counts, learns, or is loaded again unchanged.
//!
//! Made from what netlink lists, not from `nft list table`: nft 1.0.6 fetches all elements for that, `--terse` or not
//! (1.2 s with 60,000 learnt elements), and prints at most one set per run. Left out are handles, uses and counts,
//! and the numbers in the names of anonymous sets. Named sets that packets add to (flags `dynamic` or `timeout`) count
//! without their elements; of the others every element counts.

use std::io;

use super::netlink::{Message, Request, Socket, attribute, attributes, net_u32, word};
use super::table::{INET, NAME, SUBSYSTEM};

// include/uapi/linux/netfilter/nf_tables.h
const NFT_MSG_NEWCHAIN: u16 = SUBSYSTEM | 3;
const NFT_MSG_GETCHAIN: u16 = SUBSYSTEM | 4;
const NFT_MSG_NEWRULE: u16 = SUBSYSTEM | 6;
const NFT_MSG_GETRULE: u16 = SUBSYSTEM | 7;
const NFT_MSG_NEWSET: u16 = SUBSYSTEM | 9;
const NFT_MSG_GETSET: u16 = SUBSYSTEM | 10;
const NFT_MSG_NEWSETELEM: u16 = SUBSYSTEM | 12;
const NFT_MSG_GETSETELEM: u16 = SUBSYSTEM | 13;
const NFT_MSG_NEWOBJ: u16 = SUBSYSTEM | 18;
const NFT_MSG_GETOBJ: u16 = SUBSYSTEM | 19;

/// NFTA_CHAIN_NAME, _HOOK, _POLICY, _TYPE, _FLAGS, _USERDATA.
const CHAIN: [u16; 6] = [3, 4, 5, 7, 10, 12];
/// NFTA_SET_FLAGS, _KEY_TYPE, _KEY_LEN, _DATA_TYPE, _DATA_LEN, _DESC (its size), _TIMEOUT, _OBJ_TYPE; named sets by
/// name too.
const SET: [u16; 8] = [3, 4, 5, 6, 7, 9, 11, 15];
const NFTA_SET_NAME: u16 = 2;
const NFTA_SET_FLAGS: u16 = 3;
/// NFT_SET_TIMEOUT, NFT_SET_EVAL.
const LEARNS: u32 = 0x10 | 0x20;
/// NFTA_SET_ELEM_KEY, _DATA, _FLAGS, _USERDATA, _OBJREF, _KEY_END.
const ELEMENT: [u16; 6] = [1, 2, 3, 6, 9, 10];
/// NFTA_OBJ_NAME, _TYPE; _DATA of a helper, timeout or expectation.
const OBJECT: [u16; 2] = [2, 3];
const NFTA_OBJ_TYPE: u16 = 3;
const NFTA_OBJ_DATA: u16 = 4;
/// NFT_OBJECT_CT_HELPER, _CT_TIMEOUT, _CT_EXPECT: all they say is configuration.
const WITHOUT_STATE: [u32; 3] = [3, 7, 9];
/// Expressions whose data counts.
const COUNTING: [&str; 4] = ["counter", "quota", "last", "connlimit"];

/// Of our table, which is there. Blocking.
pub(super) fn fingerprint(socket: &mut Socket, comment: Option<&str>) -> io::Result<u64> {
    let mut sum = fnv1a(START, comment.unwrap_or_default().as_bytes());
    for rule in socket.list(&list(NFT_MSG_GETRULE), |m| hash(m, NFT_MSG_NEWRULE, rule))? {
        sum = fnv1a(sum, &rule.to_ne_bytes()); // their order counts
    }
    for other in
        socket.list(&list(NFT_MSG_GETCHAIN), |m| hash(m, NFT_MSG_NEWCHAIN, |inside| some(inside, &CHAIN)))?
    {
        sum = sum.wrapping_add(other);
    }
    for other in socket.list(&list(NFT_MSG_GETOBJ), |m| hash(m, NFT_MSG_NEWOBJ, object))? {
        sum = sum.wrapping_add(other);
    }
    let sets = socket.list(&list(NFT_MSG_GETSET), |m| {
        let inside = ours(m, NFT_MSG_NEWSET)?;
        let name = word(attribute(inside, NFTA_SET_NAME)?)?.to_owned();
        // No flag, no attribute.
        let learns = attribute(inside, NFTA_SET_FLAGS).and_then(net_u32).unwrap_or(0) & LEARNS != 0;
        Some((fnv1a(some(inside, &SET), stable(&name).as_bytes()), name, learns))
    })?;
    for (mut set, name, learns) in sets {
        if !learns {
            // NFTA_SET_ELEM_LIST_TABLE, _SET
            let request = Request::list(NFT_MSG_GETSETELEM, &[INET, 0, 0, 0]).word(1, NAME).word(2, &name);
            // A hash table lists its elements in any order.
            let elements = socket.list(&request, |m| hash(m, NFT_MSG_NEWSETELEM, elements))?;
            set = fnv1a(set, &elements.iter().fold(0u64, |a, b| a.wrapping_add(*b)).to_ne_bytes());
        }
        sum = sum.wrapping_add(set);
    }
    Ok(sum)
}

/// Everything of this kind in our table. NFTA_CHAIN_TABLE, NFTA_RULE_TABLE and so on are all 1; kernels that do not
/// filter by it list everybody's, so [`ours`] looks again.
fn list(kind: u16) -> Request {
    Request::list(kind, &[INET, 0, 0, 0]).word(1, NAME)
}

fn ours<'a>(message: &Message<'a>, kind: u16) -> Option<&'a [u8]> {
    let inside = message.payload.get(4..)?;
    let table = word(attribute(inside, 1)?)?;
    (message.kind == kind && message.payload[0] == INET && table == NAME).then_some(inside)
}

fn hash(message: &Message<'_>, kind: u16, of: impl Fn(&[u8]) -> u64) -> Option<u64> {
    ours(message, kind).map(of)
}

/// Of these attributes.
fn some(inside: &[u8], kinds: &[u16]) -> u64 {
    attributes(inside).filter(|(kind, _)| kinds.contains(kind)).fold(START, put)
}

pub(super) fn object(inside: &[u8]) -> u64 {
    let hash = some(inside, &OBJECT);
    let stateless =
        attribute(inside, NFTA_OBJ_TYPE).and_then(net_u32).is_some_and(|t| WITHOUT_STATE.contains(&t));
    attribute(inside, NFTA_OBJ_DATA).filter(|_| stateless).map_or(hash, |data| fnv1a(hash, data))
}

pub(super) fn elements(inside: &[u8]) -> u64 {
    let all = attribute(inside, 3).unwrap_or_default(); // NFTA_SET_ELEM_LIST_ELEMENTS
    attributes(all).fold(0, |sum: u64, (_, element)| sum.wrapping_add(some(element, &ELEMENT)))
}

/// Of NFTA_RULE_CHAIN, _EXPRESSIONS and _USERDATA, where the comment is.
pub(super) fn rule(inside: &[u8]) -> u64 {
    let mut hash = some(inside, &[2, 7]);
    for (_, expression) in attributes(attribute(inside, 4).unwrap_or_default()) {
        let name = attribute(expression, 1).and_then(word).unwrap_or_default();
        hash = fnv1a(hash, name.as_bytes());
        if COUNTING.contains(&name) {
            continue;
        }
        for (kind, value) in attributes(attribute(expression, 2).unwrap_or_default()) {
            // NFTA_LOOKUP_SET
            let set = if name == "lookup" && kind == 1 { word(value) } else { None };
            hash = put(hash, (kind, set.map_or(value, |name| stable(name).as_bytes())));
        }
    }
    hash
}

/// The name of an anonymous set without its number: nft calls them `__set%d` and `__map%d`.
fn stable(name: &str) -> &str {
    if name.starts_with("__") { name.trim_end_matches(|c: char| c.is_ascii_digit()) } else { name }
}

fn put(hash: u64, (kind, value): (u16, &[u8])) -> u64 {
    let hash = fnv1a(fnv1a(hash, &kind.to_ne_bytes()), &value.len().to_ne_bytes());
    fnv1a(hash, value)
}

const START: u64 = 0xcbf2_9ce4_8422_2325;

/// FNV-1a with 64 bits: the same in every release, unlike std's hasher. It finds changes; it is no defence.
fn fnv1a(start: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(start, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_fnv1a() {
        // From the authors' test vectors (draft-eastlake-fnv).
        assert_eq!(fnv1a(START, b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a(START, b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a(START, b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn anonymous_sets_lose_their_number() {
        assert_eq!((stable("__set12"), stable("__map0"), stable("set12")), ("__set", "__map", "set12"));
    }

    #[test]
    fn foreign_bytes_do_no_harm() {
        for bytes in [&[][..], &[1], &[0; 64], &[0xff; 64], &[8, 0, 4, 0, 5, 0, 1, 0, 9]] {
            let _ = [rule(bytes), elements(bytes), object(bytes), some(bytes, &SET)];
        }
    }
}
