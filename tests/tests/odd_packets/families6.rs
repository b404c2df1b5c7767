//! Odd IPv6 packets, by family.

use std::net::{IpAddr, Ipv6Addr};

use super::craft::{
    Ends, FRAGMENT, Frame, GRE, ICMPV6, MORE6, NO_NEXT, OPTIONS, ROUTING, TCP, UDP, V6, fragment6, options,
    routing,
};
use super::odd::{Cases, L2TP, PPTP, TCP_FLAGS, gre_bodies, ipsec_bodies, reversed};

const HOP_BY_HOP: u8 = 0;

struct Six {
    from: Ipv6Addr,
    to: Ipv6Addr,
    ends: Ends,
}

impl Six {
    fn ip(&self, n: u16, next: u8, body: Vec<u8>) -> V6 {
        V6::new(self.from, self.to, n, next, body)
    }

    fn udp(&self, n: u16) -> Vec<u8> {
        self.ends.udp(20_000 + n, L2TP, &[7; 24])
    }

    fn syn(&self, n: u16) -> Vec<u8> {
        self.ends.tcp(20_000 + n, PPTP, 2, &[7; 12])
    }

    /// One fragment of what begins with `next`.
    fn fragment(&self, n: u16, next: u8, offset: usize, more: bool, part: &[u8]) -> Frame {
        let more = if more { MORE6 } else { 0 };
        self.ip(n, FRAGMENT, fragment6(next, offset as u16, more, n.into(), part)).into()
    }

    fn fragments(&self, n: u16, next: u8, whole: &[u8], cuts: &[usize]) -> Vec<Frame> {
        let starts: Vec<usize> = [0].into_iter().chain(cuts.iter().copied()).collect();
        let piece = |(at, start): (usize, &usize)| {
            let end = starts.get(at + 1).copied().unwrap_or(whole.len());
            self.fragment(n, next, *start, end < whole.len(), &whole[*start..end])
        };
        starts.iter().enumerate().map(piece).collect()
    }
}

/// Every IPv6 case from `from` to `to`.
pub fn add(cases: &mut Cases, from: Ipv6Addr, to: Ipv6Addr) {
    let it = Six { from, to, ends: Ends { from: IpAddr::V6(from), to: IpAddr::V6(to) } };
    fragments(cases, &it);
    chains(cases, &it);
    transports(cases, &it);
    others(cases, &it);
}

fn fragments(cases: &mut Cases, it: &Six) {
    for cuts in [&[8][..], &[8, 16], &[8, 16, 24]] {
        cases.add("IPv6 tiny fragments", |n| it.fragments(n, UDP, &it.udp(n), cuts));
        cases.add("IPv6 tiny fragments", |n| it.fragments(n, TCP, &it.syn(n), cuts));
        cases.add("IPv6 fragments out of order", |n| reversed(it.fragments(n, UDP, &it.udp(n), cuts)));
        cases.add("IPv6 fragments out of order", |n| reversed(it.fragments(n, TCP, &it.syn(n), cuts)));
    }
    for gone in [0, 1, 2] {
        cases.add("IPv6 fragments with a hole", |n| {
            let mut all = it.fragments(n, UDP, &it.udp(n), &[8, 16]);
            all.remove(gone);
            all
        });
    }
    // RFC 5722.
    for (first, second) in [((0, 16), (8, 32)), ((0, 24), (8, 16)), ((0, 16), (0, 32))] {
        cases.add("IPv6 overlapping fragments", |n| {
            let whole = it.udp(n);
            let mut other = whole.clone();
            other[first.0.max(second.0)..first.1.min(second.1)].fill(0x55);
            vec![
                it.fragment(n, UDP, first.0, first.1 < whole.len(), &whole[first.0..first.1]),
                it.fragment(n, UDP, second.0, second.1 < whole.len(), &other[second.0..second.1]),
            ]
        });
    }
    cases.add("IPv6 fragments that lie", |n| {
        vec![it.fragment(n, UDP, 0, true, &it.udp(n)), it.fragment(n, UDP, 65_528, false, &[7; 400])]
    });
    cases.add("IPv6 fragments that lie", |n| vec![it.fragment(n, UDP, 0, true, &it.udp(n)[..13])]);
    cases.add("IPv6 fragments that lie", |n| {
        let mut reserved = fragment6(UDP, 0, 6, n.into(), &it.udp(n));
        reserved[1] = 0x55;
        vec![it.ip(n, FRAGMENT, reserved).into()]
    });
    // A fragment that is the whole packet (RFC 6946), and that again and again (the class of CVE-2023-4809).
    for times in [1, 2, 3, 8, 16, 32] {
        cases.add("IPv6 atomic and repeated fragment headers", |n| {
            let inner = fragment6(UDP, 0, 0, n.into(), &it.udp(n));
            let all = (1..times).fold(inner, |inner, _| fragment6(FRAGMENT, 0, 0, n.into(), &inner));
            vec![it.ip(n, FRAGMENT, all).into()]
        });
    }
    for cut in [8, 16] {
        cases.add("IPv6 fragments in fragments", |n| {
            let inner = fragment6(UDP, 0, 0, 9, &it.udp(n));
            it.fragments(n, FRAGMENT, &inner, &[cut])
        });
    }
    // The transport header is not in the first fragment (RFC 7112).
    for (first, cut) in [(1, 8), (4, 8), (4, 24)] {
        cases.add("IPv6 hidden transport header", |n| {
            let hidden = (0..first).fold(it.udp(n), |rest, at| {
                options(if at == 0 { UDP } else { OPTIONS }, &[1, 4, 0, 0, 0, 0], &rest)
            });
            it.fragments(n, OPTIONS, &hidden, &[cut])
        });
    }
}

