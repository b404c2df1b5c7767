//! A kernel of paper: it does nothing, remembers what it was told, and can be told to fail. For tests of the order
//! of things; clones share their memory, so a test keeps one and hands the other on.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, mpsc};

use super::{Bridge, Link, Load, Member, Named, Neighbour, Network, Numbers, Observation, SeenLink, Table};
use super::{Counter, Element, Entries, Entry, Error, Event, Flow, FlowMatch, Kernel};
use crate::ruleset::{self, Capabilities, Ruleset};
use crate::services::{Delegated, InternetLease, Lease, PppoeState, Served, Service, Services};
use crate::settings::Role;
use crate::settings::names::IfName;

/// The fake. Everything it can do, [`Kernel::capabilities`] says it can.
#[derive(Debug, Clone, Default)]
pub struct Fake {
    memory: Arc<Mutex<Memory>>,
    died: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Memory {
    calls: Vec<String>,
    /// Calls left until one fails; it fails at 1.
    failing: Option<usize>,
    /// Calls left until none returns any more; that is at 0.
    dying: Option<usize>,
    /// What nft says no with to the next rules.
    refusing: Option<String>,
    capabilities: Option<Capabilities>,
    loaded: Option<String>,
    network: Network,
    seen: Observation,
    services: Services,
    leases: Vec<Lease>,
    internet_lease: Option<InternetLease>,
    listing: String,
    delegated: Option<Delegated>,
    numbers: Numbers,
    listener: Option<mpsc::Sender<Event>>,
    asked: Option<mpsc::Sender<Named>>,
    /// Conntrack entries, and how many fit, for [`Kernel::observe`].
    fill: Option<(u64, u64)>,
    entries: Entries,
    /// How many conntrack entries each address has begun, for [`Kernel::held`].
    held: BTreeMap<IpAddr, u64>,
    carried: Option<(Counter, Counter)>,
    elements: BTreeMap<String, Vec<Element>>,
    neighbours: Vec<Neighbour>,
}

impl Fake {
    /// No table, no link, no flow; a kernel that can do everything.
    pub fn new() -> Self {
        Self::default()
    }

    /// What it was told so far, one word a call with what matters: `capabilities`, `check`, `load`, `configure`,
    /// `observe`, `end 2` (how many flows), `try services`, `serve`, `forget 192.0.2.1`, `events`. The call that failed is among them.
    pub fn calls(&self) -> Vec<String> {
        self.memory().calls.clone()
    }

    /// Forgets the calls so far; state and failures to come stay.
    pub fn forget_calls(&self) {
        self.memory().calls.clear();
    }

    /// The `k`-th call from now fails (1 is the next) and changes nothing; those after it work again.
    pub fn fail_at(&self, k: usize) {
        self.memory().failing = Some(k);
    }

    /// From the `k`-th call from now (1 is the next) none returns and none has an effect: as if whoever calls had been
    /// killed there. [`Fake::revive`] ends it.
    pub fn die_at(&self, k: usize) {
        self.memory().dying = Some(k);
    }

    /// Returns when a caller was killed by [`Fake::die_at`].
    pub async fn died(&self) {
        self.died.notified().await;
    }

    /// Calls work again, for the next daemon.
    pub fn revive(&self) {
        self.memory().dying = None;
    }

    /// nft refuses the next rules with these words, be they tried or meant; those after them it takes.
    pub fn refuse_rules(&self, words: &str) {
        self.memory().refusing = Some(words.to_owned());
    }

    /// What [`Kernel::capabilities`] shall answer.
    pub fn set_capabilities(&self, capabilities: Capabilities) {
        self.memory().capabilities = Some(capabilities);
    }

    /// The conntrack entries there shall be.
    pub fn set_flows(&self, flows: Vec<Flow>) {
        self.memory().seen.flows = flows;
    }

