use axum::http::StatusCode;
use postern::door::messages::{Device, KnownDevice, OverShare, Refusal, RefusalKind};

use super::HERE;
use crate::testing::browser::Browser;

const MAC: &str = "02:00:00:00:01:65";

fn device(name: Option<&str>, calls_itself: &str) -> KnownDevice {
    KnownDevice {
        mac: MAC.parse().unwrap(),
        name: name.map(|name| name.parse().unwrap()),
        reserved: name.map(|_| [192, 168, 1, 20].into()),
        address: Some([192, 168, 1, 101].into()),
        calls_itself: Some(calls_itself.into()),
        seen: Some(75),
        ends: Some(1_795_000_000),
    }
}

#[tokio::test]
async fn a_device_is_added_changed_and_removed() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    browser
        .send(browser.form("name").set("mac", MAC).set("name", "Laptop").set("address", "192.168.1.20"))
        .await;
    assert_eq!((browser.path.as_str(), browser.flash()), (HERE, "The device is set."));
    browser.daemon.state().devices = vec![device(Some("Laptop"), "tv")];
    browser.open(HERE).await;
    for part in ["Laptop", "192.168.1.20", "192.168.1.101", "2026-11-18 11:06 UTC", "seen 1 min 15 s ago"] {
        assert!(browser.body.contains(part), "{part}");
    }
    let forms = browser.forms();
    let remove = forms.into_iter().find(|form| form.action == "/network/devices/remove").unwrap();
    browser.send(remove).await;
    let changes = browser.daemon.state().device_changes.clone();
    assert_eq!(
        changes,
        [(Some(0), format!("{MAC} Laptop 192.168.1.20")), (Some(0), format!("remove {MAC}"))]
    );
}

#[tokio::test]
async fn a_device_is_renamed_and_keeps_its_address() {
    let mut browser = Browser::logged_in().await;
    browser.daemon.state().devices = vec![device(Some("Laptop"), "tv")];
    browser.open(HERE).await;
    let edit = format!("{HERE}?edit={MAC}");
    assert!(browser.body.contains(&format!("href=\"{edit}#edit\"")), "{}", browser.body);
    browser.open(&edit).await;
    browser.send(browser.form("name").set("name", "Anna")).await;
    let changes = browser.daemon.state().device_changes.clone();
    assert_eq!(changes, [(Some(0), format!("{MAC} Anna 192.168.1.20"))]);
    for unknown in ["?edit=02:00:00:00:01:66", "?edit=%ff", "?edit"] {
        browser.open(&format!("{HERE}{unknown}")).await;
        assert!(browser.status == StatusCode::OK && browser.form("name").body().contains("mac=&"));
    }
}

#[tokio::test]
async fn a_device_that_holds_too_many_connections_is_told_once_with_a_button_that_ends_them() {
    let mut browser = Browser::logged_in().await;
    let device =
        Device { address: [192, 168, 1, 101].into(), mac: Some(MAC.into()), name: Some("<b>Camera".into()) };
    let over = OverShare { device, held: 90_000, room: 262_144, again: Some(43_690) };
    browser.daemon.state().notices = vec![over.sentence(), "The connection table is 90 % full.".into()];
    browser.daemon.state().over_share = vec![over];
    browser.open(HERE).await;
    assert_eq!(browser.body.matches("holds 90,000 of the connection table").count(), 1, "{}", browser.body);
    assert!(browser.body.contains("90 % full") && !browser.body.contains("<b>Camera"), "{}", browser.body);
    let forms = browser.forms();
    let end = forms.into_iter().find(|form| form.action == "/network/devices/end").unwrap();
    browser.send(end).await;
    assert_eq!((browser.path.as_str(), browser.flash()), (HERE, "90,000 connections have ended."));
    assert_eq!(browser.daemon.state().ended, [MAC]);
    assert!(!browser.body.contains("/network/devices/end"));
}

#[tokio::test]
async fn what_is_refused_stands_beside_its_field_and_what_was_typed_is_kept() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    let words = "That is no address of the local network.";
    browser.daemon.state().refuse = Some(Refusal::field(RefusalKind::Invalid, "address", words));
    browser.send(browser.form("name").set("mac", MAC).set("name", "Laptop").set("address", "1.2.3.4")).await;
    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(browser.body.contains(&format!(r#"id="address-error">{words}"#)), "{}", browser.body);
    assert!(browser.form("name").body().contains("address=1.2.3.4"));
}

#[tokio::test]
async fn what_a_device_calls_itself_is_text() {
    let mut browser = Browser::logged_in().await;
    browser.daemon.state().devices = vec![device(None, r#"<script>alert(1)</script>" onmouseover='x'"#)];
    for page in [HERE, "/network/local"] {
        browser.open(page).await;
        assert!(!browser.body.contains("<script") && !browser.body.contains("\" onmouseover"), "{page}");
        assert!(browser.body.contains("&#60;script&#62;"), "{page}");
    }
}
