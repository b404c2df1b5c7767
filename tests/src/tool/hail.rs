//! `postern-lab hail`: packets that nobody asked for, each of a new flow, many a second.

use std::io::Result;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{USAGE, tell};
use crate::packet::{Kind, datagram};

/// How often it tells how much it has sent.
const TELL: Duration = Duration::from_millis(50);
/// The kinds, in the order of the counts.
const PROTOCOLS: [u8; 4] = [17, 6, 47, 50];
/// Ports that a router may listen on or let through by mistake.
const PORTS: [u16; 6] = [80, 22, 500, 4500, 1701, 7000];
/// Nobody needs more to tell our packets in a listing.
const PAYLOAD: &[u8; 16] = b"postern-lab hail";

/// One address with a raw socket for each kind.
struct Target {
    to: IpAddr,
    from: IpAddr,
    sockets: Vec<UdpSocket>,
}

impl Target {
    fn open(to: IpAddr) -> Result<Self> {
        let any: IpAddr = if to.is_ipv6() { [0u16; 8].into() } else { [0u8; 4].into() };
        let asked = UdpSocket::bind((any, 0))?;
        asked.connect((to, 9))?;
        let raw = |protocol| datagram(Kind::Ip(protocol), to.is_ipv6(), 0);
        let sockets = PROTOCOLS.into_iter().map(raw).collect::<Result<_>>()?;
        Ok(Self { to, from: asked.local_addr()?.ip(), sockets })
    }

    /// Sends packet `number` of the kind at `index`; whether it left.
    fn send(&self, index: usize, number: u64) -> bool {
        let mut bytes = unsolicited(PROTOCOLS[index], number);
        if let Some(at) = match PROTOCOLS[index] {
            17 => Some(6),
            6 => Some(16),
            _ => None,
        } {
            let sum = checksum(self.from, self.to, PROTOCOLS[index], &bytes);
            bytes[at..at + 2].copy_from_slice(&sum.to_be_bytes());
        }
        self.sockets[index].send_to(&bytes, SocketAddr::new(self.to, 0)).is_ok()
    }
}

/// Hails on every address in turn until it is killed: arguments are `--hz N` and addresses.
pub(super) fn hail(words: &mut lexopt::Parser) -> std::result::Result<(), lexopt::Error> {
    let (mut hz, mut targets) = (1000, Vec::new());
    while let Some(word) = words.next()? {
        match word {
            lexopt::Arg::Long("hz") => hz = lexopt::ValueExt::parse::<u32>(&words.value()?)?.max(1),
            lexopt::Arg::Value(text) => {
                let to: IpAddr = lexopt::ValueExt::parse(&text)?;
                targets.push(Target::open(to).map_err(|error| format!("no way to {to}: {error}"))?);
            }
            other => return Err(other.unexpected()),
        }
    }
    if targets.is_empty() {
        return Err(USAGE.into());
    }
    let pace = Duration::from_secs(1) / hz;
    let mut sent = [0_u64; PROTOCOLS.len()];
    let (mut next, mut told) = (Instant::now(), Instant::now());
    for number in 0.. {
        // Addresses take turns quickly: what is open for a millisecond is open to some of them only.
        let turn = number as usize;
        let target = &targets[turn % targets.len()];
        let index = turn / targets.len() % PROTOCOLS.len();
        sent[index] += u64::from(target.send(index, number));
        if told.elapsed() >= TELL {
            tell(&json!({ "sent": sent }));
            told = Instant::now();
        }
        next += pace;
        // Behind: a busy machine. What was missed is not made up for in one burst.
        next = next.max(Instant::now() - TELL);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(())
}

/// The first packet of a flow that no other number has, without its checksum.
fn unsolicited(protocol: u8, number: u64) -> Vec<u8> {
    let word = (number as u32).to_be_bytes();
    let source = 1024 + (number % 64_000) as u16;
    let port = PORTS[(number / 29) as usize % PORTS.len()];
    let ports = [source.to_be_bytes(), port.to_be_bytes()].concat();
    let head = match protocol {
        17 => [&ports[..], &[0, 8 + PAYLOAD.len() as u8, 0, 0]].concat(),
        // Sequence number, no acknowledgement, five words, SYN, a window.
        6 => [&ports[..], &word, &[0; 4], &[0x50, 2, 0xff, 0xff, 0, 0, 0, 0]].concat(),
        // Enhanced GRE of PPTP: key and sequence present, version 1, PPP; length, Call ID, sequence.
        47 => [&[0x30, 1, 0x88, 0x0b, 0, PAYLOAD.len() as u8, word[2], word[3]][..], &word].concat(),
        // SPIs below 256 are reserved.
        _ => [&(number as u32).wrapping_add(0x100).to_be_bytes()[..], &word].concat(),
    };
    if protocol == 6 { head } else { [&head[..], PAYLOAD].concat() }
}

/// The internet checksum over the pseudo header and `bytes`, whose own checksum is still zero.
fn checksum(from: IpAddr, to: IpAddr, protocol: u8, bytes: &[u8]) -> u16 {
    let octets = |ip: IpAddr| match ip {
        IpAddr::V4(ip) => ip.octets().to_vec(),
        IpAddr::V6(ip) => ip.octets().to_vec(),
    };
    let length = bytes.len() as u16;
    let pseudo = [octets(from), octets(to), vec![0, protocol], length.to_be_bytes().to_vec()].concat();
    let words = |bytes: &[u8]| -> u32 {
        let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
        bytes.chunks(2).map(word).sum()
    };
    let mut sum = words(&pseudo) + words(bytes);
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_with_its_checksum_sums_to_nothing() {
        let (from, to): (IpAddr, IpAddr) = ([203, 0, 113, 66].into(), [192, 168, 1, 101].into());
        for (protocol, at) in [(17, 6), (6, 16)] {
            let mut packet = unsolicited(protocol, 12_345);
            let sum = checksum(from, to, protocol, &packet);
            packet[at..at + 2].copy_from_slice(&sum.to_be_bytes());
            assert_eq!(checksum(from, to, protocol, &packet), 0, "protocol {protocol}");
        }
    }

    #[test]
    fn neighbours_in_the_hail_are_different_flows() {
        for protocol in PROTOCOLS {
            let packets = (0..400).map(|number| unsolicited(protocol, number * 4));
            let flows: std::collections::BTreeSet<Vec<u8>> = packets.map(|p| p[..8].to_vec()).collect();
            assert_eq!(flows.len(), 400, "protocol {protocol}");
        }
    }
}
