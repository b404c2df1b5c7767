//! Who is logged in: the login behind the cookie, and the layer that lets nobody else inside.

pub mod store;

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use axum::extract::{FromRequestParts, Request, State};
use axum::http::request::Parts;
use axum::http::{Extensions, Method};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use postern::door::messages::{
    Call, Greeting, Password, Refusal, Request as Ask, Response as Answer, Status, Trial,
};
use postern::log;
use serde::{Deserialize, Serialize};
use tower_sessions::Session;

use crate::error::{self, LoginEnded, Problem, ProofWanted};
use crate::pages::again;
use crate::serve::Peer;
use crate::view::{self, Chrome};
use crate::{App, daemon::Daemon};

/// Name of the login's cookie. A visitor without a login has none.
pub const COOKIE: &str = "postern";
const LOGIN: &str = "login";
const FLASH: &str = "flash";

/// Paths that a page asks for by itself.
const LIVE: [&str; 1] = [crate::pages::sessions::LIVE];

/// What we remember of a login. The daemon decides by the ticket; without it this process can change nothing.
#[derive(Clone, Serialize, Deserialize)]
pub struct Login {
    /// The daemon's ticket.
    pub ticket: String,
    /// The token that every form of this login carries.
    pub token: String,
    /// Begun by HTTPS. A cookie that went over the network in the clear opens nothing there.
    secure: bool,
}

impl Login {
    /// The login behind a cookie, if it is alive here and was begun as this request came.
    pub async fn of(session: &Session, request: &Extensions) -> Option<Self> {
        let login: Option<Self> = session.get(LOGIN).await.ok().flatten();
        login.filter(|login| login.secure == is_secure(request))
    }

    /// Begins a login with a fresh cookie, whatever the browser had sent.
    pub async fn begin(
        session: &Session,
        ticket: String,
        secure: bool,
        flash: Option<String>,
    ) -> Result<(), Problem> {
        let login = Self { ticket, token: view::random_hex::<32>(), secure };
        let begun = async {
            session.clear().await;
            session.cycle_id().await?;
            if let Some(flash) = flash {
                session.insert(FLASH, flash).await?;
            }
            session.insert(LOGIN, login).await
        };
        begun.await.map_err(|e| Problem::Bug(format!("the login could not be kept: {e}")))
    }
}

/// Whether a request came by HTTPS.
pub fn is_secure(request: &Extensions) -> bool {
    request.get::<Peer>().is_some_and(|peer| peer.secure)
}

/// Where a request comes from, for the daemon's journal and its login delay.
pub fn source(parts: &Parts) -> IpAddr {
    parts.extensions.get::<Peer>().map_or(Ipv4Addr::UNSPECIFIED.into(), |peer| peer.address.ip())
}

/// Asks the daemon before there is a login: a password for a ticket.
pub async fn ticket(daemon: &dyn Daemon, source: IpAddr, request: Ask) -> Result<String, Problem> {
    let call = Call { ticket: None, source: Some(source), attended: true, request };
    match daemon.call(call).await? {
        Answer::Ticket { ticket } => Ok(ticket),
        Answer::Refused(refusal) => Err(Problem::Refused(refusal)),
        _ => Err(Problem::Misunderstood("a login")),
    }
}

/// Wraps what was typed.
pub fn password(typed: &str) -> Password {
    Password(typed.to_owned())
}

/// The owner, with a live login; what is true now was just read. A handler that takes this cannot be reached without.
#[derive(Clone)]
pub struct Admin {
    daemon: Arc<dyn Daemon>,
    session: Session,
    login: Login,
    source: IpAddr,
    /// By a listener of the daemon's, and its port.
    handed_over: bool,
    port: u16,
    /// What is true now.
    pub status: Arc<Status>,
}

impl Admin {
    /// Asks the daemon in the owner's name. A refusal is an error.
    pub async fn ask(&self, request: Ask) -> Result<Answer, Problem> {
        ask(&*self.daemon, &self.login, self.source, true, request).await
    }

    /// The same for a page that asks by itself: it keeps no login alive.
    pub async fn poll(&self, request: Ask) -> Result<Answer, Problem> {
        ask(&*self.daemon, &self.login, self.source, false, request).await
    }

    /// The token of this login's forms.
    pub fn token(&self) -> &str {
        &self.login.token
    }

    /// Asks for something to be done; the daemon's sentence says what is true now.
    pub async fn order(&self, request: Ask) -> Result<String, Problem> {
        match self.ask(request).await? {
            Answer::Done { message } => Ok(message),
            _ => Err(Problem::Misunderstood("an order")),
        }
    }

    /// Asks for something to be done, and says so on the next page. Some: it was refused, and the page with the form
    /// says why.
    pub async fn carry_out(&self, request: Ask) -> Result<Option<Refusal>, Problem> {
        match self.order(request).await {
            Ok(message) => {
                self.flash(message).await;
                Ok(None)
            }
            Err(Problem::Refused(refusal)) if error::of_the_page(refusal.kind) => Ok(Some(refusal)),
            Err(problem) => Err(problem),
        }
    }

