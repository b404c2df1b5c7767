//! Many IPsec clients of one server without NAT traversal: `passthrough.ipsec.many_clients`.
//!
//! ESP has no ports, and the SPI of the answers is chosen by the client inside encrypted IKE: NAT cannot know whose an
//! incoming SPI is. So these rules learn it, and no packet ever leaves the kernel for that:
//!
//! - **Zones.** ESP and IKE (port 500 to 500) of every LAN address get a conntrack zone of their own: the low 16 bits of
//!   the address, unique in a LAN of at most /16. In its zone each client keeps port 500, and each has an ESP entry.
//!   What comes from the internet is put into a zone before the conntrack lookup: IKE by the initiator's cookie
//!   (RFC 7296 section 3.1), ESP by server and SPI, ICMP errors by what they quote.
//! - **Turns.** Only the holder of a server's turn is ever given an unknown SPI of that server. A client takes the turn with
//!   its first packet on a new SPI, or while nobody answers it; it lasts until an unknown SPI comes, 2 s at most. Meanwhile,
//!   and 0.2 s longer, packets of other clients that would need a turn are held back: their senders try again. A client with
//!   live tunnels takes the turn with its rekeying too (IKE exchanges 32, 35, 36): the server may speak first then.
//! - **Probation.** The SPI is its holder's for 5 s that nothing prolongs. It is confirmed (for an hour after its last packet)
//!   when the client has spoken on a new SPI of its own and, a second later or more, the server uses it again. If any other
//!   unknown SPI of that server turns up meanwhile, one of the two is somebody else's: `esp_mixed` lets all probation lapse,
//!   then it begins anew. Nothing is ever certain at once: after a restart of the box nobody knows who else has tunnels.
//! - **Limits.** New SPIs, cookies and turns are limited per MAC address, new SPIs of a server per server.
//!
//! Rules are evaluated in `forward`, before established conversations are accepted; only the choice of the zone must
//! come before conntrack. The names: *S* is the server, *Z* the client's zone.

mod answers;
mod ike;
mod learnt;
mod requests;
#[cfg(test)]
mod tests;
mod zones;

use std::net::Ipv4Addr;

use crate::ruleset::table::{Chain, Counter, Table};
use crate::ruleset::{Capabilities, Sides};
use crate::settings::passthrough::Ipsec;

/// The SPIs of servers that are confirmed.
pub const CONFIRMED: &str = "esp_sure";
/// What is worth keeping over a restart of the box: what is known, without turns, probation and limits.
pub const KEPT: &[&str] = &[
    "zone_host",
    "ipsec_own",
    "ipsec_only",
    "ipsec_pair",
    "ipsec_any",
    "ipsec_several",
    "ike_in",
    "ike_sent",
    "esp_in",
    CONFIRMED,
    "esp_sent",
    "esp_out",
    "esp_heard",
];

pub(in crate::ruleset) use zones::by_another_way;

/// Whether these rules are to be there.
pub(in crate::ruleset) fn wanted(ipsec: &Ipsec, capabilities: &Capabilities) -> bool {
    ipsec.enabled && ipsec.many_clients && capabilities.many_clients
}

/// `servers`: VPN servers of the home, which get what nobody at home has asked for.
pub(in crate::ruleset) fn rules(table: &mut Table, sides: &Sides, servers: &[Ipv4Addr]) {
    table.learnt(learnt::LEARNT);
    zones::rules(table, sides, servers);
    if sides.beside_others {
        zones::other_local_networks(table, sides);
    }
    requests::rules(table);
    answers::rules(table);
    ike::rules(table);
    // The counting rule of these chains comes after: what is held back here is not counted as passed.
    table.rule(
        Chain::IpsecOut,
        "meta nfproto ipv4 meta l4proto 50 ct zone != 0 jump esp_out",
        "learn whose SPIs these are",
    );
    table.rule(
        Chain::IpsecOut,
        "meta nfproto ipv4 udp sport 500 udp dport 500 ct zone != 0 jump ike_out",
        "learn whose cookie this is",
    );
    table.rule(
        Chain::IpsecIn,
        "meta nfproto ipv4 meta l4proto 50 ct zone != 0 jump esp_back",
        "learn whose SPIs these are",
    );
    let accept = format!("ct state new ct zone != 0 ct status dnat {} accept", Counter::IpsecPassed);
    table.rule(Chain::IpsecIn, accept, "a server speaks first to its client");
}

/// What was learnt is not kept where it is not wanted: tunnels that begin later find nothing stale.
pub(in crate::ruleset) fn forget(table: &mut Table) {
    table.forgotten(learnt::LEARNT);
}

/// Server and SPI in a packet to the server. In raw form, since a map of typed keys could not be looked up by what an
/// ICMP error quotes. Offsets in bits: `@nh` is the IPv4 header (RFC 791), `@th` what follows it.
const SPI_OUT: &str = "@nh,128,32 . @th,0,32";
/// Server and initiator cookie (8 bytes of UDP header first).
const COOKIE_OUT: &str = "@nh,128,32 . @th,64,64";
