//! The Debian package in a fresh Debian with a real systemd, as the lab's router: installed, upgraded, gone back from, removed,
//! purged, while traffic flows through it and a hail beats on it. The programs are those of the test build; what ships differs
//! from them in the compiler's options only.

#[path = "packages/hands.rs"]
mod hands;

use std::path::{Path, PathBuf};
use std::time::Duration;

use lab::debian::{Debian, built, package};
use lab::wait;
use lab::{Hail, Kind, Lab, PASSWORD, ROUTER_SETTINGS, Steady, Visitor, address};

const UNITS: [&str; 6] = [
    "postern.service",
    "postern-web.service",
    "postern-deny.service",
    "postern-pppoe.service",
    "postern-hand@*.service",
    "postern-selftest@*.service",
];
const LIVE: Kind = Kind::Udp(7000);
/// The role, and IPv6 without the one way in that RFC 6092 leaves to IPsec: the hail must not get in at all.
const SETTINGS: [&str; 9] = {
    let [a, b, c, d, e, f, g, h] = ROUTER_SETTINGS;
    [a, b, c, d, e, f, g, h, "firewall.ipv6_ipsec=strict"]
};
/// A daemon of the test build on a busy machine opens its store and tries its rules.
const START: Duration = Duration::from_secs(60);

/// What stays after a purge: the users, and what Debian's own programs note.
const NOTED: [&str; 9] = [
    "/etc/passwd",
    "/etc/group",
    "/etc/shadow",
    "/etc/gshadow",
    "/etc/.pwd.lock",
    "/etc/subuid",
    "/etc/subgid",
    "/var/lib/dpkg",
    "/var/log",
];

struct Box {
    debian: Debian,
    lab: Lab,
}

impl Box {
    /// A fresh Debian with the package, nothing set.
    fn new(package: &Path) -> Self {
        let lab = Lab::new();
        let debian = lab.debian();
        let (installed, said) = debian.install(package);
        assert!(installed, "the package is not installed:\n{said}");
        let all = Self { debian, lab };
        all.wait_for("the door opens", || all.debian.host().run(&["postern", "status"]).ok());
        all
    }

    /// The same as a claimed router that lets PPTP through.
    fn router(package: &Path) -> Self {
        let router = Self::new(package);
        let host = router.debian.host();
        host.ok_with(&["postern", "claim", "--password-stdin"], PASSWORD);
        let settings = [&SETTINGS[..], &["passthrough.pptp.enabled=true"]].concat();
        router.debian.ok(&[&["postern", "set"], &settings[..]].concat());
        router.debian.ok(&["postern", "confirm"]);
        router.wait_for("the page answers the home", || router.page());
        router
    }

    fn page(&self) -> bool {
        let mut visitor = Visitor::new(&self.lab.host("laptop1"), [192, 168, 1, 1]);
        visitor.try_request("GET", "/login", "", &[]).is_ok_and(|answer| answer.status == 200)
    }

    #[track_caller]
    fn wait_for(&self, what: &str, holds: impl Fn() -> bool) {
        let held = wait::until(START, || holds().then_some(())).is_some();
        let said: String = UNITS.iter().map(|unit| self.debian.journal(unit)).collect();
        assert!(held, "{what}: not so\n{said}");
    }

    /// Installs a package, which must succeed; the settings and the table are what they were.
    #[track_caller]
    fn becomes(&self, package: &Path, version: &str) {
        let (settings, rules) = (self.debian.ok(&["postern", "get"]), self.rules());
        let (done, said) = self.debian.install(package);
        assert!(done, "{said}\n{}", self.debian.journal("postern.service"));
        assert!(self.debian.ok(&["dpkg", "--status", "postern"]).contains(&format!("Version: {version}")));
        assert_eq!(self.debian.ok(&["postern", "get"]), settings);
        assert_eq!(self.rules(), rules);
        assert!(self.page(), "the page answers");
    }

    fn rules(&self) -> String {
        lab::without_learnt(&self.lab.router().ok(&["nft", "-s", "list", "table", "inet", "postern"]))
    }
}

