//! PPTP calls from their beginning to their end: what is theirs gets in while they are up, and not five seconds later.

use std::time::Duration;

use lab::wait::{self, SOON, now_ms};
use lab::{Lab, Nat, Postern, Process, address};
use serde_json::Value;

/// How long after a call's end its GRE may still be let in.
const GONE: u64 = 5000;

fn lines(process: &Process) -> Vec<Value> {
    process.out().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// When GRE of its call last reached the caller, in milliseconds since 1970.
fn last_gre(caller: &Process) -> u64 {
    lines(caller)
        .iter()
        .filter(|line| line["mine"] == true)
        .filter_map(|line| line["at"].as_u64())
        .max()
        .unwrap_or(0)
}

fn count(caller: &Process, mine: bool) -> usize {
    lines(caller).iter().filter(|line| line["mine"] == mine).count()
}

#[track_caller]
fn server(lab: &Lab, port: &str) -> Process {
    let mut server = lab.host("server1").spawn(&["postern-lab", "pptp-server", port]);
    server.wait_for_line("ready", SOON);
    server
}

/// A caller with Call ID 7; `more` says how it ends.
#[track_caller]
fn dial(lab: &Lab, port: &str, more: &[&str]) -> Process {
    let to = format!("{}:{port}", address("server1"));
    let mut words = vec!["postern-lab", "pptp-call", &to];
    words.extend(more);
    let mut caller = lab.host("laptop1").spawn(&words);
    caller.wait_for_line("\"up\"", SOON);
    caller
}

#[track_caller]
fn wait_gre(caller: &Process, least: usize) {
    let came = wait::until(SOON, || (count(caller, true) >= least).then_some(()));
    assert!(came.is_some(), "GRE of the call should reach the caller:\n{}", caller.said());
}

/// When the call was ended, and when its GRE last got in during the eight seconds that follow.
#[track_caller]
fn end_and_last(caller: &mut Process) -> (u64, u64) {
    wait_gre(caller, 5);
    caller.wait_for_line("\"ended\"", SOON);
    let ended = lines(caller).iter().find(|line| line["ended"] == true).and_then(|line| line["at"].as_u64());
    let ended = ended.unwrap_or_default();
    let over = wait::until(SOON, || (now_ms() > ended + GONE + 3000).then_some(()));
    assert!(over.is_some());
    (ended, last_gre(caller))
}

fn on(lab: &Lab) -> Postern {
    let postern = lab.postern_router();
    postern.set(&["passthrough.pptp.enabled=true", "passthrough.pptp.ports=1723,1823"]);
    postern
}

/// Proof of the probe: a router that only has the helper lets a dead call's GRE in for minutes.
#[test]
fn without_postern_gre_is_let_in_after_a_call_has_ended() {
    let lab = Lab::new();
    lab.plain_router(Nat::PptpHelper);
    let _server = server(&lab, "1723");
    let (ended, last) = end_and_last(&mut dial(&lab, "1723", &["--end", "fin"]));
    assert!(last > ended + GONE, "the probe should see a stale pinhole");
}

#[track_caller]
fn gone_after(how: &str, port: &str) {
    let lab = Lab::new();
    let postern = on(&lab);
    let _server = server(&lab, port);
    let (ended, last) = end_and_last(&mut dial(&lab, port, &["--end", how]));
    assert!(last <= ended + GONE, "GRE was let in {} ms after {how}", last - ended);
    // And the same two hosts may call again with the same Call ID at once.
    let again = dial(&lab, port, &[]);
    wait_gre(&again, 5);
    println!("{how}: the last GRE came {} ms after the end", last.saturating_sub(ended));
    assert!(!postern.daemon_said().contains("refused"), "{}", postern.daemon_said());
}

#[test]
fn gre_of_a_call_is_not_let_in_five_seconds_after_its_control_connection_was_closed() {
    gone_after("fin", "1723");
}

#[test]
fn gre_of_a_call_on_a_second_port_is_not_let_in_five_seconds_after_a_reset() {
    gone_after("rst", "1823");
}

#[test]
fn gre_of_a_call_is_not_let_in_five_seconds_after_it_was_cleared_though_the_connection_stays() {
    gone_after("clear", "1723");
}

#[test]
fn gre_of_a_call_whose_server_never_says_goodbye_is_not_let_in_five_seconds_after_the_callers_fin() {
    let lab = Lab::new();
    let _postern = on(&lab);
    let _server = server(&lab, "1723");
    let mut caller = dial(&lab, "1723", &["--end", "fin", "--after-ms", "3000"]);
    wait_gre(&caller, 5);
    // The server's control packets are lost from now on; its GRE is not.
    let rules = "table ip mute { chain c { type filter hook output priority 0; tcp sport 1723 drop; }\n}";
    lab.host("server1").ok_with(&["nft", "-f", "-"], rules);
    let (ended, last) = end_and_last(&mut caller);
    assert!(last > ended, "the probe should see GRE before the entry is deleted");
    assert!(last <= ended + GONE, "GRE was let in {} ms after the FIN", last - ended);
}

#[test]
fn a_call_that_ended_while_the_daemon_was_away_is_cleaned_up_when_it_starts() {
    let lab = Lab::new();
    let mut postern = on(&lab);
    let _server = server(&lab, "1723");
    let open = dial(&lab, "1723", &["--id", "9"]);
    postern.crash_daemon();
    let (ended, last) = end_and_last(&mut dial(&lab, "1723", &["--end", "fin"]));
    assert!(last > ended + GONE, "nobody was there to clean up");
    let before = count(&open, true);
    postern.start_daemon();
    let started = now_ms();
    let gone = wait::until(SOON, || {
        let flows = lab.router().ok(&["conntrack", "-L", "-p", "tcp"]);
        (!flows.contains("TIME_WAIT")).then_some(())
    });
    assert!(gone.is_some() && now_ms() < started + GONE + 1000);
    wait_gre(&open, before + 20);
}

#[test]
fn an_idle_calls_gre_may_rest_for_hours_and_ordinary_traffic_makes_no_event() {
    let lab = Lab::new();
    let _postern = on(&lab);
    let _server = server(&lab, "1723");
    let _web = lab.host("server2").echo(&[lab::Kind::Tcp(80), lab::Kind::Udp(443)]);
    let mut events = lab.router().spawn(&["conntrack", "-E", "-o", "timestamp"]);
    for kind in [lab::Kind::Tcp(80), lab::Kind::Udp(443)] {
        assert_eq!(lab.host("laptop2").probe(kind, address("server2")).answered, 1);
    }
    let call = dial(&lab, "1723", &[]);
    wait_gre(&call, 5);
    events.wait_for_line("ESTABLISHED", SOON);
    let told = events.out();
    assert!(
        told.iter().all(|line| line.contains("dport=1723")),
        "only control connections are told of: {told:#?}"
    );
    let flows = lab.router().ok(&["conntrack", "-L", "-p", "gre"]);
    let rest: Vec<u64> =
        flows.lines().filter_map(|line| line.split_whitespace().nth(2)?.parse().ok()).collect();
    assert!(!rest.is_empty() && rest.iter().all(|seconds| *seconds > 17_900), "{flows}");
}

#[test]
fn twenty_callers_with_the_same_call_id_to_one_server_each_get_their_own_gre() {
    let lab = Lab::new();
    let postern = on(&lab);
    let server = server(&lab, "1723");
    let laptop = lab.host("laptop1");
    let callers: Vec<Process> = (201..=220)
        .map(|last| {
            let from = format!("192.168.1.{last}");
            laptop.ok(&["ip", "addr", "add", &format!("{from}/24"), "dev", "eth0"]);
            let to = format!("{}:1723", address("server1"));
            laptop.spawn(&["postern-lab", "pptp-call", &to, "--from", &from])
        })
        .collect();
    for caller in &callers {
        wait_gre(caller, 10);
        assert_eq!(count(caller, false), 0, "GRE of another call:\n{}", caller.said());
    }
    let heard = lines(&server);
    let wrong = heard.iter().filter(|line| line["call"].is_u64() && line["call"] != line["payload"]).count();
    let calls: std::collections::BTreeSet<_> =
        heard.iter().filter_map(|line| line["call"].as_u64()).collect();
    assert_eq!((calls.len(), wrong), (20, 0), "the server hears each call");
    assert_eq!(postern.protocol("pptp")["open"], 20);
}

/// Nobody has to have hung up in good order: whoever vanished is not the server's friend for ever.
#[test]
fn a_killed_caller_leaves_no_open_call() {
    let lab = Lab::new();
    let postern = on(&lab);
    let _server = server(&lab, "1723");
    let mut caller = dial(&lab, "1723", &[]);
    wait_gre(&caller, 5);
    assert_eq!(postern.protocol("pptp")["open"], 1);
    caller.kill();
    let gone = wait::until(Duration::from_millis(GONE), || {
        let flows = lab.router().ok(&["conntrack", "-L", "-p", "gre"]);
        (!flows.contains("src=192.168.1.101")).then_some(())
    });
    assert!(gone.is_some(), "{}", lab.router().ok(&["conntrack", "-L"]));
}
