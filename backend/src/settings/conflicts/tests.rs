//! The table of every forward beside every feature of passthrough, with what the page says.

use std::fmt::Write as _;

use crate::settings::Settings;
use crate::settings::keys::set;
use crate::settings::tests::router;

/// Written as the settings write them. The last ones are the DMZ alone, and beside a forward that takes IPsec from it.
const FORWARDS: [&str; 16] = [
    "pptp",
    "l2tp",
    "ikev2",
    "openvpn",
    "wireguard",
    "sstp",
    "tcp 8080",
    "udp 5000",
    "tcp 1723",
    "tcp 1000-2000",
    "udp 500",
    "udp 1701",
    "udp 4500",
    "udp 400-5000",
    "DMZ",
    "DMZ beside ikev2",
];
const UNTIL: &str = "192.168.1.20 until 2026-11-21T10:30:00Z";

/// Each feature alone, with what switches it on. The first one: none.
const FEATURES: [(&str, &[&str]); 6] = [
    ("by itself", &[]),
    ("PPTP", &["pptp.enabled"]),
    ("L2TP", &["l2tp.enabled"]),
    ("IPsec, plain NAT", &["ipsec.enabled"]),
    ("IPsec, many clients", &["ipsec.enabled", "ipsec.many_clients"]),
    ("NAT traversal", &["ipsec.enabled", "ipsec.nat_traversal"]),
];

fn settings(forward: &str, on: &[&str]) -> Settings {
    let mut settings = router();
    let all = ["pptp.enabled", "l2tp.enabled", "ipsec.enabled", "ipsec.many_clients", "ipsec.nat_traversal"];
    for key in all {
        set(&mut settings, &format!("passthrough.{key}"), &on.contains(&key).to_string()).unwrap();
    }
    match forward.strip_prefix("DMZ") {
        Some(beside) => {
            set(&mut settings, "firewall.dmz", UNTIL).unwrap();
            if let Some(what) = beside.strip_prefix(" beside ") {
                set(&mut settings, "forwards.a", &format!("{what} to 192.168.1.21")).unwrap();
            }
        }
        None => set(&mut settings, "forwards.a", &format!("{forward} to 192.168.1.20")).unwrap(),
    }
    settings
}

/// What the page says beside it.
fn said(forward: &str, on: &[&str]) -> Vec<&'static str> {
    let settings = settings(forward, on);
    assert_eq!(settings.check(), [], "{forward} with {on:?} is no error");
    match forward.starts_with("DMZ") {
        true => settings.dmz_notes(),
        false => settings.forwards[0].notes(&settings),
    }
}

/// As `POLICY.md` has it: letters in the table, sentences below.
fn table() -> String {
    let mut sentences: Vec<&str> = Vec::new();
    let mut text = "| forward |".to_owned();
    for (name, _) in FEATURES {
        let _ = write!(text, " {name} |");
    }
    text += "\n|---|---|---|---|---|---|---|\n";
    for forward in FORWARDS {
        let _ = write!(text, "| {forward} |");
        let itself = said(forward, &[]);
        let plain = said(forward, FEATURES[3].1);
        for (name, on) in FEATURES {
            // What is said of something else that is on as well is in another column.
            let known = |note: &&str| match name {
                "by itself" => false,
                "NAT traversal" => itself.contains(note) || plain.contains(note),
                _ => itself.contains(note),
            };
            let mut letters = Vec::new();
            for note in said(forward, on).into_iter().filter(|note| !known(note)) {
                let at = sentences.iter().position(|one| *one == note).unwrap_or_else(|| {
                    sentences.push(note);
                    sentences.len() - 1
                });
                letters.push(char::from(b'A' + u8::try_from(at).unwrap()).to_string());
            }
            let cell = if letters.is_empty() { "–".to_owned() } else { letters.join(", ") };
            let _ = write!(text, " {cell} |");
        }
        text.push('\n');
    }
    text.push('\n');
    for (at, sentence) in (b'A'..).zip(sentences) {
        let _ = writeln!(text, "- **{}**: “{sentence}”", char::from(at));
    }
    text
}

#[test]
fn every_pair_of_a_forward_and_a_feature_says_what_the_policy_says() {
    let table = table();
    println!("{table}");
    let policy = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/POLICY.md")).unwrap();
    assert!(policy.contains(&table), "POLICY.md has another table than this:\n{table}");
}

#[test]
fn whatever_takes_a_port_or_protocol_of_passthrough_is_explained_while_that_is_on_and_else_nothing_is() {
    for forward in FORWARDS {
        for (feature, on) in FEATURES.into_iter().skip(1) {
            let takes = match (feature, forward) {
                (_, "DMZ") => feature != "PPTP",
                (_, "DMZ beside ikev2") => feature == "L2TP",
                ("L2TP", _) => ["l2tp", "udp 1701", "udp 400-5000"].contains(&forward),
                ("NAT traversal", _) => ["l2tp", "ikev2", "udp 4500", "udp 400-5000"].contains(&forward),
                // GRE goes by its call, so nothing is taken.
                ("PPTP", _) => false,
                _ => ["l2tp", "ikev2", "udp 500", "udp 400-5000"].contains(&forward),
            };
            let plain = if feature == "NAT traversal" { FEATURES[3].1 } else { &[] };
            let more = said(forward, on).len() > said(forward, plain).len();
            assert_eq!(more, takes, "{forward} beside {feature}: {:?}", said(forward, on));
        }
    }
    let mut off = settings("ikev2", FEATURES[4].1);
    set(&mut off, "forwards.a", "ikev2 to 192.168.1.20 (off)").unwrap();
    assert_eq!(off.forwards[0].notes(&off), [""; 0], "off, it takes nothing");
}
