//! The fields of the page. Their names are the settings' keys, so what is posted is what the command line would say.

use postern::door::messages::Assignment;
use postern::settings::helpers::Helpers;
use serde::Deserialize;

use crate::form::Tick;

/// What the page's form holds. A box that is not ticked is not sent.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HelpersForm {
    /// The revision the owner looked at.
    pub base_revision: String,
    #[serde(rename = "helpers.ftp", default)]
    ftp: Tick,
    #[serde(rename = "helpers.tftp", default)]
    tftp: Tick,
    #[serde(rename = "helpers.sip", default)]
    sip: Tick,
    #[serde(rename = "helpers.h323", default)]
    h323: Tick,
    #[serde(rename = "helpers.irc", default)]
    irc: Tick,
}

/// Key, what people call it.
const LABELS: [(&str, &str); 5] = [
    ("helpers.ftp", "FTP"),
    ("helpers.tftp", "TFTP"),
    ("helpers.sip", "SIP telephones"),
    ("helpers.h323", "H.323 telephones"),
    ("helpers.irc", "IRC"),
];

/// What people call the setting `key`, if it is on this page.
pub fn label(key: &str) -> Option<&'static str> {
    LABELS.iter().find(|(k, _)| *k == key).map(|(_, label)| *label)
}

impl HelpersForm {
    /// As the settings are.
    pub fn of(revision: i64, helpers: &Helpers) -> Self {
        Self {
            base_revision: revision.to_string(),
            ftp: helpers.ftp.into(),
            tftp: helpers.tftp.into(),
            sip: helpers.sip.into(),
            h323: helpers.h323.into(),
            irc: helpers.irc.into(),
        }
    }

    /// Whether the box of the key is ticked.
    pub fn on(&self, key: &str) -> bool {
        let tick = match key {
            "helpers.ftp" => self.ftp,
            "helpers.tftp" => self.tftp,
            "helpers.sip" => self.sip,
            "helpers.h323" => self.h323,
            _ => self.irc,
        };
        tick == Tick::On
    }

    /// The value of a key as the command line would write it.
    pub fn value(&self, key: &str) -> String {
        self.on(key).to_string()
    }

    /// Assignments for exactly what differs from `before`.
    pub fn changed(&self, before: &Self) -> Vec<Assignment> {
        let differ = LABELS.iter().filter(|(key, _)| self.on(key) != before.on(key));
        differ.map(|(key, _)| Assignment { key: (*key).to_owned(), value: self.value(key) }).collect()
    }
}
