//! A cable end in a namespace of the lab that sends and hears whole Ethernet frames.

use std::fs::File;
use std::io::{Error, Result};
use std::net::{Ipv4Addr, UdpSocket};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use rustix::net::{
    AddressFamily, Protocol, RecvFlags, SendFlags, SocketAddrAny, SocketType, recvfrom, sendto, socket,
};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::host::Host;
use crate::wait;

/// A burst of a second at full speed waits in the socket.
const BUFFER: usize = 64 << 20;

/// A packet socket on a host's `eth0`.
#[derive(Debug)]
pub(super) struct Port {
    socket: OwnedFd,
    device: SocketAddrAny,
}

impl Port {
    /// Opens it on `host`, whose subnet's broadcast address is `broadcast`. The calling thread stays in that host's network.
    pub(super) fn open(host: &Host, broadcast: Ipv4Addr) -> Result<Self> {
        let namespace = File::open(host.path(&format!("/run/netns/{}", host.name)))?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        // ETH_P_ALL (linux/if_ether.h) in network order.
        let every = NonZeroU32::new(0x0003_u16.to_be().into()).map(Protocol::from_raw);
        let socket = socket(AddressFamily::PACKET, SocketType::RAW, every)?;
        set_socket_recv_buffer_size_force(&socket, BUFFER)?;
        // The kernel itself tells the address of the device, with a frame that goes through it: so no address is made by hand.
        let caller = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        caller.set_broadcast(true)?;
        caller.send_to(b"postsim", (broadcast, 9))?;
        let mut bytes = [0; 2048];
        let device = wait::until(Duration::from_secs(5), || {
            let (_, length, from) = recvfrom(&socket, &mut bytes[..], RecvFlags::DONTWAIT).ok()?;
            bytes[..length].ends_with(b"postsim").then_some(from).flatten()
        });
        match device {
            Some(device) => Ok(Self { socket, device }),
            None => Err(Error::other("no frame went through the host's device")),
        }
    }

    /// Sends one frame. Lost when the cable's queue is full, as on a real one.
    pub(super) fn send(&self, frame: &[u8]) {
        let _ = sendto(&self.socket, frame, SendFlags::empty(), &self.device);
    }

    /// The next frame that waits, as its length in `bytes`; none: no more for now.
    pub(super) fn receive(&self, bytes: &mut [u8]) -> Option<usize> {
        loop {
            match recvfrom(&self.socket, &mut *bytes, RecvFlags::DONTWAIT) {
                Ok((_, length, _)) => return Some(length),
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        }
    }
}
