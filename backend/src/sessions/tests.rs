use std::collections::BTreeMap;
use std::net::IpAddr;

use super::recorded::entries;
use super::*;
use crate::kernel::{Element, Entries};
use crate::settings::tests::router;

const LAB: &str = include_str!("recorded/lab.txt");
const ESP: &str = include_str!("recorded/esp.txt");

fn folded(entries: &Entries, learnt: &Learnt) -> Vec<Folded> {
    let settings = router();
    let inside = |address: IpAddr| address.to_string().starts_with("192.168.1.");
    fold(entries, learnt, &Home { settings: &settings, inside: &inside })
}

fn read(text: &str) -> Vec<Session> {
    folded(&entries(text), &Learnt::default()).into_iter().map(|one| one.session).collect()
}

fn one(kind: Kind, all: &[Session]) -> Session {
    let mut ours = all.iter().filter(|one| one.kind == kind);
    let (Some(found), None) = (ours.next(), ours.next()) else { panic!("not one {kind:?}: {all:#?}") };
    found.clone()
}

#[test]
fn what_the_lab_recorded_is_one_session_for_each_tunnel() {
    let all = read(LAB);
    assert_eq!(all.len(), 4, "{all:#?}");
    let pptp = one(Kind::Pptp, &all);
    assert_eq!(pptp.id, "pptp-192.168.1.101-203.0.113.10-41130");
    assert_eq!((pptp.state, pptp.since, pptp.idle), (State::Open, Some(1_795_253_435), Some(1)));
    assert_eq!(pptp.calls, [Call { device: 0x931a, server: 0 }]);
    let traffic = pptp.traffic.unwrap();
    assert_eq!((traffic.sent, traffic.received), (644 + 2796, 404 + 2772));
    let nat_t = one(Kind::IpsecNatT, &all);
    assert_eq!((nat_t.state, nat_t.parts.len(), nat_t.idle), (State::Open, 2, Some(1)));
    let esp = one(Kind::IpsecEsp, &read(ESP));
    assert_eq!((esp.state, esp.device.address.to_string().as_str()), (State::Open, "192.168.1.101"));
    assert_eq!(one(Kind::L2tp, &all).server_port, Some(1701));
    assert!(!one(Kind::Wireguard, &all).can_end, "it is ordinary traffic");
}

#[test]
fn gre_that_the_server_began_counts_for_the_call_and_in_its_direction() {
    let control = "ipv4 2 tcp 6 86398 ESTABLISHED src=192.168.1.101 dst=203.0.113.10 sport=41130 dport=1723 packets=6 bytes=644 \
                   src=203.0.113.10 dst=198.51.100.2 sport=1723 dport=41130 packets=4 bytes=404 [ASSURED] helper=pptp id=1\n";
    let gre = "ipv4 2 gre 47 17990 src=203.0.113.10 dst=198.51.100.2 srckey=0x9 dstkey=0xa0aa packets=7 bytes=700 [UNREPLIED] \
               src=192.168.1.101 dst=203.0.113.10 srckey=0x7 dstkey=0x9 packets=0 bytes=0 [ASSURED] master=1 id=2\n";
    let all = read(&format!("{control}{gre}"));
    let call = one(Kind::Pptp, &all);
    assert_eq!(call.calls, [Call { device: 7, server: 9 }]);
    assert_eq!(call.state, State::Halfway, "the device has sent none");
    assert_eq!(call.traffic.map(|t| (t.sent, t.received)), Some((644, 404 + 700)));
    assert_eq!(one(Kind::Gre, &read(gre)).state, State::Calling, "without its control connection");
    let before = read(&control.replace("helper=pptp ", ""));
    assert_eq!(one(Kind::Pptp, &before).state, State::MustRedial);
    let closed = read(&control.replace("ESTABLISHED", "TIME_WAIT"));
    assert_eq!(one(Kind::Pptp, &closed).state, State::Ending);
}

#[test]
fn what_nobody_counted_is_unknown_and_strangers_have_no_session() {
    let uncounted: String = LAB
        .lines()
        .map(|line| line.split(' ').filter(|w| !w.starts_with("packets=") && !w.starts_with("bytes=")))
        .map(|words| words.collect::<Vec<_>>().join(" ") + "\n")
        .collect();
    assert!(read(&uncounted).iter().all(|one| one.traffic.is_none()));
    assert!(read(&LAB.replace("192.168.1.", "198.18.1.")).is_empty());
    assert!(read(&LAB.replace("dst=203.0.113.10", "dst=192.168.1.7")).is_empty(), "inside the home");
}

#[test]
fn l2tp_beside_ipsec_with_the_same_server_is_one_connection() {
    let both = LAB.replace("src=192.168.1.102", "src=192.168.1.101");
    let all = read(&both);
    let l2tp = one(Kind::L2tpIpsec, &all);
    assert_eq!((l2tp.parts.len(), l2tp.state), (3, State::Open));
    assert!(!all.iter().any(|one| one.kind == Kind::L2tp));
}

