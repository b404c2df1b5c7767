//! What OpenWrt's configuration (UCI) says of what is in our settings: the two sides, fixed addresses, port forwards and helpers.
//! Pure: the files' text goes in.
//!
//! The format is that of `/etc/config` (OpenWrt's `uci`): `config TYPE [NAME]`, then `option KEY VALUE` and `list KEY VALUE`, with
//! quotes as in a shell.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use crate::settings::names::{IfName, InterfaceAddress, Label, Mac};
use crate::settings::{Device, Settings, keys};

/// The files, as text; one that is not there is empty.
#[derive(Debug, Clone, Copy, Default)]
pub struct Files<'a> {
    /// `/etc/config/network`.
    pub network: &'a str,
    /// `/etc/config/firewall`.
    pub firewall: &'a str,
    /// `/etc/config/dhcp`.
    pub dhcp: &'a str,
}

/// The devices of the two sides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sides {
    /// Leads to the internet.
    pub internet: IfName,
    /// The local network.
    pub local: IfName,
    /// This box's address in it.
    pub address: Option<InterfaceAddress>,
}

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The settings with what the files say.
    pub settings: Settings,
    /// What they say and ours cannot, in words.
    pub left_out: Vec<String>,
}

#[derive(Debug, Default)]
struct Section {
    kind: String,
    name: String,
    values: Vec<(String, String)>,
}

impl Section {
    /// Of an option that is given twice, the last one counts.
    fn get(&self, key: &str) -> Option<&str> {
        self.values.iter().rfind(|(name, _)| name == key).map(|(_, value)| value.as_str())
    }

    /// Every word of an option that is a list, in either way of writing one.
    fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        let of = self.values.iter().filter(move |(name, _)| name == key);
        of.flat_map(|(_, value)| value.split_whitespace())
    }

    fn is_on(&self, key: &str) -> bool {
        matches!(self.get(key), Some("1" | "on" | "true" | "yes" | "enabled"))
    }

    /// As people know it, and as a terminal may show it.
    fn title(&self) -> String {
        let title =
            self.get("name").unwrap_or(if self.name.is_empty() { "without a name" } else { &self.name });
        title.chars().filter(|letter| !letter.is_control()).take(64).collect()
    }
}

fn sections(text: &str) -> Vec<Section> {
    let mut all: Vec<Section> = Vec::new();
    for line in lines(text) {
        let words = words(line);
        let word = |at: usize| words.get(at).cloned().unwrap_or_default();
        match (words.first().map(String::as_str), all.last_mut()) {
            (Some("config"), _) => all.push(Section { kind: word(1), name: word(2), values: Vec::new() }),
            (Some("option" | "list"), Some(section)) => section.values.push((word(1), word(2))),
            _ => {}
        }
    }
    all
}

/// The lines of a file: a quote may hold line breaks, and what stands in it begins no section.
fn lines(text: &str) -> Vec<&str> {
    let (mut all, mut start, mut quote, mut comment) = (Vec::new(), 0, None, false);
    for (at, letter) in text.char_indices() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some(_), _) => {}
            (None, '\n') => {
                all.push(&text[start..at]);
                (start, comment) = (at + 1, false);
            }
            (None, '#') => comment = true,
            (None, '\'' | '"') if !comment => quote = Some(letter),
            (None, _) => {}
        }
    }
    all.push(&text[start..]);
    all
}

/// The words of a line, without quotes and comment.
fn words(line: &str) -> Vec<String> {
    let (mut all, mut word, mut quote, mut inside) = (Vec::new(), String::new(), None, false);
    for letter in line.chars() {
        match (quote, letter) {
            (Some(open), _) if letter == open => quote = None,
            (Some(_), _) => word.push(letter),
            (None, '\'' | '"') => (quote, inside) = (Some(letter), true),
            (None, '#') if !inside => break,
            (None, _) if letter.is_whitespace() => {
                if inside {
                    all.push(std::mem::take(&mut word));
                }
                inside = false;
            }
            (None, _) => {
                word.push(letter);
                inside = true;
            }
        }
    }
    if inside {
        all.push(word);
    }
    all
}

