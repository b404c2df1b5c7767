//! `passthrough.*`: which VPN protocols may leave the home, and for whom.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::names::{Mac, PortList, Wrong, in_words, wrong};

/// The passthrough section.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Passthrough {
    /// IPsec: IKE on UDP 500 and 4500, ESP (50), AH (51).
    pub ipsec: Ipsec,
    /// L2TP: UDP 1701 and L2TPv3 over IP (115).
    pub l2tp: L2tp,
    /// PPTP: TCP 1723 and GRE (47).
    pub pptp: Pptp,
    /// Who may use it.
    pub devices: Allowed,
    /// Who gets the last place and who waits least; never ends a live call.
    pub priority: Vec<Mac>,
    /// At most so many sessions over all devices.
    pub session_limit: SessionLimit,
}

/// IPsec passthrough. On in the factory state: company VPNs and phones' Wi-Fi calling need it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ipsec {
    /// IKE, ESP and AH may pass.
    pub enabled: bool,
    /// UDP 4500 (RFC 3947, RFC 3948) may pass too.
    pub nat_traversal: bool,
    /// Several devices may use raw ESP to one server.
    pub many_clients: bool,
}

impl Default for Ipsec {
    fn default() -> Self {
        Self { enabled: true, nat_traversal: true, many_clients: true }
    }
}

/// L2TP passthrough. On in the factory state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct L2tp {
    /// L2TP may pass.
    pub enabled: bool,
    /// UDP ports of L2TP servers.
    pub ports: PortList,
}

impl Default for L2tp {
    fn default() -> Self {
        Self { enabled: true, ports: PortList::one(1701) }
    }
}

/// PPTP passthrough. Off in the factory state: MS-CHAPv2 is broken, so the owner decides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Pptp {
    /// PPTP may pass.
    pub enabled: bool,
    /// TCP ports of PPTP servers.
    pub ports: PortList,
}

impl Default for Pptp {
    fn default() -> Self {
        Self { enabled: false, ports: PortList::one(1723) }
    }
}

/// Who may use passthrough: the word `everyone`, or a list of MAC addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Allowed {
    /// Every device of the local network.
    #[default]
    Everyone,
    /// Only these.
    Only(Vec<Mac>),
}

impl Allowed {
    /// Why an empty list is refused: it would look like a mistake and cut everybody off.
    pub(super) const NOBODY: &str = "Choose everyone, or name at least one device by its MAC address; to stop a protocol for all, switch it off.";
}

/// `none`, or 1 to 1000 sessions over all devices, per protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SessionLimit {
    /// PPTP calls.
    pub pptp: Limit,
    /// L2TP tunnels.
    pub l2tp: Limit,
    /// IPsec tunnels.
    pub ipsec: Limit,
}

/// `none`, or a number of sessions in 1..=1000.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Limit {
    /// No limit.
    #[default]
    None,
    /// At most so many.
    AtMost(u16),
}

impl FromStr for Limit {
    type Err = Wrong;
    fn from_str(s: &str) -> Result<Self, Wrong> {
        match (s, s.parse()) {
            ("none", _) => Ok(Self::None),
            (_, Ok(n @ 1..=1000)) => Ok(Self::AtMost(n)),
            _ => wrong("The limit is none, or a number of sessions from 1 to 1000."),
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::AtMost(n) => write!(f, "{n}"),
        }
    }
}

in_words!(Limit);

impl Serialize for Allowed {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Everyone => s.serialize_str("everyone"),
            Self::Only(macs) => macs.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for Allowed {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Either {
            Word(String),
            List(Vec<String>),
        }
        let words = match Either::deserialize(d)? {
            Either::Word(word) if word == "everyone" => return Ok(Self::Everyone),
            Either::Word(word) => vec![word],
            Either::List(words) if words.is_empty() => return Err(serde::de::Error::custom(Self::NOBODY)),
            Either::List(words) => words,
        };
        let macs: Result<Vec<Mac>, Wrong> = words.iter().map(|w| w.parse()).collect();
        macs.map(Self::Only).map_err(serde::de::Error::custom)
    }
}
