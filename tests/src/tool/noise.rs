//! `postern-lab noise`: packets of chance, of every protocol and both families, from anybody.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, UdpSocket};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use lexopt::prelude::*;
use rustix::net::{AddressFamily, Protocol, SocketType, socket};
use serde_json::json;

use super::{USAGE, tell};
use crate::random::Random;

/// How often it tells how much it has sent.
const TELL: Duration = Duration::from_millis(20);
/// What routers know, each as often as it stands here: half of all packets.
const KNOWN: [u8; 24] =
    [1, 1, 2, 4, 6, 6, 6, 6, 17, 17, 17, 17, 33, 41, 47, 47, 50, 50, 51, 58, 115, 132, 132, 136];
/// Ports that mean something here.
const PORTS: [u16; 14] = [22, 53, 67, 80, 443, 500, 546, 1701, 1723, 4500, 5060, 8080, 20_000, 51_820];
const TCP: u8 = 6;
const UDP: u8 = 17;

/// Arguments: COUNT SEED OWN-IPV6 ADDRESS... and `--hz N`. Of IPv4 the sources are of chance too; of IPv6 it is the sender's own.
pub(super) fn noise(words: &mut lexopt::Parser) -> std::result::Result<(), lexopt::Error> {
    let (mut hz, mut rest) = (20_000_u32, Vec::new());
    while let Some(word) = words.next()? {
        match word {
            Long("hz") => hz = words.value()?.parse::<u32>()?.max(1),
            Value(text) => rest.push(text.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let [count, seed, own, targets @ ..] = &rest[..] else { return Err(USAGE.into()) };
    let wrong = |_| lexopt::Error::from(USAGE);
    let (count, seed): (u64, u64) = (count.parse().map_err(|_| USAGE)?, seed.parse().map_err(|_| USAGE)?);
    let own: Ipv6Addr = own.parse().map_err(wrong)?;
    let targets: Vec<IpAddr> =
        targets.iter().map(|to| to.parse()).collect::<std::result::Result<_, _>>().map_err(wrong)?;
    if targets.is_empty() {
        return Err(USAGE.into());
    }
    Ok(send(count, &mut Random::from(seed), own, &targets, hz).map_err(|error| error.to_string())?)
}

fn raw(family: AddressFamily, protocol: u8) -> Result<UdpSocket> {
    let protocol = NonZeroU32::new(protocol.into()).map(Protocol::from_raw).ok_or(ErrorKind::InvalidInput)?;
    Ok(UdpSocket::from(socket(family, SocketType::RAW, Some(protocol))?))
}

fn send(count: u64, random: &mut Random, own: Ipv6Addr, targets: &[IpAddr], hz: u32) -> Result<()> {
    // With protocol 255 the header is ours (raw(7)); IPv6's is the kernel's, one socket for each protocol.
    let ipv4 = raw(AddressFamily::INET, 255)?;
    let mut ipv6: BTreeMap<u8, UdpSocket> = BTreeMap::new();
    let pace = Duration::from_secs(1) / hz;
    let (mut sent, mut unsent) = (0_u64, 0_u64);
    let (mut next, mut told) = (Instant::now(), Instant::now());
    for _ in 0..count {
        let done = match targets[index(random, targets.len())] {
            IpAddr::V4(to) => ipv4.send_to(&packet(random, to), (to, 0)),
            IpAddr::V6(to) => {
                let protocol = protocol(random).max(1);
                let inside = content(random, protocol, &[&own.octets()[..], &to.octets()].concat());
                if let std::collections::btree_map::Entry::Vacant(place) = ipv6.entry(protocol) {
                    place.insert(raw(AddressFamily::INET6, protocol)?);
                }
                ipv6[&protocol].send_to(&inside, (to, 0))
            }
        };
        match done {
            Ok(_) => sent += 1,
            Err(_) => unsent += 1,
        }
        if told.elapsed() >= TELL {
            tell(&json!({ "sent": sent, "unsent": unsent }));
            told = Instant::now();
        }
        next = (next + pace).max(Instant::now() - TELL);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    tell(&json!({ "sent": sent, "unsent": unsent, "done": true }));
    Ok(())
}

fn index(random: &mut Random, length: usize) -> usize {
    usize::try_from(random.below(length as u64)).unwrap_or_default()
}

fn byte(random: &mut Random) -> u8 {
    u8::try_from(random.below(256)).unwrap_or_default()
}

fn protocol(random: &mut Random) -> u8 {
    if random.below(2) == 0 { KNOWN[index(random, KNOWN.len())] } else { byte(random) }
}

/// IPv4 with its header, whose checksum and length the kernel fills in.
fn packet(random: &mut Random, to: Ipv4Addr) -> Vec<u8> {
    let protocol = protocol(random);
    let [a, b, c, d] = [0; 4].map(|_| byte(random));
    // Somebody near, of the home, private, of the router itself, or anybody.
    let from = match random.below(8) {
        0 => [203, 0, 113, d],
        1 => [192, 168, 1, d],
        2 => [10, b, c, d],
        3 => [198, 51, 100, d],
        _ => [a.clamp(1, 223), b, c, d],
    };
    let inside = content(random, protocol, &[from, to.octets()].concat());
    let mut bytes = vec![0x45, byte(random), 0, 0, byte(random), byte(random), 0, 0];
    if random.below(16) == 0 {
        bytes[6] = byte(random) & 0x3f;
        bytes[7] = byte(random);
    }
    bytes.extend([byte(random).max(3), protocol, 0, 0]);
    bytes.extend(from);
    bytes.extend(to.octets());
    bytes.extend(inside);
    bytes
}

/// What the packet carries: of chance, and of TCP, UDP and ICMP mostly what a receiver would take.
fn content(random: &mut Random, protocol: u8, addresses: &[u8]) -> Vec<u8> {
    let length = index(random, 100);
    let mut bytes: Vec<u8> = (0..length).map(|_| byte(random)).collect();
    if random.below(4) == 0 {
        return bytes;
    }
    let mut port = |at: usize, bytes: &mut Vec<u8>| {
        if random.below(2) == 0
            && let Some(place) = bytes.get_mut(at..at + 2)
        {
            place.copy_from_slice(&PORTS[index(random, PORTS.len())].to_be_bytes());
        }
    };
    let sum_at = match protocol {
        TCP if length >= 20 => {
            port(2, &mut bytes);
            bytes[12] = 0x50;
            if bytes[13] & 1 == 0 {
                bytes[13] = 0x02;
            }
            16
        }
        UDP if length >= 8 => {
            port(0, &mut bytes);
            port(2, &mut bytes);
            bytes[4..6].copy_from_slice(&u16::try_from(length).unwrap_or_default().to_be_bytes());
            6
        }
        1 if length >= 8 => {
            bytes[0] = [8, 0, 3, 5, 11, 13][usize::from(bytes[0]) % 6];
            2
        }
        _ => return bytes,
    };
    bytes[sum_at..sum_at + 2].fill(0);
    let pseudo = match protocol {
        1 => 0,
        _ => words(addresses) + u32::from(protocol) + u32::try_from(length).unwrap_or_default(),
    };
    let mut sum = words(&bytes) + pseudo;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    bytes[sum_at..sum_at + 2].copy_from_slice(&(!u16::try_from(sum).unwrap_or_default()).to_be_bytes());
    bytes
}

/// RFC 1071.
fn words(bytes: &[u8]) -> u32 {
    bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_protocol_comes_and_most_of_udp_has_a_checksum_that_sums_to_zero() {
        let mut random = Random::from(7);
        let to = Ipv4Addr::new(198, 51, 100, 2);
        let all: Vec<Vec<u8>> = (0..20_000).map(|_| packet(&mut random, to)).collect();
        let protocols: std::collections::BTreeSet<u8> = all.iter().map(|one| one[9]).collect();
        assert_eq!(protocols.len(), 256);
        let udp: Vec<&Vec<u8>> = all.iter().filter(|one| one[9] == UDP && one.len() >= 28).collect();
        let right = |one: &&&Vec<u8>| {
            let length = u32::try_from(one.len() - 20).unwrap();
            (words(&one[12..]) + u32::from(UDP) + length).is_multiple_of(0xffff)
        };
        let right = udp.iter().filter(right).count();
        assert!(right > udp.len() / 2, "{right} of {}", udp.len());
    }
}
