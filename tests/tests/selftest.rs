//! The self-test: what it says of this kernel as root, as a user and at the daemon's page; and that it fails where something does.
//!
//! A self-test that cannot fail proves nothing: each experiment is given rules with one thing wrong, by the function that takes them.

use std::time::Duration;

use lab::wait::{self, SOON};
use lab::{Lab, PASSWORD, figures};
use postern::kernel::scratch;
use postern::ruleset::Capabilities;
use postern::selftest::{Outcome, Subject, Tested, our_rules, run};
use postern::settings::{Passthrough, Settings};
use serde_json::Value;

/// It promises 60 s at most; a debug build on a busy machine gets twice that.
const END: Duration = Duration::from_secs(120);

/// Everything on.
fn passthrough() -> Passthrough {
    let mut passthrough = Passthrough::default();
    passthrough.pptp.enabled = true;
    passthrough
}

/// The results under these rules, in a thread that is not in the network of whoever runs the tests.
fn under(rules: impl Fn(&Settings, &Capabilities) -> String + Send + Sync) -> Vec<Tested> {
    let mut results = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            scratch::enter().expect("root may make network namespaces");
            run(&passthrough(), &rules, |tested| results.push(tested));
        });
    });
    assert_eq!(results.iter().map(|tested| tested.subject).collect::<Vec<_>>(), Subject::ALL);
    results
}

fn failing(results: &[Tested]) -> Vec<Subject> {
    results.iter().filter(|tested| tested.outcome == Outcome::Fails).map(|tested| tested.subject).collect()
}

/// Our rules without the lines of which `wrong` says so; there must be some.
fn without(wrong: impl Fn(&str) -> bool + Send + Sync + Copy) -> Vec<Tested> {
    let cut = std::sync::atomic::AtomicUsize::new(0);
    let results = under(|settings, capabilities| {
        let text = our_rules(settings, capabilities);
        let kept: Vec<&str> = text.lines().filter(|line| !wrong(line)).collect();
        cut.fetch_add(text.lines().count() - kept.len(), std::sync::atomic::Ordering::Relaxed);
        kept.join("\n") + "\n"
    });
    assert_ne!(cut.into_inner(), 0, "the rules have no such line any more: this test proves nothing");
    results
}

#[test]
fn with_our_rules_everything_works_on_this_kernel() {
    let results = under(our_rules);
    for tested in &results {
        println!("{:?} {:?}: {}", tested.subject, tested.outcome, tested.words);
    }
    assert!(results.iter().all(|tested| tested.outcome == Outcome::Works), "{results:#?}");
}

#[test]
fn each_feature_that_is_broken_is_told_and_no_other() {
    type Wrong = fn(&str) -> bool;
    let broken: [(&str, Wrong, &[Subject]); 5] = [
        ("no helper for PPTP is attached", |line| line.contains("ct helper set \"pptp\""), &[Subject::Pptp]),
        ("an L2TP server may not move", |line| line.contains("map @l2tp_back comment"), &[Subject::L2tp]),
        ("clients have no zones", |line| line.contains("ct zone set"), &[Subject::Ike, Subject::Esp]),
        (
            "nothing is translated",
            |line| line.contains("masquerade"),
            &[Subject::Pptp, Subject::L2tp, Subject::Ike, Subject::Esp, Subject::NatTraversal],
        ),
        (
            "what is off is not refused",
            |line| line.contains("_refused") && (line.contains("reject") || line.contains("drop")),
            &[Subject::PptpOff, Subject::L2tpOff, Subject::IpsecOff],
        ),
    ];
    let mut table = String::new();
    for (what, wrong, expected) in broken {
        let results = without(wrong);
        for tested in &results {
            println!("{what}: {:?} {:?}: {}", tested.subject, tested.outcome, tested.words);
        }
        let failing = failing(&results);
        table += &format!("{what:<36} {failing:?}\n");
        for subject in expected {
            assert!(failing.contains(subject), "{what}: {subject:?} was not told: {results:#?}");
        }
        assert_eq!(failing.len(), expected.len(), "{what}: {results:#?}");
    }
    print!("{table}");
    figures::keep(env!("CARGO_TARGET_TMPDIR"), "selftest", &table);
}

#[test]
fn rules_that_let_nothing_through_do_not_pass_for_off() {
    let results = under(|settings, _| postern::ruleset::deny(settings).to_string());
    assert_eq!(failing(&results).len() + untested(&results), Subject::ALL.len(), "{results:#?}");
    assert!(!results.iter().any(|tested| tested.outcome == Outcome::Works), "{results:#?}");
}

