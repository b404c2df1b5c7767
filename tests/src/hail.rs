//! The two witnesses of "never open, never lost": [`Hail`], of which nothing may get in, and [`Steady`], of which nothing
//! may get lost.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::host::Host;
use crate::lab::Lab;
use crate::packet::Kind;
use crate::process::Process;
use crate::topology::{address, address6};
use crate::wait::{self, SOON};

/// What is sent, as the counters are named.
const KINDS: [(&str, u8); 4] = [("udp", 17), ("tcp", 6), ("gre", 47), ("esp", 50)];
/// Where packets of the hail are counted.
const EARS: [&str; 4] = ["laptop1", "laptop2", "phone", "router"];

/// Packets that nobody asked for, from the attacker, with a counter wherever one could arrive: on every LAN host, behind
/// the router's input rules and behind its forward rules. Ends when dropped.
///
/// The counters are nft's, in a table of their own; on the router they stand behind every other table (priority 300).
#[derive(Debug)]
pub struct Hail {
    process: Process,
    ears: Vec<Host>,
    /// How many streams there are: kinds times addresses.
    pub streams: usize,
}

impl Lab {
    /// Everything the attacker can aim at: a laptop behind the router, the router, and the router's LAN address, each in
    /// both families.
    #[must_use]
    pub fn targets(&self) -> Vec<IpAddr> {
        let both = |name| [IpAddr::from(address(name)), address6(name).into()];
        let inner = [[192, 168, 1, 1].into(), IpAddr::from([0x2001, 0xdb8, 1, 0, 0, 0, 0, 1])];
        // In turns: what goes through the router, and what is for itself.
        let [laptop, laptop6] = both("laptop1");
        let [router, router6] = both("router");
        vec![laptop, router, inner[0], laptop6, router6, inner[1]]
    }

    /// Lets the attacker hail on `targets`, `hz` packets a second in all. The provider is hostile and every neighbour is
    /// known, so that no packet waits for an address to be resolved.
    #[track_caller]
    #[must_use]
    pub fn hail(&self, hz: u32, targets: &[IpAddr]) -> Hail {
        self.hostile_provider();
        for (host, device, neighbour, mac) in [
            ("internet", "customer", "198.51.100.2", "02:00:00:00:00:02"),
            ("internet", "customer", "2001:db8:2::2", "02:00:00:00:00:02"),
            ("router", "lan0", "192.168.1.101", "02:00:00:00:01:65"),
            ("router", "lan0", "2001:db8:1::101", "02:00:00:00:01:65"),
        ] {
            let words = format!("ip neigh replace {neighbour} lladdr {mac} dev {device} nud permanent");
            self.host(host).ok(&words.split(' ').collect::<Vec<_>>());
        }
        let ears: Vec<Host> = EARS.map(|name| self.host(name)).into();
        for ear in &ears {
            ear.ok_with(&["nft", "-f", "-"], &counting(ear.name, targets));
        }
        let (rate, names) = (hz.to_string(), targets.iter().map(IpAddr::to_string));
        let mut words = vec!["postern-lab".to_owned(), "hail".into(), "--hz".into(), rate];
        words.extend(names);
        let process = self
            .host("attacker")
            .spawn(&words.iter().map(String::as_str).collect::<Vec<_>>())
            .told_on_failure();
        let hail = Hail { process, ears, streams: targets.len() * KINDS.len() };
        hail.wait(100);
        hail
    }
}

/// The table that counts on `host`: by target and kind, and whatever else comes from the attacker. `tests/leak` shows each of
/// these counters to count.
fn counting(host: &str, targets: &[IpAddr]) -> String {
    let mut text = String::from("table inet hail\ndelete table inet hail\ntable inet hail {\n");
    let mut rules = String::new();
    let say = |text: &mut String, line: String| writeln!(text, "{line}").expect("a string takes it");
    for target in targets {
        let family = if target.is_ipv6() { "ip6" } else { "ip" };
        for (kind, protocol) in KINDS {
            let name = format!("{kind}_{}", target.to_string().replace(['.', ':'], "_"));
            say(&mut text, format!("counter {name} {{ }}"));
            say(
                &mut rules,
                format!("{family} daddr {target} meta l4proto {protocol} counter name \"{name}\" return"),
            );
        }
    }
    say(&mut text, "counter other { }\ncounter forwarded { }".into());
    say(&mut text, format!("chain count {{\n{rules}counter name \"other\"\n}}"));
    let (v4, v6) = (address("attacker"), address6("attacker"));
    let from = |what: &str| format!("ip saddr {v4} {what}\nip6 saddr {v6} {what}");
    // An error that the attacker's kernel sends about an answer of ours is part of no hail.
    let input = format!("meta l4proto {{ icmp, icmpv6 }} return\n{}", from("jump count"));
    say(&mut text, format!("chain input {{\ntype filter hook input priority 300;\n{input}\n}}"));
    if host == "router" {
        let forward = from("counter name \"forwarded\"");
        say(&mut text, format!("chain forward {{\ntype filter hook forward priority 300;\n{forward}\n}}"));
    }
    text.push_str("}\n");
    text
}

