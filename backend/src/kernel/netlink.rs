//! Netfilter's netlink: requests out, answers in. One small codec serves conntrack and nftables, which no crate of ours
//! covers; devices, addresses and routes are rtnetlink's (`links.rs`).
//!
//! The format is include/uapi/linux/netlink.h: messages with a 16-byte header, inside them attributes with a 4-byte
//! header, everything padded to 4 bytes. Header fields are in host order. What comes in is checked before it is used:
//! foreign or cut-off bytes end the iteration, they never panic.

use std::io;
use std::time::Duration;

use rustix::fd::OwnedFd;
use rustix::io::{Errno, retry_on_intr};
use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType};
use rustix::net::{bind, recvfrom, sendto, socket_with};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

const NLM_F_REQUEST: u16 = 1;
const NLM_F_ACK: u16 = 4;
const NLM_F_DUMP_INTR: u16 = 0x10;
const NLM_F_DUMP: u16 = 0x300;
const NLM_F_CREATE: u16 = 0x400;

const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// Around the requests of one transaction of nf_tables (include/uapi/linux/netfilter/nfnetlink.h); the header names the
/// subsystem, in network order.
const NFNL_MSG_BATCH_BEGIN: u16 = 16;
const NFNL_MSG_BATCH_END: u16 = 17;
const NFNL_SUBSYS_NFTABLES: u8 = 10;
/// Below this, message kinds belong to netlink itself.
const NLMSG_MIN_TYPE: u16 = 16;

const HEADER: usize = 16;
/// The upper two bits of an attribute's kind are flags (NLA_F_NESTED, NLA_F_NET_BYTEORDER).
const NLA_TYPE_MASK: u16 = 0x3fff;
const NLA_F_NESTED: u16 = 0x8000;

/// The kernel fills at most 32 KiB of an answer at a time (`netlink_dump`, net/netlink/af_netlink.c).
const BUFFER: usize = 64 * 1024;
/// More messages than fit into a socket's buffer, which holds some hundreds.
const MOST_WAITING: usize = 10_000;
/// The kernel answers within the system call that asks; this only keeps a bug from blocking a thread for good.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a list that changed while it was read is read anew.
const TRIES: usize = 20;

/// One request: kind, flags, the fixed header of its family, attributes.
#[derive(Debug, Clone)]
pub(super) struct Request {
    bytes: Vec<u8>,
}

impl Request {
    /// A request that is answered with at most one message.
    pub(super) fn new(kind: u16, header: &[u8]) -> Self {
        Self::with(kind, NLM_F_REQUEST | NLM_F_ACK, header)
    }

    /// A request for a list.
    pub(super) fn list(kind: u16, header: &[u8]) -> Self {
        Self::with(kind, NLM_F_REQUEST | NLM_F_DUMP, header)
    }

    /// Attributes alone, to be put into another one: see [`Self::inside`].
    pub(super) fn part() -> Self {
        Self::with(0, 0, &[])
    }

    /// The attributes of a [`Self::part`].
    pub(super) fn inside(&self) -> Vec<u8> {
        self.bytes.get(HEADER..).unwrap_or_default().to_vec()
    }

    /// May make what is not there.
    pub(super) fn creating(mut self) -> Self {
        self.bytes[6..8].copy_from_slice(&(NLM_F_REQUEST | NLM_F_ACK | NLM_F_CREATE).to_ne_bytes());
        self
    }

    fn with(kind: u16, flags: u16, header: &[u8]) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
        bytes[6..8].copy_from_slice(&flags.to_ne_bytes());
        bytes.extend(header);
        Self { bytes }
    }

    /// Adds an attribute. Values are ours and short; one that does not fit into 16 bits is left out.
    pub(super) fn attribute(mut self, kind: u16, value: &[u8]) -> Self {
        let Ok(length) = u16::try_from(value.len() + 4) else { return self };
        self.bytes.extend(length.to_ne_bytes());
        self.bytes.extend(kind.to_ne_bytes());
        self.bytes.extend(value);
        self.bytes.resize(padded(self.bytes.len()), 0);
        self
    }

    /// Adds an attribute that holds attributes.
    pub(super) fn nested(self, kind: u16, value: &[u8]) -> Self {
        self.attribute(kind | NLA_F_NESTED, value)
    }

    /// Adds an attribute that is a zero-terminated word.
    pub(super) fn word(self, kind: u16, value: &str) -> Self {
        let zero_terminated: Vec<u8> = value.bytes().chain([0]).collect();
        self.attribute(kind, &zero_terminated)
    }

    pub(super) fn sealed(&self, sequence: u32) -> Vec<u8> {
        let mut bytes = self.bytes.clone();
        // Requests are built from a few short attributes: far from 4 GiB.
        let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
        bytes[0..4].copy_from_slice(&length.to_ne_bytes());
        bytes[8..12].copy_from_slice(&sequence.to_ne_bytes());
        bytes
    }
}

