//! Runs dhcpcd, the DHCPv6 client of the internet port, and hears which prefix was delegated.
//!
//! As udhcpc does, it calls us by another name ([`EVENT`]) at every event and sets nothing itself (`noconfigure`). It outlives our
//! daemon, whose lock it may inherit (`udhcpc.rs`): so the next daemon ends it ([`end_left_over`]) and starts another, which asks for the same prefix
//! (RFC 8415 section 18.2.12): it keeps lease and DUID (section 11) in [`KEPT`]. Ended by SIGTERM it releases nothing.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::{Access, access};

use super::hand::{self, Places, Program};
use super::process::{self, read, write};
use super::udhcpc::{boot, ring, seconds};
use super::{Error, Load};
use crate::log;
use crate::services::{Delegated, PrefixClient, Service};
use crate::settings::names::IfName;

/// The name by which dhcpcd calls us.
pub const EVENT: &str = "postern-dhcp6-event";

/// Debian and OpenWrt, merged `/usr` or not.
const PROGRAMS: [&str; 2] = ["/usr/sbin/dhcpcd", "/sbin/dhcpcd"];
/// Where dhcpcd writes its process number and sockets. It cannot be told otherwise.
const RUN: &str = "/run/dhcpcd";
/// Where it keeps its identity and its lease.
const KEPT: &str = "/var/lib/dhcpcd";

const DELEGATED: &str = "ipv6.prefix";
const UNUSABLE: &str = "ipv6.unusable";
const CONFIG: &str = "dhcpcd.conf";

/// The dhcpcd of this box that is ours.
#[derive(Debug)]
pub(super) struct Dhcpcd {
    /// Where the prefix is written; only we can write there.
    run: PathBuf,
    state: PathBuf,
    pid: PathBuf,
    /// Why the last start failed.
    failed: Mutex<Option<String>>,
}

impl Dhcpcd {
    /// Its files are made in `run` (gone at boot) and `state` (kept).
    pub(super) fn new(run: &Path, state: &Path) -> Self {
        Self { run: run.to_owned(), state: state.to_owned(), pid: pid(state), failed: Mutex::default() }
    }

    /// Makes it so. That it cannot is told by [`Self::served`] and keeps nobody from anything else: a home without IPv6 is better
    /// off than one without internet.
    pub(super) async fn serve(&self, wanted: Option<&PrefixClient>, how: Load) {
        if how == Load::Check {
            return;
        }
        let done = match (wanted, program()) {
            (Some(wanted), Some(_)) => self.run(wanted).await,
            _ => self.stop().await,
        };
        let words = done.err().map(|error| error.to_string());
        let mut failed = self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(words) = words.as_ref().filter(|words| failed.as_ref() != Some(words)) {
            log::warning(&format!("no IPv6 prefix is asked for: {words}"));
        }
        *failed = words;
    }

    /// What is true, what was delegated, and why the newest answer cannot be used.
    pub(super) fn served(
        &self,
        wanted: Option<&PrefixClient>,
    ) -> (Service, Option<Delegated>, Option<String>) {
        let Some(wanted) = wanted else { return (Service::Off, None, None) };
        let delegated = stored(&self.run).filter(|delegated| delegated.device == wanted.device);
        let failed = self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let unusable = read(&self.run.join(UNUSABLE)).ok().and_then(|words| String::from_utf8(words).ok());
        let service = match (program(), failed, running(&self.pid)) {
            (None, _, None) => Service::NotInstalled,
            (_, Some(words), _) => Service::Failed { words },
            (_, None, None) => Service::Failed { words: "dhcpcd has ended".to_owned() },
            (_, None, Some(_)) => Service::Running,
        };
        (service, delegated.and_then(|delegated| delegated.at(&boot(), seconds())), unusable)
    }

    async fn run(&self, wanted: &PrefixClient) -> Result<(), Error> {
        let (config, script) = (self.run.join(CONFIG), self.run.join(EVENT));
        let text = wanted.config();
        let same = read(&config).is_ok_and(|now| now == text.as_bytes());
        if same && running(&self.pid).is_some() {
            return Ok(());
        }
        self.stop_process().await?;
        let failed = |e: std::io::Error| Error::PrefixClient(e.to_string());
        for place in [RUN, KEPT] {
            // A service manager makes them; here only whoever runs the daemon by hand, as root, can.
            let _ = std::fs::create_dir_all(place);
            access(place, Access::WRITE_OK).map_err(|_| {
                Error::PrefixClient(format!("dhcpcd needs {place}, which may not be written"))
            })?;
        }
        match std::fs::remove_file(&script) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        if !same {
            // Of another port.
            self.forget();
        }
        let _ = std::fs::remove_file(self.run.join(UNUSABLE));
        write(&config, &text)?;
        std::os::unix::fs::symlink(std::env::current_exe().map_err(failed)?, &script).map_err(failed)?;
        let client = Program::Prefix { device: wanted.device.clone() };
        let places = Places { run: &self.run, state: &self.state };
        let started = hand::start(&client, places).await.map_err(failed)?;
        let number =
            started.number().ok_or_else(|| Error::PrefixClient("dhcpcd ended at its start".to_owned()))?;
        let began =
            began(number).ok_or_else(|| Error::PrefixClient("dhcpcd ended at its start".to_owned()))?;
        let noted = write(&self.pid, &format!("{number} {began}\n"));
        if noted.is_err() {
            // Nobody would ever end it.
            started.end_within(std::time::Duration::ZERO).await;
        }
        noted
    }

