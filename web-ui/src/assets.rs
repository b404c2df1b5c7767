//! The stylesheet, the icon and the two scripts: compiled in, at an address that changes with their content, so that a browser may
//! keep them for ever.

use std::sync::LazyLock;

use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};

use crate::error::Problem;

struct Asset {
    url: String,
    kind: &'static str,
    bytes: &'static [u8],
}

static STYLE: LazyLock<Asset> = LazyLock::new(|| {
    asset("postern", "css", "text/css; charset=utf-8", include_bytes!("../static/postern.css"))
});
static ICON: LazyLock<Asset> =
    LazyLock::new(|| asset("icon", "svg", "image/svg+xml", include_bytes!("../static/icon.svg")));

static LIVE: LazyLock<Asset> = LazyLock::new(|| {
    asset("live", "js", "text/javascript; charset=utf-8", include_bytes!("../static/live.js"))
});

static FILE: LazyLock<Asset> = LazyLock::new(|| {
    asset("file", "js", "text/javascript; charset=utf-8", include_bytes!("../static/file.js"))
});

fn asset(stem: &str, extension: &str, kind: &'static str, bytes: &'static [u8]) -> Asset {
    // FNV-1a: tells versions apart; nothing is protected by it.
    let sum = bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(*b)).wrapping_mul(0x100_0000_01b3));
    Asset { url: format!("/static/{stem}-{sum:016x}.{extension}"), kind, bytes }
}

/// Address of the stylesheet.
pub fn style() -> &'static str {
    &STYLE.url
}

/// Address of the icon.
pub fn icon() -> &'static str {
    &ICON.url
}

/// Address of the script for live values.
pub fn live() -> &'static str {
    &LIVE.url
}

/// Address of the script that reads a chosen file into its field.
pub fn file() -> &'static str {
    &FILE.url
}

/// `GET /static/NAME`: one of the four, by its exact name.
pub async fn show(name: Result<Path<String>, PathRejection>) -> Response {
    // Bytes that are no text name nothing.
    let Ok(Path(name)) = name else { return Problem::NotFound.into_response() };
    let wanted = format!("/static/{name}");
    match [&*STYLE, &*ICON, &*LIVE, &*FILE].into_iter().find(|a| a.url == wanted) {
        Some(a) => {
            let headers = [(CONTENT_TYPE, a.kind), (CACHE_CONTROL, "public, max-age=31536000, immutable")];
            (headers, a.bytes).into_response()
        }
        None => Problem::NotFound.into_response(),
    }
}
