//! Who holds too much of the connection table: found, told, and kept from opening more. How fast a device can get there, and why half
//! of the table is never passed, stands in [`ruleset::share`].

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::flows::lan_link;
use super::{Appliance, Refusal, RefusalKind};
use crate::journal::{By, JournalKind, quoted};
use crate::kernel::{Element, Error, Kernel, Observation};
use crate::log;
use crate::ruleset::Share;
use crate::ruleset::share::{MOST_OWNED, OVER, OWNERS};
use crate::sessions::{self, Device};
use crate::settings::names::Mac;
use crate::settings::{Role, Settings};

/// Between two counts that take long, at most: what the rules' numbers are made for is 10 s, with a look (3 s) and the count itself.
const PAUSE: Duration = Duration::from_secs(4);
/// A count may take a twentieth of one processor.
const SPARED: u32 = 20;
/// An element is put in anew when less than this is left of its 10 minutes.
const RENEWED_MS: u64 = 300_000;

/// A device that holds too much of the connection table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OverShare {
    /// Who.
    pub device: Device,
    /// Entries that it has begun, when they were counted last.
    pub held: u64,
    /// Entries that the table takes.
    pub room: u64,
    /// It opens new ones when it holds fewer than this; none: its new ones are not refused, as the rules are another firewall's.
    pub again: Option<u64>,
}

impl OverShare {
    /// For people: what is so, and what to do.
    pub fn sentence(&self) -> String {
        let address = self.device.address;
        let who = self
            .device
            .name
            .clone()
            .map_or_else(|| address.to_string(), |name| format!("{name} ({address})"));
        let (held, room) = (grouped(self.held), grouped(self.room));
        let holds = format!("{who} holds {held} of the connection table's {room} entries");
        match self.again {
            Some(again) => format!(
                "{holds}: too many for one device. It opens no new connections until it holds fewer than {}; what it has open goes on. Look \
                 what runs on it: it may be infected, or share files without a limit. Devices can end its connections.",
                grouped(again)
            ),
            None => format!(
                "{holds}: too many for one device. Beside another firewall Postern does not refuse it more. Look what runs on it: it may be \
                 infected, or share files without a limit. Devices can end its connections."
            ),
        }
    }
}

/// `262,144`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// What was counted last.
#[derive(Debug, Default)]
pub(super) struct Shares {
    counted: Option<Instant>,
    took: Duration,
    over: BTreeMap<[u8; 6], OverShare>,
    /// The log has said that it cannot be counted.
    told: bool,
}

/// Whose addresses are whose.
type Owners = HashMap<IpAddr, [u8; 6]>;

impl<K: Kernel> Appliance<K> {
    fn shares(&self) -> MutexGuard<'_, Shares> {
        self.shares.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who holds too much, as it was counted last.
    pub(super) fn over_share(&self) -> Vec<OverShare> {
        self.shares().over.values().cloned().collect()
    }

    /// With every look at the box. As long as nobody can hold too much, this costs a comparison.
    pub(super) async fn look_at_shares(&self, seen: &Observation) {
        let (_, settings) = self.settings();
        let (entries, room) = seen.conntrack;
        let share = Share::of(room);
        {
            let mut shares = self.shares();
            // 0: there is no limit (nf_conntrack_max), or nobody knows it. Nobody can hold too much of that.
            if settings.role == Role::Unset || room == 0 {
                shares.over.clear();
                return;
            }
            let pause = PAUSE.min(shares.took * SPARED);
            let lately = shares.counted.is_some_and(|at| at.elapsed() < pause);
            // What a daemon before this one has put in is looked for once.
            let nobody = entries <= share.most() && shares.over.is_empty() && shares.counted.is_some();
            if lately || nobody {
                return;
            }
        }
        let begun = Instant::now();
        let done = self.share_out(share, &settings, seen).await;
        let mut shares = self.shares();
        (shares.counted, shares.took) = (Some(Instant::now()), begun.elapsed());
        let failed = done.as_ref().err();
        if let Some(error) = failed.filter(|_| !shares.told) {
            log::incident(error);
        }
        shares.told = failed.is_some();
        if let Ok(over) = done {
            shares.over = over;
        }
    }

