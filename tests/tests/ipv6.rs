//! IPv6 from the provider: a real DHCPv6 server delegates a prefix, real router advertisements bring the route, the home gets
//! addresses of it, and nothing comes in that way.

use std::net::Ipv6Addr;

use lab::wait::{self, SOON};
use lab::{Host, Kind, Lab, Postern, Process, ROUTER_SETTINGS, address6};

/// Who the router is to DHCPv6 (RFC 8415 section 11.2): dhcpcd keeps it here, and the provider's server knows its customers by it.
const DUID: &str = "00:01:00:01:2b:ee:e4:5d:02:00:00:00:00:02";
const FIRST: &str = "2001:db8:a00:";
const SECOND: &str = "2001:db8:b00:";

struct Line {
    lab: Lab,
    postern: Postern,
    advertises: Option<Process>,
    delegates: Option<Process>,
}

impl Line {
    /// A router that takes IPv6, and nobody who gives any: nothing in the lab's router and laptop has an IPv6 address set by hand.
    fn new() -> Self {
        let lab = Lab::new();
        let outer = lab.outer();
        let found =
            outer.run(&["sh", "-c", "command -v dhcpcd && command -v dhcp6s && command -v dnsmasq"]).ok();
        assert!(found, "dhcpcd, dhcp6s or dnsmasq is missing: tests/run installs them");
        outer.ok_with(
            &["sh", "-eu", "-s"],
            &format!(
                "mount -t tmpfs lab /var/lib/dhcpcd\nmkdir /run/dhcpcd\necho {DUID} > /var/lib/dhcpcd/duid\n\
                 chown -R postern:postern /run/dhcpcd /var/lib/dhcpcd\n[ ! -d /var/lib/dhcpv6 ] || mount -t tmpfs lab /var/lib/dhcpv6\n\
                 for host in router laptop1; do for device in lan0 wan0 eth0; do\n\
                 ip -n $host -6 addr flush dev $device scope global 2>/dev/null || true\ndone\n\
                 ip -n $host -6 route flush default\ndone\nip -n internet -6 route del 2001:db8:1::/64\n"
            ),
        );
        let postern = lab.postern();
        postern.claim();
        postern.set(&ROUTER_SETTINGS);
        postern.ok(&["confirm"]);
        Self { lab, postern, advertises: None, delegates: None }
    }

    fn internet(&self) -> Host {
        self.lab.host("internet")
    }

    /// From now on the provider's router advertises itself, and an address for the customer's port.
    fn advertises(&mut self) {
        self.advertises = Some(self.internet().spawn(&[
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--pid-file=/run/lab/advertises.pid",
            "--dhcp-leasefile=/run/lab/advertises.leases",
            "--user=root",
            "--port=0",
            "--interface=customer",
            "--bind-interfaces",
            "--enable-ra",
            "--dhcp-range=2001:db8:2::,ra-only,64",
        ]));
    }

    /// From now on the provider's real DHCPv6 server delegates this /56 to us alone, and its router sends it our way.
    fn delegates(&mut self, prefix: &str, name_server: &str) {
        self.delegates = None;
        let config = format!(
            "option domain-name-servers {name_server};\nhost us {{ duid {DUID}; prefix {prefix}:/56 20 40; }};\n"
        );
        self.lab.outer().write("/run/lab/dhcp6s.conf", config);
        self.lab.outer().write("/run/lab/dhcp6s.key", "");
        let route = format!("{prefix}:/56");
        let us = "fe80::ff:fe00:2";
        self.internet().ok(&["ip", "-6", "route", "replace", &route, "via", us, "dev", "customer"]);
        self.delegates = Some(self.internet().spawn(&[
            "dhcp6s",
            "-f",
            "-D",
            "-c",
            "/run/lab/dhcp6s.conf",
            "-k",
            "/run/lab/dhcp6s.key",
            "-P",
            "/run/lab/dhcp6s.pid",
            "customer",
        ]));
    }

    fn state(&self) -> serde_json::Value {
        self.postern.json(&["status"])["internet_state"]["ipv6"].clone()
    }

