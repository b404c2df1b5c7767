//! `/system/account`: the password, and who is logged in.

use askama::Template;
use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use postern::door::messages::{LiveLogin, RefusalKind, Request as Ask, Response as Answer};
use postern::settings::FieldError;
use serde::Deserialize;

use super::login::Nothing;
use crate::error::{self, Problem};
use crate::form::{AdminForm, Errors};
use crate::login::{self, Admin};
use crate::view::{Chrome, html, see_other};

const HERE: &str = "/system/account";

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage {
    chrome: Chrome,
    errors: Errors,
    /// Why the password was not changed, where that is no single field's fault.
    refused: Option<String>,
    logins: Vec<LiveLogin>,
}

/// The old password, and the new one twice.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PasswordForm {
    old: String,
    password: String,
    repeat: String,
}

/// The form, and the live logins.
pub async fn show(admin: Admin) -> Result<Response, Problem> {
    page(&admin, StatusCode::OK, Vec::new(), None).await
}

async fn page(
    admin: &Admin,
    status: StatusCode,
    errors: Vec<FieldError>,
    refused: Option<String>,
) -> Result<Response, Problem> {
    let logins = live(admin).await?;
    let mut chrome = admin.chrome(HERE).await;
    chrome.error = status != StatusCode::OK;
    Ok(html(status, &AccountPage { chrome, errors: Errors(errors), refused, logins }))
}

async fn live(admin: &Admin) -> Result<Vec<LiveLogin>, Problem> {
    match admin.ask(Ask::Logins).await? {
        Answer::Logins { logins } => Ok(logins),
        _ => Err(Problem::Misunderstood("logins")),
    }
}

/// Changes the password. The daemon ends every other login; this one gets a new cookie, so that a stolen one ends too.
pub async fn save(admin: Admin, AdminForm(form): AdminForm<PasswordForm>) -> Result<Response, Problem> {
    if form.password != form.repeat {
        let message = "The two new passwords differ. Type the new password twice.";
        let errors = vec![FieldError::new("repeat", message)];
        return page(&admin, StatusCode::UNPROCESSABLE_ENTITY, errors, None).await;
    }
    let request = Ask::Password { old: login::password(&form.old), new: login::password(&form.password) };
    let refusal = match admin.order(request).await {
        Ok(message) => {
            admin.renew(message).await?;
            return Ok(see_other(HERE));
        }
        Err(Problem::Refused(refusal)) => refusal,
        Err(problem) => return Err(problem),
    };
    let (status, field) = match refusal.kind {
        RefusalKind::Wrong => (StatusCode::UNPROCESSABLE_ENTITY, "old"),
        RefusalKind::Invalid => (StatusCode::UNPROCESSABLE_ENTITY, "password"),
        RefusalKind::Wait => (StatusCode::TOO_MANY_REQUESTS, "old"),
        RefusalKind::Failed => {
            return page(&admin, error::status(refusal.kind), Vec::new(), Some(refusal.message)).await;
        }
        _ => return Err(Problem::Refused(refusal)),
    };
    let errors = match refusal.fields.is_empty() {
        true => vec![FieldError::new(field, refusal.message)],
        false => refusal.fields,
    };
    let mut response = page(&admin, status, errors, None).await?;
    if refusal.wait_seconds > 0 {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(refusal.wait_seconds));
    }
    Ok(response)
}

/// Which login.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LoginForm {
    login: String,
}

/// Ends one login.
pub async fn end(admin: Admin, AdminForm(form): AdminForm<LoginForm>) -> Result<Response, Problem> {
    let id = form.login.parse().map_err(|_| Problem::Malformed)?;
    let message = admin.order(Ask::EndLogin { id }).await?;
    admin.flash(message).await;
    Ok(see_other(HERE))
}

/// Ends every login but this one.
pub async fn end_others(
    admin: Admin,
    AdminForm(Nothing {}): AdminForm<Nothing>,
) -> Result<Response, Problem> {
    let mut ended = 0;
    for other in live(&admin).await?.iter().filter(|login| !login.current) {
        admin.order(Ask::EndLogin { id: other.id }).await?;
        ended += 1;
    }
    let message = match ended {
        0 => "Nobody else was logged in.".to_owned(),
        1 => "1 other login has ended.".to_owned(),
        many => format!("{many} other logins have ended."),
    };
    admin.flash(message).await;
    Ok(see_other(HERE))
}

#[cfg(test)]
mod tests;
