//! What a kernel and its nft can do, as far as rules depend on it. Asked of them and never guessed (see
//! `kernel/capabilities.rs`); what is missing costs its feature and nothing else.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::helpers::Helper;

/// What this kernel and its nft can do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Helpers all of whose objects can be made.
    pub helpers: BTreeSet<Helper>,
    /// Each client of one IPsec server can have a conntrack zone of its own: `ct zone set`, raw payload, `fib`,
    /// sets and maps that rules fill.
    pub many_clients: bool,
    /// Ports can be forwarded, and forged sources told by their way back: `fib`, which tells what is addressed to this box, and
    /// translation by a map.
    pub forwards: bool,
    /// Connections can be told of when they end (`ct event set`): NF_CONNTRACK_EVENTS is there.
    pub events: bool,
    /// Packets can be copied to the daemon (`log group`): nfnetlink_log is there.
    pub names: bool,
    /// Most entries of the connection table (nf_conntrack_max); 0: not known.
    pub connections: u64,
    /// Flow tables can be made. No rule of ours uses them: see "Flow tables" in `backend/POLICY.md`.
    pub flow_tables: bool,
}

impl Capabilities {
    /// A kernel that can do everything, with the connection table of a box with memory to spare.
    pub fn everything() -> Self {
        Self {
            helpers: Helper::ALL.into(),
            many_clients: true,
            forwards: true,
            events: true,
            names: true,
            connections: 262_144,
            flow_tables: true,
        }
    }

    /// A kernel that can do nothing of this.
    pub fn nothing() -> Self {
        Self {
            helpers: BTreeSet::new(),
            many_clients: false,
            forwards: false,
            events: false,
            names: false,
            connections: 0,
            flow_tables: false,
        }
    }

    /// Whether the kernel has the helper.
    pub fn knows(&self, helper: Helper) -> bool {
        self.helpers.contains(&helper)
    }

    /// What is missing, in the order of the pages. Flow tables are not among them: nothing wants them.
    pub fn missing(&self) -> Vec<Feature> {
        let helpers = Helper::ALL.into_iter().filter(|helper| !self.knows(*helper)).map(Feature::Helper);
        let many_clients = (!self.many_clients).then_some(Feature::ManyClients);
        let forwards = (!self.forwards).then_some(Feature::Forwards);
        let events = (!self.events).then_some(Feature::Events);
        let names = (!self.names).then_some(Feature::Names);
        many_clients.into_iter().chain(forwards).chain(events).chain(names).chain(helpers).collect()
    }
}

/// One thing that a kernel may lack.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Feature {
    /// A conntrack helper.
    Helper(Helper),
    /// Several IPsec clients of one server.
    ManyClients,
    /// Port forwards and the DMZ.
    Forwards,
    /// To hear of ended PPTP calls.
    Events,
    /// To hear of DNS answers, for the names of servers.
    Names,
}
