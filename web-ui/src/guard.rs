//! What stands in the way of every request. Handlers cannot bypass it: they get no body but a verified form.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::Ordering;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::header::{
    self, CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, HeaderName, LOCATION, ORIGIN, TRANSFER_ENCODING,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use postern::door::messages::{Call, Greeting, MAX_IMPORT, Request as Ask, Response as Answer};
use postern::log;
use tower_sessions::Session;

use crate::error::Problem;
use crate::form::{Fields, parse};
use crate::login::{self, Login};
use crate::pages::{backup, passthrough};
use crate::serve::Peer;
use crate::{App, view};

/// Longest form in bytes.
const MAX_FORM: usize = 64 * 1024;
/// Longest form with lists of devices, from somebody who is logged in: 1,024 that are ticked (40 bytes each), or typed, and as
/// many that come first (31 bytes each).
const MAX_LISTS: usize = 128 * 1024;
/// Longest form with a settings document in it, from somebody who is logged in: a form writes a byte in up to three, a
/// line break in six.
const MAX_DOCUMENT: usize = 4 * MAX_IMPORT;
/// Cookie with the form token of a visitor who has no login yet.
pub const FORM_COOKIE: &str = "postern-form";

const CSP: &str = "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; \
                   frame-ancestors 'none'; base-uri 'none'";

/// The same, for a page whose values change by themselves: our own script may run, and hear from us.
const CSP_LIVE: &str = "default-src 'none'; script-src 'self'; connect-src 'self'; style-src 'self'; img-src 'self'; \
                        form-action 'self'; frame-ancestors 'none'; base-uri 'none'";

/// The same, for a page on which a file can be chosen: our own script may run, and hear from nobody.
const CSP_FILE: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; form-action 'self'; \
                        frame-ancestors 'none'; base-uri 'none'";

/// Mark on a response: the page has a script of ours.
#[derive(Clone, Copy)]
pub enum Script {
    /// Values that change by themselves.
    Live,
    /// A file that is chosen instead of pasted.
    File,
}

