//! Three throw-away networks: a home, a router and an internet, joined by two cables. For the self-test.
//!
//! Each is a network namespace that nothing but a file descriptor of this process holds: when the process ends, however it ends,
//! the kernel removes all of it. Whatever is done in one is done by a thread that has moved there; the process itself sits in an
//! empty namespace of its own ([`enter`]), so that not even a mistake could reach the box's real network.

use std::fs::File;
use std::io;
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, Protocol, SocketType, bind, connect, socket};
use rustix::process::{getegid, geteuid};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};
use tokio::runtime::Builder;

use super::links::{self, Links, refused};
use super::{DefaultRoute, Error, Kernel, Link, Network, configure, linux::Linux, nft};
use crate::ruleset::Capabilities;
use crate::settings::names::{IfName, InterfaceAddress};

/// The router's port to the home, and to the internet.
pub const PORTS: [&str; 2] = ["lan0", "wan0"];
/// The other ends of its cables.
const ENDS: [&str; 2] = ["home0", "net0"];

/// The router's own addresses at home and on the internet (RFC 5737 section 3).
pub const ROUTER: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 168, 1, 1), Ipv4Addr::new(203, 0, 113, 1)];
/// Two devices of the home.
pub const DEVICES: [Ipv4Addr; 2] = [Ipv4Addr::new(192, 168, 1, 11), Ipv4Addr::new(192, 168, 1, 12)];
/// A server on the internet.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 10);

/// One of the three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Where [`DEVICES`] are.
    Home,
    /// Where rules are loaded.
    Router,
    /// Where [`SERVER`] is.
    Internet,
}

/// The three networks.
#[derive(Debug)]
pub struct Scratch {
    home: OwnedFd,
    router: OwnedFd,
    internet: OwnedFd,
}

/// Moves this process into an empty network, in a user namespace of its own where it may not make networks otherwise. To be
/// called while the process has one thread: the kernel makes no user namespace for more (unshare(2)).
pub fn enter() -> io::Result<()> {
    if unshare(UnshareFlags::NEWNET).is_ok() {
        return Ok(());
    }
    let (user, group) = (geteuid().as_raw(), getegid().as_raw());
    unshare(UnshareFlags::NEWUSER | UnshareFlags::NEWNET)?;
    // A group map may be written only by who has given up setgroups(2) (user_namespaces(7)).
    std::fs::write("/proc/self/setgroups", "deny")?;
    std::fs::write("/proc/self/uid_map", format!("0 {user} 1"))?;
    std::fs::write("/proc/self/gid_map", format!("0 {group} 1"))
}

/// rustix calls it unsafe for CLONE_FILES alone, which would give this thread a table of file descriptors of its own. Never
/// asked for here.
#[expect(deprecated, reason = "the other one is an unsafe function")]
fn unshare(flags: UnshareFlags) -> io::Result<()> {
    Ok(rustix::thread::unshare(flags)?)
}

impl Scratch {
    /// Makes them, with cables, addresses and a route; the router gets these kernel settings and forwards what its rules let.
    pub fn make(sysctls: Vec<(String, String)>) -> Result<Self, Error> {
        let made = Self { home: namespace()?, router: namespace()?, internet: namespace()? };
        let (home, internet) = (made.home.as_raw_fd(), made.internet.as_raw_fd());
        made.task(Place::Router, async move || {
            let mut links = Links::open()?;
            for ((port, end), namespace) in PORTS.into_iter().zip(ENDS).zip([home, internet]) {
                ask(&mut links, "make a cable", links::new_cable(port, end)).await?;
                let devices = links.devices().await?;
                let index = devices.iter().find(|link| link.name == end).map(|link| link.index);
                let index = index.ok_or_else(|| Error::NoDevice(end.to_owned()))?;
                ask(&mut links, "lay a cable", links::into_namespace(index, namespace)).await?;
            }
            Ok(())
        })?;
        made.network(Place::Home, &[(ENDS[0], &DEVICES)], Some(ROUTER[0]), Vec::new())?;
        made.network(Place::Internet, &[(ENDS[1], &[SERVER])], None, Vec::new())?;
        let ours = [(PORTS[0], &ROUTER[..1]), (PORTS[1], &ROUTER[1..])];
        made.network(Place::Router, &ours, None, sysctls)?;
        Ok(made)
    }

    /// Loads rules into the router: all of the text or nothing.
    pub fn load(&self, text: &str) -> Result<(), Error> {
        let text = text.to_owned();
        self.task(Place::Router, async move || nft::commit(&text).await)
    }

    /// What this kernel can do.
    pub fn capabilities(&self) -> Result<Capabilities, Error> {
        self.task(Place::Router, async || Linux::new().capabilities().await)
    }

