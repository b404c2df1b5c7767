//! Which zone a packet belongs to, before conntrack looks it up; and where to a server may speak first.

use std::net::Ipv4Addr;

use crate::ruleset::Sides;
use crate::ruleset::learnt::Learnt;
use crate::ruleset::table::{Chain, Counter, Table};

/// Server and initiator cookie in a packet from the server, and as an ICMP error quotes a packet to it (8 bytes of ICMP,
/// 20 of an IPv4 header without options, then UDP or ESP).
const COOKIE_BACK: &str = "@nh,96,32 . @th,64,64";
const COOKIE_QUOTED: &str = "@th,192,32 . @th,288,64";
/// Server and SPI as an ICMP error quotes them.
const SPI_QUOTED: &str = "@th,192,32 . @th,224,32";
/// Protocol and ports of the quoted packet.
const QUOTED_PROTOCOL: &str = "@th,136,8";
const QUOTED_SOURCE_PORT: &str = "@th,224,16";
const QUOTED_PORT: &str = "@th,240,16";
/// The low 16 bits of the source address (`ct zone set ip saddr` does not type-check).
const ZONE_OF_SOURCE: &str = "@nh,112,16";
/// ICMP errors about a packet: destination unreachable (fragmentation needed is one), time exceeded, parameter problem.
const ERRORS: &str = "icmp type { 3, 11, 12 }";

/// Device and server.
const ELSEWHERE_KEY: &str = "ip saddr . ip daddr";

/// Beside another firewall that sends by rules (`ip rule`, marks set after this hook), the route is not the whole truth: what
/// was given a zone and would then leave by another port has none from its next packet on.
const ELSEWHERE: Learnt =
    Learnt::set("ipsec_elsewhere", ELSEWHERE_KEY, "1h", "device and server: not by the internet side")
        .sized(1024);

/// What begins a conversation of a zone of ours: ESP and IKE. (An ICMP error has the zone of what it is about.)
const ZONED: [&str; 2] =
    ["meta nfproto ipv4 meta l4proto 50", "meta nfproto ipv4 udp sport 500 udp dport 500"];

/// Learns what would leave by another port than its route says, or forgets it where nothing has a zone. Before anybody else's rules in
/// `forward`.
///
/// That packet is dropped, and sent again: an answer to it would find no entry outside of its zone and become one of this box itself,
/// which then stands in the way of the device's (ESP has no ports to tell them apart). Once for each pair, and only of what
/// [`rules`] gives a zone: the owner's own rules may have zones too, and what they put there is theirs.
pub(in crate::ruleset) fn by_another_way(table: &mut Table, sides: &Sides, learns: bool) {
    if !learns {
        return table.forgotten(&[ELSEWHERE]);
    }
    table.learnt(&[ELSEWHERE]);
    let Sides { local, internet, prefix, .. } = sides;
    let other_port = format!("iifname \"{local}\" oifname != \"{internet}\" ip saddr {prefix}");
    let name = ELSEWHERE.name;
    for zoned in ZONED {
        let once =
            format!("{other_port} {zoned} ct zone != 0 ct direction original {ELSEWHERE_KEY} != @{name}");
        table.rule(
            Chain::CompanionBefore,
            format!("{once} update @{name} {{ {ELSEWHERE_KEY} }} {} drop", Counter::IpsecWaiting),
            "its answers come back by another port: sent again, and without a zone",
        );
    }
}

/// Beside another firewall: devices of other local networks (guests) have no zone, and are together one more client of each of their
/// servers. So what comes from such a server is told apart from what is the home's by the same cookies, SPIs and turns. After
/// everybody else's rules in `forward`.
pub(super) fn other_local_networks(table: &mut Table, sides: &Sides) {
    let Sides { local, internet, .. } = sides;
    let out = format!("iifname != \"{local}\" oifname \"{internet}\" meta nfproto ipv4");
    let back = format!("iifname \"{internet}\" oifname != \"{local}\" meta nfproto ipv4");
    for (rule, why) in [
        (
            format!("{out} meta l4proto 50 ct zone 0 jump esp_out"),
            "another local network's ESP: learn its SPIs",
        ),
        (
            format!("{out} udp sport 500 udp dport 500 ct zone 0 jump ike_out"),
            "another local network's IKE: learn its cookies",
        ),
        (format!("{back} meta l4proto 50 ct zone 0 jump esp_back"), "learn whose SPIs these are"),
    ] {
        table.rule(Chain::Forward, rule, why);
    }
}

