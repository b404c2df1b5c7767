//! What every page that edits settings does: what was typed is held against what is stored, saved once, and shown again with
//! the reason where it is refused. Nothing is ever merged silently.

use axum::http::StatusCode;
use postern::door::messages::{Assignment, RefusalKind, Request as Ask, Response as Answer};
use postern::settings::Settings;

use super::conflict::{self, Clash};
use crate::error::{self, Problem};
use crate::form::Errors;
use crate::login::Admin;

/// The form of such a page.
pub trait Edit: Sized {
    /// The keys of its fields, and what people call them.
    const LABELS: &[(&'static str, &'static str)];

    /// As the settings are.
    fn of(revision: i64, settings: &Settings) -> Self;
    /// The revision the owner looked at.
    fn base(&mut self) -> &mut String;
    /// The value of a key as the command line would write it.
    fn value(&self, key: &str) -> String;

    /// Assignments for exactly what differs from `before`.
    fn changed(&self, before: &Self) -> Vec<Assignment> {
        let differ =
            Self::LABELS.iter().map(|(key, _)| *key).filter(|key| self.value(key) != before.value(key));
        differ.map(|key| Assignment { key: key.to_owned(), value: self.value(key) }).collect()
    }

    /// What people call the setting `key`, if it is on this page.
    fn label(key: &str) -> Option<&'static str> {
        Self::LABELS.iter().find(|(known, _)| *known == key).map(|(_, label)| *label)
    }
}

/// Why nothing was saved.
pub struct Refused {
    /// The answer's status.
    pub status: StatusCode,
    /// The settings now.
    pub settings: Box<Settings>,
    /// In words, where it is no single field's fault.
    pub message: Option<String>,
    /// Beside the fields.
    pub errors: Errors,
    /// Where somebody else saved meanwhile: both values.
    pub clashes: Vec<Clash>,
    /// What that somebody saved.
    pub meanwhile: Vec<String>,
}

/// The newest settings and their revision.
pub async fn newest(admin: &Admin) -> Result<(i64, Box<Settings>), Problem> {
    match admin.ask(Ask::Settings).await? {
        Answer::Settings { revision, settings } => Ok((revision, settings)),
        _ => Err(Problem::Misunderstood("settings")),
    }
}

/// Saves what was changed. None: done, and the owner will be told so.
pub async fn save<F: Edit>(admin: &Admin, form: &mut F) -> Result<Option<Refused>, Problem> {
    let base = form.base().parse::<i64>().map_err(|_| Problem::Malformed)?;
    let (revision, settings) = newest(admin).await?;
    if revision != base {
        return clash(admin, form, base, revision, settings).await.map(Some);
    }
    let patch = form.changed(&F::of(revision, &settings));
    if patch.is_empty() {
        admin.flash("Nothing was changed: the settings are as they were.".into()).await;
        return Ok(None);
    }
    let change = Ask::Change { base_revision: Some(base), patch, comment: String::new() };
    let Some(refusal) = admin.carry_out(change).await? else { return Ok(None) };
    if refusal.kind == RefusalKind::Conflict {
        let (revision, settings) = newest(admin).await?;
        return clash(admin, form, base, revision, settings).await.map(Some);
    }
    // What is wrong with another page's field is said above the form.
    let (ours, others): (Vec<_>, Vec<_>) =
        refusal.fields.into_iter().partition(|f| F::label(&f.key).is_some());
    let others: Vec<String> = others.into_iter().map(|field| field.message).collect();
    let message = match (ours.is_empty(), others.is_empty()) {
        (true, true) => Some(refusal.message),
        (_, true) => None,
        _ => Some(others.join(" ")),
    };
    Ok(Some(Refused {
        status: error::status(refusal.kind),
        settings,
        message,
        errors: Errors(ours),
        clashes: Vec::new(),
        meanwhile: Vec::new(),
    }))
}

/// Somebody else saved since the form was read: saved again, what was typed replaces what is stored now.
async fn clash<F: Edit>(
    admin: &Admin,
    form: &mut F,
    base: i64,
    revision: i64,
    settings: Box<Settings>,
) -> Result<Refused, Problem> {
    let now = F::of(revision, &settings);
    *form.base() = revision.to_string();
    Ok(Refused {
        status: StatusCode::CONFLICT,
        message: Some(conflict::REFUSED.into()),
        errors: Errors::default(),
        clashes: conflict::clashes(form.changed(&now), |key| now.value(key), F::label, &admin.status.clock),
        meanwhile: conflict::meanwhile(admin, base, F::label).await?,
        settings,
    })
}
