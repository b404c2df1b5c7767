use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use postern::door::messages::{Assignment, MAX_IMPORT, RefusalKind};
use postern::settings::FieldError;

use super::HERE;
use crate::testing::browser::{Browser, Form};
use crate::testing::fake::refusal;

const DOCUMENT: &str = "[passthrough.pptp]\nenabled = true\nports = [1723, 1724]\n";

async fn pasted(text: &str) -> (Browser, Form) {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    let form = browser.form("text").set("text", &text.replace('\n', "\r\n"));
    browser.send(form.clone()).await;
    (browser, form)
}

/// Whether no script stands in the page but ours, by its address.
pub(super) fn only_our_script(body: &str) -> bool {
    body.matches("<script").count() == body.matches("<script src=\"/static/file-").count()
}

#[test]
fn the_script_takes_files_as_long_as_the_daemon_does() {
    let script = include_str!("../../../static/file.js");
    assert!(script.contains("const most = 128 * 1024;"));
    assert_eq!(MAX_IMPORT, 128 * 1024);
}

#[tokio::test]
async fn the_export_is_a_file_and_importing_it_changes_nothing() {
    let mut browser = Browser::logged_in().await;
    browser.daemon.state().save_with_comment("root", "", "", "internet.pppoe.password", "s3cret");
    browser.open("/system/backup/export").await;
    assert_eq!(browser.headers[CONTENT_TYPE], "application/toml; charset=utf-8");
    assert_eq!(browser.headers[CONTENT_DISPOSITION], "attachment; filename=\"postern-settings.toml\"");
    assert!(browser.body.contains("[passthrough.pptp]") && !browser.body.contains("s3cret"));
    let file = browser.body.clone();
    browser.open(HERE).await;
    browser.send(browser.form("text").set("text", &file)).await;
    assert_eq!(browser.status, StatusCode::OK);
    assert!(browser.body.contains("the document says what the settings are already"), "{}", browser.body);
    assert!(!browser.body.contains("Import these settings"));
}

#[tokio::test]
async fn nothing_is_imported_before_the_differences_were_seen() {
    let (mut browser, _) = pasted(DOCUMENT).await;
    assert_eq!(browser.status, StatusCode::OK);
    assert!(
        browser.body.contains("2 settings would change")
            && browser.body.contains("<strong>1723, 1724</strong>")
    );
    assert!(browser.daemon.state().imports.is_empty() && browser.daemon.state().history.is_empty());
    browser.send(browser.form("base_revision")).await;
    assert_eq!((browser.path.as_str(), browser.flash()), (HERE, "The settings were imported."));
    assert_eq!(browser.daemon.state().imports, [(Some(0), DOCUMENT.to_owned())]);
    assert!(browser.daemon.state().settings.passthrough.pptp.enabled);
}

#[tokio::test]
async fn a_wrong_document_comes_back_with_the_line_beside_it() {
    for (text, said) in [
        ("[access]\nport = 70000", "Line 2: Port 70000 is too high."),
        ("\n\n[pasthrough]\nx = 1", "There is no setting named"),
        ("= 1", "Line 1:"),
        ("[local_network.dhcp]\nstart = \"10.9.9.9\"", "local_network.dhcp.start: "),
        (" \r\n", "Paste the document first"),
    ] {
        let (mut browser, form) = pasted(text).await;
        assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY, "{text}");
        assert!(browser.body.contains("<title>Error: Backup"));
        let (_, beside) = browser.body.split_once(r#"<div id="text-error">"#).unwrap();
        assert!(beside.contains(said), "{said}: {beside}");
        assert_eq!(browser.form("text").body(), form.body(), "what was pasted is kept");
        browser.send(browser.form("text").set("text", DOCUMENT)).await;
        assert_eq!(browser.status, StatusCode::OK, "and it can be mended from there");
    }
}

#[tokio::test]
async fn a_document_up_to_the_limit_is_taken_and_a_longer_one_kept_and_refused() {
    let filled = |length: usize| {
        let text = format!("{DOCUMENT}#{}", "\u{fc}".repeat((length - DOCUMENT.len() - 1) / 2));
        assert!(text.len().abs_diff(length) < 2);
        text
    };
    let (mut browser, _) = pasted(&filled(MAX_IMPORT)).await;
    assert_eq!(browser.status, StatusCode::OK, "each byte of it was written in three");
    browser.send(browser.form("base_revision")).await;
    assert_eq!(browser.flash(), "The settings were imported.");
    for text in [filled(MAX_IMPORT + 2), "a\n".repeat(MAX_IMPORT / 2)] {
        let (browser, form) = pasted(&text).await;
        assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(browser.body.contains("too long for this page"));
        assert_eq!(browser.form("text").body(), form.body());
    }
    let (browser, _) = pasted(&"a".repeat(4 * MAX_IMPORT)).await;
    assert_eq!(browser.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn only_who_is_logged_in_may_send_so_much() {
    let mut browser = Browser::before(crate::testing::fake::Fake::claimed());
    browser.open("/login").await;
    browser.post(HERE, format!("token={}&text={}", browser.token(), "a".repeat(70_000))).await;
    assert_eq!(browser.status, StatusCode::PAYLOAD_TOO_LARGE);
}

#[tokio::test]
async fn a_change_since_the_preview_is_a_conflict_and_is_shown() {
    let (mut browser, _) = pasted(DOCUMENT).await;
    let patch = [Assignment { key: "passthrough.l2tp.enabled".into(), value: "false".into() }];
    browser.daemon.state().save("root", "command line", &patch).unwrap();
    browser.send(browser.form("base_revision")).await;
    assert_eq!(browser.status, StatusCode::CONFLICT);
    assert!(browser.body.contains("the settings have changed since you looked"));
    assert!(browser.body.contains("3 settings would change"));
    browser.send(browser.form("base_revision")).await;
    assert_eq!(browser.flash(), "The settings were imported.");
    assert!(browser.daemon.state().settings.passthrough.l2tp.enabled);
}

#[tokio::test]
async fn what_the_kernel_or_a_trial_refuses_is_said_and_the_document_is_kept() {
    for (kind, status) in [(RefusalKind::Failed, 502), (RefusalKind::OnTrial, 409)] {
        let (mut browser, form) = pasted(DOCUMENT).await;
        browser.daemon.state().refuse = Some(refusal(kind, "The firewall refused the new rules."));
        browser.send(browser.form("base_revision")).await;
        assert_eq!(browser.status.as_u16(), status);
        assert!(
            browser.body.contains("Nothing was imported") && browser.body.contains("The firewall refused")
        );
        assert_eq!(browser.form("text").body(), form.body());
    }
}

#[tokio::test]
async fn a_hostile_document_is_text() {
    let hostile = "# </textarea><script>alert(1)</script>\" onmouseover='x'\n";
    let (mut browser, _) = pasted(&format!("{hostile}{DOCUMENT}")).await;
    let mut wrong = refusal(RefusalKind::Invalid, hostile);
    wrong.fields = vec![FieldError::new(hostile, hostile)];
    for _ in 0..2 {
        assert!(only_our_script(&browser.body) && !browser.body.contains("\" onmouseover"));
        assert!(!browser.body.contains("# </textarea>") && browser.body.contains("&#60;script&#62;"));
        browser.daemon.state().refuse = Some(wrong.clone());
        if browser.body.contains("base_revision") {
            browser.send(browser.form("base_revision")).await;
            assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
        }
    }
}
