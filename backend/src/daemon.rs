//! The daemon: opens the store, makes the kernel do what it says, and answers at the door until told to end.

use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::appliance::{Appliance, Folders, Options, TRIAL, memory, reset};
use crate::certificate::Certificates;
use crate::door::server::{Ended, Server};
use crate::journal::{By, JournalKind};
use crate::kernel::hand::PROGRAMS;
use crate::kernel::linux::Linux;
use crate::kernel::{Kernel, Load, dhcpcd, dnsmasq, udhcpc};
use crate::log;
use crate::login::Logins;
use crate::ruleset;
use crate::settings::{Role, Settings};
use crate::sides::files::Places;
use crate::store::{self, FILE, Store, beside_others};
use rustix::fs::{FlockOperation, Mode, OFlags};
use tokio::signal::unix::{SignalKind, signal};

/// User and group of the web process.
const WEB_GROUP: &str = "postern-web";
/// Where the PPPoE unit is told what is wanted, in the directory of the door.
pub const SERVICES: &str = "services";
/// A commit takes 20 ms; a box that is short of everything may need seconds.
const LAST_COMMIT: Duration = Duration::from_secs(10);

/// Runs until `postern stop`, or until a signal ends it. A signal leaves the rules in the kernel: an upgrade or a restart
/// must not be felt in the network.
pub async fn run(state: &Path, door: &Path) -> Result<Ended, String> {
    // What we create is ours alone unless we say otherwise: the store holds the password's hash.
    rustix::process::umask(Mode::from_raw_mode(0o077));
    // The programs that we start run in the root directory.
    let absolute = |path: &Path| std::path::absolute(path).map_err(|e| format!("{}: {e}", path.display()));
    let (state, door) = (&absolute(state)?, &absolute(door)?);
    let make = |dir: &Path, mode| {
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(mode)
            .create(dir)
            .map_err(|e| format!("cannot make {}: {e}", dir.display()))
    };
    make(state, 0o700)?;
    make(door, 0o755)?;
    let (run, kept) = (door.join(PROGRAMS), state.join(PROGRAMS));
    for folder in [&door.join(SERVICES), &run, &kept] {
        // A full disk keeps dnsmasq from starting, and not the daemon.
        if let Err(why) = make(folder, 0o700) {
            log::warning(&why);
        }
    }
    move_in(state, door).await;
    udhcpc::end_left_over(&kept).await;
    dhcpcd::end_left_over(&kept).await;
    let _alone = alone(state).await;
    let folders = Folders { state: state.clone(), services: door.join(SERVICES), programs: run.clone() };
    let linux = || Linux::with_services(&folders.services, &run, &kept);
    if reset::decided(&folders) {
        log::warning("the last daemon was resetting this box when it ended; that goes on now");
        reset::forget(&linux(), &folders).await;
    }
    let kernel = linux();
    let (store, appliance) = match open(&folders, kernel).await {
        Ok(both) => both,
        Err(why) => {
            deny_unless_ours(state).await;
            return Err(why);
        }
    };
    let appliance = Arc::new(appliance);
    let journal = appliance.journal().clone();
    journal.note(JournalKind::Daemon, By::POSTERN, concat!("started, version ", env!("CARGO_PKG_VERSION")));
    if let Some(notice) = &store.condition().notice {
        journal.note(JournalKind::Daemon, By::POSTERN, &format!("found its store damaged. {notice}"));
    }
    tokio::spawn(async move { journal.keep().await });
    appliance.boot().await;
    let watched = appliance.clone();
    tokio::spawn(async move { watched.watch().await });
    let timed = appliance.clone();
    tokio::spawn(timed.watch_times());
    let called = appliance.clone();
    tokio::spawn(async move { called.watch_calls().await });
    let defeated = appliance.clone();
    tokio::spawn(async move { defeated.watch_defeats().await });
    let taught = appliance.clone();
    tokio::spawn(async move { taught.watch_learnt().await });
    let seen = appliance.clone();
    tokio::spawn(async move { seen.watch_sessions().await });
    let named = appliance.clone();
    tokio::spawn(async move { named.watch_answers().await });
    let logins = Logins::new(store.clone());
    if let Ok(code) = logins.claim_code().await {
        log::info(&format!("this box has no owner yet; its claim code is {code}"));
    }
    let group = group_id(WEB_GROUP);
    if group.is_none() {
        log::warning(&format!("there is no group {WEB_GROUP}: the web process cannot reach the door"));
    }
    let server = Server::new(appliance.clone(), logins, Certificates::of(state)).serve(door, group);
    let ended = tokio::select! {
        served = server => served.map_err(|e| format!("cannot make the door in {}: {e}", door.display())),
        () = told_to_end() => Ok(Ended::Stopped),
    };
    appliance.rest().await;
    // Also when a signal came between the word and the deed.
    if reset::decided(&folders) {
        appliance.forget().await;
    }
    store.close().await;
    ended
}

