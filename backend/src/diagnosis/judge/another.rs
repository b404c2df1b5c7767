//! One device falls silent when another begins with the same server: two L2TP/IPsec clients behind one NAT.
//!
//! Both tunnels are between the same two addresses for the server. In transport mode, which L2TP/IPsec uses, it must find out by other
//! means whose an answer is (RFC 3948 section 5.2), and many servers do not: the newer client gets all. What happens is inside the
//! encryption; that the answers of one stop when the other begins is seen from outside.

use super::{name, says, step};
use crate::diagnosis::{Case, Cause, Diagnosis, Party};
use crate::sessions::{Part, Session};

/// Until the newer one has agreed on keys and opened its tunnel.
const OPENING: u64 = 15_000;
/// The start of a session is told in whole seconds.
const ROUNDED: u64 = 2_000;
/// Looks in a row without an answer, each of nine seconds at least.
const LOOKS: usize = 2;
/// Bytes sent meanwhile. Keepalives that no server answers (RFC 3948 section 4) are 29 bytes every 20 s, and no reason to
/// expect anything.
const ASKED: u64 = 1_000;

/// That `one` was answered before another device began with its server, and not once after, though it asks.
pub(super) fn silenced(one: &Session, nat_t: &Part, case: &Case<'_>) -> Option<Diagnosis> {
    let other = case.sessions.iter().find(|other| silences(other, one, case.now))?;
    let (who, server, newer) = (one.device.address, one.server, other.device.address);
    Some(
        says(
            Cause::TwoClients,
            "It fell silent when another device began with the same server",
            &format!(
                "{who} was answered by {server} until {newer} opened a tunnel to it as well. Since then {who} sends and nothing comes \
                 back, while {newer} is answered."
            ),
            "Two L2TP/IPsec clients behind one address are more than many servers can tell apart (Windows\u{2019} among them): that is the \
             server\u{2019}s limit, and no router can mend it. Use IKEv2, OpenVPN or WireGuard on one of the two, or one at a time.",
        )
        .with([
            step(Party::Device, Party::Server, name(nat_t), true),
            step(Party::Server, Party::Router, format!("no answer since {newer} began"), false),
        ]),
    )
}

fn silences(other: &Session, one: &Session, now: i64) -> bool {
    let answered = |part: &Part| part.server_port == 4500 && part.answered;
    let same = other.server == one.server && other.device.address != one.device.address;
    let (Some(began), Some(before)) = (other.since, one.since) else { return false };
    if !(same && before < began && other.parts.iter().any(answered)) {
        return false;
    }
    let began = u64::try_from(now.saturating_sub(began)).unwrap_or_default().saturating_mul(1000);
    // The newest that was over before the other began.
    let alive = one.samples.iter().rfind(|sample| sample.age_ms >= began.saturating_add(ROUNDED));
    let since: Vec<_> = one
        .samples
        .iter()
        .filter(|sample| sample.age_ms.saturating_add(sample.over_ms).saturating_add(OPENING) <= began)
        .collect();
    alive.is_some_and(|sample| sample.received > 0)
        && since.len() >= LOOKS
        && since.iter().all(|sample| sample.received == 0)
        && since.iter().map(|sample| sample.sent).sum::<u64>() >= ASKED
}
