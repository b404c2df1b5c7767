//! The fake daemon's settings and their history, by the key table of the real one.

use postern::door::messages::{
    Assignment, Difference, Refusal, RefusalKind, Response, Revision, RevisionState,
};
use postern::settings::{FieldError, Settings, keys};

use super::{State, done, refusal};

impl State {
    pub(super) fn revision(&self) -> i64 {
        self.history.first().map_or(0, |r| r.id)
    }

    /// As if somebody saved this.
    pub fn save(&mut self, who: &str, via: &str, patch: &[Assignment]) -> Result<(), FieldError> {
        let mut next = self.settings.clone();
        for Assignment { key, value } in patch {
            keys::set(&mut next, key, value)?;
        }
        self.replace(who, via, "", next);
        Ok(())
    }

    /// As if somebody saved this, with a comment.
    pub fn save_with_comment(&mut self, who: &str, via: &str, comment: &str, key: &str, value: &str) {
        let mut next = self.settings.clone();
        keys::set(&mut next, key, value).expect("a setting");
        self.replace(who, via, comment, next);
    }

    fn replace(&mut self, who: &str, via: &str, comment: &str, next: Settings) {
        let revision = Revision {
            id: self.revision() + 1,
            at: 1_795_000_000 + self.revision() * 5000,
            who: who.into(),
            via: via.into(),
            comment: comment.into(),
            state: RevisionState::Confirmed,
            differs: differences(&self.settings, &next),
        };
        self.documents.push(next.clone());
        self.settings = next;
        self.history.insert(0, revision);
    }

    pub(super) fn change(&mut self, base: Option<i64>, patch: Vec<Assignment>) -> Response {
        self.changes.push((base, patch.clone()));
        if let Some(refusal) = self.refuse.take() {
            return Response::Refused(refusal);
        }
        if base.is_some_and(|base| base != self.revision()) {
            return Response::Refused(refusal(RefusalKind::Conflict, "The settings have changed meanwhile."));
        }
        let mut next = self.settings.clone();
        let known = patch.iter().all(|one| keys::set(&mut next, &one.key, &one.value).is_ok());
        if let Some(refused) = self.wants_proof(&next).filter(|_| known) {
            return refused;
        }
        match self.save("owner", "192.168.1.23", &patch) {
            Ok(()) => done(&format!(
                "PPTP passthrough is {}.",
                if self.settings.passthrough.pptp.enabled { "on" } else { "off" }
            )),
            Err(field) => Response::Refused(Refusal {
                fields: vec![field],
                ..refusal(RefusalKind::Invalid, "Nothing was changed.")
            }),
        }
    }

    pub(super) fn undo(&mut self, revision: Option<i64>) -> Response {
        let id = revision.unwrap_or(self.revision());
        let (Some(before), Some(after)) = (self.document(id - 1), self.document(id)) else {
            return Response::Refused(refusal(RefusalKind::Invalid, "There is no such kept revision."));
        };
        let mut wanted = self.settings.clone();
        let since: Vec<FieldError> = keys::difference(&before, &after)
            .into_iter()
            .filter_map(|(key, ..)| keys::take_back(&key, &before, &after, &mut wanted).err())
            .collect();
        if !since.is_empty() {
            let message =
                format!("Revision {id} cannot be undone alone: what it changed was changed again since.");
            return Response::Refused(Refusal { fields: since, ..refusal(RefusalKind::Conflict, &message) });
        }
        if let Some(refused) = self.wants_proof(&wanted) {
            return refused;
        }
        self.replace("owner", "192.168.1.23", &format!("undo of revision {id}"), wanted);
        done(&format!("Revision {id} is undone."))
    }

    pub(super) fn go_back(&mut self, id: i64) -> Response {
        let Some(wanted) = self.document(id) else {
            return Response::Refused(refusal(RefusalKind::Invalid, "There is no such kept revision."));
        };
        if let Some(refused) = self.wants_proof(&wanted) {
            return refused;
        }
        self.replace("owner", "192.168.1.23", &format!("back to revision {id}"), wanted);
        done(&format!("The settings are those of revision {id} again."))
    }

    pub(super) fn import(&mut self, text: &str, dry: bool, base: Option<i64>) -> Response {
        let invalid = |fields| Response::Refused(Refusal::invalid(fields));
        let wanted = match Settings::from_toml(text).and_then(|wanted| wanted.unmasked(&self.settings)) {
            Ok(wanted) => wanted,
            Err(wrong) => return invalid(vec![wrong]),
        };
        let wrong = wanted.check();
        if !wrong.is_empty() {
            return invalid(wrong);
        }
        if dry {
            return Response::Differences { differs: differences(&self.settings, &wanted) };
        }
        if let Some(refused) = self.wants_proof(&wanted) {
            return refused;
        }
        self.imports.push((base, text.to_owned()));
        if base.is_some_and(|base| base != self.revision()) {
            return Response::Refused(refusal(RefusalKind::Conflict, "The settings have changed meanwhile."));
        }
        self.replace("owner", "192.168.1.23", "import", wanted);
        done("The settings were imported.")
    }

    fn wants_proof(&self, wanted: &Settings) -> Option<Response> {
        let asked = self.stale && wanted.opens(&self.settings);
        asked.then(|| {
            Response::Refused(refusal(RefusalKind::Prove, "Type the password of this router first."))
        })
    }

    fn document(&self, id: i64) -> Option<Settings> {
        usize::try_from(id).ok().and_then(|id| self.documents.get(id)).cloned()
    }
}

fn differences(before: &Settings, after: &Settings) -> Vec<Difference> {
    let all = keys::difference(before, after).into_iter();
    all.map(|(key, before, after)| Difference { key, before, after }).collect()
}
