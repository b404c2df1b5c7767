//! The one place that changes anything. A change is checked, compiled, tried, saved, applied, and then confirmed or
//! taken back; one at a time, and all or nothing.

mod apply;
mod attempts;
mod beside;
mod calls;
mod defeats;
mod devices;
mod diagnosis;
mod ends;
mod flows;
mod happened;
mod history;
mod internet;
mod lacks;
pub mod memory;
mod names;
mod network;
mod others;
mod page;
mod places;
mod ports;
mod refusal;
mod remedy;
pub mod reset;
mod sentences;
mod sessions;
mod share;
mod status;
mod surroundings;
#[cfg(test)]
mod tests;
mod throughput;
mod timed;
mod trace;
mod trial;
mod truth;
mod withdrawn;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use crate::clock::Clock;
use crate::journal::{By, Journal, JournalKind};
use crate::kernel::{Kernel, Load};
use crate::log;
use crate::ruleset::{self, Capabilities, Feature, Helper};
use crate::settings::names::DmzHost;
use crate::settings::{Role, Settings, keys};
use crate::sides::files::Places;
use crate::store::{Before, NewRevision, Revision, RevisionState, Store};

use apply::{Failed, Step};
pub use defeats::Defeated;
pub use devices::KnownDevice;
pub use history::Imported;
pub use internet::{InternetState, Ipv6State};
pub use ports::{Port, Use};
pub use refusal::{Refusal, RefusalKind};
pub use reset::Folders;
pub use surroundings::{Beside, FromPart, FromUci, Uci};
use trial::{OnTrial, needs_trial};

pub use attempts::{Attempt, Barrier};
pub use lacks::Lack;
pub use share::OverShare;
pub use status::{Effect, HelperState, ManyClients, Protocol, Rules, Status, Trial};
pub use trace::Dropper;

/// How long settings stay on trial.
pub const TRIAL: Duration = Duration::from_secs(90);
/// Longest comment in characters.
const COMMENT: usize = 200;

/// A new value for one key of the settings table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Assignment {
    /// For example `passthrough.pptp.enabled`.
    pub key: String,
    /// For example `true`; lists are comma-separated.
    pub value: String,
}

/// Who makes a change, for the history.
#[derive(Debug, Clone)]
pub struct Author {
    /// `root`, `owner` or `postern`.
    pub who: &'static str,
    /// `command line`, or the browser's address.
    pub via: String,
    /// Whether it may open something to the internet ([`Settings::opens`]): root, or whoever has typed the password just now.
    pub may_open: bool,
}

impl Author {
    /// For the journal.
    pub(crate) fn by(&self) -> By<'_> {
        By { who: self.who, via: &self.via }
    }

    /// Root, or a member of group postern, on the command line.
    pub fn command_line() -> Self {
        Self { who: "root", via: "command line".to_owned(), may_open: true }
    }

    /// The owner, in a browser.
    pub fn browser(source: Option<IpAddr>) -> Self {
        let via = source.map_or_else(|| "web page".to_owned(), |ip| ip.to_string());
        Self { who: "owner", via, may_open: false }
    }

    /// The same, who has typed the password just now, or has not.
    pub fn with_proof(self, fresh: bool) -> Self {
        Self { may_open: fresh, ..self }
    }

    /// Postern itself: what was to end by itself ends.
    fn its_end() -> Self {
        Self { who: "postern", via: "its end time".to_owned(), may_open: false }
    }
}

