//! The text dnsmasq reads. Every value in it comes from a type that cannot hold a line break, a comma or a `#`; the
//! owner's names for devices can hold the last two and become DNS labels first.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::net::{IpAddr, Ipv4Addr};

use super::{Delegated, Dnsmasq, InternetLease};
use crate::settings::internet::Mode;
use crate::settings::names::{InterfaceAddress, Label};
use crate::settings::{Role, Settings};

/// Most leases at a time; a visitor who makes up MAC addresses cannot fill the flash. 4096 lines are 300 KiB.
const MOST_LEASES: u32 = 4096;
/// Longest list of devices (`Settings::check`).
const MOST_DEVICES: u32 = 256;

/// Names that a program asks for without having been told: whoever carries one would be believed (CERT VU#598349).
const NAMES_NOBODY_GETS: [&str; 3] = ["wpad", "isatap", "localhost"];

/// What dnsmasq shall do; none: nothing, and it does not run.
pub fn dnsmasq(
    settings: &Settings,
    lease: Option<&InternetLease>,
    delegated: Option<&Delegated>,
) -> Option<Dnsmasq> {
    let local = &settings.local_network;
    let device = local.device().filter(|_| settings.role == Role::Router)?;
    let announces = settings.internet.ipv6_device().is_some();
    if !local.dhcp.enabled && !local.dns.enabled && !announces {
        return None;
    }
    let mut text = String::from("# Written by Postern. A change here is lost: use the page Local network.\n");
    let mut say = |line: &str| {
        let _ = writeln!(text, "{line}"); // writing to a String cannot fail
    };
    // Sockets bound to the LAN's addresses, also to those it gets later: the internet port has none to ask.
    say(&format!("interface={device}"));
    say("except-interface=lo");
    let (port, session) = (settings.internet.device.clone(), settings.internet.outside());
    for internet in port.iter().chain(session.iter().filter(|session| Some(*session) != port.as_ref())) {
        say(&format!("except-interface={internet}"));
    }
    say("bind-dynamic");
    // Only where it is started as root, by hand: as the daemon's uid it cannot and need not change it.
    say("user=root");
    say("no-hosts");
    say(&format!("domain={}", local.domain));
    say("expand-hosts");
    match local.dns.enabled {
        true => dns(settings, &mut say),
        false => say("port=0"),
    }
    if local.dhcp.enabled {
        dhcp(settings, lease, &mut say);
    }
    if announces {
        announce(settings, device.as_str(), &mut say);
    }
    let servers = servers(settings, lease, delegated);
    Some(Dnsmasq { config: text, reservations: reservations(settings), names: names(settings), servers })
}

/// Whether we name the servers; else those of the box's own resolver are asked.
fn told(settings: &Settings) -> bool {
    !settings.internet.dns.is_empty() || settings.internet.mode != Mode::Static
}

/// Whom the router itself asks for names: its own DNS as the devices of the home do, then whoever that one asks.
pub fn resolvers(settings: &Settings, lease: Option<&InternetLease>) -> Vec<IpAddr> {
    let local = &settings.local_network;
    let own = local.device().is_some() && local.dns.enabled && settings.role == Role::Router;
    let own = own.then(|| IpAddr::V4(local.address.address()));
    own.into_iter().chain(asked(settings, lease)).collect()
}

/// The owner's choice, or else the provider's.
fn asked(settings: &Settings, lease: Option<&InternetLease>) -> Vec<IpAddr> {
    let chosen = settings.internet.dns.clone();
    match lease.filter(|_| settings.internet.mode != Mode::Static && chosen.is_empty()) {
        Some(lease) => lease.dns.iter().copied().map(IpAddr::from).collect(),
        None => chosen,
    }
}

