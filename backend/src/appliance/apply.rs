//! From settings to the kernel: in which order, and how it is put back when a step fails.
//!
//! Our table comes first and goes last: while addresses, routes and forwarding move, it denies or does what it did
//! before. Whatever step fails, and wherever a kill strikes, a box that forwards has our rules.

use std::sync::atomic::Ordering::Relaxed;

use super::ends::{Ends, GRE};
use super::flows::{TCP, from_the_home, without_helper};
use super::network::{closed, differences, home, network};
use super::withdrawn::Withdrawn;
use super::{Appliance, places};
use crate::kernel::{Error, Flow, Kernel, Load, Network, Observation};
use crate::log;
use crate::ruleset::forwards::Lost;
use crate::ruleset::{self, Capabilities, FlowMatch, Helper, Ruleset};
use crate::services;
use crate::settings::{Role, Settings};

/// What shall be in force, and what is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    /// In force now; none: a daemon has just started, and the kernel holds what the last one left.
    pub(super) from: Option<&'a Settings>,
    /// What may still be in force at a start besides: a document that was on trial when the last daemon ended, whose devices may
    /// have addresses of ours, or what has ended with it.
    pub(super) stale: Option<&'a Settings>,
    /// Wanted.
    pub(super) to: &'a Settings,
    /// Make the table anew, because somebody else has changed it. A refill keeps chains and sets that are not ours.
    pub(super) anew: bool,
}

impl<'a> Step<'a> {
    pub(super) fn new(from: Option<&'a Settings>, to: &'a Settings) -> Self {
        Self { from, stale: None, to, anew: false }
    }
}

/// A quarter of the set's room (`forward_ended`).
const MOST_REFUSED_ANEW: usize = 8192;

/// What an apply did, besides what was asked.
#[derive(Debug, Default)]
pub(super) struct Applied {
    /// Live flows that were ended.
    pub(super) ended: Vec<Flow>,
    /// Connections of helpers that were switched off, and what they had let in: ended too.
    pub(super) helped: Vec<Flow>,
    /// Connections through forwards that are no more: ended too.
    pub(super) lost: usize,
    /// PPTP control connections that were open before the helper could be attached.
    pub(super) must_redial: Vec<Flow>,
}

/// An apply that failed, and whether the state before is back.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) why: Error,
    pub(super) back: Result<(), Error>,
}

/// What a change finds, looked at once: what it would do, and what it takes to put that back.
#[derive(Debug)]
pub(super) struct Found {
    seen: Observation,
    /// What there is where the network would change, in the same shape.
    pub(super) before: Network,
    /// A router's table is there and its network and the other daemons are as wanted, so loading the rules is all there is to do. nft does that
    /// in one transaction, all or nothing, and so it is its own trial: if nft refuses, the kernel holds what it held.
    /// What has more steps must be tried before the first one.
    pub(super) only_rules: bool,
}

/// Whether an apply is about other daemons as well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Services {
    Too,
    AsTheyAre,
}

impl From<Error> for Failed {
    /// Before the first step: nothing is to be put back.
    fn from(why: Error) -> Self {
        Self { why, back: Ok(()) }
    }
}

impl<K: Kernel> Appliance<K> {
    /// Makes the kernel do what `step.to` says.
    pub(super) async fn apply(&self, capabilities: &Capabilities, step: Step<'_>) -> Result<Applied, Failed> {
        let seen = self.kernel.observe(&[]).await?;
        match step.to.role {
            Role::Router => {}
            Role::Companion => return self.accompany(capabilities, step, &seen).await,
            Role::Unset => {
                self.close(step.from, &seen).await?;
                return Ok(Applied::default());
            }
        }
        // Nothing may be forwarded before the first rules of ours, not even while addresses are being set.
        if !seen.table.present
            && let Err(why) = self.commit(&ruleset::deny(step.to)).await
        {
            return Err(Failed { why, back: self.put_back(capabilities, step, None).await });
        }
        let network = network(&[step.from, step.stale], step.to, &seen, self.lease().as_ref());
        let before = match self.kernel.configure(&network, Load::Commit).await {
            Ok(before) => before,
            Err(why) => return Err(Failed { why, back: self.put_back(capabilities, step, None).await }),
        };
        self.note_kernel(&before).await;
        match self.finish_all(capabilities, step, &seen).await {
            Ok(applied) => Ok(applied),
            Err(why) => Err(Failed { why, back: self.put_back(capabilities, step, Some(&before)).await }),
        }
    }

