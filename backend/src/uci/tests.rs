use std::path::PathBuf;

use super::*;
use crate::settings::{Settings, keys};

const FILES: Files<'_> = Files {
    network: include_str!("fixtures/network"),
    firewall: include_str!("fixtures/firewall"),
    dhcp: include_str!("fixtures/dhcp"),
};

fn sides(files: &Files<'_>) -> Option<Sides> {
    super::sides(files).unwrap()
}

fn read(files: &Files<'_>, now: &Settings) -> Read {
    super::read(files, now, &Part::ALL).unwrap()
}

/// What would be taken, in words, and what would not.
fn told(files: &Files<'_>) -> String {
    let before = Settings::default();
    let Read { settings, left_out } = read(files, &before);
    assert_eq!(settings.check(), [], "it can be stored");
    assert_eq!(settings.role, before.role, "the role is the owner's");
    let mut text = String::new();
    for (key, was, is) in keys::difference(&before, &settings) {
        text += &format!("{key}: {was} -> {is}\n");
    }
    for left in left_out {
        text += &format!("not taken ({:?}): {}\n", left.part, left.sentence);
    }
    if let Some(sides) = sides(files) {
        text += &format!("internet is {}, says {}\n", sides.internet, sides.internet_from);
        text += &format!("local network is {}, says {}\n", sides.local, sides.local_from);
    }
    text
}

/// `BLESS=1 cargo test -p postern uci` writes them anew; the diff is what is reviewed.
#[test]
fn every_configuration_is_read_as_its_golden_says() {
    let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/src/uci/fixtures"));
    let folders = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut folders: Vec<PathBuf> = folders.filter(|path| path.is_dir()).collect();
    folders.sort();
    assert!(folders.len() >= 6, "{folders:?}");
    for folder in folders {
        let [network, firewall, dhcp] =
            ["network", "firewall", "dhcp"].map(|name| std::fs::read_to_string(folder.join(name)).unwrap());
        let text = told(&Files { network: &network, firewall: &firewall, dhcp: &dhcp });
        let golden = folder.join("expected");
        if std::env::var_os("BLESS").is_some() {
            std::fs::write(&golden, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&golden).unwrap_or_default(), "{}", folder.display());
        assert!(!text.contains("not for a page"), "{}: a secret", folder.display());
    }
}

