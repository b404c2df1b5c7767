//! The PPPoE session, which pppd holds. pppd needs root and the daemon has none, so it lives in a service of its own
//! ([`run`]), the only part of Postern that is root. The daemon writes what it wants, as typed values, where only it can write
//! (`WANTED`); the unit reads that, runs pppd, and writes how it is where only root can write
//! ([`DIRECTORY`]). Neither starts nor signals the other, and the session outlives the daemon.

mod unit;

use std::ffi::OsString;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use rustix::net::{AddressFamily, SocketType, netdevice, socket};
use serde::{Deserialize, Serialize};
use tokio::time::sleep;

use super::process::{read, write};
use super::udhcpc::{boot, seconds};
use super::{Error, Load};
use crate::services::{InternetLease, Pppoe, PppoeFailure, PppoeState, Served};
use crate::settings::names::IfName;

pub use unit::run;

/// Where the unit's own files are. Only root can write there; the daemon reads.
pub const DIRECTORY: &str = "/run/postern-pppoe";
/// The names by which pppd calls us.
pub const UP: &str = "postern-ppp-up";
/// See [`UP`].
pub const DOWN: &str = "postern-ppp-down";

/// What is wanted, in the directory of the daemon's services.
const WANTED: &str = "pppoe.json";
const LEASE: &str = "lease.json";
const STATE: &str = "state.json";
const LOCK: &str = "lock";

/// So often the other side's files are looked at, and only while PPPoE is wanted.
const LOOK: Duration = Duration::from_millis(500);

/// What the unit tells of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
struct Told {
    /// Why the last attempt failed, until one succeeds.
    failed: Option<PppoeFailure>,
    /// Why the addresses that came cannot be used.
    unusable: Option<String>,
}

/// The daemon's side.
#[derive(Debug)]
pub(super) struct Session {
    wanted: PathBuf,
}

impl Session {
    /// What is wanted is written in `services`.
    pub(super) fn new(services: &Path) -> Self {
        Self { wanted: services.join(WANTED) }
    }

    /// Tells the unit what is wanted. There is nothing to try.
    pub(super) fn serve(&self, wanted: Option<&Pppoe>, how: Load) -> Result<(), Error> {
        let Some(wanted) = wanted.filter(|_| how == Load::Commit) else {
            return match std::fs::remove_file(&self.wanted) {
                _ if how == Load::Check => Ok(()),
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(Error::Service(e.to_string())),
                _ => Ok(()),
            };
        };
        let text = serde_json::to_string(wanted).map_err(|e| Error::Service(e.to_string()))?;
        if read(&self.wanted).is_ok_and(|is| is == text.as_bytes()) {
            return Ok(());
        }
        write(&self.wanted, &text)
    }

    /// What is true.
    pub(super) fn served(&self) -> Served {
        let (now, folder) = (seconds(), Path::new(DIRECTORY));
        let there = |lease: &InternetLease| lease.holds(&boot(), now) && exists(&lease.device);
        let lease = json::<InternetLease>(&folder.join(LEASE)).filter(there);
        let told: Told = json(&folder.join(STATE)).unwrap_or_default();
        let state = match (locked(&folder.join(LOCK)), &lease, told.failed) {
            (false, ..) => PppoeState::NotRunning,
            (_, Some(_), _) => PppoeState::Up,
            (_, None, Some(why)) => PppoeState::Failed { why },
            (_, None, None) => PppoeState::Asking,
        };
        Served {
            pppoe: Some(state),
            internet_lease: lease,
            unusable: told.unusable,
            now,
            ..Served::default()
        }
    }

    /// Waits until the unit has written something else. Only while a session is wanted.
    pub(super) async fn changed(&self) {
        let age = || -> [Option<SystemTime>; 2] {
            [LEASE, STATE].map(|name| {
                std::fs::metadata(Path::new(DIRECTORY).join(name)).and_then(|m| m.modified()).ok()
            })
        };
        let before = age();
        loop {
            sleep(LOOK).await;
            if self.wanted.exists() && age() != before {
                return;
            }
        }
    }
}

/// What pppd calls: `program` is the name we were called by, beside which the files are; the words are the device, its line and
/// speed, our address and the other end's (pppd(8), SCRIPTS), the name servers are in the environment.
pub fn event(program: &Path, words: &[OsString]) -> Result<(), String> {
    let folder = program.parent().ok_or("called without a place")?;
    let device = IfName::pppoe();
    if words.first().is_none_or(|name| name.as_os_str() != device.as_str()) {
        return Err("called for another device".to_owned());
    }
    if program.file_name() == Some(DOWN.as_ref()) {
        let _ = std::fs::remove_file(folder.join(LEASE));
        return Ok(());
    }
    let given = |at: usize| words.get(at)?.clone().into_string().ok();
    let word = |name: &str| match name {
        "ip" => given(3),
        "router" => given(4),
        "dns" => Some(["DNS1", "DNS2"].map(|name| std::env::var(name).unwrap_or_default()).join(" ")),
        // Until the session ends.
        "lease" => Some(u32::MAX.to_string()),
        _ => None,
    };
    let told = match InternetLease::read(device, word) {
        Ok(mut lease) => {
            (lease.since, lease.first, lease.boot) = (seconds(), seconds(), boot());
            publish(&folder.join(LEASE), &lease)?;
            Told::default()
        }
        Err(why) => {
            Told { unusable: Some(format!("the provider's answer cannot be used: {why}")), failed: None }
        }
    };
    publish(&folder.join(STATE), &told)
}

/// Whether a device of this name is there.
fn exists(device: &IfName) -> bool {
    // Any socket answers for every device (netdevice(7)); the daemon may have no other kind.
    let asked = socket(AddressFamily::UNIX, SocketType::DGRAM, None);
    asked.is_ok_and(|socket| netdevice::name_to_index(&socket, device.as_str()).is_ok())
}

/// Whether somebody holds this lock.
fn locked(path: &Path) -> bool {
    let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty());
    file.is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
}

fn json<T: for<'de> Deserialize<'de>>(path: &Path) -> Option<T> {
    serde_json::from_slice(&read(path).ok()?).ok()
}

/// All of it or nothing, for everybody to read: addresses are no secret on their own box.
fn publish(path: &Path, what: &impl Serialize) -> Result<(), String> {
    let text = serde_json::to_string(what).map_err(|e| e.to_string())?;
    let beside = path.with_extension("new");
    let whole = || {
        let mut file =
            std::fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o644).open(&beside)?;
        std::io::Write::write_all(&mut file, text.as_bytes())?;
        // Whatever the umask is that pppd gave us.
        file.set_permissions(std::fs::Permissions::from_mode(0o644))?;
        std::fs::rename(&beside, path)
    };
    whole().map_err(|e: std::io::Error| format!("{}: {e}", path.display()))
}