    /// A UDP socket of that address in that place.
    pub fn udp(&self, place: Place, address: Ipv4Addr, port: u16) -> Result<UdpSocket, Error> {
        self.inside(place, || UdpSocket::bind((address, port)).map_err(refused("open a UDP socket")))
    }

    /// A socket for an IP protocol of its own; what it receives begins with the IP header (raw(7)).
    pub fn raw(&self, place: Place, address: Ipv4Addr, protocol: u8) -> Result<UdpSocket, Error> {
        let open = || -> io::Result<UdpSocket> {
            let protocol = NonZeroU32::new(protocol.into()).map(Protocol::from_raw);
            let socket = socket(AddressFamily::INET, SocketType::RAW, protocol)?;
            bind(&socket, &SocketAddrV4::new(address, 0))?;
            // A datagram is a datagram: std's type serves.
            Ok(UdpSocket::from(socket))
        };
        self.inside(place, || open().map_err(refused("open a raw socket")))
    }

    /// A listening TCP socket of [`SERVER`].
    pub fn listen(&self, port: u16) -> Result<TcpListener, Error> {
        self.inside(Place::Internet, || TcpListener::bind((SERVER, port)).map_err(refused("listen for TCP")))
    }

    /// A TCP connection from a device to [`SERVER`]; the inner error is what the device was told, or that time was up.
    pub fn connect(
        &self,
        from: Ipv4Addr,
        port: u16,
        limit: Duration,
    ) -> Result<io::Result<TcpStream>, Error> {
        let open = || -> io::Result<OwnedFd> {
            let socket = socket(AddressFamily::INET, SocketType::STREAM, None)?;
            bind(&socket, &SocketAddrV4::new(from, 0))?;
            // It holds for connect(2) too (socket(7)).
            set_socket_timeout(&socket, Timeout::Send, Some(limit))?;
            Ok(socket)
        };
        let socket = self.inside(Place::Home, || open().map_err(refused("open a TCP socket")))?;
        let done = connect(&socket, &SocketAddrV4::new(SERVER, port));
        Ok(done.map(|()| TcpStream::from(socket)).map_err(io::Error::from))
    }

    fn network(
        &self,
        place: Place,
        links: &[(&str, &[Ipv4Addr])],
        gateway: Option<Ipv4Addr>,
        sysctls: Vec<(String, String)>,
    ) -> Result<(), Error> {
        let name = |name: &str| name.parse::<IfName>().map_err(|wrong| Error::Answer(wrong.to_string()));
        let mut wanted = Network { sysctls, ..Network::default() };
        for (device, addresses) in links {
            let addresses = addresses.iter().map(|address| InterfaceAddress::new(*address, 24)).collect();
            wanted.links.push(Link::new(name(device)?, addresses));
        }
        if let (Some(gateway), Some((device, _))) = (gateway, links.first()) {
            wanted.default_route = Some(Some(DefaultRoute { gateway, device: name(device)? }));
        }
        self.task(place, async move || configure::change(&wanted, |_| Ok(())).await.map(drop))
    }

    /// Does something that waits, in a runtime of its own: the threads of another one may sit in another network.
    fn task<T: Send, F: Future<Output = Result<T, Error>>>(
        &self,
        place: Place,
        work: impl FnOnce() -> F + Send,
    ) -> Result<T, Error> {
        self.inside(place, || {
            let runtime = Builder::new_current_thread().enable_all().build();
            runtime.map_err(refused("begin"))?.block_on(work())
        })
    }

    fn inside<T: Send>(
        &self,
        place: Place,
        work: impl FnOnce() -> Result<T, Error> + Send,
    ) -> Result<T, Error> {
        let namespace = match place {
            Place::Home => &self.home,
            Place::Router => &self.router,
            Place::Internet => &self.internet,
        };
        let moved = || {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
                .map_err(|e| refused("enter a network namespace")(e.into()))?;
            work()
        };
        in_a_thread(moved)
    }
}

async fn ask(links: &mut Links, what: &'static str, request: links::Request) -> Result<(), Error> {
    links.ask(&request).await.map_err(refused(what))
}

/// A network namespace that only this descriptor holds.
fn namespace() -> Result<OwnedFd, Error> {
    let make = || -> io::Result<OwnedFd> {
        unshare(UnshareFlags::NEWNET)?;
        Ok(File::open("/proc/thread-self/ns/net")?.into())
    };
    in_a_thread(|| make().map_err(refused("make a network namespace")))
}

/// A namespace belongs to a thread; this one's shall stay what it is.
fn in_a_thread<T: Send>(work: impl FnOnce() -> Result<T, Error> + Send) -> Result<T, Error> {
    let done = std::thread::scope(|scope| scope.spawn(work).join());
    done.unwrap_or_else(|_| Err(Error::Answer("a thread of the self-test ended early".to_owned())))
}
