//! Forms, already verified: the only way in which a handler can read what a browser sent.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::error::Problem;

/// The fields of a form that [`crate::guard::forms`] has let through, without the token. Each name is there once.
#[derive(Debug, Clone)]
pub struct Fields(pub Vec<(String, String)>);

/// A verified form. `T` must refuse unknown fields; a field of it is a `String`, or an `Option` for a checkbox.
#[derive(Debug)]
pub struct AdminForm<T>(pub T);

impl<T: DeserializeOwned, S: Sync> FromRequestParts<S> for AdminForm<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        // Not there: the route was reached without the guard, which only a bug of ours could do.
        let Fields(fields) =
            parts.extensions.remove().ok_or_else(|| Problem::Bug("a form came past the guard".into()))?;
        let encoded = serde_urlencoded::to_string(fields).map_err(|_| Problem::Malformed)?;
        serde_urlencoded::from_str(&encoded).map(Self).map_err(|_| Problem::Malformed)
    }
}

/// A checkbox: a box that is not ticked is not sent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub enum Tick {
    /// Ticked.
    #[serde(rename = "true")]
    On,
    /// Not ticked.
    #[default]
    #[serde(skip)]
    Off,
}

impl From<bool> for Tick {
    fn from(on: bool) -> Self {
        if on { Self::On } else { Self::Off }
    }
}

/// Reads a form body. None: not a form, a field twice, or text that is not UTF-8.
pub fn parse(body: &[u8]) -> Option<Vec<(String, String)>> {
    let fields: Vec<(String, String)> = serde_urlencoded::from_bytes(body).ok()?;
    let mut names: Vec<&str> = fields.iter().map(|(name, _)| name.as_str()).collect();
    names.sort_unstable();
    let twice = names.windows(2).any(|pair| pair[0] == pair[1]);
    let garbled = fields.iter().any(|(_, value)| value.contains('\u{fffd}') || value.contains('\0'));
    (!twice && !garbled).then_some(fields)
}

/// Error messages of a refused form, by settings key.
#[derive(Debug, Default)]
pub struct Errors(pub Vec<postern::settings::FieldError>);

impl Errors {
    /// The message beside the field `key`.
    pub fn of(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|e| e.key == key).map(|e| e.message.as_str())
    }

    /// Where the summary links to: the id of the field.
    pub fn anchor(key: &str) -> String {
        key.replace(['.', '_'], "-")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubled_field_is_no_form() {
        assert!(parse(b"a=1&b=2").is_some());
        assert!(parse(b"a=1&a=2").is_none());
        assert!(parse(b"a=%ff").is_none());
        assert!(parse(b"a=%00").is_none());
    }
}
