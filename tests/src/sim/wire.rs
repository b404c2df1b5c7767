//! Frames of the simulated clients and servers: written byte by byte, and read back.

use std::net::Ipv4Addr;

/// An Ethernet address.
pub(super) type Mac = [u8; 6];

/// Where a protocol's header begins in a frame: Ethernet header, IPv4 header without options.
const BODY: usize = 14 + 20;
const MARK: &[u8; 8] = b"postsim1";
/// Length of a [`Tag`] on the wire.
const TAG: usize = 32;
/// What a real packet would carry besides: the size of a small ESP packet.
const PADDING: usize = 48;
/// IKE: RFC 7296 section 3.1, and ISAKMP before it (RFC 2408 section 3.1), have the same 28 bytes.
const IKE_HEADER: usize = 28;
/// The port of IKE.
pub(super) const IKE_PORT: u16 = 500;

/// The ground truth that travels in every packet: the receiver reads whose it really is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Tag {
    /// The device that sent it or that it is for.
    pub device: u32,
    /// Index of the session.
    pub session: u32,
    /// Index of the pair of SAs; for IKE of the pair that the exchange makes, if any.
    pub sa: u32,
    /// The number of the message within what it does.
    pub number: u32,
    /// What it does: see [`super::traffic::What`].
    pub what: u8,
    /// It was sent on a pair of SAs that had been served: its loss counts.
    pub counts: bool,
}

impl Tag {
    fn write(self, bytes: &mut Vec<u8>) {
        bytes.extend(MARK);
        for word in [self.device, self.session, self.sa, self.number] {
            bytes.extend(word.to_be_bytes());
        }
        bytes.extend([self.what, u8::from(self.counts), 0, 0, 0, 0, 0, 0]);
    }

    fn read(bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.get(..TAG)?.strip_prefix(MARK)?;
        let word = |at: usize| word(bytes, at * 4);
        Some(Self {
            device: word(0)?,
            session: word(1)?,
            sa: word(2)?,
            number: word(3)?,
            what: *bytes.get(16)?,
            counts: *bytes.get(17)? != 0,
        })
    }
}

/// Header of an IKE message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ike {
    /// The cookie (SPI) of who began the IKE SA: the client, here.
    pub initiator: u64,
    /// The cookie of the other end; 0 in the first message.
    pub responder: u64,
    /// `0x20` IKEv2, `0x10` IKEv1.
    pub version: u8,
    /// 34 `IKE_SA_INIT`, 35 `IKE_AUTH`, 36 `CREATE_CHILD_SA`; IKEv1: 2 main mode, 32 quick mode.
    pub exchange: u8,
    /// IKEv2: `0x08` from who began the IKE SA, `0x20` a response.
    pub flags: u8,
    /// The number of the exchange.
    pub message: u32,
}

/// What an IPv4 packet holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Body {
    /// Raw ESP.
    Esp(u32, Tag),
    /// IKE, with source and destination port.
    Ike(u16, u16, Ike, Tag),
    /// ICMP "fragmentation needed" with the source address and the rest of the packet that it quotes.
    TooBig(Ipv4Addr, Quote),
}

/// The packet that an ICMP error is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quote {
    /// ESP to this server with this SPI.
    Esp(Ipv4Addr, u32),
    /// IKE to this server with this initiator cookie.
    Ike(Ipv4Addr, u64),
}

/// One packet out of a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    pub to_mac: Mac,
    pub from: Ipv4Addr,
    pub to: Ipv4Addr,
    pub body: Body,
}

/// What a frame holds that concerns the simulator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Frame {
    /// Who has `target`? `mac` with `ip` asks.
    Asks { mac: Mac, ip: Ipv4Addr, target: Ipv4Addr },
    /// One of our packets.
    Holds(Packet),
}

