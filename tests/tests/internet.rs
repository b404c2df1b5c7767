//! The internet address from the provider: by real DHCP, and what an honest server never says.

use lab::wait::{self, SOON};
use lab::{Host, Kind, Lab, Postern, Process, address};

/// What makes the lab's router one that asks the provider.
const BY_DHCP: [&str; 4] =
    ["role=router", "internet.device=wan0", "internet.mode=dhcp", "local_network.devices=lan0"];
const LIVE: Kind = Kind::Udp(9000);

struct Line {
    lab: Lab,
    postern: Postern,
    provider: Option<Process>,
}

impl Line {
    /// A router without an internet address yet; nobody lends one.
    fn new() -> Self {
        let lab = Lab::new();
        let found = lab.outer().run(&["sh", "-c", "command -v udhcpc && command -v dnsmasq"]).ok();
        assert!(found, "udhcpc or dnsmasq is missing: tests/run installs them");
        let postern = lab.postern();
        postern.claim();
        postern.set(&BY_DHCP);
        postern.ok(&["confirm"]);
        Self { lab, postern, provider: None }
    }

    /// From now on the provider's real DHCP server lends this one address.
    fn lends(&mut self, address: &str, more: &[&str]) {
        self.provider = None;
        let _ = std::fs::remove_file(self.lab.outer().path("/run/lab/provider.leases"));
        self.provider = Some(self.lab.dhcp_provider(address, address, more));
    }

    /// From now on something lends that says anything.
    fn says(&mut self, address: &str, options: &[&str]) {
        self.provider = None;
        let mut words = vec!["postern-lab", "dhcp-server", address, "198.51.100.255"];
        words.extend_from_slice(options);
        let mut provider = self.internet().spawn(&words);
        provider.wait_for_line("ready", SOON);
        self.provider = Some(provider);
    }

    fn internet(&self) -> Host {
        self.lab.host("internet")
    }

    fn state(&self) -> serde_json::Value {
        self.postern.json(&["status"])["internet_state"].clone()
    }

    fn wan(&self) -> String {
        self.lab.router().ok(&["ip", "-4", "-o", "addr", "show", "dev", "wan0"])
    }

    fn route(&self) -> String {
        self.lab.router().ok(&["ip", "-4", "route", "show", "default"])
    }

    #[track_caller]
    fn wait_for(&self, what: &str, holds: impl Fn() -> bool) {
        let waited = wait::until(SOON * 3, || holds().then_some(()));
        assert!(
            waited.is_some(),
            "{what}: {}\n{}\n{}\n{}",
            self.wan(),
            self.route(),
            self.state(),
            self.postern.daemon_said()
        );
    }

    fn running(&self) -> String {
        self.lab.outer().run(&["pgrep", "--full", "--", "-p /run/postern/state/programs/udhcpc.pid"]).out
    }
}

const GOOD: [&str; 4] = [
    "--dhcp-option=option:router,198.51.100.1",
    "--dhcp-option=option:dns-server,203.0.113.10,127.0.0.1",
    "--log-dhcp",
    "--log-facility=-",
];

#[test]
fn the_provider_lends_an_address_and_the_home_has_internet_and_names() {
    let mut line = Line::new();
    line.lends("198.51.100.50", &GOOD);
    line.wait_for("the lease is in force", || {
        line.wan().contains("198.51.100.50/24") && line.route().contains("via 198.51.100.1 dev wan0")
    });
    let _server = line.lab.host("server1").echo(&[LIVE]);
    line.lab.host("laptop1").flow(LIVE, address("server1")).wait_answers(5);
    let dns = line.lab.host("server1").spawn(&[
        "dnsmasq",
        "--keep-in-foreground",
        "--conf-file=/dev/null",
        "--pid-file=/run/lab/dns.pid",
        "--user=root",
        "--no-resolv",
        "--no-hosts",
        "--listen-address=203.0.113.10",
        "--bind-interfaces",
        "--address=/good.example/198.18.0.1",
    ]);
    let asked = || {
        line.lab
            .host("laptop1")
            .run(&["dig", "+short", "+time=1", "+tries=1", "@192.168.1.1", "good.example"])
            .out
    };
    line.wait_for("the provider's name server is asked", || asked().trim() == "198.18.0.1");
    drop(dns);
    let state = line.state();
    assert_eq!(state["lease"]["server"], "198.51.100.1");
    assert_eq!(state["lease"]["dns"], serde_json::json!(["203.0.113.10"]), "not this box itself");
    assert!(state["left"].as_u64().is_some_and(|left| (60..=120).contains(&left)), "{state}");
    assert_eq!(state["behind"], serde_json::Value::Null);
    let uid = line.lab.outer().ok(&["ps", "-o", "user=", "-p", line.running().trim()]);
    assert_eq!(uid.trim(), "postern", "it does not run as root");
    assert!(!line.postern.json(&["status"])["needs_mending"].as_bool().unwrap_or(true));
}

