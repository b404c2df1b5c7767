//! Sessions that the owner has ended: for a minute the two cannot begin anew. Without that a client of UDP or ESP would not even
//! notice, since its next packet makes the deleted entry again.

use std::net::Ipv4Addr;

use super::Ruleset;
use super::learnt::Learnt;
use super::table::{Chain, Counter, Table};

/// Most at once: each is an owner's click.
const MOST: u32 = 1024;

/// One set, the chains that ask it (from the home, from the internet), and what counts what it refuses.
struct Ended {
    set: Learnt,
    chains: &'static [(Chain, Chain)],
    refused: Counter,
}

const ENDED: [Ended; 3] = [
    Ended {
        set: set("ended_pptp", "PPTP that the owner has ended"),
        chains: &[(Chain::PptpOut, Chain::PptpIn)],
        refused: Counter::PptpRefused,
    },
    Ended {
        set: set("ended_l2tp", "L2TP that the owner has ended"),
        chains: &[(Chain::L2tpOut, Chain::L2tpIn)],
        refused: Counter::L2tpRefused,
    },
    Ended {
        set: set("ended_ipsec", "IPsec that the owner has ended"),
        chains: &[(Chain::IpsecOut, Chain::IpsecIn), (Chain::NatTraversalOut, Chain::NatTraversalIn)],
        refused: Counter::IpsecRefused,
    },
];

const fn set(name: &'static str, why: &'static str) -> Learnt {
    Learnt::set(name, "ip saddr . ip daddr", "1m", why).sized(MOST)
}

/// First of their chains. Refused as if the protocol were off, for these two only.
pub(super) fn rules(table: &mut Table) {
    // The program that is told gives up at once, and with a reason.
    let why = "a program of the home is told at once";
    table.rule(Chain::Refused, "meta l4proto tcp reject with tcp reset", why);
    table.rule(Chain::Refused, "reject with icmpx admin-prohibited", why);
    for Ended { set, chains, refused } in ENDED {
        table.learnt(&[set]);
        let why = "the owner has ended it: not again for a minute";
        for (out, back) in chains.iter().copied() {
            let ours = format!("ip saddr . ip daddr @{} {refused} goto {}", set.name, Chain::Refused);
            table.rule(out, ours, why);
            table.rule(back, format!("ip daddr . ip saddr @{} {refused} drop", set.name), why);
        }
    }
}

/// Holds these two off for so many seconds from now, with each of the named protocols (`pptp`, `l2tp`, `ipsec`). To be loaded over
/// the rules that are there.
pub fn hold_off(protocols: &[&str], client: Ipv4Addr, server: Ipv4Addr, seconds: u32) -> Ruleset {
    let mut text = String::new();
    for protocol in protocols {
        let name = format!("ended_{protocol}");
        if ENDED.iter().any(|one| one.set.name == name) {
            text +=
                &format!("add element inet postern {name} {{ {client} . {server} timeout {seconds}s }}\n");
        }
    }
    Ruleset { about: None, text }
}
