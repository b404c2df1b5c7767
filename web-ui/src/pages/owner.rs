//! Forms that ask for the password of this router again, and what is said when they are refused.

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use postern::door::messages::{Refusal, RefusalKind};
use postern::settings::FieldError;

use crate::error::{self, Problem};

/// Why nothing was done, for the page with the form.
pub struct Said {
    /// Of the page.
    pub status: StatusCode,
    /// Beside the fields.
    pub errors: Vec<FieldError>,
    /// Where it is no single field's fault.
    pub refused: Option<String>,
    /// Seconds until the next try.
    pub wait: u32,
}

impl Said {
    /// What is wrong with one field.
    pub fn field(id: &str, message: &str) -> Self {
        let errors = vec![FieldError::new(id, message)];
        Self { status: StatusCode::UNPROCESSABLE_ENTITY, errors, refused: None, wait: 0 }
    }

    /// What the daemon says of the form whose fields have the ids `form-…`. What it says of `ours` stands beside these; what is
    /// wrong with a setting of a backup beside `form-backup`.
    pub fn of(refusal: Refusal, form: &str, ours: &[&str]) -> Result<Self, Problem> {
        use RefusalKind as K;
        let status = match refusal.kind {
            K::Wrong | K::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
            K::Wait | K::Conflict | K::OnTrial | K::Failed => error::status(refusal.kind),
            K::Login | K::Prove | K::Forbidden => return Err(Problem::Refused(refusal)),
        };
        let beside = |wrong: &FieldError| match ours.contains(&wrong.key.as_str()) {
            true => FieldError::new(format!("{form}-{}", wrong.key), wrong.message.clone()),
            false if wrong.key.is_empty() => FieldError::new(format!("{form}-backup"), wrong.message.clone()),
            false => FieldError::new(format!("{form}-backup"), format!("{}: {}", wrong.key, wrong.message)),
        };
        let mut errors: Vec<FieldError> = refusal.fields.iter().map(beside).collect();
        if errors.is_empty() && matches!(refusal.kind, K::Wrong | K::Wait) {
            errors.push(FieldError::new(format!("{form}-owner"), refusal.message.clone()));
        }
        let refused = errors.is_empty().then_some(refusal.message);
        Ok(Self { status, errors, refused, wait: refusal.wait_seconds })
    }

    /// The page, with when to try again.
    pub fn with_wait(wait: u32, mut response: Response) -> Response {
        if wait > 0 {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(wait));
        }
        response
    }
}