#[test]
fn a_new_address_comes_before_the_old_one_goes_and_what_was_translated_to_it_ends() {
    let mut line = Line::new();
    line.lends("198.51.100.50", &GOOD);
    line.wait_for("the lease is in force", || line.wan().contains("198.51.100.50/24"));
    let _server = line.lab.host("server1").echo(&[LIVE]);
    let flow = line.lab.host("laptop1").flow(LIVE, address("server1"));
    flow.wait_answers(5);
    let router = line.lab.router();
    let entries = |address: &str| router.run(&["conntrack", "-L", "-q", address]).out;
    assert!(entries("198.51.100.50").contains("9000"), "the probe sees the entry");
    let watch = line.lab.router().spawn(&["ip", "-4", "-o", "monitor", "address"]);
    line.lends("198.51.100.60", &GOOD);
    line.lab.outer().ok(&["kill", "-USR1", line.running().trim()]);
    line.wait_for("the new address is in force alone", || {
        line.wan().contains("198.51.100.60/24") && !line.wan().contains("198.51.100.50")
    });
    line.wait_for("the home goes on with the new address", || entries("198.51.100.60").contains("9000"));
    assert_eq!(entries("198.51.100.50"), "", "nothing is translated to the old address any more");
    drop(flow);
    let told = wait::until(SOON, || {
        let told = watch.out();
        told.iter().any(|l| l.contains("Deleted") && l.contains("198.51.100.50")).then_some(told)
    });
    let told = told.expect("the old address went");
    let at = |what: &dyn Fn(&&String) -> bool| told.iter().position(|line| what(&line));
    let (came, went) =
        (at(&|l| l.contains("198.51.100.60")), at(&|l| l.contains("Deleted") && l.contains("198.51.100.50")));
    assert!(came < went, "the new one was added first: {told:#?}");
    assert!(line.route().contains("via 198.51.100.1"), "{}", line.route());
}

#[test]
fn the_lease_outlives_the_daemon_and_the_next_one_asks_for_the_same_address() {
    let mut line = Line::new();
    line.lends("198.51.100.50", &GOOD);
    line.wait_for("the lease is in force", || line.wan().contains("198.51.100.50/24"));
    let _server = line.lab.host("server1").echo(&[LIVE]);
    let flow = line.lab.host("laptop1").flow(LIVE, address("server1"));
    flow.wait_answers(10);
    let first = line.running();
    line.postern.crash_daemon();
    assert_eq!(line.running(), first, "it outlives the daemon");
    line.postern.start_daemon();
    assert_eq!(line.running().lines().count(), 1);
    assert_ne!(line.running(), first, "the next daemon has one of its own");
    flow.wait_answers(10);
    assert!(flow.lost(std::time::Duration::from_millis(500)).is_empty(), "{}", flow.tail());
    assert!(line.wan().contains("198.51.100.50/24"));
    line.lab.outer().ok(&["kill", "-KILL", line.running().trim()]);
    line.wait_for("it is started again", || line.running().lines().count() == 1);
    line.wait_for("its lease is in force", || line.wan().contains("198.51.100.50/24"));
    line.postern.set(&[
        "internet.mode=static",
        "internet.address=198.51.100.2/24",
        "internet.gateway=198.51.100.1",
    ]);
    assert_eq!(line.running(), "", "static mode needs none");
    assert!(line.wan().contains("198.51.100.2/24") && !line.wan().contains("198.51.100.50"));
}

#[test]
fn a_lease_from_before_the_programs_had_a_folder_stays_in_force_while_nobody_lends() {
    let mut line = Line::new();
    line.lends("198.51.100.50", &GOOD);
    line.wait_for("the lease is in force", || line.wan().contains("198.51.100.50/24"));
    line.postern.crash_daemon();
    line.provider = None;
    let script = "cd /run/postern/door; mkdir -p services; chown postern: services; mv programs/internet.lease services";
    line.lab.outer().ok(&["sh", "-ec", script]);
    line.postern.start_daemon();
    assert!(line.wan().contains("198.51.100.50/24"), "{}\n{}", line.wan(), line.postern.daemon_said());
}

