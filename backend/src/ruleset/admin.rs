//! The home's way to the admin page goes past conntrack.
//!
//! When the connection table is full of live entries the kernel drops whatever would need a new one (`early_drop` gives up only
//! what is not assured), and the owner could not open the page that says so. What is not tracked needs no entry.
//!
//! It opens nothing: only `input` sees these packets, and that lets in all that comes from the local network. Were the address
//! not this box's, they would be forwarded, and `forward` drops what is untracked. Neither can a port forward be meant: at the
//! local network's address there is none.

use super::Sides;
use super::table::{Chain, Table};
use crate::settings::Settings;

pub(super) fn rules(table: &mut Table, sides: &Sides, settings: &Settings) {
    let address = settings.local_network.address.address();
    let access = &settings.access;
    let https = if access.https { format!(", {}", access.https_port) } else { String::new() };
    let ports = format!("{{ {}{https} }}", access.port);
    let local = &sides.local;
    // The address first: it tells everybody else's packets apart at the price of one comparison.
    let asked = format!("ip daddr {address} tcp dport {ports} iifname \"{local}\" notrack");
    let answered = format!("ip saddr {address} tcp sport {ports} oifname \"{local}\" notrack");
    let why = "the home reaches the admin page even when the connection table is full";
    table.rule(Chain::Zone, asked, why);
    table.rule(Chain::Answers, answered, why);
}
