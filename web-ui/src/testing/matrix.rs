//! What holds of every route, generated from [`crate::routes`] and from the forms of the pages, so that a new one cannot be
//! forgotten.

use std::collections::BTreeSet;

use axum::body::Body;
use axum::http::header::{HOST, SET_COOKIE};
use axum::http::{Method, Request, StatusCode, Uri};

use super::browser::{Browser, Form};
use super::fake::Fake;
use super::filled::{filled, forms, pages, print};
use super::guards::assert_guarded;
use crate::routes;

const FORM: &str = "application/x-www-form-urlencoded";

/// The forms of every page; of a route that has none on any page, one with the token alone.
async fn all_forms(browser: &mut Browser) -> Vec<Form> {
    let mut all = forms(browser).await;
    let token = ("token".to_owned(), Some(browser_token(browser).await));
    for route in routes().iter().filter(|route| route.inside && route.methods.contains(&Method::POST)) {
        if !all.iter().any(|form| form.action == route.path) {
            all.push(Form { action: route.path.to_owned(), fields: vec![token.clone()] });
        }
    }
    all
}

async fn browser_token(browser: &mut Browser) -> String {
    browser.open("/").await;
    browser.token()
}

#[test]
fn three_paths_are_open_to_everybody_and_no_more() {
    let open: Vec<&str> = routes().iter().filter(|route| !route.inside).map(|route| route.path).collect();
    assert_eq!(open, ["/claim", "/login", "/static/{name}"]);
}

/// What a foreign page, or a program of the home without the token, can send.
fn forgeries(
    form: &Form,
    other_token: &str,
) -> Vec<(&'static str, Vec<(&'static str, &'static str)>, String)> {
    let own = ("origin", "http://192.168.1.1");
    let same = ("sec-fetch-site", "same-origin");
    let typed = |kind| vec![("content-type", kind), own, same];
    let with = |token: &str| form.clone().set("token", token).body();
    let without = {
        let fields = form.fields.iter().filter(|(name, _)| name != "token").cloned().collect();
        Form { action: form.action.clone(), fields }.body()
    };
    let right = form.body();
    let headers = |more: &[(&'static str, &'static str)]| [&[("content-type", FORM)][..], more].concat();
    vec![
        ("no token, no Origin", headers(&[]), without.clone()),
        ("no token from our page", headers(&[own, same]), without.clone()),
        ("an empty token", headers(&[own, same]), with("")),
        ("another login's token", headers(&[own, same]), with(other_token)),
        ("a short token", headers(&[own, same]), with("ab")),
        ("a token in capitals and one more", headers(&[own, same]), with(&format!("{}0", "A".repeat(64)))),
        ("the token in the address", headers(&[own, same]), without),
        ("a foreign Origin", headers(&[("origin", "http://evil.example")]), right.clone()),
        ("our name elsewhere", headers(&[("origin", "http://192.168.1.1.evil.example")]), right.clone()),
        ("another port", headers(&[("origin", "http://192.168.1.1:81")]), right.clone()),
        ("another scheme", headers(&[("origin", "https://192.168.1.1")]), right.clone()),
        ("Origin null", headers(&[("origin", "null")]), right.clone()),
        ("an empty Origin", headers(&[("origin", "")]), right.clone()),
        ("cross-site", headers(&[("sec-fetch-site", "cross-site")]), right.clone()),
        ("same-site", headers(&[own, ("sec-fetch-site", "same-site")]), right.clone()),
        ("a garbled site", headers(&[own, ("sec-fetch-site", "Same-Origin ")]), right.clone()),
        ("plain text", typed("text/plain"), right.clone()),
        ("JSON", typed("application/json"), right.clone()),
        ("parts", typed("multipart/form-data; boundary=x"), right.clone()),
        ("no type", vec![own, same], right.clone()),
        ("a type with more before it", typed("x; application/x-www-form-urlencoded"), right),
    ]
}

