//! `/network/role/openwrt`: what OpenWrt's configuration says, held against ours: what would become what, what cannot be taken and
//! why. Nothing is taken before it was seen. The daemon reads the files.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use postern::door::messages::{
    FromPart, FromUci, Part, Refusal, RefusalKind, Request as Ask, Response as Answer,
};
use serde::Deserialize;

use crate::error::{self, Problem};
use crate::form::{AdminForm, Errors};
use crate::login::Admin;
use crate::view::{Chrome, html, see_other};
use crate::words::Change;

/// Where it is.
pub const HERE: &str = "/network/role/openwrt";

#[derive(Template)]
#[template(path = "openwrt.html")]
struct OpenwrtPage {
    chrome: Chrome,
    folder: String,
    digest: String,
    revision: i64,
    parts: Vec<Shown>,
    /// Why nothing is shown, or nothing was taken.
    refused: Option<String>,
    /// By part.
    errors: Errors,
}

/// One part in words.
struct Shown {
    word: &'static str,
    title: &'static str,
    changes: Vec<Change>,
    left_out: Vec<String>,
    more: (usize, usize),
    ticked: bool,
}

impl Shown {
    fn of(from: &FromPart, admin: &Admin) -> Self {
        Self {
            word: from.part.word(),
            title: match from.part {
                Part::Sides => "The two sides",
                Part::Devices => "Devices",
                Part::Forwards => "Port forwards",
                Part::Helpers => "Helpers",
            },
            changes: from.differs.iter().map(|one| Change::of(one, &admin.status.clock)).collect(),
            left_out: from.left_out.clone(),
            more: from.more,
            ticked: true,
        }
    }
}

/// Which parts are ticked, of which files and which settings.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TakeForm {
    base_revision: String,
    digest: String,
    #[serde(default)]
    sides: String,
    #[serde(default)]
    devices: String,
    #[serde(default)]
    forwards: String,
    #[serde(default)]
    helpers: String,
}

impl TakeForm {
    fn parts(&self) -> Vec<Part> {
        let ticked = |part: &Part| {
            let value = match part {
                Part::Sides => &self.sides,
                Part::Devices => &self.devices,
                Part::Forwards => &self.forwards,
                Part::Helpers => &self.helpers,
            };
            value == "true"
        };
        Part::ALL.into_iter().filter(ticked).collect()
    }
}

/// What would become what.
pub async fn show(admin: Admin) -> Result<Response, Problem> {
    let page = OpenwrtPage::new(&admin).await?;
    Ok(html(StatusCode::OK, &page))
}

/// Takes what is ticked.
pub async fn save(admin: Admin, AdminForm(form): AdminForm<TakeForm>) -> Result<Response, Problem> {
    let base = form.base_revision.parse::<i64>().map_err(|_| Problem::Malformed)?;
    let parts = form.parts();
    let refusal = if parts.is_empty() {
        Refusal::of(RefusalKind::Invalid, "Tick what shall be taken.")
    } else {
        let ask =
            Ask::TakeUci { base_revision: Some(base), digest: form.digest.clone(), parts: parts.clone() };
        let Some(refusal) = admin.carry_out(ask).await? else { return Ok(see_other(HERE)) };
        refusal
    };
    let mut page = OpenwrtPage::new(&admin).await?;
    page.chrome.error = true;
    for shown in &mut page.parts {
        shown.ticked = parts.iter().any(|part| part.word() == shown.word);
    }
    page.refuse(&refusal);
    Ok(html(error::status(refusal.kind), &page))
}

impl OpenwrtPage {
    async fn new(admin: &Admin) -> Result<Self, Problem> {
        let (from, refused) = match admin.ask(Ask::FromUci).await {
            Ok(Answer::FromUci(from)) => (*from, None),
            Err(Problem::Refused(refusal)) if error::of_the_page(refusal.kind) => {
                (FromUci::default(), Some(refusal.message))
            }
            Ok(_) => return Err(Problem::Misunderstood("OpenWrt\u{2019}s configuration")),
            Err(problem) => return Err(problem),
        };
        Ok(Self {
            chrome: admin.chrome(HERE).await,
            parts: from.parts.iter().map(|part| Shown::of(part, admin)).collect(),
            folder: from.folder,
            digest: from.digest,
            revision: from.revision,
            refused,
            errors: Errors::default(),
        })
    }

    /// What is wrong stands beside its part, as far as it is one's.
    fn refuse(&mut self, refusal: &Refusal) {
        for mut field in refusal.fields.iter().cloned() {
            let begins = |words: &[&str]| words.iter().any(|word| field.key.starts_with(word));
            let part = match &field.key {
                _ if begins(&["sides", "internet", "local_network", "role"]) => Part::Sides,
                _ if begins(&["devices"]) => Part::Devices,
                _ if begins(&["forwards"]) => Part::Forwards,
                _ if begins(&["helpers", "passthrough"]) => Part::Helpers,
                _ => continue,
            };
            field.key = part.word().to_owned();
            self.errors.0.push(field);
        }
        if self.errors.0.is_empty() {
            self.refused = Some(refusal.message.clone());
        }
    }

    fn nothing(&self) -> bool {
        self.parts.iter().all(|part| part.changes.is_empty())
    }
}

#[cfg(test)]
mod tests;
