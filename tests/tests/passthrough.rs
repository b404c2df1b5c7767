//! VPN clients behind the router: off refuses with a reason, on moves bytes, off again ends what is live.

use std::net::IpAddr;
use std::time::Duration;

use lab::wait::now_ms;
use lab::{CallOptions, Echo, Flow, Kind, Lab, Postern, address, address6, last_pong};

/// How long after `set` has returned the last packet may be delivered.
const SECOND: u64 = 1000;

fn servers() -> [IpAddr; 2] {
    [address("server1").into(), address6("server1").into()]
}

/// Whether the kernel's reject gives a reason for it: not for L2TPv3, and not for AH over IPv6 (see `lab_itself`).
fn kernel_gives_a_reason(kind: Kind, to: IpAddr) -> bool {
    kind != Kind::Ip(115) && !(kind == Kind::Ip(51) && to.is_ipv6())
}

/// Every kind is refused at once, in both families, and the server hears nothing of it.
#[track_caller]
fn refused_with_a_reason(lab: &Lab, server: &Echo, kinds: &[Kind]) {
    for kind in kinds.iter().copied() {
        let before = server.heard_of(kind).len();
        for to in servers() {
            let probe = lab.host("laptop1").probe(kind, to);
            assert_eq!(probe.answered, 0, "{kind} to {to}: {probe:?}");
            if kernel_gives_a_reason(kind, to) {
                assert!(probe.refused(), "{kind} to {to} should be refused with a reason: {probe:?}");
                assert!(probe.ms < 2 * SECOND, "{kind} to {to} should be refused at once: {probe:?}");
            }
        }
        assert_eq!(server.heard_of(kind).len(), before, "the server heard {kind}");
    }
}

#[track_caller]
fn answered(lab: &Lab, kinds: &[Kind]) {
    for kind in kinds.iter().copied() {
        for to in servers() {
            let probe = lab.host("laptop1").probe(kind, to);
            assert_eq!(probe.answered, 1, "{kind} to {to} should be answered: {probe:?}");
        }
    }
}

/// Live flows of every kind in both families; `off` is set; nothing is delivered a second later, to either side.
#[track_caller]
fn off_ends_live_flows(lab: &Lab, postern: &Postern, server: &Echo, kinds: &[Kind], off: &str) {
    let mut flows: Vec<(Kind, IpAddr, Flow)> = Vec::new();
    for kind in kinds.iter().copied() {
        for to in servers() {
            flows.push((kind, to, lab.host("laptop1").flow(kind, to)));
        }
    }
    for (kind, to, flow) in &flows {
        flow.wait_answers(10);
        assert!(flow.errors().is_empty(), "{kind} to {to} should be undisturbed: {}", flow.tail());
    }
    postern.set(&[off]);
    let returned = now_ms();
    for (kind, to, flow) in &flows {
        flow.watch(Duration::from_millis(2500));
        let last = flow.last_answer().unwrap_or_default();
        assert!(last <= returned + SECOND, "{kind} to {to} was answered {} ms after {off}", last - returned);
    }
    for kind in kinds.iter().copied() {
        let last = server.heard_of(kind).last().map_or(0, |arrival| arrival.at);
        assert!(last <= returned + SECOND, "the server heard {kind} {} ms after {off}", last - returned);
    }
}

#[test]
fn l2tp_off_refuses_on_moves_bytes_and_off_again_ends_it_within_a_second() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let all = [Kind::Udp(1701), Kind::Ip(115)];
    let server = lab.host("server1").echo(&all);

    postern.set(&["passthrough.l2tp.enabled=false"]);
    refused_with_a_reason(&lab, &server, &all);
    assert_eq!(postern.protocol("l2tp")["effect"], "blocked");

    postern.set(&["passthrough.l2tp.enabled=true"]);
    answered(&lab, &all);
    off_ends_live_flows(&lab, &postern, &server, &all, "passthrough.l2tp.enabled=false");
}

#[test]
fn l2tp_is_refused_and_passed_on_a_second_port_as_well() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let server = lab.host("server1").echo(&[Kind::Udp(1701), Kind::Udp(1801)]);
    postern.set(&["passthrough.l2tp.ports=1701,1801", "passthrough.l2tp.enabled=false"]);
    refused_with_a_reason(&lab, &server, &[Kind::Udp(1701), Kind::Udp(1801)]);
    postern.set(&["passthrough.l2tp.enabled=true"]);
    answered(&lab, &[Kind::Udp(1701), Kind::Udp(1801)]);
}

#[test]
fn ipsec_off_refuses_on_moves_bytes_and_off_again_ends_it_within_a_second() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let all = [Kind::Udp(500), Kind::Udp(4500), Kind::Ip(50), Kind::Ip(51)];
    let server = lab.host("server1").echo(&all);

    postern.set(&["passthrough.ipsec.enabled=false"]);
    refused_with_a_reason(&lab, &server, &all);
    assert_eq!(postern.protocol("ipsec")["effect"], "blocked");

    postern.set(&["passthrough.ipsec.enabled=true"]);
    let through_nat = &all[..3];
    answered(&lab, through_nat);
    let status = postern.protocol("ipsec");
    assert_eq!(status["effect"], "working", "{status}");
    assert!(status["passed"].as_u64() > Some(0) && status["refused"].as_u64() > Some(0), "{status}");
    off_ends_live_flows(&lab, &postern, &server, through_nat, "passthrough.ipsec.enabled=false");
}

