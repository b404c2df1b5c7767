//! Forged sources, both ways (BCP 38; RFC 6092 REC-1, REC-3, REC-5, REC-6, REC-7; RFC 7084 S-2).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;

use lab::{address, address6, figures};

use super::craft::{ESP, Ends, Frame, UDP};
use super::scene::{EARS, Ear, GATEWAY, GATEWAY6, GUEST, GUEST6, Numbers, Scene, Side};

/// Whose address it is, in both families. `Known`: with the ports of a conversation that the router knows.
const WHOSE: [(&str, &str, &str); 19] = [
    ("a device of the home", "192.168.1.102", "2001:db8:1::102"),
    ("another device of the home", "192.168.1.77", "2001:db8:1::77"),
    ("the home's router", "192.168.1.1", "2001:db8:1::1"),
    ("the router's internet port", "198.51.100.2", "2001:db8:2::2"),
    ("a host behind a router of the home", "10.77.0.5", "2001:db8:77::5"),
    ("a guest", "192.168.50.7", "2001:db8:50::7"),
    ("a host of the internet", "203.0.113.20", "2001:db8:3::20"),
    ("the sender", "", ""),
    ("loopback", "127.0.0.1", "::1"),
    ("nobody", "0.0.0.0", "::"),
    ("a group", "224.0.0.5", "ff02::5"),
    ("everybody", "255.255.255.255", "ff0e::1"),
    ("the home's broadcast", "192.168.1.255", "2001:db8:1::"),
    ("the same link", "169.254.7.7", "fe80::7"),
    ("unique local", "", "fd00:7::7"),
    ("site-local", "", "fec0::7"),
    ("IPv4-mapped", "", "::ffff:203.0.113.20"),
    ("IPv4-compatible", "", "::203.0.113.20"),
    ("the discard prefix", "", "100::7"),
];

/// What keeps it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum By {
    /// Rules of ours: without them it gets somewhere.
    Rules,
    /// The kernel, before any rule: without ours it gets nowhere either.
    Kernel,
}

/// From where, with whose address, to whom, and what keeps it out: IPv4, IPv6; none: not of this family, or right there.
type Row = (Side, &'static str, &'static str, Option<By>, Option<By>);

const RULES: Option<By> = Some(By::Rules);
const KERNEL: Option<By> = Some(By::Kernel);

const ROWS: [Row; 55] = [
    (Side::Internet, "a device of the home", "home", RULES, RULES),
    (Side::Internet, "a device of the home", "port", RULES, RULES),
    (Side::Internet, "a device of the home", "gateway", RULES, RULES),
    (Side::Internet, "a device of the home", "server", RULES, RULES),
    (Side::Internet, "another device of the home", "home", RULES, RULES),
    (Side::Internet, "a host behind a router of the home", "home", RULES, RULES),
    (Side::Internet, "a host behind a router of the home", "port", RULES, RULES),
    (Side::Internet, "a host behind a router of the home", "gateway", RULES, RULES),
    (Side::Internet, "the home's router", "home", KERNEL, RULES),
    (Side::Internet, "the home's router", "port", KERNEL, RULES),
    (Side::Internet, "the router's internet port", "home", KERNEL, RULES),
    (Side::Internet, "the router's internet port", "port", KERNEL, RULES),
    (Side::Internet, "the router's internet port", "server", KERNEL, RULES),
    (Side::Internet, "a guest", "home", RULES, RULES),
    (Side::Internet, "a guest", "port", RULES, RULES),
    (Side::Internet, "a host of the internet", "server", RULES, RULES),
    (Side::Internet, "a host of the internet", "guest", RULES, RULES),
    (Side::Internet, "loopback", "port", KERNEL, KERNEL),
    (Side::Internet, "loopback", "home", KERNEL, KERNEL),
    (Side::Internet, "nobody", "home", KERNEL, KERNEL),
    (Side::Internet, "nobody", "port", KERNEL, RULES),
    (Side::Internet, "a group", "home", KERNEL, KERNEL),
    (Side::Internet, "a group", "port", KERNEL, KERNEL),
    (Side::Internet, "everybody", "port", KERNEL, KERNEL),
    (Side::Internet, "the home's broadcast", "home", RULES, RULES),
    (Side::Internet, "the same link", "home", RULES, KERNEL),
    (Side::Internet, "unique local", "home", None, RULES),
    (Side::Internet, "site-local", "home", None, RULES),
    (Side::Internet, "IPv4-mapped", "home", None, RULES),
    (Side::Internet, "IPv4-compatible", "home", None, RULES),
    (Side::Internet, "the discard prefix", "home", None, RULES),
    (Side::Home, "a host of the internet", "server", RULES, RULES),
    (Side::Home, "a host of the internet", "gateway", RULES, RULES),
    (Side::Home, "a host of the internet", "home", RULES, RULES),
    (Side::Home, "the home's router", "server", KERNEL, RULES),
    (Side::Home, "the home's router", "gateway", KERNEL, RULES),
    (Side::Home, "the router's internet port", "server", KERNEL, RULES),
    (Side::Home, "a guest", "server", RULES, RULES),
    (Side::Home, "a guest", "gateway", RULES, RULES),
    (Side::Home, "a guest", "home", RULES, RULES),
    (Side::Home, "loopback", "server", KERNEL, KERNEL),
    (Side::Home, "loopback", "gateway", KERNEL, KERNEL),
    (Side::Home, "nobody", "server", KERNEL, KERNEL),
    (Side::Home, "nobody", "gateway", KERNEL, RULES),
    (Side::Home, "a group", "server", KERNEL, KERNEL),
    (Side::Home, "everybody", "server", KERNEL, KERNEL),
    (Side::Home, "the home's broadcast", "server", RULES, RULES),
    (Side::Home, "the same link", "server", RULES, KERNEL),
    (Side::Home, "unique local", "server", None, RULES),
    (Side::Home, "site-local", "server", None, RULES),
    (Side::Home, "IPv4-mapped", "server", None, RULES),
    (Side::Guest, "a device of the home", "server", RULES, RULES),
    (Side::Guest, "a device of the home", "gateway", RULES, RULES),
    (Side::Guest, "a device of the home", "home", RULES, RULES),
    (Side::Guest, "a host of the internet", "home", RULES, RULES),
];