    /// What stands around the page at `here`. Takes the flash.
    pub async fn chrome(&self, here: &'static str) -> Chrome {
        let flash = match self.session.get::<String>(FLASH).await {
            Ok(Some(_)) => self.session.remove::<String>(FLASH).await.ok().flatten(),
            _ => None,
        };
        Chrome {
            here,
            token: self.login.token.clone(),
            flash,
            trial: self.status.trial.clone(),
            elsewhere: self.elsewhere(),
            error: false,
            companion: self.status.role == postern::settings::Role::Companion,
        }
    }

    /// Where the page must be opened to show that settings on trial lock nobody out: not where this request came.
    fn elsewhere(&self) -> Option<u16> {
        let trial = self.status.trial.as_ref()?;
        (self.handed_over && !trial.ports.contains(&self.port))
            .then(|| trial.ports.first().copied())
            .flatten()
    }

    /// Says this on the next page.
    pub async fn flash(&self, message: String) {
        if let Err(e) = self.session.insert(FLASH, message).await {
            log::warning(&format!("a message to the owner was lost: {e}"));
        }
    }

    /// Goes on under a new cookie and says this on the next page; whoever has the old cookie has nothing.
    pub async fn renew(&self, message: String) -> Result<(), Problem> {
        Login::begin(&self.session, self.login.ticket.clone(), self.login.secure, Some(message)).await
    }

    /// Ends the login here; the daemon has been told.
    pub async fn leave(&self) {
        end(&self.session).await;
    }
}

impl<S: Sync> FromRequestParts<S> for Admin {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        parts.extensions.get::<Self>().cloned().ok_or(Problem::LoggedOut)
    }
}

async fn ask(
    daemon: &dyn Daemon,
    login: &Login,
    source: IpAddr,
    attended: bool,
    request: Ask,
) -> Result<Answer, Problem> {
    let call = Call { ticket: Some(login.ticket.clone()), source: Some(source), attended, request };
    match daemon.call(call).await? {
        Answer::Refused(refusal) => Err(Problem::Refused(refusal)),
        answer => Ok(answer),
    }
}

async fn end(session: &Session) {
    if let Err(e) = session.flush().await {
        log::warning(&format!("a login could not be forgotten: {e}"));
    }
}

/// Lets only a live login pass, and asks the daemon whether it is one.
pub async fn inside(State(app): State<App>, session: Session, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let Some(login) = Login::of(&session, &parts.extensions).await else {
        return outside(&parts);
    };
    let admin = match admin(&app, &session, login, &parts).await {
        Ok(admin) => admin,
        Err(problem) => return forget_if_ended(&session, problem.into_response()).await,
    };
    parts.extensions.insert(admin.clone());
    let sent = match again::proved(&admin, &mut parts).await {
        Ok(sent) => sent,
        Err(response) => return forget_if_ended(&session, response).await,
    };
    let response = next.run(Request::from_parts(parts, body)).await;
    let response = match sent {
        Some(sent) if response.extensions().get::<ProofWanted>().is_some() => sent.again(&admin),
        _ => response,
    };
    forget_if_ended(&session, response).await
}

async fn forget_if_ended(session: &Session, response: Response) -> Response {
    if response.extensions().get::<LoginEnded>().is_some() {
        end(session).await;
    }
    response
}

fn outside(parts: &Parts) -> Response {
    let claimed = parts.extensions.get::<Greeting>().is_none_or(|g| g.claimed);
    let had_login = view::cookie(&parts.headers, COOKIE).is_some();
    match (&parts.method, claimed, had_login) {
        (&Method::POST, ..) => Problem::LoggedOut.into_response(),
        (_, false, _) => view::see_other("/claim"),
        (_, true, true) => view::see_other("/login?why=ended"),
        (_, true, false) => view::see_other("/login"),
    }
}

/// Whoever takes back what is on trial does not keep it by being here.
const UNDO: &str = "/system/history/undo";

async fn admin(app: &App, session: &Session, login: Login, parts: &Parts) -> Result<Admin, Problem> {
    let source = source(parts);
    let attended = !LIVE.contains(&parts.uri.path());
    let Answer::Status(mut status) = ask(&*app.daemon, &login, source, attended, Ask::Status).await? else {
        return Err(Problem::Misunderstood("status"));
    };
    if let (Some(trial), Some(peer)) = (&status.trial, parts.extensions.get::<Peer>())
        && attended
        && parts.uri.path() != UNDO
        && proves_the_new_path(trial, peer)
    {
        let revision = Some(trial.revision);
        ask(&*app.daemon, &login, source, true, Ask::Confirm { revision }).await?;
        status.trial = None;
    }
    let peer = parts.extensions.get::<Peer>();
    Ok(Admin {
        daemon: app.daemon.clone(),
        session: session.clone(),
        login,
        source,
        handed_over: peer.is_some_and(|peer| peer.handed_over),
        port: peer.map_or(0, |peer| peer.port),
        status: Arc::new(*status),
    })
}

/// The owner has reached us, by a listener of the daemon's, on a connection made after the new settings came into
/// force, where they put the page and by HTTPS if they want that: they did not lock him out. A page may be open on trial where it was
/// before, too, and another firewall may close where it is going.
fn proves_the_new_path(trial: &Trial, peer: &Peer) -> bool {
    peer.handed_over
        && trial.waits.is_none()
        && peer.secure == trial.https
        && trial.ports.contains(&peer.port)
        && peer.since.elapsed().as_millis() < u128::from(trial.age_ms)
}
