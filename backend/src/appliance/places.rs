//! The places of `passthrough.session_limit`: the rules give them out; here they are given back, and what runs already gets its
//! own when a limit is set.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

use super::Appliance;
use super::flows::from_the_home;
use crate::kernel::{Element, Error, Flow, Kernel, Observation};
use crate::log;
use crate::ruleset::{self, FlowMatch, Places, Vpn};
use crate::settings::{Role, Settings};

/// TCP_CONNTRACK_ESTABLISHED of nf_conntrack_tcp.h: what is beyond it has begun to close.
const ESTABLISHED: u8 = 3;

/// Places that are given out in `to` and were not in `from`.
pub(super) fn fresh(from: Option<&Settings>, to: &Settings) -> Vec<Places> {
    let before = from.filter(|from| from.role != Role::Unset).map(ruleset::places).unwrap_or_default();
    if to.role == Role::Unset {
        return Vec::new();
    }
    ruleset::places(to).into_iter().filter(|places| !before.contains(places)).collect()
}

/// What of conntrack holds a place.
pub(super) fn flows_of(settings: &Settings, vpn: Vpn) -> Vec<FlowMatch> {
    let flows = ruleset::passthrough_flows(settings);
    match vpn {
        Vpn::Pptp => flows.pptp,
        Vpn::L2tp => flows.l2tp,
        Vpn::Ipsec => flows.ipsec,
    }
}

/// The pairs that hold one.
fn pairs(seen: &Observation, settings: &Settings, vpn: Vpn) -> BTreeSet<(Ipv4Addr, Ipv4Addr)> {
    let wanted = flows_of(settings, vpn);
    let counts = |flow: &&Flow| {
        wanted.iter().any(|one| one.covers(flow.protocol, flow.server_port))
            && flow.tcp_state.is_none_or(|state| state <= ESTABLISHED)
            && from_the_home(flow, settings, &seen.links)
    };
    let pair = |flow: &Flow| match (flow.client, flow.server) {
        (IpAddr::V4(client), IpAddr::V4(server)) => Some((client, server)),
        _ => None,
    };
    seen.flows.iter().filter(counts).filter_map(pair).collect()
}

impl<K: Kernel> Appliance<K> {
    /// What runs when a limit is set takes its places, as far as there are any. Until then, milliseconds, somebody else may.
    pub(super) async fn seat(&self, fresh: &[Places], settings: &Settings, seen: &Observation) {
        let element = |(client, server): (Ipv4Addr, Ipv4Addr)| Element {
            key: [client.octets(), server.octets()].concat(),
            ..Element::default()
        };
        let seats = |places: &Places| {
            (places.set(), pairs(seen, settings, places.vpn).into_iter().map(element).collect::<Vec<_>>())
        };
        let elements: BTreeMap<String, Vec<Element>> =
            fresh.iter().map(seats).filter(|(_, elements)| !elements.is_empty()).collect();
        if !elements.is_empty()
            && let Err(error) = self.kernel.teach(&elements).await
        {
            log::incident(&error);
        }
    }

    /// Gives back the places of sessions that conntrack does not know any more. As long as there are places nobody misses one, and
    /// conntrack is not walked.
    pub(super) async fn free_places(&self, settings: &Settings) -> Result<(), Error> {
        if settings.role == Role::Unset {
            return Ok(());
        }
        for places in ruleset::places(settings) {
            let set = places.set();
            // First the places, then the sessions: who takes one in between has it.
            let mut taken = self.kernel.elements_of(&set, usize::from(places.limit)).await?;
            if taken.len() < usize::from(places.limit) {
                continue;
            }
            let seen = self.kernel.observe(&flows_of(settings, places.vpn)).await?;
            let live = pairs(&seen, settings, places.vpn);
            taken.retain(|element| match ruleset::pair_of(&element.key) {
                Some(pair) => !live.contains(&pair),
                None => false,
            });
            if !taken.is_empty() {
                self.kernel.unlearn(&set, &taken).await?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
