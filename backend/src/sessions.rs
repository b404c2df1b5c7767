//! VPN connections as people count them: who, to which server, by what, since when, how much. Folded from conntrack's entries
//! and from what the IPsec rules have learnt; nothing is guessed, and what nobody counted is unknown, never zero.
//!
//! [`fold()`] is pure: no I/O, no clock. [`Ledger`] remembers what was seen before, for rates and for when a packet came last.

mod fold;
mod learnt;
mod ledger;
mod names;
#[cfg(test)]
mod recorded;
mod select;
#[cfg(test)]
mod tests;

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use crate::kernel::{Flow, FlowMatch};
use crate::ruleset;
use crate::settings::Settings;

pub use fold::{Home, fold};
pub use learnt::{Learnt, SETS};
pub use ledger::{Ledger, Sample};
pub use names::ServerNames;
pub use select::{Filter, Page};

/// UDP or TCP port of OpenVPN (IANA).
const OPENVPN: u16 = 1194;
/// UDP port that WireGuard's own examples use; IANA gave it none.
const WIREGUARD: u16 = 51820;

/// What kind of connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A PPTP control connection with the GRE of its calls.
    Pptp,
    /// GRE (47) that belongs to no PPTP call that we know of.
    Gre,
    /// L2TP over UDP, without IPsec.
    L2tp,
    /// L2TP over UDP beside IPsec between the same two. (L2TP *inside* IPsec is encrypted: nobody on the way can see it.)
    L2tpIpsec,
    /// L2TPv3 over IP (115).
    L2tpv3,
    /// Keys are being agreed on (UDP 500); no tunnel has been seen.
    Ike,
    /// IPsec in UDP 4500.
    IpsecNatT,
    /// IPsec with plain ESP.
    IpsecEsp,
    /// IPsec with AH.
    IpsecAh,
    /// By its port 1194.
    Openvpn,
    /// By its port 51820.
    Wireguard,
}

impl Kind {
    /// Every one.
    pub const ALL: [Self; 11] = [
        Self::Pptp,
        Self::Gre,
        Self::L2tp,
        Self::L2tpIpsec,
        Self::L2tpv3,
        Self::Ike,
        Self::IpsecNatT,
        Self::IpsecEsp,
        Self::IpsecAh,
        Self::Openvpn,
        Self::Wireguard,
    ];

    /// As programs write it, for example `ipsec_esp`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Pptp => "pptp",
            Self::Gre => "gre",
            Self::L2tp => "l2tp",
            Self::L2tpIpsec => "l2tp_ipsec",
            Self::L2tpv3 => "l2tpv3",
            Self::Ike => "ike",
            Self::IpsecNatT => "ipsec_nat_t",
            Self::IpsecEsp => "ipsec_esp",
            Self::IpsecAh => "ipsec_ah",
            Self::Openvpn => "openvpn",
            Self::Wireguard => "wireguard",
        }
    }

    /// As people write it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Pptp => "PPTP",
            Self::Gre => "GRE without a PPTP call",
            Self::L2tp => "L2TP",
            Self::L2tpIpsec => "L2TP and IPsec",
            Self::L2tpv3 => "L2TPv3",
            Self::Ike => "IPsec, agreeing on keys",
            Self::IpsecNatT => "IPsec, NAT-T",
            Self::IpsecEsp => "IPsec, ESP",
            Self::IpsecAh => "IPsec, AH",
            Self::Openvpn => "probably OpenVPN",
            Self::Wireguard => "probably WireGuard",
        }
    }

    /// The passthrough protocol that it is part of; none: it needs none, and is ordinary traffic to the rules.
    pub fn passthrough(self) -> Option<&'static str> {
        match self {
            Self::Pptp | Self::Gre => Some("pptp"),
            Self::L2tp | Self::L2tpv3 => Some("l2tp"),
            Self::L2tpIpsec | Self::Ike | Self::IpsecNatT | Self::IpsecEsp | Self::IpsecAh => Some("ipsec"),
            Self::Openvpn | Self::Wireguard => None,
        }
    }
}

/// How it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// Packets have come back.
    Open,
    /// The server has answered, but the tunnel itself has not been seen both ways.
    Halfway,
    /// The device has sent, and nothing has come back yet.
    Calling,
    /// Held back until another device has been paired with the same server.
    Waiting,
    /// Its newest SPI is on probation.
    Pairing,
    /// Opened before PPTP was switched on: without the helper it cannot work.
    MustRedial,
    /// The control connection is closing, or has been closed.
    Ending,
}

