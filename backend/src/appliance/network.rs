//! The network that the settings mean: addresses, route, kernel settings, and where the admin page listens.

use std::net::{IpAddr, SocketAddr};

use crate::kernel::{DefaultRoute, Link, Network, Observation, SeenLink};
use crate::ruleset;
use crate::settings::names::IfName;
use crate::settings::{Role, Settings};

/// Forwards nothing.
pub(super) fn closed() -> Network {
    let off = |path: &str| (path.to_owned(), "0".to_owned());
    Network {
        sysctls: vec![off("net/ipv4/ip_forward"), off("net/ipv6/conf/all/forwarding")],
        ..Network::default()
    }
}

/// Addresses, route and sysctls of role router. Devices that a document in `left` used and `to` does not lose the
/// address we gave them.
pub(super) fn network(left: &[Option<&Settings>], to: &Settings, seen: &Observation) -> Network {
    let mut links = Vec::new();
    if let (Some(device), Some(address)) = (&to.internet.device, to.internet.address) {
        links.push(Link { name: device.clone(), addresses: vec![address], up: true });
    }
    if let Some(device) = to.local_network.device() {
        links.push(Link { name: device, addresses: vec![to.local_network.address], up: true });
    }
    let there = |name: &IfName| seen.links.iter().any(|link| link.name == name.as_str());
    for left in left.iter().flatten().filter(|left| left.role == Role::Router) {
        for device in left.internet.device.iter().cloned().chain(left.local_network.device()) {
            if !links.iter().any(|link| link.name == device) && there(&device) {
                links.push(Link { name: device, addresses: Vec::new(), up: true });
            }
        }
    }
    let route = to.internet.device.as_ref().zip(to.internet.gateway);
    Network {
        links,
        default_route: Some(route.map(|(device, gateway)| DefaultRoute { gateway, device: device.clone() })),
        sysctls: ruleset::sysctls(to),
    }
}

/// What `found` lacks of `wanted`, in words.
pub(super) fn differences(wanted: &Network, found: &Network) -> Vec<String> {
    let mut all = Vec::new();
    for link in &wanted.links {
        let is = found.links.iter().find(|f| f.name == link.name);
        if is.is_some_and(|is| is.up != link.up) {
            all.push(format!("The port {} is switched off.", link.name));
        }
        for address in link.addresses.iter().filter(|a| is.is_some_and(|is| !is.addresses.contains(a))) {
            all.push(format!("The port {} has lost its address {address}.", link.name));
        }
    }
    if wanted.default_route != found.default_route {
        all.push("The route to the internet is not the one that is set.".to_owned());
    }
    for (path, value) in &wanted.sysctls {
        let is = found.sysctls.iter().find(|(p, _)| p == path).map(|(_, is)| is.trim());
        if let Some(is) = is.filter(|is| is != value) {
            all.push(format!("The kernel setting {path} is {is}, not {value}."));
        }
    }
    all
}

/// Role router: the LAN address. Role unset: every private address the box has, so that a headless one can be
/// claimed. Never an address of the internet.
pub(super) fn admin_addresses(settings: &Settings, links: &[SeenLink]) -> Vec<SocketAddr> {
    let port = settings.access.port.number();
    if settings.role == Role::Router {
        return vec![SocketAddr::from((settings.local_network.address.address(), port))];
    }
    let mut all = Vec::new();
    for link in links {
        for (address, _) in &link.addresses {
            match address {
                IpAddr::V4(v4) if v4.is_private() || v4.is_link_local() => all.push((*v4, port).into()),
                IpAddr::V6(v6) if v6.is_unique_local() => all.push((*v6, port).into()),
                IpAddr::V6(v6) if v6.is_unicast_link_local() => {
                    all.push(std::net::SocketAddrV6::new(*v6, port, 0, link.index).into());
                }
                _ => {}
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unset_box_listens_on_private_addresses_only() {
        let link = SeenLink {
            name: "eth0".into(),
            up: true,
            carrier: true,
            addresses: vec![
                ("203.0.113.7".parse().unwrap(), 24),
                ("10.0.0.2".parse().unwrap(), 8),
                ("2001:db8::1".parse().unwrap(), 64),
                ("fd00::1".parse().unwrap(), 64),
                ("fe80::1".parse().unwrap(), 64),
            ],
            mac: None,
            index: 4,
        };
        let words: Vec<String> =
            admin_addresses(&Settings::default(), &[link]).iter().map(SocketAddr::to_string).collect();
        assert_eq!(words, ["10.0.0.2:80", "[fd00::1]:80", "[fe80::1%4]:80"]);
    }
}
