//! What is true now, read back from the kernel and said in words.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::attempts::{Attempt, attempts};
use super::beside::KEPT_ONLY;
use super::defeats::Defeated;
use super::devices;
use super::flows::lan_link;
use super::internet::{self, InternetState};
use super::lacks::{Lack, lacks};
use super::network::network;
use super::share::OverShare;
use super::truth::{Truth, helped_flows, named_flows};
use super::{Appliance, State};
use crate::clock::Clock;
use crate::journal::{By, JournalKind};
use crate::kernel::{Kernel, Load, Observation, SeenLink};
use crate::log;
use crate::ruleset::{self, FlowMatch, Helper, Switch, Vpn};
use crate::services::Service;
use crate::sessions::Sample;
use crate::settings::internet::Mode;
use crate::settings::names::{DmzHost, IfName, Spi};
use crate::settings::{Role, Settings};

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
    /// One each for the helpers of `helpers.*`, in the order of the page.
    pub helpers: Vec<HelperState>,
    /// `passthrough.ipsec.many_clients`.
    pub many_clients: ManyClients,
    /// What this kernel lacks, wanted or not.
    pub lacks: Vec<Lack>,
    /// Whether this kernel has flow tables. Postern uses none.
    pub flow_tables: bool,
    /// The port towards the provider, as the kernel shows it; none: not chosen or not there.
    pub internet: Option<SeenLink>,
    /// The device of the local network, as the kernel shows it.
    pub local_network: Option<SeenLink>,
    /// DHCP and DNS of the local network.
    #[serde(default)]
    pub dhcp_dns: Service,
    /// The internet address: lent by whom, until when, behind whose NAT.
    #[serde(default)]
    pub internet_state: InternetState,
    /// Conntrack entries now, and how many fit.
    pub conntrack: (u64, u64),
    /// The time, and the owner's time zone.
    #[serde(default)]
    pub clock: Clock,
    /// Seconds since the daemon started.
    pub uptime_seconds: u64,
    /// Whether [`Request::Mend`](crate::door::messages::Request::Mend) has something to put right.
    pub needs_mending: bool,
    /// What went through the internet port: looks that were taken, oldest first, ten minutes of them at most.
    pub throughput: Vec<Sample>,
    /// Devices that tried what is refused, within the last ten minutes; the newest first, at most 20.
    pub attempts: Vec<Attempt>,
    /// As in [`Greeting`](crate::door::messages::Greeting).
    #[serde(default)]
    pub fingerprint: Option<String>,
    /// Beside another firewall: what its rules keep from working.
    #[serde(default)]
    pub defeats: Vec<Defeated>,
    /// Devices that hold too much of the connection table; each is among the notices too.
    #[serde(default)]
    pub over_share: Vec<OverShare>,
    /// Where the admin page is: the daemon's own sockets, which the pages are served at.
    #[serde(default)]
    pub pages: Vec<SocketAddr>,
    /// Where the admin page is instead of the port it should have, in words; those are among the notices too.
    #[serde(default)]
    pub page_elsewhere: Vec<String>,
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
    /// The page is by HTTPS in them: only who has come by it shows that the owner is not locked out.
    pub https: bool,
    /// Where the page is in them: only who has come by one of these ports shows that.
    pub ports: Vec<u16>,
    /// What the page that is opened cannot show, so that it keeps nothing by itself; in words.
    pub waits: Option<String>,
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

/// Effective state of one helper.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HelperState {
    /// Which.
    pub helper: Helper,
    /// What people call it.
    pub title: String,
    /// What the owner wants.
    pub configured: bool,
    /// What is true.
    pub effect: Effect,
    /// Where configured and true differ: why, in words.
    pub reason: Option<String>,
    /// Connections that it watches now.
    pub attached: u32,
    /// Connections that it let in since the table was made.
    pub let_in: u64,
}

