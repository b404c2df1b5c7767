use axum::http::StatusCode;
use postern::door::messages::{KnownDevice, Refusal, RefusalKind};

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