fn chains(cases: &mut Cases, it: &Six) {
    let via = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x103);
    for left in [0, 1, 2] {
        // What carries it is nothing that is refused: only the header is (RFC 5095).
        cases.add("routing header type 0", |n| {
            let udp = it.ends.udp(20_000 + n, 7000, &[7; 24]);
            vec![it.ip(n, ROUTING, routing(UDP, 0, left, &[via, via], &udp)).into()]
        });
    }
    cases.add("routing header type 0", |n| {
        let rest = routing(UDP, 0, 1, &[via], &it.ends.udp(20_000 + n, 7000, &[7; 24]));
        vec![it.ip(n, HOP_BY_HOP, options(ROUTING, &[1, 4, 0, 0, 0, 0], &rest)).into()]
    });
    cases.add("routing header type 0", |n| {
        let rest = routing(UDP, 0, 1, &[via], &it.ends.udp(20_000 + n, 7000, &[7; 24]));
        vec![it.ip(n, OPTIONS, options(ROUTING, &[1, 4, 0, 0, 0, 0], &rest)).into()]
    });
    cases.add("routing header type 0", |n| {
        let whole = routing(UDP, 0, 1, &[via], &it.ends.udp(20_000 + n, 7000, &[7; 24]));
        it.fragments(n, ROUTING, &whole, &[16])
    });
    for kind in [1, 2, 3, 4, 253] {
        cases.add("other routing headers", |n| {
            vec![it.ip(n, ROUTING, routing(UDP, kind, 1, &[via], &it.udp(n))).into()]
        });
    }
    cases.add("other routing headers", |n| {
        let mut odd = routing(UDP, 2, 1, &[via], &it.udp(n));
        odd[1] = 1;
        vec![it.ip(n, ROUTING, odd).into()]
    });
    // Options by their number: padding, router alert, jumbo, what to do with an unknown one (RFC 8200 section 4.2), a home address.
    let lists: [&[u8]; 10] = [
        &[5, 2, 0, 0, 1, 0],
        &[0xc2, 4, 0, 1, 0, 0],
        &[0x1e, 4, 1, 2, 3, 4],
        &[0x5e, 4, 1, 2, 3, 4],
        &[0x9e, 4, 1, 2, 3, 4],
        &[0xde, 4, 1, 2, 3, 4],
        &[1, 4, 7, 7, 7, 7],
        &[1, 200, 0, 0, 0, 0],
        &[0, 0, 0, 0, 0, 0],
        &[4, 1, 9, 1, 1, 0],
    ];
    for list in lists {
        cases
            .add("hop-by-hop options", |n| vec![it.ip(n, HOP_BY_HOP, options(UDP, list, &it.udp(n))).into()]);
        cases.add("destination options", |n| vec![it.ip(n, OPTIONS, options(UDP, list, &it.udp(n))).into()]);
    }
    let pad: &[u8] = &[1, 4, 0, 0, 0, 0];
    cases.add("hop-by-hop options", |n| {
        vec![it.ip(n, HOP_BY_HOP, options(HOP_BY_HOP, pad, &options(UDP, pad, &it.udp(n)))).into()]
    });
    cases.add("hop-by-hop options", |n| {
        vec![it.ip(n, OPTIONS, options(HOP_BY_HOP, pad, &options(UDP, pad, &it.udp(n)))).into()]
    });
    cases.add("hop-by-hop options", |n| {
        let mut long = options(UDP, pad, &it.udp(n));
        long[1] = 200;
        vec![it.ip(n, HOP_BY_HOP, long).into()]
    });
    for times in [2, 10, 60] {
        cases.add("long chains of headers", |n| {
            let all = (0..times)
                .fold(it.udp(n), |rest, at| options(if at == 0 { UDP } else { OPTIONS }, pad, &rest));
            vec![it.ip(n, OPTIONS, all).into()]
        });
        cases.add("long chains of headers", |n| {
            let all = (0..times).fold(it.syn(n), |rest, at| match at {
                0 => routing(TCP, 2, 1, &[via], &rest),
                _ if at % 2 == 1 => options(ROUTING, pad, &rest),
                _ => routing(OPTIONS, 2, 0, &[via], &rest),
            });
            vec![it.ip(n, if times % 2 == 1 { ROUTING } else { OPTIONS }, all).into()]
        });
    }
}

