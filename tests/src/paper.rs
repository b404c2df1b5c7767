//! A daemon on a kernel of paper, with its real store and its real door (`postern-lab paper`), on a disk that may refuse: for tests that
//! need hundreds of lives.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::lab::programs;
use crate::owner::Owner;
use crate::process::Process;
use crate::wait;

/// A debug build under strace, on a busy machine.
const START: Duration = Duration::from_secs(60);

/// The files of the state folder, and the folder itself: strace goes by whole paths.
const FILES: [&str; 18] = [
    "",
    "postern.db",
    "postern.db-wal",
    "postern.db-journal",
    "postern.db.damaged",
    "postern.db-wal.damaged",
    "last-good.json",
    "last-good.new",
    "last-good.json.other-role",
    "beside-another-firewall",
    "kernel-before.json",
    "kernel-before.new",
    "learnt.json",
    "learnt.new",
    "reset",
    "reset.new",
    "probe",
    "probe.new",
];

/// What the disk does to some calls about the state folder. strace counts the calls of each thread by themselves: SQLite has one,
/// and what lies beside the store is written by another.
#[derive(Debug, Clone)]
pub struct Fault {
    /// System calls, with commas between them.
    pub calls: &'static str,
    /// As strace writes it: `error=EIO`, or `retval=1024` for one that is not made and said to have succeeded.
    pub how: &'static str,
    /// The first one of a thread that it is done to; 1 is its first.
    pub from: usize,
    /// Also to each one after that.
    pub on: bool,
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let on = if self.on { " and all after it" } else { "" };
        write!(f, "{} for call {} of {}{on}", self.how, self.from, self.calls)
    }
}

/// One that runs; it is killed when this is dropped.
#[derive(Debug)]
pub struct Paper {
    process: Process,
    traced: Option<PathBuf>,
    door: PathBuf,
}

impl Paper {
    /// Starts it on `folder/state`, and waits for its door.
    ///
    /// # Errors
    /// There is no box: what it said.
    ///
    /// # Panics
    /// When it neither runs nor ends, or a program is missing.
    #[track_caller]
    pub fn start(folder: &Path, fault: Option<&Fault>) -> Result<Self, String> {
        let [state, door, traced] = ["state", "door", "traced"].map(|name| folder.join(name));
        for made in [&state, &door] {
            std::fs::create_dir_all(made).expect("a folder of ours can be made");
        }
        let _ = std::fs::remove_file(door.join("admin.sock"));
        // In a network of its own: it would ask for the admin page's port.
        let mut command = Command::new("unshare");
        command.args(["--net", "--"]);
        if let Some(fault) = fault {
            crate::lab::need("strace", "strace");
            let when = format!("{}{}", fault.from, if fault.on { "+" } else { "" });
            command.args(["strace", "--seccomp-bpf", "-f", "-qq", "-o"]).arg(&traced);
            command.arg("-e").arg(format!("trace={}", fault.calls));
            command.arg("-e").arg(format!("inject={}:{}:when={when}", fault.calls, fault.how));
            for file in FILES {
                let path = if file.is_empty() { state.clone() } else { state.join(file) };
                command.arg("-P").arg(path);
            }
        }
        command.arg(programs().join("postern-lab")).arg("paper").args([&state, &door]);
        let mut process = Process::start(command, "the daemon of paper", None);
        let socket = door.join("admin.sock");
        let open = wait::until(START, || {
            let ended = process.ended().is_some();
            let open = std::os::unix::net::UnixStream::connect(&socket).is_ok();
            (ended || open).then_some(open)
        });
        match open {
            Some(true) => Ok(Self { process, traced: fault.map(|_| traced), door }),
            Some(false) => Err(process.said()),
            None => panic!("it neither runs nor ends:\n{}", process.said()),
        }
    }

    /// Its owner, on the command line.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner::at(self.door.join("admin.sock"))
    }

    /// What it wrote.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.said()
    }

    /// Waits until it has ended by itself. False: it has not.
    pub fn wait_end(&mut self) -> bool {
        self.process.wait_end(wait::SOON).is_some()
    }

    /// Kills it, if it has not ended, as a crash would; how many calls the disk has refused.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn kill(mut self) -> usize {
        let Some(traced) = self.traced.take() else {
            self.process.kill();
            return 0;
        };
        if self.process.ended().is_none() {
            // Not strace, which writes down what it has seen when its child is gone.
            self.process.signal(Signal::KILL);
        }
        assert!(self.process.wait_end(wait::SOON).is_some(), "strace ends with its child");
        std::fs::read_to_string(traced).unwrap_or_default().matches("(INJECTED)").count()
    }
}
