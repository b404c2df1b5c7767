//! The fault injector: each cause is made to happen with real programs where they exist, and the verdict must name it; on a healthy
//! call there must be none. The table is kept with the figures (`tests/src/figures.rs`).

use std::fmt::Write as _;
use std::sync::Mutex;
use std::time::Duration;

use lab::wait;
use lab::{CallOptions, Kind, Lab, Postern, Program, address, figures};

/// What was injected and what was said, of all tests of this file.
static TABLE: Mutex<Vec<(String, String, bool)>> = Mutex::new(Vec::new());

/// How long a verdict may take: nothing is called silent before 4 s, and programs ask again by their own timers.
const VERDICT: Duration = Duration::from_secs(25);

/// The verdict about `host` must become `cause`, and until then be no other trouble.
#[track_caller]
fn named(postern: &Postern, host: &str, injected: &str, cause: &str) {
    named_when_asked(postern, host, &[], injected, cause);
}

/// The same, asked with these words.
#[track_caller]
fn named_when_asked(postern: &Postern, host: &str, words: &[&str], injected: &str, cause: &str) {
    let device = address(host).to_string();
    let mut last = serde_json::Value::Null;
    let harmless = ["nothing_seen", "too_early", "works"];
    let found = wait::until(VERDICT, || {
        last = postern.json(&[&["diagnose", &device], words].concat());
        let said = last["cause"].as_str().unwrap_or_default().to_owned();
        (said == cause || !harmless.contains(&said.as_str())).then_some(said)
    });
    let said = found.unwrap_or_else(|| last["cause"].as_str().unwrap_or_default().to_owned());
    keep(injected, &said, said == cause);
    assert_eq!(said, cause, "{injected}: {last:#}");
    let words = postern.ok(&["diagnose", &device]);
    assert!(words.contains(last["title"].as_str().unwrap_or("?")), "{words}");
}

fn keep(injected: &str, said: &str, right: bool) {
    let mut table = TABLE.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    table.push((injected.to_owned(), said.to_owned(), right));
    let mut text = "diagnosis: cause injected | verdict given\n".to_owned();
    for (injected, said, right) in table.iter() {
        let mark = if *right { "right" } else { "WRONG" };
        let _ = writeln!(text, "  {injected:<62} | {said:<16} {mark}");
    }
    figures::keep(env!("CARGO_TARGET_TMPDIR"), "diagnosis", &text);
}

fn pptp_on(lab: &Lab) -> Postern {
    let postern = lab.postern_router();
    postern.set(&["passthrough.pptp.enabled=true"]);
    postern
}

/// Drops what this nft rule matches, where the internet forwards.
#[track_caller]
fn lost_on_the_way(lab: &Lab, rule: &str) {
    let rules = format!("table inet faults {{ chain c {{ type filter hook forward priority 0; {rule} }}\n}}");
    lab.host("internet").ok_with(&["nft", "-f", "-"], &rules);
}