    /// The last steps, other daemons among them.
    pub(super) async fn finish_all(
        &self,
        capabilities: &Capabilities,
        step: Step<'_>,
        seen: &Observation,
    ) -> Result<Applied, Error> {
        self.finish(capabilities, step, seen, Services::Too).await
    }

    /// [`Self::apply`] where `found` shows what is to be done, and no more is done than that.
    pub(super) async fn apply_found(
        &self,
        capabilities: &Capabilities,
        step: Step<'_>,
        found: &Found,
    ) -> Result<Applied, Failed> {
        if !found.only_rules {
            return self.apply(capabilities, step).await;
        }
        match self.finish(capabilities, step, &found.seen, Services::AsTheyAre).await {
            Ok(applied) => Ok(applied),
            // Its own word that nothing was done. An nft that died or hung has said nothing.
            Err(why @ Error::NftRefused(_)) => Err(Failed::from(why)),
            Err(why) => Err(Failed { why, back: self.put_back(capabilities, step, None).await }),
        }
    }

    /// The last steps: the rules, the other daemons, and the flows that the rules leave no room for.
    async fn finish(
        &self,
        capabilities: &Capabilities,
        step: Step<'_>,
        seen: &Observation,
        services: Services,
    ) -> Result<Applied, Error> {
        let rules = ruleset::compile(step.to, capabilities);
        // What was in force before; at a start, what was on trial or has ended with it.
        let was = step.from.or(step.stale);
        let ends = was.map(|was| Ends::between(was, step.to, capabilities)).unwrap_or_default();
        let mut withdrawn = was.map(|was| Withdrawn::between(was, step.to, capabilities)).unwrap_or_default();
        let fresh = places::fresh(step.from, step.to);
        let seated = fresh.iter().flat_map(|places| places::flows_of(step.to, places.vpn));
        let control = control_flows(step, capabilities);
        let rules = if step.anew { rules.anew() } else { rules };
        // One look tells what the table is now and which flows there are.
        let wanted = ends.wanted();
        let look = [wanted.as_slice(), &control, withdrawn.wanted()].concat();
        let look: Vec<FlowMatch> = look.into_iter().chain(seated).collect();
        let after = self.load(&rules, &look).await??;
        self.seat(&fresh, step.to, &after).await;
        // Before anything ends: if this fails, the calls that were open still are.
        if services == Services::Too {
            self.serve(step).await?;
        }
        self.owners_for(&mut withdrawn, step.to, &after).await;
        let denied = |flow: &Flow| withdrawn.ends(flow, step.to, &after.links);
        let clients = after.flows.iter().filter(|flow| denied(flow)).map(|flow| flow.client).collect();
        self.unlearn_clients(&clients).await;
        let lost = was.map(|was| ends.lost(&after.flows, was, &seen.links)).unwrap_or_default();
        self.refuse_anew(&lost).await;
        let lost: Vec<Flow> = lost.into_iter().map(|(flow, _)| flow).collect();
        let conversations = lost.iter().filter(|flow| flow.protocol != GRE).count();
        let helped = was.map(|was| ends.helped(&after.flows, was, &seen.links)).unwrap_or_default();
        let (ended, mut must_redial): (Vec<Flow>, Vec<Flow>) = after
            .flows
            .into_iter()
            .partition(|flow| denied(flow) || was.is_some_and(|was| ends.ends(flow, was, &seen.links)));
        if !wanted.is_empty() || !ended.is_empty() {
            self.kernel.end(&[ended.as_slice(), &helped, &lost].concat()).await?;
        }
        must_redial.retain(|flow| {
            control.iter().any(|m| m.covers(flow.protocol, flow.server_port))
                && from_the_home(flow, step.to, &seen.links)
                && without_helper(flow)
        });
        Ok(Applied { ended, helped, lost: conversations, must_redial })
    }

