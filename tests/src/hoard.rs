//! One device that takes as much of the router's connection table as it can get.

use serde_json::Value;

use crate::host::Host;
use crate::lab::Lab;
use crate::process::Process;
use crate::topology::address;
use crate::wait::{self, SOON};

/// Kernels that know nothing of the connections would reset them, or say that nobody is there.
const QUIET: &str = "table ip hoard {
    chain out {
        type filter hook output priority 0; policy accept;
        tcp flags & rst == rst drop
    }
    chain in {
        type filter hook input priority 0; policy accept;
        udp dport 20000-20015 drop
    }
}
";

/// A device that opens TCP connections and keeps them: each is established, and none is given up for another. Ends when dropped.
#[derive(Debug)]
pub struct Hoard {
    device: Process,
    _server: Process,
}

impl Lab {
    /// Lets `device` open `count` connections (960,000 at most) to `server`, `hz` tries a second; what is refused it tries again.
    #[track_caller]
    #[must_use]
    pub fn hoard(&self, device: &str, server: &str, count: u32, hz: u32) -> Hoard {
        for host in [device, server] {
            self.host(host)
                .ok_with(&["nft", "-f", "-"], &format!("table ip hoard\ndelete table ip hoard\n{QUIET}"));
        }
        let mut answers = self.host(server).spawn(&["postern-lab", "hoard", "--serve"]);
        answers.wait_for_line("ready", SOON);
        let (from, to) = (address(device).to_string(), address(server).to_string());
        let words = ["postern-lab", "hoard", &from, &to, &count.to_string(), "--hz", &hz.to_string()];
        let hoard = Hoard { device: self.host(device).spawn(&words).told_on_failure(), _server: answers };
        let began = wait::until(SOON, || (hoard.open() > 100).then_some(()));
        assert!(began.is_some(), "no connection is opened:\n{}", hoard.device.said());
        hoard
    }

    /// Lets `device` send one datagram in each of `count` conversations that `server` never answers.
    #[track_caller]
    pub fn spray(&self, device: &str, server: &str, count: u32, hz: u32) {
        self.host(server)
            .ok_with(&["nft", "-f", "-"], &format!("table ip hoard\ndelete table ip hoard\n{QUIET}"));
        let (from, to) = (address(device).to_string(), address(server).to_string());
        let words =
            ["postern-lab", "hoard", &from, &to, &count.to_string(), "--udp", "--hz", &hz.to_string()];
        let said = self.host(device).run_for(&words, std::time::Duration::from_secs(300));
        let all = said.out.lines().last().is_some_and(|line| line.contains(&format!("\"sent\":{count}")));
        assert!(all, "not all were sent: {}{}", said.out.lines().last().unwrap_or_default(), said.err);
    }

    /// Entries in the router's connection table, and how many fit.
    #[track_caller]
    #[must_use]
    pub fn conntrack(&self) -> (u64, u64) {
        let router: Host = self.router();
        let told = router.ok(&[
            "sysctl",
            "-n",
            "net.netfilter.nf_conntrack_count",
            "net.netfilter.nf_conntrack_max",
        ]);
        let mut numbers = told.lines().filter_map(|line| line.trim().parse().ok());
        let (Some(count), Some(room)) = (numbers.next(), numbers.next()) else {
            panic!("no numbers: {told}")
        };
        (count, room)
    }
}

impl Hoard {
    fn told(&self, what: &str) -> u64 {
        let lines = self.device.out();
        let last = lines.last().and_then(|line| serde_json::from_str::<Value>(line).ok());
        last.and_then(|told| told[what].as_u64()).unwrap_or_default()
    }

    /// Connections that are open.
    #[must_use]
    pub fn open(&self) -> u64 {
        self.told("open")
    }

    /// Tries, those that were refused too.
    #[must_use]
    pub fn tries(&self) -> u64 {
        self.told("sent")
    }
}
