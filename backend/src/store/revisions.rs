//! Saved documents, newest last.

use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use crate::kernel::Network;
use crate::settings::{Settings, keys};

use super::{Error, Store, as_written, sum, wall_clock};

/// So many revisions are kept; older ones go when a new one is saved.
const KEPT: i64 = 200;
/// And so many characters of documents: with hundreds of forwards one has a quarter of a megabyte, and 200 of those would fill the flash
/// of a small router, where nothing can be saved any more.
const HELD: i64 = 2 << 20;

/// One saved document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revision {
    /// Number, counting up.
    pub id: i64,
    /// Seconds since 1970 by the box's clock.
    pub at: i64,
    /// Who: `root`, `owner`, or `postern` itself.
    pub who: String,
    /// From where: `command line`, or the browser's address.
    pub via: String,
    /// Why, as typed.
    pub comment: String,
    /// How far it came.
    pub state: RevisionState,
    /// What differs from the one before.
    pub differs: Vec<Difference>,
}

/// How far a revision came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RevisionState {
    /// Stored, not yet in the kernel.
    Saved,
    /// In the kernel, on trial.
    Applied,
    /// In the kernel and kept.
    Confirmed,
    /// Taken back.
    Reverted,
}

/// One key that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The key.
    pub key: String,
    /// Value before, in words.
    pub before: String,
    /// Value after, in words.
    pub after: String,
}

/// A document about to be saved.
#[derive(Debug, Clone)]
pub struct NewRevision<'a> {
    /// The document.
    pub settings: &'a Settings,
    /// The revision it was made from; 0: factory state.
    pub base: i64,
    /// What it will find.
    pub before: &'a Before,
    /// `root`, `owner` or `postern`.
    pub who: &'a str,
    /// `command line`, or the browser's address.
    pub via: &'a str,
    /// Why, as typed.
    pub comment: &'a str,
}

/// A document as saved.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    /// Its revision.
    pub id: i64,
    /// The document.
    pub settings: Settings,
    /// What it found. None: it does not parse any more.
    pub before: Option<Before>,
}

/// What a document finds when it is put into force, to put it back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Before {
    /// Which boot of the kernel that was: in another one it describes a network that is no more.
    pub boot: String,
    /// Addresses, route and sysctls.
    pub network: Network,
}

type Row = (i64, String, Option<i64>, Option<String>);

fn stored((id, settings, sum, before): Row) -> Result<Stored, Error> {
    let before = before.and_then(|b| serde_json::from_str(&b).ok());
    Ok(Stored { id, settings: document(id, &settings, sum)?, before })
}

/// A document, if it is what was written.
fn document(id: i64, text: &str, sum: Option<i64>) -> Result<Settings, Error> {
    if !as_written(text, sum) {
        return Err(Error::Changed { id });
    }
    serde_json::from_str(text).map_err(|source| Error::Document { id, source })
}

fn json<T: serde::Serialize>(id: i64, value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|source| Error::Document { id, source })
}

impl Store {
    /// The newest document that the owner has kept and that can be read; none: factory state. An error: there are some, and
    /// none of them can be read.
    pub async fn newest_confirmed(&self) -> Result<Option<Stored>, Error> {
        let mut damaged = None;
        let mut below = i64::MAX;
        loop {
            let row: Option<Row> = sqlx::query_as(
                "SELECT id, settings, sum, before FROM revision WHERE state = 'confirmed' AND id < ?1 \
                 ORDER BY id DESC LIMIT 1",
            )
            .bind(below)
            .fetch_optional(&self.pool)
            .await?;
            let Some(row) = row else { return damaged.map_or(Ok(None), Err) };
            below = row.0;
            match stored(row) {
                Ok(stored) => return Ok(Some(stored)),
                Err(error) => damaged = damaged.or(Some(error)),
            }
        }
    }

