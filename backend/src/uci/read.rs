//! The settings with what the files say.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::format::{Section, plain};
use super::{Broken, Config, Files};
use crate::settings::names::{Label, Mac};
use crate::settings::{Device, FieldError, Settings, keys};

/// Most hosts, and most redirects, that are looked at: each is held against all others.
const MOST: usize = 300;

/// What can be taken or left by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// The devices of the two sides, and the box's address in the local network.
    Sides,
    /// Names and fixed addresses.
    Devices,
    /// Port forwards.
    Forwards,
    /// The kernel's helpers, PPTP's among them.
    Helpers,
}

impl Part {
    /// All of them, in the order in which they are read.
    pub const ALL: [Self; 4] = [Self::Sides, Self::Devices, Self::Forwards, Self::Helpers];

    /// As it is said through the door.
    pub fn word(self) -> &'static str {
        match self {
            Self::Sides => "sides",
            Self::Devices => "devices",
            Self::Forwards => "forwards",
            Self::Helpers => "helpers",
        }
    }
}

/// What was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Read {
    /// The settings with what the files say.
    pub settings: Settings,
    /// What they say and ours cannot.
    pub left_out: Vec<Left>,
}

/// Something that is not taken, and why, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Left {
    /// Where it belongs.
    pub part: Part,
    /// What, and why not.
    pub sentence: String,
}

/// `now`, with what these parts of the files say in place of what it says of the same. What our settings would refuse is left out, and
/// what they have besides stays.
///
/// # Errors
/// A file cannot be read; then nothing is taken.
pub fn read(files: &Files<'_>, now: &Settings, parts: &[Part]) -> Result<Read, Broken> {
    let config = Config::of(files)?;
    let mut reading = Reading {
        wrong: now.check(),
        read: Read { settings: now.clone(), left_out: Vec::new() },
        part: Part::Sides,
    };
    for part in Part::ALL.into_iter().filter(|part| parts.contains(part)) {
        reading.part = part;
        match part {
            Part::Sides => reading.sides(&config),
            Part::Devices => reading.devices(&config),
            Part::Forwards => reading.forwards(&config),
            Part::Helpers => reading.helpers(&config),
        }
    }
    Ok(reading.read)
}

struct Reading {
    read: Read,
    /// What is wrong with the settings as far as they are read; that was so before.
    wrong: Vec<FieldError>,
    part: Part,
}

impl Reading {
    fn leave(&mut self, sentence: String) {
        self.read.left_out.push(Left { part: self.part, sentence });
    }

    fn without(&mut self, what: &str, section: &Section, why: &str) {
        self.leave(format!("{what} \u{201c}{}\u{201d}: {why}", section.title()));
    }

    /// Takes it, unless the settings would then be refused.
    fn put(&mut self, change: impl FnOnce(&mut Settings) -> Result<(), String>) -> Result<(), String> {
        let mut next = self.read.settings.clone();
        change(&mut next)?;
        let wrong = next.check();
        if let Some(new) = wrong.iter().find(|one| !self.wrong.contains(one)) {
            return Err(new.message.clone());
        }
        (self.read.settings, self.wrong) = (next, wrong);
        Ok(())
    }

    fn sides(&mut self, config: &Config) {
        let Some(sides) = config.sides() else {
            return self.leave(
                "No zone is translated and forwarded to by one other: the two sides are not known."
                    .to_owned(),
            );
        };
        let taken = self.put(|settings| {
            settings.internet.device = Some(sides.internet);
            settings.local_network.devices = vec![sides.local];
            if let Some(address) = sides.address {
                settings.local_network.address = address;
            }
            Ok(())
        });
        if let Err(why) = taken {
            self.leave(format!("The two sides: {why}"));
        }
        sides.others.into_iter().for_each(|other| self.leave(other));
        let networks = config.outside().into_iter().flat_map(|zone| zone.all("network"));
        let means = networks.filter_map(|name| config.interface(name)?.get("proto"));
        if let Some(how) = means.into_iter().find(|how| ["static", "pppoe"].contains(how)) {
            self.leave(format!(
                "How the internet address is found ({how}): only a router needs that. Type it on the page Internet before you make this \
                 box one, with the port in place of the session\u{2019}s device."
            ));
        }
        self.beyond(config);
    }

