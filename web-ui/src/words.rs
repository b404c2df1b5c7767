//! What the daemon tells, in words for people: settings and their values, times, who did it.

use postern::door::messages::{Clock, Difference};
use postern::settings::forwards;
use postern::settings::keys::{self, Kind, UNSET};
use postern::settings::names::Time;

/// One setting that changes, in words.
pub struct Change {
    /// Its key, as on the command line.
    pub key: String,
    /// What it does; a key that this version does not know stands for itself.
    pub what: String,
    /// Value before.
    pub before: String,
    /// Value after.
    pub after: String,
}

impl Change {
    /// In words; times as `clock` says them.
    pub fn of(differs: &Difference, clock: &Clock) -> Self {
        Self {
            what: setting(&differs.key),
            before: value_with_time(&differs.key, &differs.before, clock),
            after: value_with_time(&differs.key, &differs.after, clock),
            key: differs.key.clone(),
        }
    }
}

/// What the setting does, as a phrase.
pub fn setting(key: &str) -> String {
    if let Some(name) = key.strip_prefix(forwards::KEY) {
        return format!("Port forward {name}");
    }
    if let Some(mac) = key.strip_prefix("devices.") {
        return format!("Device {mac}");
    }
    keys::find(key).map_or(key, |k| k.hint).trim_end_matches('.').to_owned()
}

/// A value of the setting `key`, for people.
pub fn value(key: &str, words: &str) -> String {
    match (keys::find(key).map(|k| k.kind), words) {
        (Some(Kind::Switch), "true") => "on".to_owned(),
        (Some(Kind::Switch), "false") => "off".to_owned(),
        (_, UNSET) => "not set".to_owned(),
        (Some(Kind::List | Kind::Records), list) => {
            list.split(',').map(str::trim).collect::<Vec<_>>().join(", ")
        }
        (_, words) => words.to_owned(),
    }
}

/// The same, with the end of what ends by itself in the owner's time zone.
pub fn value_with_time(key: &str, words: &str, clock: &Clock) -> String {
    let ends = matches!(key, "firewall.spi" | "firewall.dmz");
    let time = |words: &str| words.parse::<Time>().ok();
    match words.rsplit_once(" until ").filter(|_| ends).and_then(|(what, until)| Some((what, time(until)?))) {
        Some((what, until)) => format!("{what} until {}", clock.say(until.unix())),
        None => value(key, words),
    }
}

/// A span of seconds in its two largest units: `3 h 5 min`.
pub fn span(seconds: u64) -> String {
    let units = [(86_400, "d"), (3600, "h"), (60, "min"), (1, "s")];
    let first = units.iter().position(|(size, _)| seconds >= *size).unwrap_or(3);
    let (size, unit) = units[first];
    let rest = units.get(first + 1).map(|(less, unit)| (seconds % size / less, unit)).filter(|(n, _)| *n > 0);
    let rest = rest.map_or_else(String::new, |(n, unit)| format!(" {n} {unit}"));
    format!("{} {unit}{rest}", seconds / size)
}

/// Seconds since 1970 for `<time datetime>`.
pub fn datetime(at: i64) -> String {
    Time::from_unix(at).to_string()
}

/// Who did it and from where.
pub fn author(who: &str, via: &str) -> String {
    match (who, via) {
        ("owner", via) => format!("the owner, from {via}"),
        (who, "command line") => format!("{who}, on the command line"),
        ("postern", _) => "Postern itself".to_owned(),
        (who, via) => format!("{who} ({via})"),
    }
}

/// How long ago something was.
pub fn ago(seconds: u64) -> String {
    let some = |n: u64, one: &str| format!("{n} {one}{} ago", if n == 1 { "" } else { "s" });
    match seconds {
        0..60 => "just now".to_owned(),
        60..3600 => some(seconds / 60, "minute"),
        _ => some(seconds / 3600, "hour"),
    }
}

/// Bytes as people read them: `980 B`, `48 kB`, `3.1 GB`.
pub fn bytes(number: u64) -> String {
    with_unit(number as f64, ["B", "kB", "MB", "GB", "TB"])
}

/// Bits a second as people read them: `2.1 Mbit/s`.
pub fn rate(bits: f64) -> String {
    with_unit(bits, ["bit/s", "kbit/s", "Mbit/s", "Gbit/s", "Tbit/s"])
}

fn with_unit(mut number: f64, units: [&str; 5]) -> String {
    let mut unit = 0;
    while number >= 999.5 && unit + 1 < units.len() {
        (number, unit) = (number / 1000.0, unit + 1);
    }
    let digits = usize::from(unit > 0 && number < 9.95);
    format!("{number:.digits$} {}", units[unit])
}

/// `1204310` as `1,204,310`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let first = digits.len() % 3;
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && at % 3 == first {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_has_two_units_at_most() {
        let shown: Vec<String> = [0, 59, 60, 61, 3600, 3661, 90_061].into_iter().map(span).collect();
        assert_eq!(shown, ["0 s", "59 s", "1 min", "1 min 1 s", "1 h", "1 h 1 min", "1 d 1 h"]);
    }

    #[test]
    fn numbers_are_grouped_by_thousands() {
        let shown: Vec<String> = [0, 12, 999, 1000, 12345, 1_204_310].into_iter().map(grouped).collect();
        assert_eq!(shown, ["0", "12", "999", "1,000", "12,345", "1,204,310"]);
    }

    #[test]
    fn times_and_ages_are_words() {
        assert_eq!(datetime(0), "1970-01-01T00:00:00Z");
        let shown: Vec<String> = [0, 59, 60, 179, 3600, 40_000].into_iter().map(ago).collect();
        assert_eq!(
            shown,
            ["just now", "just now", "1 minute ago", "2 minutes ago", "1 hour ago", "11 hours ago"]
        );
    }

    #[test]
    fn a_value_is_said_as_people_say_it() {
        for (key, words, said) in [
            ("passthrough.pptp.enabled", "true", "on"),
            ("passthrough.pptp.ports", "1723,1724", "1723, 1724"),
            ("internet.address", "unset", "not set"),
            ("system.name", "true", "true"),
            ("no.such.key", "a,b", "a,b"),
        ] {
            assert_eq!(value(key, words), said, "{key}");
        }
        assert_eq!(
            setting("access.https"),
            "Serve the admin page over HTTPS; plain HTTP then only leads there"
        );
        assert_eq!(setting("no.such.key"), "no.such.key");
        assert_eq!(setting("forwards.Office VPN"), "Port forward Office VPN");
        let at = |key: &str, words: &str| value_with_time(key, words, &Clock::default());
        let dmz = "192.168.1.20 until 2026-11-21T10:30:00Z";
        assert_eq!(at("firewall.dmz", dmz), "192.168.1.20 until 2026-11-21 10:30 UTC");
        assert_eq!(at("firewall.spi", "off until 2026-11-21T10:30:00Z"), "off until 2026-11-21 10:30 UTC");
        assert_eq!([at("firewall.spi", "on"), at("system.name", dmz)], ["on".to_owned(), dmz.to_owned()]);
    }
}
