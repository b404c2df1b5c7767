//! A form on its way. While its visitor sends no more of it, the connection waits for him and not for us: then its place may be
//! taken back. Else a few slow forms from each of a few addresses would hold every place.

use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Body, Bytes, Frame, Incoming, SizeHint};

use tokio::time::{Sleep, sleep};

use super::ARRIVING;
use super::places::Busy;

/// What a visitor sends after the head.
pub(super) struct Form {
    body: Incoming,
    busy: Busy,
    /// Until then nothing is held against the visitor: what he has sent may stand in our own buffers.
    arriving: Pin<Box<Sleep>>,
    waiting: bool,
}

impl Form {
    /// Of a request that is marked as being answered.
    pub(super) fn new(body: Incoming, busy: Busy) -> Self {
        Self { body, busy, arriving: Box::pin(sleep(ARRIVING)), waiting: false }
    }

    fn wait(&mut self, waiting: bool) {
        if self.waiting != waiting {
            self.busy.wait(waiting);
            self.waiting = waiting;
        }
    }
}

impl Drop for Form {
    fn drop(&mut self) {
        self.wait(false);
    }
}

impl Body for Form {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(context);
        let late = polled.is_pending() && self.arriving.as_mut().poll(context).is_ready();
        self.wait(late);
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
