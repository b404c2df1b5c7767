//! Past revisions: undo one, go back to one, write the newest down, take one from a document.

use std::sync::Arc;

use super::{Appliance, Author, Refusal, RefusalKind};
use crate::kernel::Kernel;
use crate::settings::{FieldError, Settings, keys};
use crate::store::{Difference, Stored};

/// So many of the newest confirmed revisions can be undone.
const UNDOABLE: u32 = 50;

/// What an import would do, or has done.
#[derive(Debug)]
pub enum Imported {
    /// It was dry: what would differ.
    Would(Vec<Difference>),
    /// Done, with what is true now.
    Done(String),
}

impl<K: Kernel> Appliance<K> {
    /// Takes back what `revision` changed (none: the newest), as a new revision. Keys that somebody has changed since
    /// stand in the way: undoing them would undo more than was asked for. What is on trial goes back at once, without a new revision.
    pub async fn undo(self: &Arc<Self>, revision: Option<i64>, author: Author) -> Result<String, Refusal> {
        let mut state = self.state.lock().await;
        if !state.ending
            && let Some(trial) = state.trial.take_if(|trial| revision.is_none_or(|id| id == trial.revision))
        {
            return self.end_trial(&mut state, trial, author).await;
        }
        state.refuse_now()?;
        if state.revision == 0 {
            return Err(Refusal::of(
                RefusalKind::Invalid,
                "Nothing was changed yet; there is nothing to undo.",
            ));
        }
        let id = revision.unwrap_or(state.revision);
        let (before, after) = self.step(id).await?;
        let mut wanted = state.settings.clone();
        let since: Vec<FieldError> = keys::difference(&before, &after)
            .into_iter()
            .filter_map(|(key, ..)| keys::take_back(&key, &before, &after, &mut wanted).err())
            .collect();
        if !since.is_empty() {
            let message =
                format!("Revision {id} cannot be undone alone: what it changed was changed again since.");
            return Err(Refusal { fields: since, ..Refusal::of(RefusalKind::Conflict, message) });
        }
        self.replace(&mut state, wanted, &format!("undo of revision {id}"), author).await
    }

    /// Goes back to the whole document of a past revision, as a new revision.
    pub async fn go_back_to(self: &Arc<Self>, revision: i64, author: Author) -> Result<String, Refusal> {
        let mut state = self.state.lock().await;
        state.refuse_now()?;
        let mut wanted = self.kept(revision).await?.settings;
        super::timed::drop_past(&mut wanted, (self.options.clock)());
        self.replace(&mut state, wanted, &format!("back to revision {revision}"), author).await
    }

    /// Replaces the settings by a TOML document; `dry` only tells what would differ.
    pub async fn import(
        self: &Arc<Self>,
        text: &str,
        dry: bool,
        base: Option<i64>,
        author: Author,
    ) -> Result<Imported, Refusal> {
        self.take_document(text, dry, base, ("import", author)).await
    }

    /// The same with the document of a backup.
    pub async fn restore(
        self: &Arc<Self>,
        text: &str,
        dry: bool,
        base: Option<i64>,
        author: Author,
    ) -> Result<Imported, Refusal> {
        self.take_document(text, dry, base, ("restored from a backup", author)).await
    }

    async fn take_document(
        self: &Arc<Self>,
        text: &str,
        dry: bool,
        base: Option<i64>,
        (comment, author): (&str, Author),
    ) -> Result<Imported, Refusal> {
        let mut state = self.state.lock().await;
        let mut wanted = Settings::from_toml(text)
            .and_then(|wanted| wanted.unmasked(&state.settings))
            .map_err(|wrong| Refusal::invalid(vec![wrong]))?;
        super::timed::drop_past(&mut wanted, (self.options.clock)());
        let mut wrong = wanted.check();
        wrong.extend(wanted.not_built());
        if !wrong.is_empty() {
            return Err(Refusal::invalid(wrong));
        }
        // A document says every key, and not which of them its owner chose.
        let told = self.taking_the_role(&state, &[], &mut wanted).await?;
        if dry {
            return Ok(Imported::Would(differences(&state.settings, &wanted)));
        }
        state.refuse_now()?;
        state.refuse_stale(base)?;
        let said = self.replace(&mut state, wanted, comment, author).await?;
        Ok(Imported::Done([vec![said], told].concat().join(" ")))
    }

    /// The documents before and after a kept revision among the newest [`UNDOABLE`].
    async fn step(&self, id: i64) -> Result<(Settings, Settings), Refusal> {
        let after = self.kept(id).await?;
        let newest = self.store.confirmed_ids(UNDOABLE).await.map_err(|e| Refusal::failed(&e))?;
        if !newest.contains(&id) {
            let message = format!("Revision {id} is too old: the newest {UNDOABLE} can be undone.");
            return Err(Refusal::of(RefusalKind::Invalid, message));
        }
        let before = self.store.before(id).await.map_err(|e| Refusal::failed(&e))?;
        let gone = || {
            Refusal::of(RefusalKind::Invalid, format!("What was before revision {id} is no longer stored."))
        };
        Ok((before.ok_or_else(gone)?, after.settings))
    }

    async fn kept(&self, id: i64) -> Result<Stored, Refusal> {
        let found = self.store.confirmed(id).await.map_err(|e| Refusal::failed(&e))?;
        found.ok_or_else(|| Refusal::of(RefusalKind::Invalid, format!("There is no kept revision {id}.")))
    }
}

/// What differs, key by key.
pub(super) fn differences(before: &Settings, after: &Settings) -> Vec<Difference> {
    let one = |(key, before, after)| Difference { key, before, after };
    keys::difference(before, after).into_iter().map(one).collect()
}
