//! The home's own network: addresses and names by the real dnsmasq, asked for by real clients.

use lab::wait::{self, SOON};
use lab::{Host, Lab, Postern, Process, address};

/// What udhcpc does with what it got: uses it, and tells it in one line.
const SCRIPT: &str = "#!/bin/sh\n[ \"$1\" = bound ] || [ \"$1\" = renew ] || exit 0\n\
    ip -4 addr flush dev $interface\nip addr add $ip/$mask dev $interface\nip route replace default via $router\n\
    echo \"lease $ip mask $mask router $router dns $dns domain $domain for $lease\"\n";

struct Home {
    lab: Lab,
    postern: Postern,
    script: String,
    upstream: Option<Process>,
}

impl Home {
    fn new(more: &[&str]) -> Self {
        let lab = Lab::new();
        for (program, package) in
            [("dnsmasq", "dnsmasq-base"), ("udhcpc", "udhcpc"), ("dig", "bind9-dnsutils")]
        {
            let found = lab.outer().run(&["sh", "-c", &format!("command -v {program}")]).ok();
            assert!(found, "{program} is missing: tests/run installs the Debian package {package}");
        }
        let script = lab.script("on-lease", SCRIPT);
        let postern = lab.postern_router();
        let mut all = vec!["system.name=router", "internet.dns=203.0.113.10"];
        all.extend_from_slice(more);
        postern.set(&all);
        Self { lab, postern, script, upstream: None }
    }

    /// A name server of the internet: an honest name, and one that points into homes.
    fn with_upstream(mut self) -> Self {
        let server = self.lab.host("server1");
        let words = [
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--pid-file=/run/lab/upstream.pid",
            "--user=root",
            "--no-resolv",
            "--no-hosts",
            "--listen-address=203.0.113.10",
            "--bind-interfaces",
            "--address=/good.example/198.18.0.1",
            "--address=/rebind.example/192.168.1.50",
            "--address=/self.example/127.0.0.1",
        ];
        self.upstream = Some(server.spawn(&words));
        let up = wait::until(SOON, || {
            (ask(&server, "203.0.113.10", "rebind.example") == "192.168.1.50").then_some(())
        });
        assert!(up.is_some(), "the probe: the name server of the internet says where rebind.example points");
        self
    }

    /// What `host` is lent when it asks with `more`; its one line.
    fn lease(&self, host: &str, more: &[&str]) -> String {
        let mut words =
            vec!["udhcpc", "-f", "-q", "-n", "-t", "6", "-T", "5", "-i", "eth0", "-s", &self.script];
        words.extend_from_slice(more);
        let output = self.lab.host(host).run(&words);
        let line = output.out.lines().find(|line| line.starts_with("lease ")).map(str::to_owned);
        line.unwrap_or_else(|| {
            panic!("{host} got no lease:\n{}{}\n{}", output.out, output.err, self.postern.daemon_said())
        })
    }

    fn pid(&self) -> Option<String> {
        let text =
            std::fs::read_to_string(self.lab.outer().path("/run/postern/state/programs/dnsmasq.pid")).ok()?;
        let pid = text.trim().to_owned();
        // A process that has ended has no words.
        let words = self.lab.outer().run(&["cat", &format!("/proc/{pid}/cmdline")]).out;
        words.contains("--pid-file=/run/postern/state/programs/dnsmasq.pid").then_some(pid)
    }

    /// How many of ours run.
    fn running(&self) -> usize {
        let mark = "--pid-file=/run/postern/state/programs/dnsmasq.pid";
        self.lab.outer().run(&["pgrep", "--full", "--", mark]).out.lines().count()
    }

    fn device(&self, mac: &str) -> serde_json::Value {
        let all = self.postern.json(&["devices"]);
        let found = all.as_array().and_then(|all| all.iter().find(|device| device["mac"] == mac)).cloned();
        found.unwrap_or_else(|| panic!("{mac} is not among the devices: {all}"))
    }
}