/// A version of the package whose `postern` or `postern-web` is this script (empty: as it was), and the other one as it was: two
/// programs. What it was is beside it.
fn broken(good: &Path, version: &str, program: &str, script: &str) -> PathBuf {
    let steps = "rm usr/bin/postern-web; cp usr/bin/postern usr/bin/postern-web; \
                 if [ -n \"$2\" ]; then mv usr/bin/$1 usr/bin/$1.real; \
                 printf '%s' \"$2\" >usr/bin/$1; chmod 755 usr/bin/$1; fi";
    repacked(good, version, steps, &[program, script])
}

/// The package with these steps of sh done in its tree (`$1`, `$2`: words), and another number.
fn repacked(good: &Path, version: &str, steps: &str, words: &[&str]) -> PathBuf {
    let package = good.with_file_name(format!("postern-repacked-{version}.deb"));
    let script = format!(
        "set -eu; good=$1 package=$2 version=$3; shift 3; tree=$(mktemp -d); \
         dpkg-deb --raw-extract \"$good\" \"$tree/x\"; cd \"$tree/x\"; ( {steps} ); \
         sed -i \"s/^Version: .*/Version: $version/\" DEBIAN/control; \
         find usr lib etc -type f -exec md5sum {{}} + >DEBIAN/md5sums; \
         dpkg-deb --root-owner-group -Znone --build . \"$package\"; rm -rf \"$tree\""
    );
    let mut command = std::process::Command::new("sh");
    command.args(["-c", &script, "repacked"]).arg(good).arg(&package).arg(version).args(words);
    let done = command.output().expect("sh can be started");
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    package
}

#[track_caller]
fn nothing_lost_or_let_in(flow: &Steady, hail: &Hail, when: &str) {
    let totals = flow.settled();
    assert_eq!((totals.lost, totals.unsent), (0, 0), "{when}: {totals:?}");
    assert_eq!(hail.let_in(), std::collections::BTreeMap::new(), "{when}");
}

