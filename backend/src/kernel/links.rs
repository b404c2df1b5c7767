//! Devices, addresses and routes: read, and the requests that change them. All over rtnetlink; no other file names it.
//!
//! Requests go through `Handle::request`, not through its `execute()`s: those hide that a list changed while it was
//! read and that a connection ended before the answer came, and add a route only where there is none like it. An
//! address or route that was read is kept as the message it came in: sent back, it takes it away or restores it with
//! its label, lifetime, metric and all the rest.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::RawFd;
use std::time::Duration;

use futures_util::StreamExt;
use rtnetlink::packet_core::{
    NLM_F_ACK, NLM_F_CREATE, NLM_F_DUMP, NLM_F_DUMP_INTR, NLM_F_EXCL, NLM_F_REPLACE, NLM_F_REQUEST,
    NetlinkMessage, NetlinkPayload,
};
use rtnetlink::packet_route::address::{
    AddressAttribute, AddressHeaderFlags, AddressMessage, AddressScope, CacheInfo,
};
use rtnetlink::packet_route::link::{
    LinkAttribute, LinkExtentMask, LinkFlags, LinkInfo, LinkLayerType, LinkMessage,
};
use rtnetlink::packet_route::neighbour::{
    NeighbourAddress, NeighbourAttribute, NeighbourMessage, NeighbourState,
};
use rtnetlink::packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteType,
};
use rtnetlink::packet_route::{AddressFamily, RouteNetlinkMessage as Message};
use rtnetlink::{AddressMessageBuilder, Handle, LinkBridge, LinkUnspec, LinkVeth, RouteMessageBuilder};

use super::{Error, Neighbour, SeenLink};
use crate::settings::names::InterfaceAddress;

/// The kernel answers within the system call that asks; this only keeps a bug, or an answer that rtnetlink does not
/// understand and so drops, from keeping us waiting for good.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often a list that changed while it was read is read anew.
const TRIES: usize = 20;

/// One change.
#[derive(Debug, Clone)]
pub(super) struct Request {
    message: Message,
    flags: u16,
}

/// An address of a device.
#[derive(Debug, Clone)]
pub(super) struct Address {
    pub(super) device: u32,
    pub(super) ip: IpAddr,
    pub(super) prefix: u8,
    /// Scope global, not link or host.
    pub(super) global: bool,
    /// Seconds for which it is preferred and for which it is valid; none: it stays.
    pub(super) lifetimes: Option<(u32, u32)>,
    message: AddressMessage,
}

impl Address {
    /// Puts it (back) where it is or was.
    pub(super) fn add(&self) -> Request {
        Request { message: Message::NewAddress(self.message.clone()), flags: NLM_F_CREATE }
    }

    /// Puts it where it shall be, or gives the one that is there these lifetimes.
    pub(super) fn set(&self) -> Request {
        Request { message: Message::NewAddress(self.message.clone()), flags: NLM_F_CREATE | NLM_F_REPLACE }
    }

    /// Takes it away.
    pub(super) fn delete(&self) -> Request {
        Request { message: Message::DelAddress(self.message.clone()), flags: 0 }
    }
}

/// An IPv6 route to everywhere in the main table.
#[derive(Debug, Clone)]
pub(super) struct DefaultRoute6 {
    pub(super) device: u32,
    pub(super) gateway: Ipv6Addr,
    /// It came by a router advertisement.
    pub(super) advertised: bool,
    message: RouteMessage,
}

impl DefaultRoute6 {
    /// Takes it away.
    pub(super) fn delete(&self) -> Request {
        Request { message: Message::DelRoute(self.message.clone()), flags: 0 }
    }
}

/// A route of the main IPv4 table that somebody set, so not one that comes with an address.
#[derive(Debug, Clone)]
pub(super) struct Route {
    pub(super) device: Option<u32>,
    pub(super) gateway: Option<Ipv4Addr>,
    pub(super) metric: u32,
    /// To everywhere.
    pub(super) default: bool,
    message: RouteMessage,
}

