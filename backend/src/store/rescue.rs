//! A damaged store: the last good revision, and where there is none, a copy beside the store. A box must come up with what
//! its owner has kept, or closed; never open, and never not at all.
//!
//! The copy is written anew whenever a revision is kept: a text file of a few kB, which no damage of the database reaches.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::{Before, Error, FILE, NewRevision, RevisionState, Store, sum};
use crate::kernel::Network;
use crate::settings::{Role, Settings};
use crate::{file, log};

/// The copy, in the state directory.
const COPY: &str = "last-good.json";
/// A longer one is none of ours.
const MOST_BYTES: u64 = 1 << 20;

/// What was found when the store was opened.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Condition {
    /// What the owner should know, in words; none: it was whole.
    pub notice: Option<String>,
    /// There was a store and nothing of it could be read: which ports lead where is not known.
    pub lost: bool,
    /// The box stood beside another firewall when that was last known.
    pub companion: bool,
}

impl Condition {
    /// Whether the box must be closed because nobody knows what it was. Beside another firewall that one stands, whatever was lost.
    pub fn closes(&self) -> bool {
        self.lost && !self.companion
    }
}

/// A file of this name in the state directory says that the box stands beside another firewall: for whoever finds everything
/// else unreadable. Its content is nothing.
const BESIDE: &str = "beside-another-firewall";

/// Whether it says so.
pub fn beside_others(dir: &Path) -> bool {
    dir.join(BESIDE).exists()
}

/// What is kept twice.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Copy {
    /// Revision that the settings are; 0: none yet, or an earlier release wrote it.
    #[serde(default)]
    revision: i64,
    settings: Settings,
    /// As in the account.
    password: Option<String>,
}

/// The settings of the copy in `dir`, for whoever must act before the store is open: the deny rules at boot. `None`: there is no
/// copy, this box was never claimed.
pub fn kept(dir: &Path) -> Option<Result<Settings, Damaged>> {
    dir.join(COPY).exists().then(|| read(dir).map(|copy| copy.settings).ok_or(Damaged))
}

/// The copy is there and cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the copy of the settings is damaged")]
pub struct Damaged;

impl Store {
    /// Opens the store in `dir`, whatever state it is in. What cannot be read is set aside, not deleted.
    pub async fn rescue(dir: &Path) -> Result<Self, Error> {
        let there = dir.join(FILE).exists() || dir.join(COPY).exists() || gutted(dir);
        let copy = read(dir);
        let gutted = gutted(dir);
        let opened = match Self::open(dir).await {
            Ok(store) => store.sound().await.map(|()| store),
            Err(error) => Err(error),
        };
        let mut store = match opened {
            Ok(store) if !store.empty().await? || !gutted && !dir.join(COPY).exists() => {
                return store.with_condition(copy).await;
            }
            Ok(store) => store,
            Err(error) => {
                log::incident(&error);
                set_aside(dir);
                match Self::open(dir).await {
                    Ok(store) => store,
                    Err(error) => {
                        log::incident(&error);
                        Self::in_memory().await?
                    }
                }
            }
        };
        let kept = if store.dir.is_some() {
            ""
        } else {
            " Nothing can be written: what is changed now is lost at the next start."
        };
        store.condition = match copy {
            Some(copy) => {
                store.fill(&copy).await?;
                let notice =
                    format!("The settings store was damaged. The settings are those of its copy.{kept}");
                Condition { notice: Some(notice), ..Condition::default() }
            }
            None if beside_others(dir) => Condition {
                notice: Some(format!(
                    "The settings store was damaged, and so was its copy: this box has the factory settings. It stood beside another \
                     firewall, which stands as before; Postern has no rules now. Import your settings, or choose the sides \
                     anew.{kept}"
                )),
                lost: there,
                companion: true,
            },
            None => Condition {
                notice: Some(format!(
                    "The settings store was damaged, and so was its copy: this box has the factory settings and forwards \
                     nothing. Import your settings, or choose the ports anew.{kept}"
                )),
                lost: there,
                companion: false,
            },
        };
        if let Some(notice) = &store.condition.notice {
            log::warning(notice);
        }
        Ok(store)
    }

    /// What was found when it was opened.
    pub fn condition(&self) -> &Condition {
        &self.condition
    }

    /// Everything that a start needs can be read.
    async fn sound(&self) -> Result<(), Error> {
        let (word,): (String,) = sqlx::query_as("PRAGMA quick_check(1)").fetch_one(&self.pool).await?;
        if word != "ok" {
            return Err(Error::Damaged(word.chars().take(200).collect()));
        }
        // A damaged account is mended, or its owner is told; the settings are no worse for it.
        if let Err(error @ (Error::Database(_) | Error::Schema(_))) = self.password().await {
            return Err(error);
        }
        self.unconfirmed_id().await?;
        self.newest_confirmed().await.map(drop)
    }

    async fn empty(&self) -> Result<bool, Error> {
        // One that is damaged is there.
        let claimed = !matches!(self.password().await, Ok(None));
        Ok(!claimed && self.newest_confirmed().await?.is_none())
    }

