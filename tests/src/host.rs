//! One host of the lab: running programs on it.

use std::fs::{Metadata, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::process::Process;

/// How long a program that is run to its end may take.
const LIMIT: Duration = Duration::from_secs(60);

/// A host of a [`crate::Lab`]: a network namespace with its cables. Cheap to copy; it ends with its lab.
#[derive(Debug, Clone)]
pub struct Host {
    /// Its name, for example `laptop1`; empty: the outer namespace, outside every network.
    pub name: &'static str,
    /// PID of the process that holds the lab, as this process sees it.
    pub(crate) lab: u32,
    /// True: the network namespace of whoever runs the lab, not one of its own.
    pub(crate) outside: bool,
}

/// What a program that has ended left.
#[derive(Debug, Clone)]
pub struct Output {
    /// Exit code; -1 when a signal ended it.
    pub code: i32,
    /// Standard output.
    pub out: String,
    /// Error output.
    pub err: String,
}

impl Output {
    /// Whether it exited with 0.
    #[must_use]
    pub fn ok(&self) -> bool {
        self.code == 0
    }
}

impl Host {
    /// A command that runs on this host: in its network, the lab's mounts and the lab's processes.
    ///
    /// # Panics
    /// When `words` is empty.
    #[must_use]
    pub fn command(&self, words: &[&str]) -> Command {
        let mut command = Command::new("nsenter");
        let pid = self.lab;
        command.args([format!("--target={pid}"), "--mount".into(), "--pid".into()]);
        if self.name.is_empty() && !self.outside {
            command.arg("--net");
        } else if !self.outside {
            command.arg(format!("--net=/proc/{pid}/root/run/netns/{}", self.name));
        }
        command.arg("--").args(words).current_dir("/");
        command.env("PATH", "/run/lab/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
        for name in ["LC_ALL", "LANG"] {
            command.env(name, "C.UTF-8");
        }
        command
    }

    /// Starts a program; it is killed when the returned value is dropped.
    #[track_caller]
    #[must_use]
    pub fn spawn(&self, words: &[&str]) -> Process {
        Process::start(self.command(words), &self.describe(words), None)
    }

    /// Runs a program to its end.
    #[track_caller]
    #[must_use]
    pub fn run(&self, words: &[&str]) -> Output {
        self.finish(words, None)
    }

    /// Runs a program with `stdin` as its input.
    #[track_caller]
    #[must_use]
    pub fn run_with(&self, words: &[&str], stdin: &str) -> Output {
        self.finish(words, Some(stdin))
    }

    /// Runs a program that may take so long.
    #[track_caller]
    #[must_use]
    pub fn run_for(&self, words: &[&str], limit: Duration) -> Output {
        self.finish_within(words, None, limit)
    }

    /// Runs a program that must succeed; its standard output.
    ///
    /// # Panics
    /// When it fails, with everything it said.
    #[track_caller]
    pub fn ok(&self, words: &[&str]) -> String {
        self.ok_with(words, "")
    }

    /// The same with `stdin` as its input.
    ///
    /// # Panics
    /// When it fails, with everything it said.
    #[track_caller]
    pub fn ok_with(&self, words: &[&str], stdin: &str) -> String {
        let output = self.finish(words, Some(stdin));
        let what = self.describe(words);
        assert!(output.ok(), "{what} failed with {}:\n{}{}", output.code, output.out, output.err);
        output.out
    }

    /// A path of the lab's own file system (for example `/run/lab/x`) as this process can open it.
    #[must_use]
    pub fn path(&self, inside: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{inside}", self.lab))
    }

    /// Writes a file of the lab's own file system.
    ///
    /// # Panics
    /// When that is impossible.
    #[track_caller]
    pub fn write(&self, inside: &str, content: impl AsRef<[u8]>) {
        let path = self.path(inside);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent).expect("a directory in the lab's own /run can be made");
        }
        if let Err(error) = std::fs::write(&path, content) {
            panic!("{} cannot be written: {error}", path.display());
        }
    }

    /// The same for a file that a program may be reading at this moment, a script above all: who has it open goes on with what it
    /// was, and a file that is as it should be is left alone.
    ///
    /// # Panics
    /// When that is impossible.
    #[track_caller]
    pub(crate) fn replace(&self, inside: &str, content: impl AsRef<[u8]>, mode: u32) {
        static FILES: AtomicU32 = AtomicU32::new(0);
        let (path, mode) = (self.path(inside), Permissions::from_mode(mode));
        let same_mode = |known: &Metadata| known.permissions().mode() & 0o777 == mode.mode();
        if std::fs::metadata(&path).is_ok_and(|known| same_mode(&known))
            && std::fs::read(&path).is_ok_and(|known| known == content.as_ref())
        {
            return;
        }
        let beside = format!("{inside}.{}", FILES.fetch_add(1, Ordering::Relaxed));
        self.write(&beside, content);
        let beside = self.path(&beside);
        let done = std::fs::set_permissions(&beside, mode).and_then(|()| std::fs::rename(&beside, &path));
        if let Err(error) = done {
            panic!("{} cannot be replaced: {error}", path.display());
        }
    }

    #[track_caller]
    fn finish(&self, words: &[&str], stdin: Option<&str>) -> Output {
        self.finish_within(words, stdin, LIMIT)
    }

    #[track_caller]
    fn finish_within(&self, words: &[&str], stdin: Option<&str>, limit: Duration) -> Output {
        let mut process = Process::start(self.command(words), &self.describe(words), stdin);
        let Some(status) = process.wait_end(limit) else {
            panic!("{} still ran after {limit:?}:\n{}", self.describe(words), process.said());
        };
        let text = |lines: Vec<String>| lines.iter().map(|line| format!("{line}\n")).collect::<String>();
        Output { code: status.code().unwrap_or(-1), out: text(process.out()), err: text(process.err()) }
    }

    fn describe(&self, words: &[&str]) -> String {
        format!("`{}` on {}", words.join(" "), if self.name.is_empty() { "the lab" } else { self.name })
    }
}