impl Route {
    /// Puts it (back). Without NLM_F_EXCL: it may stand beside another to the same place until that is deleted.
    pub(super) fn add(&self) -> Request {
        Request { message: Message::NewRoute(self.message.clone()), flags: NLM_F_CREATE }
    }

    /// Takes it away.
    pub(super) fn delete(&self) -> Request {
        Request { message: Message::DelRoute(self.message.clone()), flags: 0 }
    }
}

/// Sets a device up or down.
pub(super) fn set_up(device: u32, up: bool) -> Request {
    let link = LinkUnspec::new_with_index(device);
    let link = if up { link.up() } else { link.down() };
    Request { message: Message::SetLink(link.build()), flags: 0 }
}

/// Sets the largest packet of a device, in bytes.
pub(super) fn set_mtu(device: u32, mtu: u32) -> Request {
    Request { message: Message::SetLink(LinkUnspec::new_with_index(device).mtu(mtu).build()), flags: 0 }
}

/// Sets the hardware address of a device.
pub(super) fn set_mac(device: u32, mac: [u8; 6]) -> Request {
    let message = LinkUnspec::new_with_index(device).address(mac.to_vec()).build();
    Request { message: Message::SetLink(message), flags: 0 }
}

/// Makes a device a port of the bridge `master`, or of none.
pub(super) fn set_master(device: u32, master: Option<u32>) -> Request {
    let link = LinkUnspec::new_with_index(device);
    let link = match master {
        Some(master) => link.controller(master),
        None => link.nocontroller(),
    };
    Request { message: Message::SetLink(link.build()), flags: 0 }
}

/// A new bridge, without spanning tree, as the kernel makes one. With its own address it does not take a port's.
pub(super) fn new_bridge(name: &str, mac: Option<[u8; 6]>) -> Request {
    let link = LinkBridge::new(name);
    let link = match mac {
        Some(mac) => link.address(mac.to_vec()),
        None => link,
    };
    Request { message: Message::NewLink(link.build()), flags: NLM_F_CREATE | NLM_F_EXCL }
}

/// A new cable with two ends.
pub(super) fn new_cable(name: &str, end: &str) -> Request {
    Request { message: Message::NewLink(LinkVeth::new(name, end).build()), flags: NLM_F_CREATE | NLM_F_EXCL }
}

/// Moves a device into the network namespace that this descriptor stands for.
pub(super) fn into_namespace(device: u32, namespace: RawFd) -> Request {
    let message = LinkUnspec::new_with_index(device).setns_by_fd(namespace).build();
    Request { message: Message::SetLink(message), flags: 0 }
}

/// Takes a bridge away.
pub(super) fn delete(device: u32) -> Request {
    Request { message: Message::DelLink(LinkUnspec::new_with_index(device).build()), flags: 0 }
}

/// A new IPv4 address, of scope global, with the broadcast address of its network if that has one.
pub(super) fn new_address(device: u32, address: InterfaceAddress) -> Address {
    let (ip, prefix) = (address.address(), address.prefix());
    let message = AddressMessageBuilder::<Ipv4Addr>::new().index(device).address(ip, prefix).build();
    Address { device, ip: ip.into(), prefix, global: true, lifetimes: None, message }
}

/// A new IPv6 address in a /64, with its lifetimes in seconds.
pub(super) fn new_lent_address(device: u32, ip: Ipv6Addr, preferred: u32, valid: u32) -> Address {
    let mut message = AddressMessageBuilder::<Ipv6Addr>::new().index(device).address(ip, 64).build();
    let mut times = CacheInfo::default();
    (times.ifa_preferred, times.ifa_valid) = (preferred, valid);
    message.attributes.push(AddressAttribute::CacheInfo(times));
    Address { device, ip: ip.into(), prefix: 64, global: true, lifetimes: Some((preferred, valid)), message }
}

