//! `/network/local`: the router's own address, what DHCP hands out, and what DNS answers.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use postern::services::Service;
use postern::settings::{Role, Settings, keys};
use serde::Deserialize;

use super::conflict::Clash;
use super::devices::{self, Line};
use super::edit::{self, Edit, newest};
use crate::error::Problem;
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
    clashes: Vec<Clash>,
    meanwhile: Vec<String>,
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

/// Key, what people call it.
const LABELS: [(&str, &str); 8] = [
    ("local_network.address", "Address of this router"),
    ("local_network.domain", "Local domain"),
    ("local_network.dhcp.enabled", "DHCP"),
    ("local_network.dhcp.start", "First address lent"),
    ("local_network.dhcp.end", "Last address lent"),
    ("local_network.dhcp.lease", "Lease time"),
    ("local_network.dns.enabled", "DNS"),
    ("local_network.dns.rebind_protection", "DNS rebinding protection"),
];

impl LocalNetworkForm {
    fn of(revision: i64, settings: &Settings) -> Self {
        let get = |key: &str| keys::get(settings, key).unwrap_or_default();
        Self {
            base_revision: revision.to_string(),
            address: get("local_network.address"),
            domain: get("local_network.domain"),
            dhcp: get("local_network.dhcp.enabled"),
            start: get("local_network.dhcp.start"),
            end: get("local_network.dhcp.end"),
            lease: get("local_network.dhcp.lease"),
            dns: get("local_network.dns.enabled"),
            rebind: get("local_network.dns.rebind_protection"),
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

    fn on(&self, key: &str) -> bool {
        self.value(key) == "true"
    }
}

impl Edit for LocalNetworkForm {
    const LABELS: &[(&'static str, &'static str)] = &LABELS;

    fn of(revision: i64, settings: &Settings) -> Self {
        Self::of(revision, settings)
    }

    fn base(&mut self) -> &mut String {
        &mut self.base_revision
    }

    fn value(&self, key: &str) -> String {
        self.value(key)
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
    let Some(refused) = edit::save(&admin, &mut form).await? else { return Ok(see_other(HERE)) };
    let mut page = LocalNetworkPage::new(&admin, form).await?;
    page.chrome.error = true;
    page.refused = refused.message;
    page.errors = refused.errors;
    page.clashes = refused.clashes;
    page.meanwhile = refused.meanwhile;
    Ok(html(refused.status, &page))
}

impl LocalNetworkPage {
    async fn new(admin: &Admin, form: LocalNetworkForm) -> Result<Self, Problem> {
        let (lines, left_out) = devices::lines(admin).await?;
        Ok(Self {
            chrome: admin.chrome(HERE).await,
            form,
            errors: Errors::default(),
            refused: None,
            clashes: Vec::new(),
            meanwhile: Vec::new(),
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