/// An Ethernet frame with an IPv4 packet.
pub(super) fn ipv4(macs: (Mac, Mac), from: Ipv4Addr, to: Ipv4Addr, protocol: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(20 + body.len()).unwrap_or(u16::MAX).to_be_bytes();
    // Do not fragment, 64 hops.
    let mut header =
        [0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, protocol, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    header[12..16].copy_from_slice(&from.octets());
    header[16..20].copy_from_slice(&to.octets());
    let sum = checksum(&header).to_be_bytes();
    header[10..12].copy_from_slice(&sum);
    let mut frame = Vec::with_capacity(BODY + body.len());
    frame.extend(macs.0);
    frame.extend(macs.1);
    frame.extend([0x08, 0x00]);
    frame.extend(header);
    frame.extend(body);
    frame
}

/// The body of an ESP packet.
pub(super) fn esp(spi: u32, sequence: u32, tag: Tag) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 + TAG + PADDING);
    bytes.extend(spi.to_be_bytes());
    bytes.extend(sequence.to_be_bytes());
    tag.write(&mut bytes);
    bytes.resize(8 + TAG + PADDING, 0);
    bytes
}

/// The body of a UDP packet with an IKE message. No checksum: RFC 768 allows that over IPv4.
pub(super) fn ike(ports: (u16, u16), header: Ike, tag: Tag) -> Vec<u8> {
    let length = 8 + IKE_HEADER + TAG + PADDING;
    let mut bytes = Vec::with_capacity(length);
    bytes.extend(ports.0.to_be_bytes());
    bytes.extend(ports.1.to_be_bytes());
    bytes.extend(u16::try_from(length).unwrap_or_default().to_be_bytes());
    bytes.extend([0, 0]);
    bytes.extend(header.initiator.to_be_bytes());
    bytes.extend(header.responder.to_be_bytes());
    // The next payload says nothing here: 46 is "encrypted".
    bytes.extend([46, header.version, header.exchange, header.flags]);
    bytes.extend(header.message.to_be_bytes());
    bytes.extend(u32::try_from(length - 8).unwrap_or_default().to_be_bytes());
    tag.write(&mut bytes);
    bytes.resize(length, 0);
    bytes
}

/// The body of an ICMP "fragmentation needed" about the IPv4 packet in `frame`, of which it quotes `quoted` bytes after the IP
/// header. RFC 792 asks for 8; RFC 1812 4.3.2.3 for as much as fits 576 bytes.
pub(super) fn too_big(frame: &[u8], quoted: usize) -> Vec<u8> {
    let packet = frame.get(14..).unwrap_or_default();
    let mut bytes = vec![3, 4, 0, 0, 0, 0, 0x05, 0x14];
    bytes.extend(packet.iter().take(20 + quoted));
    let sum = checksum(&bytes).to_be_bytes();
    bytes[2..4].copy_from_slice(&sum);
    bytes
}

/// An ARP packet: 1 a request, 2 an answer.
pub(super) fn arp(operation: u8, from: (Mac, Ipv4Addr), to: (Mac, Ipv4Addr)) -> Vec<u8> {
    let broadcast = operation == 1;
    let mut frame = Vec::with_capacity(42);
    frame.extend(if broadcast { [0xff; 6] } else { to.0 });
    frame.extend(from.0);
    frame.extend([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, operation]);
    frame.extend(from.0);
    frame.extend(from.1.octets());
    frame.extend(if broadcast { [0; 6] } else { to.0 });
    frame.extend(to.1.octets());
    frame
}

/// What `frame` holds; none: nothing of ours.
pub(super) fn read(frame: &[u8]) -> Option<Frame> {
    match frame.get(12..14)? {
        [0x08, 0x06] if frame.get(20..22)? == [0, 1] => {
            Some(Frame::Asks { mac: mac(frame, 22)?, ip: ip(frame, 28)?, target: ip(frame, 38)? })
        }
        [0x08, 0x00] => {
            let body = frame.get(BODY..)?;
            let body = match frame.get(23)? {
                50 => Body::Esp(word(body, 0)?, Tag::read(body.get(8..)?)?),
                17 => {
                    let (source, target) = (half(body, 0)?, half(body, 2)?);
                    let message = body.get(8..)?;
                    let tag = Tag::read(message.get(IKE_HEADER..)?)?;
                    Body::Ike(source, target, ike_header(message)?, tag)
                }
                1 if body.get(..2)? == [3, 4] => quote(body.get(8..)?)?,
                _ => return None,
            };
            Some(Frame::Holds(Packet {
                to_mac: mac(frame, 0)?,
                from: ip(frame, 26)?,
                to: ip(frame, 30)?,
                body,
            }))
        }
        _ => None,
    }
}

