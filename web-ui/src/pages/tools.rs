//! `/tools`: ping, route trace and name lookup. While one runs, the page fetches itself anew, also without script.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use postern::door::messages::{Refusal, Report, Request as Ask, Response as Answer, Row, Tool};
use postern::tools::milliseconds;
use serde::Deserialize;

use crate::error::{self, Problem};
use crate::form::{AdminForm, Errors};
use crate::login::Admin;
use crate::view::{Chrome, html, see_other};

/// Where it is.
pub const HERE: &str = "/tools";

/// Width of the longest bar.
const BAR: u64 = 200;

#[derive(Template)]
#[template(path = "tools.html")]
struct ToolsPage {
    chrome: Chrome,
    form: ToolsForm,
    errors: Errors,
    refused: Option<String>,
    result: Option<Shown>,
}

/// A run in words.
struct Shown {
    heading: String,
    going_on: bool,
    /// Names are shown with how long they are kept, all else with how long it took.
    names: bool,
    lines: Vec<Line>,
    verdict: String,
}

/// One row: a number or a kind, what came, and its bar.
struct Line {
    first: String,
    what: String,
    time: String,
    bar: Option<u64>,
}

/// As typed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ToolsForm {
    tool: Tool,
    target: String,
}

/// The form, and what the newest run has found.
pub async fn show(admin: Admin) -> Result<Response, Problem> {
    let report = match admin.ask(Ask::Tried).await? {
        Answer::Tried { report } => report,
        _ => return Err(Problem::Misunderstood("a report")),
    };
    let form = match &report {
        Some(report) => ToolsForm { tool: report.tool, target: report.target.clone() },
        None => ToolsForm { tool: Tool::Ping, target: String::new() },
    };
    let chrome = admin.chrome(HERE).await;
    let result = report.map(Shown::of);
    Ok(html(StatusCode::OK, &ToolsPage { chrome, form, errors: Errors::default(), refused: None, result }))
}

/// Begins a run.
pub async fn save(admin: Admin, AdminForm(form): AdminForm<ToolsForm>) -> Result<Response, Problem> {
    let ask = Ask::Try { tool: form.tool, target: form.target.clone() };
    match admin.ask(ask).await {
        Ok(_) => Ok(see_other(HERE)),
        Err(Problem::Refused(refusal)) if error::of_the_page(refusal.kind) => {
            refused(&admin, form, refusal).await
        }
        Err(problem) => Err(problem),
    }
}

async fn refused(admin: &Admin, form: ToolsForm, refusal: Refusal) -> Result<Response, Problem> {
    let mut chrome = admin.chrome(HERE).await;
    chrome.error = true;
    let said = refusal.fields.is_empty().then_some(refusal.message);
    let page = ToolsPage { chrome, form, errors: Errors(refusal.fields), refused: said, result: None };
    Ok(html(error::status(refusal.kind), &page))
}

impl ToolsPage {
    /// Whether the page fetches itself anew. It has no form then: what was typed would be lost, and nothing can be asked meanwhile.
    fn going_on(&self) -> bool {
        self.result.as_ref().is_some_and(|result| result.going_on)
    }
}

impl Shown {
    fn of(report: Report) -> Self {
        let what = match report.tool {
            Tool::Ping => "Ping of",
            Tool::Trace => "The way to",
            Tool::Lookup => "Names and addresses of",
        };
        let address = report.address.map(|address| address.to_string());
        let address = address.filter(|address| *address != report.target);
        let address = address.map_or_else(String::new, |address| format!(" ({address})"));
        let longest = report.rows.iter().filter_map(time).max().unwrap_or(0).max(1);
        Self {
            heading: format!("{what} {}{address}", report.target),
            going_on: report.verdict.is_none(),
            names: report.tool == Tool::Lookup,
            lines: report.rows.iter().map(|row| line(row, longest)).collect(),
            verdict: report.verdict.unwrap_or_else(|| "Asking\u{2026}".to_owned()),
        }
    }
}

