//! `postern-lab l2tp-server` and `postern-lab l2tp-call`: datagrams between a client and a server that answers from another port
//! than the one it was called at, as RFC 2661 section 8.1 lets it. No L2TP inside: NAT looks at addresses and ports only.

use std::io::Result;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, SocketAddrV4, UdpSocket};
use std::time::{Duration, Instant};

use lexopt::prelude::*;
use serde_json::json;

use super::{USAGE, own_tag, tell};
use crate::packet::{Kind, frame, read};
use crate::wait::{moment, now_ms};

/// Between two packets of a call, either way; also between two tries.
const PACE: Duration = Duration::from_millis(100);

/// Gives each caller a port of its own, from which it sends to it until killed; `--same`: answers from `PORT`, as most do.
pub(super) fn server(words: &mut lexopt::Parser) -> std::result::Result<(), lexopt::Error> {
    let (mut port, mut same) = (None, false);
    while let Some(word) = words.next()? {
        match word {
            Value(text) if port.is_none() => port = Some(text.parse::<u16>()?),
            Long("same") => same = true,
            other => return Err(other.unexpected()),
        }
    }
    serve(port.ok_or(USAGE)?, same).map_err(|error| error.to_string().into())
}

fn serve(port: u16, same: bool) -> Result<()> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
    tell(&json!({ "ready": true }));
    let (mut known, mut bytes) = (Vec::new(), [0; 2048]);
    loop {
        // An error is an ICMP answer to what we sent: of no interest.
        let Ok((length, from)) = socket.recv_from(&mut bytes) else { continue };
        let Some((tag, _)) = read(&bytes[..length]) else { continue };
        tell(&json!({ "call": tag, "from": from.to_string(), "to": port, "at": now_ms() }));
        if known.contains(&from) {
            continue;
        }
        known.push(from);
        let own = if same { socket.try_clone()? } else { UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))? };
        if !same {
            let hears = own.try_clone()?;
            std::thread::spawn(move || hear(&hears));
        }
        std::thread::spawn(move || {
            for sequence in 0.. {
                let _ = own.send_to(&frame(Kind::Udp(port), tag, sequence), from);
                std::thread::sleep(PACE);
            }
        });
    }
}

fn hear(socket: &UdpSocket) {
    let mut bytes = [0; 2048];
    let to = socket.local_addr().map_or(0, |address| address.port());
    loop {
        let Ok((length, from)) = socket.recv_from(&mut bytes) else { continue };
        let tag = read(&bytes[..length]).map(|(tag, _)| tag);
        tell(&json!({ "call": tag, "from": from.to_string(), "to": to, "at": now_ms() }));
    }
}

/// Calls the server, and sends to where its first answer came from; tells every datagram that comes in.
pub(super) fn call(words: &mut lexopt::Parser) -> std::result::Result<(), lexopt::Error> {
    let (mut server, mut from, mut at) = (None, SocketAddrV4::new(Ipv4Addr::UNSPECIFIED, 0), 0);
    while let Some(word) = words.next()? {
        match word {
            Value(text) if server.is_none() => server = Some(text.parse::<SocketAddr>()?),
            Long("from") => from = words.value()?.parse()?,
            Long("at-ms") => at = words.value()?.parse::<u64>()? * 1000,
            other => return Err(other.unexpected()),
        }
    }
    dial(server.ok_or(USAGE)?, from, at).map_err(|error| error.to_string().into())
}

fn dial(server: SocketAddr, from: SocketAddrV4, at: u64) -> Result<()> {
    let socket = UdpSocket::bind(from)?;
    let (tag, mut target, mut bytes) = (own_tag(), server, [0; 2048]);
    moment(at);
    for sequence in 0.. {
        let _ = socket.send_to(&frame(Kind::Udp(server.port()), tag, sequence), target);
        let until = Instant::now() + PACE;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let Ok((length, sender)) = socket.recv_from(&mut bytes) else { continue };
            let mine = read(&bytes[..length]).is_some_and(|(of, _)| of == tag);
            if mine && same_host(sender.ip(), server.ip()) {
                target = sender;
            }
            tell(&json!({ "mine": mine, "from": sender.ip(), "port": sender.port(), "at": now_ms() }));
        }
    }
    Ok(())
}

fn same_host(one: IpAddr, other: IpAddr) -> bool {
    one.to_canonical() == other.to_canonical()
}
