use axum::http::StatusCode;
use postern::door::messages::{Assignment, InternetState, Ipv6State};
use postern::services::{BehindNat, Clash, DelegatedPrefix, PppoeFailure, PppoeState, Service};

use super::HERE;
use crate::testing::browser::Browser;

const MTU: &str = "internet.mtu";

fn set(key: &str, value: &str) -> Assignment {
    Assignment { key: key.into(), value: value.into() }
}

#[tokio::test]
async fn exactly_what_was_changed_is_saved() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    browser.send(browser.form(MTU)).await;
    assert!(browser.daemon.state().changes.is_empty(), "{:?}", browser.daemon.state().changes);
    browser.open(HERE).await;
    browser.send(browser.form(MTU).set(MTU, "1400").set("internet.dns", "9.9.9.9")).await;
    assert_eq!(
        browser.daemon.state().changes,
        [(Some(0), vec![set("internet.dns", "9.9.9.9"), set(MTU, "1400")])]
    );
}

#[tokio::test]
async fn a_refused_value_comes_back_with_its_message_beside_the_field() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    browser.send(browser.form(MTU).set(MTU, "many").set("internet.dns", "9.9.9.9")).await;
    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(browser.body.contains(r#"id="internet-mtu-error""#), "{}", browser.body);
    assert!(browser.form(MTU).body().contains("dns=9.9.9.9"), "what was typed is kept");
}

#[tokio::test]
async fn whose_nat_it_is_is_said_in_plain_words() {
    let mut browser = Browser::logged_in().await;
    for (behind, words) in [
        (None, "not by its address"),
        (Some(BehindNat::AnotherRouter), "double NAT"),
        (Some(BehindNat::Carrier), "carrier-grade NAT"),
    ] {
        browser.daemon.state().internet_state =
            InternetState { address: Some([192, 168, 0, 2].into()), behind, ..InternetState::default() };
        browser.daemon.state().settings.role = postern::settings::Role::Router;
        browser.open(HERE).await;
        assert!(browser.body.contains(words), "{words}: {}", browser.body);
    }
}

#[tokio::test]
async fn a_clash_offers_a_free_network_and_one_click_asks_for_it() {
    let mut browser = Browser::logged_in().await;
    let clash = Clash {
        theirs: "192.168.1.50/24".parse().unwrap(),
        ours: "192.168.1.1/24".parse().unwrap(),
        free: Some("192.168.77.1/24".parse().unwrap()),
    };
    browser.daemon.state().internet_state = InternetState { clash: Some(clash), ..InternetState::default() };
    browser.open(HERE).await;
    browser.send(browser.form("address")).await;
    let sent = vec![set("local_network.address", "192.168.77.1/24")];
    assert_eq!(browser.daemon.state().changes, [(Some(0), sent)]);
}

#[tokio::test]
async fn a_pppoe_password_is_never_shown_and_an_empty_field_keeps_it() {
    let mut browser = Browser::logged_in().await;
    let (user, password) = ("internet.pppoe.user", "internet.pppoe.password");
    browser.daemon.state().settings.internet.pppoe.password = Some("s3cret".parse().unwrap());
    browser.open(HERE).await;
    assert!(!browser.body.contains("s3cret") && !browser.body.contains("••••"), "{}", browser.body);
    browser.send(browser.form(MTU).set(user, "a#1@b")).await;
    browser.open(HERE).await;
    browser.send(browser.form(MTU).set(password, "new")).await;
    let changes: Vec<_> = browser.daemon.state().changes.iter().map(|(_, patch)| patch.clone()).collect();
    assert_eq!(changes, [vec![set(user, "a#1@b")], vec![set(password, "new")]]);
}

#[tokio::test]
async fn why_there_is_no_pppoe_session_is_said_at_a_glance() {
    let mut browser = Browser::logged_in().await;
    let failed = |why| PppoeState::Failed { why };
    for (state, words) in [
        (PppoeState::NotRunning, "PPPoE service not running"),
        (PppoeState::Asking, "Asking for a session"),
        (failed(PppoeFailure::Refused), "User name or password refused"),
        (failed(PppoeFailure::NoServer), "No PPPoE server answers"),
    ] {
        let now = InternetState { pppoe: Some(state), ..InternetState::default() };
        browser.daemon.state().internet_state = now;
        browser.daemon.state().settings.role = postern::settings::Role::Router;
        browser.open(HERE).await;
        assert!(browser.body.contains(words), "{words}: {}", browser.body);
    }
}

#[tokio::test]
async fn what_came_of_ipv6_is_said_and_its_tick_can_be_taken_away() {
    let mut browser = Browser::logged_in().await;
    let prefix = DelegatedPrefix {
        prefix: "2001:db8:a00::".parse().unwrap(),
        length: 56,
        preferred: 3600,
        valid: 7200,
    };
    let came = Ipv6State {
        client: Service::Running,
        prefixes: vec![prefix],
        home: vec!["2001:db8:a00::1".parse().unwrap()],
        gateway: Some("fe80::1".parse().unwrap()),
        ..Ipv6State::default()
    };
    browser.daemon.state().internet_state = InternetState { ipv6: came, ..InternetState::default() };
    browser.open(HERE).await;
    for words in ["2001:db8:a00::/56, for 1 h", "<dd>2001:db8:a00::1</dd>", "<dd>fe80::1</dd>"] {
        assert!(browser.body.contains(words), "{words}: {}", browser.body);
    }
    browser.daemon.state().internet_state = InternetState::default();
    browser.open(HERE).await;
    assert!(!browser.body.contains("IPv6 prefix</dt>"), "nothing where it is not asked for");
    browser.send(browser.form(MTU).untick("internet.ipv6")).await;
    assert_eq!(browser.daemon.state().changes, [(Some(0), vec![set("internet.ipv6", "false")])]);
}
