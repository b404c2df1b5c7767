//! The daemon's hands: what serves the home, asks the provider, listens and pings is done in units of its own, and goes on while the daemon
//! is not there.

use std::net::Ipv6Addr;

use lab::debian::{built, package};
use lab::{PASSWORD, Process, Visitor, address6};

use super::{Box, broken, repacked};

/// Who the router is to DHCPv6 (RFC 8415 section 11.2); the provider's server knows its customers by it.
const DUID: &str = "00:01:00:01:2b:ee:e4:5d:02:00:00:00:00:02";

impl Box {
    /// The units in which processes of this name run.
    fn units_of(&self, name: &str) -> Vec<String> {
        let pids = self.debian.host().run(&["pgrep", "-u", "postern", "-x", name]).out;
        let unit = |pid: &str| {
            let path = self.debian.host().run(&["cat", &format!("/proc/{pid}/cgroup")]).out;
            path.trim().rsplit('/').next().unwrap_or_default().to_owned()
        };
        pids.split_whitespace().map(unit).collect()
    }

    /// It runs (dhcpcd as several processes), in one hand and nowhere else.
    fn by_a_hand(&self, name: &str) -> bool {
        let units = self.units_of(name);
        let first = units.first().filter(|unit| unit.starts_with("postern-hand@"));
        first.is_some_and(|first| units.iter().all(|unit| unit == first))
    }

    fn pid(&self, name: &str) -> String {
        self.debian.ok(&["pgrep", "-u", "postern", "-x", name]).trim().to_owned()
    }

    /// The router's DNS tells the home who the router is.
    fn names(&self) -> bool {
        let words = ["dig", "+short", "+time=2", "+tries=5", "@192.168.1.1", "postern.home.arpa"];
        self.lab.host("laptop1").run(&words).out.trim() == "192.168.1.1"
    }

    fn wan_has(&self, address: &str) -> bool {
        self.lab.router().ok(&["ip", "-o", "addr", "show", "dev", "wan0"]).contains(address)
    }

    /// The provider's real DHCP server.
    fn provider(&self) -> Process {
        self.lab.dhcp_provider(
            "198.51.100.50",
            "198.51.100.50",
            &["--dhcp-option=option:router,198.51.100.1"],
        )
    }

    /// The provider's real DHCPv6 server, which delegates this prefix to [`DUID`].
    fn delegates(&self, prefix: Ipv6Addr) -> Process {
        let config = format!("host us {{ duid {DUID}; prefix {prefix}/56 60 120; }};\n");
        self.lab.outer().write("/run/lab/dhcp6s.conf", config);
        self.lab.outer().write("/run/lab/dhcp6s.key", "");
        self.lab.outer().ok(&["sh", "-c", "[ ! -d /var/lib/dhcpv6 ] || mount -t tmpfs lab /var/lib/dhcpv6"]);
        let files = ["-c", "/run/lab/dhcp6s.conf", "-k", "/run/lab/dhcp6s.key", "-P", "/run/lab/dhcp6s.pid"];
        let words = [&["dhcp6s", "-f", "-D"][..], &files, &["customer"]].concat();
        self.lab.host("internet").spawn(&words)
    }
}

