//! VPN sessions as `postern sessions` tells them, of real programs; and their end.

use std::time::Duration;

use lab::wait::{self, SOON};
use lab::{CallOptions, Kind, Lab, Postern, Program, address};
use serde_json::Value;

/// The sessions there are.
#[track_caller]
fn sessions(postern: &Postern) -> Vec<Value> {
    postern.json(&["sessions"])["sessions"].as_array().cloned().unwrap_or_default()
}

/// The one session of this kind, as soon as it is `as_wanted`.
#[track_caller]
fn session(postern: &Postern, kind: &str, as_wanted: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    let found = wait::until(SOON, || {
        let all = sessions(postern);
        last = Value::from(all.clone());
        let mut ours = all.into_iter().filter(|one| one["kind"] == kind);
        let one = ours.next().filter(|one| as_wanted(one));
        one.filter(|_| ours.next().is_none())
    });
    found.unwrap_or_else(|| panic!("no such {kind} session: {last:#}"))
}

fn bytes(session: &Value) -> (u64, u64) {
    let number = |way: &str| session["traffic"][way].as_u64().unwrap_or(0);
    (number("sent"), number("received"))
}

#[test]
fn a_pptp_call_is_shown_with_its_call_ids_and_bytes_and_ends_on_demand() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let server = lab.pptp_server("server1", 1723);
    postern.set(&["passthrough.pptp.enabled=true"]);
    assert!(sessions(&postern).is_empty());
    let mut call = lab.host("laptop1").pptp_call(address("server1"), &CallOptions::default());
    call.wait_up();
    let mut pings = call.ping_on(server.inner);
    pings.wait_for_line("icmp_seq=20 ", Duration::from_secs(10));
    let one = session(&postern, "pptp", |one| one["state"] == "open" && bytes(one).0 > 1000);
    assert_eq!(
        (&one["device"]["address"], &one["server"]),
        (&"192.168.1.101".into(), &"203.0.113.10".into())
    );
    assert!(bytes(&one).1 > 1000 && one["since"].as_i64() > Some(0), "{one:#}");
    assert!(one["idle"].as_u64() < Some(3), "{one:#}");
    // What the two programs themselves call their ends.
    let entries = lab.router().ok(&["conntrack", "-L", "-p", "gre", "-o", "extended,id,ktimestamp"]);
    let calls = one["calls"].as_array().cloned().unwrap_or_default();
    assert_eq!(calls.len(), 1, "{one:#}\n{entries}");
    println!("{}", lab.router().ok(&["conntrack", "-L", "-o", "extended,id,ktimestamp"]));

    let id = one["id"].as_str().unwrap_or_default();
    let said = postern.ok(&["session", "end", id]);
    assert!(said.contains("has ended"), "{said}");
    assert!(call.ends_within(Duration::from_secs(5)), "the program is told at once:\n{}", call.said());
    assert!(!sessions(&postern).iter().any(|one| one["state"] == "open"), "{:#?}", sessions(&postern));
    assert!(postern.ok(&["session", "end", id]).contains("ended already"));
    let again = lab.host("laptop1").probe(Kind::Tcp(1723), address("server1"));
    assert_eq!(again.error.as_deref(), Some("ECONNREFUSED"), "not again for a minute: {again:?}");
    assert_eq!(postern.json(&["status"])["needs_mending"], false, "what we did is not somebody else's edit");
    // The others are not touched.
    let mut other = lab.host("laptop2").pptp_call(address("server1"), &CallOptions::default());
    other.wait_up();
}

#[test]
fn tunnels_of_real_programs_are_told_by_kind_and_ending_one_leaves_the_others() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let programs = [
        (Program::Xl2tpd, "laptop1", "l2tp"),
        (Program::StrongSwan, "laptop2", "ipsec_nat_t"),
        (Program::WireGuard, "phone", "wireguard"),
    ];
    let servers: Vec<_> = programs.iter().map(|(program, ..)| lab.vpn_server(*program, "server1")).collect();
    let mut tunnels = Vec::new();
    for ((_, host, _), server) in programs.iter().zip(&servers) {
        let mut tunnel = lab.host(host).vpn_client(server);
        tunnel.wait_up();
        tunnels.push(tunnel);
    }
    let all: Vec<Value> =
        programs.iter().map(|(.., kind)| session(&postern, kind, |one| one["state"] == "open")).collect();
    for ((_, host, _), one) in programs.iter().zip(&all) {
        assert_eq!(one["device"]["address"], address(host).to_string(), "{one:#}");
        assert!(bytes(one).0 > 100 && bytes(one).1 > 100, "{one:#}");
    }
    println!("{}", lab.router().ok(&["conntrack", "-L", "-o", "extended,id,ktimestamp"]));
    let id = |at: usize| all[at]["id"].as_str().unwrap_or_default().to_owned();
    postern.ok(&["session", "end", &id(1)]);
    let dead = wait::until(SOON, || tunnels[1].silent().then_some(()));
    assert!(dead.is_some(), "an ended tunnel carries nothing");
    assert!(tunnels[0].ping() && tunnels[2].ping(), "the others live");
    let refused = postern.cli(&["session", "end", &id(2)]);
    assert_eq!(refused.code, 1, "{}", refused.out);
    assert!(refused.err.contains("ordinary traffic"), "{}", refused.err);
    assert!(tunnels[2].ping());
}

