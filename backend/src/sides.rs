//! Beside another firewall: which devices seem to be its two sides. A proposal for the owner, never taken unasked. Pure: what the
//! box says goes in as text; [`files`] reads it.

pub mod files;
mod others;

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::settings::names::{IfName, InterfaceAddress};
use crate::uci;

pub use others::{Other, others};

/// What seems to be so, and who says it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Proposal {
    /// Where that is from, in words.
    pub from: String,
    /// Leads to the internet.
    pub internet: String,
    /// Which words of the box say so.
    #[serde(default)]
    pub internet_from: String,
    /// The local network.
    pub local: String,
    /// Which words of the box say so.
    #[serde(default)]
    pub local_from: String,
    /// This box's address in it.
    pub address: Option<String>,
    /// What the box has besides these two, in words.
    #[serde(default)]
    pub others: Vec<String>,
}

/// What the box says.
#[derive(Debug, Clone, Default)]
pub struct Said {
    /// OpenWrt's `network`, `firewall` and `dhcp`; empty: there are none.
    pub uci: [String; 3],
    /// firewalld's zones, as XML.
    pub zones: Vec<String>,
    /// `/proc/net/route`.
    pub route: String,
    /// `/proc/net/fib_trie`, which lists the addresses of the box.
    pub addresses: String,
}

/// The first that knows: the configuration of a firewall before a guess by routes.
pub fn propose(said: &Said) -> Option<Proposal> {
    by_uci(said).or_else(|| by_zones(said)).or_else(|| by_route(said))
}

/// A configuration that cannot be read says nothing.
fn by_uci(said: &Said) -> Option<Proposal> {
    let [network, firewall, dhcp] = &said.uci;
    let sides = uci::sides(&uci::Files { network, firewall, dhcp }).ok()??;
    let address = sides.address.map(|address| address.to_string());
    Some(Proposal {
        from: "OpenWrt's configuration (UCI)".to_owned(),
        address: address.or_else(|| address_on(said, sides.local.as_str())),
        internet: sides.internet.to_string(),
        internet_from: sides.internet_from,
        local: sides.local.to_string(),
        local_from: sides.local_from,
        others: sides.others,
    })
}

/// The one device of the zone that is masqueraded, and the one network that is on another device of a zone.
fn by_zones(said: &Said) -> Option<Proposal> {
    let devices = |zone: &String| -> Vec<String> {
        let names = zone
            .split("<interface")
            .skip(1)
            .filter_map(|rest| rest.split("name=\"").nth(1)?.split('"').next());
        names.map(str::to_owned).collect()
    };
    let (outside, inside): (Vec<&String>, Vec<&String>) =
        said.zones.iter().partition(|zone| zone.contains("<masquerade"));
    let one = |zones: Vec<&String>| -> Option<String> {
        let all: Vec<String> = zones.into_iter().flat_map(devices).collect();
        let [one] = &all[..] else { return None };
        one.parse::<IfName>().ok().map(|name| name.to_string())
    };
    let (internet, local) = (one(outside)?, one(inside)?);
    let address = address_on(said, &local);
    Some(Proposal {
        from: "firewalld's zones".to_owned(),
        internet,
        internet_from: "the zone with masquerade has this one device".to_owned(),
        local,
        local_from: "the one other zone with a device".to_owned(),
        address,
        others: Vec::new(),
    })
}

/// The default route leads to the internet; the home is the one other device with a private network.
fn by_route(said: &Said) -> Option<Proposal> {
    let routes = routes(&said.route);
    let default = routes.iter().filter(|route| route.prefix == 0).min_by_key(|route| route.metric)?;
    let mut inside: Vec<&str> =
        connected(&routes).filter(|route| route.device != default.device).map(|r| r.device).collect();
    inside.dedup();
    let [local] = inside[..] else { return None };
    local.parse::<IfName>().ok()?;
    let address = address_on(said, local);
    Some(Proposal {
        from: "the default route".to_owned(),
        internet: default.device.to_owned(),
        internet_from: "the default route".to_owned(),
        local: local.to_owned(),
        local_from: "the one other device with a private network".to_owned(),
        address,
        others: Vec::new(),
    })
}

struct Route<'a> {
    device: &'a str,
    network: Ipv4Addr,
    prefix: u32,
    gateway: bool,
    metric: u32,
}

