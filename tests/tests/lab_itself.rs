//! The lab without Postern: every probe is shown to see what it is there to see, before a test trusts it.

use std::os::unix::net::UnixStream;
use std::time::Duration;

use lab::wait::{SOON, now_ms};
use lab::{Browser, CallOptions, Kind, Lab, Nat, Program, address, address6, last_pong, missing_pongs};

const VPN: [Kind; 8] = [
    Kind::Tcp(1723),
    Kind::Udp(1701),
    Kind::Udp(500),
    Kind::Udp(4500),
    Kind::Ip(47),
    Kind::Ip(50),
    Kind::Ip(51),
    Kind::Ip(115),
];

#[test]
fn every_kind_of_traffic_comes_back_through_an_open_router_in_both_families() {
    let lab = Lab::new();
    lab.plain_router(Nat::Masquerade);
    let server = lab.host("server1").echo(&VPN);
    let laptop = lab.host("laptop1");
    for kind in VPN.into_iter().filter(|kind| *kind != Kind::Ip(47)) {
        let probe = laptop.probe(kind, address("server1"));
        assert_eq!(probe.answered, 1, "{kind} over IPv4: {probe:?}");
        let from = server.heard_of(kind).last().map(|arrival| arrival.from);
        assert_eq!(from, Some(address("router").into()), "{kind} should carry the router's address");
    }
    for kind in VPN {
        let probe = laptop.probe(kind, address6("server1"));
        assert_eq!(probe.answered, 1, "{kind} over IPv6: {probe:?}");
        let from = server.heard_of(kind).last().map(|arrival| arrival.from);
        assert_eq!(from, Some(address6("laptop1").into()), "{kind} should carry the laptop's address");
    }
}

#[test]
fn a_probe_tells_a_refusal_from_silence_in_both_families() {
    let lab = Lab::new();
    lab.plain_router(Nat::Masquerade);
    let laptop = lab.host("laptop1");
    let _server = lab.host("server1").echo(&VPN);
    let rules = "table inet refuse { chain f { type filter hook forward priority -5;
        udp dport 1701 reject with icmpx admin-prohibited; meta l4proto { 47, 50, 51, 115 } reject with icmpx admin-prohibited
        tcp dport 1723 reject with tcp reset; udp dport 4500 drop; }\n}";
    lab.router().ok_with(&["nft", "-f", "-"], rules);
    for server in [address("server1").into(), std::net::IpAddr::from(address6("server1"))] {
        for kind in [Kind::Udp(1701), Kind::Ip(50), Kind::Ip(47), Kind::Tcp(1723)] {
            let probe = laptop.probe(kind, server);
            assert!(
                probe.refused() && probe.ms < 2000,
                "{kind} to {server} should be refused at once: {probe:?}"
            );
        }
        let probe = laptop.probe(Kind::Udp(4500), server);
        assert!(probe.silent() && !probe.refused() && probe.ms >= 3000, "a drop should be silent: {probe:?}");
    }
}

/// `nft reject` verifies a checksum over the payload of every protocol it does not know, and drops without a word where there
/// is none: L2TPv3, and in IPv6 whatever lies behind an AH header. A `prohibit` route for marked packets does answer (for AH
/// over IPv6 the sender's own kernel then looks behind the AH header and finds nobody to tell).
#[test]
fn the_kernel_rejects_l2tpv3_and_ah_over_ipv6_in_silence_and_a_prohibit_route_speaks() {
    let lab = Lab::new();
    lab.plain_router(Nat::Masquerade);
    let (laptop, router) = (lab.host("laptop1"), lab.router());
    let _server = lab.host("server1").echo(&[Kind::Ip(115), Kind::Ip(51)]);
    let cases: [(Kind, std::net::IpAddr); 3] = [
        (Kind::Ip(115), address("server1").into()),
        (Kind::Ip(115), address6("server1").into()),
        (Kind::Ip(51), address6("server1").into()),
    ];
    let rules = |chain: &str| format!("flush ruleset\ntable inet refuse {{ chain c {{ {chain}; }}\n}}");
    let reject =
        "type filter hook forward priority -5; meta l4proto { 51, 115 } reject with icmpx admin-prohibited";
    router.ok_with(&["nft", "-f", "-"], &rules(reject));
    for (kind, to) in cases {
        let probe = laptop.probe(kind, to);
        assert!(
            probe.silent(),
            "if this kernel answers, passthrough can demand a reason for {kind} to {to}: {probe:?}"
        );
    }
    let mark = "type filter hook prerouting priority mangle; meta l4proto { 51, 115 } meta mark set 0x115";
    router.ok_with(&["nft", "-f", "-"], &rules(mark));
    for family in ["-4", "-6"] {
        router.ok(&["ip", family, "rule", "add", "fwmark", "0x115", "prohibit"]);
    }
    for (kind, to) in &cases[..2] {
        let probe = laptop.probe(*kind, *to);
        assert!(probe.refused() && probe.ms < 2000, "{kind} to {to}: {probe:?}");
    }
}