    /// What OpenWrt does besides, and goes on doing beside Postern.
    fn beyond(&mut self, config: &Config) {
        let count = |kind: &str| config.firewall.iter().filter(|section| section.kind == kind).count();
        for (kind, what) in [
            ("rule", "Firewall rules"),
            ("nat", "Rules of address translation"),
            ("include", "Files with rules of their own"),
            ("ipset", "Sets of addresses"),
        ] {
            let number = count(kind);
            if number > 0 {
                self.leave(format!(
                    "{what} ({number}): beside OpenWrt they stay in force there; a router has Postern\u{2019}s own."
                ));
            }
        }
        for dhcp in config.dhcp.iter().filter(|section| section.kind == "dhcp") {
            if ["ra", "dhcpv6", "ndp"].iter().any(|key| dhcp.get(key) == Some("relay")) {
                self.without("IPv6 relay of", dhcp, "not done here; a router asks for a prefix.");
            }
            let range = (dhcp.get("start").unwrap_or("100"), dhcp.get("limit").unwrap_or("150"));
            if dhcp.name == "lan" && range != ("100", "150") {
                self.without("DHCP range of", dhcp, "set it on the page Local network.");
            }
        }
    }

    fn devices(&mut self, config: &Config) {
        let hosts: Vec<&Section> = config.dhcp.iter().filter(|section| section.kind == "host").collect();
        for host in hosts.iter().take(MOST) {
            if let Err(why) = self.device(host) {
                self.without("Device", host, &why);
            }
        }
        self.too_many(hosts.len(), "devices");
        let names =
            config.dhcp.iter().filter(|section| ["domain", "cname"].contains(&section.kind.as_str())).count();
        if names > 0 {
            self.leave(format!("Names for addresses ({names}): a name here is a device\u{2019}s."));
        }
    }

    fn too_many(&mut self, number: usize, what: &str) {
        if number > MOST {
            self.leave(format!("{} more {what}: {MOST} are looked at.", number - MOST));
        }
    }

    fn device(&mut self, host: &Section) -> Result<(), String> {
        const SAID: [&str; 4] = ["name", "ip", "mac", "dns"];
        let address = host.get("ip").map(str::parse::<Ipv4Addr>);
        let Some(Ok(address)) = address else { return Err("it has no fixed IPv4 address.".to_owned()) };
        let words: Vec<&str> = host.all("mac").collect();
        let macs: Vec<Mac> = words.iter().filter_map(|mac| mac.parse().ok()).collect();
        let mac = match (words.len(), macs[..].first()) {
            (0, _) => return Err("it is known by something else than its MAC address.".to_owned()),
            (1, Some(mac)) => *mac,
            (1, None) => return Err("its MAC address is none.".to_owned()),
            _ => return Err("a reservation is for one MAC address here.".to_owned()),
        };
        if !self.read.settings.local_network.address.contains(address) {
            return Err(format!("{address} is not in the local network."));
        }
        let devices = &self.read.settings.devices;
        if let Some(other) = devices.iter().find(|one| one.address == Some(address) && one.mac != mac) {
            return Err(format!("{address} is kept for \u{201c}{}\u{201d} already.", other.name));
        }
        let known = devices.iter().find(|one| one.mac == mac).map(|one| one.name.clone());
        let theirs = host.get("name").and_then(|name| name.parse::<Label>().ok());
        let renamed = host.get("name").is_some() && theirs.is_none();
        let name = theirs.or(known);
        let own = || format!("device-{address}").replace('.', "-").parse::<Label>();
        let Some(name) = name.or_else(|| own().ok()) else { return Err("its name is none.".to_owned()) };
        let called = name.clone();
        self.put(|settings| {
            let device = Device { mac, name, address: Some(address) };
            match settings.devices.iter_mut().find(|one| one.mac == mac) {
                Some(known) => *known = device,
                None => settings.devices.push(device),
            }
            Ok(())
        })?;
        if renamed {
            let why = format!("taken as \u{201c}{called}\u{201d}, for its name cannot be written here.");
            self.without("Device", host, &why);
        }
        let more: Vec<String> = host
            .values
            .iter()
            .map(|(key, _)| plain(key, 32))
            .filter(|key| !SAID.contains(&key.as_str()))
            .collect();
        if !more.is_empty() {
            self.without("Device", host, &format!("taken without its {}.", more.join(", ")));
        }
        Ok(())
    }

    fn forwards(&mut self, config: &Config) {
        let internet = config.outside().and_then(|zone| zone.get("name"));
        let redirects: Vec<&Section> =
            config.firewall.iter().filter(|section| section.kind == "redirect").collect();
        let mut names = BTreeSet::new();
        for redirect in redirects.iter().take(MOST) {
            match forwards(redirect, internet) {
                Err(why) => self.without("Port forward", redirect, &why),
                Ok(all) => {
                    for (name, words) in all {
                        if !names.insert(name.clone()) {
                            self.without("Port forward", redirect, "another one has the same name.");
                            continue;
                        }
                        let key = format!("{}{name}", crate::settings::forwards::KEY);
                        let put = self
                            .put(|settings| keys::set(settings, &key, &words).map_err(|wrong| wrong.message));
                        if let Err(why) = put {
                            self.without("Port forward", redirect, &why);
                        }
                    }
                }
            }
        }
        self.too_many(redirects.len(), "port forwards");
    }

