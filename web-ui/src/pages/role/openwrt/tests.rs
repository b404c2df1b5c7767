use axum::http::StatusCode;
use postern::door::messages::RefusalKind;
use postern::settings::FieldError;

use super::HERE;
use crate::testing::browser::Browser;
use crate::testing::fake::beside::from_uci;
use crate::testing::fake::refusal;

async fn open() -> Browser {
    let mut browser = Browser::logged_in().await;
    browser.daemon.state().uci = Ok(from_uci());
    browser.open(HERE).await;
    browser
}

#[tokio::test]
async fn what_would_become_what_is_shown_as_text_and_nothing_is_taken_by_looking() {
    let browser = open().await;
    let body = &browser.body;
    for part in [
        "not set</s>",
        "<strong>eth1</strong>",
        "Device 02:00:00:00:00:20",
        "&#60;script&#62;, 192.168.7.20",
        "Port forward web",
        "tcp 80 to 192.168.7.9</s>",
        "&#60;b&#62;x&#60;/b&#62;",
        "Firewall rules (9)",
    ] {
        assert!(body.contains(part), "{part}: {body}");
    }
    assert!(!body.contains("<script>") && !body.contains("name=\"helpers\""), "{body}");
    assert!(browser.daemon.state().taken.is_empty());
}

#[tokio::test]
async fn what_is_ticked_is_taken_of_the_files_that_were_shown() {
    let mut browser = open().await;
    let form = browser.form("digest").untick("devices");
    browser.send(form.clone()).await;
    assert_eq!((browser.status, browser.path.as_str()), (StatusCode::OK, HERE));
    assert_eq!(browser.flash(), "What was ticked is taken.");
    assert_eq!(browser.daemon.state().taken, [(Some(0), "d1".to_owned(), "sides forwards".to_owned())]);
    browser.send(form.untick("sides").untick("forwards")).await;
    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(browser.body.contains("Tick what shall be taken.") && browser.daemon.state().taken.len() == 1);
}

#[tokio::test]
async fn what_is_refused_stands_beside_its_part_and_what_was_ticked_stays_so() {
    let mut browser = open().await;
    let refused = postern::door::messages::Refusal {
        fields: vec![FieldError::new(
            "forwards",
            "These are for the local network of OpenWrt: take the sides too.",
        )],
        ..refusal(RefusalKind::Invalid, "Nothing was taken.")
    };
    browser.daemon.state().refuse = Some(refused);
    browser.send(browser.form("digest").untick("sides").untick("devices")).await;
    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(browser.body.contains("id=\"forwards-error\"") && browser.body.contains("take the sides too"));
    let form = browser.form("digest");
    let ticked = |name: &str| form.fields.iter().any(|(n, value)| n == name && value.is_some());
    assert_eq!([ticked("sides"), ticked("devices"), ticked("forwards")], [false, false, true]);
    browser.daemon.state().refuse =
        Some(refusal(RefusalKind::Conflict, "The files have changed. Look again."));
    browser.send(form).await;
    assert_eq!(browser.status, StatusCode::CONFLICT);
    assert!(browser.body.contains("The files have changed. Look again."));
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_told_with_its_line() {
    let mut browser = Browser::logged_in().await;
    let said = "/etc/config/firewall, line 12: a quote begins here and never ends.";
    browser.daemon.state().uci = Err(refusal(RefusalKind::Invalid, said));
    browser.open(HERE).await;
    assert!(
        browser.body.contains(said) && browser.body.contains("Nothing of it can be shown"),
        "{}",
        browser.body
    );
    assert!(!browser.body.contains("Take what is ticked"));
}
