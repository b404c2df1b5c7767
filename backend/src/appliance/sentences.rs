//! What is said after a change: what is true now, in the owner's words.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::apply::Applied;
use super::flows::is_open;
use super::lacks::title;
use crate::clock::Clock;
use crate::kernel::Flow;
use crate::ruleset::Helper;
use crate::settings::names::{DmzHost, Spi};
use crate::settings::passthrough::Allowed;
use crate::settings::{Firewall, Forward, Role, Settings, keys};

/// One or two sentences.
pub(super) fn after(before: &Settings, now: &Settings, applied: &Applied, clock: &Clock) -> String {
    let mut said = Vec::new();
    if before.role != now.role {
        said.push(match now.role {
            Role::Router => "Postern is the router now.".to_owned(),
            Role::Companion => "Postern is a companion of the other firewall now.".to_owned(),
            Role::Unset => "Postern has no role now; its rules are gone and nothing is forwarded.".to_owned(),
        });
    }
    let (was, is) = (&before.passthrough, &now.passthrough);
    let in_effect = now.role != Role::Unset;
    said.extend(switched("PPTP", was.pptp.enabled, is.pptp.enabled, in_effect));
    said.extend(switched("L2TP", was.l2tp.enabled, is.l2tp.enabled, in_effect));
    said.extend(switched("IPsec", was.ipsec.enabled, is.ipsec.enabled, in_effect));
    said.extend(who(before, now).filter(|_| in_effect));
    for helper in Helper::ALL.into_iter().filter(|helper| *helper != Helper::Pptp) {
        said.extend(helper_switched(helper, before, now));
    }
    said.extend(forwards(before, now));
    said.extend(weakened(&before.firewall, &now.firewall, clock));
    if said.is_empty() {
        let keys: Vec<String> = keys::difference(before, now).into_iter().map(|(key, ..)| key).collect();
        said.push(match keys.as_slice() {
            [one] => format!("The setting {one} is changed."),
            many => format!("{} settings are changed.", many.len()),
        });
    }
    said.extend(ended(&applied.ended));
    said.extend(match applied.helped.len() {
        0 => None,
        1 => Some("1 connection of it has ended.".to_owned()),
        n => Some(format!("{n} connections of it have ended.")),
    });
    said.extend(match applied.lost {
        0 => None,
        1 => Some("1 connection through a port forward has ended.".to_owned()),
        n => Some(format!("{n} connections through port forwards have ended.")),
    });
    said.extend(must_redial(&applied.must_redial));
    said.join(" ")
}

fn switched(name: &str, was: bool, is: bool, in_effect: bool) -> Option<String> {
    match (was == is, is, in_effect) {
        (true, ..) => None,
        (_, true, true) => Some(format!("{name} passthrough is on.")),
        (_, false, true) => Some(format!("{name} passthrough is off.")),
        (_, true, false) => Some(format!("{name} passthrough will be on once this box has a role.")),
        (_, false, false) => Some(format!("{name} passthrough will be off once this box has a role.")),
    }
}

fn who(before: &Settings, now: &Settings) -> Option<String> {
    let devices = &now.passthrough.devices;
    (before.passthrough.devices != *devices).then(|| match devices {
        Allowed::Everyone => "Every device may use VPN passthrough.".to_owned(),
        Allowed::Only(devices) if devices.len() == 1 => "Only 1 device may use VPN passthrough.".to_owned(),
        Allowed::Only(devices) => format!("Only {} devices may use VPN passthrough.", devices.len()),
    })
}

fn helper_switched(helper: Helper, before: &Settings, now: &Settings) -> Option<String> {
    let title = title(helper);
    match (helper.wanted(before), helper.wanted(now), now.role != Role::Unset) {
        (false, true, true) => Some(format!(
            "The helper for {title} is on, for connections that begin from now on: what is connected must connect again."
        )),
        (true, false, true) => Some(format!("The helper for {title} is off.")),
        (false, true, false) => Some(format!("The helper for {title} will be on once this box has a role.")),
        (true, false, false) => Some(format!("The helper for {title} will be off once this box has a role.")),
        _ => None,
    }
}

/// What is open for a while, and until when; what is not any more.
fn weakened(before: &Firewall, now: &Firewall, clock: &Clock) -> Vec<String> {
    let mut said = Vec::new();
    if before.spi != now.spi {
        said.push(match now.spi {
            Spi::On => "Inspection (SPI) is on again.".to_owned(),
            Spi::OffUntil(time) => format!("Inspection (SPI) is off until {}.", clock.say(time.unix())),
        });
    }
    if before.dmz != now.dmz {
        said.push(match now.dmz {
            DmzHost::None => "There is no DMZ host any more.".to_owned(),
            DmzHost::Until(host, time) => {
                format!(
                    "The whole internet reaches {host} until {}: it is the DMZ host.",
                    clock.say(time.unix())
                )
            }
        });
    }
    said
}

/// Which forwards are on or gone now.
fn forwards(before: &Settings, now: &Settings) -> Vec<String> {
    let find = |settings: &Settings, name: &str| -> Option<Forward> {
        settings.forwards.iter().find(|forward| forward.name.as_str() == name).cloned()
    };
    let mut said = Vec::new();
    for forward in &now.forwards {
        let was = find(before, forward.name.as_str());
        if was.as_ref() == Some(forward) {
            continue;
        }
        let (name, what, to) = (&forward.name, forward.what(), &forward.to);
        said.push(match (forward.enabled, now.role) {
            (true, Role::Router) => format!("The port forward {name} is on: {what} leads to {to}."),
            (true, _) => format!("The port forward {name} will be on once this box is a router."),
            (false, _) => format!("The port forward {name} is off."),
        });
    }
    let gone = before.forwards.iter().filter(|forward| find(now, forward.name.as_str()).is_none());
    said.extend(gone.map(|forward| format!("The port forward {} is removed.", forward.name)));
    match said.len() {
        0..=3 => said,
        n => vec![format!("{n} port forwards are changed.")],
    }
}

/// Flows are counted as people count: one device and one server are one call or tunnel.
fn ended(flows: &[Flow]) -> Option<String> {
    let calls: BTreeSet<(IpAddr, IpAddr)> =
        flows.iter().filter(|f| is_open(f)).map(|f| (f.client, f.server)).collect();
    match calls.len() {
        0 => None,
        1 => Some("1 call that was open has ended.".to_owned()),
        n => Some(format!("{n} calls that were open have ended.")),
    }
}

fn must_redial(flows: &[Flow]) -> Option<String> {
    match flows {
        [] => None,
        [one] => Some(format!(
            "1 call that was open before must redial: {} to {} port {}.",
            one.client, one.server, one.server_port
        )),
        many => Some(format!("{} calls that were open before must redial.", many.len())),
    }
}
