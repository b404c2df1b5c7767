//! The programs that a hand becomes, and how each is called.

use std::net::Ipv4Addr;
use std::path::Path;
use std::process::{Command, Stdio};

use serde::{Deserialize, Serialize};

use crate::kernel::{dhcpcd, dnsmasq, udhcpc};
use crate::settings::names::{IfName, Mac};

/// A program that serves the home or asks the provider, with all that is chosen about it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(in crate::kernel) enum Program {
    /// udhcpc, which keeps an address for this port.
    Lease {
        /// The port.
        device: IfName,
        /// The hardware address to name; none: the port's own.
        mac: Option<Mac>,
        /// The address to ask for; none: any.
        address: Option<Ipv4Addr>,
    },
    /// udhcpc, which asks who lends at this port, and ends.
    Offer {
        /// The port.
        device: IfName,
    },
    /// dhcpcd, which keeps an IPv6 prefix.
    Prefix {
        /// The port.
        device: IfName,
    },
    /// dnsmasq, which reads what the daemon has written.
    Dnsmasq,
}

/// The folder of these programs' files, in that of the door (gone at boot) and in that of the state (kept). What they read and write lies
/// there, and nothing else of ours: on Debian they see no more of ours than that (packaging/systemd/postern-hand@.service). It is mounted
/// for them as it is when they start: it may be emptied, and must not be replaced.
pub const PROGRAMS: &str = "programs";

/// Where the files of these programs are.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernel) struct Places<'a> {
    /// Gone at boot.
    pub run: &'a Path,
    /// Kept.
    pub state: &'a Path,
}

impl Program {
    /// Whether somebody reads its standard error until it is up, and then no more: dnsmasq alone ignores SIGPIPE (dnsmasq.c, `main`), of
    /// which udhcpc dies.
    pub(super) fn is_heard(&self) -> bool {
        *self == Self::Dnsmasq
    }

    /// How it is called: in the foreground, in the root folder, with nothing of our environment; without standard input and output, and
    /// nobody hears its errors unless it is said otherwise. None: it is not on this box.
    pub(in crate::kernel) fn command(&self, places: Places<'_>) -> Option<Command> {
        let (program, words) = match self {
            Self::Lease { device, mac, address } => {
                (udhcpc::program()?, udhcpc::words(places, device, *mac, *address))
            }
            Self::Offer { device } => (udhcpc::program()?, udhcpc::offer_words(places, device)),
            Self::Prefix { device } => (dhcpcd::program()?, dhcpcd::words(places, device)),
            Self::Dnsmasq => {
                let mut words = dnsmasq::words(places).to_vec();
                words.push("--keep-in-foreground".to_owned());
                (dnsmasq::program()?, words)
            }
        };
        let mut command = Command::new(program);
        command
            .args(words)
            .env_clear()
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .current_dir("/")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Some(command)
    }
}
