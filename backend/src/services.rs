//! What other daemons shall do for the home, as values: settings in, text out. Pure, as [`crate::ruleset`] is; the
//! programs themselves are run by [`crate::kernel`].

mod dnsmasq;
mod internet;
mod ipv6;
pub mod leases;
mod pppoe;

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::settings::Settings;
use crate::settings::names::Mac;

pub use dnsmasq::{dnsmasq, resolvers};
pub use internet::{BehindNat, Clash, DhcpClient, InternetLease, dhcp_client};
pub use ipv6::{Delegated, DelegatedPrefix, LentAddress, PrefixClient, prefix_client};
pub use pppoe::{Pppoe, PppoeFailure, PppoeState, pppoe};

/// Everything other daemons shall do for these settings.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Services {
    /// DHCP and DNS of the local network; none: none of ours runs.
    pub dnsmasq: Option<Dnsmasq>,
    /// The DHCP client of the internet port; none: none of ours runs.
    pub dhcp_client: Option<DhcpClient>,
    /// The PPPoE session of the internet port; none: there is none of ours.
    pub pppoe: Option<Pppoe>,
    /// The DHCPv6 client of the internet port; none: none of ours runs.
    pub prefix_client: Option<PrefixClient>,
}

/// What these settings mean, with what the internet port was lent and the home was delegated.
pub fn compile(
    settings: &Settings,
    lease: Option<&InternetLease>,
    delegated: Option<&Delegated>,
) -> Services {
    Services {
        dnsmasq: dnsmasq(settings, lease, delegated),
        dhcp_client: dhcp_client(settings),
        pppoe: pppoe(settings),
        prefix_client: prefix_client(settings),
    }
}

/// How the services are, and what they know.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Served {
    /// DHCP and DNS of the local network.
    pub dnsmasq: Service,
    /// What its DHCP has lent.
    pub leases: Vec<Lease>,
    /// The DHCP client of the internet port.
    pub dhcp_client: Service,
    /// The PPPoE session; none: not wanted.
    pub pppoe: Option<PppoeState>,
    /// What it was lent, if that still holds.
    pub internet_lease: Option<InternetLease>,
    /// Why the newest answer of the provider cannot be used.
    pub unusable: Option<String>,
    /// Seconds since the kernel's start, the clock of that lease.
    pub now: u64,
    /// The DHCPv6 client of the internet port.
    pub prefix_client: Service,
    /// What was delegated, with the time that is left of it.
    pub delegated: Option<Delegated>,
    /// Why the newest delegation cannot be used.
    pub prefix_unusable: Option<String>,
}

/// What dnsmasq reads. The text of the four files; where they lie, the kernel side says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Dnsmasq {
    /// Read at its start only: another text needs another dnsmasq.
    pub config: String,
    /// `dhcp-hostsfile`: who gets which address and name. Read again on SIGHUP.
    pub reservations: String,
    /// `addn-hosts`: names that are known without a lease. Read again on SIGHUP.
    pub names: String,
    /// `servers-file`: the name servers of the internet. Read again on SIGHUP.
    pub servers: String,
}

/// How a service is, as far as it is wanted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Service {
    /// Not wanted, and none of ours runs.
    #[default]
    Off,
    /// Runs.
    Running,
    /// The program is not on this box.
    NotInstalled,
    /// Wanted, and does not run; it is tried again.
    Failed {
        /// Its own words, or how it ended.
        words: String,
    },
}

/// An address that our DHCP server has lent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lease {
    /// To whom.
    pub mac: Mac,
    /// Which.
    pub address: Ipv4Addr,
    /// What the device calls itself: hostile text of at most 63 characters, without control characters.
    pub name: Option<String>,
    /// Until when, in seconds since 1970; none: for ever.
    pub ends: Option<i64>,
}
