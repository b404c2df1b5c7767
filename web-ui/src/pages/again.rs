//! The password again, before something is opened to the internet: whatever form was sent is shown once more as it was, with one
//! field added. No page knows of it; [`crate::login::inside`] asks.

use askama::Template;
use axum::http::request::Parts;
use axum::http::{Method, StatusCode};
use axum::response::{IntoResponse, Response};
use postern::door::messages::{Refusal, RefusalKind, Request as Ask};

use super::owner::Said;
use crate::error::{self, Problem};
use crate::form::Fields;
use crate::login::{Admin, password};
use crate::routes;
use crate::view::html;

/// The field with the password, beside those of the form itself.
const PROOF: &str = "proof";

#[derive(Template)]
#[template(path = "again.html")]
struct AgainPage<'a> {
    sent: &'a Sent,
    token: &'a str,
    wrong: Option<String>,
    error: bool,
}

/// A form as it was sent.
pub struct Sent {
    action: String,
    fields: Vec<(String, String)>,
}

/// Takes the password out of the form, if there is one, and shows it to the daemon. What was sent without it; none: no form. An
/// error is the page that says why the password was refused.
pub async fn proved(admin: &Admin, parts: &mut Parts) -> Result<Option<Sent>, Response> {
    let Some(Fields(fields)) = parts.extensions.get_mut() else { return Ok(None) };
    let at = fields.iter().position(|(name, _)| name == PROOF);
    let proof = at.map(|at| fields.remove(at).1);
    let sent = Sent { action: parts.uri.path().to_owned(), fields: fields.clone() };
    let Some(proof) = proof else { return Ok(Some(sent)) };
    match admin.order(Ask::Prove { owner: password(&proof) }).await {
        Ok(_) => Ok(Some(sent)),
        Err(Problem::Refused(refusal)) if matches!(refusal.kind, RefusalKind::Wrong | RefusalKind::Wait) => {
            Err(sent.refused(admin, refusal))
        }
        Err(problem) => Err(problem.into_response()),
    }
}

impl Sent {
    /// The page that the form belongs to: where its route shows none, the one above it.
    fn page(&self) -> &str {
        let all = routes();
        let shown = |path: &str| all.iter().any(|it| it.path == path && it.methods.contains(&Method::GET));
        let mut page = self.action.as_str();
        while !page.is_empty() && !shown(page) {
            page = page.rsplit_once('/').map_or("", |(above, _)| above);
        }
        if page.is_empty() { "/" } else { page }
    }

    /// The form once more, with a field for the password.
    pub fn again(&self, admin: &Admin) -> Response {
        let page = AgainPage { sent: self, token: admin.token(), wrong: None, error: false };
        html(StatusCode::FORBIDDEN, &page)
    }

    fn refused(&self, admin: &Admin, refusal: Refusal) -> Response {
        let status = match refusal.kind {
            RefusalKind::Wrong => StatusCode::UNPROCESSABLE_ENTITY,
            kind => error::status(kind),
        };
        let page = AgainPage { sent: self, token: admin.token(), wrong: Some(refusal.message), error: true };
        Said::with_wait(refusal.wait_seconds, html(status, &page))
    }
}

#[cfg(test)]
mod tests;
