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

/// The ports of a web page, and those that the admin page takes in their place: where another program has them, and beside another
/// firewall, where one may come any time (LuCI, as a rule, which starts after us).
pub const IN_PLACE: [(u16, u16); 2] = [(80, 8080), (443, 8443)];

impl Access {
    /// Every port that the page may be at, each once.
    pub fn ports(&self) -> Vec<u16> {
        let wanted = [Some(self.port), self.https.then_some(self.https_port)];
        let wanted = wanted.into_iter().flatten().map(Port::number);
        let mut all = Vec::new();
        for port in wanted {
            let instead = IN_PLACE.iter().find(|(of, _)| *of == port).map(|(_, instead)| *instead);
            for one in [Some(port), instead].into_iter().flatten() {
                if !all.contains(&one) {
                    all.push(one);
                }
            }
        }
        all
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
