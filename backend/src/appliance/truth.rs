//! What is wanted and what is seen, held against each other and said in words.

use std::collections::BTreeSet;
use std::net::IpAddr;

use super::State;
use super::defeats::Defeated;
use super::flows::{UDP, from_the_home, is_open, without_helper};
use super::lacks::{lack, title};
use super::others::Others;
use super::remedy::flow_table;
use super::status::{Effect, HelperState, ManyClients, Protocol, Rules};
use crate::kernel::{Flow, Observation};
use crate::ruleset::{self, Counter, Feature, FlowMatch, Helper};
use crate::settings::names::DmzHost;
use crate::settings::{Role, Settings};

/// UDP port of IKE and ESP behind NAT (RFC 3948).
const NAT_TRAVERSAL: u16 = 4500;

/// What is wanted and what is seen, together.
pub(super) struct Truth<'a> {
    pub(super) state: &'a State,
    pub(super) seen: &'a Observation,
    pub(super) rules: &'a Rules,
    /// What somebody else has changed of addresses, route and kernel settings.
    pub(super) drift: &'a [String],
    /// What rules of others keep from working.
    pub(super) defeats: &'a [Defeated],
    /// The rules of others that reach into passthrough; none but beside another firewall.
    pub(super) others: &'a Others,
}

