//! A browser without script: it keeps cookies, follows 303, and sends exactly the fields our own forms contain.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Instant;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::header::{CONTENT_TYPE, COOKIE, HOST, LOCATION, ORIGIN, SET_COOKIE};
use axum::http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt;
use tower::ServiceExt;

use super::fake::{Fake, PASSWORD};
use crate::serve::Peer;
use crate::{Config, app};

/// The browser, and the page it shows.
pub struct Browser {
    pub daemon: Arc<Fake>,
    app: Router,
    pub host: String,
    pub peer: Peer,
    pub cookies: BTreeMap<String, String>,
    pub path: String,
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: String,
}

/// One form of the page: where it goes and what it holds; an unticked box is `None`.
#[derive(Debug, Clone)]
pub struct Form {
    pub action: String,
    pub fields: Vec<(String, Option<String>)>,
}

impl Form {
    /// Types into a field that must be there.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        let field = self.fields.iter_mut().find(|(n, _)| n == name);
        field.unwrap_or_else(|| panic!("no field {name}")).1 = Some(value.to_owned());
        self
    }

    /// Unticks a box that must be there.
    pub fn untick(mut self, name: &str) -> Self {
        let field = self.fields.iter_mut().find(|(n, _)| n == name);
        field.unwrap_or_else(|| panic!("no box {name}")).1 = None;
        self
    }

    /// As it is sent.
    pub fn body(&self) -> String {
        let sent: Vec<_> = self.fields.iter().filter_map(|(n, v)| v.as_ref().map(|v| (n, v))).collect();
        serde_urlencoded::to_string(sent).unwrap()
    }
}

impl Browser {
    /// Before the pages of `daemon`.
    pub fn before(daemon: Fake) -> Self {
        let daemon = Arc::new(daemon);
        Self::with_app(app(daemon.clone(), &Config::default()), daemon)
    }

    /// Before another application.
    pub fn with_app(app: Router, daemon: Arc<Fake>) -> Self {
        let address = SocketAddr::from(([192, 168, 1, 23], 50_000));
        Self {
            daemon,
            app,
            host: "192.168.1.1".into(),
            peer: Peer { address, since: Instant::now(), handed_over: true, secure: false, port: 80 },
            cookies: BTreeMap::new(),
            path: String::new(),
            status: StatusCode::OK,
            headers: HeaderMap::new(),
            body: String::new(),
        }
    }

    /// Logged in, at the overview.
    pub async fn logged_in() -> Self {
        let mut browser = Self::before(Fake::claimed());
        browser.open("/login").await;
        browser.send(browser.form("password").set("password", PASSWORD)).await;
        assert_eq!((browser.status, browser.path.as_str()), (StatusCode::OK, "/"), "{}", browser.body);
        browser
    }

    /// One exchange, nothing followed.
    pub async fn exchange(&mut self, mut request: Request<Body>) {
        self.path = request.uri().path().to_owned();
        let headers = request.headers_mut();
        headers.entry(HOST).or_insert(self.host.parse().unwrap());
        if !self.cookies.is_empty() {
            let pairs: Vec<String> = self.cookies.iter().map(|(n, v)| format!("{n}={v}")).collect();
            headers.insert(COOKIE, pairs.join("; ").parse().unwrap());
        }
        request.extensions_mut().insert(self.peer);
        let response = self.app.clone().oneshot(request).await.unwrap();
        (self.status, self.headers) = (response.status(), response.headers().clone());
        for cookie in response.headers().get_all(SET_COOKIE) {
            let cookie = cookie.to_str().unwrap();
            let (name, rest) = cookie.split_once('=').unwrap();
            let value = rest.split(';').next().unwrap();
            assert!(value.is_empty() || cookie.contains("HttpOnly; SameSite=Strict; Path=/"), "{cookie}");
            match value.is_empty() || cookie.contains("Max-Age=0") {
                true => self.cookies.remove(name),
                false => self.cookies.insert(name.to_owned(), value.to_owned()),
            };
        }
        let stream = self.headers.get(CONTENT_TYPE).is_some_and(|kind| kind == "text/event-stream");
        let mut body = response.into_body();
        let bytes = match stream {
            // Of a stream that never ends, the first event.
            true => body.frame().await.map_or_else(Bytes::new, |frame| frame.unwrap().into_data().unwrap()),
            false => to_bytes(body, 1 << 20).await.unwrap(),
        };
        self.body = String::from_utf8(bytes.to_vec()).unwrap();
    }

