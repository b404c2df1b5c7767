//! What was, and the moves from there to what is wanted.

use super::super::links::{self, Address, Links, Request, Route};
use super::super::{Bridge, DefaultRoute, Error, Link, Member, Network, SeenLink, sysctl};
use super::{Action, Move, Plan, is, misplaced, ours};
use crate::settings::names::{IfName, InterfaceAddress};

/// What the kernel had before.
pub(super) struct Before {
    devices: Vec<SeenLink>,
    addresses: Vec<Address>,
    routes: Vec<Route>,
    sysctls: Vec<(String, String)>,
}

impl Before {
    pub(super) async fn read(links: &mut Links, wanted: &Network) -> Result<Self, Error> {
        let mut sysctls = Vec::new();
        for (path, _) in &wanted.sysctls {
            match sysctl::read(path)? {
                Some(value) => sysctls.push((path.clone(), value)),
                None => crate::log::info(&format!("this kernel has no setting {path}; left out")),
            }
        }
        Ok(Self {
            devices: links.devices().await?,
            addresses: links.addresses().await?,
            routes: links.routes().await?,
            sysctls,
        })
    }

    /// The bridges that have to be made.
    pub(super) fn missing_bridges<'a>(&self, wanted: &'a Network) -> Vec<&'a Bridge> {
        let missing = |bridge: &&Bridge| bridge.there && self.device(&bridge.name).is_err();
        wanted.bridges.iter().filter(missing).collect()
    }

    /// The links of `wanted`, without bridges that shall not be there and are not.
    fn links<'a>(&self, wanted: &'a Network) -> Result<Vec<(&'a Link, &SeenLink)>, Error> {
        let bridge = |link: &Link| wanted.bridges.iter().any(|b| b.name == link.name);
        let here = wanted.links.iter().filter(|link| !bridge(link) || self.device(&link.name).is_ok());
        here.map(|link| Ok((link, self.device(&link.name)?))).collect()
    }

    fn device(&self, name: &IfName) -> Result<&SeenLink, Error> {
        let found = self.devices.iter().find(|d| d.name == name.as_str());
        found.ok_or_else(|| Error::NoDevice(name.to_string()))
    }

    /// The IPv4 addresses of a device.
    fn addresses_of(&self, device: u32) -> impl Iterator<Item = &Address> {
        self.addresses.iter().filter(move |a| a.device == device && a.ip.is_ipv4())
    }

    /// The default routes through devices that are ours, the one in force first.
    fn default_routes(&self, wanted: &Network) -> Result<Vec<&Route>, Error> {
        let Some(route) = &wanted.default_route else { return Ok(Vec::new()) };
        let mut ours: Vec<u32> = self.links(wanted)?.into_iter().map(|(_, device)| device.index).collect();
        if let Some(route) = route {
            ours.push(self.device(&route.device)?.index);
        }
        let through = |r: &&Route| r.default && r.device.is_some_and(|d| ours.contains(&d));
        let mut routes: Vec<&Route> = self.routes.iter().filter(through).collect();
        routes.sort_by_key(|r| r.metric);
        Ok(routes)
    }

    /// This state in the shape of `wanted`.
    pub(super) fn of(&self, wanted: &Network) -> Result<Network, Error> {
        let mut links = Vec::new();
        for (link, device) in self.links(wanted)? {
            let addresses = self.addresses_of(device.index).filter(|a| a.global).filter_map(ours).collect();
            links.push(Link {
                name: link.name.clone(),
                addresses,
                up: device.up,
                mtu: link.mtu.map(|_| device.mtu),
                mac: link.mac.and(device.mac),
                member: match link.member {
                    Member::Untouched => Member::Untouched,
                    _ => self.member(device),
                },
            });
        }
        let bridge = |b: &Bridge| {
            let is = self.device(&b.name).ok();
            // The address that it has, for whoever makes it anew; one that stays keeps what it has.
            let mac = if b.there { b.mac } else { is.and_then(|is| is.mac) };
            Bridge { name: b.name.clone(), there: is.is_some(), mac }
        };
        let bridges = wanted.bridges.iter().map(bridge).collect();
        let default_route = match &wanted.default_route {
            None => None,
            Some(_) => Some(self.default_routes(wanted)?.first().and_then(|r| self.as_default(r))),
        };
        Ok(Network { bridges, links, default_route, sysctls: self.sysctls.clone() })
    }

    /// What a port belongs to now. Of something that has no name of ours (a bond): as good as nothing we could put back.
    fn member(&self, device: &SeenLink) -> Member {
        let master = device.master.and_then(|index| self.devices.iter().find(|d| d.index == index));
        master.and_then(|master| master.name.parse().ok()).map_or(Member::OfNone, Member::Of)
    }

    fn as_default(&self, route: &Route) -> Option<DefaultRoute> {
        let device = self.devices.iter().find(|d| Some(d.index) == route.device)?;
        Some(DefaultRoute { gateway: route.gateway?, device: device.name.parse().ok()? })
    }

    pub(super) fn plan(&self, wanted: &Network) -> Result<Plan, Error> {
        let mut plan = Plan::default();
        for (path, value) in &wanted.sysctls {
            if let Some((_, now)) =
                self.sysctls.iter().find(|(p, now)| p == path && !sysctl::same(now, value))
            {
                plan.sysctl(path, now, value);
            }
        }
        // Some keys change others (ip_forward sets all/accept_redirects, inet_forward_change in devinet.c): the old
        // values are written once more in the order in which they are meant to be written.
        plan.settle.extend(
            self.sysctls.iter().map(|(path, now)| Action::Sysctl { path: path.clone(), value: now.clone() }),
        );
        let links = self.links(wanted)?;
        for (link, device) in &links {
            plan.set_size_and_mac(link, device);
        }
        for (link, device) in links.iter().filter(|(l, d)| l.up && !d.up) {
            plan.set_up(&link.name, device.index, true);
        }
        for (link, device) in &links {
            self.new_addresses(&mut plan, link, device);
        }
        for (link, device) in &links {
            self.membership(&mut plan, link, device)?;
        }
        self.route(&mut plan, wanted)?;
        for (link, device) in &links {
            self.old_addresses(&mut plan, link, device);
        }
        for (link, device) in links.iter().filter(|(l, d)| !l.up && d.up) {
            plan.set_up(&link.name, device.index, false);
        }
        self.unwanted_bridges(&mut plan, wanted);
        // With a link or a source address the kernel also deletes the routes that need it (fib_sync_down_dev,
        // fib_sync_down_addr): they are put back when all that they need is.
        let indices: Vec<u32> = links.iter().map(|(_, d)| d.index).collect();
        let lost = self.routes.iter().filter(|r| r.device.is_some_and(|d| indices.contains(&d)));
        plan.settle.extend(lost.map(|r| ask("restore a route", r.add())));
        Ok(plan)
    }

    /// A port joins or leaves a bridge, once that has its addresses.
    fn membership(&self, plan: &mut Plan, link: &Link, device: &SeenLink) -> Result<(), Error> {
        let master = match &link.member {
            Member::Untouched => return Ok(()),
            Member::OfNone => None,
            Member::Of(bridge) => Some(self.device(bridge)?.index),
        };
        if master != device.master {
            let to = |master| ask(format!("join {}", link.name), links::set_master(device.index, master));
            plan.moves.push(Move { forth: to(master), back: to(device.master) });
        }
        Ok(())
    }

    /// Last of all: nothing that could fail comes after it.
    fn unwanted_bridges(&self, plan: &mut Plan, wanted: &Network) {
        for bridge in wanted.bridges.iter().filter(|bridge| !bridge.there) {
            if let Ok(device) = self.device(&bridge.name) {
                plan.moves.push(Move {
                    forth: ask(format!("remove {}", bridge.name), links::delete(device.index)),
                    back: ask(
                        format!("restore {}", bridge.name),
                        links::new_bridge(bridge.name.as_str(), device.mac),
                    ),
                });
            }
        }
    }

    fn new_addresses(&self, plan: &mut Plan, link: &Link, device: &SeenLink) {
        for wanted in &link.addresses {
            if !self.addresses_of(device.index).any(|a| is(a, *wanted)) {
                let address = links::new_address(device.index, *wanted);
                let what = format!("{wanted} to {}", link.name);
                plan.moves.push(Move {
                    forth: ask(format!("add {what}"), address.add()),
                    back: ask(format!("delete {what}"), address.delete()),
                });
            }
        }
    }

    /// Deletes what is not wanted and puts the rest in order.
    fn old_addresses(&self, plan: &mut Plan, link: &Link, device: &SeenLink) {
        let was: Vec<Address> = self.addresses_of(device.index).cloned().collect();
        let unwanted = |a: &&Address| a.global && !link.addresses.iter().any(|w| is(a, *w));
        let old: Vec<&Address> = was.iter().filter(unwanted).collect();
        let there = |wanted: &InterfaceAddress| was.iter().find(|a| is(a, *wanted)).cloned();
        let new = |wanted: &InterfaceAddress| links::new_address(device.index, *wanted);
        let shall: Vec<Address> = link.addresses.iter().map(|w| there(w).unwrap_or_else(|| new(w))).collect();
        let added = link.addresses.iter().filter(|w| there(w).is_none()).map(new);
        let then: Vec<Address> = was.iter().cloned().chain(added).collect();
        if old.is_empty() && misplaced(&then, &shall).is_empty() {
            return;
        }
        let order =
            |addresses: &Vec<Address>| Action::Order { device: device.index, addresses: addresses.clone() };
        // Deleting the first address of a network deletes the others of that network with it, unless they are to be
        // promoted (__inet_del_ifa, net/ipv4/devinet.c). So we ask for that while we delete.
        let promote = format!("net/ipv4/conf/{}/promote_secondaries", link.name);
        let to = |value: &str| Action::Sysctl { path: promote.clone(), value: value.to_owned() };
        let now = sysctl::read(&promote).ok().flatten().unwrap_or_default();
        plan.moves.push(Move { forth: to("1"), back: to(&now) });
        for address in old {
            let what = format!("{}/{} of {}", address.ip, address.prefix, link.name);
            plan.moves.push(Move {
                forth: ask(format!("delete {what}"), address.delete()),
                back: ask(format!("restore {what}"), address.add()),
            });
        }
        plan.moves.push(Move { forth: order(&shall), back: order(&was) });
        plan.moves.push(Move { forth: to(&now), back: to("1") });
        plan.settle.extend([to("1"), order(&was), to(&now)]);
    }

    fn route(&self, plan: &mut Plan, wanted: &Network) -> Result<(), Error> {
        let mut old = self.default_routes(wanted)?;
        if let Some(Some(route)) = &wanted.default_route {
            let device = self.device(&route.device)?.index;
            let same =
                |r: &&Route| r.metric == 0 && r.device == Some(device) && r.gateway == Some(route.gateway);
            if old.iter().any(same) {
                old.retain(|r| !same(r));
            } else {
                let near = |a: InterfaceAddress| a.contains(route.gateway);
                let near = match wanted.links.iter().find(|l| l.name == route.device) {
                    Some(link) => link.addresses.iter().any(|a| near(*a)),
                    None => self.addresses_of(device).filter_map(ours).any(near),
                };
                // Some providers give a gateway outside the network of the address.
                let new = links::new_default_route(device, route.gateway, !near);
                let what = format!("the default route via {} on {}", route.gateway, route.device);
                plan.moves.push(Move {
                    forth: ask(format!("add {what}"), new.add()),
                    back: ask(format!("delete {what}"), new.delete()),
                });
            }
        }
        for route in old {
            plan.moves.push(Move {
                forth: ask("delete the old default route", route.delete()),
                back: ask("restore the default route", route.add()),
            });
        }
        Ok(())
    }
}

