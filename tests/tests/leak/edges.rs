//! The moments in which firewalls are open: a cold start, a stop, a change that fails half way.

use std::net::IpAddr;

use lab::{Kind, Lab, NotDone, address, address6};

use super::scene::{ALLOWED, HZ, Scene, strict_router};

/// What Postern answers for on a box that has just started: IPv6 addresses of the router itself are not its yet, and stand on
/// the lab's router before it starts.
pub fn cold_targets() -> [IpAddr; 4] {
    let lan = [address("laptop1").into(), address6("laptop1").into()];
    [lan[0], address("router").into(), lan[1], [192, 168, 1, 1].into()]
}

/// As after a power cut: nothing of ours is in the kernel. Forwarding goes first: the teardown itself is no leak.
const POWER_CUT: &str = "sysctl -qw net.ipv4.ip_forward=0 net.ipv6.conf.all.forwarding=0
    for device in lan0 wan0; do ip -4 addr flush dev $device; done
    conntrack -F 2>/dev/null
    nft 'add table inet postern; delete table inet postern'";

/// An nft that refuses to commit whatever holds the words in `/run/lab/refuse`, if that file is there.
const STUBBORN: &str = r#"#!/bin/sh
text=$(cat)
case " $* " in
    *" -c "*) ;;
    *) if printf '%s' "$text" | grep -qs -f /run/lab/refuse; then echo "the test wants it so" >&2; exit 1; fi ;;
esac
printf '%s\n' "$text" | /run/lab/nft "$@"
"#;

/// Puts [`STUBBORN`] in the place of nft, for everybody in this lab.
pub fn stubborn_nft(lab: &Lab) {
    let script = lab.script("stubborn-nft", STUBBORN);
    lab.outer().ok(&["cp", "/usr/sbin/nft", "/run/lab/nft"]);
    lab.outer().ok(&["mount", "--bind", &script, "/usr/sbin/nft"]);
}

#[test]
fn a_box_that_starts_cold_is_open_at_no_moment() {
    let lab = Lab::new();
    let mut postern = strict_router(&lab);
    let router = lab.router();
    let hail = lab.hail(HZ, &cold_targets());
    postern.crash_daemon();
    // First a box that forwards before its firewall stands: that is what must be seen.
    router.ok(&["nft", "delete", "table", "inet", "postern"]);
    hail.wait(16 * 40);
    let open = hail.let_in();
    assert_eq!(open.len(), 17, "16 streams and what the router forwarded: {open:?}");
    for round in 0..20 {
        router.ok_with(&["sh", "-eu", "-s"], POWER_CUT);
        hail.forget();
        hail.wait(200);
        postern.start_daemon();
        assert_eq!(router.ok(&["sysctl", "-n", "net.ipv4.ip_forward"]).trim(), "1", "it is a router again");
        hail.wait(400);
        let let_in = hail.let_in();
        assert!(let_in.is_empty(), "cold start {round} let in {let_in:?}");
        postern.crash_daemon();
    }
    postern.start_daemon();
    let _server = lab.host("server1").echo(&[ALLOWED]);
    assert_eq!(lab.host("laptop1").probe(ALLOWED, address("server1")).answered, 1, "and it works as one");
}

#[test]
fn a_store_that_cannot_be_read_leaves_a_warm_box_as_it_was_and_one_that_is_lost_a_cold_box_shut() {
    let lab = Lab::new();
    let mut postern = strict_router(&lab);
    let hail = lab.hail(HZ, &cold_targets());
    let rules = postern.table();
    let damage = |files: &str| {
        let nonsense =
            format!("cd /run/postern/state; for f in {files}; do echo nonsense >$f; done; rm -f *-wal");
        lab.outer().ok(&["sh", "-euc", &nonsense]);
    };
    postern.crash_daemon();
    damage("postern.db");
    postern.start_daemon();
    assert_eq!(postern.table(), rules, "its copy says the same");
    hail.wait(1000);
    assert!(hail.let_in().is_empty(), "let in: {:?}", hail.let_in());
    postern.crash_daemon();
    damage("postern.db last-good.json");
    lab.router().ok_with(&["sh", "-eu", "-s"], POWER_CUT);
    hail.forget();
    postern.start_daemon();
    hail.wait(1000);
    assert!(hail.let_in().is_empty(), "let in: {:?}", hail.let_in());
}

#[test]
fn stopping_and_starting_again_lets_nothing_in() {
    let lab = Lab::new();
    let mut postern = strict_router(&lab);
    let hail = lab.hail(HZ, &lab.targets());
    for round in 0..10 {
        postern.stop();
        hail.wait(400);
        postern.start_daemon();
        hail.wait(400);
        let let_in = hail.let_in();
        assert!(let_in.is_empty(), "stop and start {round} let in {let_in:?}");
    }
    let _ssh = lab.router().echo(&[Kind::Tcp(22)]);
    assert_eq!(lab.host("laptop1").probe(Kind::Tcp(22), [192, 168, 1, 1]).answered, 1);
}

#[test]
fn a_change_that_fails_lets_nothing_in_and_loses_nothing_unless_an_address_moved() {
    let scene = Scene::new();
    stubborn_nft(&scene.lab);
    let owner = scene.postern.owner();
    let (before, rules) = (owner.settings(), scene.postern.table());
    let fail = |pairs: &[(&str, &str)], what: &str| match owner.change(pairs, "") {
        Err(NotDone::Refused(refusal)) => refusal,
        other => panic!("{what} should be refused: {other:?}"),
    };
    // The rules of before are taken: going back works.
    let refuse = "PPTP passthrough is on\n";
    for _ in 0..20 {
        fail(&[("internet.device", "nosuch0")], "a port that is not there");
        scene.lab.outer().write("/run/lab/refuse", refuse);
        fail(&[("passthrough.pptp.enabled", "true")], "a commit that nft refuses");
        scene.lab.outer().ok(&["rm", "/run/lab/refuse"]);
        assert_eq!(owner.settings(), before);
    }
    println!("{}", scene.untouched("40 changes that failed"));
    // An address that moves takes its route with it, for an instant: a packet may be lost then, but none gets in.
    scene.lab.outer().write("/run/lab/refuse", refuse);
    for _ in 0..20 {
        let moved = [("passthrough.pptp.enabled", "true"), ("local_network.address", "192.168.1.2/24")];
        fail(&moved, "a commit that nft refuses after an address has moved");
        assert_eq!(owner.settings(), before);
    }
    assert_eq!(scene.postern.table(), rules);
    assert!(scene.hail.let_in().is_empty(), "let in: {:?}", scene.hail.let_in());
}
