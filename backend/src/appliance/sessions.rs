//! VPN sessions: looks at them, remembers what is needed for rates, ends one.
//!
//! The kernel's whole table is walked for a look, so there is one at a time, it is good for a while, and the looks that nobody
//! asked for take at most a two-hundredth of the time.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use super::flows::{UDP, is_device};
use super::{Appliance, Refusal, RefusalKind};
use crate::kernel::{Error, Flow, Kernel, Load};
use crate::ruleset;
use crate::sessions::{self, Filter, Folded, Home, Kind, Learnt, Ledger, Page, Session, State};
use crate::settings::Role;

/// Most conntrack entries that are looked at; the others are counted.
const ENTRIES: usize = 12_000;
/// Most elements of a learnt set.
const ELEMENTS: usize = 4_096;
/// Looks that nobody asked for, for rates.
const EVERY: Duration = Duration::from_secs(10);
/// A look is good for so long, or ten times as long as it took.
const FRESH: Duration = Duration::from_secs(1);

/// The last look.
#[derive(Debug, Default)]
pub(super) struct Watched {
    taken: Option<Instant>,
    took: Duration,
    pub(super) folded: Vec<Folded>,
    left_out: u64,
    conntrack: (u64, u64),
    ledger: Ledger,
    /// Which were open, for the journal.
    open: super::happened::Open,
}

impl<K: Kernel> Appliance<K> {
    /// Some of the VPN sessions there are.
    pub async fn sessions(&self, filter: &Filter) -> Result<Page, Refusal> {
        let mut watched = self.watched.lock().await;
        self.look(&mut watched).await.map_err(|e| Refusal::failed(&e))?;
        let age_ms = watched.taken.map_or(0, |at| at.elapsed().as_millis() as u64);
        let (left_out, conntrack) = (watched.left_out, watched.conntrack);
        Ok(Page { left_out, age_ms, conntrack, ..filter.page(&watched.folded) })
    }

