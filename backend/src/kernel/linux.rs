//! The running system.
//!
//! Netfilter's netlink blocks, for microseconds as a rule: it runs on tokio's blocking threads. So does a change of the
//! network, in a runtime of its own. nft is a child process.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

use super::dhcpcd::Dhcpcd;
use super::dnsmasq::Dnsmasq;
use super::links::{Links, refused};
use super::pppoe::Session;
use super::udhcpc::Udhcpc;
use super::{
    Counter, Element, Entries, Error, Event, Flow, FlowMatch, Kernel, Load, Named, Neighbour, Network,
    Numbers, Observation, Table,
};
use super::{answers, capabilities, carried, configure, conntrack, elements, ipv6, nft, table};
use crate::ruleset::{Capabilities, Ruleset};
use crate::services::{InternetLease, Served, Services};
use crate::settings::names::IfName;

/// The Linux that we run on. Needs CAP_NET_ADMIN in the network namespace.
#[derive(Debug, Default)]
pub struct Linux {
    /// The ruleset generation of the last look, and our table then.
    listed: Mutex<Option<(u32, Table)>>,
    /// None: whoever asks only reads, or loads rules.
    children: Option<Children>,
}

/// The other daemons that are ours.
#[derive(Debug)]
struct Children {
    dnsmasq: Dnsmasq,
    udhcpc: Udhcpc,
    dhcpcd: Dhcpcd,
    pppoe: Session,
}

impl Linux {
    /// Asks nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// One that runs other daemons too. Their files are made in `run` (gone at boot) and `state` (kept), and what the PPPoE unit is told in
    /// `services`, which none of them sees: a password is in it. Needs a runtime of tokio.
    pub fn with_services(services: &Path, run: &Path, state: &Path) -> Self {
        let (dnsmasq, udhcpc) = (Dnsmasq::new(run, state), Udhcpc::new(run, state));
        let dhcpcd = Dhcpcd::new(run, state);
        let children = Children { dnsmasq, udhcpc, dhcpcd, pppoe: Session::new(services) };
        Self { children: Some(children), ..Self::default() }
    }

    fn known(&self) -> Option<(u32, Table)> {
        self.listed.lock().ok()?.clone()
    }

    fn remember(&self, generation: Option<u32>, table: &Table) {
        if let Ok(mut listed) = self.listed.lock() {
            *listed = generation.map(|generation| (generation, table.clone()));
        }
    }
}

impl Kernel for Linux {
    async fn capabilities(&self) -> Result<Capabilities, Error> {
        capabilities::capabilities().await
    }

    async fn load(&self, ruleset: &Ruleset, how: Load) -> Result<(), Error> {
        let text = ruleset.to_string();
        match how {
            Load::Check => nft::check(&text).await,
            Load::Commit => nft::commit(&text).await,
        }
    }

    async fn configure(&self, wanted: &Network, how: Load) -> Result<Network, Error> {
        if how == Load::Check {
            // Reading a sysctl waits for nobody, and a look dropped half done has changed nothing.
            return configure::look(wanted).await;
        }
        let wanted = wanted.clone();
        blocking(move || {
            // Not a task of the daemon's runtime, which would drop it half done when the daemon is told to end.
            let runtime = Builder::new_current_thread().enable_all().build();
            let runtime = runtime.map_err(refused("list the ports of this box"))?;
            runtime.block_on(configure::change(&wanted, |_| Ok(())))
        })
        .await
    }

    async fn number(&self, wanted: &Numbers) -> Result<(), Error> {
        ipv6::number(wanted).await
    }

    async fn observe(&self, flows: &[FlowMatch]) -> Result<Observation, Error> {
        let (wanted, known) = (flows.to_vec(), self.known());
        let mut kernel = Links::open()?;
        let links = kernel.all().await?;
        let gateways6 = kernel.default_routes6().await?.iter().map(|r| (r.device, r.gateway)).collect();
        let (generation, seen) = blocking(move || {
            let (generation, table, counters) = table::read(known)?;
            let flows = conntrack::list(&wanted)?;
            let conntrack = conntrack::fill();
            let seen = Observation { table, counters, links, flows, conntrack, gateways6, generation };
            Ok((generation, seen))
        })
        .await?;
        self.remember(generation, &seen.table);
        Ok(seen)
    }

    async fn neighbours(&self) -> Result<Vec<Neighbour>, Error> {
        Links::open()?.neighbours().await
    }

    async fn end(&self, flows: &[Flow]) -> Result<usize, Error> {
        let flows = flows.to_vec();
        blocking(move || conntrack::end(&flows)).await
    }

    async fn teach(&self, elements: &BTreeMap<String, Vec<Element>>) -> Result<usize, Error> {
        let elements = elements.clone();
        blocking(move || elements::add(&elements)).await
    }

    async fn entries(&self, wanted: &[FlowMatch], most: usize) -> Result<Entries, Error> {
        let wanted = wanted.to_vec();
        blocking(move || conntrack::entries(&wanted, most)).await
    }