#[test]
fn a_healthy_call_and_healthy_tunnels_have_no_trouble_however_often_one_asks() {
    let lab = Lab::new();
    let postern = pptp_on(&lab);
    let server = lab.pptp_server("server1", 1723);
    assert_eq!(postern.json(&["diagnose"])["cause"], "nothing_seen");
    let mut call = lab.host("laptop1").pptp_call(address("server1"), &CallOptions::default());
    let ike = lab.vpn_server(Program::StrongSwan, "server1");
    let mut tunnel = lab.host("laptop2").vpn_client(&ike);
    let l2tp = lab.vpn_server(Program::Xl2tpd, "server2");
    let mut l2tp_tunnel = lab.host("phone").vpn_client(&l2tp);
    // From the first packet on, in every moment.
    let mut asked = 0;
    let mut wrong = Vec::new();
    let _ = wait::until(Duration::from_secs(3), || {
        let said = postern.json(&["diagnose"]);
        let cause = said["cause"].as_str().unwrap_or_default().to_owned();
        if !["nothing_seen", "too_early", "works"].contains(&cause.as_str()) {
            wrong.push(said);
        }
        asked += 1;
        None::<()>
    });
    call.wait_up();
    tunnel.wait_up();
    l2tp_tunnel.wait_up();
    let _pings = [call.ping_on(server.inner), tunnel.ping_on()];
    let _ = wait::until(Duration::from_secs(8), || {
        let said = postern.json(&["diagnose"]);
        if said["cause"] != "works" {
            wrong.push(said);
        }
        asked += 1;
        None::<()>
    });
    assert!(wrong.is_empty() && asked > 5, "{asked} asked: {wrong:#?}");
    for host in ["laptop1", "laptop2", "phone"] {
        let said = postern.json(&["diagnose", &address(host).to_string()]);
        assert_eq!(said["cause"], "works", "{host}: {said:#}");
    }
    keep("none: healthy PPTP, IPsec NAT-T and L2TP, asked all the time", "works", true);
}

#[test]
fn what_this_box_itself_refuses_is_named() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let _server = lab.pptp_server("server1", 1723);
    let _ = lab.host("laptop1").pptp_call(address("server1"), &CallOptions::default()).outcome();
    named(&postern, "laptop1", "PPTP is switched off here", "switched_off");
    postern.set(&["passthrough.l2tp.enabled=false"]);
    let _ = lab.host("laptop2").probe(Kind::Udp(1701), address("server1"));
    named(&postern, "laptop2", "L2TP is switched off here", "switched_off");
    // Two routers translate: the call is opened to a port that is PPTP's only later.
    let _echo = lab.host("server2").echo(&[Kind::Tcp(1823)]);
    let flow = lab.host("phone").flow(Kind::Tcp(1823), address("server2"));
    flow.wait_answers(5);
    postern.set(&["passthrough.pptp.enabled=true", "passthrough.pptp.ports=1723,1823"]);
    named(&postern, "phone", "call opened before PPTP was switched on", "must_redial");
    let said = postern.json(&["diagnose", &address("phone").to_string()]);
    let id = said["action"]["id"].as_str().unwrap_or_default().to_owned();
    postern.ok(&["session", "end", &id]);
    lab.router().ok(&["nft", "add", "rule", "inet", "postern", "forward", "accept"]);
    named(&postern, "laptop1", "somebody else edited the rules", "rules_differ");
    postern.ok(&["mend"]);
    lab.host("internet").ok(&["ip", "link", "set", "customer", "down"]);
    named(&postern, "laptop1", "the internet cable is out", "no_internet");
}

#[test]
fn what_a_pptp_server_or_the_way_to_it_does_is_named() {
    let lab = Lab::new();
    let postern = pptp_on(&lab);
    // Nothing listens on server2.
    let said = lab.host("laptop1").pptp_call(address("server2"), &CallOptions::default()).outcome();
    assert!(said.is_err());
    named(&postern, "laptop1", "server refuses TCP 1723 (nobody listens)", "server_refuses");
    lost_on_the_way(&lab, "ip daddr 203.0.113.20 tcp dport 1723 drop;");
    let _call = lab.host("laptop2").pptp_call(address("server2"), &CallOptions::default());
    named(&postern, "laptop2", "server silent on TCP 1723", "server_silent");
    // The provider blocks protocol 47 towards us.
    let _server = lab.pptp_server("server1", 1723);
    lost_on_the_way(&lab, "ip daddr 198.51.100.2 meta l4proto 47 drop;");
    let patient = CallOptions { patience: 60, ..CallOptions::default() };
    let _blocked = lab.host("phone").pptp_call(address("server1"), &patient);
    named(&postern, "phone", "provider blocks GRE (47) on its way back", "gre_unanswered");
}

