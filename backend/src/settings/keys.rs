//! The key table: every setting by its dotted name, in words.
//!
//! The command line, the forms, the history and the export file all say the same words; this is the one place that
//! knows them. A value that is absent is written with a word of its own, mostly `unset`, and `unset` always clears.

mod table;
#[cfg(test)]
mod tests;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use super::names::{Secret, Wrong};
use super::{FieldError, Settings};

pub use table::ALL;

/// Clears an optional value or a list.
pub const UNSET: &str = "unset";

/// One setting.
#[derive(Debug)]
pub struct Key {
    /// Its dotted name, for example `passthrough.pptp.enabled`.
    pub name: &'static str,
    /// What kind of value it takes, so that a form can choose its control.
    pub kind: Kind,
    /// The word for "nothing here"; `None`: there is always a value.
    pub absent: Option<&'static str>,
    /// One sentence for the owner.
    pub hint: &'static str,
    read: fn(&Settings) -> String,
    write: fn(&mut Settings, &str) -> Result<(), Wrong>,
}

/// What kind of value a key takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `true` or `false`.
    Switch,
    /// One of these words.
    Choice(&'static [&'static str]),
    /// One word or number.
    Value,
    /// Words with commas between them.
    List,
    /// A word that is never shown: it reads as [`Secret::MASK`], and writing the mask keeps what is there.
    Secret,
    /// A list of records, read here and changed with verbs of its own.
    Records,
}

impl Key {
    /// The value in words. A secret shows its mask.
    pub fn get(&self, settings: &Settings) -> String {
        match (self.kind, (self.read)(settings)) {
            (_, words) if words == UNSET => self.absent.unwrap_or(UNSET).to_owned(),
            (Kind::Secret, _) => Secret::MASK.to_owned(),
            (_, words) => words,
        }
    }

    /// Takes a new value in words. On an error nothing has changed.
    pub fn set(&self, settings: &mut Settings, value: &str) -> Result<(), FieldError> {
        let value = value.trim();
        let refuse = |sentence: &str| Err(FieldError::new(self.name, sentence));
        match self.kind {
            Kind::Records => return refuse("This list cannot be written as one value."),
            Kind::Secret if value == Secret::MASK => {
                return match (self.read)(settings) == UNSET {
                    true => refuse("Type the password; there is none yet that could be kept."),
                    false => Ok(()),
                };
            }
            _ => {}
        }
        let value = if self.absent == Some(value) { UNSET } else { value };
        (self.write)(settings, value).map_err(|wrong| FieldError::new(self.name, wrong.0))
    }
}

/// The key of this name.
pub fn find(name: &str) -> Option<&'static Key> {
    ALL.iter().find(|key| key.name == name)
}

/// The value of one key in words; `None`: there is no such key.
pub fn get(settings: &Settings, name: &str) -> Option<String> {
    find(name).map(|key| key.get(settings))
}

/// The key `name`, or all keys below it (`passthrough`, `passthrough.pptp`), or with an empty name all there are.
pub fn below(settings: &Settings, name: &str) -> Result<Vec<(&'static str, String)>, FieldError> {
    let inside = |key: &&Key| name.is_empty() || key.name == name || is_below(key.name, name);
    let found: Vec<_> = ALL.iter().filter(inside).map(|key| (key.name, key.get(settings))).collect();
    if found.is_empty() { Err(unknown(name)) } else { Ok(found) }
}

/// Changes one key; `forwards.NAME` is one port forward. On an error nothing has changed.
pub fn set(settings: &mut Settings, name: &str, value: &str) -> Result<(), FieldError> {
    match name.strip_prefix(super::forwards::KEY) {
        Some(forward) => settings.set_forward(forward, value),
        None => find(name).ok_or_else(|| unknown(name))?.set(settings, value),
    }
}

