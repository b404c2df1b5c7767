//! Answers in words, or as JSON.

use std::fmt::Write as _;

use crate::door::messages::{
    Difference, Effect, KnownDevice, Port, Protocol, Refusal, Response, Revision, RevisionState, Rules,
    SeenLink, Status, Use,
};
use crate::services::Service;
use crate::settings::forwards::{Forward, KEY};
use crate::settings::names::Time;
use crate::settings::{Role, Settings, keys};
use serde::Serialize;

fn as_json<T: Serialize>(value: &T) -> Result<String, String> {
    serde_json::to_string_pretty(value).map(|text| text + "\n").map_err(|e| format!("cannot print: {e}"))
}

/// What goes to standard error.
pub fn refusal(refusal: &Refusal, json: bool) -> String {
    if json && let Ok(text) = as_json(refusal) {
        return text;
    }
    match refusal.fields.as_slice() {
        [] | [_] => refusal.message.clone(),
        many => many.iter().map(|f| format!("{}: {}", f.key, f.message)).collect::<Vec<_>>().join("\n"),
    }
}

/// Port forwards, a line each.
pub fn forwards(forwards: &[Forward], json: bool) -> Result<String, String> {
    match forwards {
        all if json => as_json(&all),
        [] => Ok("No port is forwarded.\n".to_owned()),
        some => Ok(some.iter().map(|one| format!("{}: {}\n", one.name, one.words())).collect()),
    }
}

/// Settings below `key`: one value alone, several as `key = value`. `forwards.NAME` is one port forward.
pub fn settings(settings: &Settings, key: Option<&str>, json: bool) -> Result<String, String> {
    if let Some(name) = key.and_then(|key| key.strip_prefix(KEY)) {
        let known = settings.forwards.iter().find(|forward| forward.name.as_str() == name);
        let forward =
            known.ok_or("There is no port forward of that name. \"postern forward list\" lists them.")?;
        return if json { as_json(forward) } else { Ok(forward.words() + "\n") };
    }
    if json {
        let mut value = serde_json::to_value(settings.masked()).map_err(|e| format!("cannot print: {e}"))?;
        for part in key.into_iter().flat_map(|key| key.split('.')) {
            value = value.get_mut(part).map(serde_json::Value::take).ok_or_else(|| unknown(key))?;
        }
        return as_json(&value);
    }
    if let Some(value) = key.and_then(|key| keys::get(settings, key)) {
        return Ok(value + "\n");
    }
    let mut text = String::new();
    for (name, value) in keys::below(settings, key.unwrap_or_default()).map_err(|e| e.message)? {
        let _ = writeln!(text, "{name} = {value}"); // writing to a String cannot fail
    }
    Ok(text)
}

fn unknown(key: Option<&str>) -> String {
    format!("There is no setting {}. \"postern get\" lists them all.", key.unwrap_or_default())
}

/// Any other answer.
pub fn answer(answer: &Response, json: bool) -> Result<String, String> {
    Ok(match answer {
        Response::Status(status) if json => as_json(status)?,
        Response::Status(status) => in_words(status),
        Response::Sessions(page) if json => as_json(page)?,
        Response::Sessions(page) => super::sessions::in_words(page),
        Response::Journal(page) if json => as_json(page)?,
        Response::Journal(page) => super::journal::in_words(page),
        Response::Diagnosis(diagnosis) if json => as_json(diagnosis)?,
        Response::Diagnosis(diagnosis) => super::diagnosis::in_words(diagnosis),
        Response::History { revisions } if json => as_json(revisions)?,
        Response::History { revisions } => revisions.iter().map(revision).collect(),
        Response::Done { message } if json => as_json(&serde_json::json!({ "message": message }))?,
        Response::Done { message } => format!("{message}\n"),
        Response::Differences { differs } if json => as_json(differs)?,
        Response::Differences { differs } if differs.is_empty() => "Nothing would change.\n".to_owned(),
        Response::Differences { differs } => differs.iter().map(|d| difference(d) + "\n").collect(),
        Response::Tried { report } if json => as_json(report)?,
        Response::Tried { report } => report.as_ref().map_or_else(String::new, super::tools::in_words),
        Response::Devices { devices, .. } if json => as_json(devices)?,
        Response::Devices { devices, left_out } => {
            let mut text: String = devices.iter().map(device).collect();
            if *left_out > 0 {
                let _ = writeln!(text, "and {left_out} more"); // writing to a String cannot fail
            }
            if text.is_empty() { "No device is known yet.\n".to_owned() } else { text }
        }
        Response::Ports { ports } if json => as_json(ports)?,
        Response::Ports { ports } => ports.iter().map(real_port).collect(),
        Response::Text { text } if json => as_json(&serde_json::json!({ "text": text }))?,
        Response::Text { text } => text.clone(),
        Response::Ticket { .. } if json => as_json(&serde_json::json!({ "message": "claimed" }))?,
        Response::Ticket { .. } => "This box is yours now. Log in with that password.\n".to_owned(),
        _ => return Err("The daemon gave another answer than was asked for.".to_owned()),
    })
}

