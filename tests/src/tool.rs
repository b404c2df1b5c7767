//! The programs that run inside the lab, as subcommands of `postern-lab`. They write one JSON object per line.

mod dhcp_guest;
mod dhcp_server;
mod dialogue;
mod echo;
mod fetch;
mod files;
mod flow;
mod forge;
mod hail;
mod hoard;
mod hold;
mod hostile;
pub mod intrude;
mod l2tp;
mod listen;
mod mirror;
mod noise;
mod paper;
mod pptp;
mod probe;
mod pulse;
mod rescue;
mod steady;
mod talk;
mod torrent;
mod unison;

use std::io::Write;
use std::net::{IpAddr, UdpSocket};
use std::time::Duration;

use lexopt::prelude::*;
use rustix::net::sockopt::set_socket_recv_buffer_size_force;
use serde_json::Value;

use crate::packet::Kind;

/// How each subcommand is called.
pub const USAGE: &str = "usage: postern-lab demo [--port PORT] [--claimed]
       postern-lab sim [--rules FILE] [--scenario NAME] ...   many VPN clients at one server, counted
       postern-lab echo KIND...                          answers, and tells each packet that arrives
       postern-lab probe KIND ADDRESS [--for-ms N] [--once]   sends until something comes back
       postern-lab flow KIND ADDRESS [--hz N]            sends for ever and tells every answer
       postern-lab steady KIND ADDRESS [--hz N] [--once]      sends UDP for ever and counts; --once: each from a new port
       postern-lab hail [--hz N] ADDRESS...              UDP, TCP, GRE and ESP that nobody asked for, for ever
       postern-lab torrent udp:PORT [ADDRESS]             sends as much as can be; with ADDRESS: asks for that
       postern-lab pulse FIFO                            sends frames to the packet socket that is its input, by order
       postern-lab forge FILE [--hz N] [--again]         sends packets with headers of their own
       postern-lab hoard FROM TO COUNT [--udp] [--hz N] | --serve  one device that opens TCP connections and keeps them; who takes them
       postern-lab unison FIRST COUNT AT                 a new SPI to each of COUNT servers, at moments that others keep too
       postern-lab mirror KIND...                        answers from whichever of its addresses was asked
       postern-lab noise COUNT SEED IPV6 ADDRESS...      packets of chance, of every protocol, from anybody
       postern-lab listen                                tells the lab's packets that are delivered here
       postern-lab dialogue FILE --listen|--call ADDRESS:PORT  TCP, segment by segment
       postern-lab talk FILE                             raw conversations over TCP, many at once
       postern-lab dhcp-guest FILE                       asks for addresses under names that a file gives
       postern-lab hostile SOCKET --password P [--random N --seed N]  one that says anything to the daemon
       postern-lab intrude [--confined] ATTEMPT          what a taken over web process would try
       postern-lab fetch                                 one HTTP exchange, JSON in and out
       postern-lab pptp-server PORT                      takes PPTP calls without PPP, and never stops sending GRE
       postern-lab pptp-call ADDRESS:PORT [--from ADDRESS] [--id N] [--end fin|rst|clear] [--after-ms N]
       postern-lab l2tp-server PORT [--same]             answers each caller from a port of its own
       postern-lab l2tp-call ADDRESS:PORT [--from ADDRESS:PORT] [--at-ms MOMENT]
       postern-lab ftp-server PORT                       FTP with two files, hello and long
       postern-lab tftp-server PORT                      TFTP with one file
       postern-lab dhcp-server LENDS BROADCAST NUMBER=HEX...  a DHCP server that says anything
       postern-lab paper STATE DOOR                      the daemon, on a kernel of paper
       postern-lab rescue                                starts on state folders and a kernel of paper: paths in, JSON out
       postern-lab hold                                  holds a lab's namespaces
KIND is udp:PORT, tcp:PORT or ip:PROTOCOL";

