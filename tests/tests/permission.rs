//! Who may use passthrough, how many at a time, and who comes first: real calls and raw tunnels, refused with a reason and named.

use std::net::IpAddr;
use std::time::Duration;

use lab::wait::{self, now_ms};
use lab::{CallOptions, Kind, Lab, Postern, address, address6, last_pong};

/// A last packet may be delivered so long after `set` has returned.
const SECOND: u64 = 1000;
/// A place may be free so long after its session has ended.
const FREE: Duration = Duration::from_secs(10);

fn mac(lab: &Lab, host: &str) -> String {
    // Not from /sys, which shows the devices of the namespace it was mounted in.
    let said = lab.host(host).ok(&["ip", "-o", "link", "show", "eth0"]);
    let mut words = said.split_whitespace().skip_while(|word| *word != "link/ether");
    words.nth(1).expect("eth0 is Ethernet").to_owned()
}

fn only(lab: &Lab, hosts: &[&str]) -> String {
    let all: Vec<String> = hosts.iter().map(|host| mac(lab, host)).collect();
    format!("passthrough.devices={}", all.join(","))
}

#[track_caller]
fn refused(lab: &Lab, host: &str, kind: Kind, to: IpAddr) {
    let probe = lab.host(host).probe(kind, to);
    assert_eq!(probe.answered, 0, "{host}: {kind} to {to}: {probe:?}");
    assert!(probe.refused(), "{host}: {kind} to {to} should be refused with a reason: {probe:?}");
    assert!(probe.ms < 2 * SECOND, "{host}: {kind} to {to} should be refused at once: {probe:?}");
}

#[track_caller]
fn answered(lab: &Lab, host: &str, kind: Kind, to: IpAddr) {
    let probe = lab.host(host).probe(kind, to);
    assert_eq!(probe.answered, 1, "{host}: {kind} to {to} should be answered: {probe:?}");
}

/// What Diagnose says of this device.
#[track_caller]
fn named(postern: &Postern, host: &str, cause: &str) -> serde_json::Value {
    let device = address(host).to_string();
    let said = wait::until(Duration::from_secs(10), || {
        let said = postern.json(&["diagnose", &device]);
        (said["cause"] == cause).then_some(said)
    });
    said.unwrap_or_else(|| panic!("{host}: {:#}", postern.json(&["diagnose", &device])))
}

/// Makes conntrack forget this device, as it does by itself minutes after the last packet.
fn forgotten(lab: &Lab, host: &str) {
    lab.router().ok(&["conntrack", "-D", "-s", &address(host).to_string()]);
}

const TUNNELS: [Kind; 4] = [Kind::Udp(500), Kind::Udp(4500), Kind::Ip(50), Kind::Udp(1701)];

#[test]
fn only_chosen_devices_pass_and_the_others_are_refused_at_once_and_named() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    postern.set(&["passthrough.pptp.enabled=true", &only(&lab, &["laptop1"])]);
    let _echo = lab.host("server1").echo(&[&TUNNELS[..], &[Kind::Udp(7000)]].concat());
    let server = lab.pptp_server("server1", 1723);
    let (v4, v6) = (IpAddr::from(address("server1")), IpAddr::from(address6("server1")));
    for to in [v4, v6] {
        for kind in TUNNELS {
            refused(&lab, "laptop2", kind, to);
            answered(&lab, "laptop1", kind, to);
        }
        refused(&lab, "laptop2", Kind::Tcp(1723), to);
        answered(&lab, "laptop2", Kind::Udp(7000), to);
    }
    let mut call = lab.host("laptop1").pptp_call(address("server1"), &CallOptions::default());
    call.wait_up();
    assert!(call.ping(server.inner), "an allowed device calls:\n{}", call.said());
    let said = lab.host("laptop2").pptp_call(address("server1"), &CallOptions::default()).outcome();
    assert!(said.is_err(), "{said:?}");

    let said = named(&postern, "laptop2", "device_not_allowed");
    assert_eq!(said["action"]["mac"], mac(&lab, "laptop2"), "{said:#}");
    assert!(postern.ok(&["status"]).contains("this device may not use it"));
    assert!(postern.protocol("ipsec")["refused"].as_u64() > Some(0));
    postern.set(&[&only(&lab, &["laptop1", "laptop2"])]);
    for kind in TUNNELS {
        answered(&lab, "laptop2", kind, v4);
    }
    assert!(
        !postern.ok(&["status"]).contains("this device may not use it"),
        "who is allowed now is not told of"
    );
}