/// The zone that is translated, if there is only one: the internet's. A VPN's may be another, and nobody can guess which is which.
fn outside(firewall: &[Section]) -> Option<&Section> {
    let mut translated = firewall.iter().filter(|section| section.kind == "zone" && section.is_on("masq"));
    translated.next().filter(|_| translated.next().is_none())
}

/// The zone that is translated is the internet's, and who may forward to it the home. None: it is not plain.
pub fn sides(files: &Files<'_>) -> Option<Sides> {
    let (network, firewall) = (sections(files.network), sections(files.firewall));
    let zones = || firewall.iter().filter(|section| section.kind == "zone");
    let outside = outside(&firewall)?;
    let forwarding =
        |section: &&Section| section.kind == "forwarding" && section.get("dest") == outside.get("name");
    let inside = firewall.iter().filter(forwarding).filter_map(|section| section.get("src"));
    let inside = inside.filter_map(|name| zones().find(|zone| zone.get("name") == Some(name)));
    let mut homes = inside.filter_map(|zone| first_device(zone, &network));
    // A network of guests goes to the internet too.
    let (local, address) = homes.next().filter(|_| homes.next().is_none())?;
    let (internet, _) = first_device(outside, &network)?;
    Some(Sides { internet, local, address })
}

/// The first device of a zone that is one, with the box's address on it.
fn first_device(zone: &Section, network: &[Section]) -> Option<(IfName, Option<InterfaceAddress>)> {
    let of = |name: &str| {
        let section = network.iter().find(|section| section.kind == "interface" && section.name == name)?;
        Some((device(section)?, address(section)))
    };
    let named = zone.all("device").filter_map(|name| Some((name.parse().ok()?, None)));
    zone.all("network").filter_map(of).chain(named).next()
}

