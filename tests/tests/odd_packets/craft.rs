//! Packets byte by byte: every field can lie.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// In every packet of a test, so that what answers it is not taken for it: a DSCP that nothing here uses.
pub const DSCP: u8 = 42;

/// The flow label of packet 0.
pub const LABELS: u32 = 0x5_0000;

/// IP protocol numbers and extension headers.
pub const ICMP: u8 = 1;
pub const TCP: u8 = 6;
pub const UDP: u8 = 17;
pub const ROUTING: u8 = 43;
pub const FRAGMENT: u8 = 44;
pub const GRE: u8 = 47;
pub const ESP: u8 = 50;
pub const AH: u8 = 51;
pub const ICMPV6: u8 = 58;
pub const NO_NEXT: u8 = 59;
pub const OPTIONS: u8 = 60;

/// More fragments follow: of IPv4 (RFC 791 section 3.1), and of the IPv6 fragment header (RFC 8200 section 4.5).
pub const MORE: u16 = 0x2000;
pub const MORE6: u16 = 1;

/// An IPv4 packet (RFC 791 section 3.1). What is `None` is as it should be.
#[derive(Debug, Clone)]
pub struct V4 {
    pub from: Ipv4Addr,
    pub to: Ipv4Addr,
    /// Identification: which packet of a test it is.
    pub id: u16,
    pub version: u8,
    /// Flags and offset in units of 8 bytes.
    pub fragment: u16,
    pub ttl: u8,
    pub protocol: u8,
    pub options: Vec<u8>,
    pub words: Option<u8>,
    pub length: Option<u16>,
    pub sum: Option<u16>,
    pub body: Vec<u8>,
}

impl V4 {
    pub fn new(from: Ipv4Addr, to: Ipv4Addr, number: u16, protocol: u8, body: Vec<u8>) -> Self {
        let id = number;
        let (options, words, length, sum) = (Vec::new(), None, None, None);
        Self { from, to, id, version: 4, fragment: 0, ttl: 64, protocol, options, words, length, sum, body }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let header = 20 + self.options.len();
        let words = self.words.unwrap_or((header / 4) as u8);
        let mut bytes = vec![self.version << 4 | words & 15, DSCP << 2];
        bytes.extend(self.length.unwrap_or((header + self.body.len()) as u16).to_be_bytes());
        bytes.extend(self.id.to_be_bytes());
        bytes.extend(self.fragment.to_be_bytes());
        bytes.extend([self.ttl, self.protocol, 0, 0]);
        bytes.extend(self.from.octets());
        bytes.extend(self.to.octets());
        bytes.extend(&self.options);
        let sum = self.sum.unwrap_or_else(|| checksum(&bytes));
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        bytes.extend(&self.body);
        bytes
    }
}

/// An IPv6 packet (RFC 8200 section 3).
#[derive(Debug, Clone)]
pub struct V6 {
    pub from: Ipv6Addr,
    pub to: Ipv6Addr,
    /// Flow label: which packet of a test it is.
    pub label: u32,
    pub version: u8,
    pub next: u8,
    pub hops: u8,
    pub length: Option<u16>,
    pub body: Vec<u8>,
}

impl V6 {
    pub fn new(from: Ipv6Addr, to: Ipv6Addr, number: u16, next: u8, body: Vec<u8>) -> Self {
        let label = LABELS + u32::from(number);
        Self { from, to, label, version: 6, next, hops: 64, length: None, body }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let first = u32::from(self.version) << 28 | u32::from(DSCP) << 22 | self.label;
        let mut bytes = first.to_be_bytes().to_vec();
        bytes.extend(self.length.unwrap_or(self.body.len() as u16).to_be_bytes());
        bytes.extend([self.next, self.hops]);
        bytes.extend(self.from.octets());
        bytes.extend(self.to.octets());
        bytes.extend(&self.body);
        bytes
    }
}

/// What goes into an Ethernet frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Says the frame's type; the packet's own version may lie.
    pub ipv6: bool,
    pub bytes: Vec<u8>,
}

impl From<V4> for Frame {
    fn from(packet: V4) -> Self {
        Self { ipv6: false, bytes: packet.bytes() }
    }
}

impl From<V6> for Frame {
    fn from(packet: V6) -> Self {
        Self { ipv6: true, bytes: packet.bytes() }
    }
}

/// Who sends to whom, for checksums.
#[derive(Debug, Clone, Copy)]
pub struct Ends {
    pub from: IpAddr,
    pub to: IpAddr,
}

