//! Odd packets (RFC 6092 REC-4, RFC 5095, RFC 5722, RFC 6946, RFC 7112, RFC 7126): none gets in, none makes off less than off, the
//! kernel has nothing to say about them, and what else goes on goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};

use lab::{Kind, Nat, address, address6, figures};

use super::craft::{AH, ESP, Frame};
use super::kernel_log::KernelLog;
use super::scene::{EARS, Ear, GATEWAY, GATEWAY6, Numbers, Scene, Side};
use super::{families4, families6};

/// Ports of what is refused to the home in these tests: with whatever it is disguised, it must not leave.
pub const L2TP: u16 = 1701;
pub const PPTP: u16 = 1723;

/// Nothing, FIN, RST, URG, ACK, SYN+ACK, SYN+FIN, SYN+RST, FIN+PSH+URG, SYN+FIN+PSH+URG, all six, ECE+CWR, all eight.
pub const TCP_FLAGS: [u8; 13] = [0, 0x01, 0x04, 0x20, 0x10, 0x12, 0x03, 0x06, 0x29, 0x2b, 0x3f, 0xc0, 0xff];

/// GRE (RFC 1701, 2637, 2784, 2890) with flags and versions that nobody sends, and cut short.
pub fn gre_bodies() -> Vec<Vec<u8>> {
    let flags: [(u8, u8); 10] = [
        (0x30, 1), // PPTP's own: key, sequence, version 1
        (0x00, 1),
        (0xff, 0xff),
        (0xff, 0xf9),
        (0x40, 0), // routing
        (0x07, 0), // recursion
        (0x20, 0),
        (0x20, 2),
        (0xb0, 7),
        (0x80, 0x81),
    ];
    let whole = |(a, b): (u8, u8)| [&[a, b, 0x88, 0x0b][..], &[0, 8, 0, 7], &[7; 16]].concat();
    let mut all: Vec<Vec<u8>> = flags.map(whole).into();
    all.extend([vec![], vec![0x30, 1], vec![0x30, 1, 0x88, 0x0b], vec![0x30, 1, 0x88, 0x0b, 0, 8, 0]]);
    all
}

/// ESP (RFC 4303 section 2) and AH (RFC 4302 section 2) without a number, with a reserved one, and cut short.
pub fn ipsec_bodies() -> Vec<(u8, Vec<u8>)> {
    let spi = |spi: u32| [spi.to_be_bytes(), [0, 0, 0, 1], [7; 4]].concat();
    vec![
        (ESP, vec![]),
        (ESP, vec![1, 2, 3]),
        (ESP, vec![1, 2, 3, 4, 5, 6, 7]),
        (ESP, spi(0)),
        (ESP, spi(255)),
        (AH, vec![]),
        (AH, vec![17, 4, 0, 0]),
        (AH, vec![17, 4, 0, 0, 0, 0, 1, 1, 0, 0, 0]),
        (AH, [&[17, 200, 0, 0][..], &spi(300)].concat()),
        (AH, [&[17, 0, 0, 0][..], &spi(300), &[0; 12]].concat()),
    ]
}

pub fn reversed(mut frames: Vec<Frame>) -> Vec<Frame> {
    frames.reverse();
    frames
}

/// One odd packet, or the pieces of one.
pub struct Case {
    family: &'static str,
    number: u16,
    frames: Vec<Frame>,
    /// Even if the home sends it, it must not reach the internet.
    refused: bool,
}

/// They get their numbers one after the other.
pub struct Cases {
    next: u16,
    all: Vec<Case>,
}

impl Cases {
    fn between(four: (Ipv4Addr, Ipv4Addr), six: (Ipv6Addr, Ipv6Addr), first: u16) -> Self {
        let mut cases = Self { next: first, all: Vec::new() };
        families4::add(&mut cases, four.0, four.1);
        families6::add(&mut cases, six.0, six.1);
        cases
    }

    pub fn add(&mut self, family: &'static str, frames: impl Fn(u16) -> Vec<Frame>) {
        let number = self.next;
        self.next += 1;
        self.all.push(Case { family, number, frames: frames(number), refused: true });
    }

    /// What the home may send.
    pub fn add_way_in(&mut self, family: &'static str, frames: impl Fn(u16) -> Vec<Frame>) {
        self.add(family, frames);
        if let Some(last) = self.all.last_mut() {
            last.refused = false;
        }
    }

    #[track_caller]
    fn send(&self, scene: &Scene, side: Side) -> BTreeMap<Ear, Numbers> {
        let frames: Vec<Frame> = self.all.iter().flat_map(|case| case.frames.clone()).collect();
        let numbers: Numbers = self.all.iter().map(|case| case.number).collect();
        scene.send(side, &frames, &numbers)
    }

