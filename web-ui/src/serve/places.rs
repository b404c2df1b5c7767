//! Who holds a connection. A laptop in the home that opens all there are must not keep the owner out.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use postern::door::counted;
use tokio::sync::Notify;

use super::Limits;

/// The connections there are.
#[derive(Clone, Default)]
pub(super) struct Places(Arc<Mutex<Open>>);

#[derive(Default)]
struct Open {
    last: u64,
    all: HashMap<u64, Slot>,
}

#[derive(Clone)]
struct Slot {
    peer: IpAddr,
    since: Instant,
    /// Requests that are being answered.
    busy: Arc<AtomicUsize>,
    /// Nothing of it was looked at so far.
    arriving: Arc<AtomicBool>,
    back: Arc<Notify>,
}

/// One connection's place; dropping it gives it back.
pub(super) struct Place {
    places: Places,
    number: u64,
    slot: Slot,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// The visitor holds as many as he may; half as many, while all are taken and being answered.
    Share,
    /// All are taken, and being answered.
    Full,
}

/// Marks a connection as being answered.
#[derive(Clone)]
pub(super) struct Busy(Arc<AtomicUsize>);

/// While it lives, a request is being answered.
pub(super) struct Working(Arc<AtomicUsize>);

/// While it lives, what the visitor has sent is not looked at yet, and the place is as good as busy.
pub(super) struct Arriving {
    _working: Working,
    arriving: Arc<AtomicBool>,
}

impl Places {
    fn lock(&self) -> MutexGuard<'_, Open> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Open {
    fn of(&self, peer: IpAddr) -> usize {
        self.all.values().filter(|slot| slot.peer == peer).count()
    }

    /// The oldest idle connection of whoever holds most. None idle: the same of those that have just come, if whoever they are from
    /// holds no fewer than `peer` without it: else some who connect and say nothing keep all the places.
    fn victim(&self, peer: IpAddr) -> Option<u64> {
        let idle = |slot: &&Slot| slot.busy.load(Ordering::Relaxed) == 0;
        let more = self.of(peer) + 1;
        let arriving = |slot: &&Slot| slot.arriving.load(Ordering::Relaxed) && self.of(slot.peer) > more;
        self.greediest(idle).or_else(|| self.greediest(arriving))
    }

    fn greediest(&self, of: impl Fn(&&Slot) -> bool) -> Option<u64> {
        let some = self.all.iter().filter(|(_, slot)| of(slot));
        let greed = |(_, slot): &(&u64, &Slot)| (self.of(slot.peer), std::cmp::Reverse(slot.since));
        some.max_by_key(greed).map(|(number, _)| *number)
    }
}

impl Place {
    /// A place for `peer`.
    pub(super) fn take(places: &Places, limits: &Limits, peer: IpAddr) -> Result<Self, Refused> {
        let mut open = places.lock();
        let peer = counted(peer);
        if open.of(peer) >= limits.per_peer {
            return Err(Refused::Share);
        }
        if open.all.len() >= limits.total {
            // Who waits here keeps all after him waiting: not whoever has much. A browser opens six connections at most.
            let refused = match open.of(peer) > limits.per_peer / 2 {
                true => Refused::Share,
                false => Refused::Full,
            };
            let victim = open.victim(peer).ok_or(refused)?;
            // Its place is free at once; its task ends when it next runs.
            if let Some(slot) = open.all.remove(&victim) {
                slot.back.notify_one();
            }
        }
        open.last += 1;
        let number = open.last;
        let slot = Slot {
            peer,
            since: Instant::now(),
            busy: Arc::default(),
            arriving: Arc::default(),
            back: Arc::default(),
        };
        open.all.insert(number, slot.clone());
        Ok(Self { places: places.clone(), number, slot })
    }

    pub(super) fn busy(&self) -> Busy {
        Busy(self.slot.busy.clone())
    }

    pub(super) fn arriving(&self) -> Arriving {
        self.slot.arriving.store(true, Ordering::Relaxed);
        Arriving { _working: self.busy().work(), arriving: self.slot.arriving.clone() }
    }

    /// Returns when the place is needed for somebody else.
    pub(super) async fn wanted_back(&self) {
        self.slot.back.notified().await;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.lock().all.remove(&self.number);
    }
}

impl Busy {
    pub(super) fn work(&self) -> Working {
        self.0.fetch_add(1, Ordering::Relaxed);
        Working(self.0.clone())
    }