/// 192.168.1.101 and .102 with 203.0.113.10; the zone is the two last bytes as this machine reads them.
fn key(last: u8, spi: u32) -> Vec<u8> {
    let mut key = vec![203, 0, 113, 10];
    key.extend(u16::from_ne_bytes([1, last]).to_ne_bytes());
    key.extend([0, 0]);
    if spi > 0 {
        key.extend(spi.to_be_bytes());
    }
    key
}

#[test]
fn what_the_rules_have_learnt_tells_spis_and_who_waits() {
    let element = |key: Vec<u8>, data: Vec<u8>| Element { key, data, ..Element::default() };
    let spi_of_server = vec![203, 0, 113, 10, 0, 0, 0x22, 0x22];
    let zone = u16::from_ne_bytes([1, 101]).to_ne_bytes().to_vec();
    let mut learnt = BTreeMap::from([
        ("esp_sent", vec![element(key(101, 0x1111), Vec::new())]),
        ("esp_in", vec![element(spi_of_server.clone(), zone)]),
        ("esp_holds", vec![element(key(102, 0), Vec::new())]),
    ]);
    let esp = |learnt: &BTreeMap<&'static str, Vec<Element>>| {
        let all: Vec<Session> =
            folded(&entries(ESP), &Learnt::of(learnt)).into_iter().map(|one| one.session).collect();
        one(Kind::IpsecEsp, &all)
    };
    let waiting = esp(&learnt);
    let expected =
        [Spi { number: 0x2222, sent: false, sure: false }, Spi { number: 0x1111, sent: true, sure: true }];
    let mut seen = waiting.spis.clone();
    seen.sort_by_key(|spi| spi.sent);
    assert_eq!((waiting.state, seen.as_slice()), (State::Waiting, &expected[..]));
    learnt.insert("esp_heard", vec![element(key(101, 0), Vec::new())]);
    assert_eq!(esp(&learnt).state, State::Pairing);
    learnt.insert("esp_sure", vec![element(spi_of_server, Vec::new())]);
    assert_eq!(esp(&learnt).state, State::Open);
    assert!(esp(&learnt).spis.iter().all(|spi| spi.sure));
    let torn = vec![element(vec![1, 2, 3], Vec::new())];
    let odd = SETS.iter().map(|set| (*set, torn.clone())).collect();
    assert_eq!(esp(&odd).spis, []);
}

#[test]
fn a_rate_is_drawn_only_from_looks_that_were_taken_and_the_ledger_stays_small() {
    let mut ledger = Ledger::default();
    let at = |packets: u64, bytes: u64| {
        let text = ESP.replace("packets=30 bytes=2760", &format!("packets={packets} bytes={bytes}"));
        folded(&entries(&text), &Learnt::default())
    };
    let esp =
        |all: &[Folded]| one(Kind::IpsecEsp, &all.iter().map(|f| f.session.clone()).collect::<Vec<_>>());
    let mut first = at(30, 3000);
    ledger.note(&mut first, 0);
    assert_eq!(esp(&first).samples, [], "one look is no rate");
    let mut soon = at(35, 3500);
    ledger.note(&mut soon, 2_000);
    assert_eq!(esp(&soon).samples, [], "too early");
    assert_eq!(esp(&soon).idle, Some(0), "a packet went by between the looks");
    let mut later = at(40, 4000);
    ledger.note(&mut later, 10_000);
    assert_eq!(esp(&later).samples, [Sample { age_ms: 0, over_ms: 10_000, sent: 1000, received: 1000 }]);
    for look in 2..200 {
        ledger.note(&mut at(40, 4000), look * 10_000);
    }
    let mut last = at(1, 90);
    ledger.note(&mut last, 2_000_000);
    assert_eq!(esp(&last).samples.len(), 61);
    assert!(esp(&last).samples.iter().all(|s| s.sent == 0), "begun anew is no negative rate");
    ledger.note(&mut [], 3_000_000);
    let mut back = at(50, 5000);
    ledger.note(&mut back, 3_010_000);
    assert_eq!(esp(&back).samples, [], "what went away is forgotten");
}

#[test]
fn a_page_is_never_longer_than_allowed_and_says_how_many_there_are() {
    let template = folded(&entries(LAB), &Learnt::default()).remove(0);
    let all: Vec<Folded> = (0..1000u32)
        .map(|n| {
            let mut one = template.clone();
            one.session.id = format!("{n}");
            one.session.device.address = std::net::Ipv4Addr::from(0xc0a8_0000 + n).into();
            one
        })
        .collect();
    let page = Filter { limit: usize::MAX, ..Filter::default() }.page(&all);
    assert_eq!((page.sessions.len(), page.matching, page.total), (200, 1000, 1000));
    let page = Filter { text: "192.168.3.2".into(), skip: 5, ..Filter::default() }.page(&all);
    assert_eq!((page.sessions.len(), page.matching, page.skipped), (38, 43, 5));
    let page = Filter { skip: usize::MAX, kind: Some(Kind::Gre), ..Filter::default() }.page(&all);
    assert_eq!((page.sessions.len(), page.matching, page.skipped), (0, 0, 0));
}
