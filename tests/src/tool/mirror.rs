//! `postern-lab mirror`: sends packets back from whichever of its addresses they were for. (What [`super::echo`] answers comes from
//! the first one.)

use std::io::Result;
use std::net::{Ipv4Addr, UdpSocket};
use std::num::NonZeroU32;

use lexopt::prelude::*;
use rustix::net::{AddressFamily, Protocol, SocketType, socket};
use serde_json::json;

use super::{USAGE, roomy, tell};

const UDP: u8 = 17;

/// Arguments: `udp:PORT` and `ip:NUMBER`. IPv4. The own kernel must not say that nobody listens to that UDP.
pub(super) fn mirror(words: &mut lexopt::Parser) -> std::result::Result<(), lexopt::Error> {
    let (mut ports, mut protocols) = (Vec::new(), Vec::new());
    while let Some(Value(text)) = words.next()? {
        match text.parse()? {
            crate::packet::Kind::Udp(port) => ports.push(port),
            crate::packet::Kind::Ip(number) => protocols.push(number),
            crate::packet::Kind::Tcp(_) => return Err(USAGE.into()),
        }
    }
    if !ports.is_empty() {
        protocols.push(UDP);
    }
    let sockets: Result<Vec<_>> = protocols.iter().map(|protocol| Ok((raw(*protocol)?, raw(255)?))).collect();
    let mut threads = Vec::new();
    for (hears, sends) in sockets.map_err(|error| error.to_string())? {
        let ports = ports.clone();
        threads.push(std::thread::spawn(move || answer(&hears, &sends, &ports)));
    }
    tell(&json!({ "ready": true }));
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

/// Hears this protocol; with 255 the header is ours (raw(7)).
fn raw(protocol: u8) -> Result<UdpSocket> {
    let protocol = NonZeroU32::new(protocol.into()).map(Protocol::from_raw);
    let socket = UdpSocket::from(socket(AddressFamily::INET, SocketType::RAW, protocol)?);
    roomy(&socket)?;
    Ok(socket)
}

fn answer(hears: &UdpSocket, sends: &UdpSocket, ports: &[u16]) {
    let mut bytes = [0; 2048];
    loop {
        let Ok((length, _)) = hears.recv_from(&mut bytes) else { continue };
        if let Some(to) = turned(&mut bytes[..length], ports) {
            let _ = sends.send_to(&bytes[..length], (to, 0));
        }
    }
}

/// Sends it the other way: whereto.
fn turned(packet: &mut [u8], ports: &[u16]) -> Option<Ipv4Addr> {
    let head = usize::from(packet.first()? & 15) * 4;
    if *packet.get(9)? == UDP {
        let port = u16::from_be_bytes(packet.get(head + 2..head + 4)?.try_into().ok()?);
        ports.contains(&port).then_some(())?;
        packet.get_mut(head..head + 4)?.rotate_left(2);
        // None: over a cable of the lab the sender leaves the sum to a card that there is not.
        packet.get_mut(head + 6..head + 8)?.fill(0);
    }
    packet.get_mut(12..20)?.rotate_left(4);
    packet[8] = 64;
    Some(Ipv4Addr::from(<[u8; 4]>::try_from(&packet[16..20]).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_and_ports_change_places() {
        let mut packet = vec![0x45, 0, 0, 28, 0, 0, 0, 0, 63, UDP, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
        packet.extend([0x30, 0x39, 0x11, 0x94, 0, 8, 0, 0]);
        assert_eq!(turned(&mut packet.clone(), &[500]), None);
        assert_eq!(turned(&mut packet, &[4500]), Some(Ipv4Addr::new(10, 0, 0, 1)));
        assert_eq!(packet[12..24], [10, 0, 0, 2, 10, 0, 0, 1, 0x11, 0x94, 0x30, 0x39]);
        assert_eq!(turned(&mut [0x45; 9], &[]), None);
    }
}