/// How long the answer took, in microseconds; none: there was none.
fn time(row: &Row) -> Option<u64> {
    match row {
        Row::Answer { microseconds, .. } | Row::Hop { from: Some(_), microseconds, .. } => {
            Some(*microseconds)
        }
        _ => None,
    }
}

fn line(row: &Row, longest: u64) -> Line {
    let (first, what) = match row {
        Row::Answer { number, .. } => (number.to_string(), "answered".to_owned()),
        Row::Lost { number } => (number.to_string(), "no answer".to_owned()),
        Row::Refused { number, from, why } => (number.to_string(), format!("{from} says that {why}")),
        Row::Hop { hops, from: None, .. } => (hops.to_string(), "no answer".to_owned()),
        Row::Hop { hops, from: Some(from), why: None, .. } => (hops.to_string(), from.to_string()),
        Row::Hop { hops, from: Some(from), why: Some(why), .. } => {
            (hops.to_string(), format!("{from} says that {why}"))
        }
        Row::Record { record, value, .. } => (record.clone(), value.clone()),
    };
    let took = time(row);
    let time = match (row, took) {
        (Row::Record { seconds, .. }, _) => format!("{seconds} s"),
        (_, Some(took)) => milliseconds(took),
        _ => String::new(),
    };
    Line { first, what, time, bar: took.map(|took| (took.saturating_mul(BAR) / longest).max(1)) }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use postern::door::messages::{Report, Row, Tool};

    use crate::testing::browser::Browser;

    fn report(tool: Tool, rows: Vec<Row>, verdict: Option<&str>) -> Report {
        let address = Some([203, 0, 113, 10].into());
        let verdict = verdict.map(str::to_owned);
        Report { id: 1, tool, target: "vpn.example.com".into(), address, rows, verdict }
    }

    #[tokio::test]
    async fn what_was_typed_is_asked_and_the_page_goes_on_until_it_is_over() {
        let mut browser = Browser::logged_in().await;
        browser.open("/tools").await;
        let form = browser.form("target").set("tool", "trace").set("target", "vpn.example.com");
        browser.send(form).await;
        assert_eq!((browser.status, browser.path.as_str()), (StatusCode::OK, "/tools"));
        let asked = browser.daemon.state().tried.clone().unwrap();
        assert_eq!((asked.tool, asked.target.as_str()), (Tool::Trace, "vpn.example.com"));
        assert!(browser.body.contains("http-equiv=\"refresh\""), "{}", browser.body);
        assert!(!browser.body.contains("id=\"target\""), "what is typed would be lost");
        let hop = |hops, from: Option<[u8; 4]>, microseconds| Row::Hop {
            hops,
            from: from.map(Into::into),
            microseconds,
            why: None,
        };
        let rows = vec![
            hop(1, Some([198, 51, 100, 1]), 1000),
            hop(2, None, 0),
            hop(3, Some([203, 0, 113, 10]), 4000),
        ];
        browser.daemon.state().tried = Some(report(Tool::Trace, rows, Some("3 hops.")));
        browser.open("/tools").await;
        assert!(!browser.body.contains("http-equiv"), "it is over");
        assert!(browser.body.contains("id=\"target\""), "{}", browser.body);
        for part in [
            "The way to vpn.example.com (203.0.113.10)",
            "198.51.100.1",
            "no answer",
            "4.0 ms",
            "width=\"50\"",
            "3 hops.",
        ] {
            assert!(browser.body.contains(part), "{part}: {}", browser.body);
        }
    }

    #[tokio::test]
    async fn what_cannot_be_asked_is_said_beside_the_field_and_kept() {
        let mut browser = Browser::logged_in().await;
        browser.open("/tools").await;
        let form = browser.form("target").set("target", "a b \"><script>");
        browser.send(form).await;
        assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(browser.body.contains("neither a name nor an address"));
        assert!(browser.body.contains("a b &#34;&#62;&#60;script&#62;"), "{}", browser.body);
        assert!(!browser.body.contains("<script>"));
    }
}
