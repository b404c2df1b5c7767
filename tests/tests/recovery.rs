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

/// Pulls this port as one pulls a USB adapter: it is gone, and what comes back is switched off, has no address and belongs to nothing.
fn pull(lab: &Lab, port: &str) {
    let script =
        format!("ip link set {port} down nomaster; ip addr flush dev {port}; ip link set {port} name gone0");
    lab.router().ok(&["sh", "-euc", &script]);
}

fn put_in(lab: &Lab, port: &str) {
    lab.router().ok(&["ip", "link", "set", "gone0", "name", port]);
}

#[track_caller]
fn told(postern: &Postern, words: &str) {
    let told = wait::until(Duration::from_secs(20), || postern.ok(&["status"]).contains(words).then_some(()));
    assert!(told.is_some(), "{words}: {}", postern.ok(&["status"]));
    // The daemon itself has looked, too.
    std::thread::sleep(Duration::from_secs(4));
}

#[test]
fn a_port_that_was_pulled_keeps_nothing_from_being_set_and_is_in_service_when_it_is_put_in_again() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let router = lab.router();
    let _server = lab.host("server1").echo(&[Kind::Udp(7000)]);
    let through = || lab.host("laptop1").probe(Kind::Udp(7000), address("server1")).answered == 1;
    let works = || wait::until(Duration::from_secs(30), || through().then_some(())).is_some();
    assert!(through(), "before anything is pulled");
    for (port, words) in [
        ("wan0", "The internet port wan0 is not there"),
        ("lan0", "The local network port lan0 is not there"),
    ] {
        pull(&lab, port);
        told(&postern, words);
        assert!(!through(), "{port} is gone");
        // What is to be closed can be.
        postern.set(&["passthrough.pptp.enabled=true"]);
        postern.set(&["passthrough.pptp.enabled=false"]);
        assert_eq!(postern.json(&["status"])["rules"], "loaded", "{port}");
        put_in(&lab, port);
        assert!(works(), "{port} is back: {}\n{}", postern.ok(&["status"]), postern.daemon_said());
        assert_eq!(postern.json(&["status"])["needs_mending"], false, "{}", postern.ok(&["status"]));
    }
    assert!(
        postern.ok(&["journal"]).contains("the port lan0, which had been away"),
        "{}",
        postern.ok(&["journal"])
    );
    // Both at once, as with a hub that is pulled.
    pull(&lab, "wan0");
    router.ok(&["ip", "link", "set", "gone0", "name", "gone1"]);
    pull(&lab, "lan0");
    told(&postern, "The internet port wan0 is not there");
    put_in(&lab, "lan0");
    std::thread::sleep(Duration::from_secs(5));
    router.ok(&["ip", "link", "set", "gone1", "name", "wan0"]);
    assert!(works(), "{}\n{}", postern.ok(&["status"]), postern.daemon_said());
}

#[test]
fn a_daemon_that_starts_while_one_of_two_ports_of_the_home_is_gone_is_a_router_all_the_same() {
    let lab = Lab::new();
    let mut postern = lab.postern_router();
    let router = lab.router();
    router.ok(&["ip", "link", "add", "lan1", "type", "veth", "peer", "name", "other1"]);
    postern.set(&["local_network.devices=lan0,lan1"]);
    postern.ok(&["confirm"]);
    let _server = lab.host("server1").echo(&[Kind::Udp(7000)]);
    let through = || lab.host("laptop1").probe(Kind::Udp(7000), address("server1")).answered == 1;
    assert!(through());
    postern.crash_daemon();
    pull(&lab, "lan1");
    postern.start_daemon();
    assert!(through(), "{}\n{}", postern.ok(&["status"]), postern.daemon_said());
    told(&postern, "The local network port lan1 is not there");
    assert_eq!(postern.json(&["status"])["rules"], "loaded");
    let refused = postern.cli(&["set", "local_network.devices=lan0,lan7"]);
    assert!(!refused.ok() && refused.err.contains("lan7"), "a port that was never there: {refused:?}");
    put_in(&lab, "lan1");
    let joined = wait::until(Duration::from_secs(20), || {
        let link = router.ok(&["ip", "link", "show", "lan1"]);
        (link.contains("master") && link.contains("UP")).then_some(())
    });
    assert!(joined.is_some(), "{}\n{}", router.ok(&["ip", "link"]), postern.daemon_said());
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
