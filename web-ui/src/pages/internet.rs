//! `/network/internet`: the internet address, where it comes from, who else translates it, and the settings of that side.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use postern::door::messages::{Assignment, Refusal, RefusalKind, Request as Ask, Status};
use postern::services::{BehindNat, Service};
use postern::settings::internet::Mode;
use postern::settings::keys::{self, UNSET};
use postern::settings::{Role, Settings};
use serde::Deserialize;

use super::local_network::newest;
use crate::error::{self, Problem};
use crate::form::{AdminForm, Errors};
use crate::login::Admin;
use crate::view::{Chrome, html, see_other};
use crate::words::span;

/// Where it is.
pub const HERE: &str = "/network/internet";

#[derive(Template)]
#[template(path = "internet.html")]
struct InternetPage {
    chrome: Chrome,
    form: InternetForm,
    errors: Errors,
    /// Why nothing was saved, where that is no single field's fault.
    refused: Option<String>,
    /// Word for programs, shape, word.
    state: (&'static str, &'static str, &'static str),
    facts: Vec<(&'static str, String)>,
    notices: Vec<String>,
    /// A network for the home that does not clash with the provider's.
    free: Option<String>,
    revision: String,
    role: bool,
}

/// What the page's form holds, as typed; its names are the settings' keys. A box that is not ticked is not sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InternetForm {
    base_revision: String,
    #[serde(rename = "internet.mode")]
    mode: String,
    #[serde(rename = "internet.address")]
    address: String,
    #[serde(rename = "internet.gateway")]
    gateway: String,
    #[serde(rename = "internet.dns")]
    dns: String,
    #[serde(rename = "internet.mtu")]
    mtu: String,
    #[serde(rename = "internet.mss_clamp", default)]
    mss_clamp: String,
    #[serde(rename = "internet.mac")]
    mac: String,
}

const KEYS: [&str; 7] = [
    "internet.mode",
    "internet.address",
    "internet.gateway",
    "internet.dns",
    "internet.mtu",
    "internet.mss_clamp",
    "internet.mac",
];

impl InternetForm {
    fn of(revision: i64, settings: &Settings) -> Self {
        let get = |key: &str| keys::get(settings, key).unwrap_or_default();
        let typed = |key: &str| Some(get(key)).filter(|words| words != UNSET).unwrap_or_default();
        Self {
            base_revision: revision.to_string(),
            mode: get(KEYS[0]),
            address: typed(KEYS[1]),
            gateway: typed(KEYS[2]),
            dns: get(KEYS[3]),
            mtu: get(KEYS[4]),
            mss_clamp: get(KEYS[5]),
            mac: get(KEYS[6]),
        }
    }

