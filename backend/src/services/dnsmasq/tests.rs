use super::*;
use crate::settings::keys::{self, set};
use crate::settings::tests::{filled, router};

/// The filled document, as far as this router can be told so.
fn home() -> Settings {
    let mut settings = filled();
    for (key, value) in [
        ("local_network.devices", "eth1"),
        ("local_network.dhcp.enabled", "true"),
        ("local_network.dns.enabled", "true"),
    ] {
        set(&mut settings, key, value).unwrap();
    }
    settings
}

fn golden(name: &str, settings: &Settings) {
    let made = dnsmasq(settings, None, None).unwrap();
    let Dnsmasq { config, reservations, names, servers } = made;
    let text = format!("{config}--- reservations\n{reservations}--- names\n{names}--- servers\n{servers}");
    let path = format!("{}/src/services/dnsmasq/{name}.golden", env!("CARGO_MANIFEST_DIR"));
    if std::env::var_os("POSTERN_GOLDEN").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, wanted, "{path}; POSTERN_GOLDEN=1 writes it anew");
}

#[test]
fn the_factory_state_is_the_golden_one() {
    golden("factory", &router());
}

#[test]
fn a_filled_document_is_the_golden_one() {
    golden("filled", &home());
}

#[test]
fn without_dns_the_servers_that_the_owner_named_are_handed_out() {
    let mut settings = home();
    settings.local_network.dns.enabled = false;
    golden("dhcp-only", &settings);
}

#[test]
fn it_runs_only_where_something_is_wanted_of_it() {
    assert_eq!(dnsmasq(&Settings::default(), None, None), None, "no role");
    assert_eq!(dnsmasq(&Settings { role: Role::Unset, ..router() }, None, None), None, "no role");
    let mut off = router();
    off.local_network.dhcp.enabled = false;
    assert!(dnsmasq(&off, None, None).unwrap().config.contains("local=/home.arpa/"), "names alone");
    off.local_network.dns.enabled = false;
    assert!(dnsmasq(&off, None, None).unwrap().config.contains("enable-ra"), "IPv6 alone");
    off.internet.ipv6 = false;
    assert_eq!(dnsmasq(&off, None, None), None);
}

#[test]
fn the_range_stays_inside_the_network() {
    for (address, start, end, range_is) in [
        ("192.168.1.1/24", "auto", "auto", "192.168.1.100 192.168.1.249"),
        ("10.20.0.1/16", "auto", "auto", "10.20.0.100 10.20.0.249"),
        ("192.168.1.1/25", "auto", "auto", "192.168.1.1 192.168.1.126"),
        ("192.168.1.129/25", "auto", "auto", "192.168.1.129 192.168.1.254"),
        ("192.168.1.1/30", "auto", "auto", "192.168.1.1 192.168.1.2"),
        ("192.168.1.1/24", "192.168.1.250", "auto", "192.168.1.250 192.168.1.254"),
        ("192.168.1.1/24", "auto", "192.168.1.50", "192.168.1.1 192.168.1.50"),
        ("192.168.1.1/24", "192.168.1.7", "192.168.1.9", "192.168.1.7 192.168.1.9"),
    ] {
        let mut settings = router();
        for (key, value) in [
            ("local_network.address", address),
            ("local_network.dhcp.start", start),
            ("local_network.dhcp.end", end),
        ] {
            set(&mut settings, key, value).unwrap();
        }
        assert_eq!(settings.check(), [], "{address} {start} {end}");
        let (first, last) = range(&settings);
        assert_eq!(format!("{first} {last}"), range_is, "{address} {start} {end}");
    }
}

