//! Somebody else saved since the form was read: both values are shown, and the owner decides.

use postern::door::messages::{Assignment, Clock, Request as Ask, Response as Answer, Revision};
use postern::settings::forwards;
use postern::settings::keys::{self, Kind};
use postern::settings::names::Secret;

use crate::error::Problem;
use crate::login::Admin;
use crate::words::{self, Change};

/// What stands above both values.
pub const REFUSED: &str = "Nothing was saved: the settings have changed since you opened this page. Below is what you \
    chose; save again if it shall replace what is stored now.";

/// One setting where what is stored now and what was chosen differ.
pub struct Clash {
    /// What people call it.
    pub label: String,
    /// Stored now.
    pub now: String,
    /// Chosen.
    pub chosen: String,
}

/// What people call a setting, if it is on the page.
pub type Label = fn(&str) -> Option<&'static str>;

/// The settings that were chosen otherwise than they are `now`.
pub fn clashes(
    chosen: Vec<Assignment>,
    now: impl Fn(&str) -> String,
    label: Label,
    clock: &Clock,
) -> Vec<Clash> {
    let clash = |a: Assignment| Clash {
        label: named(&a.key, label).unwrap_or_else(|| "A setting".to_owned()),
        now: words::value_with_time(&a.key, &now(&a.key), clock),
        chosen: match secret(&a.key) {
            true => Secret::MASK.to_owned(),
            false => words::value_with_time(&a.key, &a.value, clock),
        },
    };
    chosen.into_iter().map(clash).collect()
}

/// What people call it; of several things of one kind, with its name.
fn named(key: &str, label: Label) -> Option<String> {
    let label = label(key)?;
    let name = key.strip_prefix(forwards::KEY);
    Some(name.map_or_else(|| label.to_owned(), |name| format!("{label} {name}")))
}

/// What was typed there is not shown, not even to who typed it.
fn secret(key: &str) -> bool {
    keys::ALL.iter().any(|known| known.name == key && known.kind == Kind::Secret)
}

/// Who saved what since revision `base`.
pub async fn meanwhile(admin: &Admin, base: i64, label: Label) -> Result<Vec<String>, Problem> {
    let Answer::History { revisions } = admin.ask(Ask::History { limit: 20 }).await? else {
        return Err(Problem::Misunderstood("history"));
    };
    Ok(revisions.iter().filter(|r| r.id > base).map(|r| saved_by(r, label, &admin.status.clock)).collect())
}

fn saved_by(revision: &Revision, label: Label, clock: &Clock) -> String {
    let words = revision.differs.iter().map(|d| {
        let what = named(&d.key, label).unwrap_or_else(|| d.key.clone());
        let became = Change::of(d, clock);
        format!("{what}: {} \u{2192} {}", became.before, became.after)
    });
    let words: Vec<String> = words.collect();
    let (at, who, via) = (clock.say(revision.at), &revision.who, &revision.via);
    format!("Revision {} by {who} ({via}), {at}. {}", revision.id, words.join("; "))
}
