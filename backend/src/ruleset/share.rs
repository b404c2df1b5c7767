//! No device of the home takes more than its share of the connection table: else one that is infected, or a file sharing program,
//! fills it, and nobody can dial any more.
//!
//! The kernel's own count for each source (`ct count`) walks a list of all its connections for each new one (nf_conncount.c), and a
//! device may hold a hundred thousand. So the rules only bound how fast a device opens connections, by a token bucket for each hardware
//! address: one look-up. And the daemon, which looks at the box every few seconds anyway, counts who holds how many as soon as
//! somebody can hold too many, and has the new ones of whoever holds more than a third refused ([`OVER`]; `appliance/share.rs`).
//!
//! **Half of the table is never passed** by what one hardware address begins (exceptions: POLICY, "Not met"). Of room for M: who held M/3 at the last look has, t seconds later,
//! M/3 + M/16 (the burst) + t × M/128 (the rate) at most; for the 10 s that may pass between two looks that is 0.474 M. Refused, it
//! goes on to be answered by this box's DNS and DHCP: M/16384 a second for the 300 s that such an entry lives are 0.018 M more.
//!
//! What is in the table already is never asked, and so no call, tunnel or download that runs is lost.

use super::Sides;
use super::learnt::Learnt;
use super::table::{Chain, Counter, Table};

/// What the connection table of this box takes, and what of it one device may have. Numbers of entries, or of entries a second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Share(u64);

impl Share {
    /// Of a table that takes `room` entries (nf_conntrack_max).
    pub const fn of(room: u64) -> Self {
        Self(room)
    }

    /// Who holds more opens no new ones, until it holds less than [`Self::again`].
    pub const fn most(self) -> u64 {
        self.0 / 3
    }

    /// See [`Self::most`].
    pub const fn again(self) -> u64 {
        self.0 / 6
    }

    /// What the rules count with: a table that nobody knows, or a tiny one, is as if it took 8,192 (64 new connections a second, 512 at
    /// once), so that a web page is never held up. On such a box half of it is not promised.
    fn counted(self) -> u64 {
        self.0.max(8192)
    }

    /// New connections a second.
    fn rate(self) -> u64 {
        self.counted() / 128
    }

    /// New connections at once: none was for as long as they would take at that rate, 8 s.
    fn burst(self) -> u64 {
        self.counted() / 16
    }

    /// New questions a second to what this box serves, beside those.
    fn served(self) -> u64 {
        (self.counted() / 16_384).clamp(1, 20)
    }
}

/// The set of the devices that open no new connections: hardware addresses. The daemon fills it and takes them out again; were it gone
/// for good, they would be forgotten.
pub const OVER: &str = "share_over";
const OVER_SET: Learnt =
    Learnt::set(OVER, "ether saddr", "10m", "devices that hold too much of the connection table").sized(1024);
/// Whose addresses are whose, as the packets tell that begin something: also those that no device has (forged), and IPv6's. Key:
/// hardware address, address; each part begins at a multiple of four bytes. As long as an entry of TCP lives: what a device
/// has parked in the table must not become nobody's.
pub const OWNERS: [&str; 2] = ["share_ipv4", "share_ipv6"];
/// Most elements of each of [`OWNERS`].
pub const MOST_OWNED: usize = 32_768;

const IPV4: &str = "ether saddr . ip saddr";
const IPV6: &str = "ether saddr . ip6 saddr";
const LEARNT: [Learnt; 6] = [
    OVER_SET,
    Learnt::set(OWNERS[0], IPV4, "1d", "devices and their IPv4 addresses"),
    Learnt::set(OWNERS[1], IPV6, "1d", "devices and their IPv6 addresses"),
    Learnt::set("share_new", "ether saddr", "1h", "new addresses of a device, limited"),
    Learnt::set("share_rate", "ether saddr", "2m", "new connections of a device, limited"),
    Learnt::set("share_served", "ether saddr", "2m", "questions of a device to our DNS and DHCP"),
];

/// What will make an entry. What conntrack has in its table may still be `new`: nobody has answered yet.
const BEGINS: &str = "ct state new,related ct status & confirmed == 0";

/// In `chain`, `input` or `forward`: before anything that lets the home's new connections pass.
fn asked(table: &mut Table, chain: Chain, sides: &Sides) {
    let rule = format!("iifname \"{}\" {BEGINS} jump {}", sides.local, Chain::Share);
    table.rule(chain, rule, "no device of the home takes more than its share of the connection table");
}