    /// What a host has of IPv6: addresses of the internet with their words, and default routes.
    fn has(&self, host: &str, device: &str) -> String {
        let host = self.lab.host(host);
        let addresses = host.ok(&["ip", "-6", "-o", "addr", "show", "dev", device, "scope", "global"]);
        addresses + &host.ok(&["ip", "-6", "route", "show", "default"])
    }

    /// The laptop's address of this prefix that it uses for what is new.
    fn laptop(&self, prefix: &str) -> Option<Ipv6Addr> {
        let all = self
            .lab
            .host("laptop1")
            .ok(&["ip", "-6", "-o", "addr", "show", "dev", "eth0", "scope", "global"]);
        let line = all.lines().find(|line| line.contains(prefix) && !line.contains("deprecated"))?;
        let words: Vec<&str> = line.split_whitespace().collect();
        words.iter().find_map(|word| word.strip_suffix("/64")?.parse().ok())
    }

    #[track_caller]
    fn wait_for<T>(&self, what: &str, holds: impl Fn() -> Option<T>) -> T {
        // The longest way: a renewal after 10 s, refused, and asked anew.
        let Some(found) = wait::until(SOON * 6, holds) else {
            panic!(
                "{what}:\nrouter: {}{}\nlaptop: {}\n{}\nprovider: {:?}\n{}",
                self.has("router", "lan0"),
                self.has("router", "wan0"),
                self.has("laptop1", "eth0"),
                self.state(),
                self.delegates.as_ref().map(Process::said),
                self.postern.daemon_said()
            )
        };
        found
    }

    #[track_caller]
    fn switch_on(&self) {
        self.postern.set(&["internet.ipv6=true"]);
    }

    fn client(&self) -> String {
        self.lab.outer().run(&["pgrep", "--full", "--", "^dhcpcd: wan0"]).out
    }
}

#[test]
fn the_home_gets_addresses_of_the_providers_prefix_and_the_internet_over_ipv6_and_nothing_comes_in() {
    let mut line = Line::new();
    line.advertises();
    line.delegates(FIRST, "2001:db8:3::10");
    line.switch_on();
    let laptop = line.wait_for("the laptop has an address", || line.laptop(FIRST));
    line.wait_for("the laptop has a route", || {
        line.has("laptop1", "eth0").contains("default via fe80::").then_some(())
    });
    line.wait_for("the router has a route", || {
        line.has("router", "wan0").contains("dev wan0 proto ra").then_some(())
    });
    assert!(line.has("router", "lan0").contains("2001:db8:a00::1/64"), "{}", line.has("router", "lan0"));
    let server = line.lab.host("server1").echo(&[Kind::Udp(9000), Kind::Tcp(9001)]);
    for kind in [Kind::Udp(9000), Kind::Tcp(9001)] {
        let probe = line.lab.host("laptop1").probe(kind, address6("server1"));
        assert_eq!(probe.answered, 1, "{kind}: {probe:?}");
    }
    let from = server.heard();
    assert!(!from.is_empty());
    // Names, at the router's own address of this link, which the advertisement brought.
    let named = line.lab.host("laptop1").run(&[
        "dig",
        "+short",
        "+time=2",
        "+tries=5",
        "-6",
        "@2001:db8:a00::1",
        "postern.home.arpa",
    ]);
    assert_eq!(named.out.trim(), "192.168.1.1", "{}", named.err);
    // Inbound: the probe, then the wall.
    let device = line.lab.host("laptop1").echo(&[Kind::Udp(7000), Kind::Tcp(7000)]);
    let attacker = line.lab.host("attacker");
    for kind in [Kind::Udp(7000), Kind::Tcp(7000)] {
        let probe = attacker.knock(kind, laptop);
        assert_eq!(probe.answered, 0, "{kind}: {probe:?}");
    }
    assert!(!attacker.run(&["ping", "-6", "-c", "1", "-W", "1", &laptop.to_string()]).ok());
    assert!(
        !attacker.run(&["ping", "-6", "-c", "1", "-W", "1", "2001:db8:a00::1"]).ok(),
        "nor to the router"
    );
    assert!(device.heard().is_empty(), "{:?}", device.heard());
    // What the rules forbid would have got there without them: so the probe would have seen a leak.
    line.lab.router().ok(&["nft", "add", "table", "inet", "postern", "{", "flags", "dormant", ";", "}"]);
    let seen = wait::until(SOON, || (attacker.knock(Kind::Udp(7000), laptop).answered > 0).then_some(()));
    assert!(seen.is_some(), "the probe sees a leak");
    line.lab.router().ok(&["nft", "add", "table", "inet", "postern"]);
}