fn real_port(port: &Port) -> String {
    let link = match (port.up, port.carrier, port.speed) {
        (false, ..) => "switched off".to_owned(),
        (_, false, _) => "no cable".to_owned(),
        (_, _, Some(speed)) => format!("connected at {speed} Mbit/s"),
        (..) => "connected".to_owned(),
    };
    let leads = |to: Use| if to == Use::Internet { "the internet" } else { "the local network" };
    let mut text = format!("{:<15} {link}", port.name);
    // Writing to a String cannot fail.
    if let Some(to) = port.used {
        let _ = write!(text, ", leads to {}", leads(to));
    } else if let Some(to) = port.seems {
        let _ = write!(text, ", seems to lead to {}", leads(to));
    }
    if let Some((address, _)) = port.offered {
        let _ = write!(text, ", where a DHCP server lends {address}");
    }
    text + "\n"
}

fn in_words(status: &Status) -> String {
    let mut text = String::new();
    let role = match status.role {
        Role::Unset => "none yet: set role=router with its ports, or role=companion (postern sides)",
        Role::Router => "router",
        Role::Companion => "companion",
    };
    let rules = match &status.rules {
        Rules::Loaded => "loaded".to_owned(),
        Rules::Deny => "only the safe ones: nothing is forwarded".to_owned(),
        Rules::NotWanted => "none".to_owned(),
        Rules::Missing => "MISSING from the kernel".to_owned(),
        Rules::Edited => "CHANGED by somebody else".to_owned(),
        Rules::Unknown { reason } => format!("unknown: {reason}"),
    };
    let mut line = |name: &str, value: &str| {
        let _ = writeln!(text, "{name:<15} {value}"); // writing to a String cannot fail
    };
    line("role", role);
    line("rules", &rules);
    line("revision", &status.revision.to_string());
    if let Some(trial) = &status.trial {
        line(
            "on trial",
            &format!("revision {}, {} s left: postern confirm", trial.revision, trial.seconds_left),
        );
    }
    for (name, link) in [("internet", &status.internet), ("local network", &status.local_network)] {
        line(name, &link.as_ref().map_or_else(|| "no port".to_owned(), port));
    }
    let dhcp_dns = match &status.dhcp_dns {
        Service::Off => "off",
        Service::Running => "running",
        Service::NotInstalled => "NOT INSTALLED",
        Service::Failed { .. } => "NOT RUNNING",
    };
    line("DHCP and DNS", dhcp_dns);
    for protocol in &status.passthrough {
        line(&protocol.name, &effect(protocol));
    }
    for helper in status.helpers.iter().filter(|helper| helper.configured) {
        let mut text = format!("{} watched, {} let in", helper.attached, helper.let_in);
        if let Some(reason) = &helper.reason {
            let _ = write!(text, "; {reason}"); // writing to a String cannot fail
        }
        line(helper.helper.name(), &format!("{}; {text}", word(helper.effect)));
    }
    for lack in &status.lacks {
        line("lacks", &format!("{}. {} {}", lack.what, lack.costs, lack.remedy));
    }
    for attempt in &status.attempts {
        line("tried", &attempt.sentence());
    }
    if let Some(fingerprint) = &status.fingerprint {
        line("certificate", &format!("for HTTPS, SHA-256 {fingerprint}"));
    }
    for notice in &status.notices {
        line("notice", notice);
    }
    text
}

