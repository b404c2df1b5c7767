//! The ports of the box, for whoever has to say which of them leads where.

use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::{Appliance, Refusal, RefusalKind};
use crate::kernel::{Kernel, Link, Load, Network, SeenLink};
use crate::settings::names::{IfName, InterfaceAddress};
use crate::settings::{Role, Settings};

/// A port that was just switched on knows after so long whether a cable is in it.
const WAKING: Duration = Duration::from_secs(4);
/// Nobody's router has more, and each takes a client of its own.
const MOST: usize = 16;

/// A real port: one that a cable can be in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Its name.
    pub name: IfName,
    /// Administratively up. Only then it is known whether there is a link.
    pub up: bool,
    /// A cable is in it, and something at the other end.
    pub carrier: bool,
    /// Megabits a second, if the driver tells.
    pub speed: Option<u32>,
    /// Its hardware address.
    pub mac: Option<[u8; 6]>,
    /// Its addresses.
    pub addresses: Vec<(IpAddr, u8)>,
    /// What it is for by the settings.
    pub used: Option<Use>,
    /// What it seems to be for; none: nothing tells.
    pub seems: Option<Use>,
    /// The address that a DHCP server on it would lend us, and which server. None: nobody answered, or nobody was asked.
    pub offered: Option<(Ipv4Addr, Option<Ipv4Addr>)>,
}

/// Where a port leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Use {
    /// To the provider.
    Internet,
    /// Into the home.
    Local,
}

impl<K: Kernel> Appliance<K> {
    /// The ports as they are. With `ask`, those that have no use yet are switched on and asked for a DHCP server: that is
    /// the owner's wish, and changes no address.
    pub async fn ports(&self, ask: bool) -> Result<Vec<Port>, Refusal> {
        let asking = if ask { Some(self.asking.try_lock()) } else { None };
        if matches!(asking, Some(Err(_))) {
            return Err(Refusal::of(
                RefusalKind::Failed,
                "The ports are being asked already. Look again in a few seconds.",
            ));
        }
        let state = self.state.lock().await;
        let settings = state.settings.clone();
        if ask {
            self.wake(&settings).await?;
        }
        let seen = self.kernel.observe(&[]).await.map_err(|e| Refusal::failed(&e))?;
        drop(state);
        let mut ports: Vec<Port> =
            seen.links.iter().filter_map(|link| port(link, &settings)).take(MOST).collect();
        for port in &mut ports {
            port.speed = self.kernel.speed(&port.name).filter(|_| port.carrier);
        }
        if ask {
            let free = |port: &&Port| port.carrier && port.used.is_none();
            let free: Vec<IfName> = ports.iter().filter(free).map(|port| port.name.clone()).collect();
            let offers = self.kernel.offers(&free).await.map_err(|e| Refusal::failed(&e))?;
            for lease in offers {
                if let Some(port) = ports.iter_mut().find(|port| port.name == lease.device) {
                    port.offered = Some((lease.address.address(), lease.server));
                }
            }
        }
        suggest(&mut ports);
        Ok(ports)
    }