/// The kernel's name of an interface: netifd calls a PPPoE session and a bridge of old after it.
fn device(section: &Section) -> Option<IfName> {
    let own = |kind: &str| format!("{kind}-{}", section.name).parse().ok();
    if section.get("proto") == Some("pppoe") {
        return own("pppoe");
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

/// `now`, with what the files say in place of what it says of the same.
pub fn read(files: &Files<'_>, now: &Settings) -> Read {
    let mut read = Read { settings: now.clone(), left_out: Vec::new() };
    if let Some(sides) = sides(files) {
        read.settings.internet.device = Some(sides.internet);
        read.settings.local_network.devices = vec![sides.local];
        if let Some(address) = sides.address {
            read.settings.local_network.address = address;
        }
    } else {
        read.left_out.push("No zone is translated and forwarded to: the two sides are not known.".to_owned());
    }
    for host in sections(files.dhcp).iter().filter(|section| section.kind == "host") {
        read.host(host);
    }
    let firewall = sections(files.firewall);
    let internet = outside(&firewall).and_then(|zone| zone.get("name"));
    let mut names = BTreeSet::new();
    for redirect in firewall.iter().filter(|section| section.kind == "redirect") {
        read.redirect(redirect, internet, &mut names);
    }
    for helper in firewall.iter().filter(|section| section.kind == "zone").flat_map(|zone| zone.all("helper"))
    {
        read.helper(helper);
    }
    read
}

impl Read {
    fn without(&mut self, what: &str, section: &Section, why: &str) {
        self.left_out.push(format!("{what} \u{201c}{}\u{201d}: {why}", section.title()));
    }

    fn host(&mut self, host: &Section) {
        let macs: Vec<Mac> = host.all("mac").filter_map(|mac| mac.parse().ok()).collect();
        let address = host.get("ip").map(str::parse::<Ipv4Addr>);
        let Some(Ok(address)) = address else {
            return self.without("Device", host, "it has no fixed IPv4 address.");
        };
        let [mac] = macs[..] else {
            return self.without("Device", host, "a reservation is for one MAC address here.");
        };
        if !self.settings.local_network.address.contains(address) {
            return self.without("Device", host, &format!("{address} is not in the local network."));
        }
        let name = host.get("name").unwrap_or_default().parse::<Label>();
        let Ok(name) = name.or_else(|_| format!("device-{address}").replace('.', "-").parse()) else {
            return;
        };
        self.settings.devices.retain(|device| device.mac != mac && device.address != Some(address));
        self.settings.devices.push(Device { mac, name, address: Some(address) });
    }

    /// `internet`: the zone whose packets may be led. `names`: those of the forwards that these files have brought so far.
    fn redirect(&mut self, redirect: &Section, internet: Option<&str>, names: &mut BTreeSet<String>) {
        const WHAT: &str = "Port forward";
        // All that can be said here, or means nothing here. Whatever else there is narrows it as a rule.
        const SAID: [&str; 12] = [
            "name",
            "target",
            "src",
            "src_dport",
            "dest",
            "dest_ip",
            "dest_port",
            "proto",
            "enabled",
            "reflection",
            "reflection_src",
            "reflection_zone",
        ];
        if redirect.get("target").is_some_and(|target| target != "DNAT") {
            return self.without(WHAT, redirect, "only what leads to a device is one.");
        }
        // What the home itself is led to (its DNS, say) must not be open to the internet.
        if internet.is_none() || redirect.get("src") != internet {
            return self.without(WHAT, redirect, "it is not for what comes from the internet.");
        }
        if let Some((other, _)) = redirect.values.iter().find(|(key, _)| !SAID.contains(&key.as_str())) {
            let other: String = other.chars().filter(|letter| !letter.is_control()).take(32).collect();
            let why = format!("\u{201c}{other}\u{201d} cannot be said here; it would be open to more.");
            return self.without(WHAT, redirect, &why);
        }
        let known = |word: &str| ["tcp", "udp", "tcpudp"].contains(&word);
        if let Some(other) = redirect.all("proto").find(|word| !known(word)) {
            let other: String = other.chars().filter(char::is_ascii_alphanumeric).collect();
            return self.without(WHAT, redirect, &format!("{other} is neither TCP nor UDP."));
        }
        let (Some(port), Some(to)) = (redirect.get("src_dport"), redirect.get("dest_ip")) else {
            return self.without(WHAT, redirect, "it has no port, or no device.");
        };
        let moved = redirect.get("dest_port").filter(|other| *other != port);
        let to = moved.map_or_else(|| to.to_owned(), |port| format!("{to}:{port}"));
        let off = if redirect.get("enabled").is_some() && !redirect.is_on("enabled") { " (off)" } else { "" };
        let protocols: Vec<&str> =
            redirect.all("proto").filter(|word| ["tcp", "udp"].contains(word)).collect();
        // fw4 takes TCP and UDP where nothing is said.
        let protocols = if protocols.is_empty() { vec!["tcp", "udp"] } else { protocols };
        for protocol in &protocols {
            let plain = redirect.get("name").or(Some(&redirect.name)).unwrap_or_default();
            let plain: String = plain
                .chars()
                .map(|letter| if letter.is_ascii_alphanumeric() { letter.to_ascii_lowercase() } else { '-' })
                .collect();
            let plain = if plain.trim_matches('-').is_empty() { format!("port-{port}") } else { plain };
            let name = if protocols.len() > 1 { format!("{plain}-{protocol}") } else { plain };
            let key = format!("{}{name}", crate::settings::forwards::KEY);
            let words = format!("{protocol} {port} to {to}{off}");
            if !names.insert(name) {
                self.without(WHAT, redirect, "another one has the same name.");
                continue;
            }
            if let Err(wrong) = keys::set(&mut self.settings, &key, &words) {
                self.without(WHAT, redirect, &wrong.message);
            }
        }
    }

    /// fw4's words for the kernel's helpers.
    fn helper(&mut self, name: &str) {
        let helpers = &mut self.settings.helpers;
        match name {
            "pptp" => self.settings.passthrough.pptp.enabled = true,
            "ftp" => helpers.ftp = true,
            "tftp" => helpers.tftp = true,
            "sip" => helpers.sip = true,
            "RAS" | "Q.931" => helpers.h323 = true,
            "irc" => helpers.irc = true,
            other => self.left_out.push(format!("The helper \u{201c}{other}\u{201d} is not offered here.")),
        }
    }
}

#[cfg(test)]
mod tests;
