//! `/system/backup`: the settings as a file to keep, and back from it. Nothing is imported before the owner has seen what
//! would change. The encrypted one, which has the secrets too, is in [`sealed`].

pub mod sealed;

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use postern::door::messages::{
    Difference, MAX_FRAME, MAX_IMPORT, Refusal, RefusalKind, Request as Ask, Response as Answer,
};
use postern::settings::FieldError;
use serde::Deserialize;

use crate::assets;
use crate::error::{self, Problem};
use crate::form::{AdminForm, Errors};
use crate::guard::Script;
use crate::login::Admin;
use crate::view::{Chrome, html, see_other};
use crate::words::Change;

/// Where it is.
pub const HERE: &str = "/system/backup";

#[derive(Template)]
#[template(path = "backup.html")]
struct BackupPage {
    chrome: Chrome,
    /// As pasted.
    text: String,
    /// The encrypted one, as pasted.
    backup: String,
    /// What is wrong, by id of the field; with a document, all beside the one field.
    errors: Errors,
    /// Why nothing was imported, where that is not the document's fault.
    refused: Option<String>,
    script: &'static str,
}

impl BackupPage {
    fn new(chrome: Chrome) -> Self {
        let (text, backup) = (String::new(), String::new());
        Self { chrome, text, backup, errors: Errors::default(), refused: None, script: assets::file() }
    }

    fn response(&self, status: StatusCode) -> Response {
        let mut response = html(status, self);
        response.extensions_mut().insert(Script::File);
        response
    }
}

#[derive(Template)]
#[template(path = "preview.html")]
struct PreviewPage {
    chrome: Chrome,
    text: String,
    base_revision: i64,
    changes: Vec<Change>,
    refused: Option<String>,
}

/// The way out, and the way back in.
pub async fn show(admin: Admin) -> Result<Response, Problem> {
    let chrome = admin.chrome(HERE).await;
    Ok(BackupPage::new(chrome).response(StatusCode::OK))
}

/// The file.
pub async fn export(admin: Admin) -> Result<Response, Problem> {
    let Answer::Text { text } = admin.ask(Ask::Export).await? else {
        return Err(Problem::Misunderstood("an export"));
    };
    let headers = [
        (CONTENT_TYPE, "application/toml; charset=utf-8"),
        (CONTENT_DISPOSITION, "attachment; filename=\"postern-settings.toml\""),
    ];
    Ok((headers, text).into_response())
}

/// A document, as pasted.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasteForm {
    text: String,
}

/// A document, and the revision that its preview was made from.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImportForm {
    text: String,
    base_revision: String,
}

/// Shows what the document would change.
pub async fn preview(admin: Admin, AdminForm(form): AdminForm<PasteForm>) -> Result<Response, Problem> {
    shown(&admin, form.text, None).await
}

/// Imports what was shown.
pub async fn save(admin: Admin, AdminForm(form): AdminForm<ImportForm>) -> Result<Response, Problem> {
    let base_revision = Some(form.base_revision.parse().map_err(|_| Problem::Malformed)?);
    let text = match fits(&form.text) {
        Ok(text) => text,
        Err(refusal) => return refused(&admin, form.text, refusal).await,
    };
    match admin.carry_out(Ask::Import { text, dry: false, base_revision }).await? {
        None => Ok(see_other(HERE)),
        Some(refusal) if refusal.kind == RefusalKind::Conflict => {
            let message = "Nothing was imported: the settings have changed since you looked. This is what would \
                           change now.";
            shown(&admin, form.text, Some(message.to_owned())).await
        }
        Some(refusal) => refused(&admin, form.text, refusal).await,
    }
}

async fn shown(admin: &Admin, text: String, conflict: Option<String>) -> Result<Response, Problem> {
    // Older than what is compared with, never newer: a change in between is a conflict, not an oversight.
    let base_revision = newest(admin).await?;
    let differs = match differences(admin, &text).await? {
        Ok(differs) => differs,
        Err(refusal) => return refused(admin, text, refusal).await,
    };
    let mut chrome = admin.chrome(HERE).await;
    chrome.error = conflict.is_some();
    let status = if chrome.error { StatusCode::CONFLICT } else { StatusCode::OK };
    let changes = differs.iter().map(|one| Change::of(one, &admin.status.clock)).collect();
    Ok(html(status, &PreviewPage { chrome, text, base_revision, changes, refused: conflict }))
}

async fn newest(admin: &Admin) -> Result<i64, Problem> {
    match admin.ask(Ask::Settings).await? {
        Answer::Settings { revision, .. } => Ok(revision),
        _ => Err(Problem::Misunderstood("settings")),
    }
}

async fn differences(admin: &Admin, text: &str) -> Result<Result<Vec<Difference>, Refusal>, Problem> {
    let text = match fits(text) {
        Ok(text) => text,
        Err(refusal) => return Ok(Err(refusal)),
    };
    match admin.ask(Ask::Import { text, dry: true, base_revision: None }).await {
        Ok(Answer::Differences { differs }) => Ok(Ok(differs)),
        Ok(_) => Err(Problem::Misunderstood("an import")),
        Err(Problem::Refused(refusal)) if error::of_the_page(refusal.kind) => Ok(Err(refusal)),
        Err(problem) => Err(problem),
    }
}

/// The document as the daemon takes it: a browser sends two bytes for each line break.
fn fits(pasted: &str) -> Result<String, Refusal> {
    let text = pasted.replace("\r\n", "\n");
    // As JSON, for the door.
    let escaped = |b: u8| match b {
        b'"' | b'\\' | b'\n' | b'\t' => 2,
        0..0x20 => 6,
        _ => 1,
    };
    let wrong = if text.trim().is_empty() {
        "Paste the document first: an empty one would put every setting back to its factory state."
    } else if text.len() > MAX_IMPORT || text.bytes().map(escaped).sum::<usize>() > MAX_FRAME - 1024 {
        "The document is too long for this page: 128 KiB at most, a little less with many short lines. Import it on \
         the router, as root: postern import FILE."
    } else {
        return Ok(text);
    };
    Err(Refusal::field(RefusalKind::Invalid, "", wrong))
}

/// The page with the document as it was pasted, and what is wrong with it.
async fn refused(admin: &Admin, text: String, refusal: Refusal) -> Result<Response, Problem> {
    let mut chrome = admin.chrome(HERE).await;
    chrome.error = true;
    let errors: Vec<FieldError> = refusal.fields.iter().map(beside_the_document).collect();
    let message = errors.is_empty().then_some(refusal.message);
    let page = BackupPage { text, errors: Errors(errors), refused: message, ..BackupPage::new(chrome) };
    Ok(page.response(error::status(refusal.kind)))
}

/// The one field of the page is `text`; which key of the document is meant goes into the sentence.
fn beside_the_document(wrong: &FieldError) -> FieldError {
    let says_where = wrong.key.is_empty() || wrong.message.starts_with("Line ");
    let message =
        if says_where { wrong.message.clone() } else { format!("{}: {}", wrong.key, wrong.message) };
    FieldError::new("text", message)
}

#[cfg(test)]
mod tests;
