//! What was written, in its order, read from strace's own words.

use std::collections::{BTreeSet, HashMap};

/// The system calls to be recorded: `strace -f -y -xx -ttt -s 1048576 -e trace=` these. A store in WAL mode with an exclusive lock
/// maps nothing into memory.
pub const CALLS: &str = "openat,open,creat,pwrite64,pwritev,pwritev2,write,writev,fsync,fdatasync,sync_file_range,ftruncate,truncate,\
    fallocate,rename,renameat,renameat2,unlink,unlinkat,link,linkat,symlink,symlinkat,copy_file_range,sendfile";

/// One thing that was done in the folder. Names are of files that lie in it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Deed {
    /// A file that was not there.
    Make(String),
    /// At this place; none: at the end.
    Write(String, Option<u64>, Vec<u8>),
    Resize(String, u64),
    Rename(String, String),
    Remove(String),
    /// Of a file, or of the folder's names. Whatever was done before is safe when the sync of this number ends.
    SyncBegins(Option<String>, usize),
    SyncEnds(usize),
}

/// When it began, in seconds since 1970, and what it was.
pub(super) type Event = (f64, Deed);

/// Everything that was done in a folder.
#[derive(Debug)]
pub struct Recording {
    pub(super) events: Vec<Event>,
}

/// One call, whole.
struct Call<'a> {
    begun: (usize, f64),
    ended: (usize, f64),
    name: &'a str,
    words: String,
    result: i64,
}

impl Recording {
    /// Reads what strace wrote. `folder` is the path as the program knows it.
    ///
    /// # Panics
    /// When something was done in the folder that is not understood here: a gap would hide a loss.
    #[track_caller]
    #[must_use]
    pub fn read(strace: &str, folder: &str) -> Self {
        let mut ordered: Vec<(usize, Event)> = Vec::new();
        let mut there = BTreeSet::new();
        let mut calls = calls(strace);
        calls.sort_by_key(|call| call.ended.0);
        for (number, call) in calls.iter().enumerate().filter(|(_, call)| call.result >= 0) {
            let (begun, ended) = (call.begun, call.ended);
            let mut done = |(line, seconds): (usize, f64), deed| ordered.push((line, (seconds, deed)));
            let place = || inside(&descriptor(&call.words)?, folder);
            let paths: Vec<Option<String>> = strings(&call.words)
                .iter()
                .map(|bytes| inside(&String::from_utf8_lossy(bytes), folder).flatten())
                .collect();
            match (call.name, &paths[..]) {
                ("open" | "openat", [Some(name)]) => {
                    if call.words.contains("O_CREAT") && there.insert(name.clone()) {
                        done(ended, Deed::Make(name.clone()));
                    } else if call.words.contains("O_TRUNC") {
                        done(ended, Deed::Resize(name.clone(), 0));
                    }
                }
                ("fsync" | "fdatasync", _) => {
                    if let Some(name) = place() {
                        done(begun, Deed::SyncBegins(name, number));
                        done(ended, Deed::SyncEnds(number));
                    }
                }
                ("write" | "pwrite64", _) => {
                    if let Some(Some(name)) = place() {
                        let mut bytes = strings(&call.words).swap_remove(0);
                        bytes.truncate(usize::try_from(call.result).unwrap_or_default());
                        let at = (call.name == "pwrite64").then(|| last_number(&call.words));
                        done(begun, Deed::Write(name, at, bytes));
                    }
                }
                ("ftruncate", _) => {
                    if let Some(Some(name)) = place() {
                        done(begun, Deed::Resize(name, last_number(&call.words)));
                    }
                }
                ("rename" | "renameat" | "renameat2", [Some(from), Some(to)]) => {
                    there.remove(from);
                    there.insert(to.clone());
                    done(begun, Deed::Rename(from.clone(), to.clone()));
                }
                ("unlink" | "unlinkat", [Some(name)]) => {
                    there.remove(name);
                    done(begun, Deed::Remove(name.clone()));
                }
                (name, paths) => {
                    let touches = paths.iter().any(Option::is_some) || matches!(place(), Some(Some(_)));
                    assert!(!touches, "{name} in the folder is not understood: {}", call.words);
                }
            }
        }
        ordered.sort_by_key(|(line, _)| *line);
        assert!(!ordered.is_empty(), "strace has seen nothing in {folder}");
        Self { events: ordered.into_iter().map(|(_, event)| event).collect() }
    }

    /// How many moments there are at which the power can be cut: before the first deed, and after each.
    #[must_use]
    pub fn moments(&self) -> usize {
        self.events.len() + 1
    }

    /// When the deed after this moment began, in seconds since 1970: what was answered before that was answered before the cut.
    #[must_use]
    pub fn until(&self, moment: usize) -> f64 {
        self.events.get(moment).map_or(f64::INFINITY, |(seconds, _)| *seconds)
    }

    /// Bytes written and syncs done, for the figures.
    #[must_use]
    pub fn totals(&self) -> (usize, usize) {
        let bytes = |(_, deed): &Event| if let Deed::Write(_, _, bytes) = deed { bytes.len() } else { 0 };
        let syncs = self.events.iter().filter(|(_, deed)| matches!(deed, Deed::SyncEnds(_))).count();
        (self.events.iter().map(bytes).sum(), syncs)
    }
}

