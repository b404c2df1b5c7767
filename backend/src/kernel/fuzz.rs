//! What the kernel says, for `tests/fuzz`.

use super::netlink::{attributes, messages};
use super::{answers, conntrack, elements, fingerprint, table};

/// Connections, listed and told.
pub(crate) fn conntrack(bytes: &[u8]) {
    messages(bytes).for_each(|message| drop(conntrack::event(&message)));
}

/// Tables, counters, elements, and what the fingerprint is made of.
pub(crate) fn nft(bytes: &[u8]) {
    for message in messages(bytes) {
        table::comment(&message);
        table::counter(&message);
        elements::elements(&message);
        for (_, inside) in attributes(message.payload) {
            fingerprint::rule(inside);
            fingerprint::object(inside);
            fingerprint::elements(inside);
        }
    }
}

/// Packets with DNS answers that a rule has copied.
pub(crate) fn answers(bytes: &[u8]) {
    messages(bytes).for_each(|message| drop(answers::named(&message)));
}
