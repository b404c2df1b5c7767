//! A thousand swaps.

use std::time::Instant;

use lab::figures;
use postern::door::messages::{Request, Response};

use super::scene::Scene;

const SWAPS: usize = 1000;

/// Each of these changes the rules, whichever comes before.
const CHANGES: [(&str, &str); 6] = [
    ("passthrough.pptp.enabled", "true"),
    ("passthrough.l2tp.enabled", "false"),
    ("passthrough.ipsec.enabled", "false"),
    ("passthrough.pptp.enabled", "false"),
    ("passthrough.l2tp.enabled", "true"),
    ("passthrough.ipsec.enabled", "true"),
];

#[test]
fn a_thousand_swaps_let_nothing_in_lose_nothing_and_delete_no_chain() {
    let scene = Scene::new();
    let router = scene.lab.router();
    let mut deleted = router.spawn(&["nft", "monitor", "destroy", "chains"]);
    let owner = scene.postern.owner();
    let first = owner.status().revision;
    let mut slowest = std::time::Duration::ZERO;
    let begun = Instant::now();
    for round in 0..SWAPS {
        let began = Instant::now();
        let change = CHANGES[round % CHANGES.len()];
        if let Err(why) = owner.change(&[change], "") {
            panic!("swap {round} ({change:?}) was not done: {why:?}");
        }
        slowest = slowest.max(began.elapsed());
    }
    let took = begun.elapsed();
    assert_eq!(owner.status().revision, first + SWAPS as i64, "each of them was a change");
    let figures = scene.untouched(&format!("{SWAPS} swaps through the daemon"));
    let deletions = deleted.out();
    assert!(deletions.is_empty(), "a swap refills chains and deletes none: {deletions:?}");
    // The monitor was listening all the time.
    router.ok_with(&["nft", "-f", "-"], "add table inet t; add chain inet t c; delete chain inet t c");
    deleted.wait_for_line("delete chain", lab::wait::SOON);
    let mean = took.as_secs_f64() * 1000.0 / SWAPS as f64;
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "leak-swaps",
        &format!("{figures}\n  a swap took {mean:.0} ms on average, {} ms at most", slowest.as_millis()),
    );
}

const MENDS: usize = 100;

/// A mend makes the table anew, in one transaction; a swap never does.
#[test]
fn a_hundred_mends_of_an_edited_table_let_nothing_in_and_lose_nothing() {
    let scene = Scene::new();
    let (router, owner) = (scene.lab.router(), scene.postern.owner());
    for round in 0..MENDS {
        router.ok(&["nft", "add", "counter", "inet", "postern", "theirs"]);
        let mended = owner.ask(Request::Mend);
        assert!(matches!(mended, Ok(Response::Done { .. })), "mend {round}: {mended:?}");
        let table = scene.postern.table().unwrap_or_default();
        assert!(!table.contains("theirs") && table.contains("role router"), "mend {round}: {table}");
    }
    let figures = scene.untouched(&format!("{MENDS} mends of an edited table"));
    figures::keep(env!("CARGO_TARGET_TMPDIR"), "leak-mends", &figures);
}