    /// What the rules have learnt in this set.
    pub fn elements_of(&self, set: &str) -> Vec<Element> {
        self.memory().elements.get(set).cloned().unwrap_or_default()
    }

    /// The conntrack entries there shall be, for [`Kernel::entries`].
    pub fn set_entries(&self, entries: Vec<Entry>) {
        self.memory().entries.entries = entries;
    }

    /// What every device shall have received and sent, in bytes.
    pub fn set_carried(&self, received: u64, sent: u64) {
        let counter = |bytes| Counter { bytes, packets: bytes / 100 };
        self.memory().carried = Some((counter(received), counter(sent)));
    }

    /// What the rules shall have learnt in this set.
    pub fn set_elements(&self, set: &str, elements: Vec<Element>) {
        self.memory().elements.insert(set.to_owned(), elements);
    }

    /// Tells `event` to whoever listens. False: nobody does, or has heard too little of what was told before.
    pub fn play(&self, event: Event) -> bool {
        self.memory().listener.as_ref().is_some_and(|listener| listener.try_send(event).is_ok())
    }

    /// Answers a device's question to whoever listens. False: nobody does.
    pub fn answer(&self, named: Named) -> bool {
        self.memory().asked.as_ref().is_some_and(|asked| asked.try_send(named).is_ok())
    }

    /// So many conntrack entries there shall be, of so many that fit.
    pub fn set_fill(&self, entries: u64, room: u64) {
        self.memory().fill = Some((entries, room));
    }

    /// So many conntrack entries each of these addresses shall have begun.
    pub fn set_held(&self, held: impl IntoIterator<Item = (IpAddr, u64)>) {
        self.memory().held = held.into_iter().collect();
    }

    /// The neighbours there shall be.
    pub fn set_neighbours(&self, neighbours: Vec<Neighbour>) {
        self.memory().neighbours = neighbours;
    }

    /// The links there shall be to see.
    pub fn set_links(&self, links: Vec<SeenLink>) {
        self.memory().seen.links = links;
    }

    /// What there shall be of addresses, route and settings of the kernel.
    pub fn set_network(&self, network: Network) {
        self.memory().network = network;
    }

    /// The flows there are.
    pub fn flows(&self) -> Vec<Flow> {
        self.memory().seen.flows.clone()
    }

    /// What nft shall list.
    pub fn set_listing(&self, listing: &str) {
        self.memory().listing = listing.to_owned();
    }

    /// What a named counter shall show.
    pub fn set_counter(&self, name: &str, counter: Counter) {
        self.memory().seen.counters.insert(name.to_owned(), counter);
    }

    /// As if somebody else had edited our table: its fingerprint changes.
    pub fn edit_table(&self) {
        let table = &mut self.memory().seen.table;
        table.fingerprint = table.fingerprint.wrapping_add(1);
    }

    /// The text last committed, also when it was one that takes the table away.
    pub fn loaded(&self) -> Option<String> {
        self.memory().loaded.clone()
    }

    /// As if somebody else had put a chain into our table.
    pub fn add_chain(&self, name: &str) {
        self.memory().seen.table.chains.insert(name.to_owned());
    }

    /// As if somebody else had written below /proc/sys.
    pub fn set_sysctl(&self, path: &str, value: &str) {
        for (_, now) in self.memory().network.sysctls.iter_mut().filter(|(p, _)| p == path) {
            value.clone_into(now);
        }
    }

    /// The leases there shall be.
    pub fn set_leases(&self, leases: Vec<Lease>) {
        self.memory().leases = leases;
    }

    /// What the internet port shall be lent.
    pub fn set_internet_lease(&self, lease: Option<InternetLease>) {
        self.memory().internet_lease = lease;
    }

    /// What the provider shall have delegated.
    pub fn set_delegated(&self, delegated: Option<Delegated>) {
        self.memory().delegated = delegated;
    }

    /// How the home was numbered last.
    pub fn numbers(&self) -> Numbers {
        self.memory().numbers.clone()
    }

