//! PPPoE: the daemon, the root unit, and what a home sees of a session. This kernel has no PPP: pppd and the provider are stand-ins
//! (`stand-ins/pppd-pppoe` says what they are); only the options are tried with the real pppd.

use lab::wait::{self, SOON};
use lab::{Host, Kind, Lab, Postern, Process, address};

const STAND_IN: &str = include_str!("../stand-ins/pppd-pppoe");
const BY_PPPOE: [&str; 6] = [
    "role=router",
    "internet.device=wan0",
    "internet.mode=pppoe",
    "internet.pppoe.user=0815#0001@provider.example",
    "internet.pppoe.password=s3 cret'#",
    "local_network.devices=lan0",
];
const LIVE: Kind = Kind::Udp(9000);
const OPTIONS: &str = "/run/postern-pppoe/pppd.options";

struct Line {
    lab: Lab,
    postern: Postern,
    unit: Option<Process>,
    provider: Option<Process>,
}

impl Line {
    /// A router that wants a session. Neither its root unit nor a provider is there.
    fn new() -> Self {
        let lab = Lab::new();
        let stand_in = lab.script("pppd-pppoe", STAND_IN);
        lab.outer().ok(&["mount", "--bind", &stand_in, "/usr/sbin/pppd"]);
        // What the wire's own network has would answer without a session.
        lab.host("internet").ok(&["ip", "addr", "flush", "dev", "customer"]);
        let postern = lab.postern();
        postern.claim();
        postern.set(&BY_PPPOE);
        postern.ok(&["confirm"]);
        Self { lab, postern, unit: None, provider: None }
    }

    /// Starts the root unit, as a service manager would.
    fn start_unit(&mut self) {
        self.unit = None;
        self.unit = Some(self.router().spawn(&["postern", "pppoe", "--door", "/run/postern/door"]));
    }

    fn router(&self) -> Host {
        self.lab.router()
    }

    /// From now on the provider knows this account and gives it this address.
    fn provides(&mut self, password: &str, theirs: &str) {
        self.provider = None;
        let user = "0815#0001@provider.example";
        let words = [
            "/usr/sbin/pppd",
            "provider",
            "customer",
            user,
            password,
            "198.51.100.1",
            theirs,
            "203.0.113.10,127.0.0.1",
        ];
        let mut provider = self.lab.host("internet").spawn(&words);
        provider.wait_for_line("ready", SOON);
        self.provider = Some(provider);
    }

    /// With the account as it is.
    fn connected(theirs: &str) -> Self {
        let mut line = Self::new();
        line.provides("s3 cret'#", theirs);
        line.start_unit();
        line.wait_for("the session is up", || line.state()["lease"]["address"] == format!("{theirs}/32"));
        line
    }

    fn state(&self) -> serde_json::Value {
        self.postern.json(&["status"])["internet_state"].clone()
    }

    fn route(&self) -> String {
        self.router().ok(&["ip", "-4", "route", "show", "default"])
    }

    #[track_caller]
    fn wait_for(&self, what: &str, holds: impl Fn() -> bool) {
        let waited = wait::until(SOON * 4, || holds().then_some(()));
        let said = self.unit.as_ref().map(Process::said).unwrap_or_default();
        assert!(
            waited.is_some(),
            "{what}: {}\n{}\n{said}\n{}",
            self.route(),
            self.state(),
            self.postern.daemon_said()
        );
    }
}

#[test]
fn a_home_browses_through_a_session_and_nothing_else_gets_in_or_past_it() {
    let line = Line::connected("198.51.100.50");
    line.wait_for("the route is the session's", || {
        line.route().contains("via 198.51.100.1 dev pppoe-internet")
    });
    let _server = line.lab.host("server1").echo(&[LIVE]);
    line.lab.host("laptop1").flow(LIVE, address("server1")).wait_answers(5);
    let entries = line.router().run(&["conntrack", "-L", "-q", "198.51.100.50"]).out;
    assert!(entries.contains("9000"), "it leaves with the session's address");
    let state = line.state();
    assert_eq!(state["pppoe"]["is"], "up");
    assert_eq!(state["lease"]["dns"], serde_json::json!(["203.0.113.10"]), "not this box itself");
    assert_eq!(state["behind"], serde_json::Value::Null);
    let table = line.postern.table().expect("the rules are loaded");
    assert!(!table.contains("oifname \"wan0\"") && table.contains("oifname \"pppoe-internet\""), "{table}");
    assert!(table.contains("maxseg size set rt mtu"), "segments fit the session");
    assert_eq!(line.postern.json(&["status"])["needs_mending"], false);
    let reaches = |port: &str| {
        let words = ["curl", "--silent", "--max-time", "2", "--output", "/dev/null", port];
        line.lab.host("internet").run(&words).ok()
    };
    let listens = line.router().spawn(&["python3", "-m", "http.server", "8099"]);
    let open = ["nft", "insert", "rule", "inet", "postern", "input", "tcp", "dport", "8099", "accept"];
    let shut = wait::until(SOON, || (!reaches("http://198.51.100.50:8099/")).then_some(()));
    assert!(shut.is_some(), "the internet reaches the router through the session");
    line.router().ok(&open);
    line.wait_for("the probe sees an open port", || reaches("http://198.51.100.50:8099/"));
    drop(listens);
    // Who may what.
    let mode = |path: &str| line.lab.outer().ok(&["stat", "-c", "%U %a", path]).trim().to_owned();
    assert_eq!(mode(OPTIONS), "root 600");
    assert_eq!(mode("/run/postern/door/services/pppoe.json"), "postern 600");
    assert_eq!(mode("/run/postern-pppoe"), "root 755");
}

