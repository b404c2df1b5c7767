//! Real VPN programs behind the router, two clients of one server at once; and servers that refuse, are silent, or vanish.

use std::time::Duration;

use lab::wait::{self, SOON, now_ms};
use lab::{
    CallOptions, Lab, Postern, Process, Program, Tunnel, VpnServer, address, last_pong, missing_pongs,
};

/// How long after `set` has returned the last packet may be delivered.
const SECOND: u64 = 1000;
/// How long the status may take while servers are gone, on a busy machine. Whoever waits for one that is gone waits for 20 s and more.
const AT_ONCE: u64 = 10_000;

/// A client on each laptop, both up at once.
#[track_caller]
fn two_clients(lab: &Lab, server: &VpnServer) -> [Tunnel; 2] {
    let mut tunnels = ["laptop1", "laptop2"].map(|name| lab.host(name).vpn_client(server));
    for tunnel in &mut tunnels {
        tunnel.wait_up();
    }
    for tunnel in &tunnels {
        assert!(tunnel.ping(), "both tunnels move bytes at once:\n{}", tunnel.said());
    }
    tunnels
}

#[track_caller]
fn pings(tunnels: &[Tunnel; 2]) -> [Process; 2] {
    let mut pings = [tunnels[0].ping_on(), tunnels[1].ping_on()];
    for ping in &mut pings {
        ping.wait_for_line("icmp_seq=20 ", SOON);
    }
    pings
}

/// Calls the status counts as open. It must not be held up by anything.
#[track_caller]
fn open(postern: &Postern, name: &str) -> u64 {
    let began = now_ms();
    let status = postern.protocol(name);
    let took = now_ms() - began;
    assert!(took < AT_ONCE, "the status took {took} ms: {status}");
    status["open"].as_u64().unwrap_or_else(|| panic!("no count: {status}"))
}

#[track_caller]
fn wait_open(postern: &Postern, name: &str, count: u64, limit: Duration) {
    let came = wait::until(limit, || (open(postern, name) == count).then_some(()));
    assert!(came.is_some(), "{name} should have {count} open after {limit:?}: {}", postern.protocol(name));
}

/// Two tunnels and a steady ping through each; `off` is set; a second later none of them moves a byte.
#[track_caller]
fn off_ends_both(lab: &Lab, postern: &Postern, server: &VpnServer, name: &str) -> [Tunnel; 2] {
    let tunnels = two_clients(lab, server);
    let status = postern.protocol(name);
    assert_eq!((&status["effect"], &status["open"]), (&"working".into(), &2.into()), "{status}");
    let mut pings = pings(&tunnels);
    postern.set(&[&format!("passthrough.{name}.enabled=false")]);
    let returned = now_ms();
    for ping in &mut pings {
        let _ = ping.wait_end(Duration::from_millis(2500));
        let last = last_pong(ping).unwrap_or_default();
        assert!(last <= returned + SECOND, "a ping came back {} ms after {name} was off", last - returned);
    }
    assert_eq!(open(postern, name), 0, "{}", postern.protocol(name));
    tunnels
}

#[test]
fn two_xl2tpd_clients_of_one_server_work_until_l2tp_is_off_and_redial_when_it_is_on() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let server = lab.vpn_server(Program::Xl2tpd, "server1");
    let mut tunnels = off_ends_both(&lab, &postern, &server, "l2tp");
    let refused = postern.protocol("l2tp")["refused"].as_u64();
    tunnels[0].redial();
    let more = wait::until(SOON, || (postern.protocol("l2tp")["refused"].as_u64() > refused).then_some(()));
    assert!(more.is_some(), "a dial while L2TP is off is refused and counted:\n{}", tunnels[0].said());
    postern.set(&["passthrough.l2tp.enabled=true"]);
    for tunnel in &mut tunnels {
        tunnel.redial();
        tunnel.wait_up();
    }
    assert_eq!(open(&postern, "l2tp"), 2);
}