#[test]
fn the_sides_are_the_zone_that_is_translated_and_who_may_forward_to_it() {
    let known = sides(&FILES).unwrap();
    assert_eq!((known.internet.as_str(), known.local.as_str()), ("wan", "br-lan"));
    assert_eq!(known.address.map(|a| a.to_string()).as_deref(), Some("192.168.7.1/24"));
    let pppoe = FILES.network.replacen("option proto 'dhcp'\n", "option proto 'pppoe'\n", 1);
    let pppoe = sides(&Files { network: &pppoe, ..FILES }).unwrap();
    assert_eq!(pppoe.internet.as_str(), "pppoe-wan");
    let old = "config interface lan\n option type bridge\n option ifname 'eth0.1'\n option ipaddr 10.1.0.1/16\n\
               config interface wan\n option ifname eth0.2\n option proto dhcp\n";
    let old = sides(&Files { network: old, ..FILES }).unwrap();
    assert_eq!((old.internet.as_str(), old.local.as_str()), ("eth0.2", "br-lan"));
    assert_eq!(old.address.map(|a| a.to_string()).as_deref(), Some("10.1.0.1/16"));
    for nothing in [Files { firewall: "", ..FILES }, Files { network: "", ..FILES }, Files::default()] {
        assert_eq!(sides(&nothing), None, "never assumed");
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
    let left: Vec<&str> = left_out.iter().map(|left| left.sentence.as_str()).collect();
    assert_eq!(left.len(), 5, "{left:#?}");
    for (told, word) in left.iter().zip([
        "Firewall rules (1)",
        "one MAC address",
        "not in the local network",
        "src_ip",
        "amanda",
    ]) {
        assert!(told.contains(word), "{told}");
    }
}

#[test]
fn a_part_is_taken_alone_and_what_is_ours_is_never_lost() {
    let mut before = Settings::default();
    keys::set(&mut before, "local_network.address", "192.168.7.1/24").unwrap();
    keys::set(&mut before, "forwards.ours", "udp 27016 to 192.168.7.9").unwrap();
    before.devices.push(crate::settings::Device {
        mac: "02:00:00:00:00:99".parse().unwrap(),
        name: "ours".parse().unwrap(),
        address: "192.168.7.20".parse().ok(),
    });
    let alone = |part| super::read(&FILES, &before, &[part]).unwrap();
    let devices = alone(Part::Devices);
    assert_eq!(devices.settings, before, "the address is kept for another device");
    assert!(devices.left_out.iter().any(|left| left.sentence.contains("kept for \u{201c}ours\u{201d}")));
    let forwards = alone(Part::Forwards);
    let names: Vec<String> = forwards.settings.forwards.iter().map(|one| one.name.to_string()).collect();
    assert_eq!(names, ["ours", "web-server", "game-tcp", "switched-off"], "one UDP port has a taker already");
    assert!(forwards.left_out.iter().any(|left| left.sentence.contains("game-udp and ours both take")
        || left.sentence.contains("ours and game-udp both take")));
    assert!(alone(Part::Helpers).settings.passthrough.pptp.enabled);
    assert_eq!(alone(Part::Helpers).settings.forwards, before.forwards);
    keys::set(&mut before, "local_network.address", "10.0.0.1/24").unwrap();
    before.devices.clear();
    before.forwards.clear();
    keys::set(&mut before, "forwards.ours", "tcp 25 to 10.0.0.9").unwrap();
    let sides = super::read(&FILES, &before, &[Part::Sides]).unwrap();
    assert_eq!(sides.settings, before, "a forward of ours would lead nowhere");
    assert!(
        sides.left_out[0].sentence.starts_with("The two sides: ours: 10.0.0.9 is no device"),
        "{:?}",
        sides.left_out
    );
}

#[test]
fn a_file_that_cannot_be_read_is_named_with_its_line_and_nothing_is_taken() {
    for (files, said) in [
        (Files { network: "\nconfig", ..FILES }, "network, line 2: "),
        (
            Files { firewall: "config zone\n\toption name 'wan\n", ..FILES },
            "firewall, line 2: a quote begins here",
        ),
        (Files { dhcp: "\0\u{1b}[31m\n", ..FILES }, "dhcp, line 1: a line begins with"),
    ] {
        let wrong = super::read(&files, &Settings::default(), &Part::ALL).unwrap_err();
        assert!(wrong.to_string().starts_with(said), "{wrong}");
        assert_eq!(super::sides(&files), Err(wrong));
    }
}

#[test]
fn reading_twice_changes_nothing_more_and_garbage_does_no_harm() {
    let once = read(&FILES, &Settings::default()).settings;
    assert_eq!(read(&FILES, &once).settings, once);
    for garbage in ["config zone\noption masq", "config redirect\noption src_dport 1\noption dest_ip x"] {
        let files = Files { network: garbage, firewall: garbage, dhcp: garbage };
        assert!(read(&files, &Settings::default()).settings.forwards.is_empty());
    }
}

#[test]
fn whatever_is_cut_out_or_moved_what_is_taken_can_be_stored() {
    let mut seed = 1_u64;
    let mut dice = |below: usize| {
        // SplitMix64.
        seed = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (seed ^ (seed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        (mixed ^ (mixed >> 27)) as usize % below
    };
    let mut taken = 0;
    for _ in 0..1000 {
        let [network, firewall, dhcp] = [FILES.network, FILES.firewall, FILES.dhcp].map(|text| {
            // Whole lines, as a rule; sometimes any letters, which the format seldom stands.
            let by = if dice(8) == 0 { "" } else { "\n" };
            let mut pieces: Vec<&str> = text.split(by).collect();
            for _ in 0..dice(4) {
                let from = dice(pieces.len());
                let to = (from + dice(5)).min(pieces.len());
                let cut: Vec<&str> = pieces.drain(from..to).collect();
                if dice(2) == 0 && !pieces.is_empty() {
                    let at = dice(pieces.len());
                    pieces.splice(at..at, cut);
                }
            }
            pieces.join(by)
        });
        let files = Files { network: &network, firewall: &firewall, dhcp: &dhcp };
        if let Ok(read) = super::read(&files, &Settings::default(), &Part::ALL) {
            assert_eq!(read.settings.check(), [], "{network}\n---\n{firewall}\n---\n{dhcp}");
            taken += 1;
        }
    }
    assert!((100..900).contains(&taken), "the cuts are neither harmless nor deadly: {taken}");
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
        " option src wan\n option family ipv6",
        " option src wan\n option src lan",
        " option src lan\n option comment 'x\nconfig redirect\n option src wan\n option src_dport 1\n option dest_ip 192.168.1.9'",
    ] {
        assert_eq!(open(&read(closed)), 0, "{closed}");
    }
    let twice = read(
        " option src wan\nconfig redirect\n option name a\n option src wan\n option src_dport 22\n option dest_ip 192.168.1.9",
    );
    assert_eq!(open(&twice), 2, "the second of a name does not take the place of the first");
    let said = |read: &Read, word: &str| read.left_out.iter().any(|left| left.sentence.contains(word));
    assert!(said(&twice, "same name"), "{:?}", twice.left_out);
    let coloured = read(" option src lan\n option name '\u{1b}[31mred'");
    assert!(!said(&coloured, "\u{1b}"), "{:?}", coloured.left_out);
}
