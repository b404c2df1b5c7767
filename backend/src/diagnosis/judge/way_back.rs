//! The tunnel leaves, and nothing comes back: what can be told of who drops it.

use super::says;
use crate::diagnosis::{Case, Cause, Diagnosis, Internet};
use crate::services::BehindNat;
use crate::sessions::{Session, Traffic};

/// The tunnel itself leaves, and nothing comes back: somebody beyond this box drops it.
pub(super) fn no_way_back(
    one: &Session,
    case: &Case<'_>,
    cause: Cause,
    what: &str,
    sent: Option<Traffic>,
) -> Diagnosis {
    let (who, server) = (one.device.address, one.server);
    let many = sent.map_or_else(|| "packets".to_owned(), |t| format!("{} packets", t.packets_sent));
    let seen = format!("{who} reached {server} and has sent {many} of {what}; none came back.");
    if let Internet::Up(address) = case.internet
        && let Some(behind) = BehindNat::of(address)
    {
        let kind = match behind {
            BehindNat::AnotherRouter => "a private one (RFC 1918)",
            BehindNat::Carrier => "one that providers share among many homes (RFC 6598)",
        };
        return says(
            Cause::DoubleNat,
            "Another router translates before this one, and does not let the tunnel back in",
            &format!(
                "{seen} This box\u{2019}s own internet address is {address}, {kind}: a second router stands between it and the internet."
            ),
            "Make the other router a bridge (modem mode), or switch its VPN passthrough on. If it is the provider\u{2019}s, ask for an \
             address of your own, or use a VPN that works through it: IPsec with NAT traversal, OpenVPN or WireGuard.",
        );
    }
    match cause {
        Cause::EspUnanswered => says(
            cause,
            "The server\u{2019}s ESP packets do not arrive",
            &seen,
            "The provider or the server\u{2019}s network blocks ESP (protocol 50), or the server wants NAT traversal: switch that on in the \
             VPN program (UDP 4500), it goes through nearly everywhere.",
        ),
        _ => says(
            cause,
            "The server\u{2019}s GRE packets do not arrive",
            &seen,
            "Your internet provider or the server\u{2019}s network blocks GRE (protocol 47). Ask for another kind of VPN on that server.",
        ),
    }
}