    /// Before the entries of these conversations go: the next packet of the device would begin them anew. Only of those that
    /// the device has answered: anybody on the internet can make more of the others than the set has room for. The rules are
    /// in force already, and the entries go in any case, so a failure is no reason to go back.
    async fn refuse_anew(&self, lost: &[(Flow, Lost)]) {
        // GRE has been expected, so nobody makes more of it than there are calls.
        let answered =
            lost.iter().filter(|(flow, _)| flow.answered || flow.protocol == GRE).map(|(_, lost)| *lost);
        let answered: Vec<Lost> = answered.take(MOST_REFUSED_ANEW).collect();
        if !answered.is_empty()
            && let Err(error) =
                self.kernel.load(&ruleset::forwards::not_begun_anew(&answered), Load::Commit).await
        {
            log::incident(&error);
        }
    }

    /// DHCP and DNS. A daemon that starts and finds them refused routes all the same, and tries again: a home without
    /// names is better off than one without internet.
    async fn serve(&self, step: Step<'_>) -> Result<(), Error> {
        match self.kernel.serve(&self.services(step.to), Load::Commit).await {
            Err(error) if step.from.is_none() => {
                log::incident(&error);
                Ok(())
            }
            done => done,
        }
    }

    /// Loads rules, and notes the table as it is then: what differs from it later, somebody else has changed.
    pub(super) async fn commit(&self, rules: &Ruleset) -> Result<(), Error> {
        if let Err(error) = self.load(rules, &[]).await? {
            log::incident(&error);
        }
        Ok(())
    }

    /// As [`Self::commit`], and returns what was seen after it with these flows. The outer error: the rules are not
    /// loaded; the inner one: they are, but could not be read back.
    async fn load(&self, rules: &Ruleset, flows: &[FlowMatch]) -> Result<Result<Observation, Error>, Error> {
        let beside = rules.about().map(|about| ruleset::beside_others(Some(about)));
        // A swap of one role refills chains and deletes none. What a daemon finds at its start may be of another.
        let moves = beside.is_some() && self.stands() != beside;
        let rules = if moves { rules.clone().from_another_role() } else { rules.clone() };
        self.kernel.load(&rules, Load::Commit).await?;
        self.set_stands(beside);
        self.told.store(false, Relaxed);
        let seen = self.kernel.observe(flows).await;
        let table = seen.as_ref().ok().map(|seen| &seen.table).filter(|table| table.present);
        self.set_loaded(table.map(|table| table.fingerprint));
        Ok(seen)
    }

    /// Role unset: what is ours goes. A box that never had another role is not touched at all. Without our rules a box
    /// that forwards is an open one, so forwarding goes first, whoever switched it on.
    async fn close(&self, from: Option<&Settings>, seen: &Observation) -> Result<(), Failed> {
        let untouched = !seen.table.present && from.is_none_or(|from| from.role == Role::Unset);
        if untouched && !self.store.condition().closes() {
            return Ok(());
        }
        // What is forwarded beside another firewall is that one's affair.
        let beside = from.is_some_and(|from| from.role == Role::Companion)
            || ruleset::beside_others(seen.table.about.as_deref())
            || self.store.condition().companion;
        if beside {
            return self.commit(&ruleset::absent()).await.map_err(Failed::from);
        }
        let before = self.kernel.configure(&closed(), Load::Commit).await?;
        let services = services::Services::default();
        let done = match self.kernel.serve(&services, Load::Commit).await {
            Ok(()) => self.commit(&self.at_rest()).await,
            Err(error) => Err(error),
        };
        match done {
            Ok(()) => Ok(()),
            Err(why) => {
                let mut back = self.kernel.configure(&before, Load::Commit).await.map(drop);
                if let (Ok(()), Some(from)) = (&back, from) {
                    back = self.kernel.serve(&self.services(from), Load::Commit).await;
                }
                Err(Failed { why, back })
            }
        }
    }

    /// What the kernel holds without a role: nothing. But a box whose settings were lost was a router as a rule, and stays
    /// closed.
    fn at_rest(&self) -> Ruleset {
        if self.store.condition().closes() { ruleset::deny(&Settings::default()) } else { ruleset::absent() }
    }

