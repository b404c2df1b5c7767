//! A program that runs in the lab: its lines as they come, and its end.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::wait;

/// How long the last output of a program that has ended may take to be read.
const READ: Duration = Duration::from_secs(10);

/// Lines of one output of a program, in the order they came.
type Lines = Arc<Mutex<Vec<String>>>;

/// A running program; it and all it started are killed when this is dropped.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    out: Lines,
    err: Lines,
    readers: Vec<JoinHandle<()>>,
    left_behind: bool,
    told_on_failure: bool,
}

impl Process {
    /// Starts `command`, which must be a single program that forks at most once before the real one (as nsenter does).
    ///
    /// # Panics
    /// When it cannot be started.
    #[track_caller]
    #[must_use]
    pub fn start(mut command: Command, name: &str, stdin: Option<&str>) -> Self {
        command.stdin(if stdin.is_some() { Stdio::piped() } else { Stdio::null() });
        let mut child = match command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn() {
            Ok(child) => child,
            Err(error) => panic!("{name} could not be started: {error} ({command:?})"),
        };
        let (out, err) = (Lines::default(), Lines::default());
        let mut readers = Vec::new();
        if let Some(pipe) = child.stdout.take() {
            readers.push(follow(pipe, &out));
        }
        if let Some(pipe) = child.stderr.take() {
            readers.push(follow(pipe, &err));
        }
        if let (Some(text), Some(mut pipe)) = (stdin, child.stdin.take()) {
            // A program that does not read its input has said why on its error output.
            let _ = pipe.write_all(text.as_bytes());
        }
        Self { name: name.to_owned(), child, out, err, readers, left_behind: false, told_on_failure: false }
    }

    /// The same, and a failing test prints the last lines this program wrote.
    #[must_use]
    pub fn told_on_failure(mut self) -> Self {
        self.told_on_failure = true;
        self
    }

    /// Lines on its standard output so far.
    #[must_use]
    pub fn out(&self) -> Vec<String> {
        self.out.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Lines on its error output so far.
    #[must_use]
    pub fn err(&self) -> Vec<String> {
        self.err.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Both outputs as one text, for messages.
    #[must_use]
    pub fn said(&self) -> String {
        self.out().into_iter().chain(self.err()).collect::<Vec<_>>().join("\n")
    }

    /// Waits for a line with `part` on either output.
    ///
    /// # Panics
    /// When it does not come in time or the program ends first.
    #[track_caller]
    pub fn wait_for_line(&mut self, part: &str, limit: Duration) -> String {
        let found = wait::until(limit, || {
            let ended = self.ended().is_some();
            let line = self.out().into_iter().chain(self.err()).find(|line| line.contains(part));
            if line.is_some() || ended { Some(line) } else { None }
        });
        match found {
            Some(Some(line)) => line,
            Some(None) => panic!("{} ended before it said `{part}`:\n{}", self.name, self.said()),
            None => panic!("{} did not say `{part}` in {limit:?}:\n{}", self.name, self.said()),
        }
    }

    /// How it ended, if it has; all its output has been read then.
    #[must_use]
    pub fn ended(&mut self) -> Option<ExitStatus> {
        let status = self.child.try_wait().ok().flatten()?;
        // The readers may get no processor for a while. A child left behind may hold the pipes open: then what was read so far
        // must do, and it is not waited for again.
        if !self.left_behind {
            let read = wait::until(READ, || self.readers.iter().all(JoinHandle::is_finished).then_some(()));
            self.left_behind = read.is_none();
        }
        Some(status)
    }

    /// Waits for its end; none when it still runs after `limit`.
    pub fn wait_end(&mut self, limit: Duration) -> Option<ExitStatus> {
        wait::until(limit, || self.ended())
    }

    /// The program's PID as this process sees it (not nsenter's).
    ///
    /// # Panics
    /// When it does not start in time.
    #[track_caller]
    #[must_use]
    pub fn pid(&self) -> u32 {
        match wait::until(wait::SOON, || children(self.child.id()).first().copied()) {
            Some(pid) => pid,
            None => panic!("{} is not running:\n{}", self.name, self.said()),
        }
    }

    /// Sends the program (not nsenter) a signal.
    pub fn signal(&self, signal: Signal) {
        send(self.pid(), signal);
    }

    /// Ends it and everything it started, at once; none of them holds a file or a socket afterwards. The program is
    /// nsenter's child, so the end of our own child says nothing of it: a killed daemon would answer at its old door for
    /// as long as the kernel takes to free its memory, and who waits for the next one's door would believe it is open.
    pub fn kill(&mut self) {
        let mut killed = Vec::new();
        for _ in 0..5 {
            let tree = descendants(self.child.id());
            if tree.is_empty() {
                break;
            }
            for pid in tree.into_iter().filter_map(pid) {
                killed.extend(pidfd_open(pid, PidfdFlags::empty()));
                // It may have ended since it was listed.
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let limit = Timespec::try_from(wait::SOON).ok();
        for process in &killed {
            let _ = poll(&mut [PollFd::new(process, PollFlags::IN)], limit.as_ref());
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let ended = self.child.try_wait().ok().flatten();
        if ended.is_none() {
            self.kill();
        }
        if self.told_on_failure && std::thread::panicking() {
            let said = self.said();
            let lines: Vec<_> = said.lines().collect();
            let last = &lines[lines.len().saturating_sub(40)..];
            let how = ended.map_or_else(|| "it ran".to_owned(), |how| format!("it had ended: {how}"));
            eprintln!("--- last lines of {} ({how}):\n{}\n---", self.name, last.join("\n"));
        }
    }
}

fn follow(pipe: impl Read + Send + 'static, lines: &Lines) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        let mut reader = BufReader::new(pipe);
        let mut bytes = Vec::new();
        while matches!(reader.read_until(b'\n', &mut bytes), Ok(n) if n > 0) {
            let line = String::from_utf8_lossy(&bytes).trim_end_matches('\n').to_owned();
            lines.lock().unwrap_or_else(PoisonError::into_inner).push(line);
            bytes.clear();
        }
    })
}

fn pid(number: u32) -> Option<Pid> {
    i32::try_from(number).ok().and_then(Pid::from_raw)
}

fn send(number: u32, signal: Signal) {
    if let Some(pid) = pid(number) {
        // It may have ended since it was listed.
        let _ = kill_process(pid, signal);
    }
}

/// PIDs whose parent is `parent`.
#[must_use]
pub fn children(parent: u32) -> Vec<u32> {
    all().into_iter().filter(|(_, of)| *of == parent).map(|(pid, _)| pid).collect()
}

pub(crate) fn descendants(root: u32) -> Vec<u32> {
    let all = all();
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(all.iter().filter(|(_, of)| *of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.remove(0);
    found
}

/// Every process with its parent.
fn all() -> Vec<(u32, u32)> {
    let Ok(entries) = std::fs::read_dir("/proc") else { return Vec::new() };
    let parents = entries.flatten().filter_map(|entry| {
        let pid = entry.file_name().to_str()?.parse().ok()?;
        let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
        let mut after_name = stat.rsplit_once(')')?.1.split_whitespace();
        let state = after_name.next()?;
        let parent = after_name.next()?.parse().ok()?;
        (state != "Z").then_some((pid, parent))
    });
    parents.collect()
}
