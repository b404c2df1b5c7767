//! What OpenWrt's configuration (UCI) says of what is in our settings: the two sides, fixed addresses, port forwards and helpers.
//! Pure: the files' text goes in.

mod format;
mod read;
mod sides;

use crate::settings::names::{IfName, InterfaceAddress};

pub use read::{Left, Part, Read, read};
pub use sides::sides;

use format::Section;

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

/// A file that cannot be read, by OpenWrt neither.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{file}, line {line}: {what}")]
pub struct Broken {
    /// Its name.
    pub file: &'static str,
    /// Counted from 1.
    pub line: usize,
    /// Why, in a sentence.
    pub what: &'static str,
}

/// The devices of the two sides, each with the words of the configuration that say so.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sides {
    /// Leads to the internet.
    pub internet: IfName,
    /// Where that is said.
    pub internet_from: String,
    /// The local network.
    pub local: IfName,
    /// Where that is said.
    pub local_from: String,
    /// This box's address in it.
    pub address: Option<InterfaceAddress>,
    /// What the configuration has besides these two, in words.
    pub others: Vec<String>,
}

/// The sections of the files.
struct Config {
    network: Vec<Section>,
    firewall: Vec<Section>,
    dhcp: Vec<Section>,
}

impl Config {
    fn of(files: &Files<'_>) -> Result<Self, Broken> {
        let sections = |file, text| {
            format::sections(text).map_err(|wrong| Broken { file, line: wrong.line, what: wrong.what })
        };
        Ok(Self {
            network: sections("network", files.network)?,
            firewall: sections("firewall", files.firewall)?,
            dhcp: sections("dhcp", files.dhcp)?,
        })
    }

    fn zones(&self) -> impl Iterator<Item = &Section> {
        self.firewall.iter().filter(|section| section.kind == "zone")
    }

    /// The zone that is translated, if there is only one: the internet's. A VPN's may be another, and nobody can guess which is which.
    fn outside(&self) -> Option<&Section> {
        let mut translated = self.zones().filter(|zone| zone.is_on("masq"));
        translated.next().filter(|_| translated.next().is_none())
    }

    fn interface(&self, name: &str) -> Option<&Section> {
        self.network.iter().find(|section| section.kind == "interface" && section.name == name)
    }
}

#[cfg(test)]
mod tests;
