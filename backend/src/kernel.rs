//! The only door to the running system: [`Kernel`] is the one trait whose methods change or read it.
//!
//! [`linux::Linux`] is the real one; [`fake::Fake`] records what it was told, for tests of the order of things.

mod answers;
mod capabilities;
mod carried;
pub mod configure;
mod conntrack;
pub mod dhcpcd;
pub mod dnsmasq;
mod elements;
pub mod fake;
mod fingerprint;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
pub mod hand;
mod ipv6;
mod links;
pub mod linux;
mod netlink;
pub mod nft;
pub mod pppoe;
mod process;
pub mod scratch;
mod sysctl;
mod table;
pub mod udhcpc;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

pub use crate::ruleset::FlowMatch;
use crate::ruleset::{Capabilities, Ruleset};
use crate::services::{InternetLease, LentAddress, Served, Services};
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

    /// Gives the home the addresses of `wanted`, and takes away what is of it no longer. Unlike [`Self::configure`] it follows what
    /// the provider says and is called again and again; nothing is done where it is so already.
    fn number(&self, wanted: &Numbers) -> impl Future<Output = Result<(), Error>> + Send;

    /// Reads back what is true: our table, its counters, the links, and the flows that match any of `flows`; if there are
    /// any, also the flows that a helper announced, whatever their ports.
    fn observe(&self, flows: &[FlowMatch]) -> impl Future<Output = Result<Observation, Error>> + Send;

    /// The devices that were spoken with on any link lately.
    fn neighbours(&self) -> impl Future<Output = Result<Vec<Neighbour>, Error>> + Send;

    /// Deletes these conntrack entries (and with a PPTP control flow its GRE flows). Returns how many were there.
    fn end(&self, flows: &[Flow]) -> impl Future<Output = Result<usize, Error>> + Send;

    /// Puts elements into our sets and maps, each with its whole time to live; one whose key is there gets the new value. Not all
    /// or nothing: returns how many the kernel took.
    fn teach(
        &self,
        elements: &BTreeMap<String, Vec<Element>>,
    ) -> impl Future<Output = Result<usize, Error>> + Send;

    /// At most `most` of the conntrack entries that match any of `wanted` or that a helper announced, with their age.
    fn entries(
        &self,
        wanted: &[FlowMatch],
        most: usize,
    ) -> impl Future<Output = Result<Entries, Error>> + Send;

    /// How many conntrack entries the devices with these addresses have begun, by hardware address. One pass over all of them.
    fn held(
        &self,
        whose: &HashMap<IpAddr, [u8; 6]>,
    ) -> impl Future<Output = Result<HashMap<[u8; 6], u64>, Error>> + Send;

    /// Deletes the conntrack entries that any of these addresses has begun. Returns how many were there.
    fn end_begun_by(&self, addresses: &HashSet<IpAddr>) -> impl Future<Output = Result<usize, Error>> + Send;

    /// At most `most` elements of each of these sets and maps of our table. One that is not there has none.
    fn elements(
        &self,
        sets: &[&'static str],
        most: usize,
    ) -> impl Future<Output = Result<BTreeMap<&'static str, Vec<Element>>, Error>> + Send;

    /// The same of one set whose name the settings have a say in.
    fn elements_of(&self, set: &str, most: usize)
    -> impl Future<Output = Result<Vec<Element>, Error>> + Send;

    /// Lets the next packets from one address to another, of those that begin something, tell their way through everybody's rules,
    /// for so long at most or until what was told is `enough`. Beside another firewall only. What nft says, for [`crate::appliance`]
    /// to read.
    fn trace(
        &self,
        packet: (Ipv4Addr, Ipv4Addr),
        patience: Duration,
        enough: &(dyn Fn(&str) -> bool + Sync),
    ) -> impl Future<Output = Result<String, Error>> + Send;

    /// The rules of everybody on this box, as nft lists them, without what is in sets and what was counted.
    fn listing(&self) -> impl Future<Output = Result<String, Error>> + Send;

    /// Takes these elements out of one set or map of ours. One that is gone already is no error.
    fn unlearn(&self, set: &str, elements: &[Element]) -> impl Future<Output = Result<(), Error>> + Send;

    /// What this device has received and sent since it was made; none: it is not there.
    fn carried(&self, device: &IfName) -> impl Future<Output = Option<(Counter, Counter)>> + Send;

    /// Makes other daemons do what `wanted` says, and nothing else: started, told to read anew, or ended. Nothing is done
    /// where it is so already. A program that is not installed is no error: [`Kernel::served`] says so. With
    /// [`Load::Check`] they only say whether they could.
    fn serve(&self, wanted: &Services, how: Load) -> impl Future<Output = Result<(), Error>> + Send;

    /// How they are, and what they know.
    fn served(&self, wanted: &Services) -> Served;

    /// Waits until the lease of the internet port has come, changed or gone; see [`Self::served`].
    fn lease_changed(&self) -> impl Future<Output = ()> + Send;

    /// Takes this for what the internet port was lent last: in force until its time is over, and asked for by the next DHCP client
    /// that [`Self::serve`] starts.
    fn adopt_lease(&self, lease: &InternetLease) -> Result<(), Error>;

    /// Asks the provider again for the address: the cable was out, or leads elsewhere now.
    fn renew_lease(&self);

    /// What a DHCP server on each of these ports would lend us, for those where one answers within seconds. Nothing of it is
    /// used. Whoever lent it keeps it for our hardware address for a while.
    fn offers(&self, devices: &[IfName]) -> impl Future<Output = Result<Vec<InternetLease>, Error>> + Send;

    /// Speed of a port in megabits a second, if its driver tells.
    fn speed(&self, device: &IfName) -> Option<u32>;

    /// Deletes the conntrack entries that are translated to this address of ours, which it no longer has. Returns how many.
    fn forget(&self, address: Ipv4Addr) -> impl Future<Output = Result<usize, Error>> + Send;

    /// What becomes of conntrack entries from now on, of those only whose rule asked for it (`ct event set`): ordinary
    /// traffic wakes nobody. The channel closes when the kernel can tell no more; then ask anew.
    fn events(&self) -> impl Future<Output = Result<mpsc::Receiver<Event>, Error>> + Send;

    /// What the DNS of this box answers its devices from now on, where the rules show it. The channel ends when the kernel tells no
    /// more. An error where it cannot.
    fn answers(&self) -> impl Future<Output = Result<mpsc::Receiver<Named>, Error>> + Send;
}