fn whose(name: &str, ipv6: bool) -> IpAddr {
    let row = WHOSE.into_iter().find(|row| row.0 == name);
    let (_, four, six) = row.unwrap_or_else(|| panic!("whose is `{name}`"));
    let text = if ipv6 { six } else { four };
    text.parse().unwrap_or_else(|_| panic!("{name} has no such address"))
}

fn target(name: &str, ipv6: bool) -> IpAddr {
    let (four, six) = match name {
        "home" => (address("laptop1"), address6("laptop1")),
        "port" => (address("router"), address6("router")),
        "gateway" => (GATEWAY, GATEWAY6),
        "server" => (address("server1"), address6("server1")),
        "guest" => (GUEST, GUEST6),
        _ => panic!("who is {name}"),
    };
    if ipv6 { six.into() } else { four.into() }
}

/// Who really sends from that side.
fn honest(side: Side, ipv6: bool) -> IpAddr {
    let (four, six) = match side {
        Side::Internet => (address("attacker"), address6("attacker")),
        Side::Home => (address("phone"), address6("phone")),
        Side::Guest => (GUEST, GUEST6),
    };
    if ipv6 { six.into() } else { four.into() }
}

/// One forged packet, and the same with the sender's own address.
struct Spoof {
    name: String,
    side: Side,
    by: By,
    forged: (IpAddr, IpAddr),
    honest: Option<(Side, IpAddr)>,
    /// With right source and ports it goes through the rules as they are; else only where they are taken out.
    allowed: bool,
    protocol: u8,
    ports: (u16, u16),
}

impl Spoof {
    fn frame(&self, number: u16, from: IpAddr) -> Frame {
        let ends = Ends { from, to: self.forged.1 };
        let body = match self.protocol {
            ESP => [u32::from(number).to_be_bytes(), [0, 0, 0, 1], [7; 4], [7; 4]].concat(),
            _ => ends.udp(self.ports.0, self.ports.1, b"spoofed?"),
        };
        ends.packet(number, self.protocol, body)
    }
}

