//! IPsec: IKE on UDP 500 (RFC 7296 section 2), ESP (RFC 4303), AH (RFC 4302), and NAT traversal, which carries both
//! IKE and ESP in UDP 4500 (RFC 3947, RFC 3948) and has a switch of its own.

pub(super) mod many_clients;

use super::{Fate, Part, UDP};
use crate::ruleset::table::{Chain, Counter, Table};
use crate::ruleset::{FlowMatch, Sides, Switch};
use crate::settings::Settings;
use crate::settings::firewall::Ipv6Ipsec;
use crate::settings::passthrough::Ipsec;

/// UDP port of IKE (RFC 7296 section 2).
const IKE: u16 = 500;
const ESP: u8 = 50;
pub(super) const AH: u8 = 51;
const COUNTERS: (Counter, Counter) = (Counter::IpsecPassed, Counter::IpsecRefused);

/// IPsec proper, then NAT traversal.
pub(super) fn parts(ipsec: &Ipsec) -> [Part; 2] {
    let flow = |protocol, server_port| FlowMatch { protocol, server_port };
    let off = Fate::Refused("IPsec passthrough is off");
    let proper = Part {
        switch: Switch::Ipsec,
        chains: (Chain::IpsecOut, Chain::IpsecIn),
        counters: COUNTERS,
        // AH authenticates the addresses and so never survives NAT; over IPv6 it works.
        flows: vec![flow(UDP, Some(IKE)), flow(ESP, None), flow(AH, None)],
        fate: if ipsec.enabled { Fate::Passed("IPsec passthrough is on") } else { off },
    };
    let nat_traversal = Part {
        switch: Switch::NatTraversal,
        chains: (Chain::NatTraversalOut, Chain::NatTraversalIn),
        counters: COUNTERS,
        flows: vec![flow(UDP, Some(4500))],
        fate: match (ipsec.enabled, ipsec.nat_traversal) {
            (true, true) => Fate::Passed("IPsec passthrough is on, with NAT traversal"),
            (true, false) => Fate::Refused("IPsec NAT traversal is off"),
            (false, _) => Fate::Refused("IPsec passthrough is off"),
        },
    };
    [proper, nat_traversal]
}

/// Over IPv6 AH is an extension header, which the kernel steps over (ipv6_find_hdr, ipv6_skip_exthdr): to `meta
/// l4proto` and to conntrack such a packet is whatever AH carries. So it is also looked for where it belongs, right
/// behind the IPv6 header. Behind other extension headers it is not recognised.
pub(super) fn authentication_header_over_ipv6(table: &mut Table) {
    for (from, to) in [(Chain::PassthroughOut, Chain::IpsecOut), (Chain::PassthroughIn, Chain::IpsecIn)] {
        authentication_header_to(table, from, to);
    }
}

/// The same, of one chain.
pub(super) fn authentication_header_to(table: &mut Table, from: Chain, to: Chain) {
    let why = "AH over IPv6, which meta l4proto looks through";
    table.rule(from, format!("ip6 nexthdr {AH} goto {to}"), why);
}

/// What a device of the home answers to IKE that the internet began.
pub(super) fn dispatch_let_in_answers(table: &mut Table, from: Chain, to: Chain) {
    let rule = format!("meta nfproto ipv6 udp sport {IKE} ct direction reply goto {to}");
    table.rule(from, rule, "IKE over IPv6 that the internet began");
}

/// Whether the internet may begin IPsec with hosts of the home, over IPv6.
pub(super) fn let_in(settings: &Settings) -> bool {
    settings.passthrough.ipsec.enabled && settings.firewall.ipv6_ipsec == Ipv6Ipsec::Rfc6092
}

/// What the internet may begin over IPv6: what RFC 6092 section 3.2.4 forbids a gateway to prohibit in its default mode. AH
/// (REC-21), ESP (REC-22), UDP to port 500 (REC-24); not port 4500, which no REC names, as there is no NAT to traverse.
pub(super) fn let_in_flows() -> [FlowMatch; 3] {
    let flow = |protocol, server_port| FlowMatch { protocol, server_port };
    [flow(UDP, Some(IKE)), flow(ESP, None), flow(AH, None)]
}

/// IKE that the internet began goes the way of all IPsec, on or off. (ESP and AH do anyhow.)
pub(super) fn dispatch_let_in(table: &mut Table) {
    for (from, rule, to) in [
        (Chain::PassthroughOut, "udp sport {PORT} ct direction reply", Chain::IpsecOut),
        (Chain::PassthroughIn, "udp dport {PORT} ct direction original", Chain::IpsecIn),
    ] {
        let rule = rule.replace("{PORT}", &IKE.to_string());
        table.rule(
            from,
            format!("meta nfproto ipv6 {rule} goto {to}"),
            "IKE over IPv6 that the internet began",
        );
    }
}

/// New conversations that the internet may begin, of all devices together: each makes a conntrack entry that rests for an hour
/// (`nf_conntrack_generic_timeout`), and a stranger has 2^64 addresses to begin from and to. Without a limit whoever likes
/// could fill the table, and the kernel would make room at the cost of the home's own tunnels (`early_drop`: what is no
/// TCP or UDP is never assured).
const NEW_FROM_THE_INTERNET: &str = "limit rate 1/second burst 60 packets";

/// Lets it in, or with `strict` ends what the internet began: its entries are deleted too, but AH's are not found, since
/// conntrack sees only what AH carries.
pub(super) fn from_the_internet(table: &mut Table, settings: &Settings) {
    if let_in(settings) {
        let passed = Counter::IpsecPassed;
        for (which, why) in [
            ("ct status confirmed", "IPv6: its first packet was let in"),
            (NEW_FROM_THE_INTERNET, "IPv6: IPsec may come in (RFC 6092 REC-21, 22, 24)"),
        ] {
            table.rule(
                Chain::IpsecIn,
                format!("meta nfproto ipv6 ct state new {which} {passed} accept"),
                why,
            );
        }
    } else if settings.passthrough.ipsec.enabled {
        let why = "IPv6: no IPsec that the internet begins (firewall.ipv6_ipsec is strict)";
        let dropped = Counter::ForwardDropped;
        table.rule(Chain::IpsecIn, format!("meta nfproto ipv6 ct direction original {dropped} drop"), why);
        table.rule(Chain::IpsecOut, format!("meta nfproto ipv6 ct direction reply {dropped} drop"), why);
    }
}

/// Before the first rules of `forward`, which would let known TCP and UDP inside AH by.
pub(super) fn strict_about_authentication_header(table: &mut Table, sides: &Sides, settings: &Settings) {
    if let_in(settings) || !settings.passthrough.ipsec.enabled {
        return;
    }
    for (side, direction, to) in
        [(sides.outward(), "reply", Chain::IpsecOut), (sides.inward(), "original", Chain::IpsecIn)]
    {
        let rule = format!("{side} ip6 nexthdr {AH} ct direction {direction} jump {to}");
        table.rule(Chain::Forward, rule, "AH over IPv6 that the internet began, whatever it carries");
    }
}
