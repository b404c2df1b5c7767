//! Real VPN programs: a server on the internet, clients at home. What they need and this kernel lacks is done in user space:
//! PPP by a stand-in (`stand-ins/pppd` says why), ESP by strongSwan's own kernel-libipsec, WireGuard by wireguard-go.

mod ike;
mod l2tp;
mod openvpn;
mod pptp;
mod wireguard;

use std::net::Ipv4Addr;
use std::time::Duration;

use crate::host::Host;
use crate::lab::Lab;
use crate::process::Process;
use crate::topology::address;
use crate::wait::{self, SOON};

pub use pptp::{Call, CallOptions, PptpServer};

/// How long two programs may take to agree on a tunnel: their own retries take seconds.
const AGREE: Duration = Duration::from_secs(30);

/// Seconds for which a ping is sent again that should be answered.
const PATIENCE: &str = "15";

/// A VPN program that is its own server. (PPTP has two of them: see [`Call`].)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Program {
    /// L2TP without IPsec on UDP 1701, by xl2tpd.
    Xl2tpd,
    /// `IKEv2` with NAT-T and a shared key, by strongSwan; its ESP is in UDP 4500.
    StrongSwan,
    /// `OpenVPN` on UDP 1194.
    OpenVpn,
    /// `WireGuard` on UDP 51820, by wireguard-go.
    WireGuard,
}

impl Program {
    /// Every one.
    pub const ALL: [Self; 4] = [Self::Xl2tpd, Self::StrongSwan, Self::OpenVpn, Self::WireGuard];

    /// Port the server listens on.
    #[must_use]
    pub fn port(self) -> u16 {
        match self {
            Self::Xl2tpd => 1701,
            Self::StrongSwan => 500,
            Self::OpenVpn => 1194,
            Self::WireGuard => 51820,
        }
    }

    /// Address of `server` inside every tunnel; the clients' are in its /24.
    fn inner(self, server: &str) -> Ipv4Addr {
        let net = match self {
            Self::Xl2tpd => 98,
            Self::StrongSwan => 97,
            Self::OpenVpn => 96,
            Self::WireGuard => 95,
        };
        Ipv4Addr::new(10, net, address(server).octets()[3], 1)
    }

    #[track_caller]
    fn serve(self, host: &Host) -> Process {
        let inner = self.inner(host.name);
        match self {
            Self::Xl2tpd => l2tp::serve(host, inner),
            Self::StrongSwan => ike::serve(host, inner),
            Self::OpenVpn => openvpn::serve(host, inner),
            Self::WireGuard => wireguard::serve(host, inner),
        }
    }

    #[track_caller]
    fn dial(self, host: &Host, server: &str, outer: Ipv4Addr) -> Process {
        let inner = self.inner(server);
        match self {
            Self::Xl2tpd => l2tp::dial(host, outer),
            Self::StrongSwan => ike::dial(host, outer, inner),
            Self::OpenVpn => openvpn::dial(host, outer),
            Self::WireGuard => wireguard::dial(host, server, outer, inner),
        }
    }
}

/// A VPN server. It is killed when dropped.
#[derive(Debug)]
pub struct VpnServer {
    program: Program,
    host: Host,
    process: Process,
    /// Its address inside every tunnel.
    pub inner: Ipv4Addr,
}

impl VpnServer {
    /// Kills it, as a crash would: its host answers "port unreachable" from now on.
    pub fn kill(&mut self) {
        self.process.kill();
    }

    /// Starts it again.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    pub fn start(&mut self) {
        self.process.kill();
        self.process = listening(self.program, &self.host);
    }

    /// What it said since its last start.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.said()
    }
}

/// A client of a [`VpnServer`], which dials by itself until it gets through. It is killed when dropped.
#[derive(Debug)]
pub struct Tunnel {
    program: Program,
    host: Host,
    process: Process,
    server: &'static str,
    outer: Ipv4Addr,
    inner: Ipv4Addr,
}

impl Tunnel {
    /// Waits until a ping through the tunnel is answered.
    ///
    /// # Panics
    /// When none is, with what the program said.
    #[track_caller]
    pub fn wait_up(&mut self) {
        let came = wait::until(AGREE, || (!self.silent() || self.process.ended().is_some()).then_some(()));
        let up = came.is_some() && self.process.ended().is_none();
        assert!(up, "{:?} on {} should get through:\n{}", self.program, self.host.name, self.said());
    }