fn ask(host: &Host, server: &str, name: &str) -> String {
    let server = format!("@{server}");
    let output = host.run(&["dig", "+short", "+time=2", "+tries=2", &server, name]);
    output.out.lines().filter(|line| !line.starts_with(';')).collect::<Vec<_>>().join(" ")
}

fn field<'a>(lease: &'a str, name: &str) -> &'a str {
    let mut words = lease.split(' ');
    words.by_ref().find(|word| *word == name);
    words.next().unwrap_or_default()
}

#[test]
fn a_laptop_gets_an_address_and_the_names_of_the_home_and_no_answer_that_points_into_it() {
    let home = Home::new(&[]).with_upstream();
    let lease = home.lease("laptop1", &[]);
    let octets: Vec<u8> = field(&lease, "lease").split('.').filter_map(|part| part.parse().ok()).collect();
    assert!(matches!(octets.as_slice(), [192, 168, 1, 100..=249]), "{lease}");
    assert!(lease.ends_with("router 192.168.1.1 dns 192.168.1.1 domain home.arpa for 43200"), "{lease}");
    let other = home.lease("laptop2", &["-x", "hostname:Second"]);
    let laptop = home.lab.host("laptop1");
    let router = |name: &str| ask(&laptop, "192.168.1.1", name);
    assert_eq!(router("router.home.arpa"), "192.168.1.1");
    assert_eq!(router("second.home.arpa"), field(&other, "lease"));
    assert_eq!(router("nobody.home.arpa"), "");
    assert_eq!(router("good.example"), "198.18.0.1");
    assert_eq!((router("rebind.example"), router("self.example")), (String::new(), String::new()));
    home.postern.set(&["local_network.dns.rebind_protection=false"]);
    assert_eq!(router("rebind.example"), "192.168.1.50", "the probe: without the protection it is answered");
    assert_eq!(home.device("02:00:00:00:01:66")["calls_itself"], "Second");
    assert!(home.postern.ok(&["devices"]).contains(field(&lease, "lease")));
    // One with an address of its own, known by what the kernel has heard of it alone.
    home.lab.host("phone").ok(&["ping", "-c", "1", "-w", "5", "192.168.1.1"]);
    let phone = home.device("02:00:00:00:01:67");
    assert_eq!(
        (&phone["address"], &phone["ends"]),
        (&"192.168.1.103".into(), &serde_json::Value::Null),
        "{phone}"
    );
    assert!(phone["seen"].as_u64().is_some_and(|seconds| seconds <= 120), "{phone}");
    assert_eq!(home.postern.json(&["status"])["dhcp_dns"]["is"], "running");
}

#[test]
fn a_reservation_is_kept_and_nobody_loses_a_lease_by_it() {
    let home = Home::new(&[]);
    let before = [home.lease("laptop1", &[]), home.lease("laptop2", &[])];
    let pid = home.pid();
    home.postern.ok(&["device", "add", "02:00:00:00:01:65", "Anna's laptop", "--address", "192.168.1.20"]);
    assert_eq!(home.pid(), pid, "told to read again, not started again");
    let named = home.device("02:00:00:00:01:65");
    assert_eq!((&named["name"], &named["reserved"]), (&"Anna's laptop".into(), &"192.168.1.20".into()));
    let second = home.device("02:00:00:00:01:66");
    assert_eq!(second["address"], field(&before[1], "lease"));
    let asked = |name: &str| ask(&home.lab.host("laptop2"), "192.168.1.1", name);
    let known = wait::until(SOON, || (asked("anna-s-laptop.home.arpa") == "192.168.1.20").then_some(()));
    assert!(known.is_some(), "its name is known at once: {}", asked("anna-s-laptop.home.arpa"));
    assert_eq!(field(&home.lease("laptop1", &[]), "lease"), "192.168.1.20");
    // A change that needs another dnsmasq.
    home.postern.set(&["local_network.dhcp.lease=45m"]);
    assert_ne!(home.pid(), pid);
    assert_eq!(
        home.device("02:00:00:00:01:66")["address"],
        field(&before[1], "lease"),
        "the leases are kept"
    );
    assert!(home.lease("laptop2", &[]).ends_with("for 2700"));
    home.postern.ok(&["device", "remove", "02:00:00:00:01:65"]);
    assert_eq!(home.device("02:00:00:00:01:65")["name"], serde_json::Value::Null);
}

