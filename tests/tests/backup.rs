//! Backup and restore, restart and factory reset, from the command line, the page, and a web process that somebody has taken over.

use std::net::IpAddr;

use lab::http::Response as Page;
use lab::{Form, Kind, Lab, PASSWORD, Postern, ROUTER_SETTINGS, Visitor, address};
use postern::door::client::Door;
use postern::door::messages::{Call, Password, RefusalKind, Request, Response};
use tokio::runtime::Builder;

const REFUSED: i32 = 1;
const USAGE: i32 = 2;
/// The status of a daemon that wants to be started again.
const START_AGAIN: i32 = 75;
const SEALED_WITH: &str = "a backup's own password";
const FILE: &str = "/run/postern/home.backup";
const STATE: &str = "/run/postern/state";
/// Words that nothing may hold after a reset.
const CANARY: &str = "canary-s3cret";

/// A router with more than the least: a forward, and a secret.
fn home(lab: &Lab) -> Postern {
    let postern = lab.postern_router();
    postern.ok(&["forward", "add", "web", "--protocol", "tcp", "--port", "8080", "--to", "192.168.1.101:80"]);
    postern.set(&[&format!("internet.pppoe.password={CANARY}"), "passthrough.pptp.enabled=true"]);
    postern
}

#[track_caller]
fn back_up(postern: &Postern) -> String {
    let output = postern.cli_with(&["backup", FILE, "--password-stdin"], SEALED_WITH);
    assert!(output.ok() && output.out.contains(FILE), "{output:?}");
    std::fs::read_to_string(lab_path(postern)).expect("the backup is there")
}

fn lab_path(postern: &Postern) -> std::path::PathBuf {
    postern.admin_socket().with_file_name("../home.backup")
}

fn answered(lab: &Lab) -> bool {
    let _server = lab.host("server1").echo(&[Kind::Udp(7000)]);
    lab.host("laptop1").probe(Kind::Udp(7000), address("server1")).answered == 1
}

/// Closed, and nothing of the owner's is left.
#[track_caller]
fn is_factory_new(lab: &Lab, postern: &Postern) {
    let router = lab.router();
    assert_eq!(postern.table(), None, "no table of ours without a role");
    assert_eq!(router.ok(&["sysctl", "-n", "net.ipv4.ip_forward"]).trim(), "0");
    assert!(
        !router.ok(&["ip", "-4", "addr", "show", "wan0"]).contains("inet "),
        "nobody out there reaches the box"
    );
    assert!(!postern.ok(&["claim-code"]).trim().is_empty(), "it has no owner");
    assert_eq!(postern.ok(&["get", "role"]), "unset\n");
    assert!(!postern.ok(&["export"]).contains("192.168.1.101"));
    assert!(!postern.ok(&["journal"]).contains("took this box"));
    let found = router.run(&["grep", "-rlF", CANARY, STATE, "/run/postern/door"]);
    assert_eq!(found.out, "", "a secret is left");
}

#[test]
fn a_home_comes_back_from_its_backup_after_a_factory_reset() {
    let lab = Lab::new();
    let mut postern = home(&lab);
    let before = postern.ok(&["export"]);
    let backup = back_up(&postern);
    assert!(!backup.contains(CANARY) && before.contains(CANARY));
    assert_eq!(lab.router().ok(&["stat", "-c", "%a", FILE]).trim(), "600");
    assert!(answered(&lab), "the probe itself");
    assert!(lab.router().run(&["grep", "-rlF", CANARY, STATE]).ok(), "and the one for secrets");

    assert_eq!(postern.cli(&["reset"]).code, USAGE, "not without --yes");
    assert!(answered(&lab));
    postern.ok(&["reset", "--yes"]);
    assert_eq!(postern.wait_end().code(), Some(START_AGAIN));
    // And an empty folder, which a service manager may have mounted.
    let left = lab.router().ok(&["find", STATE, "-mindepth", "1", "-printf", "%P\\n"]);
    let mut left: Vec<&str> = left.lines().collect();
    left.sort_unstable();
    assert_eq!(left, ["lock", "programs"]);
    assert!(!answered(&lab), "a box without an owner forwards nothing");
    postern.start_daemon();
    is_factory_new(&lab, &postern);

    postern.claim();
    let dry = postern.cli_with(&["restore", FILE, "--password-stdin", "--dry-run"], SEALED_WITH);
    assert!(dry.ok() && dry.out.contains("role: unset → router"), "{dry:?}");
    assert!(!dry.out.contains(CANARY), "differences do not tell secrets");
    assert_eq!(postern.ok(&["get", "role"]), "unset\n", "dry is dry");
    let done = postern.cli_with(&["restore", FILE, "--password-stdin"], SEALED_WITH);
    assert!(done.ok() && done.out.contains("on trial"), "{done:?}");
    postern.ok(&["confirm"]);
    assert_eq!(postern.ok(&["export"]), before);
    assert!(answered(&lab));
    assert!(postern.ok(&["history"]).contains("restored from a backup"));
}

