//! What an old login may not do, and when it ends. The daemon's clocks are moved by libfaketime, the one that only runs too.

use std::time::Duration;

use lab::{Lab, PASSWORD, Postern, ROUTER_SETTINGS, wait};
use postern::door::messages::{Assignment, Password, RefusalKind, Request, Response};

use crate::scene::Caller;

const CLOCK: &str = "/run/lab/clock";
const UNTIL: &str = "2031-01-01T00:00:00Z";

/// Seconds by which the daemon's clocks are ahead.
#[track_caller]
fn move_clock(lab: &Lab, ahead: u64) {
    lab.router().write("/run/lab/clock.new", format!("+{ahead}\n"));
    lab.outer().ok(&["mv", "/run/lab/clock.new", CLOCK]);
}

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
    ]);
    postern.claim();
    postern.set(&ROUTER_SETTINGS);
    postern.ok(&["confirm"]);
    postern
}

fn word(text: &str) -> Password {
    Password(text.to_owned())
}

fn change(key: &str, value: &str) -> Request {
    let patch = vec![Assignment { key: key.into(), value: value.into() }];
    Request::Change { base_revision: None, patch, comment: String::new() }
}

#[track_caller]
fn refused(answer: Response, what: &str) -> RefusalKind {
    match answer {
        Response::Refused(refusal) => refusal.kind,
        other => panic!("{what} was not refused: {other:?}"),
    }
}

fn is_live(caller: &Caller, ticket: &str, attended: bool) -> bool {
    let answer = caller.try_ask(Some(ticket), attended, Request::Settings).expect("the daemon answers");
    matches!(answer, Response::Settings { .. })
}

#[test]
fn an_old_login_opens_no_port_and_gets_no_secret_until_the_password_is_typed_again() {
    let lab = Lab::new();
    let postern = router(&lab);
    let caller = Caller::at(&postern);
    let (ticket, other) = (caller.log_in(), caller.log_in());
    let forward = "tcp 8080 to 192.168.1.101:80";
    // As long as the password was typed just now, each is done; root takes it back.
    for (key, value, back) in [
        ("forwards.web", forward, "unset"),
        ("firewall.dmz", &format!("192.168.1.103 until {UNTIL}"), "none"),
        ("firewall.spi", &format!("off until {UNTIL}"), "on"),
    ] {
        let done = caller.ask(Some(&ticket), change(key, value));
        if let Response::Refused(refusal) = &done {
            assert_ne!(refusal.kind, RefusalKind::Prove, "{key}: {done:?}");
        }
        let _ = postern.cli(&["set", &format!("{key}={back}")]);
    }
    postern.ok(&["forward", "add", "web", "--protocol", "tcp", "--port", "8080", "--to", "192.168.1.101:80"]);
    let document = postern.ok(&["export"]);
    let opened = newest(&postern);
    postern.ok(&["forward", "remove", "web"]);
    let closed = newest(&postern);

    move_clock(&lab, 301);
    let (settings, table) = (postern.ok(&["export"]), postern.table());
    let opens = [
        ("a port forward", change("forwards.web", forward)),
        ("a kind of server", change("forwards.vpn", "pptp to 192.168.1.101")),
        ("a document", Request::Import { text: document, dry: false, base_revision: None }),
        ("an undo", Request::Undo { revision: Some(closed) }),
        ("a way back", Request::GoBack { revision: opened }),
    ];
    for (what, request) in &opens {
        assert_eq!(refused(caller.ask(Some(&ticket), request.clone()), what), RefusalKind::Prove, "{what}");
    }
    let hour = |ahead: i64| {
        lab.outer().ok(&["date", "-u", "-d", &format!("{ahead} seconds"), "+%FT%TZ"]).trim().to_owned()
    };
    for (key, value) in [
        ("firewall.dmz", format!("192.168.1.103 until {}", hour(3000))),
        ("firewall.spi", format!("off until {}", hour(1200))),
    ] {
        assert_eq!(
            refused(caller.ask(Some(&ticket), change(key, &value)), key),
            RefusalKind::Prove,
            "{key} {value}"
        );
    }
    // These always ask, however new the login is.
    let wrong = || word("not the password");
    for (what, request) in [
        ("a backup", Request::Backup { owner: wrong(), password: word("a password of its own") }),
        (
            "a restore",
            Request::Restore {
                owner: wrong(),
                password: wrong(),
                text: String::new(),
                dry: false,
                base_revision: None,
            },
        ),
        ("a restart", Request::Restart { owner: wrong() }),
        ("a reset", Request::Reset { owner: wrong(), word: "reset".into() }),
        ("a new password", Request::Password { old: wrong(), new: word("a new password") }),
    ] {
        let kind = refused(caller.ask(Some(&ticket), request), what);
        assert!([RefusalKind::Wrong, RefusalKind::Wait].contains(&kind), "{what}: {kind:?}");
    }
    assert_eq!((postern.ok(&["export"]), postern.table()), (settings, table), "nothing was changed");
    // What opens nothing is done all the same.
    assert!(matches!(
        caller.ask(Some(&ticket), change("passthrough.pptp.enabled", "true")),
        Response::Done { .. }
    ));

    // With the password again it is done, for this login and no other.
    let prove = || caller.ask(Some(&ticket), Request::Prove { owner: word(PASSWORD) });
    let proved =
        wait::until(Duration::from_secs(60), || matches!(prove(), Response::Done { .. }).then_some(()));
    assert!(proved.is_some(), "the right password does not prove it");
    assert_eq!(
        refused(caller.ask(Some(&other), change("forwards.web", forward)), "the other"),
        RefusalKind::Prove
    );
    assert!(matches!(caller.ask(Some(&ticket), change("forwards.web", forward)), Response::Done { .. }));
}

#[track_caller]
fn newest(postern: &Postern) -> i64 {
    postern.owner().history(1).first().expect("a revision").id
}

#[test]
fn a_login_ends_after_ten_idle_minutes_though_its_page_polls_and_after_twelve_hours_though_its_owner_works() {
    let lab = Lab::new();
    let postern = router(&lab);
    let caller = Caller::at(&postern);
    let (polls, works) = (caller.log_in(), caller.log_in());
    for minute in 1..10 {
        move_clock(&lab, 60 * minute);
        assert!(is_live(&caller, &polls, false), "it polls in minute {minute}");
        assert!(is_live(&caller, &works, true), "it works in minute {minute}");
    }
    move_clock(&lab, 601);
    assert!(!is_live(&caller, &polls, false), "polling keeps it alive");
    assert!(!is_live(&caller, &polls, true), "dead is dead");
    let mut lived = 601;
    while is_live(&caller, &works, true) {
        lived += 590;
        assert!(lived < 13 * 3600, "it lives for ever");
        move_clock(&lab, lived);
    }
    assert!((12 * 3600 - 590..=12 * 3600 + 590).contains(&lived), "it lived {lived} s");
    assert!(is_live(&caller, &caller.log_in(), true), "a new one lives");
}
