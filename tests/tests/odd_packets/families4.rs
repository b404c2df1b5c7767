//! Odd IPv4 packets, by family.

use std::net::{IpAddr, Ipv4Addr};

use super::craft::{Ends, Frame, GRE, ICMP, MORE, TCP, UDP, V4};
use super::odd::{Cases, L2TP, PPTP, TCP_FLAGS, gre_bodies, ipsec_bodies, reversed};

/// The whole body in pieces that begin at 0 and at each of `cuts`.
fn pieces(whole: &[u8], cuts: &[usize]) -> Vec<(usize, bool, Vec<u8>)> {
    let starts: Vec<usize> = [0].into_iter().chain(cuts.iter().copied()).collect();
    let piece = |(at, start): (usize, &usize)| {
        let end = starts.get(at + 1).copied().unwrap_or(whole.len());
        (*start, end < whole.len(), whole[*start..end].to_vec())
    };
    starts.iter().enumerate().map(piece).collect()
}

struct Four {
    from: Ipv4Addr,
    to: Ipv4Addr,
    ends: Ends,
}

impl Four {
    fn ip(&self, n: u16, protocol: u8, body: Vec<u8>) -> V4 {
        V4::new(self.from, self.to, n, protocol, body)
    }

    fn udp(&self, n: u16) -> Vec<u8> {
        self.ends.udp(20_000 + n, L2TP, &[7; 24])
    }

    fn syn(&self, n: u16) -> Vec<u8> {
        self.ends.tcp(20_000 + n, PPTP, 2, &[7; 12])
    }

    fn fragment(&self, n: u16, protocol: u8, (offset, more, part): (usize, bool, Vec<u8>)) -> Frame {
        let fragment = (offset / 8) as u16 | if more { MORE } else { 0 };
        V4 { fragment, ..self.ip(n, protocol, part) }.into()
    }

    fn fragments(&self, n: u16, protocol: u8, whole: &[u8], cuts: &[usize]) -> Vec<Frame> {
        pieces(whole, cuts).into_iter().map(|piece| self.fragment(n, protocol, piece)).collect()
    }
}

/// Every IPv4 case from `from` to `to`.
pub fn add(cases: &mut Cases, from: Ipv4Addr, to: Ipv4Addr) {
    let it = Four { from, to, ends: Ends { from: IpAddr::V4(from), to: IpAddr::V4(to) } };
    fragments(cases, &it);
    headers(cases, &it);
    transports(cases, &it);
    others(cases, &it);
}

fn fragments(cases: &mut Cases, it: &Four) {
    for cuts in [&[8][..], &[8, 16], &[8, 16, 24], &[16]] {
        cases.add("IPv4 tiny fragments", |n| it.fragments(n, UDP, &it.udp(n), cuts));
        cases.add("IPv4 tiny fragments", |n| it.fragments(n, TCP, &it.syn(n), cuts));
        cases.add("IPv4 fragments out of order", |n| reversed(it.fragments(n, UDP, &it.udp(n), cuts)));
        cases.add("IPv4 fragments out of order", |n| reversed(it.fragments(n, TCP, &it.syn(n), cuts)));
    }
    for kept in [0, 1, 2] {
        cases.add("IPv4 fragments with a hole", |n| {
            let mut all = it.fragments(n, UDP, &it.udp(n), &[8, 16]);
            all.remove(kept);
            all
        });
    }
    // The second piece begins before the first one ends, and says something else there.
    for (first, second) in [((0, 16), (8, 32)), ((0, 24), (8, 16)), ((0, 16), (0, 32)), ((0, 32), (16, 24))] {
        for protocol in [UDP, TCP] {
            cases.add("IPv4 overlapping fragments", |n| {
                let whole = if protocol == UDP { it.udp(n) } else { it.syn(n) };
                let mut other = whole.clone();
                other[first.0.max(second.0)..first.1.min(second.1)].fill(0x55);
                let end = |part: (usize, usize)| part.1 < whole.len();
                vec![
                    it.fragment(n, protocol, (first.0, end(first), whole[first.0..first.1].to_vec())),
                    it.fragment(n, protocol, (second.0, end(second), other[second.0..second.1].to_vec())),
                ]
            });
        }
    }
    cases.add("IPv4 fragments beyond 65,535 bytes", |n| {
        let first = it.fragment(n, UDP, (0, true, it.udp(n)));
        vec![first, it.fragment(n, UDP, (65_528, false, vec![7; 400]))]
    });
    for flags in [0x4000 | MORE, 0x8000, 0x4001, 0x8000 | MORE] {
        cases.add("IPv4 fragment flags", |n| vec![V4 { fragment: flags, ..it.ip(n, UDP, it.udp(n)) }.into()]);
    }
}

