//! When a call's entry goes, on a kernel of paper.

use super::*;
use crate::appliance::Options;
use crate::kernel::Counter;
use crate::kernel::fake::Fake;
use crate::store::Store;

/// SYN_SENT, ESTABLISHED, FIN_WAIT, CLOSE_WAIT, LAST_ACK, TIME_WAIT, CLOSE.
const OPEN: [u8; 2] = [1, 3];

fn call(id: u32, state: u8) -> Flow {
    Flow {
        protocol: TCP,
        client: [192, 168, 1, 101].into(),
        client_port: 40_000,
        server: [203, 0, 113, 10].into(),
        server_port: 1723,
        zone: 0,
        helper: Some("pptp".to_owned()),
        announced_by: None,
        answered: true,
        tcp_state: Some(state),
        sent: Counter::default(),
        received: Counter::default(),
        handle: FlowHandle { id, ..FlowHandle::default() },
    }
}

#[test]
fn a_call_ends_at_its_last_ack_or_reset_and_at_most_four_seconds_after_its_first_fin() {
    let start = Instant::now();
    let second = |n| start + Duration::from_secs(n);
    for closed in CLOSED {
        let mut ending = Ending::default();
        ending.hear(Event::Update(call(1, 4)), start);
        ending.hear(Event::Update(call(1, closed)), second(1));
        assert_eq!(ending.due(second(1)), [call(1, closed)]);
        assert_eq!(ending.next(), None);
    }
    let mut ending = Ending::default();
    for (state, at) in [(4, 0), (5, 2), (6, 3)] {
        ending.hear(Event::Update(call(1, state)), second(at));
    }
    assert_eq!(ending.due(second(3)), [], "the goodbye may still be on its way");
    assert_eq!(ending.next(), Some(second(4)));
    assert_eq!(ending.due(second(4)), [call(1, 6)]);
}

#[test]
fn an_open_call_and_what_is_no_call_are_never_touched() {
    let now = Instant::now();
    let mut ending = Ending::default();
    for state in OPEN {
        ending.hear(Event::New(call(1, state)), now);
        ending.hear(Event::Update(call(1, state)), now);
    }
    ending.hear(Event::Update(Flow { helper: None, ..call(2, 7) }), now);
    ending.hear(Event::Update(Flow { protocol: 47, tcp_state: None, ..call(3, 7) }), now);
    assert_eq!((ending.due(now + GOODBYE), ending.next()), (vec![], None));
    ending.hear(Event::Update(call(1, 4)), now);
    ending.hear(Event::Update(call(1, 3)), now);
    assert_eq!(ending.next(), None, "it is open again");
    ending.hear(Event::Update(call(1, 4)), now);
    ending.hear(Event::Destroy(call(1, 4)), now);
    assert_eq!(ending.next(), None, "it went by itself");
}

/// A daemon on a kernel of paper that follows its calls.
async fn listening(flows: Vec<Flow>) -> Fake {
    let fake = Fake::new();
    fake.set_flows(flows);
    let store = Store::in_memory().await.unwrap();
    let appliance = Appliance::open(fake.clone(), store, Options::default()).await.unwrap();
    tokio::spawn(async move { appliance.watch_calls().await });
    fake
}

