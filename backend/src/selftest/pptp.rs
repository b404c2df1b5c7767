//! PPTP: two devices call one server with the same Call ID (RFC 2637). Which of them a GRE packet of the server is for is known
//! only to the kernel's helper, and only if it was there from the first packet of the control connection.

use std::net::{IpAddr, TcpStream, UdpSocket};

use super::ends::{SOON, accept, body, carries, hear, payload, reaches};
use super::{Bench, Seen, Stop, fails};
use crate::kernel::scratch::{DEVICES, Place, SERVER, Scratch};
use crate::ruleset::{Capabilities, Helper};

/// IP protocol number (RFC 2637 section 4.1).
pub(super) const GRE: u8 = 47;
/// The Call ID that both devices choose.
const CALL_ID: u16 = 7;
/// Start-Control-Connection-Request and -Reply, Outgoing-Call-Request and -Reply (RFC 2637 section 2), each with its length.
const START: (u16, usize) = (1, 156);
const STARTED: (u16, usize) = (2, 156);
const CALL: (u16, usize) = (7, 168);
const CALLED: (u16, usize) = (8, 32);
/// Protocol version 1.0, and "successful" in the upper byte of a reply.
const VERSION: u16 = 0x0100;
const SUCCESS: u16 = 0x0100;

/// A control message: its fields lie behind the header of 12 bytes (RFC 2637 section 1.4).
fn message((kind, length): (u16, usize), fields: &[u16]) -> Vec<u8> {
    let mut bytes = vec![0, u8::try_from(length).unwrap_or_default(), 0, 1, 0x1a, 0x2b, 0x3c, 0x4d];
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0; 2]);
    fields.iter().for_each(|field| bytes.extend(field.to_be_bytes()));
    bytes.resize(length, 0);
    bytes
}

