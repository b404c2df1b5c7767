//! What ends when a device may not use passthrough any more. The rules refuse what it sends from the swap on; what was open is
//! deleted too, so that nothing is let in as its answer.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use super::Appliance;
use super::flows::{from_the_home, lan_link};
use crate::kernel::{Element, Flow, Kernel, Observation, SeenLink};
use crate::log;
use crate::ruleset::{self, Capabilities, FlowMatch};
use crate::settings::names::Mac;
use crate::settings::passthrough::Allowed;
use crate::settings::{Role, Settings};

/// Map of the rules for many clients: the zone of a client, and its address. By it the internet reaches a client first.
const ZONE_HOST: &str = "zone_host";

/// Whose flows end.
#[derive(Debug, Default)]
pub(super) struct Withdrawn {
    /// What there is to lose.
    flows: Vec<FlowMatch>,
    /// Who may, from now on.
    allowed: Vec<Mac>,
    /// Whose the addresses of the local network are: [`Appliance::owners_for`].
    owners: BTreeMap<IpAddr, Mac>,
}

impl Withdrawn {
    pub(super) fn between(from: &Settings, to: &Settings, capabilities: &Capabilities) -> Self {
        match &to.passthrough.devices {
            Allowed::Only(allowed)
                if from.role != Role::Unset && to.role != Role::Unset && ruleset::withdrawn(from, to) =>
            {
                let flows = ruleset::passed_flows(to, capabilities);
                Self { flows, allowed: allowed.clone(), owners: BTreeMap::new() }
            }
            _ => Self::default(),
        }
    }

    /// What to look for.
    pub(super) fn wanted(&self) -> &[FlowMatch] {
        &self.flows
    }

    /// Whether this flow is one of a device that may not. Whose it is nobody knows where the address has no neighbour: then it
    /// ends as well, and a device that may begins it anew. Asked of each flow by itself: the device that is denied chooses how many it
    /// has, and whoever looked for each in a list of them would stand still for as long as it likes.
    pub(super) fn ends(&self, flow: &Flow, settings: &Settings, links: &[SeenLink]) -> bool {
        let may = || self.owners.get(&flow.client).is_some_and(|device| self.allowed.contains(device));
        self.flows.iter().any(|one| one.covers(flow.protocol, flow.server_port))
            && from_the_home(flow, settings, links)
            && !may()
    }
}

impl<K: Kernel> Appliance<K> {
    /// Lets `withdrawn` know whose flows are whose.
    pub(super) async fn owners_for(
        &self,
        withdrawn: &mut Withdrawn,
        settings: &Settings,
        seen: &Observation,
    ) {
        if !withdrawn.flows.is_empty() {
            withdrawn.owners = self.owners(settings, seen).await;
        }
    }

    /// Whose the addresses of the local network are, as the kernel speaks with them.
    async fn owners(&self, settings: &Settings, seen: &Observation) -> BTreeMap<IpAddr, Mac> {
        let lan = lan_link(settings, &seen.links).map(|link| link.index);
        let neighbours = self.kernel.neighbours().await.unwrap_or_default();
        let ours = neighbours.into_iter().filter(|one| Some(one.device) == lan);
        ours.filter_map(|one| Some((one.address, Mac::of(one.mac)?))).collect()
    }

    /// The internet begins nothing with these clients any more. What cannot be forgotten times out.
    pub(super) async fn unlearn_clients(&self, clients: &BTreeSet<IpAddr>) {
        if clients.is_empty() {
            return;
        }
        let theirs = |element: &Element| {
            <[u8; 4]>::try_from(element.data.as_slice())
                .is_ok_and(|client| clients.contains(&IpAddr::from(client)))
        };
        let forgotten = match self.kernel.elements_of(ZONE_HOST, usize::MAX).await {
            Ok(mut elements) => {
                elements.retain(theirs);
                self.kernel.unlearn(ZONE_HOST, &elements).await
            }
            Err(error) => Err(error),
        };
        if let Err(error) = forgotten {
            log::incident(&error);
        }
    }
}

#[cfg(test)]
mod tests;
