//! `/switch-on`: switches on what a device tried while it was off. `/allow-device`: lets a device use passthrough that tried and
//! may not. The buttons stand in the notice that tells of the attempt.

use axum::response::Response;
use postern::door::messages::{Assignment, Attempt, Barrier, Request as Ask};
use postern::settings::names::Mac;
use postern::settings::passthrough::Allowed;
use serde::Deserialize;

use super::edit::newest;
use crate::error::Problem;
use crate::form::AdminForm;
use crate::login::Admin;
use crate::view::see_other;

/// An attempt, for a page.
pub struct Blocked {
    /// What happened.
    pub sentence: String,
    /// What to switch on; none: that would not help.
    pub key: Option<String>,
    /// As people call it.
    pub title: String,
    /// The device to allow; none: that is not what is in the way.
    pub allow: Option<String>,
}

/// What devices tried that is refused.
pub fn blocked(attempts: &[Attempt]) -> Vec<Blocked> {
    let of = |attempt: &Attempt| Blocked {
        sentence: attempt.sentence(),
        key: attempt.can_switch_on.then(|| attempt.key.clone()),
        title: attempt.title.clone(),
        allow: attempt.device.mac.clone().filter(|_| attempt.barrier == Barrier::NotAllowed),
    };
    attempts.iter().map(of).collect()
}

/// What to switch on, of these alone.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SwitchForm {
    key: Key,
    base_revision: i64,
}

#[derive(Deserialize)]
enum Key {
    #[serde(rename = "passthrough.pptp.enabled")]
    Pptp,
    #[serde(rename = "passthrough.l2tp.enabled")]
    L2tp,
    #[serde(rename = "passthrough.ipsec.enabled")]
    Ipsec,
    #[serde(rename = "passthrough.ipsec.nat_traversal")]
    NatTraversal,
}

/// Switches it on, and leads to the page that shows what is true then.
pub async fn save(admin: Admin, AdminForm(form): AdminForm<SwitchForm>) -> Result<Response, Problem> {
    let key = match form.key {
        Key::Pptp => "passthrough.pptp.enabled",
        Key::L2tp => "passthrough.l2tp.enabled",
        Key::Ipsec => "passthrough.ipsec.enabled",
        Key::NatTraversal => "passthrough.ipsec.nat_traversal",
    };
    let patch = vec![Assignment { key: key.to_owned(), value: "true".to_owned() }];
    let base_revision = Some(form.base_revision);
    let message = admin.order(Ask::Change { base_revision, patch, comment: String::new() }).await?;
    admin.flash(message).await;
    Ok(see_other(super::passthrough::HERE))
}

/// Which device may.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowForm {
    mac: String,
    base_revision: i64,
}

/// Adds it to those that may use passthrough, and leads to the page that shows who may.
pub async fn allow(admin: Admin, AdminForm(form): AdminForm<AllowForm>) -> Result<Response, Problem> {
    let device: Mac = form.mac.parse().map_err(|_| Problem::Malformed)?;
    let (_, settings) = newest(&admin).await?;
    let Allowed::Only(mut devices) = settings.passthrough.devices else {
        admin.flash("Nothing was changed: every device may use VPN passthrough.".into()).await;
        return Ok(see_other(super::passthrough::HERE));
    };
    if !devices.contains(&device) {
        devices.push(device);
    }
    let value = devices.iter().map(Mac::to_string).collect::<Vec<_>>().join(",");
    let patch = vec![Assignment { key: "passthrough.devices".to_owned(), value }];
    let base_revision = Some(form.base_revision);
    let message = admin.order(Ask::Change { base_revision, patch, comment: String::new() }).await?;
    admin.flash(message).await;
    Ok(see_other(super::passthrough::HERE))
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;
    use postern::door::messages::{Assignment, Barrier};

    use crate::testing::browser::Browser;
    use crate::testing::fake::attempt;

    #[tokio::test]
    async fn what_was_tried_is_told_and_switched_on_from_there() {
        for page in ["/", "/security/vpn-passthrough"] {
            let mut browser = Browser::logged_in().await;
            browser.daemon.state().attempts = vec![attempt("passthrough.pptp.enabled", "PPTP", true)];
            browser.open(page).await;
            assert!(browser.body.contains("tried PPTP 3 times"), "{}", browser.body);
            let form = browser.forms().into_iter().find(|form| form.action == "/switch-on").unwrap();
            browser.send(form.clone()).await;
            assert_eq!(
                (browser.status, browser.path.as_str()),
                (StatusCode::OK, "/security/vpn-passthrough")
            );
            assert!(browser.daemon.state().settings.passthrough.pptp.enabled);
            browser.send(form.set("key", "role")).await;
            assert_eq!(browser.status, StatusCode::BAD_REQUEST);
        }
    }

    #[tokio::test]
    async fn a_device_that_may_not_is_told_of_and_allowed_from_there() {
        for page in ["/", "/security/vpn-passthrough"] {
            let mut browser = Browser::logged_in().await;
            let only = Assignment { key: "passthrough.devices".into(), value: "02:00:00:00:00:01".into() };
            browser.daemon.state().save("root", "command line", &[only]).unwrap();
            let mut denied = attempt("passthrough.devices", "PPTP", false);
            denied.barrier = Barrier::NotAllowed;
            browser.daemon.state().attempts = vec![denied];
            browser.open(page).await;
            assert!(browser.body.contains("this device may not use it"), "{}", browser.body);
            let form = browser.forms().into_iter().find(|form| form.action == "/allow-device").unwrap();
            browser.send(form.clone()).await;
            assert_eq!(browser.path, "/security/vpn-passthrough");
            let now = postern::settings::keys::get(&browser.daemon.state().settings, "passthrough.devices");
            assert_eq!(now.as_deref(), Some("02:00:00:00:00:01,3c:52:82:1a:0b:7f"));
            browser.send(form.set("mac", "everyone")).await;
            assert_eq!(browser.status, StatusCode::BAD_REQUEST);
        }
    }

    #[tokio::test]
    async fn what_would_not_help_is_not_offered() {
        let mut browser = Browser::logged_in().await;
        browser.daemon.state().attempts = vec![attempt("passthrough.pptp.enabled", "PPTP", false)];
        browser.open("/").await;
        assert!(browser.body.contains("tried PPTP") && !browser.body.contains("/switch-on"));
    }
}
