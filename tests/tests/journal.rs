//! The journal over HTTP and on the command line: what was really done, by whom, and what guests of the home cannot do to it.

use lab::wait::{self, SOON};
use lab::{Kind, Lab, PASSWORD, Postern, Visitor, address};
use serde_json::Value;

const PAGE: &str = "/system/journal";

/// Lines of this kind, newest first, as sentences.
#[track_caller]
fn lines(postern: &Postern, kind: &str) -> Vec<String> {
    let page = postern.json(&["journal", "--kind", kind, "--limit", "200"]);
    let entries = page["entries"].as_array().cloned().unwrap_or_default();
    let said = |one: &Value| {
        let word = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
        format!("{} ({}) {} x{}", word("who"), word("via"), word("what"), one["times"])
    };
    entries.iter().map(said).collect()
}

fn log_in(visitor: &mut Visitor, password: &str) -> u16 {
    let form = visitor.form("/login", "password").fill("password", password);
    visitor.submit("/login", &form).status
}

#[test]
fn what_the_owner_does_and_what_is_refused_stands_in_the_journal_and_survives_a_restart() {
    let lab = Lab::new();
    let mut postern = lab.postern_router();
    postern.start_web(&lab);
    let mut owner = postern.visitor(&lab, "laptop1");
    assert_eq!(log_in(&mut owner, PASSWORD), 303);
    let form = owner.form("/security/vpn-passthrough", "passthrough.pptp.enabled");
    assert_eq!(
        owner.submit("/security/vpn-passthrough", &form.tick("passthrough.pptp.enabled", true)).status,
        303
    );
    let mut guesser = postern.visitor(&lab, "laptop2");
    let tries = 40;
    for guess in 0..tries {
        assert_ne!(log_in(&mut guesser, &format!("guess number {guess}")), 303);
    }
    assert_eq!(owner.press("/", "/logout").status, 303);

    let logins = lines(&postern, "login");
    assert_eq!(
        logins,
        [
            "owner (192.168.1.101) logged out x1",
            "owner (192.168.1.101) logged in x1",
            "root (command line) took this box x1"
        ]
    );
    let refused = lines(&postern, "refused");
    assert_eq!(refused.len(), 2, "{tries} tries are two lines: wrong, and told to wait: {refused:?}");
    let counted: u32 = refused.iter().filter_map(|line| line.rsplit_once('x')?.1.parse::<u32>().ok()).sum();
    assert_eq!(counted, tries, "every one is counted: {refused:?}");
    assert!(refused.iter().all(|line| line.starts_with("somebody (192.168.1.102) ")), "{refused:?}");
    let change = &postern.json(&["journal", "--kind", "change", "--limit", "1"])["entries"][0];
    assert_eq!((&change["who"], &change["via"]), (&"owner".into(), &"192.168.1.101".into()), "{change:#}");
    let changed = serde_json::json!({
        "key": "passthrough.pptp.enabled", "before": "false", "after": "true"
    });
    assert_eq!(change["changes"][0], changed, "{change:#}");
    assert!(postern.ok(&["journal", "--filter", "pptp.enabled"]).contains("false → true"));

    let before = postern.json(&["journal"])["total"].as_u64().unwrap_or_default();
    postern.end_daemon();
    postern.start_daemon();
    let after = postern.json(&["journal"])["total"].as_u64().unwrap_or_default();
    assert_eq!(after, before + 2, "its end and its start");
    assert_eq!(lines(&postern, "refused"), refused, "sums are written before the end");
}

#[test]
fn a_trial_that_lapses_and_a_foreign_edit_with_its_mend_are_told() {
    let lab = Lab::new();
    let postern = lab.postern_with(&[("POSTERN_TRIAL_SECONDS", "8")]);
    postern.set(&lab::ROUTER_SETTINGS);
    let lapsed = wait::until(3 * SOON, || {
        let said = lines(&postern, "trial");
        said.iter()
            .any(|line| line.contains("took back revision 1: nobody confirmed it in time"))
            .then_some(())
    });
    assert!(lapsed.is_some(), "{:?}", lines(&postern, "trial"));
    postern.set(&lab::ROUTER_SETTINGS);
    postern.ok(&["confirm"]);
    assert_eq!(lines(&postern, "trial")[0], "root (command line) confirmed revision 2 x1");
    lab.router().ok(&["nft", "add", "chain", "inet", "postern", "foreign"]);
    let seen = wait::until(SOON, || (!lines(&postern, "foreign").is_empty()).then_some(()));
    assert!(seen.is_some(), "somebody else's chain is seen");
    postern.ok(&["mend"]);
    let said = lines(&postern, "foreign");
    assert!(said.len() == 2 && said[0].starts_with("root (command line) put the rules"), "{said:?}");
}

#[test]
fn blocked_attempts_are_one_line_with_a_count_and_no_server() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let tries = |count: u32| {
        for _ in 0..count {
            let _ = lab.host("laptop1").probe(Kind::Tcp(1723), address("server1"));
        }
    };
    tries(3);
    let one = "a device (192.168.1.101, 02:00:00:00:01:65) tried PPTP, which is refused here x";
    assert_eq!(lines(&postern, "attempt"), [format!("{one}3")]);
    assert_eq!(lines(&postern, "attempt"), [format!("{one}3")], "looking counts nothing");
    tries(2);
    assert_eq!(lines(&postern, "attempt"), [format!("{one}5")]);
    let all = postern.ok(&["journal", "--kind", "attempt"]);
    assert!(all.contains("tried PPTP, which is refused here, 5 times"), "{all}");
    assert!(!all.contains(&address("server1").to_string()), "no destination is written: {all}");
}

#[test]
fn a_hostile_host_name_is_text_on_the_page_in_the_file_and_on_the_terminal() {
    let lab = Lab::new();
    let mut postern = lab.postern_router();
    postern.start_web(&lab);
    // dnsmasq takes no such name; whoever stands in its place, or a later version, might.
    let lease = "2000000000 02:00:00:00:01:67 192.168.1.103 =<img_src=x>\u{1b}[2J\u{202e}\"owner *\n";
    lab.outer().write("/run/postern/state/programs/dnsmasq.leases", lease);
    let _ = lab.host("phone").probe(Kind::Tcp(1723), address("server1"));
    let said = lines(&postern, "attempt");
    assert!(said.len() == 1 && said[0].contains("<img_src=x>"), "the probe: its name arrived: {said:?}");
    assert!(said[0].starts_with('\u{201c}') && !said[0].chars().any(char::is_control), "{said:?}");
    assert!(!postern.ok(&["journal"]).contains('\x1b'));

    let mut owner = postern.visitor(&lab, "laptop1");
    assert_eq!(log_in(&mut owner, PASSWORD), 303);
    let page = owner.get(PAGE).body;
    assert!(page.contains("&#60;img_src=x&#62;") && !page.contains("<img"), "{page}");
    let file = owner.get("/system/journal/download?kind=attempt");
    assert_eq!(file.header("content-type"), Some("text/csv; charset=utf-8"));
    let line = file.body.lines().nth(1).unwrap_or_default();
    assert_eq!(line.matches("\",\"").count(), 7, "eight cells: {line}");
    assert!(line.contains("<img_src=x>") && file.body.lines().count() == 2, "{}", file.body);
    let mut stranger = postern.visitor(&lab, "laptop2");
    for path in [PAGE, "/system/journal/download"] {
        let answer = stranger.get(path);
        assert!(answer.status == 303 && !answer.body.contains("owner"), "{path}: {}", answer.status);
    }
}
