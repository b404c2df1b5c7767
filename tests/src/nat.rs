//! A plain router without Postern: what the probes are proved against.

use crate::lab::Lab;

/// Variants of the plain router.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// Forwards everything both ways and translates nothing.
    Open,
    /// Masquerades IPv4.
    Masquerade,
    /// Masquerades, and gives PPTP its helper.
    PptpHelper,
}

impl Lab {
    /// Makes the router a plain one: addresses, forwarding, and rules by nft.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn plain_router(&self, nat: Nat) {
        let router = self.router();
        for words in [
            "ip addr replace 198.51.100.2/24 dev wan0",
            "ip addr replace 192.168.1.1/24 dev lan0",
            "ip route replace default via 198.51.100.1",
            "sysctl -qw net.ipv4.ip_forward=1",
        ] {
            router.ok(&words.split(' ').collect::<Vec<_>>());
        }
        let masquerade = match nat {
            Nat::Open => "",
            Nat::Masquerade | Nat::PptpHelper => {
                "chain nat { type nat hook postrouting priority srcnat; meta nfproto ipv4 oifname wan0 masquerade; }"
            }
        };
        let helper = match nat {
            Nat::Open | Nat::Masquerade => "",
            Nat::PptpHelper => {
                "ct helper pptp { type \"pptp\" protocol tcp; }
                 chain help { type filter hook prerouting priority 0; iifname lan0 tcp dport 1723 ct helper set \"pptp\"; }"
            }
        };
        let rules = format!(
            "table inet plain {{}}\ndelete table inet plain\ntable inet plain {{\n{helper}\n{masquerade}\n}}"
        );
        router.ok_with(&["nft", "-f", "-"], &rules);
    }

    /// The provider routes the local network's prefix to the router: whatever the router lets in reaches it.
    ///
    /// # Panics
    /// When the kernel refuses.
    #[track_caller]
    pub fn hostile_provider(&self) {
        let words = "ip route replace 192.168.1.0/24 via 198.51.100.2";
        self.host("internet").ok(&words.split(' ').collect::<Vec<_>>());
    }
}
