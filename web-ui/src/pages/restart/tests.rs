use axum::http::StatusCode;
use axum::http::header::REFRESH;

use super::HERE;
use crate::testing::browser::Browser;
use crate::testing::fake::PASSWORD;

async fn at_the_page() -> Browser {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    browser
}

#[tokio::test]
async fn a_restart_ends_the_login_and_its_page_comes_back_by_itself() {
    let mut browser = at_the_page().await;
    browser.send(browser.form_to(HERE).set("owner", PASSWORD)).await;
    assert_eq!(browser.status, StatusCode::OK);
    assert_eq!(browser.headers[REFRESH], "5; url=/");
    assert!(browser.body.contains("Postern restarts.") && browser.body.contains("comes back by itself"));
    assert_eq!(browser.daemon.state().ends, ["restart"]);
    assert!(!browser.cookies.contains_key("postern"));
    browser.daemon.state().silent = true;
    browser.open("/").await;
    assert_eq!(
        (browser.status, &browser.headers[REFRESH]),
        (StatusCode::SERVICE_UNAVAILABLE, &"5; url=/".parse().unwrap())
    );
    browser.daemon.state().silent = false;
    browser.open("/").await;
    assert_eq!(browser.path, "/login");
}

#[tokio::test]
async fn nothing_ends_without_the_password_and_the_word() {
    let mut browser = at_the_page().await;
    browser.send(browser.form_to(HERE).set("owner", "wrong horse")).await;
    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(browser.body.contains(r#"id="restart-owner-error">That is not the password of this router"#));
    let reset = browser.form_to("/system/restart/reset").set("word", "reset").set("owner", PASSWORD);
    browser.send(reset.clone().set("word", "yes")).await;
    assert!(browser.body.contains(r#"id="reset-word-error">Type the word reset here."#));
    browser.send(reset.clone().set("owner", "wrong horse")).await;
    assert!(browser.body.contains(r#"id="reset-owner-error">That is not the password of this router"#));
    assert!(browser.daemon.state().ends.is_empty());
    browser.send(reset.set("word", " Reset ")).await;
    assert_eq!((browser.status, browser.daemon.state().ends.as_slice()), (StatusCode::OK, &["reset"][..]));
    assert!(browser.body.contains("claim code"));
}
