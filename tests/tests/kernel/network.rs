//! Addresses, links, the default route, sysctls: all of it or nothing.

use std::io;

use postern::kernel::linux::Linux;
use postern::kernel::{Bridge, DefaultRoute, Error, Kernel, Link, Load, Member, Network, configure};

use super::namespace::{kernel_tests, sh};

kernel_tests!(
    every_failure_is_taken_back,
    every_failure_while_ports_are_joined_or_parted_is_taken_back,
    what_was_is_given_back,
    a_missing_device_is_named,
    links_are_seen,
    the_gateway_may_be_outside,
    the_kernels_refusals_are_taken_back,
);

/// A box that somebody has configured by hand, with everything that is easily lost.
pub const BEFORE: &str = "
    ip link add lan0 type veth peer name lan1
    ip link add wan0 type veth peer name wan1
    ip link set lan1 up; ip link set wan1 up; ip link set lan0 up
    ip addr add 10.0.0.1/24 brd + dev lan0 label lan0:old
    ip addr add 10.0.0.2/24 dev lan0
    ip addr add 10.0.0.3/24 dev lan0
    ip addr add 169.254.7.7/16 scope link dev lan0
    ip addr add fd00::1/64 nodad dev lan0
    ip route add default via 10.0.0.254 dev lan0 metric 100 proto dhcp src 10.0.0.2
    ip route add 172.16.0.0/16 via 10.0.0.253 dev lan0 src 10.0.0.1
    echo 0 > /proc/sys/net/ipv4/conf/lan0/promote_secondaries
    echo 0 > /proc/sys/net/ipv4/conf/all/promote_secondaries
    echo 0 > /proc/sys/net/ipv4/ip_forward
    echo 1 > /proc/sys/net/ipv4/conf/all/accept_redirects
";

pub fn wanted() -> Network {
    Network {
        links: vec![
            link("lan0", &["192.168.1.1/24", "10.0.0.3/24"], true),
            link("wan0", &["203.0.113.5/24"], true),
        ],
        default_route: Some(Some(route("203.0.113.1", "wan0"))),
        sysctls: [
            ("net/ipv4/ip_forward", "1"),
            ("net/ipv4/conf/all/accept_redirects", "0"),
            ("net/ipv4/no_such_key", "1"),
            ("net/ipv4/conf/wan0/rp_filter", "1"),
            ("net/ipv4/ip_local_port_range", "20000 60000"),
        ]
        .map(|(path, value)| (path.to_owned(), value.to_owned()))
        .to_vec(),
        bridges: Vec::new(),
    }
}

pub fn link(name: &str, addresses: &[&str], up: bool) -> Link {
    let addresses = addresses.iter().map(|a| a.parse().unwrap()).collect();
    Link { up, ..Link::new(name.parse().unwrap(), addresses) }
}

fn route(gateway: &str, device: &str) -> DefaultRoute {
    DefaultRoute { gateway: gateway.parse().unwrap(), device: device.parse().unwrap() }
}

