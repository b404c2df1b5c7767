//! Restart, and back to the factory state.
//!
//! A reset is decided by one file, [`MARK`]: before it is there the box is what it was, after it every start goes on with the
//! reset until nothing is left, whatever killed it in between. In the order of [`forget`] the box is closed at each step: it
//! forwards nothing before its rules go, and its rules are there until the internet port has no address any more.

use std::fs::File;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::network::closed;
use super::{Appliance, Author, Refusal, RefusalKind};
use crate::journal::JournalKind;
use crate::kernel::hand::PROGRAMS;
use crate::kernel::{Error, Kernel, Link, Load, Network};
use crate::ruleset;
use crate::services::Services;
use crate::settings::names::IfName;
use crate::settings::{Role, Settings};
use crate::store;
use crate::{file, log};

/// The file that decides, in the state directory.
pub const MARK: &str = "reset";
/// Not deleted: the daemon that resets holds it, so that no other begins meanwhile.
const LOCK: &str = "lock";
/// Folders in the state directory that are emptied and stay: service managers have mounted them for the programs (dhcpcd knows no
/// other place than its own, `packaging/systemd/postern.service`).
const MOUNTED: [&str; 2] = [PROGRAMS, "dhcpcd"];

/// Where a daemon keeps what it knows.
#[derive(Debug, Clone)]
pub struct Folders {
    /// The store and what lies beside it.
    pub state: PathBuf,
    /// What the PPPoE unit is told.
    pub services: PathBuf,
    /// What it writes for the programs that it starts, and what those write until the box starts anew.
    pub programs: PathBuf,
}

/// What of the settings is needed after they are gone.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Mark {
    /// The port that loses its address.
    internet: Option<IfName>,
}

impl<K: Kernel> Appliance<K> {
    /// Says what a restart means. The caller ends the daemon then, with a status that starts it again.
    pub async fn restart(&self, author: &Author) -> Result<String, Refusal> {
        let state = self.state.lock().await;
        if state.ending {
            return Err(Refusal::of(RefusalKind::Failed, "Postern is ending already."));
        }
        let trial = match &state.trial {
            Some(_) => " The settings that are on trial go back.",
            None => "",
        };
        self.journal.note(JournalKind::Daemon, author.by(), "restarted Postern");
        Ok(format!("Postern restarts. The rules stay in force, and every login ends.{trial}"))
    }

    /// Decides that everything goes. Nothing has gone yet when this returns, and nothing can begin any more: the caller
    /// ends the daemon, which [`Self::forget`]s.
    pub async fn reset(&self, author: &Author) -> Result<String, Refusal> {
        let Some(folders) = &self.options.folders else {
            return Err(Refusal::of(
                RefusalKind::Failed,
                "This Postern keeps nothing; there is nothing to reset.",
            ));
        };
        let mut state = self.state.lock().await;
        if state.ending {
            return Err(Refusal::of(RefusalKind::Failed, "Postern is ending already; nothing was reset."));
        }
        let router = state.settings.role == Role::Router;
        let mark = Mark { internet: state.settings.internet.device.clone().filter(|_| router) };
        if let Err(error) = write(&folders.state, &mark) {
            // If it is there all the same, the next start would reset a box whose owner was told otherwise. What cannot be
            // taken back is decided.
            drop(std::fs::remove_file(folders.state.join(MARK)).and_then(|()| sync(&folders.state)));
            if !decided(folders) {
                return Err(Refusal::failed(&Unwritable(error)));
            }
        }
        state.ending = true;
        log::warning(&format!("{} resets this box to its factory state ({})", author.who, author.via));
        Ok("Everything goes: settings, account, history, journal. The box is closed meanwhile, and comes back with no \
            owner."
            .to_owned())
    }

    /// Does what [`Self::reset`] has decided. Closes the store.
    pub async fn forget(&self) {
        let Some(folders) = &self.options.folders else { return };
        // Whoever still holds it finishes first; nobody gets it again.
        let _state = self.state.lock().await;
        self.store.close().await;
        forget(&self.kernel, folders).await;
    }
}

