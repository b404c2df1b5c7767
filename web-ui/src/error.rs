//! Everything that can go wrong, as a page: what happened, what is true now, what to do.

use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{ALLOW, REFRESH, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use postern::door::messages::{Refusal, RefusalKind};
use postern::log;
use tokio::sync::Semaphore;

use crate::daemon::Silence;
use crate::view::{self, Bare};

/// Header `Refresh` of a page that waits for the daemon.
pub const COMES_BACK: &str = "5; url=/";

/// Why a page could not be shown or a form was not taken.
#[derive(Debug)]
pub enum Problem {
    /// The daemon is not running or did not answer.
    Silent,
    /// The daemon said no.
    Refused(Refusal),
    /// The daemon's answer does not fit the question.
    Misunderstood(&'static str),
    /// No such page.
    NotFound,
    /// The page is there, but not for this method.
    Method,
    /// The Host is not one of ours: a foreign name that leads to our address (DNS rebinding).
    Host,
    /// A form sent from somebody else's page.
    Foreign,
    /// A form without our token, or with an old one.
    Token,
    /// A change without a login.
    LoggedOut,
    /// A form that is not one of ours.
    Malformed,
    /// A form longer than its page takes.
    TooLong,
    /// A form that did not arrive in time.
    Slow,
    /// A bug of ours.
    Bug(String),
}

impl From<Silence> for Problem {
    fn from(_: Silence) -> Self {
        // Said in the log by the gate, once for each outage.
        Self::Silent
    }
}

/// What the log says of a bug.
#[derive(Debug, thiserror::Error)]
#[error("the pages are at fault: {0}")]
struct Fault(String);

/// Mark on a response: the daemon knows no such login any more, so the cookie goes too.
#[derive(Clone)]
pub struct LoginEnded;

/// Mark on a response: the daemon wants the password typed again first.
#[derive(Clone)]
pub struct ProofWanted;

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        use StatusCode as S;
        let page = |status, heading: &str, message: &str| view::problem(status, heading, message);
        match self {
            Self::Silent => {
                let mut response = page(
                    S::SERVICE_UNAVAILABLE,
                    "The Postern daemon is not running",
                    "The pages cannot read or change anything until it runs again; this one looks every 5 seconds. The \
                     last rules stay in force, and traffic flows as before. On the router, as root: service postern \
                     restart.",
                );
                response.headers_mut().insert(REFRESH, HeaderValue::from_static(COMES_BACK));
                response
            }
            Self::Refused(refusal) if refusal.kind == RefusalKind::Login => {
                let mut response = view::see_other("/login?why=ended");
                response.extensions_mut().insert(LoginEnded);
                response
            }
            Self::Refused(refusal) => {
                let mut response = refused(&refusal);
                if refusal.kind == RefusalKind::Prove {
                    response.extensions_mut().insert(ProofWanted);
                }
                response
            }
            Self::Misunderstood(what) => {
                Self::Bug(format!("the daemon's answer to {what} does not fit")).into_response()
            }
            Self::NotFound => page(
                S::NOT_FOUND,
                "There is no such page",
                "The address may be mistyped, or the page has moved. Nothing was changed.",
            ),
            Self::Method => {
                let mut response =
                    page(S::METHOD_NOT_ALLOWED, "This page cannot do that", "Nothing was changed.");
                response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD, POST"));
                response
            }
            Self::Host => page(
                S::MISDIRECTED_REQUEST,
                "This name does not belong to the router",
                "For safety these pages answer only under the router\u{2019}s own address. Type its address into the \
                 address bar, for example 192.168.1.1.",
            ),
            Self::Foreign => page(
                S::FORBIDDEN,
                "This did not come from the router\u{2019}s own pages",
                "Another page tried to change the router\u{2019}s settings. Nothing was changed. If it was you, open \
                 the router\u{2019}s page and do it there.",
            ),
            Self::Token => page(
                S::FORBIDDEN,
                "This form is out of date",
                "Nothing was changed. Open the page again and send the form from there. Cookies must be allowed for \
                 this page.",
            ),
            Self::LoggedOut => {
                Bare::new("You are not logged in", "Nothing was changed. Log in and do it again.")
                    .action("/login", "Log in")
                    .respond(S::FORBIDDEN)
            }
            Self::Malformed => page(
                S::BAD_REQUEST,
                "That form was not understood",
                "Nothing was changed. Open the page again and send the form from there.",
            ),
            Self::TooLong => page(
                S::PAYLOAD_TOO_LARGE,
                "That was too much at once",
                "A form may hold 64 KB, settings to import 128 KB. Nothing was changed.",
            ),
            Self::Slow => page(
                S::REQUEST_TIMEOUT,
                "The form did not arrive in time",
                "Nothing was changed. Check the connection to the router and send it again.",
            ),
            Self::Bug(what) => {
                let incident = log::incident(&Fault(what));
                page(
                    S::INTERNAL_SERVER_ERROR,
                    "The page failed",
                    &format!(
                        "This is a fault in Postern. The firewall is not touched by it. Open the overview to see what \
                         is true now; details are in the system log under {incident}."
                    ),
                )
            }
        }
    }
}

