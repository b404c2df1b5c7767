//! A store that was damaged in every way that flash and people know: the box comes up with what its owner has kept, or
//! closed, and its page answers.

use std::time::{Duration, Instant};

use lab::wait;
use lab::{Kind, Lab, Postern, ROUTER_SETTINGS, address};

/// What the issue promises.
const PAGE_WITHIN: Duration = Duration::from_secs(10);

/// What happens to the files of the state directory, in shell. Each has its `postern.db`, its write-ahead log and its copy.
const DAMAGES: [(&str, &str); 12] = [
    ("both files are something else", "yes lightning | head -c 40000 | tee postern.db > postern.db-wal"),
    ("both files are empty", ": > postern.db; : > postern.db-wal"),
    ("half of it is gone", "truncate -s $(($(stat -c %s postern.db) / 2)) postern.db; rm -f postern.db-wal"),
    ("the database is gone and its log is not", "rm postern.db"),
    ("both are gone", "rm -f postern.db postern.db-wal"),
    (
        "its first block is zero",
        "dd if=/dev/zero of=postern.db bs=100 count=1 conv=notrunc status=none; rm -f postern.db-wal",
    ),
    (
        "blocks in the middle are worn",
        "yes x | tr -d '\\n' | dd of=postern.db bs=1024 seek=2 count=6 conv=notrunc status=none; rm -f postern.db-wal",
    ),
    ("a directory has its name", "rm -f postern.db postern.db-wal; mkdir postern.db"),
    ("nobody may read it", "chmod 000 postern.db"),
    (
        "the newest revision means nothing",
        "sql \"UPDATE revision SET settings = json_object('role', 'king') WHERE id = (SELECT max(id) FROM revision)\"",
    ),
    ("every revision is garbled", "sql \"UPDATE revision SET settings = 'x'\""),
    (
        "it comes from a release of the future",
        "sql \"UPDATE _sqlx_migrations SET version = 99 WHERE version = 1\"",
    ),
];

