//! `/network/role`: whether this box is the router, or stands beside another firewall; and which devices are its two sides.
//! What seems to be so is shown with where it was read, and taken on a click.

pub mod openwrt;

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use postern::door::messages::{Beside, Proposal, RefusalKind, Request as Ask, Response as Answer, Uci};
use postern::settings::{FieldError, Role, Settings, keys};
use serde::Deserialize;

use super::conflict::Clash;
use super::edit::{self, Edit, newest};
use crate::error::{self, Problem};
use crate::form::{AdminForm, Errors};
use crate::login::Admin;
use crate::view::{Chrome, html, see_other};

/// Where it is.
pub const HERE: &str = "/network/role";

const ROLE: &str = "role";
const INTERNET: &str = "internet.device";
const LOCAL: &str = "local_network.devices";
const ADDRESS: &str = "local_network.address";

#[derive(Template)]
#[template(path = "role.html")]
struct RolePage {
    chrome: Chrome,
    form: RoleForm,
    errors: Errors,
    refused: Option<String>,
    clashes: Vec<Clash>,
    meanwhile: Vec<String>,
    /// No role is chosen yet.
    unset: bool,
    /// The other firewalls, each with its tables.
    firewalls: Vec<(String, String)>,
    /// Their names, for a sentence.
    whose: Option<String>,
    proposal: Option<Proposal>,
    /// Where each side was read; empty: it is what is set.
    from: [String; 3],
    uci: Uci,
    /// A router's internet address comes by PPPoE, whose session is made anew.
    pppoe: bool,
}

/// What the page's form holds, as typed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RoleForm {
    base_revision: String,
    #[serde(default)]
    role: String,
    #[serde(rename = "internet.device")]
    internet: String,
    #[serde(rename = "local_network.devices")]
    local: String,
    #[serde(rename = "local_network.address")]
    address: String,
}

impl Edit for RoleForm {
    const LABELS: &[(&'static str, &'static str)] = &[
        (ROLE, "What this box is"),
        (INTERNET, "Device to the internet"),
        (LOCAL, "Device of the local network"),
        (ADDRESS, "This box\u{2019}s address in it"),
    ];

    fn of(revision: i64, settings: &Settings) -> Self {
        let get = |key: &str| keys::get(settings, key).unwrap_or_default();
        Self {
            base_revision: revision.to_string(),
            role: get(ROLE),
            internet: get(INTERNET),
            local: get(LOCAL),
            address: get(ADDRESS),
        }
    }

    fn base(&mut self) -> &mut String {
        &mut self.base_revision
    }

    fn value(&self, key: &str) -> String {
        let typed = match key {
            ROLE => &self.role,
            INTERNET => &self.internet,
            LOCAL => &self.local,
            _ => &self.address,
        };
        let typed = typed.trim();
        let optional = [INTERNET, LOCAL].contains(&key);
        if typed.is_empty() && optional { keys::UNSET.to_owned() } else { typed.to_owned() }
    }
}

/// What is set, or what seems to be so.
pub async fn show(admin: Admin) -> Result<Response, Problem> {
    let (revision, settings) = newest(&admin).await?;
    let beside = beside(&admin).await?;
    let mut form = RoleForm::of(revision, &settings);
    if let Some(proposal) = beside.proposal.as_ref().filter(|_| settings.internet.device.is_none()) {
        form.internet.clone_from(&proposal.internet);
        form.local.clone_from(&proposal.local);
        if let Some(address) = &proposal.address {
            form.address.clone_from(address);
        }
    }
    Ok(html(StatusCode::OK, &RolePage::new(&admin, &settings, form, beside).await))
}

/// Saves it, on trial.
pub async fn save(admin: Admin, AdminForm(mut form): AdminForm<RoleForm>) -> Result<Response, Problem> {
    if !["router", "companion"].contains(&form.role.as_str()) {
        let (_, settings) = newest(&admin).await?;
        let beside = beside(&admin).await?;
        let mut page = RolePage::new(&admin, &settings, form, beside).await;
        page.chrome.error = true;
        page.errors = Errors(vec![FieldError::new(ROLE, "Choose what this box is.")]);
        return Ok(html(error::status(RefusalKind::Invalid), &page));
    }
    let Some(refused) = edit::save(&admin, &mut form).await? else { return Ok(see_other(HERE)) };
    let beside = beside(&admin).await?;
    let mut page = RolePage::new(&admin, &refused.settings, form, beside).await;
    page.chrome.error = true;
    page.refused = refused.message;
    page.errors = refused.errors;
    page.clashes = refused.clashes;
    page.meanwhile = refused.meanwhile;
    Ok(html(refused.status, &page))
}

async fn beside(admin: &Admin) -> Result<Beside, Problem> {
    match admin.ask(Ask::Beside).await? {
        Answer::Beside(beside) => Ok(*beside),
        _ => Err(Problem::Misunderstood("what stands beside")),
    }
}

impl RoleForm {
    /// A device that is not set is an empty field.
    fn typed(&self, key: &str) -> String {
        let value = self.value(key);
        if value == keys::UNSET { String::new() } else { value }
    }
}

impl RolePage {
    async fn new(admin: &Admin, settings: &Settings, form: RoleForm, beside: Beside) -> Self {
        let names: Vec<&str> = beside.firewalls.iter().map(|one| one.name.as_str()).collect();
        let from = beside.proposal.as_ref().map_or_else(Default::default, |proposal| {
            let said = |key: &str, known: Option<&str>, from: &str| match known {
                Some(known) if form.value(key) == known => format!("Read from {from}."),
                Some(known) => format!("{} says {known} ({from}).", capital(&proposal.from)),
                None => String::new(),
            };
            [
                said(INTERNET, Some(&proposal.internet), &proposal.internet_from),
                said(LOCAL, Some(&proposal.local), &proposal.local_from),
                said(ADDRESS, proposal.address.as_deref(), &proposal.from),
            ]
        });
        Self {
            chrome: admin.chrome(HERE).await,
            errors: Errors::default(),
            refused: None,
            clashes: Vec::new(),
            meanwhile: Vec::new(),
            unset: admin.status.role == Role::Unset,
            whose: (!names.is_empty()).then(|| names.join(" and ")),
            firewalls: beside
                .firewalls
                .iter()
                .map(|one| (capital(&one.name), one.tables.join(", ")))
                .collect(),
            proposal: beside.proposal,
            from,
            uci: beside.uci,
            pppoe: keys::get(settings, "internet.mode").as_deref() == Some("pppoe"),
            form,
        }
    }

    fn is(&self, role: &str) -> bool {
        self.form.role == role
    }

    /// What stands below a field: how it is written, and where it was read.
    fn hint(&self, at: usize, how: &str) -> String {
        format!("{how} {}", self.from.get(at).map_or("", String::as_str)).trim_end().to_owned()
    }

    /// Class, shape and word of the chip beside a role.
    fn mark(&self, role: &str) -> Option<(&'static str, &'static str, &'static str)> {
        let now = match (self.unset, self.chrome.companion) {
            (true, _) => "",
            (_, true) => "companion",
            _ => "router",
        };
        let recommended = if self.whose.is_some() { "companion" } else { "router" };
        match role {
            _ if role == now => Some(("working", "\u{25cf}", "Now")),
            _ if self.unset && role == recommended => Some(("ready", "\u{25cb}", "Recommended here")),
            _ => None,
        }
    }
}

fn capital(words: &str) -> String {
    let mut letters = words.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

#[cfg(test)]
mod tests;