fn quote(packet: &[u8]) -> Option<Body> {
    let (from, to) = (ip(packet, 12)?, ip(packet, 16)?);
    let quote = match packet.get(9)? {
        50 => Quote::Esp(to, word(packet, 20)?),
        17 => Quote::Ike(to, double(packet, 28)?),
        _ => return None,
    };
    Some(Body::TooBig(from, quote))
}

fn ike_header(bytes: &[u8]) -> Option<Ike> {
    Some(Ike {
        initiator: double(bytes, 0)?,
        responder: double(bytes, 8)?,
        version: *bytes.get(17)?,
        exchange: *bytes.get(18)?,
        flags: *bytes.get(19)?,
        message: word(bytes, 20)?,
    })
}

fn mac(bytes: &[u8], at: usize) -> Option<Mac> {
    bytes.get(at..at + 6)?.try_into().ok()
}

fn ip(bytes: &[u8], at: usize) -> Option<Ipv4Addr> {
    word(bytes, at).map(Ipv4Addr::from)
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes)
}

fn double(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes)
}

/// RFC 1071.
fn checksum(bytes: &[u8]) -> u16 {
    let word = |pair: &[u8]| u32::from(pair[0]) << 8 | pair.get(1).map_or(0, |low| u32::from(*low));
    let mut sum: u32 = bytes.chunks(2).map(word).sum();
    while sum > 0xffff {
        sum = (sum & 0xffff) + (sum >> 16);
    }
    !u16::try_from(sum).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Ipv4Addr = Ipv4Addr::new(192, 168, 1, 2);
    const B: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 100);
    const MACS: (Mac, Mac) = ([2, 0, 0, 0, 0, 1], [2, 0, 0, 16, 0, 7]);
    const TAG: Tag = Tag { device: 7, session: 8, sa: 9, number: 10, what: 3, counts: true };
    const HEADER: Ike =
        Ike { initiator: 11, responder: 12, version: 0x20, exchange: 36, flags: 8, message: 13 };

    #[test]
    fn packets_are_read_as_they_were_written() {
        let esp = ipv4(MACS, A, B, 50, &esp(0xc000_0001, 5, TAG));
        let wanted = |body| Some(Frame::Holds(Packet { to_mac: MACS.0, from: A, to: B, body }));
        assert_eq!(read(&esp), wanted(Body::Esp(0xc000_0001, TAG)));
        let ike = ipv4(MACS, A, B, 17, &ike((500, 500), HEADER, TAG));
        assert_eq!(read(&ike), wanted(Body::Ike(500, 500, HEADER, TAG)));
        assert_eq!(ike.get(BODY + 8 + 18), Some(&36), "the exchange type is byte 18 of the message");
        for (frame, quote) in [(&esp, Quote::Esp(B, 0xc000_0001)), (&ike, Quote::Ike(B, 11))] {
            let icmp = ipv4(MACS, B, A, 1, &too_big(frame, 28));
            let Some(Frame::Holds(Packet { body, .. })) = read(&icmp) else { panic!("{icmp:?}") };
            assert_eq!(body, Body::TooBig(A, quote));
        }
    }

    #[test]
    fn an_arp_request_is_read_and_a_foreign_frame_is_not() {
        let frame = arp(1, (MACS.1, A), ([0; 6], B));
        assert_eq!(read(&frame), Some(Frame::Asks { mac: MACS.1, ip: A, target: B }));
        assert_eq!(read(&ipv4(MACS, A, B, 50, &[1; 60])), None);
        assert_eq!(read(&[0; 9]), None);
    }

    #[test]
    fn the_header_sums_to_nothing() {
        let frame = ipv4(MACS, A, B, 50, &esp(256, 1, TAG));
        assert_eq!(checksum(&frame[14..BODY]), 0);
    }
}