#[test]
fn an_upgrade_a_downgrade_and_every_broken_upgrade_lose_no_packet_and_keep_the_settings() {
    let (old, new) = (package(&built(), "0.1.0"), package(&built(), "0.1.1"));
    let router = Box::router(&old);
    let (debian, lab) = (&router.debian, &router.lab);
    // Who runs as what.
    assert_ne!(debian.status("postern.service", "Uid"), "0 0 0 0");
    // CAP_NET_BIND_SERVICE, CAP_NET_BROADCAST (which lets nobody do anything), CAP_NET_ADMIN and CAP_NET_RAW are bits 10 to 13
    // (capabilities(7)).
    for set in ["CapEff", "CapBnd", "CapAmb"] {
        assert_eq!(debian.status("postern.service", set), "0000000000003c00", "{set} of the daemon");
        assert_eq!(debian.status("postern-web.service", set), "0000000000000000", "{set} of the pages");
    }
    // PPPoE's unit runs once somebody wants a session: what is in the file is its affair (tests/pppoe.rs).
    assert_eq!(debian.property("postern-pppoe.service", "ActiveState"), "inactive");
    debian.ok(&["touch", "/run/postern/services/pppoe.json"]);
    router.wait_for("its unit runs", || debian.property("postern-pppoe.service", "ActiveState") == "active");
    for unit in ["postern.service", "postern-web.service", "postern-pppoe.service"] {
        assert_eq!(debian.status(unit, "NoNewPrivs"), "1", "{unit}");
        assert_eq!(debian.status(unit, "Seccomp"), "2", "{unit}");
    }
    // The self-test, dnsmasq and the kernel settings work under all of that.
    router.wait_for("dnsmasq runs", || debian.host().run(&["pgrep", "-u", "postern", "dnsmasq"]).ok());
    let tested = debian.host().run(&["postern", "selftest"]);
    assert!(tested.ok(), "the self-test, as root: {}{}", tested.out, tested.err);
    assert_eq!(debian.ok(&["cat", "/proc/sys/net/ipv4/ip_forward"]).trim(), "1");

    // A call, a stream and a hail, all the while.
    let server = lab.pptp_server("server1", 1723);
    let mut call = lab.host("laptop2").pptp_call(address("server1"), &lab::CallOptions::default());
    let inner = call.wait_up();
    let _echo = lab.host("server1").echo(&[LIVE]);
    let flow = lab.host("laptop1").steady(LIVE, address("server1"), 1000);
    let hail = lab.hail(1000, &lab.targets());
    flow.wait(1000);

    router.becomes(&new, "0.1.1");
    nothing_lost_or_let_in(&flow, &hail, "an upgrade");
    router.becomes(&old, "0.1.0");
    nothing_lost_or_let_in(&flow, &hail, "a downgrade");

    let crash = "#!/bin/sh\ncase $1 in daemon) exit 3 ;; esac\nexec /usr/bin/postern.real \"$@\"\n";
    let hang =
        "#!/bin/sh\ncase $1 in daemon) exec sleep 1000000 ;; esac\nexec /usr/bin/postern.real \"$@\"\n";
    let deaf = "#!/bin/sh\nexec sleep 1000000\n";
    // What a bad migration leaves.
    let spoil = "#!/bin/sh\ncase $1 in daemon) echo spoilt >/var/lib/postern/postern.db; rm -f /var/lib/postern/postern.db-wal ;; esac\n\
                 exec /usr/bin/postern.real \"$@\"\n";
    // Nothing is wrong with this one, which is two programs: what is noticed below is what is broken there, and to go back is to go
    // back to two programs.
    let (done, said) = debian.install(&broken(&old, "0.1.9", "postern", ""));
    assert!(done, "{said}");
    let history = debian.ok(&["postern", "history"]);
    for (version, program, script) in [
        ("0.2.0", "postern", crash),
        ("0.2.1", "postern", hang),
        ("0.2.2", "postern-web", deaf),
        ("0.2.3", "postern", spoil),
    ] {
        let settings = debian.ok(&["postern", "get"]);
        let (done, said) = debian.install(&broken(&old, version, program, script));
        assert!(!done && said.contains("the version of before runs again"), "{version}:\n{said}");
        // The programs of before are no success of the new version, however often dpkg is asked.
        let again = debian.host().run(&["dpkg", "--configure", "-a"]);
        let why = format!("{}{}", again.out, again.err);
        assert!(!again.ok() && why.contains("an upgrade to it failed"), "{version}:\n{why}");
        let status = debian.ok(&["dpkg-query", "--show", "--showformat=${db:Status-Status}", "postern"]);
        assert_eq!(status.trim(), "half-configured", "{version}");
        assert_eq!(debian.ok(&["postern", "get"]), settings, "{version}");
        assert_eq!(debian.ok(&["postern", "history"]), history, "{version}");
        assert!(router.page(), "the page answers after {version}");
        nothing_lost_or_let_in(&flow, &hail, version);
    }
    // The way out of it is any version that works.
    router.becomes(&new, "0.1.1");
    nothing_lost_or_let_in(&flow, &hail, "the upgrade after them");
    assert!(call.ping(server_inner(inner)), "the call of before lives: {}", call.said());
    drop(server);
}

/// The server's address in a call whose client has this one.
fn server_inner(client: std::net::Ipv4Addr) -> std::net::Ipv4Addr {
    let [a, b, c, _] = client.octets();
    [a, b, c, 1].into()
}

