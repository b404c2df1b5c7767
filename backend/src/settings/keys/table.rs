//! The table itself, in the order in which people meet the settings.

use super::words::InWords;
use super::{Key, Kind, UNSET};
use crate::settings::Settings;

/// One row: the path is the key's name and the field, so the two cannot differ.
macro_rules! key {
    ($($field:ident).+, absent = $absent:literal, $hint:literal) => {
        Key { absent: Some($absent), ..key!($($field).+, $hint) }
    };
    ($first:ident $(.$rest:ident)*, $hint:literal) => {
        Key {
            name: concat!(stringify!($first) $(, ".", stringify!($rest))*),
            kind: kind(|settings| &settings.$first$(.$rest)*),
            absent: if optional(|settings| &settings.$first$(.$rest)*) { Some(UNSET) } else { None },
            hint: $hint,
            read: |settings| settings.$first$(.$rest)*.words(),
            write: |settings, words| {
                settings.$first$(.$rest)* = InWords::parse(words)?;
                Ok(())
            },
        }
    };
}

const fn kind<T: InWords>(_: fn(&Settings) -> &T) -> Kind {
    T::KIND
}

const fn optional<T: InWords>(_: fn(&Settings) -> &T) -> bool {
    T::OPTIONAL
}

/// Every setting.
pub const ALL: &[Key] = &[
    key!(role, "What Postern is here: the whole router, the companion of another firewall, or not told yet."),
    key!(passthrough.ipsec.enabled, "IPsec VPNs may leave the home (UDP 500 and 4500, ESP, AH)."),
    key!(passthrough.ipsec.nat_traversal, "IPsec may wrap itself in UDP 4500 to cross NAT."),
    key!(
        passthrough.ipsec.many_clients,
        "Several devices may use IPsec without NAT traversal to one server."
    ),
    key!(passthrough.l2tp.enabled, "L2TP VPNs may leave the home."),
    key!(passthrough.l2tp.ports, "UDP ports of L2TP servers, 1 to 15 of them."),
    key!(passthrough.pptp.enabled, "PPTP VPNs may leave the home; their encryption is weak."),
    key!(passthrough.pptp.ports, "TCP ports of PPTP servers, 1 to 15 of them."),
    key!(passthrough.devices, "Who may use VPN passthrough: everyone, or the MAC addresses of devices."),
    key!(
        passthrough.priority,
        absent = "none",
        "MAC addresses of the devices that get the next free place; their order does not matter."
    ),
    key!(
        passthrough.session_limit.pptp,
        "Most PPTP sessions at a time, over all devices: none, or 1 to 1000."
    ),
    key!(
        passthrough.session_limit.l2tp,
        "Most L2TP sessions at a time, over all devices: none, or 1 to 1000."
    ),
    key!(
        passthrough.session_limit.ipsec,
        "Most IPsec sessions at a time, over all devices: none, or 1 to 1000."
    ),
    key!(
        helpers.ftp,
        "Let FTP servers connect back to a device that speaks with them (active mode, TCP 21)."
    ),
    key!(helpers.tftp, "Let TFTP servers answer from another port (UDP 69)."),
    key!(helpers.sip, "Let SIP servers connect to telephones that speak with them (UDP and TCP 5060)."),
    key!(helpers.h323, "Let H.323 peers connect to devices that speak with them (UDP 1719, TCP 1720)."),
    key!(helpers.irc, "Let anybody connect to a device that offers a file on IRC (TCP 6667)."),
    key!(helpers.sane, "Not needed: the data connections of network scanners pass by themselves."),
    key!(helpers.amanda, "Not needed: the data connections of Amanda backups pass by themselves."),
    key!(helpers.snmp, "Not offered: it would make all devices look like one."),
    key!(helpers.netbios, "Not needed: this box sends no NetBIOS broadcasts."),
    key!(internet.device, "The port that leads to the provider, for example eth0."),
    key!(internet.mode, "How the internet address is found: from the provider, typed here, or by PPPoE."),
    key!(internet.address, "Static mode: our address with its prefix length, for example 203.0.113.7/24."),
    key!(internet.gateway, "Static mode: the address of the provider's router."),
    key!(internet.dns, absent = "auto", "Name servers; auto takes those the provider names."),
    key!(internet.mtu, "Largest packet in bytes, 576 to 9000, or auto."),
    key!(
        internet.mss_clamp,
        "Lower the segment size of TCP connections to what the way to the internet carries."
    ),
    key!(internet.mac, absent = "own", "MAC address to show to the provider, or the port's own."),
    key!(internet.pppoe.user, "User name of the PPPoE account."),
    key!(internet.pppoe.password, "Password of the PPPoE account; never shown."),
    key!(internet.pppoe.service, "Service name of the PPPoE account, rarely needed."),
    key!(internet.ipv6, "Take IPv6 from the provider, where it gives any; not with PPPoE yet."),
    key!(local_network.devices, "The ports of the local network; several are joined into one network."),
    key!(local_network.address, "The router's own address and the size of the local network, /16 to /30."),
    key!(local_network.domain, "Domain of the devices' names."),
    key!(local_network.dhcp.enabled, "Hand out addresses to the devices."),
    key!(local_network.dhcp.start, absent = "auto", "First address to hand out; auto is .100."),
    key!(local_network.dhcp.end, absent = "auto", "Last address to hand out; auto is .249."),
    key!(local_network.dhcp.lease, "How long a device keeps its address: 2m to 30d."),
    key!(local_network.dns.enabled, "Answer the devices' name queries."),
    key!(
        local_network.dns.rebind_protection,
        "Strip private addresses from answers that come from the internet."
    ),
    key!(devices, absent = "none", "Devices with a name or an address of their own."),
    key!(forwards, absent = "none", "Ports that lead from the internet to a device."),
    key!(firewall.spi, "Stateful inspection: on, or off until a time."),
    key!(firewall.dmz, "A device that gets everything unasked: none, or an address until a time."),
    key!(firewall.ping, "Answer to ping from the internet."),
    key!(
        firewall.ipv6_ipsec,
        "IPsec from the internet over IPv6: as RFC 6092 says, or strict: only what was asked for."
    ),
    key!(access.port, "TCP port of the admin page on the local network."),
    key!(access.https, "Serve the admin page over HTTPS; plain HTTP then only leads there."),
    key!(access.https_port, "TCP port of the admin page over HTTPS."),
    key!(access.idle_minutes, "A login ends after so many idle minutes, 1 to 60."),
    key!(system.name, "Name of this box."),
    key!(system.timezone, "Time zone of the times shown, for example Europe/Berlin."),
];