#[test]
fn a_wrong_password_and_every_damage_are_told_apart_and_change_nothing() {
    let lab = Lab::new();
    let postern = home(&lab);
    let before = postern.ok(&["export"]);
    let backup = back_up(&postern);
    let wrong = postern.cli_with(&["restore", FILE, "--password-stdin"], "another password");
    assert_eq!(wrong.code, REFUSED);
    assert!(wrong.err.contains("not the password of this backup"), "{wrong:?}");
    assert_eq!(postern.cli_with(&["backup", FILE, "--password-stdin"], "short").code, REFUSED);
    assert_eq!(
        std::fs::read_to_string(lab_path(&postern)).ok().as_ref(),
        Some(&backup),
        "the old file stays"
    );
    assert_eq!(postern.cli(&["restore", FILE]).code, USAGE);

    let owner = postern.owner();
    let restore = |text: String| {
        let (owner_password, password) = (Password(String::new()), Password(SEALED_WITH.into()));
        let request =
            Request::Restore { owner: owner_password, password, text, dry: true, base_revision: None };
        owner.ask(request).expect("the daemon answers")
    };
    assert!(matches!(restore(backup.clone()), Response::Differences { differs } if differs.is_empty()));
    // The last byte is a line break that nobody needs.
    for at in 0..backup.len() - 1 {
        let mut bytes = backup.clone().into_bytes();
        bytes[at] ^= 1;
        match restore(String::from_utf8(bytes).expect("ASCII stays ASCII")) {
            Response::Refused(refusal) => {
                assert_eq!(refusal.kind, RefusalKind::Invalid);
                assert_eq!(refusal.fields[0].key, "backup", "byte {at}: {refusal:?}");
            }
            other => panic!("byte {at} flipped, and {other:?}"),
        }
    }
    let hostile =
        "Postern backup 1\nargon2id m=4194304 t=4000000 salt=AAAAAAAAAAAAAAAAAAAAAA==\nAAAA\ncheck=0\n";
    for text in [hostile.to_owned(), "x".repeat(700_000), String::new(), "Postern backup 1\n".repeat(40_000)]
    {
        assert!(matches!(restore(text), Response::Refused(_)));
    }
    assert_eq!(postern.ok(&["export"]), before);
}

#[test]
fn a_web_process_that_was_taken_over_gets_no_backup_without_the_password_and_cannot_guess_it() {
    let lab = Lab::new();
    let postern = home(&lab);
    let before = postern.ok(&["export"]);
    let runtime = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let door = Door::new(postern.admin_socket().with_file_name("web.sock"));
    let ask = |ticket: Option<&str>, source: u8, request: Request| {
        let source = Some(IpAddr::from([192, 168, 1, source]));
        let call = Call { ticket: ticket.map(str::to_owned), source, attended: true, request };
        runtime.block_on(door.call(call)).expect("the daemon answers")
    };
    let word = |text: &str| Password(text.to_owned());
    let all = |owner: &str| {
        let (owner, password) = (word(owner), word(SEALED_WITH));
        let text = "Postern backup 1\n".to_owned();
        [
            Request::Backup { owner: owner.clone(), password: password.clone() },
            Request::Restore { owner: owner.clone(), password, text, dry: false, base_revision: None },
            Request::Restart { owner: owner.clone() },
            Request::Reset { owner, word: "reset".into() },
        ]
    };
    for request in all(PASSWORD) {
        let Response::Refused(refusal) = ask(None, 7, request) else { panic!("without a login") };
        assert_eq!(refusal.kind, RefusalKind::Login);
    }
    let log_in = |source| match ask(None, source, Request::Login { password: word(PASSWORD) }) {
        Response::Ticket { ticket } => ticket,
        other => panic!("the right password gives no ticket: {other:?}"),
    };
    let ticket = log_in(7);
    let mut kinds = Vec::new();
    for source in 20..60 {
        for request in all("not the password") {
            let Response::Refused(refusal) = ask(Some(&ticket), source, request) else {
                panic!("without the password")
            };
            kinds.push(refusal.kind);
        }
    }
    let looked_at = kinds.iter().filter(|kind| **kind == RefusalKind::Wrong).count();
    let waits = kinds.iter().filter(|kind| **kind == RefusalKind::Wait).count();
    assert_eq!(looked_at + waits, kinds.len(), "{kinds:?}");
    assert!((1..20).contains(&looked_at), "{looked_at} guesses of {} were looked at", kinds.len());
    assert_eq!(postern.ok(&["export"]), before, "and the daemon lives");
    // So it was the password: another login, which has guessed nothing, gets what it asks for.
    let [backup, ..] = all(PASSWORD);
    let other = log_in(8);
    assert!(matches!(ask(Some(&other), 8, backup), Response::Text { text } if !text.contains(CANARY)));
    let journal = postern.ok(&["journal"]);
    assert!(
        journal.contains("took a backup") && journal.contains("where it is asked for again"),
        "{journal}"
    );
}

