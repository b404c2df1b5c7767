//! `/system/history`: what was changed, when and by whom; undo one change, or go back to the settings of a time.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use postern::door::messages::{Clock, Refusal, Request as Ask, Response as Answer, Revision, RevisionState};
use serde::Deserialize;

use crate::error::{self, Problem};
use crate::form::AdminForm;
use crate::login::Admin;
use crate::view::{Chrome, html, see_other};
use crate::words::{self, Change};

const HERE: &str = "/system/history";
/// Revisions shown; the daemon undoes no older ones.
const SHOWN: u32 = 50;

#[derive(Template)]
#[template(path = "history.html")]
struct HistoryPage {
    chrome: Chrome,
    entries: Vec<Entry>,
    refused: Option<Refused>,
}

/// A revision in words.
pub struct Entry {
    /// Its number.
    pub id: i64,
    /// For `<time datetime>`.
    pub datetime: String,
    /// When.
    pub at: String,
    /// Who, and from where.
    pub by: String,
    /// Why, as typed.
    pub comment: String,
    /// Class, shape and word of the chip.
    pub state: (&'static str, &'static str, &'static str),
    /// What changed.
    pub changes: Vec<Change>,
    /// Its settings were kept, so its change can be undone.
    pub kept: bool,
    /// Its settings are the newest: in force or on trial.
    pub current: bool,
}

impl Entry {
    /// In words; `newest` is the revision in force.
    pub fn of(revision: &Revision, newest: i64, clock: &Clock) -> Self {
        let (kept, current) = (revision.state == RevisionState::Confirmed, revision.id == newest);
        Self {
            id: revision.id,
            datetime: words::datetime(revision.at),
            at: clock.say(revision.at),
            by: words::author(&revision.who, &revision.via),
            comment: revision.comment.clone(),
            state: match revision.state {
                RevisionState::Confirmed if current => ("working", "\u{25cf}", "In force"),
                RevisionState::Confirmed => ("ready", "\u{25cb}", "Kept"),
                RevisionState::Applied => ("differs", "\u{25b2}", "On trial"),
                RevisionState::Saved => ("differs", "\u{25b2}", "Not in force yet"),
                RevisionState::Reverted => ("inactive", "\u{2013}", "Taken back"),
            },
            changes: revision.differs.iter().map(|differs| Change::of(differs, clock)).collect(),
            kept,
            current,
        }
    }
}

/// Why nothing was undone.
struct Refused {
    heading: String,
    message: String,
    fields: Vec<InTheWay>,
}

/// A setting that stands in the way.
struct InTheWay {
    what: String,
    /// The daemon's sentence.
    message: String,
    /// Kept revisions that have changed it since, and what it is now.
    since: Option<(Vec<i64>, String)>,
}

/// The newest revisions.
pub async fn show(admin: Admin) -> Result<Response, Problem> {
    page(&admin, None).await
}

/// Which revision.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RevisionForm {
    revision: String,
}

impl RevisionForm {
    fn id(&self) -> Result<i64, Problem> {
        self.revision.parse().map_err(|_| Problem::Malformed)
    }
}

/// Takes back what one revision changed.
pub async fn undo(admin: Admin, AdminForm(form): AdminForm<RevisionForm>) -> Result<Response, Problem> {
    let id = form.id()?;
    match admin.carry_out(Ask::Undo { revision: Some(id) }).await? {
        Some(refusal) => page(&admin, Some((id, format!("Revision {id} was not undone"), refusal))).await,
        None => Ok(see_other(HERE)),
    }
}

/// Goes back to all settings of one revision.
pub async fn go_back(admin: Admin, AdminForm(form): AdminForm<RevisionForm>) -> Result<Response, Problem> {
    let id = form.id()?;
    match admin.carry_out(Ask::GoBack { revision: id }).await? {
        Some(refusal) => {
            page(&admin, Some((id, format!("Postern did not go back to revision {id}"), refusal))).await
        }
        None => Ok(see_other(HERE)),
    }
}

async fn page(admin: &Admin, refused: Option<(i64, String, Refusal)>) -> Result<Response, Problem> {
    let Answer::History { revisions } = admin.ask(Ask::History { limit: SHOWN }).await? else {
        return Err(Problem::Misunderstood("history"));
    };
    let mut chrome = admin.chrome(HERE).await;
    chrome.error = refused.is_some();
    let status = refused.as_ref().map_or(StatusCode::OK, |(.., refusal)| error::status(refusal.kind));
    let clock = &admin.status.clock;
    let refused = refused.map(|(id, heading, refusal)| Refused {
        heading,
        fields: refusal
            .fields
            .iter()
            .map(|f| in_the_way(id, &f.key, &f.message, &revisions, clock))
            .collect(),
        message: refusal.message,
    });
    let entries =
        revisions.iter().map(|r| Entry::of(r, admin.status.revision, &admin.status.clock)).collect();
    Ok(html(status, &HistoryPage { chrome, entries, refused }))
}

fn in_the_way(id: i64, key: &str, message: &str, revisions: &[Revision], clock: &Clock) -> InTheWay {
    let kept = revisions.iter().filter(|r| r.id > id && r.state == RevisionState::Confirmed);
    let changed: Vec<_> =
        kept.filter_map(|r| r.differs.iter().find(|d| d.key == key).map(|d| (r.id, d))).collect();
    InTheWay {
        what: words::setting(key),
        message: message.to_owned(),
        since: changed.first().map(|(_, newest)| {
            (changed.iter().map(|(id, _)| *id).collect(), words::value_with_time(key, &newest.after, clock))
        }),
    }
}

#[cfg(test)]
mod tests;
