//! The root unit: reads what the daemon wants, and runs pppd for it, one pppd for each attempt.

use std::fs::{DirBuilder, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use super::super::process::{self, write};
use super::{DIRECTORY, DOWN, LEASE, LOCK, LOOK, STATE, Told, UP, WANTED, publish};
use crate::log;
use crate::services::{Pppoe, PppoeFailure};

/// Debian and OpenWrt, merged `/usr` or not.
const PROGRAMS: [&str; 2] = ["/usr/sbin/pppd", "/sbin/pppd"];
/// Its PPPoE plugin: the name since 2.4.9, and the one before.
const PLUGINS: [&str; 2] = ["pppoe.so", "rp-pppoe.so"];
/// Below here each version of pppd has a folder of plugins.
const PLUGIN_FOLDERS: [&str; 3] = ["/usr/lib/pppd", "/usr/lib64/pppd", "/lib/pppd"];

/// What is wanted has no more bytes than this.
const MOST: u64 = 4096;
/// Between two attempts.
const PAUSE: Duration = Duration::from_secs(5);
/// After the provider refused the account: many lock one that is tried too often.
const LONG_PAUSE: Duration = Duration::from_secs(30);
/// So many lines of what pppd said are kept, of so many bytes in all.
const LINES: usize = 40;
const BYTES: u64 = 64 << 10;

/// Runs until a signal ends it, and the session with it. `services`: where the daemon writes what it wants.
pub async fn run(services: &Path) -> Result<(), String> {
    if !rustix::process::geteuid().is_root() {
        return Err("postern: PPPoE needs root: pppd opens /dev/ppp and makes a device".to_owned());
    }
    // Before the first file: pppd's options hold the password.
    rustix::process::umask(Mode::from_raw_mode(0o077));
    let _alone = own_folder()?;
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return Err("postern: signals cannot be heard".to_owned());
    };
    let mut unit = Unit { wanted: services.join(WANTED), call: None, tried: None, due: Instant::now() };
    unit.end_left_over().await;
    loop {
        tokio::select! {
            _ = term.recv() => break,
            _ = int.recv() => break,
            () = sleep(LOOK) => {}
        }
        unit.look().await;
    }
    unit.hang_up().await;
    Ok(())
}