#[test]
fn a_withdrawn_permission_ends_a_live_call_and_live_tunnels_within_a_second_and_nobody_elses() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    postern.set(&["passthrough.pptp.enabled=true", &only(&lab, &["laptop1", "laptop2"])]);
    let echo = lab.host("server2").echo(&TUNNELS);
    let server = lab.pptp_server("server1", 1723);
    let mut call = lab.host("laptop1").pptp_call(address("server1"), &CallOptions::default());
    call.wait_up();
    let mut pings = call.ping_on(server.inner);
    pings.wait_for_line("icmp_seq=10 ", Duration::from_secs(10));
    let to = [IpAddr::from(address("server2")), IpAddr::from(address6("server2"))];
    let mut flows = Vec::new();
    for to in to {
        for kind in TUNNELS {
            flows.push((kind, to, lab.host("laptop1").flow(kind, to)));
        }
    }
    let other = lab.host("laptop2").flow(Kind::Udp(4500), address("server2"));
    for (_, _, flow) in &flows {
        flow.wait_answers(5);
    }
    other.wait_answers(5);

    postern.set(&[&only(&lab, &["laptop2"])]);
    let returned = now_ms();
    let _ = pings.wait_end(Duration::from_millis(2500));
    let last = last_pong(&pings).unwrap_or_default();
    assert!(last <= returned + SECOND, "a ping came back {} ms after", last.saturating_sub(returned));
    for (kind, to, flow) in &flows {
        flow.watch(Duration::from_millis(300));
        let last = flow.last_answer().unwrap_or_default();
        assert!(last <= returned + SECOND, "{kind} to {to} went on for {} ms", last - returned);
    }
    let lost = other.lost(Duration::from_millis(500));
    assert!(lost.is_empty(), "the other device lost {lost:?}:\n{}", other.tail());
    let entries = lab.router().ok(&["conntrack", "-L"]);
    let left: Vec<&str> = entries
        .lines()
        .filter(|line| line.contains(&format!("src={} ", address("laptop1"))))
        .filter(|line| {
            ["dport=500 ", "dport=4500 ", "dport=1701 ", "dport=1723 "].iter().any(|p| line.contains(p))
        })
        .collect();
    assert!(left.is_empty(), "{left:#?}");
    drop(echo);
}

/// The server goes on sending whatever the client does: not one packet of it may arrive.
#[test]
fn what_a_server_goes_on_sending_reaches_a_withdrawn_device_no_more() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    postern.set(&["passthrough.pptp.enabled=true"]);
    let mut server = lab.host("server1").spawn(&["postern-lab", "pptp-server", "1723"]);
    server.wait_for_line("ready", wait::SOON);
    let to = format!("{}:1723", address("server1"));
    let mut caller = lab.host("laptop1").spawn(&["postern-lab", "pptp-call", &to]);
    caller.wait_for_line("\"up\"", wait::SOON);
    let gre = || {
        let lines = caller.out();
        let lines = lines.iter().filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        lines.filter(|line| line["mine"] == true).filter_map(|line| line["at"].as_u64()).collect::<Vec<_>>()
    };
    assert!(wait::until(wait::SOON, || (gre().len() > 5).then_some(())).is_some(), "{}", caller.said());
    postern.set(&[&only(&lab, &["laptop2"])]);
    let returned = now_ms();
    let over = wait::until(wait::SOON, || (now_ms() > returned + 3 * SECOND).then_some(()));
    assert!(over.is_some());
    let last = gre().into_iter().max().unwrap_or_default();
    assert!(last <= returned + SECOND, "GRE was let in {} ms after", last - returned);
}

