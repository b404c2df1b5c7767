//! A disk that refuses: what its owner is told, and what a write that failed must not leave behind.

use std::path::Path;

use sqlx::migrate::MigrateError;
use sqlx::pool::PoolConnection;
use sqlx::{Sqlite, SqliteConnection};

use super::{Error, Store};
use crate::file;

/// SQLite's primary result codes (sqlite.org/rescode.html), the lowest byte of what it says.
const PERM: u32 = 3;
const BUSY: u32 = 5;
const LOCKED: u32 = 6;
const NOMEM: u32 = 7;
const READONLY: u32 = 8;
const IOERR: u32 = 10;
const CORRUPT: u32 = 11;
const FULL: u32 = 13;
const CANTOPEN: u32 = 14;
/// SQLITE_IOERR_SHORT_READ: the file ends too early. It is damaged.
const SHORT_READ: u32 = IOERR | (2 << 8);

/// More than a new store needs.
const ROOM: usize = 128 * 1024;
const PROBE: &str = "probe";

/// SQLite's extended result code; none: it has said none.
fn code(error: &sqlx::Error) -> Option<u32> {
    error.as_database_error()?.code()?.parse().ok()
}

/// What is wrong, for the owner.
pub(super) fn reason(error: &sqlx::Error) -> &'static str {
    match code(error).map(|code| code & 0xff) {
        Some(FULL) => "the disk has no room left for the settings store",
        Some(READONLY) => "the settings store may only be read",
        Some(IOERR) => "the disk with the settings store reports an error",
        Some(CORRUPT) => "the settings store is damaged",
        Some(CANTOPEN) => "a file of the settings store cannot be opened",
        _ => "the settings store could not be read or written",
    }
}

impl Error {
    /// It says nothing of what lies on the disk: somebody else has it open, or memory is short.
    pub(super) fn is_of_the_moment(&self) -> bool {
        self.of_sqlite().is_some_and(|code| [PERM, BUSY, LOCKED, NOMEM].contains(&(code & 0xff)))
    }

    fn of_sqlite(&self) -> Option<u32> {
        match self {
            Self::Database(error)
            | Self::Schema(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => {
                code(error)
            }
            _ => None,
        }
    }

    /// It is the disk that refuses: full, failing, for reading only. What lies on it may be as good as ever.
    pub(super) fn is_of_the_disk(&self) -> bool {
        let of_the_disk = |code| [READONLY, IOERR, FULL, CANTOPEN].contains(&(code & 0xff));
        self.of_sqlite().is_some_and(|code| code != SHORT_READ && of_the_disk(code))
    }
}

/// Whether there is room in `dir` for a new store, and it can be written.
pub(super) fn can_be_written(dir: &Path) -> bool {
    let probe = dir.join(PROBE);
    let written = file::replace(&probe, &vec![0x55; ROOM]).is_ok();
    // What could not become the probe lies beside it.
    for rest in [probe.with_extension("new"), probe] {
        let _ = std::fs::remove_file(rest);
    }
    written
}

/// A transaction, on the one connection there is: nobody else has it before it is over. sqlx's own counts them, and where SQLite has
/// ended one by itself (a full disk) it counts one too many: it leaves the next one that fails open, and whatever is written after that
/// is acknowledged and never saved.
#[derive(Debug)]
pub(super) struct Transaction(PoolConnection<Sqlite>);

impl Store {
    /// Begins one. Whoever has begun it ends it.
    pub(super) async fn begin(&self) -> Result<Transaction, Error> {
        let mut one = self.pool.acquire().await?;
        if sqlx::raw_sql("BEGIN").execute(&mut *one).await.is_err() {
            // Left open by one that was dropped.
            sqlx::raw_sql("ROLLBACK").execute(&mut *one).await?;
            sqlx::raw_sql("BEGIN").execute(&mut *one).await?;
        }
        Ok(Transaction(one))
    }
}

impl Transaction {
    /// For a query.
    pub(super) fn connection(&mut self) -> &mut SqliteConnection {
        &mut self.0
    }