fn servers(settings: &Settings, lease: Option<&InternetLease>, delegated: Option<&Delegated>) -> String {
    let mut text = String::new();
    let by_ipv6 = delegated.filter(|_| settings.internet.dns.is_empty() && told(settings));
    let by_ipv6 = by_ipv6.into_iter().flat_map(|delegated| delegated.dns.iter().copied().map(IpAddr::from));
    for server in asked(settings, lease).into_iter().chain(by_ipv6) {
        let _ = writeln!(text, "server={server}"); // writing to a String cannot fail
    }
    text
}

fn dns(settings: &Settings, say: &mut impl FnMut(&str)) {
    let local = &settings.local_network;
    // The home's names, and reverse lookups of private addresses, are nobody's business outside (RFC 6303, RFC 8375).
    say(&format!("local=/{}/", local.domain));
    say("domain-needed");
    say("bogus-priv");
    say("cache-size=1000");
    // DNS Flag Day 2020: larger answers are cut in pieces, which get lost and can be forged.
    say("edns-packet-max=1232");
    if local.dns.rebind_protection {
        // Without rebind-localhost-ok: an answer that points at the asker's own machine is the same attack.
        say("stop-dns-rebind");
    }
    if told(settings) {
        say("no-resolv");
    }
}

fn dhcp(settings: &Settings, lease: Option<&InternetLease>, say: &mut impl FnMut(&str)) {
    let local = &settings.local_network;
    let (start, end) = range(settings);
    let (mask, seconds) = (netmask(local.address), local.dhcp.lease.seconds());
    say("dhcp-authoritative");
    say(&format!("dhcp-range={start},{end},{mask},{seconds}"));
    let own = local.address.address();
    say(&format!("dhcp-option=option:router,{own}"));
    let servers: Vec<String> = match local.dns.enabled {
        true => vec![own.to_string()],
        false => {
            asked(settings, lease).into_iter().filter(IpAddr::is_ipv4).map(|ip| ip.to_string()).collect()
        }
    };
    // Without any, dnsmasq would name itself.
    say(&format!(
        "dhcp-option=option:dns-server{}",
        servers.iter().fold(String::new(), |all, s| all + "," + s)
    ));
    let room = end.to_bits() - start.to_bits() + 1;
    // With every reservation there can be, so that one more needs no other dnsmasq.
    let most = room.saturating_add(MOST_DEVICES).min(MOST_LEASES);
    say(&format!("dhcp-lease-max={most}"));
    for name in NAMES_NOBODY_GETS {
        say(&format!("dhcp-name-match=set:unwanted,{name}"));
    }
    say("dhcp-ignore-names=tag:unwanted");
}

/// Router advertisements for whichever prefix the home's device has addresses of (RFC 4861, RFC 4862): dnsmasq follows those by
/// itself, their lifetimes too, and announces a prefix that has gone with preferred lifetime 0 (radv.c, `CONTEXT_OLD`; RFC 7084
/// L-13). So no prefix stands here, and a new one needs no other dnsmasq. Names by RDNSS (RFC 8106) and for those who ask
/// by DHCPv6 without addresses (RFC 8415 section 6.1).
fn announce(settings: &Settings, device: &str, say: &mut impl FnMut(&str)) {
    say("enable-ra");
    say(&format!("dhcp-range=::,constructor:{device},ra-stateless,64"));
    // The link-local one (dnsmasq puts it in), which stays when the prefix changes.
    let own = settings.local_network.dns.enabled.then(|| "[fe80::]".to_owned());
    let chosen = settings.internet.dns.iter().filter(|ip| ip.is_ipv6()).map(|ip| format!("[{ip}]"));
    let servers: Vec<String> = if own.is_some() { own.into_iter().collect() } else { chosen.collect() };
    // Without any, dnsmasq would name itself.
    say(&format!(
        "dhcp-option=option6:dns-server{}",
        servers.iter().fold(String::new(), |all, s| all + "," + s)
    ));
}