/// Takes one change back: `name` gets in `into` the value it had in `before`, if it still has that of `after`. Else
/// somebody has changed it since, and the error says what it is now.
pub fn take_back(
    name: &str,
    before: &Settings,
    after: &Settings,
    into: &mut Settings,
) -> Result<(), FieldError> {
    if let Some(forward) = name.strip_prefix(super::forwards::KEY) {
        let now = into.forward_in_words(forward);
        if now != after.forward_in_words(forward) {
            return Err(FieldError::new(name, format!("This was changed again since; it is {now} now.")));
        }
        let words = before.forward_in_words(forward);
        return if now == words { Ok(()) } else { into.set_forward(forward, &words) };
    }
    let key = find(name).ok_or_else(|| unknown(name))?;
    if (key.read)(into) != (key.read)(after) {
        return Err(FieldError::new(
            key.name,
            format!("This was changed again since; it is {} now.", key.get(into)),
        ));
    }
    match key.name {
        "devices" => into.devices.clone_from(&before.devices),
        "forwards" => into.forwards.clone_from(&before.forwards),
        _ => (key.write)(into, &(key.read)(before)).map_err(|wrong| FieldError::new(key.name, wrong.0))?,
    }
    Ok(())
}

/// What differs, as (key, before, after) in the order of the table; each port forward by its own name. Two different secrets
/// show two masks.
pub fn difference(before: &Settings, after: &Settings) -> Vec<(String, String, String)> {
    let differs = |key: &&Key| (key.read)(before) != (key.read)(after);
    let mut all = Vec::new();
    for key in ALL.iter().filter(differs) {
        let one_by_one = if key.name == "forwards" { forwards(before, after) } else { Vec::new() };
        match one_by_one.len() {
            1..=MOST_ALONE => all.extend(one_by_one),
            _ => all.push((key.name.to_owned(), key.get(before), key.get(after))),
        }
    }
    all
}

/// Most forwards that are named one by one; of more, the whole list is.
const MOST_ALONE: usize = 16;

/// Those that differ. None: they do in their order alone.
fn forwards(before: &Settings, after: &Settings) -> Vec<(String, String, String)> {
    let known = |settings: &Settings| {
        settings.forwards.iter().map(|f| (f.name.to_string(), f.words())).collect::<BTreeMap<_, _>>()
    };
    let (was, is) = (known(before), known(after));
    let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
    let words = |all: &BTreeMap<String, String>, name: &String| {
        all.get(name).cloned().unwrap_or_else(|| UNSET.to_owned())
    };
    let one =
        |name: &String| (format!("{}{name}", super::forwards::KEY), words(&was, name), words(&is, name));
    names.into_iter().map(one).filter(|(_, before, after)| before != after).collect()
}

fn is_below(name: &str, group: &str) -> bool {
    name.strip_prefix(group).is_some_and(|rest| rest.starts_with('.'))
}

/// Refuses a name that is no key, and says which one was probably meant.
fn unknown(name: &str) -> FieldError {
    let shown: String = name.chars().take(64).filter(|c| !c.is_control()).collect();
    let group: Vec<&str> = ALL.iter().map(|key| key.name).filter(|key| is_below(key, name)).collect();
    let message = match (group.is_empty(), nearest(&shown)) {
        (false, _) => format!("{shown} is a group of settings: {}.", group.join(", ")),
        (true, Some(near)) => format!("There is no setting named {shown}. Did you mean {near}?"),
        (true, None) => format!("There is no setting named {shown}."),
    };
    FieldError::new(shown, message)
}

/// The key that ends like `name`, or else the one that is the fewest typing mistakes away.
fn nearest(name: &str) -> Option<&'static str> {
    let names = || ALL.iter().map(|key| key.name);
    let tail =
        |key: &&str| !name.is_empty() && key.strip_suffix(name).is_some_and(|rest| rest.ends_with('.'));
    let few = 2 + name.len() / 4;
    let mistyped = || names().map(|key| (distance(name, key), key)).filter(|(n, _)| *n <= few).min();
    names().find(tail).or_else(|| mistyped().map(|(_, key)| key))
}

/// Insertions, deletions and replacements between two words (Levenshtein).
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != *y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
