//! Switches that weaken the firewall end by themselves: inspection that is off, and the DMZ.
//!
//! Two clocks watch: the wall clock, which the owner's time is told by, and one that only runs. Whichever comes first ends it,
//! so a clock that is set back prolongs nothing. A daemon that starts knows neither what its clock was before nor how long
//! it was away, and begins without them.
//!
//! What is over ends in the kernel even where it cannot be saved: a full disk is no reason to stay open. Saving is tried again;
//! if the box starts before that, it begins without them all the same.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::apply::Step;
use super::{Appliance, Assignment, Author, RefusalKind, State};
use crate::journal::JournalKind;
use crate::kernel::Kernel;
use crate::log;
use crate::settings::firewall::Firewall;
use crate::settings::names::{DmzHost, Spi, Time};
use crate::settings::{FieldError, Settings, keys};
use crate::store::{Before, NewRevision, RevisionState};

/// Longest time ahead, in seconds: a day.
pub const LONGEST: i64 = 86_400;
/// How often the clocks are looked at while something is to end.
const AGAIN: Duration = Duration::from_secs(1);
/// How long to wait after an end that could not be: other settings are on trial, the kernel refused.
const PAUSE: Duration = Duration::from_secs(5);

const SPI: &str = "firewall.spi";
const DMZ: &str = "firewall.dmz";

/// What is to end, with its key and the value it ends in.
fn ends(firewall: &Firewall) -> Vec<(&'static str, &'static str, Time)> {
    let mut all = Vec::new();
    if let Spi::OffUntil(time) = firewall.spi {
        all.push((SPI, "on", time));
    }
    if let DmzHost::Until(_, time) = firewall.dmz {
        all.push((DMZ, "none", time));
    }
    all
}

/// Times that are new in `wanted` must lie ahead, and not too far.
pub(super) fn check(before: &Settings, wanted: &Settings, now: i64) -> Vec<FieldError> {
    let known = ends(&before.firewall);
    let fresh = ends(&wanted.firewall).into_iter().filter(|one| !known.contains(one));
    fresh
        .filter_map(|(key, _, time)| match time.unix() - now {
            ..=0 => Some(FieldError::new(key, "That time is past. Nothing would change.")),
            1..=LONGEST => None,
            _ => {
                Some(FieldError::new(key, "It can last a day at most: name a time within 24 hours from now."))
            }
        })
        .collect()
}

/// A document of long ago is in force without what has ended since.
pub(super) fn drop_past(settings: &mut Settings, now: i64) {
    for (key, _, time) in ends(&settings.firewall) {
        if time.unix() <= now {
            match key {
                SPI => settings.firewall.spi = Spi::On,
                _ => settings.firewall.dmz = DmzHost::None,
            }
        }
    }
}

