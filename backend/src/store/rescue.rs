//! A damaged store: the last good revision, and where there is none, a copy beside the store. A box must come up with what
//! its owner has kept, or closed; never open, and never not at all.
//!
//! The copy is written anew whenever a revision is kept: a text file of a few kB, which no damage of the database reaches.

use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::trouble::can_be_written;
use super::{Before, Error, FILE, NewRevision, RevisionState, Store, sum};
use crate::kernel::Network;
use crate::settings::{Role, Settings};
use crate::{file, log};

/// The copy, in the state directory.
const COPY: &str = "last-good.json";
/// What it is called once it may not be used: it is of another role than the damaged revision was.
const OF_ANOTHER_ROLE: &str = "last-good.json.other-role";
/// A longer one is none of ours.
const MOST_BYTES: u64 = 1 << 20;
/// A disk that refuses is asked so often before its word is taken for it, with this pause.
const TRIES: usize = 4;
const PAUSE: Duration = Duration::from_millis(200);

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
        let mut copy = read(dir);
        let mut beside = beside_others(dir);
        let gutted = gutted(dir);
        let (mut refused, mut another_role) = (false, false);
        let store = match Self::open_whole(dir, copy.as_ref()).await {
            Ok((store, empty)) if !empty || !gutted && !dir.join(COPY).exists() => {
                store.keep_copy().await;
                return Ok(store);
            }
            Ok((store, _)) => store,
            Err(error) => {
                log::incident(&error);
                // The copy is of before then, and of that role too.
                if let Error::AnotherRole { companion, .. } = error {
                    (copy, beside, another_role) = (None, companion, true);
                }
                // A full disk, one for reading only, or a store that somebody else has open is no damage: what lies there stays as it is, for a better day.
                refused = error.is_of_the_moment() || error.is_of_the_disk() && !can_be_written(dir);
                match refused {
                    true => Self::in_memory().await?,
                    false => Self::anew(dir).await?,
                }
            }
        };
        let mut store = match &copy {
            Some(copy) => store.filled(copy).await?,
            None => store,
        };
        let found = match refused || !there {
            true => "The settings store cannot be used: its disk refuses",
            false => "The settings store was damaged",
        };
        let kept = if store.dir.is_some() {
            ""
        } else {
            " Nothing can be written: what is changed now is lost at the next start."
        };
        store.condition = match copy {
            Some(_) => {
                let notice = format!("{found}. The settings are those of its copy.{kept}");
                Condition { notice: Some(notice), ..Condition::default() }
            }
            None => {
                let now = if beside {
                    "It stood beside another firewall, which stands as before; Postern has no rules now. Import your settings, or \
                     choose the sides anew."
                } else {
                    "It forwards nothing. Import your settings, or choose the ports anew."
                };
                let of_copy = match refused || !there {
                    // Both may be whole, or there were none: nothing is noted.
                    true => "there is no copy that can be read",
                    false => match remember_loss(dir, beside, another_role) {
                        Ok(true) => {
                            "its copy is of another role, which damage must not bring about (it is kept in the state directory as \
                             last-good.json.other-role)"
                        }
                        Ok(false) => "so was its copy",
                        Err(error) => {
                            log::warning(&format!("that the settings are lost cannot be noted: {error}"));
                            "its copy cannot be used"
                        }
                    },
                };
                let notice =
                    format!("{found}, and {of_copy}: this box has the factory settings. {now}{kept}");
                Condition { notice: Some(notice), lost: there, companion: beside }
            }
        };
        if let Some(notice) = &store.condition.notice {
            log::warning(notice);
        }
        Ok(store)
    }

    /// Opened, and made whole with the copy; true: it is empty. A disk that refuses once may not refuse again.
    async fn open_whole(dir: &Path, copy: Option<&Copy>) -> Result<(Self, bool), Error> {
        let once = async || {
            let store = Self::open(dir).await?;
            let pool = store.pool.clone();
            let whole = async {
                let store = store.made_whole(dir, copy).await?;
                let empty = store.empty().await?;
                Ok::<_, Error>((store, empty))
            };
            let whole = whole.await;
            if whole.is_err() {
                // It holds the lock; and later it would delete a log that is another store's by then.
                pool.close().await;
            }
            whole
        };
        for _ in 1..TRIES {
            match once().await {
                Err(error) if error.is_of_the_disk() => drop(log::incident(&error)),
                done => return done,
            }
            tokio::time::sleep(PAUSE).await;
        }
        once().await
    }

    /// A new one, in the place of what is there.
    async fn anew(dir: &Path) -> Result<Self, Error> {
        set_aside(dir);
        match Self::open(dir).await {
            Ok(store) => Ok(store),
            Err(error) => {
                log::incident(&error);
                Self::in_memory().await
            }
        }
    }

    /// With what the copy holds; in memory, where the disk has no room for it.
    async fn filled(self, copy: &Copy) -> Result<Self, Error> {
        if let Err(error) = self.fill(copy, 0).await {
            log::incident(&error);
            self.close().await;
            let store = Self::in_memory().await?;
            store.fill(copy, 0).await?;
            return Ok(store);
        }
        Ok(self)
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

    /// Makes up for what a store that can be read has lost. The copy is written after the store and never before: where it knows
    /// more, its settings hold. Else a revision that cannot be read gives way to the one before, but never to one of another role: a
    /// box beside another firewall that became a router overnight would close it, and a router that became a companion would be open.
    async fn made_whole(mut self, dir: &Path, copy: Option<&Copy>) -> Result<Self, Error> {
        self.sound().await?;
        if self.empty().await? {
            return Ok(self);
        }
        let newest = self.confirmed_ids(1).await?.first().copied().unwrap_or_default();
        let used = self.newest_confirmed().await?;
        let base = used.as_ref().map_or(0, |kept| kept.id);
        let ahead = copy.filter(|copy| copy.revision > base);
        let mut notices = Vec::new();
        if let Some(copy) = ahead.filter(|copy| copy.revision >= newest) {
            self.fill(copy, base).await?;
            notices.push(
                "The newest settings in the store were damaged. Those of its copy are in force.".to_owned(),
            );
        } else if newest != base
            && let Some(used) = used
        {
            // A copy without a number is an earlier release's: it may be of any revision.
            let copy = copy.filter(|copy| copy.revision == 0).or(ahead);
            let copied = copy.map(|copy| copy.settings.role);
            // Where nobody knows, a router is what must not become anything else.
            let role = match self.role_of(newest).await?.or(copied) {
                Some(role) => role,
                None if beside_others(dir) => Role::Companion,
                None => Role::Router,
            };
            match copy {
                Some(copy) if copied == Some(role) => {
                    self.fill(copy, base).await?;
                    notices.push(format!(
                        "Revision {newest} of the settings is damaged. The settings are those of the copy beside the store."
                    ));
                }
                _ if used.settings.role == role => notices.push(format!(
                    "Revision {newest} of the settings is damaged. Revision {base} is in force."
                )),
                _ => return Err(Error::AnotherRole { id: newest, companion: role == Role::Companion }),
            }
        }
        if let Err(Error::Damaged(_)) = self.password().await {
            let kept = copy.and_then(|copy| copy.password.as_deref());
            notices.push(match kept {
                Some(password) if self.set_password(password).await.is_ok() => {
                    "The password in the store was damaged. That of its copy holds.".to_owned()
                }
                _ => "The password in the store is damaged: nobody can log in. Root sets a new one with \
                      \"postern password --password-stdin\"."
                    .to_owned(),
            });
        }
        for notice in &notices {
            log::warning(notice);
        }
        self.condition.notice = (!notices.is_empty()).then(|| notices.join(" "));
        Ok(self)
    }

    /// The role in a revision that means nothing otherwise, if that much of it can be read.
    async fn role_of(&self, id: i64) -> Result<Option<Role>, Error> {
        let row: Option<(String,)> = sqlx::query_as("SELECT settings FROM revision WHERE id = ?1")
            .bind(id)
            .fetch_optional(&self.pool)
            .await?;
        let document = row.and_then(|(text,)| serde_json::from_str::<serde_json::Value>(&text).ok());
        Ok(document.and_then(|document| serde_json::from_value(document.get("role")?.clone()).ok()))
    }

    /// Keeps what the copy holds as a revision made from `base`.
    async fn fill(&self, copy: &Copy, base: i64) -> Result<(), Error> {
        let before = Before { boot: String::new(), network: Network::default() };
        let comment = "from the copy, because the store was damaged";
        let new = NewRevision {
            settings: &copy.settings,
            base,
            before: &before,
            who: "postern",
            via: "the daemon's start",
            comment,
        };
        let id = self.save(new).await?;
        if let Some(password) = copy.password.as_ref().filter(|_| base == 0) {
            self.claim(password).await?;
        }
        self.mark(id, RevisionState::Confirmed).await
    }

    /// Writes the copy anew, if it is another. What fails is told: the store itself has it, but what closes the box at the next boot
    /// looks at the copy alone ([`kept`]).
    pub async fn keep_copy(&self) {
        let Some(dir) = self.dir.clone() else { return };
        let _alone = self.copying.lock().await;
        let before = dir.clone();
        let copy = async {
            let kept = self.newest_confirmed().await?;
            let (revision, settings) = kept.map(|kept| (kept.id, kept.settings)).unwrap_or_default();
            let password = match self.password().await {
                // The only one there is may be in the copy.
                Err(Error::Damaged(_)) => read(&before).and_then(|copy| copy.password),
                password => password?,
            };
            Ok::<_, Error>(Copy { revision, settings, password })
        };
        let copy = match copy.await {
            Ok(copy) => copy,
            Err(error) => return self.note_copy(Some(error.to_string())),
        };
        // A new box has nothing to lose, and a copy of nothing would be no help.
        if copy == Copy::default() {
            return self.note_copy(None);
        }
        let written = tokio::task::spawn_blocking(move || {
            match read(&dir).as_ref() == Some(&copy) {
                true => {}
                false => write(&dir, &copy)?,
            }
            tell_beside(&dir, copy.settings.role == Role::Companion)
        });
        let failed = match written.await {
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(error) => Some(error.to_string()),
        };
        self.note_copy(failed);
    }

    fn note_copy(&self, failed: Option<String>) {
        // Once, and not at each try.
        if !self.copy_is_old.swap(failed.is_some(), Relaxed)
            && let Some(error) = failed
        {
            log::warning(&format!("the copy of the settings could not be written: {error}"));
        }
    }

    /// The copy beside the store could not be written and is of before: [`Self::keep_copy`] tries again.
    pub fn copy_is_old(&self) -> bool {
        self.copy_is_old.load(Relaxed)
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

/// Nothing can be read, or nothing that may be used: so it is at every start until there are settings again. A copy is there and
/// says nothing. True: a good one was there, now (`another_role`) or at an earlier start, and is kept under another name.
fn remember_loss(dir: &Path, beside: bool, another_role: bool) -> std::io::Result<bool> {
    let good = another_role && read(dir).is_some();
    if good {
        std::fs::rename(dir.join(COPY), dir.join(OF_ANOTHER_ROLE))?;
    }
    if !dir.join(COPY).exists() {
        file::replace(&dir.join(COPY), b"lost")?;
    }
    tell_beside(dir, beside)?;
    Ok(good || dir.join(OF_ANOTHER_ROLE).exists())
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

#[cfg(test)]
mod tests;
