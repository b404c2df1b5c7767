//! IPsec over IPv6 that the internet begins (RFC 6092): let in by default, and nothing else; strict and off let in nothing
//! and end what is open.

use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use lab::wait::{self, now_ms};
use lab::{Echo, Flow, Kind, Lab, Postern, address, address6};

const IPSEC: [Kind; 3] = [Kind::Ip(50), Kind::Ip(51), Kind::Udp(500)];
/// Among them NAT traversal: there is no NAT.
const OTHERS: [Kind; 7] = [
    Kind::Udp(4500),
    Kind::Udp(7000),
    Kind::Udp(1701),
    Kind::Tcp(500),
    Kind::Tcp(7000),
    Kind::Ip(47),
    Kind::Ip(115),
];
const STRICT: &str = "firewall.ipv6_ipsec=strict";
/// How long after `set` has returned the last packet may be delivered.
const SECOND: u64 = 1000;

struct Scene {
    lab: Lab,
    postern: Postern,
    device: Echo,
}

impl Scene {
    fn new() -> Self {
        let lab = Lab::new();
        let postern = lab.postern_router();
        lab.hostile_provider();
        let device = lab.host("laptop1").echo(&[&IPSEC[..], &OTHERS].concat());
        Self { lab, postern, device }
    }

    #[track_caller]
    fn nobody_reaches(&self, kinds: &[Kind], to: impl Into<IpAddr>) {
        let to = to.into();
        for kind in kinds {
            let before = self.device.heard_of(*kind).len();
            assert_eq!(self.lab.host("attacker").knock(*kind, to).answered, 0, "{kind} to {to}");
            assert_eq!(self.device.heard_of(*kind).len(), before, "{kind} to {to}");
        }
    }

    /// Each of [`IPSEC`], begun by the attacker, answered by the device.
    #[track_caller]
    fn open(&self) -> Vec<(Kind, Flow)> {
        let flow = |kind| (kind, self.lab.host("attacker").flow(kind, address6("laptop1")));
        let flows: Vec<_> = IPSEC.into_iter().map(flow).collect();
        for (_, flow) in &flows {
            flow.wait_answers(10);
        }
        flows
    }
}

#[test]
fn by_default_esp_ah_and_ike_reach_a_device_over_ipv6_and_nothing_else_does() {
    let scene = Scene::new();
    let attacker = scene.lab.host("attacker");
    for kind in IPSEC {
        let probe = attacker.probe(kind, address6("laptop1"));
        assert_eq!(probe.answered, 1, "{kind}: {probe:?}");
    }
    assert!(scene.postern.protocol("ipsec")["passed"].as_u64() >= Some(6), "both ways are counted");
    scene.nobody_reaches(&OTHERS, address6("laptop1"));
    let target = address6("laptop1").to_string();
    let ping = attacker.run(&["ping", "-6", "-c", "2", "-W", "1", &target]);
    assert!(!ping.ok(), "{}", ping.out);
    // Not to the router itself, and not over IPv4.
    let router = scene.lab.router().echo(&IPSEC);
    for to in [address6("router"), Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 1)] {
        scene.nobody_reaches(&IPSEC, to);
    }
    scene.nobody_reaches(&IPSEC, address("laptop1"));
    scene.nobody_reaches(&IPSEC, address("router"));
    assert!(router.heard().is_empty(), "the router heard {:?}", router.heard());
}

/// AH (RFC 4302 section 2: next header, length in words less 2, reserved, SPI, number, 12 bytes of check value) around a TCP SYN
/// with a right checksum, then that SYN without AH; from the first address to the second, port 40000 to 7000.
const WRAPPED_AND_BARE: &str = r#"
import socket, struct, sys
source, target = sys.argv[1:]
def tcp(checksum):
    return struct.pack("!HHIIBBHHH", 40000, 7000, 1, 0, 0x50, 2, 65535, checksum, 0)
