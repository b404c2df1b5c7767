//! `/security/vpn-passthrough`: what the owner wants on the left, what is true in the kernel on the right.

mod form;

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use postern::door::messages::{Feature, Helper, ManyClients};
use postern::settings::Role;
use postern::settings::names::Mac;

use super::conflict::Clash;
use super::devices::{self, Line};
use super::edit::{self, newest};
use super::look_again::Able;
use super::mend;
use super::switch_on::{Blocked, blocked};
use crate::error::Problem;
use crate::form::{AdminForm, Errors};
use crate::login::Admin;
use crate::view::{Chrome, Truth, html, see_other};
use crate::words::grouped;
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
    blocked: Vec<Blocked>,
    revision_now: i64,
    mend: Option<&'static str>,
    many_clients: ManyClients,
    held_back: Vec<String>,
    able: Able,
    devices: Vec<Line>,
    devices_left_out: u32,
    takes_effect: &'static str,
}

/// The newest settings, and what is true.
pub async fn show(admin: Admin) -> Result<Response, Problem> {
    let (revision, settings) = newest(&admin).await?;
    let form = PassthroughForm::of(revision, &settings);
    Ok(html(StatusCode::OK, &PassthroughPage::new(&admin, form).await?))
}

/// Saves what was changed. Whatever is refused comes back as the same page with what was typed.
pub async fn save(
    admin: Admin,
    AdminForm(mut form): AdminForm<PassthroughForm>,
) -> Result<Response, Problem> {
    let Some(refused) = edit::save(&admin, &mut form).await? else { return Ok(see_other(HERE)) };
    let mut page = PassthroughPage::new(&admin, form).await?;
    page.chrome.error = true;
    page.refused = refused.message;
    page.errors = refused.errors;
    page.clashes = refused.clashes;
    page.meanwhile = refused.meanwhile;
    Ok(html(refused.status, &page))
}

/// What was held back for several IPsec devices to one server, in words; nothing of it where it is zero.
fn held_back(seen: &ManyClients) -> Vec<String> {
    let some = |n: u64, one: &str, many: &str| match n {
        0 => None,
        1 => Some(format!("1 {one}")),
        n => Some(format!("{} {many}", grouped(n))),
    };
    [
        some(
            seen.waiting,
            "packet had to be sent again, while another device was being told apart.",
            "packets had to be sent again, while another device was being told apart.",
        ),
        some(
            seen.probation,
            "new tunnel went to the likeliest device, until that proved right.",
            "new tunnels went to the likeliest device, until that proved right.",
        ),
        some(
            seen.unplaced,
            "packet of a server could be for several devices, and was dropped.",
            "packets of a server could be for several devices, and were dropped.",
        ),
        some(
            seen.limited,
            "new tunnel was dropped: its device makes too many.",
            "new tunnels were dropped: their device makes too many.",
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

impl PassthroughPage {
    /// Whether the device of this line of the list is ticked.
    fn ticked(&self, line: &Line) -> bool {
        line.mac.parse::<Mac>().is_ok_and(|device| self.form.ticked(&device))
    }

    async fn new(admin: &Admin, mut form: PassthroughForm) -> Result<Self, Problem> {
        let status = &admin.status;
        let (devices, devices_left_out) = devices::lines(admin).await?;
        form.others_than(&devices.iter().filter_map(|line| line.mac.parse().ok()).collect());
        Ok(Self {
            chrome: admin.chrome(HERE).await,
            form,
            errors: Errors::default(),
            refused: None,
            clashes: Vec::new(),
            meanwhile: Vec::new(),
            ipsec: Truth::of(status, "ipsec"),
            l2tp: Truth::of(status, "l2tp"),
            pptp: Truth::of(status, "pptp"),
            notices: status.notices.clone(),
            blocked: blocked(&status.attempts),
            revision_now: status.revision,
            mend: mend::why(status),
            takes_effect: match status.role {
                Role::Unset => "Kept for later: it takes effect once this box has a role.",
                _ => "Takes effect at once. No restart.",
            },
            many_clients: status.many_clients.clone(),
            held_back: held_back(&status.many_clients),
            able: Able::of(
                status,
                |lack| !matches!(lack.feature, Feature::Helper(helper) if helper != Helper::Pptp),
            ),
            devices,
            devices_left_out,
        })
    }
}

#[cfg(test)]
mod tests;
