//! `/network/ports`: which port leads where. On a new box this is the first thing to do after the claim.

use std::collections::BTreeMap;

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use postern::door::messages::{Assignment, Port, Refusal, Request as Ask, Response as Answer, Use};
use postern::settings::{Role, Settings};
use serde::Deserialize;

use super::edit::newest;
use crate::error::{self, Problem};
use crate::form::AdminForm;
use crate::login::Admin;
use crate::view::{Chrome, html, see_other};

/// Where it is.
pub const HERE: &str = "/network/ports";

#[derive(Template)]
#[template(path = "ports.html")]
struct PortsPage {
    chrome: Chrome,
    base_revision: String,
    lines: Vec<Line>,
    /// Why nothing was saved.
    refused: Vec<String>,
    /// What the search has told, in words.
    found: Option<String>,
    router: bool,
    /// Where this page will be.
    home: String,
}

/// One port in words.
struct Line {
    name: String,
    state: (&'static str, &'static str, String),
    mac: Option<String>,
    addresses: String,
    offered: Option<String>,
    /// `internet`, `local` or `none`: what is chosen.
    choice: &'static str,
    seems: bool,
}

/// As typed: one choice for each port, `port.NAME`.
#[derive(Debug, Clone, Deserialize)]
pub struct PortsForm {
    base_revision: String,
    #[serde(flatten)]
    ports: BTreeMap<String, String>,
}

/// Nothing but the token.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// The ports as they are.
pub async fn show(admin: Admin) -> Result<Response, Problem> {
    let ports = ports(&admin, false).await?;
    Ok(html(StatusCode::OK, &PortsPage::new(&admin, ports).await?))
}

/// Looks for the provider: switches free ports on, and asks on each for a DHCP server.
pub async fn look(admin: Admin, AdminForm(Nothing {}): AdminForm<Nothing>) -> Result<Response, Problem> {
    let ports = match ports(&admin, true).await {
        Err(Problem::Refused(refusal)) if error::of_the_page(refusal.kind) => {
            return refused(&admin, None, refusal).await;
        }
        ports => ports?,
    };
    let offers = ports.iter().filter(|port| port.offered.is_some()).count();
    let found = match offers {
        0 => "No port was answered by a DHCP server. Is the cable to the provider in? A line with a fixed address or \
              PPPoE answers nobody: then choose the port yourself."
            .to_owned(),
        1 => "One port was answered by a DHCP server: that is suggested as the internet, the others with a cable as the \
              local network. Look whether that is right before you save."
            .to_owned(),
        _ => "Several ports were answered by a DHCP server, so nothing is suggested: one of them leads to another router \
              of your home. Choose yourself."
            .to_owned(),
    };
    let mut page = PortsPage::new(&admin, ports).await?;
    page.found = Some(found);
    Ok(html(StatusCode::OK, &page))
}

/// Makes this box a router with these ports, on trial.
pub async fn save(admin: Admin, AdminForm(form): AdminForm<PortsForm>) -> Result<Response, Problem> {
    let base = form.base_revision.parse::<i64>().map_err(|_| Problem::Malformed)?;
    let mut sides: [Vec<&str>; 2] = Default::default();
    for (name, choice) in &form.ports {
        let port = name.strip_prefix("port.").ok_or(Problem::Malformed)?;
        match choice.as_str() {
            "internet" => sides[0].push(port),
            "local" => sides[1].push(port),
            "none" => {}
            _ => return Err(Problem::Malformed),
        }
    }
    let [internet, local] = &sides;
    let wrong = match (internet.len(), local.len()) {
        (1, 1..) => None,
        (0, _) => Some("Choose the port that leads to the internet."),
        (2.., _) => Some("One port leads to the internet, not several."),
        (_, 0) => Some("Choose at least one port for the local network."),
    };
    if let Some(wrong) = wrong {
        let refusal = Refusal::of(postern::door::messages::RefusalKind::Invalid, wrong);
        return refused(&admin, Some(&form), refusal).await;
    }
    let set = |key: &str, value: String| Assignment { key: key.to_owned(), value };
    let patch = vec![
        set("role", "router".to_owned()),
        set("internet.device", internet.concat()),
        set("local_network.devices", local.join(",")),
    ];
    let ask = Ask::Change { base_revision: Some(base), patch, comment: String::new() };
    match admin.carry_out(ask).await? {
        None => Ok(see_other(HERE)),
        Some(refusal) => refused(&admin, Some(&form), refusal).await,
    }
}

