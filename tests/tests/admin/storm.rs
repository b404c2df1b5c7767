//! Guessers: 250 addresses, with every trick of a header, while the owner works.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use lab::{Lab, PASSWORD, Said, Talk, figures};

use crate::scene::{TOKEN, Work, kilobytes, logged_in, login, looked_at, post, router, visitor_cookie};

/// Passwords that are tried.
const TRIES: usize = 10_000;
/// At once.
const AT_ONCE: usize = 500;
/// Looks at a password that 250 addresses may get in a day; the unit test of the delay counts a whole one.
const MOST: usize = 1_500;

/// One wrong login, so that it may look like somebody else's, or like another request.
fn variants(n: usize) -> Vec<String> {
    let body = format!("token={TOKEN}&password=guess+{n}");
    let with = |more: &str| post("/login", &format!("{}{more}", visitor_cookie()), &body);
    let mut all: Vec<String> = [
        "",
        "X-Forwarded-For: 10.0.0.1\r\n",
        "x-forwarded-for: 192.168.1.101\r\n",
        "X-FORWARDED-FOR: 127.0.0.1\r\n",
        "X-Forwarded-For: 10.0.0.1, 10.0.0.2\r\nX-Forwarded-For: 10.0.0.3\r\n",
        "X-Forwarded-For:\t::1\r\n",
        "Forwarded: for=10.0.0.1;proto=https\r\n",
        "forwarded: For=\"[2001:db8::1]\"\r\n",
        "X-Real-IP: 10.0.0.1\r\n",
        "X-Client-IP: 10.0.0.1\r\n",
        "Client-IP: 10.0.0.1\r\n",
        "True-Client-IP: 10.0.0.1\r\n",
        "CF-Connecting-IP: 10.0.0.1\r\n",
        "X-Originating-IP: 10.0.0.1\r\n",
        "X-Remote-Addr: 10.0.0.1\r\n",
        "X-Cluster-Client-IP: 10.0.0.1\r\n",
        "Via: 1.1 x\r\n",
        "X-Original-URL: /\r\n",
        "X-Rewrite-URL: /\r\n",
        "X-HTTP-Method-Override: GET\r\n",
        "Origin: http://192.168.1.1\r\nSec-Fetch-Site: same-origin\r\n",
        "Authorization: Basic cG9zdGVybjpwb3N0ZXJu\r\n",
        "Referer: http://192.168.1.1/login\r\n",
        "Accept: */*\r\n",
        "Connection: keep-alive\r\n",
        "User-Agent: \x01\u{ff}\r\n",
        "X-Request-ID: 1\r\n",
        "Cache-Control: no-cache\r\n",
    ]
    .map(with)
    .into();
    let plain = with("");
    all.extend([
        plain.replace("Host: 192.168.1.1", "hOsT:192.168.1.1:80"),
        plain.replace("Content-Type", "content-type").replace("Content-Length", "CONTENT-LENGTH"),
        plain.replace("form-urlencoded", "form-urlencoded ; charset=UTF-8"),
        plain.replace("POST /login ", "POST /login?x=1 "),
        plain.replace("POST /login ", "POST http://192.168.1.1/login "),
        post("/login", &visitor_cookie(), &body.replace("password=", "p%61ssword=")),
        post("/login", &visitor_cookie(), &format!("password=%67uess+{n}&token={TOKEN}")),
        plain.replace("HTTP/1.1", "HTTP/1.0"),
        with("Transfer-Encoding: chunked\r\n")
            .replace(&format!("Content-Length: {}\r\n", body.len()), "")
            .replace(&body, &format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len())),
        with("Expect: 100-continue\r\n"),
        // Two in one connection.
        format!("{}{plain}", plain.replace("\r\n\r\n", "\r\nConnection: keep-alive\r\n\r\n")),
        format!("GET /login HTTP/1.1\r\nHost: 192.168.1.1\r\n\r\n{plain}"),
    ]);
    all
}

