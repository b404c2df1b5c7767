//! The growing delay after wrong passwords, per source and overall.
//!
//! The source is the address the web process names. A hostile web process can lie about it, so all sources that have failed
//! before share a number of tries; one that has not is let through, so that an attacker in the home cannot lock the owner out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Wrong passwords that cost nothing: people mistype.
const FREE: u32 = 3;
/// Longest delay of one source.
const LONGEST: Duration = Duration::from_secs(900);
/// A source is forgotten after this time without a try.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);
/// Sources remembered. The one that tried longest ago goes.
const SOURCES: usize = 1024;
/// Wrong passwords of all sources together that cost nothing.
const SHARED: u32 = 30;
/// After them sources that failed [`FREE`] times have one try between them in this time. So 250 addresses, a whole home, have 750
/// free tries a day and 720 more.
const EACH: Duration = Duration::from_secs(120);
/// After them a source that has failed less often waits so long: somebody mistypes while others storm.
const CROWD: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy)]
struct Tries {
    wrong: u32,
    last: Instant,
}

/// Tries that all sources share.
#[derive(Debug, Clone, Copy)]
struct Shared {
    left: u32,
    /// When one was added last.
    since: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Throttle {
    sources: HashMap<IpAddr, Tries>,
    shared: Option<Shared>,
}

/// A host owns its whole IPv6 /64, so that is what is counted.
pub(super) fn counted(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        },
        v4 => v4,
    }
}

/// 1, 2, 4, … 60 s up to the tenth wrong password, then twice as long each time up to [`LONGEST`].
fn delay(wrong: u32) -> Duration {
    match wrong {
        0..FREE => Duration::ZERO,
        FREE..9 => Duration::from_secs(1 << (wrong - FREE)),
        9.. => Duration::from_secs(60 << (wrong - 9).min(4)).min(LONGEST),
    }
}

impl Throttle {
    /// Lets a try through, or tells how long to wait. The try counts as wrong until [`Self::succeeded`] says
    /// otherwise: a hundred tries at once must not all be looked at before the first is known to be wrong.
    pub(super) fn admit(&mut self, source: IpAddr, now: Instant) -> Result<(), Duration> {
        self.wait(source, now)?;
        self.failed(source, now);
        Ok(())
    }

    fn wait(&self, source: IpAddr, now: Instant) -> Result<(), Duration> {
        let Some(tries) = self.sources.get(&counted(source)) else { return Ok(()) };
        let since = now.saturating_duration_since(tries.last);
        let wait = delay(tries.wrong).saturating_sub(since);
        let shared = self.shared(now);
        let crowd = match (shared.left, tries.wrong) {
            (1.., _) => Duration::ZERO,
            (0, ..FREE) => CROWD.saturating_sub(since),
            (0, _) => EACH.saturating_sub(now.saturating_duration_since(shared.since)),
        };
        match wait.max(crowd) {
            Duration::ZERO => Ok(()),
            wait => Err(wait),
        }
    }

    /// What is left now.
    fn shared(&self, now: Instant) -> Shared {
        let Some(Shared { left, since }) = self.shared else { return Shared { left: SHARED, since: now } };
        let more = now.saturating_duration_since(since).as_secs() / EACH.as_secs();
        let more = u32::try_from(more).unwrap_or(u32::MAX);
        match left.saturating_add(more) {
            SHARED.. => Shared { left: SHARED, since: now },
            left => Shared { left, since: since + EACH * more },
        }
    }

    fn failed(&mut self, source: IpAddr, now: Instant) {
        let shared = self.shared(now);
        self.shared = Some(Shared { left: shared.left.saturating_sub(1), ..shared });
        self.sources.retain(|_, t| now.saturating_duration_since(t.last) < FORGOTTEN);
        if self.sources.len() >= SOURCES
            && let Some(oldest) = self.sources.iter().min_by_key(|(_, t)| t.last).map(|(s, _)| *s)
        {
            self.sources.remove(&oldest);
        }
        let tries = self.sources.entry(counted(source)).or_insert(Tries { wrong: 0, last: now });
        *tries = Tries { wrong: tries.wrong + 1, last: now };
    }

