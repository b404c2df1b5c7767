//! What strangers answer, for `tests/fuzz`.

use std::net::IpAddr;

use simple_dns::TYPE;

use super::{dns, icmp};

/// An answer to a question for one of the kinds of record.
pub(crate) fn lookup(bytes: &[u8]) {
    for record in [TYPE::A, TYPE::AAAA, TYPE::PTR] {
        drop(dns::read(bytes, 0, "a", record));
    }
}

/// A packet that came while one waited for the answer to a ping.
pub(crate) fn ping(bytes: &[u8]) {
    for target in [IpAddr::from([203, 0, 113, 1]), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 1])] {
        drop(icmp::read(bytes, target, target, 7));
    }
}