async fn refused(admin: &Admin, form: Option<&PortsForm>, refusal: Refusal) -> Result<Response, Problem> {
    let mut page = PortsPage::new(admin, ports(admin, false).await?).await?;
    page.chrome.error = true;
    for line in &mut page.lines {
        line.choice =
            match form.and_then(|form| form.ports.get(&format!("port.{}", line.name))).map(String::as_str) {
                Some("internet") => "internet",
                Some("local") => "local",
                Some(_) => "none",
                None => line.choice,
            };
    }
    page.refused = match refusal.fields.as_slice() {
        [] => vec![refusal.message],
        fields => fields.iter().map(|field| field.message.clone()).collect(),
    };
    Ok(html(error::status(refusal.kind), &page))
}

async fn ports(admin: &Admin, ask: bool) -> Result<Vec<Port>, Problem> {
    match admin.ask(Ask::Ports { ask }).await? {
        Answer::Ports { ports } => Ok(ports),
        _ => Err(Problem::Misunderstood("ports")),
    }
}

impl PortsPage {
    async fn new(admin: &Admin, ports: Vec<Port>) -> Result<Self, Problem> {
        let (revision, settings) = newest(admin).await?;
        let mut lines: Vec<Line> = ports.iter().map(Line::of).collect();
        if admin.status.role == Role::Router {
            lines.extend(missing(&settings, &ports));
        }
        Ok(Self {
            chrome: admin.chrome(HERE).await,
            base_revision: revision.to_string(),
            lines,
            refused: Vec::new(),
            found: None,
            router: admin.status.role == Role::Router,
            home: settings.local_network.address.address().to_string(),
        })
    }
}

impl Line {
    fn of(port: &Port) -> Self {
        let state = match (port.up, port.carrier, port.speed) {
            (false, ..) => ("inactive", "\u{2013}", "Switched off".to_owned()),
            (_, false, _) => ("differs", "\u{25b2}", "No cable".to_owned()),
            (_, _, Some(speed)) => ("working", "\u{25cf}", format!("Connected, {speed} Mbit/s")),
            (..) => ("working", "\u{25cf}", "Connected".to_owned()),
        };
        let hex = |mac: [u8; 6]| mac.map(|byte| format!("{byte:02x}")).join(":");
        let addresses: Vec<String> = port.addresses.iter().map(|(address, _)| address.to_string()).collect();
        Self {
            name: port.name.to_string(),
            state,
            mac: port.mac.map(hex),
            addresses: addresses.join(", "),
            offered: port.offered.map(|(address, server)| match server {
                Some(server) => format!("The DHCP server {server} lends {address} here."),
                None => format!("A DHCP server lends {address} here."),
            }),
            choice: match port.used.or(port.seems) {
                Some(Use::Internet) => "internet",
                Some(Use::Local) => "local",
                None => "none",
            },
            seems: port.used.is_none() && port.seems.is_some(),
        }
    }
}

/// Ports that are chosen and not there: left out of a save, they would be dropped from the settings unasked.
fn missing(settings: &Settings, ports: &[Port]) -> Vec<Line> {
    let internet = settings.internet.device.iter().map(|name| (name, "internet"));
    let local = settings.local_network.devices.iter().map(|name| (name, "local"));
    let gone = internet.chain(local).filter(|(name, _)| !ports.iter().any(|port| port.name == **name));
    let line = |(name, choice): (&postern::settings::names::IfName, &'static str)| Line {
        name: name.to_string(),
        state: ("failed", "\u{25a0}", "Not there".to_owned()),
        mac: None,
        addresses: String::new(),
        offered: None,
        choice,
        seems: false,
    };
    gone.map(line).collect()
}

#[cfg(test)]
mod tests;
