//! L2TP servers that answer from another port, and many clients of one that does not.

use std::collections::BTreeSet;

use lab::wait::{self, SOON, now_ms};
use lab::{Kind, Lab, Nat, Process, address};
use serde_json::Value;

/// How long after `set` has returned the last packet may be delivered.
const SECOND: u64 = 1000;

fn lines(process: &Process) -> Vec<Value> {
    process.out().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

fn heard(caller: &Process, mine: bool) -> Vec<Value> {
    lines(caller).into_iter().filter(|line| line["mine"] == mine).collect()
}

fn last(process: &Process, field: &str) -> u64 {
    let lines = lines(process);
    lines
        .iter()
        .filter(|line| !line[field].is_null())
        .filter_map(|line| line["at"].as_u64())
        .max()
        .unwrap_or(0)
}

#[track_caller]
fn server(lab: &Lab, words: &[&str]) -> Process {
    let mut all = vec!["postern-lab", "l2tp-server"];
    all.extend(words);
    let mut server = lab.host("server1").spawn(&all);
    server.wait_for_line("ready", SOON);
    server
}

#[track_caller]
fn dial(lab: &Lab, laptop: &str, port: u16, from: &str) -> Process {
    let to = format!("{}:{port}", address("server1"));
    lab.host(laptop).spawn(&["postern-lab", "l2tp-call", &to, "--from", from])
}

#[track_caller]
fn wait_heard(caller: &Process, more: usize) {
    let wanted = heard(caller, true).len() + more;
    let came = wait::until(SOON, || (heard(caller, true).len() >= wanted).then_some(()));
    assert!(came.is_some(), "the server's answers should reach the caller:\n{}", caller.said());
}

/// The ports the server's answers came from.
fn ports(caller: &Process) -> BTreeSet<u64> {
    heard(caller, true).iter().filter_map(|line| line["port"].as_u64()).collect()
}

/// How many different ports of the server heard `caller`'s kind of packet: the one called, and its own.
fn server_ports(server: &Process) -> BTreeSet<u64> {
    lines(server).iter().filter_map(|line| line["to"].as_u64()).collect()
}

#[test]
fn plain_nat_loses_answers_from_another_port() {
    let lab = Lab::new();
    lab.plain_router(Nat::Masquerade);
    let server = server(&lab, &["1701"]);
    let caller = dial(&lab, "laptop1", 1701, "0.0.0.0:1701");
    let tried = wait::until(SOON, || (lines(&server).len() > 15).then_some(()));
    assert!(tried.is_some() && heard(&caller, true).is_empty(), "if it hears them, nothing need be learnt");
}

#[test]
fn two_clients_of_a_server_that_answers_each_from_another_port_work_both_ways_until_l2tp_is_off() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let server = server(&lab, &["1701"]);
    // The same port at both: NAT must move one of them.
    let callers = ["laptop1", "laptop2"].map(|laptop| dial(&lab, laptop, 1701, "0.0.0.0:1701"));
    for caller in &callers {
        wait_heard(caller, 10);
        assert!(heard(caller, false).is_empty(), "answers of the other's call:\n{}", caller.said());
        assert!(!ports(caller).contains(&1701), "the answers came from another port: {:?}", ports(caller));
    }
    assert_ne!(ports(&callers[0]), ports(&callers[1]), "each has a port of its own");
    let both = wait::until(SOON, || (server_ports(&server).len() == 3).then_some(()));
    assert!(both.is_some(), "the clients' packets reach the ports the answers came from:\n{}", server.said());
    assert!(postern.protocol("l2tp")["passed"].as_u64() > Some(40), "{}", postern.protocol("l2tp"));

    // A change of something else disturbs nobody.
    postern.set(&["passthrough.ipsec.nat_traversal=false"]);
    callers.iter().for_each(|caller| wait_heard(caller, 10));

    postern.set(&["passthrough.l2tp.enabled=false"]);
    let returned = now_ms();
    let over = wait::until(SOON, || (now_ms() > returned + 2 * SECOND).then_some(()));
    assert!(over.is_some());
    for caller in &callers {
        assert!(last(caller, "mine") <= returned + SECOND, "the caller still hears its server");
    }
    assert!(last(&server, "call") <= returned + SECOND, "the server still hears its callers");
    postern.set(&["passthrough.l2tp.enabled=true"]);
    callers.iter().for_each(|caller| wait_heard(caller, 10));
}

#[test]
fn a_tunnel_from_another_port_by_a_second_port_ends_with_l2tp_though_that_has_left_the_list() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    postern.set(&["passthrough.l2tp.ports=1701,1801"]);
    let _server = server(&lab, &["1801"]);
    let caller = dial(&lab, "laptop1", 1801, "0.0.0.0:0");
    wait_heard(&caller, 10);
    postern.set(&["passthrough.l2tp.ports=1701", "passthrough.l2tp.enabled=false"]);
    let returned = now_ms();
    let over = wait::until(SOON, || (now_ms() > returned + 2 * SECOND).then_some(()));
    assert!(over.is_some() && last(&caller, "mine") <= returned + SECOND, "{}", caller.said());
}

#[test]
fn nobody_but_the_called_server_gets_in_by_the_callers_port() {
    let lab = Lab::new();
    let _postern = lab.postern_router();
    let server = server(&lab, &["1701"]);
    let caller = dial(&lab, "laptop1", 1701, "0.0.0.0:5555");
    wait_heard(&caller, 5);
    // The caller's port at the router, as the server sees it: 5555 is free there.
    assert!(server.said().contains("198.51.100.2:5555"), "{}", server.said());
    for attacker in ["attacker", "server2"] {
        let knock = lab.host(attacker).knock(Kind::Udp(5555), address("router"));
        assert_eq!(knock.answered, 0);
    }
    // The probe is proved by the server itself, whose packets from any port arrive.
    let _ = lab.host("server1").knock(Kind::Udp(5555), address("router"));
    let came = wait::until(SOON, || (!heard(&caller, false).is_empty()).then_some(()));
    assert!(came.is_some(), "{}", caller.said());
    let strangers = lines(&caller).iter().filter(|line| line["from"] != "203.0.113.10").count();
    assert_eq!(strangers, 0, "{}", caller.said());
}

#[test]
fn twenty_clients_with_the_same_port_of_one_server_each_hear_their_own_answers() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    for words in [&["1701", "--same"][..], &["1801"]] {
        postern.set(&["passthrough.l2tp.ports=1701,1801"]);
        let _server = server(&lab, words);
        let port = words[0].parse().expect("a port");
        let laptop = lab.host("laptop1");
        let callers: Vec<Process> = (201..=220)
            .map(|last| {
                let from = format!("192.168.1.{last}");
                laptop.ok(&["ip", "addr", "replace", &format!("{from}/24"), "dev", "eth0"]);
                dial(&lab, "laptop1", port, &format!("{from}:1701"))
            })
            .collect();
        for caller in &callers {
            wait_heard(caller, 10);
            assert!(heard(caller, false).is_empty(), "answers of another's call:\n{}", caller.said());
        }
    }
}
