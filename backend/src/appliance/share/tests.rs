use std::net::IpAddr;

use super::super::tests::{Home, ROUTER};
use super::super::{Author, RefusalKind};
use super::*;
use crate::journal::JournalFilter;
use crate::kernel::Neighbour;

/// Of a table of 262,144: a third is 87,381, a sixth 43,690.
const ROOM: u64 = 262_144;
const CAMERA: [u8; 6] = [2, 0, 0, 0, 1, 0x65];
const LAPTOP: [u8; 6] = [2, 0, 0, 0, 1, 0x66];

fn at(last: u8) -> IpAddr {
    [192, 168, 1, last].into()
}

fn v6() -> IpAddr {
    "2001:db8:1::65".parse().unwrap()
}

/// As the rules have learnt it.
fn owned(mac: [u8; 6], address: IpAddr) -> Element {
    let mut key = [mac.as_slice(), &[0, 0]].concat();
    match address {
        IpAddr::V4(v4) => key.extend(v4.octets()),
        IpAddr::V6(v6) => key.extend(v6.octets()),
    }
    Element { key, ..Element::default() }
}

async fn crowded() -> Home {
    let home = Home::router().await;
    home.fake.set_elements("share_ipv4", vec![owned(CAMERA, at(101)), owned(LAPTOP, at(102))]);
    home.fake.set_elements("share_ipv6", vec![owned(CAMERA, v6())]);
    home
}

async fn look(home: &Home, held: &[(IpAddr, u64)]) {
    home.fake.set_held(held.iter().copied());
    home.fake.set_fill(held.iter().map(|(_, entries)| entries).sum(), ROOM);
    home.appliance.shares().counted = None;
    let seen = home.fake.observe(&[]).await.unwrap();
    home.fake.forget_calls();
    home.appliance.look_at_shares(&seen).await;
}

/// Who is kept from opening more.
fn over(home: &Home) -> Vec<Vec<u8>> {
    home.fake.elements_of(OVER).into_iter().map(|element| element.key).collect()
}

async fn journal(home: &Home) -> Vec<String> {
    let page = home.appliance.journal().page(&JournalFilter::default()).await;
    let ours = |said: &String| said.contains("connection table");
    page.entries.iter().map(|entry| entry.sentence()).filter(ours).collect()
}

#[tokio::test]
async fn who_holds_more_than_a_third_opens_no_more_until_it_holds_less_than_a_sixth_and_that_is_told() {
    let home = crowded().await;
    look(&home, &[(at(101), 60_000), (v6(), 20_000), (at(102), 10_000)]).await;
    assert_eq!(over(&home), [[0; 6]; 0], "80,000 of both families are no third");
    assert!(home.appliance.over_share().is_empty());
    look(&home, &[(at(101), 60_000), (v6(), 30_000), (at(102), 10_000)]).await;
    assert_eq!(over(&home), [CAMERA], "90,000 are");
    let told = home.appliance.status().await;
    assert_eq!(told.over_share.len(), 1);
    let sentence = "192.168.1.101 holds 90,000 of the connection table's 262,144 entries: too many for one device. It opens no new \
         connections until it holds fewer than 43,690; what it has open goes on. Look what runs on it: it may be infected, or share files \
         without a limit. Devices can end its connections.";
    assert!(told.notices.iter().any(|notice| notice == sentence), "{:?}", told.notices);
    look(&home, &[(at(101), 50_000), (at(102), 10_000)]).await;
    assert_eq!(over(&home), [CAMERA], "not yet");
    look(&home, &[(at(101), 43_600), (at(102), 10_000)]).await;
    assert_eq!(over(&home), [[0; 6]; 0], "again");
    assert!(home.appliance.status().await.over_share.is_empty());
    let said = journal(&home).await;
    assert_eq!(said.len(), 2, "{said:?}");
    assert!(said[1].contains("held more than a third of the connection table"), "{said:?}");
    assert!(said[0].contains("may open connections again"), "{said:?}");
}

#[tokio::test]
async fn as_long_as_nobody_can_hold_too_many_nothing_is_counted_and_a_table_that_is_empty_again_frees_everybody()
 {
    let home = crowded().await;
    look(&home, &[(at(101), 80_000)]).await;
    assert!(home.fake.calls().contains(&"held".to_owned()), "once after the start: {:?}", home.fake.calls());
    let seen = home.fake.observe(&[]).await.unwrap();
    home.fake.forget_calls();
    home.appliance.look_at_shares(&seen).await;
    assert!(home.fake.calls().is_empty(), "a third of all is not more than a third: {:?}", home.fake.calls());
    look(&home, &[(at(101), 100_000)]).await;
    assert_eq!(over(&home), [CAMERA]);
    look(&home, &[]).await;
    assert_eq!(over(&home), [[0; 6]; 0]);
    assert!(!home.fake.calls().contains(&"held".to_owned()), "an empty table is not counted");
}