/// The box: its settings, its kernel, its store.
#[derive(Debug)]
pub struct Appliance<K> {
    kernel: K,
    store: Store,
    /// What happened.
    journal: Journal,
    /// Attempts that the journal has counted already.
    tallied: std::sync::Mutex<happened::Tally>,
    options: Options,
    started: Instant,
    state: Mutex<State>,
    /// The fingerprint of our table as we loaded it last; none: there shall be none.
    loaded: std::sync::Mutex<Option<u64>>,
    /// Whether the table that we loaded last is a companion's; none: not known, or there shall be none.
    stands: std::sync::Mutex<Option<bool>>,
    /// Since our last commit the log has said that somebody else changed what is ours.
    told: AtomicBool,
    /// The settings in force, for whoever only reads: a change may take seconds, a page must not wait for it.
    in_force: watch::Sender<(i64, Settings)>,
    /// VPN sessions as they were last looked at. Locked after `state`, never before.
    watched: Mutex<sessions::Watched>,
    /// Devices that wait for a server's pairing, in words, and when that was seen.
    conflicts: std::sync::Mutex<Option<(Instant, Vec<String>)>>,
    /// What goes through the internet port.
    throughput: std::sync::Mutex<throughput::Throughput>,
    /// By which names devices reach servers.
    server_names: std::sync::Mutex<crate::sessions::ServerNames>,
    /// Which rules of others keep passthrough from working.
    named: std::sync::Mutex<defeats::Named>,
    /// The rules of others that reach into passthrough, and the generation of all rules that they were read from; role companion.
    others: std::sync::Mutex<defeats::Listed>,
    /// Who holds too much of the connection table.
    shares: std::sync::Mutex<share::Shares>,
    /// PPTP calls that servers refused.
    resets: std::sync::Mutex<calls::Resets>,
    /// Held while the ports are asked for a provider: two at once would spoil each other's answers.
    asking: Mutex<()>,
    /// What is known of the internet port besides the settings.
    internet: std::sync::Mutex<internet::Internet>,
    /// Where the admin page shall listen; changes with the addresses.
    admin: watch::Sender<Vec<SocketAddr>>,
}

/// What the daemon's surroundings decide.
#[derive(Debug, Clone)]
pub struct Options {
    /// How long settings stay on trial.
    pub trial_time: Duration,
    /// Which boot of the kernel this is (/proc/sys/kernel/random/boot_id): what was noted of the network in another one
    /// is not put back.
    pub boot: String,
    /// Where what packets have taught the rules is kept over a restart of the box ([`memory::FILE`]); none: nowhere.
    pub memory: Option<PathBuf>,
    /// The wall clock, in seconds since 1970.
    pub clock: fn() -> i64,
    /// What a reset deletes; none: this box keeps nothing.
    pub folders: Option<Folders>,
    /// Where other programs of the box say what its sides are.
    pub places: Places,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            trial_time: TRIAL,
            boot: String::new(),
            memory: None,
            clock: wall_clock,
            folders: None,
            places: Places::default(),
        }
    }
}

/// Seconds since 1970.
fn wall_clock() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.ok().and_then(|since| i64::try_from(since.as_secs()).ok()).unwrap_or_default()
}

/// What is in force, besides what the kernel itself tells.
#[derive(Debug)]
struct State {
    capabilities: Capabilities,
    /// Newest revision kept or on trial; 0: factory state.
    revision: i64,
    settings: Settings,
    trial: Option<OnTrial>,
    /// Where the admin page was, for a while.
    moved_from: Option<page::MovedFrom>,
    /// Why the kernel does not do what the settings say, if the last apply failed and could not be put back.
    broken: Option<String>,
    /// What was to end by itself has ended, and the store does not know it yet ([`timed`]).
    unsaved: bool,
    /// The daemon is about to end: nothing new begins.
    ending: bool,
    /// The confirmed SPIs when what is learnt was last written.
    kept_learnt: Option<Vec<Vec<u8>>>,
}

impl<K: Kernel> Appliance<K> {
    /// With the newest settings the owner has kept. Nothing is applied yet: see [`Self::boot`].
    pub async fn open(kernel: K, store: Store, options: Options) -> Result<Self, Refusal> {
        let capabilities = kernel.capabilities().await.map_err(|e| Refusal::failed(&e))?;
        let kept = store.newest_confirmed().await.map_err(|e| Refusal::failed(&e))?;
        let (revision, settings) = kept.map_or_else(Default::default, |kept| (kept.id, kept.settings));
        let in_force = watch::Sender::new((revision, settings.clone()));
        let state = State {
            capabilities,
            revision,
            settings,
            trial: None,
            moved_from: None,
            broken: None,
            unsaved: false,
            ending: false,
            kept_learnt: None,
        };
        Ok(Self {
            kernel,
            journal: Journal::new(store.clone()),
            tallied: std::sync::Mutex::default(),
            store,
            options,
            started: Instant::now(),
            state: Mutex::new(state),
            loaded: std::sync::Mutex::default(),
            stands: std::sync::Mutex::default(),
            told: AtomicBool::default(),
            in_force,
            watched: Mutex::default(),
            server_names: std::sync::Mutex::default(),
            conflicts: std::sync::Mutex::default(),
            throughput: std::sync::Mutex::default(),
            named: std::sync::Mutex::default(),
            others: std::sync::Mutex::default(),
            shares: std::sync::Mutex::default(),
            resets: std::sync::Mutex::default(),
            asking: Mutex::default(),
            internet: std::sync::Mutex::default(),
            admin: watch::Sender::new(Vec::new()),
        })
    }

