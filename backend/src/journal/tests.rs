use std::time::{Duration, Instant};

use super::*;
use crate::clock::Clock;

fn refused(n: u32) -> JournalEntry {
    let via = std::net::Ipv4Addr::from(0xc0a8_0100 + n).to_string();
    line(JournalKind::Refused, By { who: "somebody", via: &via }, "gave a wrong password", Vec::new())
}

async fn journal() -> Journal {
    Journal::new(Store::in_memory().await.unwrap())
}

async fn all(journal: &Journal) -> Vec<JournalEntry> {
    journal.page(&JournalFilter { limit: 200, ..JournalFilter::default() }).await.entries
}

#[test]
fn ten_thousand_wrong_passwords_make_a_few_lines_however_many_addresses_they_come_from() {
    let start = Instant::now();
    let mut memory = Memory::default();
    (0..10_000).for_each(|_| memory.count(refused(7), start));
    let held = memory.held(0);
    assert_eq!((held.len(), held[0].times), (1, 10_000));
    (0..10_000).for_each(|n| memory.count(refused(n % 250), start + Duration::from_secs(60)));
    let held = memory.held(0);
    assert_eq!(held.len(), 17, "sixteen addresses, and the others");
    assert_eq!(held.iter().map(|line| line.times).sum::<u64>(), 20_000, "every one is counted");
    assert_eq!(held[16].who, "others");
}

#[test]
fn a_line_counts_for_an_hour_and_what_grows_after_a_write_is_written_again() {
    let start = Instant::now();
    let mut memory = Memory::default();
    memory.count(refused(7), start);
    let first = memory.due(100, start);
    assert_eq!((first.len(), first[0].id), (1, 101));
    memory.count(refused(7), start);
    memory.written(100, &first);
    let again = memory.due(100, start);
    assert_eq!((again[0].id, again[0].times), (101, 2), "it grew while it was written");
    memory.written(100, &again);
    assert_eq!(memory.due(100, start).len(), 0);
    memory.count(refused(7), start + Duration::from_secs(3601));
    assert_eq!(memory.due(100, start)[0].id, 102, "a new line after an hour");
    memory.written(100, &[]);
    assert_eq!(memory.held(0).len(), 1, "the closed one is forgotten");
}

#[test]
fn what_cannot_be_written_is_bounded_and_the_lost_lines_are_told() {
    let mut memory = Memory::default();
    (0..5000).for_each(|n| memory.note(refused(n)));
    assert_eq!(memory.held(0).len(), 512);
    let due = memory.due(0, Instant::now());
    let told = due.last().unwrap();
    assert_eq!((told.times, told.who.as_str(), told.kind), (4488, "Postern", JournalKind::Daemon));
}

#[tokio::test]
async fn lines_in_memory_and_lines_in_the_store_are_one_journal() {
    let store = Store::in_memory().await.unwrap();
    let first = Journal::new(store.clone());
    first.note(JournalKind::Daemon, By::POSTERN, "started");
    first.flush().await;
    let journal = Journal::new(store);
    journal.note(JournalKind::Login, By { who: "owner", via: "192.168.1.9" }, "logged in");
    assert_eq!(all(&journal).await.len(), 2);
    journal.flush().await;
    journal.count_from(JournalKind::Refused, "somebody", [192, 168, 1, 66].into(), "gave a wrong password");
    let seen: Vec<_> = all(&journal).await.iter().map(|one| (one.id, one.sentence())).collect();
    let said = |id, text: &str| (id, text.to_owned());
    assert_eq!(
        seen,
        [
            said(3, "Somebody (192.168.1.66) gave a wrong password"),
            said(2, "Owner (192.168.1.9) logged in"),
            said(1, "Postern started"),
        ]
    );
}

#[tokio::test]
async fn a_store_that_cannot_be_written_stops_nothing_and_loses_nothing_that_fits() {
    let store = Store::in_memory().await.unwrap();
    let journal = Journal::new(store.clone());
    store.close().await;
    journal.note(JournalKind::Login, By { who: "owner", via: "192.168.1.9" }, "logged in");
    journal.flush().await;
    let page = journal.page(&JournalFilter::default()).await;
    assert_eq!((page.entries.len(), page.unwritten), (1, Some(1)));
}

#[tokio::test]
async fn the_filter_goes_by_kind_text_and_time_and_pages() {
    let journal = journal().await;
    for n in 0..120 {
        let via = format!("192.168.1.{n}");
        journal.note(JournalKind::Login, By { who: "owner", via: &via }, "logged in");
    }
    let changes = vec![Difference { key: "system.name".into(), before: "a".into(), after: "Gate".into() }];
    journal.note_changes(
        JournalKind::Change,
        By { who: "root", via: "command line" },
        "changed settings",
        changes,
    );
    let ask = |filter: JournalFilter| {
        let journal = journal.clone();
        async move { journal.page(&filter).await }
    };
    let kind = Some(JournalKind::Change);
    assert_eq!(
        ask(JournalFilter { kind, ..JournalFilter::default() }).await.entries[0].changes[0].after,
        "Gate"
    );
    let text = "gate".to_owned();
    assert_eq!(ask(JournalFilter { text, ..JournalFilter::default() }).await.matching, 1);
    let since = Some(wall_clock() + 1000);
    assert_eq!(ask(JournalFilter { since, ..JournalFilter::default() }).await.matching, 0);
    let page = ask(JournalFilter { skip: 100, ..JournalFilter::default() }).await;
    assert_eq!((page.entries.len(), page.matching, page.total, page.skipped), (21, 121, 121, 100));
    assert_eq!(page.kinds, [(JournalKind::Login, 120), (JournalKind::Change, 1)]);
}

#[test]
fn what_comes_from_outside_cannot_forge_a_line_or_an_owner() {
    let by = By { who: &quoted(Some("owner\u{201d}\n\u{1b}[2J\u{202e}")), via: "192.168.1.66" };
    let one = line(JournalKind::Attempt, by, "tried PPTP", Vec::new());
    assert_eq!(one.who, "\u{201c}owner'\u{fffd}\u{fffd}[2J\u{fffd}\u{201d}");
    assert_eq!(quoted(None), "a device");
    let long = line(JournalKind::Attempt, by, &"x".repeat(9999), Vec::new());
    assert_eq!(long.what.chars().count(), 301);
    let many = vec![Difference { key: "k".into(), before: "y".repeat(5000), after: String::new() }; 99];
    let one = line(JournalKind::Change, by, "changed settings", many);
    assert!(one.changes.len() == 48 && one.changes[0].before.chars().count() == 121);
    assert!(one.what.ends_with(", and 51 settings more"));
}

#[test]
fn a_time_is_told_as_a_span_when_it_was_one() {
    let mut one = refused(1);
    (one.at, one.until) = (1_795_000_000, 1_795_000_000);
    assert_eq!(one.when(&Clock::default()), "2026-11-18 11:06 UTC");
    one.until += 600;
    assert_eq!(one.when(&Clock::default()), "2026-11-18 11:06 to 11:16 UTC");
    one.until += 86_400;
    assert_eq!(one.when(&Clock::default()), "2026-11-18 11:06 UTC to 2026-11-19 11:16 UTC");
}
