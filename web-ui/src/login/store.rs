//! The logins in memory: few, and by a clock that nobody can set. A restart of this process logs everybody out.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::{Result, SessionStore};

/// So many logins at once; the one that was idle longest makes room.
const MOST: usize = 64;
/// A login ends after this whatever happens.
const ABSOLUTE: Duration = Duration::from_secs(12 * 3600);

/// Every login, by its cookie.
#[derive(Clone, Debug)]
pub struct Logins(Arc<Mutex<Inner>>);

#[derive(Debug)]
struct Inner {
    idle: Duration,
    kept: HashMap<Id, Kept>,
}

#[derive(Debug)]
struct Kept {
    record: Record,
    begun: Instant,
    used: Instant,
}

impl Default for Logins {
    fn default() -> Self {
        Self(Arc::new(Mutex::new(Inner { idle: Duration::from_secs(600), kept: HashMap::new() })))
    }
}

impl Logins {
    /// A login ends after so many idle minutes.
    pub fn set_idle_minutes(&self, minutes: u16) {
        self.inner().idle = Duration::from_secs(u64::from(minutes) * 60);
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.inner().kept.len()
    }

    // A panic while holding the lock leaves whole entries: none of the changes below has a middle.
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn forget_the_dead(&mut self, now: Instant) {
        let idle = self.idle;
        self.kept.retain(|_, k| now.duration_since(k.used) < idle && now.duration_since(k.begun) < ABSOLUTE);
    }
}

#[async_trait]
impl SessionStore for Logins {
    async fn create(&self, record: &mut Record) -> Result<()> {
        let (mut inner, now) = (self.inner(), Instant::now());
        inner.forget_the_dead(now);
        // Never over an existing one: an id that collides must not take over somebody's login.
        while inner.kept.contains_key(&record.id) {
            record.id = Id::default();
        }
        if inner.kept.len() >= MOST
            && let Some(idlest) = inner.kept.iter().min_by_key(|(_, k)| k.used).map(|(id, _)| *id)
        {
            inner.kept.remove(&idlest);
        }
        inner.kept.insert(record.id, Kept { record: record.clone(), begun: now, used: now });
        Ok(())
    }

    async fn save(&self, record: &Record) -> Result<()> {
        // Not there any more: a request that was still running must not revive a login that has ended.
        if let Some(kept) = self.inner().kept.get_mut(&record.id) {
            kept.record = record.clone();
        }
        Ok(())
    }

    async fn load(&self, id: &Id) -> Result<Option<Record>> {
        let (mut inner, now) = (self.inner(), Instant::now());
        inner.forget_the_dead(now);
        Ok(inner.kept.get_mut(id).map(|kept| {
            kept.used = now;
            kept.record.clone()
        }))
    }

    async fn delete(&self, id: &Id) -> Result<()> {
        self.inner().kept.remove(id);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The date is the middleware's; the store goes by its own clock.
    fn record() -> Record {
        Record {
            id: Id::default(),
            data: Default::default(),
            expiry_date: tower_sessions::cookie::time::OffsetDateTime::UNIX_EPOCH,
        }
    }

    #[tokio::test]
    async fn the_idlest_login_makes_room_for_the_sixty_fifth() {
        let logins = Logins::default();
        let mut first = record();
        logins.create(&mut first).await.unwrap();
        let mut second = record();
        logins.create(&mut second).await.unwrap();
        for _ in 2..MOST {
            logins.create(&mut record()).await.unwrap();
        }
        assert!(logins.load(&first.id).await.unwrap().is_some(), "used now, so the second is the idlest");
        logins.create(&mut record()).await.unwrap();
        assert_eq!(logins.count(), MOST);
        assert!(logins.load(&second.id).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_ended_login_is_not_revived_and_an_id_is_never_taken_over() {
        let logins = Logins::default();
        let mut one = record();
        logins.create(&mut one).await.unwrap();
        let mut other = Record { id: one.id, ..record() };
        logins.create(&mut other).await.unwrap();
        assert_ne!(one.id, other.id);
        logins.delete(&one.id).await.unwrap();
        logins.save(&one).await.unwrap();
        assert!(logins.load(&one.id).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_idle_login_ends() {
        let logins = Logins::default();
        let mut one = record();
        logins.create(&mut one).await.unwrap();
        logins.set_idle_minutes(0);
        assert!(logins.load(&one.id).await.unwrap().is_none());
    }
}
