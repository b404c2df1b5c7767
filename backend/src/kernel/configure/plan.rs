//! What was, and the moves from there to what is wanted.

use super::super::links::{self, Address, Links, Request, Route};
use super::super::{DefaultRoute, Error, Link, Network, SeenLink, sysctl};
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
        let names = wanted.links.iter().map(|l| &l.name).chain(route.iter().map(|r| &r.device));
        let ours = names.map(|n| self.device(n).map(|d| d.index)).collect::<Result<Vec<u32>, Error>>()?;
        let through = |r: &&Route| r.default && r.device.is_some_and(|d| ours.contains(&d));
        let mut routes: Vec<&Route> = self.routes.iter().filter(through).collect();
        routes.sort_by_key(|r| r.metric);
        Ok(routes)
    }

    /// This state in the shape of `wanted`.
    pub(super) fn of(&self, wanted: &Network) -> Result<Network, Error> {
        let mut links = Vec::new();
        for link in &wanted.links {
            let device = self.device(&link.name)?;
            let addresses = self.addresses_of(device.index).filter(|a| a.global).filter_map(ours).collect();
            links.push(Link { name: link.name.clone(), addresses, up: device.up });
        }
        let default_route = match &wanted.default_route {
            None => None,
            Some(_) => Some(self.default_routes(wanted)?.first().and_then(|r| self.as_default(r))),
        };
        Ok(Network { links, default_route, sysctls: self.sysctls.clone() })
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
        let devices: Vec<&SeenLink> =
            wanted.links.iter().map(|l| self.device(&l.name)).collect::<Result<_, Error>>()?;
        for (link, device) in wanted.links.iter().zip(&devices).filter(|(l, d)| l.up && !d.up) {
            plan.set_up(&link.name, device.index, true);
        }
        for (link, device) in wanted.links.iter().zip(&devices) {
            self.new_addresses(&mut plan, link, device);
        }
        self.route(&mut plan, wanted)?;
        for (link, device) in wanted.links.iter().zip(&devices) {
            self.old_addresses(&mut plan, link, device);
        }
        for (link, device) in wanted.links.iter().zip(&devices).filter(|(l, d)| !l.up && d.up) {
            plan.set_up(&link.name, device.index, false);
        }
        // With a link or a source address the kernel also deletes the routes that need it (fib_sync_down_dev,
        // fib_sync_down_addr): they are put back when all that they need is.
        let indices: Vec<u32> = devices.iter().map(|d| d.index).collect();
        let lost = self.routes.iter().filter(|r| r.device.is_some_and(|d| indices.contains(&d)));
        plan.settle.extend(lost.map(|r| ask("restore a route", r.add())));
        Ok(plan)
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
