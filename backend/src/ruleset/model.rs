//! An explicit model of the rules of `passthrough.ipsec.many_clients`: the nft text that [`compile`](super::compile)
//! writes, run by an interpreter (`nft.rs` reads it, `kernel.rs` runs it) in a small world (`world.rs`), in every order
//! of the events (`explore.rs`).
//!
//! **The world.** Up to three clients and their server. A client makes SAs by IKE or without; sends on any of them, at any
//! time; the server too, first or in answer, on any of them. Time passes between any two events: less than a second, a second,
//! five minutes. Somebody forges an SPI. The router may have been restarted under live tunnels. One server is enough:
//! [`what_is_learnt_of_one_server_says_nothing_about_another`]. A swap of the rules changes no element, so it is no event.
//!
//! **What must hold.** *Told apart*: when an SPI comes that the rules do not know, its client's SA is known to the router (its
//! IKE has passed, or a packet of it), the SPIs of all other known SAs are confirmed, and nobody forges. Then the packet goes to its
//! client or nowhere. Where it cannot be told apart, no wrong binding is ever renewed or confirmed. IKE of a known
//! cookie goes to its client. From every state everybody is served within 30 s if all behave.
//!
//! **What is assumed.** In [`Answers::AtOnce`] the server answers what reaches it before the tail of a turn ends (0.2 s).
//! With a longer way, or where answers are lost, the rules may confirm a wrong SPI: nothing in the packets tells it then
//! ([`where_answers_get_lost_or_come_late_told_apart_still_holds`]).
//!
//! **What is not explored.** Healing with three clients; two clients with two SAs each (known: who opens two SAs within 5 s while
//! he is the only client, and then a second client appears, may wait for the answers on one of them for an hour); limits of
//! devices and servers, which are never reached here, nor what two processors do at once ([`at_once`](super::learnt::at_once):
//! `tests/many_clients.rs`): one packet is through all rules before the next. With [`Scale::Coarse`] timeouts that lie close together are one.

mod explore;
mod kernel;
mod names;
mod nft;
mod world;

use std::io::{Write, stderr};

use explore::{Report, explore};
use kernel::Kernel;
use names::{CLIENTS, Scale, TAIL};
use nft::{Op, Program, Stmt};
use world::{Answers, Bounds, Fair, World, Wrong};

use super::{Capabilities, compile};
use crate::settings::tests::router;

const ORDER: [usize; CLIENTS] = [0, 1, 2];
const REVERSE: [usize; CLIENTS] = [2, 1, 0];

const TWO: Bounds = Bounds {
    clients: 2,
    generations: 1,
    ike: true,
    keys: false,
    forged: 0,
    long: false,
    live: 0,
    answers: Answers::AtOnce,
};

/// Everybody is there.
const ALL: [Fair; 2] = [
    Fair { present: 7, order: ORDER, burst: true, haunted: false },
    Fair { present: 7, order: REVERSE, burst: false, haunted: false },
];

/// Some have left without a word; the server may go on sending to them.
const LEFT: [Fair; 4] = [
    Fair { present: 1, order: ORDER, burst: true, haunted: false },
    Fair { present: 1, order: ORDER, burst: true, haunted: true },
    Fair { present: 2, order: ORDER, burst: true, haunted: false },
    Fair { present: 2, order: ORDER, burst: true, haunted: true },
];

/// Without L2TP, the other helpers, port forwards and the devices' shares of the connection table, whose sets are no matter of IPsec.
fn text() -> String {
    let all = compile(&router(), &Capabilities::everything());
    let mut text = String::new();
    let mut inside = false;
    for line in all.to_string().lines() {
        let other = line.starts_with("\tset l2tp_")
            || line.starts_with("\tmap l2tp_")
            || line.ends_with("_hosts {")
            || line.starts_with("\tset helper_")
            || line.starts_with("\tset forward_")
            || line.starts_with("\tmap forward_")
            || line.starts_with("\tset share_")
            || line.starts_with("\tchain share");
        inside |= other;
        if !inside
            && !line.contains("@l2tp_")
            && !line.contains("@helper_")
            && !line.contains("@forward_")
            && !line.contains("@share_")
            && !line.contains(" jump share ")
            && !line.starts_with("flush set ")
            && !line.starts_with("flush map ")
        {
            text.push_str(line);
            text.push('\n');
        }
        inside &= line != "\t}";
    }
    text
}

