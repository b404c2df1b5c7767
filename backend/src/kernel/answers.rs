//! What the router's DNS answers its devices, as a rule of ours shows it to us (`ruleset/names.rs`): by nfnetlink_log, which copies a
//! packet to whoever listens and never waits. So the DNS server neither knows of it nor can be held up by it; while nobody
//! listens, or not fast enough, the kernel throws the copies away.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use simple_dns::rdata::RData;
use simple_dns::{Packet, PacketFlag, RCODE};

use super::netlink::{Listener, Message, Request, attribute};
use super::{Error, Named};
use crate::ruleset::ANSWERS;

/// NFNL_SUBSYS_ULOG (nfnetlink.h), NFULNL_MSG_PACKET and _CONFIG (nfnetlink_log.h).
const SUBSYSTEM: u16 = 4 << 8;
const NFULNL_MSG_PACKET: u16 = SUBSYSTEM;
const NFULNL_MSG_CONFIG: u16 = SUBSYSTEM | 1;

const NFULA_PAYLOAD: u16 = 9;
const NFULA_CFG_CMD: u16 = 1;
const NFULA_CFG_MODE: u16 = 2;
const NFULA_CFG_TIMEOUT: u16 = 4;
const NFULA_CFG_QTHRESH: u16 = 5;
const NFULNL_CFG_CMD_BIND: u8 = 1;
const NFULNL_COPY_PACKET: u8 = 2;

/// Whole packets: an answer that is cut is none. `edns-packet-max` of our DNS is 1232.
const COPIED: u32 = 1500;
/// The kernel keeps copies so long, in hundredths of a second, or so many of them: fewer times to wake up.
const WAIT: u32 = 50;
const TOGETHER: u32 = 32;

const UDP: u8 = 17;
/// Most addresses of one answer.
const MOST: usize = 32;
/// RFC 1035 section 2.3.4, without the last dot.
const LONGEST: usize = 253;

/// Answers, from now on.
#[derive(Debug)]
pub(super) struct Answers(Listener);

impl Answers {
    /// Needs a runtime of tokio, and CAP_NET_ADMIN. An error where this kernel has no nfnetlink_log, or another program listens
    /// to the same group.
    pub(super) fn listen() -> Result<Self, Error> {
        let refused = |source| Error::Netlink { what: "show the answers of DNS".into(), source };
        let mut listener = Listener::netfilter(&[]).map_err(refused)?;
        listener.ask(&config()).map_err(refused)?;
        Ok(Self(listener))
    }

    /// Waits for the next ones. Some may have been lost: then a name is not known.
    pub(super) async fn next(&mut self) -> io::Result<Vec<Named>> {
        Ok(self.0.next(named).await?.unwrap_or_default())
    }
}

/// struct nfgenmsg with the group; then what is wanted of it (`nfulnl_recv_config`).
fn config() -> Request {
    let [high, low] = ANSWERS.to_be_bytes();
    let [a, b, c, d] = COPIED.to_be_bytes();
    Request::new(NFULNL_MSG_CONFIG, &[0, 0, high, low])
        .attribute(NFULA_CFG_CMD, &[NFULNL_CFG_CMD_BIND])
        .attribute(NFULA_CFG_MODE, &[a, b, c, d, NFULNL_COPY_PACKET, 0])
        .attribute(NFULA_CFG_TIMEOUT, &WAIT.to_be_bytes())
        .attribute(NFULA_CFG_QTHRESH, &TOGETHER.to_be_bytes())
}

pub(super) fn named(message: &Message<'_>) -> Option<Named> {
    if message.kind != NFULNL_MSG_PACKET {
        return None;
    }
    answer(inside(attribute(message.payload.get(4..)?, NFULA_PAYLOAD)?)?)
}

/// What a UDP packet carries, IPv4 or IPv6 without extension headers.
fn inside(packet: &[u8]) -> Option<&[u8]> {
    let (protocol, udp) = match packet.first()? >> 4 {
        4 => (*packet.get(9)?, packet.get(usize::from(packet.first()? & 15) * 4..)?),
        6 => (*packet.get(6)?, packet.get(40..)?),
        _ => return None,
    };
    (protocol == UDP).then(|| udp.get(8..))?
}

/// The name that was asked for and its addresses; none: it has none, or is no name of a host.
fn answer(bytes: &[u8]) -> Option<Named> {
    let packet = Packet::parse(bytes).ok()?;
    if !packet.has_flags(PacketFlag::RESPONSE) || packet.rcode() != RCODE::NoError {
        return None;
    }
    let name = host_name(&packet.questions.first()?.qname.to_string())?;
    let address = |record: &simple_dns::ResourceRecord<'_>| match &record.rdata {
        RData::A(a) => Some(IpAddr::V4(Ipv4Addr::from_bits(a.address))),
        RData::AAAA(aaaa) => Some(IpAddr::V6(Ipv6Addr::from_bits(aaaa.address))),
        _ => None,
    };
    let addresses: Vec<IpAddr> = packet.answers.iter().filter_map(address).take(MOST).collect();
    (!addresses.is_empty()).then_some(Named { name, addresses })
}

