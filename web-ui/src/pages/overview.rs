//! `/`: what this box is and does now, in a few words.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use postern::door::messages::{Filter, Request as Ask, Response as Answer, Revision, Rules, Status};
use postern::kernel::SeenLink;
use postern::settings::Role;

use super::history::Entry;
use super::mend;
use super::switch_on::{Blocked, blocked};
use crate::chart::{Line, line};
use crate::error::Problem;
use crate::login::Admin;
use crate::view::{Chrome, Truth, html};
use crate::words::grouped;

#[derive(Template)]
#[template(path = "overview.html")]
struct OverviewPage {
    chrome: Chrome,
    unset: bool,
    role: &'static str,
    rules: (&'static str, &'static str, &'static str, String),
    internet: Option<Link>,
    local_network: Option<Link>,
    passthrough: Vec<Truth>,
    notices: Vec<String>,
    blocked: Vec<Blocked>,
    revision_now: i64,
    mend: Option<&'static str>,
    throughput: Option<Line>,
    sessions: String,
    newest: Option<Entry>,
    conntrack: (String, String),
}

/// A port of the box, in words.
struct Link {
    name: String,
    state: (&'static str, &'static str, &'static str),
    addresses: Vec<String>,
}

/// Reads status and the newest revision.
pub async fn show(admin: Admin) -> Result<Response, Problem> {
    let Answer::History { revisions } = admin.ask(Ask::History { limit: 1 }).await? else {
        return Err(Problem::Misunderstood("history"));
    };
    let filter = Filter { limit: 1, ..Filter::default() };
    let Answer::Sessions(sessions) = admin.ask(Ask::Sessions { filter }).await? else {
        return Err(Problem::Misunderstood("sessions"));
    };
    let chrome = admin.chrome("/").await;
    let newest = revisions.into_iter().next();
    Ok(html(StatusCode::OK, &page(chrome, &admin.status, sessions.total, newest)))
}

fn page(chrome: Chrome, status: &Status, sessions: usize, newest: Option<Revision>) -> OverviewPage {
    OverviewPage {
        chrome,
        unset: status.role == Role::Unset,
        role: match status.role {
            Role::Unset => "Not chosen yet",
            Role::Router => "Router",
            Role::Companion => "Companion of another firewall",
        },
        rules: rules(&status.rules),
        internet: status.internet.as_ref().map(link),
        local_network: status.local_network.as_ref().map(link),
        passthrough: ["ipsec", "l2tp", "pptp"].iter().filter_map(|n| Truth::of(status, n)).collect(),
        notices: status.notices.clone(),
        blocked: blocked(&status.attempts),
        revision_now: status.revision,
        mend: mend::why(status),
        throughput: line(&status.throughput, 320, 60),
        sessions: grouped(sessions as u64),
        newest: newest.map(|newest| Entry::of(&newest, status.revision, &status.clock)),
        conntrack: (grouped(status.conntrack.0), grouped(status.conntrack.1)),
    }
}

/// Class, shape and word of the chip, and a sentence.
fn rules(rules: &Rules) -> (&'static str, &'static str, &'static str, String) {
    let (class, shape, word, sentence) = match rules {
        Rules::Loaded => {
            ("working", "\u{25cf}", "Loaded", "The kernel holds the rules as Postern wrote them.")
        }
        Rules::Deny => (
            "differs",
            "\u{25b2}",
            "Closed",
            "Nothing is forwarded; the local network reaches this page. \
              That is so until the first rules are loaded.",
        ),
        Rules::NotWanted => {
            ("inactive", "\u{2013}", "None", "Postern has loaded no rule, as it should be without a role.")
        }
        Rules::Missing => ("failed", "\u{25a0}", "Missing", "The rules should be loaded and are not there."),
        Rules::Edited => ("differs", "\u{25b2}", "Edited", "Somebody else changed Postern\u{2019}s rules."),
        Rules::Unknown { reason } => {
            return ("failed", "\u{25a0}", "Unknown", format!("The rules could not be read back: {reason}"));
        }
    };
    (class, shape, word, sentence.to_owned())
}

fn link(link: &SeenLink) -> Link {
    let state = match (link.up, link.carrier) {
        (false, _) => ("inactive", "\u{2013}", "Switched off"),
        (true, false) => ("differs", "\u{25b2}", "No cable"),
        (true, true) => ("working", "\u{25cf}", "Connected"),
    };
    let addresses = link.addresses.iter().map(|(address, prefix)| format!("{address}/{prefix}")).collect();
    Link { name: link.name.clone(), state, addresses }
}

#[cfg(test)]
mod tests {
    use crate::testing::browser::Browser;
    use crate::testing::fake::some_sessions;

    #[tokio::test]
    async fn sessions_and_throughput_are_told_as_measured() {
        let mut browser = Browser::logged_in().await;
        browser.open("/").await;
        assert!(browser.body.contains("Not measured yet") && browser.body.contains("</a>: 0 now."));
        browser.daemon.state().sessions = some_sessions();
        browser.open("/").await;
        assert!(browser.body.contains("</a>: 4 now.") && browser.body.contains("<polyline"));
    }
}
