//! PPTP: a control connection on TCP (RFC 2637 section 3), and the data in GRE (section 4).
//!
//! GRE has no ports. Only the kernel's helper, which reads the Call IDs from the control connection, can tell which
//! device a GRE packet from the internet is for. Without it not even one client works, so there PPTP is refused.

use super::{Fate, Part, TCP};
use crate::ruleset::table::{Chain, Counter, Table};
use crate::ruleset::{Capabilities, FlowMatch, Helper, Sides, Switch};
use crate::settings::passthrough::Pptp;

const GRE: u8 = 47;

pub(super) fn flows(pptp: &Pptp) -> Vec<FlowMatch> {
    let control = |port: u16| FlowMatch { protocol: TCP, server_port: Some(port) };
    let mut flows: Vec<FlowMatch> = pptp.ports.iter().map(|port| control(port.number())).collect();
    flows.push(FlowMatch { protocol: GRE, server_port: None });
    flows
}

pub(super) fn part(pptp: &Pptp, capabilities: &Capabilities) -> Part {
    Part {
        switch: Switch::Pptp,
        chains: (Chain::PptpOut, Chain::PptpIn),
        counters: (Counter::PptpPassed, Counter::PptpRefused),
        flows: flows(pptp),
        fate: match (pptp.enabled, capabilities.knows(Helper::Pptp)) {
            (true, true) => Fate::Passed("PPTP passthrough is on"),
            (true, false) => {
                Fate::Refused("PPTP is on, but this kernel has no PPTP helper: no call could work")
            }
            (false, _) => Fate::Refused("PPTP passthrough is off"),
        },
    }
}

/// Attaches the helper, and lets in what it announces.
///
/// The helper must be there from the first packet of a control connection: conntrack takes no helper for an entry it
/// has confirmed. Calls that were open before must redial. It knows IPv4 only. `forward` is after the conntrack
/// lookup (at priority raw it would silently not be attached) and sees LAN clients only.
pub(super) fn track_calls(table: &mut Table, sides: &Sides, pptp: &Pptp, capabilities: &Capabilities) {
    if !(pptp.enabled && capabilities.knows(Helper::Pptp)) {
        return;
    }
    // A colluding server can make the helper expect nothing but GRE between the same two hosts; the rule says so too. Beside
    // another firewall it is that one who lets related packets in, as they all do.
    if !sides.beside_others {
        table.rule(
            Chain::Related,
            format!("{} meta nfproto ipv4 meta l4proto {GRE} ct helper \"pptp\" accept", sides.inward()),
            "GRE of a PPTP call that a device of the home began",
        );
    }
    // Its end is told to the daemon, which deletes the entry, and so its GRE: that would outlive it (see `calls.rs` of the
    // appliance). With the sysctl nf_conntrack_events at 0 this makes the only entries that are told of
    // (`nf_ct_ecache_ext_add`; like the helper, only before the entry is confirmed).
    let told = if capabilities.events { " ct event set new,destroy,protoinfo" } else { "" };
    table.rule(
        Chain::PptpOut,
        format!("meta nfproto ipv4 meta l4proto tcp ct state new ct helper set \"pptp\"{told}"),
        "PPTP calls from the home: track them, so that their GRE finds the way back",
    );
}