#[test]
fn a_cable_that_was_out_and_leads_elsewhere_now_brings_the_address_of_there() {
    let mut line = Line::new();
    line.lends("198.51.100.50", &GOOD);
    line.wait_for("the lease is in force", || line.wan().contains("198.51.100.50/24"));
    line.internet().ok(&["ip", "link", "set", "customer", "down"]);
    line.wait_for("the missing cable is told", || {
        line.postern.ok(&["status"]).contains("The internet port wan0 has no link")
    });
    line.wait_for("the daemon has seen it by itself", || {
        line.postern.daemon_said().contains("the internet port has no link")
    });
    line.internet().ok(&["ip", "link", "set", "customer", "up"]);
    line.lends("198.51.100.70", &GOOD);
    line.wait_for("the address of there is in force", || {
        line.wan().contains("198.51.100.70/24") && !line.wan().contains("198.51.100.50")
    });
}

#[test]
fn an_address_of_the_homes_own_network_is_refused_and_another_network_is_offered() {
    let mut line = Line::new();
    line.internet().ok(&["ip", "addr", "add", "192.168.1.254/24", "dev", "customer"]);
    line.lends("192.168.1.50", &["--dhcp-option=option:router,192.168.1.254"]);
    line.wait_for("the clash is told", || line.state()["clash"]["free"] == "192.168.77.1/24");
    assert_eq!(line.wan(), "", "it is not used");
    assert!(!line.lab.router().ok(&["ip", "-4", "route"]).contains("wan0"), "no route on that link");
    line.lab.host("laptop1").ok(&["ping", "-c", "1", "-w", "5", "192.168.1.1"]);
    let said = line.postern.ok(&["status"]);
    assert!(said.contains("192.168.77.1/24"), "{said}");
    line.postern.set(&["local_network.address=192.168.77.1/24"]);
    line.postern.ok(&["confirm"]);
    line.wait_for("then it is used", || line.wan().contains("192.168.1.50/24"));
    assert_eq!(line.state()["behind"], "another_router", "a private address: the provider translates too");
    line.internet().ok(&["ip", "addr", "add", "100.64.0.1/24", "dev", "customer"]);
    line.lends("100.64.0.9", &["--dhcp-option=option:router,100.64.0.1"]);
    line.lab.outer().ok(&["kill", "-USR1", line.running().trim()]);
    line.wait_for("carrier-grade NAT is recognised", || line.state()["behind"] == "carrier");
}

#[test]
fn what_an_honest_server_never_says_changes_nothing() {
    let mut line = Line::new();
    let mask = "1=ffffff00";
    let server = "54=c6336401"; // 198.51.100.1
    let short = "51=0000000a"; // ten seconds
    for (lends, options) in [
        ("127.0.0.1", vec![mask, server, short]),
        ("224.0.0.5", vec![mask, server, short]),
        ("198.51.100.0", vec![mask, server, short]),
        ("198.51.100.50", vec!["1=00000000", server, short]),
        ("198.51.100.50", vec!["1=ff00ff00", server, short]),
    ] {
        line.says(lends, &options);
        line.wait_for("it is told that the answer cannot be used", || line.state()["unusable"].is_string());
        assert_eq!((line.wan(), line.route()), (String::new(), String::new()), "{lends} {options:?}");
        line.provider = None;
    }
    // Routes, a host name with a command in it, and name servers that are none; and it ends by itself after ten seconds.
    let hostile = [
        mask,
        server,
        short,
        "3=c6336401",
        "6=7f000001e0000001cb00710a",
        "12=2428746f756368202f72756e2f6c61622f68757274293b",
        "121=00c6336401",
        "33=c0a80000c6336401",
    ];
    line.says("198.51.100.50", &hostile);
    line.wait_for("the address alone is used", || line.wan().contains("198.51.100.50/24"));
    assert_eq!(line.state()["lease"]["dns"], serde_json::json!(["203.0.113.10"]));
    assert!(
        !line.lab.router().ok(&["ip", "-4", "route"]).contains("192.168.0.0"),
        "no route but the default one"
    );
    assert!(!line.lab.outer().path("/run/lab/hurt").exists(), "no word of it was run");
    line.provider = None;
    line.wait_for("a lease that ended takes its address with it", || {
        line.wan().is_empty() && line.route().is_empty()
    });
    assert!(line.postern.ok(&["status"]).contains("loaded"));
}

