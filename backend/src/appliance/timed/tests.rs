//! When what weakens the firewall ends, by fake clocks and with a store that refuses.

use std::sync::atomic::{AtomicI64, Ordering};

use super::super::tests::Home;
use super::super::{Appliance, Options};
use super::*;
use crate::kernel::fake::Fake;
use crate::store::Store;

fn dmz(until: i64) -> Firewall {
    Firewall {
        dmz: DmzHost::Until("192.168.1.20".parse().unwrap(), Time::from_unix(until)),
        ..Firewall::default()
    }
}

#[test]
fn whichever_clock_comes_first_ends_it_and_a_clock_set_back_prolongs_nothing() {
    let began = Instant::now();
    let after = |seconds| began + Duration::from_secs(seconds);
    let over = [(DMZ, "none")];
    let mut clocks = Clocks::default();
    assert_eq!(clocks.over(&dmz(1060), 1000, began), []);
    assert_eq!(clocks.over(&dmz(1060), 1059, after(59)), []);
    assert_eq!(clocks.over(&dmz(1060), 1060, after(59)), over, "the wall clock");
    assert_eq!(clocks.over(&dmz(1060), 5000, after(2)), over, "a clock set forward");
    assert_eq!(clocks.over(&dmz(1060), 10, after(59)), []);
    assert_eq!(clocks.over(&dmz(1060), 10, after(60)), over, "a clock set back");
    // Another end is another time to wait.
    assert_eq!(clocks.over(&dmz(1100), 1000, after(60)), []);
    assert_eq!(clocks.over(&dmz(1100), 1000, after(160)), over);
}

#[test]
fn an_end_must_lie_ahead_within_a_day() {
    let with = |firewall: Firewall| Settings { firewall, ..Settings::default() };
    let wrong = |until: i64| check(&Settings::default(), &with(dmz(until)), 1000).len();
    assert_eq!([wrong(999), wrong(1000), wrong(1001), wrong(87_400), wrong(87_401)], [1, 1, 0, 0, 1]);
    assert_eq!(check(&with(dmz(999)), &with(dmz(999)), 1000), [], "it is so already");
}

/// A whole appliance whose wall clock stands still until it is moved.
async fn home(fake: &Fake, store: &Store, clock: fn() -> i64) -> Arc<Appliance<Fake>> {
    let options = Options { clock, ..Options::default() };
    let appliance = Appliance::open(fake.clone(), store.clone(), options).await.unwrap();
    appliance.boot().await;
    Arc::new(appliance)
}

async fn set(appliance: &Arc<Appliance<Fake>>, key: &str, value: &str) -> String {
    let patch = [Assignment { key: key.into(), value: value.into() }];
    appliance.change(None, &patch, "", Author::command_line()).await.unwrap()
}

fn open_to(fake: &Fake) -> bool {
    fake.loaded().unwrap_or_default().contains("the DMZ host gets the rest")
}

/// Waits until nothing of the DMZ is in the kernel any more.
async fn closes(fake: &Fake) {
    let closed = async {
        while open_to(fake) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), closed).await.expect("it never ends");
}

const DMZ_HOST: &str = "192.168.1.20 until ";

#[tokio::test]
async fn a_clock_that_jumps_past_the_end_ends_it_while_the_daemon_runs() {
    static NOW: AtomicI64 = AtomicI64::new(0);
    NOW.store(1_800_000_000, Ordering::SeqCst);
    let Home { fake, store, .. } = Home::router().await;
    let appliance = home(&fake, &store, || NOW.load(Ordering::SeqCst)).await;
    let watch = tokio::spawn(appliance.clone().watch_times());
    let said = set(&appliance, DMZ, &format!("{DMZ_HOST}{}", Time::from_unix(1_800_003_600))).await;
    assert!(said.contains("The whole internet reaches 192.168.1.20 until 2027-01-15 09:00 UTC"), "{said}");
    tokio::time::sleep(AGAIN + AGAIN / 2).await;
    assert!(open_to(&fake), "its time has not come");
    // Set back to a time before it began: nothing ends, and nothing is prolonged (see `whichever_clock_comes_first`).
    NOW.store(1_700_000_000, Ordering::SeqCst);
    tokio::time::sleep(AGAIN + AGAIN / 2).await;
    assert!(open_to(&fake));
    NOW.store(1_800_003_600, Ordering::SeqCst);
    closes(&fake).await;
    let newest = &store.history(1).await.unwrap()[0];
    assert_eq!((newest.who.as_str(), newest.comment.as_str()), ("postern", "its time is over"));
    watch.abort();
}

