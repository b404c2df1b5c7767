//! Switches that weaken the firewall carry the time at which they end by themselves.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use super::{Wrong, in_words, wrong};

/// Seconds since 1970 in UTC, written `2026-11-21T10:30:00Z`; 1970 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(i64);

impl Time {
    /// So many seconds since 1970.
    pub fn from_unix(seconds: i64) -> Self {
        Self(seconds.clamp(0, 253_402_300_799))
    }

    /// Seconds since 1970.
    pub fn unix(self) -> i64 {
        self.0
    }
}

/// Days since 1970-01-01 of a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years counted from March, so that the leap day is the last: 365.25 days a year less the century rule.
    let (y, m) = if month > 2 { (year, month - 3) } else { (year - 1, month + 9) };
    365 * y + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468
}

/// The date of a day counted since 1970-01-01.
fn date(day: i64) -> (i64, i64, i64) {
    let mut year = 1970 + day / 366;
    while days(year + 1, 1, 1) <= day {
        year += 1;
    }
    let mut month = 1;
    while month < 12 && days(year, month + 1, 1) <= day {
        month += 1;
    }
    (year, month, day - days(year, month, 1) + 1)
}

impl FromStr for Time {
    type Err = Wrong;
    fn from_str(s: &str) -> Result<Self, Wrong> {
        let sentence = "Write the time in UTC as 2026-11-21T10:30:00Z.";
        let shape = s.len() == 20
            && s.bytes().zip(b"dddd-dd-ddTdd:dd:ddZ").all(|(b, want)| match want {
                b'd' => b.is_ascii_digit(),
                _ => b == *want,
            });
        if !shape {
            return wrong(sentence);
        }
        let n = |from: usize, to: usize| s[from..to].parse::<i64>().unwrap_or(-1);
        let (year, month, day, hour, minute, second) =
            (n(0, 4), n(5, 7), n(8, 10), n(11, 13), n(14, 16), n(17, 19));
        if year < 1970 || !(1..=12).contains(&month) || hour > 23 || minute > 59 || second > 59 {
            return wrong(sentence);
        }
        let since = days(year, month, day);
        if date(since) != (year, month, day) {
            return wrong("There is no such day in the calendar.");
        }
        Ok(Self(since * 86400 + hour * 3600 + minute * 60 + second))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day) = date(self.0 / 86400);
        let s = self.0 % 86400;
        write!(f, "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}Z", s / 3600, s / 60 % 60, s % 60)
    }
}

/// Stateful inspection: `on`, or `off until TIME`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Spi {
    /// The only safe state.
    #[default]
    On,
    /// Off, and back on by itself at this time.
    OffUntil(Time),
}

impl FromStr for Spi {
    type Err = Wrong;
    fn from_str(s: &str) -> Result<Self, Wrong> {
        match (s, s.strip_prefix("off until ")) {
            ("on", _) => Ok(Self::On),
            (_, Some(time)) => Ok(Self::OffUntil(time.parse()?)),
            _ => wrong("Write on, or off until a time: off until 2026-11-21T10:30:00Z."),
        }
    }
}

impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::On => f.write_str("on"),
            Self::OffUntil(time) => write!(f, "off until {time}"),
        }
    }
}

/// A device that gets everything nobody asked for: `none`, or `ADDRESS until TIME`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DmzHost {
    /// Nobody.
    #[default]
    None,
    /// This device, until then.
    Until(Ipv4Addr, Time),
}

impl FromStr for DmzHost {
    type Err = Wrong;
    fn from_str(s: &str) -> Result<Self, Wrong> {
        if s == "none" {
            return Ok(Self::None);
        }
        match s.split_once(" until ").and_then(|(a, t)| Some((a.parse().ok()?, t))) {
            Some((address, time)) => Ok(Self::Until(address, time.parse()?)),
            None => wrong("Write none, or a device until a time: 192.168.1.20 until 2026-11-21T10:30:00Z."),
        }
    }
}

impl fmt::Display for DmzHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Until(address, time) => write!(f, "{address} until {time}"),
        }
    }
}

in_words!(Time, Spi, DmzHost);