/// Security headers, on every response whatever became of the request.
pub async fn headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let policy = match response.extensions().get::<Script>() {
        Some(Script::Live) => CSP_LIVE,
        Some(Script::File) => CSP_FILE,
        None => CSP,
    };
    let mut set = |name: HeaderName, value: &'static str| {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    };
    set(header::CONTENT_SECURITY_POLICY, policy);
    set(header::X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(header::X_FRAME_OPTIONS, "DENY");
    // Not no-referrer: with it Chromium sends `Origin: null` on our own forms.
    set(header::REFERRER_POLICY, "same-origin");
    set(HeaderName::from_static("cross-origin-opener-policy"), "same-origin");
    set(HeaderName::from_static("cross-origin-resource-policy"), "same-origin");
    set(
        HeaderName::from_static("permissions-policy"),
        "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    );
    response.headers_mut().entry(CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Methods we know, and only under our own names: a foreign name that was pointed at our address (DNS rebinding) gets
/// 421 and no cookie.
pub async fn gate(State(app): State<App>, mut request: Request, next: Next) -> Response {
    if ![Method::GET, Method::HEAD, Method::POST].contains(request.method()) {
        return Problem::Method.into_response();
    }
    // No browser sends a form in chunks, and whoever does may name a length, too: two readers would see two requests in it (RFC
    // 9112 section 6.1). hyper has then forgotten the length, so all are refused.
    if request.headers().contains_key(TRANSFER_ENCODING) {
        let mut response = Problem::Malformed.into_response();
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        return response;
    }
    let greeting = match greeting(&app).await {
        Ok(greeting) => greeting,
        // So that the page which says that the daemon is not running has its looks. Nothing else needs no daemon.
        Err(_) if request.uri().path().starts_with("/static/") => return next.run(request).await,
        Err(problem) => return problem.into_response(),
    };
    if !is_ours(&request, greeting.hosts.iter().chain(app.hosts.iter())) {
        return Problem::Host.into_response();
    }
    if let Some(elsewhere) = to_https(&request, app.https.load(Ordering::Relaxed)) {
        return elsewhere;
    }
    app.logins.set_idle_minutes(greeting.idle_minutes);
    request.extensions_mut().insert(greeting);
    next.run(request).await
}

/// While HTTPS is on, plain HTTP only leads there: no page, no form is read, no cookie. Not on the listener of `--listen`,
/// which has no HTTPS beside it.
fn to_https(request: &Request, port: u16) -> Option<Response> {
    let peer = request.extensions().get::<Peer>()?;
    if port == 0 || peer.secure || !peer.handed_over {
        return None;
    }
    // The Host is one of ours: `gate` has looked.
    let host = request.headers().get(HOST)?.to_str().ok()?;
    let name = match host.strip_prefix('[') {
        Some(rest) => format!("[{}]", rest.split_once(']')?.0),
        None => host.split(':').next()?.to_owned(),
    };
    let path = request.uri().path_and_query().map_or("/", |path| path.as_str());
    let at = if port == 443 { String::new() } else { format!(":{port}") };
    // 303: what was posted in the clear is not sent a second time. And not for ever, for HTTPS can be switched off.
    let mut response = StatusCode::SEE_OTHER.into_response();
    let to = HeaderValue::from_str(&format!("https://{name}{at}{path}")).ok()?;
    response.headers_mut().insert(LOCATION, to);
    // The listeners may be others by then.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Some(response)
}

/// Begins the name of a cookie that a browser takes only from HTTPS, for this host and every path (RFC 6265bis, 4.1.3.2).
const HOST_ONLY: &str = "__Host-";

/// Over HTTPS every cookie of ours is called `__Host-…` and is Secure; inside, its name is the plain one. A cookie that was
/// planted over plain HTTP has another name and is not seen.
pub async fn cookies(mut request: Request, next: Next) -> Response {
    if !login::is_secure(request.extensions()) {
        return next.run(request).await;
    }
    let given = request.headers().get_all(header::COOKIE).iter().filter_map(|value| value.to_str().ok());
    let ours: Vec<&str> =
        given.flat_map(|all| all.split(';')).filter_map(|pair| pair.trim().strip_prefix(HOST_ONLY)).collect();
    let ours = HeaderValue::from_str(&ours.join("; "));
    request.headers_mut().remove(header::COOKIE);
    if let Ok(ours) = ours {
        request.headers_mut().insert(header::COOKIE, ours);
    }
    let mut response = next.run(request).await;
    let set: Vec<HeaderValue> = response.headers().get_all(header::SET_COOKIE).iter().cloned().collect();
    response.headers_mut().remove(header::SET_COOKIE);
    for cookie in set.iter().filter_map(|cookie| cookie.to_str().ok()) {
        if let Ok(cookie) = HeaderValue::from_str(&format!("{HOST_ONLY}{cookie}; Secure")) {
            response.headers_mut().append(header::SET_COOKIE, cookie);
        }
    }
    response
}

async fn greeting(app: &App) -> Result<Greeting, Problem> {
    let call = Call { ticket: None, source: None, attended: false, request: Ask::Greeting };
    let answer = app.daemon.call(call).await;
    // Once for each outage: whoever asks again and again must not fill the log.
    match (&answer, app.silent.swap(answer.is_err(), Ordering::Relaxed)) {
        (Err(silence), false) => log::warning(&format!("the pages cannot work: {silence}")),
        (Ok(_), true) => log::info("the daemon answers again"),
        _ => {}
    }
    match answer? {
        Answer::Greeting(greeting) => Ok(greeting),
        _ => Err(Problem::Misunderstood("greeting")),
    }
}

fn is_ours<'a>(request: &Request, mut ours: impl Iterator<Item = &'a String>) -> bool {
    let mut given = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (given.next().and_then(|h| h.to_str().ok()), given.next()) else {
        return false;
    };
    // An absolute request target names a host too; two different ones are a trick.
    if request.uri().authority().is_some_and(|a| !a.as_str().eq_ignore_ascii_case(host)) {
        return false;
    }
    let Some(name) = without_port(host) else { return false };
    ours.any(|our| same_host(our, name))
}

/// `192.168.1.1:8080` to `192.168.1.1`, `[fe80::1]:80` to `fe80::1`.
fn without_port(host: &str) -> Option<&str> {
    let (name, port) = match host.strip_prefix('[') {
        // Only what is one: [192.168.1.1] is no way to write an address.
        Some(rest) => rest.split_once(']').filter(|(name, _)| name.parse::<Ipv6Addr>().is_ok())?,
        None => host.find(':').map_or((host, ""), |at| host.split_at(at)),
    };
    let digits = match port.strip_prefix(':') {
        Some(digits) => !digits.is_empty() && digits.len() <= 5 && digits.bytes().all(|b| b.is_ascii_digit()),
        None => port.is_empty(),
    };
    (digits && !name.is_empty()).then_some(name)
}

fn same_host(our: &str, name: &str) -> bool {
    let our = our.trim_start_matches('[').trim_end_matches(']');
    match (our.parse::<Ipv6Addr>(), name.parse::<Ipv6Addr>()) {
        (Ok(our), Ok(name)) => our == name,
        // IPv4 only as everybody writes it: 0x7f.1 and 3232235777 are not in the list.
        _ => our.eq_ignore_ascii_case(name) && (our.parse::<IpAddr>().is_err() || our == name),
    }
}

/// Reads the form of everything that is not GET or HEAD, and lets it pass only with the right token and from our own
/// page. What the handler gets has no body.
pub async fn forms(State(app): State<App>, session: Session, request: Request, next: Next) -> Response {
    if request.method() != Method::POST {
        return next.run(request.map(|_| Body::empty())).await;
    }
    let (mut parts, body) = request.into_parts();
    let fields = match verified(&app, &session, &parts, body).await {
        Ok(fields) => fields,
        Err(problem) => return problem.into_response(),
    };
    parts.extensions.insert(fields);
    let mut response = next.run(Request::from_parts(parts, Body::empty())).await;
    // After a change the browser shall come back on a new connection: that is what proves the new path.
    response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    response
}

async fn verified(app: &App, session: &Session, parts: &Parts, body: Body) -> Result<Fields, Problem> {
    let headers = &parts.headers;
    let secure = login::is_secure(&parts.extensions);
    if !same_origin(headers, secure) || !is_form(headers) {
        return Err(Problem::Foreign);
    }
    let login = Login::of(session, &parts.extensions).await;
    let path = parts.uri.path();
    let longest = match login.is_some() {
        true if path.starts_with(backup::HERE) => MAX_DOCUMENT,
        true if path == passthrough::HERE => MAX_LISTS,
        _ => MAX_FORM,
    };
    let arrived = tokio::time::timeout(app.body_timeout, Limited::new(body, longest).collect());
    let body = match arrived.await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(e)) if e.is::<LengthLimitError>() => return Err(Problem::TooLong),
        Ok(Err(_)) => return Err(Problem::Malformed),
        Err(_) => return Err(Problem::Slow),
    };
    let mut fields = parse(&body).ok_or(Problem::Malformed)?;
    let (expected, without) = match login {
        Some(login) => (Some(login.token), Problem::Token),
        None => (view::cookie(headers, FORM_COOKIE).map(str::to_owned), Problem::LoggedOut),
    };
    let at = fields.iter().position(|(name, _)| name == "token");
    let given = at.map(|at| fields.remove(at).1);
    match (expected, given) {
        (Some(expected), Some(given)) if same_token(&expected, &given) => Ok(Fields(fields)),
        (Some(_), _) => Err(Problem::Token),
        (None, _) => Err(without),
    }
}