#[test]
fn a_device_that_sends_no_gre_is_named() {
    let lab = Lab::new();
    let postern = pptp_on(&lab);
    let _server = lab.pptp_server("server1", 1723);
    // What a program is refused it notices; what dies on its way to this router it does not.
    let rules =
        "table ip mute { chain c { type filter hook output priority 0; meta l4proto 47 ip ttl set 1; }\n}";
    lab.host("laptop1").ok_with(&["nft", "-f", "-"], rules);
    let patient = CallOptions { patience: 60, ..CallOptions::default() };
    let _call = lab.host("laptop1").pptp_call(address("server1"), &patient);
    named(&postern, "laptop1", "a firewall on the device blocks its GRE", "gre_not_sent");
}

#[test]
fn another_router_that_translates_is_named() {
    let lab = Lab::new();
    let postern = pptp_on(&lab);
    let _server = lab.pptp_server("server1", 1723);
    // The provider's box: a private network towards us, NAT without a PPTP helper towards the world.
    let internet = lab.host("internet");
    internet.ok(&["ip", "addr", "add", "192.168.178.1/24", "dev", "customer"]);
    let nat =
        "table ip provider { chain c { type nat hook postrouting priority srcnat; oifname br0 masquerade; }\n
               chain i { type filter hook input priority 0; iifname br0 meta l4proto 47 drop; }\n}";
    internet.ok_with(&["nft", "-f", "-"], nat);
    postern.set(&["internet.address=192.168.178.20/24", "internet.gateway=192.168.178.1"]);
    let _ = postern.cli(&["confirm"]);
    let patient = CallOptions { patience: 60, ..CallOptions::default() };
    let _call = lab.host("laptop1").pptp_call(address("server1"), &patient);
    named(&postern, "laptop1", "a second router translates, without PPTP passthrough", "double_nat");
}

#[test]
fn what_an_ipsec_server_or_the_way_to_it_does_is_named() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let server = lab.vpn_server(Program::StrongSwan, "server1");
    lost_on_the_way(&lab, "udp dport 4500 drop;");
    let _tunnel = lab.host("laptop1").vpn_client(&server);
    named(&postern, "laptop1", "IKE fine, UDP 4500 is lost", "nat_t_silent");
    drop(server);
    lost_on_the_way(&lab, "ip daddr 203.0.113.20 udp dport 500 drop;");
    let silent = lab.host("laptop2").flow(Kind::Udp(500), address("server2"));
    named(&postern, "laptop2", "IKE silent on UDP 500", "ike_silent");
    drop(silent);
    // No program makes raw ESP or AH on this kernel: raw sockets do.
    lost_on_the_way(&lab, "meta l4proto 50 drop;");
    let _esp = lab.host("phone").flow(Kind::Ip(50), address("server2"));
    named(&postern, "phone", "ESP leaves, nothing comes back", "esp_unanswered");
}

#[test]
fn authentication_header_and_a_server_that_makes_no_tunnel_are_named() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    lost_on_the_way(&lab, "meta l4proto 51 drop;");
    let _ah = lab.host("laptop1").flow(Kind::Ip(51), address("server1"));
    named(&postern, "laptop1", "AH in use", "ah_used");
    let _echo = lab.host("server2").echo(&[Kind::Udp(500)]);
    let keys = lab.host("laptop2").flow(Kind::Udp(500), address("server2"));
    keys.wait_answers(5);
    named(&postern, "laptop2", "keys are agreed on, no tunnel follows", "no_tunnel");
}

#[test]
fn silent_servers_of_other_kinds_are_named() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let l2tp = lab.vpn_server(Program::Xl2tpd, "server1");
    lost_on_the_way(&lab, "ip saddr 203.0.113.10 udp sport { 1701, 51820 } drop;");
    let _tunnel = lab.host("laptop1").vpn_client(&l2tp);
    named(&postern, "laptop1", "L2TP server silent", "l2tp_silent");
    let wireguard = lab.vpn_server(Program::WireGuard, "server1");
    let peer = lab.host("laptop2").vpn_client(&wireguard);
    let _pings = peer.ping_on();
    named(&postern, "laptop2", "WireGuard server silent (needs no passthrough)", "other_silent");
}

