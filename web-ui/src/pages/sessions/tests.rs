use axum::http::StatusCode;

use crate::testing::browser::Browser;
use crate::testing::fake::some_sessions;

#[tokio::test]
async fn sessions_are_shown_with_what_is_known_and_what_is_not_counted_is_not_zero() {
    let mut browser = Browser::logged_in().await;
    browser.open("/vpn-sessions").await;
    assert!(browser.body.contains("No VPN session yet"));
    browser.daemon.state().sessions = some_sessions();
    browser.open("/vpn-sessions").await;
    for part in [
        "192.168.1.23",
        "vpn.example.com<small>203.0.113.20</small>",
        "SPI out c4a1 09be",
        "48 MB / 336 MB",
        "Call IDs 7 and 1024",
        "probably WireGuard",
    ] {
        assert!(browser.body.contains(part), "{part}: {}", browser.body);
    }
    assert!(browser.body.contains("not counted") && browser.body.contains("not measured yet"));
    assert_eq!(browser.body.matches("<polyline").count(), 2, "only what was measured is drawn");
    assert_eq!(browser.body.matches(">End session</button>").count(), 3, "not of ordinary traffic");
}

#[tokio::test]
async fn a_session_is_ended_by_its_button() {
    let mut browser = Browser::logged_in().await;
    browser.daemon.state().sessions = some_sessions();
    browser.open("/vpn-sessions").await;
    let form = browser.form("id");
    browser.send(form).await;
    assert_eq!((browser.status, browser.path.as_str()), (StatusCode::OK, "/vpn-sessions"));
    assert!(browser.flash().contains("has ended"), "{}", browser.flash());
    assert_eq!(browser.daemon.state().ended, ["ipsec_esp-192.168.1.23-203.0.113.10"]);
}

#[tokio::test]
async fn after_an_end_the_filter_and_the_page_are_those_of_before() {
    let mut browser = Browser::logged_in().await;
    let mut many = some_sessions();
    let template = many[0].clone();
    many.extend((0..60_u8).map(|n| {
        let mut one = template.clone();
        one.id = format!("one-{n}");
        one.device.address = [10, 0, 0, n].into();
        one
    }));
    browser.daemon.state().sessions = many;
    browser.open("/vpn-sessions?text=10.0.0.&kind=ipsec_esp&skip=50").await;
    let shown = browser.body.clone();
    assert!(shown.contains("51 to 60 of 60."), "{shown}");
    let form = browser.form("id");
    browser.send(form).await;
    assert_eq!(browser.status, StatusCode::OK);
    assert!(browser.flash().contains("has ended"));
    for part in ["51 to ", "value=\"10.0.0.\"", "value=\"ipsec_esp\" selected"] {
        assert!(browser.body.contains(part), "{part}: {}", browser.body);
    }
}

#[tokio::test]
async fn that_all_pptp_calls_of_the_two_end_is_said_at_the_button() {
    let mut browser = Browser::logged_in().await;
    browser.daemon.state().sessions = some_sessions();
    browser.open("/vpn-sessions?kind=pptp").await;
    assert!(browser.body.contains("with every PPTP call of the two\">End session"), "{}", browser.body);
    browser.open("/vpn-sessions?kind=ipsec_esp").await;
    assert!(!browser.body.contains("with every PPTP call"));
}

#[tokio::test]
async fn the_list_is_filtered_and_paged_by_the_daemon_and_what_was_typed_comes_back() {
    let mut browser = Browser::logged_in().await;
    let mut many = some_sessions();
    for n in 0..200_u16 {
        let mut one = many[3].clone();
        one.id = format!("wireguard-{n}");
        one.device.address = [10, 0, (n / 100) as u8, (n % 100) as u8].into();
        many.push(one);
    }
    browser.daemon.state().sessions = many;
    browser.open("/vpn-sessions?text=203.0.113.30").await;
    assert!(browser.body.contains("1 to 50 of 201."), "{}", browser.body);
    assert!(browser.body.contains("/vpn-sessions?text=203.0.113.30&#38;skip=50"), "{}", browser.body);
    browser.open("/vpn-sessions?text=203.0.113.30&skip=200").await;
    assert!(browser.body.contains("201 to 201 of 201.") && browser.body.contains(">Before<"));
    browser.open("/vpn-sessions?text=203.0.113.30&skip=250").await;
    assert!(browser.body.contains("None here; 201 in all.") && browser.body.contains(">Before<"));
    browser.open("/vpn-sessions?kind=pptp").await;
    assert_eq!(browser.body.matches("<tr data-session").count(), 1);
    for odd in ["text=%3Cscript%3E", "skip=-1", "kind=%00", "skip=99999999999999999999", "text=%ff&&&=="] {
        browser.open(&format!("/vpn-sessions?{odd}")).await;
        assert_eq!(browser.status, StatusCode::OK, "{odd}");
        assert!(!browser.body.contains("<script>"), "{odd}");
    }
}

#[tokio::test]
async fn names_that_devices_give_themselves_are_text() {
    let mut browser = Browser::logged_in().await;
    let mut sessions = some_sessions();
    sessions[0].device.name = Some("<b onclick=x>\"'&".into());
    browser.daemon.state().sessions = sessions;
    browser.open("/vpn-sessions").await;
    assert!(!browser.body.contains("<b onclick"), "{}", browser.body);
    assert!(browser.body.contains("&#60;b onclick=x&#62;&#34;&#39;&#38;"));
}

#[tokio::test]
async fn only_this_page_may_run_our_script_and_nobody_elses() {
    let mut browser = Browser::logged_in().await;
    browser.open("/vpn-sessions").await;
    let policy = browser.headers["content-security-policy"].to_str().unwrap().to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; connect-src 'self';"), "{policy}");
    assert!(!policy.contains("unsafe"));
    assert!(browser.body.contains("<script src=\"/static/live-"));
    browser.open("/").await;
    assert!(!browser.headers["content-security-policy"].to_str().unwrap().contains("script"));
}

#[tokio::test]
async fn the_stream_tells_the_table_and_keeps_no_login_alive() {
    let mut browser = Browser::logged_in().await;
    browser.daemon.state().sessions = some_sessions();
    browser.open("/vpn-sessions").await;
    let token = browser.token();
    browser.daemon.state().attended.clear();
    browser.open("/vpn-sessions/live?kind=pptp").await;
    assert_eq!(browser.headers["content-type"], "text/event-stream");
    assert!(
        browser.body.lines().all(|line| line.is_empty() || line.starts_with("data: ")),
        "{}",
        browser.body
    );
    assert_eq!(browser.body.matches("<tr data-session").count(), 1);
    assert!(browser.body.contains(&token), "its buttons work");
    let attended = browser.daemon.state().attended.clone();
    assert!(attended.len() >= 2 && attended.iter().all(|attended| !attended), "{attended:?}");
}
