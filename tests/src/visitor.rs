//! Somebody with a browser without script: cookies, pages, forms.

use std::net::{IpAddr, SocketAddr};

use crate::form::{Form, tags};
use crate::host::Host;
use crate::http::{Request, Response};

impl Host {
    /// One HTTP exchange from this host.
    ///
    /// # Errors
    /// What the client said when there was no answer.
    #[track_caller]
    pub fn http(&self, request: &Request) -> Result<Response, String> {
        let text = serde_json::to_string(request).expect("a request can be written as JSON");
        let output = self.run_with(&["postern-lab", "fetch"], &text);
        if !output.ok() {
            return Err(output.err);
        }
        serde_json::from_str(&output.out).map_err(|error| format!("{error}: {}", output.out))
    }
}

/// A person at a host of the lab who visits the admin pages. Redirects are not followed by themselves.
#[derive(Debug)]
pub struct Visitor {
    host: Host,
    to: SocketAddr,
    /// Sent as `Host`, and the base of the `Origin` a browser would send.
    pub name: String,
    cookies: Vec<(String, String)>,
}

impl Visitor {
    /// A visitor at `host` of the admin pages at `to`, port 80.
    #[must_use]
    pub fn new(host: &Host, to: impl Into<IpAddr>) -> Self {
        let to = SocketAddr::new(to.into(), 80);
        Self { host: host.clone(), to, name: to.ip().to_string(), cookies: Vec::new() }
    }

    /// Goes on at another port of the same address: a browser sends it the same cookies.
    pub fn at_port(&mut self, port: u16) {
        self.to.set_port(port);
        self.name = format!("{}:{port}", self.to.ip());
    }

    /// One request with this visitor's cookies and more `headers`.
    ///
    /// # Panics
    /// When there is no HTTP answer.
    #[track_caller]
    pub fn request(&mut self, method: &str, path: &str, body: &str, headers: &[(&str, &str)]) -> Response {
        match self.try_request(method, path, body, headers) {
            Ok(response) => response,
            Err(error) => panic!("{method} {path} from {} got no answer: {error}", self.host.name),
        }
    }

    /// The same; there may be no answer.
    ///
    /// # Errors
    /// What the client said.
    pub fn try_request(
        &mut self,
        method: &str,
        path: &str,
        body: &str,
        headers: &[(&str, &str)],
    ) -> Result<Response, String> {
        let mut all = vec![("Host".to_owned(), self.name.clone())];
        if !self.cookies.is_empty() {
            let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
            all.push(("Cookie".into(), pairs.collect::<Vec<_>>().join("; ")));
        }
        all.extend(headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let request = Request {
            to: self.to,
            method: method.into(),
            path: path.into(),
            headers: all,
            body: body.into(),
        };
        let response = self.host.http(&request)?;
        for cookie in response.headers_named("set-cookie") {
            let pair = cookie.split(';').next().unwrap_or_default();
            if let Some((name, value)) = pair.split_once('=') {
                self.cookies.retain(|(known, _)| known != name);
                if !value.is_empty() && !cookie.to_ascii_lowercase().contains("max-age=0") {
                    self.cookies.push((name.to_owned(), value.to_owned()));
                }
            }
        }
        Ok(response)
    }

    /// Opens a page.
    #[track_caller]
    pub fn get(&mut self, path: &str) -> Response {
        self.request("GET", path, "", &[("Sec-Fetch-Site", "none"), ("Sec-Fetch-Mode", "navigate")])
    }

    /// Sends `form`, which was read from the page at `path`, with the headers a browser adds.
    #[track_caller]
    pub fn submit(&mut self, path: &str, form: &Form) -> Response {
        let origin = format!("http://{}", self.name);
        self.submit_from(path, form, &[("Origin", &origin), ("Sec-Fetch-Site", "same-origin")])
    }

    /// Sends `form` with these headers instead.
    #[track_caller]
    pub fn submit_from(&mut self, path: &str, form: &Form, headers: &[(&str, &str)]) -> Response {
        let action = if form.action.is_empty() { path } else { &form.action };
        let mut all = vec![("Content-Type", "application/x-www-form-urlencoded")];
        all.extend_from_slice(headers);
        self.request("POST", action, &form.body(), &all)
    }

    /// Opens the page and returns the form that has `field`.
    ///
    /// # Panics
    /// When the page has none.
    #[track_caller]
    pub fn form(&mut self, path: &str, field: &str) -> Form {
        let page = self.get(path);
        let form = Form::all(&page.body).into_iter().find(|form| form.method == "post" && form.has(field));
        match form {
            Some(form) => form,
            None => panic!("{path} ({}) has no form with `{field}`:\n{}", page.status, page.body),
        }
    }

    /// Opens the page and sends its form that goes to `action`, as it stands.
    ///
    /// # Panics
    /// When the page has none.
    #[track_caller]
    pub fn press(&mut self, path: &str, action: &str) -> Response {
        let page = self.get(path);
        let form =
            Form::all(&page.body).into_iter().find(|form| form.method == "post" && form.action == action);
        match form {
            Some(form) => self.submit(path, &form),
            None => panic!("{path} ({}) has no form to {action}:\n{}", page.status, page.body),
        }
    }

    /// The cookies it holds now, as name and value.
    #[must_use]
    pub fn cookies(&self) -> &[(String, String)] {
        &self.cookies
    }

    /// Takes over another visitor's cookies: what a thief of the cookie would have.
    pub fn steal_cookies(&mut self, other: &Self) {
        self.cookies.clone_from(&other.cookies);
    }
}

impl Response {
    /// The attribute `wanted` of the element with `data-protocol="PROTOCOL"`, or of the first one inside it that has it.
    #[must_use]
    pub fn protocol(&self, protocol: &str, wanted: &str) -> Option<String> {
        let all = tags(&self.body);
        let from = all.iter().position(|(tag, _)| tag.get("data-protocol") == Some(protocol))?;
        let other = |tag: &crate::form::Tag| tag.get("data-protocol").is_some_and(|name| name != protocol);
        let inside = all[from..].iter().take_while(|(tag, _)| !other(tag));
        inside.filter_map(|(tag, _)| tag.get(wanted)).map(str::to_owned).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_effect_of_a_protocol_is_read_from_its_own_element() {
        let body = r#"<li data-protocol="pptp"><b data-effect="ready" data-open="2"></b></li>
            <li data-protocol="l2tp" data-effect="blocked">"#;
        let page = Response { status: 200, headers: Vec::new(), body: body.into() };
        assert_eq!(page.protocol("pptp", "data-effect").as_deref(), Some("ready"));
        assert_eq!(page.protocol("pptp", "data-open").as_deref(), Some("2"));
        assert_eq!(page.protocol("l2tp", "data-effect").as_deref(), Some("blocked"));
        assert_eq!(page.protocol("l2tp", "data-open"), None);
    }
}
