//! Becoming a companion, and no longer being one: what stands then, and what goes on.

use std::time::Duration;

use lab::wait::{self, SOON};
use lab::{Kind, Lab, ROUTER_SETTINGS, address};

use crate::firewalls::{Beside, Firewall, stand};
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

/// What befalls the store, in shell, and what is there then: the store as a file of SQLite, its copy beside it.
const DAMAGES: [(&str, &str); 2] = [
    (
        "all is lost",
        "for one in postern.db postern.db-wal last-good.json; do yes lightning | head -c 40000 > $one; done",
    ),
    (
        "the newest revision means nothing, nor does the copy, and the one before is a router's",
        "python3 -c 'import sqlite3
c = sqlite3.connect(\"postern.db\"); c.execute(\"PRAGMA ignore_check_constraints = 1\")
c.execute(\"UPDATE revision SET settings = 1 WHERE id = (SELECT max(id) FROM revision)\")
c.commit(); c.close()'; echo lightning > last-good.json",
    ),
];

#[test]
fn a_damaged_store_leaves_the_other_firewall_as_it_is_and_never_makes_a_router_of_a_companion() {
    for (what, how) in DAMAGES {
        let mut beside = Beside::new(Firewall::Fw4);
        let theirs = beside.theirs();
        beside.postern.set(&ROUTER_SETTINGS);
        beside.postern.ok(&["confirm"]);
        beside.postern.set(&COMPANION);
        beside.postern.ok(&["confirm"]);
        beside.postern.end_daemon();
        beside.nft("delete table inet postern");
        let spoil = format!("cd /run/postern/state; {how}; chown postern:postern *");
        beside.lab.outer().ok(&["sh", "-euc", &spoil]);
        for start in 0..2 {
            beside.postern.start_daemon();
            assert_eq!(
                (beside.postern.table(), beside.theirs()),
                (None, theirs.clone()),
                "{what}, start {start}"
            );
            let status = beside.postern.ok(&["status"]);
            assert!(status.contains("beside another"), "{what}, start {start}: {status}");
            let _echo = beside.lab.host("server1").echo(&[Kind::Udp(7000)]);
            let probe = beside.lab.host("laptop1").probe(Kind::Udp(7000), address("server1"));
            assert_eq!(probe.answered, 1, "{what}, start {start}: what theirs lets through goes on");
            beside.postern.crash_daemon();
        }
    }
}

#[test]
fn pptp_calls_that_the_other_firewall_lets_through_go_on_when_the_role_is_taken() {
    let lab = Lab::new();
    let running = stand(&lab, Firewall::Fw4);
    let postern = lab.postern();
    postern.claim();
    let beside = Beside::of(Firewall::Fw4, lab, postern, running);
    let _server = pptp_server(&beside);
    let callers = pptp_calls(&beside);
    let said = beside.postern.set(&["role=companion", "internet.device=wan0", "local_network.devices=lan0"]);
    assert!(said.contains("2 PPTP calls are open"), "{said}");
    callers.iter().for_each(|caller| wait_heard(caller, 20));
    beside.postern.ok(&["confirm"]);
    callers.iter().for_each(|caller| wait_heard(caller, 20));
    assert_eq!(beside.postern.ok(&["get", "passthrough.pptp.enabled"]).trim(), "true");
}

/// The provider's DHCP server, which lends the address that the box has.
fn provider(lab: &Lab) -> lab::Process {
    lab.dhcp_provider("198.51.100.2", "198.51.100.2", &["--dhcp-option=option:router,198.51.100.1"])
}

#[test]
fn no_call_ends_on_the_way_to_a_router_that_asks_for_its_address_by_dhcp_and_back() {
    let beside = Beside::with(Firewall::Fw4, &[("POSTERN_TRIAL_SECONDS", "8")]);
    let (lab, postern) = (&beside.lab, &beside.postern);
    postern.set(&["passthrough.pptp.enabled=true"]);
    let _server = pptp_server(&beside);
    let _echo = lab.host("server1").echo(&[Kind::Udp(4500), Kind::Udp(7000)]);
    let callers = pptp_calls(&beside);
    let flows =
        [Kind::Udp(4500), Kind::Udp(7000)].map(|kind| lab.host("laptop1").flow(kind, address("server1")));
    flows.iter().for_each(|flow| flow.wait_answers(10));
    let all_go_on = |what: &str| {
        callers.iter().for_each(|caller| wait_heard(caller, 10));
        for flow in &flows {
            flow.wait_answers(10);
            let lost = flow.lost(Duration::from_secs(1));
            assert!(lost.is_empty(), "{what}: lost {lost:?}:\n{}", flow.tail());
        }
    };
    // Nobody lends anything yet, and nobody confirms.
    const BY_DHCP: [&str; 2] = ["role=router", "internet.mode=dhcp"];
    postern.set(&BY_DHCP);
    role(&beside, "router");
    all_go_on("without a DHCP server");
    role(&beside, "companion");
    all_go_on("back by itself");
    let _provider = provider(lab);
    postern.set(&BY_DHCP);
    let lent = wait::until(SOON, || {
        let state = postern.json(&["status"])["internet_state"]["lease"].clone();
        (state["server"] == "198.51.100.1" && state["address"] == "198.51.100.2/24").then_some(())
    });
    assert!(lent.is_some(), "{}\n{}", postern.json(&["status"])["internet_state"], postern.daemon_said());
    postern.ok(&["confirm"]);
    all_go_on("as a router");
    postern.set(&COMPANION);
    postern.ok(&["confirm"]);
    all_go_on("as a companion again");
    let route = lab.router().ok(&["ip", "-4", "route", "show", "default"]);
    assert!(route.contains("via 198.51.100.1 dev wan0"), "{route}");
}
