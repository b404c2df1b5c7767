//! Beside another firewall: where its rules keep passthrough from working, and which rule it is.
//!
//! That something is dropped, or leaves without translation, is told by sets that packets have filled (see `companion.rs` of the
//! ruleset). The rule is named by the kernel: the next such packet is traced through everybody's rules.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Appliance;
use super::flows::{TCP, is_open};
use super::others::{self, Others, keeps_from_conntrack};
use super::remedy::{self, Remedy};
use super::trace::{Dropper, dropper, met};
use crate::kernel::{Element, Flow, Kernel, Observation};
use crate::log;
use crate::ruleset::{self, Defeat, Vpn};
use crate::settings::{Role, Settings};

/// How often the sets are looked at. A VPN program tries again every second or so.
const LOOK: Duration = Duration::from_secs(3);
/// So long a packet is waited for; the set of the traced forgets it after 5 s.
const TRACE: Duration = Duration::from_secs(4);
/// So soon one whose dropper could not be named is traced again, one that was named is looked at anew, and what nobody answers begins
/// anew.
const AGAIN: Duration = Duration::from_secs(20);
/// As long as the sets remember: see `companion.rs` of the ruleset.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Most of one set that are told, and most that are traced at once.
const MOST: usize = 32;
const TRACED: usize = 8;

/// Somebody else's rules keep this device from using this protocol with this server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Defeated {
    /// `pptp`, `l2tp` or `ipsec`.
    pub name: String,
    /// As people call it.
    pub title: String,
    /// Which device.
    pub device: Ipv4Addr,
    /// Which server.
    pub server: Ipv4Addr,
    /// How.
    pub how: Defeat,
    /// Seconds since the last such packet.
    pub last_seconds: u64,
    /// Whose rule it is; none: not known (yet).
    pub dropper: Option<Dropper>,
    /// What happens, in one sentence.
    pub sentence: String,
    /// What to add, and where.
    pub remedy: String,
    /// The commands in that, each for a shell of root, in this order; none: there is no one way.
    #[serde(default)]
    pub commands: Vec<String>,
}

/// Which packets.
type Key = (Vpn, Defeat, Ipv4Addr, Ipv4Addr);

/// Who drops what, as far as it was traced, and when.
pub(super) type Named = BTreeMap<Key, (Instant, Option<Dropper>)>;

/// The rules of others, as they were listed last.
#[derive(Debug, Default)]
pub(super) struct Listed {
    /// The kernel's count of all changes then.
    generation: Option<u32>,
    /// What tells them from others; none: not listed yet.
    theirs: Option<u64>,
    others: Arc<Others>,
    /// They have changed, and [`Appliance::watch_defeats`] has not done yet what follows from that.
    changed: bool,
}

impl<K: Kernel> Appliance<K> {
    /// Names the rules that drop what passes here, for ever.
    pub async fn watch_defeats(&self) {
        let mut begun = Instant::now();
        loop {
            tokio::time::sleep(LOOK).await;
            let (_, settings) = self.settings();
            if settings.role != Role::Companion {
                self.named().clear();
                continue;
            }
            let Ok(seen) = self.kernel.observe(&[]).await else { continue };
            self.list_others(seen.generation).await;
            let Ok(keys) = self.defeated_now().await else { continue };
            // The old iptables are in no listing: whether they have changed is not known.
            if std::mem::take(&mut self.listed().changed) || begun.elapsed() >= AGAIN {
                begun = Instant::now();
                self.begin_anew(&settings, &keys).await;
            }
            let now = Instant::now();
            let mut wanted = Vec::new();
            {
                let mut named = self.named();
                named.retain(|key, _| keys.iter().any(|(known, _)| known == key));
                let due = |key: &Key| named.get(key).is_none_or(|(at, _)| now.duration_since(*at) >= AGAIN);
                // What nobody translates is nobody's rule.
                let traced = |key: &Key| key.1 != Defeat::Plain && due(key);
                wanted.extend(keys.iter().map(|(key, _)| *key).filter(traced).take(TRACED));
            }
            for key in wanted {
                self.name(key).await;
            }
        }
    }

    /// Reads the rules of others, if any rules have changed by this `generation` of the kernel's, which counts ours too.
    pub(super) async fn list_others(&self, generation: Option<u32>) {
        if generation.is_some() && self.listed().generation == generation {
            return;
        }
        match self.kernel.listing().await {
            Ok(text) => {
                let (theirs, others) = (Some(others::theirs(&text)), Arc::new(Others::read(&text)));
                let mut listed = self.listed();
                let changed = listed.changed || listed.theirs != theirs;
                *listed = Listed { generation, theirs, others, changed };
            }
            Err(error) => drop(log::incident(&error)),
        }
    }

