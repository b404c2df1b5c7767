//! What the journal is told besides what somebody did: attempts and sessions, in sum, from looks that are taken anyway.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, PoisonError};

use super::status::{ATTEMPTS, TRIED};
use super::{Appliance, Author, Refusal, RefusalKind, State};
use crate::journal::{By, Journal, JournalFilter, JournalKind, JournalPage, quoted};
use crate::kernel::{Element, Kernel};
use crate::ruleset::{REMEMBERED, Switch, tried_by};
use crate::sessions::{self, Device, Folded, Kind};
use crate::settings::Role;
use crate::store::Difference;

/// Sessions that are remembered as open; of more, nothing is told.
const MOST_OPEN: usize = 4096;

/// What the refusing rules had counted when they were read last.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// None: not read since the start. What is found then the last daemon has told.
    seen: Option<HashMap<(usize, Vec<u8>), u64>>,
}

/// Attempts since the last look.
#[derive(Debug, PartialEq, Eq)]
struct Tried {
    title: &'static str,
    address: Ipv4Addr,
    mac: [u8; 6],
    times: u64,
    /// Seconds since the last one.
    ago: u64,
}

impl Tally {
    fn look(&mut self, elements: &BTreeMap<&'static str, Vec<Element>>) -> Vec<Tried> {
        let mut now = HashMap::new();
        let mut tried: BTreeMap<(&'static str, Ipv4Addr, [u8; 6]), Tried> = BTreeMap::new();
        for (at, switch) in Switch::ALL.into_iter().enumerate() {
            for element in elements.get(switch.tried()).into_iter().flatten() {
                let Some((mac, address, _)) = tried_by(&element.key) else { continue };
                let counted = element.counted.map_or(0, |counted| counted.packets);
                let before = self.seen.as_ref().map(|seen| seen.get(&(at, element.key.clone())).copied());
                now.insert((at, element.key.clone()), counted);
                // Fewer than before: it was forgotten and has come again.
                let times = match before {
                    None => 0,
                    Some(before) => counted.checked_sub(before.unwrap_or(0)).unwrap_or(counted),
                };
                if times == 0 {
                    continue;
                }
                let ago = REMEMBERED.saturating_sub(element.rest_ms.unwrap_or_default() / 1000);
                let title = switch.title();
                let one = tried.entry((title, address, mac)).or_insert(Tried {
                    title,
                    address,
                    mac,
                    times: 0,
                    ago,
                });
                (one.times, one.ago) = (one.times + times, one.ago.min(ago));
            }
        }
        self.seen = Some(now);
        tried.into_values().collect()
    }
}

/// Which sessions were open at the last look.
#[derive(Debug, Default)]
pub(super) struct Open {
    /// None: not looked yet. What is open then has opened before this daemon began.
    seen: Option<HashMap<u64, (Device, Kind)>>,
    hasher: RandomState,
}

impl Open {
    /// Tells the journal what has opened and ended since the last look. No server: only whose, and of what kind.
    pub(super) fn look(&mut self, folded: &[Folded], journal: &Journal) {
        let mut now = HashMap::new();
        for session in folded.iter().map(|one| &one.session) {
            let key = self.hasher.hash_one(&session.id);
            let was_open = self.seen.as_ref().is_some_and(|seen| seen.contains_key(&key));
            // It answered once: that it is being paired anew is no end.
            let open = match session.state {
                sessions::State::Open => true,
                sessions::State::Ending => false,
                _ => was_open,
            };
            if open && now.len() < MOST_OPEN {
                now.insert(key, (session.device.clone(), session.kind));
            }
        }
        if let Some(before) = self.seen.take() {
            let told = |from: &HashMap<u64, (Device, Kind)>,
                        other: &HashMap<u64, (Device, Kind)>,
                        say: fn(&str) -> String| {
                for (device, kind) in
                    from.iter().filter(|(key, _)| !other.contains_key(key)).map(|(_, one)| one)
                {
                    let by = (quoted(device.name.as_deref()), device.address.to_string());
                    let what = say(kind.title());
                    journal.count(JournalKind::Session, By { who: &by.0, via: &by.1 }, &what, 1, 0);
                }
            };
            told(&now, &before, |kind| format!("opened a session of {kind}"));
            // The device, its server or what somebody has switched off here.
            told(&before, &now, |kind| format!("had a session of {kind} end"));
        }
        self.seen = Some(now);
    }
}

impl<K: Kernel> Appliance<K> {
    /// Some of the journal, with what was tried until now.
    pub async fn told(self: &Arc<Self>, filter: &JournalFilter) -> JournalPage {
        {
            let state = self.state.lock().await;
            self.note_attempts(&state).await;
        }
        self.journal.page(filter).await
    }

