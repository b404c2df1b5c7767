//! A router with a guests' port besides, and an ear on every side of it: which packets came, and where each went.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use lab::{Host, Lab, Nat, Postern, address, address6, hex, wait};
use serde_json::Value;

use super::craft::{DSCP, Frame, LABELS};

/// From which side a packet comes to the router.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    Internet,
    Home,
    /// A port of the router that is neither.
    Guest,
}

/// Where packets are heard. Not whether a host takes them: what is on its cable has come through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ear {
    /// The cable from the router into the home.
    Home,
    /// The cable from the router to the internet.
    Internet,
    Guest,
    /// The first laptop's own cable: what is for it.
    Laptop,
    /// The router itself, behind its input rules.
    Router,
}

impl Ear {
    /// Of its table.
    fn family(self) -> &'static str {
        if self == Self::Router { "inet" } else { "netdev" }
    }
}

pub const EARS: [Ear; 5] = [Ear::Home, Ear::Internet, Ear::Guest, Ear::Laptop, Ear::Router];

/// The router's addresses in the home.
pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 1);
pub const GATEWAY6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1);
/// A guest.
pub const GUEST: Ipv4Addr = Ipv4Addr::new(192, 168, 50, 7);
pub const GUEST6: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0x50, 0, 0, 0, 0, 7);

/// Packets that came to the router, in the set of numbers.
pub type Numbers = BTreeSet<u16>;

pub struct Scene {
    pub lab: Lab,
    _postern: Option<Postern>,
}