/// A dead call's GRE entry lives as long as that of its control connection (10 s after a reset, 240 s in Postern after any
/// other end) and claims the packets of a new call with the same two Call IDs: pptpd hands out 0 first, some clients always
/// the same. An orderly hang-up is seen by the helper, which takes the GRE entry away itself.
#[test]
fn a_dead_pptp_call_swallows_its_twin_until_its_control_entry_is_deleted() {
    let lab = Lab::new();
    lab.plain_router(Nat::PptpHelper);
    let same = CallOptions { same_call_id: true, patience: 3, ..Default::default() };
    let dial = || lab.host("laptop1").pptp_call(address("server1"), &same);
    let mut server = lab.pptp_server("server1", 1723);
    let mut call = dial();
    call.wait_up();
    server.kill();
    assert!(call.ends_within(SOON), "{}", call.said());
    drop(server);
    let server = lab.pptp_server("server1", 1723);
    dial().outcome().expect_err("if this kernel lets the twin through, nothing need be deleted");
    lab.router().ok(&["conntrack", "-D", "-p", "tcp", "--dport", "1723"]);
    let mut call = dial();
    call.wait_up();
    assert!(call.ping(server.inner), "{}", call.said());
    call.hang_up();
    let mut call = dial();
    call.wait_up();
    assert!(call.ping(server.inner), "after an orderly end there is nothing to delete:\n{}", call.said());
}

#[test]
fn every_vpn_program_pings_through_a_plain_router_and_not_when_its_server_is_silent_or_killed() {
    let lab = Lab::new();
    lab.plain_router(Nat::Masquerade);
    for program in Program::ALL {
        let laptop = lab.host("laptop1");
        let mut server = lab.vpn_server(program, "server1");
        let inner = server.inner.to_string();
        let outside = laptop.run(&["ping", "-c", "1", "-W", "1", &inner]);
        assert!(
            !outside.ok(),
            "{program:?}: {inner} should be reached through the tunnel alone:\n{}",
            outside.out
        );
        let mut tunnel = laptop.vpn_client(&server);
        tunnel.wait_up();
        let mut pings = tunnel.ping_on();
        pings.wait_for_line("icmp_seq=20 ", SOON);
        assert_eq!(missing_pongs(&pings), [] as [u32; 0], "{program:?}");
        let silence = lab.silence("server1");
        let silent = now_ms();
        assert!(tunnel.silent(), "{program:?}: a silent server should answer no ping");
        let last = last_pong(&pings).unwrap_or_default();
        assert!(last <= silent + 1000, "{program:?}: {} ms after the silence", last.saturating_sub(silent));
        drop(silence);
        tunnel.wait_up();
        server.kill();
        assert!(tunnel.silent(), "{program:?}: a killed server should answer no ping");
    }
}

