//! `postern-lab forge`: whole IPv4 packets from a file, from whatever address they say.

use std::io::{Error, ErrorKind, Result};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use rustix::net::{AddressFamily, Protocol, SocketType, socket};
use serde_json::json;

use super::{USAGE, tell};

/// How often it tells how much it has sent.
const TELL: Duration = Duration::from_millis(20);

/// Arguments: a file with one packet in hexadecimal digits a line, `--hz N`, and `--again` to begin anew at its end.
pub(super) fn forge(words: &mut lexopt::Parser) -> std::result::Result<(), lexopt::Error> {
    let (mut hz, mut again, mut file) = (1000, false, None);
    while let Some(word) = words.next()? {
        match word {
            lexopt::Arg::Long("hz") => hz = lexopt::ValueExt::parse::<u32>(&words.value()?)?.max(1),
            lexopt::Arg::Long("again") => again = true,
            lexopt::Arg::Value(path) if file.is_none() => file = Some(path),
            other => return Err(other.unexpected()),
        }
    }
    let Some(file) = file else { return Err(USAGE.into()) };
    let text = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let packets = text.lines().map(packet).collect::<Result<Vec<_>>>().map_err(|error| error.to_string())?;
    send(&packets, hz, again).map_err(|error| error.to_string())?;
    Ok(())
}

/// A packet and where it goes.
fn packet(line: &str) -> Result<(Vec<u8>, SocketAddr)> {
    let wrong = || Error::from(ErrorKind::InvalidData);
    let pair = |at| line.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).ok_or_else(wrong);
    let bytes = (0..line.len()).step_by(2).map(pair).collect::<Result<Vec<u8>>>()?;
    let to: [u8; 4] = bytes.get(16..20).and_then(|to| to.try_into().ok()).ok_or_else(wrong)?;
    Ok((bytes, (Ipv4Addr::from(to), 0).into()))
}

fn send(packets: &[(Vec<u8>, SocketAddr)], hz: u32, again: bool) -> Result<()> {
    // With protocol 255 the header is ours, with any source (raw(7)).
    let own_header = Protocol::from_raw(NonZeroU32::new(255).ok_or(ErrorKind::InvalidInput)?);
    let socket = UdpSocket::from(socket(AddressFamily::INET, SocketType::RAW, Some(own_header))?);
    let pace = Duration::from_secs(1) / hz;
    let (mut sent, mut unsent) = (0_u64, 0_u64);
    let (mut next, mut told) = (Instant::now(), Instant::now());
    loop {
        for (bytes, to) in packets {
            match socket.send_to(bytes, to) {
                Ok(_) => sent += 1,
                Err(_) => unsent += 1,
            }
            if told.elapsed() >= TELL {
                tell(&json!({ "sent": sent, "unsent": unsent }));
                told = Instant::now();
            }
            next = (next + pace).max(Instant::now() - TELL);
            std::thread::sleep(next.saturating_duration_since(Instant::now()));
        }
        if !again {
            tell(&json!({ "sent": sent, "unsent": unsent, "done": true }));
            return Ok(());
        }
    }
}