#[test]
fn the_client_runs_without_root_tells_what_came_and_the_daemon_that_comes_back_keeps_it() {
    let mut line = Line::new();
    line.advertises();
    line.delegates(FIRST, "2001:db8:3::10");
    line.switch_on();
    line.wait_for("the prefix is told", || {
        (line.state()["prefixes"][0]["prefix"] == "2001:db8:a00::").then_some(())
    });
    line.wait_for("the route is told", || line.state()["gateway"].as_str().map(str::to_owned));
    assert_eq!(line.state()["prefixes"][0]["length"], 56);
    assert_eq!(line.state()["home"], serde_json::json!(["2001:db8:a00::1"]));
    let first = line.client();
    let uid = line.lab.outer().ok(&["ps", "-o", "user=", "-p", first.trim()]);
    assert_eq!(uid.trim(), "postern");
    let mut line = line;
    line.postern.crash_daemon();
    assert_eq!(line.client(), first, "it outlives the daemon");
    let watch = line.lab.router().spawn(&["ip", "-6", "-o", "monitor", "address", "dev", "lan0"]);
    line.postern.start_daemon();
    line.wait_for("the next daemon has one of its own", || {
        let now = line.client();
        (now.lines().count() == 1 && now != first).then_some(())
    });
    line.wait_for("it is told again", || {
        (line.state()["prefixes"][0]["prefix"] == "2001:db8:a00::").then_some(())
    });
    assert!(!watch.out().iter().any(|l| l.contains("Deleted")), "{:?}", watch.out());
    assert!(!line.postern.json(&["status"])["needs_mending"].as_bool().unwrap_or(true));
}

#[test]
fn a_prefix_that_changes_is_followed_and_the_old_one_is_used_for_nothing_new() {
    let mut line = Line::new();
    line.advertises();
    line.delegates(FIRST, "2001:db8:3::10");
    line.switch_on();
    line.wait_for("the laptop has an address", || line.laptop(FIRST));
    line.delegates(SECOND, "2001:db8:3::10");
    line.wait_for("the laptop has an address of the new prefix", || line.laptop(SECOND));
    line.wait_for("the old one is deprecated or gone", || line.laptop(FIRST).is_none().then_some(()));
    let router = line.has("router", "lan0");
    assert!(router.contains("2001:db8:b00::1/64") && !router.contains("2001:db8:a00:"), "{router}");
    let _server = line.lab.host("server1").echo(&[Kind::Udp(9000)]);
    assert_eq!(line.lab.host("laptop1").probe(Kind::Udp(9000), address6("server1")).answered, 1);
    // Nobody renews it: it ends by itself.
    line.delegates = None;
    line.wait_for("a prefix that ended is gone from the home", || {
        (!line.has("router", "lan0").contains("2001:db8:") && line.laptop(SECOND).is_none()).then_some(())
    });
}

#[test]
fn switched_off_nothing_of_it_runs_and_what_came_is_gone() {
    let mut line = Line::new();
    line.advertises();
    line.delegates(FIRST, "2001:db8:3::10");
    assert_eq!(line.client(), "", "off from the beginning");
    assert_eq!((line.has("router", "wan0"), line.has("router", "lan0")), (String::new(), String::new()));
    line.switch_on();
    line.wait_for("the laptop has an address", || line.laptop(FIRST));
    line.wait_for("the router has a route", || {
        line.has("router", "wan0").contains("dev wan0 proto ra").then_some(())
    });
    let accepts =
        || line.lab.router().ok(&["sysctl", "-n", "net.ipv6.conf.wan0.accept_ra"]).trim().to_owned();
    assert_eq!(accepts(), "2");
    line.postern.set(&["internet.ipv6=false"]);
    assert_eq!((line.client().as_str(), accepts().as_str()), ("", "0"));
    line.wait_for("addresses and routes are gone", || {
        (line.has("router", "wan0") + &line.has("router", "lan0")).is_empty().then_some(())
    });
    assert_eq!(line.state()["client"]["is"], "off");
}
