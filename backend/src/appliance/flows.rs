//! Whose flows are whose, and which are open.

use std::net::IpAddr;

use crate::kernel::{Flow, SeenLink};
use crate::settings::Settings;

/// IP protocol number of TCP.
pub(super) const TCP: u8 = 6;
/// IP protocol number of UDP.
pub(super) const UDP: u8 = 17;
/// TCP_CONNTRACK_ESTABLISHED of nf_conntrack_tcp.h.
const ESTABLISHED: u8 = 3;

/// An open PPTP control connection that the helper does not watch: it began before the helper was attached, and the
/// kernel attaches one only to a flow's first packet.
/// The helper knows IPv4 only, and over IPv6 there is no NAT that would need it.
pub(super) fn without_helper(flow: &Flow) -> bool {
    is_open(flow) && flow.protocol == TCP && flow.client.is_ipv4() && flow.helper.is_none()
}

/// Both sides have spoken, and a TCP connection has not begun to close.
pub(super) fn is_open(flow: &Flow) -> bool {
    flow.answered && flow.tcp_state.is_none_or(|state| state == ESTABLISHED)
}

/// Whether a device of the local network began this flow: not the router itself, and not the internet.
pub(super) fn from_the_home(flow: &Flow, settings: &Settings, links: &[SeenLink]) -> bool {
    is_device(flow.client, settings, links)
}

/// Whether a device of the local network has this address: not the router itself.
pub(super) fn is_device(address: IpAddr, settings: &Settings, links: &[SeenLink]) -> bool {
    let ours = links.iter().flat_map(|link| &link.addresses).any(|(own, _)| *own == address);
    let inside = match address {
        IpAddr::V4(address) => settings.local_network.address.contains(address),
        // IPv6 prefixes are not ours to know yet: what is on-link at the LAN device is inside.
        IpAddr::V6(address) => lan_link(settings, links).is_some_and(|lan| {
            lan.addresses.iter().any(|(own, prefix)| match own {
                IpAddr::V6(own) => same_prefix(own.to_bits(), address.to_bits(), *prefix),
                IpAddr::V4(_) => false,
            })
        }),
    };
    inside && !ours
}

fn same_prefix(a: u128, b: u128, prefix: u8) -> bool {
    (a ^ b).checked_shr(128 - u32::from(prefix.min(128))).unwrap_or(0) == 0
}

/// The device of the local network, as seen.
pub(super) fn lan_link<'a>(settings: &Settings, links: &'a [SeenLink]) -> Option<&'a SeenLink> {
    let device = settings.local_network.device()?;
    links.iter().find(|link| link.name == device.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_compared_bit_by_bit() {
        let bits = |s: &str| s.parse::<std::net::Ipv6Addr>().unwrap().to_bits();
        assert!(same_prefix(bits("2001:db8:1::1"), bits("2001:db8:1::9"), 64));
        assert!(!same_prefix(bits("2001:db8:1::1"), bits("2001:db8:2::9"), 64));
        assert!(same_prefix(bits("::1"), bits("ffff::"), 0));
        assert!(!same_prefix(bits("::1"), bits("::2"), 128));
    }
}
