//! Two hundred kills of each process, at any moment.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use lab::{NotDone, Owner, Random, figures, wait};
use postern::door::messages::Request;
use rustix::process::Signal;

use super::scene::Scene;

const KILLS: usize = 200;

/// Raises its flag when it goes, also when the test fails.
struct Raise<'a>(&'a AtomicBool);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// Changes without a break until `over`; counts those that were answered, and those that were cut off.
fn change_without_a_break(owner: &Owner, over: &AtomicBool, done: &AtomicU64, cut: &AtomicU64) {
    while !over.load(Relaxed) {
        let on = if done.load(Relaxed).is_multiple_of(2) { "true" } else { "false" };
        match owner.change(&[("passthrough.pptp.enabled", on)], "") {
            Ok(_) => done.fetch_add(1, Relaxed),
            Err(NotDone::NoAnswer(_)) => {
                cut.fetch_add(1, Relaxed);
                wait::until(wait::SOON, || owner.ask(Request::Greeting).is_ok().then_some(()));
                0
            }
            Err(NotDone::Refused(why)) => panic!("refused: {why:?}"),
        };
    }
}

#[test]
fn two_hundred_kills_of_each_process_let_nothing_in_and_lose_nothing() {
    let mut random = Random::new();
    let mut scene = Scene::new();
    let router = scene.lab.router();
    let mut web = scene.postern.web_process(&router, &[]);
    let mut visitor = scene.postern.visitor(&scene.lab, "laptop1");
    let mut page_is_back = |when: &str| {
        let answer = wait::until(wait::SOON, || visitor.try_request("GET", "/login", "", &[]).ok());
        let answer = answer.unwrap_or_else(|| panic!("the admin page is not back {when}"));
        assert_eq!(answer.status, 200, "the admin page {when}");
    };
    page_is_back("at first");
    let owner = scene.postern.owner();
    let (over, done, cut) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let mut slowest = Duration::ZERO;
    std::thread::scope(|threads| {
        let raise = Raise(&over);
        threads.spawn(|| change_without_a_break(&owner, &over, &done, &cut));
        for _ in 0..KILLS {
            random.pause(Duration::from_millis(60));
            let killed = Instant::now();
            scene.postern.crash_daemon();
            scene.postern.start_daemon();
            slowest = slowest.max(killed.elapsed());
            random.pause(Duration::from_millis(60));
            web.signal(Signal::KILL);
            assert!(web.wait_end(wait::SOON).is_some(), "a killed process ends");
            web = scene.postern.web_process(&router, &[]);
            page_is_back("after it was killed");
        }
        drop(raise);
    });
    let what = format!(
        "{KILLS} kills of the daemon and {KILLS} of postern-web, among {} swaps that were done and {} cut off",
        done.load(Relaxed),
        cut.load(Relaxed)
    );
    let figures = scene.untouched(&what);
    assert!(cut.load(Relaxed) > 0, "no kill came in the middle of a swap");
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "leak-kills",
        &format!("{figures}\n  from kill to open door {} ms at most", slowest.as_millis()),
    );
}