    /// Opens a page, wherever 303 leads.
    pub async fn open(&mut self, path: &str) -> &mut Self {
        let mut path = path.to_owned();
        for _ in 0..5 {
            self.exchange(Request::get(&path).body(Body::empty()).unwrap()).await;
            if self.status != StatusCode::SEE_OTHER {
                return self;
            }
            path = self.headers[LOCATION].to_str().unwrap().to_owned();
        }
        panic!("{path} leads in a circle");
    }

    /// Posts a form as a browser does, and follows 303.
    pub async fn send(&mut self, form: Form) -> &mut Self {
        self.post(&form.action, form.body()).await;
        if self.status == StatusCode::SEE_OTHER {
            let path = self.headers[LOCATION].to_str().unwrap().to_owned();
            self.open(&path).await;
        }
        self
    }

    /// Posts this body as a browser does; nothing is followed.
    pub async fn post(&mut self, path: &str, body: impl Into<Body>) {
        let request = Request::post(path)
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(ORIGIN, format!("{}://{}", if self.peer.secure { "https" } else { "http" }, self.host))
            .header("sec-fetch-site", "same-origin")
            .body(body.into())
            .unwrap();
        self.exchange(request).await;
    }

    /// The form of the page that has this field.
    pub fn form(&self, field: &str) -> Form {
        let has = |form: &Form| form.fields.iter().any(|(name, _)| name == field);
        self.forms().into_iter().find(has).unwrap_or_else(|| panic!("no form with {field}: {}", self.body))
    }

    /// The first form that is sent to `action`.
    pub fn form_to(&self, action: &str) -> Form {
        let found = self.forms().into_iter().find(|form| form.action == action);
        found.unwrap_or_else(|| panic!("no form to {action}: {}", self.body))
    }

    /// The token of the page's forms.
    pub fn token(&self) -> String {
        self.form("token").fields.remove(0).1.unwrap()
    }

    /// Every form of the page, in its order.
    pub fn forms(&self) -> Vec<Form> {
        let mut forms: Vec<Form> = Vec::new();
        for (tag, text) in self.body.split('<').filter_map(|t| t.split_once('>')) {
            if tag.starts_with("form ") {
                forms.push(Form { action: attribute(tag, "action").unwrap(), fields: Vec::new() });
            } else if tag.starts_with("input ") {
                // Of radio buttons with one name a browser sends the chosen one.
                if attribute(tag, "type").as_deref() == Some("radio") && !tag.contains(" checked") {
                    continue;
                }
                // What has no name is not sent: a file that our script reads.
                if attribute(tag, "type").as_deref() == Some("file") && attribute(tag, "name").is_none() {
                    continue;
                }
                let checkbox = attribute(tag, "type").as_deref() == Some("checkbox");
                let value = (!checkbox || tag.contains(" checked"))
                    .then(|| attribute(tag, "value").unwrap_or_default());
                forms.last_mut().unwrap().fields.push((attribute(tag, "name").unwrap(), value));
            } else if let (true, Some(form)) = (tag.starts_with("select "), forms.last_mut()) {
                form.fields.push((attribute(tag, "name").unwrap(), None));
            } else if let (true, Some(form)) = (tag.starts_with("option "), forms.last_mut()) {
                // The first one, unless another is chosen.
                let chosen = form.fields.last_mut().unwrap();
                if chosen.1.is_none() || tag.ends_with(" selected") {
                    chosen.1 = attribute(tag, "value");
                }
            } else if tag.starts_with("textarea ") {
                // The line break after the tag is not part of the text.
                let text = unescaped(&text.replace("\r\n", "\n"));
                let text = text.strip_prefix('\n').unwrap_or(&text).replace('\n', "\r\n");
                forms.last_mut().unwrap().fields.push((attribute(tag, "name").unwrap(), Some(text)));
            }
        }
        forms
    }

    /// What the page says that was just done.
    pub fn flash(&self) -> &str {
        let from = self.body.split_once(r#"<p class="flash" role="status">"#).map_or("", |(_, rest)| rest);
        from.split('<').next().unwrap_or_default()
    }
}

/// An attribute of a tag, unescaped.
pub fn attribute(tag: &str, name: &str) -> Option<String> {
    let (_, rest) = tag.split_once(&format!(" {name}=\""))?;
    Some(unescaped(rest.split('"').next()?))
}

fn unescaped(text: &str) -> String {
    text.replace("&#60;", "<")
        .replace("&#62;", ">")
        .replace("&#34;", "\"")
        .replace("&#39;", "'")
        .replace("&#38;", "&")
}
