//! The fields of the page. Their names are the settings' keys, so what is posted is what the command line would say.

use postern::settings::Settings;
use postern::settings::helpers::Helpers;
use serde::Deserialize;

use super::super::edit::Edit;
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
}

impl Edit for HelpersForm {
    const LABELS: &[(&'static str, &'static str)] = &LABELS;

    fn of(revision: i64, settings: &Settings) -> Self {
        Self::of(revision, &settings.helpers)
    }

    fn base(&mut self) -> &mut String {
        &mut self.base_revision
    }

    fn value(&self, key: &str) -> String {
        self.value(key)
    }
}