    /// Whether something is on its way, readable or not.
    pub(super) async fn unconfirmed_id(&self) -> Result<Option<i64>, Error> {
        let row: Option<(i64,)> = sqlx::query_as(
            "SELECT id FROM revision WHERE state IN ('saved', 'applied') \
             AND id > (SELECT coalesce(max(id), 0) FROM revision WHERE state = 'confirmed') ORDER BY id DESC LIMIT 1",
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(row.map(|(id,)| id))
    }

    /// The newest document that was on its way when a daemon ended: saved or applied, neither kept nor taken back. One that could
    /// not be marked as taken back, and after which another was kept, is none: what it replaced is long past.
    pub async fn unconfirmed(&self) -> Result<Option<Stored>, Error> {
        let row = sqlx::query_as(
            "SELECT id, settings, sum, before FROM revision WHERE state IN ('saved', 'applied') \
             AND id > (SELECT coalesce(max(id), 0) FROM revision WHERE state = 'confirmed') ORDER BY id DESC LIMIT 1",
        )
        .fetch_optional(&self.pool)
        .await?;
        row.map(stored).transpose()
    }

    /// The kept document of revision `id`.
    pub async fn confirmed(&self, id: i64) -> Result<Option<Stored>, Error> {
        let row = sqlx::query_as(
            "SELECT id, settings, sum, before FROM revision WHERE state = 'confirmed' AND id = ?1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        row.map(stored).transpose()
    }

    /// The numbers of the newest kept revisions, newest first.
    pub async fn confirmed_ids(&self, limit: u32) -> Result<Vec<i64>, Error> {
        let rows: Vec<(i64,)> =
            sqlx::query_as("SELECT id FROM revision WHERE state = 'confirmed' ORDER BY id DESC LIMIT ?1")
                .bind(limit)
                .fetch_all(&self.pool)
                .await?;
        Ok(rows.into_iter().map(|(id,)| id).collect())
    }

    /// The document that revision `id` was made from. None: it is older than what is kept.
    pub async fn before(&self, id: i64) -> Result<Option<Settings>, Error> {
        let row: Option<(Option<i64>, Option<String>, Option<i64>)> = sqlx::query_as(
            "SELECT r.base, b.settings, b.sum FROM revision r LEFT JOIN revision b ON b.id = r.base WHERE r.id = ?1",
        )
        .bind(id)
        .fetch_optional(&self.pool)
        .await?;
        match row {
            Some((None, ..)) => Ok(Some(Settings::default())),
            Some((Some(base), Some(text), sum)) => document(base, &text, sum).map(Some),
            Some((Some(_), None, _)) | None => Ok(None),
        }
    }

    /// Saves a document in the state *saved*; returns its number. When this returns it survives a power cut.
    pub async fn save(&self, new: NewRevision<'_>) -> Result<i64, Error> {
        #[cfg(test)]
        self.faults.before().await?;
        let mut transaction = self.begin().await?;
        let done = insert(transaction.connection(), new).await;
        let saved = transaction.end(done).await;
        #[cfg(test)]
        self.faults.after().await;
        saved
    }

    /// Notes how far revision `id` came. With one that is kept, those before it that were not are over: the disk may have refused
    /// to note that they were taken back.
    pub async fn mark(&self, id: i64, state: RevisionState) -> Result<(), Error> {
        #[cfg(test)]
        self.faults.before().await?;
        let mut transaction = self.begin().await?;
        let done = set_state(transaction.connection(), id, state).await;
        transaction.end(done).await?;
        #[cfg(test)]
        self.faults.after().await;
        if state == RevisionState::Confirmed {
            self.keep_copy().await;
        }
        Ok(())
    }

    /// The newest `limit` revisions, newest first, each with what differs from the one it was made from.
    pub async fn history(&self, limit: u32) -> Result<Vec<Revision>, Error> {
        type Row = (i64, i64, String, String, String, String, String, Option<i64>, Option<String>);
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT r.id, r.at, r.who, r.via, r.comment, r.state, r.settings, r.base, b.settings \
             FROM revision r LEFT JOIN revision b ON b.id = r.base ORDER BY r.id DESC LIMIT ?1",
        )
        .bind(limit)
        .fetch_all(&self.pool)
        .await?;
        let revision = |(id, at, who, via, comment, state, settings, base, before): Row| {
            // One damaged document must not hide the rest of the history.
            let parse = |text: &str| serde_json::from_str::<Settings>(text).ok();
            let before = match (base, before) {
                (None, _) => Some(Settings::default()),
                (Some(_), Some(text)) => parse(&text),
                (Some(_), None) => None, // older than what is kept
            };
            let differs = before.zip(parse(&settings)).map_or_else(Vec::new, |(before, after)| {
                keys::difference(&before, &after)
                    .into_iter()
                    .map(|(key, before, after)| Difference {
                        key,
                        before: short(before),
                        after: short(after),
                    })
                    .collect()
            });
            Revision { id, at, who, via, comment, state: state_of(&state), differs }
        };
        Ok(rows.into_iter().map(revision).collect())
    }
}

async fn set_state(connection: &mut SqliteConnection, id: i64, state: RevisionState) -> Result<(), Error> {
    sqlx::query("UPDATE revision SET state = ?2 WHERE id = ?1")
        .bind(id)
        .bind(word(state))
        .execute(&mut *connection)
        .await?;
    if state == RevisionState::Confirmed {
        sqlx::query("UPDATE revision SET state = 'reverted' WHERE id < ?1 AND state IN ('saved', 'applied')")
            .bind(id)
            .execute(connection)
            .await?;
    }
    Ok(())
}

async fn insert(connection: &mut SqliteConnection, new: NewRevision<'_>) -> Result<i64, Error> {
    let settings = json(0, new.settings)?;
    // Before the new one: it may be their room that it needs.
    sqlx::query(
        "DELETE FROM revision WHERE id <> ?2 AND id <> (SELECT coalesce(max(id), 0) FROM revision WHERE state = 'confirmed') \
         AND id IS NOT (SELECT base FROM revision WHERE id = ?2) AND id IN (SELECT id FROM (SELECT id, sum(length(settings) + coalesce(length(before), 0)) OVER (ORDER BY id DESC) AS held \
         FROM revision) WHERE held > ?1)",
    )
    .bind(HELD - settings.len() as i64)
    .bind(new.base)
    .execute(&mut *connection)
    .await?;
    let id = sqlx::query(
        "INSERT INTO revision (at, who, via, comment, state, base, settings, before, sum) \
         VALUES (?1, ?2, ?3, ?4, 'saved', ?5, ?6, ?7, ?8)",
    )
    .bind(wall_clock())
    .bind(new.who)
    .bind(new.via)
    .bind(new.comment)
    .bind((new.base > 0).then_some(new.base))
    .bind(&settings)
    .bind(json(0, new.before)?)
    .bind(sum(&settings).cast_signed())
    .execute(&mut *connection)
    .await?
    .last_insert_rowid();
    sqlx::query("DELETE FROM revision WHERE id <= ?1 AND id <> ?2")
        .bind(id - KEPT)
        .bind(new.base)
        .execute(connection)
        .await?;
    Ok(id)
}

/// Longest value that the history tells, in bytes; a list of a thousand forwards is longer, and 200 revisions of it are no
/// answer any more. What is undone is read from the documents.
const LONGEST: usize = 4000;

fn short(mut value: String) -> String {
    if value.len() > LONGEST {
        value.truncate(value.floor_char_boundary(LONGEST));
        value.push('\u{2026}');
    }
    value
}

fn word(state: RevisionState) -> &'static str {
    match state {
        RevisionState::Saved => "saved",
        RevisionState::Applied => "applied",
        RevisionState::Confirmed => "confirmed",
        RevisionState::Reverted => "reverted",
    }
}