#[test]
fn nothing_answers_on_the_internet_port_even_without_the_firewall() {
    let mut home = Home::new(&[]);
    // It would load its rules again; dnsmasq stays without it.
    home.postern.crash_daemon();
    home.lab.router().ok(&["nft", "flush", "ruleset"]);
    let (laptop, attacker) = (home.lab.host("laptop2"), home.lab.host("attacker"));
    assert_eq!(ask(&laptop, "192.168.1.1", "router.home.arpa"), "192.168.1.1", "the probe sees an answer");
    assert_eq!(ask(&attacker, &address("router").to_string(), "router.home.arpa"), "");
    let asked = |host: &str, device: &str| {
        let words = ["udhcpc", "-f", "-q", "-n", "-t", "2", "-T", "4", "-i", device, "-s", "/bin/true"];
        home.lab.host(host).run(&words)
    };
    assert!(asked("laptop2", "eth0").ok(), "the probe sees a lease");
    assert!(!asked("internet", "customer").ok(), "a lease on the internet port");
    assert_eq!(home.lab.router().ok(&["nft", "list", "ruleset"]), "", "no firewall stood all the while");
}

#[test]
fn dhcp_and_dns_come_back_by_themselves_and_outlive_the_daemon() {
    let mut home = Home::new(&[]);
    let lease = home.lease("laptop1", &[]);
    let first = home.pid().expect("dnsmasq runs");
    home.lab.outer().ok(&["kill", "-KILL", &first]);
    let second = wait::until(SOON, || home.pid().filter(|pid| *pid != first));
    assert!(second.is_some(), "it is started again:\n{}", home.postern.daemon_said());
    home.postern.crash_daemon();
    assert_eq!(home.pid(), second, "it outlives the daemon");
    assert_eq!(field(&home.lease("laptop1", &[]), "lease"), field(&lease, "lease"));
    home.postern.start_daemon();
    assert_eq!((home.pid(), home.running()), (second.clone(), 1), "the next daemon takes it over");
    // One that died while nobody looked.
    home.postern.crash_daemon();
    home.lab.outer().ok(&["kill", "-KILL", &home.pid().expect("it runs")]);
    home.postern.start_daemon();
    assert!(home.pid().is_some());
    assert_eq!(home.running(), 1);
    home.postern.stop();
    assert_eq!(
        home.running(),
        1,
        "after `postern stop` the home still gets addresses, to reach this box with"
    );
    assert_eq!(field(&home.lease("laptop1", &[]), "lease"), field(&lease, "lease"));
}

#[test]
fn a_dnsmasq_from_before_its_folder_is_ended_and_nobody_loses_a_lease() {
    let mut home = Home::new(&[]);
    let lease = home.lease("laptop2", &[]);
    home.postern.crash_daemon();
    let router = home.lab.router();
    router.ok(&["kill", "-KILL", &home.pid().expect("dnsmasq runs")]);
    // As it lay then: beside the store, and beside what the PPPoE unit is told.
    let script = "cd /run/postern; mkdir -p door/services; mv door/programs/dnsmasq.* door/services; \
                  mv state/programs/dnsmasq.leases state; rm -r state/programs; chown -R postern: door/services";
    router.ok(&["sh", "-ec", script]);
    let may = "=-all,+net_admin,+net_raw,+net_bind_service";
    let (inherited, ambient) = (format!("--inh-caps{may}"), format!("--ambient-caps{may}"));
    router.ok(&[
        "setpriv",
        "--reuid=postern",
        "--regid=postern",
        "--init-groups",
        &inherited,
        &ambient,
        "dnsmasq",
        "--conf-file=/run/postern/door/services/dnsmasq.conf",
        "--pid-file=/run/postern/state/dnsmasq.pid",
        "--dhcp-leasefile=/run/postern/state/dnsmasq.leases",
    ]);
    let all = || router.run(&["pgrep", "--full", "--", "--pid-file=/run/postern/state/"]).out.lines().count();
    assert_eq!((all(), home.running()), (1, 0), "the probe: one of before runs");

    home.postern.start_daemon();
    assert_eq!((all(), home.running()), (1, 1), "{}", home.postern.daemon_said());
    assert_eq!(home.device("02:00:00:00:01:66")["address"], field(&lease, "lease"));
    assert_eq!(field(&home.lease("laptop2", &[]), "lease"), field(&lease, "lease"));
    let left = router.run(&["sh", "-c", "ls /run/postern/state | grep dnsmasq"]);
    assert_eq!(left.out, "", "nothing is left in the old place");
}