/// As `fib_route_seq_show` (net/ipv4/fib_trie.c) writes them: addresses in hexadecimal, in the memory's order.
fn routes(text: &str) -> Vec<Route<'_>> {
    let address =
        |hex: &str| u32::from_str_radix(hex, 16).ok().map(|word| Ipv4Addr::from(word.to_ne_bytes()));
    let mut all = Vec::new();
    for line in text.lines().skip(1) {
        let field: Vec<&str> = line.split_whitespace().collect();
        let [device, to, gateway, _, _, _, metric, mask, ..] = field[..] else { continue };
        if let (Some(network), Some(gateway), Some(mask), Ok(metric)) =
            (address(to), address(gateway), address(mask), metric.parse())
        {
            let (gateway, prefix) = (!gateway.is_unspecified(), mask.to_bits().leading_ones());
            all.push(Route { device, network, prefix, gateway, metric });
        }
    }
    all
}

/// Private networks that are on a device, of a size that a home has.
fn connected<'a>(routes: &'a [Route<'a>]) -> impl Iterator<Item = &'a Route<'a>> {
    routes.iter().filter(|r| !r.gateway && r.network.is_private() && (16..=30).contains(&r.prefix))
}

/// The address of the box in the one private network on this device.
fn address_on(said: &Said, device: &str) -> Option<String> {
    let routes = routes(&said.route);
    let on: Vec<&Route<'_>> = connected(&routes).filter(|route| route.device == device).collect();
    let [network] = on[..] else { return None };
    let mut last = None;
    for line in said.addresses.lines().map(str::trim) {
        if let Some(address) = line.strip_prefix("|-- ") {
            last = address.parse::<Ipv4Addr>().ok();
        } else if line.starts_with("/32 host LOCAL")
            && let Some(address) = last
            && let Ok(own) = format!("{address}/{}", network.prefix).parse::<InterfaceAddress>()
            && own.network() == network.network
        {
            return Some(own.to_string());
        }
    }
    None
}

impl Proposal {
    /// What to give to `postern set` to take it.
    pub fn assignments(&self) -> Vec<String> {
        let mut all = vec![
            "role=companion".to_owned(),
            format!("internet.device={}", self.internet),
            format!("local_network.devices={}", self.local),
        ];
        all.extend(self.address.as_ref().map(|address| format!("local_network.address={address}")));
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROUTE: &str = "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n\
        wan0\t00000000\t016433C6\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
        lan0\t0001A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n\
        wan0\t006433C6\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
    const ADDRESSES: &str = "Local:\n  +-- 192.168.1.0/24 2 0 2\n     |-- 192.168.1.1\n        /32 host LOCAL\n     |-- 192.168.1.255\n\
        \x20       /32 link BROADCAST\n  +-- 198.51.100.0/24\n     |-- 198.51.100.2\n        /32 host LOCAL\n";

    fn said() -> Said {
        Said { route: ROUTE.into(), addresses: ADDRESSES.into(), ..Said::default() }
    }

    fn words(said: &Said) -> Option<String> {
        propose(said).map(|one| format!("{}: {}", one.from, one.assignments()[1..].join(" ")))
    }

    #[test]
    fn the_default_route_leads_out_and_the_one_other_private_network_is_the_home() {
        let known = "the default route: internet.device=wan0 local_network.devices=lan0 local_network.address=192.168.1.1/24";
        assert_eq!(words(&said()).as_deref(), Some(known));
        let two = format!("{ROUTE}lan1\t0002A8C0\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n");
        assert_eq!(words(&Said { route: two, ..said() }), None, "two networks: never assumed");
        let none = ROUTE.replace("00000000\t0\t0\t0\n", "FFFFFFFF\t0\t0\t0\n");
        assert_eq!(words(&Said { route: none, ..said() }), None, "no default route");
        assert_eq!(words(&Said::default()), None);
    }

    #[test]
    fn a_firewalls_own_configuration_goes_before_routes() {
        let zones = vec![
            "<zone><interface name=\"wan0\"/><masquerade/></zone>".to_owned(),
            "<zone target=\"ACCEPT\">\n  <interface name=\"lan0\"/>\n</zone>".to_owned(),
            "<zone><short>Public</short></zone>".to_owned(),
        ];
        let known = "firewalld's zones: internet.device=wan0 local_network.devices=lan0 local_network.address=192.168.1.1/24";
        assert_eq!(words(&Said { zones: zones.clone(), ..said() }).as_deref(), Some(known));
        let uci = [
            include_str!("uci/fixtures/network").to_owned(),
            include_str!("uci/fixtures/firewall").to_owned(),
            String::new(),
        ];
        let openwrt = words(&Said { uci, zones, ..said() }).unwrap_or_default();
        assert!(openwrt.starts_with("OpenWrt's configuration (UCI): internet.device=wan "), "{openwrt}");
        assert!(openwrt.ends_with("local_network.address=192.168.7.1/24"), "{openwrt}");
    }
}
