//! Too much and too slowly, while the owner works.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use lab::talk::heard;
use lab::{Forged, Host, Lab, Postern, Said, Talk, address, figures, wait};

use crate::scene::{TOKEN, Work, kilobytes, logged_in, post, router, visitor_cookie};

/// Connections that are slow.
const SLOW: usize = 5_000;
/// Descriptors of the web process: 128 connections, as many to the daemon while they are answered, and those just turned out.
const DESCRIPTORS: usize = 300;

/// Descriptors that the web process holds.
#[track_caller]
fn descriptors(postern: &Postern) -> usize {
    let folder = format!("/proc/{}/fd", postern.web_status("Pid"));
    std::fs::read_dir(folder).expect("root sees them").count()
}

/// Addresses of the home from which one host attacks.
#[track_caller]
fn addresses(host: &Host) -> Vec<Ipv4Addr> {
    let last: Vec<u8> = (130..170).collect();
    host.more_addresses(&last);
    last.into_iter().map(|n| Ipv4Addr::new(192, 168, 1, n)).collect()
}

/// Watches the descriptors until `attack` has ended: the most there were.
#[track_caller]
fn watched(postern: &Postern, attack: &mut lab::Process, limit: Duration) -> usize {
    let mut most = 0;
    let ended = wait::until(limit, || {
        most = most.max(descriptors(postern));
        attack.ended()
    });
    assert!(ended.is_some(), "the attack does not end");
    most
}

/// As few descriptors as before, within 15 s.
#[track_caller]
fn freed(postern: &Postern, before: usize) {
    // The owner's own connections come and go, and four to the daemon are kept.
    let freed = wait::until(Duration::from_secs(15), || (descriptors(postern) <= before + 8).then_some(()));
    assert!(freed.is_some(), "{} descriptors are held, {before} before", descriptors(postern));
}

#[test]
fn five_thousand_slow_connections_hold_no_place_that_the_owner_needs() {
    let lab = Lab::new();
    let postern = router(&lab);
    let owner = logged_in(&lab, &postern);
    let before = descriptors(&postern);
    let enemy = lab.host("laptop2");
    let from = addresses(&enemy);
    let head = "GET / HTTP/1.1\r\nHost: 192.168.1.1\r\n";
    let form = post("/login", &visitor_cookie(), "").replace("Content-Length: 0", "Content-Length: 60000");
    let kinds = [
        ("silent", Said::default()),
        ("half a line", Said::new("GET / HT")),
        ("half a head", Said::new(head)),
        ("a head that never ends", Said::new(head).repeat("X: y\r\n", 40, 500)),
        ("no body", Said::new(form.as_str())),
        ("a slow body", Said::new(form.as_str()).repeat("a", 40, 500)),
        (
            "a slow chunk",
            Said::new(form.replace("Content-Length: 60000", "Transfer-Encoding: chunked")).repeat(
                "1\r\na\r\n",
                40,
                500,
            ),
        ),
        ("idle after a page", Said::new(format!("{head}\r\n"))),
    ];
    let of = |kind: &Said, n: usize| Said { from: Some(from[n % from.len()]), ..kind.clone() };
    // Each kind alone holds a connection while it lasts, and loses it: so the probe sees slow ones.
    let alone = kinds.iter().map(|(_, said)| said.clone()).collect();
    let mut few = enemy.talking(&Talk { limit_ms: 25_000, ..Talk::new(8, alone) });
    let held = wait::until(wait::SOON, || (descriptors(&postern) >= before + 7).then_some(()));
    assert!(held.is_some(), "slow connections are not seen: {} descriptors", descriptors(&postern));
    assert!(few.wait_end(Duration::from_secs(40)).is_some());
    let told = heard(&few);
    for one in &told {
        assert!(one.closed && one.end_ms < 24_000, "{} is held: {one:?}", kinds[one.n].0);
    }
    let longest = told.iter().map(|one| one.end_ms).max().unwrap_or_default();
    freed(&postern, before);

    let work = Work::begin(&lab, &owner);
    let all: Vec<Said> = (0..SLOW).map(|n| of(&kinds[n % kinds.len()].1, n / kinds.len())).collect();
    let mut attack = enemy.talking(&Talk { limit_ms: 25_000, ..Talk::new(SLOW, all) });
    let most = watched(&postern, &mut attack, Duration::from_secs(90));
    let begun = heard(&attack).iter().filter(|one| one.sent > 0 || one.closed).count();
    let pages = work.end("slow connections");
    assert!(most >= 100, "they did not even fill the places: {most} descriptors");
    assert!(most <= DESCRIPTORS, "{most} descriptors");
    assert!(begun > SLOW / 2, "{begun} were begun at all");
    freed(&postern, before);
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "admin_slow",
        &format!(
            "{SLOW} slow connections of 8 kinds from 40 addresses: at most {most} descriptors of the web process;\n  a slow one \
             alone is closed after {longest} ms at most; {pages}"
        ),
    );
}

