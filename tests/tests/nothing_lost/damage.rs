//! The bytes of the state folder are damaged: a worn flash, a cut file, blocks of something else.

use lab::power::{Disk, Image, write};
use lab::rescue::{Rescued, Rescuer};
use lab::{Random, figures};
use postern::settings::{Role, keys};

use super::life::{Life, life};
use super::{scratch, times};

const STORE: &str = "postern.db";
const LOG: &str = "postern.db-wal";
const COPY: &str = "last-good.json";

/// Damages some of the files; in words, what was done.
fn damage(image: &mut Image, random: &mut Random) -> String {
    let targets: [&[&str]; 7] =
        [&[STORE], &[LOG], &[COPY], &[STORE, LOG], &[STORE, COPY], &[LOG, COPY], &[STORE, LOG, COPY]];
    let target = targets[random.below(7) as usize];
    let mut said = Vec::new();
    for name in target {
        let Some(content) = image.get_mut(*name) else { continue };
        let what = one(content, random);
        said.push(format!("{name}: {what}"));
        if what == "gone" {
            image.remove(*name);
        }
    }
    said.join(", ")
}

fn one(content: &mut Vec<u8>, random: &mut Random) -> String {
    let size = content.len() as u64;
    let at = |random: &mut Random| random.below(size) as usize;
    match random.below(8) {
        // Most often: it is the hardest to see.
        0..=2 => {
            let bits = 1 << random.below(7);
            for _ in 0..bits {
                let place = at(random);
                content[place] ^= 1 << random.below(8);
            }
            format!("{bits} bits flipped")
        }
        3 => {
            let place = at(random);
            content.truncate(place);
            format!("cut at {place}")
        }
        4 => {
            let (place, pages) = (at(random) / 1024 * 1024, 1 + random.below(8) as usize);
            let end = content.len().min(place + pages * 1024);
            content[place..end].fill(0);
            format!("{place} to {end} zero")
        }
        5 => {
            let place = at(random);
            let end = content.len().min(place + 1 + random.below(5000) as usize);
            content[place..end].iter_mut().for_each(|byte| *byte = random.below(256) as u8);
            format!("{place} to {end} something else")
        }
        6 => {
            // A block that was written to another place.
            let (from, to) = (at(random) / 1024 * 1024, at(random) / 1024 * 1024);
            let length = 1024.min(content.len() - from.max(to));
            content.copy_within(from..from + length, to);
            format!("the block at {from} also at {to}")
        }
        _ if random.below(4) == 0 => "gone".to_owned(),
        _ => {
            content.clear();
            "empty".to_owned()
        }
    }
}

/// What is wrong with what a start made of it, if anything is: a box is what its owner had kept at some time, or closed.
fn wrong(found: &Rescued, life: &Life, left: &Image) -> Option<String> {
    if let Some(error) = &found.error {
        return Some(error.clone());
    }
    let nothing_left = [STORE, LOG, COPY].iter().all(|name| left.get(*name).is_none_or(Vec::is_empty));
    let router = found.rules.as_deref().is_some_and(|rules| rules.ends_with("role router"));
    let denies = found.rules.as_deref().is_some_and(|rules| rules.ends_with("deny"));
    let kept = life.steps.iter().any(|step| step.kept == found.settings);
    match found.settings.role {
        Role::Router if !kept => {
            let nearest = life.steps.iter().map(|step| keys::difference(&step.kept, &found.settings));
            let nearest = nearest.min_by_key(Vec::len).unwrap_or_default();
            let nearest: String = format!("{nearest:?}").chars().take(300).collect();
            Some(format!("settings that nobody has ever kept are in force: {nearest}"))
        }
        Role::Router if router && found.as_settings => None,
        // A box that was never set up.
        Role::Unset if nothing_left => None,
        Role::Unset if found.closes && denies => None,
        role => Some(format!("{role:?}, the rules are {:?}, closed: {}", found.rules, found.closes)),
    }
}