/// The calls, with those that another thread interrupted put together.
fn calls(strace: &str) -> Vec<Call<'_>> {
    let mut open: HashMap<&str, (usize, f64, &str)> = HashMap::new();
    let mut calls = Vec::new();
    for (line, text) in strace.lines().enumerate() {
        // Numbers below 10,000 are padded.
        let Some((thread, rest)) = text.split_once(' ') else { continue };
        let Some((seconds, rest)) = rest.trim_start().split_once(' ') else { continue };
        let (Ok(seconds), rest) = (seconds.parse::<f64>(), rest.trim_start()) else { continue };
        if let Some(begun) = rest.strip_suffix(" <unfinished ...>") {
            open.insert(thread, (line, seconds, begun));
            continue;
        }
        let (begun, whole) = match rest.strip_prefix("<... ") {
            Some(resumed) => {
                let Some((line, seconds, first)) = open.remove(thread) else { continue };
                let last = resumed.split_once(" resumed>").map_or("", |(_, last)| last);
                ((line, seconds), format!("{first}{last}"))
            }
            None => ((line, seconds), rest.to_owned()),
        };
        let name = match rest.strip_prefix("<... ") {
            Some(resumed) => resumed.split(' ').next().unwrap_or_default(),
            None => rest.split('(').next().unwrap_or_default(),
        };
        // No string has an equals sign: all are in hexadecimal digits.
        let Some((words, result)) = whole.rsplit_once(" = ") else { continue };
        let result = result.split([' ', '<']).next().and_then(|number| number.parse().ok()).unwrap_or(-1);
        calls.push(Call { begun, ended: (line, seconds), name, words: words.trim_end().to_owned(), result });
    }
    calls
}

/// Which file of the folder that is; the folder itself has no name. None: another place, or something deeper.
fn inside(path: &str, folder: &str) -> Option<Option<String>> {
    let rest = path.strip_prefix(folder)?;
    match rest.strip_prefix('/') {
        None => rest.is_empty().then_some(None),
        Some(name) => (!name.contains('/') && !name.ends_with(" (deleted)")).then(|| Some(name.to_owned())),
    }
}

/// The path of the descriptor that is the first word, as `-y` writes it.
fn descriptor(words: &str) -> Option<String> {
    let (_, rest) = words.split_once('(')?;
    let (number, path) = rest.split_once('<')?;
    number.parse::<u32>().ok()?;
    Some(String::from_utf8_lossy(&plain(path.split('>').next()?)).into_owned())
}

/// What stands between quotation marks.
fn strings(words: &str) -> Vec<Vec<u8>> {
    assert!(!words.contains("\"..."), "strace has cut a string short");
    words.split('"').skip(1).step_by(2).map(plain).collect()
}

/// `\x41\x42` as bytes; what is not escaped as it is.
fn plain(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len() / 4);
    let mut rest = text.as_bytes();
    loop {
        match rest {
            [b'\\', b'x', high, low, after @ ..] => {
                let digit = |one: u8| char::from(one).to_digit(16).unwrap_or_default() as u8;
                bytes.push(digit(*high) << 4 | digit(*low));
                rest = after;
            }
            [one, after @ ..] => {
                bytes.push(*one);
                rest = after;
            }
            [] => return bytes,
        }
    }
}

/// The last of the arguments.
fn last_number(words: &str) -> u64 {
    let last = words.trim_end_matches(')').rsplit(", ").next().and_then(|number| number.parse().ok());
    last.unwrap_or_else(|| panic!("no number at the end of {}", words.chars().take(200).collect::<String>()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_in_their_order_and_a_sync_covers_only_what_came_before_it_began() {
        let strace = "\
7     10.5 openat(AT_FDCWD</>, \"\\x2f\\x73\\x2f\\x61\", O_RDWR|O_CREAT, 0644) = 3<\\x2f\\x73\\x2f\\x61>
7 11.5 pwrite64(3<\\x2f\\x73\\x2f\\x61>, \"\\x01\\x02\", 2, 4096) = 2
7 12.5 fdatasync(3<\\x2f\\x73\\x2f\\x61> <unfinished ...>
8 13.5 write(4<\\x2f\\x73\\x2f\\x62>, \"\\x41\", 1) = 1
7 14.5 <... fdatasync resumed>) = 0
8 15.5 rename(\"\\x2f\\x73\\x2f\\x62\", \"\\x2f\\x73\\x2f\\x63\") = 0
8 16.5 rename(\"\\x2f\\x73\\x2f\\x62\", \"\\x2f\\x73\\x2f\\x63\") = -1 ENOENT (No such file or directory)
8 17.5 write(1<\\x2f\\x6f>, \"\\x41\", 1) = 1
8 18.5 fsync(5<\\x2f\\x73>) = 0
";
        let [a, b, c] = ["a", "b", "c"].map(str::to_owned);
        let deeds: Vec<Deed> =
            Recording::read(strace, "/s").events.into_iter().map(|(_, deed)| deed).collect();
        let wanted = [
            Deed::Make(a.clone()),
            Deed::Write(a.clone(), Some(4096), vec![1, 2]),
            Deed::SyncBegins(Some(a), 3),
            Deed::Write(b.clone(), None, vec![0x41]),
            Deed::SyncEnds(3),
            Deed::Rename(b, c),
            Deed::SyncBegins(None, 7),
            Deed::SyncEnds(7),
        ];
        assert_eq!(deeds, wanted);
    }

    #[test]
    #[should_panic(expected = "not understood")]
    fn a_call_that_is_not_understood_is_no_gap() {
        let _ = Recording::read("7 1.5 fallocate(3<\\x2f\\x73\\x2f\\x61>, 0, 0, 9) = 0\n", "/s");
    }
}
