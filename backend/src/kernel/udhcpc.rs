//! Runs udhcpc, the DHCP client of the internet port, and hears what it was lent.
//!
//! It calls a program at every event. That program is we, by another name ([`EVENT`]): no shell ever sees a word of a
//! lease. [`event`] reads the words as addresses, writes what it understood to a file that only our uid can write, and
//! rings a bell; the daemon reads the file. udhcpc sets no address itself: the daemon does.
//!
//! It outlives our daemon, so that the lease is renewed meanwhile. Started by the daemon itself ([`hand`]) it inherits its lock
//! (`daemon.rs`), so the next daemon ends it before it waits for that ([`end_left_over`]) and starts another, which asks for the same
//! address.

use std::ffi::OsStr;
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use rustix::time::{ClockId, clock_gettime};
use tokio::net::UnixDatagram;
use tokio::time::sleep;

use super::hand::{self, Places, Program};
use super::process::{self, read, write};
use super::{Error, Load};
use crate::log;
use crate::services::{DhcpClient, InternetLease, Served, Service};
use crate::settings::names::{IfName, Mac};

/// The name by which udhcpc calls us.
pub const EVENT: &str = "postern-dhcp-event";

/// Debian and OpenWrt, merged `/usr` or not.
const PROGRAMS: [&str; 2] = ["/usr/sbin/udhcpc", "/sbin/udhcpc"];
/// Until it has written its pid file.
const PATIENCE: Duration = Duration::from_secs(5);

/// A lease that the server has taken back is kept for so many seconds at most: as a rule it lends another at once, and the
/// port shall not be without an address in between.
const GRACE: u64 = 6;

/// So long a port is asked for a server.
const OFFER: Duration = Duration::from_secs(8);

const LEASE: &str = "internet.lease";
/// Why the newest answer of a server was not used.
const UNUSABLE: &str = "internet.unusable";
/// udhcpc calls `deconfig` at its start too; that must not take an address away that still holds.
const STARTING: &str = "internet.starting";
const BELL: &str = "internet.bell";

/// The udhcpc of this box that is ours.
#[derive(Debug)]
pub(super) struct Udhcpc {
    /// Where the lease is written; only we can write there.
    run: PathBuf,
    state: PathBuf,
    pid: PathBuf,
    bell: Option<UnixDatagram>,
    /// Why the last start failed.
    failed: Mutex<Option<String>>,
}

impl Udhcpc {
    /// Its files are made in `run` (gone at boot) and `state` (kept).
    pub(super) fn new(run: &Path, state: &Path) -> Self {
        let made = std::fs::create_dir_all(run).and_then(|()| {
            let path = run.join(BELL);
            match std::fs::remove_file(&path) {
                Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
                _ => {}
            }
            UnixDatagram::bind(path)
        });
        if let Err(error) = &made {
            log::warning(&format!("a new lease will be noticed late: {}: {error}", run.join(BELL).display()));
        }
        let (run, state, pid) = (run.to_owned(), state.to_owned(), pid(state));
        Self { run, state, pid, bell: made.ok(), failed: Mutex::default() }
    }

    /// Waits until a lease has come or gone.
    pub(super) async fn changed(&self) {
        let heard = match &self.bell {
            Some(bell) => bell.recv(&mut [0; 1]).await.is_ok(),
            None => false,
        };
        if !heard {
            std::future::pending::<()>().await;
        }
    }

    /// Makes it so. There is nothing to try.
    pub(super) async fn serve(&self, wanted: Option<&DhcpClient>, how: Load) -> Result<(), Error> {
        if how == Load::Check {
            return Ok(());
        }
        let done = match (wanted, program()) {
            (Some(wanted), Some(_)) => self.run(wanted).await,
            _ => self.stop().await,
        };
        let words = done.as_ref().err().map(ToString::to_string);
        *self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = words;
        done
    }

    /// What is true, and what it was lent.
    pub(super) fn served(&self, wanted: Option<&DhcpClient>) -> Served {
        let now = seconds();
        let Some(wanted) = wanted else { return Served { now, ..Served::default() } };
        let lease = self.lease().filter(|lease| lease.device == wanted.device && lease.holds(&boot(), now));
        let failed = self.failed.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clone();
        let unusable = read(&self.run.join(UNUSABLE)).ok().and_then(|words| String::from_utf8(words).ok());
        let dhcp_client = match (program(), failed, self.running()) {
            (None, _, None) => Service::NotInstalled,
            (_, _, None) => Service::Failed { words: "udhcpc has ended".to_owned() },
            (_, Some(words), _) => Service::Failed { words },
            (_, None, Some(_)) => Service::Running,
        };
        Served { dhcp_client, internet_lease: lease, unusable, now, ..Served::default() }
    }

