//! Runs dnsmasq. It makes itself a daemon, so that DHCP and DNS outlive ours; the next one of ours finds it by its pid
//! file, and proves before every signal that this process is the one that file speaks of. Never by name.
//!
//! It inherits the three capabilities of ours (or of the [`hand`] that becomes it) as ambient ones, and closes every descriptor it was
//! not told of (dnsmasq.c, `close_fds`), the daemon's lock among them.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use super::hand::{self, Places, Program};
use super::process::{self, read, write};
use super::{Error, Load};
use crate::log;
use crate::services::{self, Lease, Service, leases};

/// Debian and OpenWrt, merged `/usr` or not.
const PROGRAMS: [&str; 3] = ["/usr/sbin/dnsmasq", "/sbin/dnsmasq", "/usr/bin/dnsmasq"];
/// A start reads three small files and opens a few sockets.
const PATIENCE: Duration = Duration::from_secs(10);

/// The dnsmasq of this box that is ours.
#[derive(Debug)]
pub(super) struct Dnsmasq {
    run: PathBuf,
    state: PathBuf,
    files: Files,
    /// This daemon has told it to read its files again: the last one may have died before it could.
    told: AtomicBool,
    /// Why the last start failed.
    failed: Mutex<Option<String>>,
}

impl Dnsmasq {
    /// Its files are made in `run` (gone at boot) and `state` (kept).
    pub(super) fn new(run: &Path, state: &Path) -> Self {
        Self {
            run: run.to_owned(),
            state: state.to_owned(),
            files: Files::of(Places { run, state }),
            told: AtomicBool::default(),
            failed: Mutex::default(),
        }
    }

    /// Makes it so, or leaves it as it was.
    pub(super) async fn serve(&self, wanted: Option<&services::Dnsmasq>, how: Load) -> Result<(), Error> {
        match (wanted, program()) {
            (Some(wanted), Some(program)) if how == Load::Check => self.check(program, wanted).await,
            _ if how == Load::Check => Ok(()),
            (Some(wanted), Some(program)) => {
                let done = self.run(program, wanted).await;
                let words = done.as_ref().err().map(ToString::to_string);
                *self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = words;
                done
            }
            _ => self.stop().await,
        }
    }

    /// What is true, and what it has lent.
    pub(super) fn served(&self, wanted: bool) -> (Service, Vec<Lease>) {
        let failed = self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let service = match (wanted, program(), failed, self.running()) {
            (false, ..) => Service::Off,
            (true, None, _, None) => Service::NotInstalled,
            // Also where one runs: it may be the last daemon's, found too late, with another configuration.
            (true, _, Some(words), _) => Service::Failed { words },
            (true, _, None, Some(_)) => Service::Running,
            (true, _, None, None) => Service::Failed { words: "dnsmasq has ended".to_owned() },
        };
        (service, leases::parse(&read(&self.files.leases).unwrap_or_default()))
    }

    async fn run(&self, program: &'static str, wanted: &services::Dnsmasq) -> Result<(), Error> {
        let running = self.running();
        let before = self.files();
        if running.is_some() && before.as_ref().is_some_and(|before| before.config == wanted.config) {
            if before.as_ref() == Some(wanted) && self.told.load(Relaxed) {
                return Ok(());
            }
            self.write(wanted)?;
            // Reservations and names anew; every lease stays.
            self.signal(Signal::HUP);
            self.told.store(true, Relaxed);
            return Ok(());
        }
        self.check(program, wanted).await?;
        self.stop().await?;
        let started = match self.write(wanted) {
            Ok(()) => self.start(program).await,
            Err(error) => Err(error),
        };
        let Err(error) = started else {
            self.told.store(true, Relaxed);
            return Ok(());
        };
        if let Some(before) = before.filter(|_| running.is_some()) {
            let back = match self.write(&before) {
                Ok(()) => self.start(program).await,
                Err(error) => Err(error),
            };
            if let Err(error) = back {
                log::incident(&error);
            }
        }
        Err(error)
    }

    /// Tries the text without using it.
    async fn check(&self, program: &'static str, wanted: &services::Dnsmasq) -> Result<(), Error> {
        let tried = self.files.config.with_extension("tried");
        write(&tried, &wanted.config)?;
        let done = execute(program, &["--test".to_owned(), option("conf-file", &tried)]).await;
        let _ = std::fs::remove_file(&tried);
        done
    }

