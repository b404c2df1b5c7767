//! `/network/local`: the router's own address, what DHCP hands out, and what DNS answers.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use postern::door::messages::{Assignment, Refusal, RefusalKind, Request as Ask, Response as Answer};
use postern::services::Service;
use postern::settings::{Role, Settings, keys};
use serde::Deserialize;

use super::devices::{self, Line};
use crate::error::{self, Problem};
use crate::form::{AdminForm, Errors};
use crate::login::Admin;
use crate::view::{Chrome, html, see_other};

/// Where it is.
pub const HERE: &str = "/network/local";

#[derive(Template)]
#[template(path = "local_network.html")]
struct LocalNetworkPage {
    chrome: Chrome,
    form: LocalNetworkForm,
    errors: Errors,
    /// Why nothing was saved, where that is no single field's fault.
    refused: Option<String>,
    /// DHCP and DNS: word for programs, shape, word.
    service: (&'static str, &'static str, &'static str),
    notices: Vec<String>,
    lines: Vec<Line>,
    left_out: u32,
    role: bool,
}

/// What the page's form holds, as typed; its names are the settings' keys. A box that is not ticked is not sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LocalNetworkForm {
    base_revision: String,
    #[serde(rename = "local_network.address")]
    address: String,
    #[serde(rename = "local_network.domain")]
    domain: String,
    #[serde(rename = "local_network.dhcp.enabled", default)]
    dhcp: String,
    #[serde(rename = "local_network.dhcp.start")]
    start: String,
    #[serde(rename = "local_network.dhcp.end")]
    end: String,
    #[serde(rename = "local_network.dhcp.lease")]
    lease: String,
    #[serde(rename = "local_network.dns.enabled", default)]
    dns: String,
    #[serde(rename = "local_network.dns.rebind_protection", default)]
    rebind: String,
}

const KEYS: [&str; 8] = [
    "local_network.address",
    "local_network.domain",
    "local_network.dhcp.enabled",
    "local_network.dhcp.start",
    "local_network.dhcp.end",
    "local_network.dhcp.lease",
    "local_network.dns.enabled",
    "local_network.dns.rebind_protection",
];

impl LocalNetworkForm {
    fn of(revision: i64, settings: &Settings) -> Self {
        let get = |key: &str| keys::get(settings, key).unwrap_or_default();
        Self {
            base_revision: revision.to_string(),
            address: get(KEYS[0]),
            domain: get(KEYS[1]),
            dhcp: get(KEYS[2]),
            start: get(KEYS[3]),
            end: get(KEYS[4]),
            lease: get(KEYS[5]),
            dns: get(KEYS[6]),
            rebind: get(KEYS[7]),
        }
    }

    /// As the command line would write it. An emptied address of the range is `auto`.
    fn value(&self, key: &str) -> String {
        let tick = |word: &str| if word == "true" { "true" } else { "false" }.to_owned();
        let auto = |word: &str| if word.trim().is_empty() { "auto" } else { word.trim() }.to_owned();
        match key {
            "local_network.address" => self.address.trim().to_owned(),
            "local_network.domain" => self.domain.trim().to_owned(),
            "local_network.dhcp.enabled" => tick(&self.dhcp),
            "local_network.dhcp.start" => auto(&self.start),
            "local_network.dhcp.end" => auto(&self.end),
            "local_network.dhcp.lease" => self.lease.trim().to_owned(),
            "local_network.dns.enabled" => tick(&self.dns),
            _ => tick(&self.rebind),
        }
    }

    fn changed(&self, before: &Self) -> Vec<Assignment> {
        let differ = KEYS.iter().filter(|key| self.value(key) != before.value(key));
        differ.map(|key| Assignment { key: (*key).to_owned(), value: self.value(key) }).collect()
    }

    fn on(&self, key: &str) -> bool {
        self.value(key) == "true"
    }
}

/// The newest settings, and who has which address.
pub async fn show(admin: Admin) -> Result<Response, Problem> {
    let (revision, settings) = newest(&admin).await?;
    let page = LocalNetworkPage::new(&admin, LocalNetworkForm::of(revision, &settings)).await?;
    Ok(html(StatusCode::OK, &page))
}

/// Saves what was changed. Whatever is refused comes back as the same page with what was typed.
pub async fn save(
    admin: Admin,
    AdminForm(mut form): AdminForm<LocalNetworkForm>,
) -> Result<Response, Problem> {
    let base = form.base_revision.parse::<i64>().map_err(|_| Problem::Malformed)?;
    let (revision, settings) = newest(&admin).await?;
    let refusal = if revision == base {
        let patch = form.changed(&LocalNetworkForm::of(revision, &settings));
        if patch.is_empty() {
            admin.flash("Nothing was changed: the settings are as they were.".into()).await;
            return Ok(see_other(HERE));
        }
        admin.carry_out(Ask::Change { base_revision: Some(base), patch, comment: String::new() }).await?
    } else {
        Some(Refusal::of(
            RefusalKind::Conflict,
            "The settings have changed since you opened this page. Below is what you typed; save again if it shall \
             replace what is stored now.",
        ))
    };
    let Some(refusal) = refusal else { return Ok(see_other(HERE)) };
    form.base_revision = revision.to_string();
    let mut page = LocalNetworkPage::new(&admin, form).await?;
    page.chrome.error = true;
    page.refused = refusal.fields.is_empty().then_some(refusal.message);
    page.errors = Errors(refusal.fields);
    Ok(html(error::status(refusal.kind), &page))
}

pub(super) async fn newest(admin: &Admin) -> Result<(i64, Box<Settings>), Problem> {
    match admin.ask(Ask::Settings).await? {
        Answer::Settings { revision, settings } => Ok((revision, settings)),
        _ => Err(Problem::Misunderstood("settings")),
    }
}

impl LocalNetworkPage {
    async fn new(admin: &Admin, form: LocalNetworkForm) -> Result<Self, Problem> {
        let (lines, left_out) = devices::lines(admin).await?;
        Ok(Self {
            chrome: admin.chrome(HERE).await,
            form,
            errors: Errors::default(),
            refused: None,
            service: match admin.status.dhcp_dns {
                Service::Running => ("working", "\u{25cf}", "Running"),
                Service::Off => ("inactive", "\u{2013}", "Off"),
                Service::NotInstalled => ("failed", "\u{25b2}", "Not installed"),
                Service::Failed { .. } => ("failed", "\u{25b2}", "Not running"),
            },
            notices: admin.status.notices.clone(),
            lines: lines.into_iter().filter(|line| line.address.is_some()).collect(),
            left_out,
            role: admin.status.role != Role::Unset,
        })
    }
}

#[cfg(test)]
mod tests;