    /// As the command line would write it. An emptied field is what the factory has there.
    fn value(&self, key: &str) -> String {
        let or = |word: &str, empty: &str| match word.trim() {
            "" => empty.to_owned(),
            word => word.to_owned(),
        };
        match key {
            "internet.mode" => self.mode.trim().to_owned(),
            "internet.address" => or(&self.address, UNSET),
            "internet.gateway" => or(&self.gateway, UNSET),
            "internet.dns" => or(&self.dns, "auto"),
            "internet.mtu" => or(&self.mtu, "auto"),
            "internet.mss_clamp" => if self.mss_clamp == "true" { "true" } else { "false" }.to_owned(),
            _ => or(&self.mac, "own"),
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

/// The newest settings, and how the internet port is.
pub async fn show(admin: Admin) -> Result<Response, Problem> {
    let (revision, settings) = newest(&admin).await?;
    let page = InternetPage::new(&admin, InternetForm::of(revision, &settings), &settings).await;
    Ok(html(StatusCode::OK, &page))
}

/// Saves what was changed. Whatever is refused comes back as the same page with what was typed.
pub async fn save(admin: Admin, AdminForm(mut form): AdminForm<InternetForm>) -> Result<Response, Problem> {
    let base = form.base_revision.parse::<i64>().map_err(|_| Problem::Malformed)?;
    let (revision, settings) = newest(&admin).await?;
    let refusal = if revision == base {
        let patch = form.changed(&InternetForm::of(revision, &settings));
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
    refused(&admin, form, &settings, refusal).await
}

/// Which network the home shall have instead.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MoveForm {
    base_revision: String,
    address: String,
}

/// Moves the home to another network, away from the provider's.
pub async fn move_home(admin: Admin, AdminForm(form): AdminForm<MoveForm>) -> Result<Response, Problem> {
    let base_revision = Some(form.base_revision.parse::<i64>().map_err(|_| Problem::Malformed)?);
    let patch = vec![Assignment { key: "local_network.address".to_owned(), value: form.address }];
    let ask = Ask::Change { base_revision, patch, comment: "away from the provider's network".to_owned() };
    let Some(mut refusal) = admin.carry_out(ask).await? else { return Ok(see_other(HERE)) };
    // No field of this page holds it.
    if let Some(first) = refusal.fields.first() {
        refusal.message.clone_from(&first.message);
        refusal.fields.clear();
    }
    let (revision, settings) = newest(&admin).await?;
    refused(&admin, InternetForm::of(revision, &settings), &settings, refusal).await
}

async fn refused(
    admin: &Admin,
    form: InternetForm,
    settings: &Settings,
    refusal: Refusal,
) -> Result<Response, Problem> {
    let mut page = InternetPage::new(admin, form, settings).await;
    page.chrome.error = true;
    let ours = |key: &str| KEYS.contains(&key);
    // What is wrong with another page's field is said above the form.
    let others: Vec<String> =
        refusal.fields.iter().filter(|f| !ours(&f.key)).map(|f| f.message.clone()).collect();
    page.refused = match refusal.fields.is_empty() {
        true => Some(refusal.message),
        false => Some(others.join(" ")).filter(|all| !all.is_empty()),
    };
    page.errors = Errors(refusal.fields.into_iter().filter(|f| ours(&f.key)).collect());
    Ok(html(error::status(refusal.kind), &page))
}

impl InternetPage {
    async fn new(admin: &Admin, form: InternetForm, settings: &Settings) -> Self {
        let status = &admin.status;
        let clash = status.internet_state.clash.as_ref();
        Self {
            chrome: admin.chrome(HERE).await,
            form,
            errors: Errors::default(),
            refused: None,
            state: state(status, settings),
            facts: facts(status),
            notices: status.notices.clone(),
            free: clash.and_then(|clash| clash.free).map(|free| free.to_string()),
            revision: status.revision.to_string(),
            role: status.role != Role::Unset,
        }
    }
}

fn state(status: &Status, settings: &Settings) -> (&'static str, &'static str, &'static str) {
    let internet = &status.internet_state;
    match &status.internet {
        _ if status.role == Role::Unset => ("inactive", "\u{2013}", "Not in use yet"),
        None => ("failed", "\u{25a0}", "No port"),
        Some(link) if !link.up => ("failed", "\u{25a0}", "Switched off"),
        Some(link) if !link.carrier => ("differs", "\u{25b2}", "No cable"),
        Some(_) if internet.clash.is_some() => ("failed", "\u{25a0}", "Address refused"),
        Some(_) if internet.unusable.is_some() => ("failed", "\u{25a0}", "Answer refused"),
        Some(_) if internet.address.is_some() => match internet.behind {
            None => ("working", "\u{25cf}", "Has an address"),
            Some(_) => ("differs", "\u{25b2}", "Has an address, behind another NAT"),
        },
        Some(_) => match (settings.internet.mode, &internet.client) {
            (Mode::Dhcp, Service::Running) => ("differs", "\u{25b2}", "Asking for an address"),
            (Mode::Dhcp, Service::NotInstalled) => ("failed", "\u{25a0}", "DHCP client not installed"),
            (Mode::Dhcp, _) => ("failed", "\u{25a0}", "DHCP client not running"),
            _ => ("failed", "\u{25a0}", "No address"),
        },
    }
}

/// What was read back, in words. What nobody knows is left out.
fn facts(status: &Status) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    let internet = &status.internet_state;
    if let Some(link) = &status.internet {
        all.push(("Port", link.name.clone()));
        let addresses: Vec<String> =
            link.addresses.iter().map(|(address, prefix)| format!("{address}/{prefix}")).collect();
        all.push(("Address", if addresses.is_empty() { "none".to_owned() } else { addresses.join(", ") }));
    }
    if let Some(lease) = &internet.lease {
        all.push(("Since", format!("{} ago", span(internet.since))));
        all.push((
            "Lent",
            internet.left.map_or("for ever".to_owned(), |left| format!("for {} more", span(left))),
        ));
        all.extend(lease.server.map(|server| ("Lent by", server.to_string())));
        all.extend(lease.gateway.map(|gateway| ("Gateway", gateway.to_string())));
        let dns: Vec<String> = lease.dns.iter().map(ToString::to_string).collect();
        if !dns.is_empty() {
            all.push(("Its name servers", dns.join(", ")));
        }
    }
    if internet.address.is_some() {
        let behind = match internet.behind {
            None => "not by its address",
            Some(BehindNat::AnotherRouter) => "yes: another router in front of this one (double NAT)",
            Some(BehindNat::Carrier) => "yes: the provider\u{2019}s (carrier-grade NAT)",
        };
        all.push(("Behind another NAT", behind.to_owned()));
    }
    all
}

#[cfg(test)]
mod tests;