    /// Counts, and makes the set what it shall be.
    async fn share_out(
        &self,
        share: Share,
        settings: &Settings,
        seen: &Observation,
    ) -> Result<BTreeMap<[u8; 6], OverShare>, Error> {
        let (entries, room) = seen.conntrack;
        let router = settings.role == Role::Router;
        let mut there = match router {
            true => self.kernel.elements_of(OVER, usize::MAX).await?,
            false => Vec::new(),
        };
        let known: BTreeSet<Vec<u8>> = there.iter().map(|element| element.key.clone()).collect();
        let owners = match entries >= share.again() {
            true => self.owners_of_addresses(settings, seen).await?,
            false => Owners::new(),
        };
        let held = if owners.is_empty() { HashMap::new() } else { self.kernel.held(&owners).await? };
        let was_over = |mac: &[u8; 6]| match router {
            true => known.contains(mac.as_slice()),
            false => self.shares().over.contains_key(mac),
        };
        let too_many = |(mac, held): &(&[u8; 6], &u64)| {
            **held > share.most() || **held >= share.again() && was_over(mac)
        };
        let over: BTreeMap<[u8; 6], u64> =
            held.iter().filter(too_many).map(|(mac, held)| (*mac, *held)).collect();
        if router {
            // Some kernels do not renew what is there: it is taken out and put in again, long before it is forgotten.
            let fresh = |element: &Element| element.rest_ms.is_none_or(|rest| rest > RENEWED_MS);
            let stays = |element: &Element| over.keys().any(|mac| element.key == mac) && fresh(element);
            let missing: Vec<Element> = over
                .keys()
                .filter(|mac| !there.iter().any(|element| element.key == mac.as_slice() && fresh(element)))
                .map(|mac| Element { key: mac.to_vec(), ..Element::default() })
                .collect();
            there.retain(|element| !stays(element));
            if !there.is_empty() {
                self.kernel.unlearn(OVER, &there).await?;
            }
            if !missing.is_empty() {
                self.kernel.teach(&BTreeMap::from([(OVER.to_owned(), missing)])).await?;
            }
        }
        let told = self.tell(&over, &owners, (room, router.then(|| share.again()))).await;
        self.note_shares(&told, &known);
        Ok(told)
    }

    /// Ends everything that a device of the home has begun, VPN calls too. What its programs still need they begin anew.
    pub async fn end_connections(&self, mac: &str) -> Result<String, Refusal> {
        let unknown = || {
            let sentence = "No device of the local network is known by that MAC address. Nothing was ended.";
            Refusal::field(RefusalKind::Invalid, "mac", sentence)
        };
        let mac: Mac = mac.trim().parse().map_err(|_| unknown())?;
        let (_, settings) = self.settings();
        let failed = |error: Error| Refusal::failed(&error);
        let seen = self.kernel.observe(&[]).await.map_err(failed)?;
        let owners = self.owners_of_addresses(&settings, &seen).await.map_err(failed)?;
        let its = owners.into_iter().filter(|(_, owner)| Mac::of(*owner) == Some(mac));
        let its: HashSet<IpAddr> = its.map(|(address, _)| address).collect();
        if its.is_empty() {
            return Err(unknown());
        }
        let ended = self.kernel.end_begun_by(&its).await.map_err(failed)?;
        // Who was refused more is free again with the next look.
        self.shares().counted = None;
        let connections = match ended {
            1 => "1 connection".to_owned(),
            many => format!("{} connections", grouped(many as u64)),
        };
        Ok(format!(
            "{connections} of {mac} ended. What its programs still need they open again, so look what runs on it."
        ))
    }