/// Names as the owner may type them, and what DNS knows them by.
#[test]
fn names_of_devices_become_dns_labels() {
    for (typed, label_is) in [
        ("Laptop", Some("laptop")),
        // Words of dnsmasq.
        ("Ignore", Some("ignore-device")),
        ("12h", Some("12h-device")),
        ("3D", Some("3d-device")),
        ("3DS", Some("3ds")),
        ("Anna's  laptop!", Some("anna-s-laptop")),
        ("a,192.168.1.1,set:x", Some("a-192-168-1-1-set-x")),
        ("--x--", Some("x")),
        ("日本", None),
        ("<script>", Some("script")),
    ] {
        assert_eq!(label(&typed.parse().unwrap()).as_deref(), label_is, "{typed}");
    }
    let mut settings = home();
    settings.devices[0].name = "gate".parse().unwrap();
    assert_eq!(labels(&settings), [None, Some("phone".to_owned())], "the router's name stays its own");
    settings.devices[0].name = "PHONE".parse().unwrap();
    assert_eq!(labels(&settings), [Some("phone".to_owned()), None], "no name twice");
}

/// Whatever a setting is made to be, dnsmasq reads no line that a benign value would not have given it.
#[test]
fn no_value_of_any_setting_can_add_a_line_or_a_field() {
    let hostile = [
        "x\ndhcp-script=/tmp/x",
        "x\rdhcp-script=/tmp/x",
        "x\0y",
        "x,set:y",
        "x#y",
        "x y",
        "\"x",
        "x/y/1.2.3.4",
        "x\u{2028}y",
        "\\n",
        "conf-file=/etc/shadow",
    ];
    let shape = |settings: &Settings| {
        let made = dnsmasq(settings, None, None)?;
        // A line is known by what stands before its first value, and by how many values it has.
        let lines = |text: &str| -> Vec<(String, usize)> {
            let key = |line: &str| line.split(['=', ',']).next().unwrap_or_default().to_owned();
            text.split(['\n', '\r'])
                .map(|line| (key(line), line.matches([',', '/', '#', ' ', '"']).count()))
                .collect()
        };
        let reservations = made.reservations.lines().count();
        Some((lines(&made.config), reservations, made.names.lines().count()))
    };
    let benign = shape(&home()).unwrap();
    let mut taken = 0;
    for key in keys::ALL {
        for value in hostile {
            let mut settings = home();
            if set(&mut settings, key.name, value).is_err() {
                continue;
            }
            taken += 1;
            assert_eq!(shape(&settings).unwrap(), benign, "{} = {value:?}", key.name);
        }
    }
    assert!(taken > 0, "some keys take some of these, such as internet.pppoe.user");
    for value in hostile {
        let Ok(name) = value.parse() else { continue };
        let mut settings = home();
        settings.devices[0].name = name;
        let made = dnsmasq(&settings, None, None).unwrap();
        assert_eq!((made.reservations.lines().count(), made.names.lines().count()), (2, 2), "{value:?}");
        for line in made.reservations.lines() {
            let fields: Vec<&str> = line.split(',').collect();
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ':');
            assert!(fields.len() <= 3 && fields.iter().all(|field| field.chars().all(plain)), "{line}");
        }
    }
}

#[test]
fn the_providers_name_servers_are_asked_unless_the_owner_has_chosen() {
    let mut settings = router();
    settings.internet.mode = Mode::Dhcp;
    let word = |name: &str| match name {
        "ip" => Some("198.51.100.20".to_owned()),
        "dns" => Some("203.0.113.10 127.0.0.1".to_owned()),
        _ => None,
    };
    let lease = InternetLease::read("wan0".parse().unwrap(), word).unwrap();
    let made = |settings: &Settings, lease| dnsmasq(settings, lease, None).unwrap();
    let with = made(&settings, Some(&lease));
    assert_eq!(with.servers, "server=203.0.113.10\n");
    assert_eq!(with.config, made(&settings, None).config, "a lease needs no other dnsmasq");
    assert!(with.config.contains("no-resolv"), "never this box's own resolver, which may be dnsmasq itself");
    settings.internet.dns = vec!["9.9.9.9".parse().unwrap()];
    assert_eq!(made(&settings, Some(&lease)).servers, "server=9.9.9.9\n");
    settings.internet.mode = Mode::Static;
    settings.internet.dns.clear();
    assert_eq!(made(&settings, Some(&lease)).servers, "", "of another mode");
}