#[test]
fn switching_one_protocol_off_leaves_the_others_undisturbed() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let kinds = [Kind::Udp(4500), Kind::Udp(1701), Kind::Udp(7000)];
    let _server = lab.host("server1").echo(&kinds);
    let flows = kinds.map(|kind| lab.host("laptop1").flow(kind, address("server1")));
    for flow in &flows {
        flow.wait_answers(10);
    }
    postern.set(&["passthrough.l2tp.enabled=false"]);
    flows[0].watch(Duration::from_secs(2));
    for (kind, flow) in [(kinds[0], &flows[0]), (kinds[2], &flows[2])] {
        let lost = flow.lost(Duration::from_millis(500));
        assert!(lost.is_empty(), "{kind} lost {lost:?}:\n{}", flow.tail());
    }
    assert!(!flows[1].missing(Duration::from_millis(500)).is_empty(), "L2TP should have stopped");
}

#[test]
fn with_pptp_off_a_caller_fails_at_once_with_a_reason_in_both_families() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let _real = lab.pptp_server("server1", 1723);
    assert_eq!(postern.protocol("pptp")["effect"], "blocked");
    let began = now_ms();
    let said = lab.host("laptop1").pptp_call(address("server1"), &CallOptions::default()).outcome();
    let said = said.expect_err("PPTP is off in the factory state");
    assert!(now_ms() - began < 10_000, "the caller should not wait for a timeout: {said}");
    for to in servers() {
        let probe = lab.host("laptop1").probe(Kind::Tcp(1723), to);
        assert_eq!(probe.error.as_deref(), Some("ECONNREFUSED"), "{to}: {probe:?}");
        assert!(probe.ms < 2 * SECOND, "{to}: {probe:?}");
    }
    let status = postern.protocol("pptp");
    assert!(status["refused"].as_u64() >= Some(3), "refusals are counted: {status}");
}

#[test]
fn with_pptp_on_a_real_call_moves_bytes_and_off_ends_it_within_a_second() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let server = lab.pptp_server("server1", 1723);
    postern.set(&["passthrough.pptp.enabled=true"]);
    assert_eq!(postern.protocol("pptp")["effect"], "ready");
    let mut call = lab.host("laptop1").pptp_call(address("server1"), &CallOptions::default());
    call.wait_up();
    assert!(call.ping(server.inner), "a ping goes through the call:\n{}", call.said());
    let status = postern.protocol("pptp");
    assert_eq!((&status["effect"], &status["open"]), (&"working".into(), &1.into()), "{status}");

    let mut pings = call.ping_on(server.inner);
    pings.wait_for_line("icmp_seq=10 ", Duration::from_secs(10));
    postern.set(&["passthrough.pptp.enabled=false"]);
    let returned = now_ms();
    let _ = pings.wait_end(Duration::from_millis(2500));
    let last = last_pong(&pings).unwrap_or_default();
    assert!(last <= returned + SECOND, "a ping came back {} ms after PPTP was off", last - returned);
    assert_eq!(postern.protocol("pptp")["open"], 0);
    assert!(call.silent(server.inner));
}

#[test]
fn two_callers_with_the_same_call_id_to_one_server_both_work() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let server = lab.pptp_server("server1", 1723);
    postern.set(&["passthrough.pptp.enabled=true"]);
    let same = CallOptions { same_call_id: true, ..Default::default() };
    let mut calls = ["laptop1", "laptop2"].map(|name| lab.host(name).pptp_call(address("server1"), &same));
    for call in &mut calls {
        call.wait_up();
    }
    for call in &calls {
        assert!(call.ping(server.inner), "each call moves bytes:\n{}", call.said());
    }
    assert_eq!(postern.protocol("pptp")["open"], 2);
}

#[test]
fn a_pptp_server_on_a_second_port_is_reached_when_the_port_is_set() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let server = lab.pptp_server("server1", 1823);
    postern.set(&["passthrough.pptp.enabled=true", "passthrough.pptp.ports=1723,1823"]);
    let options = CallOptions { port: 1823, ..Default::default() };
    let mut call = lab.host("laptop1").pptp_call(address("server1"), &options);
    call.wait_up();
    assert!(call.ping(server.inner), "a ping goes through the call:\n{}", call.said());
    drop(call);
    postern.set(&["passthrough.pptp.enabled=false"]);
    let probe = lab.host("laptop1").probe(Kind::Tcp(1823), address("server1"));
    assert_eq!(probe.error.as_deref(), Some("ECONNREFUSED"), "off means every port: {probe:?}");
}

#[test]
fn a_control_connection_that_was_open_before_pptp_was_on_is_told_to_redial() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let _server = lab.host("server1").echo(&[Kind::Tcp(1823)]);
    let flow = lab.host("laptop1").flow(Kind::Tcp(1823), address("server1"));
    flow.wait_answers(5);
    let message = postern.set(&["passthrough.pptp.enabled=true", "passthrough.pptp.ports=1723,1823"]);
    assert!(message.contains("must redial"), "the message should name the open connection: {message}");
    assert!(message.contains('1'), "and count it: {message}");
    assert_eq!(postern.protocol("pptp")["must_redial"], 1);
}

#[test]
fn what_a_client_sends_leaves_with_the_routers_address() {
    let lab = Lab::new();
    let _postern = lab.postern_router();
    let kinds = [Kind::Udp(500), Kind::Udp(4500), Kind::Udp(1701), Kind::Ip(50), Kind::Tcp(7000)];
    let server = lab.host("server1").echo(&kinds);
    for kind in kinds {
        assert_eq!(lab.host("laptop2").probe(kind, address("server1")).answered, 1, "{kind}");
        let from: Vec<_> = server.heard_of(kind).iter().map(|arrival| arrival.from).collect();
        assert!(
            from.iter().all(|from| *from == IpAddr::from(address("router"))),
            "{kind} came from {from:?}"
        );
    }
}