/// A new default route. `on_link`: the gateway is reached directly though no address of ours shares its network.
pub(super) fn new_default_route(device: u32, gateway: Ipv4Addr, on_link: bool) -> Route {
    // The builder's defaults: main table, protocol static, scope universe, type unicast.
    let route = RouteMessageBuilder::<Ipv4Addr>::new().gateway(gateway).output_interface(device);
    let message = if on_link { route.onlink() } else { route }.build();
    Route { device: Some(device), gateway: Some(gateway), metric: 0, default: true, message }
}

/// A connection to this part of the kernel. It lives in the runtime that it was opened in.
#[derive(Debug)]
pub(super) struct Links(Handle);

impl Links {
    pub(super) fn open() -> Result<Self, Error> {
        let (mut connection, handle, _) =
            rtnetlink::new_connection().map_err(refused("list the ports of this box"))?;
        connection.set_forward_ack(true);
        connection.set_forward_done(true);
        tokio::spawn(connection); // ends with its handle
        Ok(Self(handle))
    }

    /// Every device with all its addresses, in the kernel's order.
    pub(super) async fn all(&mut self) -> Result<Vec<SeenLink>, Error> {
        let mut links = self.devices().await?;
        let mut by_device: BTreeMap<u32, Vec<(IpAddr, u8)>> = BTreeMap::new();
        for address in self.addresses().await? {
            by_device.entry(address.device).or_default().push((address.ip, address.prefix));
        }
        for link in &mut links {
            link.addresses = by_device.remove(&link.index).unwrap_or_default();
        }
        Ok(links)
    }

    /// Every device, without addresses.
    pub(super) async fn devices(&mut self) -> Result<Vec<SeenLink>, Error> {
        let mut request = LinkMessage::default();
        // Most of the bytes, left out.
        request.attributes.push(LinkAttribute::ExtMask(vec![LinkExtentMask::SkipStats]));
        let found = self.list(Message::GetLink(request), device).await;
        found.map_err(refused("list the ports of this box"))
    }

    /// Every address of every device.
    pub(super) async fn addresses(&mut self) -> Result<Vec<Address>, Error> {
        let request = Message::GetAddress(AddressMessage::default());
        self.list(request, address).await.map_err(refused("list addresses"))
    }

    /// The IPv4 routes.
    pub(super) async fn routes(&mut self) -> Result<Vec<Route>, Error> {
        let mut request = RouteMessage::default();
        request.header.address_family = AddressFamily::Inet;
        self.list(Message::GetRoute(request), route).await.map_err(refused("list routes"))
    }

    /// The IPv6 default routes.
    pub(super) async fn default_routes6(&mut self) -> Result<Vec<DefaultRoute6>, Error> {
        let mut request = RouteMessage::default();
        request.header.address_family = AddressFamily::Inet6;
        self.list(Message::GetRoute(request), default_route6).await.map_err(refused("list routes"))
    }

    /// Who was spoken with on the links lately, IPv4 and IPv6.
    pub(super) async fn neighbours(&mut self) -> Result<Vec<Neighbour>, Error> {
        let request = Message::GetNeighbour(NeighbourMessage::default());
        self.list(request, neighbour).await.map_err(refused("list neighbours"))
    }

    /// Sends `request` and waits for the kernel's yes or no.
    pub(super) async fn ask(&mut self, request: &Request) -> io::Result<()> {
        self.talk(request.message.clone(), request.flags | NLM_F_ACK, |_| ()).await.map(drop)
    }

    /// Asks for a list and keeps what `parse` makes of each entry.
    async fn list<T>(
        &mut self,
        request: Message,
        parse: impl Fn(Message) -> Option<T>,
    ) -> io::Result<Vec<T>> {
        for _ in 0..TRIES {
            let mut found = Vec::new();
            let reading = self.talk(request.clone(), NLM_F_DUMP, |message| found.extend(parse(message)));
            if reading.await? == Reading::Whole {
                return Ok(found);
            }
        }
        Err(io::Error::other("the list changed each time it was read"))
    }

