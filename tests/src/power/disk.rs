//! A disk that is written to, and what it may hold when the power is cut.

use std::collections::{BTreeMap, VecDeque};
use std::path::Path;

use super::Recording;
use super::recording::Deed;
use crate::random::Random;

/// What a disk writes whole or not at all, in bytes.
const SECTOR: usize = 512;

/// Files by name.
pub type Image = BTreeMap<String, Vec<u8>>;

/// A folder's disk at one moment of a recording.
#[derive(Debug)]
pub struct Disk<'a> {
    recording: &'a Recording,
    /// Whether a sync of this file (none: of the names) does what it says.
    honoured: fn(Option<&str>) -> bool,
    moment: usize,
    files: Vec<File<'a>>,
    /// Names as the program sees them.
    now: BTreeMap<String, usize>,
    names: Pending<Name<'a>>,
    safe_names: BTreeMap<String, usize>,
    /// Syncs that have begun: what they are of, and how much of it they cover.
    syncs: BTreeMap<usize, (Option<usize>, u64)>,
}

#[derive(Debug, Default)]
struct File<'a> {
    safe: Vec<u8>,
    /// As the program sees it.
    size: u64,
    changes: Pending<Change<'a>>,
}

/// What was done and may be lost, in its order.
#[derive(Debug)]
struct Pending<T> {
    waiting: VecDeque<T>,
    /// How many are safe already.
    settled: u64,
}

impl<T> Default for Pending<T> {
    fn default() -> Self {
        Self { waiting: VecDeque::new(), settled: 0 }
    }
}

impl<T> Pending<T> {
    /// How many there have ever been.
    fn all(&self) -> u64 {
        self.settled + self.waiting.len() as u64
    }

    /// The next one that is safe, if there are `all` by now.
    fn settle(&mut self, all: u64) -> Option<T> {
        (self.settled < all).then(|| {
            self.settled += 1;
            self.waiting.pop_front()
        })?
    }
}

#[derive(Debug)]
enum Change<'a> {
    Write(u64, &'a [u8]),
    Resize(u64),
}

#[derive(Debug)]
enum Name<'a> {
    Make(&'a str, usize),
    Rename(&'a str, &'a str),
    Remove(&'a str),
}

impl<'a> Disk<'a> {
    /// An empty folder. `honoured` says which syncs do what they say: of a file by its name, of the folder by none.
    #[must_use]
    pub fn new(recording: &'a Recording, honoured: fn(Option<&str>) -> bool) -> Self {
        Self {
            recording,
            honoured,
            moment: 0,
            files: Vec::new(),
            now: BTreeMap::new(),
            names: Pending::default(),
            safe_names: BTreeMap::new(),
            syncs: BTreeMap::new(),
        }
    }

    /// Goes on to a later moment.
    ///
    /// # Panics
    /// When a file is used that was never made.
    #[track_caller]
    pub fn go_on_to(&mut self, moment: usize) {
        let recording = self.recording;
        while self.moment < moment.min(recording.events.len()) {
            self.take(&recording.events[self.moment].1);
            self.moment += 1;
        }
    }

    #[track_caller]
    fn file(&mut self, name: &str) -> &mut File<'a> {
        let number = self.now.get(name).unwrap_or_else(|| panic!("{name} was never made"));
        &mut self.files[*number]
    }

    fn take(&mut self, deed: &'a Deed) {
        match deed {
            Deed::Make(name) => {
                self.now.insert(name.clone(), self.files.len());
                self.names.waiting.push_back(Name::Make(name, self.files.len()));
                self.files.push(File::default());
            }
            Deed::Write(name, at, bytes) => {
                let file = self.file(name);
                let at = at.unwrap_or(file.size);
                file.size = file.size.max(at + bytes.len() as u64);
                file.changes.waiting.push_back(Change::Write(at, bytes));
            }
            Deed::Resize(name, size) => {
                let file = self.file(name);
                file.size = *size;
                file.changes.waiting.push_back(Change::Resize(*size));
            }
            Deed::Rename(from, to) => {
                renamed(&mut self.now, from, to);
                self.names.waiting.push_back(Name::Rename(from, to));
            }
            Deed::Remove(name) => {
                self.now.remove(name);
                self.names.waiting.push_back(Name::Remove(name));
            }
            Deed::SyncBegins(name, number) if (self.honoured)(name.as_deref()) => {
                let of = name.as_deref().and_then(|name| self.now.get(name).copied());
                match (name, of) {
                    (None, _) => drop(self.syncs.insert(*number, (None, self.names.all()))),
                    (Some(_), Some(of)) => {
                        self.syncs.insert(*number, (Some(of), self.files[of].changes.all()));
                    }
                    // It has lost its name meanwhile: nobody will find it.
                    (Some(_), None) => {}
                }
            }
            Deed::SyncBegins(..) => {}
            Deed::SyncEnds(number) => match self.syncs.remove(number) {
                Some((Some(of), all)) => {
                    let File { safe, changes, .. } = &mut self.files[of];
                    while let Some(change) = changes.settle(all) {
                        change.happen(safe);
                    }
                }
                Some((None, all)) => {
                    while let Some(name) = self.names.settle(all) {
                        name.happen(&mut self.safe_names);
                    }
                }
                None => {}
            },
        }
    }

    /// What the program sees now: what would be there if the power stayed.
    #[must_use]
    pub fn whole(&self) -> Image {
        let content = |number: &usize| {
            let mut content = self.files[*number].safe.clone();
            self.files[*number].changes.waiting.iter().for_each(|change| change.happen(&mut content));
            content
        };
        self.now.iter().map(|(name, number)| (name.clone(), content(number))).collect()
    }

    /// What may be there after the power is cut now.
    #[must_use]
    pub fn cut(&self, random: &mut Random) -> Image {
        let mut names = self.safe_names.clone();
        let waiting = self.names.waiting.len();
        let kept = match random.below(3) {
            0 => 0,
            1 => waiting,
            _ => random.below(waiting as u64 + 1) as usize,
        };
        self.names.waiting.iter().take(kept).for_each(|name| name.happen(&mut names));
        names.into_iter().map(|(name, number)| (name, self.files[number].cut(random))).collect()
    }
}