    /// Of a store that can be read. The copy is written after the store and never before: where it knows more, the store has lost
    /// something since.
    async fn with_condition(mut self, copy: Option<Copy>) -> Result<Self, Error> {
        let newest = self.confirmed_ids(1).await?.first().copied();
        let used = self.newest_confirmed().await?.map(|kept| kept.id);
        let ahead = copy.as_ref().filter(|copy| copy.revision > used.unwrap_or_default());
        let mut notices = Vec::new();
        match (ahead, newest, used) {
            (Some(copy), ..) => match self.fill(copy).await {
                Ok(()) => notices.push(
                    "The newest settings in the store were damaged. Those of its copy are in force."
                        .to_owned(),
                ),
                Err(error) => drop(log::incident(&error)),
            },
            (None, Some(newest), Some(used)) if newest != used => notices
                .push(format!("Revision {newest} of the settings is damaged. Revision {used} is in force.")),
            _ => {}
        }
        if let Err(Error::Damaged(_)) = self.password().await {
            let kept = copy.as_ref().and_then(|copy| copy.password.as_deref());
            notices.push(match kept {
                Some(password) if self.set_password(password).await.is_ok() => {
                    "The password in the store was damaged. That of its copy holds.".to_owned()
                }
                _ => "The password in the store is damaged: nobody can log in. Root sets a new one with \"postern password\"."
                    .to_owned(),
            });
        }
        for notice in &notices {
            log::warning(notice);
        }
        self.condition.notice = (!notices.is_empty()).then(|| notices.join(" "));
        self.keep_copy().await;
        Ok(self)
    }

    async fn fill(&self, copy: &Copy) -> Result<(), Error> {
        let before = Before { boot: String::new(), network: Network::default() };
        let comment = "from the copy, because the store was damaged";
        let new = NewRevision {
            settings: &copy.settings,
            base: 0,
            before: &before,
            who: "postern",
            via: "the daemon's start",
            comment,
        };
        let id = self.save(new).await?;
        if let Some(password) = &copy.password {
            self.claim(password).await?;
        }
        self.mark(id, RevisionState::Confirmed).await
    }

    /// Writes the copy anew, if it is another. What fails is told in the log: the store itself has it.
    pub(super) async fn keep_copy(&self) {
        let Some(dir) = self.dir.clone() else { return };
        let copy = async {
            let kept = self.newest_confirmed().await?;
            let (revision, settings) = kept.map(|kept| (kept.id, kept.settings)).unwrap_or_default();
            Ok::<_, Error>(Copy { revision, settings, password: self.password().await? })
        };
        let copy = match copy.await {
            Ok(copy) => copy,
            Err(error) => return drop(log::incident(&error)),
        };
        // A new box has nothing to lose, and a copy of nothing would be no help.
        if copy == Copy::default() {
            return;
        }
        let written = tokio::task::spawn_blocking(move || {
            match read(&dir).as_ref() == Some(&copy) {
                true => {}
                false => write(&dir, &copy)?,
            }
            tell_beside(&dir, copy.settings.role == Role::Companion)
        });
        match written.await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                log::warning(&format!("the copy of the settings could not be written: {error}"))
            }
            Err(error) => log::warning(&format!("the copy of the settings could not be written: {error}")),
        }
    }
}

/// `SUM TEXT`: a flipped bit in an address would still be an address.
fn write(dir: &Path, copy: &Copy) -> std::io::Result<()> {
    let text = serde_json::to_string(copy)?;
    file::replace(&dir.join(COPY), format!("{:016x} {text}", sum(&text)).as_bytes())
}

fn tell_beside(dir: &Path, beside: bool) -> std::io::Result<()> {
    if beside == beside_others(dir) {
        return Ok(());
    }
    let path = dir.join(BESIDE);
    match beside {
        true => std::fs::File::create(path)?.sync_all()?,
        false => std::fs::remove_file(path)?,
    }
    std::fs::File::open(dir)?.sync_all()
}

fn read(dir: &Path) -> Option<Copy> {
    let path = dir.join(COPY);
    let size = std::fs::metadata(&path).ok()?.len();
    let text = std::fs::read_to_string(path).ok().filter(|_| size <= MOST_BYTES)?;
    let (written, text) = text.split_once(' ')?;
    if u64::from_str_radix(written, 16).ok()? != sum(text) {
        return None;
    }
    serde_json::from_str(text).ok()
}

/// SQLite takes an empty file for a new store, and deletes the log beside it: there was one.
fn gutted(dir: &Path) -> bool {
    let size = |name: &str| std::fs::metadata(dir.join(name)).map_or(0, |file| file.len());
    size(FILE) == 0 && size(&format!("{FILE}-wal")) > 0
}

/// Out of the way, for whoever wants to look at it. One of before goes.
fn set_aside(dir: &Path) {
    for name in [FILE.to_owned(), format!("{FILE}-wal"), format!("{FILE}-journal")] {
        let (from, to): (PathBuf, PathBuf) = (dir.join(&name), dir.join(format!("{name}.damaged")));
        if !from.exists() {
            continue;
        }
        let _ = std::fs::remove_dir_all(&to).or_else(|_| std::fs::remove_file(&to));
        if let Err(error) = std::fs::rename(&from, &to) {
            log::warning(&format!("{} could not be set aside: {error}", from.display()));
        }
    }
}