/// In small letters, if it consists of letters, digits, inner hyphens and dots (RFC 1123 section 2.1) or underscores. What a device
/// asks for is its own text: nothing else is ever shown.
fn host_name(asked: &str) -> Option<String> {
    let name = asked.trim_end_matches('.').to_ascii_lowercase();
    let fits = |label: &str| {
        (1..=63).contains(&label.len())
            && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
            && !label.starts_with('-')
            && !label.ends_with('-')
    };
    (name.len() <= LONGEST && name.split('.').all(fits)).then_some(name)
}

#[cfg(test)]
mod tests {
    use simple_dns::rdata::{A, CNAME};
    use simple_dns::{CLASS, Name, QCLASS, QTYPE, Question, ResourceRecord, TYPE};

    use super::super::netlink::{damaged, messages};
    use super::*;

    fn dns(name: &'static str, reply: bool, answers: Vec<ResourceRecord<'static>>) -> Vec<u8> {
        let mut packet = if reply { Packet::new_reply(7) } else { Packet::new_query(7) };
        let name = Name::new_unchecked(name);
        packet.questions.push(Question::new(name, QTYPE::TYPE(TYPE::A), QCLASS::CLASS(CLASS::IN), false));
        packet.answers = answers;
        packet.build_bytes_vec().unwrap()
    }

    fn record(name: &'static str, data: RData<'static>) -> ResourceRecord<'static> {
        ResourceRecord::new(Name::new_unchecked(name), CLASS::IN, 60, data)
    }

    fn one(name: &'static str) -> Vec<u8> {
        dns(name, true, vec![record(name, RData::A(A { address: 0xcb00_710a }))])
    }

    /// As nfnetlink_log would hand it over.
    fn logged(dns: &[u8]) -> Vec<u8> {
        let mut packet = vec![0x45, 0, 0, 0, 0, 0, 0, 0, 64, UDP, 0, 0, 192, 168, 1, 1, 192, 168, 1, 101];
        packet.extend([0, 53, 0x9c, 0x40, 0, 0, 0, 0]);
        packet.extend(dns);
        Request::new(NFULNL_MSG_PACKET, &[2, 0, 0, 0]).attribute(NFULA_PAYLOAD, &packet).sealed(0)
    }

    fn read(bytes: &[u8]) -> Vec<Named> {
        messages(bytes).filter_map(|message| named(&message)).collect()
    }

    #[test]
    fn the_name_that_was_asked_for_goes_with_every_address_of_its_answer() {
        let chain = vec![
            record("VPN.example.com", RData::CNAME(CNAME(Name::new_unchecked("gate.example.net")))),
            record("gate.example.net", RData::A(A { address: 0xcb00_710a })),
            record("gate.example.net", RData::A(A { address: 0xcb00_7114 })),
        ];
        let addresses = vec![IpAddr::from([203, 0, 113, 10]), IpAddr::from([203, 0, 113, 20])];
        let named = Named { name: "vpn.example.com".into(), addresses };
        assert_eq!(read(&logged(&dns("VPN.example.com", true, chain))), [named]);
        assert_eq!(read(&logged(&dns("vpn.example.com", true, Vec::new()))), [], "no address");
        let question = dns("a.example", false, vec![record("a.example", RData::A(A { address: 1 }))]);
        assert_eq!(read(&logged(&question)), [], "a question is no answer");
    }

    #[test]
    fn only_names_of_hosts_are_taken() {
        for good in ["vpn.example.com", "a", "_sip._udp.example", "x-1.example"] {
            assert_eq!(read(&logged(&one(good))).len(), 1, "{good}");
        }
        for bad in [
            "<b>.example",
            "a b.example",
            "\u{1b}[31m.example",
            "-a.example",
            "a-.example",
            "\u{202e}x.example",
        ] {
            assert_eq!(read(&logged(&one(bad))), [], "{bad:?}");
        }
        assert_eq!(host_name(&format!("{}.example", "a".repeat(64))), None);
        assert_eq!(host_name(&vec!["a".repeat(60); 5].join(".")), None);
    }

    #[test]
    fn damaged_packets_do_no_harm() {
        damaged(&logged(&one("vpn.example.com")), |message| drop(named(message)));
    }
}