fn run(text: &str, scale: Scale, bounds: Bounds, fair: &[Fair]) -> Report {
    let report = explore(&World::new(text, scale, bounds), 10_000_000, fair, 30);
    writeln!(
        stderr(),
        "{bounds:?}, {scale:?}: {} states, {} transitions, {} deep, slowest healing {} ticks",
        report.states,
        report.transitions,
        report.depth,
        report.healing.0,
    )
    .unwrap();
    report
}

/// Completely explored, and nothing wrong but this.
fn holds(report: &Report, but: &[Wrong]) {
    assert!(report.complete, "not all states were explored");
    for (wrong, (count, trace)) in &report.wrong {
        assert!(but.contains(wrong), "{wrong:?}, {count} times; the shortest way:\n{trace}");
    }
}

/// The packet is given to the wrong client, on probation or not learnt, where the rules cannot know better.
const CANNOT_KNOW: [Wrong; 2] = [Wrong::ToldApartUnknown, Wrong::Forgotten];

#[test]
fn two_clients_are_told_apart_and_served_in_every_order_of_events() {
    let report = run(&text(), Scale::Seconds, Bounds { long: true, ..TWO }, &ALL);
    holds(&report, &CANNOT_KNOW);
}

#[test]
fn three_clients_are_told_apart_in_every_order_of_events() {
    let report = run(&text(), Scale::Coarse, Bounds { clients: 3, ..TWO }, &[]);
    holds(&report, &CANNOT_KNOW);
}

#[test]
fn two_live_tunnels_outlive_a_restart_of_the_router() {
    let report = run(&text(), Scale::Seconds, Bounds { live: 2, ..TWO }, &ALL);
    holds(&report, &CANNOT_KNOW);
}

#[test]
fn tunnels_without_ike_are_told_apart_and_served() {
    let report = run(&text(), Scale::Seconds, Bounds { ike: false, keys: true, long: true, ..TWO }, &ALL);
    holds(&report, &CANNOT_KNOW);
}

#[test]
fn a_forged_spi_neither_confirms_a_wrong_one_nor_starves_anybody() {
    let report = run(&text(), Scale::Coarse, Bounds { forged: 1, ..TWO }, &ALL);
    holds(&report, &CANNOT_KNOW);
}

#[test]
fn one_client_that_rekeys_is_served_whoever_speaks_first() {
    let report = run(&text(), Scale::Seconds, Bounds { clients: 1, generations: 2, ..TWO }, &ALL);
    holds(&report, &[]);
}

#[test]
fn who_stays_is_served_though_the_other_left_without_a_word() {
    let report = run(&text(), Scale::Coarse, TWO, &LEFT);
    holds(&report, &CANNOT_KNOW);
}

#[test]
fn where_answers_get_lost_or_come_late_told_apart_still_holds() {
    for answers in [Answers::Perhaps, Answers::InATick] {
        let report = run(&text(), Scale::Seconds, Bounds { answers, ..TWO }, &[]);
        holds(&report, &[CANNOT_KNOW[0], CANNOT_KNOW[1], Wrong::Sure]);
        // If this begins to fail, the rules have become better than their description.
        assert!(report.wrong.contains_key(&Wrong::Sure));
    }
}

#[test]
fn the_model_knows_every_statement_of_these_chains() {
    let program = Program::read(&text());
    let ours = ["zone", "esp", "ike", "ipsec", "dstnat", "srcnat"];
    let mut count = 0;
    for chain in program.chains.iter().filter(|chain| ours.iter().any(|name| chain.name.starts_with(name))) {
        for stmt in chain.rules.iter().flatten() {
            count += 1;
            assert!(!matches!(stmt, Stmt::Unknown(_)), "{}: {stmt:?}", chain.name);
        }
    }
    assert!(count > 200, "only {count} statements");
}