    async fn held(&self, whose: &HashMap<IpAddr, [u8; 6]>) -> Result<HashMap<[u8; 6], u64>, Error> {
        let whose = whose.clone();
        blocking(move || conntrack::held(&whose)).await
    }

    async fn end_begun_by(&self, addresses: &HashSet<IpAddr>) -> Result<usize, Error> {
        let addresses = addresses.clone();
        blocking(move || conntrack::end_begun_by(&addresses)).await
    }

    async fn elements(
        &self,
        sets: &[&'static str],
        most: usize,
    ) -> Result<BTreeMap<&'static str, Vec<Element>>, Error> {
        let sets = sets.to_vec();
        blocking(move || elements::read(&sets, most)).await
    }

    async fn elements_of(&self, set: &str, most: usize) -> Result<Vec<Element>, Error> {
        let set = set.to_owned();
        blocking(move || elements::read_one(&set, most)).await
    }

    async fn trace(
        &self,
        packet: (Ipv4Addr, Ipv4Addr),
        patience: Duration,
        enough: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<String, Error> {
        nft::trace(packet, patience, enough).await
    }

    async fn listing(&self) -> Result<String, Error> {
        nft::listing().await
    }

    async fn unlearn(&self, set: &str, elements: &[Element]) -> Result<(), Error> {
        let (set, elements) = (set.to_owned(), elements.to_vec());
        blocking(move || elements::remove(&set, &elements)).await
    }

    async fn carried(&self, device: &IfName) -> Option<(Counter, Counter)> {
        carried::of(device.as_str())
    }

    async fn serve(&self, wanted: &Services, how: Load) -> Result<(), Error> {
        let Some(children) = &self.children else { return Ok(()) };
        // All, whatever becomes of the first: at a start, a home without names still shall have internet.
        let home = children.dnsmasq.serve(wanted.dnsmasq.as_ref(), how).await;
        let lease = children.udhcpc.serve(wanted.dhcp_client.as_ref(), how).await;
        children.dhcpcd.serve(wanted.prefix_client.as_ref(), how).await;
        home.and(lease).and(children.pppoe.serve(wanted.pppoe.as_ref(), how))
    }

    fn served(&self, wanted: &Services) -> Served {
        let Some(children) = &self.children else { return Served::default() };
        let (dnsmasq, leases) = children.dnsmasq.served(wanted.dnsmasq.is_some());
        let internet = match wanted.pppoe {
            Some(_) => children.pppoe.served(),
            None => children.udhcpc.served(wanted.dhcp_client.as_ref()),
        };
        let (prefix_client, delegated, prefix_unusable) =
            children.dhcpcd.served(wanted.prefix_client.as_ref());
        Served { dnsmasq, leases, prefix_client, delegated, prefix_unusable, ..internet }
    }

    async fn lease_changed(&self) {
        match &self.children {
            Some(children) => tokio::select! {
                () = children.udhcpc.changed() => {}
                () = children.pppoe.changed() => {}
            },
            None => std::future::pending().await,
        }
    }

    fn adopt_lease(&self, lease: &InternetLease) -> Result<(), Error> {
        self.children.as_ref().map_or(Ok(()), |children| children.udhcpc.adopt(lease))
    }

    fn renew_lease(&self) {
        if let Some(children) = &self.children {
            children.udhcpc.renew();
        }
    }

    async fn offers(&self, devices: &[IfName]) -> Result<Vec<InternetLease>, Error> {
        match &self.children {
            Some(children) => children.udhcpc.offers(devices).await,
            None => Ok(Vec::new()),
        }
    }

    fn speed(&self, device: &IfName) -> Option<u32> {
        // -1 where the driver does not know, an error where there is no link.
        std::fs::read_to_string(format!("/sys/class/net/{device}/speed")).ok()?.trim().parse().ok()
    }

    async fn forget(&self, address: Ipv4Addr) -> Result<usize, Error> {
        blocking(move || conntrack::forget(address)).await
    }

    async fn events(&self) -> Result<mpsc::Receiver<Event>, Error> {
        let mut events = conntrack::Events::listen()?;
        // While nobody takes what is in the channel the kernel keeps it, and tells when that was too much.
        let (told, heard) = mpsc::channel(64);
        tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    next = events.next() => next,
                    () = told.closed() => return,
                };
                let Ok(next) = next else { return };
                for event in next {
                    if told.send(event).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(heard)
    }

    async fn answers(&self) -> Result<mpsc::Receiver<Named>, Error> {
        let mut answers = answers::Answers::listen()?;
        let (told, heard) = mpsc::channel(64);
        tokio::spawn(async move {
            loop {
                let next = tokio::select! {
                    next = answers.next() => next,
                    () = told.closed() => return,
                };
                let Ok(next) = next else { return };
                for named in next {
                    if told.send(named).await.is_err() {
                        return;
                    }
                }
            }
        });
        Ok(heard)
    }
}

/// Runs what waits for the kernel where it keeps nobody waiting. What has begun is brought to its end even if the
/// caller goes away: no half change.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    spawn_blocking(work).await.unwrap_or_else(|e| Err(Error::Answer(e.to_string())))
}