    /// What other daemons do.
    pub fn services(&self) -> Services {
        self.memory().services.clone()
    }

    /// The network as configured so far.
    pub fn network(&self) -> Network {
        self.memory().network.clone()
    }

    fn memory(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes a call; fails if it is the one that shall.
    async fn note(&self, call: String) -> Result<MutexGuard<'_, Memory>, Error> {
        let dead = {
            let mut memory = self.memory();
            memory.dying = memory.dying.map(|k| k.saturating_sub(1));
            memory.dying == Some(0)
        };
        if dead {
            self.died.notify_one();
            // The caller was killed: whatever it wanted of the kernel, it does not happen.
            std::future::pending::<()>().await;
        }
        let mut memory = self.memory();
        let what = call.clone();
        memory.calls.push(call);
        memory.failing = match memory.failing {
            Some(0 | 1) => {
                memory.failing = None;
                return Err(Error::Netlink { what, source: io::Error::other("the test wants it so") });
            }
            Some(k) => Some(k - 1),
            None => None,
        };
        Ok(memory)
    }
}

impl Kernel for Fake {
    async fn capabilities(&self) -> Result<Capabilities, Error> {
        let memory = self.note("capabilities".into()).await?;
        Ok(memory.capabilities.clone().unwrap_or_else(Capabilities::everything))
    }

    async fn load(&self, ruleset: &Ruleset, how: Load) -> Result<(), Error> {
        let call = if how == Load::Check { "check" } else { "load" };
        let mut memory = self.note(call.into()).await?;
        if let Some(words) = memory.refusing.take() {
            return Err(Error::NftRefused(words));
        }
        if how == Load::Commit {
            memory.commit(&ruleset.to_string(), ruleset.about());
        }
        Ok(())
    }

    async fn configure(&self, wanted: &Network, how: Load) -> Result<Network, Error> {
        let call = if how == Load::Check { "look" } else { "configure" };
        let mut memory = self.note(call.into()).await?;
        // Told of no link at all it has whichever is asked for.
        let links = &memory.seen.links;
        let there =
            |link: &&Link| links.is_empty() || links.iter().any(|seen| seen.name == link.name.as_str());
        let made = |link: &&Link| wanted.bridges.iter().any(|bridge| bridge.name == link.name);
        if let Some(link) = wanted.links.iter().find(|link| !there(link) && !made(link)) {
            return Err(Error::NoDevice(link.name.to_string()));
        }
        match how {
            Load::Check => Ok(memory.network.clone().configure(wanted)),
            Load::Commit => Ok(memory.network.configure(wanted)),
        }
    }

    async fn observe(&self, flows: &[FlowMatch]) -> Result<Observation, Error> {
        let mut seen = self.note("observe".into()).await?.seen.clone();
        let wanted = |f: &Flow| flows.iter().any(|wanted| wanted.covers(f.protocol, f.server_port));
        seen.conntrack = (seen.flows.len() as u64, 65_536);
        let fill = self.memory().fill;
        seen.conntrack = fill.unwrap_or(seen.conntrack);
        seen.flows.retain(|f| wanted(f) || f.announced_by.is_some() && !flows.is_empty());
        Ok(seen)
    }

    async fn neighbours(&self) -> Result<Vec<Neighbour>, Error> {
        Ok(self.memory().neighbours.clone())
    }

    async fn end(&self, flows: &[Flow]) -> Result<usize, Error> {
        let mut memory = self.note(format!("end {}", flows.len())).await?;
        let before = memory.seen.flows.len();
        memory.seen.flows.retain(|f| !flows.contains(f));
        memory.entries.entries.retain(|entry| !flows.contains(&entry.flow));
        Ok(before - memory.seen.flows.len())
    }