/// The one hook before conntrack. Ordinary packets leave it at the first or second rule.
pub(super) fn rules(table: &mut Table, sides: &Sides, servers: &[Ipv4Addr]) {
    let Sides { local, internet, prefix, .. } = sides;
    let mut zone = |rule: String, why| table.rule(Chain::Zone, rule, why);
    // One comparison each, cheapest first: a set costs all packets 2 % more.
    zone("meta l4proto tcp accept".into(), "only IPsec has zones");
    zone("meta l4proto udp @th,0,32 != 0x01f401f4 accept".into(), "of UDP, only IKE from port 500 to 500");
    zone(
        "meta l4proto != { 1, 17, 50 } accept".into(),
        "only IPsec has zones: IKE, ESP, and ICMP errors about them",
    );
    zone("meta nfproto != ipv4 accept".into(), "IPv6 has no NAT");
    for server in servers {
        zone(format!("iifname \"{local}\" ip saddr {server} accept"), "a VPN server of the home: plain NAT");
    }
    let from_home = format!("iifname \"{local}\" ip saddr {prefix}");
    // A router forwards to no other port.
    let mut to_the_internet = format!("ip daddr != {prefix} fib daddr type unicast");
    if sides.beside_others {
        // By the way that its packet will take: nothing of what goes to another port (another provider's, a site's tunnel), to this box
        // or back into the home comes back by the internet side, so its answers would look for their entry in no zone.
        zone(
            format!("{from_home} fib daddr oifname != \"{internet}\" accept"),
            "not on its way to the internet side: plain NAT",
        );
        zone(
            format!("{from_home} {ELSEWHERE_KEY} @{} accept", ELSEWHERE.name),
            "took another way lately: plain NAT",
        );
        to_the_internet.clear();
    }
    let ours = format!("{from_home} meta l4proto {{ 17, 50 }} {to_the_internet}");
    zone(
        format!("{} ct zone set {ZONE_OF_SOURCE} accept", ours.trim_end()),
        "each client of a server on the internet has a zone of its own",
    );
    zone(
        format!("{from_home} {ERRORS} {QUOTED_PROTOCOL} 50 ct zone set {ZONE_OF_SOURCE} accept"),
        "a client's ICMP error about ESP it got",
    );
    zone(
        format!(
            "{from_home} {ERRORS} {QUOTED_PROTOCOL} 17 {QUOTED_SOURCE_PORT} 500 ct zone set {ZONE_OF_SOURCE} accept"
        ),
        "a client's ICMP error about IKE it got",
    );
    zone(format!("iifname != \"{internet}\" accept"), "from elsewhere: no zone");
    zone("meta l4proto 50 goto zone_esp".into(), "ESP from the internet: whose");
    zone("meta l4proto 17 goto zone_ike".into(), "IKE from the internet: whose");
    zone(
        format!("{ERRORS} {QUOTED_PROTOCOL} 50 ct zone set {SPI_QUOTED} map @esp_out accept"),
        "an ICMP error about a client's ESP",
    );
    zone(
        format!("{ERRORS} {QUOTED_PROTOCOL} 17 {QUOTED_PORT} 500 ct zone set {COOKIE_QUOTED} map @ike_in"),
        "an ICMP error about a client's IKE",
    );
    let unplaced = format!("{} accept", Counter::IpsecUnplaced);
    let mut esp = |rule: &str, why| table.rule(Chain::ZoneEsp, rule, why);
    esp("ct zone set ip saddr . esp spi map @esp_in accept", "an SPI that is somebody's");
    esp("ip saddr @ipsec_own accept", "this box has a tunnel of its own with this server");
    let several = "ip saddr @ipsec_several";
    esp(&format!("ip saddr @esp_mixed {several} {unplaced}"), "until all probation has lapsed");
    esp("ip saddr != @esp_mixed ct zone set ip saddr map @esp_turn accept", "a new SPI is whose turn it is");
    esp(
        "ip saddr @esp_trial add @esp_mixed { ip saddr }",
        "another one, out of turn: what is on probation may be wrong",
    );
    esp(&format!("{several} {unplaced}"), "several clients of this server, and none has the turn");
    esp("ct zone set ip saddr map @ipsec_only", "the one client of this server: delivered, not learnt");
    let mut ike = |rule: &str, why| table.rule(Chain::ZoneIke, rule, why);
    ike(&format!("ct zone set {COOKIE_BACK} map @ike_in accept"), "a cookie that is somebody's");
    ike("ip saddr @ipsec_own accept", "this box has IKE of its own with this server");
    ike("ip saddr @ipsec_several accept", "several clients of this server: its own IKE could be for any");
    if servers.is_empty() {
        ike("ct zone set ip saddr map @ipsec_only", "the server begins with its one client");
    }
    table.rule(
        Chain::Output,
        "meta nfproto ipv4 meta l4proto 50 update @ipsec_own { ip daddr }",
        "a tunnel of this box itself",
    );
    table.rule(
        Chain::Output,
        "meta nfproto ipv4 udp sport 500 udp dport 500 update @ipsec_own { ip daddr }",
        "IKE of this box itself",
    );
    table.rule(
        Chain::Dstnat,
        format!("iifname \"{internet}\" meta nfproto ipv4 ct zone != 0 dnat ip to ct zone map @zone_host"),
        "the server speaks first: to the client whose zone this is",
    );
}
