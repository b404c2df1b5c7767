//! The encrypted backup: out as a file, and back in two steps. The password of this router is asked for at each: a restore has
//! two, and no page carries a password along.

use askama::Template;
use axum::http::StatusCode;
use axum::http::header::{CONTENT_DISPOSITION, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use postern::door::messages::{Difference, RefusalKind, Request as Ask, Response as Answer};
use serde::Deserialize;

use super::{BackupPage, HERE, newest};
use crate::error::Problem;
use crate::form::{AdminForm, Errors};
use crate::login::{Admin, password};
use crate::pages::owner::Said;
use crate::view::{Chrome, html, see_other};
use crate::words::Change;

/// Fields that the daemon may find wrong.
const FIELDS: [&str; 3] = ["owner", "password", "backup"];

#[derive(Template)]
#[template(path = "restore.html")]
struct RestorePage {
    chrome: Chrome,
    backup: String,
    base_revision: i64,
    changes: Vec<Change>,
    errors: Errors,
    refused: Option<String>,
}

/// A password for the backup, twice, and the router's.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeForm {
    owner: String,
    password: String,
    repeat: String,
}

/// A backup as pasted, and both passwords.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreForm {
    backup: String,
    password: String,
    owner: String,
}

/// The same, and the revision that its preview was made from.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestoreNowForm {
    backup: String,
    password: String,
    owner: String,
    base_revision: String,
}

/// The file.
pub async fn take(admin: Admin, AdminForm(form): AdminForm<TakeForm>) -> Result<Response, Problem> {
    if form.password != form.repeat {
        let said = Said::field("take-repeat", "The two passwords differ. Type the backup's password twice.");
        return page(&admin, String::new(), said).await;
    }
    let request = Ask::Backup { owner: password(&form.owner), password: password(&form.password) };
    match admin.ask(request).await {
        Ok(Answer::Text { text }) => {
            let headers = [
                (CONTENT_TYPE, "text/plain; charset=utf-8"),
                (CONTENT_DISPOSITION, "attachment; filename=\"postern-backup.txt\""),
            ];
            Ok((headers, text).into_response())
        }
        Ok(_) => Err(Problem::Misunderstood("a backup")),
        Err(Problem::Refused(refusal)) => {
            page(&admin, String::new(), Said::of(refusal, "take", &FIELDS)?).await
        }
        Err(problem) => Err(problem),
    }
}

/// Shows what the backup would change.
pub async fn preview(admin: Admin, AdminForm(form): AdminForm<RestoreForm>) -> Result<Response, Problem> {
    // Older than what is compared with, never newer: a change in between is a conflict, not an oversight.
    let base_revision = newest(&admin).await?;
    match differences(&admin, &form.backup, &form.password, &form.owner).await? {
        Ok(differs) => shown(&admin, form.backup, base_revision, &differs, None).await,
        Err(said) => page(&admin, form.backup, said).await,
    }
}

/// Restores what was shown.
pub async fn restore(admin: Admin, AdminForm(form): AdminForm<RestoreNowForm>) -> Result<Response, Problem> {
    let base_revision = Some(form.base_revision.parse().map_err(|_| Problem::Malformed)?);
    let request = ask(&form.backup, &form.password, &form.owner, false, base_revision);
    let refusal = match admin.order(request).await {
        Ok(message) => {
            admin.flash(message).await;
            return Ok(see_other(HERE));
        }
        Err(Problem::Refused(refusal)) => refusal,
        Err(problem) => return Err(problem),
    };
    let conflict = refusal.kind == RefusalKind::Conflict;
    let said = Said::of(refusal, "restore", &FIELDS)?;
    // A password that was mistyped is typed again there; with both right, the differences are shown anew.
    let base_revision = newest(&admin).await?;
    match conflict {
        true => match differences(&admin, &form.backup, &form.password, &form.owner).await? {
            Ok(differs) => shown(&admin, form.backup, base_revision, &differs, Some(said)).await,
            Err(said) => page(&admin, form.backup, said).await,
        },
        false => page(&admin, form.backup, said).await,
    }
}

fn ask(backup: &str, sealed_with: &str, owner: &str, dry: bool, base_revision: Option<i64>) -> Ask {
    Ask::Restore {
        owner: password(owner),
        password: password(sealed_with),
        text: backup.replace("\r\n", "\n"),
        dry,
        base_revision,
    }
}

async fn differences(
    admin: &Admin,
    backup: &str,
    sealed_with: &str,
    owner: &str,
) -> Result<Result<Vec<Difference>, Said>, Problem> {
    match admin.ask(ask(backup, sealed_with, owner, true, None)).await {
        Ok(Answer::Differences { differs }) => Ok(Ok(differs)),
        Ok(_) => Err(Problem::Misunderstood("a restore")),
        Err(Problem::Refused(refusal)) => Ok(Err(Said::of(refusal, "restore", &FIELDS)?)),
        Err(problem) => Err(problem),
    }
}

async fn shown(
    admin: &Admin,
    backup: String,
    base_revision: i64,
    differs: &[Difference],
    said: Option<Said>,
) -> Result<Response, Problem> {
    let mut chrome = admin.chrome(HERE).await;
    chrome.error = said.is_some();
    let status = said.as_ref().map_or(StatusCode::OK, |said| said.status);
    let (errors, refused) = said.map_or_else(Default::default, |said| (said.errors, said.refused));
    let changes = differs.iter().map(|one| Change::of(one, &admin.status.clock)).collect();
    let page = RestorePage { chrome, backup, base_revision, changes, errors: Errors(errors), refused };
    Ok(html(status, &page))
}

async fn page(admin: &Admin, backup: String, said: Said) -> Result<Response, Problem> {
    let mut chrome = admin.chrome(HERE).await;
    chrome.error = true;
    let errors = Errors(said.errors);
    let page = BackupPage { backup, errors, refused: said.refused, ..BackupPage::new(chrome) };
    Ok(Said::with_wait(said.wait, page.response(said.status)))
}

#[cfg(test)]
mod tests;
