//! The network that the settings mean: addresses, route, kernel settings, and where the admin page listens.

use std::net::{IpAddr, SocketAddr};

use crate::kernel::{Bridge, DefaultRoute, Link, Member, Network, Observation, SeenLink};
use crate::ruleset;
use crate::services::InternetLease;
use crate::settings::internet::Mode;
use crate::settings::names::{IfName, Mac, Mtu};
use crate::settings::{Role, Settings};

/// Largest packet of Ethernet in bytes (RFC 894).
const ETHERNET: u32 = 1500;

/// Forwards nothing, and weakens nothing.
pub(super) fn closed() -> Network {
    let off = |path: &str| (path.to_owned(), "0".to_owned());
    let mut closed = inspecting();
    closed.sysctls.extend([off("net/ipv4/ip_forward"), off("net/ipv6/conf/all/forwarding")]);
    closed
}

/// The kernel's own inspection of connections: nobody switches it on again once we are gone (`firewall.spi`).
pub(super) fn inspecting() -> Network {
    let sysctls = ruleset::INSPECTING.map(|(path, value)| (path.to_owned(), value.to_owned()));
    Network { sysctls: sysctls.to_vec(), ..Network::default() }
}

/// Beside another firewall: what tunnels need of the kernel's timers. No address, no route and no forwarding: they are the other's.
pub(super) fn beside_others(to: &Settings) -> Network {
    Network { sysctls: ruleset::sysctls(to), ..Network::default() }
}

/// Addresses, route and sysctls of role router. Devices that a document in `left` used and `to` does not lose the
/// address we gave them. The first of `left` is the one in force; none: the daemon begins.
///
/// A port that is in use and not there any more (a USB adapter that was pulled) is left out: whoever wants to close something must be able to,
/// and what is to end must end, without it. One that is new must be there; and so must, when the daemon begins, the one to the
/// internet and one of the home: without them this box is no router.
///
/// `lease`: what the internet port was lent, for mode DHCP.
pub(super) fn network(
    left: &[Option<&Settings>],
    to: &Settings,
    seen: &Observation,
    lease: Option<&InternetLease>,
) -> Network {
    let mut links = Vec::new();
    let there = |name: &IfName| seen.links.iter().find(|link| link.name == name.as_str());
    let begins = left.first().is_none_or(Option::is_none);
    let left: Vec<&Settings> =
        left.iter().flatten().copied().filter(|left| left.role == Role::Router).collect();
    // A kernel has links; the paper one of the tests may have been told of none.
    let absent = |name: &IfName| there(name).is_none() && !seen.links.is_empty();
    let used = |name: &IfName| {
        let uses = |left: &&Settings| {
            left.internet.device.as_ref() == Some(name) || left.local_network.devices.contains(name)
        };
        left.iter().any(uses)
    };
    let left_out = |name: &IfName| absent(name) && used(name);
    let ports = &to.local_network.devices;
    let another = || begins && ports.iter().any(|port| !absent(port));
    let outside = to.internet.outside();
    // A session can end at any moment, and its device with it.
    let gone = |device: &IfName| *device == IfName::pppoe() && there(device).is_none();
    let lease = lease.filter(|lease| Some(&lease.device) == outside.as_ref() && !gone(&lease.device));
    let (address, gateway) = match to.internet.mode {
        Mode::Static => (to.internet.address, to.internet.gateway),
        Mode::Dhcp => (lease.map(|lease| lease.address), lease.and_then(|lease| lease.gateway)),
        // pppd gives its device the address, and takes it away with it.
        Mode::Pppoe => (None, lease.and_then(|lease| lease.gateway)),
    };
    if let Some(device) = to.internet.device.as_ref().filter(|device| !left_out(device)) {
        let (mtu, mac) = internet_link(&left, to, there(device));
        links.push(Link { mtu, mac, ..Link::new(device.clone(), address.into_iter().collect()) });
    }
    let mut bridges = Vec::new();
    let bridge = IfName::bridge();
    if let Some(device) = to.local_network.device().filter(|device| *device == bridge || !left_out(device)) {
        if device == bridge {
            let first = ports.iter().find_map(there);
            bridges.push(Bridge { name: bridge.clone(), there: true, mac: first.and_then(|link| link.mac) });
        }
        links.push(Link::new(device.clone(), vec![to.local_network.address]));
        let members = ports.iter().filter(|port| **port != device);
        let members = members.filter(|port| !(left_out(port) || absent(port) && another()));
        for port in members {
            links.push(Link { member: Member::Of(bridge.clone()), ..Link::new(port.clone(), Vec::new()) });
        }
    }
    for left in &left {
        let local = &left.local_network;
        let all =
            left.internet.device.iter().cloned().chain(local.device()).chain(local.devices.iter().cloned());
        for device in all {
            let bridged = local.devices.len() > 1 && local.devices.contains(&device);
            match links.iter_mut().find(|link| link.name == device) {
                // A port of the bridge before, and of none now.
                Some(link) if bridged && link.member == Member::Untouched => link.member = Member::OfNone,
                Some(_) => {}
                None if there(&device).is_none() => {}
                None => {
                    let member = if bridged { Member::OfNone } else { Member::Untouched };
                    let (mtu, mac) = match left.internet.device.as_ref() == Some(&device) {
                        true => own(left, there(&device)),
                        false => (None, None),
                    };
                    links.push(Link { member, mtu, mac, ..Link::new(device, Vec::new()) });
                }
            }
        }
        if local.devices.len() > 1 && bridges.is_empty() && there(&bridge).is_some() {
            bridges.push(Bridge { name: bridge.clone(), there: false, mac: None });
        }
    }
    let route = outside.as_ref().filter(|device| !left_out(device)).zip(gateway);
    // A port that was the internet's takes advertisements as the kernel does by itself (ip-sysctl.rst): not while it forwards.
    let before = left.iter().filter_map(|left| left.internet.device.as_ref());
    let before = before.filter(|port| to.internet.device.as_ref() != Some(*port) && there(port).is_some());
    let advertised = before.map(|port| (format!("net/ipv6/conf/{port}/accept_ra"), "1".to_owned()));
    let of_absent = |path: &str| {
        to.internet.device.as_ref().is_some_and(|port| left_out(port) && path.contains(&format!("/{port}/")))
    };
    let own = ruleset::sysctls(to).into_iter().filter(|(path, _)| !of_absent(path));
    let sysctls = advertised.chain(own).collect();
    Network {
        bridges,
        links,
        default_route: Some(route.map(|(device, gateway)| DefaultRoute { gateway, device: device.clone() })),
        sysctls,
    }
}