/// What the router has sent as pings, counted where the provider receives it.
fn pings(lab: &Lab) -> u64 {
    let listed = lab.host("internet").ok(&["nft", "list", "counter", "inet", "pings", "sent"]);
    listed
        .split_whitespace()
        .skip_while(|word| *word != "packets")
        .nth(1)
        .and_then(|n| n.parse().ok())
        .expect("a number")
}

#[test]
fn big_packets_that_vanish_are_named_with_the_size_that_arrives_and_nothing_is_sent_unasked() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let device = address("laptop1").to_string();
    let internet = lab.host("internet");
    let count = "table inet pings { counter sent { }
        chain c { type filter hook prerouting priority 0; ip saddr 198.51.100.2 icmp type echo-request counter name sent; }\n}";
    internet.ok_with(&["nft", "-f", "-"], count);
    let server = lab.vpn_server(Program::WireGuard, "server1");
    let mut tunnel = lab.host("laptop1").vpn_client(&server);
    tunnel.wait_up();
    let inner = server.inner.to_string();
    // 1,438 bytes on the wire, which nobody may cut: UDP of Linux has DF set.
    let big = || lab.host("laptop1").run(&["ping", "-c", "1", "-W", "1", "-s", "1350", &inner]).ok();
    let came = wait::until(wait::SOON, || big().then_some(()));
    assert!(came.is_some() && tunnel.ping(), "a wide way carries both");
    // And what a home does all day: 300,000 bytes by TCP.
    let uploads = |port: &str, limit: Duration| {
        let far = lab.host("server2");
        // Without a standard input that stays open it ends at once.
        let listen = format!("tail -f /dev/null | busybox nc -l -p {port} | head -c 300000 | wc -c");
        let server = far.spawn(&["sh", "-c", &listen]);
        let listens =
            wait::until(wait::SOON, || far.ok(&["ss", "-Hltn"]).contains(&format!(":{port} ")).then_some(()));
        assert!(listens.is_some(), "{}", server.said());
        let send = format!(
            "(head -c 300000 /dev/zero; tail -f /dev/null) | busybox nc {} {port}",
            address("server2")
        );
        let _client = lab.host("laptop1").spawn(&["sh", "-c", &send]);
        wait::until(limit, || server.out().iter().any(|line| line == "300000").then_some(())).is_some()
    };
    assert!(uploads("9001", wait::SOON), "a wide way carries an upload");
    let measured = |words: &str| {
        let mut last = serde_json::Value::Null;
        // What was measured a moment ago is told again.
        let found = wait::until(VERDICT, || {
            last = postern.json(&["diagnose", &device, "--measure"]);
            assert_eq!(last["cause"], "works", "{last:#}");
            last["explanation"].as_str().is_some_and(|said| said.contains(words)).then_some(())
        });
        assert!(found.is_some(), "{words}: {last:#}");
    };
    assert_eq!(postern.json(&["diagnose", &device])["can_measure"], true);
    assert_eq!(pings(&lab), 0, "nobody has asked for pings");
    measured("up to 1500 bytes arrive");
    assert!(pings(&lab) > 0, "now somebody has");
    keep("none: a wide way, measured", "works", true);

    // Narrow, and the routers there say so: whoever sends learns it.
    for port in ["br0", "customer"] {
        internet.ok(&["ip", "link", "set", port, "mtu", "1400"]);
    }
    measured("carries 1400 bytes, and 198.51.100.1 says so");
    keep("none: a way of 1400 bytes whose routers say so", "works", true);

    // Narrow, and what they say is dropped: a black hole.
    let mute = "table ip mute { chain c { type filter hook output priority 0; icmp type destination-unreachable icmp code 4 drop; }\n}";
    internet.ok_with(&["nft", "-f", "-"], mute);
    assert!(!big() && tunnel.ping(), "what is big vanishes, what is small arrives");
    assert!(!uploads("9002", Duration::from_secs(6)), "an upload hangs");
    let before = pings(&lab);
    assert_eq!(postern.json(&["diagnose", &device])["cause"], "works", "that alone does not show it");
    assert_eq!(pings(&lab), before, "looking sends nothing");
    let injected = "a way of 1400 bytes that says so to nobody (black hole)";
    let told_again = wait::until(VERDICT, || {
        let said = postern.json(&["diagnose", &device, "--measure"]);
        (said["cause"] == "big_packets_lost").then_some(said)
    });
    let said = told_again.unwrap_or_default();
    assert_eq!(said["action"]["bytes"], 1400, "{said:#}");
    named(&postern, "laptop1", injected, "big_packets_lost");
    assert!(postern.ok(&["diagnose", &device]).contains("postern set internet.mtu=1400"));
    assert!(pings(&lab) - before < 150, "a bounded number");

    // The advice is good.
    postern.set(&["internet.mtu=1400"]);
    let _ = postern.cli(&["confirm"]);
    assert!(uploads("9003", wait::SOON), "this router tells TCP what fits");
}