    /// What is being answered waits for its visitor, or does so no more.
    pub(super) fn wait(&self, waiting: bool) {
        match waiting {
            true => self.0.fetch_sub(1, Ordering::Relaxed),
            false => self.0.fetch_add(1, Ordering::Relaxed),
        };
    }
}

impl Drop for Working {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Arriving {
    fn drop(&mut self) {
        self.arriving.store(false, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        header: std::time::Duration::from_secs(1),
        life: std::time::Duration::from_secs(1),
        total: 8,
        per_peer: 4,
    };

    fn peer(n: u8) -> IpAddr {
        IpAddr::from([192, 168, 1, n])
    }

    fn wanted_back(place: &Place) -> bool {
        use std::task::{Context, Poll, Waker};
        let mut wanted = std::pin::pin!(place.wanted_back());
        wanted.as_mut().poll(&mut Context::from_waker(Waker::noop())) == Poll::Ready(())
    }

    #[test]
    fn the_owner_gets_a_place_from_whoever_holds_most() {
        let places = Places::default();
        let take = |n| Place::take(&places, &LIMITS, peer(n));
        let owner = take(1).ok().unwrap();
        let other: Vec<Place> = (0..3).map(|_| take(2).ok().unwrap()).collect();
        let greedy: Vec<Place> = (0..4).map(|_| take(3).ok().unwrap()).collect();
        assert!(matches!(take(3), Err(Refused::Share)), "nobody holds more than its share");
        let again = take(1).ok().unwrap();
        let gone: Vec<bool> = greedy.iter().map(wanted_back).collect();
        assert_eq!(gone, [true, false, false, false], "the oldest of the greediest");
        assert!(!wanted_back(&owner) && !other.iter().any(wanted_back) && !wanted_back(&again));
    }

    #[test]
    fn what_is_being_answered_is_not_cut_off() {
        let places = Places::default();
        let held: Vec<Place> = (0..8).map(|n| Place::take(&places, &LIMITS, peer(n)).ok().unwrap()).collect();
        let mut working: Vec<Working> = held.iter().map(|place| place.busy().work()).collect();
        assert!(matches!(Place::take(&places, &LIMITS, peer(9)), Err(Refused::Full)));
        working.pop();
        assert!(Place::take(&places, &LIMITS, peer(9)).is_ok());
        assert!(wanted_back(&held[7]));
    }

    #[test]
    fn those_who_connect_and_say_nothing_keep_nobody_out() {
        let places = Places::default();
        let take = |n| Place::take(&places, &LIMITS, peer(n));
        let silent: Vec<Place> = (0..8).map(|n| take(2 + n / 4).ok().unwrap()).collect();
        let arriving: Vec<Arriving> = silent.iter().map(Place::arriving).collect();
        // They hold a place each moment anew; who has most of them waits for none.
        assert!(matches!(take(2), Err(Refused::Share)));
        let answered = |place: Place| (place.busy().work(), place);
        let owner: Vec<(Working, Place)> =
            (0..2).map(|_| answered(take(1).expect("the owner is kept out"))).collect();
        assert_eq!(silent.iter().filter(|place| wanted_back(place)).count(), 2);
        assert!(matches!(take(2), Err(Refused::Share)), "three are more than half of four");
        assert!(!owner.iter().any(|(_, place)| wanted_back(place)));
        // Whoever has as few as he keeps what he has just got.
        assert!(matches!(take(1), Err(Refused::Full)));
        drop(arriving);
        assert!(take(1).is_ok(), "idle ones make room");
    }

    #[test]
    fn a_place_is_given_back_and_a_prefix_counts_as_one_host_but_not_that_of_the_home_itself() {
        let places = Places::default();
        for prefix in [0xfd00, 0xfe80] {
            let host = |n: u16| IpAddr::from([prefix, 0, 0, 0, 0, 0, 0, n]);
            let _guest: Vec<Place> =
                (0..4).map(|_| Place::take(&places, &LIMITS, host(1)).ok().unwrap()).collect();
            assert!(Place::take(&places, &LIMITS, host(1)).is_err());
            assert!(Place::take(&places, &LIMITS, host(2)).is_ok(), "another host of the home");
        }
        let places = Places::default();
        let host = |n: u16| IpAddr::from([0x2001, 0xdb8, 0, 1, 0, 0, 0, n]);
        let held: Vec<Place> = (0..4).map(|n| Place::take(&places, &LIMITS, host(n)).ok().unwrap()).collect();
        assert!(Place::take(&places, &LIMITS, host(9)).is_err());
        drop(held);
        assert!(Place::take(&places, &LIMITS, host(9)).is_ok());
    }
}
