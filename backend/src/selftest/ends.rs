//! The two ends of the experiments: waiting for a packet on a socket, and packets that say whose they are.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// What comes at all comes within microseconds; a busy box may take longer.
pub(super) const SOON: Duration = Duration::from_secs(2);
/// Longest packet of ours with its IP header.
const LONGEST: usize = 512;
const MARK: &[u8] = b"postern self-test ";

/// A payload that says what it is.
pub(super) fn payload(name: &str) -> Vec<u8> {
    [MARK, name.as_bytes(), b";"].concat()
}

/// Whether a packet carries that payload.
pub(super) fn carries(packet: &[u8], name: &str) -> bool {
    let wanted = payload(name);
    packet.windows(wanted.len()).any(|part| part == wanted)
}

/// A packet without its IPv4 header, as raw sockets give it (raw(7)).
pub(super) fn body(packet: &[u8]) -> &[u8] {
    let length = packet.first().map_or(0, |first| usize::from(first & 15) * 4);
    packet.get(length..).unwrap_or_default()
}

/// The first packet of which `wanted` makes something, within `limit`; others are passed over.
pub(super) fn hear<T>(
    socket: &UdpSocket,
    limit: Duration,
    mut wanted: impl FnMut(&[u8], SocketAddr) -> Option<T>,
) -> Option<T> {
    let end = Instant::now() + limit;
    loop {
        let mut bytes = [0; LONGEST];
        while let Some((length, from)) = waiting(socket, &mut bytes) {
            if let Some(found) = wanted(bytes.get(..length).unwrap_or_default(), from) {
                return Some(found);
            }
        }
        let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        readable(socket, left);
    }
}

/// Who sent the payload `name`, if it comes within `limit`.
pub(super) fn sender(socket: &UdpSocket, name: &str, limit: Duration) -> Option<SocketAddr> {
    hear(socket, limit, |packet, from| carries(packet, name).then_some(from))
}

/// A packet that is there already.
fn waiting(socket: &UdpSocket, bytes: &mut [u8]) -> Option<(usize, SocketAddr)> {
    loop {
        socket.set_nonblocking(true).ok()?;
        match socket.recv_from(bytes) {
            Ok(packet) => return Some(packet),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            // An ICMP error about what was sent before.
            Err(e) if e.kind() == io::ErrorKind::ConnectionRefused => {}
            Err(_) => return None,
        }
    }
}

fn readable(socket: &impl std::os::fd::AsFd, limit: Duration) {
    // At most a second at a time: the caller looks at the clock.
    let second = Timespec { tv_sec: 1, tv_nsec: 0 };
    let limit = Timespec::try_from(limit.min(Duration::from_secs(1))).unwrap_or(second);
    let _ = poll(&mut [PollFd::new(socket, PollFlags::IN)], Some(&limit));
}

/// The next connection, with who called.
pub(super) fn accept(listener: &TcpListener, limit: Duration) -> Option<(TcpStream, SocketAddr)> {
    listener.set_nonblocking(true).ok()?;
    let end = Instant::now() + limit;
    loop {
        if let Ok((stream, from)) = listener.accept() {
            stream.set_nonblocking(false).ok()?;
            return Some((stream, from));
        }
        let left = end.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())?;
        readable(listener, left);
    }
}

/// Sends `bytes` over one end of a connection; whether the other end received them.
pub(super) fn reaches(from: &mut TcpStream, to: &mut TcpStream, bytes: &[u8], limit: Duration) -> bool {
    let mut received = vec![0; bytes.len()];
    let sent = from.write_all(bytes).is_ok() && to.set_read_timeout(Some(limit)).is_ok();
    sent && to.read_exact(&mut received).is_ok() && received == bytes
}