#[test]
fn plain_esp_is_told_with_its_spis_and_what_nobody_answers_is_not_called_open() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let _server = lab.host("server1").echo(&[Kind::Ip(50), Kind::Udp(500)]);
    let words = ["postern", "--door", "/run/postern/door", "sessions", "--follow"];
    let mut follow = lab.router().spawn(&words);
    follow.wait_for_line("No VPN session", SOON);
    let flow = lab.host("laptop1").flow(Kind::Ip(50), address("server1"));
    flow.wait_answers(10);
    let one = session(&postern, "ipsec_esp", |one| one["state"] == "open");
    follow.wait_for_line("IPsec, ESP, open", SOON);
    let spis = one["spis"].as_array().cloned().unwrap_or_default();
    assert!(spis.iter().any(|spi| spi["sent"] == true), "{one:#}");
    println!("{}", lab.router().ok(&["conntrack", "-L", "-o", "extended,id,ktimestamp"]));
    let _silent = lab.host("laptop2").flow(Kind::Udp(500), address("server2"));
    session(&postern, "ike", |one| one["state"] == "calling" && one["server"] == "203.0.113.20");
}

#[test]
fn a_server_is_told_by_the_name_that_its_device_has_asked_the_router_for() {
    let lab = Lab::new();
    // The provider's DNS server.
    let mut dns = lab.host("server1").spawn(&[
        "dnsmasq",
        "--keep-in-foreground",
        "--log-facility=-",
        "--conf-file=/dev/null",
        "--pid-file=/run/lab/dns.pid",
        "--user=root",
        "--no-resolv",
        "--no-hosts",
        "--interface=eth0",
        "--bind-interfaces",
        "--cname=vpn.example.com,gate.example.com",
        "--host-record=gate.example.com,203.0.113.20",
        "--host-record=other.example.com,203.0.113.66",
    ]);
    dns.wait_for_line("started", SOON);
    let mut postern = lab.postern_router();
    postern.set(&["internet.dns=203.0.113.10", "local_network.dns.rebind_protection=false"]);
    let asked = |name: &str| {
        lab.host("laptop1").run(&["dig", "+short", "+time=1", "+tries=3", "@192.168.1.1", name]).out
    };
    let _echo = lab.host("server2").echo(&[Kind::Udp(1701)]);
    let flow = lab.host("laptop1").flow(Kind::Udp(1701), address("server2"));
    flow.wait_answers(3);
    let nameless = session(&postern, "l2tp", |one| one["state"] == "open");
    assert_eq!(nameless["server_name"], Value::Null, "nobody has asked for it");
    assert!(asked("other.example.com").contains("203.0.113.66"));
    assert!(asked("vpn.example.com").contains("203.0.113.20"));
    session(&postern, "l2tp", |one| one["server_name"] == "vpn.example.com");
    assert!(postern.ok(&["sessions"]).contains("vpn.example.com 203.0.113.20 port 1701"));
    assert!(postern.ok(&["sessions", "--filter", "vpn.exa"]).contains("203.0.113.20"));
    let verdict = postern.json(&["diagnose", &address("laptop1").to_string()]);
    assert_eq!((&verdict["cause"], &verdict["server_name"]), (&"works".into(), &"vpn.example.com".into()));
    // In memory only: a new daemon knows none, and DNS never waits for one.
    postern.crash_daemon();
    assert!(asked("vpn.example.com").contains("203.0.113.20"), "nobody listens");
    postern.start_daemon();
    let forgotten = session(&postern, "l2tp", |one| one["state"] == "open");
    assert_eq!(forgotten["server_name"], Value::Null);
    assert!(asked("vpn.example.com").contains("203.0.113.20"), "from the cache of dnsmasq");
    session(&postern, "l2tp", |one| one["server_name"] == "vpn.example.com");
}

#[test]
fn whoever_tries_what_is_off_is_told_and_forgotten_when_it_is_on() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    assert_eq!(postern.json(&["status"])["attempts"], Value::Array(Vec::new()));
    for _ in 0..3 {
        let _ = lab.host("laptop1").probe(Kind::Tcp(1723), address("server1"));
    }
    let status = postern.json(&["status"]);
    let attempts = status["attempts"].as_array().cloned().unwrap_or_default();
    assert_eq!(attempts.len(), 1, "{status:#}");
    let one = &attempts[0];
    assert_eq!((&one["key"], &one["times"]), (&"passthrough.pptp.enabled".into(), &3.into()), "{one:#}");
    assert_eq!(one["device"]["mac"], "02:00:00:00:01:65", "{one:#}");
    assert!(
        postern.ok(&["status"]).contains("192.168.1.101 tried PPTP 3 times"),
        "{}",
        postern.ok(&["status"])
    );
    // Loading the rules anew keeps what was counted.
    postern.set(&["firewall.ping=true"]);
    assert_eq!(postern.json(&["status"])["attempts"][0]["times"], 3);
    postern.set(&["passthrough.pptp.enabled=true"]);
    assert_eq!(postern.json(&["status"])["attempts"], Value::Array(Vec::new()));
    postern.set(&["passthrough.ipsec.enabled=false"]);
    let _ = lab.host("laptop2").probe(Kind::Ip(50), address("server1"));
    let _ = lab.host("laptop2").probe(Kind::Udp(4500), address("server1"));
    let attempts = postern.json(&["status"])["attempts"].as_array().cloned().unwrap_or_default();
    // IPsec is off, and NAT traversal with it: one switch, one server.
    let told: Vec<_> = attempts.iter().map(|one| (&one["key"], &one["servers"], &one["times"])).collect();
    assert_eq!(told, [(&"passthrough.ipsec.enabled".into(), &1.into(), &2.into())], "{attempts:#?}");
}
