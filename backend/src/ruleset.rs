//! What the kernel shall do, as a value: nft text, rendered from validated types.
//!
//! [`compile`] is pure: settings and what the kernel can do go in, text comes out. No I/O, no clock. What the rules
//! mean, packet by packet, stands in `backend/POLICY.md`; what they look like, in `tests/rulesets/`.
//!
//! A ruleset is one transaction. It declares the table's objects and chains, flushes the *rules* of the table and
//! fills the same chains again: measured over 206,984 probes, a swap made so never lets a packet slip through, while
//! deleting and making the table anew does (the kernel arms a new chain's drop policy only at the end of the commit).
//! Hence every ruleset has the same chains, whatever it allows.

mod admin;
mod attempts;
mod capabilities;
#[cfg(test)]
mod closed;
mod companion;
mod deny;
mod ended;
mod forward;
pub mod forwards;
#[cfg(test)]
mod golden;
pub mod helpers;
mod input;
mod learnt;
#[cfg(test)]
mod model;
mod names;
mod nat;
mod passthrough;
mod permanent;
pub mod share;
mod sources;
mod sysctls;
mod table;
#[cfg(test)]
mod tests;
#[cfg(any(test, fuzzing))]
pub(crate) mod unasked;

use std::collections::BTreeSet;
use std::fmt;

use crate::settings::names::IfName;
use crate::settings::{Role, Settings};

pub use attempts::{REMEMBERED, Switch, Vpn, tried_by};
pub use capabilities::{Capabilities, Feature};
pub use companion::{Defeat, TRACED};
pub use deny::deny;
pub use ended::hold_off;
pub use helpers::Helper;
pub use names::ANSWERS;
pub use passthrough::{CONFIRMED, KEPT, learns};
pub use passthrough::{PassthroughFlows, ended_by, let_in_ended_by, passed_flows, passthrough_flows};
pub use passthrough::{Places, pair_of, places, withdrawn};
pub use share::Share;
pub use sysctls::{INSPECTING, sysctls};
pub use table::{ABOUT, Counter, SCHEMA};

use table::{Standing, Table};

/// One whole `inet postern` table as nft text: a transaction that `nft -f -` takes as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ruleset {
    about: Option<String>,
    text: String,
}

impl Ruleset {
    /// What the loaded table says of itself, for example `postern schema 2, role router`: the comment of the one
    /// rule in the chain [`ABOUT`]. `None`: after this ruleset there is no table.
    ///
    /// It is a rule's comment because the kernel keeps the comment a *table* was made with and silently ignores a
    /// new one (nf_tables_updtable changes flags only).
    pub fn about(&self) -> Option<&str> {
        self.about.as_deref()
    }

    /// The same, with the table made anew in that one transaction: chains, sets and objects that somebody else has put
    /// into it go, and so does what it has learnt and counted. Every chain still ends in an explicit drop, without
    /// which making a table anew leaks (17 of 187,340 probes; with it, 0 of 203,330).
    pub fn anew(self) -> Self {
        Self { text: format!("{}{}", absent().text, self.text), ..self }
    }
}

impl Ruleset {
    /// The same for a kernel that may hold the table of another role: in that one transaction the chains go that only the other
    /// has, whether they are there or not. A `forward` that drops by its policy would close a companion's box.
    pub fn from_another_role(self) -> Self {
        let Some(about) = &self.about else { return self };
        let standing = if beside_others(Some(about)) { Standing::Companion } else { Standing::Router };
        Self { text: table::without_chains_of_others(standing) + &self.text, ..self }
    }
}

impl fmt::Display for Ruleset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// Which conntrack entries: by protocol number and the server's port in the original direction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FlowMatch {
    /// IP protocol number.
    pub protocol: u8,
    /// Destination port of the first packet; `None`: any, and for protocols without ports.
    pub server_port: Option<u16>,
}

impl FlowMatch {
    /// Whether a flow of this protocol to this server port is one of these.
    pub fn covers(self, protocol: u8, server_port: u16) -> bool {
        self.protocol == protocol && self.server_port.is_none_or(|port| port == server_port)
    }
}

/// The two sides of a router: no rule that lets a packet through does without both.
struct Sides {
    internet: IfName,
    local: IfName,
    /// Role companion: another firewall has a say, and its own rules for the rest.
    beside_others: bool,
    /// The LAN's IPv4 network, as nft writes it.
    prefix: String,
}

