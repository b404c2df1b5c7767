//! Who tried what is refused, from what the refusing rules have counted.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::State;
use crate::kernel::Element;
use crate::ruleset::{self, Helper, Places, REMEMBERED, Switch, Vpn, tried_by};
use crate::sessions::{Device, device};
use crate::settings::passthrough::Allowed;
use crate::settings::{Settings, keys};

/// Most that are told of.
const TOLD: usize = 20;

/// What stood in the way.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Barrier {
    /// It is switched off, or this kernel lacks the helper.
    #[default]
    Off,
    /// The device is not one of `passthrough.devices`.
    NotAllowed,
    /// As many sessions as `passthrough.session_limit` allows were there.
    Limit,
}

/// A device that tried what is refused, within the last ten minutes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// The key of the setting that refuses it, for example `passthrough.pptp.enabled`.
    pub key: String,
    /// Why it is refused.
    #[serde(default)]
    pub barrier: Barrier,
    /// As people call it, for example `PPTP`.
    pub title: String,
    /// Who.
    pub device: Device,
    /// The server it tried last.
    pub server: Ipv4Addr,
    /// To how many servers.
    pub servers: u32,
    /// How often: calls of PPTP; packets of the others.
    pub times: u64,
    /// Seconds since the last one.
    pub last_seconds: u64,
    /// Whether setting the key to `true` lets it through. (Not if it is on, and the kernel lacks the helper.)
    pub can_switch_on: bool,
}

impl Attempt {
    /// For people: what happened, and when.
    pub fn sentence(&self) -> String {
        let who = self.device.name.clone().map_or_else(
            || self.device.address.to_string(),
            |name| format!("{name} ({})", self.device.address),
        );
        let times = match (self.title.as_str() == Switch::Pptp.title(), self.times) {
            (true, 1) => "once".to_owned(),
            (true, n) => format!("{n} times"),
            (false, 1) => "with 1 packet".to_owned(),
            (false, n) => format!("with {n} packets"),
        };
        let ago = match self.last_seconds {
            0..60 => "less than a minute ago".to_owned(),
            s => format!("{} minute{} ago", s / 60, if s / 60 == 1 { "" } else { "s" }),
        };
        let why = match (self.barrier, self.can_switch_on) {
            (Barrier::Off, true) => "it is switched off here",
            (Barrier::Off, false) => "this kernel lacks what it needs",
            (Barrier::NotAllowed, _) => "this device may not use it",
            (Barrier::Limit, _) => "as many sessions as allowed were there",
        };
        let last = if self.times == 1 { "" } else { "the last time " };
        format!("{who} tried {} {times}, to {}, {last}{ago}; {why}.", self.title, self.server)
    }
}

