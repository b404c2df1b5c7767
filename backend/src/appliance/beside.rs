//! Beside another firewall (role companion): how the role is taken, what of the kernel's settings is ours then, and what is kept on
//! the way to a router and back.
//!
//! Everything here spares what was there before us: open calls, longer timers, the ports of another web page, the address that the
//! box has.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tokio::task::spawn_blocking;

use super::apply::{Applied, Failed, Step};
use super::flows::{TCP, from_the_home, is_open};
use super::network::beside_others;
use super::{Appliance, Assignment, Refusal, State};
use crate::kernel::{Error, Kernel, Load, Network, Observation};
use crate::ruleset::{self, Capabilities, Helper};
use crate::services::InternetLease;
use crate::settings::access::IN_PLACE;
use crate::settings::internet::Mode;
use crate::settings::names::InterfaceAddress;
use crate::settings::{Role, Settings, keys};
use crate::{file, log};

/// What the kernel's settings were before a router's took their place, in the state directory.
const NOTED: &str = "kernel-before.json";
/// Largest such file that is read, in bytes: 25 settings are 2 kB.
const LARGEST: u64 = 64 << 10;
/// What is forwarded beside another firewall goes on: taken away, every call would end.
const FORWARDING: [&str; 2] = ["net/ipv4/ip_forward", "net/ipv6/conf/all/forwarding"];
/// So long a router that asks for its address by DHCP keeps the one the box had, in seconds: longer than a trial, which no page that is
/// opened ends well before the provider has answered ([`KEPT_ONLY`]).
const KEPT: u32 = 120;
/// Said while the address is such a one.
pub(super) const KEPT_ONLY: &str = "The provider\u{2019}s DHCP server has not answered yet: the internet address is the one that this box had before, and is \
                                    gone soon unless it is lent.";

/// Values by path below `/proc/sys`, as they were before ours in one boot of the kernel.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Noted {
    boot: String,
    sysctls: BTreeMap<String, String>,
}

impl<K: Kernel> Appliance<K> {
    /// Changes `wanted`, which makes this box a companion, where its owner (`patch`) has said nothing and the box has: PPTP is left
    /// on where calls are open, and the page goes where no other web page belongs. Returns what to tell of it.
    pub(super) async fn taking_the_role(
        &self,
        state: &State,
        patch: &[Assignment],
        wanted: &mut Settings,
    ) -> Result<Vec<String>, Refusal> {
        let mut told = Vec::new();
        if wanted.role != Role::Companion || state.settings.role == Role::Companion {
            return Ok(told);
        }
        let said = |key: &str| patch.iter().any(|one| one.key == key);
        let access = wanted.access.clone();
        let other = [access.https_port, access.port];
        for (key, port, other, used) in [
            ("access.port", access.port, other[0], true),
            ("access.https_port", access.https_port, other[1], access.https),
        ] {
            let instead = IN_PLACE.iter().find(|(of, _)| *of == port.number()).map(|(_, instead)| *instead);
            let Some(instead) = instead.filter(|instead| *instead != other.number() && !said(key)) else {
                continue;
            };
            if keys::set(wanted, key, &instead.to_string()).is_ok() && used {
                told.push(format!(
                    "The admin page is at port {instead} from now on: beside another firewall port {port} is left to other programs \
                     ({key} is yours to change)."
                ));
            }
        }
        if wanted.passthrough.pptp.enabled
            || said("passthrough.pptp.enabled")
            || !state.capabilities.knows(Helper::Pptp)
        {
            return Ok(told);
        }
        let flows = ruleset::passthrough_flows(wanted).pptp;
        let seen = self.kernel.observe(&flows).await.map_err(|e| Refusal::failed(&e))?;
        let call = |flow: &&crate::kernel::Flow| {
            let control = flow.protocol == TCP && flows.iter().any(|f| f.covers(TCP, flow.server_port));
            control && is_open(flow) && from_the_home(flow, wanted, &seen.links)
        };
        let calls = match seen.flows.iter().filter(call).count() {
            0 => return Ok(told),
            1 => "1 PPTP call is open".to_owned(),
            n => format!("{n} PPTP calls are open"),
        };
        wanted.passthrough.pptp.enabled = true;
        told.push(format!(
            "{calls} that the other firewall lets through: PPTP was left on for that, though it is off in the factory state. Switched off, \
             it is refused."
        ));
        Ok(told)
    }