/// Several devices that use IPsec to one server without NAT traversal: what is true, and what was held back since the table
/// was made.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ManyClients {
    /// What the owner wants.
    pub configured: bool,
    /// The rules for it are in force.
    pub in_force: bool,
    /// Where the two differ: why, in words.
    pub reason: Option<String>,
    /// Packets held back while another device was being paired with the same server.
    pub waiting: u64,
    /// New tunnels of one device beyond its limit, dropped.
    pub limited: u64,
    /// New tunnels given to the likeliest device, on probation.
    pub probation: u64,
    /// Packets of servers that could be for several devices, dropped.
    pub unplaced: u64,
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
        let wanted: Vec<FlowMatch> = named_flows(&state.settings)
            .into_iter()
            .flat_map(|(_, flows)| flows)
            .chain(helped_flows())
            .collect();
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
        let tried = match rules {
            // What cannot be read is not told; the rules themselves are what counts.
            Rules::Loaded => self.kernel.elements(&TRIED, ATTEMPTS).await.unwrap_or_default(),
            _ => BTreeMap::new(),
        };
        let defeats = match rules {
            Rules::Loaded => self.defeats(&state.settings, &seen).await,
            _ => Vec::new(),
        };
        let others = match state.settings.role {
            Role::Companion => self.others(),
            Role::Router | Role::Unset => Arc::default(),
        };
        let truth = Truth {
            state: &state,
            seen: &seen,
            rules: &rules,
            drift: &drift,
            defeats: &defeats,
            others: &others,
        };
        let device = |name: Option<&str>| seen.links.iter().find(|l| Some(l.name.as_str()) == name).cloned();
        let trial_time = self.options.trial_time;
        let mut attempts = attempts(&tried, &state);
        if !attempts.is_empty() {
            let names = self.names().await;
            attempts.iter_mut().for_each(|attempt| names.tell(&mut attempt.device));
        }
        let served = self.kernel.served(&self.services(&state.settings));
        let internet_state = self.internet_state(&state.settings, &served, &seen);
        let condition = self.store.condition();
        // Once the owner has set the box up anew, nothing is lost any more.
        let told = condition.notice.clone().filter(|_| !condition.lost || state.revision == 0);
        let mut notices: Vec<String> = told.into_iter().collect();
        notices.extend(truth.notices());
        notices.extend(internet::notices(&internet_state));
        notices.extend(self.taken_notice(&state.settings));
        notices.extend(self.resets().notice(std::time::Instant::now()));
        notices.extend(devices::notice(&served.dnsmasq));
        let clock = Clock::read(&state.settings.system.timezone);
        notices.extend(clock.notice());
        notices.extend(weakened(&state.settings, &clock));
        notices.extend(state.unsaved.then(|| UNSAVED.to_owned()));
        notices.extend(self.store.copy_is_old().then(|| COPY_IS_OLD.to_owned()));
        notices.extend(self.conflicts());
        let over_share = self.over_share();
        notices.extend(over_share.iter().take(3).map(OverShare::sentence));
        Status {
            fingerprint: None,
            over_share,
            pages: Vec::new(),
            page_elsewhere: Vec::new(),
            revision: state.revision,
            role: state.settings.role,
            trial: state.trial.as_ref().map(|trial| Trial {
                revision: trial.revision,
                age_ms: trial.since.elapsed().as_millis() as u64,
                seconds_left: trial_time.saturating_sub(trial.since.elapsed()).as_secs() as u32,
                https: state.settings.access.https,
                ports: trial.proving_ports(&state.settings),
                waits: self.lease().filter(|lease| lease.kept).map(|_| KEPT_ONLY.to_owned()),
            }),
            passthrough: truth.protocols(),
            helpers: truth.helpers(),
            many_clients: truth.many_clients(),
            lacks: lacks(&state.capabilities),
            flow_tables: state.capabilities.flow_tables,
            throughput: self.throughput().told(self.started.elapsed().as_millis() as u64),
            attempts,
            defeats,
            notices,
            dhcp_dns: served.dnsmasq,
            internet_state,
            needs_mending: matches!(rules, Rules::Edited | Rules::Missing | Rules::Deny) || !drift.is_empty(),
            internet: device(state.settings.internet.device.as_ref().map(|d| d.as_str())),
            local_network: lan_link(&state.settings, &seen.links).cloned(),
            conntrack: seen.conntrack,
            clock,
            uptime_seconds: self.started.elapsed().as_secs(),
            rules,
        }
    }

    /// Looks after the box for ever: notices within seconds when somebody else changes what is ours, and says so in
    /// the log, once each time; tries again what could not be put into force (a port that appears late); follows the
    /// addresses that the admin page can have. Whoever asks for the status reads the kernel anew in any case.
    pub async fn watch(&self) {
        let mut nurse = devices::Nurse::default();
        let mut ports = Ports::default();
        let mut looks = 0_u64;
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = self.kernel.lease_changed() => {
                    let state = self.state.lock().await;
                    if !state.ending {
                        self.follow_lease(&state).await;
                        self.follow_prefix(&state).await;
                    }
                    continue;
                }
            }
            let mut state = self.state.lock().await;
            if state.ending {
                return;
            }
            if state.broken.is_some() && state.trial.is_none() && self.start(&mut state, None).await {
                log::info("the settings are in force now");
                self.journal.note(
                    JournalKind::Failed,
                    By::POSTERN,
                    "has put the settings into force after all",
                );
                self.publish(&state).await;
            }
            nurse.look(&self.kernel, &self.services(&state.settings)).await;
            // What could not be given back now is tried again in three seconds, and times out in the end.
            let _ = self.free_places(&state.settings).await;
            self.follow_lease(&state).await;
            self.follow_prefix(&state).await;
            let Ok(seen) = self.kernel.observe(&[]).await else { continue };
            self.follow_cable(&state.settings, &seen);
            if let Some(name) = ports.came_back(&state, &seen.links) {
                let done = self.put_in_service(&state.settings, &name, &seen).await;
                let looks_anew = done.is_ok();
                ports.tried(&name, done);
                // What was seen is of before. A port that stays out keeps nobody from looking after the rules.
                if looks_anew {
                    continue;
                }
            }
            self.publish_addresses(&state, &seen.links);
            self.note_throughput(&state.settings).await;
            looks += 1;
            if looks % ATTEMPTS_EVERY == 1 {
                self.note_attempts(&state).await;
            }
            let rules = rules(&state, self.loaded(), &seen);
            if rules == Rules::Missing {
                self.stand_again(&mut state).await;
                continue;
            }
            let foreign = match rules {
                Rules::Edited => true,
                Rules::Loaded => !self.drift(&state.settings, &seen).await.is_empty(),
                _ => false,
            };
            // A mend begins anew: the next hand that touches it is another one.
            if !self.told.swap(foreign, Relaxed) && foreign {
                log::warning(
                    "somebody else has changed Postern's rules, addresses or kernel settings; \"postern mend\" puts them right",
                );
                let what = "saw that somebody else has changed its rules, addresses or kernel settings";
                self.journal.count(JournalKind::Foreign, By::POSTERN, what, 1, 0);
            }
            // A full table takes a while to count, and nobody need wait for that.
            drop(state);
            self.look_at_shares(&seen).await;
            // Nor for a disk that hangs.
            if looks % ATTEMPTS_EVERY == 1 && self.store.copy_is_old() {
                self.store.keep_copy().await;
            }
        }
    }
}

