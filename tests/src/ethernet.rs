//! Whole Ethernet frames for the packet bench: 64 bytes, IPv4, UDP or TCP, with right checksums.

use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::topology::address;

/// The smallest Ethernet frame, without its check sequence (which a veth does not have).
pub(crate) const LENGTH: usize = 64;
const IP: usize = 14;
const TRANSPORT: usize = IP + 20;
/// Hardware addresses of the router's ports, as the topology gives them.
const LAN: [u8; 6] = [2, 0, 0, 0, 0, 1];
const WAN: [u8; 6] = [2, 0, 0, 0, 0, 2];
const HOST: [u8; 6] = [2, 0, 0, 0, 1, 1];
const UDP: u8 = 17;
const TCP: u8 = 6;
const SYN: u8 = 0x02;
const ACK: u8 = 0x10;
/// Each address of the home has this many flows: ports 1024 and up.
const PORTS: u32 = 60_000;
const SERVER_PORT_UDP: u16 = 5001;
const SERVER_PORT_TCP: u16 = 443;
/// Sequence numbers that the two ends begin with.
const CLIENT_BEGINS: u32 = 1000;
const SERVER_BEGINS: u32 = 2000;

/// What is said: the three packets after which conntrack calls a flow established.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// The client's first: a datagram or a SYN.
    Ask,
    /// The server's answer, to the router's address: a datagram or a SYN/ACK.
    Answer,
    /// The client's every other: a datagram or ten bytes of a stream, the same ones again and again.
    Go,
    /// The first of somebody on the internet, to [`FORWARDED`] of the router: a datagram or a SYN.
    Knock,
}

/// The port of the router that is led to a device.
pub(crate) const FORWARDED: u16 = 20_000;

impl FromStr for Step {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "ask" => Ok(Self::Ask),
            "answer" => Ok(Self::Answer),
            "go" => Ok(Self::Go),
            "knock" => Ok(Self::Knock),
            _ => Err(format!("`{text}` is not ask, answer, go or knock")),
        }
    }
}

/// One of the home's conversations.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Flow {
    pub(crate) tcp: bool,
    pub(crate) number: u32,
}

/// A frame of `flow` for the router. No two numbers below 15,000,000 share addresses and ports.
pub(crate) fn frame(step: Step, flow: Flow) -> [u8; LENGTH] {
    let inward = matches!(step, Step::Answer | Step::Knock);
    let host = Ipv4Addr::new(192, 168, 1, u8::try_from(flow.number / PORTS % 250).unwrap_or_default() + 2);
    let port = u16::try_from(1024 + flow.number % PORTS).unwrap_or_default();
    let service = if flow.tcp { SERVER_PORT_TCP } else { SERVER_PORT_UDP };
    let server = address("server2");
    // A masquerade keeps the port where it is free.
    let (from, to) = match step {
        Step::Answer => ((server, service), (address("router"), port)),
        Step::Knock => ((server, port), (address("router"), FORWARDED)),
        Step::Ask | Step::Go => ((host, port), (server, service)),
    };
    let mut frame = [0; LENGTH];
    frame[..6].copy_from_slice(if inward { &WAN } else { &LAN });
    frame[6..12].copy_from_slice(&HOST);
    frame[12] = 0x08;
    ip(&mut frame[IP..], if flow.tcp { TCP } else { UDP }, from.0, to.0);
    let transport = &mut frame[TRANSPORT..];
    transport[..2].copy_from_slice(&from.1.to_be_bytes());
    transport[2..4].copy_from_slice(&to.1.to_be_bytes());
    if flow.tcp {
        let (flags, sequence, acknowledged) = match step {
            Step::Ask | Step::Knock => (SYN, CLIENT_BEGINS, 0),
            Step::Answer => (SYN | ACK, SERVER_BEGINS, CLIENT_BEGINS + 1),
            Step::Go => (ACK, CLIENT_BEGINS + 1, SERVER_BEGINS + 1),
        };
        transport[4..8].copy_from_slice(&sequence.to_be_bytes());
        transport[8..12].copy_from_slice(&acknowledged.to_be_bytes());
        transport[12..16].copy_from_slice(&[0x50, flags, 0x20, 0]);
        let sum = transport_sum(&frame);
        frame[TRANSPORT + 16..TRANSPORT + 18].copy_from_slice(&sum.to_be_bytes());
    } else {
        transport[4..6].copy_from_slice(&((LENGTH - TRANSPORT) as u16).to_be_bytes());
        let sum = transport_sum(&frame);
        frame[TRANSPORT + 6..TRANSPORT + 8].copy_from_slice(&sum.to_be_bytes());
    }
    frame
}

/// RFC 791 3.1.
fn ip(header: &mut [u8], protocol: u8, from: Ipv4Addr, to: Ipv4Addr) {
    header[0] = 0x45;
    header[2..4].copy_from_slice(&((LENGTH - IP) as u16).to_be_bytes());
    header[8] = 64;
    header[9] = protocol;
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to.octets());
    let sum = checksum(&header[..20], 0);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
}

/// Checksum with the pseudo header of RFC 768 and RFC 9293 3.1. Conntrack calls a packet with a wrong one invalid.
fn transport_sum(frame: &[u8]) -> u16 {
    let pseudo = u32::from(frame[IP + 9]) + (LENGTH - TRANSPORT) as u32;
    let addresses = words(&frame[IP + 12..TRANSPORT]);
    checksum(&frame[TRANSPORT..], pseudo + addresses)
}

/// RFC 1071.
fn checksum(bytes: &[u8], more: u32) -> u16 {
    let mut sum = words(bytes) + more;
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

fn words(bytes: &[u8]) -> u32 {
    bytes.chunks_exact(2).map(|pair| u32::from(u16::from_be_bytes([pair[0], pair[1]]))).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_has_checksums_that_sum_to_zero() {
        for (step, tcp) in [
            (Step::Ask, true),
            (Step::Answer, true),
            (Step::Go, true),
            (Step::Go, false),
            (Step::Knock, false),
        ] {
            let frame = frame(step, Flow { tcp, number: 61_234 });
            assert_eq!(checksum(&frame[IP..TRANSPORT], 0), 0, "{step:?}");
            assert_eq!(transport_sum(&frame), 0, "{step:?}");
        }
    }

    #[test]
    fn two_flows_never_share_address_and_port() {
        let ends: std::collections::BTreeSet<_> = (59_000..130_000)
            .map(|number| frame(Step::Go, Flow { tcp: false, number })[IP + 12..TRANSPORT + 2].to_vec())
            .collect();
        assert_eq!(ends.len(), 71_000);
    }
}
