//! Requests of chance: whatever is sent, no page fails. `POSTERN_FUZZ=1000000` for more than those of every run, and others each time;
//! `POSTERN_SEED` repeats one.

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, HeaderName, HeaderValue, LOCATION};
use axum::http::{Method, Request, Uri};

use super::browser::{Browser, Form};
use super::filled::{fill, forms};
use super::guards::assert_guarded;
use crate::routes;

/// Requests in a run that nobody has told otherwise.
const MANY: u64 = 100_000;
/// Their seed: the same requests each time, so that a run fails because of what was changed.
const SEED: u64 = 20_261_107;
/// Words that some page has stumbled over, somewhere.
const WORDS: [&str; 40] = [
    "",
    " ",
    "0",
    "-1",
    "1",
    "true",
    "on",
    "65536",
    "99999999999999999999",
    "9223372036854775807",
    "NaN",
    "1e309",
    "0x10",
    "null",
    "../",
    "%00",
    "\u{0}",
    "\r\nSet-Cookie: a=b",
    "\u{1b}[2J",
    "\u{202e}",
    "<script>",
    "'\"><img src=x>",
    "; id",
    "$(id)",
    "`id`",
    "|id",
    "--help",
    "192.168.1.20",
    "::1",
    "02:00:00:00:01:65",
    "tcp 80 to 192.168.1.20",
    "[[forwards]]",
    "1723,1724",
    ",,,",
    "a.b.c.d",
    "xn--",
    "\u{1f600}",
    "2030-01-01T00:00:00Z",
    "reset",
    "Postern backup 1\n",
];

/// A small generator (xorshift64, Marsaglia 2003): what failed can be repeated by its seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    fn word(&mut self) -> String {
        match self.below(8) {
            0 => (0..self.below(40))
                .map(|_| char::from_u32(self.below(0x3000) as u32).unwrap_or('x'))
                .collect(),
            1 => self.one(&WORDS).repeat(self.below(300)),
            _ => (*self.one(&WORDS)).to_owned(),
        }
    }

    fn path(&mut self, all: &[&str]) -> String {
        let mut path = self.one(all).replace("{name}", "postern.css");
        for _ in 0..self.below(3) {
            let at = self.below(path.len() + 1);
            match self.below(4) {
                0 => path.truncate(at.max(1)),
                1 => {
                    let word: &&str = self.one(&["/", "..", "%2e", "%", ";", "//", "%00", "~"]);
                    path.insert_str(at, word);
                }
                _ => {}
            }
        }
        if self.below(2) == 0 {
            let names = [
                "edit", "why", "kind", "text", "page", "since", "device", "sort", "id", "skip", "limit", "q",
            ];
            let query: Vec<(&str, String)> =
                (0..self.below(4)).map(|_| (*self.one(&names), self.word())).collect();
            path = format!("{path}?{}", serde_urlencoded::to_string(query).unwrap());
        }
        path
    }

    /// A form with some of its values, names and fields others.
    fn form(&mut self, form: &Form) -> Vec<u8> {
        let mut fields: Vec<(String, String)> = form
            .fields
            .iter()
            .map(|(name, value)| (name.clone(), value.clone().unwrap_or_else(|| "true".to_owned())))
            .collect();
        for _ in 0..self.below(4) {
            let at = self.below(fields.len().max(1));
            match (self.below(8), fields.get_mut(at)) {
                // The token is mostly left alone: without it nothing gets past the guard.
                (0..=4, Some(field)) if field.0 != "token" || self.below(9) == 0 => field.1 = self.word(),
                (5, Some(field)) => field.0 = self.word(),
                (6, Some(_)) => drop(fields.remove(at)),
                _ => fields.push((self.word(), self.word())),
            }
        }
        let mut body = serde_urlencoded::to_string(fields).unwrap().into_bytes();
        if self.below(10) == 0 && !body.is_empty() {
            let at = self.below(body.len());
            body[at] = self.below(256) as u8;
        }
        body
    }

    fn request(&mut self, paths: &[&str], forms: &[Form]) -> Option<Request<Body>> {
        let methods = [
            "GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "BREW", "get",
        ];
        let form = self.one(forms);
        let posts = self.below(5) < 3;
        let (method, path) = match posts {
            true => ("POST", if self.below(10) == 0 { self.path(paths) } else { form.action.clone() }),
            false => (*self.one(&methods), self.path(paths)),
        };
        let mut request = Request::builder()
            .method(Method::from_bytes(method.as_bytes()).ok()?)
            .uri(path.parse::<Uri>().ok()?);
        if posts && self.below(30) != 0 {
            request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        }
        let names = [
            "cookie",
            "origin",
            "sec-fetch-site",
            "content-type",
            "accept",
            "x-forwarded-for",
            "range",
            "if-none-match",
            "expect",
            "authorization",
            "accept-language",
            "host",
            "content-length",
            "transfer-encoding",
            "upgrade",
            "te",
        ];
        for _ in 0..[0, 0, 0, 1, 2][self.below(5)] {
            let value = HeaderValue::from_bytes(self.word().as_bytes()).ok();
            if let (Ok(name), Some(value)) = (HeaderName::try_from(*self.one(&names)), value) {
                request = request.header(name, value);
            }
        }
        let body = if posts { self.form(form) } else { Vec::new() };
        request.body(Body::from(body)).ok()
    }
}

/// Logged in, on a router that shows every form.
async fn ready() -> (Browser, Vec<Form>) {
    let mut browser = Browser::logged_in().await;
    fill(&mut browser.daemon.state(), "name");
    let forms = forms(&mut browser).await;
    (browser, forms)
}

#[tokio::test]
async fn no_request_of_chance_makes_a_page_fail() {
    let told = |name: &str| std::env::var(name).ok().and_then(|n| n.parse::<u64>().ok());
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos() as u64;
    let (seed, number) = match (told("POSTERN_SEED"), told("POSTERN_FUZZ")) {
        (Some(seed), number) => (seed.max(1), number.unwrap_or(MANY)),
        (None, Some(number)) => (now | 1, number),
        (None, None) => (SEED, MANY),
    };
    println!("seed {seed}");
    let mut chance = Chance(seed);
    let paths: Vec<&str> = routes().iter().map(|route| route.path).collect();
    let (mut browser, mut all) = ready().await;
    let mut statuses: BTreeMap<u16, u64> = BTreeMap::new();
    let mut outside = false;
    for n in 0..number {
        // Logged out by chance, or the forms' revision has become old.
        if n % 500 == 499 || outside {
            (browser, all) = ready().await;
        }
        let Some(request) = chance.request(&paths, &all) else { continue };
        let what = format!("seed {seed}, number {n}: {} {}", request.method(), request.uri());
        browser.exchange(request).await;
        let status = browser.status.as_u16();
        // A fault of ours; a 502 would be the daemon's refusal, which this one has none of.
        assert!(status < 500, "{what}: {status}\n{}", browser.body);
        assert_guarded(&browser, &what);
        *statuses.entry(status).or_default() += 1;
        let led = browser.headers.get(LOCATION).is_some_and(|to| to.as_bytes().starts_with(b"/login"));
        outside = led || !browser.cookies.contains_key("postern");
    }
    println!("{number} requests of chance (seed {seed}): {statuses:?}");
    // It got far enough to see a page fail: forms were taken, refused with reasons, and not let in.
    for wanted in [200, 303, 400, 403, 404, 405, 422] {
        assert!(statuses.contains_key(&wanted), "no request was answered {wanted}: {statuses:?}");
    }
}
