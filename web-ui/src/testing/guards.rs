//! What stands in the way of every request.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONNECTION, CONTENT_TYPE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use axum::http::{Method, Request, StatusCode};

use super::browser::Browser;
use super::fake::Fake;
use crate::{App, Config, Route, guarded, open, routes};

const FORM: &str = "application/x-www-form-urlencoded";
const PAGE: &str = "/security/vpn-passthrough";

/// Whether the last answer has every security header.
pub(super) fn assert_guarded(browser: &Browser, what: &str) {
    let csp = browser.headers.get("content-security-policy").unwrap_or_else(|| panic!("no CSP on {what}"));
    let csp = csp.to_str().unwrap();
    // Two pages may run our own script, and nobody else's; one of them may ask us for more.
    let backup = ["/system/backup", "/system/backup/take", "/system/backup/restore"];
    let (live, file) = (browser.path == "/vpn-sessions", backup.contains(&browser.path.as_str()));
    let script = csp.contains("script") && !((live || file) && csp.contains("; script-src 'self'; "))
        || csp.contains("connect") && !live;
    assert!(csp.starts_with("default-src 'none';") && !csp.contains("unsafe") && !script, "{csp}");
    for (name, value) in [
        ("x-content-type-options", "nosniff"),
        ("x-frame-options", "DENY"),
        ("referrer-policy", "same-origin"),
        ("cross-origin-opener-policy", "same-origin"),
    ] {
        assert_eq!(browser.headers.get(name).map(|v| v.to_str().unwrap()), Some(value), "{name} on {what}");
    }
    let cache = browser.headers[CACHE_CONTROL].to_str().unwrap();
    assert_eq!(
        cache == "no-store",
        !browser.path.starts_with("/static/") || browser.status != 200,
        "{what}: {cache}"
    );
}