/// `sql WORDS`: SQLite's own library, by Python.
const SQL: &str = "sql() { python3 -c 'import sqlite3, sys
c = sqlite3.connect(\"postern.db\"); c.execute(\"PRAGMA ignore_check_constraints = 1\"); c.execute(sys.argv[1]); c.commit(); c.close()' \"$1\"; }; ";

fn damage(lab: &Lab, how: &str) {
    lab.outer().ok(&["sh", "-euc", &format!("cd /run/postern/state; {SQL}{how}")]);
    lab.outer().ok(&["chown", "-R", "postern:postern", "/run/postern/state"]);
}

/// As after a power cut: nothing of ours is in the kernel, and something else has switched forwarding on.
fn reboot(lab: &Lab) {
    let router = lab.router();
    router.ok(&["nft", "delete", "table", "inet", "postern"]);
    for port in ["lan0", "wan0"] {
        router.ok(&["ip", "-4", "addr", "flush", "dev", port]);
    }
    router.ok(&["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
}

/// Starts the daemon; how long it took until the page answers a laptop.
#[track_caller]
fn page_after_start(lab: &Lab, postern: &mut Postern, what: &str) -> Duration {
    let began = Instant::now();
    postern.start_daemon();
    let mut visitor = postern.visitor(lab, "laptop1");
    let answered = wait::until(PAGE_WITHIN, || {
        let answer = visitor.try_request("GET", "/", "", &[]).ok()?;
        [200, 303].contains(&answer.status).then_some(())
    });
    assert!(answered.is_some(), "{what}: no page:\n{}\n{}", postern.daemon_said(), postern.web_said());
    began.elapsed()
}

#[test]
fn twelve_damages_of_the_store_and_each_time_the_box_is_what_its_owner_had_kept() {
    let lab = Lab::new();
    let mut postern = lab.postern_router();
    postern.set(&["firewall.ping=true"]);
    postern.start_web(&lab);
    let _server = lab.host("server1").echo(&[Kind::Udp(7000)]);
    let _laptop = lab.host("laptop1").echo(&[Kind::Udp(7001)]);
    let mut slowest = Duration::ZERO;
    for (what, how) in DAMAGES {
        postern.set(&["passthrough.pptp.enabled=false"]);
        postern.set(&["passthrough.pptp.enabled=true"]);
        let kept = postern.ok(&["get"]);
        postern.crash_daemon();
        damage(&lab, how);
        reboot(&lab);
        slowest = slowest.max(page_after_start(&lab, &mut postern, what));
        let now = postern.ok(&["get"]);
        // Also where the newest revision alone is damaged: the copy has it.
        assert_eq!(now, kept, "{what}");
        let status = postern.json(&["status"]);
        assert_eq!(
            (&status["rules"], &status["role"]),
            (&"loaded".into(), &"router".into()),
            "{what}: {status}"
        );
        assert!(status["notices"].to_string().contains("damaged"), "{what}: {status}");
        let served = lab.host("laptop1").probe(Kind::Udp(7000), address("server1"));
        assert_eq!(served.answered, 1, "{what}: the home has internet");
        let attack = lab.host("attacker").knock(Kind::Udp(7001), address("laptop1"));
        assert_eq!(attack.answered, 0, "{what}: it is open");
        assert!(
            !postern.cli_with(&["claim", "--password-stdin"], "another long password").ok(),
            "{what}: it is claimed still"
        );
    }
    lab::figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "damaged_store",
        &format!("12 damages of the store: the page answered after {slowest:.1?} at most"),
    );
}

#[test]
fn a_store_that_is_lost_with_its_copy_leaves_the_box_closed_and_its_page_answers() {
    let lab = Lab::new();
    let mut postern = lab.postern_router();
    postern.start_web(&lab);
    let _laptop = lab.host("laptop1").echo(&[Kind::Udp(7001)]);
    let _router = lab.router().echo(&[Kind::Tcp(7002)]);
    postern.crash_daemon();
    damage(&lab, "for f in postern.db postern.db-wal last-good.json; do echo lightning > $f; done");
    reboot(&lab);
    // Which port is the home's is not known any more: what the distribution sets is what there is.
    lab.router().ok(&["ip", "addr", "add", "192.168.1.1/24", "dev", "lan0"]);
    lab.router().ok(&["ip", "addr", "add", "198.51.100.2/24", "dev", "wan0"]);
    for start in 0..2 {
        page_after_start(&lab, &mut postern, "all is lost");
        assert!(
            postern.table().is_some_and(|table| table.contains("postern schema 2, deny")),
            "start {start}"
        );
        let status = postern.json(&["status"]);
        assert!(status["notices"].to_string().contains("factory settings"), "{status}");
        let attacker = lab.host("attacker");
        assert_eq!(attacker.knock(Kind::Udp(7001), address("laptop1")).answered, 0, "it forwards");
        assert_eq!(
            attacker.knock(Kind::Tcp(7002), address("router")).answered,
            0,
            "the internet reaches the box"
        );
        postern.crash_daemon();
    }
    postern.start_daemon();
    postern.claim();
    postern.set(&ROUTER_SETTINGS);
    postern.ok(&["confirm"]);
    assert_eq!(postern.json(&["status"])["rules"], "loaded", "set up anew, it works");
    assert!(!postern.json(&["status"])["notices"].to_string().contains("damaged"));
}

#[test]
fn where_nothing_can_be_written_the_copy_is_used_and_the_owner_is_told() {
    let lab = Lab::new();
    let mut postern = lab.postern_router();
    postern.crash_daemon();
    damage(&lab, "echo lightning > postern.db; rm -f postern.db-wal");
    lab.outer().ok(&["mount", "--bind", "/run/postern/state", "/run/postern/state"]);
    lab.outer().ok(&["mount", "-o", "remount,ro,bind", "/run/postern/state"]);
    postern.start_daemon();
    let status = postern.json(&["status"]);
    assert_eq!((&status["role"], &status["rules"]), (&"router".into(), &"loaded".into()), "{status}");
    assert!(status["notices"].to_string().contains("Nothing can be written"), "{status}");
}
