//! `/confirm`: keeps the settings that are on trial. The button stands in the banner of every page.

use axum::response::Response;
use postern::door::messages::Request as Ask;
use serde::Deserialize;

use crate::error::Problem;
use crate::form::AdminForm;
use crate::login::Admin;
use crate::view::see_other;

/// Which settings: a page that was left open must not keep later ones.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ConfirmForm {
    revision: String,
}

/// Keeps them.
pub async fn save(admin: Admin, AdminForm(form): AdminForm<ConfirmForm>) -> Result<Response, Problem> {
    let revision = Some(form.revision.parse().map_err(|_| Problem::Malformed)?);
    let message = admin.order(Ask::Confirm { revision }).await?;
    admin.flash(message).await;
    Ok(see_other("/"))
}
