//! `local_network.*`: the side of the home.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::names::{Domain, IfName, InterfaceAddress, Lease};

/// Name of the bridge that joins several LAN ports.
pub const BRIDGE: &str = "br-lan";

/// The local network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LocalNetwork {
    /// The LAN ports. One: itself. Several: joined in the bridge [`BRIDGE`].
    pub devices: Vec<IfName>,
    /// The router's own address and the prefix of the LAN, /16 to /30.
    pub address: InterfaceAddress,
    /// Domain of the devices' names (RFC 8375).
    pub domain: Domain,
    /// DHCP server.
    pub dhcp: Dhcp,
    /// DNS forwarder.
    pub dns: Dns,
}

impl Default for LocalNetwork {
    fn default() -> Self {
        Self {
            devices: Vec::new(),
            address: InterfaceAddress::new(Ipv4Addr::new(192, 168, 1, 1), 24),
            domain: Domain::home_arpa(),
            dhcp: Dhcp::default(),
            dns: Dns::default(),
        }
    }
}

impl LocalNetwork {
    /// The device that carries the LAN's address: the one port, or the bridge of several. None: not chosen yet.
    pub fn device(&self) -> Option<IfName> {
        match self.devices.as_slice() {
            [] => None,
            [one] => Some(one.clone()),
            _ => Some(IfName::bridge()),
        }
    }
}

/// The DHCP server for the LAN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dhcp {
    /// Whether we hand out addresses.
    pub enabled: bool,
    /// First address; none: the network's .100.
    pub start: Option<Ipv4Addr>,
    /// Last address; none: the network's .249.
    pub end: Option<Ipv4Addr>,
    /// How long a device may keep an address.
    pub lease: Lease,
}

impl Default for Dhcp {
    fn default() -> Self {
        Self { enabled: true, start: None, end: None, lease: Lease::hours(12) }
    }
}

/// The DNS forwarder for the LAN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Dns {
    /// Whether we answer DNS.
    pub enabled: bool,
    /// Strip private addresses from answers that come from the internet.
    pub rebind_protection: bool,
}

impl Default for Dns {
    fn default() -> Self {
        Self { enabled: true, rebind_protection: true }
    }
}
