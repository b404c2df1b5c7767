//! The document as TOML: the export file, and the settings of the golden rulesets.

use super::keys;
use super::{FieldError, Settings};

impl Settings {
    /// As TOML, every value written out. Secrets are in it as they are: the file wants mode 0600.
    pub fn to_toml(&self) -> String {
        // Plain structs, words and numbers always serialize; a default document is better than a panic.
        toml::to_string(self).unwrap_or_default()
    }

    /// From TOML; what is not named keeps its factory state. An error names its line, and its key where it can.
    pub fn from_toml(text: &str) -> Result<Self, FieldError> {
        toml::from_str(text).map_err(|error| {
            let line = line(text, &error);
            let FieldError { key, message } = first_wrong_key(text).unwrap_or_else(|| whole(&error));
            FieldError { key, message: format!("Line {line}: {message}") }
        })
    }

    /// The same with each masked secret replaced by the one of `stored`: what was exported without secrets can be
    /// imported again.
    pub fn unmasked(mut self, stored: &Self) -> Result<Self, FieldError> {
        let password = &mut self.internet.pppoe.password;
        if password.as_ref().is_some_and(|p| p.reveal() == super::names::Secret::MASK) {
            let sentence =
                "The document hides this secret, and none is stored here that could be kept. Write it out.";
            let kept = stored.internet.pppoe.password.clone();
            *password = Some(kept.ok_or_else(|| FieldError::new("internet.pppoe.password", sentence))?);
        }
        Ok(self)
    }

    /// The same with every secret replaced by its mask, for whoever may look but not know.
    pub fn masked(&self) -> Self {
        let mut masked = self.clone();
        let password = &mut masked.internet.pppoe.password;
        *password = password.as_ref().map(|_| super::names::Secret::masked());
        masked
    }
}

/// Where the parser stopped, counted from 1.
fn line(text: &str, error: &toml::de::Error) -> usize {
    let before = error.span().and_then(|span| text.get(..span.start));
    before.map_or(1, |before| before.matches('\n').count() + 1)
}

/// An error that belongs to no key: not TOML at all, or inside a list of records.
fn whole(error: &toml::de::Error) -> FieldError {
    let message: String = error.message().lines().next().unwrap_or_default().chars().take(120).collect();
    FieldError::new("", format!("{}.", message.trim_end_matches('.')))
}

/// Reads the file once more, key by key, for the one that is refused: its sentence is better than the parser's.
fn first_wrong_key(text: &str) -> Option<FieldError> {
    fn walk(value: &toml::Value, path: &str) -> Option<FieldError> {
        match value {
            toml::Value::Table(table) => table.iter().find_map(|(name, value)| {
                let dot = if path.is_empty() { "" } else { "." };
                walk(value, &format!("{path}{dot}{name}"))
            }),
            _ if matches!(path, "devices" | "forwards") => None,
            _ => keys::set(&mut Settings::default(), path, &words(value)).err(),
        }
    }
    fn words(value: &toml::Value) -> String {
        match value {
            toml::Value::String(word) => word.clone(),
            toml::Value::Array(list) => list.iter().map(words).collect::<Vec<_>>().join(","),
            other => other.to_string(),
        }
    }
    walk(&toml::Value::Table(text.parse().ok()?), "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::{filled, router};

    #[test]
    fn every_document_survives_the_way_through_toml() {
        for settings in [Settings::default(), router(), filled()] {
            let text = settings.to_toml();
            assert_eq!(Settings::from_toml(&text), Ok(settings), "{text}");
        }
        assert_eq!(Settings::from_toml(""), Ok(Settings::default()));
    }

    #[test]
    fn every_document_survives_the_way_through_json() {
        for settings in [Settings::default(), router(), filled()] {
            let text = serde_json::to_string(&settings).unwrap();
            assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings, "{text}");
        }
    }

    #[test]
    fn errors_are_sentences_with_their_key() {
        for (text, key, line, sentence) in [
            ("role = \"boss\"", "role", 1, "Write one of these words: unset router companion."),
            (
                "[access]\nport = 70000",
                "access.port",
                2,
                "Port 70000 is too high. Use a number from 1 to 65535.",
            ),
            (
                "[passthrough.pptp]\nports = []",
                "passthrough.pptp.ports",
                2,
                "A port is a number from 1 to 65535.",
            ),
            (
                "[passthrough.pptp]\nport = [1]",
                "passthrough.pptp.port",
                2,
                "There is no setting named passthrough.pptp.port. Did you mean passthrough.pptp.ports?",
            ),
            (
                "[passthrough]\ndevices = []",
                "passthrough.devices",
                2,
                crate::settings::passthrough::Allowed::NOBODY,
            ),
        ] {
            assert_eq!(
                Settings::from_toml(text),
                Err(FieldError::new(key, format!("Line {line}: {sentence}")))
            );
        }
        for text in ["= 1", "role", "[[devices]]\nmac = 1", "[[forwards]]\nname=\"a\"", "\u{0}"] {
            let error = Settings::from_toml(text).unwrap_err();
            assert!(error.message.starts_with("Line ") && error.message.ends_with('.'), "{}", error.message);
        }
    }

    #[test]
    fn a_masked_document_holds_no_secret() {
        let text = filled().masked().to_toml();
        assert!(!text.contains("s3cret") && text.contains("••••"), "{text}");
        assert_eq!(Settings::default().masked(), Settings::default());
    }

    #[test]
    fn a_masked_secret_keeps_the_stored_one_and_nothing_else() {
        let masked = filled().masked();
        assert_eq!(masked.clone().unmasked(&filled()), Ok(filled()));
        assert_eq!(masked.unmasked(&Settings::default()).unwrap_err().key, "internet.pppoe.password");
        assert_eq!(filled().unmasked(&Settings::default()), Ok(filled()));
    }
}