impl Hail {
    /// Packets sent so far: UDP, TCP, GRE, ESP.
    #[must_use]
    pub fn sent(&self) -> [u64; 4] {
        let lines = self.process.out();
        let last = lines.last().and_then(|line| serde_json::from_str::<Value>(line).ok());
        last.and_then(|told| serde_json::from_value(told["sent"].clone()).ok()).unwrap_or_default()
    }

    /// Waits until `count` more packets have been sent.
    ///
    /// # Panics
    /// When they are not, at a thousandth of a second each and some patience.
    #[track_caller]
    pub fn wait(&self, count: u64) {
        let all = || self.sent().iter().sum::<u64>();
        let wanted = all() + count;
        let sent = wait::until(SOON + Duration::from_millis(count), || (all() >= wanted).then_some(()));
        assert!(sent.is_some(), "the hail stands still:\n{}", self.process.said());
    }

    /// What was let in so far, by host and counter; empty: nothing.
    #[track_caller]
    #[must_use]
    pub fn let_in(&self) -> BTreeMap<String, u64> {
        let mut all = BTreeMap::new();
        for ear in &self.ears {
            let text = ear.ok(&["nft", "-j", "list", "counters", "table", "inet", "hail"]);
            let json: Value = serde_json::from_str(&text).expect("nft -j prints JSON");
            let parts = json["nftables"].as_array().cloned().unwrap_or_default();
            let counters: Vec<&Value> =
                parts.iter().map(|part| &part["counter"]).filter(|part| part.is_object()).collect();
            assert!(!counters.is_empty(), "{} counts nothing: {text}", ear.name);
            for counter in counters {
                let (name, packets) = (&counter["name"], counter["packets"].as_u64().unwrap_or(u64::MAX));
                if packets > 0 {
                    all.insert(format!("{} {}", ear.name, name.as_str().unwrap_or_default()), packets);
                }
            }
        }
        all
    }

    /// Counts anew from zero.
    #[track_caller]
    pub fn forget(&self) {
        for ear in &self.ears {
            ear.ok(&["nft", "reset", "counters", "table", "inet", "hail"]);
        }
    }
}

/// Where a steady flow stands.
#[derive(Debug, Clone, Default, Deserialize)]
pub struct Totals {
    /// Packets sent.
    pub sent: u64,
    /// Their answers that came back.
    pub answered: u64,
    /// Packets that the own kernel refused to send.
    pub unsent: u64,
    /// Packets without an answer after ten seconds.
    pub lost: u64,
    /// The first of the lost: number, and when it was sent in milliseconds since 1970.
    pub named: Vec<(u64, u64)>,
    /// Packets that may still be answered.
    pub open: u64,
    /// Every packet up to this number is answered or lost.
    pub decided: u64,
}

/// Traffic that must come through, each packet counted until its answer is back. Ends when dropped.
#[derive(Debug)]
pub struct Steady(Process);

impl Host {
    /// One UDP flow of `hz` packets a second to `server`, answered by its [`crate::Echo`].
    #[track_caller]
    #[must_use]
    pub fn steady(&self, kind: Kind, server: impl Into<IpAddr>, hz: u32) -> Steady {
        self.steady_words(kind, server.into(), hz, &[])
    }

    /// The same, each packet from a new port: each must be let out, translated and tracked as new.
    #[track_caller]
    #[must_use]
    pub fn ever_new(&self, kind: Kind, server: impl Into<IpAddr>, hz: u32) -> Steady {
        self.steady_words(kind, server.into(), hz, &["--once"])
    }

    #[track_caller]
    fn steady_words(&self, kind: Kind, server: IpAddr, hz: u32, more: &[&str]) -> Steady {
        let (kind, server, hz) = (kind.to_string(), server.to_string(), hz.to_string());
        let words = [&["postern-lab", "steady", &kind, &server, "--hz", &hz][..], more].concat();
        let steady = Steady(self.spawn(&words).told_on_failure());
        steady.wait(10);
        steady
    }
}

impl Steady {
    /// Where it stands.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let lines = self.0.out();
        lines.last().and_then(|line| serde_json::from_str(line).ok()).unwrap_or_default()
    }

    /// Waits until `count` more packets have been answered.
    ///
    /// # Panics
    /// When they are not.
    #[track_caller]
    pub fn wait(&self, count: u64) {
        let wanted = self.totals().answered + count;
        let came = wait::until(SOON, || (self.totals().answered >= wanted).then_some(()));
        assert!(came.is_some(), "{count} more packets should have been answered: {:?}", self.totals());
    }

    /// Where it stands once every packet sent up to now is either answered or lost.
    ///
    /// # Panics
    /// When that does not come to pass.
    #[track_caller]
    #[must_use]
    pub fn settled(&self) -> Totals {
        let until = self.totals().sent;
        let decided = |totals: &Totals| totals.decided >= until;
        let totals = wait::until(SOON, || Some(self.totals()).filter(decided));
        totals.unwrap_or_else(|| panic!("packets are neither answered nor lost: {:?}", self.totals()))
    }
}