    /// What is lent on these ports, where somebody lends. A client each, which asks for seconds and ends.
    pub(super) async fn offers(&self, devices: &[IfName]) -> Result<Vec<InternetLease>, Error> {
        if program().is_none() {
            return Err(Error::DhcpClient("udhcpc is not installed".to_owned()));
        }
        let clients = devices.iter().map(|device| self.offer(device));
        let offers = futures_util::future::join_all(clients).await;
        // One that failed is not "nobody lends there": the guess which port is the internet would be wrong.
        let offers: Vec<Option<InternetLease>> = offers.into_iter().collect::<Result<_, _>>()?;
        Ok(offers.into_iter().flatten().collect())
    }

    async fn offer(&self, device: &IfName) -> Result<Option<InternetLease>, Error> {
        let failed = |e: std::io::Error| Error::DhcpClient(e.to_string());
        let run = offered(&self.run, device);
        let _ = std::fs::remove_dir_all(&run);
        std::fs::create_dir_all(&run).map_err(failed)?;
        let script = run.join(EVENT);
        std::os::unix::fs::symlink(std::env::current_exe().map_err(failed)?, &script).map_err(failed)?;
        write(&run.join(STARTING), "")?;
        let client = Program::Offer { device: device.clone() };
        // One that hangs says nothing.
        hand::start(&client, self.places()).await.map_err(failed)?.end_within(OFFER).await;
        let lease = stored(&run);
        let _ = std::fs::remove_dir_all(&run);
        Ok(lease)
    }

    /// As if udhcpc had been lent this.
    pub(super) fn adopt(&self, lease: &InternetLease) -> Result<(), Error> {
        let text = serde_json::to_string(lease).map_err(|e| Error::DhcpClient(e.to_string()))?;
        write(&self.run.join(LEASE), &text)
    }

    /// Asks for the address again: the cable was out.
    pub(super) fn renew(&self) {
        if let Some((process, _)) = self.running() {
            process::tell(&process, Signal::USR1);
        }
    }