/// The rows in both families: from the internet to the home ESP over IPv6, which may come in (RFC 6092 REC-22), and over IPv4 to a
/// forwarded port, so that nothing but the source stands in the way.
fn spoofs() -> Vec<Spoof> {
    let mut all = Vec::new();
    for (side, source, to, four, six) in ROWS {
        for (ipv6, by) in [(false, four), (true, six)] {
            let Some(by) = by else { continue };
            let from_home = side == Side::Home && to != "home";
            let let_in = side == Side::Internet && (to == "home" && ipv6 || to == "port" && !ipv6);
            let esp = side == Side::Internet && ipv6 && to == "home";
            all.push(Spoof {
                name: format!(
                    "{} from {side:?} with the address of {source}, to {to}",
                    if ipv6 { "IPv6" } else { "IPv4" }
                ),
                side,
                by,
                forged: (whose(source, ipv6), target(to, ipv6)),
                honest: Some((side, honest(side, ipv6))),
                allowed: from_home || let_in,
                protocol: if esp { ESP } else { UDP },
                ports: (40_000, FORWARDED),
            });
        }
    }
    all
}

const FORWARDED: u16 = 7000;

/// Who began, with whom; then the forged packet: from where, from whom and to whom it says it is. A name of `WHOSE`, or a target's.
type KnownRow = ((&'static str, &'static str, u16), Side, &'static str, &'static str, Option<By>, Option<By>);

/// In the conversation of a device (port 4000) with the router's DNS, or (port 4001) with a server of the internet.
const KNOWN: [KnownRow; 8] = [
    (("a device of the home", "gateway", 53), Side::Internet, "begun", "gateway", RULES, RULES),
    (("a device of the home", "gateway", 53), Side::Internet, "answer", "home's", KERNEL, RULES),
    (("a device of the home", "gateway", 53), Side::Guest, "begun", "gateway", RULES, RULES),
    (("a device of the home", "gateway", 53), Side::Guest, "answer", "home's", KERNEL, RULES),
    (("a device of the home", "server", 7001), Side::Internet, "begun", "server", RULES, RULES),
    (("a device of the home", "server", 7001), Side::Guest, "begun", "server", RULES, RULES),
    (("a device of the home", "server", 7001), Side::Home, "answer", "home's", RULES, RULES),
    (("a device of the home", "server", 7001), Side::Guest, "answer", "home's", RULES, RULES),
];

/// What somebody says in a conversation of others. The conversations are put into conntrack first.
fn known(scene: &Scene) -> Vec<Spoof> {
    let mut all = Vec::new();
    for ((begins, with, port), side, what, _, four, six) in KNOWN {
        for (ipv6, by) in [(false, four), (true, six)] {
            let Some(by) = by else { continue };
            let (device, other) = (whose(begins, ipv6), target(with, ipv6));
            let own = if port == 53 { 4000 } else { 4001 };
            scene.remember((device, own), (other, port));
            let translated = with == "server" && !ipv6;
            let at = if translated { target("port", false) } else { device };
            let (forged, ports, honest) = match what {
                "begun" => ((device, other), (own, port), Some((Side::Home, device))),
                // What the router itself says comes from no side.
                _ if with == "gateway" => ((other, at), (port, own), None),
                _ => ((other, at), (port, own), Some((Side::Internet, other))),
            };
            let family = if ipv6 { "IPv6" } else { "IPv4" };
            all.push(Spoof {
                name: format!(
                    "{family} from {side:?} as {what} in the known conversation of {begins} with {with}"
                ),
                side,
                by,
                forged,
                honest,
                allowed: true,
                protocol: UDP,
                ports,
            });
        }
    }
    all
}

impl Scene {
    /// A UDP conversation that the router knows, both ways.
    #[track_caller]
    fn remember(&self, from: (IpAddr, u16), to: (IpAddr, u16)) {
        let (a, b, sport, dport) =
            (from.0.to_string(), to.0.to_string(), from.1.to_string(), to.1.to_string());
        let words = ["conntrack", "-L", "-p", "udp", "-s", &a, "-d", &b, "--sport", &sport];
        let family = if from.0.is_ipv6() { ["-f", "ipv6"] } else { ["-f", "ipv4"] };
        if self.lab.router().ok(&[&words[..], &family].concat()).contains("src=") {
            return;
        }
        let mut words =
            vec!["conntrack", "-I", "-p", "udp", "-s", &a, "-d", &b, "--sport", &sport, "--dport", &dport];
        words.extend(["-t", "600", "-u", "SEEN_REPLY,ASSURED"]);
        let port = target("port", false).to_string();
        if !from.0.is_ipv6() && to.0 == target("server", false) {
            words.extend(["-n", &port]);
        }
        self.lab.router().ok(&words);
    }

