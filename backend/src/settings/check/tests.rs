use crate::settings::Settings;
use crate::settings::keys::set;
use crate::settings::tests::{filled, router};

/// The keys that are refused after these changes to a good router document.
fn refused(changes: &[(&str, &str)]) -> Vec<String> {
    let mut settings = router();
    for (key, value) in changes {
        set(&mut settings, key, value).unwrap();
    }
    settings.check().into_iter().map(|error| error.key).collect()
}

#[test]
fn good_documents_pass() {
    assert_eq!(Settings::default().check(), []);
    assert_eq!(router().check(), []);
    assert_eq!(filled().check(), []);
    assert_eq!(
        refused(&[("passthrough.pptp.ports", "1723,1823"), ("passthrough.l2tp.ports", "1701,1723")]),
        [""; 0]
    );
    assert_eq!(refused(&[("internet.address", "10.0.0.0/31"), ("internet.gateway", "10.0.0.1")]), [""; 0]);
}

#[test]
fn each_contradiction_is_named_beside_its_field() {
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("internet.device", "unset")], "internet.device"),
        (&[("internet.device", "lo")], "internet.device"),
        (&[("local_network.devices", "unset")], "local_network.devices"),
        (&[("local_network.devices", "lo")], "local_network.devices"),
        (&[("local_network.devices", "eth1,eth1")], "local_network.devices"),
        (&[("local_network.devices", "eth1,eth0")], "local_network.devices"),
        (&[("local_network.devices", "eth1,br-lan")], "local_network.devices"),
        (&[("internet.address", "unset")], "internet.address"),
        (&[("internet.address", "203.0.113.0/24")], "internet.address"),
        (&[("internet.address", "203.0.113.255/24")], "internet.address"),
        (&[("internet.address", "192.168.1.7/24"), ("internet.gateway", "192.168.1.1")], "internet.address"),
        (&[("local_network.address", "203.0.113.1/24")], "local_network.address"),
        (&[("internet.gateway", "unset")], "internet.gateway"),
        (&[("internet.gateway", "203.0.113.7")], "internet.gateway"),
        (&[("internet.gateway", "198.51.100.1")], "internet.gateway"),
        (&[("internet.mode", "pppoe")], "internet.pppoe.user"),
        (&[("internet.dns", "127.0.0.1")], "internet.dns"),
        (&[("internet.dns", "192.168.1.1")], "internet.dns"),
        (&[("internet.dns", "ff02::1")], "internet.dns"),
        (&[("local_network.address", "192.168.1.0/24")], "local_network.address"),
        (&[("local_network.address", "10.0.0.1/15")], "local_network.address"),
        (&[("local_network.address", "10.0.0.1/31")], "local_network.address"),
        (&[("local_network.address", "100.64.0.1/24")], "local_network.address"),
        (&[("local_network.dhcp.start", "192.168.2.5")], "local_network.dhcp.start"),
        (&[("local_network.dhcp.end", "192.168.1.255")], "local_network.dhcp.end"),
        (
            &[("local_network.dhcp.start", "192.168.1.9"), ("local_network.dhcp.end", "192.168.1.8")],
            "local_network.dhcp.end",
        ),
        (&[("passthrough.pptp.ports", "1723,443")], "passthrough.pptp.ports"),
        (&[("passthrough.l2tp.ports", "4500")], "passthrough.l2tp.ports"),
        (&[("passthrough.l2tp.ports", "53")], "passthrough.l2tp.ports"),
        (&[("passthrough.priority", "3c:52:82:1a:0b:7f,3C-52-82-1A-0B-7F")], "passthrough.priority"),
        (&[("firewall.dmz", "192.168.1.1 until 2026-11-21T10:30:00Z")], "firewall.dmz"),
        (&[("access.https_port", "80")], "access.https_port"),
        (&[("access.port", "22")], "access.port"),
    ];
    for (changes, key) in cases {
        assert!(refused(changes).iter().any(|refused| refused == key), "{changes:?} should refuse {key}");
    }
}

#[test]
fn forwards_may_not_take_the_same_port() {
    let mut settings = router();
    let forward = |name: &str, what: &str| -> crate::settings::Forward {
        toml::from_str(&format!("name = \"{name}\"\nto = \"192.168.1.20\"\n{what}")).unwrap()
    };
    settings.forwards =
        vec![forward("a", "preset = \"pptp\""), forward("b", "protocol = \"tcp\"\nport = \"1700-1730\"")];
    assert_eq!(settings.check().len(), 1);
    settings.forwards[1] = forward("b", "protocol = \"udp\"\nport = 1723");
    assert_eq!(settings.check(), []);
    settings.forwards[1] = forward("b", "protocol = \"udp\"");
    assert_eq!(settings.check().len(), 1);
    settings.forwards[1] = forward("a", "preset = \"sstp\"");
    assert_eq!(settings.check().len(), 1);
}

#[test]
fn a_forward_that_cannot_be_is_named_beside_its_field() {
    for (changes, key, word) in [
        (&["a=tcp 80 to 192.168.1.20", "b=tcp 70-90 to 192.168.1.21"][..], "b.port", "TCP ports 70 to 90"),
        (&["a=pptp to 192.168.1.20", "b=tcp 1723 to 192.168.1.21"], "b.port", "TCP port 1723"),
        (&["a=l2tp to 192.168.1.20", "b=ikev2 to 192.168.1.21"], "b.port", "UDP port 500"),
        (&["a=tcp 80 to 192.168.1.1"], "a.to", "no device's address"),
        (&["a=tcp 80 to 192.168.1.255"], "a.to", "no device's address"),
        (&["a=tcp 80 to 203.0.113.9"], "a.to", "no device's address"),
        (&["a=ikev2 to 192.168.1.20:600"], "a.to", "fixed ports"),
        (&["a=udp 5000-6000 to 192.168.1.20:65000"], "a.to", "above port 65535"),
        (&["a=udp 5000-9000 to 192.168.1.20:6000"], "a.to", "at most 1024"),
    ] {
        let mut settings = router();
        for change in changes {
            let (name, words) = change.split_once('=').unwrap();
            set(&mut settings, &format!("forwards.{name}"), words).unwrap();
        }
        let wrong = settings.check();
        let found = wrong.iter().find(|error| error.key == format!("forwards.{key}"));
        assert!(found.is_some_and(|error| error.message.contains(word)), "{changes:?}: {wrong:?}");
    }
    let mut settings = router();
    for (name, words) in [
        ("a", "tcp 80 to 192.168.1.20"),
        ("b", "tcp 80 to 192.168.1.21 (off)"),
        ("c", "udp 80 to 192.168.1.20:80"),
        ("d", "tcp 81 to 192.168.1.20:80"),
        ("e", "sstp to 192.168.1.20:8443"),
    ] {
        set(&mut settings, &format!("forwards.{name}"), words).unwrap();
        assert_eq!(settings.forward_in_words(name), words);
    }
    assert_eq!(settings.check(), []);
    set(&mut settings, "forwards.a", "unset").unwrap();
    assert_eq!((settings.forwards.len(), settings.forward_in_words("a").as_str()), (4, "unset"));
    for words in
        ["tcp to 192.168.1.20", "gre 1 to 192.168.1.20", "tcp 80", "tcp 0 to 192.168.1.20", "unset", ""]
    {
        assert!(set(&mut settings, "forwards.new", words).is_err(), "{words}");
    }
}
