//! What the server sends goes to another device, because a port forward (or the DMZ) of the owner leads it there.
//!
//! A forward never takes what conntrack knows as an answer. It takes what the server begins: L2TP from another port than the one
//! called, whose first packet comes before the rules can know whose it is, and ESP that comes before the client has sent
//! any, or from a peer of the home's own VPN server. From then on that conversation is the other device's.

use std::net::IpAddr;

use super::{ESP, UDP, counted, name, says, step};
use crate::diagnosis::{Action, Case, Cause, Diagnosis, Forwarded, Party};
use crate::sessions::{Kind, Part, Session};

/// The start of a session is told in whole seconds.
const ROUNDED: i64 = 1;

/// Names the forward instead, if it explains what was `said` of this session.
pub(super) fn weighed(said: Diagnosis, one: &Session, case: &Case<'_>) -> Diagnosis {
    let protocol = match (said.cause, one.kind) {
        (Cause::L2tpSilent, Kind::L2tp) => UDP,
        (Cause::EspUnanswered | Cause::NoTunnel | Cause::DoubleNat, kind)
            if kind.passthrough() == Some("ipsec") =>
        {
            ESP
        }
        _ => return said,
    };
    let others = case
        .sessions
        .iter()
        .filter(|other| other.server == one.server && other.device.address != one.device.address);
    let found = others.flat_map(|other| other.parts.iter().map(move |part| (other, part))).find_map(
        |(other, part)| {
            let begun = part.protocol == protocol && !part.from_device;
            // A conversation of UDP that was there before the call is no answer to it.
            let fits = protocol == ESP || part.since >= one.since.map(|since| since - ROUNDED);
            let forward = forward(case, protocol, one, other.device.address).filter(|_| begun && fits)?;
            Some((forward, other, part))
        },
    );
    found.map_or(said, |(forward, other, part)| taken(one, forward, other, part))
}

fn forward<'a>(case: &Case<'a>, protocol: u8, one: &Session, to: IpAddr) -> Option<&'a Forwarded> {
    let inside = |(first, last): (u16, u16)| {
        one.parts.iter().any(|part| part.protocol == UDP && (first..=last).contains(&part.server_port))
    };
    case.forwards
        .iter()
        .find(|led| led.protocol == protocol && IpAddr::V4(led.to) == to && led.ports.is_none_or(inside))
}

fn taken(one: &Session, forward: &Forwarded, other: &Session, part: &Part) -> Diagnosis {
    let (who, server, gets) = (one.device.address, one.server, other.device.address);
    let what = if part.protocol == ESP { "ESP (protocol 50)" } else { "UDP from another port" };
    let (leads, remedy) = match &forward.name {
        Some(name) => (
            format!("the port forward \u{201c}{name}\u{201d}"),
            format!(
                "Switch the port forward \u{201c}{name}\u{201d} off while {who} uses this VPN, then dial again."
            ),
        ),
        None => (
            "the DMZ".to_owned(),
            format!("End the DMZ (firewall.dmz), at least while {who} uses this VPN, then dial again."),
        ),
    };
    let nat_t = if part.protocol == ESP {
        " Or switch NAT traversal on in the VPN program: it goes beside a forward."
    } else {
        ""
    };
    let mut said = says(
        Cause::ForwardTakes,
        "A port forward takes the server\u{2019}s packets",
        &format!(
            "{server} sends {what} to this router, and {leads} leads that to {gets}. {who} has called {server} and waits for it."
        ),
        &format!("{remedy}{nat_t}"),
    )
    .with(one.parts.iter().map(|part| step(Party::Device, Party::Server, name(part), true)))
    .with([
        step(
            Party::Server,
            Party::Router,
            format!("{}{}", if part.protocol == ESP { "ESP" } else { "UDP" }, counted(part.traffic.map(|t| t.packets_received))),
            true,
        ),
        step(Party::Router, Party::Device, format!("led to {gets} instead"), false),
    ]);
    said.action = Some(Action::SeeForward { name: forward.name.clone() });
    said
}
