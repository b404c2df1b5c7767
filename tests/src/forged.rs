//! Forged packets: from any source address, with any content, and who was reached by them.

use std::fmt::Write;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;

use crate::host::Host;
use crate::process::Process;
use crate::wait::{self, SOON};

/// In every forged packet, so that an [`Ear`] knows it.
pub(crate) const MARK: &[u8; 8] = b"forged!!";

/// A whole IPv4 packet that somebody else seems to have sent.
#[derive(Debug, Clone)]
pub struct Forged(Vec<u8>);

impl Forged {
    /// Any protocol, with `head` before the mark.
    #[must_use]
    pub fn new(from: Ipv4Addr, to: Ipv4Addr, protocol: u8, head: &[u8]) -> Self {
        let length = u16::try_from(20 + head.len() + MARK.len()).unwrap_or(u16::MAX);
        let mut bytes = vec![0x45, 0];
        bytes.extend(length.to_be_bytes());
        // No identification, no fragments, 64 hops; the kernel fills in the checksum, and we do too: an ICMP error quotes it.
        bytes.extend([0, 0, 0, 0, 64, protocol, 0, 0]);
        bytes.extend(from.octets());
        bytes.extend(to.octets());
        let sum = checksum(&bytes);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        bytes.extend(head);
        bytes.extend(MARK);
        Self(bytes)
    }

    /// ESP (RFC 4303 section 2).
    #[must_use]
    pub fn esp(from: Ipv4Addr, to: Ipv4Addr, spi: u32) -> Self {
        Self::new(from, to, 50, &[spi.to_be_bytes(), [0, 0, 0, 1]].concat())
    }

    /// GRE of PPTP (RFC 2637 section 4.1): key and sequence present, version 1, PPP; length, Call ID, sequence.
    #[must_use]
    pub fn gre(from: Ipv4Addr, to: Ipv4Addr, call_id: u16) -> Self {
        let id = call_id.to_be_bytes();
        Self::new(from, to, 47, &[0x30, 1, 0x88, 0x0b, 0, 8, id[0], id[1], 0, 0, 0, 1])
    }

    /// UDP between two ports, without a checksum.
    #[must_use]
    pub fn udp(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16), payload: &[u8]) -> Self {
        let length = u16::try_from(8 + payload.len() + MARK.len()).unwrap_or(u16::MAX);
        let head = [from.1, to.1, length, 0].map(u16::to_be_bytes).concat();
        Self::new(from.0, to.0, 17, &[&head, payload].concat())
    }

    /// IKE from port 500 to port 500 (RFC 7296 section 3.1) with this initiator cookie and type of exchange.
    #[must_use]
    pub fn ike(from: Ipv4Addr, to: Ipv4Addr, cookie: u64, exchange: u8) -> Self {
        let mut header = [0; 28];
        header[..8].copy_from_slice(&cookie.to_be_bytes());
        header[17] = 0x20;
        header[18] = exchange;
        Self::udp((from, 500), (to, 500), &header)
    }

    /// A connection attempt by TCP.
    #[must_use]
    pub fn syn(from: (Ipv4Addr, u16), to: (Ipv4Addr, u16)) -> Self {
        let mut head = [from.1.to_be_bytes(), to.1.to_be_bytes()].concat();
        head.extend([0, 0, 0, 1, 0, 0, 0, 0, 0x50, 2, 0xff, 0xff, 0, 0, 0, 0]);
        let mut pseudo = [&from.0.octets()[..], &to.0.octets(), &[0, 6, 0, 28]].concat();
        pseudo.extend([&head[..], MARK].concat());
        let sum = checksum(&pseudo);
        head[16..18].copy_from_slice(&sum.to_be_bytes());
        Self::new(from.0, to.0, 6, &head)
    }

    /// An ICMP error about `about`, of which it quotes the header and eight bytes or, for IKE, the cookie too (RFC 1812
    /// section 4.3.2.3): fragmentation needed, next hop 1400 bytes.
    #[must_use]
    pub fn error(from: Ipv4Addr, to: Ipv4Addr, about: &Self) -> Self {
        let quoted = &about.0[..about.0.len().min(56)];
        let mut message = [&[3, 4, 0, 0, 0, 0, 5, 0x78][..], quoted].concat();
        let sum = checksum(&[&message[..], MARK].concat());
        message[2..4].copy_from_slice(&sum.to_be_bytes());
        Self::new(from, to, 1, &message)
    }
}

/// The internet checksum (RFC 1071) of `bytes`, whose own checksum is still zero.
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

/// A host that sends forged packets; it stops when this is dropped.
#[derive(Debug)]
pub struct Forger(Process);

