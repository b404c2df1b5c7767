use axum::http::StatusCode;
use axum::http::header::RETRY_AFTER;
use postern::door::messages::RefusalKind;

use crate::testing::browser::Browser;
use crate::testing::browser::attribute;
use crate::testing::fake::{PASSWORD, refusal};
use crate::testing::filled::{filled, forms};

const FORWARDS: &str = "/security/forwards";

/// Logged in long ago, with the form of a new forward sent.
async fn asked_again() -> Browser {
    let mut browser = Browser::logged_in().await;
    browser.daemon.state().stale = true;
    browser.open(FORWARDS).await;
    let form = browser.form("what").set("name", "web").set("what", "tcp").set("port", "8080");
    browser.send(form.set("to", "192.168.1.20")).await;
    assert_eq!(
        (browser.status, browser.path.as_str()),
        (StatusCode::FORBIDDEN, FORWARDS),
        "{}",
        browser.body
    );
    assert!(browser.body.contains("Type the password again"));
    assert!(browser.daemon.state().settings.forwards.is_empty());
    browser
}

#[tokio::test]
async fn a_port_is_opened_by_the_same_form_once_the_password_was_typed() {
    let mut browser = asked_again().await;
    let form = browser.form("proof");
    browser.send(form.clone().set("proof", "guess")).await;
    assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        browser.body.contains("That is not the password of this router.") && !browser.body.contains("guess")
    );
    assert!(browser.daemon.state().settings.forwards.is_empty());
    let again = browser.form("proof");
    assert_eq!(again.body(), form.clone().set("proof", "").body(), "what was typed is kept");
    browser.send(form.set("proof", PASSWORD)).await;
    assert_eq!((browser.status, browser.path.as_str()), (StatusCode::OK, FORWARDS), "{}", browser.body);
    assert_eq!(browser.daemon.state().settings.forwards.len(), 1);
    assert!(!browser.body.contains("proof"));
}

#[tokio::test]
async fn a_guesser_waits_and_an_ended_login_is_ended_here_too() {
    let mut browser = asked_again().await;
    let form = browser.form("proof").set("proof", PASSWORD);
    let mut wait = refusal(RefusalKind::Wait, "Too many wrong passwords. Try again in 60 seconds.");
    wait.wait_seconds = 60;
    browser.daemon.state().refuse = Some(wait);
    browser.send(form.clone()).await;
    assert_eq!(
        (browser.status, browser.headers[RETRY_AFTER].to_str().unwrap()),
        (StatusCode::TOO_MANY_REQUESTS, "60")
    );
    browser.daemon.state().tickets.clear();
    browser.send(form).await;
    assert_eq!(browser.path, "/login");
}

#[tokio::test]
async fn an_import_of_a_whole_document_is_asked_for_too_and_what_opens_nothing_is_not() {
    let mut browser = Browser::logged_in().await;
    browser.daemon.state().stale = true;
    browser.open("/security/vpn-passthrough").await;
    let form = browser.form("base_revision").set("passthrough.pptp.enabled", "true");
    browser.send(form).await;
    assert_eq!(browser.status, StatusCode::OK, "{}", browser.body);
    browser.open("/system/backup").await;
    let document = "[[forwards]]\nname = \"web\"\npreset = \"pptp\"\nto = \"192.168.1.20\"\n";
    browser.send(browser.form("text").set("text", &document.replace('\n', "\r\n"))).await;
    browser.send(browser.form("base_revision")).await;
    assert_eq!(browser.status, StatusCode::FORBIDDEN, "{}", browser.body);
    assert_eq!(browser.daemon.state().imports, []);
    browser.send(browser.form("proof").set("proof", PASSWORD)).await;
    assert_eq!(browser.flash(), "The settings were imported.", "{}", browser.body);
    assert_eq!(browser.daemon.state().imports[0].1, document, "to the byte");
}

#[tokio::test]
async fn whatever_form_asks_for_the_password_leads_to_a_page_when_nothing_shall_be_changed() {
    let mut browser = filled("name").await;
    let mut asked = Vec::new();
    for form in forms(&mut browser).await {
        // The token of this login: a form before may have ended the last one.
        browser.open("/").await;
        let form = form.set("token", &browser.token());
        browser.daemon.state().refuse = Some(refusal(RefusalKind::Prove, "Type the password first."));
        let action = form.action.clone();
        browser.post(&action, form.body()).await;
        browser.daemon.state().refuse = None;
        if !browser.body.contains("Type the password again") {
            // It changes no setting, or what it holds is refused for itself; it may have ended the login too.
            if !browser
                .daemon
                .state()
                .tickets
                .contains_key(browser.cookies.get("postern").unwrap_or(&String::new()))
            {
                browser = filled("name").await;
            }
            continue;
        }
        let link = browser.body.split("<a").find(|tag| tag.contains(">Change nothing<")).unwrap();
        let link = attribute(link, "href").unwrap();
        browser.open(&link).await;
        assert_eq!(browser.status, StatusCode::OK, "{action} leads to {link}");
        assert!(action.starts_with(&link), "{action} leads to {link}");
        asked.push(action);
    }
    for wanted in
        ["/system/history/undo", "/system/history/go-back", "/switch-on", FORWARDS, "/network/ports"]
    {
        assert!(asked.iter().any(|action| action == wanted), "{wanted}: {asked:?}");
    }
}