/// Runs the subcommand `name`, whose arguments follow in `words`.
///
/// # Errors
/// Wrong usage, in words.
pub fn run(name: &str, mut words: lexopt::Parser) -> Result<(), lexopt::Error> {
    match name {
        "hold" => hold::hold(),
        "fetch" => fetch::fetch().map_err(|error| error.to_string())?,
        "hail" => hail::hail(&mut words)?,
        "pulse" => pulse::pulse(&mut words)?,
        "rescue" => rescue::rescue()?,
        "paper" => paper::paper(&mut words)?,
        "forge" => forge::forge(&mut words)?,
        "hoard" => hoard::hoard(&mut words)?,
        "unison" => unison::unison(&mut words)?,
        "mirror" => mirror::mirror(&mut words)?,
        "noise" => noise::noise(&mut words)?,
        "hostile" => hostile::hostile(&mut words)?,
        "intrude" => intrude::intrude(&mut words)?,
        "talk" => talk::talk(&mut words)?,
        "dhcp-guest" => dhcp_guest::dhcp_guest(&mut words)?,
        "listen" => listen::listen()?,
        "dialogue" => dialogue::dialogue(&mut words)?,
        "torrent" => torrent::torrent(&mut words)?,
        "dhcp-server" => dhcp_server::dhcp_server(&mut words)?,
        "pptp-server" => pptp::server(&mut words)?,
        "l2tp-server" => l2tp::server(&mut words)?,
        "l2tp-call" => l2tp::call(&mut words)?,
        "pptp-call" => pptp::call(&mut words)?,
        "ftp-server" => files::ftp(&mut words)?,
        "tftp-server" => files::tftp(&mut words)?,
        "echo" => echo::echo(&kinds(&mut words)?)?,
        "probe" | "flow" | "steady" => {
            let options = Options::parse(&mut words)?;
            match name {
                "probe" => tell(&probe::probe(&options)),
                "flow" => flow::flow(&options)?,
                _ => steady::steady(&options)?,
            }
        }
        other => return Err(format!("there is no `{other}`\n{USAGE}").into()),
    }
    Ok(())
}

/// What probe and flow need.
#[derive(Debug)]
struct Options {
    kind: Kind,
    server: IpAddr,
    limit: Duration,
    once: bool,
    hz: u32,
}

impl Options {
    fn parse(words: &mut lexopt::Parser) -> Result<Self, lexopt::Error> {
        let (mut kind, mut server) = (None, None);
        let (mut limit, mut once, mut hz) = (Duration::from_secs(3), false, 20);
        while let Some(word) = words.next()? {
            match word {
                Value(text) if kind.is_none() => kind = Some(text.parse()?),
                Value(text) if server.is_none() => server = Some(text.parse()?),
                Long("for-ms") => limit = Duration::from_millis(words.value()?.parse()?),
                Long("once") => once = true,
                Long("hz") => hz = words.value()?.parse::<u32>()?.max(1),
                other => return Err(other.unexpected()),
            }
        }
        match (kind, server) {
            (Some(kind), Some(server)) => Ok(Self { kind, server, limit, once, hz }),
            _ => Err(USAGE.into()),
        }
    }
}

fn kinds(words: &mut lexopt::Parser) -> Result<Vec<Kind>, lexopt::Error> {
    let mut kinds = Vec::new();
    while let Some(word) = words.next()? {
        match word {
            Value(text) => kinds.push(text.parse()?),
            other => return Err(other.unexpected()),
        }
    }
    if kinds.is_empty() { Err(USAGE.into()) } else { Ok(kinds) }
}

/// Writes one line. Nobody reads any more: this program has no purpose left.
fn tell(value: &serde_json::Value) {
    let mut out = std::io::stdout().lock();
    if writeln!(out, "{value}").and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// The kernel's name of an error, as a test wants to read it.
fn error_name(error: &std::io::Error) -> Value {
    let name = match error.raw_os_error() {
        Some(1) => "EPERM",
        Some(13) => "EACCES",
        Some(32) => "EPIPE",
        Some(92) => "ENOPROTOOPT",
        Some(101) => "ENETUNREACH",
        Some(104) => "ECONNRESET",
        Some(110) => "ETIMEDOUT",
        Some(111) => "ECONNREFUSED",
        Some(113) => "EHOSTUNREACH",
        _ => return Value::String(error.to_string()),
    };
    Value::from(name)
}

/// Thousands of packets wait in this socket while its program gets no processor: in the kernel's own measure they would be lost
/// after a third of a second of the lab's faster flows, and nobody could tell that from a router that has lost them.
fn roomy(socket: &UdpSocket) -> std::io::Result<()> {
    set_socket_recv_buffer_size_force(socket, 16 << 20)?;
    Ok(())
}

/// A number that two senders do not share.
fn own_tag() -> u64 {
    let random = std::fs::read("/proc/sys/kernel/random/uuid").unwrap_or_default();
    random
        .iter()
        .fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
        & !(0xff << 56)
}