    /// A try that was let through and never looked at is given back.
    pub(super) fn forgive(&mut self, source: IpAddr) {
        if let Some(tries) = self.sources.get_mut(&counted(source)) {
            tries.wrong = tries.wrong.saturating_sub(1);
        }
        self.give_back();
    }

    /// The right password clears its source.
    pub(super) fn succeeded(&mut self, source: IpAddr) {
        self.sources.remove(&counted(source));
        self.give_back();
    }

    fn give_back(&mut self) {
        if let Some(shared) = &mut self.shared {
            shared.left = (shared.left + 1).min(SHARED);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host(n: u8) -> IpAddr {
        IpAddr::from([192, 168, 1, n])
    }

    #[test]
    fn the_eleventh_try_waits_a_minute_and_no_wait_is_for_ever() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for n in 1..=10u32 {
            throttle.failed(host(1), start);
            if n < 3 {
                assert_eq!(throttle.wait(host(1), start), Ok(()));
            }
        }
        assert!(throttle.wait(host(1), start).unwrap_err() >= Duration::from_secs(60));
        for _ in 0..100 {
            throttle.failed(host(1), start);
        }
        assert!(throttle.wait(host(1), start).unwrap_err() <= LONGEST);
        assert_eq!(throttle.wait(host(1), start + LONGEST), Ok(()));
    }

    #[test]
    fn a_storm_from_many_sources_slows_them_and_lets_a_clean_one_through() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for n in 1..=250 {
            throttle.failed(host(n), start);
        }
        assert!(throttle.wait(host(7), start).is_err());
        assert_eq!(throttle.wait(host(251), start), Ok(()));
    }

    #[test]
    fn two_hundred_and_fifty_addresses_that_try_all_day_get_1500_tries_and_a_clean_one_gets_in() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let mut looked_at = 0;
        for second in (0..86_400).step_by(5) {
            let now = start + Duration::from_secs(second);
            looked_at += (1..=250).filter(|n| throttle.admit(host(*n), now).is_ok()).count();
            if second % 3600 == 0 {
                let clean = IpAddr::from([192, 168, 2, 1]);
                assert_eq!(throttle.admit(clean, now), Ok(()), "a clean one is let through");
                throttle.succeeded(clean);
            }
            // Somebody who mistyped once is not kept out for ever.
            if second == 43_200 {
                let slip = IpAddr::from([192, 168, 2, 2]);
                assert_eq!(throttle.admit(slip, now), Ok(()));
                assert!(throttle.wait(slip, now).is_err());
                assert_eq!(throttle.wait(slip, now + CROWD), Ok(()));
            }
        }
        assert!((1000..=1500).contains(&looked_at), "{looked_at} in a day");
    }

    #[test]
    fn a_host_cannot_dodge_with_the_addresses_of_its_prefix() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for n in 0..8u16 {
            throttle.failed(IpAddr::from([0xfd00, 0, 0, 1, 0, 0, 0, n]), start);
        }
        assert!(throttle.wait(IpAddr::from([0xfd00, 0, 0, 1, 9, 9, 9, 9]), start).is_err());
        assert!(throttle.sources.len() == 1);
    }

    #[test]
    fn tries_at_once_are_counted_before_any_is_known_to_be_wrong() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let looked_at = (0..100).filter(|_| throttle.admit(host(1), start).is_ok()).count();
        assert_eq!(looked_at as u32, FREE);
        throttle.succeeded(host(1));
        assert_eq!(throttle.admit(host(1), start), Ok(()));
    }

    #[test]
    fn memory_is_bounded() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for n in 0..5000u32 {
            throttle.failed(IpAddr::from((0x0a00_0000 + n).to_be_bytes()), start);
        }
        assert!(throttle.sources.len() <= SOURCES);
    }
}