#[test]
fn where_a_server_answers_no_pings_nothing_is_claimed_of_big_packets() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let _echo = lab.host("server2").echo(&[Kind::Udp(1701)]);
    let device = address("laptop1").to_string();
    let flow = lab.host("laptop1").flow(Kind::Udp(1701), address("server2"));
    flow.wait_answers(5);
    lab.host("server2").ok(&["sysctl", "-qw", "net.ipv4.icmp_echo_ignore_all=1"]);
    lab.host("internet").ok(&["ip", "link", "set", "br0", "mtu", "1400"]);
    let said = postern.json(&["diagnose", &device, "--measure"]);
    assert_eq!(said["cause"], "works", "{said:#}");
    assert!(
        said["explanation"].as_str().is_some_and(|said| said.contains("could not be measured")),
        "{said:#}"
    );
    keep("none: a server that answers no pings", "works", true);
}

#[test]
fn a_port_forward_that_takes_the_servers_packets_is_named() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    // An L2TP server that answers from another port (RFC 2661 section 8.1): its first answer comes before the rules know whose it is.
    let serve = |host: &str| {
        let mut server = lab.host(host).spawn(&["postern-lab", "l2tp-server", "1701"]);
        server.wait_for_line("ready", wait::SOON);
        server
    };
    let dial = |host: &str, server: &str| {
        let to = format!("{}:1701", address(server));
        lab.host(host).spawn(&["postern-lab", "l2tp-call", &to, "--from", "0.0.0.0:1701"])
    };
    let answers = |call: &lab::Process, limit: Duration| {
        wait::until(limit, || call.out().iter().any(|line| line.contains("\"mine\":true")).then_some(()))
    };
    let other = serve("server2");
    let alone = dial("phone", "server2");
    assert!(answers(&alone, wait::SOON).is_some(), "without a forward it works:\n{}", alone.said());
    named(&postern, "phone", "none: an L2TP server that answers from another port", "works");
    drop((alone, other));
    // Its port of ours is free again.
    lab.router().ok(&["conntrack", "-F"]);
    let server = serve("server1");
    postern.ok(&["forward", "add", "Office", "--preset", "l2tp", "--to", &address("laptop2").to_string()]);
    let call = dial("laptop1", "server1");
    assert!(answers(&call, Duration::from_secs(4)).is_none(), "the forward takes them:\n{}", call.said());
    named(
        &postern,
        "laptop1",
        "a port forward takes an L2TP server's answers from another port",
        "forward_takes",
    );
    let words = postern.ok(&["diagnose", &address("laptop1").to_string()]);
    assert!(words.contains("Office") && words.contains("192.168.1.102"), "{words}");
    postern.ok(&["forward", "remove", "Office"]);
    // A new tunnel has another port of the server's.
    drop((call, server));
    let _server = serve("server1");
    let again = dial("laptop1", "server1");
    assert!(answers(&again, wait::SOON).is_some(), "without the forward it works again:\n{}", again.said());
}

