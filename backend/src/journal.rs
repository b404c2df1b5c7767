//! The journal: what was done to the box, by whom, and what happened to it, for its owner to read.
//!
//! Lines are gathered in memory and written together ([`AT_ONCE`], [`SUMS`]): flash wears. What comes often is one line with a
//! count. A store that cannot be written stops nothing: the lines stay in memory, as many as fit, and that is told.
//! No line says where a device connected to.

mod memory;
mod select;

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;

use crate::log;
use crate::store::{Difference, Store, wall_clock};
use memory::Memory;

pub use crate::store::{JournalEntry, JournalKind};
pub use select::{JournalFilter, JournalPage};

/// Shortest time between two writes for what happened once: what is gathered meanwhile goes with the next.
const AT_ONCE: Duration = Duration::from_secs(10);
/// What was only counted is written so often.
const SUMS: Duration = Duration::from_secs(300);
/// Longest text of a line, in characters.
const LONGEST: usize = 300;
/// Most settings of one change that are written; longest value of one, in characters.
const CHANGES: (usize, usize) = (48, 120);

/// Whoever was it; see [`JournalEntry`].
#[derive(Debug, Clone, Copy)]
pub struct By<'a> {
    /// `owner`, `root`, `Postern`, `somebody`, or a device's name in quotes.
    pub who: &'a str,
    /// `command line`, an address, or nothing.
    pub via: &'a str,
}

impl By<'static> {
    /// The daemon itself.
    pub const POSTERN: Self = By { who: "Postern", via: "" };
}

/// The journal; a copy is the same one.
#[derive(Debug, Clone)]
pub struct Journal(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    memory: Mutex<Memory>,
    due: Notify,
    /// One write at a time.
    writing: tokio::sync::Mutex<Written>,
}

#[derive(Debug, Default)]
struct Written {
    /// The highest number of earlier starts; none: the store has not told yet.
    before: Option<i64>,
    /// The log has said that nothing can be written.
    told: bool,
}

impl Journal {
    /// Kept in `store`.
    pub fn new(store: Store) -> Self {
        Self(Arc::new(Inner {
            store,
            memory: Mutex::default(),
            due: Notify::new(),
            writing: tokio::sync::Mutex::default(),
        }))
    }

    /// Something was done, once.
    pub fn note(&self, kind: JournalKind, by: By<'_>, what: &str) {
        self.note_changes(kind, by, what, Vec::new());
    }

    /// Something was done, and these settings differ since.
    pub fn note_changes(&self, kind: JournalKind, by: By<'_>, what: &str, changes: Vec<Difference>) {
        self.memory().note(line(kind, by, what, changes));
        self.0.due.notify_one();
    }

    /// Something that can come often happened `times` more, the last time so many seconds ago.
    pub fn count(&self, kind: JournalKind, by: By<'_>, what: &str, times: u64, ago: u64) {
        let mut one = line(kind, by, what, Vec::new());
        let ago = i64::try_from(ago).unwrap_or(0);
        (one.at, one.until, one.times) = (one.at - ago, one.until - ago, times.max(1));
        self.memory().count(one, Instant::now());
    }

    /// [`Self::count`] of one, just now, from an address.
    pub fn count_from(&self, kind: JournalKind, who: &str, source: IpAddr, what: &str) {
        self.count(kind, By { who, via: &source.to_string() }, what, 1, 0);
    }

    /// Some of it, newest first.
    pub async fn page(&self, filter: &JournalFilter) -> JournalPage {
        let mut writing = self.0.writing.lock().await;
        // Unknown: what is held would have the numbers of what is stored.
        let _ = self.before(&mut writing).await;
        let stored = self.0.store.entries().await;
        let unreadable = stored.is_err();
        let held = self.memory().held(writing.before.unwrap_or_default());
        drop(writing);
        JournalPage {
            unwritten: unreadable.then_some(held.len()),
            ..filter.page(stored.unwrap_or_default(), held)
        }
    }

    /// Writes what is due, for ever.
    pub async fn keep(&self) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(SUMS) => {}
                () = self.0.due.notified() => {}
            }
            self.flush().await;
            tokio::time::sleep(AT_ONCE).await;
        }
    }

    /// Writes everything now; the daemon does so before it ends.
    pub async fn flush(&self) {
        let mut writing = self.0.writing.lock().await;
        let done = self.write(&mut writing).await;
        if let Err(error) = &done
            && !writing.told
        {
            log::incident(error);
        }
        writing.told = done.is_err();
    }

    async fn write(&self, writing: &mut Written) -> Result<(), crate::store::Error> {
        let before = self.before(writing).await?;
        let due = self.memory().due(before, Instant::now());
        if due.is_empty() {
            return Ok(());
        }
        self.0.store.write_entries(&due, before, wall_clock()).await?;
        self.memory().written(before, &due);
        Ok(())
    }

    /// The highest number of earlier starts.
    async fn before(&self, writing: &mut Written) -> Result<i64, crate::store::Error> {
        if writing.before.is_none() {
            writing.before = Some(self.0.store.newest_entry().await?);
        }
        Ok(writing.before.unwrap_or_default())
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.0.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn line(kind: JournalKind, by: By<'_>, what: &str, mut changes: Vec<Difference>) -> JournalEntry {
    let now = wall_clock();
    let left_out = changes.len().saturating_sub(CHANGES.0);
    changes.truncate(CHANGES.0);
    for change in &mut changes {
        change.before = harmless(&change.before, CHANGES.1);
        change.after = harmless(&change.after, CHANGES.1);
    }
    let more = if left_out > 0 { format!(", and {left_out} settings more") } else { String::new() };
    let (who, via) = (harmless(by.who, 80), harmless(by.via, 80));
    JournalEntry {
        id: 0,
        at: now,
        until: now,
        times: 1,
        kind,
        who,
        via,
        what: harmless(&format!("{what}{more}"), LONGEST),
        changes,
    }
}

/// At most so many characters, none of which steers a terminal or turns the direction of what follows.
fn harmless(text: &str, most: usize) -> String {
    let steers = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
    };
    let mut short: String = text.chars().take(most).map(|c| if steers(c) { '\u{fffd}' } else { c }).collect();
    if text.chars().nth(most).is_some() {
        short.push('\u{2026}');
    }
    short
}

/// The name of a device as a line has it: in quotes, for it may call itself `owner`.
pub fn quoted(name: Option<&str>) -> String {
    name.map_or_else(
        || "a device".to_owned(),
        |name| format!("\u{201c}{}\u{201d}", name.replace(['\u{201c}', '\u{201d}'], "'")),
    )
}

#[cfg(test)]
mod tests;
