//! A verdict in words.

use std::fmt::Write as _;

use crate::door::messages::{Action, Diagnosis, Party};

pub fn in_words(verdict: &Diagnosis) -> String {
    let mut text = format!("{}.\n{}\n", verdict.title, verdict.explanation);
    if let (Some(name), Some(server)) = (&verdict.server_name, verdict.server) {
        let _ = writeln!(text, "  {server} is {name}."); // writing to a String cannot fail
    }
    for step in &verdict.steps {
        let name = |party| match party {
            Party::Device => "device",
            Party::Router => "this router",
            Party::Server => "server",
        };
        let seen = if step.seen { "seen   " } else { "MISSING" };
        // Writing to a String cannot fail.
        let _ = writeln!(text, "  {seen}  {} -> {}: {}", name(step.from), name(step.to), step.what);
    }
    if !verdict.remedy.is_empty() {
        let _ = writeln!(text, "{}", verdict.remedy);
    }
    if verdict.can_measure {
        let device = verdict.device.as_ref().map_or_else(String::new, |device| device.address.to_string());
        let _ = writeln!(
            text,
            "Small things work and big ones hang? Measure with pings to the server:\n  postern diagnose {device} --measure"
        );
    }
    let command = match &verdict.action {
        Some(Action::SwitchOn { key, .. }) => format!("postern set {key}=true"),
        Some(Action::AllowDevice { mac }) => {
            format!("postern set passthrough.devices=$(postern get passthrough.devices),{mac}")
        }
        Some(Action::EndSession { id }) => format!("postern session end {id}"),
        Some(Action::Mend) => "postern mend".to_owned(),
        Some(Action::LookAgain) => "postern look-again".to_owned(),
        Some(Action::SeeForward { name: Some(_) }) => "postern forward list".to_owned(),
        Some(Action::SeeForward { name: None }) => "postern set firewall.dmz=none".to_owned(),
        Some(Action::SetMtu { bytes }) => format!("postern set internet.mtu={bytes}"),
        None => return text,
    };
    text + "  " + &command + "\n"
}
