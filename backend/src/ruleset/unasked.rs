//! What the rules of a router let in from the internet that nobody asked for, read from their text: for tests and fuzzing.

use crate::settings::firewall::Ipv6Ipsec;
use crate::settings::names::{DmzHost, Spi};
use crate::settings::{Role, Settings};

/// What every host must hear unasked: errors about conversations (RFC 4890 section 4.3.1, RFC 5508), and neighbours (RFC 4861).
pub(crate) const ICMP: [&str; 3] = [
    "icmp type { destination-unreachable, time-exceeded, parameter-problem } accept",
    "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept",
    "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept",
];

/// Whether these settings let nothing in on purpose: a router without forwards and DMZ, that inspects, and is strict over IPv6.
pub(crate) fn nothing_wanted(settings: &Settings) -> bool {
    settings.role == Role::Router
        && !settings.forwards.iter().any(|forward| forward.enabled)
        && settings.firewall.dmz == DmzHost::None
        && settings.firewall.spi == Spi::On
        && settings.firewall.ipv6_ipsec == Ipv6Ipsec::Strict
}

/// The lines of a chain: it is declared with its policy, emptied, and filled after that.
pub(crate) fn filled<'a>(rules: &'a str, chain: &str) -> Vec<&'a str> {
    let head = format!("\tchain {chain} {{");
    let filled = rules.split_once("flush table inet postern\n").map_or("", |(_, filled)| filled);
    let inside = filled.lines().skip_while(|line| *line != head).skip(1);
    inside.take_while(|line| *line != "\t}").collect()
}

/// The first rule of the chains `input` and `forward` of `rules` that accepts what begins in the internet, where
/// [`nothing_wanted`]; none: as it shall be.
pub(crate) fn accepted<'a>(settings: &Settings, rules: &'a str) -> Option<&'a str> {
    let outside = settings.internet_side()?;
    let outside = format!("iifname \"{outside}\"");
    let mut asked_for = ICMP.map(str::to_owned).to_vec();
    // DHCPv6 answers of the same link (RFC 8415 section 7.2).
    asked_for.push(format!("{outside} ip6 saddr fe80::/10 ip6 daddr fe80::/10 udp dport 546 accept"));
    if settings.firewall.ping {
        asked_for.extend(["icmp", "icmpv6"].map(|it| format!("{outside} {it} type echo-request accept")));
    }
    let inside = ["input", "forward"].into_iter().flat_map(|chain| filled(rules, chain));
    let rules = inside.map(|line| line.trim().split(" comment \"").next().unwrap_or_default());
    let elsewhere = |rule: &str| rule.starts_with("iifname \"") && !rule.starts_with(&outside);
    rules.into_iter().find(|rule| {
        rule.ends_with("accept")
            && !elsewhere(rule)
            && !rule.ends_with("ct state established accept")
            && !asked_for.iter().any(|known| known == rule)
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Capabilities, compile};
    use super::*;
    use crate::settings::keys;

    #[test]
    fn a_rule_that_lets_the_internet_in_is_found_and_a_strict_router_has_none() {
        let mut settings = Settings::default();
        let mut set = |key, value| keys::set(&mut settings, key, value).unwrap();
        set("role", "router");
        set("internet.device", "wan0");
        set("local_network.devices", "lan0");
        set("firewall.ipv6_ipsec", "strict");
        assert!(nothing_wanted(&settings) && settings.check().is_empty());
        for ping in ["false", "true"] {
            keys::set(&mut settings, "firewall.ping", ping).unwrap();
            let text = compile(&settings, &Capabilities::everything()).to_string();
            assert_eq!(accepted(&settings, &text), None);
            for chain in ["input", "forward"] {
                let head = format!("\tchain {chain} {{\n");
                let mend = |rule: &str| text.replace(&head, &format!("{head}\t\t{rule} comment \"x\"\n"));
                for open in
                    ["tcp dport 22 accept", "iifname \"wan0\" accept", "iifname != \"lan0\" accept", "accept"]
                {
                    assert_eq!(accepted(&settings, &mend(open)), Some(open), "{chain}");
                }
                assert_eq!(accepted(&settings, &mend("iifname \"lan0\" accept")), None);
            }
        }
        keys::set(&mut settings, "forwards.web", "tcp 80 to 192.168.1.20").unwrap();
        assert!(!nothing_wanted(&settings));
    }
}
