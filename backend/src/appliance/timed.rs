//! Switches that weaken the firewall end by themselves: inspection that is off, and the DMZ.
//!
//! Two clocks watch: the wall clock, which the owner's time is told by, and one that only runs. Whichever comes first ends it,
//! so a clock that is set back prolongs nothing. A daemon that starts knows neither what its clock was before nor how long
//! it was away, and begins without them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::{Appliance, Assignment, Author, State};
use crate::kernel::Kernel;
use crate::log;
use crate::settings::firewall::Firewall;
use crate::settings::names::{DmzHost, Spi, Time};
use crate::settings::{FieldError, Settings};
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
            if ends(&firewall).is_empty() {
                if in_force.changed().await.is_err() {
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
        let author = Author { who: "postern", via: "its end time".to_owned() };
        match self.change(None, &patch, "its time is over", author).await {
            Ok(message) => {
                log::info(&message);
                true
            }
            Err(refusal) => {
                log::warning(&refusal.message);
                false
            }
        }
    }

    /// Without them, from the first rule on. Written down, so that nobody thinks they were in force.
    pub(super) fn begin_without(&self, state: &mut State) -> bool {
        let timed = !ends(&state.settings.firewall).is_empty();
        state.settings.firewall.spi = Spi::On;
        state.settings.firewall.dmz = DmzHost::None;
        timed
    }

    /// The revision that says so. Where it cannot be saved, the next start does the same again.
    pub(super) async fn note_begun_without(&self, state: &mut State) {
        let before = Before { boot: self.options.boot.clone(), network: Default::default() };
        let new = NewRevision {
            settings: &state.settings,
            base: state.revision,
            before: &before,
            who: "postern",
            via: "start",
            comment: "no clock to trust: what is to end by itself has ended",
        };
        let noted = match self.store.save(new).await {
            Ok(id) => self.store.mark(id, RevisionState::Confirmed).await.map(|()| id),
            Err(error) => Err(error),
        };
        match noted {
            Ok(id) => state.revision = id,
            Err(error) => drop(log::incident(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dmz(until: i64) -> Firewall {
        Firewall {
            dmz: DmzHost::Until("192.168.1.20".parse().unwrap(), Time::from_unix(until)),
            ..Firewall::default()
        }
    }

    #[test]
    fn whichever_clock_comes_first_ends_it_and_a_clock_set_back_prolongs_nothing() {
        let began = Instant::now();
        let after = |seconds| began + Duration::from_secs(seconds);
        let over = [(DMZ, "none")];
        let mut clocks = Clocks::default();
        assert_eq!(clocks.over(&dmz(1060), 1000, began), []);
        assert_eq!(clocks.over(&dmz(1060), 1059, after(59)), []);
        assert_eq!(clocks.over(&dmz(1060), 1060, after(59)), over, "the wall clock");
        assert_eq!(clocks.over(&dmz(1060), 5000, after(2)), over, "a clock set forward");
        assert_eq!(clocks.over(&dmz(1060), 10, after(59)), []);
        assert_eq!(clocks.over(&dmz(1060), 10, after(60)), over, "a clock set back");
        // Another end is another time to wait.
        assert_eq!(clocks.over(&dmz(1100), 1000, after(60)), []);
        assert_eq!(clocks.over(&dmz(1100), 1000, after(160)), over);
    }

    #[test]
    fn an_end_must_lie_ahead_within_a_day() {
        let with = |firewall: Firewall| Settings { firewall, ..Settings::default() };
        let wrong = |until: i64| check(&Settings::default(), &with(dmz(until)), 1000).len();
        assert_eq!([wrong(999), wrong(1000), wrong(1001), wrong(87_400), wrong(87_401)], [1, 1, 0, 0, 1]);
        assert_eq!(check(&with(dmz(999)), &with(dmz(999)), 1000), [], "it is so already");
    }
}