#[test]
fn a_pptp_call_needs_the_helper_and_moves_bytes_with_it() {
    let lab = Lab::new();
    lab.plain_router(Nat::Masquerade);
    let server = lab.pptp_server("server1", 1723);
    let laptop = lab.host("laptop1");
    let without =
        laptop.pptp_call(address("server1"), &CallOptions { patience: 4, ..Default::default() }).outcome();
    without.expect_err("without the helper no GRE comes back");
    let control = lab.router().ok(&["conntrack", "-L", "-p", "tcp", "--dport", "1723"]);
    assert!(control.contains("ASSURED"), "the control connection worked, only PPP did not: {control}");

    lab.plain_router(Nat::PptpHelper);
    let mut call = laptop.pptp_call(address("server1"), &CallOptions::default());
    call.wait_up();
    assert!(call.ping(server.inner), "a ping goes through the call:\n{}", call.said());
    assert_eq!(server.open_calls(), 1);
}

#[test]
fn two_clients_with_the_same_call_id_reach_one_server_through_the_helper() {
    let lab = Lab::new();
    lab.plain_router(Nat::PptpHelper);
    let server = lab.pptp_server("server1", 1723);
    let same = CallOptions { same_call_id: true, ..Default::default() };
    let mut calls = ["laptop1", "laptop2"].map(|name| lab.host(name).pptp_call(address("server1"), &same));
    for call in &mut calls {
        call.wait_up();
    }
    assert!(calls.iter().all(|call| call.ping(server.inner)), "both calls move bytes");
    let flows = lab.router().ok(&["conntrack", "-L", "-p", "gre"]);
    let ids: Vec<_> =
        flows.lines().filter_map(|line| line.split("srckey=").nth(1)?.split(' ').next()).collect();
    let called: Vec<_> =
        flows.lines().filter_map(|line| line.split("dstkey=").nth(1)?.split(' ').next()).collect();
    assert!(ids.len() >= 2, "two calls have GRE flows: {flows}");
    assert_eq!(lab.router().ok(&["ip", "-o", "-4", "addr", "show", "dev", "wan0"]).lines().count(), 1);
    println!("Call IDs {ids:?} {called:?}");
}

#[test]
fn a_call_to_another_port_reaches_the_server_that_listens_there() {
    let lab = Lab::new();
    lab.plain_router(Nat::Open);
    lab.hostile_provider();
    let _server = lab.pptp_server("server1", 1823);
    let said = lab.host("laptop1").echo(&[Kind::Udp(9)]);
    assert!(said.heard().is_empty());
    let mut call =
        lab.host("laptop1").pptp_call(address("server1"), &CallOptions { port: 1823, ..Default::default() });
    call.wait_up();
    let flows = lab.host("laptop1").ok(&["ss", "-Htn", "dport", "=", ":1823"]);
    let heard = lab.host("server1").ok(&["conntrack", "-L", "-p", "tcp", "--dport", "1823"]);
    assert!(heard.contains("dport=1823"), "the server saw port 1823: {heard}{flows}");
}

#[test]
fn an_unsolicited_packet_from_outside_is_seen_when_the_router_is_open() {
    let lab = Lab::new();
    lab.plain_router(Nat::Open);
    lab.hostile_provider();
    let kinds = [Kind::Udp(7000), Kind::Tcp(7000), Kind::Ip(47), Kind::Ip(50)];
    let (laptop, router) = (lab.host("laptop1").echo(&kinds), lab.router().echo(&kinds));
    let attacker = lab.host("attacker");
    for kind in kinds {
        assert_eq!(attacker.ask(kind, address("laptop1")).answered, 1, "{kind} should reach the laptop");
        assert_eq!(
            attacker.ask(kind, address6("laptop1")).answered,
            1,
            "{kind} should reach the laptop by IPv6"
        );
        assert_eq!(attacker.ask(kind, address("router")).answered, 1, "{kind} should reach the router");
        assert_eq!(laptop.heard_of(kind).len(), 2, "{kind}");
        assert_eq!(router.heard_of(kind).len(), 1, "{kind}");
    }
}