/// A packet that arrived at an [`Ear`].
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Delivery {
    /// IP protocol number.
    pub protocol: u8,
    /// Its source.
    pub from: Ipv4Addr,
    /// Its destination.
    pub to: Ipv4Addr,
    /// It is one of ours.
    pub forged: bool,
    /// The number of the [`crate::Flow`] or [`crate::Probe`] it belongs to.
    pub tag: Option<u64>,
    /// The SPI, the two ports, or of GRE the key, whose lower half is the Call ID.
    pub head: u32,
    /// When, in milliseconds since 1970.
    pub at: u64,
}

/// Hears what is delivered to a host, whatever it is: raw sockets, IPv4.
#[derive(Debug)]
pub struct Ear(Process);

impl Ear {
    /// Everything so far.
    #[must_use]
    pub fn all(&self) -> Vec<Delivery> {
        self.0.out().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What was forged.
    #[must_use]
    pub fn forged(&self) -> Vec<Delivery> {
        self.all().into_iter().filter(|delivery| delivery.forged).collect()
    }

    /// Waits for a forged packet that `wanted` is true of.
    ///
    /// # Panics
    /// When none comes.
    #[track_caller]
    pub fn wait_for(&self, what: &str, wanted: impl Fn(&Delivery) -> bool) {
        let came = wait::until(SOON, || self.forged().iter().any(&wanted).then_some(()));
        assert!(came.is_some(), "{what} should have arrived; there came {:?}", self.forged());
    }
}

impl Host {
    /// Hears what is delivered to this host.
    #[track_caller]
    #[must_use]
    pub fn ear(&self) -> Ear {
        let mut process = self.spawn(&["postern-lab", "listen"]);
        process.wait_for_line("ready", SOON);
        Ear(process)
    }

    /// Sends `packets`, `hz` a second, once through, and waits for the end.
    ///
    /// # Panics
    /// When one could not be sent.
    #[track_caller]
    pub fn forge(&self, packets: &[Forged], hz: u32) {
        let mut forger = self.forger(packets, hz, &[]);
        let patience = SOON + Duration::from_secs(packets.len() as u64 / u64::from(hz) * 3);
        forger.0.wait_for_line("done", patience);
        assert_eq!(forger.told("unsent"), 0, "{}", forger.0.said());
    }

    /// Sends `packets`, `hz` a second, again and again.
    #[track_caller]
    #[must_use]
    pub fn forge_on(&self, packets: &[Forged], hz: u32) -> Forger {
        let forger = self.forger(packets, hz, &["--again"]);
        let begun = wait::until(SOON, || (forger.sent() > 0).then_some(()));
        assert!(begun.is_some(), "nothing is sent: {}", forger.0.said());
        forger
    }

    #[track_caller]
    fn forger(&self, packets: &[Forged], hz: u32, more: &[&str]) -> Forger {
        let file =
            self.scratch(&packets.iter().fold(String::new(), |text, packet| text + &hex(&packet.0) + "\n"));
        let hz = hz.to_string();
        let words = [&["postern-lab", "forge", &file, "--hz", &hz][..], more].concat();
        Forger(self.spawn(&words).told_on_failure())
    }

    /// Waits at `port` for one TCP connection and says `script` on it: see `postern-lab dialogue`.
    #[track_caller]
    #[must_use]
    pub fn tcp_answers(&self, port: u16, script: &str) -> Process {
        let file = self.scratch(script);
        let at = format!("0.0.0.0:{port}");
        let mut process = self.spawn(&["postern-lab", "dialogue", "--listen", &at, &file]).told_on_failure();
        process.wait_for_line("ready", SOON);
        process
    }

    /// Connects to `server` and says `script`.
    #[track_caller]
    #[must_use]
    pub fn tcp_says(&self, server: (Ipv4Addr, u16), script: &str) -> Process {
        let file = self.scratch(script);
        let at = format!("{}:{}", server.0, server.1);
        self.spawn(&["postern-lab", "dialogue", "--call", &at, &file]).told_on_failure()
    }

    #[track_caller]
    fn scratch(&self, text: &str) -> String {
        static FILES: AtomicU32 = AtomicU32::new(0);
        let path = format!("/run/lab/scratch-{}", FILES.fetch_add(1, Ordering::Relaxed));
        self.write(&path, text);
        path
    }
}

impl Forger {
    /// Packets sent so far.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.told("sent")
    }

    fn told(&self, what: &str) -> u64 {
        let lines = self.0.out();
        let last = lines.last().and_then(|line| serde_json::from_str::<Value>(line).ok());
        last.and_then(|told| told[what].as_u64()).unwrap_or_default()
    }

    /// Waits until it has sent `count` more.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn wait(&self, count: u64) {
        let wanted = self.sent() + count;
        let sent =
            wait::until(SOON + Duration::from_millis(count * 3), || (self.sent() >= wanted).then_some(()));
        assert!(sent.is_some(), "the forger stands still:\n{}", self.0.said());
    }
}

/// As hexadecimal digits.
#[must_use]
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes what is written");
        text
    })
}