#[test]
fn two_strongswan_clients_of_one_server_work_until_ipsec_is_off_and_come_back_by_themselves() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let server = lab.vpn_server(Program::StrongSwan, "server1");
    let mut tunnels = off_ends_both(&lab, &postern, &server, "ipsec");
    for tunnel in &mut tunnels {
        tunnel.wait_said("giving up after 3 retransmits");
    }
    postern.set(&["passthrough.ipsec.enabled=true"]);
    for tunnel in &mut tunnels {
        tunnel.wait_up();
    }
    let status = postern.protocol("ipsec");
    assert_eq!((&status["open"], &status["nat_traversal"]), (&2.into(), &2.into()), "{status}");
}

/// A protocol that is not NAT's victim is nobody's business: no switch touches it, and nothing counts it.
#[track_caller]
fn no_switch_touches(program: Program) {
    const SWITCHES: [&str; 3] = ["ipsec", "l2tp", "pptp"];
    let lab = Lab::new();
    let postern = lab.postern_router();
    let set_all = |on: bool| {
        let all = SWITCHES.map(|name| format!("passthrough.{name}.enabled={on}"));
        postern.set(&all.each_ref().map(String::as_str));
    };
    set_all(false);
    let server = lab.vpn_server(program, "server1");
    let tunnels = two_clients(&lab, &server);
    let mut pings = pings(&tunnels);
    for on in [true, false] {
        set_all(on);
        for ping in &mut pings {
            let next = ping.out().len() + 20;
            ping.wait_for_line(&format!("icmp_seq={next} "), SOON);
        }
    }
    for ping in &pings {
        assert_eq!(missing_pongs(ping), [] as [u32; 0], "{program:?} should lose no ping");
    }
    for name in SWITCHES {
        let status = postern.protocol(name);
        assert_eq!((&status["effect"], &status["open"]), (&"blocked".into(), &0.into()), "{status}");
        assert_eq!((&status["passed"], &status["refused"]), (&0.into(), &0.into()), "{status}");
    }
}

#[test]
fn two_openvpn_clients_of_one_server_work_whatever_the_switches_say() {
    no_switch_touches(Program::OpenVpn);
}

#[test]
fn two_wireguard_clients_of_one_server_work_whatever_the_switches_say() {
    no_switch_touches(Program::WireGuard);
}

#[test]
fn a_pptp_server_that_refuses_is_told_to_the_caller_at_once_and_takes_a_call_when_it_runs() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    postern.set(&["passthrough.pptp.enabled=true"]);
    let call = || lab.host("laptop1").pptp_call(address("server1"), &CallOptions::default());
    let began = now_ms();
    let said = call().outcome().expect_err("nobody listens on server1");
    assert!(now_ms() - began < AT_ONCE, "the caller should not wait for a timeout: {said}");
    assert!(said.contains("refused"), "the caller should hear the server's own reset: {said}");
    assert_eq!(open(&postern, "pptp"), 0);
    let server = lab.pptp_server("server1", 1723);
    let mut call = call();
    call.wait_up();
    assert!(call.ping(server.inner) && open(&postern, "pptp") == 1);
}

#[test]
fn a_caller_of_a_silent_pptp_server_disturbs_nobody_and_gets_through_when_it_speaks() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    postern.set(&["passthrough.pptp.enabled=true"]);
    let (silent, other) = (lab.pptp_server("server1", 1723), lab.pptp_server("server2", 1723));
    let silence = lab.silence("server1");
    let mut waiting = lab.host("laptop1").pptp_call(address("server1"), &CallOptions::default());
    let mut call = lab.host("laptop2").pptp_call(address("server2"), &CallOptions::default());
    call.wait_up();
    assert!(call.ping(other.inner), "the other server's call works:\n{}", call.said());
    assert_eq!(open(&postern, "pptp"), 1, "an unanswered call is not open");
    assert!(!waiting.ends_within(Duration::from_millis(100)), "it should still wait:\n{}", waiting.said());
    drop(silence);
    waiting.wait_up();
    assert!(waiting.ping(silent.inner) && open(&postern, "pptp") == 2, "{}", waiting.said());
}