#[test]
fn at_the_limit_only_a_new_session_is_refused_and_a_place_gets_free_when_one_ends() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    postern.set(&["passthrough.session_limit.ipsec=2"]);
    let _echo = lab.host("server1").echo(&TUNNELS);
    let to = IpAddr::from(address("server1"));
    // IKE, ESP and NAT traversal of one device with one server are one session.
    let all = [Kind::Udp(500), Kind::Ip(50), Kind::Udp(4500)].map(|kind| lab.host("laptop1").flow(kind, to));
    for flow in &all {
        flow.wait_answers(5);
    }
    let second = lab.host("laptop2").flow(Kind::Udp(4500), to);
    second.wait_answers(5);
    for kind in [Kind::Udp(500), Kind::Udp(4500), Kind::Ip(50)] {
        refused(&lab, "phone", kind, to);
    }
    named(&postern, "phone", "session_limit");
    answered(&lab, "phone", Kind::Udp(1701), to);
    // The limit becomes less than what runs: it all goes on, across the swap.
    postern.set(&["passthrough.session_limit.ipsec=1"]);
    refused(&lab, "phone", Kind::Udp(4500), to);
    second.watch(Duration::from_secs(1));
    for flow in all.iter().chain([&second]) {
        let lost = flow.lost(Duration::from_millis(500));
        assert!(lost.is_empty(), "a running session lost {lost:?}:\n{}", flow.tail());
    }
    postern.set(&["passthrough.session_limit.ipsec=2"]);
    refused(&lab, "phone", Kind::Udp(4500), to);
    drop(second);
    forgotten(&lab, "laptop2");
    let free =
        wait::until(FREE, || (lab.host("phone").probe(Kind::Udp(4500), to).answered == 1).then_some(()));
    assert!(free.is_some(), "{}", lab.router().ok(&["nft", "list", "table", "inet", "postern"]));
    refused(&lab, "laptop2", Kind::Udp(4500), to);
}

#[test]
fn what_runs_when_a_limit_is_set_takes_the_places() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let _echo = lab.host("server1").echo(&TUNNELS);
    let to = IpAddr::from(address("server1"));
    let flows = ["laptop1", "laptop2"].map(|host| lab.host(host).flow(Kind::Udp(1701), to));
    for flow in &flows {
        flow.wait_answers(5);
    }
    postern.set(&["passthrough.session_limit.l2tp=2"]);
    refused(&lab, "phone", Kind::Udp(1701), to);
    postern.set(&["passthrough.session_limit.l2tp=3"]);
    answered(&lab, "phone", Kind::Udp(1701), to);
    for flow in &flows {
        assert!(flow.lost(Duration::from_millis(500)).is_empty(), "{}", flow.tail());
    }
}

#[test]
fn a_real_pptp_call_holds_the_one_place_until_it_hangs_up() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let server = lab.pptp_server("server1", 1723);
    postern.set(&["passthrough.pptp.enabled=true", "passthrough.session_limit.pptp=1"]);
    let mut call = lab.host("laptop1").pptp_call(address("server1"), &CallOptions::default());
    call.wait_up();
    let said = lab.host("laptop2").pptp_call(address("server1"), &CallOptions::default()).outcome();
    assert!(said.is_err(), "{said:?}");
    named(&postern, "laptop2", "session_limit");
    assert!(call.ping(server.inner), "the running one goes on:\n{}", call.said());
    drop(call);
    let to = IpAddr::from(address("server1"));
    let free = wait::until(Duration::from_secs(20), || {
        (!lab.host("laptop2").probe(Kind::Tcp(1723), to).refused()).then_some(())
    });
    assert!(free.is_some(), "{}", lab.router().ok(&["conntrack", "-L"]));
}

#[test]
fn the_next_place_is_kept_for_a_device_that_comes_first_and_no_running_session_ends_for_it() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let first = format!("passthrough.priority={}", mac(&lab, "phone"));
    postern.set(&["passthrough.session_limit.ipsec=1", &first]);
    let _echo = lab.host("server1").echo(&TUNNELS);
    let to = IpAddr::from(address("server1"));
    let running = lab.host("laptop1").flow(Kind::Udp(4500), to);
    running.wait_answers(5);
    refused(&lab, "phone", Kind::Udp(4500), to);
    refused(&lab, "laptop2", Kind::Udp(4500), to);
    running.watch(Duration::from_secs(1));
    assert!(running.lost(Duration::from_millis(500)).is_empty(), "{}", running.tail());
    drop(running);
    forgotten(&lab, "laptop1");
    let left = || lab.router().ok(&["nft", "list", "set", "inet", "postern", "ipsec_sessions_1"]);
    let free = wait::until(FREE, || (!left().contains("elements")).then_some(()));
    assert!(free.is_some(), "{}", left());
    // There is a place, and it is not this one's.
    refused(&lab, "laptop2", Kind::Udp(4500), to);
    answered(&lab, "phone", Kind::Udp(4500), to);
}