    async fn teach(&self, elements: &BTreeMap<String, Vec<Element>>) -> Result<usize, Error> {
        let mut memory = self.note("teach".into()).await?;
        for (set, elements) in elements {
            memory.elements.entry(set.clone()).or_default().extend_from_slice(elements);
        }
        Ok(elements.values().map(Vec::len).sum())
    }

    async fn entries(&self, wanted: &[FlowMatch], most: usize) -> Result<Entries, Error> {
        let mut all = self.note("entries".into()).await?.entries.clone();
        let matches = |f: &Flow| wanted.iter().any(|wanted| wanted.covers(f.protocol, f.server_port));
        all.entries.retain(|entry| matches(&entry.flow) || entry.flow.announced_by.is_some());
        all.left_out = all.entries.len().saturating_sub(most) as u64;
        all.entries.truncate(most);
        Ok(all)
    }

    async fn held(&self, whose: &HashMap<IpAddr, [u8; 6]>) -> Result<HashMap<[u8; 6], u64>, Error> {
        let memory = self.note("held".into()).await?;
        let mut held = HashMap::new();
        for (address, entries) in &memory.held {
            if let Some(owner) = whose.get(address) {
                *held.entry(*owner).or_default() += entries;
            }
        }
        Ok(held)
    }

    async fn end_begun_by(&self, addresses: &HashSet<IpAddr>) -> Result<usize, Error> {
        let mut memory = self.note("end all".into()).await?;
        let theirs = memory.held.iter().filter(|(address, _)| addresses.contains(address));
        let ended = theirs.map(|(_, entries)| *entries as usize).sum();
        memory.held.retain(|address, _| !addresses.contains(address));
        Ok(ended)
    }

    async fn elements(
        &self,
        sets: &[&'static str],
        most: usize,
    ) -> Result<BTreeMap<&'static str, Vec<Element>>, Error> {
        let memory = self.note("elements".into()).await?;
        let of = |set: &'static str| {
            let all = memory.elements.get(set).into_iter().flatten();
            (set, all.take(most).cloned().collect())
        };
        Ok(sets.iter().copied().map(of).collect())
    }

    async fn elements_of(&self, set: &str, most: usize) -> Result<Vec<Element>, Error> {
        let memory = self.note("elements".into()).await?;
        Ok(memory.elements.get(set).into_iter().flatten().take(most).cloned().collect())
    }

    async fn trace(
        &self,
        _packet: (Ipv4Addr, Ipv4Addr),
        _patience: Duration,
        _enough: &(dyn Fn(&str) -> bool + Sync),
    ) -> Result<String, Error> {
        self.note("trace".into()).await.map(|_| String::new())
    }

    async fn listing(&self) -> Result<String, Error> {
        self.note("listing".into()).await.map(|memory| memory.listing.clone())
    }

    async fn unlearn(&self, set: &str, elements: &[Element]) -> Result<(), Error> {
        let mut memory = self.note(format!("unlearn {}", elements.len())).await?;
        if let Some(known) = memory.elements.get_mut(set) {
            known.retain(|one| !elements.iter().any(|gone| gone.key == one.key));
        }
        Ok(())
    }

    async fn carried(&self, _: &IfName) -> Option<(Counter, Counter)> {
        self.memory().carried
    }

    async fn serve(&self, wanted: &Services, how: Load) -> Result<(), Error> {
        match how {
            Load::Check => self.note("try services".into()).await.map(drop),
            Load::Commit => {
                self.note("serve".into()).await?.services = wanted.clone();
                Ok(())
            }
        }
    }