#[test]
fn what_is_learnt_of_one_server_says_nothing_about_another() {
    let program = Program::read(&text());
    let limits = |name: &str| {
        let n = program.set(name);
        program
            .chains
            .iter()
            .flat_map(|chain| chain.rules.iter().flatten())
            .any(|stmt| matches!(stmt, Stmt::Learn { op: Op::Update, set, limit: true, .. } if *set == n))
    };
    let server = ["ip daddr", "ip saddr", "@nh,128,32", "@nh,96,32"];
    let others: Vec<&str> = program
        .sets
        .iter()
        .filter(|set| !server.contains(&set.key[0].as_str()) && !limits(&set.name))
        .map(|set| set.name.as_str())
        .collect();
    // Whose address a zone stands for is the same for every server.
    assert_eq!(others, ["zone_host"]);
}

/// A rule of this chain changed, taken out (to nothing) or doubled, before the model sees it.
fn planted(chain: &str, rule: &str, instead: &str) -> String {
    let text = text();
    let (before, rules) = text.split_once("flush table inet postern\n").unwrap();
    let begin = rules.find(&format!("\tchain {chain} {{\n")).unwrap();
    let end = begin + rules[begin..].find("\n\t}\n").unwrap();
    let inside = &rules[begin..end];
    assert!(inside.contains(rule), "{chain} has no {rule}");
    let changed: Vec<String> = inside
        .lines()
        .filter_map(|line| match (line.contains(rule), instead) {
            (true, "") => None,
            (true, _) => Some(line.replace(rule, instead)),
            (false, _) => Some(line.to_owned()),
        })
        .collect();
    format!("{before}flush table inet postern\n{}{}{}", &rules[..begin], changed.join("\n"), &rules[end..])
}

#[test]
fn a_planted_fault_is_found_and_the_way_to_it_told() {
    let prolong = "update @esp_in { ip saddr . esp spi : ct zone }";
    let faults = [
        ("a binding that is sure at once", "esp_match", "add @esp_tried", "add @esp_sure", Wrong::Sure),
        ("another unknown SPI does not matter", "esp_back_again", "@esp_mixed return", "", Wrong::Sure),
        ("confirmed before an answer can have come", "esp_back_again", "@esp_early return", "", Wrong::Sure),
        ("a turn that does not end", "esp_match", "delete @esp_turn", "", Wrong::Sure),
        ("nobody waits for the turn", "esp_out", "@esp_busy", "", Wrong::Sure),
        (
            "a probation that is prolonged",
            "esp_back_again",
            "ip saddr @esp_mixed return",
            prolong,
            Wrong::Renewed,
        ),
        ("what was learnt is not used", "zone_esp", "map @esp_in", "", Wrong::ToldApart),
        (
            "the second client is overlooked",
            "ipsec_client",
            "add @ipsec_several",
            "delete @ipsec_several",
            Wrong::ToldApart,
        ),
        ("cookies are not used", "zone_ike", "map @ike_in", "", Wrong::Cookie),
        ("no turn is ever given", "esp_take", "add @esp_turn", "delete @esp_turn", Wrong::Starved),
    ];
    for (name, chain, rule, instead, wrong) in faults {
        let world = World::new(&planted(chain, rule, instead), Scale::Coarse, TWO);
        let report = explore(&world, 30_000, &ALL[..1], 30);
        let (_, trace) = report.wrong.get(&wrong).unwrap_or_else(|| panic!("{name}: not found"));
        // Whoever starves from the start needs no event for it.
        assert!(trace.contains("A makes an SA by IKE") || wrong == Wrong::Starved, "{name}: {trace}");
    }
    let report = run(&text(), Scale::Coarse, TWO, &ALL[..1]);
    holds(&report, &CANNOT_KNOW);
}

#[test]
fn a_statement_the_model_does_not_know_is_no_silent_gap() {
    let text = planted("esp_match", "delete @esp_tired", "frobnicate @esp_tired");
    let program = Program::read(&text);
    let chain = &program.chains[program.chain("esp_match")];
    assert!(chain.rules.iter().flatten().any(|stmt| matches!(stmt, Stmt::Unknown(_))));
}

#[test]
fn elements_are_added_renewed_and_expire_as_in_the_kernel() {
    let kernel = Kernel::new(&text(), Scale::Seconds);
    let slot = kernel.element(kernel.program.set("esp_tried"), &[0, 0]);
    let mut state = vec![0; kernel.world];
    state[slot] = 2;
    kernel.pass(&mut state, TAIL);
    assert_eq!(state[slot], 2);
    kernel.pass(&mut state, 1);
    kernel.pass(&mut state, 1);
    assert_eq!(state[slot], 0);
}