#[test]
fn what_serves_the_home_and_asks_the_provider_runs_in_hands_and_outlives_the_daemon() {
    let router = Box::router(&package(&built(), "0.1.0"));
    let (debian, lab) = (&router.debian, &router.lab);
    // Nobody else reaches the hands, and the daemon cannot lay another socket in their place.
    for (path, is) in [
        ("/run/postern-hands", "root 755"),
        ("/run/postern-hands/hand", "postern 600"),
        ("/run/postern-hands/selftest", "postern 600"),
    ] {
        assert_eq!(debian.ok(&["stat", "--format=%U %a", path]).trim(), is, "{path}");
    }
    let pinged = |target: &str| debian.ok(&["postern", "ping", target]);
    assert!(pinged("203.0.113.10").contains("answered 5 of 5"), "IPv4");
    assert!(pinged(&address6("server1").to_string()).contains("answered 5 of 5"), "IPv6");
    assert!(debian.ok(&["postern", "trace", "203.0.113.10"]).contains("is 2 hops away"));
    assert!(debian.ok(&["postern", "lookup", "postern.home.arpa"]).contains("192.168.1.1"));
    assert!(router.names(), "the home's DNS");
    let asks = ["udhcpc", "-f", "-q", "-n", "-i", "eth0", "-s", "/bin/true"];
    lab.host("laptop2").ok(&asks);

    // The self-test, at the page.
    let mut visitor = Visitor::new(&lab.host("laptop1"), [192, 168, 1, 1]);
    let login = visitor.form("/login", "password");
    visitor.submit("/login", &login.fill("password", PASSWORD));
    visitor.press("/diagnose", "/diagnose/self-test");
    let page = std::cell::RefCell::new(visitor);
    let shows = || page.borrow_mut().get("/diagnose/self-test").body;
    router.wait_for("the self-test ends", || !shows().contains("Running"));
    let shown = shows();
    assert!(shown.contains("All works"), "{shown}");

    // Both clients of the internet port.
    debian.ok(&[
        "sh",
        "-c",
        &format!(
            "echo {DUID} >/var/lib/postern/dhcpcd/duid && chown postern:postern /var/lib/postern/dhcpcd/duid"
        ),
    ]);
    let _provider = router.provider();
    let _delegates = router.delegates("2001:db8:a00::".parse().expect("a prefix"));
    debian.ok(&["postern", "set", "internet.mode=dhcp", "internet.ipv6=true"]);
    debian.ok(&["postern", "confirm"]);
    router.wait_for("an address is lent", || router.wan_has("198.51.100.50/24"));
    router.wait_for("a prefix is delegated", || {
        debian.host().run(&["postern", "status", "--json"]).out.contains("2001:db8:a00:")
    });
    for name in ["dnsmasq", "udhcpc", "dhcpcd"] {
        router.wait_for(name, || router.by_a_hand(name));
    }
    let alone = || debian.ok(&["cat", "/sys/fs/cgroup/system.slice/postern.service/cgroup.procs"]);
    assert_eq!(alone().lines().count(), 1, "nothing else is in the daemon's unit: {}", alone());

    // A restart, and a crash: dnsmasq is the same, the clients ask for what they had, the page listens.
    let dnsmasq = router.pid("dnsmasq");
    for end in ["a restart", "a crash"] {
        let before = debian.property("postern.service", "MainPID");
        match end {
            "a crash" => debian.ok(&["kill", "-KILL", &before]),
            _ => debian.ok(&["systemctl", "restart", "postern.service"]),
        };
        router.wait_for("another daemon", || {
            let now = debian.property("postern.service", "MainPID");
            now != "0" && now != before && debian.host().run(&["postern", "status"]).ok()
        });
        assert!(router.names(), "the home's DNS after {end}");
        router.wait_for("the clients", || router.by_a_hand("udhcpc") && router.by_a_hand("dhcpcd"));
        router.wait_for("the page", || router.page());
        assert!(router.wan_has("198.51.100.50/24"));
        assert_eq!(router.pid("dnsmasq"), dnsmasq, "after {end}");
    }
    lab.host("laptop2").ok(&asks);
    assert!(pinged("203.0.113.10").contains("answered 5 of 5"), "after both");
    debian.ok(&["postern", "stop"]);
    assert_eq!(router.pid("dnsmasq"), dnsmasq, "a closed router still lends addresses");
}

/// What dnsmasq must not see: the settings with their passwords, a key, what PPPoE's unit is told, and where the daemon is spoken to.
const HIDDEN: [&str; 7] = [
    "/var/lib/postern/postern.db",
    "/var/lib/postern/last-good.json",
    "/var/lib/postern/https.json",
    "/run/postern/admin.sock",
    "/run/postern/web.sock",
    "/run/postern/services/pppoe.json",
    "/run/postern-hands/hand",
];
const LEASES: &str = "/var/lib/postern/programs/dnsmasq.leases";