    fn served(&self, wanted: &Services) -> Served {
        let memory = self.memory();
        let service = |wanted: bool, is: bool, name: &str| match (wanted, is) {
            (false, _) => Service::Off,
            (true, true) => Service::Running,
            (true, false) => Service::Failed { words: format!("{name} has ended") },
        };
        let is = &memory.services;
        Served {
            dnsmasq: service(wanted.dnsmasq.is_some(), is.dnsmasq.is_some(), "dnsmasq"),
            leases: memory.leases.clone(),
            dhcp_client: service(wanted.dhcp_client.is_some(), is.dhcp_client.is_some(), "udhcpc"),
            pppoe: wanted.pppoe.as_ref().map(|_| PppoeState::Asking),
            internet_lease: memory
                .internet_lease
                .clone()
                .filter(|_| wanted.dhcp_client.is_some() || wanted.pppoe.is_some()),
            unusable: None,
            now: 0,
            prefix_client: service(wanted.prefix_client.is_some(), is.prefix_client.is_some(), "dhcpcd"),
            delegated: memory.delegated.clone().filter(|_| wanted.prefix_client.is_some()),
            prefix_unusable: None,
        }
    }

    async fn number(&self, wanted: &Numbers) -> Result<(), Error> {
        self.memory().numbers = wanted.clone();
        Ok(())
    }

    async fn lease_changed(&self) {
        std::future::pending().await
    }

    fn adopt_lease(&self, lease: &InternetLease) -> Result<(), Error> {
        self.memory().internet_lease = Some(lease.clone());
        Ok(())
    }

    fn renew_lease(&self) {
        self.memory().calls.push("renew".to_owned());
    }

    async fn offers(&self, devices: &[IfName]) -> Result<Vec<InternetLease>, Error> {
        let memory = self.note(format!("offers {}", devices.len())).await?;
        Ok(memory
            .internet_lease
            .clone()
            .filter(|lease| devices.contains(&lease.device))
            .into_iter()
            .collect())
    }

    fn speed(&self, _: &IfName) -> Option<u32> {
        None
    }

    async fn forget(&self, address: Ipv4Addr) -> Result<usize, Error> {
        self.note(format!("forget {address}")).await.map(|_| 0)
    }

    async fn events(&self) -> Result<mpsc::Receiver<Event>, Error> {
        let (told, heard) = mpsc::channel(64);
        self.note("events".into()).await?.listener = Some(told);
        Ok(heard)
    }

    async fn answers(&self) -> Result<mpsc::Receiver<Named>, Error> {
        let (told, heard) = mpsc::channel(64);
        self.memory().asked = Some(told);
        Ok(heard)
    }
}

impl Memory {
    /// Follows the text as far as tests need it: is the table there, its comments, the names of its counters.
    fn commit(&mut self, text: &str, about: Option<&str>) {
        // What takes the chains of another role away first is nothing that the tests ask for.
        let moved =
            text.rsplit_once("delete chain inet postern ").and_then(|(_, rest)| rest.split_once("\n\n"));
        let text = moved.map_or(text, |(_, rest)| rest);
        let lines = || text.lines().map(str::trim);
        let last =
            |what: &str| lines().enumerate().filter(|(_, l)| l.starts_with(what)).last().map(|(at, _)| at);
        let made = last("table inet postern").max(last("add table inet postern"));
        let deleted = last("delete table inet postern");
        self.loaded = Some(text.to_owned());
        if made <= deleted {
            // As nft has it: a table that is deleted last is gone; a text that names none changes nothing.
            if deleted.is_some() {
                (self.seen.table, self.seen.counters) = Default::default();
            }
            return;
        }
        if deleted.is_some() {
            self.seen.counters.clear();
        }
        // On a line of its own, or in `add table inet postern { comment "…"; }`.
        let quoted = |line: &str| {
            let line = line.strip_prefix("add table inet postern {").unwrap_or(line).trim_start();
            line.strip_prefix("comment \"")?.split('"').next().map(str::to_owned)
        };
        let fingerprint = text.bytes().fold(1u64, |h, b| h.wrapping_mul(31).wrapping_add(b.into()));
        let role =
            about.filter(|about| about.ends_with("role companion")).map_or(Role::Router, |_| Role::Companion);
        let ours = &ruleset::chains(Role::Router) | &ruleset::chains(Role::Companion);
        let foreign = self.seen.table.chains.difference(&ours).cloned().collect();
        self.seen.table = Table {
            present: true,
            comment: lines().find_map(quoted),
            about: about.map(str::to_owned),
            // A refill keeps what is not ours.
            chains: if deleted.is_some() { ruleset::chains(role) } else { &ruleset::chains(role) | &foreign },
            fingerprint,
        };
        for line in lines() {
            // `counter name {`, or `add counter inet postern name`; a rule says `counter name "name"`.
            let named = line.strip_prefix("counter ").and_then(|l| l.split_once('{')).map(|(name, _)| name);
            let added =
                line.strip_prefix("add counter inet postern ").and_then(|l| l.split([' ', '{', ';']).next());
            if let Some(name) = named.or(added) {
                self.seen.counters.entry(name.trim().to_owned()).or_default();
            }
        }
    }
}

