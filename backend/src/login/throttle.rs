//! The growing delay after wrong passwords, per source and overall.
//!
//! The source is the address the web process names. A hostile web process can lie about it, so the overall count
//! slows every source that has failed before; one that has not is let through, so that an attacker in the home
//! cannot lock the owner out.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Wrong passwords that cost nothing: people mistype.
const FREE: u32 = 3;
/// Longest delay.
const LONGEST: Duration = Duration::from_secs(900);
/// A source is forgotten after this time without a try.
const FORGOTTEN: Duration = Duration::from_secs(3600);
/// Sources remembered. The one that tried longest ago goes.
const SOURCES: usize = 1024;
/// Wrong passwords from all sources within [`WINDOW`] after which sources that failed before wait for its end.
const OVERALL: u32 = 30;
/// Window of the overall count.
const WINDOW: Duration = Duration::from_secs(600);

#[derive(Debug, Clone, Copy)]
struct Tries {
    wrong: u32,
    last: Instant,
}

#[derive(Debug, Default)]
pub(super) struct Throttle {
    sources: HashMap<IpAddr, Tries>,
    overall: Option<(Instant, u32)>,
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
        let crowd = match self.overall {
            Some((start, wrong)) if wrong >= OVERALL => WINDOW
                .saturating_sub(now.saturating_duration_since(start))
                .min(Duration::from_secs(60))
                .saturating_sub(since),
            _ => Duration::ZERO,
        };
        match wait.max(crowd) {
            Duration::ZERO => Ok(()),
            wait => Err(wait),
        }
    }

    fn failed(&mut self, source: IpAddr, now: Instant) {
        self.overall = match self.overall {
            Some((start, wrong)) if now.saturating_duration_since(start) < WINDOW => Some((start, wrong + 1)),
            _ => Some((now, 1)),
        };
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
        if let Some((_, wrong)) = &mut self.overall {
            *wrong = wrong.saturating_sub(1);
        }
    }

    /// The right password clears its source.
    pub(super) fn succeeded(&mut self, source: IpAddr) {
        self.sources.remove(&counted(source));
        if let Some((_, wrong)) = &mut self.overall {
            *wrong = wrong.saturating_sub(1);
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