async fn send(browser: &mut Browser, path: &str, headers: &[(&str, &str)], body: String) {
    let mut request = Request::post(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    browser.exchange(request.body(Body::from(body)).unwrap()).await;
}

#[tokio::test]
async fn no_form_of_any_route_is_taken_from_a_foreign_page_or_without_its_token() {
    let other = Browser::logged_in().await.token();
    let mut browser = filled("name").await;
    let all = all_forms(&mut browser).await;
    let real = all.iter().filter(|form| form.fields.len() > 1).count();
    assert!(real >= 25, "the pages show {real} forms only");
    let mut tried = 0;
    for form in &all {
        for (what, headers, body) in forgeries(form, &other) {
            let before = print(&browser.daemon.state());
            let path = match what {
                "the token in the address" => {
                    format!("{}?token={}", form.action, form.fields[0].1.as_ref().unwrap())
                }
                _ => form.action.clone(),
            };
            send(&mut browser, &path, &headers, body).await;
            let what = format!("{} {what}", form.action);
            assert_eq!(browser.status, StatusCode::FORBIDDEN, "{what}");
            assert_guarded(&browser, &what);
            assert!(!browser.headers.contains_key(SET_COOKIE), "{what}");
            assert!(print(&browser.daemon.state()) == before, "{what} changed something");
            tried += 1;
        }
    }
    println!("CSRF: {} forms of {} routes, {tried} forgeries", all.len(), pages().len());
    // The same forms as they should be: they are taken, and many of them do something.
    let mut done = BTreeSet::new();
    for form in all {
        let mut browser = filled("name").await;
        browser.open("/").await;
        let before = print(&browser.daemon.state());
        let form = form.set("token", &browser.token());
        send(
            &mut browser,
            &form.action,
            &[("content-type", FORM), ("origin", "http://192.168.1.1")],
            form.body(),
        )
        .await;
        assert_ne!(browser.status, StatusCode::FORBIDDEN, "{}", form.action);
        if print(&browser.daemon.state()) != before {
            done.insert(form.action);
        }
    }
    assert!(done.len() >= 15, "what is forged would do little: {done:?}");
}

#[tokio::test]
async fn no_get_of_any_route_changes_anything_whatever_its_query_says() {
    let mut browser = filled("name").await;
    let all = all_forms(&mut browser).await;
    for form in all {
        let before = print(&browser.daemon.state());
        for path in
            [form.action.clone(), "/".into(), "/vpn-sessions".into(), "/diagnose".into(), "/tools".into()]
        {
            for method in ["GET", "HEAD"] {
                let uri =
                    format!("{path}?{}&_method=POST", form.body().chars().take(2000).collect::<String>());
                let request =
                    Request::builder().method(method).uri(&uri).header("x-http-method-override", "POST");
                browser
                    .exchange(request.header("x-method", "POST").body(Body::from(form.body())).unwrap())
                    .await;
                assert!(browser.status.as_u16() < 500, "{uri}");
                assert!(print(&browser.daemon.state()) == before, "{method} {uri} changed something");
            }
        }
    }
}

#[tokio::test]
async fn a_form_with_a_field_too_many_or_one_twice_is_refused_on_every_route() {
    let mut browser = filled("name").await;
    let own = [("content-type", FORM), ("origin", "http://192.168.1.1")];
    for form in all_forms(&mut browser).await {
        let before = print(&browser.daemon.state());
        for more in
            ["roles=router", "is_admin=true", "__proto__=1", "ticket=x", "proof.x=1", "token=x", "tokeN=x"]
        {
            send(&mut browser, &form.action, &own, format!("{}&{more}", form.body())).await;
            let what = format!("{} with {more}", form.action);
            assert_eq!(browser.status, StatusCode::BAD_REQUEST, "{what}");
            assert!(print(&browser.daemon.state()) == before, "{what} changed something");
        }
        for (name, value) in &form.fields {
            let Some(value) = value else { continue };
            let twice = serde_urlencoded::to_string([(name, value)]).unwrap();
            send(&mut browser, &form.action, &own, format!("{twice}&{}", form.body())).await;
            assert_eq!(browser.status, StatusCode::BAD_REQUEST, "{} with {name} twice", form.action);
            assert!(
                print(&browser.daemon.state()) == before,
                "{} with {name} twice changed something",
                form.action
            );
        }
    }
}

#[tokio::test]
async fn no_host_but_ours_is_answered_in_fifty_spellings() {
    let names = [
        "evil.example",
        "192.168.1.1.evil.example",
        "evil.example.192.168.1.1",
        "192.168.1.1.nip.io",
        "192.168.1.2",
        "192.168.1.1.",
        "192.168.1.01",
        "192.168.01.1",
        "192.168.257",
        "192.168.1",
        "3232235777",
        "0xc0a80101",
        "0300.0250.0001.0001",
        "0xc0.0xa8.1.1",
        "[::ffff:192.168.1.1]",
        "[::ffff:c0a8:101]",
        "[fe80::1%25lan0]",
        "[::1]",
        "[::]",
        "0.0.0.0",
        "0",
        "localhost",
        "localhost.",
        "127.0.0.2",
        "127.1",
        "postern.evil.example",
        "evilpostern.home.arpa",
        "postern.home.arpa.",
        "postern.home.arpa.evil.example",
        "x.postern.home.arpa",
        "postern_home.arpa",
        "192.168.1.1@evil.example",
        "evil.example@192.168.1.1",
        "192.168.1.1:80@evil.example",
        "192.168.1.1:80:80",
        "192.168.1.1:",
        "192.168.1.1:http",
        "192.168.1.1:-1",
        "192.168.1.1:000080",
        "192.168.1.1 ",
        " 192.168.1.1",
        "192.168.1.1\tx",
        "192.168.1.1,evil.example",
        "evil.example,192.168.1.1",
        "192.168.1.1/",
        "192.168.1.1#",
        "192.168.1.1?",
        "http://192.168.1.1",
        "//192.168.1.1",
        "[192.168.1.1]",
        "*",
        "",
    ];
    assert!(names.len() >= 50);
    let mut browser = Browser::logged_in().await;
    for name in names {
        for path in ["/", "/login", "/security/forwards", "/static/x"] {
            browser.exchange(Request::get(path).header(HOST, name).body(Body::empty()).unwrap()).await;
            assert_eq!(browser.status, StatusCode::MISDIRECTED_REQUEST, "`{name}` {path}");
            assert!(!browser.headers.contains_key(SET_COOKIE), "`{name}`");
            assert_guarded(&browser, name);
        }
    }
    // Two of them, or another one in the address.
    let request = Request::get("/login").header(HOST, "192.168.1.1").header(HOST, "192.168.1.1");
    browser.exchange(request.body(Body::empty()).unwrap()).await;
    assert_eq!(browser.status, StatusCode::MISDIRECTED_REQUEST);
    for uri in ["http://evil.example/login", "http://x@192.168.1.1/login", "http://192.168.1.1:81/login"] {
        browser.exchange(Request::get(uri).header(HOST, "192.168.1.1").body(Body::empty()).unwrap()).await;
        assert_eq!(browser.status, StatusCode::MISDIRECTED_REQUEST, "{uri}");
    }
    // And our own are answered: so it was the name.
    for name in ["192.168.1.1", "192.168.1.1:80", "postern.home.arpa", "POSTERN.HOME.ARPA:8080", "127.0.0.1"]
    {
        browser.exchange(Request::get("/login").header(HOST, name).body(Body::empty()).unwrap()).await;
        assert_eq!(browser.status, StatusCode::SEE_OTHER, "{name}: the owner is logged in");
    }
}

/// Ways out of a folder, as somebody may spell them.
fn climbs() -> Vec<String> {
    let before =
        ["/static/", "/", "/login/", "/claim/", "/static/..;/", "//", "/system/", "/static/postern.css/"];
    let steps = [
        "../",
        "..%2f",
        "%2e%2e/",
        "%2e%2e%2f",
        "..%5c",
        "..%255c",
        "%252e%252e%252f",
        "..%c0%af",
        "....//",
        "..;/",
        "..%00/",
        "%ef%bc%8e%ef%bc%8e/",
        ".%2e/",
    ];
    let ends = [
        "",
        "etc/passwd",
        "etc/shadow%00.css",
        "proc/self/environ",
        "security/forwards",
        "system/backup/export",
        "run/postern/state/postern.db",
        "Cargo.toml",
        "static/",
    ];
    let mut all = Vec::new();
    for start in before {
        for step in steps {
            for depth in 1..=6 {
                all.extend(ends.iter().map(|end| format!("{start}{}{end}", step.repeat(depth))));
            }
        }
    }
    all
}

/// Other spellings of a path that some server or proxy would take for it.
fn spellings(path: &str) -> Vec<String> {
    let mut all = vec![
        path.to_uppercase(),
        path.replace('/', "//"),
        path.replace('/', "/./"),
        path.replace('/', "%2f"),
    ];
    let ends = [
        "/",
        "//",
        "/.",
        "/..",
        "/../",
        "/./",
        ";",
        ";a=b",
        ";.css",
        ".css",
        ".js",
        ".png",
        ".json",
        ".html",
        "%00",
        "%00.css",
        "%20",
        "%09",
        "%0a",
        "%0d%0a",
        "%2f",
        "%2e",
        "%3f",
        "%23",
        "?",
        "?x=/login",
        "?.css",
        "??",
        "/x",
        "~",
        "/%2e",
        "/..%2flogin",
        "/static/",
        "%ff",
    ];
    all.extend(ends.iter().map(|end| format!("{path}{end}")));
    let starts = [
        "/static/..",
        "/static/%2e%2e",
        "/static/..;",
        "/login/..",
        "/login/..;",
        "/claim/%2e%2e",
        "/.",
        "/;",
        "/%2f",
        "/static",
        "/login",
        "/x/..",
    ];
    all.extend(starts.iter().map(|start| format!("{start}{path}")));
    all
}

#[tokio::test]
async fn no_climbing_path_and_no_spelling_of_a_page_shows_anything_to_a_stranger() {
    let mut stranger = Browser::before(Fake::claimed());
    let mut tried = (0, 0, BTreeSet::new());
    let mut try_one = async |path: &str, mutated: bool| {
        let Ok(uri) = path.parse::<Uri>() else { return };
        stranger.exchange(Request::get(uri).body(Body::empty()).unwrap()).await;
        let got = stranger.status.as_u16();
        // To the login, or nowhere; a path that only takes forms says so.
        assert!([303, 404, 405].contains(&got), "{path}: {got}");
        assert!(got != 303 || stranger.headers["location"] == "/login", "{path}");
        assert!(!stranger.body.contains("root:") && !stranger.body.contains("/logout"), "{path}");
        assert_guarded(&stranger, path);
        tried.2.insert(got);
        match mutated {
            true => tried.1 += 1,
            false => tried.0 += 1,
        }
    };
    for path in climbs() {
        try_one(&path, false).await;
    }
    for route in routes().iter().filter(|route| route.inside) {
        for path in spellings(route.path) {
            try_one(&path, true).await;
        }
    }
    println!("{} climbing paths, {} spellings of pages: answered {:?}", tried.0, tried.1, tried.2);
    assert!(tried.0 >= 5000 && tried.1 >= 2000, "{tried:?}");
    // With a login the probe sees a page.
    let mut owner = Browser::logged_in().await;
    owner.open("/security/forwards").await;
    assert!(owner.status == StatusCode::OK && owner.body.contains("/logout"));
}

/// What somebody in the home may call his device, and what a page must not take for markup.
fn polyglots() -> Vec<String> {
    let cores = [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        "<svg onload=alert(1)>",
        "javascript:alert(1)",
        "<iframe srcdoc='<script>alert(1)</script>'>",
        "<a href=javascript:alert(1)>x</a>",
        "<style>*{display:none}</style>",
        "<form action=//evil.example><button>",
        "<base href=//evil.example>",
        "<meta http-equiv=refresh content=0>",
        "{{7*7}}",
        "{% raw %}",
        "${7*7}",
        "&lt;script&gt;",
        "&#60;script&#62;",
        "<!--",
        "]]>",
        "\u{202e}<b>\u{202c}",
        "\u{feff}<b>",
        "\u{0}<b>",
        "\u{1b}[2J<b>",
        "<b\u{a0}onmouseover=alert(1)>",
        "<ScRiPt/x>",
        "\u{fffd}<b>",
        "<noscript><p title=\"</noscript><img src=x onerror=alert(1)>\">",
    ];
    let around = ["", "\"", "'", "\">", "'>", "</title>", "</textarea>", "--></style></script>"];
    cores.iter().flat_map(|core| around.iter().map(move |start| format!("{start}{core}"))).collect()
}

/// The tags of a page, without what their attributes say.
fn shape(body: &str) -> Vec<String> {
    let tags = body.split('<').skip(1);
    tags.map(|tag| tag.split([' ', '>', '\n']).next().unwrap_or_default().to_owned()).collect()
}

#[tokio::test]
async fn two_hundred_names_of_strangers_add_no_element_to_any_page() {
    let mut plain = filled("name").await;
    let mut shapes = Vec::new();
    for page in pages() {
        shapes.push(shape(&plain.open(page).await.body));
    }
    let all = polyglots();
    assert!(all.len() >= 200);
    // The probe sees one that is not escaped.
    assert_ne!(shape(&format!("<p>{}</p>", all[0])), shape("<p>name</p>"));
    let mut shown = 0;
    for name in &all {
        let mut browser = filled(name).await;
        for (page, wanted) in pages().iter().zip(&shapes) {
            browser.open(page).await;
            assert!(shape(&browser.body) == *wanted, "{page} has another shape with {name:?}");
            shown +=
                usize::from(browser.body.contains("onerror=alert") || browser.body.contains("script&#62;"));
        }
    }
    println!("{} names on {} pages; {shown} times shown as text", all.len(), shapes.len());
    assert!(shown > 200, "the names are not shown at all: {shown}");
}