/// Everything that `configure` may touch, and more.
pub fn state() -> String {
    sh("ip -o -4 addr | sort; ip -o -6 addr show scope global; ip -o link | sed 's/ qdisc.*//;s/,NO-CARRIER\\|,LOWER_UP\\|NO-CARRIER,//g;s/M-DOWN,//'
        ip route; cd /proc/sys/net/ipv4
        grep . ip_forward ip_local_port_range conf/*/accept_redirects conf/*/rp_filter conf/*/forwarding conf/*/promote_secondaries")
}

pub fn refuse() -> Error {
    Error::Netlink { what: "pass this test".into(), source: io::Error::other("refused on purpose") }
}

async fn every_failure_is_taken_back() {
    sh(BEFORE);
    let before = state();
    for k in 0.. {
        let ahead = |n| if n == k { Err(refuse()) } else { Ok(()) };
        match configure::change(&wanted(), ahead).await {
            Err(Error::Netlink { what, .. }) if what == "pass this test" => {
                similar(&before, &state(), &format!("step {k} failed"));
            }
            Err(e) => panic!("{e}: {:?}", std::error::Error::source(&e)),
            Ok(_) => {
                assert!(k >= 10, "only {k} steps");
                println!("{k} steps, each failed once");
                break;
            }
        }
    }
    let after = state();
    assert!(sh("ip route").contains("default via 203.0.113.1 dev wan0 proto static"), "{after}");
    assert!(!sh("ip route").contains("10.0.0.254"), "{after}");
    assert!(after.contains("192.168.1.1/24 brd 192.168.1.255 scope global lan0"), "{after}");
    assert!(
        after.contains("10.0.0.3/24") && !after.contains("10.0.0.1/24") && !after.contains("10.0.0.2/24"),
        "{after}"
    );
    assert!(after.contains("169.254.7.7/16") && after.contains("fd00::1/64"), "not ours to touch: {after}");
    assert!(after.contains("conf/lan0/promote_secondaries:0"), "{after}");
    let again = configure::change(&wanted(), |n| panic!("step {n} though all is as wanted")).await;
    let expected = Network {
        sysctls: wanted().sysctls.into_iter().filter(|s| !s.0.contains("no_such")).collect(),
        ..wanted()
    };
    let mut again = again.unwrap();
    again.sysctls.iter_mut().for_each(|s| s.1 = s.1.replace('\t', " "));
    assert_eq!(again, expected);
}

async fn every_failure_while_ports_are_joined_or_parted_is_taken_back() {
    sh(BEFORE);
    sh("ip link add lan2 type veth peer name lan3; ip link set lan3 up; ip addr add 172.20.0.1/16 dev lan2");
    let port = |name: &str, member: Member| Link { member, ..link(name, &[], true) };
    let bridge = |there| Bridge { name: "br-lan".parse().unwrap(), there, mac: Some([2, 0, 0, 0, 0, 9]) };
    let of = || Member::Of("br-lan".parse().unwrap());
    let small = |network: Network| Network {
        links: network
            .links
            .into_iter()
            .map(|l| {
                if l.name.as_str() == "wan0" {
                    Link { mtu: Some(1400), mac: Some([2, 0, 0, 0, 0, 7]), ..l }
                } else {
                    l
                }
            })
            .collect(),
        ..network
    };
    let joined = small(Network {
        bridges: vec![bridge(true)],
        links: vec![
            link("wan0", &["203.0.113.5/24"], true),
            link("br-lan", &["192.168.1.1/24"], true),
            port("lan0", of()),
            port("lan2", of()),
        ],
        ..wanted()
    });
    let parted = Network {
        bridges: vec![bridge(false)],
        links: vec![
            link("wan0", &["203.0.113.5/24"], true),
            link("br-lan", &[], true),
            Link { member: Member::OfNone, ..link("lan0", &["192.168.1.1/24"], true) },
            port("lan2", Member::OfNone),
        ],
        ..wanted()
    };
    for (network, least) in [(&joined, 14), (&parted, 5)] {
        let before = without_numbers();
        for k in 0.. {
            match configure::change(network, |n| if n == k { Err(refuse()) } else { Ok(()) }).await {
                Err(Error::Netlink { what, .. }) if what == "pass this test" => {
                    similar(&before, &without_numbers(), &format!("step {k} failed"));
                }
                Err(e) => panic!("{e}: {:?}", std::error::Error::source(&e)),
                Ok(previous) => {
                    assert!(k >= least, "only {k} steps");
                    println!("{k} steps, each failed once");
                    configure::change(&previous, |_| Ok(())).await.unwrap();
                    configure::change(network, |_| Ok(())).await.unwrap();
                    break;
                }
            }
        }
        let after = sh("ip -o link; ip -o -4 addr");
        let there = after.contains("br-lan:");
        assert_eq!(there, network.bridges[0].there, "{after}");
        assert_eq!(after.matches("master br-lan").count(), if there { 2 } else { 0 }, "{after}");
        let on = if there { "br-lan" } else { "lan0" };
        assert!(after.contains(&format!("{on}    inet 192.168.1.1/24")), "{after}");
        assert_eq!(after.matches("192.168.1.1/24").count(), 1, "{after}");
        assert!(after.contains("mtu 1400") && after.contains("02:00:00:00:00:07"), "{after}");
    }
}

/// [`state`] without the number that a bridge gets when it is made, and what a bridge does by itself a while later.
fn without_numbers() -> String {
    let text = state();
    text.lines()
        .map(|line| {
            line.split_once(": ")
                .map_or(line, |(number, rest)| if number.parse::<u32>().is_ok() { rest } else { line })
                .trim_end()
                .to_owned()
                + "\n"
        })
        .collect()
}

/// Line by line, for a failure that can be read.
#[track_caller]
pub fn similar(before: &str, after: &str, when: &str) {
    let missing: Vec<_> = before.lines().filter(|l| !after.lines().any(|a| a == *l)).collect();
    let new: Vec<_> = after.lines().filter(|l| !before.lines().any(|b| b == *l)).collect();
    assert!(before == after, "{when}\nmissing: {missing:#?}\nnew: {new:#?}\nafter: {after}");
}

async fn what_was_is_given_back() {
    sh(BEFORE);
    // What the shape of `Network` does not hold: metric, protocol and source of the route, other routes.
    sh(
        "ip route del default; ip route del 172.16.0.0/16; ip route add default via 10.0.0.254 dev lan0 proto static",
    );
    sh("ip addr flush dev lan0 label lan0:old; ip addr add 10.0.0.1/24 brd + dev lan0");
    sh(
        "ip addr add 10.0.0.2/24 brd + dev lan0; ip addr add 10.0.0.3/24 brd + dev lan0; ip route replace default via 10.0.0.254 dev lan0 proto static",
    );
    let before = state();
    let kernel = Linux::new();
    let previous = kernel.configure(&wanted(), Load::Commit).await.unwrap();
    assert_eq!(previous.default_route, Some(Some(route("10.0.0.254", "lan0"))));
    assert_eq!(previous.links[1], link("wan0", &[], false));
    kernel.configure(&previous, Load::Commit).await.unwrap();
    similar(&before, &state(), "given back");

    let none = Network {
        default_route: Some(None),
        links: vec![link("lan0", &["10.0.0.1/24"], true)],
        ..Network::default()
    };
    kernel.configure(&none, Load::Commit).await.unwrap();
    assert!(!sh("ip route").contains("default"), "no default route");
    let untouched = Network { links: vec![], ..Network::default() };
    let now = state();
    assert_eq!(kernel.configure(&untouched, Load::Commit).await.unwrap(), untouched);
    assert_eq!(state(), now);
}

async fn a_missing_device_is_named() {
    sh(BEFORE);
    let before = state();
    let mut network = wanted();
    network.links.push(link("eth9", &[], true));
    let refused = Linux::new().configure(&network, Load::Commit).await;
    assert!(matches!(&refused, Err(Error::NoDevice(name)) if name == "eth9"), "{refused:?}");
    let network = Network { default_route: Some(Some(route("10.0.0.9", "eth8"))), ..wanted() };
    let refused = Linux::new().configure(&network, Load::Commit).await;
    assert!(matches!(&refused, Err(Error::NoDevice(name)) if name == "eth8"), "{refused:?}");
    similar(&before, &state(), "a device is missing");
}

async fn links_are_seen() {
    sh(BEFORE);
    sh("ip link set lan0 address 02:00:00:00:00:aa; ip link set wan1 down");
    let links = Linux::new().observe(&[]).await.unwrap().links;
    let named =
        |name: &str| links.iter().find(|l| l.name == name).unwrap_or_else(|| panic!("{name}: {links:?}"));
    let lan = named("lan0");
    assert!(lan.up && lan.carrier);
    assert_eq!(lan.mac, Some([2, 0, 0, 0, 0, 0xaa]));
    assert_eq!(
        lan.index.to_string(),
        sh("cat /sys/class/net/lan0/ifindex 2>/dev/null || ip -o link show lan0 | cut -d: -f1").trim()
    );
    for address in ["10.0.0.1", "10.0.0.3", "169.254.7.7", "fd00::1"] {
        assert!(
            lan.addresses.iter().any(|(a, _)| *a == address.parse::<std::net::IpAddr>().unwrap()),
            "{address}"
        );
    }
    assert!(!named("wan0").up && !named("wan0").carrier);
    assert_eq!(named("lo").mac, None);
}

async fn the_gateway_may_be_outside() {
    sh(BEFORE);
    let network = Network {
        links: vec![link("wan0", &["203.0.113.5/32"], true)],
        default_route: Some(Some(route("198.51.100.1", "wan0"))),
        ..Network::default()
    };
    Linux::new().configure(&network, Load::Commit).await.unwrap();
    let routes = sh("ip route");
    assert!(routes.contains("default via 198.51.100.1 dev wan0 proto static onlink"), "{routes}");
    assert!(routes.contains("default via 10.0.0.254 dev lan0 proto dhcp"), "lan0 is not ours here: {routes}");
}

async fn the_kernels_refusals_are_taken_back() {
    sh(BEFORE);
    let before = state();
    // A value that the kernel does not take.
    let mut network = wanted();
    network.sysctls.push(("net/ipv4/conf/wan0/rp_filter".into(), "many".into()));
    let refused = Linux::new().configure(&network, Load::Commit).await;
    assert!(
        matches!(&refused, Err(Error::Sysctl { path, .. }) if path.ends_with("rp_filter")),
        "{refused:?}"
    );
    similar(&before, &state(), "a value is refused");
    // A route through a link that is down.
    let network = Network {
        links: vec![link("lan0", &["192.168.1.1/24"], true), link("wan0", &["203.0.113.5/24"], false)],
        ..wanted()
    };
    let refused = Linux::new().configure(&network, Load::Commit).await;
    assert!(
        matches!(&refused, Err(Error::Netlink { what, .. }) if what.starts_with("add the default route")),
        "{refused:?}"
    );
    similar(&before, &state(), "a route is refused");
    // A path outside.
    let network = Network { sysctls: vec![("../../etc/passwd".into(), "x".into())], ..wanted() };
    assert!(matches!(Linux::new().configure(&network, Load::Commit).await, Err(Error::Sysctl { .. })));
    similar(&before, &state(), "a path is refused");
}