#[test]
fn size_and_mac_address_of_the_internet_port_are_as_told_and_segments_fit() {
    let mut line = Line::new();
    line.lends("198.51.100.50", &GOOD);
    line.wait_for("the lease is in force", || line.wan().contains("198.51.100.50/24"));
    let syn = |server: &str| {
        let mut words =
            vec!["tcpdump", "-l", "-n", "-i", "customer", "-c", "1", "tcp[tcpflags] & tcp-syn != 0"];
        words[0] = "tcpdump";
        let mut heard = line.internet().spawn(&words);
        heard.wait_for_line("listening on", SOON);
        let _ = line.lab.host("laptop1").run(&[
            "postern-lab",
            "probe",
            "tcp:7000",
            server,
            "--for-ms",
            "500",
            "--once",
        ]);
        heard.wait_for_line("mss ", SOON)
    };
    let server = address("server1").to_string();
    assert!(syn(&server).contains("mss 1460"), "the probe sees what Ethernet carries");
    line.postern.set(&["internet.mtu=1400"]);
    let link = || line.lab.router().ok(&["ip", "link", "show", "wan0"]);
    assert!(link().contains("mtu 1400"), "{}", link());
    let lowered = syn(&server);
    assert!(lowered.contains("mss 1360"), "{lowered}");
    line.postern.set(&["internet.mss_clamp=false"]);
    assert!(syn(&server).contains("mss 1460"));
    line.postern.set(&["internet.mtu=auto", "internet.mac=02:00:00:00:77:07"]);
    assert!(link().contains("mtu 1500") && link().contains("02:00:00:00:77:07"), "{}", link());
    // Who is known by another MAC address is another customer, and gets another address.
    line.lends("198.51.100.51", &GOOD);
    line.wait_for("the provider knows it by its new MAC address", || {
        let leases = line.internet().run(&["cat", "/run/lab/provider.leases"]).out;
        leases.contains("01:02:00:00:00:77:07")
    });
}

#[test]
fn two_ports_become_one_network_and_part_again() {
    let mut line = Line::new();
    let phone = line.lab.host("phone");
    // The phone's cable, out of the switch and into a second port of the router.
    line.lab.outer().ok(&[
        "ip",
        "-n",
        "lan-switch",
        "link",
        "set",
        "phone",
        "netns",
        "router",
        "name",
        "lan1",
    ]);
    line.lab.router().ok(&["ip", "link", "set", "lan1", "up"]);
    let reaches = |host: &Host, to: &str| host.run(&["ping", "-c", "1", "-w", "3", to]).ok();
    let laptop = line.lab.host("laptop1");
    assert!(reaches(&laptop, "192.168.1.1") && !reaches(&phone, "192.168.1.1"), "the probe");
    let said = line.postern.set(&["local_network.devices=lan0,lan1"]);
    assert!(said.contains("on trial"), "{said}");
    for host in [&laptop, &phone] {
        assert!(reaches(host, "192.168.1.1"));
    }
    assert!(reaches(&phone, "192.168.1.101"), "from one port to the other");
    line.postern.ok(&["confirm"]);
    let state = line.postern.json(&["status"]);
    assert_eq!(
        (&state["needs_mending"], &state["dhcp_dns"]["is"]),
        (&false.into(), &"running".into()),
        "{state}"
    );
    line.lab.router().ok(&["ip", "link", "set", "lan1", "nomaster"]);
    let told = line.postern.ok(&["status"]);
    assert!(told.contains("lan1 no longer belongs"), "{told}");
    line.postern.ok(&["mend"]);
    assert!(reaches(&phone, "192.168.1.101"));
    line.postern.crash_daemon();
    line.postern.start_daemon();
    assert!(reaches(&phone, "192.168.1.101"));
    line.postern.set(&["local_network.devices=lan0"]);
    line.postern.ok(&["confirm"]);
    assert!(reaches(&laptop, "192.168.1.1") && !reaches(&phone, "192.168.1.1"));
    assert!(!line.lab.router().ok(&["ip", "link"]).contains("br-lan"), "the bridge is gone");
    line.lends("198.51.100.50", &GOOD);
    line.wait_for("the internet goes on", || line.wan().contains("198.51.100.50/24"));
}
