//! `firewall.*`: switches of the firewall itself. Those that weaken it carry an end time, which is dropped at
//! boot: a router has no clock to trust then.

use serde::{Deserialize, Serialize};

use super::names::{DmzHost, Spi};

/// The firewall section.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Firewall {
    /// Stateful inspection: `on`, or `off until` a time.
    pub spi: Spi,
    /// A device that gets everything unasked: `none`, or an address `until` a time.
    pub dmz: DmzHost,
    /// Answer to ping from the internet.
    pub ping: bool,
    /// IPv6: let IPsec in as RFC 6092 says (REC-21 to 24), or not.
    pub ipv6_ipsec: Ipv6Ipsec,
}

/// Inbound IPsec over IPv6.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Ipv6Ipsec {
    /// ESP, AH and IKE may come in (RFC 6092 REC-21, 22, 24).
    #[default]
    Rfc6092,
    /// Nothing comes in that was not asked for (BSI TR-03148 TR.J.3).
    Strict,
}