#[test]
fn a_dmz_that_takes_esp_which_the_server_begins_is_named_and_what_is_an_answer_goes_to_its_client() {
    let lab = Lab::new();
    let postern = pptp_on(&lab);
    let until = lab.router().ok(&["date", "-u", "-d", "+1 hour", "+%Y-%m-%dT%H:%M:%SZ"]);
    let dmz = format!("firewall.dmz={} until {}", address("laptop2"), until.trim());
    postern.set(&[&dmz, "passthrough.ipsec.many_clients=false"]);
    // Answers: GRE of a call, keys, NAT traversal.
    let pptp = lab.pptp_server("server2", 1723);
    let mut call = lab.host("phone").pptp_call(address("server2"), &CallOptions::default());
    call.wait_up();
    assert!(call.ping(pptp.inner), "GRE goes to who has called");
    let _echo = lab.host("server1").echo(&[Kind::Udp(500), Kind::Udp(4500)]);
    let keys = lab.host("laptop1").flow(Kind::Udp(500), address("server1"));
    keys.wait_answers(3);
    let nat_t = lab.host("phone").flow(Kind::Udp(4500), address("server1"));
    nat_t.wait_answers(3);
    named(&postern, "phone", "none: PPTP and NAT-T beside a DMZ", "works");
    // ESP that the server sends first.
    let heard = lab.host("laptop2").echo(&[Kind::Ip(50)]);
    let _first = lab.host("server1").flow(Kind::Ip(50), address("router"));
    let came = wait::until(wait::SOON, || (!heard.heard_of(Kind::Ip(50)).is_empty()).then_some(()));
    assert!(came.is_some(), "the DMZ host gets it");
    let _esp = lab.host("laptop1").flow(Kind::Ip(50), address("server1"));
    named(&postern, "laptop1", "the DMZ takes ESP that the server sends first (plain NAT)", "forward_takes");
}

/// An nft to whose kernel the PPTP helper is unknown.
const WITHOUT_HELPER: &str = r#"#!/bin/sh
text=$(cat)
case "$text" in
    *'type "pptp"'*) echo 'Error: Could not process rule: No such file or directory' >&2; exit 1 ;;
esac
printf '%s\n' "$text" | /run/lab/nft "$@"
"#;

#[test]
fn a_kernel_without_the_helper_is_named() {
    let lab = Lab::new();
    let outer = lab.outer();
    let script = lab.script("no-helper-nft", WITHOUT_HELPER);
    outer.ok(&["cp", "/usr/sbin/nft", "/run/lab/nft"]);
    outer.ok(&["mount", "--bind", &script, "/usr/sbin/nft"]);
    let postern = lab.postern_router();
    postern.set(&["passthrough.pptp.enabled=true"]);
    let _ = lab.host("laptop1").probe(Kind::Tcp(1723), address("server1"));
    named(&postern, "laptop1", "this kernel has no PPTP helper", "helper_missing");
}

#[test]
fn a_full_connection_table_is_named() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let room = "/proc/sys/net/netfilter/nf_conntrack_max";
    let room: usize = lab.router().ok(&["cat", room]).trim().parse().expect("a number");
    let fill = |these: std::ops::Range<usize>| {
        // In parts: a busy machine needs minutes for all.
        for first in these.clone().step_by(20_000) {
            let mut lines = String::new();
            for n in first..these.end.min(first + 20_000) {
                let (device, port) = (2 + n % 250, 1024 + n / 250);
                let _ = writeln!(
                    lines,
                    "-A -t 600 -u SEEN_REPLY,ASSURED -p udp -s 192.168.1.{device} -d 203.0.113.10 --sport {port} --dport 443"
                );
            }
            lab.router().write("/run/lab/entries", lines);
            // The last ones of all do not fit any more.
            let _ = lab.router().run(&["conntrack", "-R", "/run/lab/entries"]);
        }
    };
    let alarm = || postern.ok(&["status"]).contains("The connection table is ");
    fill(0..room / 4 * 3);
    assert!(!alarm(), "three quarters are no alarm");
    let mostly = room / 100 * 85;
    fill(room / 4 * 3..mostly);
    assert!(alarm(), "more than four fifths are: {}", postern.ok(&["status"]));
    fill(mostly..room + 10);
    named(&postern, "laptop1", "the connection table is full", "table_full");
}