    /// Those that came to one of `ears`, by family and place in it.
    fn heard(
        &self,
        went: &BTreeMap<Ear, Numbers>,
        ears: &[Ear],
        which: impl Fn(&Case) -> bool,
    ) -> Vec<String> {
        let first = |family| self.all.iter().find(|case| case.family == family).map_or(0, |case| case.number);
        let came = |case: &&Case| which(case) && ears.iter().any(|ear| went[ear].contains(&case.number));
        let name = |case: &Case| format!("{} {}", case.family, case.number - first(case.family));
        self.all.iter().filter(came).map(name).collect()
    }

    fn families(&self) -> BTreeSet<&'static str> {
        self.all.iter().map(|case| case.family).collect()
    }
}

/// From somebody on the internet to a device of the home and to the router; from a device to the internet and to the router.
fn ways() -> [(Side, Cases); 4] {
    let (stranger, stranger6) = (address("attacker"), address6("attacker"));
    let (device, device6) = (address("laptop1"), address6("laptop1"));
    let cases = Cases::between;
    [
        (Side::Internet, cases((stranger, device), (stranger6, device6), 1000)),
        (Side::Internet, cases((stranger, address("router")), (stranger6, address6("router")), 2000)),
        (Side::Home, cases((device, address("server1")), (device6, address6("server1")), 3000)),
        (Side::Home, cases((device, GATEWAY), (device6, GATEWAY6), 4000)),
    ]
}

#[test]
fn an_open_router_forwards_or_takes_odd_packets_of_every_family() {
    let scene = Scene::plain(Nat::Open);
    let [(_, home), (_, router), ..] = ways();
    let through = home.send(&scene, Side::Internet);
    let taken = router.send(&scene, Side::Internet);
    let family = |names: Vec<String>| -> BTreeSet<String> {
        names.into_iter().filter_map(|name| Some(name.rsplit_once(' ')?.0.to_owned())).collect()
    };
    let (through, taken) =
        (home.heard(&through, &[Ear::Home], |_| true), router.heard(&taken, &[Ear::Router], |_| true));
    let counts = (home.all.len(), through.len(), taken.len());
    let seen: BTreeSet<String> = family(through).into_iter().chain(family(taken)).collect();
    let unseen: Vec<_> = home.families().into_iter().filter(|one| !seen.contains(*one)).collect();
    assert_eq!(unseen, [""; 0], "no packet of these is seen, so nothing is shown of them");
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "odd-packets-open",
        &format!(
            "odd packets through a router without a firewall: of {} in {} families {} reach the home and {} the router itself, \
             some of every family",
            counts.0,
            home.families().len(),
            counts.1,
            counts.2
        ),
    );
}

#[test]
fn no_odd_packet_gets_in_or_makes_off_less_than_off_and_what_else_goes_on_goes_on() {
    let off = [
        "passthrough.l2tp.enabled=false",
        "passthrough.ipsec.enabled=false",
        "passthrough.pptp.enabled=false",
    ];
    let scene = Scene::new(&off);
    let _server = scene.lab.host("server1").echo(&[Kind::Udp(7000)]);
    let laptop = scene.lab.host("laptop2");
    let ordinary = [
        laptop.steady(Kind::Udp(7000), address("server1"), 100),
        laptop.steady(Kind::Udp(7000), address6("server1"), 100),
        laptop.ever_new(Kind::Udp(7000), address("server1"), 20),
    ];
    let mut log = KernelLog::open();
    let ways = ways();
    let mut wrong = Vec::new();
    for (at, (side, cases)) in ways.iter().enumerate() {
        let went = cases.send(&scene, *side);
        wrong.extend(match (*side, at) {
            (Side::Internet, _) => cases.heard(&went, &EARS, |_| true),
            (_, 2) => cases.heard(&went, &EARS, |case| case.refused),
            // It may speak with its router as it likes, and only with it.
            _ => cases.heard(&went, &[Ear::Home, Ear::Internet, Ear::Guest], |_| true),
        });
    }
    assert_eq!(wrong, [""; 0], "family and number in it");
    for flow in &ordinary {
        flow.wait(20);
        let totals = flow.settled();
        assert_eq!(totals.lost + totals.unsent, 0, "{totals:?}");
    }
    assert_eq!(log.warnings(), [""; 0], "the kernel has nothing to say");
    let first = &ways[0].1;
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "odd-packets",
        &format!(
            "odd packets: {} in {} families, each towards the home, the router, and from the home to both ({} in all): 0 let in, \
             0 of what is off let out, 0 warnings of the kernel; ordinary traffic meanwhile: {} packets, 0 lost",
            first.all.len(),
            first.families().len(),
            ways.iter().map(|(_, cases)| cases.all.len()).sum::<usize>(),
            ordinary.iter().map(|flow| flow.totals().sent).sum::<u64>(),
        ),
    );
}
