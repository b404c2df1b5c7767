//! The pages of Postern. Speaks HTTP to the browser and [`postern::door::messages`] to the daemon, and nothing else:
//! no file, no program, no capability.
//!
//! ```text
//!  browser ─▶ serve ─▶ headers ─▶ rescue ─▶ gate ─▶ cookies ─▶ logins ─▶ forms ─▶ route ─▶ inside ─▶ page ─▶ daemon
//!             (limits) (always)   (panics)  (Host)  (HTTPS)   (cookie)  (token)          (login)
//! ```
//!
//! Everything left of `page` stands in the way of every request; a page cannot opt out of it.

#![cfg_attr(test, allow(clippy::unwrap_used, clippy::type_complexity))]

pub mod assets;
pub mod chart;
pub mod confine;
pub mod daemon;
pub mod error;
pub mod form;
pub mod guard;
pub mod login;
pub mod pages;
pub mod serve;
pub mod view;
pub mod words;

#[cfg(test)]
extern crate self as postern_web;
#[cfg(test)]
mod testing;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::Router;
use axum::handler::Handler;
use axum::http::Method;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::MethodRouter;
use tower_sessions::SessionManagerLayer;
use tower_sessions::cookie::SameSite;

use daemon::Daemon;
use error::Problem;
use login::store::Logins;
use pages::{
    about, access, account, backup, claim, confirm, devices, diagnose, firewall, forwards, helpers, history,
    internet, journal, local_network, login as login_page, look_again, mend, overview, passthrough, ports,
    restart, role, rules, self_test, sessions, switch_on, tools,
};

/// Every route, on one screen. `open`: anybody on the local network; `inside`: only with a live login.
pub fn routes() -> Vec<Route> {
    vec![
        open("/claim").get(claim::show).post(claim::save),
        open("/login").get(login_page::show).post(login_page::save),
        open("/static/{name}").get(assets::show),
        inside("/logout").post(login_page::end),
        inside("/").get(overview::show),
        inside("/vpn-sessions").get(sessions::show),
        inside("/vpn-sessions/live").get(sessions::live),
        inside("/vpn-sessions/end").post(sessions::end),
        inside("/diagnose").get(diagnose::show),
        inside("/diagnose/measure").post(diagnose::measure),
        inside("/tools").get(tools::show).post(tools::save),
        inside("/diagnose/self-test").get(self_test::show).post(self_test::begin),
        inside("/switch-on").post(switch_on::save),
        inside("/allow-device").post(switch_on::allow),
        inside("/network/internet").get(internet::show).post(internet::save),
        inside("/network/internet/move-home").post(internet::move_home),
        inside("/network/role").get(role::show).post(role::save),
        inside("/network/role/openwrt").get(role::openwrt::show).post(role::openwrt::save),
        inside("/network/ports").get(ports::show).post(ports::save),
        inside("/network/ports/look").post(ports::look),
        inside("/network/local").get(local_network::show).post(local_network::save),
        inside("/network/devices").get(devices::show).post(devices::save),
        inside("/network/devices/remove").post(devices::remove),
        inside("/network/devices/end").post(devices::end),
        inside("/security/vpn-passthrough").get(passthrough::show).post(passthrough::save),
        inside("/security/vpn-passthrough/rules").get(rules::show),
        inside("/security/firewall").get(firewall::show).post(firewall::save),
        inside("/security/forwards").get(forwards::show).post(forwards::save),
        inside("/security/forwards/switch").post(forwards::switch),
        inside("/security/forwards/remove").post(forwards::remove),
        inside("/security/helpers").get(helpers::show).post(helpers::save),
        inside("/system/about").get(about::show),
        inside("/system/history").get(history::show),
        inside("/system/history/undo").post(history::undo),
        inside("/system/history/go-back").post(history::go_back),
        inside("/system/access").get(access::show).post(access::save),
        inside("/system/journal").get(journal::show),
        inside("/system/journal/download").get(journal::download),
        inside("/system/account").get(account::show).post(account::save),
        inside("/system/account/end").post(account::end),
        inside("/system/account/end-others").post(account::end_others),
        inside("/system/backup").get(backup::show).post(backup::preview),
        inside("/system/backup/export").get(backup::export),
        inside("/system/backup/import").post(backup::save),
        inside("/system/backup/take").post(backup::sealed::take),
        inside("/system/backup/restore").post(backup::sealed::preview),
        inside("/system/backup/restore/now").post(backup::sealed::restore),
        inside("/system/restart").get(restart::show).post(restart::save),
        inside("/system/restart/reset").post(restart::reset),
        inside("/confirm").post(confirm::save),
        inside("/mend").post(mend::save),
        inside("/look-again").post(look_again::save),
    ]
}

