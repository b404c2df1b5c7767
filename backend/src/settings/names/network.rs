//! Names and numbers of the network: ports of the box, addresses, TCP and UDP ports.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Wrong, in_words, word, wrong};
use crate::settings::local_network::BRIDGE;

/// Name of a network device: 1 to 15 bytes (IFNAMSIZ in linux/if.h, less the zero), here letters, digits, `.`, `_`
/// and `-`, the first one a letter or digit. The kernel allows more; nobody names a router's port so.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IfName(String);

impl IfName {
    /// The LAN bridge.
    pub fn bridge() -> Self {
        Self(BRIDGE.to_owned())
    }

    /// The device of the PPPoE session. A name of its own: somebody's `ppp0` may be another call.
    pub fn pppoe() -> Self {
        Self("pppoe-internet".to_owned())
    }

    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for IfName {
    type Err = Wrong;
    fn from_str(s: &str) -> Result<Self, Wrong> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        let first = s.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if !first || s.len() > 15 || !s.bytes().all(plain) {
            return wrong(
                "Name a port of this box, for example eth0: at most 15 letters, digits, dots, dashes or underscores.",
            );
        }
        Ok(Self(s.to_owned()))
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Hardware address of one device: six bytes, not a group address and not all zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Mac([u8; 6]);

impl Mac {
    /// From what the kernel tells; none: it stands for a group.
    pub fn of(bytes: [u8; 6]) -> Option<Self> {
        (bytes[0] & 1 == 0 && bytes != [0; 6]).then_some(Self(bytes))
    }

    /// The six bytes.
    pub fn bytes(self) -> [u8; 6] {
        self.0
    }
}

impl FromStr for Mac {
    type Err = Wrong;
    fn from_str(s: &str) -> Result<Self, Wrong> {
        let sentence = "A MAC address is six pairs of hexadecimal digits, for example 3c:52:82:1a:0b:7f.";
        let mut bytes = [0; 6];
        let mut parts = s.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2 && p.bytes().all(|b| b.is_ascii_hexdigit()));
            *byte = u8::from_str_radix(part.unwrap_or_default(), 16).map_err(|_| Wrong(sentence.into()))?;
        }
        if parts.next().is_some() {
            return wrong(sentence);
        }
        if bytes[0] & 1 == 1 || bytes == [0; 6] {
            return wrong("That MAC address stands for a group, not for one device.");
        }
        Ok(Self(bytes))
    }
}

impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

/// An IPv4 address of ours with the prefix length of its network: `192.168.1.1/24`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct InterfaceAddress {
    address: Ipv4Addr,
    prefix: u8,
}

impl InterfaceAddress {
    /// From parts; `prefix` above 32 counts as 32.
    pub const fn new(address: Ipv4Addr, prefix: u8) -> Self {
        Self { address, prefix: if prefix > 32 { 32 } else { prefix } }
    }

    /// Our own address.
    pub fn address(self) -> Ipv4Addr {
        self.address
    }

    /// Length of the prefix, 0 to 32.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    fn mask(self) -> u32 {
        u32::MAX.checked_shl(32 - u32::from(self.prefix)).unwrap_or(0)
    }

    /// The network's first address, which names it.
    pub fn network(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() & self.mask())
    }

    /// The network's last address.
    pub fn broadcast(self) -> Ipv4Addr {
        Ipv4Addr::from_bits(self.address.to_bits() | !self.mask())
    }

    /// Whether `other` is inside the network.
    pub fn contains(self, other: Ipv4Addr) -> bool {
        other.to_bits() & self.mask() == self.network().to_bits()
    }

    /// Whether the two networks share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.network()) || other.contains(self.network())
    }
}

impl FromStr for InterfaceAddress {
    type Err = Wrong;
    fn from_str(s: &str) -> Result<Self, Wrong> {
        let parts = s.split_once('/').and_then(|(a, p)| Some((a.parse().ok()?, p.parse().ok()?)));
        match parts {
            Some((address, prefix @ 1..=32)) => Ok(Self { address, prefix }),
            _ => wrong("Write an IPv4 address with its prefix length, for example 192.168.1.1/24."),
        }
    }
}

impl fmt::Display for InterfaceAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

/// A TCP or UDP port, 1 to 65535.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Port(u16);

impl Port {
    /// A port known not to be zero; zero counts as 1.
    pub const fn of(number: u16) -> Self {
        Self(if number == 0 { 1 } else { number })
    }

