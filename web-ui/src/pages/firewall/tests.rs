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

#[tokio::test]
async fn after_a_conflict_keep_says_what_it_would_keep_and_times_are_the_owners() {
    let mut browser = Browser::logged_in().await;
    let dmz = |minutes: i64| {
        let until = postern::settings::names::Time::from_unix(crate::testing::fake::CLOCK + minutes * 60);
        (set("firewall.dmz", &format!("192.168.1.20 until {until}")), until)
    };
    let ((first, opened), (second, _)) = (dmz(30), dmz(90));
    browser.daemon.state().save("root", "command line", &[first]).unwrap();
    browser.open(HERE).await;
    assert!(
        browser.body.contains("VPN clients of your devices go on working"),
        "what the DMZ means for them"
    );
    let form = browser.form("spi").set("firewall.ping", "true");
    browser.daemon.state().save("root", "command line", &[second]).unwrap();
    browser.send(form).await;
    assert_eq!(browser.status, StatusCode::CONFLICT);
    let say = postern::door::messages::Clock::default().say(opened.unix());
    let keep = browser.body.split("value=\"keep\"").nth(1).unwrap().split("</option>").next().unwrap();
    assert!(keep.contains(&say), "{keep} is not {say}");
    assert!(!browser.body.contains(&format!(">{opened}")), "no raw UTC: {}", browser.body);
    assert!(browser.body.contains(&format!("192.168.1.20 until {say}</td>")), "{}", browser.body);
    browser.open("/system/history").await;
    assert!(browser.body.contains(&format!("<strong>192.168.1.20 until {say}</strong>")), "{}", browser.body);
}
