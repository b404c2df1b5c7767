//! Looking and ending, on a kernel of paper.

use super::*;
use crate::appliance::{Assignment, Author, Options};
use crate::kernel::fake::Fake;
use crate::kernel::{Counter, Entry, Flow, FlowHandle};
use crate::store::Store;

async fn router() -> (Fake, std::sync::Arc<Appliance<Fake>>) {
    let fake = Fake::new();
    let store = Store::in_memory().await.unwrap();
    let appliance = Appliance::open(fake.clone(), store, Options::default()).await.unwrap();
    let appliance = std::sync::Arc::new(appliance);
    appliance.boot().await;
    let patch = [
        ("role", "router"),
        ("internet.device", "wan0"),
        ("internet.mode", "static"),
        ("internet.address", "198.51.100.2/24"),
        ("internet.gateway", "198.51.100.1"),
        ("local_network.devices", "lan0"),
    ]
    .map(|(key, value)| Assignment { key: key.into(), value: value.into() });
    appliance.change(None, &patch, "", Author::command_line()).await.unwrap();
    fake.forget_calls();
    (fake, appliance)
}

fn tunnel(number: u8, server_port: u16) -> Entry {
    let counter = Counter { packets: 9, bytes: 900 };
    let flow = Flow {
        protocol: 17,
        client: [192, 168, 1, number].into(),
        client_port: 4500,
        server: [203, 0, 113, 10].into(),
        server_port,
        zone: 0,
        helper: None,
        announced_by: None,
        answered: true,
        tcp_state: None,
        sent: counter,
        received: counter,
        handle: FlowHandle { id: number.into(), family: 2, tuple: vec![number] },
    };
    let answers_from = (flow.server, server_port);
    Entry { flow, answers_from, since: Some(1), rest: Some(300), assured: true, counted: true }
}

#[tokio::test]
async fn many_who_ask_at_once_cost_one_look() {
    let (fake, appliance) = router().await;
    fake.set_entries(vec![tunnel(101, 4500), tunnel(102, 51820)]);
    let all = Filter::default();
    for _ in 0..5 {
        assert_eq!(appliance.sessions(&all).await.unwrap().total, 2);
    }
    assert_eq!(fake.calls().iter().filter(|call| *call == "entries").count(), 1);
}

#[tokio::test]
async fn more_entries_than_are_looked_at_are_told_and_not_kept() {
    let (fake, appliance) = router().await;
    fake.set_entries((0..ENTRIES + 7).map(|n| tunnel(2 + (n % 200) as u8, 4500)).collect());
    let page = appliance.sessions(&Filter::default()).await.unwrap();
    assert_eq!((page.left_out, page.total), (7, 200));
}

#[tokio::test]
async fn the_two_are_held_off_before_the_entries_go_and_only_those_of_that_session() {
    let (fake, appliance) = router().await;
    fake.set_entries(vec![tunnel(101, 4500), tunnel(102, 4500), tunnel(103, 51820)]);
    let said = appliance.end_session("ipsec-192.168.1.101-203.0.113.10").await.unwrap().unwrap();
    assert!(said.contains("192.168.1.101") && said.contains("has ended"), "{said}");
    let text = fake.loaded().unwrap();
    assert_eq!(text, "add element inet postern ended_ipsec { 192.168.1.101 . 203.0.113.10 timeout 60s }\n");
    let calls = fake.calls();
    let at = |what: &str| calls.iter().position(|call| call == what).unwrap();
    assert!(at("load") < at("end 1"), "{calls:?}");
    assert_eq!(appliance.sessions(&Filter::default()).await.unwrap().total, 2);
    let again = appliance.end_session("ipsec-192.168.1.101-203.0.113.10").await.unwrap();
    assert_eq!(again, None, "it is gone");
    let refused = appliance.end_session("wireguard-192.168.1.103-203.0.113.10").await.unwrap_err();
    assert_eq!(refused.kind, RefusalKind::Invalid);
    assert_eq!(appliance.sessions(&Filter::default()).await.unwrap().total, 2);
}

#[tokio::test]
async fn who_waits_for_a_servers_pairing_is_an_alarm_and_only_as_long_as_somebody_does() {
    let (fake, appliance) = router().await;
    fake.set_entries(vec![tunnel(101, 4500), tunnel(102, 4500)]);
    appliance.sessions(&Filter::default()).await.unwrap();
    assert!(!appliance.status().await.notices.join(" ").contains("at once"));
    let mut folded = appliance.watched.lock().await.folded.clone();
    folded[1].session.state = State::Waiting;
    folded[1].session.device.name = Some("Laptop".into());
    let told = conflicts(&folded);
    assert!(told.len() == 1 && told[0].contains("203.0.113.10 at once: Laptop waits"), "{told:?}");
    folded[0].session.state = State::Waiting;
    assert!(conflicts(&folded)[0].contains("and 1 more wait until"), "{:?}", conflicts(&folded));
}

#[tokio::test]
async fn a_server_has_the_name_that_a_device_was_answered_and_one_can_look_for_it() {
    let (fake, appliance) = router().await;
    fake.set_entries(vec![tunnel(101, 4500)]);
    let listening = appliance.clone();
    let task = tokio::spawn(async move { listening.watch_answers().await });
    let named = crate::kernel::Named {
        name: "vpn.example.com".into(),
        addresses: vec![[203, 0, 113, 10].into(), [203, 0, 113, 11].into()],
    };
    while !fake.answer(named.clone()) {
        tokio::task::yield_now().await;
    }
    while appliance.server_names().is_empty() {
        tokio::task::yield_now().await;
    }
    let by_name = Filter { text: "VPN.example".into(), ..Filter::default() };
    let page = appliance.sessions(&by_name).await.unwrap();
    assert_eq!(page.sessions[0].server_name.as_deref(), Some("vpn.example.com"));
    task.abort();
    let none = Filter { text: "other.example".into(), ..Filter::default() };
    assert_eq!(appliance.sessions(&none).await.unwrap().matching, 0);
}
