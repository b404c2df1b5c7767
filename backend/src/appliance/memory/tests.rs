use std::path::PathBuf;

use super::super::Options;
use super::super::tests::{Home, ROUTER};
use super::*;
use crate::kernel::Load;
use crate::kernel::fake::Fake;
use crate::store::Store;

type Learnt<'a> = [(&'a str, &'a [u8])];

/// For each set these SPIs.
fn elements(learnt: &Learnt<'_>) -> BTreeMap<String, Vec<Element>> {
    let element = |spi: &u8| Element {
        key: vec![203, 0, 113, 9, 0, 0, 0, *spi],
        timeout_ms: Some(3_600_000),
        rest_ms: Some(60_000),
        ..Element::default()
    };
    learnt.iter().map(|(set, spis)| ((*set).to_owned(), spis.iter().map(element).collect())).collect()
}

fn teach(kernel: &Fake, learnt: &Learnt<'_>) {
    for (set, elements) in elements(learnt) {
        kernel.set_elements(&set, elements);
    }
}

/// The SPIs that `kernel` knows in `set`.
fn known(kernel: &Fake, set: &str) -> Vec<u8> {
    kernel.elements_of(set).iter().map(|element| element.key[7]).collect()
}

fn write(path: &Path, kept: &Kept) -> std::io::Result<()> {
    file::replace(path, &serde_json::to_vec(kept)?)
}

/// A state directory, and a store that says role router.
struct Dir(PathBuf, Store);

impl Dir {
    async fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("postern-memory-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).unwrap();
        let store = Store::in_memory().await.unwrap();
        let home = Home::started(Fake::new(), store.clone()).await;
        home.set(&ROUTER).await.unwrap();
        home.appliance.confirm(None, crate::appliance::Author::command_line()).await.unwrap();
        Self(path, store)
    }

    /// A daemon that starts here.
    async fn start(&self, kernel: &Fake) -> Appliance<Fake> {
        let options = Options { memory: Some(self.0.join(FILE)), ..Options::default() };
        let appliance = Appliance::open(kernel.clone(), self.1.clone(), options).await.unwrap();
        appliance.boot().await;
        appliance
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(&self.0));
    }
}

#[tokio::test]
async fn what_was_learnt_is_back_after_a_restart_of_the_box() {
    let dir = Dir::new("restart").await;
    let kernel = Fake::new();
    let appliance = dir.start(&kernel).await;
    teach(&kernel, &[("esp_sure", &[1]), ("esp_in", &[1]), ("zone_host", &[2])]);
    appliance.rest().await;
    assert!(!appliance.options.memory.as_ref().unwrap().with_extension("new").exists());
    let after = Fake::new();
    drop(dir.start(&after).await);
    assert_eq!(
        ["esp_sure", "esp_in", "zone_host"].map(|set| known(&after, set)),
        [vec![1], vec![1], vec![2]]
    );
}

#[tokio::test]
async fn a_box_whose_rules_are_not_in_force_forgets_nothing() {
    let dir = Dir::new("late").await;
    let kernel = Fake::new();
    let appliance = dir.start(&kernel).await;
    teach(&kernel, &[("esp_sure", &[1])]);
    appliance.rest().await;
    // A port that comes up late: the start fails, and the box goes down again before it is there.
    let late = Fake::new();
    late.fail_at(5);
    let appliance = dir.start(&late).await;
    assert!(appliance.state.lock().await.broken.is_some(), "{:?}", late.calls());
    appliance.rest().await;
    assert_eq!(read(&dir.0.join(FILE)).unwrap().unwrap()["esp_sure"].len(), 1);
    // Somebody has taken the table away.
    let appliance = dir.start(&kernel).await;
    let gone = ruleset::absent();
    kernel.load(&gone, Load::Commit).await.unwrap();
    kernel.set_elements("esp_sure", Vec::new());
    appliance.rest().await;
    assert_eq!(read(&dir.0.join(FILE)).unwrap().unwrap()["esp_sure"].len(), 1);
}

#[tokio::test]
async fn rules_that_are_still_there_know_better() {
    let dir = Dir::new("there").await;
    let kernel = Fake::new();
    let appliance = dir.start(&kernel).await;
    teach(&kernel, &[("esp_sure", &[1])]);
    appliance.rest().await;
    teach(&kernel, &[("esp_sure", &[2])]);
    drop(dir.start(&kernel).await);
    assert_eq!(known(&kernel, "esp_sure"), [2]);
}

#[tokio::test]
async fn it_is_written_only_when_other_spis_are_confirmed() {
    let dir = Dir::new("wear").await;
    let kernel = Fake::new();
    let appliance = dir.start(&kernel).await;
    let path = dir.0.join(FILE);
    let mut state = appliance.state.lock().await;
    teach(&kernel, &[("esp_sure", &[1])]);
    appliance.keep_learnt(&mut state).await;
    std::fs::write(&path, "untouched").unwrap();
    teach(&kernel, &[("esp_sent", &[9])]);
    appliance.keep_learnt(&mut state).await;
    assert_eq!(std::fs::read(&path).unwrap(), b"untouched");
    teach(&kernel, &[("esp_sure", &[1, 2])]);
    appliance.keep_learnt(&mut state).await;
    assert_eq!(read(&path).unwrap().unwrap()["esp_sure"].len(), 2);
    state.settings.passthrough.ipsec.many_clients = false;
    appliance.keep_learnt(&mut state).await;
    assert!(!path.exists(), "switched off, nothing is kept");
}

#[tokio::test]
async fn what_is_old_foreign_or_damaged_is_not_used() {
    let dir = Dir::new("damaged").await;
    let path = dir.0.join(FILE);
    let good = Kept { schema: SCHEMA, at: now(), elements: elements(&[("esp_sure", &[1])]) };
    write(&path, &good).unwrap();
    assert_eq!(read(&path).unwrap().unwrap()["esp_sure"].len(), 1);
    let whole = std::fs::read(&path).unwrap();
    for length in 0..whole.len() {
        std::fs::write(&path, &whole[..length]).unwrap();
        assert!(read(&path).is_err(), "{length}");
    }
    write(&path, &Kept { at: now() - 5 * 3600, ..good }).unwrap();
    assert_eq!(read(&path), Ok(None), "too old");
    write(&path, &Kept { schema: SCHEMA + 1, at: now(), elements: BTreeMap::new() }).unwrap();
    assert_eq!(read(&path), Ok(None), "of another version");
    write(&path, &Kept { schema: SCHEMA, at: now(), elements: elements(&[("allowed", &[1])]) }).unwrap();
    assert!(read(&path).is_err(), "a set that is not learnt");
    let kernel = Fake::new();
    drop(dir.start(&kernel).await);
    assert!(known(&kernel, "allowed").is_empty());
}