impl State {
    /// For people: one word or two.
    pub fn title(self) -> &'static str {
        match self {
            Self::Open => "Open",
            Self::Halfway => "Half way",
            Self::Calling => "No answer yet",
            Self::Waiting => "Waiting",
            Self::Pairing => "Being paired",
            Self::MustRedial => "Must redial",
            Self::Ending => "Ended",
        }
    }

    /// For people: a sentence.
    pub fn sentence(self) -> &'static str {
        match self {
            Self::Open => "Packets go both ways.",
            Self::Halfway => "The server answers, but the tunnel itself has not carried packets both ways.",
            Self::Calling => "The device has sent, and nothing has come back.",
            Self::Waiting => {
                "Another device is being paired with this server; this one is next, within seconds."
            }
            Self::Pairing => {
                "Postern learns which tunnel is this device\u{2019}s; it is confirmed within seconds."
            }
            Self::MustRedial => "It was open before PPTP was switched on. It must redial.",
            Self::Ending => "The call is over; the kernel forgets it soon.",
        }
    }
}

/// A device of the home, as far as it is known.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Device {
    /// Its address.
    pub address: IpAddr,
    /// Its hardware address, where something has told it.
    pub mac: Option<String>,
    /// What the owner, or it itself, calls it: text from outside, at most 63 characters.
    pub name: Option<String>,
}

/// Whose an address is. Its name is told by whoever knows the leases.
pub fn device(address: IpAddr, mac: Option<String>) -> Device {
    Device { address, mac, name: None }
}

/// The two Call IDs of a PPTP call (RFC 2637 section 2.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Call {
    /// The device's own; what the server puts into its packets.
    pub device: u16,
    /// The server's own; what the device puts into its packets.
    pub server: u16,
}

/// One SPI that was seen or learnt (RFC 4303 section 2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Spi {
    /// As it stands in the packet.
    pub number: u32,
    /// The device sends it; else the server does.
    pub sent: bool,
    /// Confirmed to be this device's. (What the device sends always is.)
    pub sure: bool,
}

/// Packets and bytes in both directions, as the kernel has counted them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traffic {
    /// Bytes from the device.
    pub sent: u64,
    /// Bytes to it.
    pub received: u64,
    /// Packets from the device.
    pub packets_sent: u64,
    /// Packets to it.
    pub packets_received: u64,
}

impl Traffic {
    /// Both together.
    pub fn plus(self, other: Self) -> Self {
        Self {
            sent: self.sent.saturating_add(other.sent),
            received: self.received.saturating_add(other.received),
            packets_sent: self.packets_sent.saturating_add(other.packets_sent),
            packets_received: self.packets_received.saturating_add(other.packets_received),
        }
    }
}

/// One VPN connection, as observed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Session {
    /// What to call it by: kind, device, server and, of PPTP, the device's port. The same while it lives.
    pub id: String,
    /// What kind.
    pub kind: Kind,
    /// Whose.
    pub device: Device,
    /// The server.
    pub server: IpAddr,
    /// The name that the router's DNS has lately answered with its address: letters, digits, `-`, `_` and dots, at most 253; none: it
    /// has not.
    #[serde(default)]
    pub server_name: Option<String>,
    /// Its port, where it has one.
    pub server_port: Option<u16>,
    /// How it stands.
    pub state: State,
    /// Seconds since 1970 of its first packet; none: this kernel does not tell.
    pub since: Option<i64>,
    /// Seconds since its last packet; none: not known.
    pub idle: Option<u64>,
    /// What went through; none: not counted.
    pub traffic: Option<Traffic>,
    /// PPTP: its calls.
    pub calls: Vec<Call>,
    /// Plain ESP: its SPIs.
    pub spis: Vec<Spi>,
    /// Samples that were really taken, oldest first.
    pub samples: Vec<Sample>,
    /// What each of its parts has carried, for a diagnosis.
    pub parts: Vec<Part>,
    /// Whether it can be ended from here.
    pub can_end: bool,
}

/// One conntrack entry of a session, seen from the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// IP protocol number.
    pub protocol: u8,
    /// The server's port; of GRE its Call ID.
    pub server_port: u16,
    /// A packet has come back to whoever began.
    pub answered: bool,
    /// The device began it.
    pub from_device: bool,
    /// TCP: `TCP_CONNTRACK_*` of nf_conntrack_tcp.h.
    pub tcp_state: Option<u8>,
    /// The helper of PPTP is attached to it.
    pub helped: bool,
    /// None: not counted.
    pub traffic: Option<Traffic>,
    /// Seconds since its last packet.
    pub idle: Option<u64>,
    /// Seconds since 1970 of its first packet.
    pub since: Option<i64>,
}

/// Which conntrack entries belong to sessions: VPN passthrough's, and the ports of VPNs that need none.
pub fn wanted(settings: &Settings) -> Vec<FlowMatch> {
    let flows = ruleset::passthrough_flows(settings);
    let mut all: Vec<FlowMatch> = [flows.pptp, flows.l2tp, flows.ipsec].concat();
    for (protocol, port) in [(17, OPENVPN), (6, OPENVPN), (17, WIREGUARD)] {
        all.push(FlowMatch { protocol, server_port: Some(port) });
    }
    all
}

/// A session with the entries it was folded from, for ending it.
#[derive(Debug, Clone)]
pub struct Folded {
    /// As it is shown.
    pub session: Session,
    /// Its conntrack entries.
    pub flows: Vec<Flow>,
}
