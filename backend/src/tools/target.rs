//! What the owner typed to be asked.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use crate::settings::names::Wrong;

/// Longest name in characters (RFC 1035 section 2.3.4, as text).
const LONGEST: usize = 253;

/// A host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Target {
    Address(IpAddr),
    Name(String),
}

impl Target {
    /// What is known without asking anybody.
    pub(super) fn address(&self) -> Option<IpAddr> {
        match self {
            Self::Address(address) => Some(*address),
            Self::Name(_) => None,
        }
    }
}

impl FromStr for Target {
    type Err = Wrong;

    fn from_str(typed: &str) -> Result<Self, Wrong> {
        let typed = typed.trim().trim_end_matches('.');
        let wrong = |sentence: &str| Err(Wrong(sentence.to_owned()));
        if typed.is_empty() {
            return wrong("Type a name or an address, for example vpn.example.com or 203.0.113.10.");
        }
        if let Ok(address) = typed.parse::<IpAddr>() {
            let broadcast = address == IpAddr::V4(Ipv4Addr::BROADCAST);
            return match address.is_unspecified() || address.is_multicast() || broadcast {
                true => wrong("That is not the address of one host."),
                false => Ok(Self::Address(address)),
            };
        }
        if !typed.is_ascii() {
            return wrong("A name with other letters than a to z is typed in its ASCII form (xn--...).");
        }
        let label = |label: &str| {
            (1..=63).contains(&label.len())
                && !label.starts_with('-') // RFC 952
                && label.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_')
        };
        // A name whose last label is a number is a mistyped address (RFC 1123 section 2.1).
        let number = typed.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
        if typed.len() > LONGEST || number || !typed.split('.').all(label) {
            return wrong("That is neither a name nor an address, such as vpn.example.com or 203.0.113.10.");
        }
        Ok(Self::Name(typed.to_ascii_lowercase()))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => address.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}