async fn comes(fake: &Fake, wanted: &str) {
    let found = async {
        while !fake.calls().iter().any(|call| call == wanted) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let came = tokio::time::timeout(Duration::from_secs(10), found).await;
    assert!(came.is_ok(), "{wanted} should have been asked for: {:?}", fake.calls());
}

#[tokio::test]
async fn calls_that_ended_while_nobody_watched_are_ended_at_the_start_after_listening_began() {
    let fake = listening(vec![call(1, 3), call(2, 8), Flow { helper: None, ..call(3, 8) }]).await;
    comes(&fake, "end 1").await;
    let calls = fake.calls();
    let at = |what: &str| calls.iter().position(|call| call == what);
    assert!(at("events") < at("observe"), "{calls:?}");
    let all = [FlowMatch { protocol: TCP, server_port: None }];
    assert_eq!(fake.observe(&all).await.unwrap().flows, [call(1, 3), Flow { helper: None, ..call(3, 8) }]);
}

#[tokio::test]
async fn an_end_that_is_told_is_acted_on_and_lost_events_are_made_up_for() {
    let fake = listening(vec![call(1, 3), call(2, 3)]).await;
    comes(&fake, "observe").await;
    fake.forget_calls();
    fake.set_flows(vec![call(1, 7), call(2, 3)]);
    assert!(fake.play(Event::Update(call(1, 7))));
    comes(&fake, "end 1").await;
    assert!(!fake.calls().contains(&"observe".to_owned()), "no look at the table for one event");
    fake.forget_calls();
    fake.set_flows(vec![call(2, 8)]);
    assert!(fake.play(Event::Missed));
    comes(&fake, "end 1").await;
}

#[test]
fn lost_events_are_said_for_ten_minutes_and_logged_once() {
    let now = Instant::now();
    let mut resets = Resets::default();
    assert_eq!(resets.notice(now), None);
    assert!(resets.miss(now) && !resets.miss(now + Duration::from_secs(300)));
    assert!(
        resets.notice(now + Duration::from_secs(899)).is_some_and(|said| said.contains("may be missing"))
    );
    assert_eq!(resets.notice(now + Duration::from_secs(901)), None);
    assert!(resets.miss(now + Duration::from_secs(901)));
}

#[tokio::test]
async fn after_an_error_the_kernel_is_asked_anew() {
    let fake = listening(vec![call(1, 3)]).await;
    comes(&fake, "observe").await;
    fake.forget_calls();
    fake.fail_at(1);
    fake.set_flows(vec![call(1, 8)]);
    assert!(fake.play(Event::Update(call(1, 8))));
    comes(&fake, "events").await;
    let twice = async {
        while fake.calls().iter().filter(|call| *call == "end 1").count() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), twice).await.is_ok(), "{:?}", fake.calls());
}

#[test]
fn a_reset_is_a_refusal_only_before_the_call_was_open() {
    let now = Instant::now();
    let mut resets = Resets::default();
    resets.hear(&Event::New(Flow { tcp_state: None, ..call(1, 1) }), now);
    resets.hear(&Event::Destroy(call(1, 8)), now);
    for state in [1, 2, 3, 8] {
        resets.hear(&Event::Update(call(2, state)), now);
    }
    resets.hear(&Event::New(call(3, 8)), now);
    let told = resets.told(now + Duration::from_secs(7));
    let [one] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!((one.port, one.ago), (1723, 7));
    for id in 4..1000 {
        resets.hear(&Event::New(call(id, 1)), now);
        resets.hear(&Event::New(call(id + 1000, 1)), now);
        resets.hear(&Event::Update(call(id, 8)), now);
    }
    assert!(resets.opening.len() <= REMEMBERED);
    assert_eq!(resets.refused.len(), REMEMBERED);
    assert_eq!(resets.told(now).len(), 1, "one for each device and server");
}

#[test]
fn calls_to_a_server_of_the_home_want_the_helper_and_are_looked_at_as_well() {
    let mut settings = crate::settings::tests::router();
    let mut set = |key: &str, value: &str| crate::settings::keys::set(&mut settings, key, value).unwrap();
    set("passthrough.pptp.ports", "1823");
    set("passthrough.pptp.enabled", "false");
    set("forwards.vpn", "pptp to 192.168.1.20:1724");
    let ports = |settings: &Settings| {
        control(settings).into_iter().filter_map(|flow| flow.server_port).collect::<Vec<_>>()
    };
    // Where the internet calls: what it is at the device does not matter to conntrack.
    assert_eq!(ports(&settings), [1723, 1823]);
    assert!(crate::ruleset::Helper::Pptp.wanted(&settings));
    crate::settings::keys::set(&mut settings, "forwards.vpn", "pptp to 192.168.1.20 (off)").unwrap();
    assert_eq!(ports(&settings), [1823]);
    assert!(!crate::ruleset::Helper::Pptp.wanted(&settings));
}
