//! What the traffic programs send: one kind per VPN protocol, each packet numbered.

use std::fmt;
use std::io::{Error, ErrorKind, Result};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, UdpSocket};
use std::num::NonZeroU32;
use std::str::FromStr;
use std::time::Duration;

use rustix::net::sockopt::set_ipv6_v6only;
use rustix::net::{AddressFamily, Protocol, SocketType, bind, socket};

/// What is sent: UDP or TCP to a port, or an IP protocol of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// UDP to this port.
    Udp(u16),
    /// TCP to this port.
    Tcp(u16),
    /// IP packets with this protocol number: 47 GRE, 50 ESP, 51 AH, 115 L2TPv3.
    Ip(u8),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Udp(port) => write!(f, "udp:{port}"),
            Self::Tcp(port) => write!(f, "tcp:{port}"),
            Self::Ip(protocol) => write!(f, "ip:{protocol}"),
        }
    }
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let wrong = || format!("`{text}` is not udp:PORT, tcp:PORT or ip:NUMBER");
        let (name, number) = text.split_once(':').ok_or_else(wrong)?;
        match name {
            "udp" => number.parse().map(Self::Udp).map_err(|_| wrong()),
            "tcp" => number.parse().map(Self::Tcp).map_err(|_| wrong()),
            "ip" => number.parse().map(Self::Ip).map_err(|_| wrong()),
            _ => Err(wrong()),
        }
    }
}

/// Length of our part of every packet.
pub(crate) const FRAME: usize = 64;
const MARK: &[u8; 8] = b"postlab1";

/// One packet of `kind`. `tag` differs between two senders: it is the SPI, the Call ID, the initiator cookie.
pub(crate) fn frame(kind: Kind, tag: u64, sequence: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(FRAME + 24);
    let spi = (u32::try_from(tag >> 32).unwrap_or_default() | 0x0100_0000).to_be_bytes();
    let counter = u32::try_from(sequence & 0xffff_ffff).unwrap_or_default().to_be_bytes();
    match kind {
        Kind::Ip(50) => {
            bytes.extend(spi);
            bytes.extend(counter);
        }
        // Next header IPv4, five words, SPI, sequence, 96 bits of integrity value.
        Kind::Ip(51) => {
            bytes.extend([4, 4, 0, 0]);
            bytes.extend(spi);
            bytes.extend(counter);
            bytes.extend([0; 12]);
        }
        // Enhanced GRE of PPTP: key and sequence present, version 1, PPP; length, Call ID, sequence.
        Kind::Ip(47) => {
            bytes.extend([0x30, 0x01, 0x88, 0x0b, 0, 64, spi[2], spi[3]]);
            bytes.extend(counter);
        }
        Kind::Ip(_) => bytes.extend(spi),
        Kind::Udp(_) | Kind::Tcp(_) => {}
    }
    let end = bytes.len() + FRAME;
    bytes.extend((tag | 1 << 56).to_be_bytes());
    bytes.extend(MARK);
    bytes.extend(sequence.to_be_bytes());
    bytes.resize(end, b'.');
    bytes
}

/// The number in a packet of ours, wherever it begins in `bytes`; with the sender's tag.
pub(crate) fn read(bytes: &[u8]) -> Option<(u64, u64)> {
    let at = bytes.windows(MARK.len()).position(|part| part == MARK)?;
    let tag = bytes.get(at.checked_sub(8)?..at)?.try_into().ok()?;
    let sequence = bytes.get(at + MARK.len()..at + MARK.len() + 8)?.try_into().ok()?;
    Some((u64::from_be_bytes(tag) & !(1 << 56), u64::from_be_bytes(sequence)))
}

/// Our packet out of what a raw IPv4 socket delivers with its IP header.
pub(crate) fn without_header(bytes: &[u8], raw_ipv4: bool) -> &[u8] {
    let length = bytes.first().map_or(0, |first| usize::from(first & 15) * 4);
    if raw_ipv4 { bytes.get(length..).unwrap_or_default() } else { bytes }
}

