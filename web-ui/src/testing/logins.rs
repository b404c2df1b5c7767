//! Claim, login, logout, trial: what a person lives through.

use std::time::{Duration, Instant};

use axum::http::StatusCode;
use axum::http::header::{LOCATION, RETRY_AFTER, SET_COOKIE};
use postern::door::messages::{RefusalKind, Trial};

use super::browser::Browser;
use super::fake::{CODE, Fake, PASSWORD};

#[tokio::test]
async fn an_unclaimed_box_leads_to_the_claim_and_the_claim_logs_in() {
    let mut browser = Browser::before(Fake::unclaimed());
    for path in ["/", "/login", "/security/vpn-passthrough", "/claim"] {
        browser.open(path).await;
        assert_eq!(browser.path, "/claim");
    }
    let form = browser.form("code").set("code", CODE).set("password", PASSWORD).set("repeat", PASSWORD);
    browser.send(form.clone().set("code", "wrong")).await;
    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(browser.body.contains("That is not the one-time code."));
    browser.send(form.clone().set("repeat", "something else")).await;
    assert!(browser.body.contains("The two passwords differ."));
    browser.send(form.clone().set("password", "short").set("repeat", "short")).await;
    assert!(browser.body.contains(r#"id="password-error">The password is too short"#));
    browser.send(form).await;
    assert_eq!((browser.status, browser.path.as_str()), (StatusCode::OK, "/"));
    assert!(browser.flash().starts_with("This router is yours now."));
    browser.open("/claim").await;
    assert_eq!(browser.path, "/", "claimed and logged in");
}

#[tokio::test]
async fn a_wrong_password_keeps_nothing() {
    let mut browser = Browser::before(Fake::claimed());
    browser.open("/login").await;
    let form = browser.form("password").set("password", "guess");
    browser.send(form).await;
    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        browser.body.contains("<title>Error: Log in") && browser.body.contains("That is not the password.")
    );
    assert!(!browser.body.contains("guess"));
    assert_eq!(browser.cookies.keys().collect::<Vec<_>>(), ["postern-form"], "no login cookie");
    assert_eq!(browser.daemon.state().sources, [browser.peer.address.ip()]);
}

#[tokio::test]
async fn the_daemon_may_make_a_guesser_wait() {
    let mut browser = Browser::before(Fake::claimed());
    browser.open("/login").await;
    let mut wait =
        super::fake::refusal(RefusalKind::Wait, "Too many wrong passwords. Try again in 60 seconds.");
    wait.wait_seconds = 60;
    browser.daemon.state().refuse_login = Some(wait);
    browser.send(browser.form("password").set("password", PASSWORD)).await;
    assert_eq!(
        (browser.status, browser.headers[RETRY_AFTER].to_str().unwrap()),
        (StatusCode::TOO_MANY_REQUESTS, "60")
    );
    assert!(browser.body.contains("Try again in 60 seconds."));
}

#[tokio::test]
async fn a_login_gets_a_cookie_of_its_own_whatever_the_browser_sent() {
    let mut browser = Browser::before(Fake::claimed());
    browser.open("/login").await;
    let chosen = "AAAAAAAAAAAAAAAAAAAAAA";
    browser.cookies.insert("postern".into(), chosen.into());
    browser.send(browser.form("password").set("password", PASSWORD)).await;
    let first = browser.cookies["postern"].clone();
    assert_ne!(first, chosen);
    let mut thief = Browser::logged_in().await;
    thief.cookies.insert("postern".into(), chosen.into());
    thief.open("/").await;
    assert_eq!(thief.path, "/login");
}

#[tokio::test]
async fn logging_in_again_leaves_the_old_cookie_dead() {
    let mut browser = Browser::logged_in().await;
    let (old, token) = (browser.cookies.clone(), browser.form("token").fields.remove(0).1.unwrap());
    browser.post("/login", format!("token={token}&password=correct+horse+battery")).await;
    assert_eq!(browser.headers[LOCATION], "/");
    assert_ne!(browser.cookies["postern"], old["postern"]);
    browser.open("/").await;
    assert_eq!(browser.path, "/");
    browser.cookies = old;
    browser.open("/").await;
    assert_eq!(browser.path, "/login");
}

#[tokio::test]
async fn logging_out_ends_the_ticket_and_the_cookie() {
    let mut browser = Browser::logged_in().await;
    let before = browser.cookies.clone();
    let form = browser.form("token");
    assert_eq!(form.action, "/logout");
    browser.send(form).await;
    assert!(browser.body.contains("You are logged out."));
    assert!(browser.daemon.state().tickets.is_empty());
    browser.cookies = before;
    browser.open("/").await;
    assert_eq!(browser.path, "/login", "the old cookie is dead");
}

#[tokio::test]
async fn a_login_that_idled_in_the_daemon_ends_here_too() {
    let mut browser = Browser::logged_in().await;
    browser.open("/security/vpn-passthrough").await;
    let form = browser.form("base_revision");
    browser.daemon.state().tickets.clear();
    browser.post(&form.action, form.body()).await;
    assert_eq!(browser.status, StatusCode::SEE_OTHER);
    assert_eq!(browser.headers[LOCATION], "/login?why=ended");
    assert!(browser.headers[SET_COOKIE].to_str().unwrap().starts_with("postern=;"));
    browser.open("/login?why=ended").await;
    assert!(browser.flash().starts_with("You were logged out. A login ends after 10 idle minutes"));
    assert!(browser.daemon.state().changes.is_empty());
}

#[tokio::test]
async fn without_the_daemon_every_page_says_so_and_keeps_its_looks() {
    let mut browser = Browser::logged_in().await;
    browser.daemon.state().silent = true;
    for path in ["/", "/login", "/security/vpn-passthrough", "/nowhere"] {
        browser.open(path).await;
        assert_eq!(browser.status, StatusCode::SERVICE_UNAVAILABLE);
        assert!(
            browser.body.contains("The Postern daemon is not running")
                && browser.body.contains("stay in force")
        );
    }
    browser.open(crate::assets::style()).await;
    assert_eq!(browser.status, StatusCode::OK);
    browser.daemon.state().silent = false;
    browser.open("/").await;
    assert_eq!((browser.status, browser.path.as_str()), (StatusCode::OK, "/"), "still logged in");
}

/// A browser, logged in over a connection that is so old, with settings on trial for two seconds.
async fn on_trial(connected: Duration, handed_over: bool) -> Browser {
    on_trial_with(connected, handed_over, false).await
}

async fn on_trial_with(connected: Duration, handed_over: bool, https: bool) -> Browser {
    let mut browser = Browser::logged_in().await;
    let (ports, waits) = (vec![80], None);
    browser.daemon.state().trial =
        Some(Trial { revision: 7, age_ms: 2000, seconds_left: 88, https, ports, waits });
    browser.peer.since = Instant::now() - connected;
    browser.peer.handed_over = handed_over;
    browser.open("/").await;
    browser
}

#[tokio::test]
async fn plain_http_proves_nothing_while_https_is_on_trial() {
    let mut browser = on_trial_with(Duration::from_secs(1), true, true).await;
    assert_eq!(browser.daemon.state().confirmed, []);
    assert!(browser.body.contains("on trial"), "{}", browser.body);
    // Nor is the login of before one there: its cookie has gone over the network in the clear.
    browser.peer.secure = true;
    let value = browser.cookies["postern"].clone();
    browser.cookies.insert("__Host-postern".into(), value);
    browser.open("/").await;
    assert_eq!(browser.path, "/login");
    browser.send(browser.form("password").set("password", PASSWORD)).await;
    assert_eq!((browser.path.as_str(), browser.status), ("/", StatusCode::OK));
    assert_eq!(browser.daemon.state().confirmed, [Some(7)]);
}

#[tokio::test]
async fn reaching_the_page_on_a_new_connection_keeps_settings_on_trial() {
    let browser = on_trial(Duration::from_secs(1), true).await;
    assert_eq!(browser.daemon.state().confirmed, [Some(7)]);
    assert!(!browser.body.contains("on trial"));
}

/// On trial it is open where it was before, too: another firewall may close where it is going.
#[tokio::test]
async fn a_page_where_it_was_before_keeps_nothing_and_says_where_it_is_going() {
    let mut browser = Browser::logged_in().await;
    let (ports, waits) = (vec![8080], None);
    let trial = Trial { revision: 7, age_ms: 2000, seconds_left: 88, https: false, ports, waits };
    browser.daemon.state().trial = Some(trial);
    browser.peer.since = Instant::now();
    browser.open("/").await;
    assert_eq!(browser.daemon.state().confirmed, []);
    assert!(browser.body.contains("data-elsewhere=\"8080\""), "{}", browser.body);
    browser.peer.port = 8080;
    browser.open("/").await;
    assert_eq!(browser.daemon.state().confirmed, [Some(7)]);
}

#[tokio::test]
async fn a_page_keeps_nothing_by_itself_that_it_cannot_show() {
    let mut browser = Browser::logged_in().await;
    let (ports, waits) = (vec![80], Some("Nobody has answered yet.".to_owned()));
    let trial = Trial { revision: 7, age_ms: 2000, seconds_left: 88, https: false, ports, waits };
    browser.daemon.state().trial = Some(trial);
    browser.peer.since = Instant::now();
    browser.open("/").await;
    assert_eq!(browser.daemon.state().confirmed, []);
    assert!(browser.body.contains("Nobody has answered yet."), "{}", browser.body);
}

#[tokio::test]
async fn an_old_connection_or_a_listener_of_our_own_proves_nothing() {
    for (connected, handed_over) in [(Duration::from_secs(3), true), (Duration::ZERO, false)] {
        let mut browser = on_trial(connected, handed_over).await;
        assert!(browser.daemon.state().confirmed.is_empty());
        assert!(browser.body.contains("they go back in 88 seconds"));
        browser.send(browser.form("revision")).await;
        assert_eq!(browser.daemon.state().confirmed, [Some(7)]);
        assert_eq!(browser.flash(), "The settings are kept.");
    }
}

#[tokio::test]
async fn who_takes_back_what_is_on_trial_keeps_nothing_by_a_new_connection() {
    let mut browser = on_trial(Duration::from_secs(3), true).await;
    let go_back = browser.form_to("/system/history/undo");
    // He has read for a while: his browser makes another connection for the click.
    browser.peer.since = Instant::now();
    browser.send(go_back).await;
    assert_eq!(browser.daemon.state().confirmed, []);
    assert!(browser.daemon.state().trial.is_none());
    assert_eq!(browser.flash(), "The settings before are in force again.");
}

#[tokio::test]
async fn a_box_without_a_role_says_what_to_do() {
    let mut browser = Browser::logged_in().await;
    browser.daemon.state().role = postern::settings::Role::Unset;
    browser.open("/").await;
    assert!(browser.body.contains("href=\"/network/ports\""));
    assert!(browser.body.contains(r#"data-protocol="pptp" data-effect="inactive""#));
}
