//! A new box, from the claim to a VPN call, by HTTP alone.

use std::sync::Mutex;
use std::time::Duration;

use lab::wait::{self, SOON};
use lab::{CallOptions, Kind, Lab, PASSWORD, Visitor, address};

/// What a laptop does with a lease.
const SCRIPT: &str = "#!/bin/sh\n[ \"$1\" = bound ] || exit 0\n\
    ip -4 addr flush dev $interface\nip addr add $ip/$mask dev $interface\nip route replace default via $router\n";

/// Sends the first form of the page that holds `field`, after `edit`.
#[track_caller]
fn send(owner: &mut Visitor, path: &str, field: &str, edit: impl Fn(lab::Form) -> lab::Form) -> String {
    let form = edit(owner.form(path, field));
    let answer = owner.submit(path, &form);
    assert!([200, 303].contains(&answer.status), "{path}: {}\n{}", answer.status, answer.body);
    answer.body
}

#[test]
fn an_unclaimed_box_becomes_a_router_and_a_laptop_browses_and_dials_by_http_only() {
    let lab = Lab::new();
    let (router, laptop) = (lab.router(), lab.host("laptop1"));
    let script = lab.script("on-lease", SCRIPT);
    // As a distribution leaves it: a private address on one port, the other one switched off. Nothing forwards.
    router.ok(&["ip", "addr", "add", "192.168.1.1/24", "dev", "lan0"]);
    router.ok(&["ip", "link", "set", "wan0", "down"]);
    let more = ["--dhcp-option=option:router,198.51.100.1", "--dhcp-option=option:dns-server,203.0.113.10"];
    let _provider = lab.dhcp_provider("198.51.100.50", "198.51.100.60", &more);
    let server = lab.pptp_server("server1", 1723);
    let _web = lab.host("server1").echo(&[Kind::Tcp(8080)]);
    let mut postern = lab.postern();
    postern.start_web(&lab);
    assert_eq!(laptop.probe(Kind::Tcp(8080), address("server1")).answered, 0, "nothing is forwarded yet");

    let mut owner = postern.visitor(&lab, "laptop1");
    // The one thing that is not HTTP: the code, which the box prints.
    let code = postern.ok(&["claim-code"]);
    send(&mut owner, "/claim", "code", |form| {
        form.fill("code", code.trim()).fill("password", PASSWORD).fill("repeat", PASSWORD)
    });
    assert!(owner.get("/").body.contains("href=\"/network/ports\""));
    let page = owner.get("/network/ports").body;
    assert!(page.contains("data-port=\"wan0\" data-choice=\"none\""), "nothing is guessed: {page}");
    assert!(router.ok(&["ip", "link", "show", "wan0"]).contains("state DOWN"), "nor switched on");

    let found = owner.press("/network/ports", "/network/ports/look");
    assert_eq!(found.status, 200, "{}", found.body);
    for (port, choice) in [("wan0", "internet"), ("lan0", "local")] {
        let wanted = format!("data-port=\"{port}\" data-choice=\"{choice}\"");
        assert!(found.body.contains(&wanted), "{wanted}: {}", found.body);
    }
    assert_eq!(postern.json(&["get", "role"]), "unset", "a suggestion, and nothing more");

    send(&mut owner, "/network/ports", "base_revision", |form| {
        form.choose("port.wan0", "internet").choose("port.lan0", "local")
    });
    assert!(!postern.json(&["status"])["trial"].is_null(), "it is on trial");
    assert_eq!(owner.get("/").status, 200);
    assert!(
        postern.json(&["status"])["trial"].is_null(),
        "the owner reached the page on the new way: it is kept"
    );

    laptop.ok(&["ip", "addr", "flush", "dev", "eth0", "scope", "global"]);
    laptop.ok(&["udhcpc", "-f", "-q", "-n", "-t", "6", "-T", "5", "-i", "eth0", "-s", &script]);
    let online = wait::until(SOON * 2, || {
        (laptop.probe(Kind::Tcp(8080), address("server1")).answered == 1).then_some(())
    });
    assert!(online.is_some(), "the laptop browses:\n{}", postern.daemon_said());
    let page = owner.get("/network/internet").body;
    assert!(page.contains("Has an address") && page.contains("198.51.100."), "{page}");

    send(&mut owner, "/security/vpn-passthrough", "passthrough.pptp.enabled", |form| {
        form.tick("passthrough.pptp.enabled", true)
    });
    let mut call = laptop.pptp_call(address("server1"), &CallOptions::default());
    call.wait_up();
    assert!(call.ping(server.inner), "{}", call.said());
}

