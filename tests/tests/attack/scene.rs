//! A home with tunnels, ears on every host of it, and what its router has learnt.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;
use std::time::Duration;

use lab::wait::{self, now_ms};
use lab::{Delivery, Ear, Echo, Flow, Forged, Kind, Lab, Postern, address};

pub const ESP: Kind = Kind::Ip(50);
pub const IKE: Kind = Kind::Udp(500);
pub const L2TP: Kind = Kind::Udp(1701);
pub const NAT_T: Kind = Kind::Udp(4500);
pub const HOME: [&str; 3] = ["laptop1", "laptop2", "phone"];
/// Elements that fit into one set or map of the product.
const SIZE: usize = 32_768;

pub struct Scene {
    pub lab: Lab,
    pub postern: Postern,
    /// server1 and server2.
    pub servers: [Echo; 2],
    pub ears: Vec<(&'static str, Ear)>,
    pub router: Ipv4Addr,
    pub attacker: Ipv4Addr,
}

/// A tunnel that runs while somebody attacks.
pub struct Running {
    what: String,
    flow: Flow,
    lost_before: usize,
}

impl Scene {
    pub fn new() -> Self {
        let lab = Lab::new();
        let postern = lab.postern_router();
        postern.set(&["passthrough.pptp.enabled=true"]);
        lab.hostile_provider();
        let kinds = [ESP, IKE, L2TP, NAT_T];
        let servers = ["server1", "server2"].map(|name| lab.host(name).echo(&kinds));
        let ears = HOME.map(|name| (name, lab.host(name).ear())).into();
        let (router, attacker) = (address("router"), address("attacker"));
        Self { lab, postern, servers, ears, router, attacker }
    }

    pub fn ear(&self, host: &str) -> &Ear {
        &self.ears.iter().find(|(name, _)| *name == host).expect("a host of the home").1
    }

    /// A tunnel that is paired and runs.
    #[track_caller]
    pub fn tunnel(&self, host: &str, kind: Kind, server: &str) -> Running {
        let flow = self.lab.host(host).flow(kind, address(server));
        flow.wait_answers(10);
        // What was held back while it was paired is not the attack's doing.
        let lost_before = flow.missing(Duration::from_millis(300)).len();
        Running { what: format!("{kind} of {host} to {server}"), flow, lost_before }
    }

    /// The numbers of the clients that a server has heard of.
    pub fn tags(&self, server: usize, kind: Kind) -> BTreeSet<u64> {
        self.servers[server].heard_of(kind).iter().filter_map(|arrival| arrival.tag).collect()
    }

    /// The SPIs in use with a server.
    pub fn spis(&self, server: usize) -> BTreeSet<u32> {
        self.tags(server, ESP).into_iter().map(spi).collect()
    }

    /// The port of ours that the server with this port sees.
    #[track_caller]
    pub fn our_port(&self, server_port: u16) -> u16 {
        let list =
            self.lab.router().ok(&["conntrack", "-L", "-p", "udp", "--dport", &server_port.to_string()]);
        let mut ports =
            list.lines().filter_map(|line| line.rsplit_once("dport=")?.1.split(' ').next()?.parse().ok());
        ports
            .next_back()
            .unwrap_or_else(|| panic!("there is no conversation with port {server_port}:\n{list}"))
    }

    /// Every forged packet that was delivered, with the host.
    pub fn reached(&self) -> Vec<(&'static str, Delivery)> {
        let all = |(name, ear): &(&'static str, Ear)| {
            let name = *name;
            ear.forged().into_iter().map(move |delivery| (name, delivery)).collect::<Vec<_>>()
        };
        self.ears.iter().flat_map(all).collect()
    }

    /// Elements of every set and map that is learnt.
    #[track_caller]
    pub fn learnt(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        let mut name = None;
        for line in self.listing().lines() {
            match line.trim().split(' ').collect::<Vec<_>>()[..] {
                ["set" | "map", of, "{"] => name = Some(of.to_owned()),
                ["chain", ..] => name = None,
                _ => {
                    if let Some(name) = &name {
                        *counts.entry(name.clone()).or_default() += line.matches(" expires ").count();
                    }
                }
            }
        }
        assert!(counts.contains_key("esp_in"), "the learnt sets are listed: {counts:?}");
        counts
    }

    #[track_caller]
    pub fn listing(&self) -> String {
        self.lab.router().ok(&["nft", "list", "table", "inet", "postern"])
    }

    /// The fullest set or map. It is far from full.
    #[track_caller]
    pub fn far_from_full(&self, what: &str) -> (String, usize) {
        let counts = self.learnt();
        let (name, most) = counts.iter().max_by_key(|(_, count)| **count).expect("there are sets");
        assert!(*most < SIZE / 4, "{what}: {name} has {most} elements of at most {SIZE}: {counts:?}");
        (name.clone(), *most)
    }

