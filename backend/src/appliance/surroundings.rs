//! What stands on the box besides Postern, for whoever chooses its role; and what OpenWrt's configuration says, held against ours and
//! taken when the owner says so.

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{Appliance, Author, Refusal, RefusalKind};
use crate::kernel::Kernel;
use crate::settings::{Settings, forwards, keys};
use crate::sides::files::Found;
use crate::sides::{Other, Proposal, others, propose};
use crate::store::Difference;
use crate::uci::{self, Files, Left, Part};

/// Most differences, and most sentences, of one part that are told: an answer must fit into a frame of the door.
const MOST: usize = 150;

/// What stands here besides Postern.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beside {
    /// Other firewalls whose rules the kernel holds.
    pub firewalls: Vec<Other>,
    /// Which devices seem to be the two sides; none: nothing tells for sure.
    pub proposal: Option<Proposal>,
    /// OpenWrt's configuration.
    pub uci: Uci,
}

/// Whether there is a configuration of OpenWrt.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Uci {
    /// There is none.
    #[default]
    Nowhere,
    /// The daemon may not read this file of it.
    Unreadable {
        /// Which.
        path: String,
    },
    /// It is in this folder.
    There {
        /// Which.
        folder: String,
    },
}

/// What OpenWrt's configuration says, against ours.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromUci {
    /// Where it was read.
    pub folder: String,
    /// Tells these files from others: what is taken must be what was shown.
    pub digest: String,
    /// The revision it was held against.
    pub revision: i64,
    /// In the order of [`Part::ALL`].
    pub parts: Vec<FromPart>,
}

/// One part of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FromPart {
    /// Which.
    pub part: Part,
    /// What would differ; one device is `devices.MAC`.
    pub differs: Vec<Difference>,
    /// What is not taken, and why.
    pub left_out: Vec<String>,
    /// Differences and sentences that found no place here.
    pub more: (usize, usize),
}

impl<K: Kernel> Appliance<K> {
    /// What stands here besides Postern.
    pub async fn beside(&self) -> Beside {
        // What cannot be read is not told.
        let listing = self.kernel.listing().await.unwrap_or_default();
        let found = self.options.places.read();
        Beside { firewalls: others(&listing), proposal: propose(&found.said), uci: Uci::of(&found) }
    }

    /// What OpenWrt's configuration says that ours does not.
    pub fn from_uci(&self) -> Result<FromUci, Refusal> {
        let (revision, settings) = self.settings();
        let (folder, found) = self.found_uci()?;
        let all = read(&found, &settings, &Part::ALL)?;
        Ok(FromUci {
            folder: folder.display().to_string(),
            digest: digest(&found),
            revision,
            parts: Part::ALL.into_iter().map(|part| told(part, &settings, &all)).collect(),
        })
    }

    /// Takes these parts of it. `digest`: of what was looked at.
    pub async fn take_uci(
        self: &Arc<Self>,
        base: Option<i64>,
        looked_at: &str,
        parts: &[Part],
        author: Author,
    ) -> Result<String, Refusal> {
        let mut state = self.state.lock().await;
        state.refuse_now()?;
        state.refuse_stale(base)?;
        let (_, found) = self.found_uci()?;
        if digest(&found) != looked_at {
            let message =
                "OpenWrt\u{2019}s configuration has changed since you looked. Nothing was taken; look again.";
            return Err(Refusal::of(RefusalKind::Conflict, message));
        }
        let (all, some) = (read(&found, &state.settings, &Part::ALL)?, read(&found, &state.settings, parts)?);
        for part in parts {
            // Fixed addresses and forwards of one local network mean nothing in another.
            if differences(*part, &state.settings, &all.settings)
                != differences(*part, &state.settings, &some.settings)
            {
                let message = "These are for the local network of OpenWrt\u{2019}s configuration: take the two sides too. Nothing was taken.";
                return Err(Refusal::field(RefusalKind::Invalid, part.word(), message));
            }
        }
        self.replace(&mut state, some.settings, "from OpenWrt's configuration", author).await
    }

