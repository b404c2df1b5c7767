//! `/security/firewall`: what weakens the firewall, each with its end, and what it answers.

mod form;

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use postern::door::messages::Clock;
use postern::settings::names::{DmzHost, Spi, Time};
use postern::settings::{Role, Settings};

use super::conflict::Clash;
use super::edit::{self, Edit as _, newest};
use crate::error::Problem;
use crate::form::{AdminForm, Errors};
use crate::login::Admin;
use crate::view::{Chrome, html, see_other};
use crate::words;
pub use form::FirewallForm;
use form::SPANS;

/// Where it is.
pub const HERE: &str = "/security/firewall";

#[derive(Template)]
#[template(path = "firewall.html")]
struct FirewallPage {
    chrome: Chrome,
    form: FirewallForm,
    errors: Errors,
    /// Why nothing was saved, where that is no single field's fault.
    refused: Option<String>,
    clashes: Vec<Clash>,
    meanwhile: Vec<String>,
    notices: Vec<String>,
    /// Until when inspection is off.
    spi_off: Option<String>,
    /// Who is the DMZ host, and until when.
    dmz: Option<(String, String)>,
    /// What it means for VPN passthrough.
    dmz_notes: Vec<&'static str>,
    /// What "keep" would keep, as the form has it: after a conflict not what is in force.
    spi_keep: Option<String>,
    dmz_keep: Option<String>,
    spans: &'static [(&'static str, &'static str)],
    takes_effect: &'static str,
}

/// As they are.
pub async fn show(admin: Admin) -> Result<Response, Problem> {
    let (revision, settings) = newest(&admin).await?;
    let form = FirewallForm::of(revision, &settings);
    Ok(html(StatusCode::OK, &FirewallPage::new(&admin, &settings, form).await))
}

/// Saves what was changed. Whatever is refused comes back as the same page with what was typed.
pub async fn save(admin: Admin, AdminForm(mut form): AdminForm<FirewallForm>) -> Result<Response, Problem> {
    form.read_clock(admin.status.clock.now);
    let Some(refused) = edit::save(&admin, &mut form).await? else { return Ok(see_other(HERE)) };
    let mut page = FirewallPage::new(&admin, &refused.settings, form).await;
    page.chrome.error = true;
    page.refused = refused.message;
    page.errors = refused.errors;
    page.clashes = refused.clashes;
    page.meanwhile = refused.meanwhile;
    Ok(html(refused.status, &page))
}

/// The time, and what is left until then.
fn until(time: Time, clock: &Clock) -> String {
    let left = u64::try_from(time.unix() - clock.now).unwrap_or_default();
    format!("{}, in {}", clock.say(time.unix()), words::span(left))
}

impl FirewallPage {
    async fn new(admin: &Admin, settings: &Settings, form: FirewallForm) -> Self {
        let firewall = &settings.firewall;
        let clock = &admin.status.clock;
        let spi_keep = match form.spi_now().parse() {
            Ok(Spi::OffUntil(time)) => Some(clock.say(time.unix())),
            _ => None,
        };
        let dmz_keep = match form.dmz_now().parse() {
            Ok(DmzHost::Until(_, time)) => Some(clock.say(time.unix())),
            _ => None,
        };
        Self {
            chrome: admin.chrome(HERE).await,
            form,
            errors: Errors::default(),
            refused: None,
            clashes: Vec::new(),
            meanwhile: Vec::new(),
            notices: admin.status.notices.clone(),
            spi_off: match firewall.spi {
                Spi::On => None,
                Spi::OffUntil(time) => Some(until(time, clock)),
            },
            dmz: match firewall.dmz {
                DmzHost::None => None,
                DmzHost::Until(host, time) => Some((host.to_string(), until(time, clock))),
            },
            spi_keep,
            dmz_keep,
            dmz_notes: settings.dmz_notes(),
            spans: SPANS,
            takes_effect: match admin.status.role {
                Role::Unset => "Kept for later: it takes effect once this box has a role.",
                Role::Companion => "Kept for later: it takes effect once this box is the router.",
                _ => "Takes effect at once.",
            },
        }
    }
}

#[cfg(test)]
mod tests;