/// Makes the folder of our files, if it is not there, and holds its lock.
fn own_folder() -> Result<OwnedFd, String> {
    let failed = |e: std::io::Error| format!("postern: {DIRECTORY}: {e}");
    let made = DirBuilder::new().recursive(true).mode(0o755).create(DIRECTORY);
    made.map_err(failed)?;
    std::fs::set_permissions(DIRECTORY, std::os::unix::fs::PermissionsExt::from_mode(0o755))
        .map_err(failed)?;
    let is = std::fs::symlink_metadata(DIRECTORY).map_err(failed)?;
    if !is.is_dir() || is.uid() != 0 || is.mode() & 0o022 != 0 {
        return Err(format!("postern: {DIRECTORY} is not a folder that only root can write"));
    }
    let path = Path::new(DIRECTORY).join(LOCK);
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let lock = rustix::fs::open(&path, flags, Mode::from_raw_mode(0o644)).map_err(|e| failed(e.into()))?;
    // The daemon looks whether somebody holds it, which takes it for a moment; so it is waited for, and asked for again.
    rustix::fs::fchmod(&lock, Mode::from_raw_mode(0o644)).map_err(|e| failed(e.into()))?;
    let end = Instant::now() + Duration::from_secs(3);
    while flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() > end {
            return Err("postern: another postern pppoe is running".to_owned());
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(lock)
}

/// A pppd that runs.
struct Call {
    wanted: Pppoe,
    child: Child,
    said: Arc<Mutex<Vec<String>>>,
}

struct Unit {
    wanted: PathBuf,
    call: Option<Call>,
    /// What the last attempt was for: what is wanted anew is tried at once.
    tried: Option<Pppoe>,
    /// No attempt before.
    due: Instant,
}

impl Unit {
    async fn look(&mut self) {
        let wanted = asked(&self.wanted);
        if let Some(call) = &mut self.call {
            match call.child.try_wait() {
                Ok(Some(status)) => {
                    let failure = failure(call, status.code());
                    self.ended(failure);
                }
                _ if wanted.as_ref() != Some(&call.wanted) => {
                    self.hang_up().await;
                }
                _ => {}
            }
        }
        match wanted {
            Some(wanted)
                if self.call.is_none()
                    && (self.tried.as_ref() != Some(&wanted) || Instant::now() >= self.due) =>
            {
                self.tried = Some(wanted.clone());
                if let Err(why) = self.start(wanted) {
                    self.ended(why);
                }
            }
            Some(_) => {}
            None if self.tried.take().is_some() => {
                drop(std::fs::remove_file(Path::new(DIRECTORY).join(STATE)))
            }
            None => {}
        }
    }

    fn start(&mut self, wanted: Pppoe) -> Result<(), PppoeFailure> {
        let other = |words: String| PppoeFailure::Other { words };
        let program = PROGRAMS.into_iter().find(|place| Path::new(place).exists());
        let (Some(program), Some(plugin)) = (program, plugin()) else {
            return Err(PppoeFailure::NotInstalled);
        };
        let folder = Path::new(DIRECTORY);
        let (up, down, options) = (folder.join(UP), folder.join(DOWN), options());
        for name in [&up, &down] {
            let _ = std::fs::remove_file(name);
            let own = std::env::current_exe().map_err(|e| other(e.to_string()))?;
            symlink(own, name).map_err(|e| other(e.to_string()))?;
        }
        write(&options, &wanted.options(plugin, &up, &down)).map_err(|e| other(e.to_string()))?;
        let mut child = Command::new(program)
            .arg("file")
            .arg(&options)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(|e| other(e.to_string()))?;
        // So that the next unit finds it, should we be killed.
        if let Some(number) = child.id() {
            write(&pid(), &number.to_string()).map_err(|e| other(e.to_string()))?;
        }
        let said = Arc::default();
        hear(child.stdout.take(), &said);
        hear(child.stderr.take(), &said);
        self.call = Some(Call { wanted, child, said });
        Ok(())
    }

    /// After an attempt.
    fn ended(&mut self, why: PppoeFailure) {
        self.call = None;
        forget();
        self.due = Instant::now() + if why == PppoeFailure::Refused { LONG_PAUSE } else { PAUSE };
        log::warning(&format!("the PPPoE session has ended: {why:?}"));
        let told = Told { failed: Some(why), unusable: None };
        if let Err(error) = publish(&Path::new(DIRECTORY).join(STATE), &told) {
            log::warning(&error);
        }
    }

    /// Ends the session in good order: the provider is told.
    async fn hang_up(&mut self) {
        let Some(mut call) = self.call.take() else { return };
        if let Some((process, _)) = process::found(&pid())
            && !process::end(&process).await
        {
            log::warning("pppd does not end");
        }
        let _ = call.child.try_wait();
        forget();
        let _ = std::fs::remove_file(Path::new(DIRECTORY).join(STATE));
    }

    /// The pppd of a unit that was killed.
    async fn end_left_over(&self) {
        let options = options().display().to_string();
        if let Some((process, words)) = process::found(&pid())
            && words.contains(&options)
        {
            process::end(&process).await;
        }
        forget();
        let _ = std::fs::remove_file(Path::new(DIRECTORY).join(STATE));
    }
}

fn failure(call: &Call, status: Option<i32>) -> PppoeFailure {
    PppoeFailure::of(status, &call.said.lock().unwrap_or_else(PoisonError::into_inner))
}

/// What the daemon wants, if that reads as it must. The daemon's user can put anything there, so nothing of it is shown, no link
/// is followed and nothing is waited for.
fn asked(path: &Path) -> Option<Pppoe> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = File::from(rustix::fs::open(path, flags, Mode::empty()).ok()?);
    let is = file.metadata().ok()?;
    if !is.is_file() || is.len() > MOST {
        return None;
    }
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes).ok()?;
    serde_json::from_slice(&bytes).ok()
}

fn forget() {
    for path in [Path::new(DIRECTORY).join(LEASE), options(), pid()] {
        let _ = std::fs::remove_file(path);
    }
}

fn options() -> PathBuf {
    Path::new(DIRECTORY).join("pppd.options")
}

fn pid() -> PathBuf {
    Path::new(DIRECTORY).join("pppd.pid")
}

fn plugin() -> Option<&'static str> {
    let versions =
        PLUGIN_FOLDERS.into_iter().filter_map(|folder| std::fs::read_dir(folder).ok()).flatten().flatten();
    let folders: Vec<PathBuf> = versions.map(|version| version.path()).collect();
    PLUGINS.into_iter().find(|name| folders.iter().any(|folder| folder.join(name).exists()))
}

/// Keeps what pppd says, as long as it is not too much; reads on in any case, so that pppd never waits for us.
fn hear(from: Option<impl AsyncRead + Unpin + Send + 'static>, said: &Arc<Mutex<Vec<String>>>) {
    let (Some(from), said) = (from, said.clone()) else { return };
    tokio::spawn(async move {
        let mut from = BufReader::new(from);
        loop {
            let mut line = Vec::new();
            match (&mut from).take(BYTES).read_until(b'\n', &mut line).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
            let mut line = String::from_utf8_lossy(&line).into_owned();
            line.retain(|c| !c.is_control());
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            if said.len() == LINES {
                said.remove(0);
            }
            said.push(line);
        }
    });
}
