//! VPN sessions in words.

use std::fmt::Write as _;

use crate::door::messages::{Session, SessionPage};
use crate::settings::names::Time;

/// A page of them, a line or two each.
pub fn in_words(page: &SessionPage) -> String {
    let mut text = String::new();
    if page.total == 0 {
        text += "No VPN session. Start the VPN on a device: it appears here within seconds.\n";
    }
    for one in &page.sessions {
        text += &line(one);
    }
    let shown = page.sessions.len();
    if shown < page.total {
        let from = page.skipped + usize::from(shown > 0);
        // Writing to a String cannot fail.
        let _ = writeln!(
            text,
            "{from} to {} of {} that fit, {} in all",
            page.skipped + shown,
            page.matching,
            page.total
        );
    }
    if page.left_out > 0 {
        let were = if page.left_out == 1 { "connection was" } else { "connections were" };
        let _ = writeln!(text, "{} {were} too many to look at", page.left_out);
    }
    text
}

fn line(one: &Session) -> String {
    let port = one.server_port.map_or_else(String::new, |port| format!(" port {port}"));
    let server = one.server_name.as_ref().map_or_else(String::new, |name| format!("{name} "));
    let name = one.device.name.as_deref().map_or_else(String::new, |name| format!("{} ", plain(name)));
    let mut text = format!(
        "{name}{} to {server}{}{port}: {}, {}\n    {}\n",
        one.device.address,
        one.server,
        one.kind.title(),
        one.state.title().to_lowercase(),
        one.id
    );
    let mut facts = Vec::new();
    facts.extend(one.since.map(|at| format!("since {}", Time::from_unix(at))));
    facts.push(one.traffic.map_or_else(
        || "bytes not counted".to_owned(),
        |t| format!("{} bytes out, {} in", t.sent, t.received),
    ));
    facts.extend(one.idle.map(|seconds| format!("last packet {seconds} s ago")));
    facts.extend(one.calls.iter().map(|c| format!("Call IDs {} and {}", c.device, c.server)));
    facts.extend(one.spis.iter().map(|s| {
        let way = if s.sent { "out" } else { "in" };
        format!("SPI {way} {:08x}{}", s.number, if s.sure { "" } else { " on probation" })
    }));
    let _ = writeln!(text, "    {}", facts.join("; ")); // writing to a String cannot fail
    text
}

/// A name that a device gave itself, without what a terminal would obey.
fn plain(name: &str) -> String {
    name.chars().map(|c| if c.is_control() { '?' } else { c }).collect()
}
