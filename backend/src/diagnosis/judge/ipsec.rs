//! IPsec: keys at UDP 500, then ESP, alone or in UDP 4500; or AH.

use super::another::silenced;
use super::{PATIENCE, UDP, both, early, name, no_way_back, says, step, works};
use crate::diagnosis::{Case, Cause, Diagnosis, Party};
use crate::sessions::{Part, Session, State};

/// How long keys may be agreed on before a tunnel is missed, in seconds.
const TUNNEL: i64 = 15;
const ESP: u8 = 50;
const AH: u8 = 51;

pub(super) fn ipsec(one: &Session, case: &Case<'_>, age: i64) -> Diagnosis {
    let (who, server) = (one.device.address, one.server);
    let part = |protocol, port: Option<u16>| {
        one.parts
            .iter()
            .find(|part| part.protocol == protocol && port.is_none_or(|port| port == part.server_port))
    };
    let (ike, nat_t) = (part(UDP, Some(500)), part(UDP, Some(4500)));
    let (esp, ah) = (part(ESP, None), part(AH, None));
    let asked = |part: &Part| step(Party::Device, Party::Server, name(part), true);
    let ike_answered = ike.is_some_and(|part| part.answered);
    let keys = || ike.into_iter().flat_map(both);
    if one.state == State::Waiting {
        return says(
            Cause::Waiting,
            "Another device is being paired with the same server",
            &format!("{who} uses plain ESP with {server}, and so does another device. ESP does not say whose a tunnel is, so Postern pairs one after the other."),
            "Wait: it is this device\u{2019}s turn within seconds. With NAT traversal on in the VPN program there is no waiting.",
        )
        .with(keys())
        .with([step(Party::Device, Party::Router, "ESP, held back".into(), true), step(Party::Router, Party::Server, "not yet".into(), false)]);
    }
    if let Some(said) = nat_t.and_then(|part| silenced(one, part, case)) {
        return said;
    }
    if [nat_t, esp].into_iter().flatten().any(|part| part.answered) {
        return works(one);
    }
    if let Some(ah) = ah.filter(|_| who.is_ipv4()) {
        return says(
            Cause::AhUsed,
            "AH cannot cross this router",
            &format!("{who} sends AH (protocol 51) to {server}. AH protects the addresses, and every NAT has to change them: the server must reject it."),
            "Use ESP, best with NAT traversal, in the VPN program. No router with NAT can do otherwise; over IPv6 AH works.",
        )
        .with(keys())
        .with([asked(ah), step(Party::Server, Party::Device, "no AH that is valid".into(), false)]);
    }
    if age < PATIENCE {
        return early(one);
    }
    if let Some(nat_t) = nat_t {
        let no_answer = step(Party::Server, Party::Router, "no answer".into(), false);
        if !ike_answered && ike.is_some() {
            return ike_silent(one, age).with(ike.map(asked)).with([asked(nat_t), no_answer]);
        }
        return says(
            Cause::NatTSilent,
            "The server does not answer at UDP 4500",
            &format!("{who} agrees on keys with {server}, and goes on at UDP 4500 (NAT traversal), where nothing comes back."),
            "A firewall before the server, or the provider, drops UDP 4500: ask the server\u{2019}s owner to open UDP 500 and 4500. Or the \
             first packet there, which carries a certificate, is too big for the way: measuring it tells.",
        )
        .with(keys())
        .with([asked(nat_t), no_answer]);
    }
    if let Some(esp) = esp {
        return no_way_back(one, case, Cause::EspUnanswered, "ESP (protocol 50)", esp.traffic)
            .with(keys())
            .with([asked(esp), step(Party::Server, Party::Router, "no ESP".into(), false)]);
    }
    if !ike_answered {
        return ike_silent(one, age).with(ike.map(asked)).with([step(
            Party::Server,
            Party::Router,
            "no answer".into(),
            false,
        )]);
    }
    if age < TUNNEL {
        return early(one);
    }
    says(
        Cause::NoTunnel,
        "Keys are agreed on, but no tunnel follows",
        &format!("{who} and {server} talk at UDP 500, both ways, and then neither ESP nor UDP 4500 has been seen."),
        "The two do not agree: a wrong password or certificate, or methods that the other does not know. The VPN program\u{2019}s own log says which.",
    )
    .with(keys())
    .with([step(Party::Device, Party::Server, "no ESP, no UDP 4500".into(), false)])
}

fn ike_silent(one: &Session, age: i64) -> Diagnosis {
    says(
        Cause::IkeSilent,
        "The server does not answer at UDP 500",
        &format!(
            "{} asks {} for keys (IKE); for {age} s nothing has come back.",
            one.device.address, one.server
        ),
        "The address may be wrong, the server down, or a firewall on the way drops UDP 500. Ask the server\u{2019}s owner.",
    )
}
