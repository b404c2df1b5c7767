//! What the owner wants: one typed document, and its factory state.
//!
//! A value of a type here has been parsed once and is trusted after; [`Settings::check`] adds what only the
//! whole document can tell (a DHCP range outside its own network, two forwards of one port). The same words
//! are the keys of the command line, of the forms and of the export file ([`keys`]).

pub mod access;
#[cfg(test)]
pub(crate) mod chance;
mod check;
mod conflicts;
pub mod devices;
mod document;
pub mod firewall;
pub mod forwards;
pub mod helpers;
pub mod internet;
pub mod keys;
pub mod local_network;
pub mod names;
mod not_built;
mod opens;
pub mod passthrough;
#[cfg(test)]
pub(crate) mod tests;

use serde::{Deserialize, Serialize};

pub use access::{Access, System};
pub use devices::Device;
pub use firewall::Firewall;
pub use forwards::Forward;
pub use helpers::Helpers;
pub use internet::Internet;
pub use local_network::LocalNetwork;
pub use passthrough::Passthrough;

/// The whole of what the owner wants. `Settings::default()` is the factory state.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Whether Postern is the router, a companion of another firewall, or not yet told.
    pub role: Role,
    /// VPN passthrough: what people buy us for.
    pub passthrough: Passthrough,
    /// Conntrack helpers other than PPTP's.
    pub helpers: Helpers,
    /// The side towards the provider.
    pub internet: Internet,
    /// The side of the home.
    pub local_network: LocalNetwork,
    /// Devices the owner has named or given a fixed address.
    pub devices: Vec<Device>,
    /// Ports that lead from the internet to a device.
    pub forwards: Vec<Forward>,
    /// The firewall's own switches.
    pub firewall: Firewall,
    /// How the admin page is reached.
    pub access: Access,
    /// Name and time zone of the box.
    pub system: System,
}

/// What Postern is on this box.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Fresh install: no rule is loaded and no address is changed until the owner chooses.
    #[default]
    Unset,
    /// Postern is the router and the whole firewall.
    Router,
    /// Another firewall is there; Postern adds passthrough in a table of its own.
    Companion,
}

impl Settings {
    /// The device that leads to the internet; with PPPoE the router's own session. Beside another firewall it is whatever that one
    /// uses, whatever the mode says.
    pub fn internet_side(&self) -> Option<names::IfName> {
        match self.role {
            Role::Companion => self.internet.device.clone(),
            Role::Router | Role::Unset => self.internet.outside(),
        }
    }
}

/// One thing wrong with a document, tied to the key the owner would change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FieldError {
    /// The settings key, for example `passthrough.pptp.ports`.
    pub key: String,
    /// A plain sentence: what is wrong and what would be right.
    pub message: String,
}

impl FieldError {
    /// An error beside the field `key`.
    pub fn new(key: impl Into<String>, message: impl Into<String>) -> Self {
        Self { key: key.into(), message: message.into() }
    }
}