    fn found_uci(&self) -> Result<(PathBuf, Found), Refusal> {
        let found = self.options.places.read();
        let none = "There is no configuration of OpenWrt on this box.";
        let folder = found.folder.clone().ok_or_else(|| Refusal::of(RefusalKind::Invalid, none))?;
        match &found.unreadable {
            None => Ok((folder, found)),
            Some(path) => Err(Refusal::of(
                RefusalKind::Invalid,
                format!(
                    "Postern may not read {}. As root, on the command line: postern import uci --dry-run.",
                    path.display()
                ),
            )),
        }
    }
}

impl Uci {
    fn of(found: &Found) -> Self {
        match (&found.folder, &found.unreadable) {
            (None, _) => Self::Nowhere,
            (_, Some(path)) => Self::Unreadable { path: path.display().to_string() },
            (Some(folder), None) => Self::There { folder: folder.display().to_string() },
        }
    }
}

fn digest(found: &Found) -> String {
    let mut hasher = DefaultHasher::new();
    found.said.uci.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

fn read(found: &Found, now: &Settings, parts: &[Part]) -> Result<uci::Read, Refusal> {
    let [network, firewall, dhcp] = &found.said.uci;
    uci::read(&Files { network, firewall, dhcp }, now, parts).map_err(|broken| {
        let folder = found.folder.clone().unwrap_or_default();
        let message =
            format!("{}/{broken} OpenWrt cannot read it either. Nothing was taken.", folder.display());
        Refusal::of(RefusalKind::Invalid, message)
    })
}

fn told(part: Part, now: &Settings, read: &uci::Read) -> FromPart {
    let mut differs = differences(part, now, &read.settings);
    let left = read.left_out.iter().filter(|left: &&Left| left.part == part);
    let mut left_out: Vec<String> = left.map(|left| left.sentence.clone()).collect();
    let more = (differs.len().saturating_sub(MOST), left_out.len().saturating_sub(MOST));
    differs.truncate(MOST);
    left_out.truncate(MOST);
    FromPart { part, differs, left_out, more }
}

/// What differs of this part; devices and forwards one by one, however many.
fn differences(part: Part, before: &Settings, after: &Settings) -> Vec<Difference> {
    let one = |key: String, before: String, after: String| Difference { key, before, after };
    match part {
        Part::Devices => {
            let words = |settings: &Settings, mac| {
                let known = settings.devices.iter().find(|device| device.mac == mac);
                known.map_or_else(
                    || keys::UNSET.to_owned(),
                    |device| match device.address {
                        Some(address) => format!("{}, {address}", device.name),
                        None => device.name.to_string(),
                    },
                )
            };
            let macs: BTreeSet<_> =
                [before, after].iter().flat_map(|s| s.devices.iter().map(|d| d.mac)).collect();
            let all = macs
                .into_iter()
                .map(|mac| one(format!("devices.{mac}"), words(before, mac), words(after, mac)));
            all.filter(|differs| differs.before != differs.after).collect()
        }
        Part::Forwards => {
            let names: BTreeSet<&str> =
                [before, after].iter().flat_map(|s| s.forwards.iter().map(|f| f.name.as_str())).collect();
            let all = names.into_iter().map(|name| {
                let key = format!("{}{name}", forwards::KEY);
                one(key, before.forward_in_words(name), after.forward_in_words(name))
            });
            all.filter(|differs| differs.before != differs.after).collect()
        }
        Part::Sides | Part::Helpers => {
            let begins: &[&str] = match part {
                Part::Sides => &["internet.", "local_network."],
                _ => &["passthrough.", "helpers."],
            };
            let ours = |key: &str| begins.iter().any(|begin| key.starts_with(begin));
            let all = keys::difference(before, after).into_iter();
            all.filter(|(key, ..)| ours(key)).map(|(key, before, after)| one(key, before, after)).collect()
        }
    }
}

#[cfg(test)]
mod tests;