impl File<'_> {
    fn cut(&self, random: &mut Random) -> Vec<u8> {
        let mut content = self.safe.clone();
        // Of a hundred sectors: a drive with a cache keeps nearly all or nearly none.
        let percent = [0, 10, 50, 90, 100][random.below(5) as usize];
        let mut kept = || random.below(100) < percent;
        for change in &self.changes.waiting {
            match change {
                Change::Resize(size) if kept() => Change::Resize(*size).happen(&mut content),
                Change::Resize(_) => {}
                Change::Write(at, bytes) => {
                    let mut done = 0;
                    while done < bytes.len() {
                        let here = *at as usize + done;
                        let end = bytes.len().min(done + SECTOR - here % SECTOR);
                        if kept() {
                            Change::Write(here as u64, &bytes[done..end]).happen(&mut content);
                        } else if percent > 0 && kept() {
                            // The size is written, the bytes are not.
                            let size = content.len().max(here + end - done);
                            content.resize(size, 0);
                        }
                        done = end;
                    }
                }
            }
        }
        content
    }
}

impl Change<'_> {
    fn happen(&self, content: &mut Vec<u8>) {
        match self {
            Self::Resize(size) => content.resize(*size as usize, 0),
            Self::Write(at, bytes) => {
                let (begin, end) = (*at as usize, *at as usize + bytes.len());
                if content.len() < end {
                    content.resize(end, 0);
                }
                content[begin..end].copy_from_slice(bytes);
            }
        }
    }
}

impl Name<'_> {
    fn happen(&self, names: &mut BTreeMap<String, usize>) {
        match self {
            Self::Make(name, number) => drop(names.insert((*name).to_owned(), *number)),
            Self::Rename(from, to) => renamed(names, from, to),
            Self::Remove(name) => drop(names.remove(*name)),
        }
    }
}

fn renamed(names: &mut BTreeMap<String, usize>, from: &str, to: &str) {
    if let Some(number) = names.remove(from) {
        names.insert(to.to_owned(), number);
    }
}

/// Makes `folder` what the image says, and nothing else.
///
/// # Panics
/// When it cannot be written.
#[track_caller]
pub fn write(image: &Image, folder: &Path) {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).expect("a folder of ours can be made");
    for (name, content) in image {
        std::fs::write(folder.join(name), content).expect("a file of ours can be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recording(deeds: Vec<Deed>) -> Recording {
        Recording { events: deeds.into_iter().map(|deed| (0.0, deed)).collect() }
    }

    fn a() -> String {
        "a".to_owned()
    }

    #[test]
    fn what_was_synced_is_there_at_every_cut_and_of_the_rest_every_sector_may_be() {
        let deeds = vec![
            Deed::Make(a()),
            Deed::Write(a(), None, vec![1; 2048]),
            Deed::SyncBegins(Some(a()), 0),
            Deed::Write(a(), Some(512), vec![2; 1024]),
            Deed::SyncEnds(0),
            Deed::SyncBegins(None, 1),
            Deed::SyncEnds(1),
        ];
        let recording = recording(deeds);
        let mut disk = Disk::new(&recording, |_| true);
        disk.go_on_to(recording.moments());
        let (mut random, mut seen) = (Random::from(1), std::collections::BTreeSet::new());
        for _ in 0..200 {
            let image = disk.cut(&mut random);
            let content = &image["a"];
            assert_eq!((content.len(), content[0], content[2047]), (2048, 1, 1));
            seen.insert((content[512], content[1023], content[1024], content[1535]));
        }
        let all = [(1, 1, 1, 1), (1, 1, 2, 2), (2, 2, 1, 1), (2, 2, 2, 2)];
        assert_eq!(
            seen,
            all.into_iter().collect(),
            "the write that came after the sync began is torn at sectors"
        );
        assert_eq!(disk.whole()["a"][512], 2);
    }

    #[test]
    fn without_a_sync_of_the_folder_a_name_may_be_missing_and_a_rename_may_not_have_been() {
        let new = || "new".to_owned();
        let deeds = vec![
            Deed::Make(new()),
            Deed::Write(new(), None, vec![7]),
            Deed::SyncBegins(Some(new()), 0),
            Deed::SyncEnds(0),
            Deed::Rename(new(), a()),
        ];
        let recording = recording(deeds);
        let mut disk = Disk::new(&recording, |_| true);
        disk.go_on_to(recording.moments());
        let mut random = Random::from(1);
        let seen: std::collections::BTreeSet<Vec<String>> =
            (0..100).map(|_| disk.cut(&mut random).into_keys().collect()).collect();
        assert_eq!(seen, [vec![], vec![a()], vec![new()]].into_iter().collect());
    }
}