/// The guests' port; networks behind the first laptop; a switch that looks into no packet; no reverse path filter of the machine that runs this; and the neighbours, so that no packet waits for an
/// address to be resolved.
const PORTS: &str =
    "ip link add eth1 netns phone address 02:00:00:00:05:07 type veth peer name guest0 netns router
    ip -n router link set guest0 address 02:00:00:00:00:03 up
    ip -n phone link set eth1 up
    ip -n router addr add 192.168.50.1/24 dev guest0
    ip -n router addr add 2001:db8:50::1/64 dev guest0
    ip -n router route add 10.77.0.0/16 via 192.168.1.101
    ip -n router route add 2001:db8:77::/64 via 2001:db8:1::101
    ip -n phone addr add 192.168.50.7/24 dev eth1
    ip -n phone addr add 2001:db8:50::7/64 dev eth1
    ip -n router neigh replace 192.168.50.7 lladdr 02:00:00:00:05:07 dev guest0 nud permanent
    ip -n router neigh replace 2001:db8:50::7 lladdr 02:00:00:00:05:07 dev guest0 nud permanent
    for words in iptables ip6tables; do
        ip netns exec lan-switch sysctl -qew net.bridge.bridge-nf-call-$words=0
    done
    for device in all default lan0 wan0 guest0; do
        ip netns exec router sysctl -qw net.ipv4.conf.$device.rp_filter=0
    done
    for last in 101:65 102:66; do
        for net in 192.168.1. 2001:db8:1::; do
            ip -n router neigh replace $net${last%:*} lladdr 02:00:00:00:01:${last#*:} dev lan0 nud permanent
        done
    done
    mac=$(ip -n internet -o link show customer | sed 's/.*ether \\([^ ]*\\).*/\\1/')
    ip -n router neigh replace 198.51.100.1 lladdr $mac dev wan0 nud permanent
    ip -n router neigh replace 2001:db8:2::1 lladdr $mac dev wan0 nud permanent";

/// Arguments: the device and the receiver's hardware address; reads `4 HEX` or `6 HEX`, one packet a line.
const SEND: &str = "import socket, sys, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
s.bind((sys.argv[1], 0))
to = bytes.fromhex(sys.argv[2])
for n, line in enumerate(sys.stdin):
    family, packet = line.split()
    s.send(to + bytes.fromhex('020000000909') + (b'\\x08\\x00' if family == '4' else b'\\x86\\xdd') + bytes.fromhex(packet))
    if n % 16 == 15:
        time.sleep(0.002)";

impl Scene {
    /// A router with `settings` besides those of the lab, and every ear open.
    #[track_caller]
    pub fn new(settings: &[&str]) -> Self {
        let lab = Lab::new();
        let postern = lab.postern_router();
        if !settings.is_empty() {
            postern.set(settings);
        }
        Self { lab, _postern: Some(postern) }.ready()
    }

    /// A router without Postern, that forwards whatever comes. With [`Nat::Open`] it does not even put fragments together.
    #[track_caller]
    pub fn plain(nat: Nat) -> Self {
        let lab = Lab::new();
        lab.plain_router(nat);
        Self { lab, _postern: None }.ready()
    }

    #[track_caller]
    fn ready(self) -> Self {
        self.lab.hostile_provider();
        self.lab.outer().ok_with(&["sh", "-eu", "-s"], PORTS);
        for ear in EARS {
            let (host, hook) = self.ear(ear);
            host.ok_with(&["nft", "-f", "-"], &heard(ear.family(), "odd", &[hook]));
        }
        let came = ["lan0", "wan0", "guest0"].map(ingress);
        self.lab.router().ok_with(&["nft", "-f", "-"], &heard("netdev", "came", &came));
        self.through();
        self
    }

    fn ear(&self, ear: Ear) -> (Host, String) {
        match ear {
            Ear::Home => (self.lab.host("lan-switch"), ingress("uplink")),
            Ear::Internet => (self.lab.host("internet"), ingress("customer")),
            Ear::Guest => (self.lab.host("phone"), ingress("eth1")),
            Ear::Laptop => {
                let hook = format!("{}ether daddr != 02:00:00:00:01:65 accept\n", ingress("eth0"));
                (self.lab.host("laptop1"), hook)
            }
            Ear::Router => {
                let hook = "type filter hook input priority 300; iifname \"lo\" accept\n";
                (self.lab.router(), hook.to_owned())
            }
        }
    }

    /// A laptop reaches a server of the internet, and comes back: what was sent before has been dealt with.
    #[track_caller]
    pub fn through(&self) {
        let laptop = self.lab.host("laptop1");
        for to in [IpAddr::from(address("server1")), address6("server1").into()] {
            laptop.ok(&["ping", "-c", "1", "-W", "5", &to.to_string()]);
        }
    }

    /// Sends packets of these numbers to the router, and waits until they are there; where each of them went.
    #[track_caller]
    pub fn send(&self, side: Side, frames: &[Frame], numbers: &Numbers) -> BTreeMap<Ear, Numbers> {
        for ear in EARS {
            let (host, _) = self.ear(ear);
            for set in ["four", "six"] {
                host.ok(&["nft", "flush", "set", ear.family(), "odd", set]);
            }
        }
        let (host, device, to) = match side {
            Side::Internet => ("internet", "customer", "020000000002"),
            Side::Home => ("laptop1", "eth0", "020000000001"),
            Side::Guest => ("phone", "eth1", "020000000003"),
        };
        let mut lines = String::new();
        for frame in frames {
            let family = if frame.ipv6 { 6 } else { 4 };
            writeln!(lines, "{family} {}", hex(&frame.bytes)).expect("a string takes what is written");
        }
        self.lab.host(host).ok_with(&["python3", "-c", SEND, device, to], &lines);
        let router = self.lab.router();
        let came =
            wait::until(wait::SOON, || numbers.is_subset(&read(&router, "netdev", "came")).then_some(()));
        let missing: Vec<_> = numbers.difference(&read(&router, "netdev", "came")).copied().collect();
        assert!(came.is_some(), "of {} packets from {side:?} these did not come: {missing:?}", numbers.len());
        self.through();
        let went = EARS.map(|ear| {
            let (host, _) = self.ear(ear);
            let all = read(&host, ear.family(), "odd");
            (ear, all.intersection(numbers).copied().collect())
        });
        went.into()
    }

    /// Takes the protection of sources out and lets everything through, by hand.
    #[track_caller]
    pub fn open_by_hand(&self) {
        let rules = "flush chain inet postern zone
            insert rule inet postern input accept
            insert rule inet postern forward accept";
        self.lab.router().ok_with(&["nft", "-f", "-"], rules);
    }
}

fn ingress(device: &str) -> String {
    format!("type filter hook ingress device \"{device}\" priority -500;\n")
}

/// A table with one chain for each of `hooks` that notes the numbers of our packets.
fn heard(family: &str, table: &str, hooks: &[String]) -> String {
    let mut text = format!("table {family} {table} {{\n");
    for (name, field) in [("four", "ip id"), ("six", "ip6 flowlabel")] {
        let set = format!("set {name} {{\ntypeof {field}\nsize 16384\nflags dynamic\n}}\n");
        text.push_str(&set);
    }
    for (number, hook) in hooks.iter().enumerate() {
        let four = format!("ip dscp {DSCP} update @four {{ ip id }}");
        let six = format!("ip6 dscp {DSCP} update @six {{ ip6 flowlabel }}");
        text.push_str(&format!("chain c{number} {{\n{hook}{four}\n{six}\n}}\n"));
    }
    text + "}\n"
}

/// The numbers in a table of ours.
#[track_caller]
fn read(host: &Host, family: &str, table: &str) -> Numbers {
    let text = host.ok(&["nft", "-j", "list", "table", family, table]);
    let json: Value = serde_json::from_str(&text).expect("nft -j prints JSON");
    let parts = json["nftables"].as_array().cloned().unwrap_or_default();
    let sets: Vec<&Value> = parts.iter().map(|part| &part["set"]).filter(|set| set.is_object()).collect();
    assert_eq!(sets.len(), 2, "{text}");
    let mut numbers = Numbers::new();
    for set in sets {
        let first = if set["name"] == "six" { u64::from(LABELS) } else { 0 };
        let elements = set["elem"].as_array().cloned().unwrap_or_default();
        let all = elements.iter().filter_map(|element| element.as_u64()?.checked_sub(first));
        numbers.extend(all.filter_map(|number| u16::try_from(number).ok()));
    }
    numbers
}
