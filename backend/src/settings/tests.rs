//! Documents that tests of several modules start from.

use super::Settings;

/// A router on eth0 (internet, 203.0.113.7/24) and eth1 (local network), all else as it left the factory.
pub(crate) fn router() -> Settings {
    Settings::from_toml(
        r#"
        role = "router"
        internet = { device = "eth0", mode = "static", address = "203.0.113.7/24", gateway = "203.0.113.1" }
        local_network = { devices = ["eth1"] }
        "#,
    )
    .unwrap()
}

/// Every value set, and none of them at its factory state.
pub(crate) fn filled() -> Settings {
    Settings::from_toml(
        r#"
        role = "router"
        devices = [
            { mac = "3c:52:82:1a:0b:7f", name = "Laptop", address = "10.20.0.20" },
            { mac = "3c:52:82:1a:0b:80", name = "Phone" },
        ]
        forwards = [
            { name = "Office", preset = "pptp", to = "10.20.0.20" },
            { name = "Game", protocol = "udp", port = "5000-5010", to = "10.20.0.21", enabled = false },
        ]
        [passthrough]
        ipsec = { enabled = false, nat_traversal = false, many_clients = false }
        l2tp = { enabled = false, ports = [1701, 1702] }
        pptp = { enabled = true, ports = [1723, 1823] }
        devices = ["3c:52:82:1a:0b:7f", "3c:52:82:1a:0b:80"]
        priority = ["3c:52:82:1a:0b:80"]
        session_limit = { pptp = 1, l2tp = "10", ipsec = 1000 }
        [helpers]
        ftp = true
        tftp = true
        sip = true
        h323 = true
        irc = true
        sane = true
        amanda = true
        snmp = true
        netbios = true
        [internet]
        device = "eth0.7"
        mode = "pppoe"
        address = "203.0.113.7/24"
        gateway = "203.0.113.1"
        dns = ["9.9.9.9", "2620:fe::fe"]
        mtu = 1492
        mss_clamp = false
        mac = "02:00:00:00:00:01"
        pppoe = { user = "home@provider", password = "s3cret", service = "fast lane" }
        ipv6 = false
        [local_network]
        devices = ["eth1", "eth2"]
        address = "10.20.0.1/16"
        domain = "lan.example"
        dhcp = { enabled = false, start = "10.20.1.0", end = "10.20.2.0", lease = "45m" }
        dns = { enabled = false, rebind_protection = false }
        [firewall]
        spi = "off until 2026-11-21T10:30:00Z"
        dmz = "10.20.0.21 until 2026-11-21T10:30:00Z"
        ping = true
        ipv6_ipsec = "strict"
        [access]
        port = 8080
        https = true
        https_port = 8443
        idle_minutes = 5
        [system]
        name = "gate"
        timezone = "Europe/Berlin"
        "#,
    )
    .unwrap()
}

#[test]
fn the_filled_document_differs_from_the_factory_state_in_every_key() {
    let differs = super::keys::difference(&Settings::default(), &filled());
    // Of the forwards each is named.
    let mut names: Vec<_> =
        differs.iter().map(|(key, ..)| if key.starts_with("forwards.") { "forwards" } else { key }).collect();
    names.dedup();
    let all: Vec<_> = super::keys::ALL.iter().map(|key| key.name).collect();
    assert_eq!(names, all);
}
