use super::*;

const FILES: Files<'_> = Files {
    network: include_str!("fixtures/network"),
    firewall: include_str!("fixtures/firewall"),
    dhcp: include_str!("fixtures/dhcp"),
};

#[test]
fn words_are_read_as_by_a_shell() {
    assert_eq!(words("\toption name 'two words' # why"), ["option", "name", "two words"]);
    assert_eq!(words("list a \"x\"'y'z"), ["list", "a", "xyz"]);
    assert_eq!(words("option empty ''"), ["option", "empty", ""]);
    assert_eq!(words("# config x"), [""; 0]);
    assert_eq!(words("option url http://x/#y"), ["option", "url", "http://x/#y"]);
}

#[test]
fn the_sides_are_the_zone_that_is_translated_and_who_may_forward_to_it() {
    let sides = sides(&FILES).unwrap();
    assert_eq!((sides.internet.as_str(), sides.local.as_str()), ("wan", "br-lan"));
    assert_eq!(sides.address.map(|a| a.to_string()).as_deref(), Some("192.168.7.1/24"));
    let pppoe = FILES.network.replacen("option proto 'dhcp'\n", "option proto 'pppoe'\n", 1);
    let pppoe = super::sides(&Files { network: &pppoe, ..FILES }).unwrap();
    assert_eq!(pppoe.internet.as_str(), "pppoe-wan");
    let old = "config interface lan\n option type bridge\n option ifname 'eth0.1'\n option ipaddr 10.1.0.1/16\n\
               config interface wan\n option ifname eth0.2\n option proto dhcp\n";
    let old = super::sides(&Files { network: old, ..FILES }).unwrap();
    assert_eq!((old.internet.as_str(), old.local.as_str()), ("eth0.2", "br-lan"));
    assert_eq!(old.address.map(|a| a.to_string()).as_deref(), Some("10.1.0.1/16"));
    for nothing in [Files { firewall: "", ..FILES }, Files { network: "", ..FILES }, Files::default()] {
        assert_eq!(super::sides(&nothing), None, "never assumed");
    }
}

#[test]
fn what_the_files_say_is_in_the_settings_and_what_cannot_be_said_is_told() {
    let before = Settings::default();
    let Read { settings, left_out } = read(&FILES, &before);
    assert_eq!(settings.check(), [], "it can be stored");
    assert_eq!(settings.role, before.role, "the role is the owner's");
    let differs: Vec<String> = keys::difference(&before, &settings)
        .into_iter()
        .map(|(key, _, now)| format!("{key}={now}"))
        .collect();
    let said = differs.join("\n");
    for part in [
        "internet.device=wan",
        "local_network.devices=br-lan",
        "local_network.address=192.168.7.1/24",
        "passthrough.pptp.enabled=true",
        "helpers.ftp=true",
    ] {
        assert!(differs.iter().any(|one| one == part), "{part}:\n{said}");
    }
    let forwards: Vec<String> =
        settings.forwards.iter().map(|one| format!("{}: {}", one.name, one.words())).collect();
    assert_eq!(
        forwards,
        [
            "web-server: tcp 8443 to 192.168.7.20:443",
            "game-tcp: tcp 27015-27030 to 192.168.7.30",
            "game-udp: udp 27015-27030 to 192.168.7.30",
            "switched-off: udp 5000 to 192.168.7.20 (off)",
        ]
    );
    let devices: Vec<String> =
        settings.devices.iter().map(|one| format!("{} {}", one.mac, one.name)).collect();
    assert_eq!(devices, ["02:00:00:00:00:20 nas"]);
    assert_eq!(left_out.len(), 4, "{left_out:#?}");
    for (told, word) in
        left_out.iter().zip(["one MAC address", "not in the local network", "src_ip", "amanda"])
    {
        assert!(told.contains(word), "{told}");
    }
}

#[test]
fn reading_twice_changes_nothing_more_and_garbage_does_no_harm() {
    let once = read(&FILES, &Settings::default()).settings;
    assert_eq!(read(&FILES, &once).settings, once);
    for garbage in [
        "config",
        "option x",
        "config zone\noption masq",
        "'",
        "config redirect\noption src_dport 1\noption dest_ip x",
    ] {
        let files = Files { network: garbage, firewall: garbage, dhcp: garbage };
        assert!(read(&files, &Settings::default()).settings.forwards.is_empty());
    }
}

#[test]
fn nothing_is_opened_to_the_internet_that_was_not_open_to_it() {
    let firewall = |redirect: &str| {
        format!(
            "config zone\n option name wan\n option masq 1\nconfig redirect\n option name a\n option src_dport 53\n \
             option dest_ip 192.168.1.9\n{redirect}"
        )
    };
    let read = |redirect: &str| {
        let text = firewall(redirect);
        read(&Files { firewall: &text, ..Files::default() }, &Settings::default())
    };
    let open = |read: &Read| read.settings.forwards.iter().filter(|one| one.enabled).count();
    // The reader sees one that is open.
    assert_eq!(open(&read(" option src wan")), 2);
    for closed in [
        " option src lan",
        "",
        " option src wan\n option enabled off",
        " option src wan\n option enabled '0'",
        " option src wan\n option enabled false",
        " option src wan\n option stop_time 10:00",
        " option src wan\n option src_mac 02:00:00:00:00:01",
        " option src wan\n option limit 1/s",
        " option src wan\n option proto icmp",
        " option src wan\n option proto all",
        " option src wan\n option src lan",
        " option src lan\n option comment 'x\nconfig redirect\n option src wan\n option src_dport 1\n option dest_ip 192.168.1.9'",
    ] {
        assert_eq!(open(&read(closed)), 0, "{closed}");
    }
    let twice = read(
        " option src wan\nconfig redirect\n option name a\n option src wan\n option src_dport 22\n option dest_ip 192.168.1.9",
    );
    assert_eq!(open(&twice), 2, "the second of a name does not take the place of the first");
    assert!(twice.left_out.iter().any(|told| told.contains("same name")), "{:?}", twice.left_out);
    let coloured = read(" option src lan\n option name '\u{1b}[31mred'");
    assert!(coloured.left_out.iter().all(|told| !told.contains('\u{1b}')), "{:?}", coloured.left_out);
}
