//! IPsec: two devices and one server. IKE from port 500 is told apart by its cookies (RFC 7296 section 3.1), raw ESP by SPIs that
//! only its two ends have agreed upon (RFC 4303 section 2.1), NAT traversal by ports like any UDP.

use std::net::UdpSocket;
use std::time::{Duration, Instant};

use super::ends::{SOON, body, carries, hear, payload, sender};
use super::{Bench, Seen, fails};
use crate::kernel::scratch::{DEVICES, Place, SERVER, Scratch};
use crate::ruleset;

/// IP protocol number (RFC 4303 section 2).
pub(super) const ESP: u8 = 50;
/// Of IKE, and of NAT traversal (RFC 3948 section 2).
pub(super) const IKE_PORT: u16 = 500;
pub(super) const NAT_T_PORT: u16 = 4500;

/// Two devices are served within a second and a half; the rules promise a turn of 2 s each, and 5 s until a wrong guess is over.
const SERVED: Duration = Duration::from_secs(12);
/// A device that hears nothing sends again after so long.
const AGAIN: Duration = Duration::from_millis(150);
/// So long both go on once they are served: what is learnt is confirmed a second after (POLICY.md, "Probation").
const GO_ON: Duration = Duration::from_millis(1500);

/// An IKE message as far as NAT reads it: the cookies, then 12 bytes (IKEv2, `IKE_SA_INIT`).
pub(super) fn ike_message(initiator: u64, responder: u64, name: &str) -> Vec<u8> {
    let payload = payload(name);
    let mut bytes = [initiator.to_be_bytes(), responder.to_be_bytes()].concat();
    bytes.extend([46, 0x20, 34, if responder == 0 { 0x08 } else { 0x20 }, 0, 0, 0, 0]);
    bytes.extend(u32::try_from(28 + payload.len()).unwrap_or_default().to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// An ESP packet as far as NAT reads it: SPI and sequence number.
pub(super) fn esp_packet(spi: u32, sequence: u32, name: &str) -> Vec<u8> {
    [&spi.to_be_bytes()[..], &sequence.to_be_bytes()[..], &payload(name)[..]].concat()
}

fn cookies(device: usize) -> (u64, u64) {
    let number = u64::try_from(device).unwrap_or_default();
    (0x5e1f_7e57_0000_0001 + number, 0x5e1f_7e57_8000_0001 + number)
}

pub(super) fn ike(bench: &Bench<'_>) -> Seen {
    let (scratch, capabilities) = bench.lay(&bench.passthrough)?;
    let told_apart = ruleset::learns(&super::settings(&bench.passthrough)?, &capabilities);
    negotiate(&scratch, told_apart)?;
    Ok(match told_apart {
        true => "Two devices sent IKE to one server; both kept port 500, and each got its own answer.",
        false => "Two devices sent IKE to one server; each got its own answer. (Only one can keep port 500.)",
    }
    .to_owned())
}

/// Both devices exchange the first two IKE messages with the server. `told_apart`: both keep port 500.
fn negotiate(scratch: &Scratch, told_apart: bool) -> Result<(), super::Stop> {
    let server = scratch.udp(Place::Internet, SERVER, IKE_PORT)?;
    let mut open = Vec::new();
    for (device, address) in DEVICES.into_iter().enumerate() {
        let client = scratch.udp(Place::Home, address, IKE_PORT)?;
        let name = format!("ike {device}");
        let _ = client.send_to(&ike_message(cookies(device).0, 0, &name), (SERVER, IKE_PORT));
        let number = device + 1;
        let Some(caller) = sender(&server, &name, SOON) else {
            return fails(format!(
                "Device {number} sent IKE to port {IKE_PORT}; the server saw nothing of it."
            ));
        };
        if told_apart && caller.port() != IKE_PORT {
            return fails(format!(
                "IKE of device {number} reached the server from port {}, not {IKE_PORT}.",
                caller.port()
            ));
        }
        open.push((device, client, caller));
    }
    for (device, client, caller) in &open {
        let (initiator, responder) = cookies(*device);
        let name = format!("ike answer {device}");
        let _ = server.send_to(&ike_message(initiator, responder, &name), caller);
        if sender(client, &name, SOON).is_none() {
            return fails(format!(
                "The server answered the IKE of device {}; it did not arrive there.",
                device + 1
            ));
        }
    }
    Ok(())
}

pub(super) fn nat_traversal(bench: &Bench<'_>) -> Seen {
    let (scratch, _) = bench.lay(&bench.passthrough)?;
    let server = scratch.udp(Place::Internet, SERVER, NAT_T_PORT)?;
    let mut open = Vec::new();
    for (device, address) in DEVICES.into_iter().enumerate() {
        let client = scratch.udp(Place::Home, address, NAT_T_PORT)?;
        let name = format!("nat-t {device}");
        let _ = client.send_to(&payload(&name), (SERVER, NAT_T_PORT));
        let Some(caller) = sender(&server, &name, SOON) else {
            return fails(format!(
                "Device {} sent UDP to port {NAT_T_PORT}; the server saw nothing of it.",
                device + 1
            ));
        };
        open.push((device, client, caller));
    }
    for (device, client, caller) in &open {
        let name = format!("nat-t answer {device}");
        let _ = server.send_to(&payload(&name), caller);
        if sender(client, &name, SOON).is_none() {
            return fails(format!(
                "The server answered device {} from port {NAT_T_PORT}; it did not arrive there.",
                device + 1
            ));
        }
    }
    Ok(format!("Two devices spoke with one server at UDP port {NAT_T_PORT}, and each got its own answers."))
}

pub(super) fn esp(bench: &Bench<'_>) -> Seen {
    let (scratch, capabilities) = bench.lay(&bench.passthrough)?;
    let many = ruleset::learns(&super::settings(&bench.passthrough)?, &capabilities);
    if bench.passthrough.ipsec.many_clients && !many {
        return fails(
            "This kernel lacks what several IPsec devices to one server need; one device at a time can use raw ESP. \"postern \
             status\" names the package that brings it.",
        );
    }
    // The cookies are what tells whose server it is.
    negotiate(&scratch, many)?;
    let devices = if many { 2 } else { 1 };
    let mut tunnels = Tunnels::open(&scratch, devices)?;
    let begun = Instant::now();
    while !tunnels.clients.iter().all(|client| client.answers > 0) {
        if begun.elapsed() > SERVED {
            return fails(tunnels.unserved());
        }
        tunnels.round()?;
    }
    let (took, until) = (begun.elapsed(), Instant::now() + GO_ON);
    let before: Vec<u32> = tunnels.clients.iter().map(|client| client.answers).collect();
    while Instant::now() < until {
        tunnels.round()?;
    }
    for (number, (client, before)) in tunnels.clients.iter().zip(before).enumerate() {
        if client.answers <= before {
            return fails(format!("Device {} was answered at first, and then no more.", number + 1));
        }
    }
    let took = took.as_secs_f32();
    Ok(match many {
        true => format!("Two devices sent raw ESP to one server; each got its own packets only, the later one after {took:.1} s."),
        false => "One device sent raw ESP and was answered. (Many clients are off: a second one would have to wait.)".to_owned(),
    })
}

struct Client {
    socket: UdpSocket,
    sequence: u32,
    answers: u32,
}

/// The ESP of both devices, and of the server.
struct Tunnels {
    server: UdpSocket,
    clients: Vec<Client>,
}

impl Tunnels {
    fn open(scratch: &Scratch, devices: usize) -> Result<Self, super::Stop> {
        let mut clients = Vec::new();
        for address in DEVICES.into_iter().take(devices) {
            let socket = scratch.raw(Place::Home, address, ESP)?;
            clients.push(Client { socket, sequence: 0, answers: 0 });
        }
        Ok(Self { server: scratch.raw(Place::Internet, SERVER, ESP)?, clients })
    }

    /// Every device sends a packet, the server answers what arrives, every device looks what it got.
    fn round(&mut self) -> Result<(), super::Stop> {
        for (device, client) in self.clients.iter_mut().enumerate() {
            client.sequence += 1;
            let packet = esp_packet(spi(device, true), client.sequence, &format!("esp {device}"));
            let _ = client.socket.send_to(&packet, (SERVER, 0));
        }
        let (until, devices) = (Instant::now() + AGAIN, self.clients.len());
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            let heard = hear(&self.server, left, |packet, from| {
                let device = (0..devices).find(|device| carries(packet, &format!("esp {device}")))?;
                (body(packet).get(..4) == Some(&spi(device, true).to_be_bytes())).then_some((device, from))
            });
            let Some((device, from)) = heard else { break };
            let packet = esp_packet(spi(device, false), 1, &format!("esp answer {device}"));
            let _ = self.server.send_to(&packet, from);
        }
        for (device, client) in self.clients.iter_mut().enumerate() {
            let mut strange = None;
            // Whatever is there.
            while let Some(whose) = hear(&client.socket, Duration::ZERO, |packet, _| {
                (0..devices).find(|whose| carries(packet, &format!("esp answer {whose}")))
            }) {
                if whose == device {
                    client.answers += 1;
                } else {
                    strange = Some(whose + 1);
                }
            }
            if let Some(whose) = strange {
                return fails(format!("ESP for device {whose} was delivered to device {}.", device + 1));
            }
        }
        Ok(())
    }

    fn unserved(&self) -> String {
        let without = self.clients.iter().enumerate().filter(|(_, client)| client.answers == 0);
        let without: Vec<String> = without.map(|(number, _)| (number + 1).to_string()).collect();
        let seconds = SERVED.as_secs();
        format!(
            "Devices sent raw ESP to one server for {seconds} s; no answer of the server arrived at device {}.",
            without.join(" and ")
        )
    }
}

/// Of a device's packets, or of the server's to it.
fn spi(device: usize, sent: bool) -> u32 {
    let number = u32::try_from(device).unwrap_or_default();
    if sent { 0x0a00_0001 + number } else { 0x0b00_0001 + number }
}
