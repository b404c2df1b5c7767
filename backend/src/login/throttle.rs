//! The growing delay after wrong passwords, per source and overall.
//!
//! The source is the address the web process names. A hostile web process can lie about it, so all sources that have failed
//! before share a number of tries; one that has not is let through, so that an attacker in the home cannot lock the owner out.
//! Nor after some slips of his own: where the right password was typed not long ago, only the delay of that source counts.

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

/// Wrong passwords that cost nothing: people mistype.
const FREE: u32 = 3;
/// Longest delay of one source.
const LONGEST: Duration = Duration::from_secs(900);
/// A source is forgotten after this time without a try.
const FORGOTTEN: Duration = Duration::from_secs(24 * 3600);
/// Sources remembered, beside the [`KNOWN`] and the [`REST`]. None goes before it is forgotten: whoever owns a /16 would be clean
/// again with each new address.
const SOURCES: usize = 1024;
/// All sources beyond [`SOURCES`] count as this one: no host has it.
const REST: IpAddr = IpAddr::V4(Ipv4Addr::UNSPECIFIED);
/// Of them at most so many are addresses that a host of the home gives itself over IPv6; those beyond count as [`LOCAL_REST`].
const LOCAL: usize = 256;
/// No host has it.
const LOCAL_REST: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfe80, 0, 0, 0, 0, 0, 0, 0));
/// So many sources that typed the right password last have their own delay only. A web process that lies about the source has so
/// many times 100 more tries a day.
const KNOWN: usize = 16;
/// Wrong passwords of all sources together that cost nothing.
const SHARED: u32 = 30;
/// After them sources that failed [`FREE`] times have one try between them in this time. So 250 addresses, a whole home, have 750
/// free tries a day and 720 more; with as many IPv6 addresses as count ([`LOCAL`]) 768 more.
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
    /// Where the right password was typed, newest last.
    known: VecDeque<IpAddr>,
}

/// A try that was let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[must_use]
pub(super) struct Admitted {
    source: IpAddr,
    /// What it counts as: its source, or [`REST`].
    counts_as: IpAddr,
    /// It took one of the tries that all share. What took none gives none back: else whoever is clean fills them up for the rest.
    took_shared: bool,
}

impl Admitted {
    /// Whose it is, as the web process said.
    pub(super) fn source(&self) -> IpAddr {
        self.source
    }
}

/// What counts as one host. A host elsewhere owns its whole IPv6 /64; but all hosts of a home are in the same link-local one, and in
/// the same unique local one (RFC 4193): counted together, one guest would keep the owner out.
pub fn counted(source: IpAddr) -> IpAddr {
    match source {
        IpAddr::V6(v6) => match v6.to_ipv4_mapped() {
            Some(v4) => IpAddr::V4(v4),
            None if is_local(&source) => source,
            None => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        },
        v4 => v4,
    }
}

