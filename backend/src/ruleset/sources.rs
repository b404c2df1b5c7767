//! Nobody speaks with an address that is not on his side of this box (BCP 38, RFC 6092 REC-5 and REC-6), and no deprecated
//! routing header is followed on (REC-4).
//!
//! In the one hook before conntrack, so that what is forged neither begins a conversation nor is taken for part of one: with a
//! known conversation's addresses and ports it would else be `established`, from whichever side it comes. IPv4 of the home is
//! told by one comparison; a network behind another router of it, and IPv6, whose prefix may change any day, by the route back.
//! What the kernel itself drops before (`ip_route_input_slow`, `ip6_rcv_core`: loopback and multicast sources, and IPv4 with an
//! address of this box) is not said again.

use std::net::Ipv4Addr;

use super::table::{Chain, Counter, Table};
use super::{Capabilities, Sides};
use crate::settings::Settings;

/// IPv6 addresses that must not cross the border to the internet: IPv4-compatible and IPv4-mapped, the discard prefix (RFC 6666),
/// ORCHID, unique local and site-local (RFC 6092 REC-3 and REC-7, RFC 5156). Not the documentation prefix, which REC-3 names too:
/// nobody's packets get lost by one that is routed, and labs live in it.
const NOT_OF_THE_INTERNET: &str = "::/96, ::ffff:0:0/96, 100::/64, 2001:10::/28, fc00::/7, fec0::/10";

/// What networks behind another router of the home have (RFC 1918): only for these, so that what the internet sends us costs no look-up.
const PRIVATE: &str = "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16";

/// Into `zone` and `forward`, before everything else, and the chain `sources`.
pub(super) fn rules(table: &mut Table, sides: &Sides, settings: &Settings, capabilities: &Capabilities) {
    let Sides { internet, local, prefix, .. } = sides;
    let forged = format!("{} drop", Counter::InputDropped);
    let home = settings.local_network.address;
    let first = Ipv4Addr::from_bits(home.network().to_bits().saturating_add(1));
    let last = Ipv4Addr::from_bits(home.broadcast().to_bits().saturating_sub(1));
    // No conversation is begun so; this is for what is forged into somebody else's.
    table.rule(
        Chain::Forward,
        format!("iifname != \"{local}\" iifname != \"{internet}\" {} drop", Counter::ForwardDropped),
        "neither the home nor the internet: nothing goes through",
    );
    let mut zone = |rule: String, why| table.rule(Chain::Zone, rule, why);
    if capabilities.forwards {
        // The network's own addresses are no host's (RFC 1812 section 5.3.7): they have no route back either.
        zone(
            format!("iifname \"{local}\" ip saddr != {first}-{last} jump {}", Chain::Sources),
            "no address of the local network: whose",
        );
    }
    zone(
        format!("iifname != \"{local}\" ip saddr {prefix} iifname != \"lo\" {forged}"),
        "the home's address, from the internet or a third port",
    );
    if capabilities.forwards {
        zone(
            format!("iifname != {{ \"lo\", \"{local}\" }} ip saddr {{ {PRIVATE} }} jump {}", Chain::Sources),
            "perhaps of a network behind another router of the home: whose",
        );
    }
    zone(format!("meta nfproto ipv6 jump {}", Chain::Sources), "IPv6: whose address");
    let mut source = |rule: String, why| table.rule(Chain::Sources, rule, why);
    source(
        format!("rt type {{ 0, 1 }} {} drop", Counter::InvalidDropped),
        "deprecated routing headers (RFC 5095, RFC 6092 REC-4)",
    );
    if !capabilities.forwards {
        return;
    }
    source("iifname \"lo\" return".to_owned(), "this box talks to itself");
    // Router advertisements come before there is any route; nothing forwards this (RFC 4291 section 2.5.6).
    source("ip6 saddr fe80::/10 return".to_owned(), "of the same link: goes no further than this box");
    // Without an address, or with one of a network that this was before: it must hear that it has to ask anew (RFC 2131 4.3.2).
    source(
        format!("iifname \"{local}\" ip daddr 255.255.255.255 udp dport 67 return"),
        "DHCP: without an address, or with one of before",
    );
    // A broadcast has a way, too.
    source(
        format!("meta nfproto ipv4 fib saddr type != unicast {forged}"),
        "a broadcast, a group, this box itself: nobody speaks so",
    );
    for side in [local, internet] {
        let rule = format!("iifname \"{side}\" fib saddr oifname \"{side}\" return");
        source(rule, "the way back leads where it came from");
    }
    source(
        "ip6 saddr :: meta l4proto 58 return".to_owned(),
        "is this address free (RFC 4862), which groups (RFC 3810)",
    );
    source(format!("iifname \"{local}\" {forged}"), "not an address of the home (BCP 38, RFC 6092 REC-5)");
    // And nothing more: whoever sends the box's own traffic another way, by a tunnel with marks, is answered by the port.
    source(
        format!("fib saddr oifname \"{local}\" {forged}"),
        "an address of the home, from the internet or a third port (RFC 6092 REC-6)",
    );
    source(
        format!("fib saddr type != unicast {forged}"),
        "an address of this box, or nobody's, from elsewhere",
    );
    source(
        format!("iifname \"{internet}\" fib daddr type unicast {forged}"),
        "an address of a third port's side, from the internet: goes no further",
    );
}

/// Into `forward`, behind what is known and before IPsec is let in: addresses that mean something else on each side.
pub(super) fn scopes(table: &mut Table, sides: &Sides) {
    let refused = format!("jump {}", Chain::Refused);
    let dropped = format!("{} drop", Counter::ForwardDropped);
    for (side, verdict) in [(sides.outward(), refused), (sides.inward(), dropped)] {
        for end in ["saddr", "daddr"] {
            // Errors about a conversation may come from a router on the way that has no other address.
            let rule = format!("{side} ip6 {end} {{ {NOT_OF_THE_INTERNET} }} ct state new {verdict}");
            table.rule(Chain::Forward, rule, "no address of the internet (RFC 6092 REC-3, REC-7)");
        }
    }
}
