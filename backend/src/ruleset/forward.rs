//! Packets through the router, apart from VPN passthrough, which comes first in the chain `forward`.

use super::table::{Chain, Counter, Table};
use super::{Capabilities, Sides, forwards, helpers, input, sources};
use crate::settings::Settings;
use crate::settings::internet::Mode;
use crate::settings::names::Mtu;

/// Errors about a conversation that was let through. Conntrack calls nothing else of ICMP `related` but redirects
/// and source quench, which no router should forward (RFC 1812 section 5.2.7.2, RFC 6633 section 4). Without
/// packet-too-big and fragmentation-needed, tunnels stall.
const ERRORS: [(&str, &str); 2] = [
    (
        "icmp type { destination-unreachable, time-exceeded, parameter-problem } accept",
        "errors about a known conversation",
    ),
    (
        "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept",
        "errors about a known conversation",
    ),
];

/// The chain `related`, which `input` uses too.
pub(super) fn errors(table: &mut Table) {
    for (rule, why) in ERRORS {
        table.rule(Chain::Related, rule, why);
    }
}

/// The end of the chain `invalid`.
pub(super) fn invalid(table: &mut Table) {
    table.rule(Chain::Invalid, format!("{} drop", Counter::InvalidDropped), "fits no known conversation");
}

/// The end of the chain; see [`super::input::end`].
pub(super) fn end(table: &mut Table) {
    table.rule(Chain::Forward, format!("{} drop", Counter::ForwardDropped), "nobody asked for this");
}

/// Where both sides carry what Ethernet does there is nothing to lower, and packets are spared the rule.
fn clamps(settings: &Settings) -> bool {
    let internet = &settings.internet;
    internet.mss_clamp && (internet.mtu != Mtu::Auto || internet.mode == Mode::Pppoe)
}

/// `any_helper`: some of `helpers.*` are on.
pub(super) fn rules(
    table: &mut Table,
    sides: &Sides,
    settings: &Settings,
    capabilities: &Capabilities,
    any_helper: bool,
) {
    if clamps(settings) {
        // Both directions, and before established, which a SYN with ACK is. The kernel takes the smaller MTU of the two
        // ways and never raises a size (nft_rt.c `get_tcpmss`, nft_exthdr.c).
        let clamp = "tcp flags syn / syn,rst tcp option maxseg size set rt mtu";
        let why = "segments that fit the way to the internet (internet.mss_clamp)";
        table.rule(Chain::Forward, format!("oifname \"{}\" {clamp}", sides.internet), why);
        table.rule(Chain::Forward, format!("iifname \"{}\" {clamp}", sides.internet), why);
    }
    sources::scopes(table, sides);
    for (side, chain) in [(sides.outward(), Chain::PassthroughOut), (sides.inward(), Chain::PassthroughIn)] {
        let why = "VPN passthrough, before established: off ends open tunnels too";
        table.rule(Chain::Forward, format!("{side} jump {chain}"), why);
    }
    if any_helper {
        let rule = format!("{} meta nfproto ipv4 jump {}", sides.outward(), Chain::Helpers);
        table.rule(
            Chain::Forward,
            rule,
            "connections that may announce others, before established: they renew what is known",
        );
    }
    input::known(table, Chain::Forward);
    helpers::not_begun_anew(table, sides);
    forwards::let_in(table, sides, settings, capabilities);
    let mut rule = |text: String, why| table.rule(Chain::Forward, text, why);
    rule(
        "ct state untracked drop".to_owned(),
        "it could not be translated and would leave with the home's own addresses",
    );
    // What is left is new.
    rule(format!("{} accept", sides.outward()), "the home may reach the internet");
    rule(format!("{} accept", sides.is_device()), "the home may talk among itself");
    end(table);
    errors(table);
    // A router often sees only one direction of a conversation inside the home (the answer takes the direct way),
    // which conntrack then calls invalid.
    let is_device = format!("{} accept", sides.is_device());
    table.rule(Chain::Invalid, is_device, "the home may talk among itself, past this box in one direction");
    invalid(table);
}