/// Enhanced GRE (RFC 2637 section 4.1): key and sequence number present, version 1, PPP.
pub(super) fn gre(call: u16, name: &str) -> Vec<u8> {
    let payload = payload(name);
    let mut bytes = vec![0x30, 0x01, 0x88, 0x0b];
    bytes.extend(u16::try_from(payload.len()).unwrap_or_default().to_be_bytes());
    bytes.extend(call.to_be_bytes());
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// The Call ID that a GRE packet is for, and who sent it, once one with that payload comes.
fn heard(socket: &UdpSocket, name: &str) -> Option<(u16, IpAddr)> {
    hear(socket, SOON, |packet, from| {
        let call = body(packet).get(6..8)?.try_into().ok()?;
        carries(packet, name).then_some((u16::from_be_bytes(call), from.ip()))
    })
}

/// One call, as both ends know it.
struct Call {
    /// GRE of the device.
    socket: UdpSocket,
    /// The device's Call ID as the server was told it.
    theirs: u16,
    /// The server's.
    ours: u16,
    /// Whom the server takes for its caller.
    caller: IpAddr,
    /// Both ends of the control connection: the call lives as long.
    _control: (TcpStream, TcpStream),
}

/// That PPTP is refused for want of the helper, or else that there is one.
pub(super) fn helper(capabilities: &Capabilities) -> Result<(), String> {
    match capabilities.knows(Helper::Pptp) {
        true => Ok(()),
        false => Err("This kernel has no PPTP helper, so calls are refused even when PPTP is on. \"postern status\" names the \
                      package that brings it."
            .to_owned()),
    }
}

pub(super) fn calls(bench: &Bench<'_>) -> Seen {
    let (scratch, capabilities) = bench.lay(&bench.passthrough)?;
    helper(&capabilities).map_err(Stop::Fails)?;
    let port = bench.passthrough.pptp.ports.iter().next().map_or(1723, |port| port.number());
    let server = scratch.raw(Place::Internet, SERVER, GRE)?;
    let listener = scratch.listen(port)?;
    let mut calls = Vec::new();
    for (number, ours) in [1001, 1002].into_iter().enumerate() {
        calls.push(call(&scratch, &listener, (number, port), ours)?);
    }
    for (number, call) in calls.iter().enumerate() {
        let (device, name) = (number + 1, format!("gre to {number}"));
        // A server may speak first.
        let _ = server.send_to(&gre(call.theirs, &name), (call.caller, 0));
        match heard(&call.socket, &name) {
            Some((CALL_ID, _)) => {}
            Some((other, _)) => {
                return fails(format!(
                    "GRE of the server reached device {device} with Call ID {other}, not {CALL_ID}."
                ));
            }
            None => {
                let other = calls.iter().enumerate().find(|(n, call)| {
                    *n != number && hear(&call.socket, SOON, |p, _| carries(p, &name).then_some(())).is_some()
                });
                return fails(match other {
                    Some((other, _)) => format!(
                        "GRE for device {device} was delivered to device {}: two calls with one Call ID are mixed up.",
                        other + 1
                    ),
                    None => format!("The server sent GRE for device {device}; it did not arrive there."),
                });
            }
        }
        let name = format!("gre of {number}");
        let _ = call.socket.send_to(&gre(call.ours, &name), (SERVER, 0));
        match heard(&server, &name) {
            Some((ours, _)) if ours == call.ours => {}
            Some((other, _)) => {
                return fails(format!(
                    "GRE of device {device} reached the server for call {other}, not {}.",
                    call.ours
                ));
            }
            None => return fails(format!("Device {device} sent GRE; it did not arrive at the server.")),
        }
    }
    Ok(format!(
        "Two devices called one server at port {port} with Call ID {CALL_ID}; each got its own GRE, both ways."
    ))
}

/// Makes a call from a device, by number.
fn call(
    scratch: &Scratch,
    listener: &std::net::TcpListener,
    (number, port): (usize, u16),
    ours: u16,
) -> Result<Call, Stop> {
    let device = number + 1;
    let address = DEVICES.get(number).copied().unwrap_or(DEVICES[0]);
    let socket = scratch.raw(Place::Home, address, GRE)?;
    let mut client = match scratch.connect(address, port, SOON)? {
        Ok(client) => client,
        // A connect(2) whose time is up says "in progress" (socket(7)).
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {
            return fails(format!("Device {device} called TCP port {port}; no answer came."));
        }
        Err(e) => return fails(format!("Device {device} called TCP port {port}; it did not open ({e}).")),
    };
    let Some((mut server, caller)) = accept(listener, SOON) else {
        return fails(format!("Device {device} called TCP port {port}; the server saw nothing of it."));
    };
    let silent =
        |what: &str| Stop::Fails(format!("Device {device} and the server spoke; the {what} did not arrive."));
    if !reaches(&mut client, &mut server, &message(START, &[VERSION]), SOON) {
        return Err(silent("start request"));
    }
    if !reaches(&mut server, &mut client, &message(STARTED, &[VERSION, SUCCESS]), SOON) {
        return Err(silent("start reply"));
    }
    // The helper changes the Call ID on the way where two are alike.
    let theirs = passed(&mut client, &mut server, &message(CALL, &[CALL_ID, 1]), 0)
        .ok_or_else(|| silent("call request"))?;
    let told = passed(&mut server, &mut client, &message(CALLED, &[ours, theirs, SUCCESS]), 1);
    match told.ok_or_else(|| silent("call reply"))? {
        CALL_ID => Ok(Call { socket, theirs, ours, caller: caller.ip(), _control: (client, server) }),
        other => fails(format!(
            "The server\u{2019}s reply reached device {device} for Call ID {other}, not {CALL_ID}."
        )),
    }
}

/// Sends a message; the field of that number as it arrived.
fn passed(from: &mut TcpStream, to: &mut TcpStream, message: &[u8], field: usize) -> Option<u16> {
    use std::io::{Read, Write};
    from.write_all(message).ok()?;
    to.set_read_timeout(Some(SOON)).ok()?;
    let mut received = vec![0; message.len()];
    to.read_exact(&mut received).ok()?;
    let at = 12 + 2 * field;
    Some(u16::from_be_bytes(received.get(at..at + 2)?.try_into().ok()?))
}
