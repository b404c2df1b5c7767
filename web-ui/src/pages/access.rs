//! `/system/access`: what this box is called, where its admin page listens, how long a login lasts, the time zone and
//! the clock.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use postern::settings::{Settings, keys};
use serde::Deserialize;

use super::conflict::Clash;
use super::edit::{self, Edit, newest};
use crate::error::Problem;
use crate::form::{AdminForm, Errors};
use crate::login::Admin;
use crate::view::{Chrome, html, see_other};
use crate::words;

/// Where it is.
pub const HERE: &str = "/system/access";

#[derive(Template)]
#[template(path = "access.html")]
struct AccessPage {
    chrome: Chrome,
    form: AccessForm,
    errors: Errors,
    refused: Option<String>,
    clashes: Vec<Clash>,
    meanwhile: Vec<String>,
    now: String,
    datetime: String,
    uptime: String,
    fingerprint: Option<String>,
    notice: Option<String>,
    /// Where this page is instead of the port below.
    elsewhere: Vec<String>,
}

/// What the page's form holds, as typed.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessForm {
    base_revision: String,
    #[serde(rename = "system.name")]
    name: String,
    #[serde(rename = "system.timezone")]
    timezone: String,
    #[serde(rename = "access.port")]
    port: String,
    #[serde(rename = "access.https", default)]
    https: String,
    #[serde(rename = "access.https_port")]
    https_port: String,
    #[serde(rename = "access.idle_minutes")]
    idle: String,
}

impl Edit for AccessForm {
    const LABELS: &[(&'static str, &'static str)] = &[
        ("system.name", "Name"),
        ("system.timezone", "Time zone"),
        ("access.port", "Port of this page"),
        ("access.https", "HTTPS"),
        ("access.https_port", "Port for HTTPS"),
        ("access.idle_minutes", "Idle minutes"),
    ];

    fn of(revision: i64, settings: &Settings) -> Self {
        let get = |key: &str| keys::get(settings, key).unwrap_or_default();
        Self {
            base_revision: revision.to_string(),
            name: get("system.name"),
            timezone: get("system.timezone"),
            port: get("access.port"),
            https: get("access.https"),
            https_port: get("access.https_port"),
            idle: get("access.idle_minutes"),
        }
    }

    fn base(&mut self) -> &mut String {
        &mut self.base_revision
    }

    fn value(&self, key: &str) -> String {
        let typed = match key {
            "system.name" => &self.name,
            "system.timezone" => &self.timezone,
            "access.port" => &self.port,
            // A box that is not ticked is not sent.
            "access.https" => return (self.https == "true").to_string(),
            "access.https_port" => &self.https_port,
            _ => &self.idle,
        };
        typed.trim().to_owned()
    }
}

/// The newest settings, and the clock.
pub async fn show(admin: Admin) -> Result<Response, Problem> {
    let (revision, settings) = newest(&admin).await?;
    Ok(html(StatusCode::OK, &AccessPage::new(&admin, AccessForm::of(revision, &settings)).await))
}

/// Saves what was changed. Whatever is refused comes back as the same page with what was typed.
pub async fn save(admin: Admin, AdminForm(mut form): AdminForm<AccessForm>) -> Result<Response, Problem> {
    let Some(refused) = edit::save(&admin, &mut form).await? else { return Ok(see_other(HERE)) };
    let mut page = AccessPage::new(&admin, form).await;
    page.chrome.error = true;
    page.refused = refused.message;
    page.errors = refused.errors;
    page.clashes = refused.clashes;
    page.meanwhile = refused.meanwhile;
    Ok(html(refused.status, &page))
}

impl AccessPage {
    async fn new(admin: &Admin, form: AccessForm) -> Self {
        let status = &admin.status;
        Self {
            chrome: admin.chrome(HERE).await,
            form,
            errors: Errors::default(),
            refused: None,
            clashes: Vec::new(),
            meanwhile: Vec::new(),
            now: status.clock.say(status.clock.now),
            datetime: words::datetime(status.clock.now),
            uptime: words::span(status.uptime_seconds),
            fingerprint: status.fingerprint.clone(),
            notice: status.clock.notice(),
            elsewhere: status.page_elsewhere.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use crate::testing::browser::Browser;

    #[tokio::test]
    async fn only_what_was_changed_is_saved_and_the_clock_is_shown() {
        let mut browser = Browser::logged_in().await;
        browser.daemon.state().now = 0;
        browser.open("/system/access").await;
        assert!(browser.body.contains("1970-01-01 00:00 UTC"), "the fake's clock: {}", browser.body);
        assert!(browser.body.contains("was not set"));
        let form = browser.form("system.timezone").set("system.timezone", " Europe/Berlin ");
        browser.send(form).await;
        assert_eq!((browser.status, browser.path.as_str()), (StatusCode::OK, "/system/access"));
        let patch = browser.daemon.state().changes.last().unwrap().1.clone();
        let words: Vec<String> = patch.iter().map(|a| format!("{}={}", a.key, a.value)).collect();
        assert_eq!(words, ["system.timezone=Europe/Berlin"]);
    }

    #[tokio::test]
    async fn a_wrong_value_is_said_beside_its_field_and_kept() {
        let mut browser = Browser::logged_in().await;
        browser.open("/system/access").await;
        let form = browser.form("access.port").set("access.port", "99999");
        browser.send(form).await;
        assert_eq!(browser.status, StatusCode::UNPROCESSABLE_ENTITY);
        assert!(browser.body.contains("value=\"99999\"") && browser.body.contains("access-port-error"));
    }
}