#[test]
fn a_flow_notices_when_it_is_cut_and_when_it_is_not() {
    let lab = Lab::new();
    lab.plain_router(Nat::Masquerade);
    let _server = lab.host("server1").echo(&[Kind::Udp(4500), Kind::Ip(50)]);
    let flows =
        [Kind::Udp(4500), Kind::Ip(50)].map(|kind| lab.host("laptop1").flow(kind, address("server1")));
    for flow in &flows {
        flow.wait_answers(20);
        assert!(flow.lost(Duration::from_millis(500)).is_empty(), "nothing is lost:\n{}", flow.tail());
    }
    let cut = "table inet cut { chain f { type filter hook forward priority -5; policy drop; }\n}";
    lab.router().ok_with(&["nft", "-f", "-"], cut);
    let returned = lab::wait::now_ms();
    for flow in &flows {
        flow.watch(Duration::from_secs(2));
        let last = flow.last_answer().unwrap_or(u64::MAX);
        assert!(
            last <= returned + 1000,
            "the last answer came {} ms after the cut",
            last.saturating_sub(returned)
        );
        assert!(!flow.missing(Duration::from_millis(500)).is_empty(), "a cut flow loses packets");
    }
}

#[test]
fn two_labs_live_side_by_side() {
    let (one, two) = (Lab::new(), Lab::new());
    one.plain_router(Nat::Masquerade);
    let _server = one.host("server1").echo(&[Kind::Udp(500)]);
    assert_eq!(one.host("laptop1").probe(Kind::Udp(500), address("server1")).answered, 1);
    assert_eq!(two.host("laptop1").knock(Kind::Udp(500), address("server1")).answered, 0);
}

#[test]
fn a_killed_program_holds_no_socket_afterwards() {
    // Much memory, which the kernel frees before it closes the files: what answers meanwhile is a program that was killed.
    const SCRIPT: &str = "import socket, time\ndoor = socket.socket(socket.AF_UNIX)\ndoor.bind('/run/lab/door')\n\
        door.listen()\nmemory = bytearray(b'x') * 300_000_000\nprint('listens', flush=True)\ntime.sleep(1000)";
    let lab = Lab::new();
    let mut program = lab.host("phone").spawn(&["/usr/bin/python3", "-c", SCRIPT]);
    program.wait_for_line("listens", SOON);
    let door = lab.host("phone").path("/run/lab/door");
    assert!(UnixStream::connect(&door).is_ok(), "it answers while it runs");
    program.kill();
    assert!(UnixStream::connect(&door).is_err(), "what was killed answers still");
}

#[test]
fn nothing_of_a_lab_is_left_when_it_ends() {
    let lab = Lab::new();
    let sleeper = lab.host("phone").spawn(&["tail", "-f", "/dev/null"]);
    let pid = sleeper.pid();
    let namespace =
        std::fs::read_link(format!("/proc/{pid}/ns/net")).expect("it runs in a network namespace");
    drop(lab);
    let processes = std::fs::read_dir("/proc").expect("/proc is there").flatten();
    let left = processes
        .filter(|entry| std::fs::read_link(entry.path().join("ns/net")).is_ok_and(|ns| ns == namespace));
    assert_eq!(left.count(), 0, "no process is left in the phone's namespace");
    assert!(!std::path::Path::new("/run/netns/phone").exists());
}

#[test]
fn a_browser_on_a_laptop_reads_types_and_clicks() {
    let lab = Lab::new();
    lab.plain_router(Nat::Masquerade);
    let page =
        "<!doctype html><title>x</title><form action=/done.html><input name=a><button>go</button></form>";
    lab.outer().write("/run/lab/www/index.html", page);
    lab.outer().write("/run/lab/www/done.html", "<!doctype html><title>x</title><p data-done=yes>done");
    let words = ["/usr/bin/python3", "-u", "-m", "http.server", "--directory", "/run/lab/www", "80"];
    let mut server = lab.host("server1").spawn(&words);
    server.wait_for_line("Serving HTTP", lab::wait::SOON);
    let browser = Browser::start(&lab.host("laptop1"));
    browser.open("http://203.0.113.10/");
    browser.type_into("input[name=a]", "hello");
    browser.submit("input[name=a]");
    browser.wait_for("p[data-done=yes]");
    assert!(browser.url().contains("a=hello"), "{}", browser.url());
    browser.look(390, true);
    assert!(!browser.scrolls_sideways());
    let requests = server.err().join("\n");
    assert!(
        requests.contains("203.0.113") || requests.contains("198.51.100.2"),
        "it came by the router: {requests}"
    );
}
