//! IPsec: IKE on UDP 500 (RFC 7296 section 2), ESP (RFC 4303), AH (RFC 4302), and NAT traversal, which carries both
//! IKE and ESP in UDP 4500 (RFC 3947, RFC 3948) and has a switch of its own.

pub(super) mod many_clients;

use super::{Fate, Part, UDP};
use crate::ruleset::FlowMatch;
use crate::ruleset::table::{Chain, Counter, Table};
use crate::settings::passthrough::Ipsec;

const ESP: u8 = 50;
pub(super) const AH: u8 = 51;
const COUNTERS: (Counter, Counter) = (Counter::IpsecPassed, Counter::IpsecRefused);

/// IPsec proper, then NAT traversal.
pub(super) fn parts(ipsec: &Ipsec) -> [Part; 2] {
    let flow = |protocol, server_port| FlowMatch { protocol, server_port };
    let off = Fate::Refused("IPsec passthrough is off");
    let proper = Part {
        chains: (Chain::IpsecOut, Chain::IpsecIn),
        counters: COUNTERS,
        // AH authenticates the addresses and so never survives NAT; over IPv6 it works.
        flows: vec![flow(UDP, Some(500)), flow(ESP, None), flow(AH, None)],
        fate: if ipsec.enabled { Fate::Passed("IPsec passthrough is on") } else { off },
    };
    let nat_traversal = Part {
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
        table.rule(
            from,
            format!("ip6 nexthdr {AH} goto {to}"),
            "AH over IPv6, which meta l4proto looks through",
        );
    }
}
