//! Who may use passthrough: `passthrough.devices`.
//!
//! One set holds the devices that may, a thousand at the price of one, and it is anonymous: it comes and goes with its rule.
//! The elements of a named set that a swap empties and fills again are gone for the packet that is being looked up, and a
//! device that may would be refused.
//!
//! Only what the home sends tells its device (the hardware address). What the internet sends needs no check: nothing that it
//! answers gets out, and the daemon deletes what was open (see `withdrawn.rs` of the appliance).

use super::{DIRECTIONS, Fate, Part, ipsec, l2tp, towards};
use crate::ruleset::attempts::Vpn;
use crate::ruleset::table::{Chain, Table};
use crate::settings::Settings;
use crate::settings::names::Mac;
use crate::settings::passthrough::Allowed;

/// The elements of a set of hardware addresses, as nft writes them.
pub(super) fn set_of(devices: &[Mac]) -> String {
    devices.iter().map(Mac::to_string).collect::<Vec<_>>().join(", ")
}

/// First of the packets from the home, and so before any conversation is known. A protocol that is off is not dispatched here:
/// it is refused to everybody, and the reason is that.
pub(super) fn rules(table: &mut Table, settings: &Settings, parts: &[Part], many_clients: bool) {
    let Allowed::Only(devices) = &settings.passthrough.devices else { return };
    let why = "not one of passthrough.devices: refused, if it is VPN passthrough";
    let denied = Chain::PassthroughDenied;
    table.rule(Chain::PassthroughOut, format!("ether saddr != {{ {} }} jump {denied}", set_of(devices)), why);
    let on: Vec<&Part> = parts.iter().filter(|part| matches!(part.fate, Fate::Passed(_))).collect();
    let all_on = |vpn: Vpn| on.iter().any(|part| part.switch.vpn() == vpn);
    if all_on(Vpn::Ipsec) && many_clients {
        table.rule(denied, format!("ct zone != 0 goto {}", Chain::IpsecDenied), "only IPsec has zones");
    }
    if all_on(Vpn::L2tp) {
        l2tp::dispatch_moved_to(table, denied, Chain::L2tpDenied);
    }
    let (direction, port) = DIRECTIONS[0];
    towards(table, denied, on.iter().copied(), direction, port, |part| chains(part.switch.vpn()));
    if all_on(Vpn::Ipsec) {
        ipsec::authentication_header_to(table, denied, Chain::IpsecDenied);
        ipsec::dispatch_let_in_answers(table, denied, Chain::IpsecDenied);
    }
    for vpn in Vpn::ALL.into_iter().filter(|vpn| all_on(*vpn)) {
        table.learnt(&[vpn.denied()]);
        let refused = vpn.refused();
        table.rule(chains(vpn), vpn.counts(vpn.denied()), "who tries what it may not use");
        table.rule(chains(vpn), format!("{refused} goto {}", Chain::Refused), "this device may not use it");
    }
}

fn chains(vpn: Vpn) -> Chain {
    match vpn {
        Vpn::Pptp => Chain::PptpDenied,
        Vpn::L2tp => Chain::L2tpDenied,
        Vpn::Ipsec => Chain::IpsecDenied,
    }
}

/// Whether some device that could use passthrough before cannot any more.
pub fn withdrawn(before: &Settings, after: &Settings) -> bool {
    match (&before.passthrough.devices, &after.passthrough.devices) {
        (_, Allowed::Everyone) => false,
        (Allowed::Everyone, Allowed::Only(_)) => true,
        (Allowed::Only(before), Allowed::Only(after)) => before.iter().any(|device| !after.contains(device)),
    }
}