    /// Takes back what was on its way when the last daemon ended, and makes the kernel do what the settings say. A
    /// failure leaves the deny state (role router) and is tried again by [`Self::watch`]; the admin page is there all
    /// the same.
    pub async fn boot(&self) {
        let mut state = self.state.lock().await;
        let stale = match self.revert_unfinished(&state).await {
            Ok(stale) => stale,
            Err(refusal) => {
                log::warning(&refusal.message);
                None
            }
        };
        let timed = state.settings.clone();
        let begun_without = self.begin_without(&mut state);
        let stale = stale.or(begun_without.then_some(timed));
        self.find_lease(&state.settings);
        self.start(&mut state, stale.as_ref()).await;
        if begun_without {
            self.note_begun_without(&mut state).await;
        }
        self.note_attempts(&state).await;
        self.publish(&state).await;
    }

    /// Into force from whatever the kernel holds. True: it is.
    async fn start(&self, state: &mut State, stale: Option<&Settings>) -> bool {
        let step = Step { from: None, stale, to: &state.settings, anew: false };
        let Err(failed) = self.apply(&state.capabilities, step).await else {
            state.broken = None;
            self.recall_learnt(state).await;
            return true;
        };
        let why = failed.why.to_string();
        if state.broken.as_ref() != Some(&why) {
            log::incident(&failed.why);
            let what = format!("could not put the settings into force: {why}");
            self.journal.note(JournalKind::Failed, By::POSTERN, &what);
            if state.settings.role != Role::Unset {
                self.deny(&state.settings).await;
            }
        }
        state.broken = Some(why);
        false
    }

    /// The newest settings and their revision.
    pub fn settings(&self) -> (i64, Settings) {
        self.in_force.borrow().clone()
    }

