//! The names of servers: what our DNS answers the home is copied to the daemon, which remembers whose name an address is.
//!
//! `log group` hands the packet to nfnetlink_log, which drops the copy where nobody listens. It decides nothing: the chain's
//! policy is accept, and what the daemon sends is not filtered. Only what this box itself sends visits it, never what it forwards.

use super::table::{Chain, Table};
use super::{Capabilities, Sides};
use crate::settings::Settings;

/// The group that the daemon listens to (nfnetlink_log); other programs use small numbers.
pub const ANSWERS: u16 = 53_053;

pub(super) fn rules(table: &mut Table, sides: &Sides, settings: &Settings, capabilities: &Capabilities) {
    if !settings.local_network.dns.enabled || !capabilities.names {
        return;
    }
    // More than a home asks; a device that floods costs the daemon no more than this.
    let rule = format!(
        "oifname \"{}\" udp sport 53 limit rate 200/second burst 400 packets log group {ANSWERS}",
        sides.local
    );
    table.rule(Chain::Output, rule, "answers of our DNS, for the names of VPN servers; decides nothing");
}
