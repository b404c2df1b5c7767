//! `/network/internet`: the internet address, where it comes from, who else translates it, and the settings of that side.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use postern::door::messages::{Assignment, Ipv6State, Request as Ask, Status};
use postern::services::{BehindNat, PppoeFailure, PppoeState, Service};
use postern::settings::internet::Mode;
use postern::settings::keys::{self, UNSET};
use postern::settings::names::Secret;
use postern::settings::{FieldError, Role, Settings};
use serde::Deserialize;

use super::conflict::Clash;
use super::edit::{self, Edit, newest};
use crate::error::{self, Problem};
use crate::form::{AdminForm, Errors};
use crate::login::Admin;
use crate::view::{Chrome, html, see_other};
use crate::words::span;

/// Key of the password of PPPoE.
const PASSWORD: &str = "internet.pppoe.password";

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
    clashes: Vec<Clash>,
    meanwhile: Vec<String>,
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
    #[serde(rename = "internet.pppoe.user")]
    pppoe_user: String,
    /// Empty: as it is.
    #[serde(rename = "internet.pppoe.password")]
    pppoe_password: String,
    #[serde(rename = "internet.pppoe.service")]
    pppoe_service: String,
    #[serde(rename = "internet.dns")]
    dns: String,
    #[serde(rename = "internet.mtu")]
    mtu: String,
    #[serde(rename = "internet.mss_clamp", default)]
    mss_clamp: String,
    #[serde(rename = "internet.mac")]
    mac: String,
    #[serde(rename = "internet.ipv6", default)]
    ipv6: String,
}

/// Key, what people call it.
const LABELS: [(&str, &str); 11] = [
    ("internet.mode", "Where the address comes from"),
    ("internet.address", "Address (static)"),
    ("internet.gateway", "Gateway (static)"),
    ("internet.pppoe.user", "User name (PPPoE)"),
    ("internet.pppoe.password", "Password (PPPoE)"),
    ("internet.pppoe.service", "Service name (PPPoE)"),
    ("internet.dns", "Name servers"),
    ("internet.mtu", "Largest packet (MTU)"),
    ("internet.mss_clamp", "Segment size"),
    ("internet.mac", "Hardware address"),
    ("internet.ipv6", "IPv6"),
];

impl InternetForm {
    fn of(revision: i64, settings: &Settings) -> Self {
        let get = |key: &str| keys::get(settings, key).unwrap_or_default();
        let typed = |key: &str| Some(get(key)).filter(|words| words != UNSET).unwrap_or_default();
        Self {
            base_revision: revision.to_string(),
            mode: get("internet.mode"),
            address: typed("internet.address"),
            gateway: typed("internet.gateway"),
            pppoe_user: typed("internet.pppoe.user"),
            pppoe_password: String::new(),
            pppoe_service: typed("internet.pppoe.service"),
            dns: get("internet.dns"),
            mtu: get("internet.mtu"),
            mss_clamp: get("internet.mss_clamp"),
            mac: get("internet.mac"),
            ipv6: get("internet.ipv6"),
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
            "internet.pppoe.user" => or(&self.pppoe_user, UNSET),
            // Nothing typed keeps what is stored.
            "internet.pppoe.password" if self.pppoe_password.is_empty() => Secret::MASK.to_owned(),
            "internet.pppoe.password" => self.pppoe_password.clone(),
            "internet.pppoe.service" => or(&self.pppoe_service, UNSET),
            "internet.dns" => or(&self.dns, "auto"),
            "internet.mtu" => or(&self.mtu, "auto"),
            "internet.mss_clamp" => if self.mss_clamp == "true" { "true" } else { "false" }.to_owned(),
            "internet.ipv6" => if self.ipv6 == "true" { "true" } else { "false" }.to_owned(),
            _ => or(&self.mac, "own"),
        }
    }

    fn on(&self, key: &str) -> bool {
        self.value(key) == "true"
    }
}

