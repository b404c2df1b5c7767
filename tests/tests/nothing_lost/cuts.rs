//! The power is cut.

use std::path::Path;

use lab::power::{Disk, write};
use lab::rescue::{Rescued, Rescuer};
use lab::{Random, figures};
use postern::settings::Role;

use super::life::{Life, Step, life};
use super::{scratch, times};

/// What is wrong with what a start found, if anything is. `told` is the last step that the owner was told of before the cut.
fn wrong(found: &Rescued, steps: &[Step], told: usize) -> Option<String> {
    // The next one may have been kept without anybody having been told.
    let may: Vec<&Step> = steps.iter().skip(told).take(2).collect();
    let last = may[0];
    let say = |what: &str| Some(format!("{what}, after \"{}\"", last.what));
    if let Some(error) = &found.error {
        return say(error);
    }
    if let Some(notice) = &found.notice {
        return say(notice);
    }
    if found.integrity != "ok" {
        return say(&found.integrity);
    }
    if !may.iter().any(|step| step.kept == found.settings) {
        let was = steps.iter().rposition(|step| step.kept == found.settings);
        return say(&format!("step {told} is lost: step {was:?} is in force"));
    }
    if !may.iter().any(|step| step.password == found.password) {
        return say("the password is lost");
    }
    let confirmed = |id: i64| found.revisions.contains(&(id, "confirmed".to_owned()));
    if let Some(step) = steps[..=told].iter().find(|step| step.revision > 0 && !confirmed(step.revision)) {
        return say(&format!("revision {} of \"{}\" is lost", step.revision, step.what));
    }
    let copied = |step: &&Step| found.copy == Some(Some(step.kept.clone()));
    let nothing = last.password.is_none() && found.copy.is_none();
    if !nothing && !may.iter().any(copied) {
        return say("the copy beside the store is another one");
    }
    match (found.settings.role, found.rules.as_deref()) {
        (Role::Unset, None) => None,
        (Role::Router, Some(rules)) if rules.ends_with("role router") && found.as_settings => None,
        (role, rules) => say(&format!("{role:?}, and the rules are {rules:?}")),
    }
}

/// Cuts the power at these moments, in their order; what was wrong, with the moment.
fn cut(
    life: &Life,
    moments: &[usize],
    honoured: fn(Option<&str>) -> bool,
    folder: &Path,
    seed: u64,
) -> Vec<String> {
    let mut disk = Disk::new(&life.recording, honoured);
    let mut random = Random::from(seed);
    let mut rescuer = Rescuer::new();
    let mut all = Vec::new();
    for moment in moments {
        disk.go_on_to(*moment);
        write(&disk.cut(&mut random), folder);
        let until = life.recording.until(*moment);
        let told = life.steps.iter().rposition(|step| step.told < until).expect("the first start was at 0");
        all.extend(
            wrong(&rescuer.start(folder), &life.steps, told).map(|what| format!("moment {moment}: {what}")),
        );
    }
    std::fs::remove_dir_all(folder).expect("it is ours");
    all
}

/// So many random moments, in their order.
fn moments(life: &Life, count: usize, random: &mut Random) -> Vec<usize> {
    let mut moments: Vec<usize> =
        (0..count).map(|_| random.below(life.recording.moments() as u64) as usize).collect();
    moments.sort_unstable();
    moments
}

/// Whether anything is found on a disk that lies about some of its syncs.
#[test]
fn a_disk_that_does_not_sync_loses_saves_and_that_is_seen() {
    let life = life();
    let mut random = Random::new();
    type Lie = (&'static str, fn(Option<&str>) -> bool, &'static str);
    let lies: [Lie; 3] = [
        ("no sync of anything", |_| false, ""),
        ("no sync of the write-ahead log", |name| name != Some("postern.db-wal"), "damaged"),
        ("no sync of names", |name| name.is_some(), "the copy beside the store is another one"),
    ];
    for (what, honoured, seen) in lies {
        let folder = scratch("lies");
        let found = cut(life, &moments(life, 150, &mut random), honoured, &folder, random.below(u64::MAX));
        let telling = found.iter().filter(|one| one.contains(seen)).count();
        println!("{what}: {} of 150 cuts lose something, {telling} of them as they should", found.len());
        assert!(telling > 0, "{what}: not seen: {found:?}");
    }
}

#[test]
fn the_power_cut_at_any_moment_loses_nothing_that_was_acknowledged_and_leaves_nothing_half_done() {
    let life = life();
    let count = times("POSTERN_CUTS", 3000);
    let mut random = Random::new();
    let moments = moments(life, count, &mut random);
    // One thread for each half of the moments.
    let (first, second) = moments.split_at(count / 2);
    let seeds = [random.below(u64::MAX), random.below(u64::MAX)];
    let lost: Vec<String> = std::thread::scope(|threads| {
        let halves = [(first, seeds[0], "one"), (second, seeds[1], "two")]
            .map(|(half, seed, name)| threads.spawn(move || cut(life, half, |_| true, &scratch(name), seed)));
        halves.into_iter().flat_map(|half| half.join().expect("no start panics")).collect()
    });
    let (bytes, syncs) = life.recording.totals();
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "power-cuts",
        &format!(
            "{count} power cuts in a life of {} saves ({} deeds on the disk, {} kB, {syncs} syncs): {} lost or half done",
            life.steps.len() - 1,
            life.recording.moments() - 1,
            bytes / 1024,
            lost.len()
        ),
    );
    assert!(lost.is_empty(), "{} of {count}: {:#?}", lost.len(), &lost[..lost.len().min(10)]);
}
