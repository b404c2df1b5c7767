//! What every page shares: the frame around it, cookies, and what is true of a protocol.

use askama::Template;
use axum::http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use postern::door::messages::{Defeated, Effect, Protocol, Status, Trial};
use postern::log;

use crate::assets;
use crate::error::Problem;
use crate::guard::FORM_COOKIE;
use crate::words::grouped;

/// What stands around a page of somebody who is logged in.
pub struct Chrome {
    /// Path of the page, for the menu.
    pub here: &'static str,
    /// The login's form token.
    pub token: String,
    /// Said once: what is true since the last form.
    pub flash: Option<String>,
    /// Settings on trial.
    pub trial: Option<Trial>,
    /// The port to open the page at for them to be kept; none: it is this one.
    pub elsewhere: Option<u16>,
    /// The form was refused; the title says so.
    pub error: bool,
    /// Another firewall is there.
    pub companion: bool,
}

impl Chrome {
    /// How many seconds the settings on trial have in all.
    pub fn trial_seconds(&self) -> u64 {
        self.trial.as_ref().map_or(0, |trial| trial.age_ms / 1000 + u64::from(trial.seconds_left))
    }

    /// Beside another firewall: what this page is about is done by that one, in words. None: it is ours, at least in part.
    pub fn theirs(&self) -> Option<&'static str> {
        if !self.companion {
            return None;
        }
        match self.here {
            "/network/internet" => {
                Some("The internet address is the other firewall\u{2019}s system\u{2019}s affair.")
            }
            "/network/local" => {
                Some("Your devices get their addresses and names from the other firewall\u{2019}s system.")
            }
            "/network/ports" => Some("The ports are set up by the other firewall\u{2019}s system."),
            "/security/firewall" => Some("What comes in and goes out is decided by the other firewall."),
            "/security/forwards" => Some("Ports are forwarded by the other firewall: add them there."),
            "/security/helpers" => Some(
                "The other firewall attaches these helpers: switch them on there. PPTP\u{2019}s is Postern\u{2019}s.",
            ),
            _ => None,
        }
    }

    /// Beside another firewall: what becomes of what is saved on such a page.
    pub fn saved_beside(&self) -> &'static str {
        match self.here {
            // Its form sets the role too.
            "/network/ports" => "Saving makes this box the router.",
            _ => "It can be set and is kept; it has no effect now.",
        }
    }
}

/// A page without a menu: something is wrong, or nobody is logged in.
#[derive(Template)]
#[template(path = "problem.html")]
pub struct Bare<'a> {
    heading: &'a str,
    message: &'a str,
    href: &'static str,
    action: &'static str,
    error: bool,
}

impl<'a> Bare<'a> {
    /// Says what happened, and leads to the overview.
    pub fn new(heading: &'a str, message: &'a str) -> Self {
        Self { heading, message, href: "/", action: "Go to the overview", error: true }
    }

    /// Leads elsewhere.
    pub fn action(mut self, href: &'static str, action: &'static str) -> Self {
        (self.href, self.action) = (href, action);
        self
    }

    /// As a response.
    pub fn respond(&self, status: StatusCode) -> Response {
        html(status, self)
    }
}

/// A page that says what is wrong.
pub fn problem(status: StatusCode, heading: &str, message: &str) -> Response {
    Bare::new(heading, message).respond(status)
}

/// Renders.
pub fn html(status: StatusCode, page: &impl Template) -> Response {
    match page.render() {
        Ok(text) => (status, [(CONTENT_TYPE, "text/html; charset=utf-8")], text).into_response(),
        // Not a Problem: that would render again.
        Err(e) => {
            log::warning(&format!("a page could not be rendered: {e}"));
            (StatusCode::INTERNAL_SERVER_ERROR, "The page failed. The firewall is not touched by it.")
                .into_response()
        }
    }
}

/// Sends the browser to another page, with GET.
pub fn see_other(path: &str) -> Response {
    (StatusCode::SEE_OTHER, [(LOCATION, path)]).into_response()
}

/// So many random bytes, in hexadecimal digits.
pub fn random_hex<const BYTES: usize>() -> String {
    let mut bytes = [0; BYTES];
    // Linux has had getrandom(2) since 3.17; a box without it could not have made its ticket either.
    getrandom::fill(&mut bytes).expect("the kernel gives random bytes");
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// The cookie `name`, if the browser sent exactly one.
pub fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let all = headers.get_all(COOKIE).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(';'));
    let mut ours = all.filter_map(|pair| pair.trim().split_once('=')).filter(|(n, _)| *n == name);
    match (ours.next(), ours.next()) {
        (Some((_, value)), None) => Some(value),
        _ => None,
    }
}

