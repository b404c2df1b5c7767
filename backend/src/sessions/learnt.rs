//! What the rules for several IPsec clients of one server have learnt, as far as it explains a session. Which set says what:
//! `ruleset/passthrough/ipsec/many_clients/learnt.rs`. A set that is not there has taught nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use super::Spi;
use crate::kernel::Element;

/// The sets that are read.
pub const SETS: [&str; 5] = ["esp_sent", "esp_in", "esp_sure", "esp_holds", "esp_heard"];

/// A server, and the zone of one of its clients.
type Pair = (Ipv4Addr, u16);

/// In words of ours.
#[derive(Debug, Clone, Default)]
pub struct Learnt {
    spis: BTreeMap<Pair, BTreeSet<Spi>>,
    /// Whose turn it is with a server.
    holds: BTreeSet<Pair>,
    /// Who is answered.
    heard: BTreeSet<Pair>,
    /// Who has an SPI on probation.
    trying: BTreeSet<Pair>,
}

impl Learnt {
    /// From the elements of [`SETS`]. The keys are as their `typeof` says: addresses and SPIs as in a packet, a zone in the
    /// order of this machine.
    pub fn of(elements: &BTreeMap<&'static str, Vec<Element>>) -> Self {
        let all = |set: &str| elements.get(set).into_iter().flatten();
        let mut this = Self::default();
        // ip saddr . esp spi
        let sure: BTreeSet<(Ipv4Addr, u32)> =
            all("esp_sure").filter_map(|e| Some((address(&e.key, 0)?, number(&e.key, 4)?))).collect();
        // ip daddr . ct zone . esp spi
        for (pair, spi) in all("esp_sent").filter_map(|e| Some((pair(&e.key)?, number(&e.key, 8)?))) {
            let spi = Spi { number: spi, sent: true, sure: true };
            this.spis.entry(pair).or_default().insert(spi);
        }
        // ip saddr . esp spi : ct zone
        for element in all("esp_in") {
            let (Some(server), Some(spi), Some(zone)) =
                (address(&element.key, 0), number(&element.key, 4), zone(&element.data, 0))
            else {
                continue;
            };
            let sure = sure.contains(&(server, spi));
            this.spis.entry((server, zone)).or_default().insert(Spi { number: spi, sent: false, sure });
            if !sure {
                this.trying.insert((server, zone));
            }
        }
        this.holds = all("esp_holds").filter_map(|e| pair(&e.key)).collect();
        this.heard = all("esp_heard").filter_map(|e| pair(&e.key)).collect();
        this
    }

    /// The SPIs of this client with this server.
    pub(super) fn spis(&self, server: Ipv4Addr, zone: u16) -> Vec<Spi> {
        self.spis.get(&(server, zone)).into_iter().flatten().copied().collect()
    }

    /// Another client has the server's turn, and nobody answers this one.
    pub(super) fn waits(&self, server: Ipv4Addr, zone: u16) -> bool {
        let pair = (server, zone);
        let other = self.holds.iter().any(|(its, holder)| *its == server && *holder != zone);
        other && !self.heard.contains(&pair) && !self.holds.contains(&pair)
    }

    /// An SPI of the server is this client's on probation.
    pub(super) fn on_probation(&self, server: Ipv4Addr, zone: u16) -> bool {
        self.trying.contains(&(server, zone))
    }
}

fn pair(key: &[u8]) -> Option<Pair> {
    Some((address(key, 0)?, zone(key, 4)?))
}

fn address(key: &[u8], at: usize) -> Option<Ipv4Addr> {
    <[u8; 4]>::try_from(key.get(at..at + 4)?).ok().map(Ipv4Addr::from)
}

fn number(key: &[u8], at: usize) -> Option<u32> {
    key.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

fn zone(key: &[u8], at: usize) -> Option<u16> {
    key.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}
