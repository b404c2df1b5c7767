//! `/security/vpn-passthrough/rules`: the firewall rules as they would be loaded, in nft's own language.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use postern::door::messages::{Request as Ask, Response as Answer};

use crate::error::Problem;
use crate::login::Admin;
use crate::view::{Chrome, html};

#[derive(Template)]
#[template(path = "rules.html")]
struct RulesPage {
    chrome: Chrome,
    text: String,
}

/// The text, to read.
pub async fn show(admin: Admin) -> Result<Response, Problem> {
    let Answer::Text { text } = admin.ask(Ask::Rules).await? else {
        return Err(Problem::Misunderstood("rules"));
    };
    let chrome = admin.chrome("/security/vpn-passthrough/rules").await;
    Ok(html(StatusCode::OK, &RulesPage { chrome, text }))
}
