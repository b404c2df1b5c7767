//! Packets to the router itself.

use super::table::{Chain, Counter, Table};
use super::{Share, Sides, share};
use crate::settings::Settings;

/// What follows from conversations this box takes part in; the same in every role.
pub(super) fn conversations(table: &mut Table) {
    table.rule(Chain::Input, "iifname \"lo\" accept", "this box talks to itself");
    known(table, Chain::Input);
}

/// Known conversations. Plain rules, and no verdict map: when a rule is swapped, the elements of its map go dark at
/// once, also for the packet that is just being looked up by the rule of before. It finds nothing, and an established
/// conversation loses it (measured: 20 of 11 million packets in 767 swaps; so written, and with sets, none).
pub(super) fn known(table: &mut Table, chain: Chain) {
    table.rule(chain, "ct state established accept", "a known conversation");
    table.rule(
        chain,
        format!("ct state related jump {}", Chain::Related),
        "what belongs to a known conversation",
    );
    table.rule(chain, format!("ct state invalid jump {}", Chain::Invalid), "what fits no known conversation");
}

/// IPv6 does not work without these, on either side (RFC 4890 section 4.4.1). Hop limit 255 proves that the sender
/// is on the same link (RFC 4861 sections 6.1 and 7.1). Conntrack leaves them untracked, so `ct state` lets them by.
pub(super) fn neighbours(table: &mut Table) {
    table.rule(
        Chain::Input,
        "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } \
         ip6 hoplimit 255 accept",
        "IPv6 neighbours and routers of the same link find each other",
    );
}

/// The end of the chain. The policy drops too; the rule holds in the instant in which a new policy is not yet armed.
pub(super) fn end(table: &mut Table) {
    table.rule(Chain::Input, format!("{} drop", Counter::InputDropped), "nobody asked for this");
}

pub(super) fn rules(table: &mut Table, sides: &Sides, settings: &Settings, per_device: Share) {
    conversations(table);
    neighbours(table);
    if settings.internet.ipv6_device().is_some() {
        // The client asks a group (ff02::1:2, RFC 8415 section 7.1), so the answer belongs to no conversation that conntrack knows.
        // Both link-local: nobody behind a router can send or be sent this.
        let answer = format!(
            "iifname \"{}\" ip6 saddr fe80::/10 ip6 daddr fe80::/10 udp dport 546 accept",
            sides.internet
        );
        table.rule(Chain::Input, answer, "the provider's DHCPv6 server answers (internet.ipv6)");
    }
    share::to_this_box(table, sides, per_device);
    let local = format!("iifname \"{}\" accept", sides.local);
    table.rule(Chain::Input, local, "the home may use every service of its router");
    if settings.firewall.ping {
        // Echo in an inet table: one rule for each family, since the type numbers differ (8 and 128).
        for (family, name) in [("icmp", "IPv4"), ("icmpv6", "IPv6")] {
            let rule = format!("iifname \"{}\" {family} type echo-request accept", sides.internet);
            table.rule(
                Chain::Input,
                rule,
                &format!("{name} ping from the internet is answered (firewall.ping)"),
            );
        }
    }
    end(table);
}