#[tokio::test]
async fn a_box_whose_clock_was_never_set_ends_it_by_the_clock_that_only_runs_and_at_each_start() {
    let Home { fake, store, .. } = Home::router().await;
    // 1970, and it stands still.
    let appliance = home(&fake, &store, || 60).await;
    let watch = tokio::spawn(appliance.clone().watch_times());
    set(&appliance, DMZ, &format!("{DMZ_HOST}{}", Time::from_unix(62))).await;
    assert!(open_to(&fake));
    closes(&fake).await;
    set(&appliance, DMZ, &format!("{DMZ_HOST}{}", Time::from_unix(3_600))).await;
    assert!(open_to(&fake));
    watch.abort();
    drop(appliance);
    // Whatever the clock says now: before the end, after it, or nothing to be believed.
    let appliance = home(&fake, &store, || 0).await;
    assert!(!open_to(&fake) && appliance.settings().1.firewall == Firewall::default());
}

#[tokio::test]
async fn what_is_over_ends_in_the_kernel_though_the_store_refuses_and_the_page_says_so_until_it_is_saved() {
    static NOW: AtomicI64 = AtomicI64::new(0);
    NOW.store(1_800_000_000, Ordering::SeqCst);
    let Home { fake, store, .. } = Home::router().await;
    let appliance = home(&fake, &store, || NOW.load(Ordering::SeqCst)).await;
    let watch = tokio::spawn(appliance.clone().watch_times());
    set(&appliance, SPI, &format!("off until {}", Time::from_unix(1_800_000_060))).await;
    set(&appliance, DMZ, &format!("{DMZ_HOST}{}", Time::from_unix(1_800_000_060))).await;
    let revision = appliance.settings().0;
    store.refuse_writes(true).await;
    NOW.store(1_800_000_060, Ordering::SeqCst);
    closes(&fake).await;
    let told = async {
        while !appliance.status().await.notices.iter().any(|notice| notice.contains("could not be saved")) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.expect("it is never said");
    let (same, settings) = appliance.settings();
    assert_eq!((same, &settings.firewall), (revision, &Firewall::default()), "ended, and no revision");
    let (path, on) = crate::ruleset::INSPECTING[0];
    assert!(fake.network().sysctls.contains(&(path.into(), on.into())), "inspection is on too");
    assert!(appliance.status().await.notices.iter().all(|notice| !notice.contains("reaches 192.168.1.20")));
    // A start now does the same again: the stored document still has it.
    assert!(store.newest_confirmed().await.unwrap().unwrap().settings.firewall != Firewall::default());
    store.refuse_writes(false).await;
    let saved = async {
        while appliance.settings().0 == revision {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), saved).await.expect("it is never saved");
    assert!(appliance.status().await.notices.iter().all(|notice| !notice.contains("could not be saved")));
    let newest = store.newest_confirmed().await.unwrap().unwrap();
    assert_eq!(newest.settings.firewall, Firewall::default());
    watch.abort();
}

#[tokio::test]
async fn a_start_with_a_store_that_refuses_begins_without_them_and_says_so() {
    let Home { fake, store, appliance, .. } = Home::router().await;
    let until = Time::from_unix(crate::store::wall_clock() + 3_600);
    set(&appliance, DMZ, &format!("{DMZ_HOST}{until}")).await;
    store.refuse_writes(true).await;
    let again = home(&fake, &store, || 0).await;
    assert!(!open_to(&fake));
    assert!(again.status().await.notices.iter().any(|notice| notice.contains("could not be saved")));
}
