//! `postern-lab listen`: tells every packet that is delivered to this host, and answers none.

use std::net::Ipv4Addr;

use serde_json::json;

use super::{roomy, tell};
use crate::forged::MARK;
use crate::packet::{Kind, datagram, read};
use crate::wait::now_ms;

/// ICMP, TCP, UDP, GRE, ESP, AH, L2TPv3.
const PROTOCOLS: [u8; 7] = [1, 6, 17, 47, 50, 51, 115];

/// Listens until it is killed.
pub(super) fn listen() -> std::result::Result<(), String> {
    let mut threads = Vec::new();
    for protocol in PROTOCOLS {
        let refused = |error: std::io::Error| format!("cannot listen for protocol {protocol}: {error}");
        let socket = datagram(Kind::Ip(protocol), false, 0).map_err(refused)?;
        roomy(&socket).map_err(refused)?;
        threads.push(std::thread::spawn(move || {
            let mut bytes = [0; 4096];
            loop {
                if let Ok(length) = socket.recv(&mut bytes) {
                    arrived(protocol, &bytes[..length]);
                }
            }
        }));
    }
    tell(&json!({ "ready": true }));
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

/// Tells of the packet, with its IPv4 header, if it is one of the lab's.
fn arrived(protocol: u8, packet: &[u8]) {
    let address = |at: usize| -> Option<Ipv4Addr> {
        let octets: [u8; 4] = packet.get(at..at + 4)?.try_into().ok()?;
        Some(octets.into())
    };
    let forged = packet.windows(MARK.len()).any(|part| part == MARK);
    let tag = read(packet).map(|(tag, _)| tag);
    // The lab's TCP has its own witnesses, and much of it is no news.
    if forged || (tag.is_some() && protocol != 6) {
        // GRE begins with its flags; its key holds the Call ID.
        let at = if protocol == 47 { 24 } else { 20 };
        let head = packet.get(at..at + 4).and_then(|word| word.try_into().ok()).map(u32::from_be_bytes);
        tell(&json!({
            "protocol": protocol, "from": address(12), "to": address(16), "forged": forged, "tag": tag, "head": head,
            "at": now_ms(),
        }));
    }
}