impl Sides {
    fn of(settings: &Settings) -> Option<Self> {
        let beside_others = settings.role == Role::Companion;
        let internet = settings.internet_side()?;
        let local = settings.local_network.device()?;
        let address = settings.local_network.address;
        let prefix = format!("{}/{}", address.network(), address.prefix());
        (settings.internet.device.as_ref() != Some(&local)).then_some(Self {
            internet,
            local,
            beside_others,
            prefix,
        })
    }

    /// Matches what leaves the home for the internet.
    fn outward(&self) -> String {
        format!("iifname \"{}\" oifname \"{}\"", self.local, self.internet)
    }

    /// Matches what comes from the internet into the home.
    fn inward(&self) -> String {
        format!("iifname \"{}\" oifname \"{}\"", self.internet, self.local)
    }

    /// Matches what goes from one device of the home to another.
    fn is_device(&self) -> String {
        format!("iifname \"{0}\" oifname \"{0}\"", self.local)
    }
}

/// The rules that `settings` ask for. A router that does not know its two sides gets [`deny()`]; a companion that does not, and who
/// has no role, gets [`absent`].
pub fn compile(settings: &Settings, capabilities: &Capabilities) -> Ruleset {
    let sides = Sides::of(settings);
    match (settings.role, sides) {
        (Role::Router, Some(sides)) => router(&sides, settings, capabilities),
        (Role::Router, None) => deny(settings),
        (Role::Companion, Some(sides)) => beside_another(&sides, settings, capabilities),
        (Role::Companion, None) | (Role::Unset, _) => absent(),
    }
}

/// What stands when nothing better can be had: before the first apply, after `postern stop`, with settings that cannot be
/// put into force. A router denies; beside another firewall nothing of ours is left.
pub fn at_rest(settings: &Settings) -> Ruleset {
    match settings.role {
        Role::Companion => absent(),
        Role::Router | Role::Unset => deny(settings),
    }
}

fn router(sides: &Sides, settings: &Settings, capabilities: &Capabilities) -> Ruleset {
    let mut table = Table::new(Standing::Router, "role router");
    if capabilities.knows(Helper::Pptp) {
        table.helper(Helper::Pptp);
    }
    sources::rules(&mut table, sides, settings, capabilities);
    admin::rules(&mut table, sides, settings);
    let share = Share::of(capabilities.connections);
    input::rules(&mut table, sides, settings, share);
    passthrough::shortcut(&mut table, sides, settings, capabilities);
    share::through(&mut table, sides, share);
    let helpers = !helpers::on(settings, capabilities).is_empty();
    forward::rules(&mut table, sides, settings, capabilities, helpers);
    helpers::rules(&mut table, sides, settings, capabilities);
    forwards::exempt(&mut table, sides, settings, capabilities);
    passthrough::rules(&mut table, sides, settings, capabilities);
    forwards::rules(&mut table, sides, settings, capabilities);
    nat::rules(&mut table, sides);
    names::rules(&mut table, sides, settings, capabilities);
    table.ruleset()
}

fn beside_another(sides: &Sides, settings: &Settings, capabilities: &Capabilities) -> Ruleset {
    let mut table = Table::new(Standing::Companion, "role companion");
    if capabilities.knows(Helper::Pptp) {
        table.helper(Helper::Pptp);
    }
    companion::rules(&mut table, sides, settings, capabilities);
    passthrough::rules(&mut table, sides, settings, capabilities);
    table.ruleset()
}

/// Whether a table that says this of itself (see [`Ruleset::about`]) is a companion's.
pub fn beside_others(about: Option<&str>) -> bool {
    about.is_some_and(|about| about.ends_with(", role companion"))
}

/// Whether a table that says this of itself (see [`Ruleset::about`]) is one that forwards nothing.
pub fn denies(about: &str) -> bool {
    about.ends_with(", deny")
}

/// Every chain of our table by name, in order of the alphabet. One that is not among them is not ours.
pub fn chains(role: Role) -> BTreeSet<String> {
    let standing = if role == Role::Companion { Standing::Companion } else { Standing::Router };
    let ours = table::Chain::ALL.into_iter().filter(|chain| chain.stands(standing));
    ours.map(|chain| chain.name().to_owned()).collect()
}

/// No table: Postern has no say on this box. Adding it first lets the deletion succeed where there is none
/// (`destroy` would say the same, but nft 1.0.6 and kernels before 6.3 do not know it).
pub fn absent() -> Ruleset {
    Ruleset { about: None, text: "add table inet postern\ndelete table inet postern\n".to_owned() }
}
