//! The daemon as the pages see it: one call, one answer.

use async_trait::async_trait;
use postern::door::client::Door;
use postern::door::messages::{Call, Response};

/// Whoever answers calls: the daemon behind the door, or a fake in tests.
#[async_trait]
pub trait Daemon: Send + Sync + 'static {
    /// Asks and waits for the answer. A refusal is an answer.
    async fn call(&self, call: Call) -> Result<Response, Silence>;
}

/// The daemon is not running, or did not answer.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Silence(pub String);

#[async_trait]
impl Daemon for Door {
    async fn call(&self, call: Call) -> Result<Response, Silence> {
        Self::call(self, call).await.map_err(|e| Silence(e.to_string()))
    }
}
