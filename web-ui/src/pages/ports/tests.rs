use axum::http::StatusCode;
use postern::door::messages::{Assignment, Port, Use};

use super::HERE;
use crate::testing::browser::Browser;

fn port(name: &str) -> Port {
    Port {
        name: name.parse().unwrap(),
        up: true,
        carrier: true,
        speed: Some(1000),
        mac: Some([2, 0, 0, 0, 0, 1]),
        addresses: Vec::new(),
        used: None,
        seems: None,
        offered: None,
    }
}

async fn with_two_ports() -> Browser {
    let browser = Browser::logged_in().await;
    let offered = Some(([198, 51, 100, 9].into(), Some([198, 51, 100, 1].into())));
    let wan = Port { offered, seems: Some(Use::Internet), ..port("eth0") };
    browser.daemon.state().ports = vec![wan, Port { seems: Some(Use::Local), ..port("eth1") }];
    browser
}

#[tokio::test]
async fn nothing_is_asked_of_the_ports_until_the_owner_wants_it() {
    let mut browser = with_two_ports().await;
    browser.open(HERE).await;
    assert_eq!(browser.daemon.state().port_looks, [false]);
    assert!(browser.body.contains("Connected, 1000 Mbit/s"), "{}", browser.body);
}

#[tokio::test]
async fn what_a_dhcp_answer_tells_is_suggested_and_saved_only_by_the_owner() {
    let mut browser = with_two_ports().await;
    browser.open(HERE).await;
    browser.send(browser.form_to("/network/ports/look")).await;
    assert_eq!(browser.daemon.state().port_looks, [false, true]);
    assert!(
        browser.body.contains("The DHCP server 198.51.100.1 lends 198.51.100.9 here."),
        "{}",
        browser.body
    );
    assert!(browser.daemon.state().changes.is_empty());
    browser.send(browser.form("port.eth0")).await;
    let set = |key: &str, value: &str| Assignment { key: key.into(), value: value.into() };
    let sent =
        vec![set("role", "router"), set("internet.device", "eth0"), set("local_network.devices", "eth1")];
    assert_eq!(browser.daemon.state().changes, [(Some(0), sent)]);
}

#[tokio::test]
async fn without_both_sides_nothing_is_saved_and_the_choice_is_kept() {
    let mut browser = with_two_ports().await;
    for (choices, words) in [
        (["none", "local"], "that leads to the internet"),
        (["internet", "internet"], "not several"),
        (["internet", "none"], "at least one port for the local network"),
    ] {
        browser.open(HERE).await;
        let form = browser.form("port.eth0").set("port.eth0", choices[0]).set("port.eth1", choices[1]);
        browser.send(form).await;
        assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(browser.body.contains(words), "{}", browser.body);
        assert!(browser.body.contains(&format!(r#"data-port="eth0" data-choice="{}""#, choices[0])));
    }
    assert!(browser.daemon.state().changes.is_empty());
}