    fn listed(&self) -> std::sync::MutexGuard<'_, Listed> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Who may masquerade has other rules now. The kernel asks them once for each conversation, and what goes on trying from one port
    /// (L2TP from 1701, ESP) keeps the entry that was made without them: what nobody has answered begins anew.
    async fn begin_anew(&self, settings: &Settings, keys: &[(Key, u64)]) {
        let plain: Vec<(IpAddr, IpAddr)> = keys
            .iter()
            .filter(|((_, defeat, ..), _)| *defeat == Defeat::Plain)
            .map(|((.., device, server), _)| (IpAddr::V4(*device), IpAddr::V4(*server)))
            .collect();
        if plain.is_empty() {
            return;
        }
        let flows = ruleset::passthrough_flows(settings);
        let wanted = [flows.pptp, flows.l2tp, flows.ipsec].concat();
        let Ok(mut seen) = self.kernel.observe(&wanted).await else { return };
        seen.flows.retain(|flow| !flow.answered && plain.contains(&(flow.client, flow.server)));
        if !seen.flows.is_empty()
            && let Err(error) = self.kernel.end(&seen.flows).await
        {
            log::incident(&error);
        }
    }

    /// The rules of others, as they were listed last.
    pub(super) fn others(&self) -> Arc<Others> {
        self.listed().others.clone()
    }

    /// Traces the next of these packets.
    async fn name(&self, key: Key) {
        let (_, defeat, device, server) = key;
        let packet = if defeat == Defeat::LostIn { (server, device) } else { (device, server) };
        let found = |told: &str, ended: bool| match defeat {
            Defeat::Untracked => Dropper::of(met(told, &keeps_from_conntrack)),
            Defeat::LostOut | Defeat::LostIn | Defeat::Plain | Defeat::Helped => dropper(told, ended),
        };
        let found = match self.kernel.trace(packet, TRACE, &|told| found(told, false).is_some()).await {
            Ok(told) => found(&told, true),
            Err(error) => {
                log::incident(&error);
                None
            }
        };
        let mut named = self.named();
        let known = named.get(&key).and_then(|(_, known)| known.clone());
        // What was named stays, if only no packet came by this time.
        named.insert(key, (Instant::now(), found.or(known)));
    }