    /// The last look, or a new one if that is stale.
    pub(super) async fn look(&self, watched: &mut Watched) -> Result<(), Error> {
        let good = FRESH.max(watched.took * 10);
        if watched.taken.is_some_and(|at| at.elapsed() < good) {
            return Ok(());
        }
        let begun = Instant::now();
        let (_, settings) = self.settings();
        let links = self.kernel.observe(&[]).await?.links;
        let entries = self.kernel.entries(&sessions::wanted(&settings), ENTRIES).await?;
        let plain_ipsec = entries.entries.iter().any(|entry| entry.flow.zone != 0);
        let learnt = match plain_ipsec && settings.role != Role::Unset {
            true => Learnt::of(&self.kernel.elements(&sessions::SETS, ELEMENTS).await?),
            false => Learnt::default(),
        };
        watched.folded = {
            let inside = |address: IpAddr| is_device(address, &settings, &links);
            sessions::fold(&entries, &learnt, &Home { settings: &settings, inside: &inside })
        };
        if !watched.folded.is_empty() {
            let names = self.names().await;
            watched.folded.iter_mut().for_each(|one| names.tell(&mut one.session.device));
        }
        {
            let (mut names, now) = (self.server_names(), self.milliseconds());
            watched.folded.iter_mut().for_each(|one| names.tell(&mut one.session, now));
        }
        watched.left_out = entries.left_out;
        watched.conntrack = (entries.all, entries.room);
        let now = self.started.elapsed().as_millis() as u64;
        let Watched { folded, ledger, .. } = watched;
        ledger.note(folded, now);
        // Not all were looked at: another time others are, and none of them has opened or ended.
        if watched.left_out == 0 {
            watched.open.look(&watched.folded, &self.journal);
        }
        let conflicts = conflicts(&watched.folded);
        *self.conflicts.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), conflicts));
        watched.taken = Some(Instant::now());
        watched.took = begun.elapsed();
        Ok(())
    }

    /// Who waits for a server's pairing, in words, if somebody has looked lately.
    pub(super) fn conflicts(&self) -> Vec<String> {
        let seen = self.conflicts.lock().unwrap_or_else(PoisonError::into_inner).clone();
        seen.filter(|(at, _)| at.elapsed() < EVERY * 3).map(|(_, told)| told).unwrap_or_default()
    }

    /// Looks at the sessions now and then, so that a rate can be told when somebody asks. For ever.
    pub async fn watch_sessions(&self) {
        loop {
            let took = self.watched.lock().await.took;
            tokio::time::sleep(EVERY.max(took * 200)).await;
            // What goes wrong is told to whoever asks.
            let _ = self.look(&mut *self.watched.lock().await).await;
        }
    }

    /// Ends one, by its name: its entries go, and for a minute the two cannot begin anew. None: there is none of this name.
    pub async fn end_session(&self, id: &str) -> Result<Option<String>, Refusal> {
        let state = self.state.lock().await;
        let mut watched = self.watched.lock().await;
        self.look(&mut watched).await.map_err(|e| Refusal::failed(&e))?;
        let known = watched.folded.iter().any(|one| one.session.id == id);
        if known {
            // As it is now. An id that nobody has costs no look of its own.
            watched.taken = None;
            self.look(&mut watched).await.map_err(|e| Refusal::failed(&e))?;
        }
        let Some(Folded { session, flows }) = watched.folded.iter().find(|one| one.session.id == id) else {
            return Ok(None);
        };
        let (IpAddr::V4(client), IpAddr::V4(server), true) =
            (session.device.address, session.server, session.can_end && state.settings.role != Role::Unset)
        else {
            return Err(Refusal::of(RefusalKind::Invalid, cannot_end(session)));
        };
        let protocols: &[&str] = match session.kind {
            Kind::L2tpIpsec => &["l2tp", "ipsec"],
            Kind::Pptp | Kind::Gre => &["pptp"],
            Kind::L2tp | Kind::L2tpv3 => &["l2tp"],
            _ => &["ipsec"],
        };
        // Who must redial shall be able to, once what is left of the old call has been answered with a reset.
        let (seconds, words) = match session.state {
            State::MustRedial => (10, "It can be dialled again in ten seconds."),
            _ => (60, "For a minute the two cannot begin it anew."),
        };
        let held_off = ruleset::hold_off(protocols, client, server, seconds);
        self.kernel.load(&held_off, Load::Commit).await.map_err(|e| Refusal::failed(&e))?;
        // What an L2TP server began from another port stays: without its entry the client's next packet would begin an
        // ordinary conversation, which no switch ends. Its packets are dropped by the rule.
        let l2tp = matches!(session.kind, Kind::L2tp | Kind::L2tpIpsec);
        let moved = |flow: &&Flow| l2tp && flow.protocol == UDP && flow.client != session.device.address;
        let ends: Vec<Flow> = flows.iter().filter(|flow| !moved(flow)).cloned().collect();
        self.kernel.end(&ends).await.map_err(|e| Refusal::failed(&e))?;
        let all = match session.kind {
            Kind::Pptp | Kind::Gre => ", with every PPTP call of the two",
            _ => "",
        };
        let said = format!("{} from {client} to {server} has ended{all}. {words}", session.kind.title());
        watched.taken = None;
        Ok(Some(said))
    }
}

/// Two devices that want plain IPsec with one server at once: one is paired, the others wait. One line a server, three at most.
fn conflicts(folded: &[Folded]) -> Vec<String> {
    let mut waiting: BTreeMap<IpAddr, Vec<String>> = BTreeMap::new();
    for session in folded.iter().map(|one| &one.session).filter(|session| session.state == State::Waiting) {
        let device = &session.device;
        let name = device.name.clone().unwrap_or_else(|| device.address.to_string());
        waiting.entry(session.server).or_default().push(name);
    }
    let told = |(server, devices): (IpAddr, Vec<String>)| {
        let (who, verb) = match devices.as_slice() {
            [one] => (one.clone(), "waits"),
            many => (format!("{} and {} more", many[0], many.len() - 1), "wait"),
        };
        format!(
            "Two devices or more want IPsec without NAT traversal with {server} at once: {who} {verb} until another is paired, \
             seconds as a rule. NAT traversal at the server would spare them that."
        )
    };
    waiting.into_iter().take(3).map(told).collect()
}

/// Why not.
fn cannot_end(session: &Session) -> String {
    match session.kind.passthrough() {
        None => format!(
            "{} is ordinary traffic to the firewall, which cannot end it alone. Nothing was changed.",
            session.kind.title()
        ),
        Some(_) => {
            "Over IPv6 a session cannot be ended here yet: switch the protocol off. Nothing was changed."
                .to_owned()
        }
    }
}

#[cfg(test)]
mod tests;
