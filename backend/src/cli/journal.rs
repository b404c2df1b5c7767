//! The journal in words, and its new lines as they come.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::clock::Clock;
use crate::door::ADMIN;
use crate::door::client::Door;
use crate::door::messages::{Call, JournalEntry, JournalFilter, JournalKind, JournalPage, Request, Response};
use crate::settings::names::Time;

use super::{AGAIN, Typed, Usage, show, unreachable};

/// What is asked for, from the words.
pub(super) fn filter(typed: &Typed) -> Result<JournalFilter, Usage> {
    let kind = match typed.kind.as_deref() {
        None => None,
        Some(word) => {
            Some(JournalKind::ALL.into_iter().find(|kind| kind.word() == word).ok_or_else(|| {
                let known: Vec<&str> = JournalKind::ALL.into_iter().map(JournalKind::word).collect();
                Usage::Wrong(format!("there is no kind {word:?}; there are {}", known.join(", ")))
            })?)
        }
    };
    Ok(JournalFilter {
        text: typed.filter.clone().unwrap_or_default(),
        kind,
        since: typed.since.as_deref().map(since).transpose()?,
        skip: typed.skip.unwrap_or(0) as usize,
        limit: typed.limit.unwrap_or(0) as usize,
    })
}

/// A time, or how long ago.
fn since(word: &str) -> Result<i64, Usage> {
    if let Ok(time) = word.parse::<Time>() {
        return Ok(time.unix());
    }
    let wrong = || Usage::Wrong(format!("{word:?} is no time; write 30m, 2h, 7d or 2026-11-21T10:30:00Z"));
    let unit = match word.chars().last() {
        Some('m') => 60,
        Some('h') => 3600,
        Some('d') => 86_400,
        _ => return Err(wrong()),
    };
    let number: u32 = word.get(..word.len() - 1).unwrap_or_default().parse().map_err(|_| wrong())?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs() as i64);
    Ok(now - i64::from(number) * unit)
}

/// A page of it, a line each, and one for each setting that was changed.
pub(super) fn in_words(page: &JournalPage) -> String {
    let mut text: String = page.entries.iter().map(line).collect();
    // Writing to a String cannot fail.
    if page.total == 0 {
        text += "Nothing has happened yet.\n";
    }
    if page.entries.len() < page.total {
        let (from, to) =
            (page.skipped + usize::from(!page.entries.is_empty()), page.skipped + page.entries.len());
        let _ = writeln!(text, "{from} to {to} of {} that fit, {} in all", page.matching, page.total);
    }
    if let Some(held) = page.unwritten {
        let _ = writeln!(text, "The store could not be read: these are the {held} lines in memory.");
    }
    text
}

fn line(entry: &JournalEntry) -> String {
    let mut text =
        format!("{}  {:<8}  {}\n", entry.when(&Clock::default()), entry.kind.word(), entry.sentence());
    for change in &entry.changes {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "      {}: {} → {}", change.key, change.before, change.after);
    }
    text
}

/// Lines that are new, and those that have counted on, until nobody reads any more. As JSON, one line each.
pub(super) async fn follow(door: &Path, json: bool, filter: &JournalFilter) -> Result<(), String> {
    let daemon = Door::new(door.join(ADMIN));
    let mut told: HashMap<i64, u64> = HashMap::new();
    loop {
        let request = Request::Journal { filter: filter.clone() };
        let call = Call { ticket: None, source: None, attended: false, request };
        let page = match daemon.call(call).await.map_err(|e| unreachable(door, &e))? {
            Response::Refused(refusal) => return Err(show::refusal(&refusal, json)),
            Response::Journal(page) => page,
            _ => return Err("The daemon gave another answer than was asked for.".to_owned()),
        };
        let mut text = String::new();
        let new = |entry: &&JournalEntry| told.get(&entry.id) != Some(&entry.times);
        for entry in page.entries.iter().rev().filter(new) {
            text += &match json {
                true => serde_json::to_string(entry).map_err(|e| format!("cannot print: {e}"))? + "\n",
                false => line(entry),
            };
        }
        told = page.entries.iter().map(|entry| (entry.id, entry.times)).collect();
        let mut out = std::io::stdout();
        let written = std::io::Write::write_all(&mut out, text.as_bytes());
        if written.and_then(|()| std::io::Write::flush(&mut out)).is_err() {
            return Ok(());
        }
        tokio::time::sleep(AGAIN).await;
    }
}