    async fn run(&self, wanted: &DhcpClient) -> Result<(), Error> {
        let known = self.lease().filter(|lease| lease.device == wanted.device);
        // The address to ask for depends on when it was started, and tells nothing of what is wanted.
        let arguments = words(self.places(), &wanted.device, wanted.mac, None);
        let same = |words: &[String]| words.get(1..=arguments.len()) == Some(&arguments);
        if self.running().is_some_and(|(_, words)| same(&words)) {
            return Ok(());
        }
        self.stop_process().await?;
        let failed = |e: std::io::Error| Error::DhcpClient(e.to_string());
        let script = self.run.join(EVENT);
        match std::fs::remove_file(&script) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(failed(e)),
            _ => {}
        }
        std::os::unix::fs::symlink(std::env::current_exe().map_err(failed)?, &script).map_err(failed)?;
        if known.is_none() {
            // Of another port.
            self.forget();
        }
        let _ = std::fs::remove_file(self.run.join(UNUSABLE));
        write(&self.run.join(STARTING), "")?;
        let address = known.map(|lease| lease.address.address());
        let client = Program::Lease { device: wanted.device.clone(), mac: wanted.mac, address };
        let started = hand::start(&client, self.places()).await.map_err(failed)?;
        let end = Instant::now() + PATIENCE;
        while self.running().is_none() {
            if Instant::now() > end {
                // It may run all the same, and only its number could not be written: nobody would ever end it.
                started.end_within(Duration::ZERO).await;
                return Err(Error::DhcpClient("udhcpc did not come up".to_owned()));
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    fn places(&self) -> Places<'_> {
        Places { run: &self.run, state: &self.state }
    }

    async fn stop(&self) -> Result<(), Error> {
        self.stop_process().await?;
        self.forget();
        Ok(())
    }

    async fn stop_process(&self) -> Result<(), Error> {
        match self.running() {
            Some((process, _)) if !process::end(&process).await => {
                Err(Error::DhcpClient("udhcpc does not end".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn running(&self) -> Option<(std::os::fd::OwnedFd, Vec<String>)> {
        process::found(&self.pid).filter(|(_, words)| ours(words, &self.pid))
    }

    fn lease(&self) -> Option<InternetLease> {
        stored(&self.run)
    }

    fn forget(&self) {
        for name in [LEASE, UNUSABLE, STARTING] {
            let _ = std::fs::remove_file(self.run.join(name));
        }
    }
}

/// How the client is called that keeps an address. The one to ask for comes last.
pub(super) fn words(
    places: Places<'_>,
    device: &IfName,
    mac: Option<Mac>,
    address: Option<Ipv4Addr>,
) -> Vec<String> {
    let path = |path: &Path| path.display().to_string();
    let (script, pid) = (path(&places.run.join(EVENT)), path(&pid(places.state)));
    let mut words = vec!["-f", "-i", device.as_str(), "-s", &script, "-p", &pid];
    // Four questions two seconds apart, then a pause of ten.
    words.extend(["-t", "4", "-T", "2", "-A", "10"]);
    // Nothing but what is used: no routes, no domain, no boot file.
    words.extend(["-o", "-O", "subnet", "-O", "router", "-O", "dns", "-O", "lease"]);
    let mut words: Vec<String> = words.into_iter().map(str::to_owned).collect();
    if let Some(mac) = mac {
        let digits: String = mac.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        words.extend(["-x".to_owned(), format!("0x3d:01{digits}")]);
    }
    if let Some(address) = address {
        words.extend(["-r".to_owned(), address.to_string()]);
    }
    words
}

/// How the client is called that asks who lends: three times, and it sets nothing.
pub(super) fn offer_words(places: Places<'_>, device: &IfName) -> Vec<String> {
    let mut words: Vec<String> =
        ["-f", "-q", "-n", "-t", "3", "-T", "1", "-o", "-O", "subnet", "-O", "router", "-O", "lease"]
            .map(str::to_owned)
            .to_vec();
    let script = offered(places.run, device).join(EVENT).display().to_string();
    words.extend(["-i".to_owned(), device.to_string(), "-s".to_owned(), script]);
    words
}

/// Where such a client writes what it was offered.
fn offered(run: &Path, device: &IfName) -> PathBuf {
    run.join(format!("offer-{device}"))
}

/// Ends the udhcpc that a daemon of the past has left in `state`. Its lease stays in force.
pub async fn end_left_over(state: &Path) {
    let pid = pid(state);
    if let Some((process, _)) = process::found(&pid).filter(|(_, words)| ours(words, &pid))
        && !process::end(&process).await
    {
        log::warning("the DHCP client of the last daemon does not end");
    }
}

/// What udhcpc calls: `program` is the name we were called by, below which the files are; `what` the event; the words of
/// the lease are in the environment.
pub fn event(program: &Path, what: &OsStr) -> Result<(), String> {
    let run = program.parent().ok_or("called without a place")?;
    let remove = |name: &str| std::fs::remove_file(run.join(name)).is_ok();
    match what.to_str() {
        Some("bound" | "renew") => match lent(run) {
            Ok(lease) => {
                remove(UNUSABLE);
                let text = serde_json::to_string(&lease).map_err(|e| e.to_string())?;
                write(&run.join(LEASE), &text).map_err(|e| e.to_string())?;
            }
            Err(why) => {
                let words = format!("the provider's answer cannot be used: {why}");
                write(&run.join(UNUSABLE), &words).map_err(|e| e.to_string())?;
            }
        },
        Some("deconfig") if !remove(STARTING) => {
            if let Some(mut lease) = stored(run) {
                lease.end_by(seconds() + GRACE);
                let text = serde_json::to_string(&lease).map_err(|e| e.to_string())?;
                write(&run.join(LEASE), &text).map_err(|e| e.to_string())?;
            }
        }
        _ => {}
    }
    ring(run)
}

/// Wakes the daemon, which looks every few seconds in any case.
pub(super) fn ring(run: &Path) -> Result<(), String> {
    let bell = std::os::unix::net::UnixDatagram::unbound().map_err(|e| e.to_string())?;
    let _ = bell.send_to(&[0], run.join(BELL));
    Ok(())
}

fn stored(run: &Path) -> Option<InternetLease> {
    serde_json::from_slice(&read(&run.join(LEASE)).ok()?).ok()
}

fn lent(run: &Path) -> Result<InternetLease, String> {
    let word = |name: &str| std::env::var(name).ok();
    let device = word("interface").and_then(|name| name.parse().ok()).ok_or("it names no port")?;
    let mut lease = InternetLease::read(device, word)?;
    (lease.since, lease.boot) = (seconds(), boot());
    let same = |b: &InternetLease| b.address == lease.address && b.holds(&lease.boot, lease.since);
    lease.first = stored(run).filter(same).map_or(lease.since, |before| before.first);
    Ok(lease)
}

/// Whether these are the words that one of ours was started with.
fn ours(words: &[String], pid: &Path) -> bool {
    words.windows(2).any(|pair| pair[0] == "-p" && Path::new(&pair[1]) == pid)
}

fn pid(state: &Path) -> PathBuf {
    state.join("udhcpc.pid")
}

pub(super) fn program() -> Option<&'static str> {
    PROGRAMS.into_iter().find(|place| Path::new(place).exists())
}

pub(super) fn seconds() -> u64 {
    clock_gettime(ClockId::Boottime).tv_sec.try_into().unwrap_or(0)
}

pub(super) fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}
