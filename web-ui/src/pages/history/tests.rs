use axum::http::StatusCode;
use postern::door::messages::{Assignment, RefusalKind, RevisionState};

use super::HERE;
use crate::testing::browser::{Browser, Form};
use crate::testing::fake::refusal;

const PPTP: &str = "passthrough.pptp.enabled";

fn set(key: &str, value: &str) -> [Assignment; 1] {
    [Assignment { key: key.into(), value: value.into() }]
}

/// PPTP on by the owner (1), other L2TP ports by root (2).
async fn two_changes() -> Browser {
    let mut browser = Browser::logged_in().await;
    browser.daemon.state().save("owner", "192.168.1.23", &set(PPTP, "true")).unwrap();
    browser.daemon.state().save_with_comment(
        "root",
        "command line",
        "for the office",
        "passthrough.l2tp.ports",
        "1701,1702",
    );
    browser.open(HERE).await;
    browser
}

/// The form of `action` for this revision.
fn button(browser: &Browser, action: &str, revision: i64) -> Option<Form> {
    let named = |f: &Form| f.fields.contains(&("revision".into(), Some(revision.to_string())));
    browser.forms().into_iter().find(|f| f.action == format!("{HERE}/{action}") && named(f))
}

#[tokio::test]
async fn every_change_is_told_in_words_newest_first() {
    let browser = two_changes().await;
    let at = |what: &str| browser.body.find(what).unwrap_or_else(|| panic!("no {what}: {}", browser.body));
    assert!(at(r#"data-revision="2""#) < at(r#"data-revision="1""#));
    at(
        r#"<time datetime="2026-11-18T11:06:40Z">2026-11-18 11:06 UTC</time>, by the owner, from 192.168.1.23"#,
    );
    at("by root, on the command line");
    at(r#"<p class="comment">for the office</p>"#);
    at("PPTP VPNs may leave the home; their encryption is weak");
    at("<code>passthrough.pptp.enabled</code>");
    at("<s>off</s>");
    at("<strong>on</strong>");
    at("<s>1701</s>");
    at("<strong>1701, 1702</strong>");
    at("In force");
    at("Kept");
    at(r#"<a href="/system/history" aria-current="page">History</a>"#);
}

#[tokio::test]
async fn without_a_change_the_page_teaches() {
    let mut browser = Browser::logged_in().await;
    browser.open(HERE).await;
    assert!(browser.body.contains("Nothing was changed yet") && !browser.body.contains("Undo this change"));
    browser.open("/").await;
    assert!(browser.body.contains(r#"href="/system/history">Last change"#));
}

#[tokio::test]
async fn undo_takes_back_one_change_and_can_be_undone() {
    let mut browser = two_changes().await;
    browser.send(button(&browser, "undo", 1).unwrap()).await;
    assert_eq!((browser.path.as_str(), browser.flash()), (HERE, "Revision 1 is undone."));
    {
        let state = browser.daemon.state();
        assert!(!state.settings.passthrough.pptp.enabled);
        assert_eq!(state.settings.passthrough.l2tp.ports.to_string(), "1701,1702", "the rest is left alone");
    }
    assert!(browser.body.contains("undo of revision 1"));
    browser.send(button(&browser, "undo", 3).unwrap()).await;
    assert!(browser.daemon.state().settings.passthrough.pptp.enabled);
    browser.open("/").await;
    assert!(browser.body.contains(r#"href="/system/history#revision-4">Last change"#));
}

#[tokio::test]
async fn going_back_takes_all_settings_of_then() {
    let mut browser = two_changes().await;
    assert!(button(&browser, "go-back", 2).is_none(), "that is where we are");
    browser.send(button(&browser, "go-back", 1).unwrap()).await;
    assert_eq!(browser.flash(), "The settings are those of revision 1 again.");
    assert_eq!(browser.daemon.state().settings.passthrough.l2tp.ports.to_string(), "1701");
}

#[tokio::test]
async fn a_setting_that_was_changed_since_stands_in_the_way_and_is_named() {
    let mut browser = two_changes().await;
    let form = button(&browser, "undo", 1).unwrap();
    browser.daemon.state().save("owner", "192.168.1.9", &set(PPTP, "false")).unwrap();
    browser.send(form).await;
    assert_eq!(browser.status, StatusCode::CONFLICT);
    assert!(browser.body.contains("<title>Error: History"));
    assert!(browser.body.contains("Revision 1 was not undone"));
    assert!(browser.body.contains("PPTP VPNs may leave the home; their encryption is weak.</strong>"));
    assert!(
        browser.body.contains(r##"in <a href="#revision-3">revision 3</a>; it is off now."##),
        "{}",
        browser.body
    );
    assert_eq!(browser.daemon.state().history.len(), 3, "nothing was saved");
}

#[tokio::test]
async fn a_trial_or_the_kernel_may_refuse() {
    for (kind, status) in
        [(RefusalKind::OnTrial, 409), (RefusalKind::Failed, 502), (RefusalKind::Invalid, 422)]
    {
        for (action, heading) in
            [("undo", "Revision 1 was not undone"), ("go-back", "Postern did not go back to revision 1")]
        {
            let mut browser = two_changes().await;
            browser.daemon.state().refuse = Some(refusal(kind, "Other settings are on trial."));
            browser.send(button(&browser, action, 1).unwrap()).await;
            assert_eq!(browser.status.as_u16(), status);
            assert!(browser.body.contains(heading) && browser.body.contains("Other settings are on trial."));
            assert!(button(&browser, action, 1).is_some(), "it can be tried again from there");
        }
    }
}

#[tokio::test]
async fn only_what_was_kept_can_be_undone() {
    let mut browser = two_changes().await;
    for (state, word) in [
        (RevisionState::Applied, "On trial"),
        (RevisionState::Saved, "Not in force yet"),
        (RevisionState::Reverted, "Taken back"),
    ] {
        browser.daemon.state().history[0].state = state;
        browser.open(HERE).await;
        assert!(browser.body.contains(word));
        assert!(button(&browser, "undo", 2).is_none() && button(&browser, "go-back", 2).is_none(), "{word}");
        assert!(button(&browser, "undo", 1).is_some());
    }
    browser.post(&format!("{HERE}/undo"), format!("token={}&revision=x", browser.token())).await;
    assert_eq!(browser.status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn hostile_comments_and_values_are_text() {
    let mut browser = two_changes().await;
    let hostile = r#"<script>alert(1)</script>" onmouseover='x'"#;
    {
        let mut state = browser.daemon.state();
        let newest = &mut state.history[0];
        (newest.comment, newest.who, newest.via) = (hostile.into(), hostile.into(), hostile.into());
        (newest.differs[0].key, newest.differs[0].before, newest.differs[0].after) =
            (hostile.into(), hostile.into(), hostile.into());
    }
    for path in [HERE, "/"] {
        browser.open(path).await;
        assert!(!browser.body.contains("<script") && !browser.body.contains("\" onmouseover"), "{path}");
        assert_eq!(browser.body.matches("&#60;script&#62;").count(), 7, "{path}");
    }
    let mut wrong = refusal(RefusalKind::Conflict, hostile);
    wrong.fields = vec![postern::settings::FieldError::new(hostile, hostile)];
    browser.daemon.state().refuse = Some(wrong);
    browser.open(HERE).await;
    browser.send(button(&browser, "undo", 1).unwrap()).await;
    assert!(!browser.body.contains("<script") && !browser.body.contains("\" onmouseover"));
}
