//! The internet port: follows what the provider lends, and says how that is.

mod ipv6;

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

pub use ipv6::Ipv6State;

use super::network::network;
use super::{Appliance, State};
use crate::journal::{By, JournalKind};
use crate::kernel::{Kernel, Load, Observation};
use crate::log;
use crate::services::{
    self, BehindNat, Clash, Delegated, InternetLease, PppoeFailure, PppoeState, Served, Service, Services,
};
use crate::settings::internet::Mode;
use crate::settings::{Role, Settings};

/// What is followed.
#[derive(Debug, Default)]
pub(super) struct Internet {
    /// The lease that is in force.
    pub(super) lease: Option<InternetLease>,
    /// Why the newest one could not be put into force, if that failed; said once.
    failed: Option<String>,
    /// The home's DNS does not know the servers of the lease in force yet: that failed, and is tried again.
    pub(super) servers_due: bool,
    /// Whether the port had a link when it was looked at last.
    carrier: Option<bool>,
    /// The prefix that the home uses.
    pub(super) delegated: Option<Delegated>,
    /// Why the home could not be numbered, if that failed; said once.
    pub(super) unnumbered: Option<String>,
    /// When the DHCPv6 client was tried last.
    pub(super) tried: Option<Instant>,
    /// When the provider's router was asked last to advertise itself, and after how long it is asked again.
    pub(super) solicited: Option<(Instant, Duration)>,
}

/// How the internet port is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InternetState {
    /// Its DHCP client.
    pub client: Service,
    /// The PPPoE session, where one is wanted.
    pub pppoe: Option<PppoeState>,
    /// The lease that is in force.
    pub lease: Option<InternetLease>,
    /// Seconds since this address was first lent, without an interruption.
    pub since: u64,
    /// Seconds until it must be renewed; none: never.
    pub left: Option<u64>,
    /// What was lent and is refused, because the home uses that network.
    pub clash: Option<Clash>,
    /// Why the newest answer of the provider cannot be used, in words.
    pub unusable: Option<String>,
    /// Our address on the internet side, as the kernel shows it.
    pub address: Option<Ipv4Addr>,
    /// Who else translates addresses, by that address.
    pub behind: Option<BehindNat>,
    /// IPv6.
    #[serde(default)]
    pub ipv6: Ipv6State,
}

impl<K: Kernel> Appliance<K> {
    /// The lease in force.
    pub(super) fn lease(&self) -> Option<InternetLease> {
        self.internet().lease.clone()
    }

    pub(super) fn internet(&self) -> MutexGuard<'_, Internet> {
        self.internet.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom the tools ask for names.
    pub fn resolvers(&self) -> Vec<SocketAddr> {
        let (_, settings) = self.settings();
        let servers = services::resolvers(&settings, self.lease().as_ref());
        servers.into_iter().map(|server| (server, 53).into()).collect()
    }

    /// What other daemons shall do.
    pub(super) fn services(&self, settings: &Settings) -> Services {
        let (lease, delegated) = {
            let internet = self.internet();
            (internet.lease.clone(), internet.delegated.clone())
        };
        services::compile(settings, lease.as_ref(), delegated.as_ref())
    }

    /// The lease that the last daemon was using, if it holds: before the first apply, which would take its address away.
    pub(super) fn find_lease(&self, settings: &Settings) {
        let served = self.kernel.served(&self.services(settings));
        let mut internet = self.internet();
        internet.lease = usable(settings, &served);
        internet.delegated = served.delegated;
    }

    /// Puts what was lent into force, or takes back what no longer holds. Tried again at the next look if it fails.
    pub(super) async fn follow_lease(&self, state: &State) {
        let settings = &state.settings;
        // A box that could not be put in order is put in order first, and finds its lease then.
        if settings.role != Role::Router {
            self.internet().lease = None;
            return;
        }
        if state.broken.is_some() {
            return;
        }
        let served = self.kernel.served(&self.services(settings));
        let lease = usable(settings, &served);
        let before = std::mem::replace(&mut self.internet().lease, lease.clone());
        if before == lease {
            return self.tell_servers(settings, false).await;
        }
        let done = self.use_lease(settings, before.as_ref(), lease.as_ref()).await;
        if let Err(error) = done {
            let words = error.to_string();
            let mut internet = self.internet();
            internet.lease = before;
            if internet.failed.replace(words.clone()) != Some(words) {
                drop(internet);
                log::incident(&error);
            }
            return;
        }
        {
            let mut internet = self.internet();
            internet.failed = None;
            internet.servers_due |= before.as_ref().map(|b| &b.dns) != lease.as_ref().map(|l| &l.dns);
        }
        if let Some(what) = tell(before.as_ref(), lease.as_ref()) {
            self.journal.count(JournalKind::Internet, By::POSTERN, &what, 1, 0);
        }
        self.tell_servers(settings, true).await;
    }