/// Whether a reset was decided and is not finished.
pub fn decided(folders: &Folders) -> bool {
    folders.state.join(MARK).exists()
}

/// Closes the box and deletes everything that was kept. What fails is told in the log; the mark then stays, and the next start
/// tries again.
pub async fn forget<K: Kernel>(kernel: &K, folders: &Folders) {
    // A mark that cannot be read was cut short by whatever killed us: it has decided all the same.
    let mark: Mark = std::fs::read(folders.state.join(MARK))
        .ok()
        .and_then(|bytes| serde_json::from_slice(&bytes).ok())
        .unwrap_or_default();
    // The table says it; but it may be gone, for others flush what they find.
    let about = kernel.observe(&[]).await.ok().and_then(|seen| seen.table.about);
    let beside = match about {
        Some(about) => ruleset::beside_others(Some(&about)),
        None => store::beside_others(&folders.state),
    };
    // Beside another firewall the network is that one's, and whatever is forwarded.
    let closed = match beside {
        true => kernel.load(&ruleset::absent(), Load::Commit).await,
        false => close(kernel, &mark).await,
    };
    if let Err(error) = closed {
        log::incident(&error);
        // Whatever forwards now has rules that drop everything, or it has the last ones of ours.
        if !beside && let Err(error) = kernel.load(&ruleset::deny(&Settings::default()), Load::Commit).await {
            log::incident(&error);
        }
    }
    let gone = empty(&folders.services, &[])
        .and_then(|()| empty(&folders.programs, &[]))
        .and_then(|()| MOUNTED.iter().try_for_each(|name| empty(&folders.state.join(name), &[])))
        .and_then(|()| empty(&folders.state, &[&[LOCK, MARK], &MOUNTED[..]].concat()))
        .and_then(|()| remove(&folders.state.join(MARK)))
        .and_then(|()| sync(&folders.state));
    match gone {
        Ok(()) => log::info("this box is in its factory state"),
        Err(error) => {
            log::warning(&format!("not everything could be deleted, the next start tries again: {error}"))
        }
    }
}

/// Forwarding, the other daemons, the internet's address, and the rules at last.
async fn close<K: Kernel>(kernel: &K, mark: &Mark) -> Result<(), Error> {
    let seen = kernel.observe(&[]).await?;
    let there = |device: &&IfName| seen.links.iter().any(|link| link.name == device.as_str());
    let internet = mark.internet.as_ref().filter(there);
    if !seen.table.present && internet.is_none() {
        // It never had a role: the network is not ours, whatever it forwards.
        return Ok(());
    }
    kernel.configure(&closed(), Load::Commit).await?;
    kernel.serve(&Services::default(), Load::Commit).await?;
    if let Some(device) = internet {
        let bare = Network {
            links: vec![Link::new(device.clone(), Vec::new())],
            default_route: Some(None),
            ..Network::default()
        };
        kernel.configure(&bare, Load::Commit).await?;
    }
    kernel.load(&ruleset::absent(), Load::Commit).await
}

/// On the disk when it returns: a power cut then finds it. There whole or not at all: half of it would decide too.
fn write(state: &Path, mark: &Mark) -> std::io::Result<()> {
    file::replace(&state.join(MARK), &serde_json::to_vec(mark)?)
}

fn sync(folder: &Path) -> std::io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Deletes what is in a folder, but for these names. What is deleted stays on the flash until something else is written there:
/// no program can help that.
fn empty(folder: &Path, but: &[&str]) -> std::io::Result<()> {
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let entry = entry?;
        if but.iter().any(|name| entry.file_name() == *name) {
            continue;
        }
        match entry.file_type()?.is_dir() {
            true => std::fs::remove_dir_all(entry.path())?,
            false => remove(&entry.path())?,
        }
    }
    sync(folder)
}

fn remove(path: &Path) -> std::io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// For the owner.
#[derive(Debug, thiserror::Error)]
#[error("the state directory cannot be written")]
struct Unwritable(#[source] std::io::Error);

#[cfg(test)]
mod tests;