    /// Role companion: the kernel's timers and our table, in this order, and nothing else of the box. A router's table becomes a
    /// companion's in one transaction; addresses, route and forwarding stay as they are, so nothing that is open is lost.
    pub(super) async fn accompany(
        &self,
        capabilities: &Capabilities,
        step: Step<'_>,
        seen: &Observation,
    ) -> Result<Applied, Failed> {
        let left = router_left(step, seen);
        let network = self.kernel_beside(step.to, left.as_ref()).await?;
        let before = match self.kernel.configure(&network, Load::Commit).await {
            Ok(before) => before,
            Err(why) => return Err(Failed { why, back: self.put_back(capabilities, step, None).await }),
        };
        match self.finish_all(capabilities, step, seen).await {
            Ok(applied) => {
                self.forget_noted().await;
                Ok(applied)
            }
            Err(why) => Err(Failed { why, back: self.put_back(capabilities, step, Some(&before)).await }),
        }
    }

    /// What tunnels need of the kernel, where it has less: somebody else's longer timer stays. Of what a router of ours (`left`) had
    /// set comes back what was there before it, unless somebody has changed it since.
    pub(super) async fn kernel_beside(
        &self,
        to: &Settings,
        left: Option<&Settings>,
    ) -> Result<Network, Error> {
        let least = beside_others(to);
        let mut all = least.sysctls.clone();
        let routers = left.map(ruleset::sysctls).unwrap_or_default();
        for one in &routers {
            if !FORWARDING.contains(&one.0.as_str()) && !all.iter().any(|(path, _)| *path == one.0) {
                all.push(one.clone());
            }
        }
        let noted = if left.is_some() { self.noted().await } else { BTreeMap::new() };
        let look = Network { sysctls: all, ..Network::default() };
        let found = self.kernel.configure(&look, Load::Check).await?.sysctls;
        let value = |path: &str, now: &str| {
            let of = |all: &[(String, String)]| all.iter().find(|(p, _)| p == path).map(|(_, v)| v.clone());
            let inspecting =
                ruleset::INSPECTING.iter().find(|(p, _)| *p == path).map(|(_, v)| (*v).to_owned());
            // Inspection is off for a while only, and nobody would switch it on again.
            let ours = inspecting.is_some() || of(&routers).is_some_and(|ours| ours == now.trim());
            let before = noted.get(path).cloned().or(inspecting).filter(|_| ours);
            // Forwarding stays, and with it the kernel takes no router advertisements at 1 (ip-sysctl.rst, `accept_ra`).
            let began_to_forward = noted.get(FORWARDING[1]).is_some_and(|before| before == "0");
            let advertised = path.ends_with("/accept_ra") && began_to_forward;
            let before = before.map(|value| if advertised && value == "1" { "2".to_owned() } else { value });
            let base = before.unwrap_or_else(|| now.to_owned());
            of(&least.sysctls).map_or(base.clone(), |least| higher(base, least))
        };
        let sysctls = found.iter().map(|(path, now)| (path.clone(), value(path, now))).collect();
        Ok(Network { sysctls, ..Network::default() })
    }

