//! What happened: one row a line. Bounded in number and in age, and in two halves, so that what strangers can cause as often as
//! they like (wrong passwords, attempts, sessions) never pushes out what was done to the box.

use serde::{Deserialize, Serialize};
use sqlx::SqliteConnection;

use super::{Difference, Error, Store};

/// Lines kept of each half; older ones go.
pub const KEPT: i64 = 1000;
/// Lines of earlier starts are kept so long, in seconds: 90 days.
pub const AGE: i64 = 90 * 86_400;

/// What a line of the journal is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum JournalKind {
    /// Somebody logged in or out, took the box, changed the password.
    Login,
    /// A password or code that was wrong, and tries that had to wait.
    Refused,
    /// Settings were changed, by hand, undo, going back or import.
    Change,
    /// Settings on trial were kept, or went back.
    Trial,
    /// Something could not be put into force.
    Failed,
    /// Somebody else changed what is ours, or that was put right.
    Foreign,
    /// The daemon itself: start, end, a damaged store.
    Daemon,
    /// The internet port: its link and address.
    Internet,
    /// A device tried what is switched off.
    Attempt,
    /// VPN sessions that opened and ended.
    Session,
}

impl JournalKind {
    /// Every one.
    pub const ALL: [Self; 10] = [
        Self::Login,
        Self::Refused,
        Self::Change,
        Self::Trial,
        Self::Failed,
        Self::Foreign,
        Self::Daemon,
        Self::Internet,
        Self::Attempt,
        Self::Session,
    ];

    /// As programs write it, for example `attempt`.
    pub fn word(self) -> &'static str {
        match self {
            Self::Login => "login",
            Self::Refused => "refused",
            Self::Change => "change",
            Self::Trial => "trial",
            Self::Failed => "failed",
            Self::Foreign => "foreign",
            Self::Daemon => "daemon",
            Self::Internet => "internet",
            Self::Attempt => "attempt",
            Self::Session => "session",
        }
    }

    /// As people say it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Login => "Logins",
            Self::Refused => "Refused logins",
            Self::Change => "Changes",
            Self::Trial => "Kept or taken back",
            Self::Failed => "Failures",
            Self::Foreign => "Changed by others",
            Self::Daemon => "Starts and ends",
            Self::Internet => "Internet",
            Self::Attempt => "Blocked attempts",
            Self::Session => "VPN sessions",
        }
    }

    /// Whether people without a login can cause it, as often as they like.
    pub(crate) fn often(self) -> bool {
        matches!(self, Self::Refused | Self::Internet | Self::Attempt | Self::Session)
    }
}

/// One line of the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalEntry {
    /// Number, counting up in the order of the first time.
    pub id: i64,
    /// The first time, in seconds since 1970 by the box's clock.
    pub at: i64,
    /// The last time; the same if it happened once.
    pub until: i64,
    /// How often.
    pub times: u64,
    /// What it is about.
    pub kind: JournalKind,
    /// Who: `owner`, `root`, `Postern`, `somebody`, or a device's name in quotes. Text from outside.
    pub who: String,
    /// From where: `command line`, or an address; may be empty.
    pub via: String,
    /// What was done, as a phrase after who: `logged in`.
    pub what: String,
    /// What differs, where settings were changed. Secrets are masked.
    pub changes: Vec<Difference>,
}

type Row = (i64, i64, i64, i64, String, String, String, String, String);

impl Store {
    /// The highest number in use; 0: none.
    pub async fn newest_entry(&self) -> Result<i64, Error> {
        let (id,): (i64,) =
            sqlx::query_as("SELECT COALESCE(MAX(id), 0) FROM journal").fetch_one(&self.pool).await?;
        Ok(id)
    }

    /// Writes lines, new ones and those that have grown, and lets the oldest go. `before` is the highest number of earlier starts: only
    /// their lines go by age, for a box without a clock of its own begins in 1970, and its newest lines would be the first to go.
    pub async fn write_entries(&self, entries: &[JournalEntry], before: i64, now: i64) -> Result<(), Error> {
        let mut transaction = self.begin().await?;
        let done = insert(transaction.connection(), entries, before, now).await;
        transaction.end(done).await
    }

