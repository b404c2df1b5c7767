//! `postern-lab hoard`: one device that opens TCP connections by the hundred thousand, and a server that takes them all.
//!
//! Neither has a socket for each: both write segments by hand. The own kernels must not answer them with resets (see
//! [`crate::Lab::hoard`]).

use std::io::{ErrorKind, Result};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use lexopt::prelude::*;
use rustix::net::{AddressFamily, Protocol, SocketType, ipproto, socket};
use serde_json::json;

use super::{USAGE, tell};

/// How often it tells where it stands.
const TELL: Duration = Duration::from_millis(50);
/// The device's ports, and the first of the server's: each of these has one connection from each of those.
const PORTS: (u16, u32) = (1024, 60_000);
const SERVICE: u16 = 20_000;
const SERVICES: u16 = 16;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
/// Sequence numbers that the two ends begin with.
const DEVICE_BEGINS: u32 = 1000;
const SERVER_BEGINS: u32 = 2000;

/// Argument `--serve`: the server. Else FROM TO COUNT `--hz N`: that many connections from one address, each tried again until it is
/// open; of those that are it sends nothing more. With `--udp`: one datagram for each, and then it ends.
pub(super) fn hoard(words: &mut lexopt::Parser) -> std::result::Result<(), lexopt::Error> {
    let (mut serve, mut udp, mut hz, mut rest) = (false, false, 20_000_u32, Vec::new());
    while let Some(word) = words.next()? {
        match word {
            Long("serve") => serve = true,
            Long("udp") => udp = true,
            Long("hz") => hz = words.value()?.parse::<u32>()?.max(1),
            Value(text) => rest.push(text),
            other => return Err(other.unexpected()),
        }
    }
    let done = match &rest[..] {
        [] if serve => answer(),
        [from, to, count] if udp => spray(from.parse()?, to.parse()?, count.parse()?, hz),
        [from, to, count] => open(from.parse()?, to.parse()?, count.parse()?, hz),
        _ => return Err(USAGE.into()),
    };
    Ok(done.map_err(|error| error.to_string())?)
}

/// Hears every TCP segment, and another that sends packets with headers of its own (raw(7)).
fn sockets() -> Result<(UdpSocket, UdpSocket)> {
    let own_header = NonZeroU32::new(255).map(Protocol::from_raw).ok_or(ErrorKind::InvalidInput)?;
    let raw = |protocol| -> Result<UdpSocket> {
        Ok(UdpSocket::from(socket(AddressFamily::INET, SocketType::RAW, Some(protocol))?))
    };
    Ok((raw(ipproto::TCP)?, raw(own_header)?))
}

fn answer() -> Result<()> {
    let (hears, sends) = sockets()?;
    tell(&json!({ "ready": true }));
    let mut bytes = [0; 2048];
    loop {
        let (length, _) = hears.recv_from(&mut bytes)?;
        let Some(asked) = Segment::read(&bytes[..length]) else { continue };
        if asked.flags == SYN && (SERVICE..SERVICE + SERVICES).contains(&asked.to.1) {
            let numbers = (SERVER_BEGINS, asked.sequence.wrapping_add(1));
            let answer = Segment { from: asked.to, to: asked.from, flags: SYN | ACK, sequence: numbers.0 };
            // It is tried again.
            let _ = sends.send_to(&answer.bytes(numbers.1), (asked.from.0, 0));
        }
    }
}

/// The two ends of connection number so many.
fn ends(from: Ipv4Addr, to: Ipv4Addr, number: u32) -> ((Ipv4Addr, u16), (Ipv4Addr, u16)) {
    let port = u16::try_from(number % PORTS.1).unwrap_or_default() + PORTS.0;
    let service = u16::try_from(number / PORTS.1).unwrap_or_default() % SERVICES + SERVICE;
    ((from, port), (to, service))
}

fn spray(from: Ipv4Addr, to: Ipv4Addr, count: u32, hz: u32) -> Result<()> {
    let (_, sends) = sockets()?;
    let pace = Duration::from_secs(1) / hz;
    let (mut next, mut told, mut sent) = (Instant::now(), Instant::now(), 0_u64);
    for number in 0..count {
        let ((from, port), (to, service)) = ends(from, to, number);
        // Without a checksum.
        let datagram = [port, service, 8, 0].map(u16::to_be_bytes).concat();
        let mut bytes = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 64, 17, 0, 0];
        bytes.extend([from.octets(), to.octets()].concat());
        bytes.extend(datagram);
        sent += u64::from(sends.send_to(&bytes, (to, 0)).is_ok());
        if told.elapsed() >= TELL {
            tell(&json!({ "sent": sent }));
            told = Instant::now();
        }
        next = (next + pace).max(Instant::now() - TELL);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    tell(&json!({ "sent": sent, "done": true }));
    Ok(())
}

