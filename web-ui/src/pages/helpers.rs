//! `/security/helpers`: what the kernel may read along for, a switch and what is true of it beside it.

mod form;

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use postern::door::messages::{Effect, Feature, Helper, HelperState};
use postern::settings::Role;

use super::conflict::Clash;
use super::edit::{self, newest};
use super::look_again::Able;
use super::mend;
use crate::error::Problem;
use crate::form::{AdminForm, Errors};
use crate::login::Admin;
use crate::view::{Chrome, chip, effect, html, see_other};
use crate::words::grouped;
pub use form::HelpersForm;

/// Where it is.
pub const HERE: &str = "/security/helpers";

#[derive(Template)]
#[template(path = "helpers.html")]
struct HelpersPage {
    chrome: Chrome,
    form: HelpersForm,
    errors: Errors,
    /// Why nothing was saved, where that is no single field's fault.
    refused: Option<String>,
    clashes: Vec<Clash>,
    meanwhile: Vec<String>,
    helpers: Vec<Row>,
    able: Able,
    notices: Vec<String>,
    mend: Option<&'static str>,
    takes_effect: &'static str,
}

/// One helper: its words, and what is true of it.
struct Row {
    key: String,
    seen: HelperState,
    what: &'static str,
    warning: &'static str,
}

impl Row {
    fn of(seen: &HelperState) -> Option<Self> {
        let (what, warning) = words(seen.helper)?;
        Some(Self { key: format!("helpers.{}", seen.helper.name()), seen: seen.clone(), what, warning })
    }

    fn effect(&self) -> &'static str {
        effect(self.seen.effect)
    }

    fn chip(&self) -> (&'static str, &'static str) {
        match self.seen.effect {
            // Nothing is refused while it is off: the connections themselves pass.
            Effect::Blocked => ("\u{2013}", "Off"),
            other => chip(other),
        }
    }

    fn let_in(&self) -> String {
        grouped(self.seen.let_in)
    }
}

/// What it is for, and what it lets a web page do.
fn words(helper: Helper) -> Option<(&'static str, &'static str)> {
    Some(match helper {
        Helper::Pptp => return None,
        Helper::Ftp => (
            "FTP in active mode, where the server connects back to your device (TCP 21). Nearly all programs use passive mode, \
             which works without this.",
            "A web page can make a browser speak like an FTP program. Its server can then connect to that one device, on any \
             TCP port from 1024 up.",
        ),
        Helper::Tftp => (
            "Devices that load their system from a TFTP server on the internet (UDP 69). Inside your network they need no help.",
            "TFTP has no password and no encryption: whoever is on the way can read and change what your device loads.",
        ),
        Helper::Sip => (
            "Internet telephones that cannot cross NAT by themselves (UDP and TCP 5060). Nearly all can. Try it only if calls \
             come and nobody is heard.",
            "This is what NAT slipstreaming abuses: a web page can let its own server reach the device that shows it, on any \
             UDP port from 1024 up. Many telephones work worse with it.",
        ),
        Helper::H323 => (
            "Video conference systems from before SIP (UDP 1719, TCP 1720).",
            "A web page can let its own server reach the device that shows it, on any TCP or UDP port from 1024 up. This part \
             of the kernel has had grave faults (CVE-2020-14305).",
        ),
        Helper::Irc => (
            "Files and chats from person to person on IRC without TLS (DCC, TCP 6667).",
            "Anybody on the internet, not only the server, can then connect once to the port that the device named. A web page \
             can make a browser name one.",
        ),
    })
}

/// The newest settings, and what is true.
pub async fn show(admin: Admin) -> Result<Response, Problem> {
    let (revision, settings) = newest(&admin).await?;
    let form = HelpersForm::of(revision, &settings.helpers);
    Ok(html(StatusCode::OK, &HelpersPage::new(&admin, form).await))
}

/// Saves what was changed. Whatever is refused comes back as the same page with what was chosen.
pub async fn save(admin: Admin, AdminForm(mut form): AdminForm<HelpersForm>) -> Result<Response, Problem> {
    let Some(refused) = edit::save(&admin, &mut form).await? else { return Ok(see_other(HERE)) };
    let mut page = HelpersPage::new(&admin, form).await;
    page.chrome.error = true;
    page.refused = refused.message;
    page.errors = refused.errors;
    page.clashes = refused.clashes;
    page.meanwhile = refused.meanwhile;
    Ok(html(refused.status, &page))
}

impl HelpersPage {
    async fn new(admin: &Admin, form: HelpersForm) -> Self {
        let status = &admin.status;
        Self {
            chrome: admin.chrome(HERE).await,
            form,
            errors: Errors::default(),
            refused: None,
            clashes: Vec::new(),
            meanwhile: Vec::new(),
            helpers: status.helpers.iter().filter_map(Row::of).collect(),
            able: Able::of(
                status,
                |lack| matches!(lack.feature, Feature::Helper(helper) if helper != Helper::Pptp),
            ),
            notices: status.notices.clone(),
            mend: mend::why(status),
            takes_effect: match status.role {
                Role::Unset => "Kept for later: it takes effect once this box has a role.",
                Role::Companion => "Kept for later: it takes effect once this box is the router.",
                _ => "Takes effect at once, for connections that begin then. No restart.",
            },
        }
    }
}

#[cfg(test)]
mod tests;
