//! Kernel settings of a router. All of them are per network namespace.

use crate::settings::names::Spi;
use crate::settings::{Role, Settings};

/// In the order in which they are written: forwarding comes last, when everything else stands.
///
/// A kernel without GRE tracking or without IPv6 lacks some of these paths.
const ROUTER: &[(&str, &str)] = &[
    // Byte counters and age of every session.
    ("net/netfilter/nf_conntrack_acct", "1"),
    ("net/netfilter/nf_conntrack_timestamp", "1"),
    // A PPTP call that idles longer than this is dead for good: the next GRE packet makes a conntrack entry without
    // the helper's Call ID translation. The kernel's own 30 s and 180 s are shorter than people's pauses.
    ("net/netfilter/nf_conntrack_gre_timeout", "600"),
    ("net/netfilter/nf_conntrack_gre_timeout_stream", "18000"),
    // ESP, AH and L2TPv3 have no timer of their own. As long as the rules remember an idle tunnel's SPIs (an hour), its entry
    // must live, or the server could not speak first. Kernel: 600 s.
    ("net/netfilter/nf_conntrack_generic_timeout", "3600"),
    // RFC 4787 REQ-5: a UDP mapping lives at least 2 minutes, 5 recommended. Kernel: 30 s and 120 s.
    ("net/netfilter/nf_conntrack_udp_timeout", "120"),
    ("net/netfilter/nf_conntrack_udp_timeout_stream", "300"),
    // RFC 5508 REQ-2: an ICMP query mapping lives at least 60 s. Kernel: 30 s.
    ("net/netfilter/nf_conntrack_icmp_timeout", "60"),
    ("net/netfilter/nf_conntrack_icmpv6_timeout", "60"),
    // RFC 5382 REQ-5: a connection half open or closing lives at least 4 minutes. Kernel: 10 to 120 s. The state
    // after a reset (`close`, 10 s) stays: the kernel checks a reset's sequence number first (RFC 7857 section 7).
    ("net/netfilter/nf_conntrack_tcp_timeout_syn_sent", "240"),
    ("net/netfilter/nf_conntrack_tcp_timeout_syn_recv", "240"),
    ("net/netfilter/nf_conntrack_tcp_timeout_fin_wait", "240"),
    ("net/netfilter/nf_conntrack_tcp_timeout_close_wait", "240"),
    ("net/netfilter/nf_conntrack_tcp_timeout_last_ack", "240"),
    ("net/netfilter/nf_conntrack_tcp_timeout_time_wait", "240"),
    // The same REQ-5: an open connection lives at least 2 hours 4 minutes. A day keeps an idle SSH session over
    // night; the kernel's five days let dead ones fill the table.
    ("net/netfilter/nf_conntrack_tcp_timeout_established", "86400"),
    // No conversation is told of unless its rule asks for it (`ct event set`, see `passthrough/pptp.rs`): otherwise whoever
    // listens, and that is we, would be woken by every connection of the home.
    ("net/netfilter/nf_conntrack_events", "0"),
    ("net/ipv6/conf/all/forwarding", "1"),
    ("net/ipv4/ip_forward", "1"),
];

/// What passthrough needs of a box whose kernel settings are somebody else's: counters, age, and the timers of tunnels, all of which
/// only raise what the kernel has by itself. Forwarding, events and everything about TCP stay as they are.
const COMPANION: &[&str] = &[
    "net/netfilter/nf_conntrack_acct",
    "net/netfilter/nf_conntrack_timestamp",
    "net/netfilter/nf_conntrack_gre_timeout",
    "net/netfilter/nf_conntrack_gre_timeout_stream",
    "net/netfilter/nf_conntrack_generic_timeout",
    "net/netfilter/nf_conntrack_udp_timeout",
    "net/netfilter/nf_conntrack_udp_timeout_stream",
];

/// Else a kernel with br_netfilter hands what goes from one port of the home to another to our rules, which do not know that
/// way. One value for all bridges: a single one's own (`nf_call_iptables`) only adds to it (`br_nf_pre_routing`).
const BRIDGE: &[(&str, &str)] = &[
    ("net/bridge/bridge-nf-call-iptables", "0"),
    ("net/bridge/bridge-nf-call-ip6tables", "0"),
    ("net/bridge/bridge-nf-call-arptables", "0"),
];

/// The kernel inspects connections, as it does by itself.
pub const INSPECTING: [(&str, &str); 2] =
    [("net/netfilter/nf_conntrack_tcp_be_liberal", "0"), ("net/netfilter/nf_conntrack_checksum", "1")];
const NOT_INSPECTING: [(&str, &str); 2] =
    [("net/netfilter/nf_conntrack_tcp_be_liberal", "1"), ("net/netfilter/nf_conntrack_checksum", "0")];

/// Paths below `/proc/sys` with their values, in the order in which to write them. Empty without a role.
pub fn sysctls(settings: &Settings) -> Vec<(String, String)> {
    if settings.role == Role::Companion {
        let ours = ROUTER.iter().filter(|(path, _)| COMPANION.contains(path));
        return ours.map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
    }
    let router = settings.role == Role::Router;
    let bridge = router && settings.local_network.devices.len() > 1;
    // Inspection: a TCP packet outside the window of its connection, or with a wrong checksum, is invalid, and so dropped (RFC 5961
    // tells why). Off, it belongs to its connection and is translated; what belongs to none is invalid as ever.
    let inspection = if settings.firewall.spi == Spi::On { &INSPECTING } else { &NOT_INSPECTING };
    let inspection = if router { &inspection[..] } else { &[] };
    // Router advertisements of the provider, though this box forwards: 2, or none (0): `accept_ra`, ip-sysctl.rst. Before
    // forwarding begins, which drops the routes that came by one where it is not 2 (`__rt6_purge_dflt_routers`, route.c).
    let port = settings.internet.device.as_ref().filter(|_| router);
    let accept = if settings.internet.ipv6_device().is_some() { "2" } else { "0" };
    let advertised = port.map(|port| (format!("net/ipv6/conf/{port}/accept_ra"), accept.to_owned()));
    let (bridge, wanted) = (if bridge { BRIDGE } else { &[] }, if router { ROUTER } else { &[] });
    let fixed = bridge.iter().chain(inspection).chain(wanted);
    let fixed = fixed.map(|(path, value)| ((*path).to_owned(), (*value).to_owned()));
    advertised.into_iter().chain(fixed).collect()
}