    /// Reads what the refusing rules have counted, and tells the journal what is new.
    pub(super) async fn note_attempts(&self, state: &State) {
        let elements = match state.settings.role {
            Role::Unset => BTreeMap::new(),
            // What cannot be read is told the next time: the kernel remembers it for ten minutes.
            _ => match self.kernel.elements(&TRIED, ATTEMPTS).await {
                Ok(elements) => elements,
                Err(_) => return,
            },
        };
        let tried = self.tallied.lock().unwrap_or_else(PoisonError::into_inner).look(&elements);
        if tried.is_empty() {
            return;
        }
        let names = self.names().await;
        for one in tried {
            let mac = one.mac.map(|byte| format!("{byte:02x}")).join(":");
            let mut device = sessions::device(IpAddr::V4(one.address), Some(mac));
            names.tell(&mut device);
            let via = format!("{}, {}", device.address, device.mac.as_deref().unwrap_or_default());
            let by = By { who: &quoted(device.name.as_deref()), via: &via };
            let what = format!("tried {}, which is refused here", one.title);
            self.journal.count(JournalKind::Attempt, by, &what, one.times, one.ago);
        }
    }

    /// A change that was asked for: what came of it.
    pub(super) fn note_change(
        &self,
        state: &State,
        author: &Author,
        comment: &str,
        differs: Vec<Difference>,
        done: &Result<String, Refusal>,
    ) {
        let why = if comment.is_empty() { String::new() } else { format!(": {comment}") };
        let (kind, what) = match done {
            Ok(_) => {
                let on_trial = if state.trial.is_some() { ", on trial" } else { "" };
                (JournalKind::Change, format!("changed settings, revision {}{on_trial}{why}", state.revision))
            }
            Err(refusal) if refusal.kind == RefusalKind::Failed => {
                (JournalKind::Failed, format!("wanted to change settings{why}; {}", refusal.message))
            }
            Err(_) => return,
        };
        self.journal.note_changes(kind, author.by(), &what, differs);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Counter;
    use crate::store::Store;

    fn element(server: u8, packets: u64, rest_ms: u64) -> Element {
        let mut key = vec![2, 0, 0, 0, 1, 101, 0, 0];
        key.extend([192, 168, 1, 101, 203, 0, 113, server]);
        let counted = Some(Counter { packets, bytes: packets * 60 });
        Element { key, rest_ms: Some(rest_ms), counted, ..Element::default() }
    }

    #[test]
    fn only_what_is_new_since_the_last_look_is_counted() {
        let mut tally = Tally::default();
        let set = |elements| BTreeMap::from([("pptp_tried_hosts", elements)]);
        assert_eq!(tally.look(&set(vec![element(10, 3, 600_000)])), [], "the last daemon has told it");
        let tried = tally.look(&set(vec![element(10, 5, 590_000), element(20, 2, 580_000)]));
        assert_eq!((tried.len(), tried[0].times, tried[0].ago, tried[0].title), (1, 4, 10, "PPTP"));
        assert_eq!(tally.look(&set(vec![element(10, 5, 500_000), element(20, 2, 400_000)])), []);
        let again = tally.look(&set(vec![element(10, 1, 600_000)]));
        assert_eq!(again[0].times, 1, "it was forgotten, and has come again");
        assert_eq!(tally.look(&BTreeMap::new()), []);
        assert_eq!(tally.seen.as_ref().map(HashMap::len), Some(0), "nothing is remembered for ever");
    }

    fn session(last: u8, state: sessions::State) -> Folded {
        let session = sessions::Session {
            id: format!("pptp-{last}"),
            kind: Kind::Pptp,
            device: sessions::device([192, 168, 1, last].into(), None),
            server: [203, 0, 113, 10].into(),
            server_name: None,
            server_port: None,
            state,
            since: None,
            idle: None,
            traffic: None,
            calls: Vec::new(),
            spis: Vec::new(),
            samples: Vec::new(),
            parts: Vec::new(),
            can_end: true,
        };
        Folded { session, flows: Vec::new() }
    }

    #[tokio::test]
    async fn sessions_are_counted_by_device_and_kind_and_no_server_is_named() {
        use sessions::State::{Calling, Ending, Open as Up, Pairing};
        let journal = Journal::new(Store::in_memory().await.unwrap());
        let mut open = Open::default();
        open.look(&[session(1, Up)], &journal);
        open.look(&[session(1, Up), session(2, Up), session(3, Calling)], &journal);
        open.look(&[session(1, Ending), session(2, Pairing)], &journal);
        open.look(&[session(2, Up)], &journal);
        open.look(&[], &journal);
        open.look(&[session(2, Up)], &journal);
        let page = journal.page(&JournalFilter::default()).await;
        let mut said: Vec<String> = page.entries.iter().map(|entry| entry.sentence()).collect();
        said.sort();
        let expected = [
            "A device (192.168.1.1) had a session of PPTP end",
            "A device (192.168.1.2) had a session of PPTP end",
            "A device (192.168.1.2) opened a session of PPTP, 2 times",
        ];
        assert_eq!(said, expected);
    }
}
