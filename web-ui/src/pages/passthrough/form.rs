//! The fields of the page. Their names are the settings' keys, so what is posted is what the command line would say.

use postern::settings::Settings;
use postern::settings::firewall::Ipv6Ipsec;
use serde::Deserialize;

use super::super::edit::Edit;
use crate::form::Tick;
use crate::words::value;

/// What the page's form holds, as typed. A box that is not ticked is not sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
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
const LABELS: [(&str, &str); 8] = [
    ("passthrough.ipsec.enabled", "IPsec"),
    ("passthrough.ipsec.nat_traversal", "IPsec NAT traversal"),
    ("passthrough.ipsec.many_clients", "Several IPsec devices to one server"),
    ("firewall.ipv6_ipsec", "IPsec over IPv6"),
    ("passthrough.l2tp.enabled", "L2TP"),
    ("passthrough.l2tp.ports", "L2TP server ports"),
    ("passthrough.pptp.enabled", "PPTP"),
    ("passthrough.pptp.ports", "PPTP server ports"),
];

impl PassthroughForm {
    /// As the settings are.
    pub fn of(revision: i64, settings: &Settings) -> Self {
        let passthrough = &settings.passthrough;
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
        }
    }

    /// The value of a key as the command line would write it. Ports may be separated by commas, spaces or both.
    pub fn value(&self, key: &str) -> String {
        let tick = |tick: Tick| (tick == Tick::On).to_string();
        let ports = |typed: &str| {
            let words = typed.split([',', ' ']).filter(|word| !word.is_empty());
            words.collect::<Vec<_>>().join(",")
        };
        match key {
            "passthrough.ipsec.enabled" => tick(self.ipsec),
            "passthrough.ipsec.nat_traversal" => tick(self.nat_traversal),
            "passthrough.ipsec.many_clients" => tick(self.many_clients),
            "firewall.ipv6_ipsec" => if self.strict() { "strict" } else { "rfc6092" }.to_owned(),
            "passthrough.l2tp.enabled" => tick(self.l2tp),
            "passthrough.l2tp.ports" => ports(&self.l2tp_ports),
            "passthrough.pptp.enabled" => tick(self.pptp),
            _ => ports(&self.pptp_ports),
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
