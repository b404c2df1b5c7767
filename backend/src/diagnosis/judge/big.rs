//! What is small arrives and what is big does not: a way that carries less than is sent, and says so to nobody.

use super::{says, step};
use crate::diagnosis::{Action, Carries, Case, Cause, Diagnosis, Measured, Party};
use crate::sessions::{Kind, Session};

/// What IPv6 needs (RFC 8200 section 5). Ways of the IPv4 internet that carry less are rare; servers that ignore larger pings are not.
const PLAUSIBLE: u32 = 1280;

/// Puts in what was measured of the way to the server, if somebody has asked. Only a tunnel that goes both ways, or stops after
/// the keys, can suffer from this: a server that is silent to small packets has another trouble. Behind our NAT a client goes on at
/// UDP 4500 with its certificate, which is big: that nothing comes back there may be its size.
pub(super) fn weighed(mut said: Diagnosis, one: &Session, case: &Case<'_>) -> Diagnosis {
    if !matches!(said.cause, Cause::Works | Cause::NoTunnel | Cause::NatTSilent) || !one.server.is_ipv4() {
        return said;
    }
    let measured = case.measured.iter().find(|measured| measured.server == one.server);
    if let Some(measured) = measured {
        match measured.carries {
            Carries::Lost { largest, cut_arrives } if cut_arrives || largest >= PLAUSIBLE => {
                said = lost(one, measured, largest, cut_arrives);
            }
            _ => {
                said.explanation += " ";
                said.explanation += &no_cause(measured);
            }
        }
    }
    said.can_measure = true;
    said
}

/// What was measured, and names nothing.
fn no_cause(measured: &Measured) -> String {
    let Measured { server, ago, sends, .. } = measured;
    match measured.carries {
        Carries::All => format!(
            "Measured {ago} s ago: packets of up to {sends} bytes arrive, as big as this box sends them."
        ),
        Carries::Told { largest, by } => format!(
            "Measured {ago} s ago: the way carries {largest} bytes, and {by} says so to whoever sends more, as it should."
        ),
        Carries::Unknown => format!(
            "Whether big packets are lost could not be measured {ago} s ago: {server} does not answer to pings, or not reliably."
        ),
        Carries::Lost { largest, .. } => format!(
            "Measured {ago} s ago: pings of more than {largest} bytes are not answered, even where they may be cut; {server} may simply \
             ignore those."
        ),
    }
}

fn lost(one: &Session, measured: &Measured, largest: u32, cut_arrives: bool) -> Diagnosis {
    let Measured { server, ago, sends, .. } = measured;
    let certain = match cut_arrives {
        true => "Where a packet may be cut in pieces it arrives, so it is the size alone.",
        false => {
            "Nor do they arrive when they may be cut; less likely than a narrow way, the server ignores large pings."
        }
    };
    let inside = largest.saturating_sub(overhead(one.kind));
    let program = format!(
        "MTU {inside} (TCP: MSS {}) in the VPN program (if that is set already, nothing is wrong)",
        inside.saturating_sub(40) // IPv4 and TCP without options
    );
    let mut said = says(
        Cause::BigPacketsLost,
        "Big packets are lost on the way to the server",
        &format!(
            "Measured {ago} s ago: pings of up to {largest} bytes are answered by {server}, larger ones vanish, and nobody says why. This box \
             sends up to {sends}. {certain} So a tunnel comes up and small things work, while large transfers hang."
        ),
        &match largest >= PLAUSIBLE {
            true => format!(
                "Set {program} on the device: then both ends of the tunnel send what fits. If web pages and other servers hang too, set the \
                 largest packet (internet.mtu) to {largest}: then this router tells every device, and TCP both ways."
            ),
            false => format!("Set {program} on the device. Less than {PLAUSIBLE} bytes for the whole port would end IPv6."),
        },
    )
    .with([
        step(Party::Router, Party::Server, format!("ping of {largest} bytes"), true),
        step(Party::Server, Party::Router, "answered".into(), true),
        step(Party::Router, Party::Server, format!("ping of {} to {sends} bytes", largest + 1), false),
    ]);
    said.action = (largest >= PLAUSIBLE).then_some(Action::SetMtu { bytes: largest });
    said
}

/// What a tunnel over IPv4 puts around a packet, at most, in bytes. With its 20 of IPv4 each:
/// GRE 16 and PPP 4, MPPE 4 (RFC 2637 section 4.1, RFC 3078); UDP 8, L2TP 16 and PPP 4 (RFC 2661 section 3.1);
/// ESP 8, IV 16, padding and trailer 17, ICV 32, UDP 8 (RFC 4303 section 2, RFC 3948), and L2TP in it;
/// UDP 8 and WireGuard 32; OpenVPN over TCP 22, with opcode, packet number, IV, padding and HMAC 70.
fn overhead(kind: Kind) -> u32 {
    match kind {
        Kind::Pptp | Kind::Gre => 44,
        Kind::L2tp | Kind::L2tpv3 => 48,
        Kind::Wireguard => 60,
        Kind::Ike | Kind::IpsecNatT | Kind::IpsecEsp | Kind::IpsecAh => 101,
        Kind::Openvpn => 112,
        Kind::L2tpIpsec => 129,
    }
}