impl Plan {
    fn sysctl(&mut self, path: &str, now: &str, wanted: &str) {
        let to = |value: &str| Action::Sysctl { path: path.to_owned(), value: value.to_owned() };
        self.moves.push(Move { forth: to(wanted), back: to(now) });
    }

    fn set_size_and_mac(&mut self, link: &Link, device: &SeenLink) {
        if let Some(mtu) = link.mtu.filter(|mtu| *mtu != device.mtu) {
            let to = |mtu| {
                ask(format!("set the MTU of {} to {mtu}", link.name), links::set_mtu(device.index, mtu))
            };
            self.moves.push(Move { forth: to(mtu), back: to(device.mtu) });
        }
        if let (Some(mac), Some(is)) = (link.mac, device.mac)
            && mac != is
        {
            let to =
                |mac| ask(format!("set the MAC address of {}", link.name), links::set_mac(device.index, mac));
            self.moves.push(Move { forth: to(mac), back: to(is) });
        }
    }

    fn set_up(&mut self, name: &IfName, device: u32, up: bool) {
        let to = |up: bool| {
            let what = format!("set {name} {}", if up { "up" } else { "down" });
            ask(what, links::set_up(device, up))
        };
        self.moves.push(Move { forth: to(up), back: to(!up) });
    }
}

fn ask(what: impl Into<String>, request: Request) -> Action {
    Action::Ask { what: what.into(), request }
}
