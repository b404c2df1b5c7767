//! `/login` and `/logout`.

use askama::Template;
use axum::Extension;
use axum::extract::State;
use axum::http::header::RETRY_AFTER;
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::Response;
use postern::door::messages::{Greeting, RefusalKind, Request as Ask};
use postern::settings::FieldError;
use serde::Deserialize;
use tower_sessions::Session;

use crate::App;
use crate::error::Problem;
use crate::form::{AdminForm, Errors};
use crate::login::{self, Admin, Login};
use crate::view::{self, html, see_other};

#[derive(Template)]
#[template(path = "login.html")]
struct LoginPage {
    token: String,
    said: String,
    errors: Errors,
    error: bool,
}

/// The password.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginForm {
    password: String,
}

/// A form without fields of its own.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// The form; on an unclaimed box the way to the claim.
pub async fn show(Extension(greeting): Extension<Greeting>, session: Session, parts: Parts) -> Response {
    if !greeting.claimed {
        return see_other("/claim");
    }
    if Login::of(&session, &parts.extensions).await.is_some() {
        return see_other("/");
    }
    // One of our own sentences: what the address says is never shown.
    let said = match parts.uri.query() {
        Some("why=ended") => format!(
            "You were logged out. A login ends after {} idle minutes, after 12 hours, and when Postern restarts.",
            greeting.idle_minutes
        ),
        Some("why=left") => "You are logged out.".to_owned(),
        _ => String::new(),
    };
    page(StatusCode::OK, &parts.headers, said, Errors::default())
}

fn page(status: StatusCode, headers: &HeaderMap, said: String, errors: Errors) -> Response {
    let token = view::visitor_token(headers);
    let error = !errors.0.is_empty();
    view::with_visitor_token(html(status, &LoginPage { token: token.clone(), said, errors, error }), &token)
}

/// Logs in, with a new cookie.
pub async fn save(
    State(app): State<App>,
    Extension(greeting): Extension<Greeting>,
    session: Session,
    parts: Parts,
    AdminForm(form): AdminForm<LoginForm>,
) -> Result<Response, Problem> {
    if !greeting.claimed {
        return Ok(see_other("/claim"));
    }
    let request = Ask::Login { password: login::password(&form.password) };
    let refusal = match login::ticket(&*app.daemon, login::source(&parts), request).await {
        Ok(ticket) => {
            Login::begin(&session, ticket, login::is_secure(&parts.extensions), None).await?;
            return Ok(see_other("/"));
        }
        Err(Problem::Refused(refusal)) => refusal,
        Err(problem) => return Err(problem),
    };
    let status = match refusal.kind {
        RefusalKind::Wait => StatusCode::TOO_MANY_REQUESTS,
        RefusalKind::Wrong | RefusalKind::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        _ => return Err(Problem::Refused(refusal)),
    };
    let errors = Errors(vec![FieldError::new("password", refusal.message)]);
    let mut response = page(status, &parts.headers, String::new(), errors);
    if refusal.wait_seconds > 0 {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(refusal.wait_seconds));
    }
    Ok(response)
}

/// Logs out: the ticket first, so that it is dead even if this process kept the cookie.
pub async fn end(admin: Admin, AdminForm(Nothing {}): AdminForm<Nothing>) -> Result<Response, Problem> {
    admin.order(Ask::Logout).await?;
    admin.leave().await;
    Ok(see_other("/login?why=left"))
}
