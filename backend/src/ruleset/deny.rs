//! Deny: nothing is forwarded, and the home can still reach the admin page and SSH to put it right. It stands before
//! the first apply after boot, after `postern stop`, and when the settings cannot be read.

use super::table::{Chain, Standing, Table};
use super::{Ruleset, forward, input};
use crate::settings::Settings;

/// Private and link-local sources: RFC 1918, RFC 3927, RFC 4193, RFC 4291 section 2.5.6.
const HOME_IPV4: &str = "ip saddr { 10.0.0.0/8, 169.254.0.0/16, 172.16.0.0/12, 192.168.0.0/16 }";
const HOME_IPV6: &str = "ip6 saddr { fc00::/7, fe80::/10 }";

/// The deny rules. Where the LAN device is unknown (an unreadable store), sources that only a home has stand for it,
/// and never on the internet port.
pub fn deny(settings: &Settings) -> Ruleset {
    let mut table = Table::new(Standing::Router, "deny");
    input::conversations(&mut table);
    input::neighbours(&mut table);
    let (ipv4, ipv6) = home(settings);
    let ports = ports(settings);
    table.rule(Chain::Input, format!("{ipv4} {ports} accept"), "the home may reach SSH and the admin page");
    if ipv6 != ipv4 {
        table.rule(
            Chain::Input,
            format!("{ipv6} {ports} accept"),
            "the home may reach SSH and the admin page",
        );
    }
    if settings.local_network.device().is_some() {
        // Asked for from 0.0.0.0: by the device alone it is known whose question that is (RFC 2131 section 4.1).
        let dhcp = format!("{ipv4} udp dport 67 accept");
        table.rule(Chain::Input, dhcp, "the home gets addresses, to reach the admin page with");
    }
    let ping = "the home may ping its router";
    table.rule(Chain::Input, format!("{ipv4} icmp type echo-request accept"), ping);
    table.rule(Chain::Input, format!("{ipv6} icmpv6 type echo-request accept"), ping);
    input::end(&mut table);
    forward::end(&mut table);
    forward::errors(&mut table);
    forward::invalid(&mut table);
    table.ruleset()
}

/// Matches for IPv4 and for IPv6 from the home.
fn home(settings: &Settings) -> (String, String) {
    if let Some(device) = settings.local_network.device() {
        let home = format!("iifname \"{device}\"");
        return (home.clone(), home);
    }
    let internet = &settings.internet;
    let not_internet = match (&internet.device, internet.outside()) {
        (Some(port), Some(session)) if *port != session => {
            format!("iifname != {{ \"{port}\", \"{session}\" }} ")
        }
        (Some(port), _) => format!("iifname != \"{port}\" "),
        (None, _) => String::new(),
    };
    (format!("{not_internet}{HOME_IPV4}"), format!("{not_internet}{HOME_IPV6}"))
}

/// SSH, and wherever the admin page is: also where it is because another program has its port.
fn ports(settings: &Settings) -> String {
    let page: Vec<String> = settings.access.ports().iter().map(u16::to_string).collect();
    format!("tcp dport {{ 22, {} }}", page.join(", "))
}