#[test]
fn half_handshakes_of_tls_hold_no_place_that_the_owner_needs() {
    let lab = Lab::new();
    let postern = router(&lab);
    postern.set(&["access.https=true"]);
    postern.ok(&["confirm"]);
    let laptop = lab.host("laptop1");
    let page = || {
        laptop.run(&[
            "curl",
            "-sk",
            "-m",
            "10",
            "-o",
            "/dev/null",
            "-w",
            "%{http_code}",
            "https://192.168.1.1/login",
        ])
    };
    let answers = wait::until(wait::SOON, || (page().out.trim() == "200").then_some(()));
    assert!(answers.is_some(), "HTTPS does not answer");
    let before = descriptors(&postern);
    let enemy = lab.host("laptop2");
    let from = addresses(&enemy);
    // Nothing, half a record, a hello that is cut off, and plain words.
    let starts = ["", "\x16\x03\x01\x02\0", "\x16\x03\x01\0\u{c8}\x01\0\0\u{c4}\x03\x03aaaaaaaa", "GET / HT"];
    let all =
        (0..1000).map(|n| Said { from: Some(from[n % from.len()]), ..Said::new(starts[n % starts.len()]) });
    let to = SocketAddr::from(([192, 168, 1, 1], 443));
    let mut attack = enemy.talking(&Talk { to, limit_ms: 20_000, ..Talk::new(1000, all.collect()) });
    let mut most = 0;
    let mut pages = 0;
    while attack.ended().is_none() && pages < 200 {
        let answer = page();
        assert_eq!(answer.out.trim(), "200", "page {pages}: {}", answer.err);
        most = most.max(descriptors(&postern));
        pages += 1;
    }
    assert!(attack.wait_end(Duration::from_secs(30)).is_some());
    assert!((before + 20..=DESCRIPTORS).contains(&most), "{most} descriptors, {before} before");
    let held = heard(&attack).iter().filter(|one| !one.closed && one.sent > 0).count();
    assert_eq!(held, 0, "half handshakes are held for 20 s");
    freed(&postern, before);
    assert!(pages >= 10, "{pages}");
    println!("1,000 half handshakes: {pages} pages meanwhile, at most {most} descriptors");
}