#[track_caller]
fn logged_in(lab: &Lab, postern: &Postern) -> Visitor {
    let mut owner = postern.visitor(lab, "laptop1");
    let form = owner.form("/login", "password").fill("password", PASSWORD);
    assert_eq!(owner.submit("/login", &form).status, 303);
    owner
}

#[track_caller]
fn send(owner: &mut Visitor, path: &str, action: &str, fields: &[(&str, &str)]) -> Page {
    let page = owner.get(path);
    let form = Form::all(&page.body).into_iter().find(|form| form.action == action);
    let form = form.unwrap_or_else(|| panic!("{path} has no form to {action}:\n{}", page.body));
    let form = fields.iter().fold(form, |form, (name, value)| form.fill(name, value));
    owner.submit(path, &form)
}

#[test]
fn the_pages_back_up_restart_and_reset_the_box() {
    let lab = Lab::new();
    let mut postern = home(&lab);
    postern.start_web(&lab);
    let mut owner = logged_in(&lab, &postern);
    let take = [("password", SEALED_WITH), ("repeat", SEALED_WITH), ("owner", PASSWORD)];
    let backup = send(&mut owner, "/system/backup", "/system/backup/take", &take);
    assert!(backup.status == 200 && backup.body.starts_with("Postern backup 1\n"), "{}", backup.body);
    postern.set(&["passthrough.pptp.enabled=false"]);
    let paste = [("backup", backup.body.as_str()), ("password", SEALED_WITH), ("owner", PASSWORD)];
    let preview = send(&mut owner, "/system/backup", "/system/backup/restore", &paste);
    assert!(preview.body.contains("1 setting would change"), "{}", preview.body);
    let form = Form::all(&preview.body).into_iter().find(|form| form.action == "/system/backup/restore/now");
    let form = form.expect("the preview has a form").fill("password", SEALED_WITH).fill("owner", PASSWORD);
    assert_eq!(owner.submit("/system/backup", &form).status, 303);
    assert_eq!(postern.ok(&["get", "passthrough.pptp.enabled"]), "true\n");

    let restart = "/system/restart";
    let wrong = send(&mut owner, restart, restart, &[("owner", "not the password")]);
    assert_eq!(wrong.status, 422);
    let right = send(&mut owner, restart, restart, &[("owner", PASSWORD)]);
    assert_eq!((right.status, right.header("refresh")), (200, Some("5; url=/")), "{}", right.body);
    assert_eq!(postern.wait_end().code(), Some(START_AGAIN));
    assert!(answered(&lab), "the rules stay in force");
    let silent = owner.get("/");
    assert_eq!((silent.status, silent.header("refresh")), (503, Some("5; url=/")));
    postern.start_daemon();
    assert_eq!(owner.get("/").header("location"), Some("/login"));

    let mut owner = logged_in(&lab, &postern);
    let reset = "/system/restart/reset";
    let wrong = send(&mut owner, restart, reset, &[("owner", PASSWORD), ("word", "yes")]);
    assert_eq!(wrong.status, 422);
    let right = send(&mut owner, restart, reset, &[("owner", PASSWORD), ("word", "reset")]);
    assert_eq!(right.status, 200, "{}", right.body);
    assert_eq!(postern.wait_end().code(), Some(START_AGAIN));
    postern.start_daemon();
    is_factory_new(&lab, &postern);
    assert_eq!(owner.get("/").header("location"), Some("/claim"), "the page is where it was");
}

#[test]
fn a_reset_that_is_killed_half_way_is_finished_by_the_next_start() {
    let lab = Lab::new();
    let mut postern = home(&lab);
    for round in 0..6 {
        postern.ok(&["reset", "--yes"]);
        // It may be through already.
        postern.crash_daemon_if_it_runs();
        postern.start_daemon();
        is_factory_new(&lab, &postern);
        postern.claim();
        postern.set(&ROUTER_SETTINGS);
        postern.ok(&["confirm"]);
        assert!(answered(&lab), "round {round}: it can be a router again");
    }
    // Killed where the store was gone and its copy was not; and with a mark that a power cut has cut short.
    for (gone, mark) in [("postern.db", r#"{"internet":"wan0"}"#), ("last-good.json", "")] {
        postern.crash_daemon();
        lab.router().ok(&["rm", &format!("{STATE}/{gone}")]);
        lab.router().ok_with(&["tee", &format!("{STATE}/reset")], mark);
        postern.start_daemon();
        assert_eq!(postern.table(), None);
        assert_eq!(lab.router().ok(&["sysctl", "-n", "net.ipv4.ip_forward"]).trim(), "0");
        assert!(!postern.ok(&["claim-code"]).trim().is_empty());
        assert_eq!(lab.router().run(&["ls", &format!("{STATE}/reset")]).code, 2, "it is finished");
        postern.claim();
        postern.set(&ROUTER_SETTINGS);
        postern.ok(&["confirm"]);
    }
}