#[tokio::test]
async fn what_a_daemon_before_has_put_in_stays_or_goes_as_it_should_and_is_told_once() {
    let home = crowded().await;
    let left = |mac: [u8; 6], rest_ms| Element { key: mac.to_vec(), rest_ms, ..Element::default() };
    home.fake.set_elements(OVER, vec![left(CAMERA, Some(590_000)), left(LAPTOP, Some(590_000))]);
    look(&home, &[(at(101), 50_000), (at(102), 10_000)]).await;
    assert_eq!(over(&home), [CAMERA], "more than a sixth, and it was in it");
    assert_eq!(journal(&home).await, [""; 0]);
    assert_eq!(home.appliance.over_share()[0].held, 50_000);
    assert!(!home.fake.calls().contains(&"teach".to_owned()));
    home.fake.set_elements(OVER, vec![left(CAMERA, Some(200_000))]);
    look(&home, &[(at(101), 50_000)]).await;
    let calls = home.fake.calls();
    let renewed: Vec<&String> =
        calls.iter().filter(|call| call.starts_with("unlearn") || *call == "teach").collect();
    assert_eq!(renewed, ["unlearn 1", "teach"], "before it is forgotten");
    assert_eq!(over(&home), [CAMERA]);
    assert_eq!(home.fake.elements_of(OVER)[0].rest_ms, None, "anew");
}

#[tokio::test]
async fn whose_an_address_is_that_opened_nothing_lately_the_neighbour_table_says() {
    let home = crowded().await;
    let near = |device| Neighbour { device, mac: [2, 0, 0, 0, 1, 9], address: at(109), seen_seconds: 3 };
    home.fake.set_neighbours(vec![near(3)]);
    look(&home, &[(at(109), 100_000)]).await;
    assert_eq!(over(&home), [[0; 6]; 0], "a neighbour of the internet port is no device of the home");
    home.fake.set_neighbours(vec![near(2)]);
    look(&home, &[(at(109), 100_000)]).await;
    assert_eq!(over(&home), [[2, 0, 0, 0, 1, 9]]);
}

#[tokio::test]
async fn one_click_ends_all_that_a_device_has_begun_and_then_it_may_open_connections_again() {
    let home = crowded().await;
    look(&home, &[(at(101), 90_000), (v6(), 5), (at(102), 7)]).await;
    assert_eq!(over(&home), [CAMERA]);
    let said = home.appliance.end_connections(" 02:00:00:00:01:65 ").await.unwrap();
    assert!(said.starts_with("90,005 connections of 02:00:00:00:01:65 ended."), "{said}");
    home.fake.set_fill(7, ROOM);
    let seen = home.fake.observe(&[]).await.unwrap();
    home.appliance.look_at_shares(&seen).await;
    assert_eq!(over(&home), [[0; 6]; 0]);
    for unknown in ["02:00:00:00:09:09", "laptop", ""] {
        let refused = home.appliance.end_connections(unknown).await.unwrap_err();
        assert_eq!((refused.kind, refused.fields[0].key.as_str()), (RefusalKind::Invalid, "mac"));
    }
}

#[tokio::test]
async fn beside_another_firewall_it_is_told_and_nothing_is_done() {
    let home = Home::fresh().await;
    let beside = ROUTER.map(|(key, value)| (key, if key == "role" { "companion" } else { value }));
    home.set(&beside).await.unwrap();
    home.appliance.confirm(None, Author::command_line()).await.unwrap();
    home.fake.set_neighbours(vec![Neighbour { device: 2, mac: CAMERA, address: at(101), seen_seconds: 3 }]);
    look(&home, &[(at(101), 100_000)]).await;
    assert_eq!(over(&home), [[0; 6]; 0]);
    let told = home.appliance.over_share();
    assert!(told[0].again.is_none() && told[0].sentence().contains("Beside another firewall"), "{told:?}");
    look(&home, &[(at(101), 50_000)]).await;
    assert_eq!(home.appliance.over_share().len(), 1);
    look(&home, &[(at(101), 40_000)]).await;
    assert!(home.appliance.over_share().is_empty());
}

#[test]
fn numbers_are_grouped_and_keys_of_both_families_are_read() {
    let said = [0, 999, 1000, 43_690, 262_144, 1_000_000].map(grouped);
    assert_eq!(said, ["0", "999", "1,000", "43,690", "262,144", "1,000,000"]);
    for address in [at(7), v6()] {
        assert_eq!(owner(&owned(CAMERA, address).key), Some((address, CAMERA)));
    }
    assert_eq!(owner(&CAMERA), None);
}

#[tokio::test]
async fn an_address_of_two_devices_is_whose_began_something_last() {
    for later in [CAMERA, LAPTOP] {
        let home = crowded().await;
        let of = |mac| Element {
            rest_ms: Some(if mac == later { 86_000_000 } else { 1000 }),
            ..owned(mac, at(101))
        };
        for both in [vec![of(CAMERA), of(LAPTOP)], vec![of(LAPTOP), of(CAMERA)]] {
            home.fake.set_elements("share_ipv4", both);
            look(&home, &[(at(101), 90_000)]).await;
            assert_eq!(over(&home), [later]);
        }
    }
}

#[tokio::test]
async fn of_a_table_without_a_limit_nobody_holds_too_much() {
    let home = crowded().await;
    home.fake.set_held([(at(101), 5)]);
    home.fake.set_fill(5, 0);
    let seen = home.fake.observe(&[]).await.unwrap();
    home.appliance.look_at_shares(&seen).await;
    assert_eq!(over(&home), [[0; 6]; 0]);
    assert!(home.appliance.over_share().is_empty());
}