    /// Puts back the network that was found when the role was still unset, then takes our table away. Without a note
    /// of what was found, forwarding at least ends.
    pub(super) async fn leave(&self, network: Option<&Network>) -> Result<(), Error> {
        let closed = closed();
        self.kernel.configure(network.unwrap_or(&closed), Load::Commit).await?;
        self.kernel.serve(&services::Services::default(), Load::Commit).await?;
        if network.is_some() {
            // What was there before a router is there again.
            self.forget_noted().await;
        }
        self.commit(&self.at_rest()).await
    }

    /// Nothing is forwarded, and the home reaches the admin page: for when nothing better can be had. Failures are
    /// logged; the policy of our chains is drop in any case.
    ///
    /// Beside another firewall it is that one who closes the box, and nothing of ours stays.
    pub(super) async fn deny(&self, settings: &Settings) {
        if let Err(error) = self.commit(&ruleset::at_rest(settings)).await {
            log::incident(&error);
        }
        if settings.role == Role::Companion {
            return;
        }
        let done = match self.kernel.observe(&[]).await {
            Ok(seen) => self.kernel.configure(&home(settings, &seen), Load::Commit).await.map(drop),
            Err(error) => Err(error),
        };
        if let Err(error) = done {
            log::incident(&error);
        }
    }

    /// After a failed step. What was in force comes back; where nothing was, deny stays until the network of before is
    /// back, and only then our table goes.
    pub(super) async fn put_back(
        &self,
        capabilities: &Capabilities,
        step: Step<'_>,
        network: Option<&Network>,
    ) -> Result<(), Error> {
        let role = step.from.map(|from| from.role);
        if let (Some(from), Some(Role::Router | Role::Companion)) = (step.from, role) {
            self.commit(&ruleset::compile(from, capabilities)).await?;
        }
        if let Some(network) = network {
            self.kernel.configure(network, Load::Commit).await?;
            if role.is_some_and(|role| role != Role::Router) {
                self.forget_noted().await;
            }
        }
        // What kept them from starting may keep them from starting again: no reason to leave the home without internet.
        if let Some(from) = step.from
            && let Err(error) = self.kernel.serve(&self.services(from), Load::Commit).await
        {
            log::incident(&error);
        }
        if role == Some(Role::Unset) {
            self.commit(&self.at_rest()).await?;
        }
        Ok(())
    }

    /// What is there now where `to` would change the network.
    pub(super) async fn found(&self, from: &Settings, to: &Settings) -> Result<Found, Error> {
        let seen = self.kernel.observe(&[]).await?;
        let wanted = match to.role {
            Role::Router => network(&[Some(from)], to, &seen, self.lease().as_ref()),
            Role::Companion => {
                self.kernel_beside(to, Some(from).filter(|from| from.role == Role::Router)).await?
            }
            Role::Unset => closed(),
        };
        let before = self.kernel.configure(&wanted, Load::Check).await?;
        let same_services = self.services(from) == self.services(to);
        let only_rules = to.role != Role::Unset && seen.table.present && before == wanted && same_services;
        Ok(Found { seen, before, only_rules })
    }

    /// What somebody else has changed of addresses, route and kernel settings, in words.
    pub(super) async fn drift(&self, settings: &Settings, seen: &Observation) -> Vec<String> {
        let wanted = match settings.role {
            Role::Router => network(&[Some(settings)], settings, seen, self.lease().as_ref()),
            Role::Companion => match self.kernel_beside(settings, None).await {
                Ok(wanted) => wanted,
                Err(error) => return vec![format!("{error}.")],
            },
            Role::Unset => return Vec::new(),
        };
        match self.kernel.configure(&wanted, Load::Check).await {
            Ok(found) => differences(&wanted, &found),
            Err(error) => vec![format!("{error}.")],
        }
    }
}

/// The PPTP control connections that the helper could watch, if it watched none of them before. Looking for them costs a
/// walk over the whole conntrack table.
fn control_flows(step: Step<'_>, capabilities: &Capabilities) -> Vec<FlowMatch> {
    let pptp = &step.to.passthrough.pptp;
    let before = step.from.filter(|from| from.role != Role::Unset).map(|from| &from.passthrough.pptp);
    if !pptp.enabled || !capabilities.knows(Helper::Pptp) || before == Some(pptp) {
        return Vec::new();
    }
    pptp.ports.iter().map(|port| FlowMatch { protocol: TCP, server_port: Some(port.number()) }).collect()
}