/// MAC, address, until when, name. What a device calls itself stands in quotes: it is not the owner's word.
fn device(device: &KnownDevice) -> String {
    let address = match (device.address, device.reserved) {
        (Some(now), _) => now.to_string(),
        (None, Some(reserved)) => format!("({reserved})"),
        (None, None) => "-".to_owned(),
    };
    let until = device.ends.map_or_else(|| "-".to_owned(), |ends| Time::from_unix(ends).to_string());
    let own = device.name.as_ref().map(ToString::to_string).unwrap_or_default();
    let its = device.calls_itself.as_ref().map(|name| format!(" {name:?}")).unwrap_or_default();
    let seen = device.seen.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds} s ago"));
    format!("{}  {address:<17} {until:<20}  {seen:<10}  {}\n", device.mac, format!("{own}{its}").trim())
}

fn port(link: &SeenLink) -> String {
    let addresses: Vec<String> = link.addresses.iter().map(|(a, prefix)| format!("{a}/{prefix}")).collect();
    let carrier = if link.carrier { "" } else { ", no link" };
    format!("{} {}{carrier}", link.name, addresses.join(" "))
}

fn word(effect: Effect) -> &'static str {
    match effect {
        Effect::Working => "working",
        Effect::Ready => "ready",
        Effect::Blocked => "blocked",
        Effect::Differs => "NOT AS SET",
        Effect::Inactive => "not in effect",
    }
}

fn effect(protocol: &Protocol) -> String {
    let mut text = format!(
        "{}; {} open, {} packets passed, {} refused",
        word(protocol.effect),
        protocol.open,
        protocol.passed,
        protocol.refused
    );
    if let Some(reason) = &protocol.reason {
        let _ = write!(text, "; {reason}"); // writing to a String cannot fail
    }
    text
}

fn revision(revision: &Revision) -> String {
    let state = match revision.state {
        RevisionState::Saved => "saved",
        RevisionState::Applied => "on trial",
        RevisionState::Confirmed => "kept",
        RevisionState::Reverted => "taken back",
    };
    let mut text = format!(
        "{:>4}  {}  {} ({}), {state}",
        revision.id,
        Time::from_unix(revision.at),
        revision.who,
        revision.via
    );
    if !revision.comment.is_empty() {
        let _ = write!(text, ": {}", revision.comment); // writing to a String cannot fail
    }
    for change in &revision.differs {
        let _ = write!(text, "\n      {}", difference(change)); // writing to a String cannot fail
    }
    text + "\n"
}

fn difference(change: &Difference) -> String {
    format!("{}: {} → {}", change.key, change.before, change.after)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_forward_is_read_by_its_name_and_all_of_them_a_line_each() {
        let mut all = Settings::default();
        assert_eq!(forwards(&all.forwards, false).unwrap(), "No port is forwarded.\n");
        for (key, words) in [
            ("forwards.Office VPN", "pptp to 192.168.1.20"),
            ("forwards.a.b", "tcp 80 to 192.168.1.21 (off)"),
        ] {
            keys::set(&mut all, key, words).unwrap();
            assert_eq!(settings(&all, Some(key), false).unwrap(), format!("{words}\n"));
        }
        let json = settings(&all, Some("forwards.Office VPN"), true).unwrap();
        assert!(json.contains("\"to\": \"192.168.1.20\"") && !json.contains("a.b"), "{json}");
        for json in [false, true] {
            assert!(settings(&all, Some("forwards.web"), json).unwrap_err().contains("no port forward"));
        }
        assert_eq!(
            forwards(&all.forwards, false).unwrap(),
            "Office VPN: pptp to 192.168.1.20\na.b: tcp 80 to 192.168.1.21 (off)\n"
        );
        assert!(forwards(&all.forwards, true).unwrap().starts_with('['));
    }
}