/// Through this box.
pub(super) fn through(table: &mut Table, sides: &Sides, share: Share) {
    asked(table, Chain::Forward, sides);
    table.learnt(&LEARNT);
    let refused = Counter::ShareRefused;
    let mut rule = |text: String, why| table.rule(Chain::Share, text, why);
    rule(format!("ether saddr @{OVER} goto {}", Chain::ShareOver), "it holds more than a third of it");
    for (key, set) in [(IPV4, OWNERS[0]), (IPV6, OWNERS[1])] {
        // Or a device that forges them would be a thousand devices.
        rule(
            format!(
                "{key} != @{set} update @share_new {{ ether saddr limit rate over 4/minute burst 250 packets }} {refused} drop"
            ),
            "more addresses than a device has",
        );
        rule(format!("update @{set} {{ {key} }}"), "whose address this is");
    }
    let (rate, burst) = (share.rate(), share.burst());
    rule(
        format!(
            "update @share_rate {{ ether saddr limit rate over {rate}/second burst {burst} packets }} {refused} drop"
        ),
        "too many new connections at once: it tries again",
    );
    // Those who flood are not answered one by one.
    let told = format!("limit rate 100/second burst 100 packets {refused} goto {}", Chain::Refused);
    table.rule(Chain::ShareOver, told, "a program is told at once");
    table.rule(Chain::ShareOver, format!("{refused} drop"), "it holds more than a third of it");
}

/// To this box itself. Its page is not asked: it goes past conntrack (`admin.rs`).
pub(super) fn to_this_box(table: &mut Table, sides: &Sides, share: Share) {
    let served = format!(
        "iifname \"{}\" udp dport {{ 53, 67, 547 }} {BEGINS} update @share_served {{ ether saddr limit rate {}/second burst 100 packets }} \
         accept",
        sides.local,
        share.served()
    );
    table.rule(Chain::Input, served, "every device is answered by our DNS and DHCP, whatever else it does");
    asked(table, Chain::Input, sides);
}

#[cfg(test)]
mod tests {
    use super::super::tests::{chain, with};
    use super::super::{Capabilities, compile};
    use super::*;

    /// Seconds between two looks of the daemon, at most.
    const BETWEEN: u64 = 10;
    /// How long an entry of DNS lives (nf_conntrack_udp_timeout_stream, `sysctls.rs`).
    const LIVES: u64 = 300;

    #[test]
    fn burst_rate_and_threshold_add_up_to_less_than_half_of_every_table_from_8192_on() {
        for room in (13..=22).map(|bits| 1 << bits).chain([31_744, 10_000, 300_000]) {
            let share = Share::of(room);
            let by_then = share.most() + share.burst() + BETWEEN * share.rate();
            assert!(by_then < room / 2, "{room}: {by_then}");
            if room >= 16_384 {
                // Questions to this box: a burst, and what lives of the rate.
                assert!(by_then + LIVES * share.served() < room / 2, "{room}");
            }
            assert!(share.again() < share.most());
        }
    }

    #[test]
    fn a_web_page_is_never_held_up_and_a_table_that_nobody_knows_has_limits_too() {
        for room in [0, 1, 4096, 16_384] {
            let share = Share::of(room);
            assert!(share.rate() >= 64 && share.burst() >= 512 && share.served() >= 1, "{room}");
        }
        assert_eq!((Share::of(262_144).rate(), Share::of(262_144).burst()), (2048, 16_384));
    }

    #[test]
    fn what_the_home_begins_is_asked_before_anything_lets_it_pass_and_what_is_known_is_not() {
        let ruleset = compile(&with(&[("passthrough.pptp.enabled", "true")]), &Capabilities::everything());
        for (name, before) in [
            ("forward", "iifname \"eth1\" oifname \"eth0\" jump passthrough_out"),
            ("input", "iifname \"eth1\" accept"),
        ] {
            let rules = chain(&ruleset, name);
            let asked = rules.iter().position(|rule| rule.contains(" jump share ")).unwrap();
            let lets_pass = rules.iter().position(|rule| rule.starts_with(before)).unwrap();
            assert!(asked < lets_pass, "{name}: {rules:#?}");
            let begins = "iifname \"eth1\" ct state new,related ct status & confirmed == 0 jump share ";
            assert!(rules[asked].starts_with(begins), "{}", rules[asked]);
        }
        let before = chain(&ruleset, "input");
        let served = before.iter().position(|rule| rule.contains("@share_served")).unwrap();
        assert!(before[served + 1].contains(" jump share "), "DNS and DHCP have their own");
    }

    #[test]
    fn beside_another_firewall_there_is_none_of_it() {
        let text = compile(&with(&[("role", "companion")]), &Capabilities::everything()).to_string();
        let (_, rules) = text.split_once("flush table inet postern\n").unwrap();
        assert!(!rules.contains("share") && !text.contains("chain share"), "{rules}");
    }
}