    async fn stop(&self) -> Result<(), Error> {
        self.stop_process().await?;
        self.forget();
        let _ = std::fs::remove_file(self.run.join(CONFIG));
        Ok(())
    }

    async fn stop_process(&self) -> Result<(), Error> {
        match running(&self.pid) {
            Some(process) if !process::end(&process).await => {
                Err(Error::PrefixClient("dhcpcd does not end".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn forget(&self) {
        for name in [DELEGATED, UNUSABLE] {
            let _ = std::fs::remove_file(self.run.join(name));
        }
    }
}

/// How it is called.
pub(super) fn words(places: Places<'_>, device: &IfName) -> Vec<String> {
    let path = |name: &str| places.run.join(name).display().to_string();
    vec!["-B".into(), "-f".into(), path(CONFIG), "-c".into(), path(EVENT), device.to_string()]
}

/// Ends the dhcpcd that a daemon of the past has left in `state`. Its prefix stays in force.
pub async fn end_left_over(state: &Path) {
    if let Some(process) = running(&pid(state))
        && !process::end(&process).await
    {
        log::warning("the DHCPv6 client of the last daemon does not end");
    }
}

/// What dhcpcd calls: `program` is the name we were called by, below which the files are; event and words are in the environment.
pub fn event(program: &Path) -> Result<(), String> {
    let run = program.parent().ok_or("called without a place")?;
    let word = |name: &str| std::env::var(name).ok();
    match word("reason").as_deref() {
        Some("BOUND6" | "RENEW6" | "REBIND6" | "REBOOT6") => match delegated(word) {
            Ok(delegated) => {
                let _ = std::fs::remove_file(run.join(UNUSABLE));
                let text = serde_json::to_string(&delegated).map_err(|e| e.to_string())?;
                write(&run.join(DELEGATED), &text).map_err(|e| e.to_string())?;
            }
            Err(why) => {
                let words = format!("the provider's answer cannot be used: {why}");
                write(&run.join(UNUSABLE), &words).map_err(|e| e.to_string())?;
            }
        },
        Some("EXPIRE6") => {
            let _ = std::fs::remove_file(run.join(DELEGATED));
        }
        // STOP6 among them, which it calls when it ends: what was delegated holds for its time.
        _ => return Ok(()),
    }
    ring(run)
}

fn delegated(word: impl Fn(&str) -> Option<String>) -> Result<Delegated, String> {
    let device = word("interface").and_then(|name| name.parse().ok()).ok_or("it names no port")?;
    Ok(Delegated { since: seconds(), boot: boot(), ..Delegated::read(device, word)? })
}

fn stored(run: &Path) -> Option<Delegated> {
    serde_json::from_slice(&read(&run.join(DELEGATED)).ok()?).ok()
}

/// The process of our pid file. dhcpcd writes over the words it was started with: so beside its number stands when it began,
/// which no later process of that number shares.
fn running(pid: &Path) -> Option<OwnedFd> {
    let text = String::from_utf8(read(pid).ok()?).ok()?;
    let (number, began_then) = text.trim().split_once(' ')?;
    let (process, _) = process::of(number)?;
    (began(number.parse().ok()?)?.to_string() == began_then).then_some(process)
}

/// When a process began, in clock ticks since the kernel's start: field 22 of /proc/PID/stat (proc(5)), counted from behind the
/// name, which may hold anything.
fn began(number: u32) -> Option<u64> {
    let text = read(Path::new(&format!("/proc/{number}/stat"))).ok()?;
    let text = String::from_utf8_lossy(&text).into_owned();
    text.rsplit_once(')')?.1.split_whitespace().nth(19)?.parse().ok()
}

fn pid(state: &Path) -> PathBuf {
    state.join("dhcpcd.pid")
}

pub(super) fn program() -> Option<&'static str> {
    PROGRAMS.into_iter().find(|place| Path::new(place).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_process_began_tells_it_from_another() {
        let own = std::process::id();
        assert!(began(own).unwrap() > 0 && began(own) == began(own));
        assert_eq!(began(u32::MAX), None);
    }
}