/// The clocks of what is to end.
#[derive(Debug, Default)]
struct Clocks(Vec<(&'static str, Time, Instant)>);

impl Clocks {
    /// Which keys end now, with their values.
    fn over(
        &mut self,
        firewall: &Firewall,
        wall: i64,
        running: Instant,
    ) -> Vec<(&'static str, &'static str)> {
        let all = ends(firewall);
        self.0.retain(|(key, time, _)| all.iter().any(|(other, _, until)| (key, time) == (other, until)));
        let mut over = Vec::new();
        for (key, value, time) in all {
            let known = self.0.iter().find(|(other, until, _)| (*other, *until) == (key, time));
            let last = known.map(|(.., last)| *last).unwrap_or_else(|| {
                let left = u64::try_from((time.unix() - wall).clamp(0, LONGEST)).unwrap_or_default();
                let last = running + Duration::from_secs(left);
                self.0.push((key, time, last));
                last
            });
            if wall >= time.unix() || running >= last {
                over.push((key, value));
            }
        }
        over
    }
}

impl<K: Kernel> Appliance<K> {
    /// Ends them in time, for as long as the daemon runs.
    pub async fn watch_times(self: Arc<Self>) {
        let mut in_force = self.in_force.subscribe();
        let mut clocks = Clocks::default();
        loop {
            let firewall = in_force.borrow_and_update().1.firewall.clone();
            let unsaved = self.save_ended().await;
            if ends(&firewall).is_empty() {
                let changed = in_force.changed();
                let gone = match unsaved {
                    true => matches!(tokio::time::timeout(PAUSE, changed).await, Ok(Err(_))),
                    false => changed.await.is_err(),
                };
                if gone {
                    return;
                }
                continue;
            }
            let over = clocks.over(&firewall, (self.options.clock)(), Instant::now());
            let pause = match over.is_empty() || self.end_now(&over).await {
                true => AGAIN,
                false => PAUSE,
            };
            let _ = tokio::time::timeout(pause, in_force.changed()).await;
        }
    }

    async fn end_now(self: &Arc<Self>, over: &[(&'static str, &'static str)]) -> bool {
        let set = |(key, value): &(&str, &str)| Assignment { key: (*key).into(), value: (*value).into() };
        let patch: Vec<Assignment> = over.iter().map(set).collect();
        let author = Author::its_end();
        match self.change(None, &patch, "its time is over", author).await {
            Ok(message) => {
                log::info(&message);
                true
            }
            Err(refusal) => {
                log::warning(&refusal.message);
                refusal.kind == RefusalKind::Failed && self.end_unsaved(over).await
            }
        }
    }

    /// In the kernel alone: the store refused. True: it has ended.
    async fn end_unsaved(&self, over: &[(&'static str, &'static str)]) -> bool {
        let mut state = self.state.lock().await;
        if state.ending || state.trial.is_some() {
            return false;
        }
        let mut wanted = state.settings.clone();
        for (key, value) in over {
            if keys::set(&mut wanted, key, value).is_err() {
                return false;
            }
        }
        let step = Step::new(Some(&state.settings), &wanted);
        if let Err(failed) = self.apply(&state.capabilities, step).await {
            self.after_failure(&mut state, failed).await;
            return false;
        }
        state.settings = wanted;
        (state.broken, state.unsaved) = (None, true);
        self.journal.note(
            JournalKind::Failed,
            Author::its_end().by(),
            "has ended what was to end; that could not be saved yet",
        );
        self.publish(&state).await;
        true
    }

    /// Tries to save what has ended unsaved. True: it is still not saved.
    async fn save_ended(&self) -> bool {
        let mut state = self.state.lock().await;
        if state.unsaved && !state.ending && state.trial.is_none() {
            self.note_ended(&mut state, "its end time", "its time is over").await;
            if !state.unsaved {
                log::info("what has ended is saved now");
                self.publish(&state).await;
            }
        }
        state.unsaved
    }

    /// Without them, from the first rule on. Written down, so that nobody thinks they were in force.
    pub(super) fn begin_without(&self, state: &mut State) -> bool {
        let timed = !ends(&state.settings.firewall).is_empty();
        state.settings.firewall.spi = Spi::On;
        state.settings.firewall.dmz = DmzHost::None;
        timed
    }

    /// The revision that says so.
    pub(super) async fn note_begun_without(&self, state: &mut State) {
        self.note_ended(state, "start", "no clock to trust: what is to end by itself has ended").await;
    }

    /// A revision of what is in force. Where it cannot be saved it is tried again, and the next start begins without them.
    async fn note_ended(&self, state: &mut State, via: &str, comment: &str) {
        let before = Before { boot: self.options.boot.clone(), network: Default::default() };
        let new = NewRevision {
            settings: &state.settings,
            base: state.revision,
            before: &before,
            who: "postern",
            via,
            comment,
        };
        let noted = match self.store.save(new).await {
            Ok(id) => self.store.mark(id, RevisionState::Confirmed).await.map(|()| id),
            Err(error) => Err(error),
        };
        match noted {
            Ok(id) => (state.revision, state.unsaved) = (id, false),
            Err(error) => {
                // Once, not every few seconds.
                if !std::mem::replace(&mut state.unsaved, true) {
                    log::incident(&error);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