#[test]
fn what_dnsmasq_refuses_changes_nothing_and_is_said_in_its_words() {
    let home = Home::new(&["local_network.dns.enabled=false"]);
    let router = home.lab.router();
    let _other = router.spawn(&[
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--user=root",
        "--pid-file=/run/lab/other.pid",
        "--no-resolv",
        "--listen-address=192.168.1.1",
        "--bind-interfaces",
        "--address=/other.example/192.0.2.1",
    ]);
    let laptop = home.lab.host("laptop2");
    let up = || (ask(&laptop, "192.168.1.1", "other.example") == "192.0.2.1").then_some(());
    assert!(wait::until(SOON, up).is_some(), "the other name server runs");
    let before = (home.postern.table(), home.postern.ok(&["get"]));
    let refused = home.postern.cli(&["set", "local_network.dns.enabled=true", "firewall.ping=true"]);
    assert_eq!(refused.code, 1);
    assert!(refused.err.contains("Address already in use"), "{}", refused.err);
    assert_eq!((home.postern.table(), home.postern.ok(&["get"])), before);
    assert_eq!(home.running(), 1, "the one of before runs again");
    assert!(home.lease("laptop1", &[]).contains("192.168.1."));
}

#[test]
fn hostile_names_are_text() {
    let home = Home::new(&[]);
    let names: [&[u8]; 5] = [
        b"<script>alert(1)</script>",
        b"x\n0 02:00:00:00:09:09 192.168.1.9 evil *\n",
        b"\x1b[2J\xff\xfe",
        b"wpad",
        &[b'a'; 250],
    ];
    for name in names {
        let hex: String = name.iter().map(|byte| format!("{byte:02x}")).collect();
        home.lease("phone", &["-x", &format!("0x0c:{hex}")]);
        let all = home.postern.json(&["devices"]);
        let leases =
            all.as_array().map_or(0, |all| all.iter().filter(|device| device["ends"].is_i64()).count());
        assert_eq!(leases, 1, "no lease is made up: {all}");
        assert!(!all.to_string().contains("02:00:00:00:09:09"), "no device is made up: {all}");
        let phone = home.device("02:00:00:00:01:67");
        let shown = phone["calls_itself"].as_str().unwrap_or_default();
        assert!(shown.chars().count() <= 63 && !shown.chars().any(char::is_control), "{name:?}: {shown:?}");
        assert!(!home.postern.ok(&["devices"]).contains('\x1b'));
    }
    assert_eq!(ask(&home.lab.host("laptop2"), "192.168.1.1", "wpad.home.arpa"), "", "a name nobody gets");
}

#[test]
fn without_a_role_or_a_wish_none_runs() {
    let home = Home::new(&[]);
    assert_eq!(home.running(), 1);
    home.postern.set(&["local_network.dhcp.enabled=false", "local_network.dns.enabled=false"]);
    assert_eq!(home.running(), 0);
    assert_eq!(home.postern.json(&["status"])["dhcp_dns"]["is"], "off");
    home.postern.set(&["local_network.dhcp.enabled=true"]);
    assert_eq!(home.running(), 1);
    home.postern.set(&["role=unset"]);
    assert_eq!(home.running(), 0);
}
