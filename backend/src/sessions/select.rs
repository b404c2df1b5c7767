//! Which of many sessions are shown: filter and pages, so that no answer is long however many there are.

use serde::{Deserialize, Serialize};

use super::{Folded, Kind, Session};

/// Longest page.
pub const MOST: usize = 200;

/// What is asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Filter {
    /// Only these whose device or server has this in its address or name; empty: all. At most 64 characters count.
    #[serde(default)]
    pub text: String,
    /// Only of this kind.
    #[serde(default)]
    pub kind: Option<Kind>,
    /// So many are passed over.
    #[serde(default)]
    pub skip: usize,
    /// At most so many, 1 to 200.
    #[serde(default)]
    pub limit: usize,
}

/// Some of the sessions.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Page {
    /// These, in order of kind, device and server.
    pub sessions: Vec<Session>,
    /// How many there are in all.
    pub total: usize,
    /// How many of them fit the filter.
    pub matching: usize,
    /// So many were passed over.
    pub skipped: usize,
    /// Conntrack entries that were too many to look at.
    pub left_out: u64,
    /// How many of each kind there are, whatever the filter.
    pub kinds: Vec<(Kind, usize)>,
    /// Milliseconds since the kernel was looked at.
    pub age_ms: u64,
    /// Conntrack entries in all, and how many fit.
    pub conntrack: (u64, u64),
}

impl Filter {
    /// The page of `all` that is asked for.
    pub fn page(&self, all: &[Folded]) -> Page {
        let text: String = self.text.trim().chars().take(64).collect::<String>().to_lowercase();
        let has = |value: &str| value.to_lowercase().contains(&text);
        let fits = |session: &Session| {
            let named = [&session.device.name, &session.device.mac].into_iter().flatten().any(|n| has(n));
            self.kind.is_none_or(|kind| kind == session.kind)
                && (text.is_empty()
                    || named
                    || has(&session.device.address.to_string())
                    || has(&session.server.to_string())
                    || session.server_name.as_deref().is_some_and(has))
        };
        let fitting: Vec<&Session> = all.iter().map(|one| &one.session).filter(|one| fits(one)).collect();
        let skipped = self.skip.min(fitting.len());
        let limit = if self.limit == 0 { 50 } else { self.limit.min(MOST) };
        let kinds = Kind::ALL.into_iter().filter_map(|kind| {
            let count = all.iter().filter(|one| one.session.kind == kind).count();
            (count > 0).then_some((kind, count))
        });
        Page {
            sessions: fitting.iter().skip(skipped).take(limit).map(|one| (*one).clone()).collect(),
            total: all.len(),
            matching: fitting.len(),
            skipped,
            kinds: kinds.collect(),
            ..Page::default()
        }
    }
}