    async fn talk(
        &mut self,
        message: Message,
        flags: u16,
        mut each: impl FnMut(Message),
    ) -> io::Result<Reading> {
        let ended = || io::Error::other("the connection to the kernel has ended");
        let mut request = NetlinkMessage::from(message);
        request.header.flags = NLM_F_REQUEST | flags;
        let mut answers = self.0.request(request).map_err(|_| ended())?;
        let read = async {
            let mut reading = Reading::Whole;
            while let Some(answer) = answers.next().await {
                if answer.header.flags & NLM_F_DUMP_INTR != 0 {
                    reading = Reading::Torn;
                }
                match answer.payload {
                    NetlinkPayload::InnerMessage(message) => each(message),
                    NetlinkPayload::Error(verdict) => return no(verdict.raw_code()).map_or(Ok(reading), Err),
                    NetlinkPayload::Done(verdict) => return no(verdict.code).map_or(Ok(reading), Err),
                    _ => {}
                }
            }
            Err(ended())
        };
        tokio::time::timeout(PATIENCE, read).await.unwrap_or_else(|late| Err(late.into()))
    }
}

/// Whether a list is one the kernel had at one moment.
#[derive(Debug, PartialEq, Eq)]
enum Reading {
    Whole,
    /// NLM_F_DUMP_INTR: it changed meanwhile.
    Torn,
}

/// The kernel's error number, if it is one.
fn no(code: i32) -> Option<io::Error> {
    (code != 0).then(|| io::Error::from_raw_os_error(code.saturating_neg()))
}

pub(super) fn refused(what: &'static str) -> impl Fn(io::Error) -> Error {
    move |source| Error::Netlink { what: what.into(), source }
}

fn device(message: Message) -> Option<SeenLink> {
    let Message::NewLink(LinkMessage { header, attributes, .. }) = message else { return None };
    let (mut name, mut mac, mut carrier) = (None, None, header.flags.contains(LinkFlags::LowerUp));
    let (mut own_mac, mut mtu, mut kind, mut master) = (None, 0, None, None);
    for attribute in attributes {
        match attribute {
            LinkAttribute::IfName(given) => name = Some(given),
            LinkAttribute::Address(bytes) => mac = <[u8; 6]>::try_from(bytes).ok(),
            LinkAttribute::PermAddress(bytes) => own_mac = <[u8; 6]>::try_from(bytes).ok(),
            LinkAttribute::Mtu(given) => mtu = given,
            LinkAttribute::Controller(index) => master = Some(index),
            LinkAttribute::LinkInfo(infos) => {
                kind = infos.into_iter().find_map(|info| match info {
                    LinkInfo::Kind(kind) => Some(kind.to_string()),
                    _ => None,
                });
            }
            LinkAttribute::Carrier(given) => carrier = given == 1,
            _ => {}
        }
    }
    Some(SeenLink {
        name: name?,
        up: header.flags.contains(LinkFlags::Up),
        carrier,
        addresses: Vec::new(),
        mac: mac.filter(|m| *m != [0; 6]), // the loopback's
        index: header.index,
        own_mac: own_mac.filter(|m| *m != [0; 6]),
        mtu,
        kind,
        master,
        ethernet: header.link_layer_type == LinkLayerType::Ether,
    })
}

fn address(message: Message) -> Option<Address> {
    let Message::NewAddress(message) = message else { return None };
    // On a point-to-point device IFA_ADDRESS is the other end; IFA_LOCAL is ours wherever it is given.
    let (mut own, mut lifetimes) = (None, None);
    for attribute in &message.attributes {
        match attribute {
            AddressAttribute::CacheInfo(times) => lifetimes = Some((times.ifa_preferred, times.ifa_valid)),
            AddressAttribute::Local(ip) => own = Some(*ip),
            AddressAttribute::Address(ip) => own = own.or(Some(*ip)),
            _ => {}
        }
    }
    Some(Address {
        device: message.header.index,
        ip: own?,
        prefix: message.header.prefix_len,
        global: message.header.scope == AddressScope::Universe,
        lifetimes: lifetimes.filter(|_| !message.header.flags.contains(AddressHeaderFlags::Permanent)),
        message,
    })
}

