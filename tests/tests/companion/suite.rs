//! The protocol suite beside each firewall, with a reload of theirs in the middle of it.

use std::time::{Duration, Instant};

use lab::sim::{Plan, Report};
use lab::wait::{self, SOON, now_ms};
use lab::{Process, address};
use serde_json::Value;

use crate::firewalls::{Beside, Firewall};

/// How long after `set` has returned the last packet may be delivered.
const SECOND: u64 = 1000;
/// A simulator that was held up for longer than this was so by the machine: the rules take an answer that comes 0.2 s after its turn
/// for another's (backend/POLICY.md, "what does not hold").
const LATE: Duration = Duration::from_millis(100);
/// Our table is there again so soon after somebody has flushed everything.
const BACK: Duration = Duration::from_secs(10);

pub fn lines(process: &Process) -> Vec<Value> {
    process.out().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

pub fn heard(caller: &Process, mine: bool) -> usize {
    lines(caller).iter().filter(|line| line["mine"] == mine).count()
}

#[track_caller]
pub fn wait_heard(caller: &Process, more: usize) {
    let wanted = heard(caller, true) + more;
    let came = wait::until(SOON, || (heard(caller, true) >= wanted).then_some(()));
    assert!(came.is_some(), "the answers should reach the caller:\n{}", caller.said());
}

/// Nothing reaches any of them any more.
#[track_caller]
fn ended(callers: &[Process]) {
    let returned = now_ms();
    let over = wait::until(SOON, || (now_ms() > returned + 2 * SECOND).then_some(()));
    assert!(over.is_some());
    for caller in callers {
        let last = lines(caller)
            .iter()
            .filter(|line| line["mine"] == true)
            .filter_map(|line| line["at"].as_u64())
            .max();
        assert!(
            last.unwrap_or_default() <= returned + SECOND,
            "it still hears its server:\n{}",
            caller.said()
        );
    }
}

#[track_caller]
fn table_is_there(beside: &Beside) {
    let there = wait::until(BACK, || beside.postern.table().map(drop));
    assert!(there.is_some(), "our table does not come back:\n{}", beside.postern.daemon_said());
}

#[track_caller]
pub fn pptp_server(beside: &Beside) -> Process {
    let mut server = beside.lab.host("server1").spawn(&["postern-lab", "pptp-server", "1723"]);
    server.wait_for_line("ready", SOON);
    server
}

/// Two callers with one Call ID.
#[track_caller]
pub fn pptp_calls(beside: &Beside) -> Vec<Process> {
    let to = format!("{}:1723", address("server1"));
    let call = |laptop| beside.lab.host(laptop).spawn(&["postern-lab", "pptp-call", &to]);
    let callers: Vec<Process> = ["laptop1", "laptop2"].map(call).into();
    for caller in &callers {
        wait_heard(caller, 10);
        assert_eq!(heard(caller, false), 0, "GRE of the other call:\n{}", caller.said());
    }
    callers
}

#[track_caller]
pub fn l2tp_calls(beside: &Beside) -> (Process, Vec<Process>) {
    let mut server = beside.lab.host("server1").spawn(&["postern-lab", "l2tp-server", "1701"]);
    server.wait_for_line("ready", SOON);
    let to = format!("{}:1701", address("server1"));
    let call =
        |laptop| beside.lab.host(laptop).spawn(&["postern-lab", "l2tp-call", &to, "--from", "0.0.0.0:1701"]);
    (server, ["laptop1", "laptop2"].map(call).into())
}

fn pptp(beside: &Beside) {
    let postern = &beside.postern;
    postern.set(&["passthrough.pptp.enabled=true"]);
    let _server = pptp_server(beside);
    let callers = pptp_calls(beside);
    assert_eq!(postern.protocol("pptp")["open"], 2, "{}", postern.protocol("pptp"));
    assert!(postern.ok(&["sessions"]).contains("PPTP"), "{}", postern.ok(&["sessions"]));
    beside.reload();
    callers.iter().for_each(|caller| wait_heard(caller, 20));
    table_is_there(beside);
    callers.iter().for_each(|caller| wait_heard(caller, 10));
    postern.set(&["passthrough.pptp.enabled=false"]);
    ended(&callers);
}

/// Ten clients of one server, raw ESP and IKE from port 500 to 500; the other firewall is loaded anew meanwhile. Until all are
/// served, but at least 25 s: who is held back tries again after 1, 3, 7, 15 and 31 s.
#[track_caller]
fn ten_clients(beside: &Beside, seed: u64) -> Report {
    let plan = Plan { clients: 10, seed, time: Duration::from_secs(90), ..Plan::default() };
    let (crowd, begun) = (beside.lab.crowd(plan), Instant::now());
    // A file that flushes everything takes along what was learnt: that is another test.
    if beside.firewall != Firewall::Hand {
        beside.reload();
    }
    let _ = crowd.wait(Duration::from_secs(60).saturating_sub(begun.elapsed()), |report| {
        begun.elapsed() >= Duration::from_secs(25) && report.served == 10
    });
    crowd.stop()
}

fn ipsec(beside: &Beside) {
    let well = |report: &Report| {
        let wrong = (report.wrong.all(), report.ike_wrong, report.ike_port_moved, report.untranslated);
        wrong == (0, 0, 0, 0) && (report.served, report.never_served) == (10, 0)
    };
    let mut report = ten_clients(beside, 1);
    for seed in 2..5 {
        if report.stood_still < LATE || well(&report) {
            break;
        }
        println!("the machine stood still, so it is played again:\n{report}");
        report = ten_clients(beside, seed);
    }
    assert_eq!((report.wrong.all(), report.ike_wrong), (0, 0), "delivered to the wrong client:\n{report}");
    assert_eq!((report.ike_port_moved, report.untranslated), (0, 0), "\n{report}");
    assert_eq!((report.served, report.never_served), (10, 0), "not served:\n{report}");
}

/// `opens`: what lets in what their rules would drop.
fn l2tp(beside: &Beside, opens: Option<&dyn Fn(&Beside)>) {
    if let Some(open) = opens {
        open(beside);
    }
    let (_server, callers) = l2tp_calls(beside);
    for caller in &callers {
        wait_heard(caller, 10);
        assert_eq!(heard(caller, false), 0, "answers of the other's call:\n{}", caller.said());
    }
    beside.postern.set(&["passthrough.l2tp.enabled=false"]);
    ended(&callers);
    beside.postern.set(&["passthrough.l2tp.enabled=true"]);
    callers.iter().for_each(|caller| wait_heard(caller, 10));
}

fn suite(firewall: Firewall, opens: Option<&dyn Fn(&Beside)>) {
    let beside = Beside::new(firewall);
    let before = beside.theirs();
    assert!(before.contains("lan0") || before.contains("external"), "the probe sees their rules: {before}");
    pptp(&beside);
    ipsec(&beside);
    assert_eq!(beside.theirs(), before, "their rules are what they were");
    l2tp(&beside, opens);
    if opens.is_none() {
        assert_eq!(beside.theirs(), before, "their rules are what they were");
    }
}

#[test]
fn beside_rules_of_fw4s_shape_every_protocol_works_and_their_rules_stay_bit_by_bit() {
    suite(
        Firewall::Fw4,
        Some(&|beside| {
            beside.nft("insert rule inet fw4 forward_wan ct status dnat meta l4proto udp accept");
        }),
    );
}

#[test]
fn beside_firewalld_every_protocol_works_and_its_rules_stay_bit_by_bit() {
    suite(Firewall::Firewalld, None);
}

#[test]
fn beside_old_iptables_every_protocol_works_and_their_rules_stay_bit_by_bit() {
    let open = "iptables-legacy -w -I FORWARD -p udp -m conntrack --ctstate DNAT -j ACCEPT";
    suite(
        Firewall::Legacy,
        Some(&|beside| drop(beside.lab.router().ok(&open.split(' ').collect::<Vec<_>>()))),
    );
}

#[test]
fn beside_iptables_on_nftables_every_protocol_works_and_their_rules_stay_bit_by_bit() {
    let open = "iptables-nft -w -I FORWARD -p udp -m conntrack --ctstate DNAT -j ACCEPT";
    suite(
        Firewall::Iptables,
        Some(&|beside| drop(beside.lab.router().ok(&open.split(' ').collect::<Vec<_>>()))),
    );
}

#[test]
fn beside_rules_written_by_hand_that_flush_everything_every_protocol_works() {
    suite(
        Firewall::Hand,
        Some(&|beside| {
            beside.nft("insert rule inet mine forward ct status dnat meta l4proto udp accept");
        }),
    );
}

/// How many packets conntrack has dropped since two wanted one port, or one was nobody's.
fn clashes(beside: &Beside) -> u64 {
    let said = beside.lab.router().ok(&["conntrack", "-S"]);
    let failed = said.split_whitespace().filter_map(|word| word.strip_prefix("insert_failed="));
    failed.map(|number| number.parse::<u64>().expect("a number")).sum()
}

/// From so many ports two call, until three have called at the same instant.
const PAIRS: std::ops::Range<u16> = 2000..2600;

/// Both are given the same port of ours, and only one of the packets leaves: the answer to it is for that one.
#[test]
fn two_that_call_at_the_same_instant_each_hear_their_server() {
    let beside = Beside::new(Firewall::Firewalld);
    let mut server = beside.lab.host("server1").spawn(&["postern-lab", "l2tp-server", "1701"]);
    server.wait_for_line("ready", SOON);
    let to = format!("{}:1701", address("server1"));
    let before = clashes(&beside);
    for port in PAIRS {
        if clashes(&beside) >= before + 3 {
            return;
        }
        let (from, at) = (format!("0.0.0.0:{port}"), (now_ms() + 400).to_string());
        let words = ["postern-lab", "l2tp-call", &to, "--from", &from, "--at-ms", &at];
        let callers = ["laptop1", "laptop2"].map(|laptop| beside.lab.host(laptop).spawn(&words));
        // Three: at most as many calls in a second as a device may teach us.
        for caller in &callers {
            wait_heard(caller, 3);
            assert_eq!(heard(caller, false), 0, "answers of the other's call:\n{}", caller.said());
        }
    }
    let clashes = clashes(&beside) - before;
    panic!("{clashes} of {} pairs called at the same instant: too few to tell", PAIRS.len());
}