    /// Writes down what a router's settings have replaced, the first time in this boot.
    pub(super) async fn note_kernel(&self, before: &Network) {
        let Some(path) = self.noted_path() else { return };
        let mut noted = Noted { boot: self.options.boot.clone(), sysctls: self.noted().await };
        let known = noted.sysctls.len();
        for (path, value) in &before.sysctls {
            noted.sysctls.entry(path.clone()).or_insert_with(|| value.trim().to_owned());
        }
        if noted.sysctls.len() == known {
            return;
        }
        let written = spawn_blocking(move || file::replace(&path, &serde_json::to_vec(&noted)?)).await;
        if let Ok(Err(error)) = written {
            log::warning(&format!(
                "what the kernel's settings were before could not be written down: {error}"
            ));
        }
    }

    async fn noted(&self) -> BTreeMap<String, String> {
        let Some(path) = self.noted_path() else { return BTreeMap::new() };
        let read = spawn_blocking(move || {
            let size = std::fs::metadata(&path).ok()?.len();
            let text = std::fs::read(&path).ok().filter(|_| size <= LARGEST)?;
            serde_json::from_slice::<Noted>(&text).ok()
        });
        let noted = read.await.ok().flatten().filter(|noted| noted.boot == self.options.boot);
        noted.map(|noted| noted.sysctls).unwrap_or_default()
    }

    /// It is in the kernel again: whoever changes it now is somebody else.
    pub(super) async fn forget_noted(&self) {
        if let Some(path) = self.noted_path() {
            // Not there, as a rule.
            let _ = spawn_blocking(move || std::fs::remove_file(path)).await;
        }
    }

    fn noted_path(&self) -> Option<PathBuf> {
        self.options.folders.as_ref().map(|folders| folders.state.join(NOTED))
    }

    /// A companion becomes a router that asks for its address: the one that the box has, with its route, counts as lent until the
    /// provider has answered, and is the one that is asked for. `before`: what there is. Else every call would end at that moment.
    pub(super) fn keep_address(&self, from: &Settings, to: &Settings, before: &Network) {
        let asks = to.role == Role::Router && to.internet.mode == Mode::Dhcp;
        let Some(device) = to.internet.device.clone().filter(|_| asks && from.role == Role::Companion) else {
            return;
        };
        let link = before.links.iter().find(|link| link.name == device);
        let route = before.default_route.as_ref().and_then(Option::as_ref);
        let route = route.filter(|route| route.device == device);
        let addresses = link.map(|link| link.addresses.as_slice()).unwrap_or_default();
        // Of several the one whose network holds the gateway: the others are the owner's own.
        let holds = |one: &&InterfaceAddress| route.is_some_and(|route| one.contains(route.gateway));
        let Some(address) = addresses.iter().find(holds).or(addresses.first()).copied() else { return };
        let now = self.kernel.served(&self.services(from)).now;
        let lease = InternetLease {
            gateway: route.map(|route| route.gateway),
            device,
            address,
            dns: Vec::new(),
            server: None,
            seconds: KEPT,
            since: now,
            first: now,
            boot: self.options.boot.clone(),
            kept: true,
        };
        if lease.clash(to).is_some() {
            return;
        }
        if let Err(error) = self.kernel.adopt_lease(&lease) {
            log::incident(&error);
        }
        self.internet().lease = Some(lease);
    }
}

/// The router that this box was until now; at a start, what the kernel holds tells whether it was one.
fn router_left(step: Step<'_>, seen: &Observation) -> Option<Settings> {
    let router = |settings: &&Settings| settings.role == Role::Router;
    let known = [step.from, step.stale].into_iter().flatten().find(router).cloned();
    let table = &seen.table;
    let stands = step.from.is_none() && table.present && !ruleset::beside_others(table.about.as_deref());
    known.or_else(|| stands.then(|| Settings { role: Role::Router, ..step.to.clone() }))
}

/// Of two values of a timer or a switch; what is no number gives way.
fn higher(now: String, least: String) -> String {
    let number = |value: &str| value.trim().parse::<u64>().ok();
    match (number(&now), number(&least)) {
        (Some(is), Some(wanted)) if is >= wanted => now,
        _ => least,
    }
}

#[cfg(test)]
mod tests;