impl Ends {
    /// The pseudo header of RFC 9293 section 3.1, RFC 8200 section 8.1.
    fn pseudo(self, protocol: u8, length: usize) -> Vec<u8> {
        let octets = |ip: IpAddr| match ip {
            IpAddr::V4(ip) => ip.octets().to_vec(),
            IpAddr::V6(ip) => ip.octets().to_vec(),
        };
        [octets(self.from), octets(self.to), (length as u32).to_be_bytes().to_vec(), vec![0, 0, 0, protocol]]
            .concat()
    }

    /// A packet between them that is as it should be.
    pub fn packet(self, number: u16, protocol: u8, body: Vec<u8>) -> Frame {
        match (self.from, self.to) {
            (IpAddr::V4(from), IpAddr::V4(to)) => V4::new(from, to, number, protocol, body).into(),
            (IpAddr::V6(from), IpAddr::V6(to)) => V6::new(from, to, number, protocol, body).into(),
            (from, to) => panic!("{from} and {to} are not of one family"),
        }
    }

    /// UDP (RFC 768) with a right checksum.
    pub fn udp(self, from: u16, to: u16, payload: &[u8]) -> Vec<u8> {
        self.udp_of(from, to, (8 + payload.len()) as u16, payload)
    }

    /// UDP that says it is `length` bytes long; its checksum is right for what is there.
    pub fn udp_of(self, from: u16, to: u16, length: u16, payload: &[u8]) -> Vec<u8> {
        let bytes = [&[from, to, length, 0].map(u16::to_be_bytes).concat()[..], payload].concat();
        self.summed(UDP, bytes, 6)
    }

    /// TCP (RFC 9293 section 3.1) with these flags, five words long.
    pub fn tcp(self, from: u16, to: u16, flags: u8, payload: &[u8]) -> Vec<u8> {
        self.tcp_of(from, to, flags, 5, payload)
    }

    /// TCP whose header says it has so many words.
    pub fn tcp_of(self, from: u16, to: u16, flags: u8, words: u8, payload: &[u8]) -> Vec<u8> {
        let mut bytes = [from.to_be_bytes(), to.to_be_bytes()].concat();
        bytes.extend([0, 0, 0, 1, 0, 0, 0, 0, words << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
        bytes.extend(payload);
        self.summed(TCP, bytes, 16)
    }

    /// ICMPv6 (RFC 4443 section 2.1), or ICMP (RFC 792) between IPv4 addresses.
    pub fn icmp(self, kind: u8, code: u8, rest: [u8; 4], quoted: &[u8]) -> Vec<u8> {
        let bytes = [&[kind, code, 0, 0][..], &rest, quoted].concat();
        if self.from.is_ipv6() {
            return self.summed(ICMPV6, bytes, 2);
        }
        let mut bytes = bytes;
        let sum = checksum(&bytes);
        bytes[2..4].copy_from_slice(&sum.to_be_bytes());
        bytes
    }

    fn summed(self, protocol: u8, mut bytes: Vec<u8>, at: usize) -> Vec<u8> {
        let sum = checksum(&[self.pseudo(protocol, bytes.len()), bytes.clone()].concat());
        bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        bytes
    }
}

/// RFC 1071, of `bytes` whose own checksum is still zero.
pub fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

/// An IPv6 fragment header (RFC 8200 section 4.5) before `part`; `offset` in bytes.
pub fn fragment6(next: u8, offset: u16, more: u16, id: u32, part: &[u8]) -> Vec<u8> {
    let mut bytes = vec![next, 0];
    bytes.extend((offset & 0xfff8 | more).to_be_bytes());
    bytes.extend(id.to_be_bytes());
    bytes.extend(part);
    bytes
}

/// A routing header (RFC 8200 section 4.4) with `addresses` and what follows.
pub fn routing(next: u8, kind: u8, left: u8, addresses: &[Ipv6Addr], rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![next, (addresses.len() * 2) as u8, kind, left, 0, 0, 0, 0];
    bytes.extend(addresses.iter().flat_map(Ipv6Addr::octets));
    bytes.extend(rest);
    bytes
}

/// A hop-by-hop or destination options header (RFC 8200 sections 4.3 and 4.6) with these options, padded, and what follows.
pub fn options(next: u8, options: &[u8], rest: &[u8]) -> Vec<u8> {
    let mut bytes = vec![next, 0];
    bytes.extend(options);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    bytes[1] = (bytes.len() / 8 - 1) as u8;
    bytes.extend(rest);
    bytes
}
