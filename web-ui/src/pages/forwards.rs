//! `/security/forwards`: ports that lead from the internet to a device, by the kind of VPN server or by port.

mod form;

use askama::Template;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use postern::door::messages::{Assignment, Request as Ask};
use postern::settings::forwards::{Forward, KEY};
use postern::settings::keys::UNSET;
use postern::settings::{Role, Settings};
use serde::Deserialize;

use super::conflict::Clash;
use super::edit::{self, newest};
use crate::error::{self, Problem};
use crate::form::{AdminForm, Errors};
use crate::login::Admin;
use crate::view::{Chrome, html, see_other};
pub use form::ForwardForm;
use form::WHAT;

/// Where it is.
pub const HERE: &str = "/security/forwards";

#[derive(Template)]
#[template(path = "forwards.html")]
struct ForwardsPage {
    chrome: Chrome,
    form: ForwardForm,
    errors: Errors,
    /// Why nothing was saved, where that is no single field's fault.
    refused: Option<String>,
    clashes: Vec<Clash>,
    meanwhile: Vec<String>,
    notices: Vec<String>,
    lines: Vec<Line>,
    revision: i64,
    router: bool,
    kinds: &'static [(&'static str, &'static str)],
}

/// One forward in words.
struct Line {
    name: String,
    what: String,
    to: String,
    on: bool,
    /// Where it is edited.
    edit: String,
    notes: Vec<&'static str>,
}

impl Line {
    fn of(forward: &Forward, settings: &Settings) -> Self {
        let what = match forward.preset {
            Some(preset) => {
                let known = WHAT.iter().find(|(word, _)| *word == preset.word());
                known.map_or(preset.word(), |(_, title)| title).to_owned()
            }
            None => forward.what().to_uppercase(),
        };
        Self {
            name: forward.name.to_string(),
            what,
            to: forward.to.to_string(),
            on: forward.enabled,
            edit: serde_urlencoded::to_string([("edit", forward.name.as_str())]).unwrap_or_default(),
            notes: forward.notes(settings),
        }
    }
}

/// Which forward is to be edited.
#[derive(Debug, Default, Deserialize)]
struct Which {
    edit: Option<String>,
}

/// One of the list's buttons.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OneForm {
    base_revision: String,
    name: String,
}

/// The list, and a form for a new one or the one to be edited.
pub async fn show(admin: Admin, uri: Uri) -> Result<Response, Problem> {
    let which: Which = serde_urlencoded::from_str(uri.query().unwrap_or_default()).unwrap_or_default();
    let (revision, settings) = newest(&admin).await?;
    let wanted = which.edit.as_deref().unwrap_or_default();
    let form = ForwardForm::editing(revision, &settings, wanted);
    Ok(html(StatusCode::OK, &ForwardsPage::new(&admin, revision, &settings, form).await))
}

/// Adds one, or changes the one that was opened.
pub async fn save(admin: Admin, AdminForm(mut form): AdminForm<ForwardForm>) -> Result<Response, Problem> {
    let (revision, settings) = newest(&admin).await?;
    if let Some(wrong) = form.taken_name(&settings) {
        let mut page = ForwardsPage::new(&admin, revision, &settings, form).await;
        page.chrome.error = true;
        page.errors = Errors(vec![wrong]);
        return Ok(html(StatusCode::UNPROCESSABLE_ENTITY, &page));
    }
    let Some(refused) = edit::save(&admin, &mut form).await? else { return Ok(see_other(HERE)) };
    let (revision, settings) = newest(&admin).await?;
    let mut page = ForwardsPage::new(&admin, revision, &settings, form).await;
    page.chrome.error = true;
    page.refused = refused.message;
    page.errors = Errors(refused.errors.0.into_iter().map(|error| page.form.beside(error)).collect());
    page.clashes = refused.clashes;
    page.meanwhile = refused.meanwhile;
    Ok(html(refused.status, &page))
}

/// Switches one on or off.
pub async fn switch(admin: Admin, AdminForm(form): AdminForm<OneForm>) -> Result<Response, Problem> {
    let (_, settings) = newest(&admin).await?;
    let known = settings.forwards.iter().find(|forward| forward.name.as_str() == form.name);
    let mut forward = known.cloned().ok_or(Problem::Malformed)?;
    forward.enabled = !forward.enabled;
    one(&admin, form, forward.words()).await
}

/// Removes one.
pub async fn remove(admin: Admin, AdminForm(form): AdminForm<OneForm>) -> Result<Response, Problem> {
    one(&admin, form, UNSET.to_owned()).await
}

async fn one(admin: &Admin, form: OneForm, value: String) -> Result<Response, Problem> {
    let base_revision = Some(form.base_revision.parse().map_err(|_| Problem::Malformed)?);
    let patch = vec![Assignment { key: format!("{KEY}{}", form.name), value }];
    let change = Ask::Change { base_revision, patch, comment: String::new() };
    let Some(refusal) = admin.carry_out(change).await? else { return Ok(see_other(HERE)) };
    let (revision, settings) = newest(admin).await?;
    let form = ForwardForm::editing(revision, &settings, "");
    let mut page = ForwardsPage::new(admin, revision, &settings, form).await;
    page.chrome.error = true;
    let wrong: Vec<String> = refusal.fields.into_iter().map(|field| field.message).collect();
    page.refused = Some(if wrong.is_empty() { refusal.message } else { wrong.join(" ") });
    Ok(html(error::status(refusal.kind), &page))
}

impl ForwardsPage {
    async fn new(admin: &Admin, revision: i64, settings: &Settings, form: ForwardForm) -> Self {
        Self {
            chrome: admin.chrome(HERE).await,
            form,
            errors: Errors::default(),
            refused: None,
            clashes: Vec::new(),
            meanwhile: Vec::new(),
            notices: admin.status.notices.clone(),
            lines: settings.forwards.iter().map(|forward| Line::of(forward, settings)).collect(),
            revision,
            router: admin.status.role == Role::Router,
            kinds: WHAT,
        }
    }
}

#[cfg(test)]
mod tests;