#[test]
fn a_session_that_ends_comes_again_with_another_address_and_the_old_ones_connections_end() {
    let mut line = Line::connected("198.51.100.50");
    let _server = line.lab.host("server1").echo(&[LIVE]);
    let flow = line.lab.host("laptop1").flow(LIVE, address("server1"));
    flow.wait_answers(5);
    let router = line.router();
    let entries = |address: &str| router.run(&["conntrack", "-L", "-q", address]).out;
    assert!(entries("198.51.100.50").contains("9000"), "the probe sees the entry");
    line.provider.as_ref().expect("it runs").signal(rustix::process::Signal::USR1);
    line.wait_for("the end of the session is told", || {
        line.postern.ok(&["status"]).contains("LCP terminated by peer")
    });
    assert_eq!(line.route(), "", "no route without a session");
    line.provides("s3 cret'#", "198.51.100.60");
    line.wait_for("the home goes on with the new address", || entries("198.51.100.60").contains("9000"));
    assert_eq!(entries("198.51.100.50"), "", "nothing is translated to the old address any more");
    // The daemon is not needed for a session to live, and finds it again.
    line.postern.crash_daemon();
    line.postern.start_daemon();
    assert!(line.route().contains("pppoe-internet"));
    line.wait_for("the next daemon knows it", || line.state()["pppoe"]["is"] == "up");
    line.postern.set(&[
        "internet.mode=static",
        "internet.address=198.51.100.2/24",
        "internet.gateway=198.51.100.1",
    ]);
    line.wait_for("static mode ends it", || {
        !router.ok(&["ip", "link"]).contains("pppoe-internet") && line.route().contains("dev wan0")
    });
    line.wait_for("the password is not left behind", || !line.lab.outer().path(OPTIONS).exists());
}

#[test]
fn why_there_is_no_session_is_told_in_words_that_help() {
    let mut line = Line::new();
    let says = |line: &Line, words: &str| line.postern.ok(&["status"]).contains(words);
    line.wait_for("a unit that does not run is told", || {
        says(&line, "postern-pppoe, which holds the PPPoE session, does not run")
    });
    line.start_unit();
    line.wait_for("a line where nobody answers is told", || says(&line, "no PPPoE server answers"));
    line.provides("another", "198.51.100.50");
    line.wait_for("a refused account is told", || says(&line, "refuses the user name or the password"));
    line.postern.set(&["internet.pppoe.password=another"]);
    line.wait_for("the right password is tried at once", || line.state()["pppoe"]["is"] == "up");
    assert!(!line.postern.ok(&["status"]).contains("no internet"));
    let said = format!(
        "{}{}",
        line.postern.daemon_said(),
        line.unit.as_ref().map(Process::said).unwrap_or_default()
    );
    assert!(!said.contains("s3 cret") && !said.contains("another\""), "no password is logged: {said}");
    // What the daemon's user could write there instead; the daemon itself would put it right within seconds.
    line.postern.crash_daemon();
    let wanted = line.lab.outer().path("/run/postern/door/services/pppoe.json");
    let good = std::fs::read_to_string(&wanted).expect("it is there");
    line.lab.outer().ok(&["ln", "-sf", "/etc/shadow", "/run/postern/door/services/pppoe.json"]);
    line.wait_for("a link is not followed, and wants nothing", || !line.lab.outer().path(OPTIONS).exists());
    std::fs::remove_file(&wanted).expect("the link goes");
    let hostile = good.replace("another", "x\\nconnect touch\\u0020/run/lab/hurt");
    assert_ne!(hostile, good);
    std::fs::write(&wanted, hostile).expect("it can be written");
    assert!(
        wait::until(std::time::Duration::from_millis(2500), || line
            .lab
            .outer()
            .path(OPTIONS)
            .exists()
            .then_some(()))
        .is_none()
    );
    assert!(!line.lab.outer().path("/run/lab/hurt").exists());
    std::fs::write(&wanted, good).expect("it can be written");
    line.wait_for("the probe: what is good is taken again", || line.lab.outer().path(OPTIONS).exists());
}

/// The real pppd, which reads its options and stops there. It wants to open /dev/ppp first, which this kernel lacks: any device
/// does for that.
#[test]
fn the_real_pppd_takes_the_options() {
    let line = Line::connected("198.51.100.50");
    let script = format!(
        "umount /usr/sbin/pppd && mount -t tmpfs none /dev && mknod /dev/ppp c 1 3 && mknod /dev/null c 1 3 && \
         exec /usr/sbin/pppd file {OPTIONS} dryrun dump"
    );
    let output = line.router().run(&["unshare", "--mount", "sh", "-c", &script]);
    let said = format!("{}{}", output.out, output.err);
    assert!(output.ok(), "{}: {said}", output.code);
    for option in [
        "plugin pppoe.so",
        "ifname pppoe-internet",
        "user 0815#0001@provider.example",
        "mtu 1492",
        "ip-up-script /run/postern-pppoe/postern-ppp-up",
        "usepeerdns",
        "noauth",
    ] {
        assert!(said.contains(option), "{option}: {said}");
    }
    assert!(!said.contains("s3 cret"), "{said}");
}
