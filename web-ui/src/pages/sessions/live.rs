//! The table again whenever it has changed, as server-sent events (WHATWG HTML, section 9.2).

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use askama::Template;
use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use hyper::body::{Bytes, Frame};
use postern::door::messages::{Request as Ask, Response as Answer};
use tokio::sync::{Semaphore, mpsc};

use super::Asked;
use crate::login::Admin;

/// How often the daemon is asked. It looks at the kernel as often as that costs little.
const EVERY: Duration = Duration::from_secs(2);
/// A stream ends after this; the browser asks for the next one by itself, and its login is looked at again.
const LIFE: Duration = Duration::from_secs(120);
/// Streams at once. Who gets none has the Refresh link.
static STREAMS: Semaphore = Semaphore::const_new(8);

/// Until the browser goes, the login ends or the daemon is silent.
pub async fn live(admin: Admin, uri: Uri) -> Response {
    let Ok(place) = STREAMS.try_acquire() else {
        // No content: the browser does not ask again.
        return StatusCode::NO_CONTENT.into_response();
    };
    let (send, receive) = mpsc::channel(1);
    tokio::spawn(async move {
        let _place = place;
        let asked = Asked::of(&uri);
        let (begun, mut last) = (Instant::now(), String::new());
        while begun.elapsed() < LIFE {
            let Ok(Answer::Sessions(page)) = admin.poll(Ask::Sessions { filter: asked.filter() }).await
            else {
                return;
            };
            let Ok(text) = asked.table(&page, admin.token(), &admin.status.clock).render() else { return };
            // What has not changed is a comment, so that a browser that went is noticed.
            let event = if text == last { ":\n\n".to_owned() } else { event(&text) };
            last = text;
            tokio::select! {
                sent = send.send(Bytes::from(event)) => if sent.is_err() { return },
                () = tokio::time::sleep(LIFE) => return,
            }
            tokio::select! {
                () = send.closed() => return,
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    });
    ([(CONTENT_TYPE, "text/event-stream")], Body::new(Events(receive))).into_response()
}

/// Each line of the text in a field of its own.
fn event(text: &str) -> String {
    let lines: String = text.lines().map(|line| format!("data: {line}\n")).collect();
    format!("{lines}\n")
}

struct Events(mpsc::Receiver<Bytes>);

impl hyper::body::Body for Events {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0.poll_recv(context).map(|bytes| bytes.map(|bytes| Ok(Frame::data(bytes))))
    }
}