fn headers(cases: &mut Cases, it: &Four) {
    let hop = Ipv4Addr::new(198, 51, 100, 1).octets();
    let routed = |kind: u8, pointer: u8| [&[kind, 7, pointer][..], &hop, &[0]].concat();
    let options: [Vec<u8>; 15] = [
        routed(131, 4),                          // loose source route
        routed(131, 8),                          // the same, used up
        routed(137, 4),                          // strict source route
        routed(137, 0),                          // a pointer into nothing
        routed(7, 4),                            // record route
        [&[68, 12, 5, 0][..], &[0; 8]].concat(), // timestamps
        vec![68, 4, 5, 0xf0],
        vec![148, 4, 0, 0],                            // router alert
        [&[130, 11][..], &[0; 10]].concat(),           // security
        [&[134, 6, 0, 0, 0, 1][..], &[0; 2]].concat(), // CIPSO
        vec![136, 4, 0, 1],                            // stream identifier
        vec![0x9e, 4, 1, 2],                           // one of an experiment
        vec![131, 0, 4, 0],                            // a length of nothing
        vec![7, 39, 4, 0],                             // a length beyond the header
        vec![1; 40],
    ];
    for option in options {
        cases
            .add("IPv4 options", |n| vec![V4 { options: option.clone(), ..it.ip(n, UDP, it.udp(n)) }.into()]);
    }
    let lies: [fn(V4) -> V4; 10] = [
        |ip| V4 { length: Some(10), ..ip },
        |ip| V4 { length: Some(20), ..ip },
        |ip| V4 { length: Some(200), ..ip },
        |ip| V4 { length: Some(24), ..ip },
        |ip| V4 { words: Some(4), ..ip },
        |ip| V4 { words: Some(15), ..ip },
        |ip| V4 { version: 5, ..ip },
        |ip| V4 { version: 6, ..ip },
        |ip| V4 { sum: Some(0x1234), ..ip },
        |ip| V4 { body: ip.body[..4].to_vec(), ..ip },
    ];
    for lie in lies {
        cases.add("IPv4 lengths and versions that lie", |n| vec![lie(it.ip(n, UDP, it.udp(n))).into()]);
    }
    for ttl in [0, 1] {
        cases.add("IPv4 at the end of its life", |n| vec![V4 { ttl, ..it.ip(n, UDP, it.udp(n)) }.into()]);
        cases.add("IPv4 at the end of its life", |n| vec![V4 { ttl, ..it.ip(n, TCP, it.syn(n)) }.into()]);
    }
}

fn transports(cases: &mut Cases, it: &Four) {
    for flags in TCP_FLAGS {
        cases.add("TCP flags, IPv4", |n| {
            vec![it.ip(n, TCP, it.ends.tcp(20_000 + n, PPTP, flags, b"")).into()]
        });
    }
    for (words, from, to) in [(0, 20_000, PPTP), (4, 20_001, PPTP), (15, 20_002, PPTP), (5, 0, PPTP)] {
        cases.add("TCP headers that lie, IPv4", |n| {
            vec![it.ip(n, TCP, it.ends.tcp_of(from, to, 2, words, b"")).into()]
        });
    }
    cases.add("TCP headers that lie, IPv4", |n| {
        let mut syn = it.syn(n);
        syn[16] ^= 0x55;
        vec![it.ip(n, TCP, syn).into()]
    });
    for length in [0, 7, 9, 31, 33, 2000] {
        cases.add("UDP lengths that lie, IPv4", |n| {
            vec![it.ip(n, UDP, it.ends.udp_of(20_000 + n, L2TP, length, &[7; 24])).into()]
        });
    }
    cases.add("UDP lengths that lie, IPv4", |n| vec![it.ip(n, UDP, it.ends.udp(0, L2TP, b"")).into()]);
    for body in gre_bodies() {
        cases.add("GRE, IPv4", |n| vec![it.ip(n, GRE, body.clone()).into()]);
    }
    for (protocol, body) in ipsec_bodies() {
        cases.add("ESP and AH cut short, IPv4", |n| vec![it.ip(n, protocol, body.clone()).into()]);
    }
}

/// What is not refused to the home: these say something about the way in only.
fn others(cases: &mut Cases, it: &Four) {
    cases.add_way_in("port 0", |n| vec![it.ip(n, TCP, it.ends.tcp(PPTP, 0, 2, b"")).into()]);
    for from in [0, L2TP] {
        cases.add_way_in("port 0", |n| vec![it.ip(n, UDP, it.ends.udp(from, 0, b"")).into()]);
    }
    let mut quoted = it.ip(1, UDP, it.udp(1)).bytes();
    let about_error = it.ip(1, ICMP, it.ends.icmp(3, 1, [0; 4], &quoted)).bytes();
    quoted.truncate(28);
    let messages: [(u8, u8, &[u8]); 11] = [
        (3, 1, &quoted),
        (3, 4, &quoted[..20]),
        (3, 3, &quoted[..8]),
        (3, 4, b""),
        (11, 0, &about_error),
        (4, 0, &quoted),
        (5, 1, &quoted),
        (9, 0, &[1, 2, 7, 8]),
        (13, 0, &[0; 12]),
        (17, 0, &[0; 4]),
        (200, 0, &[0; 4]),
    ];
    for (kind, code, rest) in messages {
        cases.add_way_in("ICMP", |n| vec![it.ip(n, ICMP, it.ends.icmp(kind, code, [0; 4], rest)).into()]);
    }
    for protocol in [0, 2, 4, 33, 41, 43, 59, 60, 132, 136, 254, 255] {
        cases.add_way_in("other protocols, IPv4", |n| {
            let inner = if protocol == 4 { it.ip(n, UDP, it.udp(n)).bytes() } else { it.udp(n) };
            vec![it.ip(n, protocol, inner).into()]
        });
    }
}
