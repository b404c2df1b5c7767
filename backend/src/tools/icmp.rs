//! Echo requests (RFC 792, RFC 4443) with a hop limit, and who answered: on a raw socket, because only that also hears the
//! routers on the way. What comes is foreign and may be forged or cut off; it is matched by our number and by the packet of
//! ours that an error quotes.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover, set_ip_ttl, set_ipv6_unicast_hops};
use rustix::net::{RecvFlags, SendFlags, recvfrom, sendto};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::{Instant, timeout_at};

use crate::kernel::hand;

/// Bytes after the header of an echo request, as ping(8) sends.
const PAYLOAD: usize = 56;
/// Bytes of an IPv4 header without options and of an echo request's.
pub(super) const HEADERS: usize = 28;
/// The hop limit of a ping, as Linux has it for everything.
const FAR: u8 = 64;
/// Longest packet we read; an echo reply has 92 bytes and a header, an error at most 576 or 1280.
const BUFFER: usize = 2048;

/// What answered a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Heard {
    /// Who.
    pub(super) from: IpAddr,
    /// It was the target, and answered.
    pub(super) reached: bool,
    /// Why it goes no farther; none: it was reached, or the hops were used up.
    pub(super) why: Option<String>,
    /// IPv4: it was too big, and the next way carries so many bytes; 0: who says so does not say how many (RFC 1191 section 4).
    pub(super) too_big: Option<u16>,
    /// How long it took.
    pub(super) after: Duration,
}

/// A socket that asks one target.
#[derive(Debug)]
pub(super) struct Prober {
    fd: AsyncFd<OwnedFd>,
    target: IpAddr,
    id: u16,
    sent: Mutex<BTreeMap<u16, Instant>>,
}

/// The first of them that the kernel has a way to; nothing is sent.
pub(super) async fn first_with_route(addresses: &[IpAddr]) -> Option<IpAddr> {
    for address in addresses {
        let to = SocketAddr::new(*address, 9);
        let socket = hand::open(&hand::Socket::udp(to)).await.map(UdpSocket::from);
        if socket.is_ok_and(|socket| socket.connect(to).is_ok()) {
            return Some(*address);
        }
    }
    None
}

/// Sixteen random bits.
pub(super) fn random() -> Result<u16, getrandom::Error> {
    let mut bytes = [0; 2];
    getrandom::fill(&mut bytes)?;
    Ok(u16::from_ne_bytes(bytes))
}

impl Prober {
    /// For `target`; needs CAP_NET_RAW and a runtime of tokio.
    pub(super) async fn new(target: IpAddr) -> io::Result<Self> {
        let kind = if target.is_ipv4() { hand::Socket::Icmp } else { hand::Socket::Icmp6 };
        let fd = hand::open(&kind).await?;
        // Its successor is an unsafe function, for the sake of types that may close their descriptor early: an OwnedFd does not.
        #[expect(deprecated)]
        let fd = AsyncFd::with_interest(fd, Interest::READABLE | Interest::WRITABLE)?;
        let id = random().map_err(io::Error::other)?;
        Ok(Self { fd, target, id, sent: Mutex::default() })
    }

    /// Sends request `number`, which dies after so many hops.
    pub(super) async fn send(&self, number: u16, hops: Option<u8>) -> io::Result<()> {
        self.send_packet(number, hops, &request(self.target, self.id, number, PAYLOAD)).await
    }

    /// Sends request `number` over IPv4 as a packet of so many bytes, 28 at least. `whole`: nobody may cut it (DF), and what the
    /// kernel has learnt of the way is ignored (ip(7), `IP_PMTUDISC_PROBE`); else everybody may.
    pub(super) async fn send_sized(&self, number: u16, bytes: usize, whole: bool) -> io::Result<()> {
        let how = if whole { Ipv4PathMtuDiscovery::PROBE } else { Ipv4PathMtuDiscovery::DONT };
        set_ip_mtu_discover(&self.fd, how)?;
        let packet = request(self.target, self.id, number, bytes.saturating_sub(HEADERS));
        self.send_packet(number, None, &packet).await
    }

