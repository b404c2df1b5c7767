//! A start of the daemon on a state folder, again and again, without a lab: its own store code and its own first apply, on a
//! kernel of paper (`postern-lab rescue`).

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

use postern::settings::Settings;
use serde::{Deserialize, Serialize};

use crate::lab::programs;

/// What a start made of a state folder.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rescued {
    /// Why there is no box at all; none: it runs.
    pub error: Option<String>,
    /// What the owner is told of the damage; none: nothing was damaged.
    pub notice: Option<String>,
    /// Nothing could be read, and nobody knows what the box was: it is to be closed.
    pub closes: bool,
    /// SQLite's own word on the file afterwards (`PRAGMA integrity_check`): `ok`.
    pub integrity: String,
    /// The account's password, hashed.
    pub password: Option<String>,
    /// What is in force.
    pub settings: Settings,
    /// Every revision, newest first: number, and how far it came in the store's word.
    pub revisions: Vec<(i64, String)>,
    /// The copy beside the store, before the start: none, unreadable, or its settings.
    pub copy: Option<Option<Settings>>,
    /// What the loaded rules say of themselves; none: there is no table.
    pub rules: Option<String>,
    /// The loaded rules are those of `settings`, to the letter.
    pub as_settings: bool,
}

/// A process that starts on folders. One that panics is gone, and whoever asks it fails.
#[derive(Debug)]
pub struct Rescuer {
    child: Child,
    to: ChildStdin,
    from: BufReader<ChildStdout>,
}

impl Rescuer {
    /// Starts it. Its log is thrown away.
    ///
    /// # Panics
    /// When `postern-lab` is not built.
    #[track_caller]
    #[must_use]
    pub fn new() -> Self {
        let mut command = Command::new(programs().join("postern-lab"));
        command.arg("rescue").stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("postern-lab is built: cargo build --workspace");
        let (to, from) = (child.stdin.take(), child.stdout.take());
        let (to, from) = (to.expect("it was asked for"), from.expect("it was asked for"));
        Self { child, to, from: BufReader::new(from) }
    }

    /// Starts on `folder`, which is changed by that.
    ///
    /// # Panics
    /// When the start panics.
    #[track_caller]
    pub fn start(&mut self, folder: &Path) -> Rescued {
        let mut line = String::new();
        let asked = writeln!(self.to, "{}", folder.display()).and_then(|()| self.to.flush());
        let read = asked.and_then(|()| self.from.read_line(&mut line));
        assert!(matches!(read, Ok(n) if n > 0), "the start on {} ended the process", folder.display());
        serde_json::from_str(&line).unwrap_or_else(|error| panic!("no answer ({error}): {line}"))
    }
}

impl Default for Rescuer {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Rescuer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