#[test]
fn a_pptp_server_that_is_killed_ends_its_calls_and_the_count_and_takes_them_again() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    postern.set(&["passthrough.pptp.enabled=true"]);
    let same = CallOptions { same_call_id: true, ..Default::default() };
    let dial = || ["laptop1", "laptop2"].map(|name| lab.host(name).pptp_call(address("server1"), &same));
    let mut server = lab.pptp_server("server1", 1723);
    let mut calls = dial();
    for call in &mut calls {
        call.wait_up();
    }
    assert_eq!(open(&postern, "pptp"), 2);
    server.kill();
    for call in &mut calls {
        assert!(call.ends_within(SOON), "the call should end with its server:\n{}", call.said());
    }
    wait_open(&postern, "pptp", 0, SOON);
    drop(server);
    let server = lab.pptp_server("server1", 1723);
    for call in &mut dial() {
        call.wait_up();
        assert!(call.ping(server.inner), "the new call moves bytes:\n{}", call.said());
    }
}

#[test]
fn a_pptp_call_whose_server_vanished_is_open_until_hung_up_and_is_made_again_at_once() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    postern.set(&["passthrough.pptp.enabled=true"]);
    let server = lab.pptp_server("server1", 1723);
    let same = CallOptions { same_call_id: true, ..Default::default() };
    let dial = || lab.host("laptop1").pptp_call(address("server1"), &same);
    let mut call = dial();
    call.wait_up();
    let silence = lab.silence("server1");
    assert!(call.silent(server.inner));
    assert_eq!(open(&postern, "pptp"), 1, "nobody has closed it");
    call.hang_up();
    wait_open(&postern, "pptp", 0, SOON);
    drop(server);
    drop(silence);
    let server = lab.pptp_server("server1", 1723);
    let mut call = dial();
    call.wait_up();
    assert!(call.ping(server.inner), "the new call moves bytes:\n{}", call.said());
    assert_eq!(open(&postern, "pptp"), 1);
}

/// The server is silent at first, then refuses, then serves, then vanishes, then serves anew.
#[track_caller]
fn comes_and_goes(program: Program, name: &str) {
    let lab = Lab::new();
    let postern = lab.postern_router();
    // The minutes of RFC 4787 are too long to watch. Only a change of settings makes the daemon write its own again.
    for timer in ["nf_conntrack_udp_timeout", "nf_conntrack_udp_timeout_stream"] {
        lab.router().ok(&["sysctl", "-qw", &format!("net.netfilter.{timer}=6")]);
    }
    let mut server = lab.vpn_server(program, "server1");
    let silence = lab.silence("server1");
    let mut tunnel = lab.host("laptop1").vpn_client(&server);
    let tried = wait::until(SOON, || postern.protocol(name)["passed"].as_u64().filter(|passed| *passed > 1));
    assert!(
        tried.is_some() && open(&postern, name) == 0,
        "unanswered tries are not open:\n{}",
        tunnel.said()
    );

    server.kill();
    drop(silence);
    tunnel.redial();
    let refused = lab.host("laptop2").probe(lab::Kind::Udp(program.port()), address("server1"));
    assert_eq!(
        refused.error.as_deref(),
        Some("ECONNREFUSED"),
        "the server's own refusal is heard: {refused:?}"
    );
    assert_eq!(open(&postern, name), 0);

    server.start();
    tunnel.redial();
    tunnel.wait_up();
    assert_eq!(open(&postern, name), 1);

    let silence = lab.silence("server1");
    assert!(tunnel.silent());
    drop(tunnel);
    wait_open(&postern, name, 0, Duration::from_secs(15));
    server.start();
    drop(silence);
    let mut tunnel = lab.host("laptop1").vpn_client(&server);
    tunnel.wait_up();
    assert_eq!(open(&postern, name), 1);
}

#[test]
fn an_l2tp_server_that_comes_and_goes_leaves_no_open_count_and_takes_the_next_dial() {
    comes_and_goes(Program::Xl2tpd, "l2tp");
}

#[test]
fn an_ike_server_that_comes_and_goes_leaves_no_open_count_and_takes_the_next_dial() {
    comes_and_goes(Program::StrongSwan, "ipsec");
}
