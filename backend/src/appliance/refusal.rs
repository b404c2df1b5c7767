//! Why something was not done.

use serde::{Deserialize, Serialize};

use crate::settings::FieldError;

/// Why something was not done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind.
    pub kind: RefusalKind,
    /// For the owner: what happened, what is true now, what to do.
    pub message: String,
    /// [`RefusalKind::Invalid`]: what is wrong, by key.
    #[serde(default)]
    pub fields: Vec<FieldError>,
    /// [`RefusalKind::Wait`]: seconds until the next try.
    #[serde(default)]
    pub wait_seconds: u32,
}

/// Kinds of refusal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RefusalKind {
    /// No live ticket.
    Login,
    /// Wrong password or claim code.
    Wrong,
    /// Too many wrong passwords; try later.
    Wait,
    /// A value is wrong; see `fields`.
    Invalid,
    /// Somebody else changed the settings since they were read.
    Conflict,
    /// Settings are on trial; confirm them or wait.
    OnTrial,
    /// It opens something to the internet, and the password was typed too long ago: see `Request::Prove`.
    Prove,
    /// This socket may not ask that.
    Forbidden,
    /// The kernel or the store refused; the state is as before.
    Failed,
}

impl Refusal {
    /// Of this kind, with a sentence for the owner.
    pub fn of(kind: RefusalKind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), fields: Vec::new(), wait_seconds: 0 }
    }

    /// Because of one field.
    pub fn field(kind: RefusalKind, key: &str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { fields: vec![FieldError::new(key, message.clone())], ..Self::of(kind, message) }
    }

    /// Because of what stands beside the fields.
    pub fn invalid(fields: Vec<FieldError>) -> Self {
        let message = match fields.as_slice() {
            [one] if one.key.is_empty() => one.message.clone(),
            [one] => format!("{}: {}", one.key, one.message),
            many => format!("{} values cannot be used; nothing was changed.", many.len()),
        };
        Self { fields, ..Self::of(RefusalKind::Invalid, message) }
    }

    /// Because the kernel or the store failed. The owner reads a sentence and an incident id; the log holds the chain.
    pub fn failed(error: &dyn std::error::Error) -> Self {
        let incident = crate::log::incident(error);
        Self::of(
            RefusalKind::Failed,
            format!(
                "{}, so nothing was changed. The log has the details under {incident}.",
                capital(&error.to_string())
            ),
        )
    }
}

fn capital(sentence: &str) -> String {
    let mut chars = sentence.chars();
    chars.next().map_or_else(String::new, |c| c.to_uppercase().chain(chars).collect())
}