/// An IPv6 address that only the home has: a host has as many of them as it likes.
fn is_local(source: &IpAddr) -> bool {
    matches!(source, IpAddr::V6(v6) if v6.is_unicast_link_local() || v6.is_unique_local())
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
    pub(super) fn admit(&mut self, source: IpAddr, now: Instant) -> Result<Admitted, Duration> {
        if self.sources.len() >= SOURCES {
            self.forget(now);
        }
        self.wait(source, now)?;
        Ok(self.failed(source, now))
    }

    /// What a source counts as.
    fn counts_as(&self, source: IpAddr) -> IpAddr {
        let source = counted(source);
        if self.sources.contains_key(&source) || self.known.contains(&source) {
            return source;
        }
        // Else one guest with a thousand of them would leave no place for those that have one address.
        let local = || self.sources.keys().filter(|source| is_local(source)).count();
        if is_local(&source) && local() >= LOCAL {
            return LOCAL_REST;
        }
        if self.sources.len() < SOURCES { source } else { REST }
    }

    fn wait(&self, source: IpAddr, now: Instant) -> Result<(), Duration> {
        let source = self.counts_as(source);
        let Some(tries) = self.sources.get(&source) else { return Ok(()) };
        let since = now.saturating_duration_since(tries.last);
        let wait = delay(tries.wrong).saturating_sub(since);
        let shared = self.shared(now);
        let crowd = match (shared.left, tries.wrong) {
            _ if self.known.contains(&source) => Duration::ZERO,
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

    fn forget(&mut self, now: Instant) {
        self.sources.retain(|_, t| now.saturating_duration_since(t.last) < FORGOTTEN);
    }

    fn failed(&mut self, source: IpAddr, now: Instant) -> Admitted {
        self.forget(now);
        let counts_as = self.counts_as(source);
        let shared = self.shared(now);
        let took_shared = shared.left > 0 && !self.known.contains(&counts_as);
        self.shared = Some(Shared { left: shared.left - u32::from(took_shared), ..shared });
        let tries = self.sources.entry(counts_as).or_insert(Tries { wrong: 0, last: now });
        *tries = Tries { wrong: tries.wrong.saturating_add(1), last: now };
        Admitted { source, counts_as, took_shared }
    }

    /// A try that was let through and never looked at is given back.
    pub(super) fn forgive(&mut self, tried: Admitted) {
        if let Some(tries) = self.sources.get_mut(&tried.counts_as) {
            tries.wrong = tries.wrong.saturating_sub(1);
            if tries.wrong == 0 {
                self.sources.remove(&tried.counts_as);
            }
        }
        if let Some(shared) = &mut self.shared
            && tried.took_shared
        {
            shared.left = (shared.left + 1).min(SHARED);
        }
    }

    /// The right password clears its source, which is known from now on.
    pub(super) fn succeeded(&mut self, tried: Admitted) {
        self.forgive(tried);
        let source = counted(tried.source);
        self.sources.remove(&source);
        if source == REST {
            return;
        }
        self.known.retain(|known| *known != source);
        self.known.push_back(source);
        if self.known.len() > KNOWN
            && let Some(oldest) = self.known.pop_front()
            && self.sources.len() > SOURCES
        {
            self.sources.remove(&oldest);
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
            let _ = throttle.failed(host(1), start);
            if n < 3 {
                assert_eq!(throttle.wait(host(1), start), Ok(()));
            }
        }
        assert!(throttle.wait(host(1), start).unwrap_err() >= Duration::from_secs(60));
        for _ in 0..100 {
            let _ = throttle.failed(host(1), start);
        }
        assert!(throttle.wait(host(1), start).unwrap_err() <= LONGEST);
        assert_eq!(throttle.wait(host(1), start + LONGEST), Ok(()));
    }

    #[test]
    fn a_storm_from_many_sources_slows_them_and_lets_a_clean_one_through() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for n in 1..=250 {
            let _ = throttle.failed(host(n), start);
        }
        assert!(throttle.wait(host(7), start).is_err());
        assert_eq!(throttle.wait(host(251), start), Ok(()));
    }

    #[test]
    fn two_hundred_and_fifty_addresses_that_try_all_day_get_1500_tries_and_a_clean_one_gets_in() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let (mut looked_at, mut forgiven) = (0, 0);
        for second in (0..86_400).step_by(10) {
            let now = start + Duration::from_secs(second);
            looked_at += (1..=250).filter(|n| throttle.admit(host(*n), now).is_ok()).count();
            if second % 3600 == 0 {
                let clean = IpAddr::from([192, 168, 3, (second / 3600) as u8]);
                let tried = throttle.admit(clean, now).expect("a clean one is let through");
                throttle.succeeded(tried);
            }
            // The queue for hashes is full: whoever comes is turned away, and nobody has a try more for it.
            for n in (0..20).filter(|_| second % 300 == 0) {
                let turned_away = throttle.admit(IpAddr::from([192, 168, 4, n]), now).expect("a clean one");
                throttle.forgive(turned_away);
                forgiven += 1;
            }
            // Somebody who mistyped once is not kept out for ever.
            if second == 43_200 {
                let slip = IpAddr::from([192, 168, 2, 2]);
                assert!(throttle.admit(slip, now).is_ok());
                assert!(throttle.wait(slip, now).is_err());
                assert_eq!(throttle.wait(slip, now + CROWD), Ok(()));
            }
        }
        assert!((1000..=1500).contains(&looked_at), "{looked_at} in a day, {forgiven} forgiven");
    }

    #[test]
    fn a_guest_with_ten_thousand_local_ipv6_addresses_keeps_no_other_host_of_the_home_waiting() {
        let local = |subnet: u16, n: u16| IpAddr::from([subnet, 0, 0, 0, 0, 0, 0, n]);
        for subnet in [0xfe80, 0xfd12] {
            let (mut throttle, start) = (Throttle::default(), Instant::now());
            let owner = local(subnet, 1);
            let tried = throttle.admit(owner, start).unwrap();
            throttle.succeeded(tried);
            for n in 2..10_000 {
                let _ = throttle.failed(local(subnet, n), start);
            }
            assert!(throttle.wait(local(subnet, 3), start).is_err() && throttle.sources.len() < SOURCES / 2);
            for other in [owner, host(7), IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, 7])] {
                assert_eq!(throttle.wait(other, start), Ok(()), "{other}");
            }
        }
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        (0..12).for_each(|_| {
            let _ = throttle.failed(local(0xfe80, 9), start);
        });
        assert_eq!(
            throttle.wait(local(0xfe80, 1), start),
            Ok(()),
            "one who was never here, beside one who guesses"
        );
        let far = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, n]);
        (0..12).for_each(|_| {
            let _ = throttle.failed(far(9), start);
        });
        assert!(throttle.wait(far(1), start).is_err(), "a host elsewhere has its whole /64");
    }

    #[test]
    fn where_the_password_was_typed_before_an_owner_who_mistypes_is_not_kept_out_by_those_who_poll() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let owner = IpAddr::from([192, 168, 2, 1]);
        let tried = throttle.admit(owner, start).unwrap();
        throttle.succeeded(tried);
        let mut got_in = None;
        for second in 0..1000 {
            let now = start + Duration::from_secs(second);
            for n in 1..=40 {
                let _ = throttle.admit(host(n), now);
            }
            if second >= 500 && got_in.is_none() {
                match throttle.admit(owner, now) {
                    // Five slips in a row.
                    Ok(_) if throttle.sources[&owner].wrong <= 5 => {}
                    Ok(tried) => {
                        throttle.succeeded(tried);
                        got_in = Some(second);
                    }
                    Err(wait) => assert!(wait <= Duration::from_secs(4), "{wait:?}"),
                }
            }
        }
        assert!(got_in.is_some_and(|second| second <= 510), "{got_in:?}");
        // Somebody else has slipped as often, and waits with the crowd.
        assert!(throttle.wait(host(1), start + Duration::from_secs(1000)).is_err());
    }

    #[test]
    fn a_new_address_is_not_clean_once_more_are_held_back_than_are_remembered() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let address = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        let let_in = |throttle: &mut Throttle, now| {
            (1..65_000).filter(|n| throttle.admit(address(*n), now).is_ok()).count()
        };
        let first = let_in(&mut throttle, start);
        assert!(first <= SOURCES + FREE as usize, "{first}");
        // Those beyond are held back as one, and the others each for itself.
        let second = let_in(&mut throttle, start + Duration::from_secs(1));
        assert!(second <= 1, "{second}");
        assert!(throttle.wait(address(65_000), start + Duration::from_secs(1)).is_err());
        // After a day without a try all are forgotten.
        assert!(throttle.admit(address(65_000), start + FORGOTTEN + CROWD).is_ok());
        assert_eq!(throttle.sources.len(), 1);
    }

    #[test]
    fn a_host_cannot_dodge_with_the_addresses_of_its_prefix() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for n in 0..8u16 {
            let _ = throttle.failed(IpAddr::from([0x2001, 0, 0, 1, 0, 0, 0, n]), start);
        }
        assert!(throttle.wait(IpAddr::from([0x2001, 0, 0, 1, 9, 9, 9, 9]), start).is_err());
        assert!(throttle.sources.len() == 1);
    }

    #[test]
    fn tries_at_once_are_counted_before_any_is_known_to_be_wrong() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        let looked_at = (0..100).filter(|_| throttle.admit(host(1), start).is_ok()).count();
        assert_eq!(looked_at as u32, FREE);
        let tried = Admitted { source: host(1), counts_as: host(1), took_shared: true };
        throttle.succeeded(tried);
        assert!(throttle.admit(host(1), start).is_ok());
    }

    #[test]
    fn memory_is_bounded() {
        let (mut throttle, start) = (Throttle::default(), Instant::now());
        for n in 0..5000u32 {
            let _ = throttle.failed(IpAddr::from((0x0a00_0000 + n).to_be_bytes()), start);
        }
        for n in 0..100 {
            let tried = throttle.failed(host(n), start);
            throttle.succeeded(tried);
            let _ = throttle.failed(host(n), start);
        }
        assert!(throttle.sources.len() <= SOURCES + 1 + KNOWN && throttle.known.len() == KNOWN);
    }
}