/// Each protocol's word with the flows that are its own, in the order of the page.
pub(super) fn named_flows(settings: &Settings) -> [(&'static str, Vec<FlowMatch>); 3] {
    let flows = ruleset::passthrough_flows(settings);
    [("ipsec", flows.ipsec), ("l2tp", flows.l2tp), ("pptp", flows.pptp)]
}

/// What helpers are attached to.
pub(super) fn helped_flows() -> impl Iterator<Item = FlowMatch> {
    offered().flat_map(Helper::flows)
}

/// The helpers of `helpers.*`.
fn offered() -> impl Iterator<Item = Helper> {
    Helper::ALL.into_iter().filter(|helper| helper.counter().is_some())
}

impl Truth<'_> {
    pub(super) fn protocols(&self) -> Vec<Protocol> {
        named_flows(&self.state.settings)
            .into_iter()
            .map(|(name, which)| self.protocol(name, &which))
            .collect()
    }

    fn protocol(&self, name: &str, which: &[FlowMatch]) -> Protocol {
        let settings = &self.state.settings;
        let flows: Vec<&Flow> = self
            .seen
            .flows
            .iter()
            .filter(|flow| which.iter().any(|m| m.covers(flow.protocol, flow.server_port)))
            .filter(|flow| is_open(flow) && from_the_home(flow, settings, &self.seen.links))
            .collect();
        // As people count: one device and one server are one tunnel, whatever ports and protocols it takes.
        let pairs = |of: &dyn Fn(&Flow) -> bool| -> u32 {
            let pairs: BTreeSet<(IpAddr, IpAddr)> =
                flows.iter().filter(|f| of(f)).map(|f| (f.client, f.server)).collect();
            pairs.len() as u32
        };
        let calls = |of: &dyn Fn(&Flow) -> bool| -> u32 {
            flows.iter().filter(|f| f.tcp_state.is_some() && of(f)).count() as u32
        };
        let (open, nat_traversal, must_redial) = match name {
            "pptp" => (calls(&|f| !without_helper(f)), 0, calls(&without_helper)),
            "ipsec" => (pairs(&|_| true), pairs(&|f| f.protocol == UDP && f.server_port == NAT_TRAVERSAL), 0),
            _ => (pairs(&|_| true), 0, 0),
        };
        let counter = |what: &str| self.seen.counters.get(&format!("{name}_{what}")).map_or(0, |c| c.packets);
        let configured = configured(settings, name);
        let (effect, reason) = self.effect(name, configured, open, must_redial);
        Protocol {
            name: name.to_owned(),
            configured,
            effect,
            reason,
            passed: counter("passed"),
            refused: counter("refused"),
            open,
            nat_traversal,
            must_redial,
        }
    }

    pub(super) fn helpers(&self) -> Vec<HelperState> {
        offered().map(|helper| self.helper(helper)).collect()
    }

    fn helper(&self, helper: Helper) -> HelperState {
        let settings = &self.state.settings;
        let configured = helper.wanted(settings);
        let ours = |flow: &&Flow| {
            flow.helper.as_deref().is_some_and(|name| helper.kernel_names().contains(&name))
                && from_the_home(flow, settings, &self.seen.links)
        };
        let attached = self.seen.flows.iter().filter(ours).count() as u32;
        let (effect, reason) = match (self.common(), configured) {
            (Some(told), _) => told,
            _ if settings.role == Role::Companion => {
                let why = "Beside another firewall these helpers are that one's to attach.";
                (Effect::Inactive, Some(why.to_owned()))
            }
            (None, false) => (Effect::Blocked, None),
            (None, true) if !self.state.capabilities.knows(helper) => {
                (Effect::Differs, Some(missing(Feature::Helper(helper))))
            }
            (None, true) => match self.drift.first() {
                Some(first) => (Effect::Differs, Some(first.clone())),
                None => (if attached > 0 { Effect::Working } else { Effect::Ready }, None),
            },
        };
        let let_in = helper.counter().map_or(0, |counter| self.counter(counter));
        HelperState { helper, title: title(helper).to_owned(), configured, effect, reason, attached, let_in }
    }

    pub(super) fn many_clients(&self) -> ManyClients {
        let ipsec = &self.state.settings.passthrough.ipsec;
        let configured = ipsec.many_clients;
        let can = self.state.capabilities.many_clients;
        let wanted = configured && ipsec.enabled;
        let reason = match can {
            false => Some(missing(Feature::ManyClients)),
            true => self.others.offloads.iter().find_map(flow_table),
        };
        let reason = reason.filter(|_| wanted);
        let in_force = wanted && reason.is_none() && self.common().is_none();
        ManyClients {
            configured,
            in_force,
            reason,
            waiting: self.counter(Counter::IpsecWaiting),
            limited: self.counter(Counter::IpsecLimited),
            probation: self.counter(Counter::IpsecProbation),
            unplaced: self.counter(Counter::IpsecUnplaced),
        }
    }

    fn counter(&self, counter: Counter) -> u64 {
        self.seen.counters.get(counter.name()).map_or(0, |c| c.packets)
    }

    /// Why no rule of ours decides now, whichever protocol it is about.
    fn common(&self) -> Option<(Effect, Option<String>)> {
        if self.state.settings.role == Role::Unset {
            let why = "This box has no role yet: nothing is let through or refused by Postern.";
            return Some((Effect::Inactive, Some(why.to_owned())));
        }
        let differs = |why: &str| Some((Effect::Differs, Some(why.to_owned())));
        match self.rules {
            Rules::Loaded => None,
            Rules::Edited => differs(
                "Somebody else has changed Postern's rules in the kernel; what they do now is not known.",
            ),
            Rules::Missing | Rules::NotWanted => {
                differs("Postern's rules are not in the kernel. Somebody else has removed them.")
            }
            Rules::Deny => differs("Only the safe rules are loaded: nothing is forwarded."),
            Rules::Unknown { reason } => {
                differs(&format!("The kernel's rules could not be read back: {reason}."))
            }
        }
    }

    fn effect(&self, name: &str, configured: bool, open: u32, must_redial: u32) -> (Effect, Option<String>) {
        if let Some(told) = self.common() {
            return told;
        }
        let differs = |why: &str| (Effect::Differs, Some(why.to_owned()));
        if !configured {
            return (Effect::Blocked, None);
        }
        if name == "pptp" && !self.state.capabilities.knows(Helper::Pptp) {
            return differs(&missing(Feature::Helper(Helper::Pptp)));
        }
        if let Some(first) = self.drift.first() {
            return differs(first);
        }
        // The newest; the page of the diagnosis tells all of one device.
        let defeated = self.defeats.iter().filter(|one| one.name == name).min_by_key(|one| one.last_seconds);
        if let Some(one) = defeated {
            return differs(format!("{} {}", one.sentence, one.remedy).trim());
        }
        let reason = match must_redial {
            0 => None,
            1 => Some("1 call was open before PPTP was switched on. It must redial.".to_owned()),
            n => Some(format!("{n} calls were open before PPTP was switched on. They must redial.")),
        };
        (if open > 0 { Effect::Working } else { Effect::Ready }, reason)
    }

    /// What the owner should know, in words.
    pub(super) fn notices(&self) -> Vec<String> {
        let mut all = Vec::new();
        if let Some(why) = &self.state.broken {
            all.push(format!(
                "The settings could not be put into force: {why}. Only the safe rules are loaded; it is tried again every few \
                 seconds."
            ));
        }
        all.extend(
            self.drift.iter().take(3).map(|what| format!("Somebody else has changed this box: {what}")),
        );
        all.extend(self.ports());
        all.extend(self.many_clients().reason);
        all.extend(self.helpers_missing());
        all.extend(self.forwards_missing());
        let (entries, most) = self.seen.conntrack;
        if most > 0 && entries * 5 > most * 4 {
            all.push(format!("The connection table is {} % full.", entries * 100 / most));
        }
        all
    }

    /// Forwards that are on, on a kernel that can forward nothing.
    fn forwards_missing(&self) -> Option<String> {
        let State { settings, capabilities, .. } = self.state;
        let wanted =
            settings.forwards.iter().any(|forward| forward.enabled) || settings.firewall.dmz != DmzHost::None;
        (settings.role == Role::Router && wanted && !capabilities.forwards)
            .then(|| missing(Feature::Forwards))
    }

    /// Helpers that are switched on and that this kernel lacks.
    fn helpers_missing(&self) -> Vec<String> {
        let State { settings, capabilities, .. } = self.state;
        let lacks = |helper: &Helper| helper.wanted(settings) && !capabilities.knows(*helper);
        let ours = |helper: &Helper| match settings.role {
            Role::Router => true,
            Role::Companion => *helper == Helper::Pptp,
            Role::Unset => false,
        };
        let wanted = Helper::ALL.into_iter().filter(ours);
        wanted.filter(lacks).map(|helper| missing(Feature::Helper(helper))).collect()
    }

    fn ports(&self) -> Vec<String> {
        let settings = &self.state.settings;
        if settings.role == Role::Unset {
            return Vec::new();
        }
        let named = [
            ("internet", settings.internet.device.clone()),
            ("local network", settings.local_network.device()),
        ];
        let there = |name: &str| self.seen.links.iter().any(|link| link.name == name);
        let joined =
            settings.local_network.devices.iter().filter(|_| settings.local_network.devices.len() > 1);
        let gone = joined.filter(|port| !there(port.as_str()));
        let mut all: Vec<String> =
            gone.map(|port| format!("The local network port {port} is not there.")).collect();
        for (what, device) in named {
            let Some(device) = device else { continue };
            match self.seen.links.iter().find(|link| link.name == device.as_str()) {
                None => all.push(format!("The {what} port {device} is not there.")),
                Some(link) if !link.carrier => {
                    all.push(format!("The {what} port {device} has no link: check its cable."));
                }
                Some(_) => {}
            }
        }
        all
    }
}

/// Why it does not work, and what to do.
fn missing(feature: Feature) -> String {
    let lack = lack(feature);
    format!("{} {} Then look again.", lack.costs, lack.remedy)
}

fn configured(settings: &Settings, name: &str) -> bool {
    match name {
        "pptp" => settings.passthrough.pptp.enabled,
        "l2tp" => settings.passthrough.l2tp.enabled,
        _ => settings.passthrough.ipsec.enabled,
    }
}