fn state_of(word: &str) -> RevisionState {
    match word {
        "saved" => RevisionState::Saved,
        "applied" => RevisionState::Applied,
        "confirmed" => RevisionState::Confirmed,
        _ => RevisionState::Reverted,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new(settings: &Settings, base: i64) -> NewRevision<'_> {
        static NOTHING: std::sync::LazyLock<Before> =
            std::sync::LazyLock::new(|| Before { boot: String::new(), network: Network::default() });
        NewRevision { settings, base, before: &NOTHING, who: "root", via: "command line", comment: "" }
    }

    #[tokio::test]
    async fn a_revision_counts_only_once_it_is_confirmed() {
        let store = Store::in_memory().await.unwrap();
        let mut settings = Settings::default();
        settings.passthrough.pptp.enabled = true;
        let id = store.save(new(&settings, 0)).await.unwrap();
        assert_eq!(store.newest_confirmed().await.unwrap(), None);
        assert_eq!(store.unconfirmed().await.unwrap().unwrap().settings, settings);
        store.mark(id, RevisionState::Confirmed).await.unwrap();
        assert_eq!(store.newest_confirmed().await.unwrap().unwrap().id, id);
        assert_eq!(store.unconfirmed().await.unwrap(), None);
    }

    #[tokio::test]
    async fn what_could_not_be_marked_is_over_when_another_one_is_kept() {
        let store = Store::in_memory().await.unwrap();
        let settings = Settings::default();
        let stuck = [RevisionState::Saved, RevisionState::Applied];
        for state in stuck {
            let id = store.save(new(&settings, 0)).await.unwrap();
            store.mark(id, state).await.unwrap();
        }
        let kept = store.save(new(&settings, 0)).await.unwrap();
        let newest_first =
            |history: Vec<Revision>| history.into_iter().map(|one| one.state).collect::<Vec<_>>();
        let on_the_way = [RevisionState::Saved, RevisionState::Applied, RevisionState::Saved];
        assert_eq!(newest_first(store.history(9).await.unwrap()), on_the_way);
        store.mark(kept, RevisionState::Confirmed).await.unwrap();
        let over = [RevisionState::Confirmed, RevisionState::Reverted, RevisionState::Reverted];
        assert_eq!(newest_first(store.history(9).await.unwrap()), over);
    }

    #[tokio::test]
    async fn history_names_what_differs_and_keeps_the_newest() {
        let store = Store::in_memory().await.unwrap();
        let mut settings = Settings::default();
        let mut base = 0;
        for round in 0..KEPT + 10 {
            settings.passthrough.pptp.enabled = round % 2 == 0;
            base = store.save(new(&settings, base)).await.unwrap();
            store.mark(base, RevisionState::Confirmed).await.unwrap();
        }
        let history = store.history(1000).await.unwrap();
        assert!(history.len() as i64 <= KEPT + 1, "{}", history.len());
        let one = &history[0].differs;
        assert_eq!(one.len(), 1);
        assert_eq!((one[0].key.as_str(), one[0].after.as_str()), ("passthrough.pptp.enabled", "false"));
    }

    #[tokio::test]
    async fn large_documents_push_older_ones_out_and_never_the_one_that_is_kept_or_the_one_it_was_made_from()
    {
        let store = Store::in_memory().await.unwrap();
        let mut settings = Settings::default();
        for n in 0..900 {
            let forward = format!("udp {} to 192.168.1.20", 10_000 + n);
            keys::set(&mut settings, &format!("forwards.of-a-long-name-{n}"), &forward).unwrap();
        }
        let size = serde_json::to_string(&settings).unwrap().len() as i64;
        let first = store.save(new(&settings, 0)).await.unwrap();
        store.mark(first, RevisionState::Confirmed).await.unwrap();
        let before = settings.clone();
        settings.passthrough.pptp.enabled = true;
        let kept = store.save(new(&settings, first)).await.unwrap();
        store.mark(kept, RevisionState::Confirmed).await.unwrap();
        for _ in 0..60 {
            let taken_back = store.save(new(&settings, kept)).await.unwrap();
            store.mark(taken_back, RevisionState::Reverted).await.unwrap();
        }
        let (held, most): (i64, i64) = sqlx::query_as("SELECT sum(length(settings)), count(*) FROM revision")
            .fetch_one(&store.pool)
            .await
            .unwrap();
        assert!(
            size * 61 > HELD && held <= HELD + 3 * size && most > 4,
            "{held} of {most} documents of {size}"
        );
        assert_eq!(store.newest_confirmed().await.unwrap().unwrap().id, kept);
        assert_eq!(store.before(kept).await.unwrap(), Some(before), "what is in force can be undone");
        assert_eq!(store.before(kept + 60).await.unwrap(), Some(settings));
    }
}