fn transports(cases: &mut Cases, it: &Six) {
    let lies: [fn(V6) -> V6; 7] = [
        |ip| V6 { length: Some(0), ..ip },
        |ip| V6 { length: Some(4), ..ip },
        |ip| V6 { length: Some(20), ..ip },
        |ip| V6 { length: Some(2000), ..ip },
        |ip| V6 { version: 4, ..ip },
        |ip| V6 { version: 5, ..ip },
        |ip| V6 { body: ip.body[..4].to_vec(), ..ip },
    ];
    for lie in lies {
        cases.add("IPv6 lengths and versions that lie", |n| vec![lie(it.ip(n, UDP, it.udp(n))).into()]);
    }
    for hops in [0, 1] {
        cases.add("IPv6 at the end of its life", |n| vec![V6 { hops, ..it.ip(n, UDP, it.udp(n)) }.into()]);
        cases.add("IPv6 at the end of its life", |n| vec![V6 { hops, ..it.ip(n, TCP, it.syn(n)) }.into()]);
    }
    for flags in TCP_FLAGS {
        cases.add("TCP flags, IPv6", |n| {
            vec![it.ip(n, TCP, it.ends.tcp(20_000 + n, PPTP, flags, b"")).into()]
        });
    }
    for length in [0, 7, 31, 2000] {
        cases.add("UDP lengths that lie, IPv6", |n| {
            vec![it.ip(n, UDP, it.ends.udp_of(20_000 + n, L2TP, length, &[7; 24])).into()]
        });
    }
    cases.add("UDP lengths that lie, IPv6", |n| {
        let mut without = it.udp(n);
        without[6..8].fill(0);
        vec![it.ip(n, UDP, without).into()]
    });
    for body in gre_bodies() {
        cases.add("GRE, IPv6", |n| vec![it.ip(n, GRE, body.clone()).into()]);
    }
    for (protocol, body) in ipsec_bodies() {
        cases.add("ESP and AH cut short, IPv6", |n| vec![it.ip(n, protocol, body.clone()).into()]);
    }
}

/// What is not refused to the home: these say something about the way in only.
fn others(cases: &mut Cases, it: &Six) {
    let quoted = it.ip(1, UDP, it.udp(1)).bytes();
    let about_error = it.ip(1, ICMPV6, it.ends.icmp(1, 0, [0; 4], &quoted)).bytes();
    let target = it.to.octets();
    let messages: [(u8, u8, &[u8]); 12] = [
        (1, 0, &quoted),
        (2, 0, &quoted),
        (2, 0, &quoted[..40]),
        (1, 4, &quoted[..8]),
        (3, 0, &about_error),
        (4, 1, b""),
        (130, 0, &target),
        (133, 0, b""),
        (134, 0, &[0; 8]),
        (135, 0, &target),
        (136, 0, &target),
        (139, 0, &target),
    ];
    for (kind, code, rest) in messages {
        cases.add_way_in("ICMPv6", |n| vec![it.ip(n, ICMPV6, it.ends.icmp(kind, code, [0; 4], rest)).into()]);
    }
    // A redirect of whoever is not on the link (RFC 4861 section 8.1).
    cases.add_way_in("ICMPv6", |n| {
        let redirect = it.ends.icmp(137, 0, [0; 4], &[target, target].concat());
        vec![V6 { hops: 255, ..it.ip(n, ICMPV6, redirect) }.into()]
    });
    // IPv4 and IPv6 inside, DCCP, SCTP, mobility, UDP-Lite, HIP, Shim6, nothing, nobody's.
    for protocol in [4, 41, 33, 132, 135, 136, 139, 140, NO_NEXT, 254, 255] {
        cases.add_way_in("other protocols, IPv6", |n| {
            let inner = if protocol == 41 { it.ip(n, UDP, it.udp(n)).bytes() } else { it.udp(n) };
            vec![it.ip(n, protocol, inner).into()]
        });
    }
}
