//! Which lines are shown, a page at a time, and what one says.

use serde::{Deserialize, Serialize};

use crate::clock::Clock;
use crate::store::{JournalEntry, JournalKind};

/// Longest page.
pub const MOST: usize = 200;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JournalFilter {
    /// Only lines with this in them, whatever the case; empty: all. At most 64 characters count.
    #[serde(default)]
    pub text: String,
    /// Only of this kind.
    #[serde(default)]
    pub kind: Option<JournalKind>,
    /// Only what happened then or later, in seconds since 1970.
    #[serde(default)]
    pub since: Option<i64>,
    /// So many are passed over.
    #[serde(default)]
    pub skip: usize,
    /// At most so many, 1 to 200; 0: 50.
    #[serde(default)]
    pub limit: usize,
}

/// Some of the journal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournalPage {
    /// Newest first.
    pub entries: Vec<JournalEntry>,
    /// Lines in all.
    pub total: usize,
    /// How many of them fit the filter.
    pub matching: usize,
    /// So many were passed over.
    pub skipped: usize,
    /// How many there are of each kind, whatever the filter.
    pub kinds: Vec<(JournalKind, usize)>,
    /// The store could not be read: these are only the lines that are in memory, so many.
    pub unwritten: Option<usize>,
}

impl JournalFilter {
    /// The page of what is stored and what is held; of a line that is in both, the held one is the newer.
    pub(super) fn page(&self, stored: Vec<JournalEntry>, held: Vec<JournalEntry>) -> JournalPage {
        let mut all: Vec<JournalEntry> = held;
        let known: std::collections::BTreeSet<i64> = all.iter().map(|entry| entry.id).collect();
        all.extend(stored.into_iter().filter(|entry| !known.contains(&entry.id)));
        all.sort_by_key(|entry| std::cmp::Reverse(entry.id));
        let kinds = JournalKind::ALL.into_iter().filter_map(|kind| {
            let count = all.iter().filter(|entry| entry.kind == kind).count();
            (count > 0).then_some((kind, count))
        });
        let (kinds, total) = (kinds.collect(), all.len());
        let text: String = self.text.trim().chars().take(64).collect::<String>().to_lowercase();
        all.retain(|entry| self.fits(entry, &text));
        let (matching, skipped) = (all.len(), self.skip.min(all.len()));
        let limit = if self.limit == 0 { 50 } else { self.limit.min(MOST) };
        let entries = all.into_iter().skip(skipped).take(limit).collect();
        JournalPage { entries, total, matching, skipped, kinds, unwritten: None }
    }

    fn fits(&self, entry: &JournalEntry, text: &str) -> bool {
        let has = |value: &String| value.to_lowercase().contains(text);
        self.kind.is_none_or(|kind| kind == entry.kind)
            && self.since.is_none_or(|since| entry.until >= since)
            && (text.is_empty()
                || [&entry.who, &entry.via, &entry.what].into_iter().any(has)
                || entry.changes.iter().any(|c| [&c.key, &c.before, &c.after].into_iter().any(has)))
    }
}

impl JournalEntry {
    /// Who did what, for people: `“Laptop” (192.168.1.23) tried PPTP, which is switched off here, 14 times`.
    pub fn sentence(&self) -> String {
        let from = if self.via.is_empty() { String::new() } else { format!(" ({})", self.via) };
        let times = if self.times > 1 { format!(", {} times", self.times) } else { String::new() };
        let text = format!("{}{from} {}{times}", self.who, self.what);
        let mut chars = text.chars();
        chars.next().map_or_else(String::new, |first| first.to_uppercase().chain(chars).collect())
    }

    /// When: `2026-11-21 10:00 CET`, or `2026-11-21 10:00 to 10:10 CET`.
    pub fn when(&self, clock: &Clock) -> String {
        let split = |at: i64| {
            let text = clock.say(at);
            let mut words = text.splitn(3, ' ').map(str::to_owned);
            [words.next(), words.next(), words.next()].map(Option::unwrap_or_default)
        };
        let ([day, from, zone], [last_day, to, last_zone]) = (split(self.at), split(self.until));
        match (day == last_day && zone == last_zone, from == to) {
            (true, true) => format!("{day} {from} {zone}"),
            (true, false) => format!("{day} {from} to {to} {zone}"),
            _ => format!("{day} {from} {zone} to {last_day} {to} {last_zone}"),
        }
    }
}
