//! `postern-lab steady`: traffic that must come through, each packet counted until its answer is back.

use std::collections::BTreeMap;
use std::io::Result;
use std::net::{IpAddr, UdpSocket};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Options, own_tag, roomy, tell};
use crate::packet::{frame, read, target};
use crate::wait::now_ms;

/// How often it tells where it stands.
const TELL: Duration = Duration::from_millis(50);
/// An answer that is not back by now is lost: many times what the lab needs when it is busy, and a third of what
/// [`crate::Steady::settled`] waits.
const LATE: Duration = Duration::from_secs(10);
/// So many of the lost are told with their times.
const NAMED: usize = 20;

/// A packet whose answer is not back.
struct Open {
    since: Instant,
    at: u64,
    /// Its own socket: then this packet was a flow of its own.
    socket: Option<UdpSocket>,
}

/// Sends UDP at the given rate until it is killed: one flow, or with `options.once` a new flow for every packet.
pub(super) fn steady(options: &Options) -> std::result::Result<(), String> {
    let refused = |error: std::io::Error| format!("{} to {}: {error}", options.kind, options.server);
    let shared = if options.once { None } else { Some(connect(options).map_err(refused)?) };
    let (tag, pace) = (own_tag(), Duration::from_secs(1) / options.hz);
    let mut open: BTreeMap<u64, Open> = BTreeMap::new();
    let (mut sent, mut answered, mut unsent) = (0_u64, 0_u64, 0_u64);
    let (mut lost, mut named) = (0_u64, Vec::new());
    let (mut next, mut told) = (Instant::now(), Instant::now());
    loop {
        let own = if shared.is_none() { Some(connect(options).map_err(refused)?) } else { None };
        let Some(socket) = own.as_ref().or(shared.as_ref()) else { continue };
        sent += 1;
        // An ICMP error about an earlier packet is handed out here instead: then this one did not leave.
        let bytes = frame(options.kind, tag, sent);
        if socket.send(&bytes).or_else(|_| socket.send(&bytes)).is_err() {
            unsent += 1;
        }
        open.insert(sent, Open { since: Instant::now(), at: now_ms(), socket: own });
        next = (next + pace).max(Instant::now() - TELL);
        loop {
            let before = open.len();
            let heard: Vec<u64> = match &shared {
                Some(socket) => drain(socket, tag),
                None => open.values().filter_map(|o| o.socket.as_ref()).flat_map(|s| drain(s, tag)).collect(),
            };
            for number in heard {
                open.remove(&number);
            }
            answered += (before - open.len()) as u64;
            let left = next.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            std::thread::sleep(left.min(Duration::from_millis(2)));
        }
        while let Some(entry) = open.first_entry().filter(|entry| entry.get().since.elapsed() > LATE) {
            lost += 1;
            if named.len() < NAMED {
                named.push((*entry.key(), entry.get().at));
            }
            entry.remove();
        }
        if told.elapsed() >= TELL {
            tell(&json!({
                "sent": sent, "answered": answered, "unsent": unsent, "lost": lost, "named": named,
                "open": open.len(), "decided": open.first_key_value().map_or(sent, |(oldest, _)| oldest - 1),
            }));
            told = Instant::now();
        }
    }
}

fn connect(options: &Options) -> Result<UdpSocket> {
    let any: IpAddr = if options.server.is_ipv6() { [0u16; 8].into() } else { [0u8; 4].into() };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(target(options.kind, options.server))?;
    socket.set_nonblocking(true)?;
    // A socket of one packet waits for one answer.
    if !options.once {
        roomy(&socket)?;
    }
    Ok(socket)
}

/// Numbers of ours that have come back.
fn drain(socket: &UdpSocket, tag: u64) -> Vec<u64> {
    let mut bytes = [0; 256];
    let mut numbers = Vec::new();
    loop {
        match socket.recv(&mut bytes) {
            Ok(length) => {
                numbers.extend(read(&bytes[..length]).filter(|(of, _)| *of == tag).map(|(_, number)| number))
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return numbers,
            // An ICMP error: its packet will be counted as lost.
            Err(_) => {}
        }
    }
}