    async fn use_lease(
        &self,
        settings: &Settings,
        before: Option<&InternetLease>,
        lease: Option<&InternetLease>,
    ) -> Result<(), crate::kernel::Error> {
        let place = |lease: Option<&InternetLease>| lease.map(|l| (l.address, l.gateway, l.device.clone()));
        if place(before) != place(lease) {
            let seen = self.kernel.observe(&[]).await?;
            self.kernel.configure(&network(&[Some(settings)], settings, &seen, lease), Load::Commit).await?;
        }
        let old = before.map(|before| before.address.address());
        // Also the owner may have it set by hand now.
        let by_hand = settings.internet.address.filter(|_| settings.internet.mode == Mode::Static);
        let kept = lease.map(|lease| lease.address).or(by_hand).map(|address| address.address());
        if let Some(old) = old.filter(|old| kept != Some(*old)) {
            let ended = self.kernel.forget(old).await?;
            log::info(&format!("{ended} connections of the old internet address {old} have ended"));
        }
        Ok(())
    }

    /// The home's DNS learns the provider's servers. A home without names is better off than one without internet: what
    /// fails here takes no address back.
    pub(super) async fn tell_servers(&self, settings: &Settings, first: bool) {
        if !self.internet().servers_due {
            return;
        }
        match self.kernel.serve(&self.services(settings), Load::Commit).await {
            Ok(()) => self.internet().servers_due = false,
            // Said once; the care for dnsmasq tells the log how that goes on.
            Err(_) if !first => {}
            Err(error) => log::warning(&format!("the provider's name servers are not asked yet: {error}")),
        }
    }

    /// The cable of the internet port was out and is in again: perhaps it leads elsewhere now.
    pub(super) fn follow_cable(&self, settings: &Settings, seen: &Observation) {
        let device = settings.internet.device.as_ref();
        let link = device.and_then(|name| seen.links.iter().find(|link| link.name == name.as_str()));
        let carrier = link.map(|link| link.carrier);
        let before = std::mem::replace(&mut self.internet().carrier, carrier);
        match (before, carrier) {
            (None | Some(true), Some(false)) => {
                log::warning("the internet port has no link");
                self.journal.count(
                    JournalKind::Internet,
                    By::POSTERN,
                    "lost the link of the internet port",
                    1,
                    0,
                );
            }
            (Some(false), Some(true)) => {
                log::info("the internet port has a link again");
                self.journal.count(
                    JournalKind::Internet,
                    By::POSTERN,
                    "has a link at the internet port again",
                    1,
                    0,
                );
            }
            _ => return,
        }
        self.internet().solicited = None;
        if carrier == Some(true) && settings.internet.mode == Mode::Dhcp {
            self.kernel.renew_lease();
        }
    }

    /// How it is.
    pub(super) fn internet_state(
        &self,
        settings: &Settings,
        served: &Served,
        seen: &Observation,
    ) -> InternetState {
        let device = settings.internet_side().filter(|_| settings.role != Role::Unset);
        let link = device.and_then(|name| seen.links.iter().find(|link| link.name == name.as_str()));
        let address = link.and_then(|link| {
            link.addresses.iter().find_map(|(address, _)| match address {
                IpAddr::V4(v4) if !v4.is_link_local() => Some(*v4),
                _ => None,
            })
        });
        let lease = self.lease();
        let ends = |lease: &InternetLease| lease.since.saturating_add(lease.seconds.into());
        InternetState {
            client: served.dhcp_client.clone(),
            pppoe: served.pppoe.clone(),
            since: lease.as_ref().map_or(0, |lease| served.now.saturating_sub(lease.first)),
            left: lease
                .as_ref()
                .filter(|lease| lease.seconds != u32::MAX)
                .map(|lease| ends(lease).saturating_sub(served.now)),
            clash: served.internet_lease.as_ref().and_then(|lease| lease.clash(settings)),
            unusable: served.unusable.clone(),
            address,
            behind: address.and_then(BehindNat::of),
            ipv6: ipv6::state(settings, served, seen),
            lease,
        }
    }
}

