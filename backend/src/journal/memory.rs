//! Lines that are not written yet, and those that still grow. Pure: the clock comes from outside.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::store::{JournalEntry, JournalKind};

/// A line that counts is closed after so long; what comes then is a new line.
const OPEN: Duration = Duration::from_secs(3600);
/// So many lines of one kind count at once. What others do then is counted in lines of `others`, so that a thousand forged
/// addresses make no thousand lines.
const LINES: usize = 16;
/// Lines held at most; of more, the oldest go unwritten.
const MOST: usize = 512;

#[derive(Debug)]
struct Held {
    /// Its number counts from this start.
    entry: JournalEntry,
    /// Not written as it is now.
    due: bool,
    /// Since when it counts; none: it is about one thing, or closed.
    open: Option<Instant>,
}

/// What is held.
#[derive(Debug, Default)]
pub(super) struct Memory {
    held: VecDeque<Held>,
    last: i64,
    /// Lines that went unwritten.
    lost: u64,
}

impl Memory {
    pub(super) fn note(&mut self, entry: JournalEntry) {
        self.push(entry, None);
    }

    /// Adds to the open line of the same, or begins one.
    pub(super) fn count(&mut self, mut entry: JournalEntry, now: Instant) {
        self.close(now);
        let same = |a: &JournalEntry, b: &JournalEntry| {
            (a.kind, &a.who, &a.via, &a.what) == (b.kind, &b.who, &b.via, &b.what)
        };
        let open = |held: &&mut Held| held.open.is_some();
        if let Some(held) = self.held.iter_mut().filter(open).find(|held| same(&held.entry, &entry)) {
            return add(held, &entry);
        }
        let lines = |kind: JournalKind| {
            self.held
                .iter()
                .filter(|h| h.open.is_some() && h.entry.kind == kind && h.entry.who != OTHERS)
                .count()
        };
        if lines(entry.kind) >= LINES {
            (entry.who, entry.via) = (OTHERS.to_owned(), String::new());
            if let Some(held) = self.held.iter_mut().filter(open).find(|held| same(&held.entry, &entry)) {
                return add(held, &entry);
            }
        }
        self.push(entry, Some(now));
    }

    /// Lines whose hour is over count no more.
    fn close(&mut self, now: Instant) {
        for held in &mut self.held {
            held.open = held.open.filter(|since| now.saturating_duration_since(*since) < OPEN);
        }
    }

    fn push(&mut self, mut entry: JournalEntry, open: Option<Instant>) {
        if self.held.len() >= MOST {
            self.lost += u64::from(self.held.pop_front().is_some_and(|gone| gone.due));
        }
        self.last += 1;
        entry.id = self.last;
        self.held.push_back(Held { entry, due: true, open });
    }

    /// What is to be written, numbered after `before`.
    pub(super) fn due(&mut self, before: i64, now: Instant) -> Vec<JournalEntry> {
        self.close(now);
        if self.lost > 0 && self.held.iter().all(|held| held.due) {
            let lost = std::mem::take(&mut self.lost);
            let at = self.held.back().map_or(0, |held| held.entry.until);
            let what = "could not write so many lines, which are lost".to_owned();
            let (who, kind) = ("Postern".to_owned(), JournalKind::Daemon);
            let told = JournalEntry {
                id: 0,
                at,
                until: at,
                times: lost,
                kind,
                who,
                via: String::new(),
                what,
                changes: Vec::new(),
            };
            self.push(told, None);
        }
        self.held.iter().filter(|held| held.due).map(|held| numbered(&held.entry, before)).collect()
    }

    /// These are written: those that have not grown meanwhile are done, and those that cannot grow any more are forgotten.
    pub(super) fn written(&mut self, before: i64, entries: &[JournalEntry]) {
        for entry in entries {
            let same = |held: &&mut Held| held.entry.id + before == entry.id;
            if let Some(held) = self.held.iter_mut().find(same) {
                held.due = held.entry.times != entry.times;
            }
        }
        self.held.retain(|held| held.due || held.open.is_some());
    }

    /// All that is held, numbered after `before`.
    pub(super) fn held(&self, before: i64) -> Vec<JournalEntry> {
        self.held.iter().map(|held| numbered(&held.entry, before)).collect()
    }
}

/// Who is meant where lines have run out.
const OTHERS: &str = "others";

fn add(held: &mut Held, entry: &JournalEntry) {
    held.entry.times = held.entry.times.saturating_add(entry.times);
    held.entry.until = held.entry.until.max(entry.until);
    held.due = true;
}

fn numbered(entry: &JournalEntry, before: i64) -> JournalEntry {
    JournalEntry { id: entry.id + before, ..entry.clone() }
}
