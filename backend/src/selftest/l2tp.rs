//! L2TP: two devices call one server, which answers each from a port of its own (RFC 2661 section 8.1). Plain NAT would lose it.

use super::ends::{SOON, payload, sender};
use super::{Bench, Seen, fails};
use crate::kernel::scratch::{DEVICES, Place, SERVER};

/// The server's other ports begin here.
const ANSWERS: u16 = 40_001;

pub(super) fn answers(bench: &Bench<'_>) -> Seen {
    let (scratch, _) = bench.lay(&bench.passthrough)?;
    let port = bench.passthrough.l2tp.ports.iter().next().map_or(1701, |port| port.number());
    let server = scratch.udp(Place::Internet, SERVER, port)?;
    let mut open = Vec::new();
    for ((device, address), other) in DEVICES.into_iter().enumerate().zip(ANSWERS..) {
        let number = device + 1;
        let client = scratch.udp(Place::Home, address, 1701)?;
        let answering = scratch.udp(Place::Internet, SERVER, other)?;
        // A device that hears nothing calls again; from then on the rules know it (see POLICY.md).
        let mut caller = None;
        for name in [format!("call {device}"), format!("call again {device}")] {
            let _ = client.send_to(&payload(&name), (SERVER, port));
            caller = sender(&server, &name, SOON);
        }
        let Some(caller) = caller else {
            return fails(format!("Device {number} called UDP port {port}; the server saw nothing of it."));
        };
        open.push((number, client, answering, other, caller));
    }
    // All have called before the first is answered: what was learnt of one must not be taken for another's.
    for (number, client, answering, other, caller) in &open {
        let name = format!("answer {number}");
        let _ = answering.send_to(&payload(&name), caller);
        let Some(from) = sender(client, &name, SOON) else {
            return fails(format!(
                "The server answered device {number} from port {other}; it did not arrive there."
            ));
        };
        let name = format!("more of {number}");
        let _ = client.send_to(&payload(&name), from);
        if sender(answering, &name, SOON).is_none() {
            return fails(format!(
                "Device {number} went on with the server\u{2019}s port {other}; it did not arrive."
            ));
        }
    }
    Ok(format!(
        "Two devices called one server at port {port}; it answered from ports {ANSWERS} and {}, and each got its own.",
        ANSWERS + 1
    ))
}
