//! Names people give, and small numbers with a unit.

use std::fmt;
use std::str::FromStr;

use super::{Wrong, in_words, wrong};

/// A name people give: 1 to 63 characters, no control characters, none of `" \ { } ; #` and no space at the ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Label(String);

impl Label {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Label {
    type Err = Wrong;
    fn from_str(s: &str) -> Result<Self, Wrong> {
        let bad = |c: char| c.is_control() || matches!(c, '"' | '\\' | '{' | '}' | ';' | '#' | '`' | '$');
        if s.is_empty() || s.chars().count() > 63 || s.trim() != s || s.chars().any(bad) {
            return wrong(
                "A name has 1 to 63 characters, without quotes, braces, semicolons or control characters.",
            );
        }
        Ok(Self(s.to_owned()))
    }
}

/// User name of a PPPoE account: 1 to 127 bytes, as a [`Label`] but that a `#` is common in them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account(String);

impl Account {
    /// As text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Account {
    type Err = Wrong;
    fn from_str(s: &str) -> Result<Self, Wrong> {
        let bad = |c: char| c.is_control() || matches!(c, '"' | '\\' | '{' | '}' | ';' | '`' | '$');
        if s.is_empty() || s.len() > 127 || s.trim() != s || s.chars().any(bad) {
            return wrong(
                "A user name has 1 to 127 characters, without quotes, braces, semicolons or control characters.",
            );
        }
        Ok(Self(s.to_owned()))
    }
}

/// A password that must be kept to be used (PPPoE). Shows itself only to serde, which writes the store and the export.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// What stands where a secret must not.
    pub const MASK: &str = "••••";

    /// The secret itself, for a file of mode 0600.
    pub fn reveal(&self) -> &str {
        &self.0
    }

    /// The mask, as a value.
    pub fn masked() -> Self {
        Self(Self::MASK.to_owned())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

impl FromStr for Secret {
    type Err = Wrong;
    fn from_str(s: &str) -> Result<Self, Wrong> {
        if s.is_empty() || s.len() > 128 || s.chars().any(|c| c.is_control() || matches!(c, '"' | '\\')) {
            return wrong("A password has 1 to 128 characters, without quotes and backslashes.");
        }
        Ok(Self(s.to_owned()))
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One label of a DNS name: letters, digits and inner dashes, 1 to 63 (RFC 1123 section 2.1).
fn dns_label(s: &str) -> bool {
    (1..=63).contains(&s.len())
        && s.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-')
        && !s.starts_with('-')
        && !s.ends_with('-')
}

/// Name of the box: one DNS label.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostName(String);

impl Default for HostName {
    fn default() -> Self {
        Self("postern".to_owned())
    }
}

impl FromStr for HostName {
    type Err = Wrong;
    fn from_str(s: &str) -> Result<Self, Wrong> {
        if !dns_label(s) {
            return wrong("The name has 1 to 63 letters, digits and inner dashes.");
        }
        Ok(Self(s.to_ascii_lowercase()))
    }
}

/// A DNS domain of at most 253 characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Domain(String);

impl Domain {
    /// The domain that RFC 8375 keeps for homes.
    pub fn home_arpa() -> Self {
        Self("home.arpa".to_owned())
    }
}

impl FromStr for Domain {
    type Err = Wrong;
    fn from_str(s: &str) -> Result<Self, Wrong> {
        if s.len() > 253 || !s.split('.').all(dns_label) {
            return wrong("A domain is made of letters, digits, dashes and dots, for example home.arpa.");
        }
        Ok(Self(s.to_ascii_lowercase()))
    }
}

/// How long a DHCP lease lasts: 2 minutes to 30 days, `45m`, `12h`, `7d`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    seconds: u32,
}

impl Lease {
    /// So many hours.
    pub const fn hours(hours: u32) -> Self {
        Self { seconds: hours * 3600 }
    }

    /// In seconds.
    pub fn seconds(self) -> u32 {
        self.seconds
    }
}

impl FromStr for Lease {
    type Err = Wrong;
    fn from_str(s: &str) -> Result<Self, Wrong> {
        let sentence = "A lease lasts from 2m to 30d: a number with m (minutes), h (hours) or d (days), for example 12h.";
        let unit = match s.bytes().last() {
            Some(b'm') => 60,
            Some(b'h') => 3600,
            Some(b'd') => 86400,
            _ => return wrong(sentence),
        };
        let number: u32 = s[..s.len() - 1].parse().map_err(|_| Wrong(sentence.into()))?;
        match number.checked_mul(unit) {
            Some(seconds @ 120..=2_592_000) => Ok(Self { seconds }),
            _ => wrong(sentence),
        }
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.seconds {
            s if s % 86400 == 0 => write!(f, "{}d", s / 86400),
            s if s % 3600 == 0 => write!(f, "{}h", s / 3600),
            s => write!(f, "{}m", s / 60),
        }
    }
}

/// Idle minutes after which a login ends, 1 to 60.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdleMinutes(u16);

impl IdleMinutes {
    /// In minutes.
    pub fn minutes(self) -> u16 {
        self.0
    }
}

impl Default for IdleMinutes {
    fn default() -> Self {
        Self(10)
    }
}

impl FromStr for IdleMinutes {
    type Err = Wrong;
    fn from_str(s: &str) -> Result<Self, Wrong> {
        match s.parse() {
            Ok(n @ 1..=60) => Ok(Self(n)),
            _ => wrong("A login may idle for 1 to 60 minutes."),
        }
    }
}

impl fmt::Display for IdleMinutes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A time zone name as in /usr/share/zoneinfo: `UTC`, `Europe/Berlin`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TimeZone(String);

impl Default for TimeZone {
    fn default() -> Self {
        Self("UTC".to_owned())
    }
}

impl FromStr for TimeZone {
    type Err = Wrong;
    fn from_str(s: &str) -> Result<Self, Wrong> {
        let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'+' | b'-');
        let part = |p: &str| !p.is_empty() && p.bytes().all(plain);
        if s.len() > 40 || !s.split('/').all(part) {
            return wrong("Name a time zone as UTC or Europe/Berlin.");
        }
        Ok(Self(s.to_owned()))
    }
}

macro_rules! shown_as_text {
    ($($name:ty),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    )*};
}
shown_as_text!(Account, Label, HostName, Domain, TimeZone);

in_words!(Account, Label, Secret, HostName, Domain, Lease, IdleMinutes, TimeZone);
