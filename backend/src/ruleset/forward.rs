//! Packets through the router, apart from VPN passthrough, which comes first in the chain `forward`.

use super::table::{Chain, Counter, Table};
use super::{Sides, input};

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

pub(super) fn rules(table: &mut Table, sides: &Sides) {
    for (side, chain) in [(sides.outward(), Chain::PassthroughOut), (sides.inward(), Chain::PassthroughIn)] {
        let why = "VPN passthrough, before established: off ends open tunnels too";
        table.rule(Chain::Forward, format!("{side} jump {chain}"), why);
    }
    input::known(table, Chain::Forward);
    let mut rule = |text: String, why| table.rule(Chain::Forward, text, why);
    rule(
        "ct state untracked drop".to_owned(),
        "it could not be translated and would leave with the home's own addresses",
    );
    // What is left is new.
    rule(format!("{} accept", sides.outward()), "the home may reach the internet");
    rule(format!("{} accept", sides.at_home()), "the home may talk among itself");
    end(table);
    errors(table);
    // A router often sees only one direction of a conversation inside the home (the answer takes the direct way),
    // which conntrack then calls invalid.
    let at_home = format!("{} accept", sides.at_home());
    table.rule(Chain::Invalid, at_home, "the home may talk among itself, past this box in one direction");
    invalid(table);
}