#[test]
fn no_spelling_of_a_login_gets_past_the_delay() {
    let lab = Lab::new();
    let postern = router(&lab);
    let guesser = lab.host("laptop2");
    // Each is a login that is looked at: the daemon counts one more, each from an address of its own.
    let addresses: Vec<u8> = (110..160).collect();
    guesser.more_addresses(&addresses);
    let spellings = variants(0);
    assert_eq!(spellings.len(), 40);
    let mut taken = 0;
    for (spelling, last) in spellings.iter().zip(&addresses) {
        let before = looked_at(&postern);
        let said = Said::new(spelling.as_str()).from(Ipv4Addr::new(192, 168, 1, *last));
        let heard =
            guesser.talk(&Talk { limit_ms: 20_000, ..Talk::new(1, vec![said]) }, Duration::from_secs(30));
        let short: String = spelling.chars().take(200).collect();
        assert!(!heard[0].statuses.contains(&303), "{short} is let in: {heard:?}");
        taken += usize::from(looked_at(&postern) > before);
    }
    assert!(taken >= 34, "{taken} of 40 spellings are logins at all: the others prove nothing");
    // From one address, a thousand times: what is looked at are the free ones and those whose delay was over.
    let before = looked_at(&postern);
    let begun = Instant::now();
    let one = Ipv4Addr::new(192, 168, 1, 102);
    let all: Vec<Said> = (0..25).flat_map(variants).map(|text| Said::new(text).from(one)).collect();
    let heard = guesser.talk(&Talk::new(8, all), Duration::from_secs(200));
    let looked = looked_at(&postern) - before;
    assert!(heard.iter().all(|heard| !heard.statuses.contains(&303)), "somebody is let in");
    // Three are free, then 1, 2, 4, 8, 16, 32 s, a minute and more; with other guessers two minutes for all of them.
    let free = 3 + (1..=begun.elapsed().as_secs()).filter(|s| s.is_power_of_two()).count() + 1;
    assert!((1..=free).contains(&looked), "{looked} of 1,000 were looked at in {:?}", begun.elapsed());
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "admin_spellings",
        &format!("1,000 logins from one address in 40 spellings: {looked} looked at, 0 let in"),
    );
}

#[test]
fn ten_thousand_guesses_from_250_addresses_hurt_neither_the_owner_nor_the_router() {
    let lab = Lab::new();
    let postern = router(&lab);
    let owner = logged_in(&lab, &postern);
    let guesser = lab.host("laptop2");
    let addresses: Vec<u8> = (2..=254).filter(|n| ![101, 102, 103].contains(n)).collect();
    assert_eq!(addresses.len(), 250);
    guesser.more_addresses(&addresses);
    // The counter counts.
    let first = guesser.talk(&Talk::new(1, vec![Said::new(login("guess"))]), Duration::from_secs(30));
    assert_eq!((first[0].status(), looked_at(&postern)), (422, 1), "{:?}", first[0]);

    let work = Work::begin(&lab, &owner);
    let memory =
        || [&postern.daemon_status("VmRSS"), &postern.web_status("VmRSS")].map(|field| kilobytes(field));
    let before = memory();
    let spellings = variants(1);
    let all: Vec<Said> = (0..TRIES)
        .map(|n| {
            let from = Ipv4Addr::new(192, 168, 1, addresses[n % addresses.len()]);
            Said::new(spellings[(n / addresses.len()) % spellings.len()].as_str()).from(from)
        })
        .collect();
    let begun = Instant::now();
    let mut storm = guesser.talking(&Talk { limit_ms: 30_000, ..Talk::new(AT_ONCE, all) });
    // In the middle of it somebody logs in who has never failed.
    let clean = lab.host("phone");
    let mut tried = 0;
    let (mut longest, mut let_in) = (0, false);
    while storm.ended().is_none() && begun.elapsed() < Duration::from_secs(300) {
        let right = login(&PASSWORD.replace(' ', "+"));
        let asked = Instant::now();
        let heard = clean.talk(
            &Talk { limit_ms: 60_000, ..Talk::new(1, vec![Said::new(right)]) },
            Duration::from_secs(90),
        );
        tried += 1;
        if heard[0].status() == 303 {
            let_in = true;
            longest = longest.max(heard[0].first_ms.unwrap_or(u64::MAX));
        } else {
            assert_eq!(heard[0].status(), 429, "busy at most: {:?}", heard[0]);
        }
        std::thread::sleep(Duration::from_millis(1500).saturating_sub(asked.elapsed()));
    }
    assert!(storm.ended().is_some(), "the storm does not end");
    let took = begun.elapsed();
    let heard = lab::talk::heard(&storm);
    let statuses = heard.iter().flat_map(|heard| &heard.statuses).fold(
        std::collections::BTreeMap::new(),
        |mut all, status| {
            *all.entry(*status).or_insert(0_u32) += 1;
            all
        },
    );
    let after = memory();
    let pages = work.end("10,000 guesses");
    let looked = looked_at(&postern);
    assert!(let_in, "the right password from a clean host was never taken in {tried} tries");
    assert!(!statuses.contains_key(&303), "somebody is let in: {statuses:?}");
    assert!(statuses.keys().all(|status| *status < 500), "{statuses:?}");
    assert!(looked <= MOST, "{looked} of {TRIES} were looked at");
    let grown: u64 = after.iter().zip(before).map(|(after, before)| after.saturating_sub(before)).sum();
    // Two hashes of 19 MiB at once, and the C library may keep one more.
    assert!(grown < 96 * 1024, "the processes grew from {before:?} to {after:?} kB");
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "admin_storm",
        &format!(
            "{TRIES} guesses from 250 addresses, {AT_ONCE} at once, in {took:.0?}: answered {statuses:?}, {looked} looked at;\n  \
             {pages};\n  the right password from a clean host after {longest} ms at most; {grown} kB more (daemon and web process: {before:?}, then {after:?})"
        ),
    );
}
