use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, RETRY_AFTER};
use postern::door::messages::{Assignment, RefusalKind};

use super::HERE;
use crate::testing::browser::{Browser, Form};
use crate::testing::fake::{PASSWORD, refusal};

const SEALED_WITH: &str = "a backup's own password";

async fn at_the_page() -> Browser {
    let mut browser = Browser::logged_in().await;
    browser.daemon.state().save_with_comment("root", "", "", "internet.pppoe.password", "s3cret");
    browser.open(HERE).await;
    browser
}

fn take(browser: &Browser) -> Form {
    let form = browser.form_to("/system/backup/take").set("owner", PASSWORD);
    form.set("password", SEALED_WITH).set("repeat", SEALED_WITH)
}

/// A backup of now; then PPTP is switched on.
async fn pasted() -> (Browser, Form) {
    let mut browser = at_the_page().await;
    browser.send(take(&browser)).await;
    let backup = browser.body.clone();
    let patch = [Assignment { key: "passthrough.pptp.enabled".into(), value: "true".into() }];
    browser.daemon.state().save("owner", "", &patch).unwrap();
    browser.open(HERE).await;
    let form = browser.form_to("/system/backup/restore").set("backup", &backup.replace('\n', "\r\n"));
    (browser, form.set("password", SEALED_WITH).set("owner", PASSWORD))
}

fn now(browser: &Browser) -> Form {
    let form = browser.form_to("/system/backup/restore/now");
    form.set("password", SEALED_WITH).set("owner", PASSWORD)
}

#[tokio::test]
async fn a_backup_is_a_file_with_the_secrets_and_comes_back_after_its_differences_were_seen() {
    let mut browser = at_the_page().await;
    browser.send(take(&browser)).await;
    assert_eq!(browser.headers[CONTENT_DISPOSITION], "attachment; filename=\"postern-backup.txt\"");
    assert!(browser.body.contains("s3cret"), "the fake daemon's encryption is none");
    let (mut browser, form) = pasted().await;
    browser.send(form).await;
    assert_eq!(browser.status, StatusCode::OK, "{}", browser.body);
    assert!(browser.body.contains("1 setting would change") && browser.daemon.state().imports.is_empty());
    assert!(!browser.body.contains(PASSWORD), "the router's password is not carried along");
    browser.send(now(&browser)).await;
    assert_eq!((browser.path.as_str(), browser.flash()), (HERE, "The settings were imported."));
    assert!(!browser.daemon.state().settings.passthrough.pptp.enabled);
}

#[tokio::test]
async fn without_the_right_password_of_this_router_there_is_no_backup_and_no_restore() {
    let mut browser = at_the_page().await;
    browser.send(take(&browser).set("owner", "wrong horse")).await;
    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(browser.body.contains(r#"id="take-owner-error">That is not the password of this router"#));
    assert!(!browser.body.contains("s3cret") && !browser.body.contains("wrong horse"));
    let (mut browser, form) = pasted().await;
    browser.send(form.clone().set("owner", "wrong horse")).await;
    assert!(browser.body.contains(r#"id="restore-owner-error">That is not the password of this router"#));
    assert!(!browser.body.contains("1 setting would change"), "not even the differences");
    browser.send(form).await;
    browser.send(now(&browser).set("owner", "wrong horse")).await;
    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(browser.daemon.state().imports.is_empty());
}

#[tokio::test]
async fn what_is_wrong_stands_beside_its_field_and_what_was_pasted_is_kept() {
    let mut browser = at_the_page().await;
    browser.send(take(&browser).set("repeat", "something else")).await;
    assert!(browser.body.contains(r#"id="take-repeat-error">The two passwords differ."#));
    let (mut browser, form) = pasted().await;
    browser.send(form.clone().set("password", "another password")).await;
    assert!(browser.body.contains(r#"id="restore-password-error">That is not the password of this backup."#));
    let kept = browser.form_to("/system/backup/restore").set("password", SEALED_WITH).set("owner", PASSWORD);
    assert_eq!(kept.body(), form.body());
    browser.send(form.set("backup", "</textarea><script>")).await;
    let (_, beside) = browser.body.split_once(r#"<div id="restore-backup-error">"#).unwrap();
    assert!(
        beside.contains("That is no backup of Postern.")
            && super::super::tests::only_our_script(&browser.body)
    );
}

#[tokio::test]
async fn a_guesser_waits_and_a_change_since_the_preview_is_a_conflict() {
    let mut browser = at_the_page().await;
    let mut wait = refusal(RefusalKind::Wait, "Too many wrong passwords. Try again in 60 seconds.");
    wait.wait_seconds = 60;
    browser.daemon.state().refuse = Some(wait);
    browser.send(take(&browser)).await;
    assert_eq!((browser.status.as_u16(), browser.headers[RETRY_AFTER].to_str().unwrap()), (429, "60"));
    let (mut browser, form) = pasted().await;
    browser.send(form).await;
    let patch = [Assignment { key: "passthrough.l2tp.enabled".into(), value: "false".into() }];
    browser.daemon.state().save("root", "command line", &patch).unwrap();
    browser.send(now(&browser)).await;
    assert_eq!(browser.status, StatusCode::CONFLICT);
    assert!(browser.body.contains("2 settings would change"), "{}", browser.body);
    browser.send(now(&browser)).await;
    assert_eq!(browser.flash(), "The settings were imported.");
}