#[test]
fn whoever_takes_over_dnsmasq_sees_its_own_files_and_neither_settings_keys_nor_doors() {
    const CANARY: &str = "canary-that-dials";
    let router = Box::router(&package(&built(), "0.1.0"));
    let debian = &router.debian;
    debian.ok(&["postern", "set", "access.https=true", "internet.pppoe.user=somebody"]);
    debian.ok(&["postern", "confirm"]);
    debian.ok(&["touch", HIDDEN[5]]);
    router.lab.host("laptop2").ok(&["udhcpc", "-f", "-q", "-n", "-i", "eth0", "-s", "/bin/true"]);
    let daemon = debian.property("postern.service", "MainPID");
    let from =
        |pid: &str, path: &str| debian.host().run(&["test", "-e", &format!("/proc/{pid}/root{path}")]).ok();
    let seen = |pid: &str| HIDDEN.into_iter().filter(|path| from(pid, path)).collect::<Vec<_>>();
    router.wait_for("all of it is there", || seen(&daemon) == HIDDEN);
    let dnsmasq = router.pid("dnsmasq");
    let copy = || debian.ok(&["stat", "--format=%i", HIDDEN[1]]);
    let before = copy();
    for when in ["at first", "after the daemon has replaced the copy"] {
        assert_eq!(seen(&daemon), HIDDEN, "the probe, {when}");
        assert_eq!(seen(&dnsmasq), [""; 0], "{when}");
        assert!(from(&dnsmasq, LEASES), "{when}");
        debian.ok(&["postern", "set", &format!("internet.pppoe.password={CANARY}")]);
    }
    assert_ne!(copy(), before, "it was replaced");
    assert_eq!(router.pid("dnsmasq"), dnsmasq, "all the while");
    let leases = debian.ok(&["cat", &format!("/proc/{dnsmasq}/root{LEASES}")]);
    assert!(leases.contains("02:00:00:00:01:66"), "it writes where the daemon reads: {leases}");
    let mounts = debian.ok(&["cat", &format!("/proc/{dnsmasq}/mountinfo")]);
    for folder in
        ["/", "/run", "/tmp", "/var/lib/postern/programs", "/run/postern/programs", "/var/lib/dhcpcd"]
    {
        let mount = mounts.lines().find(|line| line.split(' ').nth(4) == Some(folder));
        assert!(
            mount.is_some_and(|line| line.contains("noexec")),
            "nothing is started from {folder}:\n{mounts}"
        );
    }

    // Not through /proc either, with its user and its capabilities, at the daemon: with the daemon's it is open.
    let asks = |capabilities: &str, of: &str| {
        let may = format!("=-all,{capabilities}");
        let words = format!(
            "setpriv --reuid=postern --regid=postern --init-groups --inh-caps{may} --ambient-caps{may} --bounding-set{may} \
             test -e /proc/{of}/root/etc/passwd"
        );
        debian.host().run(&words.split_whitespace().collect::<Vec<_>>()).ok()
    };
    let hand = "+net_admin,+net_raw,+net_bind_service";
    let more = format!("{hand},+net_broadcast");
    assert!(asks(hand, &dnsmasq) && asks(&more, &dnsmasq) && asks(&more, &daemon), "the probe");
    assert!(!asks(hand, &daemon), "the daemon's files are open to dnsmasq through /proc");

    // While a session is wanted its password lies in a file more.
    debian.ok(&["postern", "set", "internet.mode=pppoe"]);
    let told = |pid: &str| {
        let folders = ["/var/lib", "/run/postern"].map(|folder| format!("/proc/{pid}/root{folder}"));
        debian.host().run(&["grep", "-rlF", CANARY, &folders[0], &folders[1]]).out
    };
    let all = told(&daemon);
    assert!(all.contains("last-good.json") && all.contains("pppoe.json"), "the probe: {all}");
    router.wait_for("dnsmasq by a hand", || router.by_a_hand("dnsmasq"));
    assert_eq!(told(&router.pid("dnsmasq")), "", "the password");
}

#[test]
fn a_version_without_hands_is_upgraded_gone_back_to_and_put_back_by_an_upgrade_that_fails() {
    let new = package(&built(), "0.1.0");
    // As it was: the daemon does it all itself, and its unit lets it.
    let steps = "cd lib/systemd/system; rm postern-hand* postern-selftest*; \
                 sed -i -e '/POSTERN_HANDS/d' -e '/^IPAddressDeny=/d' -e '/^After=postern-hand/d' -e '/^Upholds=/d' \
                 -e 's/ postern-hand.socket postern-selftest.socket//' -e 's/^RestrictNamespaces=.*/RestrictNamespaces=user net/' \
                 -e 's/^RestrictAddressFamilies=.*/& AF_INET AF_INET6 AF_PACKET/' postern.service; ! grep -v '^#' postern.service | grep -i hand";
    let old = repacked(&new, "0.0.9", steps, &[]);
    let router = Box::router(&old);
    let debian = &router.debian;
    router.wait_for("the home's DNS", || router.names());
    assert_eq!(router.units_of("dnsmasq"), ["postern.service"]);

    router.becomes(&new, "0.1.0");
    router.wait_for("dnsmasq by a hand", || router.by_a_hand("dnsmasq"));
    assert!(router.names(), "the home's DNS after the upgrade");
    let dnsmasq = router.pid("dnsmasq");
    router.becomes(&old, "0.0.9");
    assert!(router.names(), "the home's DNS after the downgrade");
    assert_eq!(router.pid("dnsmasq"), dnsmasq, "it is found by the one that did not start it");
    assert!(!debian.host().run(&["test", "-e", "/run/postern-hands/hand"]).ok());

    let crash = "#!/bin/sh\ncase $1 in daemon) exit 3 ;; esac\nexec /usr/bin/postern.real \"$@\"\n";
    let (done, said) = debian.install(&broken(&new, "0.2.0", "postern", crash));
    assert!(!done && said.contains("the version of before runs again"), "{said}");
    assert!(router.page(), "the page of the version of before, under its own unit");
    router.wait_for("the home's DNS after the failed upgrade", || router.names());
    assert!(debian.ok(&["postern", "ping", "203.0.113.10"]).contains("answered 5 of 5"));
}