pack = lambda a: socket.inet_pton(socket.AF_INET6, a)
text = pack(source) + pack(target) + struct.pack("!II", 20, 6) + tcp(0)
total = sum(struct.unpack("!%dH" % (len(text) // 2), text))
while total >> 16:
    total = (total & 0xffff) + (total >> 16)
syn = tcp(0xffff ^ total)
ah = struct.pack("!BBHII", 6, 4, 0, 7, 1) + bytes(12)
for protocol, packet in [(51, ah + syn), (6, syn)]:
    s = socket.socket(socket.AF_INET6, socket.SOCK_RAW, protocol)
    s.bind((source, 0))
    s.sendto(packet, (target, 0))
"#;

#[test]
fn a_connection_attempt_inside_ah_opens_nothing_for_one_without_ah() {
    let scene = Scene::new();
    let (attacker, laptop) = (scene.lab.host("attacker"), scene.lab.host("laptop1"));
    let count = "table ip6 seen { chain c { type filter hook prerouting priority -500; \
                 ip6 nexthdr 51 counter comment \"wrapped\"; \
                 ip6 nexthdr 6 tcp dport 7000 counter comment \"bare\"; }\n}";
    for host in [&laptop, &scene.lab.router()] {
        host.ok_with(&["nft", "-f", "-"], count);
    }
    let (from, to) = (address6("attacker").to_string(), address6("laptop1").to_string());
    attacker.ok_with(&["python3", "-", &from, &to], WRAPPED_AND_BARE);
    let seen = |host: &lab::Host| {
        let text = host.ok(&["nft", "list", "table", "ip6", "seen"]);
        let packets = |name: &str| {
            let line = text.lines().find(|line| line.contains(name)).unwrap_or_default();
            line.split("packets ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<u64>().ok())
        };
        (packets("wrapped"), packets("bare"))
    };
    // The router has seen both, and let one through; conntrack has looked behind AH, else this would show nothing.
    let both = wait::until(wait::SOON, || (seen(&scene.lab.router()) == (Some(1), Some(1))).then_some(()));
    assert!(both.is_some(), "{:?}", seen(&scene.lab.router()));
    let entries = scene.lab.router().ok(&["conntrack", "-L", "-f", "ipv6", "-p", "tcp"]);
    assert!(entries.contains("dport=7000") && entries.contains("UNREPLIED"), "{entries}");
    scene.nobody_reaches(&[Kind::Tcp(7001)], address6("laptop1"));
    assert_eq!(seen(&laptop), (Some(1), Some(0)));
}

/// IKE from 300 ports, as fast as it goes.
const FLOOD: &str = r#"
import socket, sys
for port in range(20000, 20300):
    s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
    s.bind(("::", port))
    s.sendto(b"flood", (sys.argv[1], 500))
"#;

#[test]
fn a_flood_of_new_conversations_is_held_at_sixty_and_hurts_none_that_is_open() {
    let scene = Scene::new();
    let _server = scene.lab.host("server1").echo(&IPSEC);
    let open: Vec<Flow> = vec![
        scene.lab.host("server1").flow(Kind::Ip(50), address6("laptop1")),
        scene.lab.host("laptop2").flow(Kind::Udp(500), address6("server1")),
    ];
    for flow in &open {
        flow.wait_answers(10);
    }
    let target = address6("laptop1").to_string();
    scene.lab.host("attacker").ok_with(&["python3", "-", &target], FLOOD);
    let list = scene.lab.router().ok(&["conntrack", "-L", "-f", "ipv6", "-p", "udp", "-d", &target]);
    let entries = list.lines().filter(|line| line.contains("dport=500")).count();
    assert!((40..100).contains(&entries), "{entries} of 300 conversations have begun");
    for flow in &open {
        flow.wait_answers(10);
        assert!(flow.lost(Duration::from_millis(500)).is_empty(), "{}", flow.tail());
    }
    let new = scene.lab.host("laptop2").probe(Kind::Ip(50), address6("server1"));
    assert_eq!(new.answered, 1, "the home begins what it likes");
}

#[test]
fn strict_and_off_let_nothing_in_and_the_home_may_still_begin_unless_it_is_off() {
    let scene = Scene::new();
    let _server = scene.lab.host("server1").echo(&IPSEC);
    for (setting, home) in [(STRICT, 1), ("passthrough.ipsec.enabled=false", 0)] {
        scene.postern.set(&[setting]);
        scene.nobody_reaches(&IPSEC, address6("laptop1"));
        scene.nobody_reaches(&OTHERS, address6("laptop1"));
        for kind in IPSEC {
            let probe = scene.lab.host("laptop2").probe(kind, address6("server1"));
            assert_eq!(probe.answered, home, "{setting}: {kind} from the home: {probe:?}");
        }
    }
    // Off is off with either value; on again, the default is back.
    scene.postern.set(&["firewall.ipv6_ipsec=rfc6092"]);
    scene.nobody_reaches(&IPSEC, address6("laptop1"));
    scene.postern.set(&["passthrough.ipsec.enabled=true"]);
    for kind in IPSEC {
        assert_eq!(scene.lab.host("attacker").probe(kind, address6("laptop1")).answered, 1, "{kind}");
    }
}

#[track_caller]
fn ended_by(setting: &str, home_goes_on: bool) {
    let scene = Scene::new();
    let _server = scene.lab.host("server1").echo(&IPSEC);
    let own: Vec<Flow> = IPSEC.map(|kind| scene.lab.host("laptop2").flow(kind, address6("server1"))).into();
    for flow in &own {
        flow.wait_answers(10);
    }
    let flows = scene.open();
    let said = scene.postern.set(&[setting]);
    let returned = now_ms();
    println!("{setting}: {said}");
    for (kind, flow) in &flows {
        flow.watch(Duration::from_millis(2500));
        let last = flow.last_answer().unwrap_or_default();
        assert!(last <= returned + SECOND, "{kind} was answered {} ms after {setting}", last - returned);
        let heard = scene.device.heard_of(*kind).last().map_or(0, |arrival| arrival.at);
        assert!(heard <= returned + SECOND, "{kind} came in {} ms after {setting}", heard - returned);
    }
    for (kind, flow) in IPSEC.iter().zip(&own) {
        let last = flow.last_answer().unwrap_or_default();
        assert_eq!(last > returned + SECOND, home_goes_on, "{kind} that the home began, {setting}");
        let lost = flow.lost(Duration::from_millis(500));
        assert_eq!(lost.is_empty(), home_goes_on, "{kind} that the home began, {setting}: lost {lost:?}");
    }
    let left =
        scene.lab.router().ok(&["conntrack", "-L", "-f", "ipv6", "-s", &address6("attacker").to_string()]);
    // What is behind AH is not found: its rule ends it.
    let found = left.lines().filter(|line| line.starts_with("udp") || line.contains(" 50 "));
    assert_eq!(found.collect::<Vec<_>>(), [""; 0], "{left}");
}

#[test]
fn strict_ends_what_the_internet_began_and_leaves_what_the_home_began() {
    ended_by(STRICT, true);
}

#[test]
fn ipsec_off_ends_what_either_side_began() {
    ended_by("passthrough.ipsec.enabled=false", false);
}
