//! `postern-lab dhcp-guest FILE`: asks for addresses as devices of any name (RFC 2131 section 4.3.2, INIT-REBOOT: an authoritative
//! server grants it). The file has a line of JSON for each: `{"address": "192.168.1.20", "options": [[12, "6e616d65"]]}`.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::Duration;

use lexopt::prelude::*;
use serde::Deserialize;
use serde_json::json;

use super::{USAGE, tell};

#[derive(Deserialize)]
struct Guest {
    address: Ipv4Addr,
    /// Number, and its bytes in hexadecimal digits.
    options: Vec<(u8, String)>,
}

/// Tells of each whether it was granted.
pub(super) fn dhcp_guest(words: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
    let Some(Value(file)) = words.next()? else { return Err(USAGE.into()) };
    let text = std::fs::read_to_string(&file).map_err(|error| error.to_string())?;
    let refused = |error: std::io::Error| format!("cannot ask: {error}");
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 68)).map_err(refused)?;
    socket.set_broadcast(true).map_err(refused)?;
    socket.set_read_timeout(Some(Duration::from_millis(500))).map_err(refused)?;
    for (number, line) in text.lines().enumerate() {
        let guest: Guest = serde_json::from_str(line).map_err(|error| error.to_string())?;
        let granted = ask(&socket, number, &guest).map_err(refused)?;
        tell(&json!({ "address": guest.address, "granted": granted }));
    }
    Ok(())
}

fn ask(socket: &UdpSocket, number: usize, guest: &Guest) -> std::io::Result<bool> {
    let request = request(number as u32, guest);
    for _ in 0..10 {
        socket.send_to(&request, (Ipv4Addr::BROADCAST, 67))?;
        let mut bytes = [0; 1500];
        // Until the answer is ours: option 53 comes first in what dnsmasq sends.
        while let Ok((length, _)) = socket.recv_from(&mut bytes) {
            if length > 242 && bytes[0] == 2 && bytes[4..8] == request[4..8] {
                return Ok(bytes[240..243] == [53, 1, 5]);
            }
        }
    }
    Ok(false)
}

fn request(number: u32, guest: &Guest) -> Vec<u8> {
    let mut message = vec![0; 236];
    message[..4].copy_from_slice(&[1, 1, 6, 0]);
    message[4..8].copy_from_slice(&(number + 1).to_be_bytes());
    // The answer shall be a broadcast: this host has another address.
    message[10] = 0x80;
    let mac = [2, 0, 0, 9, (number >> 8) as u8, number as u8];
    message[28..34].copy_from_slice(&mac);
    message.extend([99, 130, 83, 99, 53, 1, 3, 50, 4]);
    message.extend(guest.address.octets());
    for (option, digits) in &guest.options {
        let byte = |at: usize| u8::from_str_radix(digits.get(at..at + 2)?, 16).ok();
        let bytes: Vec<u8> = (0..digits.len()).step_by(2).map_while(byte).take(255).collect();
        message.extend([*option, bytes.len() as u8]);
        message.extend(bytes);
    }
    message.push(255);
    message.resize(message.len().max(300), 0);
    message
}
