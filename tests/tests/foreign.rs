//! Somebody else edits our table: it is noticed, said, and mended on a word. Other tables are nobody's business.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use lab::{Form, Kind, Lab, PASSWORD, Postern, address, figures, parts, wait};
use postern::door::messages::Rules;

/// Longer than the log needs to say it.
const NOTICED: Duration = Duration::from_secs(5);
const WARNING: &str = "somebody else has changed Postern's rules";

/// What somebody may do to our table: in words, as nft's input, and what the status says then.
const EDITS: [(&str, &str, Rules); 12] = [
    ("a rule added", "add rule inet postern forward accept", Rules::Edited),
    ("a rule inserted first", "insert rule inet postern input tcp dport 23 accept", Rules::Edited),
    ("a rule added without a meaning", "add rule inet postern related counter", Rules::Edited),
    ("the policy turned", "add chain inet postern forward { policy accept; }", Rules::Edited),
    ("a chain flushed", "flush chain inet postern input", Rules::Edited),
    ("the table flushed", "flush table inet postern", Rules::Edited),
    ("a counter deleted", "flush table inet postern; delete counter inet postern pptp_passed", Rules::Edited),
    (
        "a chain of its own added",
        "add chain inet postern theirs { type filter hook forward priority -5; policy drop; }",
        Rules::Edited,
    ),
    ("a set added", "add set inet postern theirs { type ipv4_addr; }", Rules::Edited),
    ("a counter added", "add counter inet postern theirs", Rules::Edited),
    ("the table deleted", "delete table inet postern", Rules::Missing),
    (
        "a table of the same name in its place",
        "delete table inet postern; add table inet postern",
        Rules::Edited,
    ),
];

/// Our table as it is loaded.
fn table(postern: &Postern) -> BTreeSet<String> {
    parts(&postern.table().unwrap_or_default())
}

fn warnings(postern: &Postern) -> usize {
    postern.daemon_said().matches(WARNING).count()
}

/// Deletes the last rule of `chain`, and so a drop that the policy repeats.
fn delete_last_rule(lab: &Lab, chain: &str) {
    let listing = lab.router().ok(&["nft", "-a", "list", "chain", "inet", "postern", chain]);
    let handles = listing.lines().filter(|line| line.starts_with("\t\t") && !line.contains(" hook "));
    let last = handles.rev().find_map(|line| line.rsplit_once("# handle "));
    let (_, handle) = last.unwrap_or_else(|| panic!("{chain} has no rule:\n{listing}"));
    lab.router().ok(&["nft", "delete", "rule", "inet", "postern", chain, "handle", handle]);
}

#[test]
fn every_edit_of_our_table_is_shown_at_once_said_within_five_seconds_and_mended_exactly() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    postern.set(&["passthrough.pptp.enabled=true"]);
    let owner = postern.owner();
    let rules = table(&postern);
    let (mut slowest, mut said) = (Duration::ZERO, warnings(&postern));
    assert_eq!(said, 0, "nothing was edited yet:\n{}", postern.daemon_said());
    let deleted = ("a rule deleted", "", Rules::Edited);
    // A table that is gone is loaded again without a word: below.
    let edits = EDITS.into_iter().filter(|(_, _, wanted)| *wanted == Rules::Edited);
    for (what, edit, wanted) in edits.chain([deleted]) {
        let edited = Instant::now();
        match edit {
            "" => delete_last_rule(&lab, "forward"),
            edit => drop(lab.router().ok_with(&["nft", "-f", "-"], edit)),
        }
        assert_eq!(owner.status().rules, wanted, "{what}: shown at once");
        let heard = wait::until(wait::SOON, || (warnings(&postern) > said).then_some(()));
        assert!(heard.is_some(), "{what}: the log does not say it");
        slowest = slowest.max(edited.elapsed());
        postern.ok(&["mend"]);
        assert_eq!(table(&postern), rules, "{what}: mended exactly");
        assert_eq!(owner.status().rules, Rules::Loaded, "{what}: mended");
        said += 1;
        assert_eq!(warnings(&postern), said, "{what}: said once");
    }
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "foreign",
        &format!(
            "{} foreign edits\n  all shown at once, in the log {} ms at most after the edit",
            said,
            slowest.as_millis()
        ),
    );
}

