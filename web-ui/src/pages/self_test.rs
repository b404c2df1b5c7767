//! `/diagnose/self-test`: whether VPN passthrough works on this kernel, proved by the daemon in networks of its own. The page
//! refreshes itself while a test runs; nothing can be given to it, so nobody can make it do anything else.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use postern::door::messages::{Outcome, Request as Ask, Response as Answer, SelfTest, Subject, Tested};
use serde::Deserialize;

use crate::error::Problem;
use crate::form::AdminForm;
use crate::login::Admin;
use crate::view::{Chrome, html, see_other};

/// Path of the page.
pub const HERE: &str = "/diagnose/self-test";

#[derive(Template)]
#[template(path = "self_test.html")]
struct SelfTestPage {
    chrome: Chrome,
    test: SelfTest,
    /// What came of it as a whole: the chip's colour, shape and word.
    chip: Option<(&'static str, &'static str, String)>,
    count: usize,
    /// What is tested now.
    next: Option<&'static str>,
}

/// The newest results.
pub async fn show(admin: Admin) -> Result<Response, Problem> {
    let Answer::SelfTest(test) = admin.ask(Ask::SelfTest).await? else {
        return Err(Problem::Misunderstood("a self-test"));
    };
    let count = Subject::ALL.len();
    let next = Subject::ALL.get(test.results.len()).filter(|_| test.running).map(|subject| subject.title());
    let chrome = admin.chrome(HERE).await;
    let page = SelfTestPage { chip: verdict(&test), chrome, count, next, test: *test };
    Ok(html(StatusCode::OK, &page))
}

fn verdict(test: &SelfTest) -> Option<(&'static str, &'static str, String)> {
    let of = |outcome| test.results.iter().filter(|tested| tested.outcome == outcome).count();
    if test.running || test.results.is_empty() {
        return None;
    }
    Some(match (of(Outcome::Fails), of(Outcome::Untested)) {
        (0, 0) if of(Outcome::SwitchedOff) > 0 => (
            "working",
            "\u{25cf}",
            format!("All works that is switched on; {} not tested", of(Outcome::SwitchedOff)),
        ),
        (0, 0) => ("working", "\u{25cf}", "All works".to_owned()),
        (0, untested) => ("differs", "\u{25b2}", format!("{untested} could not be tested")),
        (fail, _) => ("failed", "\u{25b2}", format!("{fail} of {} do not work", test.results.len())),
    })
}

/// The chip of one result.
fn chip(tested: &Tested) -> (&'static str, &'static str, &'static str) {
    match tested.outcome {
        Outcome::Works => ("working", "\u{25cf}", "Works"),
        Outcome::Fails => ("failed", "\u{25b2}", "Does not work"),
        Outcome::SwitchedOff => ("inactive", "\u{2013}", "Switched off"),
        Outcome::Untested => ("differs", "\u{25cb}", "Not tested"),
    }
}

/// Nothing is asked but that it begins.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BeginForm {}

/// Begins one.
pub async fn begin(admin: Admin, AdminForm(_): AdminForm<BeginForm>) -> Result<Response, Problem> {
    admin.order(Ask::BeginSelfTest).await?;
    Ok(see_other(HERE))
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use postern::door::messages::{Outcome, Subject, Tested};

    use crate::testing::browser::Browser;

    fn tested(subject: Subject, outcome: Outcome, words: &str) -> Tested {
        Tested { subject, title: subject.title().into(), outcome, words: words.into() }
    }

    #[tokio::test]
    async fn a_test_is_begun_by_a_button_refreshes_itself_and_says_what_came_of_it() {
        let mut browser = Browser::logged_in().await;
        browser.open("/diagnose").await;
        let button = browser.form_to("/diagnose/self-test");
        assert_eq!(button.fields.len(), 1, "a token and no other word: {:?}", button.fields);
        browser.send(button).await;
        assert_eq!((browser.status, browser.path.as_str()), (StatusCode::OK, "/diagnose/self-test"));
        assert!(browser.body.contains("http-equiv=\"refresh\""), "{}", browser.body);
        assert!(browser.body.contains("0 of 8"), "{}", browser.body);
        {
            let mut state = browser.daemon.state();
            state.self_test.running = false;
            state.self_test.ended_seconds = Some(3);
            state.self_test.results = vec![
                tested(Subject::Pptp, Outcome::SwitchedOff, "It is off."),
                tested(Subject::Esp, Outcome::Fails, "GRE <b>"),
            ];
        }
        browser.open("/diagnose/self-test").await;
        assert!(!browser.body.contains("http-equiv=\"refresh\""));
        for part in ["1 of 2 do not work", "Switched off", "GRE &#60;b&#62;", "Test again"] {
            assert!(browser.body.contains(part), "{part}: {}", browser.body);
        }
    }

    #[tokio::test]
    async fn what_could_not_be_tested_is_no_success() {
        let mut browser = Browser::logged_in().await;
        browser.daemon.state().self_test.results =
            vec![tested(Subject::Pptp, Outcome::Untested, "Run it as root: postern selftest")];
        browser.open("/diagnose/self-test").await;
        assert!(browser.body.contains("1 could not be tested") && !browser.body.contains("All works"));
        assert!(browser.body.contains("postern selftest"));
    }
}