/// A datagram socket for `kind` bound to the unspecified address: UDP, or raw IP (std's socket type serves both).
pub(crate) fn datagram(kind: Kind, ipv6: bool, port: u16) -> Result<UdpSocket> {
    let any = if ipv6 { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { IpAddr::V4(Ipv4Addr::UNSPECIFIED) };
    match kind {
        Kind::Udp(_) => UdpSocket::bind((any, port)),
        Kind::Ip(number) => {
            let family = if ipv6 { AddressFamily::INET6 } else { AddressFamily::INET };
            let protocol = NonZeroU32::new(number.into()).map(Protocol::from_raw);
            Ok(UdpSocket::from(socket(family, SocketType::RAW, protocol)?))
        }
        Kind::Tcp(_) => Err(Error::from(ErrorKind::Unsupported)),
    }
}

/// A UDP socket that leaves the same port free for IPv4.
fn only_ipv6(port: u16) -> Result<UdpSocket> {
    let socket = socket(AddressFamily::INET6, SocketType::DGRAM, None)?;
    set_ipv6_v6only(&socket, true)?;
    bind(&socket, &SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)))?;
    Ok(UdpSocket::from(socket))
}

/// Where packets of `kind` for `server` go. Raw sockets take no port.
pub(crate) fn target(kind: Kind, server: IpAddr) -> SocketAddr {
    match kind {
        Kind::Udp(port) | Kind::Tcp(port) => (server, port).into(),
        Kind::Ip(_) => (server, 0).into(),
    }
}

/// A connection to `server`: what is sent comes back from its echo.
#[derive(Debug)]
pub(crate) enum Line {
    Datagrams(UdpSocket, bool),
    Stream(TcpStream),
}

impl Line {
    /// Opens it; `limit` is for TCP's handshake.
    pub(crate) fn open(kind: Kind, server: IpAddr, limit: Duration) -> Result<Self> {
        let to = target(kind, server);
        if let Kind::Tcp(_) = kind {
            let stream = TcpStream::connect_timeout(&to, limit)?;
            stream.set_nodelay(true)?;
            return Ok(Self::Stream(stream));
        }
        // A VPN client sends IKE from port 500 and L2TP from any port.
        let own = if kind == Kind::Udp(500) { 500 } else { 0 };
        let socket = match (kind, server) {
            (Kind::Udp(_), IpAddr::V6(_)) => only_ipv6(own)?,
            _ => datagram(kind, server.is_ipv6(), own)?,
        };
        // Connected: then the kernel tells us the ICMP errors that come back.
        socket.connect(to)?;
        Ok(Self::Datagrams(socket, matches!(kind, Kind::Ip(_)) && server.is_ipv4()))
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Datagrams(socket, _) => socket.send(bytes).map(drop),
            Self::Stream(stream) => std::io::Write::write_all(stream, bytes),
        }
    }

    /// Waits up to `limit` for the next packet of ours; none when nothing came.
    pub(crate) fn receive(&mut self, limit: Duration) -> Result<Option<(u64, u64)>> {
        let mut bytes = [0; 2048];
        let limit = Some(limit.max(Duration::from_millis(1)));
        let read = match self {
            Self::Datagrams(socket, raw_ipv4) => {
                socket.set_read_timeout(limit)?;
                socket.recv(&mut bytes).map(|n| read(without_header(&bytes[..n], *raw_ipv4)))
            }
            Self::Stream(stream) => {
                stream.set_read_timeout(limit)?;
                std::io::Read::read_exact(stream, &mut bytes[..FRAME]).map(|()| read(&bytes[..FRAME]))
            }
        };
        match read {
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => Ok(None),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_packet_of_every_kind_gives_back_its_number_and_sender() {
        for kind in [Kind::Udp(500), Kind::Tcp(1723), Kind::Ip(47), Kind::Ip(50), Kind::Ip(51), Kind::Ip(115)]
        {
            assert_eq!(read(&frame(kind, 77, 5)), Some((77, 5)), "{kind}");
        }
        assert_eq!(read(b"anything else"), None);
    }

    #[test]
    fn kinds_read_what_they_write() {
        for kind in [Kind::Udp(500), Kind::Tcp(1723), Kind::Ip(47)] {
            assert_eq!(kind.to_string().parse(), Ok(kind));
        }
        assert!("ip:256".parse::<Kind>().is_err());
    }
}
