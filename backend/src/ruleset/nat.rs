//! Address translation.

use super::Sides;
use super::table::{Chain, Table};

/// Everything of IPv4 that leaves by the internet port gets its address, whatever its source was: a source outside
/// the LAN prefix (a second router's network, a forged address, the box's own LAN address) must not leave as it is.
/// Untracked packets, which NAT cannot touch, are dropped in `forward`. IPv6 is never translated.
pub(super) fn rules(table: &mut Table, sides: &Sides) {
    let rule = format!("oifname \"{}\" meta nfproto ipv4 masquerade", sides.internet);
    table.rule(Chain::Srcnat, rule, "IPv4 leaves with the address of the internet port, whatever its source");
}