/// A browser says where a form came from; it must be our own page. A client that says neither is no browser, and the
/// token decides.
fn same_origin(headers: &HeaderMap, secure: bool) -> bool {
    let text = |name| headers.get(name).map(|v: &HeaderValue| v.to_str().unwrap_or("?"));
    let site =
        text(HeaderName::from_static("sec-fetch-site")).is_none_or(|s| matches!(s, "same-origin" | "none"));
    let host = text(HOST).unwrap_or_default();
    let ours = if secure { "https" } else { "http" };
    let origin = text(ORIGIN).is_none_or(|origin| {
        origin.split_once("://").is_some_and(|(scheme, rest)| scheme == ours && rest == host)
    });
    site && origin
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Whether the tokens are equal, in a time that does not tell where they differ.
fn same_token(a: &str, b: &str) -> bool {
    a.len() == 64 && a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |d, (x, y)| d | (x ^ y)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_ours_with_or_without_port_and_only_whole() {
        let ours = ["192.168.1.1".to_owned(), "postern.home.arpa".into(), "fe80::1".into()];
        let is = |host: &str| {
            let request = Request::builder().header(HOST, host).body(Body::empty()).expect("builds");
            is_ours(&request, ours.iter())
        };
        for yes in ["192.168.1.1", "192.168.1.1:8080", "POSTERN.home.arpa", "[fe80::1]", "[FE80:0::1]:80"] {
            assert!(is(yes), "{yes}");
        }
        let no = [
            "",
            ":",
            "evil.example",
            "192.168.1.1.evil.example",
            "192.168.1.1@evil.example",
            "192.168.1.1:80:80",
            "192.168.1.1:",
            "192.168.1.1:x",
            "192.168.1.1:800000",
            "[fe80::1",
            "fe80::1",
            "[fe80::1]x",
            "0xc0.168.1.1",
            "3232235777",
            "192.168.1.1.",
            "[::ffff:192.168.1.1]",
            "[192.168.1.1]",
            "192.168.1.01",
            " 192.168.1.1",
            "localhost",
        ];
        for no in no {
            assert!(!is(no), "{no}");
        }
    }
}