#[test]
fn a_device_that_waits_for_anothers_pairing_is_named() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    // The server agrees on keys, and its ESP is lost: each device takes a turn of 2 s, again and again.
    let _keys = lab.host("server1").echo(&[Kind::Udp(500)]);
    let mut flows = Vec::new();
    for host in ["laptop1", "laptop2"] {
        let keys = lab.host(host).flow(Kind::Udp(500), address("server1"));
        keys.wait_answers(3);
        flows.push(keys);
        flows.push(lab.host(host).flow(Kind::Ip(50), address("server1")));
    }
    let device = address("laptop2").to_string();
    let mut said = Vec::new();
    let waits = wait::until(VERDICT, || {
        said.push(postern.json(&["diagnose", &device])["cause"].clone());
        said.last().is_some_and(|cause| cause == "waiting").then_some(())
    });
    let right = waits.is_some();
    keep("another device has the server's turn", if right { "waiting" } else { "not named" }, right);
    // In its own turn it is the server that does not answer.
    let allowed = ["waiting", "too_early", "esp_unanswered", "nothing_seen"];
    assert!(
        right && said.iter().all(|cause| allowed.contains(&cause.as_str().unwrap_or_default())),
        "{said:?}"
    );
}

#[test]
fn a_server_that_forgets_one_client_for_another_behind_the_same_address_is_named() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    // What the server does with them is inside the encryption; what is seen are packets at UDP 4500 and their answers.
    let _echo = lab.host("server1").echo(&[Kind::Udp(4500)]);
    let older = lab.host("laptop1").flow(Kind::Udp(4500), address("server1"));
    older.wait_answers(3);
    let device = address("laptop1").to_string();
    let cause = |device: &str| postern.json(&["diagnose", device])["cause"].clone();
    // Ten seconds lie between two looks that are kept.
    let known = wait::until(Duration::from_secs(60), || {
        assert_eq!(cause(&device), "works", "alone");
        let sessions = postern.json(&["sessions"]);
        let samples = sessions["sessions"][0]["samples"].as_array().map_or(0, Vec::len);
        (samples >= 2).then_some(())
    });
    assert!(known.is_some(), "looks were taken");
    let list = lab.router().ok(&["conntrack", "-L", "-p", "udp", "-s", &device, "--dport", "4500"]);
    let port =
        list.rsplit("dport=").next().and_then(|rest| rest.split(' ').next()).unwrap_or_default().to_owned();
    let newer = lab.host("laptop2").flow(Kind::Udp(4500), address("server1"));
    newer.wait_answers(3);
    lost_on_the_way(&lab, &format!("ip daddr 198.51.100.2 udp dport {port} drop;"));
    let mut said = Vec::new();
    let named = wait::until(Duration::from_secs(120), || {
        said.push(cause(&device));
        said.last().is_some_and(|cause| *cause == "two_clients").then_some(())
    });
    let right = named.is_some();
    keep(
        "the server forgets one NAT-T client for another",
        if right { "two_clients" } else { "not named" },
        right,
    );
    assert!(
        right && said.iter().all(|cause| cause == "works" || cause == "two_clients"),
        "{port}: {said:?}\n{list}"
    );
    assert_eq!(cause(&address("laptop2").to_string()), "works", "who is answered has no trouble");
}
