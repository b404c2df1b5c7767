//! L2TP: UDP (RFC 2661 section 8.1), and L2TPv3 straight over IP (RFC 3931 section 4.1.1).
//!
//! A server may answer from another port than the one it was called at (RFC 2661 section 8.1); the tunnel then lives between
//! that port and the client's. NAT knows nothing of such an answer. So these rules learn which client a port of ours stands
//! for with which server, from calls that have no answer yet, and hand over what the server sends to it from another port.
//!
//! Our port is chosen after `forward`, in postrouting: it is known from a call's second packet on. The server's first answer
//! may be lost, and what it sends again a second later (RFC 2661 section 5.8) arrives; a hook after translation would spare
//! that second and be visited by every packet of everybody. An expectation object (`ct expectation`) cannot replace the map: its
//! port is fixed when it is declared (nft_ct.c), and ours is not.

use super::{Fate, Part, UDP};
use crate::ruleset::learnt::{Learnt, at_once};
use crate::ruleset::table::{Chain, Counter, Table};
use crate::ruleset::{FlowMatch, Sides, Switch};
use crate::settings::passthrough::L2tp;

const L2TPV3: u8 = 115;

/// A conversation that a server began because of `l2tp_back`, in either direction: server and port of ours, as the server's
/// first packet had them. Renewed by every packet, longer than conntrack keeps the conversation (300 s).
///
/// It is by this set that off ends such a tunnel, for as long as either side goes on. Its conntrack entry must *not* be
/// deleted then: the client's next packet would begin an ordinary conversation with a port that is not in the list.
const MOVED: &str = "ct original ip saddr . ct original proto-dst";

/// Server and port of ours, of a client's packet.
const OURS: &str = "ip daddr . ct reply proto-dst";

/// The element of `l2tp_back`: server and port of ours, then the client and its port.
const BACK: &str = "ip daddr . ct reply proto-dst : ct original ip saddr . ct original proto-src";

/// A call without an answer is remembered for 120 s (`nf_conntrack_udp_timeout` in `sysctls.rs`); its port may be another
/// client's after that.
const LEARNT: &[Learnt] = &[
    Learnt::map(
        "l2tp_back",
        "ip saddr . udp dport : ip daddr . udp dport",
        "2m",
        "L2TP server and port of ours: the client that called",
    ),
    Learnt::set(
        "l2tp_moved",
        "ip saddr . udp dport",
        "10m",
        "L2TP servers and ports of ours: answers from another port",
    ),
    Learnt::set("l2tp_rate", "ether saddr", "2m", "what a device lets us learn of L2TP, limited"),
];

/// Beside another firewall: what tells apart two clients that call one server at the same instant. Both are given the same port,
/// and only one of the two packets leaves (nf_conntrack_core.c, `nf_ct_resolve_clash`): which of them is known from the
/// next packet on, which conntrack knows already.
const SAME_INSTANT: &[Learnt] = &[
    Learnt::set(
        "l2tp_new_ports",
        "ip saddr . udp dport",
        "1s",
        "L2TP servers and ports of ours: just called for the first time",
    )
    .sized(4096),
    Learnt::set(
        "l2tp_contested",
        "ip saddr . udp dport",
        "2m",
        "L2TP servers and ports of ours: called by two at the same instant",
    )
    .sized(4096),
];

pub(super) fn flows(l2tp: &L2tp) -> Vec<FlowMatch> {
    let tunnel = |port: u16| FlowMatch { protocol: UDP, server_port: Some(port) };
    let mut flows: Vec<FlowMatch> = l2tp.ports.iter().map(|port| tunnel(port.number())).collect();
    flows.push(FlowMatch { protocol: L2TPV3, server_port: None });
    flows
}

pub(super) fn part(l2tp: &L2tp) -> Part {
    Part {
        switch: Switch::L2tp,
        chains: (Chain::L2tpOut, Chain::L2tpIn),
        counters: (Counter::L2tpPassed, Counter::L2tpRefused),
        flows: flows(l2tp),
        fate: match l2tp.enabled {
            true => Fate::Passed("L2TP passthrough is on"),
            false => Fate::Refused("L2TP passthrough is off"),
        },
    }
}