    /// Its number.
    pub fn number(self) -> u16 {
        self.0
    }
}

impl FromStr for Port {
    type Err = Wrong;
    fn from_str(s: &str) -> Result<Self, Wrong> {
        match s.parse::<u64>() {
            Ok(0) => wrong("Port 0 cannot be used. Use a number from 1 to 65535."),
            Ok(n) => match u16::try_from(n) {
                Ok(n) => Ok(Self(n)),
                Err(_) => wrong(format!("Port {n} is too high. Use a number from 1 to 65535.")),
            },
            Err(_) => wrong("A port is a number from 1 to 65535."),
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

impl Serialize for Port {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_u16(self.0)
    }
}

impl<'de> Deserialize<'de> for Port {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        word(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// 1 to 15 different ports, sorted. Fifteen is what old firewalls' port lists hold, and more than anybody needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct PortList(Vec<Port>);

impl PortList {
    /// Most ports of one list.
    pub const MOST: usize = 15;

    /// The list of this one port.
    pub fn one(number: u16) -> Self {
        Self(vec![Port::of(number)])
    }

    /// The ports, in ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Port> + '_ {
        self.0.iter().copied()
    }
}

impl TryFrom<Vec<Port>> for PortList {
    type Error = Wrong;
    fn try_from(mut ports: Vec<Port>) -> Result<Self, Wrong> {
        ports.sort_unstable();
        ports.dedup();
        match ports.len() {
            0 => wrong("Name at least one port."),
            n if n > Self::MOST => wrong(format!("Name at most {} ports; there are {n}.", Self::MOST)),
            _ => Ok(Self(ports)),
        }
    }
}

impl<'de> Deserialize<'de> for PortList {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        Vec::<Port>::deserialize(d)?.try_into().map_err(serde::de::Error::custom)
    }
}

impl fmt::Display for PortList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let words: Vec<String> = self.0.iter().map(Port::to_string).collect();
        f.write_str(&words.join(","))
    }
}

/// One port or a range, `5000` or `5000-5010`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: Port,
    last: Port,
}

impl PortRange {
    /// First port.
    pub fn first(self) -> Port {
        self.first
    }

    /// Last port, not below the first.
    pub fn last(self) -> Port {
        self.last
    }
}

impl FromStr for PortRange {
    type Err = Wrong;
    fn from_str(s: &str) -> Result<Self, Wrong> {
        let (first, last) = s.split_once('-').unwrap_or((s, s));
        let (first, last): (Port, Port) = (first.parse()?, last.parse()?);
        if last < first {
            return wrong("The range ends below its start.");
        }
        Ok(Self { first, last })
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.first, self.last) {
            (a, b) if a == b => write!(f, "{a}"),
            (a, b) => write!(f, "{a}-{b}"),
        }
    }
}

/// Where a forward leads: `192.168.1.20` or `192.168.1.20:8080`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// The device.
    pub address: Ipv4Addr,
    /// Its port; none: the same as outside.
    pub port: Option<Port>,
}

impl FromStr for Target {
    type Err = Wrong;
    fn from_str(s: &str) -> Result<Self, Wrong> {
        let (address, port) = match s.split_once(':') {
            Some((address, port)) => (address, Some(port.parse()?)),
            None => (s, None),
        };
        match address.parse() {
            Ok(address) => Ok(Self { address, port }),
            Err(_) => {
                wrong("Name the device by its IPv4 address, for example 192.168.1.20 or 192.168.1.20:8080.")
            }
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.port {
            Some(port) => write!(f, "{}:{port}", self.address),
            None => write!(f, "{}", self.address),
        }
    }
}

/// Largest packet in bytes: `auto`, or 576 (RFC 791) to 9000.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mtu {
    /// What the mode of the internet port needs.
    #[default]
    Auto,
    /// So many bytes.
    Bytes(u16),
}

impl FromStr for Mtu {
    type Err = Wrong;
    fn from_str(s: &str) -> Result<Self, Wrong> {
        match (s, s.parse()) {
            ("auto", _) => Ok(Self::Auto),
            (_, Ok(bytes @ 576..=9000)) => Ok(Self::Bytes(bytes)),
            _ => wrong("The MTU is auto, or a number of bytes from 576 to 9000."),
        }
    }
}

impl fmt::Display for Mtu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str("auto"),
            Self::Bytes(n) => write!(f, "{n}"),
        }
    }
}

in_words!(IfName, Mac, InterfaceAddress, PortRange, Target, Mtu);
