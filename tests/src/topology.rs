//! Cables, addresses and routes.

use std::fmt::Write;
use std::net::{Ipv4Addr, Ipv6Addr};

use crate::lab::Lab;

/// Every host.
pub(crate) const HOSTS: [&str; 9] =
    ["laptop1", "laptop2", "phone", "lan-switch", "router", "internet", "server1", "server2", "attacker"];

/// Hosts with one cable `eth0`: name, last octet, and which side of the router they are on.
const ENDS: [(&str, u8, Side); 6] = [
    ("laptop1", 101, Side::Lan),
    ("laptop2", 102, Side::Lan),
    ("phone", 103, Side::Lan),
    ("server1", 10, Side::Internet),
    ("server2", 20, Side::Internet),
    ("attacker", 66, Side::Internet),
];

#[derive(Clone, Copy, PartialEq)]
enum Side {
    Lan,
    Internet,
}

/// IPv4 address of a host. The router's is the one towards the internet.
///
/// # Panics
/// When the host has none.
#[track_caller]
#[must_use]
pub fn address(host: &str) -> Ipv4Addr {
    match (host, end(host)) {
        ("router", _) => Ipv4Addr::new(198, 51, 100, 2),
        (_, Some((last, Side::Lan))) => Ipv4Addr::new(192, 168, 1, last),
        (_, Some((last, Side::Internet))) => Ipv4Addr::new(203, 0, 113, last),
        _ => panic!("`{host}` has no address of its own"),
    }
}

/// IPv6 address of a host. The router's is the one towards the internet.
///
/// # Panics
/// When the host has none.
#[track_caller]
#[must_use]
pub fn address6(host: &str) -> Ipv6Addr {
    let (net, last) = match (host, end(host)) {
        ("router", _) => (2, 2),
        (_, Some((last, Side::Lan))) => (1, last),
        (_, Some((last, Side::Internet))) => (3, last),
        _ => panic!("`{host}` has no address of its own"),
    };
    // The last group reads like the IPv4 octet in decimal: ::101 for .101.
    let digits = u16::from_str_radix(&last.to_string(), 16).expect("decimal digits are hexadecimal digits");
    Ipv6Addr::new(0x2001, 0xdb8, net, 0, 0, 0, 0, digits)
}

fn end(host: &str) -> Option<(u8, Side)> {
    ENDS.into_iter().find(|(name, ..)| *name == host).map(|(_, last, side)| (last, side))
}

/// Builds it all with one shell script in the lab's outer namespace.
#[track_caller]
pub(crate) fn build(lab: &Lab) {
    lab.outer().ok_with(&["sh", "-eu", "-s"], &script());
}

fn script() -> String {
    let mut text = String::new();
    let mut say = |line: String| writeln!(text, "{line}").expect("a string takes what is written");
    for host in HOSTS {
        say(format!("ip netns add {host}"));
        // No duplicate address detection: an address is usable at once.
        say(format!(
            "ip netns exec {host} sysctl -qw net.ipv6.conf.all.accept_dad=0 net.ipv6.conf.default.accept_dad=0 \
             net.ipv4.ip_forward=0 net.ipv4.ping_group_range='0 2147483647'"
        ));
        say(format!("ip -n {host} link set lo up"));
    }
    for (host, switch) in [("lan-switch", true), ("internet", false)] {
        say(format!("ip -n {host} link add br0 type bridge"));
        say(format!("ip -n {host} link set br0 up"));
        if !switch {
            say(format!(
                "ip netns exec {host} sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1"
            ));
        }
    }
    for (host, last, side) in ENDS {
        let (middle, gateway, gateway6) = match side {
            Side::Lan => ("lan-switch", "192.168.1.1", "2001:db8:1::1"),
            Side::Internet => ("internet", "203.0.113.1", "2001:db8:3::1"),
        };
        let mac = format!("02:00:00:00:{:02x}:{last:02x}", u8::from(side == Side::Internet) + 1);
        say(format!("ip link add eth0 netns {host} address {mac} type veth peer name {host} netns {middle}"));
        say(format!("ip -n {middle} link set {host} master br0 up"));
        say(format!("ip -n {host} link set eth0 up"));
        say(format!("ip -n {host} addr add {}/24 dev eth0", address(host)));
        say(format!("ip -n {host} addr add {}/64 dev eth0", address6(host)));
        say(format!("ip -n {host} route add default via {gateway}"));
        say(format!("ip -n {host} route add default via {gateway6}"));
    }
    for line in [
        "ip link add lan0 netns router address 02:00:00:00:00:01 type veth peer name uplink netns lan-switch",
        "ip -n lan-switch link set uplink master br0 up",
        "ip link add wan0 netns router address 02:00:00:00:00:02 type veth peer name customer netns internet",
        "ip -n internet link set customer up",
        "ip -n internet addr add 198.51.100.1/24 dev customer",
        "ip -n internet addr add 203.0.113.1/24 dev br0",
        "ip -n internet addr add 2001:db8:2::1/64 dev customer",
        "ip -n internet addr add 2001:db8:3::1/64 dev br0",
        "ip -n internet route add 2001:db8:1::/64 via 2001:db8:2::2",
        // No provider gives IPv6 here: the lab sets the router's (tests/ipv6.rs takes them away again).
        "ip netns exec router sysctl -qw net.ipv6.conf.all.forwarding=1",
        "ip -n router link set lan0 up",
        "ip -n router link set wan0 up",
        "ip -n router addr add 2001:db8:1::1/64 dev lan0",
        "ip -n router addr add 2001:db8:2::2/64 dev wan0",
        "ip -n router route add default via 2001:db8:2::1",
    ] {
        say(line.to_owned());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_addresses_of_a_host_end_in_the_same_digits() {
        assert_eq!(address("laptop1").to_string(), "192.168.1.101");
        assert_eq!(address6("laptop1").to_string(), "2001:db8:1::101");
        assert_eq!(address6("server2").to_string(), "2001:db8:3::20");
    }
}
