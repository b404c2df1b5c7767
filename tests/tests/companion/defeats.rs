//! Where the other firewall keeps passthrough from working: it is told which rule does, and what is told to add works.

use std::time::Duration;

use lab::wait;
use lab::{Kind, address};
use serde_json::Value;

use crate::firewalls::{Beside, Firewall};
use crate::remedies::{follow, told};
use crate::suite::{heard, l2tp_calls, pptp_server, wait_heard};

/// A look of the daemon every 3 s, a trace of 4 s, a VPN program that tries again.
const TOLD: Duration = Duration::from_secs(30);

/// The verdict once it names a rule (or tells what needs none).
#[track_caller]
fn verdict(beside: &Beside, word: &str) -> Value {
    let mut last = Value::Null;
    let found = wait::until(TOLD, || {
        last = beside.postern.json(&["diagnose"]);
        let said = last["cause"] == "another_firewall" && last["explanation"].to_string().contains(word);
        said.then(|| last.clone())
    });
    found.unwrap_or_else(|| {
        panic!(
            "no verdict names {word}: {last}\n{}\n{}",
            beside.postern.ok(&["status"]),
            beside.postern.daemon_said()
        )
    })
}

/// Status says of the protocol that it is not as set, and why.
#[track_caller]
fn differs(beside: &Beside, name: &str, word: &str) {
    let protocol = beside.postern.protocol(name);
    assert_eq!(protocol["effect"], "differs", "{protocol}");
    assert!(protocol["reason"].to_string().contains(word), "{protocol}");
}

/// What a called server sends from another port is let in by ours and dropped by theirs, until theirs has the rule that is named.
#[track_caller]
fn answers_are_dropped(firewall: Firewall, names: &str) {
    let beside = Beside::new(firewall);
    let (_server, callers) = l2tp_calls(&beside);
    verdict(&beside, names);
    assert!(callers.iter().all(|caller| heard(caller, true) == 0), "if it is heard, nothing is dropped");
    differs(&beside, "l2tp", names);
    follow(&beside, &told(&beside, "l2tp", "lost_in"));
    callers.iter().for_each(|caller| wait_heard(caller, 10));
    let healed = wait::until(Duration::from_secs(90), || {
        (beside.postern.protocol("l2tp")["effect"] != "differs").then_some(())
    });
    assert!(healed.is_some(), "what works now is still told of: {}", beside.postern.protocol("l2tp"));
}

#[test]
fn fw4s_rule_that_drops_answers_from_another_port_is_named_and_what_is_told_to_add_lets_them_in() {
    answers_are_dropped(Firewall::Fw4, "handle_reject");
}

#[test]
fn the_policy_of_a_chain_written_by_hand_is_named_and_what_is_told_to_add_lets_answers_in() {
    answers_are_dropped(Firewall::Hand, "the policy of chain forward in table inet mine");
}

#[test]
fn the_policy_of_iptables_is_named_and_what_is_told_to_add_lets_answers_in() {
    answers_are_dropped(Firewall::Iptables, "the policy of chain FORWARD in table ip filter");
}

#[test]
fn old_iptables_are_told_as_rules_that_nft_does_not_show_and_what_is_told_to_add_lets_answers_in() {
    answers_are_dropped(Firewall::Legacy, "nft does not show");
}

#[test]
fn a_rule_that_drops_gre_of_a_call_is_named_and_what_is_told_to_add_lets_it_through() {
    let beside = Beside::new(Firewall::Fw4);
    beside.nft("insert rule inet fw4 forward meta l4proto 47 drop comment \"no tunnels\"");
    beside.postern.set(&["passthrough.pptp.enabled=true"]);
    let _server = pptp_server(&beside);
    let to = format!("{}:1723", address("server1"));
    let caller = beside.lab.host("laptop1").spawn(&["postern-lab", "pptp-call", &to]);
    let said = verdict(&beside, "no tunnels");
    assert!(said["explanation"].to_string().contains("in chain forward of table inet fw4"), "{said}");
    differs(&beside, "pptp", "no tunnels");
    assert_eq!(heard(&caller, true), 0);
    // GRE that was dropped is expected no more (`nf_ct_find_expectation`): the remedy says that the call must be dialled anew.
    let how = |how: &str| beside.postern.json(&["status"])["defeats"].to_string().contains(how);
    let said = told(&beside, "pptp", if how("lost_in") { "lost_in" } else { "lost_out" });
    follow(&beside, &said);
    assert!(said["remedy"].to_string().contains("dialled anew"), "{said}");
    let again = beside.lab.host("laptop2").spawn(&["postern-lab", "pptp-call", &to]);
    wait_heard(&again, 10);
}

#[test]
fn a_masquerade_that_is_missing_and_a_notrack_are_told() {
    let beside = Beside::new(Firewall::Fw4);
    let _echo = beside.lab.host("server1").echo(&[Kind::Udp(4500), Kind::Udp(1701)]);
    beside.nft("flush chain inet fw4 srcnat_wan");
    let flow = beside.lab.host("laptop1").flow(Kind::Udp(4500), address("server1"));
    verdict(&beside, "no rule of the other firewall translates it");
    drop(flow);
    beside.nft("add rule inet fw4 srcnat_wan meta nfproto ipv4 masquerade");
    beside.nft("add rule inet fw4 raw_prerouting udp dport 1701 notrack");
    let _flow = beside.lab.host("laptop2").flow(Kind::Udp(1701), address("server1"));
    let said = verdict(&beside, "udp dport 1701 notrack");
    assert!(said["explanation"].to_string().contains("raw_prerouting"), "{said}");
}

#[test]
fn nothing_is_told_where_everything_works() {
    let beside = Beside::new(Firewall::Firewalld);
    let _echo = beside.lab.host("server1").echo(&[Kind::Udp(4500), Kind::Ip(50)]);
    let flows =
        [Kind::Udp(4500), Kind::Ip(50)].map(|kind| beside.lab.host("laptop1").flow(kind, address("server1")));
    let (_server, callers) = l2tp_calls(&beside);
    callers.iter().for_each(|caller| wait_heard(caller, 10));
    for _ in 0..10 {
        flows.iter().for_each(|flow| flow.wait_answers(10));
        let status = beside.postern.json(&["status"]);
        assert_eq!(status["defeats"], Value::Array(Vec::new()), "{status}");
        assert_ne!(beside.postern.json(&["diagnose"])["cause"], "another_firewall");
    }
}