    async fn send_packet(&self, number: u16, hops: Option<u8>, packet: &[u8]) -> io::Result<()> {
        let to = SocketAddr::new(self.target, 0);
        let send = |fd: &OwnedFd| {
            match self.target {
                IpAddr::V4(_) => set_ip_ttl(fd, hops.unwrap_or(FAR).into())?,
                IpAddr::V6(_) => set_ipv6_unicast_hops(fd, Some(hops.unwrap_or(FAR)))?,
            }
            Ok(sendto(fd, packet, SendFlags::empty(), &to)?)
        };
        self.sent.lock().unwrap_or_else(PoisonError::into_inner).insert(number, Instant::now());
        match self.fd.async_io(Interest::WRITABLE, send).await {
            // An error that came for an earlier request may be told by the next call (ip(7)): that is not about this one.
            Err(error)
                if error.kind() == io::ErrorKind::HostUnreachable
                    || Errno::from_io_error(&error) == Some(Errno::MSGSIZE) =>
            {
                self.fd.async_io(Interest::WRITABLE, send).await.map(drop)
            }
            done => done.map(drop),
        }
    }

    /// What answers request `number` within `time`.
    pub(super) async fn answer(&self, number: u16, time: Duration) -> Option<Heard> {
        let until = Instant::now() + time;
        loop {
            match self.next(until).await {
                Some((of, heard)) if of == number => return Some(heard),
                Some(_) => {}
                None => return None,
            }
        }
    }

    /// The next answer to any request; none: nothing came until then.
    pub(super) async fn next(&self, until: Instant) -> Option<(u16, Heard)> {
        let mut buffer = [0; BUFFER];
        loop {
            let receive = |fd: &OwnedFd| Ok(recvfrom(fd, &mut buffer[..], RecvFlags::empty())?);
            let (length, from) = match timeout_at(until, self.fd.async_io(Interest::READABLE, receive)).await
            {
                Ok(Ok((_, length, Some(from)))) => (length, from),
                Ok(Ok(_)) => continue,
                // Told here too (above); what it is about is in the packets.
                Ok(Err(_)) => {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                    if Instant::now() >= until {
                        return None;
                    }
                    continue;
                }
                Err(_) => return None,
            };
            let Ok(from) = SocketAddr::try_from(from) else { continue };
            let Some(bytes) = buffer.get(..length) else { continue };
            let Some(message) = read(bytes, self.target, from.ip(), self.id) else { continue };
            let sent = self.sent.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(sent) = sent.get(&message.number) else { continue };
            let (from, after) = (from.ip(), sent.elapsed());
            let About { number, reached, why, too_big } = message;
            return Some((number, Heard { from, reached, why, too_big, after }));
        }
    }
}

/// An echo request. Its IPv6 checksum is the kernel's (RFC 3542 section 3.1).
fn request(target: IpAddr, id: u16, number: u16, payload: usize) -> Vec<u8> {
    let kind = if target.is_ipv4() { ECHO_REQUEST } else { ECHO_REQUEST_6 };
    let mut packet = vec![kind, 0, 0, 0];
    packet.extend(id.to_be_bytes());
    packet.extend(number.to_be_bytes());
    packet.extend(std::iter::repeat_n(0x50, payload));
    if target.is_ipv4() {
        let sum = checksum(&packet).to_be_bytes();
        packet[2..4].copy_from_slice(&sum);
    }
    packet
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let words = bytes.chunks(2).map(|pair| u32::from(pair[0]) << 8 | u32::from(*pair.get(1).unwrap_or(&0)));
    let mut sum: u32 = words.sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !(sum as u16)
}

const ECHO_REPLY: u8 = 0;
const UNREACHABLE: u8 = 3;
const ECHO_REQUEST: u8 = 8;
const TIME_EXCEEDED: u8 = 11;
const UNREACHABLE_6: u8 = 1;
const TIME_EXCEEDED_6: u8 = 3;
const ECHO_REQUEST_6: u8 = 128;
const ECHO_REPLY_6: u8 = 129;