    /// Packets that were dropped so far because nobody asked for them.
    #[track_caller]
    pub fn dropped(&self) -> u64 {
        let names = ["input_dropped", "forward_dropped", "invalid_dropped"];
        let count = |name| {
            let text = self.lab.router().ok(&["nft", "list", "counter", "inet", "postern", name]);
            let packets = text.split_whitespace().skip_while(|word| *word != "packets").nth(1);
            packets.and_then(|packets| packets.parse::<u64>().ok()).expect("a counter counts packets")
        };
        names.into_iter().map(count).sum()
    }

    /// Every address of the attack's target: what the router answers for, and the hosts themselves, should the provider route
    /// to them.
    pub fn targets(&self) -> Vec<Ipv4Addr> {
        [self.router].into_iter().chain(HOME.map(address)).collect()
    }

    /// Waits until `host` may take a turn again, and what it tried last is no more on probation: as if it had not been here for
    /// minutes. How many turns it had is forgotten.
    #[track_caller]
    pub fn rested(&self, host: &str) {
        let [_, _, high, low] = address(host).octets();
        // The zone is taken from the packet as it is: in the order of the network's bytes.
        let zone = format!(". {} ", u16::from_ne_bytes([high, low]));
        let tired = || {
            let list = |set| self.lab.router().ok(&["nft", "list", "set", "inet", "postern", set]);
            ["esp_tired", "esp_trying"].into_iter().any(|set| list(set).contains(&zone))
        };
        let rested = wait::until(Duration::from_secs(15), || (!tired()).then_some(()));
        assert!(rested.is_some(), "{host} should not be tired for ever");
        self.lab.router().ok(&["nft", "flush", "set", "inet", "postern", "esp_turns"]);
    }

    /// A new client of a server: milliseconds until it is first answered, and its flow.
    #[track_caller]
    pub fn new_client(&self, host: &str, server: &str) -> (u64, Flow) {
        let began = now_ms();
        let flow = self.lab.host(host).flow(ESP, address(server));
        let answered = wait::until(Duration::from_secs(60), || flow.last_answer());
        assert!(answered.is_some(), "a new client of {server} on {host} is never answered:\n{}", flow.tail());
        (now_ms() - began, flow)
    }

    /// No host got a packet of a tunnel that is another's.
    #[track_caller]
    pub fn nothing_misdelivered(&self) {
        let mut owner: BTreeMap<u64, &str> = BTreeMap::new();
        for (name, ear) in &self.ears {
            for tag in
                ear.all().into_iter().filter(|heard| heard.protocol == 50).filter_map(|heard| heard.tag)
            {
                let first = owner.entry(tag).or_insert(name);
                assert_eq!(first, name, "a packet of {first} was delivered to {name}");
            }
        }
    }

    /// The probes see a packet that is let in, of every protocol that these tests forge.
    #[track_caller]
    pub fn prove_the_ears(&self) {
        let laptop = address("laptop1");
        self.lab.router().ok(&["nft", "insert", "rule", "inet", "postern", "forward", "accept"]);
        let packets = [
            Forged::esp(self.attacker, laptop, 0x1234_5678),
            Forged::gre(self.attacker, laptop, 0x1234),
            Forged::ike(self.attacker, laptop, 0x1234, 34),
            Forged::syn((self.attacker, 4444), (laptop, 4444)),
            Forged::error(self.attacker, laptop, &Forged::esp(laptop, self.attacker, 0x1234_5678)),
        ];
        self.lab.host("attacker").forge(&packets, 100);
        for protocol in [50, 47, 17, 6, 1] {
            self.ear("laptop1").wait_for(&format!("protocol {protocol}"), |heard| heard.protocol == protocol);
        }
        self.postern.ok(&["mend"]);
    }
}

/// The SPI of a client of the lab.
pub fn spi(tag: u64) -> u32 {
    u32::try_from(tag >> 32).unwrap_or_default() | 0x0100_0000
}

/// The initiator cookie of a client of the lab.
pub fn cookie(tag: u64) -> u64 {
    tag | 1 << 56
}

impl Running {
    /// It has lost nothing since it ran.
    #[track_caller]
    pub fn unharmed(&self) {
        // An answer takes a few milliseconds; on a busy machine more.
        let lost = || self.flow.missing(Duration::from_millis(800));
        let none = wait::until(wait::SOON, || (lost().len() <= self.lost_before).then_some(()));
        assert!(none.is_some(), "{} lost {:?}:\n{}", self.what, lost(), self.flow.tail());
        self.flow.wait_answers(3);
    }
}
