//! `postern-lab dhcp-server`: lends what it is told to, however strange: for what no honest DHCP server says. RFC 2131; an
//! option is written as its number and its bytes in hexadecimal digits.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};

use lexopt::prelude::*;
use serde_json::json;

use super::{USAGE, tell};

/// Where the options begin: after 236 bytes of BOOTP and the magic cookie.
const OPTIONS: usize = 240;
const DISCOVER: u8 = 1;
const REQUEST: u8 = 3;

/// Listens until it is killed.
pub(super) fn dhcp_server(words: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
    let (mut lends, mut to) = (None::<Ipv4Addr>, None::<Ipv4Addr>);
    let mut options = Vec::new();
    while let Some(word) = words.next()? {
        match word {
            Value(text) if lends.is_none() => lends = Some(text.parse()?),
            Value(text) if to.is_none() => to = Some(text.parse()?),
            Value(text) => options.push(option(&text.string()?).ok_or(USAGE)?),
            other => return Err(other.unexpected()),
        }
    }
    let (Some(lends), Some(to)) = (lends, to) else { return Err(USAGE.into()) };
    let refused = |error: std::io::Error| format!("cannot lend: {error}");
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 67)).map_err(refused)?;
    socket.set_broadcast(true).map_err(refused)?;
    tell(&json!({ "ready": true }));
    let mut bytes = [0; 1500];
    loop {
        let (length, from) = socket.recv_from(&mut bytes).map_err(refused)?;
        let Some(asked) = kind(&bytes[..length]) else { continue };
        let answer = match asked {
            DISCOVER => 2,
            REQUEST => 5,
            _ => continue,
        };
        tell(&json!({ "asked": asked, "from": from.ip() }));
        // A client without an address hears a broadcast of the link; one with an address is answered there.
        let to = if from.ip().is_unspecified() { SocketAddr::from((to, 68)) } else { from };
        let _ = socket.send_to(&reply(&bytes[..OPTIONS], answer, lends, &options), to);
    }
}

/// `51=0000000a`: option 51 with these four bytes.
fn option(word: &str) -> Option<(u8, Vec<u8>)> {
    let (number, digits) = word.split_once('=')?;
    let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
    let bytes = (0..digits.len()).step_by(2).map(byte).collect::<Option<Vec<u8>>>()?;
    (bytes.len() < 256).then_some((number.parse().ok()?, bytes))
}

/// Option 53 of a question.
fn kind(message: &[u8]) -> Option<u8> {
    let mut rest = message.get(OPTIONS..)?;
    loop {
        match rest {
            [0, more @ ..] => rest = more,
            [53, 1, kind, ..] => return Some(*kind),
            [_, length, more @ ..] => rest = more.get(usize::from(*length)..)?,
            _ => return None,
        }
    }
}

fn reply(question: &[u8], kind: u8, lends: Ipv4Addr, options: &[(u8, Vec<u8>)]) -> Vec<u8> {
    let mut reply = question.to_vec();
    reply[0] = 2;
    reply[16..20].copy_from_slice(&lends.octets());
    reply.extend([53, 1, kind]);
    for (number, bytes) in options {
        reply.extend([*number, bytes.len() as u8]);
        reply.extend(bytes);
    }
    reply.push(255);
    // RFC 1542 section 2.1: 300 bytes at least.
    reply.resize(reply.len().max(300), 0);
    reply
}
