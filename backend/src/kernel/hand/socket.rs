//! The sockets that a hand opens.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::OwnedFd;

use rustix::net::{
    AddressFamily, Protocol, SocketFlags, SocketType, bind, ipproto, listen, socket_with, sockopt,
};
use serde::{Deserialize, Serialize};

/// Connections of a visitor that may wait to be accepted.
const BACKLOG: i32 = 128;

/// A socket of a kind that this product uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Socket {
    /// Listens for visitors of the admin page at this address; below port 1024 that needs CAP_NET_BIND_SERVICE.
    Pages(SocketAddr),
    /// Raw ICMP, for ping and trace; needs CAP_NET_RAW.
    Icmp,
    /// Raw ICMPv6, for those and for router solicitations; needs CAP_NET_RAW.
    Icmp6,
    /// UDP over IPv4 from a port of the kernel's choice.
    Udp,
    /// UDP over IPv6 from a port of the kernel's choice.
    Udp6,
}

impl Socket {
    /// UDP to whoever has such an address.
    pub fn udp(to: SocketAddr) -> Self {
        if to.is_ipv4() { Self::Udp } else { Self::Udp6 }
    }

    /// Opens it: non-blocking, closed at exec.
    pub(super) fn open(&self) -> io::Result<OwnedFd> {
        match self {
            Self::Pages(at) => pages(*at),
            Self::Icmp => new(AddressFamily::INET, SocketType::RAW, Some(ipproto::ICMP)),
            Self::Icmp6 => new(AddressFamily::INET6, SocketType::RAW, Some(ipproto::ICMPV6)),
            Self::Udp => udp(SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0))),
            Self::Udp6 => udp(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))),
        }
    }
}

fn pages(at: SocketAddr) -> io::Result<OwnedFd> {
    let socket = new(family(at), SocketType::STREAM, None)?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    // The web process may still hold the socket of a daemon that has gone; both serve until it takes ours. The kernel
    // allows that to sockets of the same user only.
    sockopt::set_socket_reuseport(&socket, true)?;
    if at.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    bind(&socket, &at)?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

fn udp(local: SocketAddr) -> io::Result<OwnedFd> {
    let socket = new(family(local), SocketType::DGRAM, None)?;
    bind(&socket, &local)?;
    Ok(socket)
}

fn new(family: AddressFamily, kind: SocketType, protocol: Option<Protocol>) -> io::Result<OwnedFd> {
    Ok(socket_with(family, kind, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK, protocol)?)
}

fn family(of: SocketAddr) -> AddressFamily {
    if of.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}
