//! The only door to the running system: [`Kernel`] is the one trait whose methods change or read it.
//!
//! [`linux::Linux`] is the real one; [`fake::Fake`] records what it was told, for tests of the order of things.

mod capabilities;
pub mod configure;
mod conntrack;
pub mod fake;
mod fingerprint;
mod links;
pub mod linux;
mod netlink;
pub mod nft;
mod sysctl;
mod table;

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr};

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use crate::ruleset::FlowMatch;
use crate::ruleset::{Capabilities, Ruleset};
use crate::settings::names::{IfName, InterfaceAddress};

/// The system below us. Every method is all or nothing: on an error the state is what it was before the call.
pub trait Kernel: Send + Sync + 'static {
    /// What the kernel and nft can do.
    fn capabilities(&self) -> impl Future<Output = Result<Capabilities, Error>> + Send;

    /// Hands `ruleset` to nft: only tried with [`Load::Check`], in force at once with [`Load::Commit`].
    fn load(&self, ruleset: &Ruleset, how: Load) -> impl Future<Output = Result<(), Error>> + Send;

    /// Makes addresses, link states, the default route and sysctls as `wanted`. Returns what was there before, in
    /// the same shape: configuring that puts it back. A new address is added before the old one is deleted. With
    /// [`Load::Check`] nothing is changed: only what is there is returned.
    fn configure(&self, wanted: &Network, how: Load) -> impl Future<Output = Result<Network, Error>> + Send;

    /// Reads back what is true: our table, its counters, the links, and the flows that match any of `flows`.
    fn observe(&self, flows: &[FlowMatch]) -> impl Future<Output = Result<Observation, Error>> + Send;

    /// Deletes these conntrack entries (and with a PPTP control flow its GRE flows). Returns how many were there.
    fn end(&self, flows: &[Flow]) -> impl Future<Output = Result<usize, Error>> + Send;

    /// What becomes of conntrack entries from now on, of those only whose rule asked for it (`ct event set`): ordinary
    /// traffic wakes nobody. The channel closes when the kernel can tell no more; then ask anew.
    fn events(&self) -> impl Future<Output = Result<mpsc::Receiver<Event>, Error>> + Send;
}

/// Whether a method of [`Kernel`] tries or does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Tries, and changes nothing.
    Check,
    /// Does.
    Commit,
}

/// The part of the network configuration that we own.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Links with their IPv4 addresses. Links not named here are not touched.
    pub links: Vec<Link>,
    /// IPv4 default route; outer `None`: not touched, inner `None`: there shall be none through a device in `links`.
    pub default_route: Option<Option<DefaultRoute>>,
    /// Values by path below `/proc/sys`, for example `net/ipv4/ip_forward`, in the order they are written.
    pub sysctls: Vec<(String, String)>,
}

/// A link with exactly these IPv4 addresses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// Its name.
    pub name: IfName,
    /// Its IPv4 addresses; others of scope global are removed. The first of a network is the one we send from.
    pub addresses: Vec<InterfaceAddress>,
    /// Whether it is administratively up.
    pub up: bool,
}

/// The IPv4 default route.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefaultRoute {
    /// The next router.
    pub gateway: Ipv4Addr,
    /// The device towards it.
    pub device: IfName,
}

/// What the kernel shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Observation {
    /// Our table.
    pub table: Table,
    /// Our named counters, by name.
    pub counters: BTreeMap<String, Counter>,
    /// Every link of the system, loopback included.
    pub links: Vec<SeenLink>,
    /// Conntrack entries that matched.
    pub flows: Vec<Flow>,
    /// Conntrack entries in all, and how many fit.
    pub conntrack: (u64, u64),
}

/// Our table as nft lists it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Table {
    /// Whether `inet postern` is there.
    pub present: bool,
    /// Its comment, for example `postern schema 1`.
    pub comment: Option<String>,
    /// What it says of itself: the comment of the rule in the chain `about`, for example
    /// `postern schema 2, role router`.
    pub about: Option<String>,
    /// Its chains by name.
    pub chains: BTreeSet<String>,
    /// Changes when anybody edits it; not when it counts, learns, or is loaded again unchanged.
    pub fingerprint: u64,
}

/// Packets and bytes a named counter has counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counter {
    /// Packets.
    pub packets: u64,
    /// Bytes.
    pub bytes: u64,
}

/// A link of the system.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeenLink {
    /// Its name as the kernel gives it (may be one that [`IfName`] refuses).
    pub name: String,
    /// Administratively up.
    pub up: bool,
    /// A cable, or its like, is plugged in.
    pub carrier: bool,
    /// All its addresses with prefix length.
    pub addresses: Vec<(IpAddr, u8)>,
    /// Hardware address, if it has one of six bytes.
    pub mac: Option<[u8; 6]>,
    /// Kernel's index, needed to bind to a link-local address.
    pub index: u32,
}

/// What became of a conntrack entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It is there now.
    New(Flow),
    /// It changed in what its rule asked for, for example its TCP state.
    Update(Flow),
    /// It is gone; old kernels tell no TCP state here.
    Destroy(Flow),
    /// Some events were lost: whoever keeps books must look at the entries themselves.
    Missed,
}

/// One conntrack entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Flow {
    /// IP protocol number.
    pub protocol: u8,
    /// Source of the first packet.
    pub client: IpAddr,
    /// Its port (0 where the protocol has none; GRE: the call ID key).
    pub client_port: u16,
    /// Destination of the first packet, before NAT.
    pub server: IpAddr,
    /// Its port (0 where the protocol has none; GRE: the call ID key).
    pub server_port: u16,
    /// Conntrack zone.
    pub zone: u16,
    /// The helper attached to it, for example `pptp`.
    pub helper: Option<String>,
    /// A packet has come back (IPS_SEEN_REPLY).
    pub answered: bool,
    /// TCP only: `TCP_CONNTRACK_*` state number of nf_conntrack_tcp.h; 3 is ESTABLISHED.
    pub tcp_state: Option<u8>,
    /// From the client; zero where `nf_conntrack_acct` is off.
    pub sent: Counter,
    /// To the client.
    pub received: Counter,
    /// What identifies the entry to the kernel: its id and the raw CTA_TUPLE_ORIG attribute.
    pub handle: FlowHandle,
}

/// What the kernel needs to find one conntrack entry again.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FlowHandle {
    /// CTA_ID.
    pub id: u32,
    /// AF_INET (2) or AF_INET6 (10).
    pub family: u8,
    /// CTA_TUPLE_ORIG as it came.
    pub tuple: Vec<u8>,
}

/// Why the system refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// nft could not be run or did not end in time.
    #[error("nft could not be run")]
    NftRun(#[source] std::io::Error),
    /// nft said no; its own words.
    #[error("nft refused the rules: {0}")]
    NftRefused(String),
    /// A netlink request failed.
    #[error("the kernel refused to {what}")]
    Netlink {
        /// What was tried, for example `add address 192.168.1.1/24 to lan0`.
        what: String,
        /// Its reason.
        #[source]
        source: std::io::Error,
    },
    /// A named device does not exist.
    #[error("there is no port named {0}")]
    NoDevice(String),
    /// A sysctl could not be read or written.
    #[error("the kernel setting {path} could not be changed")]
    Sysctl {
        /// Path below /proc/sys.
        path: String,
        /// The kernel's reason.
        #[source]
        source: std::io::Error,
    },
    /// An answer that does not parse.
    #[error("an answer of the kernel was not understood: {0}")]
    Answer(String),
}