/// The lease that was heard of, if it can be used beside these settings.
fn usable(settings: &Settings, served: &Served) -> Option<InternetLease> {
    served.internet_lease.clone().filter(|lease| lease.clash(settings).is_none())
}

/// Tells the log; what the journal shall say, if there is another address.
fn tell(before: Option<&InternetLease>, lease: Option<&InternetLease>) -> Option<String> {
    let address = |lease: &InternetLease| lease.address;
    if before.map(address) == lease.map(address) {
        return None;
    }
    Some(match lease {
        Some(lease) => {
            log::info(&format!("the internet address is {} now", lease.address));
            format!("uses the internet address {} now", lease.address)
        }
        None => {
            log::info("the provider lends us no address any more");
            "has no internet address any more: the provider lends none".to_owned()
        }
    })
}

/// What the owner should know of it, in words.
pub(super) fn notices(state: &InternetState) -> Vec<String> {
    let mut all = Vec::new();
    if let Some(clash) = &state.clash {
        let instead = match clash.free {
            Some(free) => format!("Give the local network another address, for example {free}."),
            None => "Give the local network an address outside of it.".to_owned(),
        };
        all.push(format!(
            "The provider's box lends us {}, an address of the network that your home uses ({}). It is not used, so there \
             is no internet; your home stays as it is. {instead}",
            clash.theirs, clash.ours
        ));
    }
    all.extend(state.unusable.clone().map(|why| format!("There is no internet address: {why}.")));
    match &state.client {
        Service::Off | Service::Running => {}
        Service::NotInstalled => all.push(
            "There is no internet address: the DHCP client udhcpc is not installed. On Debian install the package udhcpc; \
             OpenWrt has it."
                .to_owned(),
        ),
        Service::Failed { words } => {
            all.push(format!("The internet address is not renewed: {words}. It is tried again by itself."));
        }
    }
    all.extend(state.pppoe.as_ref().and_then(pppoe));
    match state.behind {
        None => {}
        Some(BehindNat::AnotherRouter) => all.push(
            "This box is behind another router: its internet address is a private one, and addresses are translated twice. \
             IPsec with NAT traversal, OpenVPN and WireGuard go through; PPTP and plain ESP only if that router lets them; nothing from the internet can come in unless that router forwards it. If you \
             can, set the provider's box to bridge mode."
                .to_owned(),
        ),
        Some(BehindNat::Carrier) => all.push(
            "Your provider shares one internet address among many customers (carrier-grade NAT). IPsec with NAT traversal, OpenVPN \
             and WireGuard go through; PPTP and plain ESP only if its NAT lets them; nothing from the internet can come in. Ask the provider for an address of your own if you need that."
                .to_owned(),
        ),
    }
    all
}

fn pppoe(state: &PppoeState) -> Option<String> {
    let failure = match state {
        PppoeState::NotRunning => {
            return Some(
                "There is no internet: the service postern-pppoe, which holds the PPPoE session, does not run. Start it; it is \
                 the one part of this router that needs root."
                    .to_owned(),
            );
        }
        PppoeState::Asking | PppoeState::Up => return None,
        PppoeState::Failed { why } => why,
    };
    let told = match failure {
        PppoeFailure::NoServer => {
            "no PPPoE server answers on the internet port. Check the cable to the modem, that the modem is in bridge mode, and \
             the service name if one is set"
        }
        PppoeFailure::Refused => "the provider refuses the user name or the password",
        PppoeFailure::NoKernel => {
            "this kernel cannot do PPPoE. On OpenWrt install the package kmod-pppoe; Debian's kernels can"
        }
        PppoeFailure::NotInstalled => {
            "pppd or its PPPoE plugin is not installed. On Debian install the package ppp; on OpenWrt ppp-mod-pppoe"
        }
        PppoeFailure::Other { words } => words,
    };
    Some(format!("There is no internet: {told}. It is tried again by itself."))
}

#[cfg(test)]
mod tests;