    fn named(&self) -> std::sync::MutexGuard<'_, Named> {
        self.named.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the sets hold now, each with the seconds since its last packet.
    async fn defeated_now(&self) -> Result<Vec<(Key, u64)>, crate::kernel::Error> {
        let all = Vpn::ALL.into_iter().flat_map(|vpn| Defeat::ALL.map(|defeat| (vpn, defeat)));
        let all: Vec<(Vpn, Defeat, &'static str)> =
            all.filter_map(|(vpn, defeat)| Some((vpn, defeat, defeat.set_of(vpn)?))).collect();
        let sets: Vec<&'static str> = all.iter().map(|(.., set)| *set).collect();
        let found = self.kernel.elements(&sets, MOST).await?;
        let ago = |element: &Element| {
            let rest = element.rest_ms.map_or(REMEMBERED, Duration::from_millis);
            REMEMBERED.saturating_sub(rest).as_secs()
        };
        let keys = all.into_iter().flat_map(|(vpn, defeat, set)| {
            let elements = found.get(set).into_iter().flatten();
            elements.filter_map(move |element| {
                let (device, server) = ruleset::pair_of(&element.key)?;
                Some(((vpn, defeat, device, server), ago(element)))
            })
        });
        Ok(keys.collect())
    }

    /// What is to be told now. `seen`: with the flows of VPN protocols; what is answered works, however it leaves.
    pub(super) async fn defeats(&self, settings: &Settings, seen: &Observation) -> Vec<Defeated> {
        let flows = &seen.flows;
        if settings.role != Role::Companion {
            return Vec::new();
        }
        // What cannot be read is not told.
        let mut keys = self.defeated_now().await.unwrap_or_default();
        let answered = |device: Ipv4Addr, server: Ipv4Addr| {
            let theirs =
                |flow: &&Flow| flow.client == IpAddr::V4(device) && flow.server == IpAddr::V4(server);
            flows.iter().filter(theirs).any(|flow| flow.answered)
        };
        keys.retain(|((_, defeat, device, server), _)| {
            *defeat != Defeat::Plain || !answered(*device, *server)
        });
        let control = |flow: &&Flow| {
            let pptp = &settings.passthrough.pptp;
            let port = || pptp.ports.iter().any(|port| port.number() == flow.server_port);
            pptp.enabled && flow.protocol == TCP && is_open(flow) && port()
        };
        let another = |flow: &&Flow| flow.helper.as_deref().is_some_and(|name| name != "pptp");
        let helped: Vec<&Flow> = flows.iter().filter(control).filter(another).take(MOST).collect();
        if !helped.is_empty() || keys.iter().any(|((_, defeat, ..), _)| *defeat == Defeat::Untracked) {
            // Whose rule it is must not be told of rules of before.
            self.list_others(seen.generation).await;
        }
        let (others, named) = (self.others(), self.named().clone());
        let tell = |(key, ago): &(Key, u64)| {
            let traced = named.get(key);
            // No packet has met a rule that nft shows: one that could be meant, or one that it does not show.
            let listed = |rules: &[Dropper]| {
                traced.and_then(|_| {
                    Dropper::of(others::about(rules, key.0, settings)).or(Some(Dropper::Hidden))
                })
            };
            let dropper = traced.and_then(|(_, dropper)| dropper.clone());
            let dropper = match key.1 {
                Defeat::Untracked => dropper.or_else(|| listed(&others.notracks)),
                Defeat::LostOut | Defeat::LostIn | Defeat::Plain | Defeat::Helped => dropper,
            };
            told(*key, *ago, dropper, &others, settings)
        };
        let mut all: Vec<Defeated> = keys.iter().map(tell).collect();
        all.extend(helped.into_iter().filter_map(|flow| {
            let (IpAddr::V4(device), IpAddr::V4(server)) = (flow.client, flow.server) else { return None };
            let attach = others.attach(flow.helper.as_deref().unwrap_or_default());
            let dropper = Dropper::of(others::about(&attach, Vpn::Pptp, settings)).or(Some(Dropper::Hidden));
            Some(told((Vpn::Pptp, Defeat::Helped, device, server), 0, dropper, &others, settings))
        }));
        all
    }
}

/// Who it is, in words.
fn who(dropper: Option<&Dropper>) -> String {
    match dropper {
        Some(Dropper::Rule { table, chain, rule, .. }) => {
            format!("the rule \u{201c}{rule}\u{201d} in chain {chain} of table {table}")
        }
        Some(Dropper::Policy { table, chain }) => format!("the policy of chain {chain} in table {table}"),
        Some(Dropper::AnyOf { rules }) => {
            let all: Vec<String> = rules.iter().map(|rule| who(Some(rule))).collect();
            all.join(" or ")
        }
        Some(Dropper::Hidden) => "a rule that nft does not show (the old iptables, as a rule)".to_owned(),
        None => "a rule of another firewall, which is being looked for".to_owned(),
    }
}

fn told(
    key: Key,
    last_seconds: u64,
    dropper: Option<Dropper>,
    others: &Others,
    settings: &Settings,
) -> Defeated {
    let (vpn, how, device, server) = key;
    let title = vpn.title().to_owned();
    let who = who(dropper.as_ref());
    let sentence = match how {
        Defeat::LostOut => format!("{title} from {device} to {server} is dropped by {who}."),
        Defeat::LostIn => format!(
            "What {server} sends back to {device} ({title}) is let in by Postern and dropped by {who}."
        ),
        Defeat::Plain => format!(
            "{title} from {device} to {server} leaves with the device\u{2019}s own address: no rule of the other firewall translates it."
        ),
        Defeat::Untracked => format!(
            "{title} from {device} to {server} leaves with the device\u{2019}s own address: {who} keeps it from connection tracking."
        ),
        Defeat::Helped => format!(
            "The call from {device} to {server} cannot carry anything: {who} attaches another helper to its control connection, so \
             PPTP\u{2019}s cannot be attached, and GRE finds no way back."
        ),
    };
    let Remedy { text: remedy, commands } = remedy::remedy(vpn, how, dropper.as_ref(), others, settings);
    Defeated {
        name: vpn.name().to_owned(),
        title,
        device,
        server,
        how,
        last_seconds,
        dropper,
        sentence,
        remedy,
        commands,
    }
}