#[test]
fn a_removal_closes_the_router_and_a_purge_leaves_no_file() {
    let lab = Lab::new();
    let debian = lab.debian();
    let before = debian.files();
    let (installed, said) = debian.install(&package(&built(), "0.1.0"));
    assert!(installed, "{said}");
    let router = Box { debian, lab };
    let (debian, lab) = (&router.debian, &router.lab);
    router.wait_for("the door opens", || debian.host().run(&["postern", "status"]).ok());
    assert_eq!(
        lab.router().ok(&["nft", "list", "ruleset"]),
        "",
        "before a role is chosen nothing is changed"
    );
    debian.host().ok_with(&["postern", "claim", "--password-stdin"], PASSWORD);
    debian.ok(&[&["postern", "set"], &SETTINGS[..]].concat());
    debian.ok(&["postern", "confirm"]);
    let _echo = lab.host("server1").echo(&[LIVE]);
    lab.host("laptop1").flow(LIVE, address("server1")).wait_answers(10);
    let hail = lab.hail(1000, &lab.targets());
    debian.ok(&["dpkg", "--remove", "postern"]);
    assert_eq!(lab.host("laptop1").knock(LIVE, address("server1")).answered, 0, "it forwards nothing");
    let table = lab.router().ok(&["nft", "list", "table", "inet", "postern"]);
    assert!(table.contains("deny"), "{table}");
    let left = debian.host().run(&["pgrep", "-u", "postern"]).out;
    assert_eq!(left, "", "a process is left");
    hail.wait(500);
    assert_eq!(hail.let_in(), std::collections::BTreeMap::new());
    debian.ok(&["dpkg", "--purge", "postern"]);
    let new: Vec<String> = debian
        .files()
        .into_iter()
        .filter(|file| !before.contains(file) && !NOTED.iter().any(|noted| file.starts_with(noted)))
        .collect();
    assert_eq!(new, Vec::<String>::new(), "files are left");
}

impl Box {
    /// Beside whatever else this box has for a firewall: nothing, here.
    fn companion(package: &Path) -> Self {
        let all = Self::new(package);
        all.wait_for("the page is found before a role is chosen", || all.works("page"));
        all.debian.host().ok_with(&["postern", "claim", "--password-stdin"], PASSWORD);
        let sides =
            ["internet.device=wan0", "local_network.devices=lan0", "local_network.address=192.168.1.1/24"];
        all.debian.ok(&[&["postern", "set", "role=companion"], &sides[..]].concat());
        all.debian.ok(&["postern", "confirm"]);
        all.wait_for("its table is there", || {
            all.debian.host().run(&["nft", "list", "table", "inet", "postern"]).ok()
        });
        all
    }

    fn health(&self) -> String {
        self.debian.host().run(&["/usr/libexec/postern/health"]).out
    }

    /// What an upgrade compares.
    fn works(&self, word: &str) -> bool {
        self.health().lines().any(|line| line == word)
    }
}