    /// Keeps what was `done`, or takes it back.
    ///
    /// Where the sync of the log has failed, all of it lies in the log as if it were good: a start after a kill would find done what
    /// its owner was told is not. So a transaction that changes nothing is written over it, for whose sync nobody waits; a disk that
    /// refuses that too has refused everything since. At the beginning of a log SQLite syncs the header first, and writes nothing
    /// more where that fails (`sqlite3WalFrames` in wal.c); but a log of which nothing is needed can be cut off without any sync.
    pub(super) async fn end<T>(mut self, done: Result<T, Error>) -> Result<T, Error> {
        let kept = match done {
            Ok(value) => {
                sqlx::raw_sql("COMMIT").execute(&mut *self.0).await.map(|_| value).map_err(Error::from)
            }
            Err(error) => Err(error),
        };
        if kept.is_err() {
            for words in ["ROLLBACK", "PRAGMA wal_checkpoint(TRUNCATE)", "PRAGMA user_version = 0"] {
                // An error: SQLite has taken it back by itself; the disk still refuses.
                let _ = sqlx::raw_sql(words).execute(&mut *self.0).await;
            }
        }
        kept
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::kernel::Network;
    use crate::settings::Settings;
    use crate::store::{Before, FILE, NewRevision, RevisionState};

    async fn keep(store: &Store) -> Result<i64, Error> {
        let before = Before { boot: String::new(), network: Network::default() };
        let settings = Settings::default();
        let (who, via, comment) = ("root", "command line", "");
        let id = store
            .save(NewRevision { settings: &settings, base: 0, before: &before, who, via, comment })
            .await?;
        store.mark(id, RevisionState::Confirmed).await?;
        Ok(id)
    }

    async fn say(store: &Store, words: &'static str) {
        sqlx::raw_sql(words).execute(&store.pool).await.unwrap();
    }

    /// What a start finds after a kill.
    async fn found(folder: &Path, copy: &Path) -> Vec<i64> {
        std::fs::create_dir_all(copy).unwrap();
        for name in [FILE.to_owned(), format!("{FILE}-wal")] {
            std::fs::copy(folder.join(&name), copy.join(&name)).unwrap();
        }
        let store = Store::open(copy).await.unwrap();
        let ids = store.confirmed_ids(9).await.unwrap();
        store.close().await;
        ids
    }

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("postern-trouble-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        folder
    }

    #[tokio::test]
    async fn what_is_saved_after_writes_that_failed_is_saved() {
        let folder = folder("after");
        let store = Store::open(&folder).await.unwrap();
        let first = keep(&store).await.unwrap();
        // No page more than there is: SQLite ends the transaction by itself, as on a full disk.
        say(&store, "PRAGMA max_page_count = 1").await;
        let full = loop {
            match keep(&store).await {
                Ok(_) => {}
                Err(error) => break error,
            }
        };
        assert_eq!(full.to_string(), "the disk has no room left for the settings store");
        assert!(full.is_of_the_disk());
        say(&store, "PRAGMA max_page_count = 100000").await;
        // And one that SQLite leaves to whoever began it.
        store.refuse_writes(true).await;
        assert!(keep(&store).await.unwrap_err().to_string().ends_with("may only be read"));
        store.refuse_writes(false).await;
        let last = keep(&store).await.unwrap();
        let ids = found(&folder, &folder.join("copy")).await;
        assert!(last > first && ids.first() == Some(&last), "{last} was answered with done; found: {ids:?}");
        store.close().await;
        std::fs::remove_dir_all(&folder).unwrap();
    }

    #[test]
    fn what_is_damaged_is_no_matter_of_the_disk() {
        assert!(!Error::Damaged("*** in database main ***".to_owned()).is_of_the_disk());
        assert!(!Error::Schema(MigrateError::VersionMissing(99)).is_of_the_disk());
        assert!(!Error::Database(sqlx::Error::RowNotFound).is_of_the_disk());
    }

    #[test]
    fn a_folder_that_can_be_written_is_left_as_it_was() {
        let folder = folder("probe");
        assert!(can_be_written(&folder));
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 0);
        assert!(!can_be_written(&folder.join("gone")));
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