#[tokio::test]
async fn nobody_gets_inside_without_a_login_by_any_method() {
    let token = "ab".repeat(32);
    for route in routes() {
        for method in ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "BREW"] {
            for visitor in ["none", "forged", "ended", "logged in"] {
                let mut browser = match visitor {
                    "logged in" | "ended" => Browser::logged_in().await,
                    _ => Browser::before(Fake::claimed()),
                };
                match visitor {
                    "forged" => {
                        drop(browser.cookies.insert("postern".into(), "AAAAAAAAAAAAAAAAAAAAAA".into()))
                    }
                    "ended" => browser.daemon.state().tickets.clear(),
                    _ => {}
                }
                let login_token = (visitor != "none" && visitor != "forged").then(|| browser.token());
                browser.cookies.insert("postern-form".into(), token.clone());
                let body = format!("token={}", login_token.as_ref().unwrap_or(&token));
                let path = route.path.replace("{name}", "nothing");
                let request = Request::builder().method(method).uri(&path).header(CONTENT_TYPE, FORM);
                browser.exchange(request.body(Body::from(body)).unwrap()).await;
                let what = format!("{method} {path}, {visitor}: {}", browser.status);
                assert_guarded(&browser, &what);
                let known = Method::from_bytes(method.as_bytes()).unwrap();
                let handled = route.methods.contains(&known)
                    || (method == "HEAD" && route.methods.contains(&Method::GET));
                let got = browser.status.as_u16();
                match (handled, route.inside, visitor) {
                    (false, ..) => assert_eq!(got, 405, "{what}"),
                    (true, true, "logged in") => assert!([200, 204, 303, 400].contains(&got), "{what}"),
                    (true, true, "ended") => {
                        assert_eq!(browser.headers[LOCATION], "/login?why=ended", "{what}")
                    }
                    (true, true, _) if method == "POST" => assert_eq!(got, 403, "{what}"),
                    (true, true, _) => assert_eq!(got, 303, "{what}"),
                    (true, false, _) => assert!([200, 303, 400, 404].contains(&got), "{what}"),
                }
                if visitor != "logged in" {
                    let state = browser.daemon.state();
                    assert!(state.changes.is_empty() && state.confirmed.is_empty(), "{what}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_form_needs_the_right_token_from_our_own_page() {
    let other = Browser::logged_in().await.token();
    let mut browser = Browser::logged_in().await;
    browser.open(PAGE).await;
    let form = browser.form("base_revision").set("passthrough.pptp.enabled", "true");
    let same = [("sec-fetch-site", "same-origin"), ("origin", "http://192.168.1.1")];
    let cases: [(&str, &[(&str, &str)], Option<String>); 11] = [
        ("another login's token", &same, Some(form.clone().set("token", &other).body())),
        ("no token", &same, Some(form.body().replacen("token=", "tokem=", 1))),
        ("an empty token", &same, Some(form.clone().set("token", "").body())),
        ("a foreign origin", &[("origin", "http://evil.example")], None),
        ("no origin", &[("origin", "null")], None),
        ("our name on another port", &[("origin", "http://192.168.1.1:8080")], None),
        ("another site", &[("sec-fetch-site", "cross-site")], None),
        ("a neighbour site", &[("sec-fetch-site", "same-site"), ("origin", "http://192.168.1.1")], None),
        ("a lying pair", &[("sec-fetch-site", "same-origin"), ("origin", "http://evil.example")], None),
        ("plain text", &[("content-type", "text/plain"), ("origin", "http://192.168.1.1")], None),
        ("no kind", &[("content-type", ""), ("origin", "http://192.168.1.1")], None),
    ];
    for (what, headers, body) in cases {
        let mut request = Request::post(PAGE);
        if !headers.iter().any(|(name, _)| *name == "content-type") {
            request = request.header(CONTENT_TYPE, FORM);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = body.unwrap_or_else(|| form.body());
        browser.exchange(request.body(Body::from(body)).unwrap()).await;
        assert_eq!(browser.status, StatusCode::FORBIDDEN, "{what}");
        assert_guarded(&browser, what);
        assert!(browser.daemon.state().changes.is_empty(), "{what}");
    }
    // A client that is no browser says neither; the token decides.
    let request = Request::post(PAGE).header(CONTENT_TYPE, FORM).body(Body::from(form.body())).unwrap();
    browser.exchange(request).await;
    assert_eq!(
        (browser.status, browser.headers[CONNECTION].to_str().unwrap()),
        (StatusCode::SEE_OTHER, "close")
    );
    assert_eq!(browser.daemon.state().changes.len(), 1);
}

#[tokio::test]
async fn a_login_form_needs_the_cookie_that_came_with_it() {
    let mut browser = Browser::before(Fake::claimed());
    browser.open("/login").await;
    let form = browser.form("password").set("password", super::fake::PASSWORD);
    let cookie = browser.cookies.remove("postern-form").unwrap();
    browser.send(form.clone()).await;
    assert_eq!(browser.status, StatusCode::FORBIDDEN);
    browser.cookies.insert("postern-form".into(), cookie.replace(|c: char| c.is_ascii_digit(), "f"));
    browser.send(form.clone()).await;
    assert_eq!(browser.status, StatusCode::FORBIDDEN);
    browser.cookies.insert("postern-form".into(), cookie);
    browser.send(form).await;
    assert_eq!((browser.status, browser.path.as_str()), (StatusCode::OK, "/"));
}

#[tokio::test]
async fn unknown_doubled_and_oversized_fields_are_refused() {
    let mut browser = Browser::logged_in().await;
    browser.open(PAGE).await;
    let form = browser.form("base_revision").set("passthrough.pptp.enabled", "true");
    for (what, extra, status) in [
        ("unknown", "&role=router".to_owned(), 400),
        ("doubled", "&passthrough.pptp.enabled=true".to_owned(), 400),
        ("doubled token", format!("&token={}", browser.token()), 400),
        ("no number", String::new(), 400),
        ("garbled", "&passthrough.l2tp.ports=%ff".to_owned(), 400),
        ("oversized", format!("&x={}", "a".repeat(128 * 1024)), 413),
    ] {
        let mut body = form.body() + &extra;
        if extra.is_empty() {
            body = body.replace("base_revision=0", "base_revision=x");
        }
        browser.post(PAGE, body).await;
        assert_eq!(browser.status.as_u16(), status, "{what}");
        assert_guarded(&browser, what);
    }
    assert!(browser.daemon.state().changes.is_empty());
}

#[tokio::test]
async fn a_foreign_host_is_answered_421_without_a_cookie() {
    let mut browser = Browser::logged_in().await;
    for host in ["evil.example", "192.168.1.1.evil.example", "", "192.168.1.2"] {
        for path in ["/", "/login", PAGE, "/static/x", "/nowhere"] {
            browser.cookies.insert("postern".into(), "malformed!".into());
            browser.exchange(Request::get(path).header(HOST, host).body(Body::empty()).unwrap()).await;
            assert_eq!(browser.status, StatusCode::MISDIRECTED_REQUEST, "{host} {path}");
            assert!(!browser.headers.contains_key(SET_COOKIE));
            assert_guarded(&browser, host);
        }
    }
    for host in ["192.168.1.1:80", "postern.home.arpa"] {
        browser.exchange(Request::get("/login").header(HOST, host).body(Body::empty()).unwrap()).await;
        assert_eq!(browser.status, StatusCode::OK, "{host}");
    }
}

#[tokio::test]
async fn no_spelling_of_a_path_gets_past_the_login() {
    let mut browser = Browser::before(Fake::claimed());
    for path in [
        "/static/../security/vpn-passthrough",
        "/static/..%2fsecurity/vpn-passthrough",
        "/login/../",
        "/login/..%2f",
        "//security/vpn-passthrough",
        "/security//vpn-passthrough",
        "/security/vpn-passthrough/",
        "/SECURITY/VPN-PASSTHROUGH",
        "/security/vpn-passthrough;a=b",
        "/security/vpn-passthrough%00",
        "/security%2fvpn-passthrough",
        "/static/",
        "/static",
        "/static/..",
        "/static/%2e%2e%2fCargo.toml",
        "/./security/vpn-passthrough",
        "/security/vpn-passthrough/rules?x=/login",
    ] {
        browser.exchange(Request::get(path).body(Body::empty()).unwrap()).await;
        assert!([303, 404].contains(&browser.status.as_u16()), "{path}: {}", browser.status);
        assert_guarded(&browser, path);
    }
}

#[tokio::test]
async fn a_stranger_learns_no_version_and_no_cookie() {
    let mut browser = Browser::before(Fake::claimed());
    browser.exchange(Request::get("/").body(Body::empty()).unwrap()).await;
    assert!(!browser.headers.contains_key(SET_COOKIE));
    browser.open("/login").await;
    assert!(!browser.headers.contains_key("server"));
    assert!(!browser.body.contains(env!("CARGO_PKG_VERSION")));
    browser.open(crate::assets::style()).await;
    assert_eq!(browser.headers[CACHE_CONTROL], "public, max-age=31536000, immutable");
    assert_guarded(&browser, "the stylesheet");
}

#[tokio::test]
async fn a_panic_is_a_page_and_the_next_request_is_served() {
    let daemon = Arc::new(Fake::claimed());
    let broken: Route = open("/broken").get(broken);
    let app = guarded(
        vec![broken, open("/fine").get(async || "fine")],
        App::new(daemon.clone(), &Config::default()),
    );
    let mut browser = Browser::with_app(app, daemon);
    browser.open("/broken").await;
    assert_eq!(browser.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(browser.body.contains("The page failed") && !browser.body.contains("on purpose"));
    assert_guarded(&browser, "a panic");
    browser.open("/fine").await;
    assert_eq!(browser.body, "fine");
}

async fn broken() -> StatusCode {
    panic!("on purpose")
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_given_up() {
    let daemon = Arc::new(Fake::claimed());
    let config = Config { body_timeout: Duration::from_millis(50), ..Config::default() };
    let mut browser = Browser::with_app(crate::app(daemon.clone(), &config), daemon);
    let never = never_ending();
    let request = Request::post("/login").header(CONTENT_TYPE, FORM).header(ORIGIN, "http://192.168.1.1");
    browser.exchange(request.body(never).unwrap()).await;
    assert_eq!(browser.status, StatusCode::REQUEST_TIMEOUT);
    assert_guarded(&browser, "a slow form");
}

/// A body that never ends and never sends.
fn never_ending() -> Body {
    struct Never;
    impl hyper::body::Body for Never {
        type Data = hyper::body::Bytes;
        type Error = std::convert::Infallible;
        fn poll_frame(
            self: std::pin::Pin<&mut Self>,
            _: &mut std::task::Context<'_>,
        ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
            std::task::Poll::Pending
        }
    }
    Body::new(Never)
}

#[tokio::test]
async fn while_https_is_on_plain_http_only_leads_there() {
    let config = Config::default();
    let daemon = Arc::new(Fake::claimed());
    let mut browser = Browser::with_app(crate::app(daemon.clone(), &config), daemon);
    browser.open("/login").await;
    assert_eq!(browser.status, StatusCode::OK, "it is off");
    let form = browser.form("password").set("password", super::fake::PASSWORD);
    for (port, at) in [(443, "https://192.168.1.1"), (8443, "https://192.168.1.1:8443")] {
        config.https.store(port, std::sync::atomic::Ordering::Relaxed);
        browser.host = "192.168.1.1:8080".into();
        for path in ["/", "/login?why=ended", "/static/style.css", "/no/such/page"] {
            browser.exchange(Request::get(path).body(Body::empty()).unwrap()).await;
            assert_eq!(browser.status, StatusCode::SEE_OTHER, "{path}");
            assert_eq!(browser.headers[LOCATION], format!("{at}{path}"));
            assert!(!browser.headers.contains_key(SET_COOKIE), "{path}");
        }
    }
    // The right password in the clear opens nothing.
    let request = Request::post("/login").header(CONTENT_TYPE, FORM).body(Body::from(form.body())).unwrap();
    browser.exchange(request).await;
    assert_eq!(
        (browser.status, &browser.headers[LOCATION]),
        (StatusCode::SEE_OTHER, &"https://192.168.1.1:8443/login".parse().unwrap())
    );
    assert!(browser.daemon.state().tickets.is_empty(), "somebody is logged in");
    // A foreign name is led nowhere; what came by --listen stays.
    browser.host = "evil.example".into();
    browser.exchange(Request::get("/").body(Body::empty()).unwrap()).await;
    assert_eq!(browser.status, StatusCode::MISDIRECTED_REQUEST);
    browser.host = "192.168.1.1".into();
    browser.peer.handed_over = false;
    browser.open("/login").await;
    assert_eq!(browser.status, StatusCode::OK);
}

#[tokio::test]
async fn over_https_every_cookie_is_host_only_and_a_planted_one_is_not_seen() {
    let mut browser = Browser::before(Fake::claimed());
    browser.peer.secure = true;
    browser.open("/login").await;
    browser.send(browser.form("password").set("password", super::fake::PASSWORD)).await;
    assert_eq!(browser.status, StatusCode::OK, "{}", browser.body);
    let names: Vec<&str> = browser.cookies.keys().map(String::as_str).collect();
    assert!(
        names.contains(&"__Host-postern") && names.iter().all(|name| name.starts_with("__Host-")),
        "{names:?}"
    );
    // The same value under the name that plain HTTP can set.
    let value = browser.cookies.remove("__Host-postern").unwrap();
    browser.cookies.insert("postern".into(), value.clone());
    browser.exchange(Request::get("/").body(Body::empty()).unwrap()).await;
    assert_eq!(browser.status, StatusCode::SEE_OTHER, "a planted cookie is a login");
    browser.cookies.insert("__Host-postern".into(), value);
    browser.exchange(Request::get("/").body(Body::empty()).unwrap()).await;
    assert_eq!(browser.status, StatusCode::OK);
    // A page of the same host, but in the clear, is a foreign one.
    let form = browser.form("token");
    for (origin, wanted) in
        [("http://192.168.1.1", StatusCode::FORBIDDEN), ("https://192.168.1.1", StatusCode::SEE_OTHER)]
    {
        let request = Request::post("/logout").header(CONTENT_TYPE, FORM).header(ORIGIN, origin);
        browser.exchange(request.body(Body::from(form.body())).unwrap()).await;
        assert_eq!(browser.status, wanted, "{origin}");
    }
}