    fn helpers(&mut self, config: &Config) {
        for helper in config.zones().flat_map(|zone| zone.all("helper")) {
            self.helper(helper);
        }
        // fw4 gives every zone that is not translated all helpers of the kernel, unless it is told which.
        let by_itself = |zone: &&Section| {
            !zone.is_on("masq") && !zone.is_off("auto_helper") && zone.get("helper").is_none()
        };
        let zones: Vec<String> = config
            .zones()
            .filter(by_itself)
            .map(|zone| format!("\u{201c}{}\u{201d}", zone.title()))
            .collect();
        if !zones.is_empty() {
            self.leave(format!(
                "Every helper of the kernel, which OpenWrt attaches by itself (auto_helper) for zone {}: here each is chosen.",
                zones.join(", ")
            ));
        }
    }

    /// fw4's words for the kernel's helpers.
    fn helper(&mut self, name: &str) {
        let helpers = &mut self.read.settings.helpers;
        match name {
            "pptp" => self.read.settings.passthrough.pptp.enabled = true,
            "ftp" => helpers.ftp = true,
            "tftp" => helpers.tftp = true,
            "sip" => helpers.sip = true,
            "RAS" | "Q.931" => helpers.h323 = true,
            "irc" => helpers.irc = true,
            other => {
                let other = plain(other, 32);
                self.leave(format!("The helper \u{201c}{other}\u{201d} is not offered here."));
            }
        }
    }
}

/// The forwards that a redirect is, one for each protocol: name and words. `internet`: the zone whose packets may be led.
fn forwards(redirect: &Section, internet: Option<&str>) -> Result<Vec<(String, String)>, String> {
    // All that can be said here, or means nothing here. Whatever else there is narrows it as a rule.
    const SAID: [&str; 15] = [
        "name",
        "target",
        "src",
        "src_dport",
        "dest",
        "dest_ip",
        "dest_port",
        "proto",
        "family",
        "enabled",
        "reflection",
        "reflection_src",
        "reflection_zone",
        "log",
        "counter",
    ];
    let why = |why: &str| Err(why.to_owned());
    if redirect.get("target").is_some_and(|target| target != "DNAT") {
        return why("only what leads to a device is one.");
    }
    // What the home itself is led to (its DNS, say) must not be open to the internet.
    if internet.is_none() {
        return why("which zone is the internet\u{2019}s is not known.");
    }
    if redirect.get("src") != internet {
        return why("it is not for what comes from the internet.");
    }
    if let Some((other, _)) = redirect.values.iter().find(|(key, _)| !SAID.contains(&key.as_str())) {
        let other = plain(other, 32);
        return Err(format!("\u{201c}{other}\u{201d} cannot be said here; it would be open to more."));
    }
    if redirect.get("family").is_some_and(|family| !["ipv4", "any"].contains(&family)) {
        return why("a forward here is for IPv4.");
    }
    let known = |word: &str| ["tcp", "udp", "tcpudp"].contains(&word);
    if let Some(other) = redirect.all("proto").find(|word| !known(word)) {
        let other: String = other.chars().filter(char::is_ascii_alphanumeric).take(32).collect();
        return Err(format!("{other} is neither TCP nor UDP."));
    }
    let (Some(port), Some(to)) = (redirect.get("src_dport"), redirect.get("dest_ip")) else {
        return why("it has no port, or no device.");
    };
    if to.parse::<Ipv4Addr>().is_err() {
        return why("its device has no IPv4 address.");
    }
    // fw3 and fw4 write a range either way.
    let port = port.replace(':', "-");
    let moved = redirect.get("dest_port").map(|other| other.replace(':', "-")).filter(|other| *other != port);
    let to = moved.map_or_else(|| to.to_owned(), |port| format!("{to}:{port}"));
    let off = if redirect.is_off("enabled") { " (off)" } else { "" };
    let said: Vec<&str> = redirect.all("proto").filter(|word| ["tcp", "udp"].contains(word)).collect();
    // fw4 takes TCP and UDP where nothing is said.
    let protocols = if said.is_empty() || redirect.all("proto").any(|word| word == "tcpudp") {
        vec!["tcp", "udp"]
    } else {
        said
    };
    let title = redirect.get("name").or(Some(&redirect.name)).unwrap_or_default();
    let words: Vec<&str> =
        title.split(|letter: char| !letter.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let plain = if words.is_empty() { format!("port-{port}") } else { words.join("-").to_ascii_lowercase() };
    let one = |protocol: &&str| {
        let name = if protocols.len() > 1 { format!("{plain}-{protocol}") } else { plain.clone() };
        (name, format!("{protocol} {port} to {to}{off}"))
    };
    Ok(protocols.iter().map(one).collect())
}