/// A name that the DNS of this box has answered, with its addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// In small letters: letters, digits, `-`, `_` and dots, 1 to 253.
    pub name: String,
    /// At least one.
    pub addresses: Vec<IpAddr>,
}

/// The IPv6 addresses that come and go with what the provider gives. They have lifetimes in the kernel: so they end in time
/// even without us, dnsmasq announces what is left of them, and they are told from those that somebody else has set.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Numbers {
    /// The home's device, with the addresses that it shall have.
    pub home: Option<(IfName, Vec<LentAddress>)>,
    /// Ports that shall have none that has a lifetime.
    pub without: Vec<IfName>,
    /// A port that takes no router advertisements: the addresses and default routes that came by one go too.
    pub unadvertised: Option<IfName>,
    /// A port on which routers are asked to advertise themselves now, once. The kernel asks by itself only when a port comes up.
    pub solicit: Option<IfName>,
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
    /// Bridges that shall be there, or shall not.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub bridges: Vec<Bridge>,
    /// Links with their IPv4 addresses. Links not named here are not touched. One that is named here and is a bridge that
    /// shall not be there may be missing.
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
    /// Largest packet in bytes; none: not touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mtu: Option<u32>,
    /// Hardware address; none: not touched.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<[u8; 6]>,
    /// Whether it is a port of a bridge.
    #[serde(default, skip_serializing_if = "Member::is_untouched")]
    pub member: Member,
}

/// Whether a link is a port of a bridge.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Member {
    /// As it is.
    #[default]
    Untouched,
    /// Of none.
    OfNone,
    /// Of this one.
    Of(IfName),
}

impl Member {
    fn is_untouched(&self) -> bool {
        *self == Self::Untouched
    }
}

impl Link {
    /// One that is up and has these addresses; the rest is not touched.
    pub fn new(name: IfName, addresses: Vec<InterfaceAddress>) -> Self {
        Self { name, addresses, up: true, mtu: None, mac: None, member: Member::Untouched }
    }
}

