//! The fields for one port forward, and how they become its words in the settings.

use postern::door::messages::Assignment;
use postern::settings::forwards::{Forward, KEY};
use postern::settings::keys::UNSET;
use postern::settings::{FieldError, Settings};
use serde::Deserialize;

use super::super::edit::Edit;
use crate::form::Tick;

/// What can be forwarded: its word, and what people call it.
pub const WHAT: &[(&str, &str)] = &[
    ("pptp", "PPTP server (TCP 1723 and GRE)"),
    ("l2tp", "L2TP/IPsec server (UDP 500, 4500, 1701 and ESP)"),
    ("ikev2", "IKEv2 or IPsec server (UDP 500, 4500 and ESP)"),
    ("openvpn", "OpenVPN server (UDP 1194)"),
    ("wireguard", "WireGuard server (UDP 51820)"),
    ("sstp", "SSTP server (TCP 443)"),
    ("tcp", "TCP port or range"),
    ("udp", "UDP port or range"),
];

/// One forward as typed.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForwardForm {
    /// The revision the owner looked at.
    pub base_revision: String,
    /// The name of the forward that was opened; empty: a new one.
    pub original: String,
    pub(super) name: String,
    pub(super) what: String,
    pub(super) port: String,
    pub(super) to: String,
    #[serde(default)]
    enabled: Tick,
    /// Every forward by its name in words, where the form stands for what is stored.
    #[serde(skip)]
    stored: Vec<(String, String)>,
}

impl ForwardForm {
    /// The forward `name` as it is stored; an empty form where there is none.
    pub(super) fn editing(revision: i64, settings: &Settings, name: &str) -> Self {
        let mut form = Self { enabled: Tick::On, ..Self::of(revision, settings) };
        if let Some(forward) = settings.forwards.iter().find(|forward| forward.name.as_str() == name) {
            let Forward { preset, protocol, port, to, enabled, .. } = forward;
            form.original = name.to_owned();
            form.name = name.to_owned();
            form.what =
                preset.map(|preset| preset.word()).or(protocol.map(|p| p.word())).unwrap_or_default().into();
            form.port = port.map(|port| port.to_string()).unwrap_or_default();
            form.to = to.to_string();
            form.enabled = (*enabled).into();
        }
        form
    }

    /// Whether the forward shall be on.
    pub fn on(&self) -> bool {
        self.enabled == Tick::On
    }

    /// A new forward may not replace one that is there.
    pub(super) fn taken_name(&self, settings: &Settings) -> Option<FieldError> {
        let name = self.name.trim();
        let taken = name != self.original && settings.forwards.iter().any(|f| f.name.as_str() == name);
        let sentence = "There is a port forward of that name already. Edit that one, or choose another name.";
        taken.then(|| FieldError::new("name", sentence))
    }

    /// An error of the settings, beside the field of this form.
    pub(super) fn beside(&self, error: FieldError) -> FieldError {
        let mine = format!("{KEY}{}.", self.name.trim());
        let field = match error.key.strip_prefix(&mine) {
            Some(field @ ("name" | "what" | "port" | "to")) => field,
            // Another forward wants the same port.
            _ if error.key.ends_with(".port") => "port",
            _ => "name",
        };
        FieldError::new(field, error.message)
    }

    fn words(&self) -> String {
        let off = if self.on() { "" } else { " (off)" };
        let (what, port, to) = (self.what.trim(), self.port.trim(), self.to.trim());
        let gap = if port.is_empty() { "" } else { " " };
        format!("{what}{gap}{port} to {to}{off}")
    }
}

impl Edit for ForwardForm {
    // Each forward has a key of its own.
    const LABELS: &[(&'static str, &'static str)] = &[];

    fn of(revision: i64, settings: &Settings) -> Self {
        let stored = settings.forwards.iter().map(|forward| (forward.name.to_string(), forward.words()));
        Self { base_revision: revision.to_string(), stored: stored.collect(), ..Self::default() }
    }

    fn base(&mut self) -> &mut String {
        &mut self.base_revision
    }

    fn value(&self, key: &str) -> String {
        let name = key.strip_prefix(KEY).unwrap_or_default();
        let stored = self.stored.iter().find(|(known, _)| known == name);
        stored.map_or_else(|| UNSET.to_owned(), |(_, words)| words.clone())
    }

    fn changed(&self, before: &Self) -> Vec<Assignment> {
        let mut patch = Vec::new();
        let mut set = |name: &str, value: String| {
            let key = format!("{KEY}{name}");
            if before.value(&key) != value {
                patch.push(Assignment { key, value });
            }
        };
        if !self.original.is_empty() && self.original != self.name.trim() {
            set(&self.original, UNSET.to_owned());
        }
        set(self.name.trim(), self.words());
        patch
    }

    fn label(key: &str) -> Option<&'static str> {
        (key == "forwards" || key.starts_with(KEY)).then_some("Port forward")
    }
}
