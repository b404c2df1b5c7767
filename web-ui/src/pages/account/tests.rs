use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use postern::door::messages::RefusalKind;

use super::HERE;
use crate::testing::browser::{Browser, Form};
use crate::testing::fake::{PASSWORD, refusal};

const NEW: &str = "another horse";

async fn at_the_account() -> (Browser, Form) {
    let mut browser = Browser::logged_in().await;
    browser.daemon.state().log_in([192, 168, 1, 57]);
    browser.daemon.state().log_in([192, 168, 1, 101]);
    browser.open(HERE).await;
    let form = browser.form("old").set("old", PASSWORD).set("password", NEW).set("repeat", NEW);
    (browser, form)
}

#[tokio::test]
async fn a_new_password_ends_every_other_login_and_the_old_cookie() {
    let (mut browser, form) = at_the_account().await;
    let before = browser.cookies.clone();
    browser.send(form).await;
    assert_eq!((browser.path.as_str(), browser.status), (HERE, StatusCode::OK));
    assert_eq!(browser.flash(), "The password is changed. Every other login has ended.");
    assert!(browser.body.contains("Nobody else is logged in."));
    assert_eq!(browser.daemon.state().password, NEW);
    assert_ne!(browser.cookies["postern"], before["postern"]);
    browser.cookies = before;
    browser.open(HERE).await;
    assert_eq!(browser.path, "/login", "a stolen cookie is dead");
}

#[tokio::test]
async fn what_is_wrong_is_said_beside_its_field_and_no_password_comes_back() {
    let (mut browser, form) = at_the_account().await;
    for (field, value, said) in [
        ("old", "wrong horse", r#"id="old-error">That is not the present password."#),
        ("repeat", "something else", r#"id="repeat-error">The two new passwords differ."#),
    ] {
        browser.send(form.clone().set(field, value)).await;
        assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(browser.body.contains(said), "{}", browser.body);
        assert!(
            browser.body.contains("<title>Error: Account")
                && browser.body.contains(&format!("href=\"#{field}\""))
        );
        assert!(![PASSWORD, NEW, value].iter().any(|typed| browser.body.contains(typed)));
    }
    browser.send(form.clone().set("password", "short").set("repeat", "short")).await;
    assert!(browser.body.contains(r#"id="password-error">The password is too short"#));
    let state = browser.daemon.state();
    assert_eq!((state.password.as_str(), state.tickets.len()), (PASSWORD, 3), "nothing was changed");
}

#[tokio::test]
async fn a_guesser_waits_here_too_and_a_failure_is_said() {
    let (mut browser, form) = at_the_account().await;
    let mut wait = refusal(RefusalKind::Wait, "Too many wrong passwords. Try again in 60 seconds.");
    wait.wait_seconds = 60;
    browser.daemon.state().refuse = Some(wait);
    browser.send(form.clone()).await;
    assert_eq!((browser.status.as_u16(), browser.headers[RETRY_AFTER].to_str().unwrap()), (429, "60"));
    assert!(browser.body.contains(r#"id="old-error">Too many wrong passwords."#));
    browser.daemon.state().refuse =
        Some(refusal(RefusalKind::Failed, "The disk is full, so nothing was changed."));
    browser.send(form).await;
    assert_eq!(browser.status, StatusCode::BAD_GATEWAY);
    assert!(browser.body.contains("The disk is full"));
}

#[tokio::test]
async fn logins_are_listed_and_ended_but_not_this_one() {
    let (mut browser, _) = at_the_account().await;
    let ends = |browser: &Browser| -> Vec<Form> {
        browser.forms().into_iter().filter(|f| f.action == "/system/account/end").collect()
    };
    assert_eq!(ends(&browser).len(), 2);
    assert!(browser.body.contains("This one") && browser.body.contains("2 minutes ago"));
    assert!(
        browser.body.contains("02:00:00:00:01:07") && browser.body.contains("192.168.1.101"),
        "who it is"
    );
    browser.send(ends(&browser).remove(0)).await;
    assert_eq!((browser.path.as_str(), browser.flash()), (HERE, "That login has ended."));
    assert_eq!(ends(&browser).len(), 1);
    assert!(!browser.body.contains("192.168.1.101"), "the newest was the first");
    browser.daemon.state().log_in([192, 168, 1, 9]);
    let all = browser.forms().into_iter().find(|f| f.action == "/system/account/end-others").unwrap();
    browser.send(all.clone()).await;
    assert_eq!(browser.flash(), "2 other logins have ended.");
    assert!(ends(&browser).is_empty());
    browser.send(all).await;
    assert_eq!(browser.flash(), "Nobody else was logged in.");
}