/// The status of an answer that says this refusal.
pub fn status(kind: RefusalKind) -> StatusCode {
    use RefusalKind as K;
    match kind {
        K::Login | K::Wrong | K::Prove | K::Forbidden => StatusCode::FORBIDDEN,
        K::Wait => StatusCode::TOO_MANY_REQUESTS,
        K::Invalid => StatusCode::UNPROCESSABLE_ENTITY,
        K::Conflict | K::OnTrial => StatusCode::CONFLICT,
        K::Failed => StatusCode::BAD_GATEWAY,
    }
}

/// Refusals of a change that the page with the form says itself, with what was typed.
pub fn of_the_page(kind: RefusalKind) -> bool {
    use RefusalKind as K;
    matches!(kind, K::Invalid | K::Conflict | K::OnTrial | K::Failed)
}

fn refused(refusal: &Refusal) -> Response {
    use RefusalKind as K;
    let heading = match refusal.kind {
        K::Login | K::Wrong | K::Prove | K::Forbidden => "That is not allowed",
        K::Wait => "Please wait",
        K::Invalid => "A value is wrong",
        K::Conflict => "The settings have changed meanwhile",
        K::OnTrial => "Settings are on trial",
        K::Failed => "It was not done",
    };
    let mut response = view::problem(status(refusal.kind), heading, &refusal.message);
    if refusal.kind == K::Wait {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(refusal.wait_seconds));
    }
    response
}

/// Requests that are answered at once, those included whose browser has hung up: four times the connections that there may be. A daemon that is
/// slow to answer must not let whoever asks and hangs up, again and again, fill the memory.
const AT_ONCE: usize = 512;

/// How many more may be answered.
#[derive(Debug, Clone)]
pub struct Room(Arc<Semaphore>);

impl Default for Room {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// Runs the request in a task of its own. A panic there becomes a page, and a browser that hangs up does not cut a
/// change in half.
pub async fn rescue(State(Room(room)): State<Room>, request: Request, next: Next) -> Response {
    let Ok(place) = room.try_acquire_owned() else { return Problem::Silent.into_response() };
    let answer = async move {
        let answer = next.run(request).await;
        drop(place);
        answer
    };
    match tokio::spawn(answer).await {
        Ok(response) => response,
        Err(ended) => Problem::Bug(format!("a page ended early: {ended}")).into_response(),
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::body::Body;
    use axum::middleware::from_fn_with_state;
    use axum::routing::get;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn who_asks_and_hangs_up_again_and_again_is_not_answered_without_end() {
        let app = Router::new()
            .route("/", get(async || std::future::pending::<()>().await))
            .route("/quick", get(async || "here"))
            .layer(from_fn_with_state(Room::default(), rescue));
        let ask = |path: &str| app.clone().oneshot(Request::get(path).body(Body::empty()).unwrap());
        assert_eq!(ask("/quick").await.unwrap().status(), StatusCode::OK);
        for _ in 0..AT_ONCE {
            let hung_up = tokio::time::timeout(std::time::Duration::ZERO, ask("/")).await;
            assert!(hung_up.is_err(), "nobody answers it");
        }
        assert_eq!(ask("/").await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(ask("/quick").await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);
    }
}
