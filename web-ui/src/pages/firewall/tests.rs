use axum::http::StatusCode;
use postern::door::messages::Assignment;

use super::HERE;
use crate::testing::browser::Browser;

fn set(key: &str, value: &str) -> Assignment {
    Assignment { key: key.into(), value: value.into() }
}

#[tokio::test]
async fn what_weakens_the_firewall_is_saved_with_its_end_which_the_page_tells_and_keeps() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    let form = browser.form("spi").set("dmz", "192.168.1.20").set("dmz_for", "60").set("spi", "10");
    let now = crate::testing::fake::CLOCK;
    browser.send(form).await;
    assert_eq!((browser.path.as_str(), browser.status), (HERE, StatusCode::OK), "{}", browser.body);
    let settings = browser.daemon.state().settings.clone();
    let left = |words: String| -> i64 {
        let time = words.rsplit(' ').next().unwrap().parse::<postern::settings::names::Time>().unwrap();
        time.unix() - now
    };
    assert_eq!(left(settings.firewall.spi.to_string()), 600, "by the daemon's clock");
    assert_eq!(left(settings.firewall.dmz.to_string()), 3600);
    assert!(browser.body.contains("192.168.1.20 until") && browser.body.contains(", in "));
    browser.send(browser.form("spi").set("firewall.ping", "true")).await;
    assert_eq!(browser.daemon.state().changes[1].1, [set("firewall.ping", "true")], "the ends are kept");
    browser.send(browser.form("spi").set("spi", "on").set("dmz", "")).await;
    let back = vec![set("firewall.spi", "on"), set("firewall.dmz", "none")];
    assert_eq!(browser.daemon.state().changes[2].1, back);
}

#[tokio::test]
async fn what_is_no_address_is_said_beside_the_field_and_kept() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    browser.send(browser.form("spi").set("dmz", "laptop")).await;
    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(browser.body.contains("firewall-dmz-error") && browser.form("spi").body().contains("dmz=laptop"));
}