/// Size and hardware address of every port of paper.
const SIZE: u32 = 1500;
const MAC: [u8; 6] = [2, 0, 0, 0, 0, 1];

/// Becomes `wanted`; what was there before, in the same shape: what is not touched is not told either. A port that belongs to no bridge
/// and has its own size and address is noted as one that nobody has touched.
fn become_link(link: &mut Link, wanted: &Link) -> Link {
    let was = std::mem::replace(link, wanted.clone());
    link.mtu = wanted.mtu.or(was.mtu).filter(|mtu| *mtu != SIZE);
    link.mac = wanted.mac.or(was.mac).filter(|mac| *mac != MAC);
    link.member = match &wanted.member {
        Member::Untouched => was.member.clone(),
        Member::OfNone => Member::Untouched,
        Member::Of(bridge) => Member::Of(bridge.clone()),
    };
    let member = match (&wanted.member, was.member) {
        (Member::Untouched, _) => Member::Untouched,
        (_, Member::Untouched) => Member::OfNone,
        (_, was) => was,
    };
    let mtu = wanted.mtu.map(|_| was.mtu.unwrap_or(SIZE));
    let mac = wanted.mac.map(|_| was.mac.unwrap_or(MAC));
    Link { member, mtu, mac, ..was }
}

impl Network {
    /// Becomes `wanted` as far as that says anything; what was there before is returned.
    fn configure(&mut self, wanted: &Self) -> Self {
        let mut before = Self::default();
        for link in &wanted.links {
            let known = self.links.iter().position(|l| l.name == link.name).unwrap_or_else(|| {
                self.links.push(Link { up: false, ..Link::new(link.name.clone(), Vec::new()) });
                self.links.len() - 1
            });
            before.links.push(become_link(&mut self.links[known], link));
        }
        for bridge in &wanted.bridges {
            let gone = || Bridge { there: false, ..bridge.clone() };
            match self.bridges.iter_mut().find(|b| b.name == bridge.name) {
                Some(known) => before.bridges.push(std::mem::replace(known, bridge.clone())),
                None => {
                    self.bridges.push(bridge.clone());
                    before.bridges.push(gone());
                }
            }
        }
        if let Some(route) = &wanted.default_route {
            before.default_route = Some(self.default_route.replace(route.clone()).flatten());
        }
        for (path, value) in &wanted.sysctls {
            match self.sysctls.iter_mut().find(|(p, _)| p == path) {
                Some((_, now)) => before.sysctls.push((path.clone(), std::mem::replace(now, value.clone()))),
                // What the paper kernel says of a key that nobody has set yet.
                None => {
                    self.sysctls.push((path.clone(), value.clone()));
                    before.sysctls.push((path.clone(), "0".into()));
                }
            }
        }
        before
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{DefaultRoute, FlowHandle};

    fn flow(protocol: u8, server_port: u16, id: u32) -> Flow {
        let anywhere = std::net::Ipv4Addr::LOCALHOST.into();
        Flow {
            protocol,
            client: anywhere,
            client_port: 0,
            server: anywhere,
            server_port,
            zone: 0,
            helper: None,
            announced_by: None,
            answered: true,
            tcp_state: None,
            sent: Counter::default(),
            received: Counter::default(),
            handle: FlowHandle { id, ..FlowHandle::default() },
        }
    }

    fn network(up: bool) -> Network {
        let wan = || "wan0".parse().unwrap();
        Network {
            links: vec![Link { up, ..Link::new(wan(), vec!["192.0.2.1/24".parse().unwrap()]) }],
            default_route: Some(Some(DefaultRoute { gateway: [192, 0, 2, 254].into(), device: wan() })),
            sysctls: vec![("net/ipv4/ip_forward".into(), "1".into())],
            bridges: Vec::new(),
        }
    }

    #[tokio::test]
    async fn the_kth_call_fails_and_changes_nothing() {
        let fake = Fake::new();
        fake.fail_at(2);
        assert_eq!(fake.capabilities().await.unwrap(), Capabilities::everything());
        assert!(fake.configure(&network(true), Load::Commit).await.is_err());
        assert_eq!(fake.network(), Network::default());
        fake.configure(&network(true), Load::Commit).await.unwrap();
        assert_eq!(fake.network(), network(true));
        assert_eq!(fake.calls(), ["capabilities", "configure", "configure"]);
        fake.forget_calls();
        assert!(fake.calls().is_empty());
    }

    #[tokio::test]
    async fn what_was_can_be_given_back() {
        let fake = Fake::new();
        let nothing = fake.configure(&network(true), Load::Commit).await.unwrap();
        let first = fake.configure(&network(false), Load::Commit).await.unwrap();
        assert_eq!(first, network(true));
        fake.configure(&nothing, Load::Commit).await.unwrap();
        assert_eq!(fake.network().default_route, Some(None));
        assert!(fake.network().links[0].addresses.is_empty());
    }

    #[tokio::test]
    async fn flows_are_found_and_ended() {
        let fake = Fake::new();
        fake.set_flows(vec![flow(6, 1723, 1), flow(6, 80, 2), flow(47, 9, 3)]);
        let wanted = [
            FlowMatch { protocol: 6, server_port: Some(1723) },
            FlowMatch { protocol: 47, server_port: None },
        ];
        let seen = fake.observe(&wanted).await.unwrap();
        assert_eq!(seen.flows, [flow(6, 1723, 1), flow(47, 9, 3)]);
        assert_eq!(seen.conntrack.0, 3);
        assert_eq!(fake.end(&seen.flows).await.unwrap(), 2);
        assert_eq!(fake.end(&seen.flows).await.unwrap(), 0);
        assert_eq!(fake.calls(), ["observe", "end 2", "end 2"]);
    }

    #[test]
    fn the_table_follows_the_text() {
        let fake = Fake::new();
        let table = || fake.memory().seen.table.clone();
        let full =
            "add table inet postern { comment \"postern schema 2, role router\"; }\nflush table inet postern
            table inet postern {\n  counter calls { }\n  chain a {\n    counter name \"calls\"\n  }\n}\n";
        fake.memory().commit(full, None);
        assert_eq!(table().comment.as_deref(), Some("postern schema 2, role router"));
        assert_eq!(fake.memory().seen.counters.keys().collect::<Vec<_>>(), ["calls"]);
        let first = table();
        fake.set_counter("calls", Counter { packets: 1, bytes: 2 });
        fake.memory().commit(full, None);
        assert_eq!((table(), fake.memory().seen.counters["calls"].packets), (first.clone(), 1));
        fake.edit_table();
        assert_ne!(table().fingerprint, first.fingerprint);
        fake.memory().commit("add table inet postern\ndelete table inet postern\n", None);
        assert_eq!((table(), fake.memory().seen.counters.len()), (Table::default(), 0));
        fake.memory().commit(&format!("add table inet postern\ndelete table inet postern\n{full}"), None);
        assert!(table().present);
    }
}
