//! Changes that can cut the owner off from this box are kept only once somebody has confirmed them.

use std::time::Instant;

use super::apply::Step;
use super::{Appliance, Author, Refusal, RefusalKind, State, page};
use crate::journal::{By, JournalKind};
use crate::kernel::{Kernel, Load, Network};
use crate::log;
use crate::ruleset;
use crate::settings::names::Port;
use crate::settings::{Role, Settings};
use crate::store::RevisionState;

/// Settings in force that nobody has confirmed.
#[derive(Debug)]
pub(super) struct OnTrial {
    pub(super) revision: i64,
    pub(super) since: Instant,
    pub(super) back_to: (i64, Settings),
    /// What the network was before; puts back what no settings describe (role unset).
    pub(super) before: Network,
}

impl OnTrial {
    /// The ports of the page with the settings `now`. Beside another firewall one that is taken where another program has the page's
    /// is no proof if it was set before: it is open on trial only then (see `page.rs`).
    pub(super) fn proving_ports(&self, now: &Settings) -> Vec<u16> {
        let set = |settings: &Settings| [settings.access.port, settings.access.https_port].map(Port::number);
        let (now_set, before) = (set(now), set(&self.back_to.1));
        let mut all = now.access.ports();
        all.retain(|port| now.role != Role::Companion || now_set.contains(port) || !before.contains(port));
        all
    }
}

impl<K: Kernel> Appliance<K> {
    /// Keeps what is on trial. With nothing on trial it is done already.
    pub async fn confirm(&self, revision: Option<i64>, author: Author) -> Result<String, Refusal> {
        let mut state = self.state.lock().await;
        let Some(trial) = &state.trial else {
            // Asked for twice, or taken back meanwhile.
            return match revision.is_none_or(|r| r <= state.revision) {
                true => Ok("Nothing is on trial; the settings are kept.".to_owned()),
                false => Err(Refusal::of(RefusalKind::Conflict, "These settings have gone back already.")),
            };
        };
        if revision.is_some_and(|r| r != trial.revision) {
            return Err(Refusal::of(
                RefusalKind::Conflict,
                "Other settings are on trial now. Look at them again.",
            ));
        }
        let id = trial.revision;
        self.store.mark(id, RevisionState::Confirmed).await.map_err(|e| Refusal::failed(&e))?;
        let before = state.trial.take().map(|trial| trial.back_to.1);
        state.moved_from = before.and_then(|before| page::MovedFrom::by(before, &state.settings));
        self.journal.note(JournalKind::Trial, author.by(), &format!("confirmed revision {id}"));
        self.publish(&state).await;
        Ok("These settings are kept.".to_owned())
    }

    pub(super) fn end_trial_in_time(self: &std::sync::Arc<Self>, revision: i64) {
        let this = self.clone();
        tokio::spawn(async move {
            tokio::time::sleep(this.options.trial_time).await;
            let mut state = this.state.lock().await;
            // A box that was stopped stays closed.
            if state.ending {
                return;
            }
            if state.trial.as_ref().is_some_and(|t| t.revision == revision)
                && let Some(trial) = state.trial.take()
            {
                let said = this.go_back(&mut state, trial.back_to, &trial.before).await;
                log::warning(&format!("revision {revision} was not confirmed in time. {said}"));
                let what = format!("took back revision {revision}: nobody confirmed it in time. {said}");
                this.journal.note(JournalKind::Trial, By::POSTERN, &what);
            }
        });
    }

    /// Takes back what was on trial, because somebody says so.
    pub(super) async fn end_trial(
        &self,
        state: &mut State,
        trial: OnTrial,
        author: Author,
    ) -> Result<String, Refusal> {
        let (id, broken) = (trial.revision, state.broken.clone());
        let said = self.go_back(state, trial.back_to, &trial.before).await;
        self.journal.note(
            JournalKind::Trial,
            author.by(),
            &format!("took back revision {id} before its time. {said}"),
        );
        if state.broken == broken { Ok(said) } else { Err(Refusal::of(RefusalKind::Failed, said)) }
    }

