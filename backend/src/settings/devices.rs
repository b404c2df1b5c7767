//! `devices`: what the owner has named or given a fixed address.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::names::{Label, Mac};

/// One device of the home.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// Its hardware address.
    pub mac: Mac,
    /// The owner's name for it.
    pub name: Label,
    /// An address reserved for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
}