/// The ports in use at the last look, with their numbers; none: not there.
#[derive(Debug, Default)]
struct Ports {
    seen: BTreeMap<IfName, Option<u32>>,
    /// Why one that is back could not be put into service at the last look.
    failed: Option<String>,
}

impl Ports {
    /// One that was away and is there again, or that is another one by its number: without its addresses, switched off, in no bridge, as a USB
    /// adapter is that was pulled and put in. One that is in use only since then was a change's affair.
    fn came_back(&mut self, state: &State, links: &[SeenLink]) -> Option<IfName> {
        let settings = &state.settings;
        let used = settings.internet.device.iter().chain(&settings.local_network.devices);
        let used = used.filter(|_| settings.role == Role::Router);
        let index =
            |name: &IfName| links.iter().find(|link| link.name == name.as_str()).map(|link| link.index);
        let now = used.map(|name| (name.clone(), index(name))).collect();
        let before = std::mem::replace(&mut self.seen, now);
        let back = |(name, index): &(&IfName, &Option<u32>)| {
            index.is_some() && before.get(*name).is_some_and(|before| before != *index)
        };
        let port = self.seen.iter().find(back).map(|(name, _)| name.clone());
        port.filter(|_| state.broken.is_none())
    }

    /// What failed is tried again at the next look, and said once.
    fn tried(&mut self, name: &IfName, done: Result<(), crate::kernel::Error>) {
        let Err(error) = done else { return self.failed = None };
        self.seen.insert(name.clone(), None);
        let words = error.to_string();
        if self.failed.replace(words.clone()) != Some(words) {
            log::incident(&error);
        }
    }
}