/// A bridge, which joins ports into one network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge {
    /// Its name.
    pub name: IfName,
    /// Whether it is there.
    pub there: bool,
    /// Its hardware address when it is made: else it takes the lowest of its ports', and another when that one leaves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mac: Option<[u8; 6]>,
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
    /// The routers that IPv6 packets to everywhere may go to, each with the index of its link.
    pub gateways6: Vec<(u32, Ipv6Addr)>,
    /// Counts up whenever anybody changes rules, ours or others'; none: not known.
    pub generation: Option<u32>,
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
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
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
    /// The hardware address that is burnt in, if the driver tells it.
    #[serde(default)]
    pub own_mac: Option<[u8; 6]>,
    /// Largest packet in bytes.
    #[serde(default)]
    pub mtu: u32,
    /// What it is if it is no real port (`bridge`, `vlan`, `wireguard`), in the kernel's word (IFLA_INFO_KIND).
    #[serde(default)]
    pub kind: Option<String>,
    /// Index of the bridge, or its like, that it belongs to.
    #[serde(default)]
    pub master: Option<u32>,
    /// It speaks Ethernet.
    #[serde(default)]
    pub ethernet: bool,
}

/// A device that this box has spoken with on a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Neighbour {
    /// Index of the link.
    pub device: u32,
    /// Its hardware address.
    pub mac: [u8; 6],
    /// Its address.
    pub address: IpAddr,
    /// Seconds since it last answered. The kernel begins to count a minute early for one that it only heard of
    /// (`neigh_alloc`).
    pub seen_seconds: u32,
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
    /// The connection whose helper announced this one.
    pub announced_by: Option<Announcer>,
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

/// The connection that announced another one; it may be gone already.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Announcer {
    /// IP protocol number.
    pub protocol: u8,
    /// Port of the destination of its first packet.
    pub server_port: u16,
    /// CTA_TUPLE_MASTER as it came: the announcer's CTA_TUPLE_ORIG.
    pub tuple: Vec<u8>,
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

/// A conntrack entry with what the kernel tells of its age.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The entry itself.
    pub flow: Flow,
    /// Source of the answers, with its port (GRE: its key): of what the internet began, the device at home.
    pub answers_from: (IpAddr, u16),
    /// Seconds since 1970 of its first packet; none where `nf_conntrack_timestamp` is off.
    pub since: Option<i64>,
    /// Seconds until the kernel forgets it.
    pub rest: Option<u32>,
    /// The kernel keeps it for long (IPS_ASSURED).
    pub assured: bool,
    /// Its packets and bytes are counted (`nf_conntrack_acct` was on when it began).
    pub counted: bool,
}

/// Conntrack entries of one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Entries {
    /// Those that matched, in the kernel's order.
    pub entries: Vec<Entry>,
    /// Those that matched and were too many.
    pub left_out: u64,
    /// Entries in all.
    pub all: u64,
    /// How many fit.
    pub room: u64,
    /// What the kernel gives an entry after each packet.
    pub timeouts: Timeouts,
}

/// Seconds that the kernel gives an entry after each of its packets; none where it does not say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// UDP, before and after it is assured.
    pub udp: [Option<u32>; 2],
    /// GRE, before and after it is assured.
    pub gre: [Option<u32>; 2],
    /// Protocols without a timer of their own: ESP, AH, L2TPv3.
    pub other: Option<u32>,
}

/// One element of a set or a map that rules fill.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Element {
    /// Its key; each part of a concatenation begins at a multiple of four bytes.
    pub key: Vec<u8>,
    /// Of a map: what it leads to.
    pub data: Vec<u8>,
    /// Milliseconds that it lives when nothing renews it, if its set does not say so.
    pub timeout_ms: Option<u64>,
    /// Milliseconds until it is forgotten.
    #[serde(skip)]
    pub rest_ms: Option<u64>,
    /// What its counter has counted, if it has one.
    #[serde(skip)]
    pub counted: Option<Counter>,
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
    /// dnsmasq said no, or did not come up; its own words.
    #[error("DHCP and DNS could not be set up: dnsmasq says: {0}")]
    Service(String),
    /// The DHCP client of the internet port could not be started or ended.
    #[error("the DHCP client of the internet port could not be set up: {0}")]
    DhcpClient(String),
    /// The DHCPv6 client of the internet port could not be started or ended.
    #[error("{0}")]
    PrefixClient(String),
    /// An answer that does not parse.
    #[error("an answer of the kernel was not understood: {0}")]
    Answer(String),
}