/// First and last address to hand out: .100 to .249 of the network where that is not told, or all of a smaller one.
/// dnsmasq leaves out its own address.
pub(super) fn range(settings: &Settings) -> (Ipv4Addr, Ipv4Addr) {
    let local = &settings.local_network;
    let first = local.address.network().to_bits() + 1;
    let last = local.address.broadcast().to_bits().saturating_sub(1).max(first);
    let (usual_start, usual_end) = match last - first >= 253 {
        true => (first + 99, first + 248),
        false => (first, last),
    };
    let (told_start, told_end) =
        (local.dhcp.start.map(Ipv4Addr::to_bits), local.dhcp.end.map(Ipv4Addr::to_bits));
    let (start, end) = match (told_start, told_end) {
        (Some(start), Some(end)) => (start, end),
        (Some(start), None) => (start, if start <= usual_end { usual_end } else { last }),
        (None, Some(end)) => (if usual_start <= end { usual_start } else { first }, end),
        (None, None) => (usual_start, usual_end),
    };
    (Ipv4Addr::from_bits(start), Ipv4Addr::from_bits(end.max(start)))
}

fn netmask(address: InterfaceAddress) -> Ipv4Addr {
    Ipv4Addr::from_bits(u32::MAX.checked_shl(32 - u32::from(address.prefix())).unwrap_or(0))
}

/// `MAC[,address][,name]` for each device; one without either has nothing to be told.
fn reservations(settings: &Settings) -> String {
    let mut text = String::new();
    for (device, name) in settings.devices.iter().zip(labels(settings)) {
        // An address outside the network would be handed out all the same, and lead nowhere.
        let address = device.address.filter(|address| settings.local_network.address.contains(*address));
        let address = address.map_or_else(String::new, |address| format!(",{address}"));
        let name = name.map_or_else(String::new, |name| format!(",{name}"));
        if !(address.is_empty() && name.is_empty()) {
            let _ = writeln!(text, "{}{address}{name}", device.mac); // writing to a String cannot fail
        }
    }
    text
}

/// The router's own name, and those of devices with an address of their own: known before they ask for a lease.
fn names(settings: &Settings) -> String {
    let local = &settings.local_network;
    let mut text = format!("{} {}\n", local.address.address(), settings.system.name);
    for (device, name) in settings.devices.iter().zip(labels(settings)) {
        if let (Some(address), Some(name)) = (device.address, name) {
            let _ = writeln!(text, "{address} {name}"); // writing to a String cannot fail
        }
    }
    text
}

/// The DNS name of each device, in the order of the settings. Who comes second with a name, or with the router's, has
/// none.
fn labels(settings: &Settings) -> Vec<Option<String>> {
    let mut taken: BTreeSet<String> = NAMES_NOBODY_GETS.iter().map(|name| (*name).to_owned()).collect();
    taken.insert(settings.system.name.to_string());
    let own =
        settings.devices.iter().map(|device| label(&device.name).filter(|name| taken.insert(name.clone())));
    own.collect()
}

/// `Anna's laptop` becomes `anna-s-laptop`: letters, digits and inner dashes (RFC 1123 section 2.1). None: nothing is
/// left of it. At most 63 but for dnsmasq's own words, as a [`Label`] has at most 63 characters.
fn label(name: &Label) -> Option<String> {
    let plain = |c: char| c.is_ascii_alphanumeric();
    let words: Vec<String> = name
        .as_str()
        .split(|c| !plain(c))
        .filter(|word| !word.is_empty())
        .map(str::to_ascii_lowercase)
        .collect();
    Some(words.join("-")).filter(|label| !label.is_empty()).map(|label| {
        // dnsmasq takes these for its own words: no DHCP for this device, or how long its lease is.
        let time = label.strip_suffix(['s', 'm', 'h', 'd', 'w']).unwrap_or(&label);
        let keyword =
            matches!(label.as_str(), "ignore" | "infinite") || time.bytes().all(|b| b.is_ascii_digit());
        if keyword { format!("{label}-device").chars().take(63).collect() } else { label }
    })
}
