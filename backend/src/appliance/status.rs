//! What is true now, read back from the kernel and said in words.

use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::flows::lan_link;
use super::truth::{Truth, named_flows};
use super::{Appliance, State};
use crate::kernel::{Kernel, Observation, SeenLink};
use crate::log;
use crate::ruleset::{self, FlowMatch};
use crate::settings::Role;

/// What is true now, read back from the kernel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Newest revision; 0: factory state.
    pub revision: i64,
    /// Role in force.
    pub role: Role,
    /// Settings that are on trial.
    pub trial: Option<Trial>,
    /// Our table in the kernel.
    pub rules: Rules,
    /// One each for PPTP, L2TP, IPsec.
    pub passthrough: Vec<Protocol>,
    /// The port towards the provider, as the kernel shows it; none: not chosen or not there.
    pub internet: Option<SeenLink>,
    /// The device of the local network, as the kernel shows it.
    pub local_network: Option<SeenLink>,
    /// Conntrack entries now, and how many fit.
    pub conntrack: (u64, u64),
    /// Seconds since the daemon started.
    pub uptime_seconds: u64,
    /// Whether [`Request::Mend`](crate::door::messages::Request::Mend) has something to put right.
    pub needs_mending: bool,
    /// Things the owner should know, in words.
    pub notices: Vec<String>,
}

/// Settings that revert by themselves unless confirmed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Which revision.
    pub revision: i64,
    /// Since when, in milliseconds.
    pub age_ms: u64,
    /// Seconds left.
    pub seconds_left: u32,
}

/// Our table in the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Rules {
    /// As we loaded it.
    Loaded,
    /// Only the deny table: nothing is forwarded.
    Deny,
    /// Not there, as it should be (role unset).
    NotWanted,
    /// Not there, though it should be.
    Missing,
    /// There, but somebody else changed it.
    Edited,
    /// Could not be read back.
    Unknown {
        /// Why.
        reason: String,
    },
}

/// Effective state of one passthrough protocol.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Protocol {
    /// `pptp`, `l2tp` or `ipsec`.
    pub name: String,
    /// What the owner wants.
    pub configured: bool,
    /// What is true.
    pub effect: Effect,
    /// Where configured and true differ, or a choice has a consequence: why, in words.
    pub reason: Option<String>,
    /// Packets let through since the table was made.
    pub passed: u64,
    /// Packets refused since the table was made.
    pub refused: u64,
    /// Open calls or tunnels of the local network's devices, from conntrack.
    pub open: u32,
    /// IPsec: those of `open` that use NAT-T.
    pub nat_traversal: u32,
    /// PPTP: control connections opened without the helper; they must redial.
    pub must_redial: u32,
}

/// Effective state in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// On, and used now.
    Working,
    /// On; nobody uses it now.
    Ready,
    /// Off, and refused in the kernel.
    Blocked,
    /// What is true differs from what is configured; the reason says why.
    Differs,
    /// Role unset: nothing is in effect.
    Inactive,
}

impl<K: Kernel> Appliance<K> {
    /// Reads back from the kernel what is true.
    pub async fn status(&self) -> Status {
        let state = self.state.lock().await;
        let wanted: Vec<FlowMatch> =
            named_flows(&state.settings).into_iter().flat_map(|(_, flows)| flows).collect();
        let (seen, rules) = match self.kernel.observe(&wanted).await {
            Ok(seen) => {
                let rules = rules(&state, self.loaded(), &seen);
                (seen, rules)
            }
            Err(error) => (Observation::default(), Rules::Unknown { reason: error.to_string() }),
        };
        let drift = match rules {
            Rules::Loaded => self.drift(&state.settings, &seen).await,
            _ => Vec::new(),
        };
        let truth = Truth { state: &state, seen: &seen, rules: &rules, drift: &drift };
        let device = |name: Option<&str>| seen.links.iter().find(|l| Some(l.name.as_str()) == name).cloned();
        let trial_time = self.options.trial_time;
        Status {
            revision: state.revision,
            role: state.settings.role,
            trial: state.trial.as_ref().map(|trial| Trial {
                revision: trial.revision,
                age_ms: trial.since.elapsed().as_millis() as u64,
                seconds_left: trial_time.saturating_sub(trial.since.elapsed()).as_secs() as u32,
            }),
            passthrough: truth.protocols(),
            notices: truth.notices(),
            needs_mending: matches!(rules, Rules::Edited | Rules::Missing | Rules::Deny) || !drift.is_empty(),
            internet: device(state.settings.internet.device.as_ref().map(|d| d.as_str())),
            local_network: lan_link(&state.settings, &seen.links).cloned(),
            conntrack: seen.conntrack,
            uptime_seconds: self.started.elapsed().as_secs(),
            rules,
        }
    }

    /// Looks after the box for ever: notices within seconds when somebody else changes what is ours, and says so in
    /// the log, once each time; tries again what could not be put into force (a port that appears late); follows the
    /// addresses that the admin page can have. Whoever asks for the status reads the kernel anew in any case.
    pub async fn watch(&self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let mut state = self.state.lock().await;
            if state.ending {
                return;
            }
            if state.broken.is_some() && state.trial.is_none() && self.start(&mut state, None).await {
                log::info("the settings are in force now");
                self.publish(&state).await;
            }
            let Ok(seen) = self.kernel.observe(&[]).await else { continue };
            self.publish_addresses(&state.settings, &seen.links);
            let foreign = match rules(&state, self.loaded(), &seen) {
                Rules::Edited | Rules::Missing => true,
                Rules::Loaded => !self.drift(&state.settings, &seen).await.is_empty(),
                _ => false,
            };
            // A mend begins anew: the next hand that touches it is another one.
            if !self.told.swap(foreign, Relaxed) && foreign {
                log::warning(
                    "somebody else has changed Postern's rules, addresses or kernel settings; \"postern mend\" puts them right",
                );
            }
        }
    }
}

/// How often the kernel is looked at. The ruleset's generation number, links and sysctls: under a millisecond.
const LOOK: Duration = Duration::from_secs(3);

/// How our table stands, against what is wanted and what was `loaded`.
pub(super) fn rules(state: &State, loaded: Option<u64>, seen: &Observation) -> Rules {
    let table = &seen.table;
    match (table.present, state.settings.role != Role::Unset) {
        (false, false) => Rules::NotWanted,
        (false, true) => Rules::Missing,
        (true, _) if loaded != Some(table.fingerprint) || table.chains != ruleset::chains() => Rules::Edited,
        (true, _) if table.about.as_deref().is_none_or(ruleset::denies) => Rules::Deny,
        (true, _) => Rules::Loaded,
    }
}
