//! `forwards`: ports that lead from the internet to a device of the home.

use serde::{Deserialize, Serialize};

use super::names::{Label, PortRange, Target, Wrong};
use super::{FieldError, Settings};

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

    /// Without its name: `pptp to 192.168.1.20`, `udp 5000-5010 to 192.168.1.20 (off)`.
    pub fn words(&self) -> String {
        let off = if self.enabled { "" } else { OFF };
        format!("{} to {}{off}", self.what(), self.to)
    }

    /// From such words; an error names the part of them that is wrong: `what`, `port` or `to`.
    fn named(name: Label, words: &str) -> Result<Self, (&'static str, Wrong)> {
        let sentence = || {
            let text = "Write a preset or a protocol with a port, and the device: pptp to 192.168.1.20, or udp 5000-5010 to \
                        192.168.1.20.";
            ("what", Wrong(text.into()))
        };
        let (words, enabled) = words.strip_suffix(OFF).map_or((words, true), |words| (words, false));
        // A form whose field for the device is empty ends there.
        let cut = words.split_once(" to ").or_else(|| Some((words.strip_suffix(" to")?, "")));
        let (what, to) = cut.ok_or_else(sentence)?;
        let to = to.trim().parse().map_err(|wrong| ("to", wrong))?;
        let mut forward = Self { name, preset: None, protocol: None, port: None, to, enabled };
        let (word, port) =
            what.trim().split_once(' ').map_or((what.trim(), None), |(w, p)| (w, Some(p.trim())));
        let protocol = [Protocol::Tcp, Protocol::Udp].into_iter().find(|one| one.word() == word);
        let preset = Preset::ALL.into_iter().find(|preset| preset.word() == word);
        match (preset, protocol, port) {
            (Some(preset), _, None) => forward.preset = Some(preset),
            (_, Some(protocol), Some(port)) => {
                forward.protocol = Some(protocol);
                forward.port = Some(port.parse().map_err(|wrong| ("port", wrong))?);
            }
            (_, Some(_), None) => {
                return Err(("port", Wrong("Name a port, or a range such as 5000-5010.".into())));
            }
            (Some(_), _, Some(_)) => {
                return Err((
                    "port",
                    Wrong("This kind of server has its own ports. Leave the port empty.".into()),
                ));
            }
            _ => return Err(sentence()),
        }
        Ok(forward)
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

/// How a forward that is not in effect ends in words.
const OFF: &str = " (off)";

/// Key of one forward: [`KEY`] and its name.
pub const KEY: &str = "forwards.";

impl Settings {
    /// The forward of this name in words; `unset`: there is none.
    pub fn forward_in_words(&self, name: &str) -> String {
        let known = self.forwards.iter().find(|forward| forward.name.as_str() == name);
        known.map_or_else(|| super::keys::UNSET.to_owned(), Forward::words)
    }

    /// Adds, replaces or (`unset`) removes the forward of this name.
    pub(super) fn set_forward(&mut self, name: &str, words: &str) -> Result<(), FieldError> {
        let key = || format!("{KEY}{name}");
        let refuse = |(field, wrong): (&str, Wrong)| FieldError::new(format!("{}.{field}", key()), wrong.0);
        let at = self.forwards.iter().position(|forward| forward.name.as_str() == name);
        if words.trim() == super::keys::UNSET {
            let at = at.ok_or_else(|| FieldError::new(key(), "There is no port forward of that name."))?;
            self.forwards.remove(at);
            return Ok(());
        }
        let label: Label =
            name.parse().map_err(|wrong: Wrong| FieldError::new(format!("{}.name", key()), wrong.0))?;
        let forward = Forward::named(label, words.trim()).map_err(refuse)?;
        match at {
            Some(at) => self.forwards[at] = forward,
            None => self.forwards.push(forward),
        }
        Ok(())
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
    /// All of them.
    pub const ALL: [Self; 6] =
        [Self::Pptp, Self::L2tp, Self::Ikev2, Self::Openvpn, Self::Wireguard, Self::Sstp];

    /// Whether it is one port, which may be another one at the device.
    pub fn one_port(self) -> bool {
        self.takes().iter().filter(|(_, ports)| ports.is_some()).count() == 1
    }

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