#[test]
fn what_is_huge_is_refused_early_and_costs_no_memory() {
    let lab = Lab::new();
    let postern = router(&lab);
    let owner = logged_in(&lab, &postern);
    let enemy = lab.host("laptop2");
    let cookie = crate::scene::cookie(&owner);
    let sized = |path: &str, more: &str, length: u64| {
        post(path, more, "").replace("Content-Length: 0", &format!("Content-Length: {length}"))
    };
    let chunked =
        post("/login", &visitor_cookie(), "").replace("Content-Length: 0", "Transfer-Encoding: chunked");
    let giga = 1_073_741_824;
    let block = "x".repeat(65_536);
    let token = format!("token={TOKEN}&");
    let huge = [
        ("a body of 1 GB", Said::new(sized("/login", &visitor_cookie(), giga)).repeat(&block, 16_384, 0)),
        ("1 GB in chunks", Said::new(chunked.as_str()).repeat(format!("10000\r\n{block}\r\n"), 16_384, 0)),
        (
            "a backup of 1 GB",
            Said::new(sized("/system/backup/restore", &cookie, giga)).repeat(&block, 16_384, 0),
        ),
        (
            "100,000 fields",
            Said::new(post(
                "/login",
                &visitor_cookie(),
                &format!("{token}{}", (0..100_000).map(|n| format!("f{n}=1&")).collect::<String>()),
            )),
        ),
        (
            "10,000 fields",
            Said::new(post(
                "/login",
                &visitor_cookie(),
                &format!("{token}{}", (0..10_000).map(|n| format!("{n:x}&")).collect::<String>()),
            )),
        ),
        ("a million chunks of a byte", Said::new(chunked.as_str()).repeat("1\r\na\r\n", 1_000_000, 0)),
        (
            "a header of 1 MB",
            Said::new(format!("GET / HTTP/1.1\r\nHost: 192.168.1.1\r\nX: {}\r\n\r\n", "y".repeat(1_000_000))),
        ),
        (
            "a path of 1 MB",
            Said::new(format!("GET /{} HTTP/1.1\r\nHost: 192.168.1.1\r\n\r\n", "y".repeat(1_000_000))),
        ),
        (
            "100,000 headers",
            Said::new("GET / HTTP/1.1\r\nHost: 192.168.1.1\r\n").repeat("X: y\r\n", 100_000, 0),
        ),
        (
            "a cookie of 15 KB",
            Said::new(format!(
                "GET / HTTP/1.1\r\nHost: 192.168.1.1\r\nCookie: {}\r\nConnection: close\r\n\r\n",
                "a=b; ".repeat(3000)
            )),
        ),
        (
            "a password of 60 KB",
            Said::new(post("/login", &visitor_cookie(), &format!("{token}password={}", "p".repeat(60_000)))),
        ),
    ];
    let pid = postern.web_status("Pid");
    // The most memory it ever had counts from here (proc_pid_clear_refs(5)).
    let begin = || std::fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("root may");
    // Warm: what every first page costs is not this attack's.
    let warm = vec![Said::new("GET /login HTTP/1.1\r\nHost: 192.168.1.1\r\nConnection: close\r\n\r\n"); 200];
    let _ = enemy.talk(&Talk::new(16, warm), Duration::from_secs(60));
    begin();
    let before = kilobytes(&postern.web_status("VmRSS"));
    let (mut told, mut most_sent) = (Vec::new(), 0);
    for (what, said) in huge {
        // Four at once.
        let heard =
            enemy.talk(&Talk { limit_ms: 30_000, ..Talk::new(4, vec![said; 4]) }, Duration::from_secs(60));
        for one in &heard {
            let fine = (400..500).contains(&one.status()) || (what.contains("cookie") && one.status() == 303);
            assert!(fine, "{what}: {:?} {:?}", one.statuses, one.error);
        }
        let sent = heard.iter().map(|one| one.sent).max().unwrap_or_default();
        if what.contains("GB") || what.contains("million") {
            most_sent = most_sent.max(sent);
        }
        told.push(format!(
            "{what} {}, {} ms",
            heard[0].status(),
            heard.iter().filter_map(|one| one.first_ms).max().unwrap_or_default()
        ));
    }
    let most = kilobytes(&postern.web_status("VmHWM"));
    assert!(most >= before / 2, "the probe of the memory: {most} kB at most, {before} kB before");
    // What stands in the kernel's buffers has been sent, too.
    assert!(most_sent < 32 * 1024 * 1024, "{most_sent} bytes were taken before the refusal");
    let grown = most.saturating_sub(before);
    assert!(grown <= 16 * 1024, "the web process had {grown} kB more: {told:#?}");
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "admin_huge",
        &format!("huge requests, four at once: {grown} kB more at most;\n  {}", told.join("; ")),
    );
}

