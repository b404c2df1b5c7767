//! Beside another firewall: where its rules keep passthrough from working, and which rule it is.
//!
//! That something is dropped, or leaves without translation, is told by sets that packets have filled (see `companion.rs` of the
//! ruleset). The rule is named by the kernel: the next such packet is traced through everybody's rules.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::Appliance;
use super::trace::{Dropper, dropper, notracks};
use crate::kernel::{Element, Flow, Kernel};
use crate::log;
use crate::ruleset::{self, Defeat, Vpn};
use crate::settings::{Role, Settings};

/// How often the sets are looked at. A VPN program tries again every second or so.
const LOOK: Duration = Duration::from_secs(3);
/// So long a packet is waited for; the set of the traced forgets it after 5 s.
const TRACE: Duration = Duration::from_secs(4);
/// So soon one whose dropper could not be named is traced again, and one that was named is looked at anew.
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
}

/// Which packets.
type Key = (Vpn, Defeat, Ipv4Addr, Ipv4Addr);

/// Who drops what, as far as it was traced, and when.
pub(super) type Named = BTreeMap<Key, (Instant, Option<Dropper>)>;

impl<K: Kernel> Appliance<K> {
    /// Names the rules that drop what passes here, for ever.
    pub async fn watch_defeats(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let (_, settings) = self.settings();
            if settings.role != Role::Companion {
                self.named().clear();
                continue;
            }
            let Ok(keys) = self.defeated_now().await else { continue };
            let now = Instant::now();
            let mut wanted = Vec::new();
            {
                let mut named = self.named();
                named.retain(|key, _| keys.iter().any(|(known, _)| known == key));
                let lost = |key: &Key| matches!(key.1, Defeat::LostOut | Defeat::LostIn);
                let due = |key: &Key| named.get(key).is_none_or(|(at, _)| now.duration_since(*at) >= AGAIN);
                wanted.extend(
                    keys.iter().map(|(key, _)| *key).filter(|key| lost(key) && due(key)).take(TRACED),
                );
            }
            for key in wanted {
                self.name(key).await;
            }
        }
    }

    /// Traces the next of these packets.
    async fn name(&self, key: Key) {
        let (_, defeat, device, server) = key;
        let packet = if defeat == Defeat::LostOut { (device, server) } else { (server, device) };
        let found = match self.kernel.trace(packet, TRACE, &|told| dropper(told, false).is_some()).await {
            Ok(told) => dropper(&told, true),
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
        let all: Vec<(Vpn, Defeat)> = all.collect();
        let sets: Vec<&'static str> = all.iter().map(|(vpn, defeat)| defeat.set_of(*vpn)).collect();
        let found = self.kernel.elements(&sets, MOST).await?;
        let ago = |element: &Element| {
            let rest = element.rest_ms.map_or(REMEMBERED, Duration::from_millis);
            REMEMBERED.saturating_sub(rest).as_secs()
        };
        let keys = all.into_iter().flat_map(|(vpn, defeat)| {
            let elements = found.get(defeat.set_of(vpn)).into_iter().flatten();
            elements.filter_map(move |element| {
                let (device, server) = ruleset::pair_of(&element.key)?;
                Some(((vpn, defeat, device, server), ago(element)))
            })
        });
        Ok(keys.collect())
    }

    /// What is to be told now. `flows`: those of VPN protocols; what is answered works, however it leaves.
    pub(super) async fn defeats(&self, settings: &Settings, flows: &[Flow]) -> Vec<Defeated> {
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
        let untracked = keys.iter().any(|((_, defeat, ..), _)| *defeat == Defeat::Untracked);
        let listing = match untracked {
            true => self.kernel.listing().await.unwrap_or_default(),
            false => String::new(),
        };
        let named = self.named().clone();
        let tell = |(key, ago): &(Key, u64)| {
            let dropper = match key.1 {
                Defeat::Untracked => notracks(&listing)
                    .into_iter()
                    .next()
                    .map_or(Some(Dropper::Hidden), |(table, chain, rule)| {
                        Some(Dropper::Rule { table, entry: chain.clone(), chain, rule })
                    }),
                Defeat::Plain => None,
                Defeat::LostOut | Defeat::LostIn => named.get(key).and_then(|(_, dropper)| dropper.clone()),
            };
            told(*key, *ago, dropper, settings)
        };
        keys.iter().map(tell).collect()
    }
}

fn told(key: Key, last_seconds: u64, dropper: Option<Dropper>, settings: &Settings) -> Defeated {
    let (vpn, how, device, server) = key;
    let title = vpn.title().to_owned();
    let who = match &dropper {
        Some(Dropper::Rule { table, chain, rule, .. }) => {
            format!("the rule \u{201c}{rule}\u{201d} in chain {chain} of table {table}")
        }
        Some(Dropper::Policy { table, chain }) => format!("the policy of chain {chain} in table {table}"),
        Some(Dropper::Hidden) => "a rule that nft does not show (the old iptables, as a rule)".to_owned(),
        None => "a rule of another firewall, which is being looked for".to_owned(),
    };
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
    };
    let remedy = remedy(vpn, how, dropper.as_ref(), settings);
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
    }
}

