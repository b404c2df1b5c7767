//! IPv6 from the provider: numbers the home by the prefix that was delegated, and says how that is.

use std::net::{IpAddr, Ipv6Addr};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::super::{Appliance, State};
use super::Internet;
use crate::journal::{By, JournalKind};
use crate::kernel::{Kernel, Load, Numbers, Observation};
use crate::log;
use crate::services::{Delegated, DelegatedPrefix, Served, Service};
use crate::settings::names::IfName;
use crate::settings::{Role, Settings};

/// How long after a start that failed the DHCPv6 client is started again.
const AGAIN: Duration = Duration::from_secs(30);

/// How long after the first router solicitation the next one comes, and at most between two: each time twice as long (RFC 7559
/// section 2).
const SOLICIT: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(3600));

/// How IPv6 is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ipv6State {
    /// The DHCPv6 client of the internet port; off: IPv6 is not asked for.
    pub client: Service,
    /// What was delegated, with the seconds that are left.
    pub prefixes: Vec<DelegatedPrefix>,
    /// Why the newest delegation cannot be used, in words.
    pub unusable: Option<String>,
    /// Our address on the internet side, as the kernel shows it.
    pub address: Option<Ipv6Addr>,
    /// Our addresses of the internet in the home, as the kernel shows them.
    pub home: Vec<Ipv6Addr>,
    /// The provider's router.
    pub gateway: Option<Ipv6Addr>,
}

impl<K: Kernel> Appliance<K> {
    /// Numbers the home by what is delegated now, and takes back what no longer holds. Tried again at the next look if it fails.
    pub(in crate::appliance) async fn follow_prefix(&self, state: &State) {
        let settings = &state.settings;
        if settings.role != Role::Router || state.broken.is_some() {
            return self.without_prefix(settings).await;
        }
        let services = self.services(settings);
        let served = self.kernel.served(&services);
        if matches!(served.prefix_client, Service::Failed { .. }) && self.time_to_try() {
            // Says itself, once, why it does not come up.
            let _ = self.kernel.serve(&services, Load::Commit).await;
        }
        let delegated = served.delegated;
        let before = std::mem::replace(&mut self.internet().delegated, delegated.clone());
        let solicit = self.solicit(settings).await;
        self.number(&Numbers { solicit, ..numbers(settings, delegated.as_ref()) }).await;
        let prefixes = |of: &Option<Delegated>| -> Vec<(Ipv6Addr, u8, bool)> {
            of.iter().flat_map(|d| &d.prefixes).map(|p| (p.prefix, p.length, p.preferred > 0)).collect()
        };
        if prefixes(&before) != prefixes(&delegated) {
            let what = tell(delegated.as_ref());
            log::info(&what);
            self.journal.count(JournalKind::Internet, By::POSTERN, &what, 1, 0);
        }
        let dns = |of: &Option<Delegated>| of.as_ref().map(|d| d.dns.clone()).unwrap_or_default();
        let changed = dns(&before) != dns(&delegated);
        self.internet().servers_due |= changed;
        self.tell_servers(settings, changed).await;
    }

    /// A box that is no router keeps no prefix; one that never had any is not touched.
    async fn without_prefix(&self, settings: &Settings) {
        let had = settings.role != Role::Router && self.internet().delegated.take().is_some();
        if had {
            let local = &settings.local_network;
            let without = local.device().into_iter().chain(local.devices.iter().cloned()).collect();
            self.number(&Numbers { without, ..Numbers::default() }).await;
        }
    }

    async fn number(&self, wanted: &Numbers) {
        let failed = self.kernel.number(wanted).await.err();
        let words = failed.as_ref().map(ToString::to_string);
        let before = std::mem::replace(&mut self.internet().unnumbered, words.clone());
        if let Some(error) = failed.filter(|_| before != words) {
            log::incident(&error);
        }
    }

    /// The port on which to ask for a router now: none has advertised itself yet.
    async fn solicit(&self, settings: &Settings) -> Option<IfName> {
        let port = settings.internet.ipv6_device()?;
        let due =
            |internet: &Internet| internet.solicited.is_none_or(|(asked, pause)| asked.elapsed() >= pause);
        if !due(&self.internet()) {
            return None;
        }
        let seen = self.kernel.observe(&[]).await.ok()?;
        let mut internet = self.internet();
        if gateway(&seen, Some(port.as_str())).is_some() {
            // It is asked at once when its route has gone.
            internet.solicited = None;
            return None;
        }
        let pause = internet.solicited.map_or(SOLICIT.0, |(_, pause)| (pause * 2).min(SOLICIT.1));
        internet.solicited = Some((Instant::now(), pause));
        Some(port.clone())
    }

    fn time_to_try(&self) -> bool {
        let mut internet = self.internet();
        let due = internet.tried.is_none_or(|tried| tried.elapsed() >= AGAIN);
        if due {
            internet.tried = Some(Instant::now());
        }
        due
    }
}

/// The addresses that the home shall have.
fn numbers(settings: &Settings, delegated: Option<&Delegated>) -> Numbers {
    let local = &settings.local_network;
    let device = local.device();
    let ports = local.devices.iter().filter(|port| Some(*port) != device.as_ref()).cloned();
    Numbers {
        without: ports.collect(),
        home: device.map(|device| (device, delegated.map(Delegated::addresses).unwrap_or_default())),
        solicit: None,
        unadvertised: settings.internet.device.clone().filter(|_| settings.internet.ipv6_device().is_none()),
    }
}

fn tell(delegated: Option<&Delegated>) -> String {
    let Some(delegated) = delegated else { return "has no IPv6 prefix any more".to_owned() };
    let all: Vec<String> = delegated
        .prefixes
        .iter()
        .map(|p| {
            let deprecated = if p.preferred == 0 { " (for a while only)" } else { "" };
            format!("{}/{}{deprecated}", p.prefix, p.length)
        })
        .collect();
    format!("uses the IPv6 prefix {} now", all.join(" and "))
}

/// How it is.
pub(super) fn state(settings: &Settings, served: &Served, seen: &Observation) -> Ipv6State {
    let router = settings.role == Role::Router;
    let of = |name: Option<&str>| seen.links.iter().find(|link| Some(link.name.as_str()) == name && router);
    let addresses = |name: Option<&str>| -> Vec<Ipv6Addr> {
        let all = of(name).map(|link| link.addresses.as_slice()).unwrap_or_default();
        let global = |ip: &Ipv6Addr| !ip.is_unicast_link_local();
        all.iter()
            .filter_map(|(ip, _)| if let IpAddr::V6(ip) = ip { Some(*ip) } else { None })
            .filter(global)
            .collect()
    };
    let (port, home) = (settings.internet.outside(), settings.local_network.device());
    let port = port.as_ref().map(|name| name.as_str());
    Ipv6State {
        client: served.prefix_client.clone(),
        prefixes: served.delegated.iter().flat_map(|d| d.prefixes.clone()).collect(),
        unusable: served.prefix_unusable.clone(),
        address: addresses(port).first().copied(),
        home: addresses(home.as_ref().map(|name| name.as_str())),
        gateway: gateway(seen, port).filter(|_| router),
    }
}

/// The router that IPv6 packets to everywhere go to through this port.
fn gateway(seen: &Observation, port: Option<&str>) -> Option<Ipv6Addr> {
    let link = seen.links.iter().find(|link| Some(link.name.as_str()) == port)?;
    seen.gateways6.iter().find(|(device, _)| *device == link.index).map(|(_, gateway)| *gateway)
}
