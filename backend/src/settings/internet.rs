//! `internet.*`: the side towards the provider.

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::names::{Account, IfName, InterfaceAddress, Label, Mac, Mtu, Secret};

/// The internet side.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Internet {
    /// The port that leads to the provider.
    pub device: Option<IfName>,
    /// How the address is found.
    pub mode: Mode,
    /// Static mode: our address with its prefix.
    pub address: Option<InterfaceAddress>,
    /// Static mode: the provider's router.
    pub gateway: Option<Ipv4Addr>,
    /// Name servers; empty: those the provider names.
    pub dns: Vec<IpAddr>,
    /// Largest packet in bytes, or `auto`.
    pub mtu: Mtu,
    /// Lower the MSS of TCP connections to what the path carries.
    pub mss_clamp: bool,
    /// MAC address to show to the provider; none: the port's own.
    pub mac: Option<Mac>,
    /// PPPoE account.
    pub pppoe: Pppoe,
    /// Take IPv6 from the provider: router advertisements and a delegated prefix. Not with PPPoE.
    pub ipv6: bool,
}

impl Internet {
    /// The device that the internet's packets go through: the port itself, or the PPPoE session on it.
    pub fn outside(&self) -> Option<IfName> {
        let device = self.device.clone()?;
        Some(if self.mode == Mode::Pppoe { IfName::pppoe() } else { device })
    }

    /// The device on which the provider is asked for IPv6, if it shall be. With PPPoE none yet.
    pub fn ipv6_device(&self) -> Option<&IfName> {
        self.device.as_ref().filter(|_| self.ipv6 && self.mode != Mode::Pppoe)
    }
}

impl Default for Internet {
    fn default() -> Self {
        Self {
            device: None,
            mode: Mode::Dhcp,
            address: None,
            gateway: None,
            dns: Vec::new(),
            mtu: Mtu::Auto,
            mss_clamp: true,
            mac: None,
            pppoe: Pppoe::default(),
            ipv6: true,
        }
    }
}

/// How the internet address is found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// The provider's DHCP server tells.
    #[default]
    Dhcp,
    /// The owner tells.
    Static,
    /// PPP over Ethernet (RFC 2516).
    Pppoe,
}

/// The PPPoE account.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pppoe {
    /// User name.
    pub user: Option<Account>,
    /// Password; never shown and never logged.
    pub password: Option<Secret>,
    /// Service name, rarely needed.
    pub service: Option<Label>,
}