/// What to add to the other firewall. Those for L2TP were tried in the lab.
fn remedy(vpn: Vpn, how: Defeat, dropper: Option<&Dropper>, settings: &Settings) -> String {
    let side = |name: Option<String>| name.unwrap_or_default();
    let wan = side(settings.internet_side().map(|name| name.to_string()));
    let lan = side(settings.local_network.device().map(|name| name.to_string()));
    match how {
        Defeat::Plain => {
            return format!(
                "Masquerade what leaves by {wan}: on OpenWrt \u{201c}option masq 1\u{201d} in the zone of {wan}; with firewalld \
                 firewall-cmd --permanent --zone=\u{2026} --add-masquerade; else \u{201c}oifname \"{wan}\" masquerade\u{201d} in a chain of type \
                 nat, hook postrouting. If another router translates, nothing is wrong here."
            );
        }
        Defeat::Untracked => return "Take that rule away, or let it except VPN protocols.".to_owned(),
        Defeat::LostOut | Defeat::LostIn => {}
    }
    let passthrough = &settings.passthrough;
    let (from, to) = if how == Defeat::LostOut { (&lan, &wan) } else { (&wan, &lan) };
    let matches: Vec<String> = match (vpn, how) {
        (Vpn::Pptp, Defeat::LostOut) => {
            vec![format!("tcp dport {{ {} }}", passthrough.pptp.ports), "meta l4proto 47".to_owned()]
        }
        (Vpn::L2tp, Defeat::LostOut) => {
            vec![format!("udp dport {{ {} }}", passthrough.l2tp.ports)]
        }
        (Vpn::Ipsec, Defeat::LostOut) => {
            vec!["udp dport { 500, 4500 }".to_owned(), "meta l4proto 50".to_owned()]
        }
        (Vpn::Pptp, _) => vec!["meta l4proto 47 ct state related".to_owned()],
        (Vpn::L2tp, _) => vec!["meta l4proto udp ct status dnat".to_owned()],
        (Vpn::Ipsec, _) => vec!["meta l4proto { 17, 50 } ct status dnat".to_owned()],
    };
    let (table, entry) = match dropper {
        Some(Dropper::Rule { table, entry, .. }) => (table.as_str(), entry.as_str()),
        Some(Dropper::Policy { table, chain }) => (table.as_str(), chain.as_str()),
        Some(Dropper::Hidden) => ("", ""),
        None => return String::new(),
    };
    if table.is_empty() || table == "ip filter" {
        let program = if table.is_empty() { "iptables-legacy" } else { "iptables" };
        let dports = |protocol: &str, ports: String| format!("-p {protocol} -m multiport --dports {ports}");
        let words: Vec<String> = match (vpn, how) {
            (Vpn::Pptp, Defeat::LostIn) => vec!["-p 47 -m conntrack --ctstate RELATED".into()],
            (_, Defeat::LostIn) => vec!["-m conntrack --ctstate DNAT".into()],
            (Vpn::Pptp, _) => {
                vec![dports("tcp", passthrough.pptp.ports.to_string().replace(' ', "")), "-p 47".into()]
            }
            (Vpn::L2tp, _) => vec![dports("udp", passthrough.l2tp.ports.to_string().replace(' ', ""))],
            (Vpn::Ipsec, _) => vec![dports("udp", "500,4500".into()), "-p 50".into()],
        };
        let lines: Vec<String> = words
            .iter()
            .map(|one| format!("{program} -I FORWARD -i {from} -o {to} {one} -j ACCEPT"))
            .collect();
        return format!("Add before it: {} (with ufw, to /etc/ufw/before.rules).", lines.join("; "));
    }
    let rules: Vec<String> =
        matches.iter().map(|one| format!("iifname \"{from}\" oifname \"{to}\" {one} accept")).collect();
    if table == "inet firewalld" {
        return format!(
            "firewalld changes its table by itself, so tell it: a policy from the zone of {from} to the zone of {to} that lets {} pass \
             (firewall-cmd --permanent --new-policy \u{2026}).",
            vpn.title()
        );
    }
    let lines: Vec<String> =
        rules.iter().map(|rule| format!("nft insert rule {table} {entry} '{rule}'")).collect();
    let lasting = match table {
        "inet fw4" => format!(
            " To keep it, write {} into /usr/share/nftables.d/chain-pre/{entry}/postern.nft.",
            rules.iter().map(|rule| format!("\u{201c}{rule}\u{201d}")).collect::<Vec<_>>().join(" and ")
        ),
        _ => " To keep it, write it into the file that the table comes from.".to_owned(),
    };
    format!("Add before it: {}.{lasting}", lines.join("; "))
}
