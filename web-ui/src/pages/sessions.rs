//! `/vpn-sessions`: who is connected to what, read from the kernel; live where script runs, with a Refresh link where not.

mod live;
mod row;
#[cfg(test)]
mod tests;

use askama::Template;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use postern::door::messages::{Clock, Filter, Kind, Request as Ask, Response as Answer, SessionPage};
use serde::Deserialize;

use crate::error::Problem;
use crate::form::AdminForm;
use crate::guard::Script;
use crate::login::Admin;
use crate::view::{Chrome, html, see_other};
use crate::words::grouped;
pub use live::live;
use row::Row;

/// Path of the page.
pub const HERE: &str = "/vpn-sessions";
/// Path of its stream.
pub const LIVE: &str = "/vpn-sessions/live";
/// Sessions on a page.
const LIMIT: usize = 50;

#[derive(Template)]
#[template(path = "sessions.html")]
struct SessionsPage {
    chrome: Chrome,
    asked: Asked,
    kinds: Vec<(Kind, usize)>,
    table: Table,
    /// This page again.
    refresh: String,
    /// Where the stream is.
    stream: String,
    script: &'static str,
}

/// What changes by itself.
#[derive(Template)]
#[template(path = "sessions_table.html")]
pub(crate) struct Table {
    token: String,
    /// What was asked for, so that ending one leads back to it.
    asked: Asked,
    rows: Vec<Row>,
    /// There is no session at all.
    none: bool,
    /// Which of those that fit, in words.
    range: String,
    before: Option<String>,
    after: Option<String>,
    left_out: Option<String>,
}

/// What the address asks for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Asked {
    /// Part of a name or an address.
    text: String,
    /// A kind; empty: all.
    kind: String,
    skip: usize,
}

impl Asked {
    fn of(uri: &Uri) -> Self {
        // Whatever is not understood asks for nothing.
        serde_urlencoded::from_str(uri.query().unwrap_or_default()).unwrap_or_default()
    }

    fn filter(&self) -> Filter {
        let kind = Kind::ALL.into_iter().find(|kind| kind.word() == self.kind);
        let text = self.text.chars().take(64).collect();
        Filter { text, kind, skip: self.skip, limit: LIMIT }
    }

    /// The address that asks for this, with so many passed over.
    fn address(&self, path: &str, skip: usize) -> String {
        let Filter { text, kind, .. } = self.filter();
        let kind = kind.map_or("", Kind::word);
        let pairs = [("text", text.as_str()), ("kind", kind), ("skip", &skip.to_string())];
        let set = pairs.into_iter().filter(|(_, value)| !value.is_empty() && *value != "0");
        let query = serde_urlencoded::to_string(set.collect::<Vec<_>>()).unwrap_or_default();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }

    fn table(&self, page: &SessionPage, token: &str, clock: &Clock) -> Table {
        let (first, last) = (page.skipped, page.skipped + page.sessions.len());
        let before = (first > 0).then(|| self.address(HERE, first.saturating_sub(LIMIT)));
        let after = (last < page.matching).then(|| self.address(HERE, last));
        let range = match page.matching {
            0 => "None fits.".to_owned(),
            // Those that were here are over.
            all if page.sessions.is_empty() => format!("None here; {} in all.", grouped(all as u64)),
            _ if before.is_none() && after.is_none() => format!("{} shown.", page.sessions.len()),
            all => format!(
                "{} to {} of {}.",
                grouped(first as u64 + 1),
                grouped(last as u64),
                grouped(all as u64)
            ),
        };
        Table {
            token: token.to_owned(),
            asked: self.clone(),
            rows: page.sessions.iter().map(|one| Row::of(one, clock)).collect(),
            none: page.total == 0,
            range,
            before,
            after,
            left_out: match page.left_out {
                0 => None,
                1 => Some("1 more connection was too many to look at.".to_owned()),
                n => Some(format!("{} more connections were too many to look at.", grouped(n))),
            },
        }
    }
}

/// One look at the kernel, or the daemon's last if that is fresh.
pub async fn show(admin: Admin, uri: Uri) -> Result<Response, Problem> {
    let asked = Asked::of(&uri);
    let Answer::Sessions(page) = admin.ask(Ask::Sessions { filter: asked.filter() }).await? else {
        return Err(Problem::Misunderstood("sessions"));
    };
    let chrome = admin.chrome(HERE).await;
    let table = asked.table(&page, &chrome.token, &admin.status.clock);
    let stream = asked.address(LIVE, asked.skip);
    let refresh = asked.address(HERE, asked.skip);
    let script = crate::assets::live();
    let page = SessionsPage { chrome, kinds: page.kinds, table, refresh, stream, asked, script };
    let mut response = html(StatusCode::OK, &page);
    response.extensions_mut().insert(Script::Live);
    Ok(response)
}

/// Which one to end, and what the page showed.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndForm {
    id: String,
    #[serde(default)]
    text: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    skip: usize,
}

/// Ends it, and shows the same page of the same filter.
pub async fn end(admin: Admin, AdminForm(form): AdminForm<EndForm>) -> Result<Response, Problem> {
    let EndForm { id, text, kind, skip } = form;
    let message = admin.order(Ask::EndSession { id }).await?;
    admin.flash(message).await;
    Ok(see_other(&Asked { text, kind, skip }.address(HERE, skip)))
}
