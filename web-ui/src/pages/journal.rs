//! `/system/journal`: what was done to the box, by whom, and what happened to it; and the same as a file.

mod csv;
#[cfg(test)]
mod tests;

use askama::Template;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use postern::door::messages::{
    Clock, JournalEntry, JournalFilter, JournalKind, JournalPage, Request as Ask, Response as Answer,
};
use serde::Deserialize;

use crate::error::Problem;
use crate::login::Admin;
use crate::view::{Chrome, html};
use crate::words::{self, Change, grouped};

/// Path of the page.
pub const HERE: &str = "/system/journal";
/// Path of the file.
const DOWNLOAD: &str = "/system/journal/download";
/// Lines on a page.
const LIMIT: usize = 50;
/// Lines asked for at once for the file, and how often at most: the daemon keeps 2,000 and what it has not written yet.
const DOWNLOADED: (usize, usize) = (200, 14);
/// Spans one can choose: as the address has it, seconds, words.
const SPANS: [(&str, i64, &str); 4] = [
    ("hour", 3600, "the last hour"),
    ("day", 86_400, "the last day"),
    ("week", 7 * 86_400, "the last week"),
    ("month", 30 * 86_400, "the last 30 days"),
];

#[derive(Template)]
#[template(path = "journal.html")]
struct JournalHtml {
    chrome: Chrome,
    asked: Asked,
    kinds: Vec<(JournalKind, usize)>,
    /// As the address has it, words, and whether it is chosen.
    spans: Vec<(&'static str, &'static str, bool)>,
    lines: Vec<Line>,
    /// There is nothing at all.
    none: bool,
    range: String,
    before: Option<String>,
    after: Option<String>,
    unwritten: Option<usize>,
    refresh: String,
    download: String,
}

/// A line in words.
struct Line {
    id: i64,
    datetime: String,
    when: String,
    kind: JournalKind,
    class: &'static str,
    sentence: String,
    changes: Vec<Change>,
}

impl Line {
    fn of(entry: &JournalEntry, clock: &Clock) -> Self {
        Self {
            id: entry.id,
            datetime: words::datetime(entry.at),
            when: entry.when(clock),
            kind: entry.kind,
            class: match entry.kind {
                JournalKind::Refused | JournalKind::Failed => "failed",
                JournalKind::Foreign | JournalKind::Attempt => "differs",
                JournalKind::Login | JournalKind::Change | JournalKind::Trial => "ready",
                JournalKind::Daemon | JournalKind::Internet | JournalKind::Session => "inactive",
            },
            sentence: entry.sentence(),
            changes: entry.changes.iter().map(|change| Change::of(change, clock)).collect(),
        }
    }
}

/// What the address asks for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
struct Asked {
    /// Part of a name, an address or a setting.
    text: String,
    /// A kind; empty: all.
    kind: String,
    /// One of [`SPANS`]; empty: all there is.
    span: String,
    skip: usize,
}

impl Asked {
    fn of(uri: &Uri) -> Self {
        // Whatever is not understood asks for nothing.
        serde_urlencoded::from_str(uri.query().unwrap_or_default()).unwrap_or_default()
    }

    /// `now` by the daemon's clock, which has written the lines.
    fn filter(&self, now: i64) -> JournalFilter {
        let span = SPANS.iter().find(|(word, ..)| *word == self.span);
        JournalFilter {
            text: self.text.chars().take(64).collect(),
            kind: JournalKind::ALL.into_iter().find(|kind| kind.word() == self.kind),
            since: span.map(|(_, seconds, _)| now - seconds),
            skip: self.skip,
            limit: LIMIT,
        }
    }

    /// The address that asks for this, with so many passed over.
    fn address(&self, path: &str, skip: usize) -> String {
        let filter = self.filter(0);
        let kind = filter.kind.map_or("", JournalKind::word);
        let span = SPANS.iter().find(|(word, ..)| *word == self.span).map_or("", |(word, ..)| word);
        let pairs =
            [("text", filter.text.as_str()), ("kind", kind), ("span", span), ("skip", &skip.to_string())];
        let set = pairs.into_iter().filter(|(_, value)| !value.is_empty() && *value != "0");
        let query = serde_urlencoded::to_string(set.collect::<Vec<_>>()).unwrap_or_default();
        if query.is_empty() { path.to_owned() } else { format!("{path}?{query}") }
    }
}

/// A page of it.
pub async fn show(admin: Admin, uri: Uri) -> Result<Response, Problem> {
    let asked = Asked::of(&uri);
    let page = page(&admin, asked.filter(admin.status.clock.now)).await?;
    let chrome = admin.chrome(HERE).await;
    let (first, last) = (page.skipped, page.skipped + page.entries.len());
    let range = match page.matching {
        0 => "None fits.".to_owned(),
        // An old address, or lines that are gone meanwhile.
        all if page.entries.is_empty() => format!("None here; {} in all.", grouped(all as u64)),
        all => {
            format!("{} to {} of {}.", grouped(first as u64 + 1), grouped(last as u64), grouped(all as u64))
        }
    };
    let shown = JournalHtml {
        chrome,
        spans: SPANS.iter().map(|(word, _, title)| (*word, *title, *word == asked.span)).collect(),
        lines: page.entries.iter().map(|entry| Line::of(entry, &admin.status.clock)).collect(),
        none: page.total == 0,
        range,
        before: (first > 0).then(|| asked.address(HERE, first.saturating_sub(LIMIT))),
        after: (last < page.matching).then(|| asked.address(HERE, last)),
        kinds: page.kinds,
        unwritten: page.unwritten,
        refresh: asked.address(HERE, asked.skip),
        download: asked.address(DOWNLOAD, 0),
        asked,
    };
    Ok(html(StatusCode::OK, &shown))
}

/// All lines that fit, as a file.
pub async fn download(admin: Admin, uri: Uri) -> Result<Response, Problem> {
    let asked = Asked { skip: 0, ..Asked::of(&uri) };
    let mut filter = JournalFilter { limit: DOWNLOADED.0, ..asked.filter(admin.status.clock.now) };
    let mut text = csv::HEAD.to_owned();
    let mut last = i64::MAX;
    for _ in 0..DOWNLOADED.1 {
        let page = page(&admin, filter.clone()).await?;
        filter.skip = page.skipped + page.entries.len();
        // A line that came meanwhile has moved the others on: none is written twice.
        for entry in &page.entries {
            if entry.id < last {
                last = entry.id;
                text += &csv::line(entry);
            }
        }
        if filter.skip >= page.matching {
            break;
        }
    }
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8"),
        (CONTENT_DISPOSITION, "attachment; filename=\"postern-journal.csv\""),
    ];
    Ok((headers, text).into_response())
}

async fn page(admin: &Admin, filter: JournalFilter) -> Result<Box<JournalPage>, Problem> {
    match admin.ask(Ask::Journal { filter }).await? {
        Answer::Journal(page) => Ok(page),
        _ => Err(Problem::Misunderstood("the journal")),
    }
}
