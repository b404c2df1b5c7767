//! The self-test as the door offers it: one at a time, in a process of its own, its results kept until the next one.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::messages::SelfTest;
use crate::log;
use crate::selftest::{Outcome, Tested, process};
use crate::settings::Passthrough;

/// The newest self-test since the daemon's start.
#[derive(Debug, Clone, Default)]
pub(super) struct SelfTests(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    running: bool,
    results: Vec<Tested>,
    ended: Option<Instant>,
}

impl SelfTests {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins one with these settings, unless one runs.
    pub(super) fn begin(&self, passthrough: Passthrough) -> String {
        {
            let mut state = self.state();
            if state.running {
                return "A self-test is running already.".to_owned();
            }
            *state = State { running: true, ..State::default() };
        }
        let this = self.clone();
        tokio::spawn(async move {
            process::start(&passthrough, |tested| this.state().results.push(tested)).await;
            let mut state = this.state();
            (state.running, state.ended) = (false, Some(Instant::now()));
            let of = |outcome| state.results.iter().filter(|tested| tested.outcome == outcome).count();
            log::info(&format!(
                "self-test: {} work, {} do not, {} could not be tested",
                of(Outcome::Works),
                of(Outcome::Fails),
                of(Outcome::Untested)
            ));
        });
        "The self-test is running.".to_owned()
    }

    /// What is known of it.
    pub(super) fn told(&self) -> SelfTest {
        let state = self.state();
        SelfTest {
            running: state.running,
            results: state.results.clone(),
            ended_seconds: state.ended.map(|ended| ended.elapsed().as_secs()),
        }
    }
}
