//! Becoming a companion, and no longer being one: what stands then, and what goes on.

use std::time::Duration;

use lab::wait::{self, SOON};
use lab::{Kind, ROUTER_SETTINGS, address};

use crate::firewalls::{Beside, Firewall};
use crate::suite::{pptp_calls, pptp_server, wait_heard};

const COMPANION: [&str; 1] = ["role=companion"];

#[track_caller]
fn role(beside: &Beside, wanted: &str) {
    let came = wait::until(SOON, || (beside.postern.ok(&["get", "role"]).trim() == wanted).then_some(()));
    assert!(came.is_some(), "the role should be {wanted}");
}

#[test]
fn calls_and_flows_survive_the_way_to_router_and_back_by_confirmation_and_by_its_lapse() {
    let beside = Beside::with(Firewall::Fw4, &[("POSTERN_TRIAL_SECONDS", "4")]);
    let (lab, postern) = (&beside.lab, &beside.postern);
    let theirs = beside.theirs();
    postern.set(&["passthrough.pptp.enabled=true"]);
    let _server = pptp_server(&beside);
    let _echo = lab.host("server1").echo(&[Kind::Udp(4500), Kind::Udp(7000)]);
    let callers = pptp_calls(&beside);
    let flows =
        [Kind::Udp(4500), Kind::Udp(7000)].map(|kind| lab.host("laptop1").flow(kind, address("server1")));
    flows.iter().for_each(|flow| flow.wait_answers(10));
    let all_go_on = || {
        callers.iter().for_each(|caller| wait_heard(caller, 10));
        for flow in &flows {
            flow.wait_answers(10);
            let lost = flow.lost(Duration::from_secs(1));
            assert!(lost.is_empty(), "lost {lost:?}:\n{}", flow.tail());
        }
    };
    // Not confirmed: it goes back.
    postern.set(&ROUTER_SETTINGS);
    role(&beside, "router");
    all_go_on();
    role(&beside, "companion");
    all_go_on();
    assert_eq!(postern.json(&["status"])["rules"], "loaded");
    // Confirmed, both ways.
    postern.set(&ROUTER_SETTINGS);
    postern.ok(&["confirm"]);
    all_go_on();
    postern.set(&COMPANION);
    postern.ok(&["confirm"]);
    all_go_on();
    let table = postern.table().unwrap_or_default();
    assert!(table.contains("role companion") && !table.contains("policy drop"), "{table}");
    let forward = lab.router().ok(&["sysctl", "-n", "net.ipv4.ip_forward"]);
    assert_eq!(
        (forward.trim(), beside.theirs()),
        ("1", theirs),
        "forwarding and their rules are what they were"
    );
}

#[test]
fn stop_takes_our_table_away_and_nothing_else_and_a_start_brings_it_back() {
    let mut beside = Beside::new(Firewall::Fw4);
    let theirs = beside.theirs();
    let _echo = beside.lab.host("server1").echo(&[Kind::Udp(7000)]);
    let flow = beside.lab.host("laptop1").flow(Kind::Udp(7000), address("server1"));
    flow.wait_answers(10);
    beside.postern.stop();
    assert_eq!((beside.postern.table(), beside.theirs()), (None, theirs.clone()));
    flow.wait_answers(10);
    beside.postern.start_daemon();
    assert!(beside.postern.table().is_some_and(|table| table.contains("role companion")));
    beside.postern.crash_daemon();
    beside.postern.start_daemon();
    flow.wait_answers(10);
    assert!(flow.lost(Duration::from_secs(1)).is_empty(), "{}", flow.tail());
    beside.postern.set(&["role=unset"]);
    beside.postern.ok(&["confirm"]);
    assert_eq!((beside.postern.table(), beside.theirs()), (None, theirs));
    flow.wait_answers(10);
    assert!(
        flow.lost(Duration::from_secs(1)).is_empty(),
        "no role closes nothing of theirs: {}",
        flow.tail()
    );
}

#[test]
fn a_store_that_is_lost_leaves_the_other_firewall_as_it_is() {
    let mut beside = Beside::new(Firewall::Fw4);
    let theirs = beside.theirs();
    beside.postern.end_daemon();
    beside.nft("delete table inet postern");
    let spoil = "cd /run/postern/state; for one in postern.db postern.db-wal last-good.json; do
        yes lightning | head -c 40000 > $one; chown postern:postern $one; done";
    beside.lab.outer().ok(&["sh", "-euc", spoil]);
    beside.postern.start_daemon();
    assert_eq!((beside.postern.table(), beside.theirs()), (None, theirs));
    let _echo = beside.lab.host("server1").echo(&[Kind::Udp(7000)]);
    assert_eq!(beside.lab.host("laptop1").probe(Kind::Udp(7000), address("server1")).answered, 1);
    assert!(beside.postern.ok(&["status"]).contains("beside another"), "{}", beside.postern.ok(&["status"]));
}
