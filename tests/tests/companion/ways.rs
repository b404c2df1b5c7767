//! Several ways out of one box: only what goes by the internet side has zones. And our table taken away under live tunnels.

use lab::wait::{self, SOON};
use lab::{Host, Kind, address};

use crate::firewalls::{Beside, Firewall};

/// A second line of the box, `wan1`, to the same internet: what the other firewall sends there is masqueraded there.
fn second_line(beside: &Beside) {
    beside.lab.outer().ok(&[
        "sh",
        "-euc",
        "ip link add wan1 netns router type veth peer name second netns internet
         ip -n internet link set second up; ip -n internet addr add 192.0.2.1/24 dev second
         ip -n router link set wan1 up; ip -n router addr add 192.0.2.2/24 dev wan1",
    ]);
    beside.nft(
        "table inet mine { chain forward { iifname \"lan0\" oifname \"wan1\" accept; }; chain post { oifname \"wan1\" masquerade; }; }",
    );
}

#[track_caller]
fn answered(host: &Host, kind: Kind, server: &str) {
    let flow = host.flow(kind, address(server));
    let works = wait::until(SOON * 2, || (flow.answered().len() >= 10).then_some(()));
    assert!(works.is_some(), "{kind} to {server} should be answered:\n{}", flow.tail());
}

#[test]
fn ike_and_esp_that_leave_by_another_port_are_answered_there_and_the_others_have_their_zones() {
    let beside = Beside::new(Firewall::Hand);
    second_line(&beside);
    let _echo =
        ["server1", "server2"].map(|server| beside.lab.host(server).echo(&[Kind::Ip(50), Kind::Udp(500)]));
    let laptop = |name| beside.lab.host(name);
    let router = beside.lab.router();
    // By a route of its own, as to a site or by another provider.
    router.ok(&["ip", "route", "add", "203.0.113.20/32", "via", "192.0.2.1"]);
    for kind in [Kind::Ip(50), Kind::Udp(500)] {
        answered(&laptop("laptop1"), kind, "server2");
    }
    // By a rule that looks at a mark of theirs, which is set after our zones.
    router.ok(&["ip", "route", "del", "203.0.113.20/32"]);
    router.ok(&["ip", "route", "add", "default", "via", "192.0.2.1", "table", "77"]);
    router.ok(&["ip", "rule", "add", "fwmark", "7", "lookup", "77"]);
    beside.nft(
        "table inet mine { chain marks { type filter hook prerouting priority mangle; ip daddr 203.0.113.20 meta mark set 7; }; }",
    );
    // The same device: there is one at a time where nothing has a zone.
    for kind in [Kind::Ip(50), Kind::Udp(500)] {
        answered(&laptop("laptop1"), kind, "server2");
    }
    // Two devices at one server by the internet side, at the same time.
    let flows: Vec<_> =
        ["laptop1", "laptop2"].map(|name| laptop(name).flow(Kind::Ip(50), address("server1"))).into();
    for flow in &flows {
        let works = wait::until(SOON * 2, || (flow.answered().len() >= 50).then_some(()));
        assert!(works.is_some(), "each has a zone of its own:\n{}", flow.tail());
    }
    let entries = router.ok(&["conntrack", "-L", "-p", "50"]);
    let zoned = |server: &str| {
        let server = format!("dst={}", address(server));
        entries.lines().filter(|line| line.contains(&server) && line.contains("zone=")).count()
    };
    assert_eq!(zoned("server1"), 2, "{entries}");
}

/// The telephone is in a network of its own, as guests are; the other firewall lets it out by the same line.
fn guests(beside: &Beside) {
    beside.lab.outer().ok(&[
        "sh",
        "-euc",
        "ip -n lan-switch link set phone nomaster; ip -n lan-switch link set phone netns router
         ip -n router link set phone name guest0; ip -n router link set guest0 up; ip -n router addr add 192.168.9.1/24 dev guest0
         ip -n phone addr flush dev eth0 scope global; ip -n phone addr add 192.168.9.103/24 dev eth0
         ip -n phone route replace default via 192.168.9.1",
    ]);
    beside.nft("table inet mine { chain forward { iifname \"guest0\" oifname \"wan0\" accept; }; }");
}