/// Before the programs had folders of their own ([`PROGRAMS`]) their files lay beside the store and beside what the PPPoE unit is told. Such
/// programs see the store: they end, once and for all. What they were lent and have lent goes on.
async fn move_in(state: &Path, door: &Path) {
    udhcpc::end_left_over(state).await;
    dhcpcd::end_left_over(state).await;
    dnsmasq::end_left_over(state).await;
    let _ = std::fs::rename(state.join("dnsmasq.leases"), state.join(PROGRAMS).join("dnsmasq.leases"));
    // With the configuration it was lent under: under another one the prefix is taken for stale.
    for name in ["internet.lease", "ipv6.prefix", "dhcpcd.conf"] {
        let _ = std::fs::rename(door.join(SERVICES).join(name), door.join(PROGRAMS).join(name));
    }
    for name in ["dnsmasq.pid", "udhcpc.pid", "dhcpcd.pid"] {
        let _ = std::fs::remove_file(state.join(name));
    }
}

/// Waits for the last nft of a daemon that was killed: its commit must not come after ours. The lock belongs to the open
/// file, and every nft inherits that; so it is free once the daemon and all of its children are gone.
async fn alone(state: &Path) -> Option<OwnedFd> {
    let path = state.join("lock");
    // Without CLOEXEC, or the children would not hold it.
    let file = rustix::fs::open(&path, OFlags::RDWR | OFlags::CREATE, Mode::from_raw_mode(0o600)).ok()?;
    let end = Instant::now() + LAST_COMMIT;
    while rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        if Instant::now() > end {
            log::warning(&format!("somebody still holds {}: is another daemon running?", path.display()));
            return None;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    Some(file)
}

async fn open(folders: &Folders, kernel: Linux) -> Result<(Store, Appliance<Linux>), String> {
    let state = &folders.state;
    let store = Store::rescue(state).await.map_err(|e| {
        let incident = log::incident(&e);
        format!("postern: {e} ({}; {incident})", state.display())
    })?;
    let options = Options {
        trial_time: trial_time(),
        boot: boot_id(),
        memory: Some(state.join(memory::FILE)),
        folders: Some(folders.clone()),
        places: Places::here(folders.services.parent()),
        ..Options::default()
    };
    let appliance = Appliance::open(kernel, store.clone(), options)
        .await
        .map_err(|r| format!("postern: {}", r.message))?;
    Ok((store, appliance))
}

/// The settings cannot be read: nothing is forwarded, and the home reaches SSH to put it right. Rules of ours that are
/// in the kernel already stay: a store that broke while the box runs must not cut anybody off.
async fn deny_unless_ours(state: &Path) {
    let kernel = Linux::new();
    // Beside another firewall that one stands, and what we had goes.
    let beside = beside_others(state);
    let rules = if beside { ruleset::absent() } else { ruleset::deny(&Settings::default()) };
    if !state.join(FILE).exists() {
        return;
    }
    if !beside && kernel.observe(&[]).await.is_ok_and(|seen| seen.table.present) {
        return;
    }
    match kernel.load(&rules, Load::Commit).await {
        Ok(()) if rules == ruleset::absent() => {
            log::warning("the settings cannot be read: Postern has no rules until they can")
        }
        Ok(()) => log::warning("the settings cannot be read: nothing is forwarded until they can"),
        Err(error) => drop(log::incident(&error)),
    }
}

/// At boot, before any port is up: the deny rules, if this box is a router or its settings cannot be read. Without a role
/// nothing; and rules of ours that are in the kernel stay, so that it may run at any time.
pub async fn deny(state: &Path) -> Result<(), String> {
    let settings = match store::kept(state) {
        None => return Ok(()),
        Some(Ok(settings)) if settings.role != Role::Router => return Ok(()),
        Some(Ok(settings)) => settings,
        // Another firewall closes this box, or does not: that is its affair.
        Some(Err(_)) if beside_others(state) => return Ok(()),
        Some(Err(error)) => {
            log::warning(&format!("{error}: nothing is forwarded until the daemon has looked"));
            Settings::default()
        }
    };
    let kernel = Linux::new();
    if kernel.observe(&[]).await.is_ok_and(|seen| seen.table.present) {
        return Ok(());
    }
    let failed = |e| format!("postern: the deny rules could not be loaded ({})", log::incident(&e));
    kernel.load(&ruleset::deny(&settings), Load::Commit).await.map_err(failed)
}

fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

async fn told_to_end() {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = term.recv() => {}
        _ = int.recv() => {}
    }
}

/// How long settings stay on trial: 90 s, or `POSTERN_TRIAL_SECONDS` from 1 to 600 for boxes that are slow to come
/// back (a DFS radar wait takes a minute), and for tests.
fn trial_time() -> Duration {
    let asked = std::env::var("POSTERN_TRIAL_SECONDS").ok().and_then(|s| s.parse().ok());
    asked.filter(|seconds| (1..=600).contains(seconds)).map_or(TRIAL, Duration::from_secs)
}

/// A group's number, from /etc/group as in group(5): boxes of this size have no other source.
fn group_id(name: &str) -> Option<u32> {
    let groups = std::fs::read_to_string("/etc/group").ok()?;
    groups.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(1)?.parse().ok()).flatten()
    })
}
