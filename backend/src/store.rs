//! Where revisions, the account and the journal live: one SQLite file in the state directory, safe against power loss.
//!
//! WAL with `synchronous=FULL`: a save that was answered survives a power cut (NORMAL may lose the last commits).
//! `locking_mode=EXCLUSIVE` before WAL avoids the `-shm` file, whose shared mmap JFFS2 does not have; it also means
//! that only one daemon can hold the store.

mod account;
#[cfg(test)]
mod faults;
mod journal;
mod rescue;
mod revisions;
mod trouble;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use sqlx::SqlSafeStr;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqliteLockingMode, SqlitePool,
    SqlitePoolOptions, SqliteSynchronous,
};

pub use journal::{JournalEntry, JournalKind};
pub use rescue::{Condition, Damaged, beside_others, kept};
pub use revisions::{Before, Difference, NewRevision, Revision, RevisionState, Stored};

/// The store's file in the state directory.
pub const FILE: &str = "postern.db";

/// Every migration: version, name, text. A test holds this list against the folder.
const MIGRATIONS: &[(i64, &str, &str)] = &[
    (1, "init", include_str!("../../migrations/0001_init.sql")),
    (2, "journal", include_str!("../../migrations/0002_journal.sql")),
    (3, "sums", include_str!("../../migrations/0003_sums.sql")),
];

/// An open store.
#[derive(Debug, Clone)]
pub struct Store {
    pool: SqlitePool,
    /// Where it lies; none: in memory.
    dir: Option<PathBuf>,
    condition: Condition,
    /// The copy beside it: one who writes at a time, else the older of two could be the last.
    copying: Arc<tokio::sync::Mutex<()>>,
    /// The copy could not be written, and is of before.
    copy_is_old: Arc<AtomicBool>,
    #[cfg(test)]
    faults: faults::Faults,
}

