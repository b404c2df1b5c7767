//! PPTP: a control connection, and GRE both ways.

use super::{PATIENCE, TCP, counted, early, name, no_way_back, says, step, sum, works};
use crate::diagnosis::{Action, Case, Cause, Diagnosis, Party};
use crate::sessions::{Part, Session, State};

const GRE: u8 = 47;

pub(super) fn pptp(one: &Session, case: &Case<'_>, age: i64) -> Diagnosis {
    let Some(control) = one.parts.iter().find(|part| part.protocol == TCP) else { return early(one) };
    let port = control.server_port;
    let sent = step(Party::Device, Party::Server, name(control), true);
    let (who, server) = (one.device.address, one.server);
    if one.state == State::MustRedial {
        let mut said = says(
            Cause::MustRedial,
            "The call was open before PPTP was switched on",
            "The kernel attaches its helper only to the first packet of a call, so this one has none, and its GRE finds no way back.",
            "Hang up and dial again; the button here ends the call.",
        );
        said.action = one.can_end.then(|| Action::EndSession { id: one.id.clone() });
        said.steps = vec![sent, step(Party::Server, Party::Router, "GRE has no way in".into(), false)];
        return said;
    }
    if one.state == State::Calling {
        if age < PATIENCE {
            return early(one);
        }
        return says(
            Cause::ServerSilent,
            &format!("The server does not answer at TCP {port}"),
            &format!("{who} calls {server} at TCP {port}; for {age} s nothing has come back, not even a refusal."),
            "The address may be wrong, the server down, or a firewall on the way drops TCP 1723 in silence. Ask the server\u{2019}s owner.",
        )
        .with([sent, step(Party::Server, Party::Device, "no answer".into(), false)]);
    }
    let opened = [sent, step(Party::Server, Party::Device, "answered".into(), true)];
    let gre: Vec<&Part> = one.parts.iter().filter(|part| part.protocol == GRE).collect();
    let out = gre.iter().any(|part| part.from_device || part.answered);
    let back = gre.iter().any(|part| !part.from_device || part.answered);
    let packets = sum(&gre);
    match (out, back) {
        (true, true) => works(one),
        _ if age < PATIENCE => early(one),
        (false, _) => says(
            Cause::GreNotSent,
            "The device sends no GRE",
            &format!("The control connection of {who} with {server} is open, but the device has sent no packet of the tunnel itself (GRE, protocol 47)."),
            "A firewall or security program on the device blocks GRE, or another router stands between it and this one. Check there.",
        )
        .with(opened)
        .with(back.then(|| step(Party::Server, Party::Device, format!("GRE{}", counted(packets.map(|t| t.packets_received))), true)))
        .with([step(Party::Device, Party::Router, "no GRE".into(), false)]),
        (true, false) => no_way_back(one, case, Cause::GreUnanswered, "GRE (protocol 47)", packets)
            .with(opened)
            .with([
                step(Party::Device, Party::Server, format!("GRE{}", counted(packets.map(|t| t.packets_sent))), true),
                step(Party::Server, Party::Router, "no GRE".into(), false),
            ]),
    }
}
