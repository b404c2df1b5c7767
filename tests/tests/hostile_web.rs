//! The web process is somebody else's, with the owner's ticket in its hand. What the daemon must keep all the same.

use std::time::Duration;

use lab::{Kind, Lab, PASSWORD, Postern, ROUTER_SETTINGS, Random, address, figures, wait};
use serde_json::Value;

/// Somebody else's rules, which nothing of ours may touch.
const FOREIGN: &str =
    "table inet foreign {\n\tchain kept {\n\t\tcounter packets 0 bytes 0 comment \"not ours\"\n\t}\n}\n";
/// Random messages; the number of `POSTERN_HOSTILE` if it is set.
const RANDOM: u64 = 100_000;
/// So many at a time.
const PART: u64 = 20_000;

/// What the taken over process was answered.
fn hostile(lab: &Lab, ticket: Option<&str>, more: &[&str]) -> Value {
    let words = ["--reuid", "postern-web", "--regid", "postern-web", "--init-groups", "--inh-caps=-all"];
    let call = ["postern-lab", "hostile", "/run/postern/door/web.sock"];
    let who = ticket.map_or(["--password", PASSWORD], |ticket| ["--ticket", ticket]);
    let told = lab.router().ok(&[&["setpriv"][..], &words, &call, &who, more].concat());
    serde_json::from_str(&told).expect("one line of JSON")
}

fn memory(postern: &Postern) -> u64 {
    let field = postern.daemon_status("VmRSS");
    field.split(' ').next().and_then(|kb| kb.parse().ok()).expect("a number of kB")
}

/// After a storm: the same daemon, its rules, nobody else's touched, and the home closed.
fn all_is_kept(lab: &Lab, postern: &Postern, pid: &str, what: &str) {
    assert_eq!(postern.daemon_status("Pid"), pid, "{what}: the daemon died");
    assert!(!postern.daemon_said().contains("panicked"), "{what}: the daemon panicked");
    assert_eq!(lab.router().ok(&["nft", "list", "table", "inet", "foreign"]), FOREIGN, "{what}");
    let tables = lab.router().ok(&["nft", "list", "tables"]);
    assert_eq!(tables.lines().count(), 2, "{what}: {tables}");
    assert!(!lab.router().run(&["ls", "/run/intruder"]).ok(), "{what}: a program was started");
    // The owner puts his settings back; a trial that was begun goes by itself or by his word.
    let _ = postern.cli(&["confirm"]);
    let back = wait::until(Duration::from_secs(20), || {
        let set = postern.cli(&[&["set"][..], &ROUTER_SETTINGS].concat());
        (set.ok() && postern.cli(&["confirm"]).ok()).then_some(())
    });
    assert!(back.is_some(), "{what}: the owner cannot set anything");
    let status = postern.json(&["status"]);
    assert_eq!(status["rules"], "loaded", "{what}");
    let table = postern.table().expect("our table");
    for chain in ["forward", "input"] {
        let body =
            table.split(&format!("chain {chain} {{")).nth(1).and_then(|rest| rest.split("\n\t}").next());
        assert!(body.is_some_and(|body| body.contains("policy drop")), "{what}: {chain} is open");
    }
    lab.hostile_provider();
    let kinds = [Kind::Udp(7000), Kind::Tcp(7000), Kind::Tcp(80), Kind::Tcp(22), Kind::Ip(47)];
    let (laptop, router) = (lab.host("laptop1").echo(&kinds), lab.router().echo(&kinds[..2]));
    for kind in kinds {
        for to in [address("laptop1"), address("router"), [192, 168, 1, 1].into()] {
            assert_eq!(lab.host("attacker").knock(kind, to).answered, 0, "{what}: {kind} to {to}");
        }
    }
    assert!(laptop.heard().is_empty() && router.heard().is_empty(), "{what}: something came in");
}

#[test]
fn a_web_process_that_says_anything_changes_nothing_but_settings_and_ends_nothing() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    lab.router().ok_with(&["nft", "-f", "-"], FOREIGN);
    let pid = postern.daemon_status("Pid");
    // The probe sees a home that is open.
    let open = lab.host("laptop1").echo(&[Kind::Udp(7000)]);
    assert!(
        lab.host("laptop2").ask(Kind::Udp(7000), address("laptop1")).answered > 0 && !open.heard().is_empty()
    );
    drop(open);

    let crafted = hostile(&lab, None, &[]);
    let of = |told: &Value, word: &str| told["answers"][word].as_u64().unwrap_or_default();
    assert!(
        of(&crafted, "refused invalid") > 100 && of(&crafted, "done") > 0,
        "it proves nothing: {crafted}"
    );
    assert!(of(&crafted, "refused forbidden") > 0 && of(&crafted, "thrown out") > 5, "{crafted}");
    assert_eq!(of(&crafted, "silence"), 0, "{crafted}");
    // Export and rules, each once with the ticket and never without.
    assert_eq!(of(&crafted, "text"), 2, "{crafted}");
    all_is_kept(&lab, &postern, &pid, "crafted messages");

    let before = memory(&postern);
    let number = std::env::var("POSTERN_HOSTILE").ok().and_then(|n| n.parse().ok()).unwrap_or(RANDOM);
    let seed = Random::new().below(u64::MAX / 2);
    let mut thrown_out = 0;
    // One login for all of them: wrong passwords are among the messages, and the next one has to wait longer and longer.
    let mut ticket = crafted["ticket"].as_str().map(str::to_owned);
    // In parts, each of which a busy machine can do in the minute that a program of the lab may take.
    for part in 0..number.div_ceil(PART) {
        let seed = (seed + part).to_string();
        let random = hostile(&lab, ticket.as_deref(), &["--random", &PART.to_string(), "--seed", &seed]);
        ticket = random["ticket"].as_str().map(str::to_owned);
        assert_eq!(
            (random["sent"].as_u64(), of(&random, "silence")),
            (Some(PART), 0),
            "seed {seed}: {random}"
        );
        thrown_out += of(&random, "thrown out");
    }
    all_is_kept(&lab, &postern, &pid, &format!("random messages, seed {seed}"));
    let grown = memory(&postern).saturating_sub(before);
    assert!(grown < 32 * 1024, "the daemon grew by {grown} kB");
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "hostile_web",
        &format!(
            "{} crafted and {number} random messages of a hostile web process: nothing open, nothing ended, {grown} kB more;\n  crafted: {}\n  random: thrown out {thrown_out} times",
            crafted["sent"], crafted["answers"]
        ),
    );
}