/// The home's side alone, of the ports that are there: what can always be had.
pub(super) fn home(settings: &Settings, seen: &Observation) -> Network {
    let there = |name: &IfName| seen.links.iter().any(|link| link.name == name.as_str());
    let only = Settings { role: Role::Router, internet: Default::default(), ..settings.clone() };
    let mut network = Network { default_route: None, sysctls: Vec::new(), ..network(&[], &only, seen, None) };
    network.links.retain(|link| there(&link.name) || network.bridges.iter().any(|b| b.name == link.name));
    network
}

/// Size and hardware address of the internet port. Where neither document says anything they are not touched.
fn internet_link(
    left: &[&Settings],
    to: &Settings,
    seen: Option<&SeenLink>,
) -> (Option<u32>, Option<[u8; 6]>) {
    let same = left.iter().find(|left| left.internet.device == to.internet.device);
    let (mtu, mac) = same.map_or((None, None), |left| own(left, seen));
    let told = match to.internet.mtu {
        // With PPPoE it is the session's.
        Mtu::Bytes(bytes) if to.internet.mode != Mode::Pppoe => Some(u32::from(bytes)),
        _ => None,
    };
    (told.or(mtu), to.internet.mac.map(Mac::bytes).or(mac))
}

/// What a port gets back that `left` had changed. The address that is burnt in is known only where the driver tells it;
/// else it keeps the other one until the box starts anew.
fn own(left: &Settings, seen: Option<&SeenLink>) -> (Option<u32>, Option<[u8; 6]>) {
    let told = left.internet.mtu != Mtu::Auto && left.internet.mode != Mode::Pppoe;
    let mtu = told.then_some(ETHERNET);
    (mtu, left.internet.mac.and_then(|_| seen.and_then(|seen| seen.own_mac)))
}

/// What `found` lacks of `wanted`, in words.
pub(super) fn differences(wanted: &Network, found: &Network) -> Vec<String> {
    let mut all = Vec::new();
    for link in &wanted.links {
        let is = found.links.iter().find(|f| f.name == link.name);
        if is.is_some_and(|is| is.up != link.up) {
            all.push(format!("The port {} is switched off.", link.name));
        }
        if is.is_some_and(|is| is.mtu != link.mtu) {
            all.push(format!("The port {} has another MTU than is set.", link.name));
        }
        if is.is_some_and(|is| is.mac != link.mac) {
            all.push(format!("The port {} has another MAC address than is set.", link.name));
        }
        if is.is_some_and(|is| is.member != link.member) {
            all.push(format!("The port {} no longer belongs to the local network.", link.name));
        }
        for address in link.addresses.iter().filter(|a| is.is_some_and(|is| !is.addresses.contains(a))) {
            all.push(format!("The port {} has lost its address {address}.", link.name));
        }
    }
    for bridge in wanted.bridges.iter().filter(|b| b.there) {
        if found.bridges.iter().any(|f| f.name == bridge.name && !f.there) {
            all.push(format!("{}, which joins the ports of the local network, is gone.", bridge.name));
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

/// Role router: the LAN address. Companion: the private addresses of the LAN device, which somebody else has given it. Role unset: every
/// private address the box has, so that a headless one can be claimed. Never an address of the internet.
pub(super) fn admin_addresses(settings: &Settings, links: &[SeenLink]) -> Vec<SocketAddr> {
    let access = &settings.access;
    let https = access.https.then(|| access.https_port.number());
    let mut all = Vec::new();
    for port in [Some(access.port.number()), https].into_iter().flatten() {
        all.extend(at_port(settings, links, port));
    }
    all
}

fn at_port(settings: &Settings, links: &[SeenLink], port: u16) -> Vec<SocketAddr> {
    if settings.role == Role::Router {
        return vec![SocketAddr::from((settings.local_network.address.address(), port))];
    }
    let local = settings.local_network.device().filter(|_| settings.role == Role::Companion);
    let mut all = Vec::new();
    for link in links.iter().filter(|link| local.as_ref().is_none_or(|local| link.name == local.as_str())) {
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
            index: 4,
            ..SeenLink::default()
        };
        let words: Vec<String> =
            admin_addresses(&Settings::default(), &[link]).iter().map(SocketAddr::to_string).collect();
        assert_eq!(words, ["10.0.0.2:80", "[fd00::1]:80", "[fe80::1%4]:80"]);
    }
}