fn open(from: Ipv4Addr, to: Ipv4Addr, count: u32, hz: u32) -> Result<()> {
    let (hears, sends) = sockets()?;
    hears.set_nonblocking(true)?;
    let number = |port: u16, service: u16| {
        u32::from(service.checked_sub(SERVICE)?)
            .checked_mul(PORTS.1)?
            .checked_add(port.checked_sub(PORTS.0)?.into())
    };
    let mut opened = vec![false; usize::try_from(count).unwrap_or_default()];
    let (mut open, mut sent, mut reset) = (0_u32, 0_u64, 0_u64);
    let pace = Duration::from_secs(1) / hz;
    let (mut next, mut told) = (Instant::now(), Instant::now());
    let mut bytes = [0; 2048];
    loop {
        for at in 0..count {
            let known = opened.get(usize::try_from(at).unwrap_or_default()).copied().unwrap_or(true);
            if known && at % 1024 != 0 {
                continue;
            }
            while let Ok((length, _)) = hears.recv_from(&mut bytes) {
                let Some(heard) = Segment::read(&bytes[..length]).filter(|one| one.from.0 == to) else {
                    continue;
                };
                reset += u64::from(heard.flags & RST != 0);
                let known =
                    number(heard.to.1, heard.from.1).and_then(|n| opened.get_mut(usize::try_from(n).ok()?));
                let Some(known) = known.filter(|_| heard.flags == SYN | ACK) else { continue };
                let (device, server) = (heard.to, heard.from);
                let ack = Segment { from: device, to: server, flags: ACK, sequence: DEVICE_BEGINS + 1 };
                if sends.send_to(&ack.bytes(heard.sequence.wrapping_add(1)), (to, 0)).is_ok() && !*known {
                    *known = true;
                    open += 1;
                }
            }
            if told.elapsed() >= TELL {
                tell(&json!({ "sent": sent, "open": open, "reset": reset }));
                told = Instant::now();
            }
            next = (next + pace).max(Instant::now() - TELL);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
            if known {
                continue;
            }
            let (device, server) = ends(from, to, at);
            let syn = Segment { from: device, to: server, flags: SYN, sequence: DEVICE_BEGINS };
            sent += u64::from(sends.send_to(&syn.bytes(0), SocketAddr::from((to, 0))).is_ok());
        }
    }
}

/// A TCP segment without data or options.
struct Segment {
    from: (Ipv4Addr, u16),
    to: (Ipv4Addr, u16),
    flags: u8,
    sequence: u32,
}

impl Segment {
    /// From what a raw socket delivers: with its IPv4 header.
    fn read(bytes: &[u8]) -> Option<Self> {
        let address = |at: usize| <[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok().map(Ipv4Addr::from);
        let tcp = bytes.get(usize::from(bytes.first()? & 15) * 4..)?;
        let port = |at: usize| Some(u16::from_be_bytes(tcp.get(at..at + 2)?.try_into().ok()?));
        Some(Self {
            from: (address(12)?, port(0)?),
            to: (address(16)?, port(2)?),
            sequence: u32::from_be_bytes(tcp.get(4..8)?.try_into().ok()?),
            flags: *tcp.get(13)?,
        })
    }

    /// With its IPv4 header, whose checksum the kernel fills in. TCP's has a pseudo header (RFC 9293 section 3.1); conntrack calls a
    /// segment with a wrong one invalid.
    fn bytes(&self, acknowledged: u32) -> [u8; 40] {
        let mut bytes = [0; 40];
        bytes[0] = 0x45;
        bytes[2..4].copy_from_slice(&40_u16.to_be_bytes());
        bytes[8] = 64;
        bytes[9] = 6;
        bytes[12..16].copy_from_slice(&self.from.0.octets());
        bytes[16..20].copy_from_slice(&self.to.0.octets());
        bytes[20..22].copy_from_slice(&self.from.1.to_be_bytes());
        bytes[22..24].copy_from_slice(&self.to.1.to_be_bytes());
        bytes[24..28].copy_from_slice(&self.sequence.to_be_bytes());
        bytes[28..32].copy_from_slice(&acknowledged.to_be_bytes());
        bytes[32..36].copy_from_slice(&[0x50, self.flags, 0x20, 0]);
        let words = |part: &[u8]| -> u32 {
            part.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum()
        };
        let mut sum = words(&bytes[12..]) + 6 + 20;
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        bytes[36..38].copy_from_slice(&(!u16::try_from(sum).unwrap_or_default()).to_be_bytes());
        bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_segment_is_read_as_it_was_written_and_its_checksum_sums_to_zero() {
        let (from, to) =
            ((Ipv4Addr::new(192, 168, 1, 101), 60_999), (Ipv4Addr::new(203, 0, 113, 20), SERVICE));
        let bytes = Segment { from, to, flags: SYN | ACK, sequence: 0xdead_beef }.bytes(7);
        let read = Segment::read(&bytes).unwrap();
        assert_eq!((read.from, read.to, read.flags, read.sequence), (from, to, SYN | ACK, 0xdead_beef));
        let words: u32 =
            bytes[12..].chunks(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum();
        assert_eq!((words + 26) % 0xffff, 0);
        assert!(Segment::read(&bytes[..30]).is_none() && Segment::read(&[]).is_none());
    }
}