    /// Whether a ping comes back through the tunnel. Who asks expects one: what is lost is sent again for as long as a busy
    /// machine may need, and the first answer ends it.
    #[must_use]
    pub fn ping(&self) -> bool {
        self.host.pings(self.inner, PATIENCE)
    }

    /// Whether no ping comes back through the tunnel, all of two seconds long.
    #[must_use]
    pub fn silent(&self) -> bool {
        !self.host.pings(self.inner, "2")
    }

    /// Pings through the tunnel 20 times a second.
    #[must_use]
    pub fn ping_on(&self) -> Process {
        self.host.ping_on(self.inner)
    }

    /// Ends the program and starts it again, as a person does whose tunnel is dead.
    #[track_caller]
    pub fn redial(&mut self) {
        self.process.kill();
        self.process = self.program.dial(&self.host, self.server, self.outer);
    }

    /// Waits until the program has said `part`.
    ///
    /// # Panics
    /// When it has not in time.
    #[track_caller]
    pub fn wait_said(&mut self, part: &str) {
        self.process.wait_for_line(part, AGREE);
    }

    /// What the program said since it was last started.
    #[must_use]
    pub fn said(&self) -> String {
        self.process.said()
    }
}

/// Time of the last answer in the output of `ping_on`, in milliseconds since 1970.
#[must_use]
pub fn last_pong(process: &Process) -> Option<u64> {
    let out = process.out();
    let line = out.iter().rev().find(|line| line.contains("bytes from"))?;
    let seconds: f64 = line.strip_prefix('[')?.split(']').next()?.parse().ok()?;
    let ms = Duration::try_from_secs_f64(seconds).ok()?.as_millis();
    u64::try_from(ms).ok()
}

/// Numbers of the pings of `ping_on` that were not answered, up to the last one that was.
#[must_use]
pub fn missing_pongs(process: &Process) -> Vec<u32> {
    let out = process.out();
    let number = |line: &String| line.split_once("icmp_seq=")?.1.split(' ').next()?.parse().ok();
    let answered: Vec<u32> =
        out.iter().filter(|line| line.contains("bytes from")).filter_map(number).collect();
    let last = answered.iter().max().copied().unwrap_or_default();
    (1..last).filter(|number| !answered.contains(number)).collect()
}

impl Lab {
    /// Starts `program` as a server on `server`, and waits until it listens.
    ///
    /// # Panics
    /// When it does not start.
    #[track_caller]
    #[must_use]
    pub fn vpn_server(&self, program: Program, server: &str) -> VpnServer {
        let host = self.host(server);
        let process = listening(program, &host);
        VpnServer { program, inner: program.inner(host.name), host, process }
    }
}

impl Host {
    /// Starts the client of `server` here.
    #[track_caller]
    #[must_use]
    pub fn vpn_client(&self, server: &VpnServer) -> Tunnel {
        self.vpn_client_at(server, address(server.host.name))
    }

    /// The same, dialling another address, that leads to the server.
    #[track_caller]
    #[must_use]
    pub fn vpn_client_at(&self, server: &VpnServer, outer: Ipv4Addr) -> Tunnel {
        let process = server.program.dial(self, server.host.name, outer);
        Tunnel {
            program: server.program,
            host: self.clone(),
            process,
            server: server.host.name,
            outer,
            inner: server.inner,
        }
    }

    /// Whether one of the pings of so many seconds is answered; the first answer ends them.
    fn pings(&self, to: Ipv4Addr, seconds: &str) -> bool {
        self.run(&["ping", "-c", "1", "-w", seconds, &to.to_string()]).ok()
    }

    /// Pings 20 times a second; the lines begin with the time of each answer.
    #[must_use]
    pub(crate) fn ping_on(&self, to: Ipv4Addr) -> Process {
        self.spawn(&["ping", "-D", "-n", "-i", "0.05", &to.to_string()])
    }
}

#[track_caller]
fn listening(program: Program, host: &Host) -> Process {
    let mut process = program.serve(host);
    let port = format!(":{}", program.port());
    let listens = wait::until(SOON, || {
        let list = host.ok(&["ss", "-Hlun", "sport", "=", &port]);
        (!list.is_empty() || process.ended().is_some()).then_some(!list.is_empty())
    });
    assert_eq!(listens, Some(true), "{program:?} on {} did not start:\n{}", host.name, process.said());
    process
}
