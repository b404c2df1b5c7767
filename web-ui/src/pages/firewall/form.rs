//! The fields of the page. A time is chosen as a span from now; what is in force already can be kept.

use postern::settings::Settings;
use postern::settings::firewall::Ipv6Ipsec;
use postern::settings::names::{DmzHost, Spi, Time};
use serde::Deserialize;

use super::super::edit::Edit;
use crate::form::Tick;

/// How long, in minutes and in words.
pub const SPANS: &[(&str, &str)] =
    &[("10", "for 10 minutes"), ("60", "for an hour"), ("480", "for 8 hours"), ("1440", "for a day")];
/// As it is now.
const KEEP: &str = "keep";

/// What the page's form holds.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirewallForm {
    /// The revision the owner looked at.
    pub base_revision: String,
    /// `on`, [`KEEP`], or off for so many minutes.
    pub(super) spi: String,
    /// An address; empty: none.
    pub(super) dmz: String,
    /// [`KEEP`], or for so many minutes.
    pub(super) dmz_for: String,
    #[serde(rename = "firewall.ping", default)]
    ping: Tick,
    #[serde(rename = "firewall.ipv6_ipsec")]
    ipv6_ipsec: String,
    /// What was in force when the page was made, in the settings' words.
    spi_now: String,
    dmz_now: String,
    #[serde(skip)]
    now: i64,
}

const LABELS: [(&str, &str); 4] = [
    ("firewall.spi", "Inspection"),
    ("firewall.dmz", "DMZ host"),
    ("firewall.ping", "Answer to ping"),
    ("firewall.ipv6_ipsec", "IPsec over IPv6"),
];

impl FirewallForm {
    /// Spans begin now.
    pub(super) fn read_clock(&mut self, now: i64) {
        self.now = now;
    }

    /// Whether ping is answered.
    pub fn ping(&self) -> bool {
        self.ping == Tick::On
    }

    /// Whether the choice of IPv6 IPsec is this word.
    pub fn ipv6(&self, word: &str) -> bool {
        self.ipv6_ipsec == word
    }

    /// What inspection was when the page was made.
    pub fn spi_now(&self) -> &str {
        &self.spi_now
    }

    /// What the DMZ was when the page was made.
    pub fn dmz_now(&self) -> &str {
        &self.dmz_now
    }

    /// The end of so many minutes from now, as the settings write it; what is no number of ours is passed on, to be refused.
    fn until(&self, minutes: &str) -> String {
        let known = SPANS
            .iter()
            .find(|(known, _)| *known == minutes)
            .and_then(|(known, _)| known.parse::<i64>().ok());
        known.map_or_else(|| minutes.to_owned(), |n| Time::from_unix(self.now + n * 60).to_string())
    }

    fn dmz(&self) -> String {
        let (host, was) = (self.dmz.trim(), self.dmz_now.split(' ').next().unwrap_or_default());
        match (host, self.dmz_for.as_str()) {
            ("", _) | ("none", _) => "none".to_owned(),
            (host, KEEP) if host == was => self.dmz_now.clone(),
            // The same end for another device.
            (host, KEEP) => match self.dmz_now.split_once(" until ") {
                Some((_, until)) => format!("{host} until {until}"),
                None => format!("{host} until"),
            },
            (host, minutes) => format!("{host} until {}", self.until(minutes)),
        }
    }
}

impl Edit for FirewallForm {
    const LABELS: &[(&'static str, &'static str)] = &LABELS;

    fn of(revision: i64, settings: &Settings) -> Self {
        let firewall = &settings.firewall;
        let (dmz, dmz_for) = match firewall.dmz {
            DmzHost::None => (String::new(), "10"),
            DmzHost::Until(host, _) => (host.to_string(), KEEP),
        };
        Self {
            base_revision: revision.to_string(),
            spi: if firewall.spi == Spi::On { "on" } else { KEEP }.to_owned(),
            dmz,
            dmz_for: dmz_for.to_owned(),
            ping: firewall.ping.into(),
            ipv6_ipsec: match firewall.ipv6_ipsec {
                Ipv6Ipsec::Rfc6092 => "rfc6092".to_owned(),
                Ipv6Ipsec::Strict => "strict".to_owned(),
            },
            spi_now: firewall.spi.to_string(),
            dmz_now: firewall.dmz.to_string(),
            now: 0,
        }
    }

    fn base(&mut self) -> &mut String {
        &mut self.base_revision
    }

    fn value(&self, key: &str) -> String {
        match key {
            "firewall.spi" => match self.spi.as_str() {
                "on" => "on".to_owned(),
                KEEP => self.spi_now.clone(),
                minutes => format!("off until {}", self.until(minutes)),
            },
            "firewall.dmz" => self.dmz(),
            "firewall.ping" => self.ping().to_string(),
            _ => self.ipv6_ipsec.clone(),
        }
    }
}