#[test]
fn a_companion_that_is_removed_leaves_forwarding_and_no_table_even_if_its_daemon_does_not_run() {
    let all = Box::companion(&package(&built(), "0.1.0"));
    let debian = &all.debian;
    all.wait_for("the page is found where it is", || all.works("page"));
    debian.ok(&["systemctl", "stop", "postern-web.service"]);
    assert!(!all.works("page"), "and missed: {}", all.health());
    debian.ok(&["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
    debian.ok(&["systemctl", "stop", "postern.service"]);
    debian.ok(&["nft", "list", "table", "inet", "postern"]);
    debian.ok(&["dpkg", "--remove", "postern"]);
    assert!(!debian.host().run(&["nft", "list", "table", "inet", "postern"]).ok(), "its table is left");
    assert_eq!(
        debian.ok(&["cat", "/proc/sys/net/ipv4/ip_forward"]).trim(),
        "1",
        "that is the other firewall's affair"
    );
}

#[test]
fn what_an_upgrade_of_long_ago_kept_is_not_gone_back_to_after_a_removal() {
    let (old, new) = (package(&built(), "0.1.0"), package(&built(), "0.1.1"));
    let router = Box::router(&old);
    router.becomes(&new, "0.1.1");
    let debian = &router.debian;
    debian.ok(&["postern", "set", "passthrough.l2tp.enabled=false"]);
    debian.ok(&["dpkg", "--remove", "postern"]);
    let deaf = broken(&old, "0.2.0", "postern-web", "#!/bin/sh\nexec sleep 1000000\n");
    let (done, said) = debian.install(&deaf);
    assert!(done && !said.contains("version of before"), "{said}");
    router.wait_for("the door opens", || debian.host().run(&["postern", "status"]).ok());
    assert_eq!(
        debian.ok(&["postern", "get", "passthrough.l2tp.enabled"]).trim(),
        "false",
        "what was set since is kept"
    );
}

#[test]
fn a_router_that_boots_is_closed_before_its_daemon_runs_and_hands_back_when_its_owner_said_so() {
    let mut router = Box::router(&package(&built(), "0.1.0"));
    router.debian.ok(&["systemctl", "disable", "postern.service", "postern-web.service"]);
    router.debian.power_off();
    router.lab.router().ok(&["nft", "flush", "ruleset"]);
    router.debian.boot();
    let debian = &router.debian;
    let result = debian.property("postern-deny.service", "Result");
    assert_eq!(result, "success", "{}", debian.journal("postern-deny.service"));
    assert!(debian.property("postern-deny.service", "Before").contains("network-pre.target"));
    assert!(router.rules().contains("deny"), "the deny rules stand, and the daemon does not run");
    let _echo = router.lab.host("server1").echo(&[LIVE]);
    assert_eq!(router.lab.host("laptop1").knock(LIVE, address("server1")).answered, 0);

    debian.ok(&["systemctl", "enable", "--now", "postern.service", "postern-web.service"]);
    router.wait_for("the page answers the home", || router.page());
    router.lab.host("laptop1").flow(LIVE, address("server1")).wait_answers(10);
    debian.ok(&["sed", "-i", "s/^ON_REMOVE=.*/ON_REMOVE=handback/", "/etc/default/postern"]);
    debian.host().write("/etc/nftables.conf", "flush ruleset\ntable inet theirs { }\n");
    debian.ok(&["systemctl", "enable", "nftables.service"]);
    debian.ok(&["dpkg", "--remove", "postern"]);
    let rules = router.lab.router().ok(&["nft", "list", "ruleset"]);
    assert!(rules.contains("theirs") && !rules.contains("postern"), "{rules}");
    assert_eq!(debian.ok(&["cat", "/proc/sys/net/ipv4/ip_forward"]).trim(), "0");
}

#[test]
fn what_is_packed_is_the_same_for_another_user_in_another_folder_language_and_year() {
    let one = std::fs::read(package(&built(), "0.1.0")).unwrap();
    let out = std::env::temp_dir().join(format!("postern-packed-{}", std::process::id()));
    let script = format!(
        "umask 077; export TZ=Asia/Tokyo LC_ALL=C.UTF-8 HOME=/nonexistent; mkdir {out}.copy; cp -r Cargo.toml Cargo.lock packaging tests {out}.copy; cd {out}.copy; find . -exec touch -d 2001-01-01 {{}} +; \
         packaging/build-deb --bin {} --version 0.1.0 --out {out}",
        built().display(),
        out = out.display()
    );
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let done = std::process::Command::new("sh").args(["-c", &script]).current_dir(source).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    let path = String::from_utf8(done.stdout).unwrap().lines().last().unwrap().to_owned();
    assert!(std::fs::read(path).unwrap() == one, "the packages differ");
    drop(std::fs::remove_dir_all(&out));
    drop(std::fs::remove_dir_all(format!("{}.copy", out.display())));
}

#[test]
fn lintian_and_systemd_find_nothing_in_it_but_what_is_named() {
    let package = package(&built(), "0.1.0");
    let words = ["--fail-on", "error,warning", "--allow-root"];
    let done = std::process::Command::new("lintian").args(words).arg(&package).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stdout));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd");
    // In tenths. packaging/README.md says what keeps the hands and the PPPoE unit from 13.
    for (unit, most) in [
        ("postern-web", 2),
        ("postern-deny", 13),
        ("postern", 13),
        ("postern-selftest@", 12),
        ("postern-hand@", 18),
        ("postern-pppoe", 33),
    ] {
        let file = folder.join(format!("{unit}.service"));
        let words = ["security", "--offline=true", "--no-pager", &format!("--threshold={most}")];
        let done = std::process::Command::new("systemd-analyze").args(words).arg(file).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout).lines().last().unwrap_or_default().to_owned();
        assert!(done.status.success(), "{unit}: {said}");
    }
}
