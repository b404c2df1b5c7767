//! L2TP: UDP (RFC 2661 section 8.1), and L2TPv3 straight over IP (RFC 3931 section 4.1.1).

use super::{Fate, Part, UDP};
use crate::ruleset::FlowMatch;
use crate::ruleset::table::{Chain, Counter};
use crate::settings::passthrough::L2tp;

const L2TPV3: u8 = 115;

pub(super) fn flows(l2tp: &L2tp) -> Vec<FlowMatch> {
    let tunnel = |port: u16| FlowMatch { protocol: UDP, server_port: Some(port) };
    let mut flows: Vec<FlowMatch> = l2tp.ports.iter().map(|port| tunnel(port.number())).collect();
    flows.push(FlowMatch { protocol: L2TPV3, server_port: None });
    flows
}

pub(super) fn part(l2tp: &L2tp) -> Part {
    Part {
        chains: (Chain::L2tpOut, Chain::L2tpIn),
        counters: (Counter::L2tpPassed, Counter::L2tpRefused),
        flows: flows(l2tp),
        fate: match l2tp.enabled {
            true => Fate::Passed("L2TP passthrough is on"),
            false => Fate::Refused("L2TP passthrough is off"),
        },
    }
}
