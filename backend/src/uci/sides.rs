//! Which devices are the two sides.

use std::net::Ipv4Addr;

use super::format::{Section, plain};
use super::{Broken, Config, Files, Sides};
use crate::settings::names::{IfName, InterfaceAddress};

/// The zone that is translated is the internet's, and who may forward to it the home. None: it is not plain.
///
/// # Errors
/// A file cannot be read.
pub fn sides(files: &Files<'_>) -> Result<Option<Sides>, Broken> {
    Ok(Config::of(files)?.sides())
}

/// A device of a zone.
struct Side {
    device: IfName,
    address: Option<InterfaceAddress>,
    /// Of several ways to the internet, the smallest is taken first.
    metric: u32,
    /// Where it is said.
    from: String,
}

impl Config {
    pub(super) fn sides(&self) -> Option<Sides> {
        let outside = self.outside()?;
        let to_outside = |section: &&Section| {
            section.kind == "forwarding"
                && !section.is_off("enabled")
                && section.get("dest") == outside.get("name")
        };
        let inside = self.firewall.iter().filter(to_outside).filter_map(|section| section.get("src"));
        let inside = inside.filter_map(|name| self.zones().find(|zone| zone.get("name") == Some(name)));
        let mut homes: Vec<(&Section, Side)> = Vec::new();
        for zone in inside {
            // One that may forward by several sections, one for each family, is one.
            let first = || self.devices(zone).into_iter().next();
            if !homes.iter().any(|(known, _)| known.get("name") == zone.get("name"))
                && let Some(side) = first()
            {
                homes.push((zone, side));
            }
        }
        // A network of guests goes to the internet too; but it may not speak with this box.
        let usual = self.firewall.iter().find(|section| section.kind == "defaults");
        let usual = usual.and_then(|defaults| defaults.get("input"));
        let speaks = |zone: &Section| {
            zone.get("input").or(usual).is_some_and(|word| word.eq_ignore_ascii_case("accept"))
        };
        let (mut at, mut guests) = (homes, Vec::new());
        if at.len() > 1 {
            (at, guests) = at.into_iter().partition(|(zone, _)| speaks(zone));
        }
        let [(_, home)] = &at[..] else { return None };
        let mut ways = self.devices(outside);
        ways.sort_by_key(|way| way.metric);
        let mut ways = ways.into_iter();
        let internet = ways.next()?;
        let mut others: Vec<String> = ways
            .filter(|way| way.device != internet.device)
            .map(|way| format!("{} leads to the internet too; one device is looked after.", way.device))
            .collect();
        others.dedup();
        others.extend(guests.iter().map(|(zone, side)| {
            format!(
                "{} of zone \u{201c}{}\u{201d} is another local network; one is looked after.",
                side.device,
                zone.title()
            )
        }));
        Some(Sides {
            internet: internet.device,
            internet_from: format!("{}; the zone is translated (masq)", internet.from),
            local: home.device.clone(),
            local_from: format!("{}; the zone may forward to the internet\u{2019}s", home.from),
            address: home.address,
            others,
        })
    }

    /// The devices of a zone, in its order.
    fn devices(&self, zone: &Section) -> Vec<Side> {
        let title = zone.title();
        let of = |name: &str| {
            let section = self.interface(name).filter(is_used)?;
            Some(Side {
                device: device(section)?,
                address: address(section),
                metric: section.get("metric").and_then(|metric| metric.parse().ok()).unwrap_or_default(),
                from: format!(
                    "network: interface \u{201c}{}\u{201d}; firewall: zone \u{201c}{title}\u{201d}",
                    plain(name, 64)
                ),
            })
        };
        let named = zone.all("device").filter_map(|name| {
            let from = format!("firewall: zone \u{201c}{title}\u{201d}");
            Some(Side { device: name.parse().ok()?, address: None, metric: 0, from })
        });
        // A zone that names nothing is the interface of its own name.
        let nothing = ["network", "device", "subnet"].iter().all(|key| zone.get(key).is_none());
        let own = zone.get("name").filter(|_| nothing);
        zone.all("network").chain(own).filter_map(of).chain(named).collect()
    }
}

/// It is switched on, and speaks IPv4.
fn is_used(section: &&Section) -> bool {
    !section.is_on("disabled") && section.get("proto") != Some("dhcpv6")
}

/// The kernel's name of an interface: netifd calls a session of pppd and a bridge of old after it.
fn device(section: &Section) -> Option<IfName> {
    let own = |kind: &str| format!("{kind}-{}", section.name).parse().ok();
    if let Some(session @ ("pppoe" | "pppoa" | "pptp" | "l2tp" | "3g")) = section.get("proto") {
        return own(session);
    }
    if section.get("type") == Some("bridge") {
        return own("br");
    }
    // `@name` is another interface's device.
    let mut names = section.all("device").chain(section.all("ifname"));
    names.find(|name| !name.starts_with('@'))?.parse().ok()
}

fn address(section: &Section) -> Option<InterfaceAddress> {
    let first = section.all("ipaddr").next()?;
    if first.contains('/') {
        return first.parse().ok();
    }
    let mask: Ipv4Addr = section.get("netmask")?.parse().ok()?;
    let prefix = mask.to_bits().leading_ones();
    (mask.to_bits().count_ones() == prefix).then(|| format!("{first}/{prefix}").parse().ok())?
}