/// Why the store could not do it. Nothing is half done: each method is one transaction.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// SQLite refused.
    #[error("{}", trouble::reason(.0))]
    Database(#[from] sqlx::Error),
    /// The schema could not be brought up to date.
    #[error("the settings store has a schema that this version does not understand")]
    Schema(#[from] sqlx::migrate::MigrateError),
    /// SQLite says that its file is damaged.
    #[error("the settings store is damaged: {0}")]
    Damaged(String),
    /// The newest kept revision does not parse, and nothing that does is of its role.
    #[error("revision {id} in the settings store is damaged, and what can be read is of another role")]
    AnotherRole {
        /// Which revision.
        id: i64,
        /// Its role was to stand beside another firewall.
        companion: bool,
    },
    /// A document in the store does not parse.
    #[error("revision {id} in the settings store is damaged")]
    Document {
        /// Which revision.
        id: i64,
        /// What serde says.
        #[source]
        source: serde_json::Error,
    },
    /// A document in the store is not what was written.
    #[error("revision {id} in the settings store is not what was written")]
    Changed {
        /// Which revision.
        id: i64,
    },
}

impl Store {
    /// Opens the store in `dir`, makes it if it is not there, and brings its schema up to date.
    pub async fn open(dir: &Path) -> Result<Self, Error> {
        let options = SqliteConnectOptions::new().filename(dir.join(FILE)).create_if_missing(true);
        Ok(Self { dir: Some(dir.to_owned()), ..Self::connect(options).await? })
    }

    /// A store in memory, for tests.
    pub async fn in_memory() -> Result<Self, Error> {
        Self::connect(SqliteConnectOptions::new().in_memory(true)).await
    }

    async fn connect(options: SqliteConnectOptions) -> Result<Self, Error> {
        let options = options
            .page_size(1024) // a save of a revision writes 1.2 kB instead of 4.1 kB: flash wears
            .locking_mode(SqliteLockingMode::Exclusive)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .auto_vacuum(SqliteAutoVacuum::None)
            .foreign_keys(true)
            .busy_timeout(Duration::from_secs(5))
            .pragma("wal_autocheckpoint", "64")
            .pragma("journal_size_limit", "262144")
            .pragma("cache_size", "-512")
            .pragma("temp_store", "2");
        // One connection, kept for ever: the exclusive lock belongs to it.
        let pool = SqlitePoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_with(options)
            .await?;
        if let Err(error) = migrator().run(&pool).await {
            // Closed later, in a thread of its own, it would delete a log that is another store's by then (rescue.rs).
            pool.close().await;
            return Err(error.into());
        }
        Ok(Self {
            pool,
            dir: None,
            condition: Condition::default(),
            copying: Arc::default(),
            copy_is_old: Arc::default(),
            #[cfg(test)]
            faults: faults::Faults::default(),
        })
    }

    /// From now on every write fails, or none any more.
    #[cfg(test)]
    pub(crate) async fn refuse_writes(&self, refuse: bool) {
        let pragma = if refuse { "PRAGMA query_only = 1" } else { "PRAGMA query_only = 0" };
        sqlx::raw_sql(pragma).execute(&self.pool).await.unwrap();
    }

    /// What the next writes of revisions shall do.
    #[cfg(test)]
    pub(crate) fn faults(&self) -> &faults::Faults {
        &self.faults
    }

    /// Closes the file. Nothing is lost without it; the WAL is tidied.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}

fn migrator() -> Migrator {
    let one = |&(version, name, text): &(i64, &'static str, &'static str)| {
        Migration::new(version, name.into(), MigrationType::Simple, text.into_sql_str(), false)
    };
    Migrator::with_migrations(MIGRATIONS.iter().map(one).collect())
}

/// FNV-1a: against accidents, not against people, who could not write here.
fn sum(text: &str) -> u64 {
    text.bytes()
        .fold(0xcbf2_9ce4_8422_2325, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

/// Whether `text` is what was written with this sum; earlier releases wrote none.
fn as_written(text: &str, written: Option<i64>) -> bool {
    written.is_none_or(|written| written == sum(text).cast_signed())
}

/// Seconds since 1970 by the box's clock, which may be wrong: shown to people, never used for a timer.
pub(crate) fn wall_clock() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_list_of_migrations_is_the_folder() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../migrations");
        let mut files: Vec<String> = std::fs::read_dir(folder)
            .unwrap()
            .map(|e| e.unwrap().file_name().into_string().unwrap())
            .filter(|name| name.ends_with(".sql"))
            .collect();
        files.sort();
        let listed: Vec<String> =
            MIGRATIONS.iter().map(|(v, name, _)| format!("{v:04}_{name}.sql")).collect();
        assert_eq!(files, listed);
    }

    #[tokio::test]
    async fn rows_of_every_release_survive_to_the_newest_schema() {
        let store = Store::in_memory().await.unwrap();
        sqlx::raw_sql(include_str!("../../migrations/fixtures/0001.sql")).execute(&store.pool).await.unwrap();
        let newest = store.newest_confirmed().await.unwrap().unwrap();
        assert_eq!(newest.id, 1);
        assert_eq!(newest.settings.internet.device.as_ref().unwrap().as_str(), "wan0");
        let history = store.history(10).await.unwrap();
        assert_eq!(history[0].comment, "for the old office");
        assert_eq!(history[0].differs.len(), 2, "{:?}", history[0].differs);
        assert!(store.password().await.unwrap().unwrap().starts_with("$argon2id$"));
        sqlx::raw_sql(include_str!("../../migrations/fixtures/0002.sql")).execute(&store.pool).await.unwrap();
        let journal = store.entries().await.unwrap();
        assert_eq!((journal[0].times, journal[0].kind), (14, JournalKind::Attempt));
        assert_eq!(journal[1].changes[0].after, "true");
        sqlx::raw_sql(include_str!("../../migrations/fixtures/0003.sql")).execute(&store.pool).await.unwrap();
        assert_eq!(store.newest_confirmed().await.unwrap().unwrap().id, 3);
    }

    #[tokio::test]
    async fn a_power_cut_safe_file_is_made_and_locked_for_one_daemon() {
        let dir = std::env::temp_dir().join(format!("postern-store-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let store = Store::open(&dir).await.unwrap();
        let (mode,): (String,) = sqlx::query_as("PRAGMA journal_mode").fetch_one(&store.pool).await.unwrap();
        let (sync,): (i64,) = sqlx::query_as("PRAGMA synchronous").fetch_one(&store.pool).await.unwrap();
        assert_eq!((mode.as_str(), sync), ("wal", 2));
        assert!(!dir.join("postern.db-shm").exists(), "no shared memory file: JFFS2 could not map it");
        store.close().await;
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
