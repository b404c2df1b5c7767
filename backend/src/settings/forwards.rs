//! `forwards`: ports that lead from the internet to a device of the home.

use serde::{Deserialize, Serialize};

use super::names::{Label, PortRange, Target};

/// An IP protocol number with its first and last port; protocols without ports have none.
pub type Taken = (u8, Option<(u16, u16)>);

/// One port forward: a preset, or a protocol with a port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Forward {
    /// The owner's name for it; unique.
    pub name: Label,
    /// A VPN server's set of ports and protocols.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub preset: Option<Preset>,
    /// Without a preset: TCP or UDP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub protocol: Option<Protocol>,
    /// Without a preset: the port or range on the internet side.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub port: Option<PortRange>,
    /// The device, and its port where it differs.
    pub to: Target,
    /// Whether it is in effect.
    #[serde(default = "yes")]
    pub enabled: bool,
}

impl Forward {
    /// What is forwarded, in words: `pptp`, or `udp 5000-5010`.
    pub fn what(&self) -> String {
        match (self.preset, self.protocol, self.port) {
            (Some(preset), ..) => preset.word().to_owned(),
            (None, Some(protocol), Some(port)) => format!("{} {port}", protocol.word()),
            _ => "nothing".to_owned(),
        }
    }

    /// What this forward takes for itself on the internet side.
    pub fn takes(&self) -> Vec<Taken> {
        match (self.preset, self.protocol, self.port) {
            (Some(preset), ..) => preset.takes(),
            (None, Some(protocol), Some(port)) => {
                vec![(protocol.number(), Some((port.first().number(), port.last().number())))]
            }
            _ => Vec::new(),
        }
    }
}

fn yes() -> bool {
    true
}

/// VPN servers people run at home.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// TCP 1723 and GRE.
    Pptp,
    /// UDP 500, 4500, 1701 and ESP.
    L2tp,
    /// UDP 500, 4500 and ESP.
    Ikev2,
    /// UDP 1194.
    Openvpn,
    /// UDP 51820.
    Wireguard,
    /// TCP 443.
    Sstp,
}

impl Preset {
    /// As it is written in settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pptp => "pptp",
            Self::L2tp => "l2tp",
            Self::Ikev2 => "ikev2",
            Self::Openvpn => "openvpn",
            Self::Wireguard => "wireguard",
            Self::Sstp => "sstp",
        }
    }

    fn takes(self) -> Vec<Taken> {
        const GRE: u8 = 47;
        const ESP: u8 = 50;
        let one = |protocol: Protocol, port| (protocol.number(), Some((port, port)));
        let ipsec = [one(Protocol::Udp, 500), one(Protocol::Udp, 4500), (ESP, None)];
        match self {
            Self::Pptp => vec![one(Protocol::Tcp, 1723), (GRE, None)],
            Self::L2tp => [&ipsec[..], &[one(Protocol::Udp, 1701)]].concat(),
            Self::Ikev2 => ipsec.to_vec(),
            Self::Openvpn => vec![one(Protocol::Udp, 1194)],
            Self::Wireguard => vec![one(Protocol::Udp, 51820)],
            Self::Sstp => vec![one(Protocol::Tcp, 443)],
        }
    }
}

/// The transport protocols that have ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// As it is written in settings.
    pub fn word(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        }
    }

    /// Its IP protocol number.
    pub fn number(self) -> u8 {
        match self {
            Self::Tcp => 6,
            Self::Udp => 17,
        }
    }
}
