//! The provider's DHCP.

use crate::lab::Lab;
use crate::process::Process;

impl Lab {
    /// The provider's real DHCP server, which lends addresses from `first` to `last` for two minutes. `more`: further options of dnsmasq's.
    #[track_caller]
    #[must_use]
    pub fn dhcp_provider(&self, first: &str, last: &str, more: &[&str]) -> Process {
        let range = format!("--dhcp-range={first},{last},255.255.255.0,2m");
        let words = [
            "dnsmasq",
            "--keep-in-foreground",
            "--conf-file=/dev/null",
            "--pid-file=/run/lab/provider.pid",
            "--dhcp-leasefile=/run/lab/provider.leases",
            "--user=root",
            "--port=0",
            "--no-ping",
            "--dhcp-authoritative",
            "--interface=customer",
            "--bind-interfaces",
            &range,
        ];
        self.host("internet").spawn(&[&words, more].concat())
    }
}