/// The newest first.
pub(super) fn attempts(elements: &BTreeMap<&'static str, Vec<Element>>, state: &State) -> Vec<Attempt> {
    let mut devices: BTreeMap<(String, &'static str, Ipv4Addr, [u8; 6]), Attempt> = BTreeMap::new();
    let mut called = BTreeSet::new();
    for Tried { set, key, title, barrier, can_switch_on } in tried(state) {
        for element in elements.get(set).into_iter().flatten() {
            let Some((mac, address, server)) = tried_by(&element.key) else { continue };
            let rest = element.rest_ms.unwrap_or_default() / 1000;
            let last_seconds = REMEMBERED.saturating_sub(rest);
            let times = element.counted.map_or(0, |counted| counted.packets);
            let one = devices.entry((key.clone(), title, address, mac)).or_insert_with(|| Attempt {
                key: key.clone(),
                barrier,
                title: title.to_owned(),
                device: device(address.into(), Some(spelled(mac))),
                server,
                servers: 0,
                times: 0,
                last_seconds: u64::MAX,
                can_switch_on,
            });
            if last_seconds < one.last_seconds {
                (one.server, one.last_seconds) = (server, last_seconds);
            }
            one.servers += u32::from(called.insert((key.clone(), title, address, mac, server)));
            one.times += times;
        }
    }
    let mut all: Vec<Attempt> = devices.into_values().filter(|one| one.times > 0).collect();
    // Who was allowed since is not told of.
    let allowed = |one: &Attempt| match (&state.settings.passthrough.devices, one.barrier) {
        (Allowed::Only(devices), Barrier::NotAllowed) => one
            .device
            .mac
            .as_deref()
            .and_then(|mac| mac.parse().ok())
            .is_some_and(|mac| devices.contains(&mac)),
        _ => false,
    };
    all.retain(|one| !allowed(one));
    all.sort_by_key(|one| one.last_seconds);
    all.truncate(TOLD);
    all
}

/// One set, and what an element of it says.
struct Tried {
    set: &'static str,
    key: String,
    title: &'static str,
    barrier: Barrier,
    can_switch_on: bool,
}

/// What is not refused any more is not told of.
fn tried(state: &State) -> Vec<Tried> {
    let passthrough = &state.settings.passthrough;
    let mut all = Vec::new();
    for tried in Switch::ALL {
        // While IPsec is off, NAT traversal is off with it, whatever its own switch says.
        let off_with_it = tried == Switch::NatTraversal && !passthrough.ipsec.enabled;
        let switch = if off_with_it { Switch::Ipsec } else { tried };
        let (key, title) = (switch.key().to_owned(), switch.title());
        let can_switch_on = can_switch_on(switch, state);
        all.push(Tried { set: tried.tried(), key, title, barrier: Barrier::Off, can_switch_on });
    }
    let refusing =
        |set, key, vpn: Vpn, barrier| Tried { set, key, title: vpn.title(), barrier, can_switch_on: false };
    if let Allowed::Only(_) = passthrough.devices {
        let key = || "passthrough.devices".to_owned();
        all.extend(Vpn::ALL.map(|vpn| refusing(vpn.denied_hosts(), key(), vpn, Barrier::NotAllowed)));
    }
    for Places { vpn, .. } in ruleset::places(&state.settings) {
        let key = format!("passthrough.session_limit.{}", vpn.name());
        all.push(refusing(vpn.limited_hosts(), key, vpn, Barrier::Limit));
    }
    all
}

fn can_switch_on(switch: Switch, state: &State) -> bool {
    let off = |settings: &Settings| keys::get(settings, switch.key()).as_deref() == Some("false");
    off(&state.settings) && (switch != Switch::Pptp || state.capabilities.knows(Helper::Pptp))
}

fn spelled(mac: [u8; 6]) -> String {
    mac.map(|byte| format!("{byte:02x}")).join(":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Counter;
    use crate::ruleset::Capabilities;
    use crate::settings::tests::router;

    fn state() -> State {
        State {
            capabilities: Capabilities::everything(),
            revision: 1,
            settings: router(),
            trial: None,
            moved_from: None,
            broken: None,
            unsaved: false,
            ending: false,
            kept_learnt: None,
        }
    }

    fn tried(last: u8, server: u8, packets: u64, rest_ms: u64) -> Element {
        let mut key = vec![2, 0, 0, 0, 1, last, 0, 0];
        key.extend([192, 168, 1, last, 203, 0, 113, server]);
        let counted = Some(Counter { packets, bytes: packets * 60 });
        Element { key, rest_ms: Some(rest_ms), counted, ..Element::default() }
    }

    #[test]
    fn attempts_are_told_by_device_with_the_last_server_and_what_would_help() {
        let set = |elements| BTreeMap::from([("pptp_tried_hosts", elements)]);
        let seen = set(vec![tried(101, 10, 3, 590_000), tried(101, 20, 1, 500_000), tried(102, 10, 1, 1000)]);
        let all = attempts(&seen, &state());
        assert_eq!(all.len(), 2);
        let [first, second] = [&all[0], &all[1]];
        assert_eq!((first.times, first.servers, first.last_seconds), (4, 2, 10));
        assert_eq!(first.device.mac.as_deref(), Some("02:00:00:00:01:65"));
        let said = "192.168.1.101 tried PPTP 4 times, to 203.0.113.10, the last time less than a minute ago; it is switched off here.";
        assert_eq!(first.sentence(), said);
        assert!(second.sentence().contains("once, to 203.0.113.10, 9 minutes ago"), "{}", second.sentence());
        let mut without = state();
        without.capabilities = Capabilities::nothing();
        assert!(attempts(&seen, &without)[0].sentence().ends_with("this kernel lacks what it needs."));
        let many = (0..200).map(|n| tried(n, 10, 1, 1000)).collect();
        assert_eq!(attempts(&set(many), &state()).len(), TOLD);
        assert_eq!(attempts(&set(vec![Element { key: vec![1; 7], ..tried(1, 1, 1, 1) }]), &state()), []);
    }
}
