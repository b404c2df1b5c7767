//! After a crash, a damaged store or a foreign hand: what the owner finds.

use std::time::Duration;

use lab::wait::{self, now_ms};
use lab::{Kind, Lab, Postern, address};

#[track_caller]
fn settles(postern: &Postern, field: &str, value: &str) {
    let mut last = String::new();
    let settled = wait::until(Duration::from_secs(20), || {
        last = postern.json(&["status"])[field].to_string();
        (last.trim_matches('"') == value).then_some(())
    });
    assert!(settled.is_some(), "{field} stays {last}");
}

#[test]
fn the_admin_page_answers_again_after_either_process_was_killed() {
    let lab = Lab::new();
    let mut postern = lab.postern_router();
    postern.start_web(&lab);
    for _ in 0..3 {
        postern.crash_daemon();
        postern.start_daemon();
        let mut visitor = postern.visitor(&lab, "laptop1");
        let answered = wait::until(Duration::from_secs(10), || {
            visitor.try_request("GET", "/login", "", &[]).ok().filter(|answer| answer.status == 200)
        });
        assert!(answered.is_some(), "no page after the daemon was killed:\n{}", postern.web_said());
    }
    postern.start_web(&lab); // ends the old one and waits for the page
}

#[test]
fn a_port_that_comes_late_is_taken_into_service_without_a_restart() {
    let lab = Lab::new();
    let mut postern = lab.postern_router();
    postern.crash_daemon();
    let router = lab.router();
    router.ok(&["nft", "delete", "table", "inet", "postern"]);
    router.ok(&["ip", "link", "set", "wan0", "down", "name", "late0"]);
    postern.start_daemon();
    settles(&postern, "rules", "deny");
    assert!(
        router.ok(&["ip", "addr", "show", "lan0"]).contains("192.168.1.1/24"),
        "the home reaches the page"
    );
    router.ok(&["ip", "link", "set", "late0", "name", "wan0"]);
    settles(&postern, "rules", "loaded");
    let _server = lab.host("server1").echo(&[Kind::Udp(7000)]);
    assert_eq!(lab.host("laptop1").probe(Kind::Udp(7000), address("server1")).answered, 1);
}

#[test]
fn forwarding_switched_off_by_somebody_else_is_told_and_put_right() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    assert_eq!(postern.json(&["status"])["needs_mending"], false, "{}", postern.json(&["status"]));
    lab.router().ok(&["sysctl", "-qw", "net.ipv4.ip_forward=0"]);
    let status = postern.json(&["status"]);
    assert_eq!(status["needs_mending"], true);
    assert!(status["notices"].to_string().contains("ip_forward is 0, not 1"), "{status}");
    assert_eq!(postern.protocol("ipsec")["effect"], "differs");
    postern.ok(&["mend"]);
    assert_eq!(postern.json(&["status"])["needs_mending"], false);
    assert_eq!(postern.protocol("ipsec")["effect"], "ready");
}

#[test]
fn what_is_on_trial_does_not_survive_a_crash() {
    let lab = Lab::new();
    let mut postern = lab.postern();
    let before = lab.router().ok(&["ip", "-o", "-4", "addr"]);
    postern.set(&lab::ROUTER_SETTINGS);
    let began = now_ms();
    postern.crash_daemon();
    postern.start_daemon();
    assert!(now_ms() - began < 60_000, "the trial's own end would hide what this tests");
    assert_eq!(postern.json(&["status"])["rules"], "not_wanted");
    assert_eq!(lab.router().ok(&["ip", "-o", "-4", "addr"]), before, "the addresses are those from before");
    assert_eq!(lab.router().ok(&["sysctl", "-n", "net.ipv4.ip_forward"]).trim(), "0");
}