impl Edit for InternetForm {
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

/// The newest settings, and how the internet port is.
pub async fn show(admin: Admin) -> Result<Response, Problem> {
    let (revision, settings) = newest(&admin).await?;
    let page = InternetPage::new(&admin, InternetForm::of(revision, &settings), &settings).await;
    Ok(html(StatusCode::OK, &page))
}

/// Saves what was changed. Whatever is refused comes back as the same page with what was typed.
pub async fn save(admin: Admin, AdminForm(mut form): AdminForm<InternetForm>) -> Result<Response, Problem> {
    let Some(refused) = edit::save(&admin, &mut form).await? else { return Ok(see_other(HERE)) };
    let mut page = InternetPage::new(&admin, form, &refused.settings).await;
    page.chrome.error = true;
    page.refused = refused.message;
    page.errors = refused.errors;
    // It is never shown, so what was typed cannot stand there again; and empty would keep the old one without a word.
    if !page.form.pppoe_password.is_empty() && page.errors.of(PASSWORD).is_none() {
        let again = "Type it once more: it was not saved, and is not shown.";
        page.errors.0.push(FieldError::new(PASSWORD, again));
    }
    page.clashes = refused.clashes;
    page.meanwhile = refused.meanwhile;
    Ok(html(refused.status, &page))
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
    let Some(refusal) = admin.carry_out(ask).await? else { return Ok(see_other(HERE)) };
    let (revision, settings) = newest(&admin).await?;
    let mut page = InternetPage::new(&admin, InternetForm::of(revision, &settings), &settings).await;
    page.chrome.error = true;
    // No field of this page holds it.
    page.refused = Some(refusal.fields.into_iter().next().map_or(refusal.message, |first| first.message));
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
            clashes: Vec::new(),
            meanwhile: Vec::new(),
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
        Some(_) if internet.pppoe.is_some() => pppoe(internet.pppoe.as_ref()),
        Some(_) => match (settings.internet.mode, &internet.client) {
            (Mode::Dhcp, Service::Running) => ("differs", "\u{25b2}", "Asking for an address"),
            (Mode::Dhcp, Service::NotInstalled) => ("failed", "\u{25a0}", "DHCP client not installed"),
            (Mode::Dhcp, _) => ("failed", "\u{25a0}", "DHCP client not running"),
            _ => ("failed", "\u{25a0}", "No address"),
        },
    }
}

fn pppoe(state: Option<&PppoeState>) -> (&'static str, &'static str, &'static str) {
    let words = match state {
        None | Some(PppoeState::Asking | PppoeState::Up) => {
            return ("differs", "\u{25b2}", "Asking for a session");
        }
        Some(PppoeState::NotRunning) => "PPPoE service not running",
        Some(PppoeState::Failed { why }) => match why {
            PppoeFailure::NoServer => "No PPPoE server answers",
            PppoeFailure::Refused => "User name or password refused",
            PppoeFailure::NoKernel => "This kernel cannot do PPPoE",
            PppoeFailure::NotInstalled => "pppd not installed",
            PppoeFailure::Other { .. } => "No session",
        },
    };
    ("failed", "\u{25a0}", words)
}

/// What was read back, in words. What nobody knows is left out.
fn facts(status: &Status) -> Vec<(&'static str, String)> {
    let mut all = Vec::new();
    let internet = &status.internet_state;
    if let Some(link) = &status.internet {
        all.push(("Port", link.name.clone()));
        let mut addresses: Vec<String> =
            link.addresses.iter().map(|(address, prefix)| format!("{address}/{prefix}")).collect();
        if internet.pppoe.is_some() {
            // The session's, not the port's.
            addresses = internet.address.iter().map(ToString::to_string).collect();
        }
        all.push(("Address", if addresses.is_empty() { "none".to_owned() } else { addresses.join(", ") }));
    }
    if let Some(lease) = &internet.lease {
        all.push(("Since", format!("{} ago", span(internet.since))));
        if lease.kept {
            all.push(("Lent", "not yet: the address is the one that this box had before".to_owned()));
        } else if internet.pppoe.is_none() {
            let left = internet.left.map_or("for ever".to_owned(), |left| format!("for {} more", span(left)));
            all.push(("Lent", left));
        }
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
    all.extend(ipv6(&internet.ipv6));
    all
}

/// What came of IPv6, in words; nothing where it is not asked for.
fn ipv6(ipv6: &Ipv6State) -> Vec<(&'static str, String)> {
    let prefix = match &ipv6.client {
        Service::Off => return Vec::new(),
        _ if !ipv6.prefixes.is_empty() => {
            let for_ = |seconds: u32| match seconds {
                0 => "for no new connections".to_owned(),
                u32::MAX => "for ever".to_owned(),
                seconds => format!("for {} more", span(seconds.into())),
            };
            let all =
                ipv6.prefixes.iter().map(|p| format!("{}/{}, {}", p.prefix, p.length, for_(p.preferred)));
            all.collect::<Vec<_>>().join("; ")
        }
        _ if ipv6.unusable.is_some() => ipv6.unusable.clone().unwrap_or_default(),
        Service::NotInstalled => {
            "the DHCPv6 client is not installed: on Debian the package dhcpcd-base, on OpenWrt dhcpcd"
                .to_owned()
        }
        Service::Failed { words } => format!("not asked for: {words}"),
        Service::Running => "none: the provider has given none yet".to_owned(),
    };
    let or_none = |ip: Option<String>| ip.unwrap_or_else(|| "none".to_owned());
    let home: Vec<String> = ipv6.home.iter().map(ToString::to_string).collect();
    vec![
        ("IPv6 prefix", prefix),
        ("IPv6 in the home", or_none(Some(home.join(", ")).filter(|all| !all.is_empty()))),
        ("IPv6 gateway", or_none(ipv6.gateway.map(|ip| ip.to_string()))),
    ]
}

#[cfg(test)]
mod tests;