/// The whole application: every route behind every guard.
pub fn app(daemon: Arc<dyn Daemon>, config: &Config) -> Router {
    guarded(routes(), App::new(daemon, config))
}

/// What differs between the box and a test.
#[derive(Debug, Clone)]
pub struct Config {
    /// The address of `--listen`, which is then a Host of ours too.
    pub listen: Option<SocketAddr>,
    /// A form must have arrived after so long.
    pub body_timeout: Duration,
    /// Told by [`serve::serve`].
    pub https: serve::HttpsPort,
}

impl Default for Config {
    fn default() -> Self {
        Self { listen: None, body_timeout: Duration::from_secs(10), https: serve::HttpsPort::default() }
    }
}

/// What every handler and guard may use.
#[derive(Clone)]
pub struct App {
    /// The daemon behind the door.
    pub daemon: Arc<dyn Daemon>,
    /// Who is logged in.
    pub logins: Logins,
    /// Hosts of ours that the daemon cannot know.
    pub hosts: Arc<[String]>,
    /// See [`Config::body_timeout`].
    pub body_timeout: Duration,
    /// See [`Config::https`].
    pub https: serve::HttpsPort,
    /// The daemon did not answer last time.
    silent: Arc<AtomicBool>,
}

impl App {
    /// With nobody logged in.
    pub fn new(daemon: Arc<dyn Daemon>, config: &Config) -> Self {
        let mut hosts = Vec::new();
        if let Some(listen) = config.listen {
            hosts.push(listen.ip().to_string());
            if listen.ip().is_loopback() {
                hosts.push("localhost".to_owned());
            }
        }
        Self {
            daemon,
            logins: Logins::default(),
            hosts: hosts.into(),
            body_timeout: config.body_timeout,
            https: config.https.clone(),
            silent: Arc::default(),
        }
    }
}

/// One path, who may use it, and how.
pub struct Route {
    /// As axum reads it.
    pub path: &'static str,
    /// Whether a live login is needed.
    pub inside: bool,
    /// Methods with a handler; GET answers HEAD too.
    pub methods: Vec<Method>,
    on: MethodRouter<App>,
}

fn open(path: &'static str) -> Route {
    Route { path, inside: false, methods: Vec::new(), on: MethodRouter::new() }
}

fn inside(path: &'static str) -> Route {
    Route { inside: true, ..open(path) }
}

impl Route {
    fn get<H: Handler<T, App>, T: 'static>(mut self, handler: H) -> Self {
        self.methods.push(Method::GET);
        self.on = self.on.get(handler);
        self
    }

    fn post<H: Handler<T, App>, T: 'static>(mut self, handler: H) -> Self {
        self.methods.push(Method::POST);
        self.on = self.on.post(handler);
        self
    }
}

fn guarded(routes: Vec<Route>, app: App) -> Router {
    let mut router = Router::new();
    for route in routes {
        let on = match route.inside {
            true => route.on.route_layer(from_fn_with_state(app.clone(), login::inside)),
            false => route.on,
        };
        router = router.route(route.path, on);
    }
    // `guard::cookies` makes it Secure over HTTPS.
    let logins = SessionManagerLayer::new(app.logins.clone())
        .with_name(login::COOKIE)
        .with_same_site(SameSite::Strict)
        .with_http_only(true)
        .with_secure(false);
    router
        .fallback(async || Problem::NotFound)
        .method_not_allowed_fallback(async || Problem::Method)
        .layer(from_fn_with_state(app.clone(), guard::forms))
        .layer(logins)
        .layer(from_fn(guard::cookies))
        .layer(from_fn_with_state(app.clone(), guard::gate))
        .layer(from_fn_with_state(error::Room::default(), error::rescue))
        .layer(from_fn(guard::headers))
        .with_state(app)
}
