//! `/system/restart`: start Postern again, and back to the factory state. Both end this login, so what follows is a page of its own
//! that comes back by itself.

use askama::Template;
use axum::http::HeaderValue;
use axum::http::StatusCode;
use axum::http::header::REFRESH;
use axum::response::Response;
use postern::door::messages::{RESET_WORD, Request as Ask};
use serde::Deserialize;

use super::owner::Said;
use crate::error::{COMES_BACK, Problem};
use crate::form::{AdminForm, Errors};
use crate::login::{Admin, password};
use crate::view::{Chrome, html};

const HERE: &str = "/system/restart";

#[derive(Template)]
#[template(path = "restart.html")]
struct RestartPage {
    chrome: Chrome,
    errors: Errors,
    refused: Option<String>,
    word: &'static str,
}

#[derive(Template)]
#[template(path = "coming_back.html")]
struct ComingBack {
    heading: &'static str,
    message: String,
    reset: bool,
    error: bool,
}

/// Both forms.
pub async fn show(admin: Admin) -> Result<Response, Problem> {
    let chrome = admin.chrome(HERE).await;
    let page = RestartPage { chrome, errors: Errors::default(), refused: None, word: RESET_WORD };
    Ok(html(StatusCode::OK, &page))
}

/// The password of this router.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RestartForm {
    owner: String,
}

/// The same, and a word that nobody types by mistake.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ResetForm {
    owner: String,
    word: String,
}

/// Starts the daemon again.
pub async fn save(admin: Admin, AdminForm(form): AdminForm<RestartForm>) -> Result<Response, Problem> {
    let request = Ask::Restart { owner: password(&form.owner) };
    ordered(admin, request, "restart", "Postern is restarting").await
}

/// Back to the factory state.
pub async fn reset(admin: Admin, AdminForm(form): AdminForm<ResetForm>) -> Result<Response, Problem> {
    let word = form.word.trim().to_lowercase();
    let request = Ask::Reset { owner: password(&form.owner), word };
    ordered(admin, request, "reset", "This router is being reset").await
}

async fn ordered(
    admin: Admin,
    request: Ask,
    form: &'static str,
    heading: &'static str,
) -> Result<Response, Problem> {
    let message = match admin.order(request).await {
        Ok(message) => message,
        Err(Problem::Refused(refusal)) => {
            let said = Said::of(refusal, form, &["owner", "word"])?;
            let mut chrome = admin.chrome(HERE).await;
            chrome.error = true;
            let errors = Errors(said.errors);
            let page = RestartPage { chrome, errors, refused: said.refused, word: RESET_WORD };
            return Ok(Said::with_wait(said.wait, html(said.status, &page)));
        }
        Err(problem) => return Err(problem),
    };
    // The daemon forgets it, too.
    admin.leave().await;
    let page = ComingBack { heading, message, reset: form == "reset", error: false };
    let mut response = html(StatusCode::OK, &page);
    response.headers_mut().insert(REFRESH, HeaderValue::from_static(COMES_BACK));
    Ok(response)
}

#[cfg(test)]
mod tests;
