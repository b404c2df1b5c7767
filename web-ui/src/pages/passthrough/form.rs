//! The fields of the page. Their names are the settings' keys, so what is posted is what the command line would say.

use std::collections::{BTreeMap, BTreeSet};

use postern::settings::Settings;
use postern::settings::firewall::Ipv6Ipsec;
use postern::settings::names::Mac;
use postern::settings::passthrough::{Allowed, Limit};
use serde::Deserialize;

use super::super::edit::Edit;
use crate::form::Tick;
use crate::words::value;

/// What the page's form holds, as typed. A box that is not ticked is not sent. Unknown fields are refused by [`Ticked`].
#[derive(Debug, Clone, Deserialize)]
pub struct PassthroughForm {
    /// The revision the owner looked at.
    pub base_revision: String,
    #[serde(rename = "passthrough.ipsec.enabled", default)]
    ipsec: Tick,
    #[serde(rename = "passthrough.ipsec.nat_traversal", default)]
    nat_traversal: Tick,
    #[serde(rename = "passthrough.ipsec.many_clients", default)]
    many_clients: Tick,
    #[serde(rename = "firewall.ipv6_ipsec", default)]
    ipv6: Strict,
    #[serde(rename = "passthrough.l2tp.enabled", default)]
    l2tp: Tick,
    #[serde(rename = "passthrough.l2tp.ports")]
    l2tp_ports: String,
    #[serde(rename = "passthrough.pptp.enabled", default)]
    pptp: Tick,
    #[serde(rename = "passthrough.pptp.ports")]
    pptp_ports: String,
    #[serde(rename = "passthrough.devices", default)]
    who: Who,
    /// Devices that are not in the list, as typed.
    #[serde(rename = "other_devices", default)]
    others: String,
    #[serde(rename = "passthrough.priority", default)]
    priority: String,
    #[serde(rename = "passthrough.session_limit.pptp", default)]
    pptp_limit: String,
    #[serde(rename = "passthrough.session_limit.l2tp", default)]
    l2tp_limit: String,
    #[serde(rename = "passthrough.session_limit.ipsec", default)]
    ipsec_limit: String,
    #[serde(flatten)]
    ticked: Ticked,
}

/// Who may use passthrough.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Who {
    #[default]
    Everyone,
    Chosen,
}

/// The devices of the list that are ticked: fields `device.<MAC address>`, and no others.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(try_from = "BTreeMap<String, String>")]
struct Ticked(BTreeSet<Mac>);

impl TryFrom<BTreeMap<String, String>> for Ticked {
    type Error = &'static str;

    fn try_from(fields: BTreeMap<String, String>) -> Result<Self, Self::Error> {
        let device = |(name, value): (String, String)| {
            name.strip_prefix("device.").filter(|_| value == "true")?.parse().ok()
        };
        let devices: Option<BTreeSet<Mac>> = fields.into_iter().map(device).collect();
        devices.map(Self).ok_or("a field that is none of this form")
    }
}

/// The one value of a box that says `strict`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
enum Strict {
    #[serde(rename = "strict")]
    On,
    #[default]
    #[serde(skip)]
    Off,
}

/// Key, what people call it.
const LABELS: [(&str, &str); 13] = [
    ("passthrough.ipsec.enabled", "IPsec"),
    ("passthrough.ipsec.nat_traversal", "IPsec NAT traversal"),
    ("passthrough.ipsec.many_clients", "Several IPsec devices to one server"),
    ("firewall.ipv6_ipsec", "IPsec over IPv6"),
    ("passthrough.l2tp.enabled", "L2TP"),
    ("passthrough.l2tp.ports", "L2TP server ports"),
    ("passthrough.pptp.enabled", "PPTP"),
    ("passthrough.pptp.ports", "PPTP server ports"),
    ("passthrough.devices", "Who may use it"),
    ("passthrough.priority", "Who comes first"),
    ("passthrough.session_limit.pptp", "Most PPTP sessions"),
    ("passthrough.session_limit.l2tp", "Most L2TP sessions"),
    ("passthrough.session_limit.ipsec", "Most IPsec sessions"),
];

impl PassthroughForm {
    /// As the settings are.
    pub fn of(revision: i64, settings: &Settings) -> Self {
        let passthrough = &settings.passthrough;
        let (who, devices) = match &passthrough.devices {
            Allowed::Everyone => (Who::Everyone, BTreeSet::new()),
            Allowed::Only(devices) => (Who::Chosen, devices.iter().copied().collect()),
        };
        let limit = |limit: Limit| match limit {
            Limit::None => String::new(),
            Limit::AtMost(_) => limit.to_string(),
        };
        let strict = settings.firewall.ipv6_ipsec == Ipv6Ipsec::Strict;
        Self {
            base_revision: revision.to_string(),
            ipsec: passthrough.ipsec.enabled.into(),
            nat_traversal: passthrough.ipsec.nat_traversal.into(),
            many_clients: passthrough.ipsec.many_clients.into(),
            ipv6: if strict { Strict::On } else { Strict::Off },
            l2tp: passthrough.l2tp.enabled.into(),
            l2tp_ports: value("passthrough.l2tp.ports", &passthrough.l2tp.ports.to_string()),
            pptp: passthrough.pptp.enabled.into(),
            pptp_ports: value("passthrough.pptp.ports", &passthrough.pptp.ports.to_string()),
            who,
            others: String::new(),
            priority: passthrough.priority.iter().map(Mac::to_string).collect::<Vec<_>>().join(", "),
            pptp_limit: limit(passthrough.session_limit.pptp),
            l2tp_limit: limit(passthrough.session_limit.l2tp),
            ipsec_limit: limit(passthrough.session_limit.ipsec),
            ticked: Ticked(devices),
        }
    }