impl<K: Kernel> Appliance<K> {
    /// A port is back: it gets what it has by the settings. Rules know ports by their names, and what serves them looks for itself.
    async fn put_in_service(
        &self,
        settings: &Settings,
        port: &IfName,
        seen: &Observation,
    ) -> Result<(), crate::kernel::Error> {
        let wanted = network(&[Some(settings)], settings, seen, self.lease().as_ref());
        self.kernel.configure(&wanted, Load::Commit).await?;
        if settings.internet.mode == Mode::Dhcp && settings.internet.device.as_ref() == Some(port) {
            self.kernel.renew_lease();
        }
        log::info(&format!("the port {port} is back, and in service again"));
        let what = format!("put the port {port}, which had been away, into service again");
        self.journal.count(JournalKind::Internet, By::POSTERN, &what, 1, 0);
        Ok(())
    }

    /// Somebody has removed our table: it is there again after this, with what is kept of what it had learnt. Nobody is asked, unlike for an
    /// edit: `nft flush ruleset` begins many a hand-written firewall and is what Debian's nftables does when it is stopped. Whoever does
    /// that does not mean a router that lets everything in. Who does has `postern stop`.
    async fn stand_again(&self, state: &mut State) {
        if state.broken.is_some() {
            return;
        }
        // In the middle of a deletion and what is loaded after it nobody should put a second copy of it.
        tokio::time::sleep(SETTLES).await;
        let still = self.kernel.observe(&[]).await.is_ok_and(|seen| !seen.table.present);
        if !still || !self.start(state, None).await {
            return;
        }
        log::info("somebody else had removed Postern's table; it is loaded again");
        let what = "saw that somebody else had removed its table, and loaded it again";
        self.journal.count(JournalKind::Foreign, By::POSTERN, what, 1, 0);
    }
}
/// It is over, whatever the history says.
const UNSAVED: &str = "What was to end by itself (inspection off, the DMZ) has ended, but that could not be saved: the disk may \
    be full or read-only. It stays ended after a restart too, and saving is tried again every few seconds.";
/// The store has it, and the next start takes it from there.
const COPY_IS_OLD: &str = "What was saved last is in the store but not in the copy beside it: the disk may be full or read-only. Until the \
    copy can be written (it is tried every minute), a box that loses its power begins its next start with the rules of before, and \
    may have none for some seconds if it had no role then.";

/// What the owner has opened for a while: it must not be forgotten.
fn weakened(settings: &Settings, clock: &Clock) -> Vec<String> {
    let mut all = Vec::new();
    if settings.role == Role::Router {
        if let DmzHost::Until(host, time) = &settings.firewall.dmz {
            let end = clock.say(time.unix());
            all.push(format!("The whole internet reaches {host} until {end}: it is the DMZ host."));
        }
        if let Spi::OffUntil(time) = &settings.firewall.spi {
            all.push(format!("Inspection (SPI) is off until {}.", clock.say(time.unix())));
        }
    }
    all
}

/// The sets that count who tried what is refused, and most elements of each.
pub(super) const TRIED: [&str; 10] = [
    Switch::Pptp.tried(),
    Switch::L2tp.tried(),
    Switch::Ipsec.tried(),
    Switch::NatTraversal.tried(),
    Vpn::Pptp.denied_hosts(),
    Vpn::L2tp.denied_hosts(),
    Vpn::Ipsec.denied_hosts(),
    Vpn::Pptp.limited_hosts(),
    Vpn::L2tp.limited_hosts(),
    Vpn::Ipsec.limited_hosts(),
];
pub(super) const ATTEMPTS: usize = 1024;
/// In looks: a minute. The kernel remembers an attempt for ten.
const ATTEMPTS_EVERY: u64 = 20;

/// How often the kernel is looked at. The ruleset's generation number, links and sysctls: under a millisecond.
const LOOK: Duration = Duration::from_secs(3);

/// How long a table must be away to be away. nft deletes and loads within one transaction, scripts within milliseconds.
const SETTLES: Duration = Duration::from_millis(200);

/// How our table stands, against what is wanted and what was `loaded`.
pub(super) fn rules(state: &State, loaded: Option<u64>, seen: &Observation) -> Rules {
    let table = &seen.table;
    match (table.present, state.settings.role != Role::Unset) {
        (false, false) => Rules::NotWanted,
        (false, true) => Rules::Missing,
        (true, _)
            if loaded != Some(table.fingerprint) || table.chains != ruleset::chains(state.settings.role) =>
        {
            Rules::Edited
        }
        (true, _) if table.about.as_deref().is_none_or(ruleset::denies) => Rules::Deny,
        (true, _) => Rules::Loaded,
    }
}
