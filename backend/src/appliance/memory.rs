//! What packets have taught the rules, kept over a restart of the box.
//!
//! After a restart nobody but this file knows whose SPIs the servers go on using: a server that only streams gives no other
//! sign (see "Many clients of one IPsec server" in backend/POLICY.md). A file beside the store, not in it: it is worth
//! nothing a few hours later, and no backup shall hold whose servers these are.
//!
//! Written when the confirmed SPIs have changed, at most once in [`LOOK`], for flash wears; and when the daemon ends.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::{Appliance, Rules, State, status};
use crate::kernel::{Element, Error, Kernel};
use crate::ruleset::{self, SCHEMA};
use crate::settings::Role;
use crate::{file, log};

/// The file's name in the state directory.
pub const FILE: &str = "learnt.json";
/// How often it is asked whether anything new was confirmed.
const LOOK: Duration = Duration::from_secs(60);
/// What is not renewed for longer is not worth keeping: longer than any probation, shorter than anything confirmed.
const LEFT_MS: u64 = 15_000;
/// As many as a set can have; and as many in all, about 4 MB, are kept: 250 clients take 2,500.
const MOST: usize = 32_768;
/// As long as servers and clients know each other. A clock that was set back does no harm: SPIs are random.
const OLDEST: Duration = Duration::from_hours(4);
/// Largest file that is read, in bytes: 32,768 elements of the longest kind, several times over.
const LARGEST: u64 = 16 << 20;

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Kept {
    schema: u32,
    /// Seconds since 1970.
    at: u64,
    /// By set.
    elements: BTreeMap<String, Vec<Element>>,
}

impl<K: Kernel> Appliance<K> {
    /// Keeps what is learnt, for ever.
    pub async fn watch_learnt(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let mut state = self.state.lock().await;
            if state.ending {
                return;
            }
            let changed = self.changed(&mut state).await;
            // Flash may take its time: whoever asks for a page does not wait for it.
            drop(state);
            if let Some((sure, kept)) = changed
                && self.write(kept).await
            {
                self.state.lock().await.kept_learnt = Some(sure);
            }
        }
    }

    /// Writes what is learnt, if other SPIs are confirmed than when it was written last: before the daemon ends.
    pub(super) async fn keep_learnt(&self, state: &mut State) {
        if let Some((sure, kept)) = self.changed(state).await
            && self.write(kept).await
        {
            state.kept_learnt = Some(sure);
        }
    }

    /// The confirmed SPIs and all that is to be kept, if they are others than when it was written last. What is switched off is
    /// forgotten.
    async fn changed(&self, state: &mut State) -> Option<(Vec<Vec<u8>>, Kept)> {
        let path = self.options.memory.as_ref()?;
        if !self.learns(state) {
            if state.kept_learnt.take().is_some() || path.exists() {
                drop(std::fs::remove_file(path));
            }
            return None;
        }
        // Rules that are not in force have learnt nothing: that must not replace what was known. Neither after a port that came
        // up late, nor after somebody has flushed the ruleset.
        let seen = self.kernel.observe(&[]).await.ok()?;
        if state.broken.is_some() || status::rules(state, self.loaded(), &seen) != Rules::Loaded {
            return None;
        }
        let sure = self.learnt(&[ruleset::CONFIRMED]).await.ok()?;
        let mut sure: Vec<Vec<u8>> = sure.into_values().flatten().map(|element| element.key).collect();
        sure.sort_unstable();
        if state.kept_learnt.as_ref() == Some(&sure) {
            return None;
        }
        let elements = self.learnt(ruleset::KEPT).await.ok()?;
        if elements.values().map(Vec::len).sum::<usize>() > MOST {
            log::warning("the rules have learnt too much to be kept over a restart of the box");
            return None;
        }
        Some((sure, Kept { schema: SCHEMA, at: now(), elements }))
    }

    /// True: it is on the disk.
    async fn write(&self, kept: Kept) -> bool {
        let Some(to) = self.options.memory.clone() else { return false };
        let written = spawn_blocking(move || file::replace(&to, &serde_json::to_vec(&kept)?))
            .await
            .unwrap_or_else(|e| Err(e.into()));
        if let Err(error) = &written {
            log::warning(&format!("cannot keep what the rules have learnt: {error}"));
        }
        written.is_ok()
    }

    /// After the rules were loaded into a kernel that knows nothing: what was kept goes back.
    pub(super) async fn recall_learnt(&self, state: &State) {
        let Some(path) = self.options.memory.as_deref().filter(|path| path.exists()) else { return };
        if !self.learns(state) {
            return;
        }
        // Rules that are still in the kernel know better.
        match self.kernel.elements(&[ruleset::CONFIRMED], 1).await {
            Ok(sure) if sure.values().all(Vec::is_empty) => {}
            _ => return,
        }
        let elements = match read(path) {
            Ok(Some(elements)) => elements,
            Ok(None) => return,
            Err(why) => return log::warning(&format!("{} is not used: {why}", path.display())),
        };
        let of: usize = elements.values().map(Vec::len).sum();
        match self.kernel.teach(&elements).await {
            Ok(taken) if taken == of => {}
            Ok(taken) => {
                log::warning(&format!("of what the rules had learnt, {taken} of {of} elements went back"));
            }
            Err(error) => drop(log::incident(&error)),
        }
    }

    /// What these sets and maps hold that is worth keeping.
    pub(super) async fn learnt(
        &self,
        sets: &[&'static str],
    ) -> Result<BTreeMap<String, Vec<Element>>, Error> {
        let worth = |element: &Element| element.rest_ms.is_some_and(|rest| rest >= LEFT_MS);
        let all = self.kernel.elements(sets, MOST).await?.into_iter();
        Ok(all.map(|(set, all)| (set.to_owned(), all.into_iter().filter(worth).collect())).collect())
    }

    fn learns(&self, state: &State) -> bool {
        state.settings.role != Role::Unset && ruleset::learns(&state.settings, &state.capabilities)
    }
}

fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}

/// None: too old, or of other sets than ours.
fn read(path: &Path) -> Result<Option<BTreeMap<String, Vec<Element>>>, String> {
    let size = std::fs::metadata(path).map_err(|e| e.to_string())?.len();
    if size > LARGEST {
        return Err(format!("it has {size} bytes"));
    }
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    let kept: Kept = serde_json::from_slice(&bytes).map_err(|e| e.to_string())?;
    if let Some(odd) = kept.elements.keys().find(|set| !ruleset::KEPT.contains(&set.as_str())) {
        return Err(format!("it names {odd:?}"));
    }
    let old = now().saturating_sub(kept.at) > OLDEST.as_secs();
    Ok((kept.schema == SCHEMA && !old).then_some(kept.elements))
}

#[cfg(test)]
mod tests;