/// Sends tunnels whose server moved to another port the way of the others, on or off: their packets carry no port of the list.
pub(super) fn dispatch_moved(table: &mut Table) {
    table.learnt(LEARNT);
    for (from, to) in [(Chain::PassthroughOut, Chain::L2tpOut), (Chain::PassthroughIn, Chain::L2tpIn)] {
        dispatch_moved_to(table, from, to);
    }
}

/// Matches what they are by, IPv4.
pub(super) fn moved() -> String {
    format!("meta l4proto {UDP} ct status dnat {MOVED} @l2tp_moved")
}

/// The same, of one chain.
pub(super) fn dispatch_moved_to(table: &mut Table, from: Chain, to: Chain) {
    let rule = format!("meta nfproto ipv4 {} update @l2tp_moved {{ {MOVED} }} goto {to}", moved());
    table.rule(from, rule, "L2TP whose server answers from another port");
}

/// Learns from calls that have no answer, hands over what the server sends from another port, and lets that begin.
pub(super) fn answers_from_another_port(table: &mut Table, sides: &Sides, l2tp: &L2tp) {
    if !l2tp.enabled {
        return;
    }
    let unanswered = format!(
        "meta nfproto ipv4 meta l4proto {UDP} ct direction original ct state new ct status confirmed"
    );
    // A call that is sent again and again renews its element. Removed first, since `add` and `update` keep an old value: the
    // port may have been another client's.
    let mut learn = |rule: String, why| table.rule(Chain::L2tpLearn, rule, why);
    learn(
        "update @l2tp_rate { ether saddr limit rate over 10/second burst 50 packets } return".to_owned(),
        "enough of this device",
    );
    if sides.beside_others {
        // In a set of its own: `l2tp_back` the other may be about to fill.
        let again = at_once("l2tp_new_ports", OURS);
        learn(
            format!(
                "meta l4proto {UDP} ct status & confirmed == 0 {again} update @l2tp_contested {{ {OURS} }} return"
            ),
            "two at once: the next packet tells whose port it is",
        );
    }
    learn(
        format!("meta l4proto {UDP} delete @l2tp_back {{ {BACK} }}"),
        "the port may have been another client's",
    );
    learn(format!("meta l4proto {UDP} add @l2tp_back {{ {BACK} }}"), "whose answers these will be");
    learn(format!("meta l4proto {UDP} update @l2tp_moved {{ {OURS} }}"), "what comes of it is L2TP");
    if sides.beside_others {
        // Not by a first packet: that of the two which came second has just filled it.
        learn(
            format!("meta l4proto {UDP} ct status confirmed delete @l2tp_contested {{ {OURS} }}"),
            "now it is known whose port it is",
        );
    }
    let why = "no answer yet: it may come from another port";
    if sides.beside_others {
        // After translation, where the port is known of the first packet already: a box whose other firewall takes what is for itself
        // would else make an entry of its own of the first answer, and the next ones would be that one's.
        let ports = super::ports(&flows(l2tp), UDP);
        let from_home = format!(
            "oifname \"{}\" ct direction original ct original ip saddr {}",
            sides.internet, sides.prefix
        );
        let rule = format!("{from_home} udp dport {{ {ports} }} jump {}", Chain::L2tpLearn);
        table.rule(Chain::CompanionAfter, rule, why);
        table.learnt(SAME_INSTANT);
        // A server sends again what was not answered (RFC 2661 section 5.8).
        table.rule(
            Chain::Dstnat,
            format!(
                "iifname \"{}\" meta nfproto ipv4 meta l4proto {UDP} ip saddr . udp dport @l2tp_contested drop",
                sides.internet
            ),
            "an answer before it is known to whom",
        );
    } else {
        table.rule(Chain::L2tpOut, format!("{unanswered} jump {}", Chain::L2tpLearn), why);
    }
    table.rule(
        Chain::L2tpIn,
        format!("meta l4proto {UDP} ct state new ct status dnat {} accept", Counter::L2tpPassed),
        "a called server answers from another port",
    );
    table.rule(
        Chain::Dstnat,
        format!(
            "iifname \"{}\" meta nfproto ipv4 meta l4proto {UDP} dnat ip to ip saddr . udp dport map @l2tp_back",
            sides.internet
        ),
        "a called server answers from another port: to the caller",
    );
}