/// Each would cut the owner off from the box.
const LOCKOUTS: [&[&str]; 5] = [
    &["local_network.address=10.99.0.1/24"],
    &["access.port=8081"],
    &["local_network.devices=wan0", "internet.device=lan0"],
    &["role=unset"],
    &["local_network.devices=lan1"],
];

#[test]
fn twenty_five_changes_that_lock_the_owner_out_are_all_taken_back_when_nobody_confirms() {
    const TRIAL: u64 = 2;
    let lab = Lab::new();
    let postern = lab.postern_with(&[("POSTERN_TRIAL_SECONDS", &TRIAL.to_string())]);
    lab.router().ok(&["ip", "link", "add", "lan1", "type", "veth", "peer", "name", "nowhere"]);
    postern.claim();
    postern.set(&lab::ROUTER_SETTINGS);
    postern.ok(&["confirm"]);
    let laptop = lab.host("laptop1");
    let _server = lab.host("server1").echo(&[Kind::Udp(7000)]);
    let truth = || (postern.ok(&["get"]), postern.table(), lab.router().ok(&["ip", "-4", "-o", "addr"]));
    let before = truth();
    let mut slowest = Duration::ZERO;
    for round in 0..25 {
        let change = LOCKOUTS[round % LOCKOUTS.len()];
        let began = std::time::Instant::now();
        let said = postern.set(change);
        assert!(said.contains("on trial"), "{change:?}: {said}");
        // Asking for the settings waits for nothing; the old ones are shown once all of it is back.
        let back =
            wait::until(Duration::from_secs(TRIAL + 60), || (postern.ok(&["get"]) == before.0).then_some(()));
        assert!(back.is_some(), "{change:?} stays:\n{}", postern.daemon_said());
        slowest = slowest.max(began.elapsed());
        assert_eq!(truth(), before, "{change:?}");
        assert_eq!(laptop.probe(Kind::Udp(7000), address("server1")).answered, 1, "{change:?}");
    }
    lab::figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "lockouts",
        &format!("25 lockouts, trial of {TRIAL} s: the slowest was back after {slowest:.1?}"),
    );
}

static BUILDING: Mutex<()> = Mutex::new(());

/// One change that locks the owner out, under the trial as it ships. How long until all was back.
fn locked_out(change: &[&str]) -> Duration {
    // One after the other: two processors cannot build 25 homes at once in the time in which one is built.
    let building = BUILDING.lock().expect("a home that cannot be built ends the test");
    let lab = Lab::new();
    lab.router().ok(&["ip", "link", "add", "lan1", "type", "veth", "peer", "name", "nowhere"]);
    let postern = lab.postern_router();
    let _server = lab.host("server1").echo(&[Kind::Udp(7000)]);
    drop(building);
    let laptop = lab.host("laptop1");
    let truth = || (postern.ok(&["get"]), postern.table(), lab.router().ok(&["ip", "-4", "-o", "addr"]));
    let before = truth();
    let began = std::time::Instant::now();
    let said = postern.set(change);
    assert!(said.contains("on trial for 90 seconds"), "{change:?}: {said}");
    assert_ne!(truth(), before, "{change:?} changes something");
    let back = wait::until(Duration::from_secs(300), || {
        (truth() == before && laptop.probe(Kind::Udp(7000), address("server1")).answered == 1).then_some(())
    });
    assert!(back.is_some(), "{change:?} stays:\n{}", postern.daemon_said());
    began.elapsed()
}

#[test]
fn twenty_five_homes_that_are_locked_out_at_once_are_back_on_the_old_settings_after_the_real_trial() {
    let homes: Vec<_> =
        (0..25).map(|n| std::thread::spawn(move || locked_out(LOCKOUTS[n % LOCKOUTS.len()]))).collect();
    let times: Vec<Duration> = homes.into_iter().map(|home| home.join().expect("all is back")).collect();
    let (first, last) = (times.iter().min().copied(), times.iter().max().copied());
    lab::figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "lockouts-90",
        &format!(
            "25 lockouts at once, the trial of 90 s: back after {:.1?} to {:.1?}",
            first.unwrap_or_default(),
            last.unwrap_or_default()
        ),
    );
}
