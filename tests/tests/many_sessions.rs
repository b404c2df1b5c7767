//! 100,000 conntrack entries, 10,000 of them VPN sessions: the first page, and what the daemon needs for it. No time is asserted; the
//! figures are kept. `POSTERN_BIN_DIR` names optimised programs.

use std::fmt::Write as _;
use std::time::Instant;

use lab::{Lab, PASSWORD, Postern, figures};

const ENTRIES: usize = 100_000;
const SESSIONS: usize = 10_000;

/// Puts them into the router's table: 250 devices with 40 servers each at UDP 4500, the rest to port 443.
fn fill(lab: &Lab) {
    let mut lines = String::new();
    for n in 0..ENTRIES {
        let (device, server) = (2 + n % 250, n / 250);
        let port = if n < SESSIONS { 4500 } else { 443 };
        let _ = writeln!(
            lines,
            "-A -t 3000 -u SEEN_REPLY,ASSURED -p udp -s 192.168.1.{device} -d 203.{}.{}.9 --sport 5000 --dport {port}",
            1 + server / 200,
            server % 200
        );
    }
    lab.router().write("/run/lab/entries", lines);
    lab.router().ok(&["conntrack", "-R", "/run/lab/entries"]);
    let count: usize = lab.router().ok(&["conntrack", "-C"]).trim().parse().expect("a number");
    assert!(count >= ENTRIES, "{count} entries");
}

/// In kilobytes: what it holds now, and the most it ever held.
fn memory(postern: &Postern) -> (u64, u64) {
    let number = |field: &str| {
        let text = postern.daemon_status(field);
        text.trim_end_matches(" kB").parse::<u64>().unwrap_or_default()
    };
    (number("VmRSS"), number("VmHWM"))
}

#[test]
fn a_hundred_thousand_entries_are_paged_filtered_and_cost_bounded_memory() {
    let lab = Lab::new();
    let mut postern = lab.postern_router();
    postern.start_web(&lab);
    let mut visitor = postern.visitor(&lab, "laptop1");
    let login = visitor.form("/login", "password");
    visitor.submit("/login", &login.fill("password", PASSWORD));
    visitor.get("/vpn-sessions");
    let (before, _) = memory(&postern);
    fill(&lab);
    let ms = |since: Instant| since.elapsed().as_millis();
    let started = Instant::now();
    let page = visitor.get("/vpn-sessions");
    let first = ms(started);
    assert!(page.body.contains("1 to 50 of 10,000."), "{}", page.body);
    assert_eq!(page.body.matches("<tr data-session").count(), 50);
    let started = Instant::now();
    let second = visitor.get("/vpn-sessions?text=192.168.1.77&skip=20");
    let second_ms = ms(started);
    assert!(second.body.contains("21 to 40 of 40."), "{}", second.body);
    let started = Instant::now();
    let json = postern.json(&["sessions", "--limit", "5"]);
    let command = ms(started);
    assert_eq!((&json["total"], &json["left_out"]), (&SESSIONS.into(), &0.into()));
    for _ in 0..10 {
        visitor.get("/vpn-sessions");
    }
    let (after, most) = memory(&postern);
    let text = format!(
        "{ENTRIES} conntrack entries, {SESSIONS} of them sessions: first page {first} ms, a filtered one {second_ms} ms, command \
         line {command} ms; daemon {before} kB before, {after} kB after, {most} kB at most\n"
    );
    print!("{text}");
    figures::keep(env!("CARGO_TARGET_TMPDIR"), "many-sessions", &text);
    assert!(most < before + 64 * 1024, "memory is bounded: {text}");
}