/// A message about one of our requests.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct About {
    number: u16,
    reached: bool,
    why: Option<String>,
    too_big: Option<u16>,
}

/// What a packet says about request `id` to `target`; none: nothing, or it is cut off.
pub(super) fn read(packet: &[u8], target: IpAddr, from: IpAddr, id: u16) -> Option<About> {
    let (message, v4) = match target {
        IpAddr::V4(_) => (past_header(packet)?, true),
        IpAddr::V6(_) => (packet, false),
    };
    let (kind, code) = (*message.first()?, *message.get(1)?);
    let number = |echo: &[u8], wanted: u8| {
        let word = |at: usize| Some(u16::from_be_bytes([*echo.get(at)?, *echo.get(at + 1)?]));
        (echo.first() == Some(&wanted) && word(4)? == id).then(|| word(6))?
    };
    match (v4, kind) {
        (true, ECHO_REPLY) | (false, ECHO_REPLY_6) if from == target => {
            Some(About { number: number(message, kind)?, reached: true, why: None, too_big: None })
        }
        (true, UNREACHABLE | TIME_EXCEEDED) => {
            let quoted = message.get(8..)?;
            let to = Ipv4Addr::from(<[u8; 4]>::try_from(quoted.get(16..20)?).ok()?);
            if quoted.get(9) != Some(&1) || IpAddr::V4(to) != target {
                return None;
            }
            let number = number(past_header(quoted)?, ECHO_REQUEST)?;
            let why = (kind == UNREACHABLE).then(|| unreachable(code));
            // RFC 1191 section 4: the next hop's MTU, in what was unused before.
            let too_big = (kind == UNREACHABLE && code == 4)
                .then(|| Some(u16::from_be_bytes([*message.get(6)?, *message.get(7)?])));
            Some(About { number, reached: false, why, too_big: too_big.flatten() })
        }
        (false, UNREACHABLE_6 | TIME_EXCEEDED_6) => {
            let quoted = message.get(8..)?;
            let to = Ipv6Addr::from(<[u8; 16]>::try_from(quoted.get(24..40)?).ok()?);
            if quoted.get(6) != Some(&58) || IpAddr::V6(to) != target {
                return None;
            }
            let number = number(quoted.get(40..)?, ECHO_REQUEST_6)?;
            let why = (kind == UNREACHABLE_6).then(|| unreachable_6(code));
            Some(About { number, reached: false, why, too_big: None })
        }
        _ => None,
    }
}

/// What an IPv4 packet carries.
fn past_header(packet: &[u8]) -> Option<&[u8]> {
    packet.get(usize::from(packet.first()? & 15) * 4..)
}

/// RFC 792, RFC 1812 section 5.2.7.1.
fn unreachable(code: u8) -> String {
    match code {
        0 | 6 => "it knows no way there",
        1 | 7 => "the host does not answer in its network",
        2 => "the host does not know ICMP",
        4 => "the packet is too big",
        9 | 10 | 13 => "its rules forbid it",
        _ => return format!("it cannot be reached (code {code})"),
    }
    .to_owned()
}

