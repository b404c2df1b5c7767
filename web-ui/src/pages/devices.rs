//! `/network/devices`: names and addresses that are kept for devices, and who has a lease now.

use askama::Template;
use axum::http::{StatusCode, Uri};
use axum::response::Response;
use postern::door::messages::{
    Clock, KnownDevice, OverShare, Refusal, Request as Ask, Response as Answer, Status,
};
use serde::Deserialize;

use super::edit::newest;
use crate::error::{self, Problem};
use crate::form::{AdminForm, Errors};
use crate::login::Admin;
use crate::view::{Chrome, html, see_other};
use crate::words;

/// Where it is.
pub const HERE: &str = "/network/devices";

#[derive(Template)]
#[template(path = "devices.html")]
struct DevicesPage {
    chrome: Chrome,
    form: DeviceForm,
    errors: Errors,
    /// Why nothing was saved, where that is no single field's fault.
    refused: Option<String>,
    notices: Vec<String>,
    /// Those that hold too much of the connection table.
    over: Vec<Over>,
    lines: Vec<Line>,
    left_out: u32,
    revision: i64,
}

/// A device that holds too much of the connection table.
struct Over {
    mac: String,
    sentence: String,
}

/// One device in words. Names from outside are text: the template escapes them.
pub(super) struct Line {
    pub(super) mac: String,
    /// The owner's name, or none.
    pub(super) name: Option<String>,
    pub(super) reserved: Option<String>,
    pub(super) address: Option<String>,
    pub(super) calls_itself: Option<String>,
    pub(super) ends: Option<String>,
    pub(super) seen: Option<String>,
}

impl Line {
    fn of(device: KnownDevice, clock: &Clock) -> Self {
        Self {
            mac: device.mac.to_string(),
            name: device.name.map(|name| name.to_string()),
            reserved: device.reserved.map(|address| address.to_string()),
            address: device.address.map(|address| address.to_string()),
            calls_itself: device.calls_itself,
            ends: device.ends.map(|at| clock.say(at)),
            seen: device.seen.map(|seconds| words::span(seconds.into())),
        }
    }
}

/// As typed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceForm {
    base_revision: String,
    mac: String,
    name: String,
    address: String,
}

impl DeviceForm {
    /// As it is set: saving a new name must not lose the address.
    fn editing(line: &Line) -> Self {
        Self {
            base_revision: String::new(),
            mac: line.mac.clone(),
            name: line.name.clone().unwrap_or_default(),
            address: line.reserved.clone().unwrap_or_default(),
        }
    }
}

/// Which device.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RemoveForm {
    base_revision: String,
    mac: String,
}

/// Whose connections.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EndForm {
    mac: String,
}

/// Which device is to be changed.
#[derive(Debug, Default, Deserialize)]
struct Which {
    edit: Option<String>,
}

/// Every device that is known, and a form for another one or the one to be changed.
pub async fn show(admin: Admin, uri: Uri) -> Result<Response, Problem> {
    let which: Which = serde_urlencoded::from_str(uri.query().unwrap_or_default()).unwrap_or_default();
    let mut page = DevicesPage::new(&admin, DeviceForm::default()).await?;
    if let Some(line) = page.lines.iter().find(|line| Some(&line.mac) == which.edit.as_ref()) {
        page.form = DeviceForm::editing(line);
    }
    Ok(html(StatusCode::OK, &page))
}

/// Adds a device, or changes the one with that MAC address.
pub async fn save(admin: Admin, AdminForm(form): AdminForm<DeviceForm>) -> Result<Response, Problem> {
    let base_revision = Some(form.base_revision.parse().map_err(|_| Problem::Malformed)?);
    let DeviceForm { mac, name, address, .. } = form.clone();
    let ask = Ask::SetDevice { base_revision, mac, name, address: Some(address) };
    match admin.carry_out(ask).await? {
        None => Ok(see_other(HERE)),
        Some(refusal) => refused(&admin, form, refusal).await,
    }
}

/// Forgets what is set for one.
pub async fn remove(admin: Admin, AdminForm(form): AdminForm<RemoveForm>) -> Result<Response, Problem> {
    let base_revision = Some(form.base_revision.parse().map_err(|_| Problem::Malformed)?);
    match admin.carry_out(Ask::RemoveDevice { base_revision, mac: form.mac }).await? {
        None => Ok(see_other(HERE)),
        Some(refusal) => refused(&admin, DeviceForm::default(), refusal).await,
    }
}

/// Ends every connection of one.
pub async fn end(admin: Admin, AdminForm(form): AdminForm<EndForm>) -> Result<Response, Problem> {
    match admin.carry_out(Ask::EndConnections { mac: form.mac }).await? {
        None => Ok(see_other(HERE)),
        Some(refusal) => refused(&admin, DeviceForm::default(), refusal).await,
    }
}

async fn refused(admin: &Admin, form: DeviceForm, refusal: Refusal) -> Result<Response, Problem> {
    let mut page = DevicesPage::new(admin, form).await?;
    page.chrome.error = true;
    page.refused = refusal.fields.is_empty().then_some(refusal.message);
    page.errors = Errors(refusal.fields);
    Ok(html(error::status(refusal.kind), &page))
}

/// Every device in words, and how many leases are not among them.
pub(super) async fn lines(admin: &Admin) -> Result<(Vec<Line>, u32), Problem> {
    match admin.ask(Ask::Devices).await? {
        Answer::Devices { devices, left_out } => {
            Ok((devices.into_iter().map(|d| Line::of(d, &admin.status.clock)).collect(), left_out))
        }
        _ => Err(Problem::Misunderstood("devices")),
    }
}

/// But those that stand beside their button.
fn notices(status: &Status) -> Vec<String> {
    let over: Vec<String> = status.over_share.iter().map(OverShare::sentence).collect();
    status.notices.iter().filter(|notice| !over.contains(notice)).cloned().collect()
}

impl DevicesPage {
    async fn new(admin: &Admin, form: DeviceForm) -> Result<Self, Problem> {
        let (revision, _) = newest(admin).await?;
        let (lines, left_out) = lines(admin).await?;
        let over = admin.status.over_share.iter();
        let over = over
            .filter_map(|one| Some(Over { mac: one.device.mac.clone()?, sentence: one.sentence() }))
            .collect();
        Ok(Self {
            chrome: admin.chrome(HERE).await,
            form,
            errors: Errors::default(),
            refused: None,
            notices: notices(&admin.status),
            over,
            lines,
            left_out,
            revision,
        })
    }
}

#[cfg(test)]
mod tests;