#[test]
fn a_table_that_somebody_removes_is_there_again_by_itself_and_what_it_forbids_stays_outside() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    postern.set(&["passthrough.pptp.enabled=true"]);
    let (rules, router) = (table(&postern), lab.router());
    let _listens = router.echo(&[Kind::Tcp(2222)]);
    let outside = || lab.host("attacker").knock(Kind::Tcp(2222), address("router")).answered;
    router.ok(&["nft", "insert", "rule", "inet", "postern", "input", "tcp", "dport", "2222", "accept"]);
    assert_eq!(outside(), 1, "the probe: it is seen where it is let in");
    // What `systemctl stop nftables` of Debian runs.
    router.ok(&["nft", "flush", "ruleset"]);
    let back = wait::until(wait::SOON, || (table(&postern) == rules).then_some(()));
    assert!(back.is_some(), "nobody has loaded it again:\n{}", postern.daemon_said());
    assert_eq!(outside(), 0, "it forbids what it did");
    let said = wait::until(wait::SOON, || postern.daemon_said().contains("it is loaded again").then_some(()));
    assert!(said.is_some(), "{}", postern.daemon_said());
    assert_eq!(postern.owner().status().rules, Rules::Loaded);
    assert!(postern.ok(&["journal"]).contains("had removed its table"), "{}", postern.ok(&["journal"]));
}

/// A refill keeps what the last daemon's rules have learnt, and so it keeps chains that are not ours; then the status says so.
/// A set or a counter that no rule names does nothing, and nor does the comment that the kernel keeps from a table's first day.
#[test]
fn a_daemon_that_starts_on_an_edited_table_makes_it_its_own_or_says_that_it_is_not() {
    let lab = Lab::new();
    let mut postern = lab.postern_router();
    let idle = |part: &str| {
        ["\tset theirs {", "\tcounter theirs {", "\tcomment "].iter().any(|p| part.starts_with(p))
    };
    let active =
        |postern: &Postern| table(postern).into_iter().filter(|part| !idle(part)).collect::<BTreeSet<_>>();
    let rules = active(&postern);
    for (what, edit, _) in EDITS {
        postern.crash_daemon();
        lab.router().ok_with(&["nft", "-f", "-"], edit);
        postern.start_daemon();
        let (now, says) = (active(&postern), postern.owner().status().rules);
        assert_eq!(says, if now == rules { Rules::Loaded } else { Rules::Edited }, "{what}");
        assert!(now.is_superset(&rules), "{what}: all that is ours is loaded: {now:?}");
        postern.ok(&["mend"]);
        let mut mended = table(&postern);
        mended.retain(|part| !idle(part));
        assert_eq!(
            (mended, postern.owner().status().rules),
            (rules.clone(), Rules::Loaded),
            "{what}: mended"
        );
    }
}

#[test]
fn edits_of_other_tables_are_neither_touched_nor_reported() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let (router, owner) = (lab.router(), postern.owner());
    let theirs = "table inet theirs { chain f { type filter hook forward priority 5; policy accept; udp dport 9 drop; }\n}
        table ip postern { chain input { type filter hook input priority 5; policy accept; tcp dport 9 drop; }\n}";
    router.ok_with(&["nft", "-f", "-"], theirs);
    let listing = |family: &str, name: &str| router.ok(&["nft", "-s", "list", "table", family, name]);
    let before = (listing("inet", "theirs"), listing("ip", "postern"));
    for _ in 0..5 {
        router.ok(&["nft", "add", "rule", "inet", "theirs", "f", "counter"]);
        assert_eq!(owner.status().rules, Rules::Loaded);
        router.ok(&["nft", "flush", "chain", "inet", "theirs", "f"]);
        router.ok(&["nft", "add", "rule", "inet", "theirs", "f", "udp", "dport", "9", "drop"]);
        postern.set(&["passthrough.pptp.enabled=true"]);
        postern.ok(&["mend"]);
        postern.set(&["passthrough.pptp.enabled=false"]);
    }
    let warned = wait::until(NOTICED, || (warnings(&postern) > 0).then_some(()));
    assert!(warned.is_none(), "somebody else's table was reported:\n{}", postern.daemon_said());
    assert_eq!((listing("inet", "theirs"), listing("ip", "postern")), before);
}

#[test]
fn the_page_shows_the_edit_and_mends_it_on_a_click() {
    let lab = Lab::new();
    let mut postern = lab.postern_router();
    postern.start_web(&lab);
    let mut visitor = postern.visitor(&lab, "laptop1");
    let login = visitor.form("/login", "password").fill("password", PASSWORD);
    assert_eq!(visitor.submit("/login", &login).status, 303);
    let shows = |body: &str, state: &str| body.contains(&format!("data-rules=\"{state}\""));
    let page = visitor.get("/");
    assert!(shows(&page.body, "working") && !page.body.contains("data-mend"), "{}", page.body);
    let rules = table(&postern);
    lab.router().ok(&["nft", "add", "rule", "inet", "postern", "forward", "accept"]);
    let page = visitor.get("/");
    assert!(shows(&page.body, "differs") && page.body.contains("data-mend"), "{}", page.body);
    let button = Form::all(&page.body).into_iter().find(|form| form.action.contains("mend"));
    let button = button.unwrap_or_else(|| panic!("the page offers no way to mend it:\n{}", page.body));
    assert_eq!(visitor.submit("/", &button).status, 303);
    let page = visitor.get("/");
    assert!(shows(&page.body, "working") && !page.body.contains("data-mend"), "{}", page.body);
    assert_eq!(table(&postern), rules);
}