    /// Puts the settings before back into force; says how that went.
    pub(super) async fn go_back(
        &self,
        state: &mut State,
        back_to: (i64, Settings),
        network: &Network,
    ) -> String {
        let failed = std::mem::replace(&mut state.revision, back_to.0);
        let from = std::mem::replace(&mut state.settings, back_to.1);
        let done = match state.settings.role {
            Role::Router => {
                let step = Step::new(Some(&from), &state.settings);
                self.apply(&state.capabilities, step).await.map(drop).map_err(|failed| failed.why)
            }
            // The companion's table first: what it stands beside goes on deciding while the network is put back.
            Role::Companion => {
                let step = Step::new(Some(&from), &state.settings);
                match self.apply(&state.capabilities, step).await {
                    Ok(_) => self.kernel.configure(network, Load::Commit).await.map(drop),
                    Err(failed) => Err(failed.why),
                }
            }
            Role::Unset => self.leave(Some(network)).await,
        };
        let noted = self.store.mark(failed, RevisionState::Reverted).await;
        if let Err(error) = &noted {
            log::incident(error);
        }
        let said = match done {
            Ok(()) if noted.is_ok() => "The settings before are in force again.".to_owned(),
            // What lies on a disk that has refused everything since is known when it is read.
            Ok(()) => "The settings before are in force again, but that could not be written down: look at them again \
                       after a restart."
                .to_owned(),
            Err(error) => {
                let id = log::incident(&error);
                state.broken = Some(error.to_string());
                // Of the document that knows the local network; the other has no role.
                let home = if state.settings.role == Role::Unset { &from } else { &state.settings };
                self.deny(home).await;
                let what = Self::left_with(home);
                format!("Going back failed: {what}. The log has the details under {id}.")
            }
        };
        self.publish(state).await;
        said
    }

    /// A revision that was neither kept nor taken back when the last daemon ended was not confirmed: it goes. Returns
    /// the newest such document. Marked only after what it did is undone: a crash in between does it again.
    pub(super) async fn revert_unfinished(&self, state: &State) -> Result<Option<Settings>, Refusal> {
        let failed = |e: crate::store::Error| Refusal::failed(&e);
        let mut newest = None;
        loop {
            let (id, unfinished) = match self.store.unconfirmed().await {
                Ok(None) => return Ok(newest),
                Ok(Some(unfinished)) => (unfinished.id, Some(unfinished)),
                Err(crate::store::Error::Document { id, .. } | crate::store::Error::Changed { id }) => {
                    (id, None)
                }
                Err(error) => return Err(failed(error)),
            };
            let table = self.kernel.observe(&[]).await.map_err(|e| Refusal::failed(&e))?.table;
            // Noted in another boot, it describes a network that is no more.
            let noted = unfinished.as_ref().and_then(|u| u.before.as_ref());
            let before = noted.filter(|b| b.boot == self.options.boot).map(|b| &b.network);
            if state.settings.role == Role::Companion
                && let Some(before) = before
                && let Err(error) = self.kernel.configure(before, Load::Commit).await
            {
                log::incident(&error);
            }
            if state.settings.role == Role::Unset && ruleset::beside_others(table.about.as_deref()) {
                self.commit(&ruleset::absent()).await.map_err(|e| Refusal::failed(&e))?;
            } else if state.settings.role == Role::Unset
                && table.present
                && let Err(error) = self.leave(before).await
            {
                log::incident(&error);
                self.leave(None).await.map_err(|e| Refusal::failed(&e))?;
            }
            self.store.mark(id, RevisionState::Reverted).await.map_err(failed)?;
            log::info(&format!("revision {id} was not confirmed before the restart; it was taken back"));
            let what = format!("took back revision {id}: nobody confirmed it before the restart");
            self.journal.note(JournalKind::Trial, By::POSTERN, &what);
            newest = newest.or(unfinished.map(|u| u.settings));
        }
    }
}

impl State {
    /// The owner looked at other settings than there are now.
    pub(super) fn refuse_stale(&self, base: Option<i64>) -> Result<(), Refusal> {
        if base.is_none_or(|base| base == self.revision) {
            return Ok(());
        }
        Err(Refusal::of(
            RefusalKind::Conflict,
            "The settings were changed by somebody else since this page was opened. Nothing was changed now; look at \
             them again.",
        ))
    }

    /// Whether a change may begin at all.
    pub(super) fn refuse_now(&self) -> Result<(), Refusal> {
        if self.ending {
            return Err(Refusal::of(RefusalKind::Failed, "Postern is stopping; nothing was changed."));
        }
        match &self.trial {
            None => Ok(()),
            Some(_) => Err(Refusal::of(
                RefusalKind::OnTrial,
                "Other settings are on trial. Confirm them first, undo them, or wait until they have gone back.",
            )),
        }
    }
}

/// Where the admin page is found.
fn listens(settings: &Settings) -> (Port, bool, Port) {
    let access = &settings.access;
    (access.port, access.https, access.https_port)
}

/// Changes that can cut the owner off from this box stay on trial until a request on the new path confirms them.
pub(super) fn needs_trial(before: &Settings, after: &Settings) -> bool {
    before.role != after.role
        || before.internet.device != after.internet.device
        || before.local_network.devices != after.local_network.devices
        || before.local_network.address != after.local_network.address
        || listens(before) != listens(after)
}