#[test]
fn a_flood_of_connection_attempts_and_of_dropped_packets_leaves_page_and_log_alone() {
    let lab = Lab::new();
    let postern = router(&lab);
    let owner = logged_in(&lab, &postern);
    let enemy = lab.host("laptop2");
    let router_at: Ipv4Addr = [192, 168, 1, 1].into();
    let syn = |n: u32| {
        let from = Ipv4Addr::new(192, 168, 1, 120 + (n % 130) as u8);
        Forged::syn((from, 1024 + (n / 130) as u16), (router_at, 80))
    };
    let flood: Vec<Forged> = (0..20_000).map(syn).collect();
    let lines =
        |postern: &Postern| postern.daemon_said().lines().count() + postern.web_said().lines().count();
    let before = lines(&postern);
    // The probe: they arrive, and are no connections.
    let arrived = || {
        let text = lab.router().ok(&["sh", "-c", "cat /proc/net/netstat | grep TcpExt"]);
        let mut rows = text.lines();
        let (names, values) = (rows.next().unwrap_or_default(), rows.next().unwrap_or_default());
        let wanted = ["SyncookiesSent", "TCPReqQFullDoCookies", "TCPReqQFullDrop", "TCPTimeouts"];
        names
            .split(' ')
            .zip(values.split(' '))
            .filter(|(name, _)| wanted.contains(name))
            .filter_map(|(_, value)| value.parse::<u64>().ok())
            .sum::<u64>()
    };
    let quiet = arrived();
    let work = Work::begin(&lab, &owner);
    let forger = enemy.forge_on(&flood, 20_000);
    let begun = std::time::Instant::now();
    wait::until(Duration::from_secs(10), || (work.pages() > 30).then_some(()));
    let sent = forger.sent();
    let rate = sent * 1000 / u64::try_from(begun.elapsed().as_millis()).unwrap_or(1).max(1);
    let pages = work.end("a flood of SYNs");
    drop(forger);
    assert!(sent > 10_000, "{sent} were sent");
    assert!(arrived() > quiet, "the flood is not seen by the kernel");

    // Nobody asked for these.
    lab.hostile_provider();
    let stranger = lab.host("attacker");
    let away = Forged::udp((address("attacker"), 9), (address("router"), 9), b"x");
    let dropped = || {
        let text = lab.router().ok(&["nft", "list", "counter", "inet", "postern", "input_dropped"]);
        text.split_whitespace()
            .skip_while(|word| *word != "packets")
            .nth(1)
            .and_then(|n| n.parse::<u64>().ok())
            .expect("a counter")
    };
    let first = dropped();
    stranger.forge(&vec![away; 20_000], 20_000);
    let counted = wait::until(wait::SOON, || Some(dropped() - first).filter(|count| *count >= 10_000));
    let counted =
        counted.unwrap_or_else(|| panic!("{} of 20,000 dropped packets are counted", dropped() - first));
    let more = lines(&postern) - before;
    assert!(more <= 10, "{more} lines in the logs:\n{}", postern.daemon_said());
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "admin_flood",
        &format!(
            "{sent} SYNs at the page's port from 130 addresses of the home, {rate} a second: {pages};\n  {counted} of 20,000 \
                  dropped packets are counted, {more} lines in the logs"
        ),
    );
}

#[test]
fn a_thousand_wrong_passwords_are_few_lines_with_a_number() {
    let lab = Lab::new();
    let postern = router(&lab);
    let lines = || postern.daemon_said().lines().count() + postern.web_said().lines().count();
    let before = lines();
    let all = vec![Said::new(crate::scene::login("guess")); 1000];
    let heard = lab.host("laptop2").talk(&Talk::new(8, all), Duration::from_secs(120));
    let waits = heard.iter().filter(|one| one.status() == 429).count();
    assert!(waits > 900, "{waits} had to wait");
    let more = lines() - before;
    assert!((1..=20).contains(&more), "{more} lines for 1,000 tries:\n{}", postern.daemon_said());
    // What the log leaves out, the journal counts.
    let told = wait::until(Duration::from_secs(30), || {
        let journal = postern.json(&["journal"]);
        let entries = journal["entries"].as_array().cloned().unwrap_or_default();
        let ours = entries
            .iter()
            .filter(|line| line["what"].as_str().is_some_and(|what| what.contains("had to wait")));
        let times: u64 = ours.clone().filter_map(|line| line["times"].as_u64()).sum();
        (times >= waits as u64).then_some((ours.count(), times))
    });
    let (rows, times) =
        told.unwrap_or_else(|| panic!("the journal does not count them: {}", postern.ok(&["journal"])));
    assert!(rows <= 5, "{rows} lines of the journal for one address");
    println!("1,000 wrong passwords: {more} lines in the log, {rows} in the journal that count {times}");
}
