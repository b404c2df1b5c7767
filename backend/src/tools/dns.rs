//! DNS questions over UDP (RFC 1035). What is asked is the router's own resolver, as the devices of the home ask it.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use simple_dns::rdata::RData;
use simple_dns::{CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, Question, RCODE, TYPE};
use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::Row;
use crate::kernel::hand;

/// How long one resolver may take for one question; it may have to ask others in turn.
const PATIENCE: Duration = Duration::from_secs(3);
/// The port of DNS.
const PORT: u16 = 53;
/// Largest answer in bytes; we do not ask for more (no EDNS), a resolver that is broken may send more.
const LARGEST: usize = 1500;
/// Most records that are shown.
const MOST: usize = 32;

/// The addresses of `name`, IPv4 first, with the names that it stands for.
pub(super) async fn addresses(resolvers: &[SocketAddr], name: &str) -> Result<Vec<Row>, String> {
    let mut rows = ask(resolvers, name, TYPE::A).await?;
    for row in ask(resolvers, name, TYPE::AAAA).await? {
        // The chain of names comes with both.
        if rows.len() < MOST && !rows.iter().any(|known| same(known, &row)) {
            rows.push(row);
        }
    }
    Ok(rows)
}

/// The names of `address`.
pub(super) async fn name_of(resolvers: &[SocketAddr], address: IpAddr) -> Result<Vec<Row>, String> {
    ask(resolvers, &reverse(address), TYPE::PTR).await
}

/// Whom this box itself asks (resolv.conf(5)), where it has no DNS of ours.
pub(super) fn of_this_box() -> Vec<SocketAddr> {
    let text = std::fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    let servers = text.lines().filter_map(|line| line.strip_prefix("nameserver"));
    servers.filter_map(|server| Some((server.trim().parse::<IpAddr>().ok()?, PORT).into())).collect()
}

/// The address in a record.
pub(super) fn address(row: &Row) -> Option<IpAddr> {
    match row {
        Row::Record { record, value, .. } if record == "A" || record == "AAAA" => value.parse().ok(),
        _ => None,
    }
}

fn same(one: &Row, other: &Row) -> bool {
    match (one, other) {
        (Row::Record { record: a, value: x, .. }, Row::Record { record: b, value: y, .. }) => {
            (a, x) == (b, y)
        }
        _ => false,
    }
}

/// RFC 1035 section 3.5, RFC 3596 section 2.5.
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let nibbles = v6.octets().into_iter().rev().flat_map(|byte| [byte & 15, byte >> 4]);
            nibbles.map(|nibble| format!("{nibble:x}.")).collect::<String>() + "ip6.arpa"
        }
    }
}

/// The first answer that comes.
async fn ask(resolvers: &[SocketAddr], name: &str, record: TYPE) -> Result<Vec<Row>, String> {
    let mut why = "No DNS server is known to this router.".to_owned();
    for resolver in resolvers {
        match timeout(PATIENCE, ask_one(*resolver, name, record)).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(error)) => why = format!("The DNS server {} cannot be asked: {error}.", resolver.ip()),
            Err(_) => why = format!("The DNS server {} did not answer.", resolver.ip()),
        }
    }
    Err(why)
}

async fn ask_one(
    resolver: SocketAddr,
    name: &str,
    record: TYPE,
) -> std::io::Result<Result<Vec<Row>, String>> {
    let odd = |e: simple_dns::SimpleDnsError| std::io::Error::other(e);
    let id = super::icmp::random().map_err(std::io::Error::other)?;
    let mut query = Packet::new_query(id);
    query.set_flags(PacketFlag::RECURSION_DESIRED);
    let (kind, class) = (QTYPE::TYPE(record), QCLASS::CLASS(CLASS::IN));
    query.questions.push(Question::new(Name::new(name).map_err(odd)?, kind, class, false));
    let query = query.build_bytes_vec().map_err(odd)?;
    let socket = hand::open(&hand::Socket::udp(resolver)).await?;
    let socket = UdpSocket::from_std(socket.into())?;
    // From here on only the resolver's datagrams get to this socket.
    socket.connect(resolver).await?;
    socket.send(&query).await?;
    let mut buffer = [0; LARGEST];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let bytes = buffer.get(..length).unwrap_or_default();
        if let Some(answer) = read(bytes, id, name, record) {
            return Ok(answer);
        }
    }
}

/// What an answer says; none: it is not one to our question.
pub(super) fn read(bytes: &[u8], id: u16, name: &str, record: TYPE) -> Option<Result<Vec<Row>, String>> {
    let answer = Packet::parse(bytes).ok()?;
    let asked =
        |q: &Question| q.qname.to_string().eq_ignore_ascii_case(name) && q.qtype == QTYPE::TYPE(record);
    if answer.id() != id || !answer.has_flags(PacketFlag::RESPONSE) || !answer.questions.iter().any(asked) {
        return None;
    }
    Some(match answer.rcode() {
        RCODE::NoError if answer.has_flags(PacketFlag::TRUNCATION) && answer.answers.is_empty() => {
            Err(format!("{name} has more records than fit into one answer."))
        }
        RCODE::NoError => Ok(answer.answers.iter().take(MOST).filter_map(row).collect()),
        RCODE::NameError => Err(format!("There is no {name}.")),
        RCODE::ServerFailure => Err(format!("The DNS server could not find out about {name}.")),
        RCODE::Refused => Err(format!("The DNS server refuses to answer about {name}.")),
        other => Err(format!("The DNS server answers with an error about {name} ({other:?}).")),
    })
}