    /// Every line, newest first. One that this version does not understand is left out.
    pub async fn entries(&self) -> Result<Vec<JournalEntry>, Error> {
        let rows: Vec<Row> = sqlx::query_as(
            "SELECT id, at, until, times, kind, who, via, what, changes FROM journal ORDER BY id DESC",
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows.into_iter().filter_map(entry).collect())
    }
}

async fn insert(
    connection: &mut SqliteConnection,
    entries: &[JournalEntry],
    before: i64,
    now: i64,
) -> Result<(), Error> {
    for entry in entries {
        let changes = serde_json::to_string(&entry.changes)
            .map_err(|source| Error::Document { id: entry.id, source })?;
        sqlx::query(
            "INSERT INTO journal (id, at, until, times, kind, often, who, via, what, changes) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10) \
             ON CONFLICT (id) DO UPDATE SET until = ?3, times = ?4",
        )
        .bind(entry.id)
        .bind(entry.at)
        .bind(entry.until)
        .bind(i64::try_from(entry.times).unwrap_or(i64::MAX))
        .bind(entry.kind.word())
        .bind(i64::from(entry.kind.often()))
        .bind(&entry.who)
        .bind(&entry.via)
        .bind(&entry.what)
        .bind(changes)
        .execute(&mut *connection)
        .await?;
    }
    for often in [0, 1] {
        sqlx::query(
            "DELETE FROM journal WHERE often = ?1 AND id <= \
             (SELECT id FROM journal WHERE often = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
        )
        .bind(often)
        .bind(KEPT)
        .execute(&mut *connection)
        .await?;
    }
    sqlx::query("DELETE FROM journal WHERE id <= ?1 AND until < ?2")
        .bind(before)
        .bind(now - AGE)
        .execute(connection)
        .await?;
    Ok(())
}

fn entry((id, at, until, times, kind, who, via, what, changes): Row) -> Option<JournalEntry> {
    let kind = JournalKind::ALL.into_iter().find(|known| known.word() == kind)?;
    let changes = serde_json::from_str(&changes).unwrap_or_default();
    let times = u64::try_from(times).unwrap_or(1);
    Some(JournalEntry { id, at, until, times, kind, who, via, what, changes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: i64, at: i64, kind: JournalKind) -> JournalEntry {
        let (who, via, what) = ("owner".into(), "192.168.1.9".into(), "did it".into());
        JournalEntry { id, at, until: at, times: 1, kind, who, via, what, changes: Vec::new() }
    }

    #[tokio::test]
    async fn what_strangers_cause_never_pushes_out_what_was_done_to_the_box() {
        let store = Store::in_memory().await.unwrap();
        store.write_entries(&[line(1, 50, JournalKind::Login)], 0, 50).await.unwrap();
        let flood: Vec<_> = (2..2500).map(|id| line(id, 60, JournalKind::Refused)).collect();
        store.write_entries(&flood, 0, 60).await.unwrap();
        let all = store.entries().await.unwrap();
        assert_eq!(all.len() as i64, KEPT + 1);
        assert_eq!((all[0].id, all.last().unwrap().kind), (2499, JournalKind::Login));
        let deeds: Vec<_> = (3000..5500).map(|id| line(id, 60, JournalKind::Change)).collect();
        store.write_entries(&deeds, 0, 60).await.unwrap();
        assert_eq!(store.entries().await.unwrap().len() as i64, 2 * KEPT);
    }

    #[tokio::test]
    async fn a_line_that_has_grown_is_the_same_line_and_age_takes_only_lines_of_earlier_starts() {
        let store = Store::in_memory().await.unwrap();
        let mut sum = line(1, 50, JournalKind::Attempt);
        store.write_entries(&[sum.clone(), line(2, 60, JournalKind::Daemon)], 0, 50).await.unwrap();
        (sum.times, sum.until) = (14, 650);
        store.write_entries(&[sum.clone()], 0, 700).await.unwrap();
        assert_eq!(store.entries().await.unwrap()[1], sum);
        assert_eq!(store.newest_entry().await.unwrap(), 2);
        store.write_entries(&[], 0, AGE + 1_000_000).await.unwrap();
        assert_eq!(store.entries().await.unwrap().len(), 2, "the clock was set right meanwhile");
        store.write_entries(&[], 2, AGE + 655).await.unwrap();
        assert_eq!(store.entries().await.unwrap(), [], "650 and 60 are both older than 90 days");
    }
}
