//! Beside another firewall (role companion): VPN passthrough and nothing else, in chains that come before and after everybody
//! else's.
//!
//! What a chain of ours accepts goes on to the others' chains: a verdict of theirs is never taken back, and whatever they drop
//! stays dropped. So nothing is open here that they have closed. The chain that decides comes *after* theirs: what it learns, counts and
//! gives places to is what they let through.
//!
//! That they drop something is told by packets, never guessed: what begins a conversation is written down before their rules
//! (`..._lost_out`, `..._lost_in`) and struck out after them. What is left was dropped in between. What leaves without
//! translation is written down too, and what somebody's `notrack` has kept from it.

use serde::{Deserialize, Serialize};

use super::learnt::Learnt;
use super::table::{Chain, Table};
use super::{Capabilities, Sides, Vpn, passthrough};
use crate::settings::Settings;

/// Device and server.
const PAIR: &str = "ip saddr . ip daddr";
/// The same of what comes from the internet.
const PAIR_BACK: &str = "ip daddr . ip saddr";
/// What begins, or could not be told of by conntrack. What is known was let through once; what is invalid is nobody's.
const BEGINS: &str = "ct state new,related,untracked";

/// What keeps passthrough from working though our rules let it through, as seen from packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Defeat {
    /// Dropped by somebody else's rules on its way out.
    LostOut,
    /// Dropped by somebody else's rules on its way in.
    LostIn,
    /// Left with the device's own address: nobody translates it.
    Plain,
    /// Left with the device's own address: a rule of somebody else keeps it from conntrack.
    Untracked,
    /// PPTP only: a rule of somebody else attaches another helper to the control connection, which can have one. Shown by the
    /// connection itself: `ct helper` in a rule asks for the helper of the one that announced it (nft_ct.c).
    Helped,
}

impl Defeat {
    /// Those that packets fill sets with.
    pub const ALL: [Self; 4] = [Self::LostOut, Self::LostIn, Self::Plain, Self::Untracked];

    /// The set of the devices and servers that it befalls: four bytes each, the device first. None: no packet
    /// tells.
    pub fn set_of(self, vpn: Vpn) -> Option<&'static str> {
        self.learnt(vpn).map(|learnt| learnt.name)
    }

    fn learnt(self, vpn: Vpn) -> Option<Learnt> {
        let name = match (vpn, self) {
            (_, Self::Helped) => return None,
            (Vpn::Pptp, Self::LostOut) => "pptp_lost_out",
            (Vpn::Pptp, Self::LostIn) => "pptp_lost_in",
            (Vpn::Pptp, Self::Plain) => "pptp_plain",
            (Vpn::Pptp, Self::Untracked) => "pptp_untracked",
            (Vpn::L2tp, Self::LostOut) => "l2tp_lost_out",
            (Vpn::L2tp, Self::LostIn) => "l2tp_lost_in",
            (Vpn::L2tp, Self::Plain) => "l2tp_plain",
            (Vpn::L2tp, Self::Untracked) => "l2tp_untracked",
            (Vpn::Ipsec, Self::LostOut) => "ipsec_lost_out",
            (Vpn::Ipsec, Self::LostIn) => "ipsec_lost_in",
            (Vpn::Ipsec, Self::Plain) => "ipsec_plain",
            (Vpn::Ipsec, Self::Untracked) => "ipsec_untracked",
        };
        let why = match self {
            Self::LostOut => "to the internet: did not come out of the other firewall's rules",
            Self::LostIn => "from the internet: did not come out of the other firewall's rules",
            Self::Plain => "left with the device's own address",
            Self::Untracked => "left with the device's own address, kept from conntrack",
            Self::Helped => return None,
        };
        Some(Learnt::set(name, PAIR, "1m", why).sized(MOST))
    }
}

/// Most elements of one set: whoever forges addresses fills this, and costs 130 KB.
const MOST: u32 = 1024;

/// The set of the packets, by their source and destination, whose way through everybody's rules the kernel is to tell
/// (`nft monitor trace`).
pub const TRACED: &str = "traced";
const TRACED_SET: Learnt = Learnt::set(TRACED, PAIR, "5s", "whose way through all rules is told").sized(16);

/// Everything but what [`passthrough::rules`] adds.
pub(super) fn rules(table: &mut Table, sides: &Sides, settings: &Settings, capabilities: &Capabilities) {
    watch(table, sides, settings, capabilities);
    passthrough::shortcut(table, sides, settings, capabilities);
    let through = format!("{BEGINS} jump {}", Chain::CompanionThrough);
    table.rule(Chain::Forward, through, "what has come out of the other firewall's rules");
    for (side, chain) in [(sides.outward(), Chain::PassthroughOut), (sides.inward(), Chain::PassthroughIn)] {
        table.rule(
            Chain::Forward,
            format!("{side} jump {chain}"),
            "VPN passthrough: off ends open tunnels too",
        );
    }
}

fn watch(table: &mut Table, sides: &Sides, settings: &Settings, capabilities: &Capabilities) {
    passthrough::by_another_way(table, sides, passthrough::learns(settings, capabilities));
    table.rule(Chain::CompanionBefore, "ct state established,invalid accept", "only what begins is watched");
    table.rule(Chain::CompanionAfter, "ct state established,invalid accept", "only what begins is watched");
    let untranslated = format!("oifname \"{}\" ip saddr {1} ip daddr != {1}", sides.internet, sides.prefix);
    for watched in passthrough::watched(settings, capabilities) {
        let vpn = watched.vpn;
        for learnt in Defeat::ALL.into_iter().filter_map(|defeat| defeat.learnt(vpn)) {
            match watched.passes {
                true => table.learnt(&[learnt]),
                false => table.forgotten(&[learnt]),
            }
        }
        if !watched.passes {
            continue;
        }
        let (out, back) = (sides.outward(), sides.inward());
        for (side, pair, defeat, which) in
            [(out, PAIR, Defeat::LostOut, &watched.out), (back, PAIR_BACK, Defeat::LostIn, &watched.back)]
        {
            let Some(set) = defeat.set_of(vpn) else { continue };
            for one in which {
                let what = format!("{side} meta nfproto ipv4 {one}");
                table.rule(
                    Chain::CompanionBefore,
                    format!("{BEGINS} {what} update @{set} {{ {pair} }}"),
                    "struck out again if the other firewall lets it through",
                );
                table.rule(
                    Chain::CompanionThrough,
                    format!("{what} delete @{set} {{ {pair} }}"),
                    "the other firewall has let it through",
                );
            }
        }
        for one in &watched.out {
            for (state, defeat, why) in [
                ("untracked", Defeat::Untracked, "somebody's notrack: it cannot be translated"),
                ("new,related", Defeat::Plain, "nobody translates it"),
            ] {
                let Some(set) = defeat.set_of(vpn) else { continue };
                table.rule(
                    Chain::CompanionAfter,
                    format!("{untranslated} ct state {state} {one} update @{set} {{ {PAIR} }}"),
                    why,
                );
            }
        }
    }
    table.learnt(&[TRACED_SET]);
    // Before whatever others do at priority raw and later: their notrack is there.
    table.rule(
        Chain::Zone,
        format!("iifname \"{}\" {PAIR} @{TRACED} limit rate 5/second meta nftrace set 1", sides.local),
        "which rule of whom keeps it from conntrack: nft monitor trace",
    );
    table.rule(
        Chain::CompanionBefore,
        format!("{PAIR} @{TRACED} limit rate 5/second meta nftrace set 1"),
        "which rule of whom drops it: nft monitor trace",
    );
}