    async fn start(&self, program: &'static str) -> Result<(), Error> {
        let places = Places { run: &self.run, state: &self.state };
        match hand::start_by_hand(&Program::Dnsmasq).await {
            Some(handed) => return self.came_up(handed.map_err(|e| Error::Service(e.to_string()))?).await,
            None => execute(program, &words(places)).await?,
        }
        match self.running() {
            Some(_) => Ok(()),
            None => Err(Error::Service("dnsmasq ended right after its start".to_owned())),
        }
    }

    /// One in the foreground tells by its pid file that it serves: it has its sockets before it writes that (dnsmasq.c, `main`).
    async fn came_up(&self, handed: hand::Handed) -> Result<(), Error> {
        let end = Instant::now() + PATIENCE;
        while self.running().is_none() {
            if handed.ended() || Instant::now() > end {
                let words = handed.last_words().await;
                let words = if words.trim().is_empty() { "dnsmasq did not come up" } else { &words };
                return Err(Error::Service(short(words)));
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    async fn stop(&self) -> Result<(), Error> {
        // Held until the end: dnsmasq removes its pid file first, and closes its sockets only then.
        match self.running() {
            Some(process) if !process::end(&process).await => {
                Err(Error::Service("dnsmasq does not end".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn signal(&self, signal: Signal) {
        if let Some(process) = self.running() {
            process::tell(&process, signal);
        }
    }

    fn running(&self) -> Option<OwnedFd> {
        process::running(&self.files.pid, &option("pid-file", &self.files.pid))
    }

    fn files(&self) -> Option<services::Dnsmasq> {
        let text = |path: &Path| String::from_utf8(read(path).ok()?).ok();
        Some(services::Dnsmasq {
            config: text(&self.files.config)?,
            reservations: text(&self.files.reservations)?,
            names: text(&self.files.names)?,
            // One of an older release was not told of such a file: it needs another start.
            servers: text(&self.files.servers)?,
        })
    }

    fn write(&self, wanted: &services::Dnsmasq) -> Result<(), Error> {
        write(&self.files.reservations, &wanted.reservations)?;
        write(&self.files.names, &wanted.names)?;
        write(&self.files.servers, &wanted.servers)?;
        write(&self.files.config, &wanted.config)
    }
}

/// What somebody else's program says, as one line.
fn short(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(300).collect()
}

/// Its files.
#[derive(Debug)]
struct Files {
    /// What it reads at its start; in a directory that only we can write.
    config: PathBuf,
    reservations: PathBuf,
    names: PathBuf,
    servers: PathBuf,
    /// Beside the leases, and not beside the configuration: it must outlive a `/run` that is cleared under us.
    pid: PathBuf,
    leases: PathBuf,
}

impl Files {
    fn of(Places { run, state }: Places<'_>) -> Self {
        Self {
            config: run.join("dnsmasq.conf"),
            reservations: run.join("dnsmasq.reservations"),
            names: run.join("dnsmasq.names"),
            servers: run.join("dnsmasq.servers"),
            pid: state.join("dnsmasq.pid"),
            leases: state.join("dnsmasq.leases"),
        }
    }
}

/// Ends the dnsmasq that a daemon of the past has left in `state`.
pub async fn end_left_over(state: &Path) {
    let pid = Files::of(Places { run: state, state }).pid;
    if let Some(process) = process::running(&pid, &option("pid-file", &pid))
        && !process::end(&process).await
    {
        log::warning("the dnsmasq of the last daemon does not end");
    }
}

/// How it is called.
pub(super) fn words(places: Places<'_>) -> [String; 6] {
    let files = Files::of(places);
    [
        option("conf-file", &files.config),
        option("pid-file", &files.pid),
        option("dhcp-leasefile", &files.leases),
        option("dhcp-hostsfile", &files.reservations),
        option("addn-hosts", &files.names),
        option("servers-file", &files.servers),
    ]
}

pub(super) fn program() -> Option<&'static str> {
    PROGRAMS.into_iter().find(|place| Path::new(place).exists())
}

fn option(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

/// Runs it until it has ended, or has become a daemon; its own words where it refused.
async fn execute(program: &str, arguments: &[String]) -> Result<(), Error> {
    let child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(|e| Error::Service(e.to_string()))?;
    let output = match timeout(PATIENCE, child.wait_with_output()).await {
        Ok(output) => output.map_err(|e| Error::Service(e.to_string()))?,
        Err(_) => return Err(Error::Service("dnsmasq did not come up in time".to_owned())),
    };
    if output.status.success() {
        return Ok(());
    }
    let words = short(&String::from_utf8_lossy(&output.stderr));
    Err(Error::Service(if words.is_empty() { output.status.to_string() } else { words }))
}