fn neighbour(message: Message) -> Option<Neighbour> {
    let Message::NewNeighbour(NeighbourMessage { header, attributes, .. }) = message else { return None };
    // Failed and incomplete ones are nobody; permanent ones were set by hand.
    let known =
        [NeighbourState::Reachable, NeighbourState::Stale, NeighbourState::Delay, NeighbourState::Probe];
    if !known.contains(&header.state) {
        return None;
    }
    let (mut mac, mut address, mut seen) = (None, None, None);
    for attribute in attributes {
        match attribute {
            NeighbourAttribute::LinkLayerAddress(bytes) => mac = <[u8; 6]>::try_from(bytes).ok(),
            NeighbourAttribute::Destination(NeighbourAddress::Inet(ip)) => address = Some(ip.into()),
            NeighbourAttribute::Destination(NeighbourAddress::Inet6(ip)) => address = Some(ip.into()),
            // In USER_HZ, which is 100 on every architecture that routers have (include/asm-generic/param.h).
            NeighbourAttribute::CacheInfo(info) => seen = Some(info.confirmed / 100),
            _ => {}
        }
    }
    Some(Neighbour { device: header.ifindex, mac: mac?, address: address?, seen_seconds: seen? })
}

fn route(message: Message) -> Option<Route> {
    let Message::NewRoute(mut message) = message else { return None };
    let RouteMessage { header, attributes, .. } = &mut message;
    if header.address_family != AddressFamily::Inet
        || header.table != RouteHeader::RT_TABLE_MAIN
        || header.protocol == RouteProtocol::Kernel
    {
        return None;
    }
    let (mut device, mut gateway, mut metric, mut by_object) = (None, None, 0, false);
    for attribute in &*attributes {
        match attribute {
            RouteAttribute::Oif(index) => device = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet(ip)) => gateway = Some(*ip),
            RouteAttribute::Priority(given) => metric = *given,
            RouteAttribute::NhId(_) => by_object = true,
            _ => {}
        }
    }
    // Flags such as RTNH_F_DEAD are news, not wishes: fib_create_info refuses them.
    header.flags &= RouteFlags::Onlink;
    attributes.retain(|attribute| match attribute {
        RouteAttribute::CacheInfo(_) => false,
        // A route by nexthop object names its parts too when listed; rtm_to_fib_config wants the one or the other.
        RouteAttribute::Oif(_) | RouteAttribute::Gateway(_) | RouteAttribute::MultiPath(_) => !by_object,
        _ => true,
    });
    // Type unicast, TOS 0: not `unreachable default`, not a policy of somebody.
    let default =
        header.destination_prefix_length == 0 && header.tos == 0 && header.kind == RouteType::Unicast;
    Some(Route { device, gateway, metric, default, message })
}

fn default_route6(message: Message) -> Option<DefaultRoute6> {
    let Message::NewRoute(mut message) = message else { return None };
    let RouteMessage { header, attributes, .. } = &mut message;
    if header.address_family != AddressFamily::Inet6
        || header.table != RouteHeader::RT_TABLE_MAIN
        || header.kind != RouteType::Unicast
        || header.destination_prefix_length != 0
    {
        return None;
    }
    let (mut device, mut gateway) = (None, None);
    for attribute in &*attributes {
        match attribute {
            RouteAttribute::Oif(index) => device = Some(*index),
            RouteAttribute::Gateway(RouteAddress::Inet6(ip)) => gateway = Some(*ip),
            _ => {}
        }
    }
    // News, not wishes, as in `route`.
    header.flags &= RouteFlags::Onlink;
    let advertised = header.protocol == RouteProtocol::Ra;
    attributes.retain(|attribute| !matches!(attribute, RouteAttribute::CacheInfo(_)));
    Some(DefaultRoute6 { device: device?, gateway: gateway?, advertised, message })
}

#[cfg(test)]
mod tests;
