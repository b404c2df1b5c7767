//! `/security/vpn-passthrough`: what the owner wants on the left, what is true in the kernel on the right.

mod form;

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use postern::door::messages::{RefusalKind, Request as Ask, Response as Answer, Revision};
use postern::settings::passthrough::Allowed;
use postern::settings::{Role, Settings};

use super::mend;
use crate::error::{self, Problem};
use crate::form::{AdminForm, Errors};
use crate::login::Admin;
use crate::view::{Chrome, Truth, html, see_other};
use crate::words::{self, Change};
pub use form::PassthroughForm;

/// Where it is.
pub const HERE: &str = "/security/vpn-passthrough";

#[derive(Template)]
#[template(path = "passthrough.html")]
struct PassthroughPage {
    chrome: Chrome,
    form: PassthroughForm,
    errors: Errors,
    /// Why nothing was saved, where that is no single field's fault.
    refused: Option<String>,
    clashes: Vec<Clash>,
    meanwhile: Vec<String>,
    ipsec: Option<Truth>,
    l2tp: Option<Truth>,
    pptp: Option<Truth>,
    notices: Vec<String>,
    mend: Option<&'static str>,
    who: String,
    takes_effect: &'static str,
}

/// One setting where what is stored now and what was chosen differ.
struct Clash {
    label: &'static str,
    now: String,
    chosen: String,
}

/// The newest settings, and what is true.
pub async fn show(admin: Admin) -> Result<Response, Problem> {
    let (revision, settings) = newest(&admin).await?;
    let form = PassthroughForm::of(revision, &settings.passthrough);
    Ok(html(StatusCode::OK, &PassthroughPage::new(&admin, form, &settings).await))
}

/// Saves what was changed. Whatever is refused comes back as the same page with what was typed.
pub async fn save(admin: Admin, AdminForm(form): AdminForm<PassthroughForm>) -> Result<Response, Problem> {
    let base = form.base_revision.parse::<i64>().map_err(|_| Problem::Malformed)?;
    let (revision, settings) = newest(&admin).await?;
    if revision != base {
        return conflict(&admin, form, base, revision, &settings).await;
    }
    let patch = form.changed(&PassthroughForm::of(revision, &settings.passthrough));
    if patch.is_empty() {
        admin.flash("Nothing was changed: the settings are as they were.".into()).await;
        return Ok(see_other(HERE));
    }
    let change = Ask::Change { base_revision: Some(base), patch, comment: String::new() };
    let Some(refusal) = admin.carry_out(change).await? else {
        return Ok(see_other(HERE));
    };
    if refusal.kind == RefusalKind::Conflict {
        let (revision, settings) = newest(&admin).await?;
        return conflict(&admin, form, base, revision, &settings).await;
    }
    let mut page = PassthroughPage::new(&admin, form, &settings).await;
    page.chrome.error = true;
    page.refused = refusal.fields.is_empty().then_some(refusal.message);
    page.errors = Errors(refusal.fields);
    Ok(html(error::status(refusal.kind), &page))
}

async fn newest(admin: &Admin) -> Result<(i64, Box<Settings>), Problem> {
    match admin.ask(Ask::Settings).await? {
        Answer::Settings { revision, settings } => Ok((revision, settings)),
        _ => Err(Problem::Misunderstood("settings")),
    }
}

/// Somebody else saved since the form was read: both values are shown, and the owner decides.
async fn conflict(
    admin: &Admin,
    mut form: PassthroughForm,
    base: i64,
    revision: i64,
    settings: &Settings,
) -> Result<Response, Problem> {
    let Answer::History { revisions } = admin.ask(Ask::History { limit: 20 }).await? else {
        return Err(Problem::Misunderstood("history"));
    };
    let now = PassthroughForm::of(revision, &settings.passthrough);
    form.base_revision = revision.to_string();
    let clashes = form.changed(&now).into_iter().map(|a| Clash {
        label: form::label(&a.key).unwrap_or("A setting"),
        now: words::value(&a.key, &now.value(&a.key)),
        chosen: words::value(&a.key, &a.value),
    });
    let clashes = clashes.collect();
    let mut page = PassthroughPage::new(admin, form, settings).await;
    page.chrome.error = true;
    page.clashes = clashes;
    page.meanwhile = revisions.iter().filter(|r| r.id > base).map(saved_by).collect();
    page.refused = Some(
        "Nothing was saved: the settings have changed since you opened this page. Below is what you chose; save \
         again if it shall replace what is stored now."
            .into(),
    );
    Ok(html(StatusCode::CONFLICT, &page))
}

fn saved_by(revision: &Revision) -> String {
    let words = revision.differs.iter().map(|d| {
        let what = form::label(&d.key).unwrap_or(&d.key);
        let became = Change::of(d);
        format!("{what}: {} \u{2192} {}", became.before, became.after)
    });
    let words: Vec<String> = words.collect();
    let (at, who, via) = (words::time(revision.at), &revision.who, &revision.via);
    format!("Revision {} by {who} ({via}), {at}. {}", revision.id, words.join("; "))
}

impl PassthroughPage {
    async fn new(admin: &Admin, form: PassthroughForm, settings: &Settings) -> Self {
        let status = &admin.status;
        Self {
            chrome: admin.chrome(HERE).await,
            form,
            errors: Errors::default(),
            refused: None,
            clashes: Vec::new(),
            meanwhile: Vec::new(),
            ipsec: Truth::of(&status.passthrough, "ipsec"),
            l2tp: Truth::of(&status.passthrough, "l2tp"),
            pptp: Truth::of(&status.passthrough, "pptp"),
            notices: status.notices.clone(),
            mend: mend::why(status),
            takes_effect: match status.role {
                Role::Unset => "Kept for later: it takes effect once this box has a role.",
                _ => "Takes effect at once. No restart.",
            },
            who: match &settings.passthrough.devices {
                Allowed::Everyone => "Every device on the local network.".into(),
                Allowed::Only(macs) => format!("Only {} chosen devices on the local network.", macs.len()),
            },
        }
    }
}

#[cfg(test)]
mod tests;
