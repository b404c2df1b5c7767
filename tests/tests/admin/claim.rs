//! Who claims a new box: one, once, with the code, and whole.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use lab::{Heard, Lab, ROUTER_SETTINGS, Random, Said, Talk, Visitor, figures};
use postern::door::messages::{Password, RefusalKind, Request, Response};

use crate::scene::{Caller, TOKEN, post, visitor_cookie};

/// Claims at once.
const AT_ONCE: u8 = 100;
/// Claims of a box that has an owner.
const LATER: usize = 1000;
/// Kills of the daemon; `POSTERN_KILLS` for more.
const KILLS: u64 = 10;

fn claim(code: &str, password: &str) -> String {
    let body = format!("token={TOKEN}&code={code}&password={password}&repeat={password}");
    post("/claim", &visitor_cookie(), &body)
}

/// It was let in: led to the overview, with the cookie of a login.
fn won(heard: &Heard) -> bool {
    heard.header("location") == Some("/") && heard.text.contains("set-cookie: postern=")
}

#[track_caller]
fn logs_in(caller: &Caller, password: &str) -> bool {
    let asked = caller.ask(None, Request::Login { password: Password(password.to_owned()) });
    matches!(asked, Response::Ticket { .. })
}

#[test]
fn of_a_hundred_claims_at_once_one_wins_and_of_a_thousand_later_none() {
    let lab = Lab::new();
    let mut postern = lab.postern();
    postern.set(&ROUTER_SETTINGS);
    postern.ok(&["confirm"]);
    postern.start_web(&lab);
    let code = postern.ok(&["claim-code"]).trim().to_owned();
    lab.hostile_provider();
    for to in [[198, 51, 100, 2], [192, 168, 1, 1]] {
        let answer = Visitor::new(&lab.host("attacker"), to).try_request("GET", "/claim", "", &[]);
        assert!(answer.is_err(), "an unclaimed box answers the internet at {to:?}: {answer:?}");
    }
    let home = lab.host("laptop2");
    let wrong = Said::new(claim("WRNG-CODE", "password-of-0000"));
    let wrong = home.talk(&Talk::new(1, vec![wrong]), Duration::from_secs(30));
    assert!(wrong[0].status() == 422 && !won(&wrong[0]), "{:?}", wrong[0]);

    let addresses: Vec<u8> = (130..130 + AT_ONCE).collect();
    home.more_addresses(&addresses);
    let all = addresses.iter().map(|n| {
        Said::new(claim(&code, &format!("password-of-{n:04}"))).from(Ipv4Addr::new(192, 168, 1, *n))
    });
    let talk = Talk { limit_ms: 60_000, ..Talk::new(AT_ONCE.into(), all.collect()) };
    let heard = home.talk(&talk, Duration::from_secs(90));
    let winners: Vec<usize> = heard.iter().filter(|heard| won(heard)).map(|heard| heard.n).collect();
    assert_eq!(winners.len(), 1, "{:?}", heard.iter().map(Heard::status).collect::<Vec<_>>());
    assert!(heard.iter().all(|heard| heard.status() > 0 && heard.status() < 500), "{heard:?}");
    let caller = Caller::at(&postern);
    let of = |n: usize| format!("password-of-{:04}", addresses[n]);
    assert!(logs_in(&caller, &of(winners[0])), "the winner has the password");
    let loser = (winners[0] + 1) % usize::from(AT_ONCE);
    assert!(!logs_in(&caller, &of(loser)), "a loser has it too");

    let again = (0..LATER).map(|n| {
        let from = Ipv4Addr::new(192, 168, 1, addresses[n % addresses.len()]);
        Said::new(claim(&code, &format!("password-of-{n:04}"))).from(from)
    });
    let later = home.talk(&Talk::new(50, again.collect()), Duration::from_secs(120));
    assert!(later.iter().all(|heard| !won(heard) && heard.header("location") == Some("/login")), "{later:?}");
    let journal = postern.ok(&["journal"]);
    assert_eq!(journal.matches("took this box").count(), 1, "{journal}");
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "admin_claim",
        &format!("{AT_ONCE} claims at once: 1 winner; {LATER} later: 0; from the internet: no answer"),
    );
}

#[test]
fn a_box_whose_daemon_is_killed_while_it_is_claimed_has_an_owner_or_none_and_never_half_a_one() {
    let lab = Lab::new();
    let mut postern = lab.postern();
    let mut random = Random::new();
    let kills = std::env::var("POSTERN_KILLS").ok().and_then(|n| n.parse().ok()).unwrap_or(KILLS);
    let (mut claimed, mut unclaimed, mut acknowledged) = (0, 0, 0);
    // How long a claim takes here: the kills come before, in and after it.
    let begun = Instant::now();
    postern.claim();
    let span = begun.elapsed() * 3 / 2;
    postern.ok(&["reset", "--yes"]);
    let _ = postern.wait_end();
    postern.start_daemon();
    for round in 0..kills {
        let password = format!("password of round {round}");
        let code = postern.ok(&["claim-code"]).trim().to_owned();
        let answer = std::thread::scope(|scope| {
            let request = Request::Claim { code, password: Password(password.clone()) };
            let caller = Caller::at(&postern);
            let asked = scope.spawn(move || caller.try_ask(None, true, request));
            random.pause(span);
            postern.crash_daemon();
            asked.join().expect("it asks to the end")
        });
        postern.start_daemon();
        let caller = Caller::at(&postern);
        let Response::Greeting(greeting) = caller.ask(None, Request::Greeting) else { panic!("no greeting") };
        let done = matches!(answer, Some(Response::Ticket { .. }));
        assert!(greeting.claimed || !done, "round {round}: an acknowledged claim is lost");
        acknowledged += u64::from(done);
        if greeting.claimed {
            claimed += 1;
            assert!(logs_in(&caller, &password), "round {round}: claimed, by nobody");
            let again = Request::Claim { code: String::new(), password: Password("another one".into()) };
            let Response::Refused(refusal) = caller.ask(None, again) else { panic!("round {round}: twice") };
            assert_eq!(refusal.kind, RefusalKind::Forbidden);
            postern.ok(&["reset", "--yes"]);
            let _ = postern.wait_end();
            postern.start_daemon();
        } else {
            unclaimed += 1;
            assert!(!logs_in(&caller, &password), "round {round}: unclaimed, and the password is taken");
        }
    }
    // And then it can be claimed.
    let caller = Caller::at(&postern);
    let code = postern.ok(&["claim-code"]).trim().to_owned();
    let request = Request::Claim { code, password: Password("the last password".into()) };
    assert!(matches!(caller.ask(None, request), Response::Ticket { .. }));
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "admin_claim_kills",
        &format!(
            "{kills} kills during a claim: {claimed} claimed ({acknowledged} acknowledged), {unclaimed} unclaimed, 0 half"
        ),
    );
}
