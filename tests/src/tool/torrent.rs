//! `postern-lab torrent`: one connection with as many packets a second as this machine can make.

use std::io::{ErrorKind, Result};
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{USAGE, tell};
use crate::packet::{Kind, target};

/// How often it tells how much there was.
const TELL: Duration = Duration::from_millis(50);
/// Packets between two looks at the clock.
const BURST: u64 = 100;

/// Arguments: `udp:PORT`, and for who asks for the torrent the address of who sends it.
pub(super) fn torrent(words: &mut lexopt::Parser) -> std::result::Result<(), lexopt::Error> {
    let (mut kind, mut server) = (None, None);
    while let Some(word) = words.next()? {
        match word {
            lexopt::Arg::Value(text) if kind.is_none() => {
                kind = Some(lexopt::ValueExt::parse::<Kind>(&text)?)
            }
            lexopt::Arg::Value(text) => server = Some(lexopt::ValueExt::parse::<IpAddr>(&text)?),
            other => return Err(other.unexpected()),
        }
    }
    match (kind, server) {
        (Some(Kind::Udp(port)), None) => send(port).map_err(|error| error.to_string())?,
        (Some(kind @ Kind::Udp(_)), Some(server)) => {
            swallow(kind, server).map_err(|error| error.to_string())?
        }
        _ => return Err(USAGE.into()),
    }
    Ok(())
}

/// Waits for one packet, and answers it for ever.
fn send(port: u16) -> Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", port))?;
    tell(&json!({ "ready": true }));
    let (_, to) = socket.recv_from(&mut [0; 64])?;
    let (mut sent, mut told) = (0_u64, Instant::now());
    loop {
        for _ in 0..BURST {
            // A full queue is no loss: the packet did not leave.
            sent += u64::from(socket.send_to(b"drop", to).is_ok());
        }
        if told.elapsed() >= TELL {
            tell(&json!({ "sent": sent }));
            told = Instant::now();
        }
    }
}

/// Asks until something comes, and reads for ever.
fn swallow(kind: Kind, server: IpAddr) -> Result<()> {
    let socket = UdpSocket::bind(("0.0.0.0", 0))?;
    socket.connect(target(kind, server))?;
    socket.set_read_timeout(Some(Duration::from_millis(200)))?;
    let (mut got, mut told) = (0_u64, Instant::now());
    loop {
        match socket.recv(&mut [0; 64]) {
            Ok(_) => got += 1,
            Err(error)
                if got == 0 || !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
            {
                let _ = socket.send(b"begin");
            }
            Err(_) => {}
        }
        if told.elapsed() >= TELL {
            tell(&json!({ "got": got }));
            told = Instant::now();
        }
    }
}
