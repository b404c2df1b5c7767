//! `postern-lab fetch`: one HTTP exchange from inside a host.

use std::io::Read;

use crate::http::{Request, exchange};

/// Reads a [`Request`] as JSON from standard input, writes the [`crate::http::Response`] as JSON.
pub(super) fn fetch() -> std::io::Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    let request: Request = serde_json::from_str(&text)?;
    let response = exchange(&request)?;
    super::tell(&serde_json::to_value(response)?);
    Ok(())
}
