//! How many at a time: `passthrough.session_limit`, and who comes first when there is no place: `passthrough.priority`.
//!
//! A session is a device and a server, of IPv4. Each takes an element of a set whose size is the limit, so the kernel itself
//! counts, exactly, whatever comes at once. Whoever has one keeps it, and whatever conntrack knows goes on without one: only what
//! begins is refused. The daemon takes an element out when conntrack knows nothing of the two any more (see `places.rs` of the
//! appliance); without a daemon it goes by its own timeout.
//!
//! `ct count` would not do: it knows no pairs, a swap makes it count anew, and nobody can tell it what runs already.

use std::net::Ipv4Addr;

use super::permission::set_of;
use crate::ruleset::attempts::Vpn;
use crate::ruleset::learnt::Learnt;
use crate::ruleset::table::{Chain, Table};
use crate::settings::Settings;
use crate::settings::passthrough::Limit;

/// Device and server, in what the home sends.
const PAIR: &str = "ip saddr . ip daddr";

/// The places of one protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Places {
    /// Whose.
    pub vpn: Vpn,
    /// How many there are.
    pub limit: u16,
}

impl Places {
    /// The set whose elements are the places taken: device and server, four bytes each. The size of a set cannot be changed on
    /// most kernels, so it is part of the name.
    pub fn set(self) -> String {
        format!("{}_sessions_{}", self.vpn.name(), self.limit)
    }

    /// As long as conntrack remembers the last of such a session: GRE 5 hours, protocols without ports an hour
    /// (`sysctls.rs`).
    fn timeout(self) -> &'static str {
        if self.vpn == Vpn::Pptp { "5h" } else { "1h" }
    }

    fn declared(self) -> String {
        format!(
            "\tset {} {{\n\t\ttypeof {PAIR}\n\t\tsize {}\n\t\tflags dynamic,timeout\n\t\ttimeout {}\n\t\tcomment \"{} sessions: each \
             has a place\"\n\t}}\n",
            self.set(),
            self.limit,
            self.timeout(),
            self.vpn.title()
        )
    }

    /// Has its one element while a device that comes first waits for a place.
    fn first(self) -> Learnt {
        let name = match self.vpn {
            Vpn::Pptp => "pptp_first",
            Vpn::L2tp => "l2tp_first",
            Vpn::Ipsec => "ipsec_first",
        };
        let why = "a device of passthrough.priority waits for a place";
        Learnt::set(name, "meta nfproto", "1m", why).sized(1)
    }

    fn chain(self) -> Chain {
        match self.vpn {
            Vpn::Pptp => Chain::PptpPlaces,
            Vpn::L2tp => Chain::L2tpPlaces,
            Vpn::Ipsec => Chain::IpsecPlaces,
        }
    }

    /// Where its packets come by.
    fn from(self) -> &'static [Chain] {
        match self.vpn {
            Vpn::Pptp => &[Chain::PptpOut],
            Vpn::L2tp => &[Chain::L2tpOut],
            Vpn::Ipsec => &[Chain::IpsecOut, Chain::NatTraversalOut],
        }
    }
}

/// Device and server of an element's key.
pub fn pair_of(key: &[u8]) -> Option<(Ipv4Addr, Ipv4Addr)> {
    let (client, server) = key.split_first_chunk::<4>()?;
    Some((Ipv4Addr::from(*client), Ipv4Addr::from(<[u8; 4]>::try_from(server).ok()?)))
}

/// Those that are limited.
pub fn places(settings: &Settings) -> Vec<Places> {
    let limits = &settings.passthrough.session_limit;
    let all = [(Vpn::Pptp, limits.pptp), (Vpn::L2tp, limits.l2tp), (Vpn::Ipsec, limits.ipsec)];
    let limited = all.into_iter().filter_map(|(vpn, limit)| match limit {
        Limit::None => None,
        Limit::AtMost(limit) => Some(Places { vpn, limit }),
    });
    limited.collect()
}

/// Before anything is learnt or counted as passed. `on`: which protocols pass at all.
pub(super) fn rules(table: &mut Table, settings: &Settings, on: impl Fn(Vpn) -> bool) {
    let devices = set_of(&settings.passthrough.priority);
    for places in places(settings).into_iter().filter(|places| on(places.vpn)) {
        let (vpn, chain, set) = (places.vpn, places.chain(), places.set());
        table.declare(places.declared());
        table.learnt(&[vpn.limited()]);
        // What is off takes no place.
        let passes =
            |chain: &Chain| *chain != Chain::NatTraversalOut || settings.passthrough.ipsec.nat_traversal;
        for from in places.from().iter().copied().filter(passes) {
            let why = format!("at most {} sessions at a time (passthrough.session_limit)", places.limit);
            table.rule(from, format!("meta nfproto ipv4 jump {chain}"), &why);
        }
        let take = format!("update @{set} {{ {PAIR} }}");
        let mut rule = |rule: String, why| table.rule(chain, rule, why);
        rule(format!("{PAIR} @{set} {take} return"), "has a place, and keeps it");
        rule(format!("ct state != new {take} return"), "runs already: takes a place, if there is one");
        rule("ct state != new return".into(), "runs already, and goes on");
        if devices.is_empty() {
            rule(format!("{take} return"), "takes a place");
        } else {
            let first = places.first();
            let name = first.name;
            let wakes =
                format!("ether saddr {{ {devices} }} {take} delete @{name} {{ meta nfproto }} return");
            rule(wakes, "comes first, and takes a place");
            rule(
                format!("meta nfproto != @{name} {take} return"),
                "takes a place: none that comes first waits",
            );
            let waits = format!("ether saddr {{ {devices} }} update @{name} {{ meta nfproto }}");
            rule(waits, "comes first: the next place is kept for it, for a minute");
            table.learnt(&[first]);
        }
        table.rule(chain, vpn.counts(vpn.limited()), "who finds no place");
        table.rule(chain, format!("{} goto {}", vpn.refused(), Chain::Refused), "every place is taken");
    }
}