    /// The addresses of the home's devices: as their packets told the rules, and as the kernel speaks with them.
    async fn owners_of_addresses(&self, settings: &Settings, seen: &Observation) -> Result<Owners, Error> {
        let lan = lan_link(settings, &seen.links).map(|link| link.index);
        let neighbours = self.kernel.neighbours().await.unwrap_or_default();
        let ours = neighbours.into_iter().filter(|one| Some(one.device) == lan);
        let mut owners: Owners = ours.map(|one| (one.address, one.mac)).collect();
        if settings.role == Role::Router {
            let learnt = self.kernel.elements(&OWNERS, MOST_OWNED).await?;
            // Where two devices use one address, it is whose who began something last: a device that had it before, or that somebody
            // forges, must not be refused for what another one does.
            let mut told: Vec<&Element> = learnt.values().flatten().collect();
            told.sort_by_key(|element| element.rest_ms);
            owners.extend(told.into_iter().filter_map(|element| owner(&element.key)));
        }
        Ok(owners)
    }

    /// Who they are.
    async fn tell(
        &self,
        over: &BTreeMap<[u8; 6], u64>,
        owners: &Owners,
        (room, again): (u64, Option<u64>),
    ) -> BTreeMap<[u8; 6], OverShare> {
        if over.is_empty() {
            return BTreeMap::new();
        }
        let (known, _) = self.devices().await;
        let told = |(mac, held): (&[u8; 6], &u64)| {
            let spelled = mac.map(|byte| format!("{byte:02x}")).join(":");
            let device = known.iter().find(|device| Mac::of(*mac) == Some(device.mac));
            let addresses = || owners.iter().filter(|(_, owner)| *owner == mac).map(|(address, _)| *address);
            let address =
                device.and_then(|device| device.address).map(IpAddr::V4).or_else(|| addresses().min())?;
            let mut told = sessions::device(address, Some(spelled));
            let own = device.and_then(|device| device.name.as_ref()).map(|name| name.as_str().to_owned());
            told.name = own.or_else(|| device.and_then(|device| device.calls_itself.clone()));
            Some((*mac, OverShare { device: told, held: *held, room, again }))
        };
        over.iter().filter_map(told).collect()
    }

    /// One line when it begins and one when it ends; what was `known` to the set when this daemon began, the last one has told.
    fn note_shares(&self, now: &BTreeMap<[u8; 6], OverShare>, known: &BTreeSet<Vec<u8>>) {
        let before = std::mem::take(&mut self.shares().over);
        let line = |one: &OverShare, what: &str| {
            let mac = one.device.mac.as_deref().unwrap_or_default();
            let by = (quoted(one.device.name.as_deref()), format!("{}, {mac}", one.device.address));
            self.journal.count(JournalKind::Attempt, By { who: &by.0, via: &by.1 }, what, 1, 0);
        };
        for (mac, one) in now.iter().filter(|(mac, _)| !before.contains_key(*mac)) {
            if known.contains(mac.as_slice()) {
                continue;
            }
            let what = match one.again {
                Some(_) => "held more than a third of the connection table, and opens no new connections",
                None => "held more than a third of the connection table",
            };
            line(one, what);
        }
        for one in before.iter().filter(|(mac, _)| !now.contains_key(*mac)).map(|(_, one)| one) {
            line(one, "holds less of the connection table, and may open connections again");
        }
    }
}

/// Of an element of [`OWNERS`].
fn owner(key: &[u8]) -> Option<(IpAddr, [u8; 6])> {
    let mac = key.get(..6)?.try_into().ok()?;
    let address = key.get(8..)?;
    let v4 = <[u8; 4]>::try_from(address).map(IpAddr::from);
    Some((v4.or_else(|_| <[u8; 16]>::try_from(address).map(IpAddr::from)).ok()?, mac))
}

#[cfg(test)]
mod tests;
