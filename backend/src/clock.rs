//! The clock, and times as people read them in the owner's time zone.
//!
//! The rules of a zone are the system's own (TZif, RFC 9636: packages tzdata on Debian, zoneinfo-* on OpenWrt), read by
//! `tz-rs`: they change several times a year, and whoever keeps the box up to date keeps them, too. A zone whose rules are
//! not there is shown as UTC, and that is said.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use crate::settings::names::{Time, TimeZone};

/// Where the rules of the zones lie.
const ZONES: &str = "/usr/share/zoneinfo";
/// Largest file of rules that is read, in bytes; the largest there is has about 4,000.
const LARGEST: u64 = 64 * 1024;
/// For how long back and ahead offsets are told, in seconds: journal and history are not kept longer, and a DMZ not promised.
const BACK: i64 = 3 * 366 * DAY;
const AHEAD: i64 = 366 * DAY;
const DAY: i64 = 86_400;
/// Nothing of ours happened before (2026-01-01): a clock that says so was never set.
const BUILT: i64 = 1_767_225_600;

/// The time, and how to say times.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Seconds since 1970 UTC.
    pub now: i64,
    /// The owner's zone.
    pub zone: String,
    /// Whether its rules are on this box; false: UTC is shown.
    pub known: bool,
    /// Its offsets, oldest first.
    offsets: Vec<Offset>,
}

/// From then on this is added to UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Offset {
    /// Seconds since 1970 UTC.
    since: i64,
    /// Seconds.
    seconds: i32,
    /// As people call it: `CET`, `+03`.
    name: String,
}

impl Clock {
    /// The system's clock, in this zone.
    pub fn read(zone: &TimeZone) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        Self::at(i64::try_from(now).unwrap_or(i64::MAX), zone, Path::new(ZONES))
    }

    /// That moment, with the rules that lie in `zones`.
    fn at(now: i64, zone: &TimeZone, zones: &Path) -> Self {
        let zone = zone.to_string();
        let rules = rules(&zones.join(&zone));
        let offsets = rules.as_ref().map_or_else(Vec::new, |rules| offsets(rules, now));
        // Everybody knows UTC, with files or without.
        Self { now, known: !offsets.is_empty() || zone == "UTC", zone, offsets }
    }

    /// A time as people read it: `2026-11-21 10:30 CET`.
    pub fn say(&self, at: i64) -> String {
        let offset = self.offsets.iter().rev().find(|offset| offset.since <= at).or(self.offsets.first());
        let (seconds, name) = offset.map_or((0, "UTC"), |offset| (offset.seconds.into(), &offset.name));
        let text = Time::from_unix(at.saturating_add(seconds)).to_string();
        format!("{} {} {name}", text.get(..10).unwrap_or_default(), text.get(11..16).unwrap_or_default())
    }

    /// What the owner should know of it; none: it is right, as far as a box can tell.
    pub fn notice(&self) -> Option<String> {
        if self.now < BUILT {
            let says = self.say(self.now);
            return Some(format!(
                "The clock of this box was not set: it says {says}. Times in the history are wrong until it asks a time server."
            ));
        }
        (!self.known).then(|| {
            format!(
                "The rules of the time zone {} are not on this box, so times are UTC. They are in the package tzdata (Debian) \
                 or zoneinfo-... of that part of the world (OpenWrt).",
                self.zone
            )
        })
    }
}

fn rules(file: &Path) -> Option<tz::TimeZone> {
    let size = std::fs::metadata(file).ok().filter(std::fs::Metadata::is_file)?.len();
    let bytes = (size <= LARGEST).then(|| std::fs::read(file).ok())??;
    tz::TimeZone::from_tz_data(&bytes).ok()
}

/// Each offset around `now`. No zone changes twice within a day.
fn offsets(rules: &tz::TimeZone, now: i64) -> Vec<Offset> {
    let at = |time: i64| {
        let kind = rules.find_local_time_type(time).ok()?;
        Some((kind.ut_offset(), kind.time_zone_designation().to_owned()))
    };
    let mut all: Vec<Offset> = Vec::new();
    let mut before = now.saturating_sub(BACK);
    let mut time = before;
    while time <= now.saturating_add(AHEAD) {
        let Some((seconds, name)) = at(time) else { break };
        if all.last().is_none_or(|last| (last.seconds, &last.name) != (seconds, &name)) {
            // The very second, by halves.
            let (mut same, mut other) = (before, time);
            while !all.is_empty() && other - same > 1 {
                let middle = same + (other - same) / 2;
                if at(middle).is_some_and(|found| found == (seconds, name.clone())) {
                    other = middle;
                } else {
                    same = middle;
                }
            }
            all.push(Offset { since: other, seconds, name });
        }
        before = time;
        time += DAY;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-11-21 12:00 UTC.
    const NOW: i64 = 1_795_262_400;

    fn clock(zone: &str) -> Clock {
        Clock::at(NOW, &zone.parse().unwrap(), Path::new(ZONES))
    }

    #[test]
    fn summer_and_winter_are_told_apart_to_the_second() {
        let berlin = clock("Europe/Berlin");
        assert!(berlin.known, "tzdata is missing: tests/run installs it");
        assert_eq!(berlin.say(NOW), "2026-11-21 13:00 CET");
        // 2026-10-25 01:00 UTC.
        assert_eq!(berlin.say(1_792_889_999), "2026-10-25 02:59 CEST");
        assert_eq!(berlin.say(1_792_890_000), "2026-10-25 02:00 CET");
        assert_eq!(clock("Asia/Kathmandu").say(NOW), "2026-11-21 17:45 +0545");
        assert_eq!(clock("UTC").say(NOW), "2026-11-21 12:00 UTC");
        assert_eq!(Clock::default().say(NOW), "2026-11-21 12:00 UTC");
        assert_eq!(berlin.notice(), None);
    }

    #[test]
    fn a_zone_that_is_not_there_is_utc_and_said_and_so_is_a_clock_that_was_never_set() {
        let lost = clock("Europe/Atlantis");
        assert_eq!((lost.known, lost.say(NOW).as_str()), (false, "2026-11-21 12:00 UTC"));
        assert!(lost.notice().unwrap().contains("Europe/Atlantis"));
        let bare = Clock::at(NOW, &TimeZone::default(), Path::new("/nonexistent"));
        assert_eq!((bare.known, bare.notice()), (true, None));
        // A folder, not a file.
        assert!(!clock("Europe").known);
        let cold = Clock::at(86_400, &TimeZone::default(), Path::new(ZONES));
        assert!(cold.notice().unwrap().contains("was not set"));
    }
}