    /// Sends one packet of each, from its side; to which ears each went, by its place in `spoofs`.
    fn try_all(&self, frames: &[(Side, Frame)], first: u16) -> Vec<Vec<Ear>> {
        let mut went: BTreeMap<u16, Vec<Ear>> = BTreeMap::new();
        for side in [Side::Internet, Side::Home, Side::Guest] {
            let numbers: Numbers = (first..)
                .zip(frames)
                .filter(|(_, (from, _))| *from == side)
                .map(|(number, _)| number)
                .collect();
            let mine: Vec<Frame> =
                frames.iter().filter(|(from, _)| *from == side).map(|(_, frame)| frame.clone()).collect();
            let heard = self.send(side, &mine, &numbers);
            for ear in EARS {
                for number in &heard[&ear] {
                    went.entry(*number).or_default().push(ear);
                }
            }
        }
        (first..).zip(frames).map(|(number, _)| went.remove(&number).unwrap_or_default()).collect()
    }
}

#[test]
fn nothing_with_a_forged_source_is_forwarded_or_delivered_and_the_same_with_its_own_is() {
    let scene = Scene::new(&["forwards.test=udp 7000 to 192.168.1.101"]);
    let mut spoofs = spoofs();
    spoofs.extend(known(&scene));
    let forged: Vec<_> =
        (1..).zip(&spoofs).map(|(n, spoof)| (spoof.side, spoof.frame(n, spoof.forged.0))).collect();
    let went = scene.try_all(&forged, 1);
    let mut wrong = String::new();
    for (spoof, ears) in spoofs.iter().zip(&went).filter(|(_, ears)| !ears.is_empty()) {
        writeln!(wrong, "got to {ears:?}: {}", spoof.name).expect("a string takes it");
    }

    // The same with the sender's own address, under the same rules.
    let allowed: Vec<&Spoof> =
        spoofs.iter().filter(|spoof| spoof.allowed && spoof.honest.is_some()).collect();
    let right = |first: u16, spoofs: &[&Spoof]| -> Vec<(Side, Frame)> {
        let frame = |(n, spoof): (u16, &&Spoof)| {
            let (side, from) = spoof.honest?;
            Some((side, spoof.frame(n, from)))
        };
        (first..).zip(spoofs).filter_map(frame).collect()
    };
    let honest = scene.try_all(&right(1001, &allowed), 1001);
    for (spoof, _) in allowed.iter().zip(&honest).filter(|(_, ears)| ears.is_empty()) {
        writeln!(wrong, "with the right source it should get through: {}", spoof.name)
            .expect("a string takes it");
    }

    // Without the rules: what they keep out gets somewhere, and so does the rest with a right source.
    scene.open_by_hand();
    let forged: Vec<_> =
        (2001..).zip(&spoofs).map(|(n, spoof)| (spoof.side, spoof.frame(n, spoof.forged.0))).collect();
    for (spoof, ears) in spoofs.iter().zip(scene.try_all(&forged, 2001)) {
        if ears.is_empty() == (spoof.by == By::Rules) {
            writeln!(
                wrong,
                "without the rules it got to {ears:?}, and is said to be kept out by {:?}: {}",
                spoof.by, spoof.name
            )
            .expect("a string takes it");
        }
    }
    let others: Vec<&Spoof> = spoofs.iter().filter(|spoof| !spoof.allowed).collect();
    let honest_too = scene.try_all(&right(3001, &others), 3001);
    for (spoof, _) in others.iter().zip(&honest_too).filter(|(_, ears)| ears.is_empty()) {
        writeln!(wrong, "with the right source, and no rules, it should get through: {}", spoof.name)
            .expect("a string takes it");
    }
    assert!(wrong.is_empty(), "\n{wrong}");
    let by_rules = spoofs.iter().filter(|spoof| spoof.by == By::Rules).count();
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "spoofed",
        &format!(
            "forged sources: {} cases ({} by IPv6, {} in a known conversation): 0 forwarded, 0 delivered; {by_rules} kept out by \
             the rules and seen without them, {} by the kernel; with the right source {} get through the rules, {} without them",
            spoofs.len(),
            spoofs.iter().filter(|spoof| spoof.forged.0.is_ipv6()).count(),
            spoofs.iter().filter(|spoof| spoof.name.contains("known")).count(),
            spoofs.len() - by_rules,
            honest.len(),
            honest_too.len(),
        ),
    );
}
