//! Ping, route trace and name lookup from the router, at real hosts and a real DNS server.

use lab::wait::{self, SOON};
use lab::{Lab, PASSWORD, Postern, Process, address6};

/// The provider's DNS server, on the internet.
fn dns(lab: &Lab) -> Process {
    let mut server = lab.host("server1").spawn(&[
        "dnsmasq",
        "--keep-in-foreground",
        "--log-facility=-",
        "--conf-file=/dev/null",
        "--pid-file=/run/lab/dns.pid",
        "--user=root",
        "--no-resolv",
        "--no-hosts",
        "--interface=eth0",
        "--bind-interfaces",
        "--address=/gate.example.com/203.0.113.20",
        "--cname=vpn.example.com,gate.example.com",
        "--host-record=gate.example.com,203.0.113.20",
        "--local=/example.com/",
    ]);
    server.wait_for_line("started", SOON);
    server
}

fn home() -> (Lab, Postern, Process) {
    let lab = Lab::new();
    let dns = dns(&lab);
    let postern = lab.postern_router();
    // dnsmasq takes the addresses of documentation for private ones (RFC 5737).
    postern.set(&["internet.dns=203.0.113.10", "local_network.dns.rebind_protection=false"]);
    (lab, postern, dns)
}

#[test]
fn a_host_that_answers_one_that_does_not_and_one_without_a_way_are_told_apart() {
    let (lab, postern, _dns) = home();
    let said = postern.ok(&["ping", "203.0.113.10"]);
    assert_eq!(said.lines().count(), 6, "five answers and a verdict: {said}");
    assert!(said.contains("203.0.113.10 answered 5 of 5 times"), "{said}");
    assert!(postern.ok(&["ping", "192.168.1.101"]).contains("answered 5 of 5"), "a device of the home");
    assert!(postern.ok(&["ping", &address6("server1").to_string()]).contains("answered 5 of 5"), "IPv6");
    let _silent = lab.silence("server2");
    let said = postern.ok(&["ping", "203.0.113.20"]);
    assert!(said.contains("3  no answer") && said.contains("did not answer"), "{said}");
    lab.router().ok(&["ip", "route", "add", "unreachable", "192.0.2.0/24"]);
    assert!(postern.ok(&["ping", "192.0.2.1"]).contains("no route there"));
    let internet = lab.host("internet");
    internet.ok(&["ip", "route", "add", "prohibit", "192.0.2.128/25"]);
    lab.router().ok(&["ip", "route", "add", "192.0.2.128/25", "via", "198.51.100.1"]);
    let said = postern.ok(&["ping", "192.0.2.129"]);
    assert!(said.contains("198.51.100.1") && said.contains("its rules forbid it"), "{said}");
}

#[test]
fn a_trace_names_every_router_on_the_way_and_where_it_ends() {
    let (lab, postern, _dns) = home();
    let said = postern.ok(&["trace", "203.0.113.10"]);
    let lines: Vec<Vec<&str>> = said.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(
        (lines[0][..2].join(" "), lines[1][..2].join(" ")),
        ("1 198.51.100.1".into(), "2 203.0.113.10".into())
    );
    assert!(said.ends_with("203.0.113.10 is 2 hops away.\n"), "{said}");
    let report = postern.json(&["trace", &address6("server1").to_string()]);
    assert_eq!(report["rows"].as_array().map(Vec::len), Some(2), "{report:#}");
    let quiet =
        "table ip quiet {\n chain in {\n type filter hook input priority 0; meta l4proto icmp drop;\n }\n}\n";
    lab.host("server2").ok_with(&["nft", "-f", "-"], quiet);
    let said = postern.ok(&["trace", "203.0.113.20"]);
    assert!(said.contains("The last that did is hop 1"), "{said}");
    let said = postern.ok(&["trace", "203.0.113.99"]);
    assert!(said.contains("The way ends at 198.51.100.1: it says that the host does not answer"), "{said}");
}

#[test]
fn names_are_asked_of_the_dns_of_the_home_and_what_is_no_host_is_refused() {
    let (_lab, postern, dns) = home();
    let said = postern.ok(&["lookup", "vpn.example.com"]);
    assert!(said.contains("CNAME  gate.example.com") && said.contains("A      203.0.113.20"), "{said}");
    assert!(said.contains("vpn.example.com has one address."), "{said}");
    let own = format!("{}.home.arpa", postern.ok(&["get", "system.name"]).trim());
    assert!(postern.ok(&["lookup", &own]).contains("192.168.1.1"), "only our own DNS knows that");
    let said = postern.ok(&["lookup", "192.168.1.1"]);
    assert!(said.contains("PTR    ") && said.contains("192.168.1.1 has a name."), "{said}");
    assert!(postern.ok(&["lookup", "none.example.com"]).contains("There is no none.example.com."));
    assert!(postern.ok(&["ping", "vpn.example.com"]).contains("203.0.113.20 answered 5 of 5"));
    for odd in ["a b", "$(reboot)", "-c", "224.0.0.1", "x;y"] {
        let refused = postern.cli(&["ping", "--", odd]);
        assert_eq!(refused.code, 1, "{odd}: {refused:?}");
    }
    drop(dns);
    let said = postern.ok(&["lookup", "other.example.org"]);
    assert!(["did not answer", "refuses", "cannot be asked"].iter().any(|why| said.contains(why)), "{said}");
}

#[test]
fn the_page_asks_and_shows_what_came() {
    let (lab, mut postern, _dns) = home();
    postern.start_web(&lab);
    let mut owner = postern.visitor(&lab, "laptop1");
    let form = owner.form("/login", "password").fill("password", PASSWORD);
    assert_eq!(owner.submit("/login", &form).status, 303);
    let form = owner.form("/tools", "target").choose("tool", "trace").fill("target", "vpn.example.com");
    assert_eq!(owner.submit("/tools", &form).status, 303);
    let page = wait::until(SOON, || {
        let page = owner.get("/tools").body;
        page.contains("is 2 hops away").then_some(page)
    });
    let page = page.unwrap_or_else(|| panic!("{}", owner.get("/tools").body));
    for part in ["The way to vpn.example.com (203.0.113.20)", "198.51.100.1", "<rect "] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("http-equiv=\"refresh\""), "it is over: {page}");
}