/// One message of the kernel.
#[derive(Debug)]
pub(super) struct Message<'a> {
    /// What it is about.
    pub(super) kind: u16,
    /// NLM_F_*.
    pub(super) flags: u16,
    sequence: u32,
    /// The fixed header of its family and its attributes.
    pub(super) payload: &'a [u8],
}

/// The messages in `bytes`, as far as they are whole.
pub(super) fn messages(mut bytes: &[u8]) -> impl Iterator<Item = Message<'_>> {
    std::iter::from_fn(move || {
        let length = usize::try_from(host_u32(bytes.get(0..4)?)?).ok()?;
        let payload = bytes.get(HEADER..length)?;
        let message = Message {
            kind: host_u16(bytes.get(4..6)?)?,
            flags: host_u16(bytes.get(6..8)?)?,
            sequence: host_u32(bytes.get(8..12)?)?,
            payload,
        };
        bytes = bytes.get(padded(length)..).unwrap_or_default();
        Some(message)
    })
}

/// The attributes in `bytes`, kind without flags and value, as far as they are whole.
pub(super) fn attributes(mut bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let length = usize::from(host_u16(bytes.get(0..2)?)?);
        let kind = host_u16(bytes.get(2..4)?)? & NLA_TYPE_MASK;
        let value = bytes.get(4..length)?;
        bytes = bytes.get(padded(length)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// The value of the first attribute of this kind.
pub(super) fn attribute(bytes: &[u8], kind: u16) -> Option<&[u8]> {
    attributes(bytes).find(|(k, _)| *k == kind).map(|(_, value)| value)
}

/// A word, with or without its terminating zero.
pub(super) fn word(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(value.split(|b| *b == 0).next()?).ok()
}

/// A number in host order.
fn host_u16(value: &[u8]) -> Option<u16> {
    value.try_into().ok().map(u16::from_ne_bytes)
}

/// A number in host order.
fn host_u32(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_ne_bytes)
}

/// A number in network order, as netfilter sends them.
pub(super) fn net_u16(value: &[u8]) -> Option<u16> {
    value.try_into().ok().map(u16::from_be_bytes)
}

/// A number in network order, as netfilter sends them.
pub(super) fn net_u32(value: &[u8]) -> Option<u32> {
    value.try_into().ok().map(u32::from_be_bytes)
}

/// A number in network order, as netfilter sends them.
pub(super) fn net_u64(value: &[u8]) -> Option<u64> {
    value.try_into().ok().map(u64::from_be_bytes)
}

const fn padded(length: usize) -> usize {
    length.next_multiple_of(4)
}

/// A socket to conntrack and nftables. It blocks: use it in `tokio::task::spawn_blocking`.
#[derive(Debug)]
pub(super) struct Socket {
    fd: OwnedFd,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Socket {
    pub(super) fn netfilter() -> io::Result<Self> {
        let netfilter = Some(rustix::net::netlink::NETFILTER);
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, netfilter)?;
        bind(&fd, &SocketAddrNetlink::new(0, 0))?;
        set_socket_timeout(&fd, Timeout::Recv, Some(PATIENCE))?;
        Ok(Self { fd, sequence: 0, buffer: vec![0; BUFFER] })
    }

    /// Sends `request` and waits for the kernel's yes or no.
    pub(super) fn ask(&mut self, request: &Request) -> io::Result<()> {
        self.talk(request, |_| ()).map(drop)
    }

    /// Sends `request` and returns what `parse` makes of its answer, if there is one.
    pub(super) fn get<T>(
        &mut self,
        request: &Request,
        parse: impl Fn(&Message<'_>) -> Option<T>,
    ) -> io::Result<Option<T>> {
        let mut found = None;
        self.talk(request, |message| found = parse(message))?;
        Ok(found)
    }

    /// Asks for a list and keeps what `parse` makes of each entry. Entries that it refuses cost no memory.
    pub(super) fn list<T>(
        &mut self,
        request: &Request,
        parse: impl Fn(&Message<'_>) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        self.list_from(request, || {}, parse)
    }

    /// The same; `begin` is called before each reading, for a `parse` that counts.
    pub(super) fn list_from<T>(
        &mut self,
        request: &Request,
        begin: impl Fn(),
        parse: impl Fn(&Message<'_>) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        for _ in 0..TRIES {
            begin();
            let mut found = Vec::new();
            if self.talk(request, |message| found.extend(parse(message)))? == Reading::Whole {
                return Ok(found);
            }
        }
        Err(io::Error::other("the list changed each time it was read"))
    }

    /// Sends `request` as a transaction of its own to nf_tables, which changes nothing outside of one.
    pub(super) fn transact(&mut self, request: &Request) -> io::Result<()> {
        let sequence = self.sequence.wrapping_add(1);
        let frame =
            |kind| Request::with(kind, NLM_F_REQUEST, &[0, 0, 0, NFNL_SUBSYS_NFTABLES]).sealed(sequence);
        // With one number: only the request asks for an answer, the others are answered with an error or not at all.
        let frames =
            [frame(NFNL_MSG_BATCH_BEGIN), request.sealed(sequence), frame(NFNL_MSG_BATCH_END)].concat();
        self.send(&frames, |_| ()).map(drop)
    }

    fn talk(&mut self, request: &Request, each: impl FnMut(&Message<'_>)) -> io::Result<Reading> {
        self.send(&request.sealed(self.sequence.wrapping_add(1)), each)
    }

    /// Sends messages that have the next number, and reads up to the end of the answer.
    fn send(&mut self, bytes: &[u8], mut each: impl FnMut(&Message<'_>)) -> io::Result<Reading> {
        self.sequence = self.sequence.wrapping_add(1);
        let kernel = SocketAddrNetlink::new(0, 0);
        retry_on_intr(|| sendto(&self.fd, bytes, SendFlags::empty(), &kernel))?;
        let mut reading = Reading::Whole;
        loop {
            let (_, length, sender) =
                retry_on_intr(|| recvfrom(&self.fd, self.buffer.as_mut_slice(), RecvFlags::TRUNC))?;
            if !from_kernel(sender) {
                continue;
            }
            let Some(bytes) = self.buffer.get(..length) else {
                return Err(io::Error::other("an answer longer than the kernel makes them"));
            };
            for message in messages(bytes).filter(|m| m.sequence == self.sequence) {
                if message.flags & NLM_F_DUMP_INTR != 0 {
                    reading = Reading::Torn;
                }
                match message.kind {
                    NLMSG_ERROR | NLMSG_DONE => return verdict(&message).map(|()| reading),
                    kind if kind < NLMSG_MIN_TYPE => {}
                    _ => each(&message),
                }
            }
        }
    }
}

/// A socket that only listens: to what the kernel tells groups of listeners.
#[derive(Debug)]
pub(super) struct Listener {
    fd: AsyncFd<OwnedFd>,
    buffer: Vec<u8>,
}

impl Listener {
    /// Joins netfilter's multicast groups (NFNLGRP_*, of which the first is 1); needs a runtime of tokio.
    pub(super) fn netfilter(groups: &[u32]) -> io::Result<Self> {
        let netfilter = Some(rustix::net::netlink::NETFILTER);
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let fd = socket_with(AddressFamily::NETLINK, SocketType::RAW, flags, netfilter)?;
        let mask = groups.iter().fold(0, |mask, group| mask | 1 << (group - 1));
        bind(&fd, &SocketAddrNetlink::new(0, mask))?;
        // Its successor is an unsafe function, for the sake of types that may close their descriptor early: an OwnedFd does not.
        #[expect(deprecated)]
        let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
        Ok(Self { fd, buffer: vec![0; BUFFER] })
    }

    /// Asks the kernel for something and returns its yes or no. It answers within the call that asks.
    pub(super) fn ask(&mut self, request: &Request) -> io::Result<()> {
        const SEQUENCE: u32 = 1;
        let kernel = SocketAddrNetlink::new(0, 0);
        retry_on_intr(|| sendto(self.fd.get_ref(), &request.sealed(SEQUENCE), SendFlags::empty(), &kernel))?;
        loop {
            let (_, length, sender) =
                recvfrom(self.fd.get_ref(), self.buffer.as_mut_slice(), RecvFlags::DONTWAIT)?;
            let bytes = self.buffer.get(..length).unwrap_or_default();
            let answer = messages(bytes)
                .find(|m| m.kind == NLMSG_ERROR && m.sequence == SEQUENCE && from_kernel(sender.clone()));
            if let Some(answer) = answer {
                return verdict(&answer);
            }
        }
    }

    /// Waits for the next datagram and returns what `parse` makes of its messages. None: some were lost, because they came
    /// faster than they were read (ENOBUFS).
    pub(super) async fn next<T>(
        &mut self,
        parse: impl Fn(&Message<'_>) -> Option<T>,
    ) -> io::Result<Option<Vec<T>>> {
        loop {
            let buffer = self.buffer.as_mut_slice();
            let receive = |fd: &OwnedFd| Ok(recvfrom(fd, &mut *buffer, RecvFlags::TRUNC)?);
            let (length, sender) = match self.fd.async_io(Interest::READABLE, receive).await {
                Ok((_, length, sender)) => (length, sender),
                Err(error) if error.raw_os_error() == Some(Errno::NOBUFS.raw_os_error()) => {
                    self.drain();
                    return Ok(None);
                }
                Err(error) => return Err(error),
            };
            if from_kernel(sender) {
                let Some(bytes) = self.buffer.get(..length) else { return Ok(None) };
                return Ok(Some(messages(bytes).filter_map(|message| parse(&message)).collect()));
            }
        }
    }
}

impl Listener {
    /// Throws away what waits. The kernel tells of a loss once, and of no further one until the socket was empty
    /// (`netlink_overrun`, `netlink_rcv_wake`, af_netlink.c): what is lost while what waits is read would never be told. Whoever is
    /// told after this, and then looks at the things themselves, misses nothing.
    fn drain(&mut self) {
        for _ in 0..MOST_WAITING {
            match recvfrom(self.fd.get_ref(), self.buffer.as_mut_slice(), RecvFlags::DONTWAIT) {
                Ok(_) | Err(Errno::INTR | Errno::NOBUFS) => {}
                Err(_) => return,
            }
        }
    }
}

/// Whether a list is one the kernel had at one moment.
#[derive(Debug, PartialEq, Eq)]
enum Reading {
    Whole,
    /// NLM_F_DUMP_INTR: it changed meanwhile.
    Torn,
}

/// The error number in NLMSG_ERROR, or at the end of a list in NLMSG_DONE; zero is success.
fn verdict(message: &Message<'_>) -> io::Result<()> {
    let number = message.payload.get(0..4).and_then(|b| b.try_into().ok()).map(i32::from_ne_bytes);
    match number {
        Some(0) => Ok(()),
        Some(number) => Err(io::Error::from_raw_os_error(number.saturating_neg())),
        None if message.kind == NLMSG_DONE => Ok(()),
        None => Err(io::Error::from(Errno::BADMSG)),
    }
}

/// Other processes may send to a netlink socket too (with CAP_NET_ADMIN); the kernel's port number is 0.
fn from_kernel(sender: Option<rustix::net::SocketAddrAny>) -> bool {
    sender.and_then(|s| SocketAddrNetlink::try_from(s).ok()).is_some_and(|s| s.pid() == 0)
}

/// Bytes from their hexadecimal digits.
#[cfg(test)]
pub(super) fn recorded(hex: &str) -> Vec<u8> {
    let digits: Vec<u8> = hex.chars().map(|c| c.to_digit(16).unwrap() as u8).collect();
    digits.chunks(2).map(|pair| pair[0] << 4 | pair[1]).collect()
}

/// Hands a message to `parse` in every shortened form, and with every byte replaced by awkward ones.
#[cfg(test)]
pub(super) fn damaged(whole: &[u8], parse: impl Fn(&Message<'_>)) {
    for length in 0..whole.len() {
        messages(&whole[..length]).for_each(|m| parse(&m));
        // Cut off, with a header that says so: the attributes end in the middle.
        let mut short = whole[..length].to_vec();
        if let Some(field) = short.get_mut(0..4) {
            field.copy_from_slice(&(length as u32).to_ne_bytes());
        }
        messages(&short).for_each(|m| parse(&m));
        for byte in [0, 1, 3, 4, 5, 8, 0x7f, 0x80, 0xff] {
            let mut odd = whole.to_vec();
            odd[length] = byte;
            messages(&odd).for_each(|m| parse(&m));
        }
    }
}

#[cfg(test)]
mod tests;
