//! `access.*` and `system.*`: how the admin page is reached, what the box is called.

use serde::{Deserialize, Serialize};

use super::names::{HostName, IdleMinutes, Port, TimeZone};

/// How the admin page is reached, from the local network only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Access {
    /// TCP port for HTTP.
    pub port: Port,
    /// Whether HTTPS is served.
    pub https: bool,
    /// TCP port for HTTPS.
    pub https_port: Port,
    /// A login ends after so many idle minutes, 1 to 60.
    pub idle_minutes: IdleMinutes,
}

impl Default for Access {
    fn default() -> Self {
        Self {
            port: Port::of(80),
            https: false,
            https_port: Port::of(443),
            idle_minutes: IdleMinutes::default(),
        }
    }
}

/// Name and time zone of the box.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct System {
    /// Host name.
    pub name: HostName,
    /// Time zone for what people read.
    pub timezone: TimeZone,
}
