//! Why a VPN does not work: one verdict, from what was seen of it and what was not. Pure: no I/O, no clock.
//!
//! A verdict says no more than the evidence does: "nothing came back" is seen here, who dropped it is not.

mod judge;
#[cfg(test)]
mod tests;

use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};

use crate::appliance::{Attempt, Defeated, OverShare, Rules};
use crate::sessions::{Device, Session};

pub use judge::diagnose;

/// What is known when somebody asks.
#[derive(Debug, Clone)]
pub struct Case<'a> {
    /// Only about this device; none: about whoever has trouble.
    pub device: Option<IpAddr>,
    /// Seconds since 1970.
    pub now: i64,
    /// Our rules in the kernel.
    pub rules: &'a Rules,
    /// The port towards the internet.
    pub internet: Internet,
    /// Conntrack entries, and how many fit.
    pub conntrack: (u64, u64),
    /// Who holds too much of that.
    pub over_share: &'a [OverShare],
    /// Who tried what is refused.
    pub attempts: &'a [Attempt],
    /// What rules of another firewall keep from working.
    pub defeats: &'a [Defeated],
    /// PPTP calls that were answered with a reset.
    pub resets: &'a [Reset],
    /// VPN connections now.
    pub sessions: &'a [Session],
    /// How big a packet the way to a server carries, where somebody has asked for that lately.
    pub measured: &'a [Measured],
    /// What the owner leads to devices of the home.
    pub forwards: &'a [Forwarded],
}

/// One protocol that is led to a device of the home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forwarded {
    /// The owner's name for the forward; none: it is the DMZ.
    pub name: Option<String>,
    /// IP protocol number.
    pub protocol: u8,
    /// First and last port on the internet side; none: it has no ports.
    pub ports: Option<(u16, u16)>,
    /// The device.
    pub to: Ipv4Addr,
}

/// What was measured of the way to a server, because somebody asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Measured {
    /// Where to.
    pub server: IpAddr,
    /// Seconds ago.
    pub ago: u64,
    /// The largest packet that this box sends there, in bytes.
    pub sends: u32,
    /// What came of it.
    pub carries: Carries,
}

/// How big a packet may be, in bytes with its IP header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Carries {
    /// Nobody answers a ping, or not in a way that says anything.
    Unknown,
    /// Whatever this box sends.
    All,
    /// So much, and a router on the way says so to whoever sends more.
    Told {
        /// The largest that arrives.
        largest: u32,
        /// Who says so.
        by: IpAddr,
    },
    /// So much, and what is larger vanishes.
    Lost {
        /// The largest that arrives.
        largest: u32,
        /// What is larger arrives all the same if it may be cut.
        cut_arrives: bool,
    },
}

/// The port towards the internet, as the kernel shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Internet {
    /// It is there, with a cable and this address.
    Up(Ipv4Addr),
    /// No port is named, or the named one is not there.
    NoPort,
    /// It has no link: the cable, or what is at its other end.
    NoLink,
    /// It has no IPv4 address.
    NoAddress,
}

/// A PPTP server refused a call: its control connection was reset before it was open.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reset {
    /// Who called.
    pub device: IpAddr,
    /// Whom.
    pub server: IpAddr,
    /// At which port.
    pub port: u16,
    /// Seconds ago.
    pub ago: u64,
}

/// What it is, each told apart from the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Nothing of a VPN was seen.
    NothingSeen,
    /// It works: packets go both ways.
    Works,
    /// It has just begun: too early to say.
    TooEarly,
    /// Our rules are not what they should be.
    RulesDiffer,
    /// The port towards the internet is down.
    NoInternet,
    /// The connection table is full: nothing new can begin.
    TableFull,
    /// It is switched off here.
    SwitchedOff,
    /// It is on, but this kernel lacks the helper.
    HelperMissing,
    /// The device is not one of those that may use passthrough.
    DeviceNotAllowed,
    /// As many sessions as are allowed were there.
    SessionLimit,
    /// A rule of another firewall drops it, or keeps it from being translated.
    AnotherFirewall,
    /// The call was open before PPTP was switched on.
    MustRedial,
    /// The server answered the call with a reset.
    ServerRefuses,
    /// The PPTP server does not answer.
    ServerSilent,
    /// The control connection is open, and the device sends no GRE.
    GreNotSent,
    /// GRE leaves, and none comes back.
    GreUnanswered,
    /// The same, and this box is behind another router that translates.
    DoubleNat,
    /// IKE is not answered.
    IkeSilent,
    /// IKE is answered at port 500, and nothing at 4500.
    NatTSilent,
    /// IKE is answered, and no tunnel follows.
    NoTunnel,
    /// ESP leaves, and none comes back.
    EspUnanswered,
    /// AH cannot cross a NAT.
    AhUsed,
    /// Another device is being paired with the same server.
    Waiting,
    /// It was answered until another device began with the same server.
    TwoClients,
    /// The L2TP server does not answer.
    L2tpSilent,
    /// A VPN that needs no passthrough, and its server does not answer.
    OtherSilent,
    /// What is big vanishes on the way to the server.
    BigPacketsLost,
    /// A port forward or the DMZ leads what the server sends to another device.
    ForwardTakes,
}

impl Cause {
    /// Whether something is wrong.
    pub fn is_trouble(self) -> bool {
        !matches!(self, Self::NothingSeen | Self::Works | Self::TooEarly)
    }
}

/// Who sends and who receives in the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Party {
    /// The device at home.
    Device,
    /// This box.
    Router,
    /// The server.
    Server,
}

/// One line of the evidence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// Who sends.
    pub from: Party,
    /// How far it came.
    pub to: Party,
    /// What, and how much of it.
    pub what: String,
    /// Whether it was seen, or is missing.
    pub seen: bool,
}

/// What the owner can do about it from here.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case")]
pub enum Action {
    /// Set this key to true.
    SwitchOn {
        /// For example `passthrough.pptp.enabled`.
        key: String,
        /// As people call it.
        title: String,
    },
    /// Let this device use passthrough.
    AllowDevice {
        /// Its hardware address.
        mac: String,
    },
    /// End this session, so that its program dials again.
    EndSession {
        /// Its name.
        id: String,
    },
    /// Load our rules again.
    Mend,
    /// Ask the kernel anew what it can do.
    LookAgain,
    /// Send smaller packets to the internet: set `internet.mtu`.
    SetMtu {
        /// To this.
        bytes: u32,
    },
    /// Look at the port forward of this name.
    SeeForward {
        /// The owner's name for it; none: it is the DMZ.
        name: Option<String>,
    },
}

/// The verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Diagnosis {
    /// In one word.
    pub cause: Cause,
    /// In one sentence.
    pub title: String,
    /// What was seen, in words.
    pub explanation: String,
    /// What to do; empty: nothing.
    pub remedy: String,
    /// The button for it.
    pub action: Option<Action>,
    /// Whose trouble.
    pub device: Option<Device>,
    /// With which server.
    pub server: Option<IpAddr>,
    /// Its name, as [`Session::server_name`].
    #[serde(default)]
    pub server_name: Option<String>,
    /// What was seen and what was not.
    pub steps: Vec<Step>,
    /// Whether big packets may be what is lost, and measuring the way to the server would tell.
    #[serde(default)]
    pub can_measure: bool,
}