    /// Switches on the ports that have no use, and waits for their links. Their addresses stay.
    async fn wake(&self, settings: &Settings) -> Result<(), Refusal> {
        let end = Instant::now() + WAKING;
        let mut asleep: Vec<IfName> = Vec::new();
        loop {
            let seen = self.kernel.observe(&[]).await.map_err(|e| Refusal::failed(&e))?;
            let ports = seen.links.iter().filter_map(|link| port(link, settings));
            let free: Vec<Port> = ports.filter(|port| port.used.is_none()).take(MOST).collect();
            let down: Vec<Link> = free.iter().filter(|port| !port.up).map(up).collect();
            // Somebody else may switch them off again and again.
            if !down.is_empty() && Instant::now() <= end {
                asleep = down.iter().map(|link| link.name.clone()).collect();
                let network = Network { links: down, ..Network::default() };
                self.kernel.configure(&network, Load::Commit).await.map_err(|e| Refusal::failed(&e))?;
            } else if free.iter().all(|port| port.carrier || !asleep.contains(&port.name))
                || Instant::now() > end
            {
                return Ok(());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}

fn up(port: &Port) -> Link {
    let addresses = port.addresses.iter().filter_map(|(address, prefix)| match address {
        IpAddr::V4(v4) => Some(InterfaceAddress::new(*v4, *prefix)),
        IpAddr::V6(_) => None,
    });
    Link::new(port.name.clone(), addresses.collect())
}

/// A link that a cable can be in; not a bridge, a tunnel, or the loopback. What a virtual machine has is one too.
fn port(link: &SeenLink, settings: &Settings) -> Option<Port> {
    let real = matches!(link.kind.as_deref(), None | Some("veth" | "dsa" | "vlan"));
    if !link.ethernet || !real {
        return None;
    }
    let name: IfName = link.name.parse().ok()?;
    let router = settings.role == Role::Router;
    let used = match (
        settings.internet.device.as_ref() == Some(&name),
        settings.local_network.devices.contains(&name),
    ) {
        (true, _) => Some(Use::Internet),
        (_, true) => Some(Use::Local),
        _ => None,
    };
    Some(Port {
        up: link.up,
        carrier: link.up && link.carrier,
        speed: None,
        mac: link.mac,
        addresses: link.addresses.clone(),
        used: used.filter(|_| router),
        seems: None,
        offered: None,
        name,
    })
}

/// The provider's port is the one on which somebody lends addresses; if that is just one, the others with a link are the
/// home's. Otherwise nothing is guessed: a wrong guess would open the home's side to the provider.
fn suggest(ports: &mut [Port]) {
    if ports.iter().filter(|port| port.offered.is_some()).count() != 1 {
        return;
    }
    for port in ports.iter_mut().filter(|port| port.carrier) {
        port.seems = Some(if port.offered.is_some() { Use::Internet } else { Use::Local });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::router;

    fn seen(name: &str, kind: Option<&str>) -> SeenLink {
        let kind = kind.map(str::to_owned);
        SeenLink { name: name.into(), up: true, carrier: true, ethernet: true, kind, ..SeenLink::default() }
    }

    #[test]
    fn only_what_a_cable_can_be_in_is_a_port() {
        let unset = Settings::default();
        let is = |link: &SeenLink| port(link, &unset).is_some();
        assert!(is(&seen("eth0", None)) && is(&seen("lan1", Some("dsa"))));
        for other in ["bridge", "tun", "dummy", "wireguard", "bond"] {
            assert!(!is(&seen("x", Some(other))), "{other}");
        }
        assert!(!is(&SeenLink { ethernet: false, ..seen("lo", None) }));
        assert!(!is(&seen("a name", None)), "a name we could not set");
    }

    #[test]
    fn what_a_port_is_used_for_stands_in_the_settings_of_a_router() {
        let settings = router();
        let used =
            |name: &str, settings: &Settings| port(&seen(name, None), settings).and_then(|port| port.used);
        let (wan, lan) =
            (settings.internet.device.clone().unwrap(), settings.local_network.devices[0].clone());
        assert_eq!(used(wan.as_str(), &settings), Some(Use::Internet));
        assert_eq!(used(lan.as_str(), &settings), Some(Use::Local));
        let unset = Settings { role: Role::Unset, ..settings };
        assert_eq!(used(wan.as_str(), &unset), None);
    }

    #[test]
    fn one_answer_tells_the_sides_and_two_tell_nothing() {
        let unset = Settings::default();
        let mut ports: Vec<Port> =
            ["eth0", "eth1", "eth2"].iter().filter_map(|name| port(&seen(name, None), &unset)).collect();
        ports[2].carrier = false;
        suggest(&mut ports);
        assert!(ports.iter().all(|port| port.seems.is_none()), "nobody answered");
        ports[1].offered = Some(([198, 51, 100, 5].into(), None));
        suggest(&mut ports);
        let seem: Vec<Option<Use>> = ports.iter().map(|port| port.seems).collect();
        assert_eq!(seem, [Some(Use::Local), Some(Use::Internet), None]);
        ports.iter_mut().for_each(|port| port.seems = None);
        ports[0].offered = ports[1].offered;
        suggest(&mut ports);
        assert!(
            ports.iter().all(|port| port.seems.is_none()),
            "two who lend: neither is the home's for sure"
        );
    }
}