fn untested(results: &[Tested]) -> usize {
    results.iter().filter(|tested| tested.outcome == Outcome::Untested).count()
}

/// Devices, addresses, routes and rules of the router, which must stay as they are. Not what its rules count and learn of whoever opens
/// the page.
fn state(lab: &Lab) -> String {
    let script = "ip -br link; ip -br address; ip route; nft -s list ruleset; sysctl net.ipv4.ip_forward";
    lab::without_learnt(&lab.router().ok(&["sh", "-c", script]))
}

#[test]
fn without_a_daemon_it_runs_as_root_and_as_a_user_and_touches_nothing() {
    let lab = Lab::new();
    let before = state(&lab);
    let user = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"];
    for who in [&[][..], &user[..]] {
        let words =
            [who, &["postern", "--door", "/nowhere", "selftest", "passthrough.pptp.enabled=true"]].concat();
        let output = lab.router().run(&words);
        println!("{}{}", output.out, output.err);
        assert!(output.err.contains("factory settings"), "{}", output.err);
        assert_eq!(
            (output.code, output.out.matches("  works ").count()),
            (0, 8),
            "{}{}",
            output.out,
            output.err
        );
    }
    // Off is off, and no failure.
    let output = lab.router().run(&[
        "postern",
        "--door",
        "/nowhere",
        "selftest",
        "--json",
        "passthrough.ipsec.enabled=false",
    ]);
    let results: Vec<Value> = serde_json::from_str(&output.out).expect("JSON");
    let off = results.iter().filter(|one| one["outcome"] == "switched_off").count();
    assert_eq!((output.code, off), (0, 4), "{}", output.out);
    let wrong =
        lab.router().run(&["postern", "--door", "/nowhere", "selftest", "passthrough.pptp.enabled=perhaps"]);
    assert_eq!(wrong.code, 1, "{}", wrong.out);
    assert_eq!(state(&lab), before);
}

#[test]
fn where_namespaces_are_forbidden_it_says_so_and_what_to_run() {
    let lab = Lab::new();
    // A user namespace that allows none inside: the same error as where the owner of the box has set it.
    let script = "echo 0 > /proc/sys/user/max_user_namespaces && exec setpriv --bounding-set=-all --inh-caps=-all \
                  --ambient-caps=-all postern --door /nowhere selftest";
    for (user, advice) in [("0", "no network namespaces"), ("65534", "Run it as root: postern selftest")] {
        let namespace =
            ["unshare", "--user", "--map-user", user, "--map-group", user, "--keep-caps", "sh", "-c", script];
        let output = lab.router().run(&namespace);
        println!("{}{}", output.out, output.err);
        assert_eq!(output.code, 1);
        assert_eq!(output.out.matches("not tested").count(), 8, "{}", output.out);
        assert_eq!(output.out.matches(advice).count(), 8, "{}", output.out);
        assert!(output.err.contains("8 of 8 could not be tested here"), "{}", output.err);
    }
}

#[test]
fn killed_it_leaves_no_process_and_no_network() {
    let lab = Lab::new();
    let mut process = lab.router().spawn(&["postern", "--door", "/nowhere", "selftest"]);
    process.wait_for_line("1/8", END);
    let running = || lab.outer().run(&["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]).out;
    assert!(running().contains("postern-selftest"), "the probe sees its process: {}", running());
    process.signal(rustix::process::Signal::KILL);
    let gone = wait::until(SOON, || (!running().contains("postern-selftest")).then_some(()));
    assert!(gone.is_some(), "{}", running());
}

#[test]
fn the_owner_presses_a_button_and_reads_what_the_daemon_has_proved() {
    let lab = Lab::new();
    let mut postern = lab.postern_router();
    postern.set(&["passthrough.pptp.enabled=true"]);
    postern.start_web(&lab);
    let mut visitor = postern.visitor(&lab, "laptop1");
    let login = visitor.form("/login", "password");
    visitor.submit("/login", &login.fill("password", PASSWORD));
    let before = state(&lab);
    visitor.press("/diagnose", "/diagnose/self-test");
    let running = visitor.get("/diagnose/self-test");
    assert!(
        running.body.contains("Running") && running.body.contains("http-equiv=\"refresh\""),
        "{}",
        running.body
    );
    let done = wait::until(END, || {
        let page = visitor.get("/diagnose/self-test");
        (!page.body.contains("Running")).then_some(page.body)
    });
    let done = done.expect("it ends");
    assert!(done.contains("All works"), "{done}");
    assert_eq!(done.matches("> Works<").count(), 8, "{done}");
    assert_eq!(state(&lab), before);
}