#[test]
fn a_guest_and_a_device_of_the_home_both_have_their_tunnel_to_one_server() {
    let beside = Beside::new(Firewall::Hand);
    guests(&beside);
    let _echo = beside.lab.host("server1").echo(&[Kind::Ip(50), Kind::Udp(500)]);
    for kind in [Kind::Udp(500), Kind::Ip(50)] {
        let flows: Vec<_> =
            ["laptop1", "phone"].map(|name| beside.lab.host(name).flow(kind, address("server1"))).into();
        for flow in &flows {
            let works = wait::until(SOON * 3, || (flow.answered().len() >= 50).then_some(()));
            assert!(works.is_some(), "{kind}: each hears its own answers:\n{}", flow.tail());
        }
    }
}

#[test]
fn raw_esp_of_two_devices_goes_on_after_our_table_was_flushed_and_theirs_loaded_anew() {
    let beside = Beside::new(Firewall::Fw4);
    let _echo = beside.lab.host("server1").echo(&[Kind::Ip(50)]);
    let flows =
        ["laptop1", "laptop2"].map(|name| beside.lab.host(name).flow(Kind::Ip(50), address("server1")));
    let go_on = |what: &str| {
        for flow in &flows {
            let before = flow.answered().len();
            let more = wait::until(SOON * 3, || (flow.answered().len() >= before + 40).then_some(()));
            assert!(more.is_some(), "{what}:\n{}\n{}", flow.tail(), beside.postern.daemon_said());
        }
    };
    go_on("from the beginning");
    beside.reload();
    go_on("after a reload of theirs");
    beside.nft("delete table inet postern");
    beside.reload();
    let back = wait::until(SOON, || beside.postern.table().map(drop));
    assert!(back.is_some(), "our table comes back:\n{}", beside.postern.daemon_said());
    go_on("after a flush of ours");
}

#[test]
fn who_may_and_how_many_hold_beside_firewalld_too_and_sessions_are_told_and_ended() {
    let beside = Beside::new(Firewall::Firewalld);
    let postern = &beside.postern;
    let _echo = beside.lab.host("server1").echo(&[Kind::Udp(4500), Kind::Udp(7000)]);
    postern.set(&["passthrough.session_limit.ipsec=1"]);
    let first = beside.lab.host("laptop1").flow(Kind::Udp(4500), address("server1"));
    first.wait_answers(10);
    let second = || beside.lab.host("laptop2").probe(Kind::Udp(4500), address("server1"));
    let probe = second();
    assert!(probe.answered == 0 && probe.refused(), "one place, and it is taken: {probe:?}");
    postern.set(&["passthrough.session_limit.ipsec=none"]);
    assert_eq!(second().answered, 1, "there is room again");
    let said = beside.lab.host("laptop2").ok(&["ip", "-o", "link", "show", "eth0"]);
    let mac = said
        .split_whitespace()
        .skip_while(|word| *word != "link/ether")
        .nth(1)
        .unwrap_or_default()
        .to_owned();
    postern.set(&[&format!("passthrough.devices={mac}")]);
    let answered = first.answered().len();
    let gone = wait::until(SOON, || first.errors().len().checked_sub(1).map(drop));
    assert!(gone.is_some(), "a device that may no longer is told:\n{}", first.tail());
    assert!(first.answered().len() <= answered + 30, "{}", first.tail());
    assert_eq!(second().answered, 1, "the one that may");
    postern.set(&["passthrough.devices=everyone"]);
    first.wait_answers(10);
    let told = postern.json(&["sessions"]);
    let one = told["sessions"]
        .as_array()
        .into_iter()
        .flatten()
        .find(|one| one["device"]["address"] == address("laptop1").to_string() && one["state"] == "open");
    let id = one.and_then(|one| one["id"].as_str()).unwrap_or_else(|| panic!("{told:#}")).to_owned();
    assert!(postern.ok(&["session", "end", &id]).contains("has ended"));
    let before = first.errors().len();
    let refused = wait::until(SOON, || (first.errors().len() > before).then_some(()));
    assert!(refused.is_some(), "an ended session is refused for a minute:\n{}", first.tail());
    assert_eq!(
        beside.lab.host("laptop1").probe(Kind::Udp(7000), address("server1")).answered,
        1,
        "and nothing else"
    );
}