#[test]
fn thousands_of_damaged_stores_and_each_box_is_one_that_its_owner_had_kept_or_closed() {
    let life = life();
    let count = times("POSTERN_DAMAGES", 3000);
    let mut disk = Disk::new(&life.recording, |_| true);
    disk.go_on_to(life.recording.moments());
    // As it is under a running daemon, and after one that has ended in good order: SQLite's log has sums of its own, its file has none.
    let whole = [disk.whole(), ended(&disk.whole())];
    let mut seeds = Random::new();
    let halves = [(seeds.below(u64::MAX), "left"), (seeds.below(u64::MAX), "right")];
    let results: Vec<(Outcomes, Vec<String>)> = std::thread::scope(|threads| {
        let whole = &whole;
        let half = |(seed, name): (u64, &'static str)| {
            threads.spawn(move || many(life, whole, count / 2, seed, name))
        };
        halves.map(half).into_iter().map(|half| half.join().expect("no start panics")).collect()
    });
    let mut all = Outcomes::default();
    let mut bad = Vec::new();
    for (outcomes, wrong) in results {
        all.newest += outcomes.newest;
        all.older += outcomes.older;
        all.closed += outcomes.closed;
        bad.extend(wrong);
    }
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "damaged-bytes",
        &format!(
            "{count} damaged stores, {} kB each: {} boxes have the newest settings, {} older ones, {} are closed; {} wrong",
            whole[0].values().map(Vec::len).sum::<usize>() / 1024,
            all.newest,
            all.older,
            all.closed,
            bad.len()
        ),
    );
    assert!(bad.is_empty(), "{} of {count}: {:#?}", bad.len(), &bad[..bad.len().min(12)]);
    assert!(all.closed > 0 && all.older > 0, "every end was seen");
}

/// How many ended how.
#[derive(Debug, Default)]
struct Outcomes {
    newest: usize,
    older: usize,
    closed: usize,
}

/// What a daemon leaves that has ended.
fn ended(whole: &Image) -> Image {
    let folder = scratch("ended");
    write(whole, &folder);
    let found = Rescuer::new().start(&folder);
    assert_eq!((found.notice, found.integrity.as_str()), (None, "ok"));
    let read = |name: &String| Some((name.clone(), std::fs::read(folder.join(name)).ok()?));
    let image: Image = whole.keys().filter_map(read).collect();
    std::fs::remove_dir_all(&folder).expect("it is ours");
    assert!(!image.contains_key(LOG), "it has been tidied up");
    image
}

fn many(life: &Life, whole: &[Image; 2], count: usize, seed: u64, name: &str) -> (Outcomes, Vec<String>) {
    let (mut random, mut rescuer, folder) = (Random::from(seed), Rescuer::new(), scratch(name));
    let newest = &life.steps.last().expect("there are some").kept;
    let (mut outcomes, mut bad) = (Outcomes::default(), Vec::new());
    for number in 0..count {
        let mut image = whole[number % 2].clone();
        let what = damage(&mut image, &mut random);
        write(&image, &folder);
        let found = rescuer.start(&folder);
        match &found.settings {
            settings if settings == newest => outcomes.newest += 1,
            settings if settings.role == Role::Unset => outcomes.closed += 1,
            _ => outcomes.older += 1,
        }
        let mut fault = wrong(&found, life, &image);
        // Not a box that is something else at each start.
        if fault.is_none() && number % 10 < 2 {
            let again = rescuer.start(&folder);
            fault = wrong(&again, life, &image).filter(|_| !found.closes);
            if again.settings != found.settings {
                fault = Some("the next start finds something else".to_owned());
            }
        }
        bad.extend(fault.map(|fault| format!("{what}: {fault}; told: {:?}", found.notice)));
    }
    std::fs::remove_dir_all(&folder).expect("it is ours");
    (outcomes, bad)
}
