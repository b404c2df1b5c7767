//! Names of servers, from what our DNS answers.

use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use super::Appliance;
use crate::kernel::Kernel;
use crate::sessions::ServerNames;

/// Where this kernel shows no answers, it is asked again so often: another program may have listened.
const AGAIN: Duration = Duration::from_secs(60);
/// How often what is too old is forgotten.
const AGED: Duration = Duration::from_secs(600);

impl<K: Kernel> Appliance<K> {
    /// Listens to the answers of our DNS, for ever. Where that cannot be had, servers have no names, and that is all.
    pub async fn watch_answers(&self) {
        let mut aged = tokio::time::interval(AGED);
        loop {
            if let Ok(mut answers) = self.kernel.answers().await {
                loop {
                    tokio::select! {
                        named = answers.recv() => match named {
                            Some(named) => self.server_names().learn(named, self.milliseconds()),
                            None => break,
                        },
                        _ = aged.tick() => self.server_names().age(self.milliseconds()),
                    }
                }
            }
            tokio::time::sleep(AGAIN).await;
        }
    }

    pub(super) fn server_names(&self) -> MutexGuard<'_, ServerNames> {
        self.server_names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn milliseconds(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }
}