fn row(record: &simple_dns::ResourceRecord<'_>) -> Option<Row> {
    let (kind, value) = match &record.rdata {
        RData::A(a) => ("A", std::net::Ipv4Addr::from_bits(a.address).to_string()),
        RData::AAAA(aaaa) => ("AAAA", std::net::Ipv6Addr::from_bits(aaaa.address).to_string()),
        RData::CNAME(name) => ("CNAME", text(&name.0)),
        RData::PTR(name) => ("PTR", text(&name.0)),
        _ => return None,
    };
    Some(Row::Record { record: kind.to_owned(), value, seconds: record.ttl })
}

/// A name that somebody else chose; its labels may hold any byte (RFC 2181 section 11).
fn text(name: &Name<'_>) -> String {
    let plain = |c: char| if c.is_ascii_graphic() { c } else { '?' };
    name.to_string().chars().map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use simple_dns::ResourceRecord;
    use simple_dns::rdata::{A, CNAME};

    fn answered(name: &str, rcode: RCODE, answers: Vec<ResourceRecord<'_>>) -> Vec<u8> {
        let mut packet = Packet::new_reply(7);
        *packet.rcode_mut() = rcode;
        let asked =
            Question::new(Name::new(name).unwrap(), QTYPE::TYPE(TYPE::A), QCLASS::CLASS(CLASS::IN), false);
        packet.questions.push(asked);
        packet.answers = answers;
        packet.build_bytes_vec().unwrap()
    }

    fn record<'a>(name: &'a str, data: RData<'a>) -> ResourceRecord<'a> {
        ResourceRecord::new(Name::new(name).unwrap(), CLASS::IN, 60, data)
    }

    #[test]
    fn an_answer_is_read_with_the_chain_of_names() {
        let answers = vec![
            record("vpn.example.com", RData::CNAME(CNAME(Name::new("gate.example.com").unwrap()))),
            record("gate.example.com", RData::A(A { address: 0xcb00710a })),
        ];
        let bytes = answered("vpn.example.com", RCODE::NoError, answers);
        let rows = read(&bytes, 7, "VPN.example.com", TYPE::A).unwrap().unwrap();
        let values: Vec<String> = rows
            .iter()
            .map(|row| match row {
                Row::Record { record, value, seconds } => format!("{record} {value} {seconds}"),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(values, ["CNAME gate.example.com 60", "A 203.0.113.10 60"]);
        assert_eq!(rows.iter().filter_map(address).collect::<Vec<_>>(), [IpAddr::from([203, 0, 113, 10])]);
    }

    #[test]
    fn what_answers_another_question_is_not_believed() {
        let bytes = answered("a.example", RCODE::NoError, Vec::new());
        assert!(read(&bytes, 7, "a.example", TYPE::A).is_some());
        assert!(read(&bytes, 8, "a.example", TYPE::A).is_none(), "another id");
        assert!(read(&bytes, 7, "b.example", TYPE::A).is_none(), "another name");
        assert!(read(&bytes, 7, "a.example", TYPE::AAAA).is_none(), "another type");
        let none = answered("a.example", RCODE::NameError, Vec::new());
        assert_eq!(read(&none, 7, "a.example", TYPE::A), Some(Err("There is no a.example.".to_owned())));
    }

    #[test]
    fn damaged_answers_do_no_harm() {
        let answers = vec![record("a.example", RData::A(A { address: 1 }))];
        let whole = answered("a.example", RCODE::NoError, answers);
        for length in 0..whole.len() {
            let _ = read(&whole[..length], 7, "a.example", TYPE::A);
            for byte in [0, 1, 0x3f, 0x40, 0x80, 0xc0, 0xff] {
                let mut odd = whole.clone();
                odd[length] = byte;
                let _ = read(&odd, 7, "a.example", TYPE::A);
            }
        }
    }

    #[test]
    fn addresses_are_asked_about_by_their_reverse_names() {
        assert_eq!(reverse([203, 0, 113, 10].into()), "10.113.0.203.in-addr.arpa");
        let v6 = reverse("2001:db8::1".parse().unwrap());
        assert!(v6.starts_with("1.0.0.0.") && v6.ends_with("8.b.d.0.1.0.0.2.ip6.arpa"), "{v6}");
    }

    #[test]
    fn names_from_outside_hold_nothing_odd() {
        let name = Name::new_unchecked("a\u{1b}[31m\u{202e}b.example");
        assert_eq!(text(&name), "a?[31m?b.example");
    }
}
