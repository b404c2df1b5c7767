//! The parsers of foreign bytes, each as one function of bytes, for the targets in `tests/fuzz`. Only there when it is built for
//! fuzzing (`--cfg fuzzing`, which cargo-fuzz sets).

#![allow(clippy::expect_used)]

use std::collections::BTreeMap;

use crate::settings::{Role, Settings};
use crate::{backup, door, kernel, ruleset, services, sides, tools, uci};

/// Requests as the web process would send them.
pub fn door(bytes: &[u8]) {
    door::fuzz::requests(bytes);
}

/// A settings document. What is accepted survives being written down, and compiles to a firewall whose chains end in drop and, unless
/// it is wanted, let nothing in from the internet.
pub fn settings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Ok(settings) = Settings::from_toml(text) else { return };
    assert_eq!(Settings::from_toml(&settings.to_toml()).as_ref(), Ok(&settings));
    if !settings.check().is_empty() {
        return;
    }
    let rules = ruleset::compile(&settings, &ruleset::Capabilities::everything());
    if settings.role == Role::Router {
        let text = rules.to_string();
        for hook in ["input", "forward"] {
            let head =
                format!("\tchain {hook} {{\n\t\ttype filter hook {hook} priority filter; policy drop;\n");
            assert!(text.contains(&head), "{hook}: {text}");
            let rules = ruleset::unasked::filled(&text, hook);
            let last = rules.last().copied().unwrap_or_default();
            assert!(last.contains(&format!("counter name \"{hook}_dropped\" drop")), "{hook}: {text}");
        }
        if ruleset::unasked::nothing_wanted(&settings) {
            assert_eq!(ruleset::unasked::accepted(&settings, &text), None, "{text}");
        }
    }
}

/// A backup file.
pub fn restore(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    backup::fuzz(text);
}

/// What the kernel tells of connections.
pub fn conntrack(bytes: &[u8]) {
    kernel::fuzz::conntrack(bytes);
}

/// What the kernel tells of tables, rules and elements.
pub fn nft(bytes: &[u8]) {
    kernel::fuzz::nft(bytes);
}

/// dnsmasq's leases.
pub fn leases(bytes: &[u8]) {
    for lease in services::leases::parse(bytes) {
        assert!(lease.name.is_none_or(|name| !name.chars().any(char::is_control)));
    }
}

/// What a DHCP client hands on: lines of `word=value`.
pub fn dhcp(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let words: BTreeMap<&str, &str> = text.lines().filter_map(|line| line.split_once('=')).collect();
    let word = |name: &str| words.get(name).map(|value| (*value).to_owned());
    let device: crate::settings::names::IfName = "wan".parse().expect("a name");
    drop(services::InternetLease::read(device.clone(), &word));
    if let Ok(delegated) = services::Delegated::read(device, &word) {
        drop(delegated.addresses());
        drop(delegated.at("", u64::MAX));
    }
}

/// DNS answers: copies of ours, and answers to the owner's questions.
pub fn dns(bytes: &[u8]) {
    kernel::fuzz::answers(bytes);
    tools::fuzz::lookup(bytes);
}

/// Answers to pings and traces.
pub fn icmp(bytes: &[u8]) {
    tools::fuzz::ping(bytes);
}

/// OpenWrt's configuration: three files, a line of `---` between them. What is taken of it passes every check.
pub fn uci(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let mut files = text.split("\n---\n");
    let mut next = || files.next().unwrap_or_default();
    let files = uci::Files { network: next(), firewall: next(), dhcp: next() };
    if let Ok(read) = uci::read(&files, &Settings::default(), &uci::Part::ALL) {
        assert_eq!(read.settings.check(), []);
    }
    let said = sides::Said {
        uci: [files.network.to_owned(), files.firewall.to_owned(), files.dhcp.to_owned()],
        zones: vec![files.dhcp.to_owned()],
        route: files.dhcp.to_owned(),
        addresses: files.dhcp.to_owned(),
    };
    drop(sides::propose(&said));
}
