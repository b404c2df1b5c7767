//! What weakens the firewall ends in time, whatever becomes of the clock.
//!
//! No namespace has a wall clock of its own, so the daemon alone is lied to, by libfaketime: what it reads of the wall clock is
//! moved by as much as a file says. The clock that only runs is the kernel's own.

use std::time::Duration;

use lab::{Kind, Lab, Postern, address, wait};

const HOST: &str = "phone";
const CLOCK: &str = "/run/lab/clock";
const SOON: Duration = Duration::from_secs(30);
const PORT: Kind = Kind::Udp(9000);

/// Moves the daemon's wall clock: seconds ahead of the real one.
#[track_caller]
fn move_clock(lab: &Lab, ahead: i64) {
    let sign = if ahead < 0 { "" } else { "+" };
    lab.router().write("/run/lab/clock.new", format!("{sign}{ahead}\n"));
    // At once: a half written file would be another time.
    lab.outer().ok(&["mv", "/run/lab/clock.new", CLOCK]);
}

/// Seconds since 1970 by the clock of this machine.
#[track_caller]
fn real(lab: &Lab) -> i64 {
    lab.outer().ok(&["date", "+%s"]).trim().parse().expect("a number")
}

/// As the settings write it.
#[track_caller]
fn written(lab: &Lab, at: i64) -> String {
    lab.outer().ok(&["date", "-u", "-d", &format!("@{at}"), "+%FT%TZ"]).trim().to_owned()
}

/// A router whose daemon believes the file.
#[track_caller]
fn router(lab: &Lab) -> Postern {
    let found = lab.outer().ok(&["sh", "-c", "ls /usr/lib/*/faketime/libfaketimeMT.so.1"]);
    // Its semaphores are named by process numbers, which other labs have too.
    lab.outer().ok(&["mount", "-t", "tmpfs", "-o", "mode=1777", "tmpfs", "/dev/shm"]);
    move_clock(lab, 0);
    let postern = lab.postern_with(&[
        ("LD_PRELOAD", found.trim()),
        ("FAKETIME_TIMESTAMP_FILE", CLOCK),
        ("FAKETIME_NO_CACHE", "1"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ("DONT_FAKE_MONOTONIC", "1"),
    ]);
    postern.set(&lab::ROUTER_SETTINGS);
    postern.ok(&["confirm"]);
    // The lie is believed, or nothing here would prove anything.
    for ahead in [100_000, -100_000, 0] {
        move_clock(lab, ahead);
        let off = now(&postern) - real(lab) - ahead;
        assert!(off.abs() < 60, "the daemon's clock is {off} s off what it shall be");
    }
    postern
}

/// The daemon's clock.
#[track_caller]
fn now(postern: &Postern) -> i64 {
    postern.json(&["status"])["clock"]["now"].as_i64().expect("a number")
}

/// The DMZ host, and inspection off, for so many seconds by the daemon's clock.
#[track_caller]
fn weaken(lab: &Lab, postern: &Postern, seconds: i64) {
    let until = written(lab, now(postern) + seconds);
    postern.set(&[
        &format!("firewall.dmz={} until {until}", address(HOST)),
        &format!("firewall.spi=off until {until}"),
    ]);
}

fn weak(lab: &Lab) -> bool {
    let rules = lab.router().ok(&["nft", "list", "chain", "inet", "postern", "forwards"]);
    let liberal = lab.router().ok(&["sysctl", "-n", "net.netfilter.nf_conntrack_tcp_be_liberal"]);
    let both = (rules.contains("the DMZ host gets the rest"), liberal.trim() == "1");
    assert_eq!(both.0, both.1, "both or none:\n{rules}");
    both.0
}

/// Both end by themselves, soon; and what was let in does not get in any more.
#[track_caller]
fn ends(lab: &Lab, postern: &Postern, why: &str) {
    let ended = wait::until(SOON, || {
        let firewall = postern.json(&["get", "firewall"]);
        (firewall["dmz"] == "none" && firewall["spi"] == "on").then_some(())
    });
    assert!(ended.is_some(), "{why}: {}", postern.ok(&["get", "firewall"]));
    assert!(!weak(lab), "{why}: the kernel too");
    assert!(lab.host("attacker").knock(PORT, address("router")).silent(), "{why}: nothing gets in");
}

#[test]
fn a_clock_that_jumps_past_the_end_ends_it_and_one_that_is_set_back_prolongs_nothing() {
    let lab = Lab::new();
    let postern = router(&lab);
    let _host = lab.host(HOST).echo(&[PORT]);
    weaken(&lab, &postern, 600);
    assert!(weak(&lab) && lab.host("attacker").probe(PORT, address("router")).answered == 1);
    move_clock(&lab, 700);
    ends(&lab, &postern, "the clock says it is over");
    weaken(&lab, &postern, 15);
    // The daemon begins to count when it looks at its clocks, and it does so every second.
    std::thread::sleep(Duration::from_secs(2));
    move_clock(&lab, -86_400);
    assert!(weak(&lab), "a day is left by that clock, and none of the 15 seconds is over");
    ends(&lab, &postern, "15 seconds are 15 seconds");
}

#[test]
fn an_end_that_passed_while_the_daemon_was_off_or_the_clock_forgot_is_over_at_the_start() {
    let lab = Lab::new();
    let mut postern = router(&lab);
    let _host = lab.host(HOST).echo(&[PORT]);
    // After the end; a minute after it began; and a box whose clock was never set.
    let never_set = 60 - real(&lab);
    for (ahead, why) in [(1_000, "its end has passed"), (60, "it has not"), (never_set, "it is 1970")] {
        move_clock(&lab, 0);
        weaken(&lab, &postern, 600);
        assert!(weak(&lab), "{why}");
        move_clock(&lab, ahead);
        postern.start_daemon();
        ends(&lab, &postern, why);
    }
    assert!(postern.ok(&["status"]).contains("was not set"), "{}", postern.ok(&["status"]));
    weaken(&lab, &postern, 10);
    assert!(weak(&lab), "in 1970 one can open it as well");
    ends(&lab, &postern, "10 seconds of 1970");
    weaken(&lab, &postern, 600);
    move_clock(&lab, 0);
    ends(&lab, &postern, "a time server has set the clock");
}
