//! Places at which a test lets the store fail or its daemon die: before each write of a revision, and after it.

use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::Error;

/// The writes to come; clones share their memory.
#[derive(Debug, Clone, Default)]
pub(crate) struct Faults(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    /// Writes until one fails, and places until none goes on; that is at 1.
    left: Mutex<(Option<usize>, Option<usize>)>,
    died: Notify,
}

impl Faults {
    /// The `k`-th write from now fails (1 is the next) and changes nothing; none: none.
    pub(crate) fn fail_at(&self, k: Option<usize>) {
        self.0.left.lock().unwrap().0 = k;
    }

    /// At the `k`-th place from now (1 is before the next write, 2 after it) whoever writes is as if killed; none: nowhere.
    pub(crate) fn die_at(&self, k: Option<usize>) {
        self.0.left.lock().unwrap().1 = k;
    }

    /// Whether what was asked for is still to come.
    pub(crate) fn pending(&self) -> bool {
        *self.0.left.lock().unwrap() != (None, None)
    }

    /// Returns when somebody was killed.
    pub(crate) async fn died(&self) {
        self.0.died.notified().await;
    }

    /// Before a write.
    pub(super) async fn before(&self) -> Result<(), Error> {
        let fails = count(&mut self.0.left.lock().unwrap().0);
        self.after().await;
        if fails { Err(Error::Damaged("the test wants it so".to_owned())) } else { Ok(()) }
    }

    /// After one.
    pub(super) async fn after(&self) {
        let dies = count(&mut self.0.left.lock().unwrap().1);
        if dies {
            self.0.died.notify_one();
            std::future::pending::<()>().await;
        }
    }
}

fn count(left: &mut Option<usize>) -> bool {
    *left = left.map(|k| k - 1);
    left.take_if(|k| *k == 0).is_some()
}
