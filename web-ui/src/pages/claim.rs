//! `/claim`: the first visit. Whoever has the one-time code sets the password and owns the box.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use postern::door::messages::{Greeting, RefusalKind, Request as Ask};
use postern::settings::FieldError;
use serde::Deserialize;
use tower_sessions::Session;

use crate::App;
use crate::error::Problem;
use crate::form::{AdminForm, Errors};
use crate::login::{self, Login};
use crate::view::{self, html, see_other};

#[derive(Template)]
#[template(path = "claim.html")]
struct ClaimPage {
    token: String,
    code: String,
    fingerprint: Option<String>,
    errors: Errors,
    error: bool,
}

/// The code and the new password, twice.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClaimForm {
    code: String,
    password: String,
    repeat: String,
}

/// The form; on a claimed box the way to the login.
pub async fn show(Extension(greeting): Extension<Greeting>, headers: HeaderMap) -> Response {
    if greeting.claimed {
        return see_other("/login");
    }
    page(StatusCode::OK, &headers, &greeting, String::new(), Errors::default())
}

fn page(
    status: StatusCode,
    headers: &HeaderMap,
    greeting: &Greeting,
    code: String,
    errors: Errors,
) -> Response {
    let token = view::visitor_token(headers);
    let error = !errors.0.is_empty();
    let fingerprint = greeting.fingerprint.clone();
    let page = ClaimPage { token: token.clone(), code, fingerprint, errors, error };
    view::with_visitor_token(html(status, &page), &token)
}

/// Claims the box and logs in.
pub async fn save(
    State(app): State<App>,
    Extension(greeting): Extension<Greeting>,
    session: Session,
    parts: Parts,
    AdminForm(form): AdminForm<ClaimForm>,
) -> Result<Response, Problem> {
    if greeting.claimed {
        return Ok(see_other("/login"));
    }
    let again =
        |status, errors| Ok(page(status, &parts.headers, &greeting, form.code.clone(), Errors(errors)));
    if form.password != form.repeat {
        let message = "The two passwords differ. Type the new password twice.";
        return again(StatusCode::UNPROCESSABLE_ENTITY, vec![FieldError::new("repeat", message)]);
    }
    let code = form.code.trim().to_owned();
    let request = Ask::Claim { code, password: login::password(&form.password) };
    match login::ticket(&*app.daemon, login::source(&parts), request).await {
        Ok(ticket) => {
            let said = "This router is yours now. Keep the password safe.".to_owned();
            Login::begin(&session, ticket, login::is_secure(&parts.extensions), Some(said)).await?;
            Ok(see_other("/"))
        }
        Err(Problem::Refused(refusal)) => match refusal.kind {
            RefusalKind::Wrong | RefusalKind::Invalid if !refusal.fields.is_empty() => {
                again(StatusCode::UNPROCESSABLE_ENTITY, refusal.fields)
            }
            RefusalKind::Wait => {
                again(StatusCode::TOO_MANY_REQUESTS, vec![FieldError::new("code", refusal.message)])
            }
            RefusalKind::Wrong | RefusalKind::Invalid => {
                again(StatusCode::UNPROCESSABLE_ENTITY, vec![FieldError::new("code", refusal.message)])
            }
            _ => Err(Problem::Refused(refusal)),
        },
        Err(problem) => Err(problem),
    }
}