/// RFC 4443 section 3.1.
fn unreachable_6(code: u8) -> String {
    match code {
        0 | 6 => "it knows no way there",
        1 | 5 => "its rules forbid it",
        3 => "the host does not answer in its network",
        _ => return format!("it cannot be reached (code {code})"),
    }
    .to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(203, 0, 113, 10));
    const HOP: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

    fn header(protocol: u8, to: [u8; 4]) -> Vec<u8> {
        let mut header = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 1, protocol, 0, 0, 192, 168, 1, 1];
        header.extend(to);
        header
    }

    fn error(kind: u8, code: u8, quoted: &[u8]) -> Vec<u8> {
        let mut packet = header(1, [192, 168, 1, 1]);
        packet.extend([kind, code, 0, 0, 0, 0, 0, 0]);
        packet.extend(quoted);
        packet
    }

    fn quoted(id: u16, number: u16) -> Vec<u8> {
        let mut quoted = header(1, [203, 0, 113, 10]);
        quoted.extend(&request(SERVER, id, number, PAYLOAD)[..8]);
        quoted
    }

    #[test]
    fn the_target_answers_for_itself() {
        let mut reply = header(1, [192, 168, 1, 1]);
        let mut echo = request(SERVER, 500, 3, PAYLOAD);
        assert_eq!(checksum(&echo), 0, "its own sum makes it whole");
        echo[0] = ECHO_REPLY;
        reply.extend(echo);
        let about = read(&reply, SERVER, SERVER, 500);
        assert_eq!(about, Some(About { number: 3, reached: true, why: None, too_big: None }));
        assert_eq!(read(&reply, SERVER, HOP, 500), None, "somebody else");
        assert_eq!(read(&reply, SERVER, SERVER, 501), None, "another program's");
    }

    #[test]
    fn routers_are_believed_about_our_own_packets_only() {
        let about = |number, why: Option<&str>| {
            let why = why.map(str::to_owned);
            About { number, reached: false, why, too_big: None }
        };
        let packet = error(TIME_EXCEEDED, 0, &quoted(500, 4));
        assert_eq!(read(&packet, SERVER, HOP, 500), Some(about(4, None)));
        let packet = error(UNREACHABLE, 13, &quoted(500, 5));
        assert_eq!(read(&packet, SERVER, HOP, 500), Some(about(5, Some("its rules forbid it"))));
        let mut too_big = error(UNREACHABLE, 4, &quoted(500, 6));
        too_big[26..28].copy_from_slice(&1400_u16.to_be_bytes());
        assert_eq!(read(&too_big, SERVER, HOP, 500).and_then(|about| about.too_big), Some(1400));
        assert_eq!(read(&error(TIME_EXCEEDED, 0, &quoted(501, 4)), SERVER, HOP, 500), None);
        let other: IpAddr = [203, 0, 113, 20].into();
        assert_eq!(read(&error(TIME_EXCEEDED, 0, &quoted(500, 4)), other, HOP, 500), None);
        let mut udp = quoted(500, 4);
        udp[9] = 17;
        assert_eq!(read(&error(TIME_EXCEEDED, 0, &udp), SERVER, HOP, 500), None);
    }

    #[test]
    fn the_same_over_ipv6() {
        let target: IpAddr = "2001:db8::10".parse().unwrap();
        let hop: IpAddr = "2001:db8:1::1".parse().unwrap();
        let mut echo = request(target, 9, 2, PAYLOAD);
        let mut error = vec![TIME_EXCEEDED_6, 0, 0, 0, 0, 0, 0, 0, 0x60, 0, 0, 0, 0, 64, 58, 1];
        error.extend([0; 16]);
        error.extend("2001:db8::10".parse::<Ipv6Addr>().unwrap().octets());
        error.extend(&echo);
        assert_eq!(read(&error, target, hop, 9).map(|a| (a.number, a.reached)), Some((2, false)));
        echo[0] = ECHO_REPLY_6;
        assert_eq!(read(&echo, target, target, 9).map(|a| (a.number, a.reached)), Some((2, true)));
    }

    #[test]
    fn damaged_packets_do_no_harm() {
        for whole in [error(UNREACHABLE, 1, &quoted(500, 4)), error(TIME_EXCEEDED, 0, &quoted(500, 4))] {
            for length in 0..whole.len() {
                let _ = read(&whole[..length], SERVER, HOP, 500);
                let _ = read(&whole[..length], "2001:db8::10".parse().unwrap(), HOP, 500);
                for byte in [0, 1, 0x0f, 0x4f, 0xff] {
                    let mut odd = whole.clone();
                    odd[length] = byte;
                    let _ = read(&odd, SERVER, HOP, 500);
                }
            }
        }
    }
}
