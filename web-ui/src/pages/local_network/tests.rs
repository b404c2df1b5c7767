use axum::http::StatusCode;
use postern::door::messages::Assignment;
use postern::services::Service;

use super::HERE;
use crate::testing::browser::Browser;

const LEASE: &str = "local_network.dhcp.lease";

fn set(key: &str, value: &str) -> Assignment {
    Assignment { key: key.into(), value: value.into() }
}

#[tokio::test]
async fn exactly_what_was_changed_is_saved() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    browser.send(browser.form(LEASE)).await;
    assert!(browser.daemon.state().changes.is_empty());
    assert!(browser.flash().starts_with("Nothing was changed"), "{}", browser.flash());
    let form = browser.form(LEASE).set(LEASE, "45m").untick("local_network.dns.rebind_protection");
    browser.send(form).await;
    let sent = vec![set(LEASE, "45m"), set("local_network.dns.rebind_protection", "false")];
    assert_eq!(browser.daemon.state().changes, [(Some(0), sent)]);
}

#[tokio::test]
async fn a_refused_value_comes_back_with_its_message_beside_the_field() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    browser.send(browser.form(LEASE).set(LEASE, "soon").set("local_network.domain", "lan.example")).await;
    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        browser.body.contains(r#"id="local-network-dhcp-lease-error">A lease lasts"#),
        "{}",
        browser.body
    );
    let again = browser.form(LEASE).body();
    assert!(again.contains("lease=soon") && again.contains("domain=lan.example"), "{again}");
}

#[tokio::test]
async fn a_stale_form_saves_nothing_and_keeps_what_was_typed() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    let form = browser.form(LEASE).set(LEASE, "7d");
    browser.daemon.state().save("root", "command line", &[set("local_network.domain", "x.example")]).unwrap();
    browser.send(form).await;
    assert_eq!(browser.status, StatusCode::CONFLICT);
    assert!(browser.daemon.state().changes.is_empty());
    assert!(browser.form(LEASE).body().contains("lease=7d"));
}

#[tokio::test]
async fn the_page_says_that_a_new_address_is_on_trial_and_how_the_service_is() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    assert!(browser.body.contains("90 seconds"));
    assert!(browser.body.contains(r#"data-service="working""#));
    browser.daemon.state().dhcp_dns = Service::NotInstalled;
    browser.open(HERE).await;
    assert!(browser.body.contains("Not installed"));
}

#[tokio::test]
async fn what_somebody_else_saved_meanwhile_is_shown_beside_what_was_typed() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    let form = browser.form("local_network.domain").set("local_network.domain", "attic.home.arpa");
    let lease = set(LEASE, "2h");
    browser.daemon.state().save("root", "command line", &[lease]).unwrap();
    browser.send(form).await;
    assert_eq!(browser.status, StatusCode::CONFLICT);
    assert!(browser.daemon.state().changes.is_empty(), "nothing is merged");
    assert!(browser.body.contains("Somebody else saved meanwhile"));
    for row in ["Local domain", "Lease time"] {
        assert!(browser.body.contains(&format!("<th scope=\"row\">{row}</th>")), "{row}: {}", browser.body);
    }
}
