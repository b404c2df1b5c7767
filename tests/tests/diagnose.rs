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
    let device = address(host).to_string();
    let mut last = serde_json::Value::Null;
    let harmless = ["nothing_seen", "too_early", "works"];
    let found = wait::until(VERDICT, || {
        last = postern.json(&["diagnose", &device]);
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
    let mut lines = String::new();
    for n in 0..room + 10 {
        let (device, port) = (2 + n % 250, 1024 + n / 250);
        let _ = writeln!(
            lines,
            "-A -t 600 -u SEEN_REPLY,ASSURED -p udp -s 192.168.1.{device} -d 203.0.113.10 --sport {port} --dport 443"
        );
    }
    lab.router().write("/run/lab/entries", lines);
    // The last ones do not fit any more.
    let _ = lab.router().run(&["conntrack", "-R", "/run/lab/entries"]);
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