/// The form token of a visitor without a login: the one the browser already has, so that two tabs both work.
pub fn visitor_token(headers: &HeaderMap) -> String {
    let ours = |t: &&str| t.len() == 64 && t.bytes().all(|b| b.is_ascii_hexdigit());
    cookie(headers, FORM_COOKIE).filter(ours).map_or_else(random_hex::<32>, str::to_owned)
}

/// Gives a visitor the cookie that goes with the token in the form.
pub fn with_visitor_token(mut response: Response, token: &str) -> Response {
    let cookie = format!("{FORM_COOKIE}={token}; HttpOnly; SameSite=Strict; Path=/");
    match HeaderValue::from_str(&cookie) {
        Ok(cookie) => {
            response.headers_mut().append(SET_COOKIE, cookie);
            response
        }
        Err(_) => Problem::Bug("a token is no header".into()).into_response(),
    }
}

/// What is true of one protocol, for the column beside the choice.
pub struct Truth {
    /// As the daemon read it back.
    pub seen: Protocol,
    /// What people call one open connection of it.
    pub open_word: &'static str,
    /// Which rules of another firewall keep it from working: each once, the newest first, at most [`Truth::DEFEATS`].
    pub defeats: Vec<Defeated>,
}

impl Truth {
    /// Most rules that are told of one protocol.
    pub const DEFEATS: usize = 3;

    /// The protocol `name` of what is true now; none: the daemon did not tell.
    pub fn of(status: &Status, name: &str) -> Option<Self> {
        let open_word = if name == "pptp" { "Calls now" } else { "Tunnels now" };
        let seen = status.passthrough.iter().find(|p| p.name == name)?.clone();
        let mut newest: Vec<&Defeated> = status.defeats.iter().filter(|one| one.name == name).collect();
        newest.sort_by_key(|one| one.last_seconds);
        let mut defeats: Vec<Defeated> = Vec::new();
        for one in newest {
            if !defeats.iter().any(|known| known.how == one.how && known.dropper == one.dropper) {
                defeats.push(one.clone());
            }
        }
        defeats.truncate(Self::DEFEATS);
        Some(Self { seen, open_word, defeats })
    }

    /// Why it is not as it is set, where that is no other firewall's rule: those stand below, each with what to add.
    pub fn reason(&self) -> Option<&str> {
        let told = |reason: &&str| !self.defeats.iter().any(|one| reason.starts_with(&one.sentence));
        self.seen.reason.as_deref().filter(told)
    }

    /// The name people know.
    pub fn title(&self) -> &'static str {
        match self.seen.name.as_str() {
            "ipsec" => "IPsec",
            "l2tp" => "L2TP",
            _ => "PPTP",
        }
    }

    /// The effect as a word for programs.
    pub fn effect(&self) -> &'static str {
        effect(self.seen.effect)
    }

    /// The chip's word and shape; its colour follows from [`Truth::effect`].
    pub fn chip(&self) -> (&'static str, &'static str) {
        chip(self.seen.effect)
    }

    /// Packets let through.
    pub fn passed(&self) -> String {
        grouped(self.seen.passed)
    }

    /// Packets refused.
    pub fn refused(&self) -> String {
        grouped(self.seen.refused)
    }

    /// IPsec: open tunnels that use plain ESP.
    pub fn plain_esp(&self) -> u32 {
        self.seen.open.saturating_sub(self.seen.nat_traversal)
    }
}

/// An effect as a word for programs.
pub fn effect(effect: Effect) -> &'static str {
    match effect {
        Effect::Working => "working",
        Effect::Ready => "ready",
        Effect::Blocked => "blocked",
        Effect::Differs => "differs",
        Effect::Inactive => "inactive",
    }
}

/// The shape and word of its chip.
pub fn chip(effect: Effect) -> (&'static str, &'static str) {
    match effect {
        Effect::Working => ("\u{25cf}", "Working"),
        Effect::Ready => ("\u{25cb}", "Ready"),
        Effect::Blocked => ("\u{2715}", "Blocked"),
        Effect::Differs => ("\u{25b2}", "Differs"),
        Effect::Inactive => ("\u{2013}", "Not in effect"),
    }
}

/// Addresses for the templates.
pub fn style() -> &'static str {
    assets::style()
}

/// Addresses for the templates.
pub fn icon() -> &'static str {
    assets::icon()
}
