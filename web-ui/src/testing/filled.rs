//! A router with something on every page, so that every form there can be is on one of them.

use axum::http::Method;
use postern::door::messages::{Feature, Helper, JournalKind, KnownDevice, Lack, Port, Rules, Use};
use postern::settings::Role;

use super::browser::{Browser, Form};
use super::fake::{self, State};
use crate::routes;

/// Logged in, with names of strangers that read `name`.
pub async fn filled(name: &str) -> Browser {
    let browser = Browser::logged_in().await;
    fill(&mut browser.daemon.state(), name);
    browser
}

/// Fills a state whose owner is logged in.
pub fn fill(state: &mut State, name: &str) {
    state.sessions = fake::some_sessions();
    for session in &mut state.sessions {
        session.server_name = Some(name.to_owned());
        session.device.name = Some(name.to_owned());
    }
    for (key, value) in [("passthrough.pptp.enabled", "true"), ("forwards.web", "tcp 80 to 192.168.1.20")] {
        state.save_with_comment("owner", name, name, key, value);
    }
    state.role = Role::Router;
    state.rules = Rules::Edited;
    state.notices = vec![format!("The port {name} is taken.")];
    state.attempts = vec![fake::attempt("passthrough.l2tp.enabled", name, true)];
    let mut denied = fake::attempt("passthrough.ipsec.enabled", "IPsec", false);
    denied.barrier = postern::door::messages::Barrier::NotAllowed;
    state.attempts.push(denied);
    let line = |id, kind| fake::line(id, kind, name, &format!("was called {name}"));
    state.journal = vec![line(2, JournalKind::Attempt), line(1, JournalKind::Login)];
    state.verdict = fake::verdict();
    (state.verdict.can_measure, state.verdict.server_name) = (true, Some(name.to_owned()));
    let lack = |feature| Lack {
        feature,
        what: format!("the helper {name}"),
        costs: name.to_owned(),
        remedy: name.to_owned(),
    };
    state.lacks = [Helper::Pptp, Helper::Ftp].map(|helper| lack(Feature::Helper(helper))).into();
    let port = |port: &str, seems| Port {
        name: port.parse().unwrap(),
        up: true,
        carrier: true,
        speed: Some(1000),
        mac: Some([2, 0, 0, 0, 0, 1]),
        addresses: Vec::new(),
        used: None,
        seems: Some(seems),
        offered: None,
    };
    state.ports = vec![port("eth0", Use::Internet), port("eth1", Use::Local)];
    state.devices = vec![KnownDevice {
        mac: "02:00:00:00:01:65".parse().unwrap(),
        name: Some("Laptop".parse().unwrap()),
        reserved: Some([192, 168, 1, 20].into()),
        address: Some([192, 168, 1, 101].into()),
        calls_itself: Some(name.to_owned()),
        seen: Some(75),
        ends: Some(1_795_000_000),
    }];
    state.log_in([192, 168, 1, 77]);
}

/// Every page: routes that answer GET and are no file. What the browser saves (the journal, the settings) is no page.
pub fn pages() -> Vec<&'static str> {
    let saved = |path: &str| path.ends_with("/download") || path.ends_with("/export");
    let shown = |route: &crate::Route| {
        route.methods.contains(&Method::GET) && !route.path.contains('{') && !saved(route.path)
    };
    routes().iter().filter(|route| shown(route)).map(|route| route.path).collect()
}

/// Every form of every page, once for each action and set of fields.
pub async fn forms(browser: &mut Browser) -> Vec<Form> {
    let mut all: Vec<Form> = Vec::new();
    let kind = |form: &Form| {
        let names: Vec<String> = form.fields.iter().map(|(name, _)| name.clone()).collect();
        (form.action.clone(), names)
    };
    for page in pages() {
        browser.open(page).await;
        for form in browser.forms() {
            if form.fields.iter().any(|(name, _)| name == "token")
                && !all.iter().any(|known| kind(known) == kind(&form))
            {
                all.push(form);
            }
        }
    }
    all
}

/// All that a request can change, in words.
pub fn print(state: &State) -> String {
    let tickets: Vec<&String> = state.tickets.keys().collect();
    format!(
        "{} {:?} {} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {:?} {}",
        state.claimed,
        (&state.password, tickets),
        state.settings.to_toml(),
        state.history.len(),
        state.changes,
        state.imports,
        state.ends,
        state.confirmed,
        (&state.rules, state.lacks.len()),
        state.measured,
        state.tried,
        state.self_test,
        state.ended,
        state.port_looks.iter().filter(|asked| **asked).count(),
        state.device_changes,
        state.sessions.len(),
    )
}