    fn loaded(&self) -> Option<u64> {
        *self.loaded.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn stands(&self) -> Option<bool> {
        *self.stands.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    fn set_stands(&self, beside: Option<bool>) {
        *self.stands.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = beside;
    }

    fn set_loaded(&self, fingerprint: Option<u64>) {
        *self.loaded.lock().unwrap_or_else(std::sync::PoisonError::into_inner) = fingerprint;
    }

    /// Changes settings; says what is true then. `base` is the revision the owner looked at.
    pub async fn change(
        self: &std::sync::Arc<Self>,
        base: Option<i64>,
        patch: &[Assignment],
        comment: &str,
        author: Author,
    ) -> Result<String, Refusal> {
        let mut state = self.state.lock().await;
        state.refuse_now()?;
        state.refuse_stale(base)?;
        if comment.chars().count() > COMMENT || comment.chars().any(char::is_control) {
            return Err(Refusal::field(
                RefusalKind::Invalid,
                "comment",
                format!("A comment has at most {COMMENT} characters in one line."),
            ));
        }
        let mut wanted = state.settings.clone();
        let wrong: Vec<_> =
            patch.iter().filter_map(|a| keys::set(&mut wanted, &a.key, &a.value).err()).collect();
        if !wrong.is_empty() {
            return Err(Refusal::invalid(wrong));
        }
        let told = self.taking_the_role(&state, patch, &mut wanted).await?;
        let said = self.replace(&mut state, wanted, comment, author).await?;
        Ok([vec![said], told].concat().join(" "))
    }

    /// A change, and its line in the journal: what the owner has mistyped is none.
    async fn replace(
        self: &std::sync::Arc<Self>,
        state: &mut State,
        wanted: Settings,
        comment: &str,
        author: Author,
    ) -> Result<String, Refusal> {
        if wanted == state.settings {
            return self.mend(state, &author).await;
        }
        let differs = history::differences(&state.settings, &wanted);
        let done = self.put(state, wanted, comment, &author).await;
        self.note_change(state, &author, comment, differs, &done);
        done
    }

    /// check → compile → try → save → apply → confirmed, or on trial, or everything as before. Where the rules are all
    /// that changes, applying is the trial ([`apply::Found::only_rules`]): a revision that nft refuses was saved,
    /// never counted (only *confirmed* ones do), and is noted as taken back.
    async fn put(
        self: &std::sync::Arc<Self>,
        state: &mut State,
        wanted: Settings,
        comment: &str,
        author: &Author,
    ) -> Result<String, Refusal> {
        let mut wrong = wanted.check();
        wrong.extend(wanted.not_built());
        wrong.extend(timed::check(&state.settings, &wanted, (self.options.clock)()));
        if !wrong.is_empty() {
            return Err(Refusal::invalid(wrong));
        }
        if !author.may_open && wanted.opens(&state.settings) {
            let sentence = "This can let somebody in from the internet. Nothing was changed: type the password of this router first.";
            return Err(Refusal::of(RefusalKind::Prove, sentence));
        }
        self.ask_kernel_again(state, &wanted).await?;
        let found = self.found(&state.settings, &wanted).await.map_err(|e| Refusal::failed(&e))?;
        if !found.only_rules {
            let rules = ruleset::compile(&wanted, &state.capabilities);
            self.kernel.load(&rules, Load::Check).await.map_err(|e| Refusal::failed(&e))?;
            let services = self.services(&wanted);
            self.kernel.serve(&services, Load::Check).await.map_err(|e| Refusal::failed(&e))?;
        }
        // Written down before the first step: whoever starts after a crash can put it back.
        let before = Before { boot: self.options.boot.clone(), network: found.before.clone() };
        let failed = |e: crate::store::Error| Refusal::failed(&e);
        let new = NewRevision {
            settings: &wanted,
            base: state.revision,
            before: &before,
            who: author.who,
            via: &author.via,
            comment,
        };
        let revision = self.store.save(new).await.map_err(failed)?;
        self.keep_address(&state.settings, &wanted, &found.before);
        let step = Step::new(Some(&state.settings), &wanted);
        let applied = match self.apply_found(&state.capabilities, step, &found).await {
            Ok(applied) => applied,
            Err(error) => {
                let refusal = self.after_failure(state, error).await;
                // One that is not marked is taken back at the next start.
                if let Err(error) = self.store.mark(revision, RevisionState::Reverted).await {
                    log::incident(&error);
                }
                self.publish(state).await;
                return Err(refusal);
            }
        };
        let clock = Clock::read(&wanted.system.timezone);
        let mut message = sentences::after(&state.settings, &wanted, &applied, &clock);
        let trial = needs_trial(&state.settings, &wanted);
        let back_to = (
            std::mem::replace(&mut state.revision, revision),
            std::mem::replace(&mut state.settings, wanted),
        );
        state.broken = None;
        let unsaved = std::mem::take(&mut state.unsaved);
        let noted = if trial { RevisionState::Applied } else { RevisionState::Confirmed };
        if let Err(error) = self.store.mark(revision, noted).await {
            // The store refused after the kernel had agreed: what is not stored must not stay in force.
            let incident = log::incident(&error);
            let said = self.go_back(state, back_to, &before.network).await;
            // What had ended unsaved is so still, and is tried again.
            state.unsaved |= unsaved;
            let message = format!(
                "The settings could not be saved: {error}. {said} The log has the details under {incident}."
            );
            return Err(Refusal::of(RefusalKind::Failed, message));
        }
        if trial {
            state.trial = Some(OnTrial { revision, since: Instant::now(), back_to, before: before.network });
            self.end_trial_in_time(revision);
            let seconds = self.options.trial_time.as_secs();
            message +=
                &format!(" This is on trial for {seconds} seconds: confirm it, or it goes back by itself.");
        }
        self.publish(state).await;
        Ok(message)
    }

    /// A step of an apply failed. If the state before could not be put back either, nothing is forwarded from now on,
    /// until it can.
    async fn after_failure(&self, state: &mut State, failed: Failed) -> Refusal {
        let Err(back) = failed.back else { return Refusal::failed(&failed.why) };
        log::incident(&failed.why);
        let incident = log::incident(&back);
        state.broken = Some(back.to_string());
        self.deny(&state.settings).await;
        let what = Self::left_with(&state.settings);
        let message = format!(
            "That failed, and so did going back: {what}. It is tried again every few seconds. The log has the details \
             under {incident}."
        );
        Refusal::of(RefusalKind::Failed, message)
    }

    /// What there is when nothing better can be had, in words.
    fn left_with(settings: &Settings) -> &'static str {
        match settings.role {
            Role::Companion => "Postern's table is gone, and the other firewall decides alone",
            Role::Router | Role::Unset => "only the safe rules are loaded, and nothing is forwarded",
        }
    }

    /// A package may have brought what the kernel lacked. Asked again only about what these settings want: each question
    /// costs milliseconds.
    async fn ask_kernel_again(&self, state: &mut State, wanted: &Settings) -> Result<(), Refusal> {
        let lacks = |feature: &Feature| match feature {
            Feature::Helper(helper) => helper.wanted(wanted),
            Feature::ManyClients => wanted.passthrough.ipsec.enabled && wanted.passthrough.ipsec.many_clients,
            Feature::Forwards => !wanted.forwards.is_empty() || wanted.firewall.dmz != DmzHost::None,
            Feature::Events => Helper::Pptp.wanted(wanted),
            // Names are a comfort: for them alone the kernel is not asked anew at each change. "Look again" and a restart do.
            Feature::Names => false,
        };
        if state.capabilities.missing().iter().any(lacks) {
            state.capabilities = self.kernel.capabilities().await.map_err(|e| Refusal::failed(&e))?;
        }
        Ok(())
    }

    /// Asks the kernel anew what it can do, and makes the rules anew if that has changed.
    pub async fn look_again(&self) -> Result<String, Refusal> {
        let mut state = self.state.lock().await;
        state.refuse_now()?;
        let now = self.kernel.capabilities().await.map_err(|e| Refusal::failed(&e))?;
        let still = lacks::lacks(&now);
        let missing = match still.as_slice() {
            [] => "This kernel can do everything that Postern asks of it.".to_owned(),
            some => {
                let names: Vec<&str> = some.iter().map(|lack| lack.what.as_str()).collect();
                format!("This kernel still lacks {}.", names.join(", "))
            }
        };
        if now == state.capabilities {
            return Ok(missing);
        }
        let settings = state.settings.clone();
        // Before anything is changed: what cannot be loaded would leave no way back but the safe rules.
        let rules = ruleset::compile(&settings, &now);
        self.kernel.load(&rules, Load::Check).await.map_err(|e| Refusal::failed(&e))?;
        state.capabilities = now;
        if settings.role == Role::Unset {
            return Ok(missing);
        }
        let step = Step { from: Some(&settings), stale: None, to: &settings, anew: false };
        if let Err(failed) = self.apply(&state.capabilities, step).await {
            return Err(self.after_failure(&mut state, failed).await);
        }
        state.broken = None;
        self.publish(&state).await;
        Ok(format!("What the kernel can do has changed, and the rules were made anew. {missing}"))
    }

    /// Loads the rules of the settings anew if the kernel holds something else.
    pub async fn mend_rules(&self, author: Author) -> Result<String, Refusal> {
        let mut state = self.state.lock().await;
        state.refuse_now()?;
        self.mend(&mut state, &author).await
    }

    /// Nothing new is wanted: if the kernel holds something else than ours, that is put right.
    async fn mend(&self, state: &mut State, author: &Author) -> Result<String, Refusal> {
        let settings = state.settings.clone();
        let before = state.capabilities.clone();
        self.ask_kernel_again(state, &settings).await?;
        let seen = self.kernel.observe(&[]).await.map_err(|e| Refusal::failed(&e))?;
        let rules = status::rules(state, self.loaded(), &seen);
        let right = matches!(rules, Rules::Loaded | Rules::NotWanted);
        let same = before == state.capabilities;
        if right && same && state.broken.is_none() && self.drift(&state.settings, &seen).await.is_empty() {
            return Ok("Nothing was changed: that is how it is already.".to_owned());
        }
        let anew = rules == Rules::Edited;
        // A table that is made anew has forgotten what it had learnt.
        let learnt =
            if anew { self.learnt(ruleset::KEPT).await.unwrap_or_default() } else { BTreeMap::new() };
        let step = Step { from: Some(&settings), stale: None, to: &settings, anew };
        if let Err(failed) = self.apply(&state.capabilities, step).await {
            let what = format!("could not put right what is in the kernel: {}", failed.why);
            self.journal.note(JournalKind::Failed, author.by(), &what);
            return Err(self.after_failure(state, failed).await);
        }
        self.journal.note(
            JournalKind::Foreign,
            author.by(),
            "put the rules, addresses and kernel settings right again",
        );
        if rules == Rules::Missing {
            self.recall_learnt(state).await;
        }
        if !learnt.is_empty()
            && let Err(error) = self.kernel.teach(&learnt).await
        {
            log::incident(&error);
        }
        state.broken = None;
        self.publish(state).await;
        Ok("The rules, addresses and kernel settings were put right again.".to_owned())
    }

    /// Past revisions, newest first.
    pub async fn history(&self, limit: u32) -> Result<Vec<Revision>, Refusal> {
        self.store.history(limit.clamp(1, 200)).await.map_err(|e| Refusal::failed(&e))
    }

    /// The ruleset that these settings mean on this kernel.
    pub async fn rules(&self) -> String {
        let state = self.state.lock().await;
        ruleset::compile(&state.settings, &state.capabilities).to_string()
    }

    /// Tries that ruleset without loading it.
    pub async fn check(&self) -> Result<String, Refusal> {
        let state = self.state.lock().await;
        let rules = ruleset::compile(&state.settings, &state.capabilities);
        self.kernel.load(&rules, Load::Check).await.map_err(|e| Refusal::failed(&e))?;
        let mut said = "The kernel accepts the rules of these settings.".to_owned();
        for lack in lacks::lacks(&state.capabilities) {
            said += &format!(" It lacks {}. {} {}", lack.what, lack.costs, lack.remedy);
        }
        Ok(said)
    }

    /// The deny state in role router, our table gone otherwise. The caller ends the daemon then.
    pub async fn stop(&self) -> Result<String, Refusal> {
        let mut state = self.state.lock().await;
        state.ending = true;
        self.keep_learnt(&mut state).await;
        let (rules, said) = match state.settings.role {
            Role::Router => (
                ruleset::deny(&state.settings),
                "Postern has stopped. Nothing is forwarded; the local network still gets addresses, and reaches SSH.",
            ),
            Role::Companion => {
                (ruleset::absent(), "Postern has stopped. Its table is gone; the other firewall stands.")
            }
            Role::Unset => return Ok("Postern has stopped. It had changed nothing on this box.".to_owned()),
        };
        let done = match self.commit(&rules).await {
            Ok(()) if state.settings.role == Role::Companion => Ok(()),
            Ok(()) => self.kernel.configure(&network::inspecting(), Load::Commit).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            state.ending = false;
            return Err(Refusal::failed(&error));
        }
        self.journal.note(JournalKind::Daemon, Author::command_line().by(), "stopped Postern");
        Ok(said.to_owned())
    }

    /// Waits for a change that is under way, and lets no other begin: the daemon is about to end.
    pub async fn rest(&self) {
        let mut state = self.state.lock().await;
        if !std::mem::replace(&mut state.ending, true) {
            self.keep_learnt(&mut state).await;
            self.journal.note(
                JournalKind::Daemon,
                By::POSTERN,
                "was told to end; its rules stay in the kernel",
            );
        }
        self.note_attempts(&state).await;
        self.journal.flush().await;
    }

    /// What happened.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The settings in force, with their revision; a new value whenever some come into force.
    pub fn in_force(&self) -> watch::Receiver<(i64, Settings)> {
        self.in_force.subscribe()
    }

    /// Where the admin page shall listen; a new value whenever that changes.
    pub fn admin_addresses(&self) -> watch::Receiver<Vec<SocketAddr>> {
        self.admin.subscribe()
    }
}