    /// The value of a key as the command line would write it. Ports may be separated by commas, spaces or both.
    pub fn value(&self, key: &str) -> String {
        let tick = |tick: Tick| (tick == Tick::On).to_string();
        let ports = |typed: &str| words_of(typed).collect::<Vec<_>>().join(",");
        let limit = |typed: &str| match typed.trim() {
            "" => "none".to_owned(),
            typed => typed.to_owned(),
        };
        match key {
            "passthrough.ipsec.enabled" => tick(self.ipsec),
            "passthrough.ipsec.nat_traversal" => tick(self.nat_traversal),
            "passthrough.ipsec.many_clients" => tick(self.many_clients),
            "firewall.ipv6_ipsec" => if self.strict() { "strict" } else { "rfc6092" }.to_owned(),
            "passthrough.l2tp.enabled" => tick(self.l2tp),
            "passthrough.l2tp.ports" => ports(&self.l2tp_ports),
            "passthrough.pptp.enabled" => tick(self.pptp),
            "passthrough.devices" => self.devices(),
            "passthrough.priority" => match devices_of(&self.priority) {
                none if none.is_empty() => "unset".to_owned(),
                some => some,
            },
            "passthrough.session_limit.pptp" => limit(&self.pptp_limit),
            "passthrough.session_limit.l2tp" => limit(&self.l2tp_limit),
            "passthrough.session_limit.ipsec" => limit(&self.ipsec_limit),
            _ => ports(&self.pptp_ports),
        }
    }

    /// Ticked and typed ones, each once, in one order: else a form sent as it came would be a change.
    fn devices(&self) -> String {
        if self.who == Who::Everyone {
            return "everyone".to_owned();
        }
        let ticked = self.ticked.0.iter().map(Mac::to_string);
        let mut all: Vec<String> = ticked.chain(words_of(&self.others).map(spelled)).collect();
        all.sort();
        all.dedup();
        all.join(",")
    }

    /// Whether only chosen devices may use it.
    pub fn chosen(&self) -> bool {
        self.who == Who::Chosen
    }

    /// Whether this device is ticked.
    pub fn ticked(&self, device: &Mac) -> bool {
        self.ticked.0.contains(device)
    }

    /// Moves what is ticked and not among `known` to the field for other devices.
    pub fn others_than(&mut self, known: &BTreeSet<Mac>) {
        let others: Vec<Mac> = self.ticked.0.difference(known).copied().collect();
        for device in others {
            self.ticked.0.remove(&device);
            let gap = if self.others.trim().is_empty() { "" } else { ", " };
            self.others += &format!("{gap}{device}");
        }
    }

    /// As typed.
    pub fn others(&self) -> &str {
        &self.others
    }

    /// As typed: the devices that come first.
    pub fn priority(&self) -> &str {
        &self.priority
    }

    /// As typed: the limit of the protocol; empty: none.
    pub fn limit(&self, protocol: &str) -> &str {
        match protocol {
            "pptp" => &self.pptp_limit,
            "l2tp" => &self.l2tp_limit,
            _ => &self.ipsec_limit,
        }
    }

    /// Whether the box of the key is ticked.
    pub fn on(&self, key: &str) -> bool {
        self.value(key) == "true"
    }

    /// Whether nothing of IPsec may come in over IPv6.
    pub fn strict(&self) -> bool {
        self.ipv6 == Strict::On
    }

    /// As typed.
    pub fn l2tp_ports(&self) -> &str {
        &self.l2tp_ports
    }

    /// As typed.
    pub fn pptp_ports(&self) -> &str {
        &self.pptp_ports
    }
}

/// What was typed into a field for several values: with commas, spaces or line breaks between them.
fn words_of(typed: &str) -> impl Iterator<Item = &str> {
    typed.split([',', ' ', '\r', '\n', '\t']).filter(|word| !word.is_empty())
}

/// As the settings spell it; what is no MAC address stays as typed, for the daemon to say so.
fn spelled(word: &str) -> String {
    word.parse::<Mac>().map_or_else(|_| word.to_owned(), |device| device.to_string())
}

/// In the order they were typed in, which is the owner's.
fn devices_of(typed: &str) -> String {
    words_of(typed).map(spelled).collect::<Vec<_>>().join(",")
}

impl Edit for PassthroughForm {
    const LABELS: &[(&'static str, &'static str)] = &LABELS;

    fn of(revision: i64, settings: &Settings) -> Self {
        Self::of(revision, settings)
    }

    fn base(&mut self) -> &mut String {
        &mut self.base_revision
    }

    fn value(&self, key: &str) -> String {
        self.value(key)
    }
}
