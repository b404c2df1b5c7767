use axum::http::StatusCode;
use postern::door::messages::{Difference, JournalEntry, JournalKind};

use crate::testing::browser::Browser;
use crate::testing::fake::line;

async fn at_the_journal(lines: Vec<JournalEntry>) -> Browser {
    let mut browser = Browser::logged_in().await;
    browser.daemon.state().journal = lines;
    browser.open("/system/journal").await;
    browser
}

#[tokio::test]
async fn lines_are_told_with_their_sums_and_what_was_changed() {
    let mut browser = at_the_journal(Vec::new()).await;
    assert!(browser.body.contains("Nothing has happened yet"));
    let mut attempt =
        line(7, JournalKind::Attempt, "\u{201c}Laptop\u{201d}", "tried PPTP, which is refused here");
    (attempt.times, attempt.until) = (14, attempt.at + 600);
    let mut change = line(8, JournalKind::Change, "owner", "changed settings, revision 4");
    change.changes.push(Difference {
        key: "passthrough.pptp.enabled".into(),
        before: "false".into(),
        after: "true".into(),
    });
    browser.daemon.state().journal = vec![change, attempt];
    browser.open("/system/journal").await;
    for part in [
        "tried PPTP, which is refused here, 14 times",
        "2026-11-18 11:06 to 11:16",
        "<s>off</s>",
        "1 to 2 of 2.",
        "Blocked attempts (1)",
        "href=\"/system/journal\" aria-current=\"page\"",
    ] {
        assert!(browser.body.contains(part), "{part}: {}", browser.body);
    }
    assert!(!browser.body.contains("<script"));
}

#[tokio::test]
async fn the_filter_is_the_daemons_and_goes_with_every_link() {
    let mut lines: Vec<_> =
        (0..120).rev().map(|id| line(id, JournalKind::Login, "owner", "logged in")).collect();
    lines.push(line(500, JournalKind::Refused, "somebody", "gave a wrong password"));
    let mut browser = at_the_journal(lines).await;
    assert!(browser.body.contains("1 to 50 of 121."));
    browser.open("/system/journal?kind=login&text=OWNER&skip=50").await;
    assert!(browser.body.contains("51 to 100 of 120."), "{}", browser.body);
    assert!(browser.body.contains("/system/journal?text=OWNER&#38;kind=login&#38;skip=100"));
    assert!(browser.body.contains("/system/journal/download?text=OWNER&#38;kind=login\""));
    browser.open("/system/journal?kind=login&skip=150").await;
    assert!(browser.body.contains("None here; 120 in all.") && browser.body.contains(">Newer<"));
    browser.open("/system/journal?span=hour").await;
    assert!(browser.body.contains("None fits."), "those lines are not of the last hour");
    for odd in
        ["text=%3Cscript%3E", "skip=-1", "kind=%00", "span=x", "skip=99999999999999999999", "text=%ff&&&=="]
    {
        browser.open(&format!("/system/journal?{odd}")).await;
        assert_eq!(browser.status, StatusCode::OK, "{odd}");
        assert!(!browser.body.contains("<script>"), "{odd}");
    }
}

#[tokio::test]
async fn the_file_has_every_line_that_fits_once_and_no_formula() {
    let mut lines: Vec<_> =
        (0..450).rev().map(|id| line(id, JournalKind::Login, "owner", "logged in")).collect();
    lines[0].who = "=cmd|' /C calc'!A1".into();
    let mut browser = at_the_journal(lines).await;
    browser.open("/system/journal/download").await;
    assert_eq!(browser.headers["content-type"], "text/csv; charset=utf-8");
    assert_eq!(browser.headers["content-disposition"], "attachment; filename=\"postern-journal.csv\"");
    assert_eq!(browser.body.lines().count(), 451);
    assert!(browser.body.starts_with("\u{feff}first,last,"), "a spreadsheet knows it for UTF-8");
    assert!(
        browser.body.lines().nth(1).unwrap().contains("\"'=cmd|' /C calc'!A1\""),
        "{}",
        &browser.body[..300]
    );
    browser.open("/system/journal/download?kind=session").await;
    assert_eq!(browser.body.lines().count(), 1, "only the heads");
}

#[tokio::test]
async fn names_that_devices_give_themselves_are_text() {
    let name = "\u{201c}<b onclick=x>\"'&\u{201d}";
    let browser = at_the_journal(vec![line(1, JournalKind::Attempt, name, "tried PPTP")]).await;
    assert!(!browser.body.contains("<b onclick"), "{}", browser.body);
    assert!(browser.body.contains("&#60;b onclick=x&#62;&#34;&#39;&#38;"));
}
