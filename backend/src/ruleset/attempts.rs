//! Who tried what is refused (off, not for this device, no place free), counted in the kernel: one element for each device, its address and the server, so that the owner is
//! told and can switch it on. Bounded; nobody's log is filled.

use std::net::Ipv4Addr;

use super::learnt::Learnt;
use super::table::Counter;

/// Most elements of one set: whoever forges addresses fills this, and costs 130 KB.
const MOST: u32 = 1024;
/// How long an attempt is remembered, in seconds; as `10m` in the sets below.
pub const REMEMBERED: u64 = 600;

/// A part of VPN passthrough that has a switch of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Switch {
    /// `passthrough.pptp.enabled`.
    Pptp,
    /// `passthrough.l2tp.enabled`.
    L2tp,
    /// `passthrough.ipsec.enabled`.
    Ipsec,
    /// `passthrough.ipsec.nat_traversal`.
    NatTraversal,
}

impl Switch {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pptp, Self::L2tp, Self::Ipsec, Self::NatTraversal];

    /// Its key in the settings.
    pub fn key(self) -> &'static str {
        match self {
            Self::Pptp => "passthrough.pptp.enabled",
            Self::L2tp => "passthrough.l2tp.enabled",
            Self::Ipsec => "passthrough.ipsec.enabled",
            Self::NatTraversal => "passthrough.ipsec.nat_traversal",
        }
    }

    /// As people call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Pptp => "PPTP",
            Self::L2tp => "L2TP",
            Self::Ipsec => "IPsec",
            Self::NatTraversal => "IPsec with NAT traversal",
        }
    }

    /// The set that counts who tried it while it was off. Key: hardware address of the device, its address, the server's; each
    /// part begins at a multiple of four bytes.
    pub const fn tried(self) -> &'static str {
        self.set().name
    }

    /// The protocol that it is part of.
    pub fn vpn(self) -> Vpn {
        match self {
            Self::Pptp => Vpn::Pptp,
            Self::L2tp => Vpn::L2tp,
            Self::Ipsec | Self::NatTraversal => Vpn::Ipsec,
        }
    }

    pub(super) const fn set(self) -> Learnt {
        let (name, why) = match self {
            Self::Pptp => ("pptp_tried_hosts", "who tried PPTP while it was off"),
            Self::L2tp => ("l2tp_tried_hosts", "who tried L2TP while it was off"),
            Self::Ipsec => ("ipsec_tried_hosts", "who tried IPsec while it was off"),
            Self::NatTraversal => ("nat_t_tried_hosts", "who tried IPsec NAT traversal while it was off"),
        };
        Learnt::set(name, KEY, "10m", why).sized(MOST)
    }

    /// Counts a packet that is going to be refused.
    pub(super) fn rule(self) -> String {
        self.vpn().counts(self.set())
    }
}

/// Hardware address of the device, its address, the server's.
const KEY: &str = "ether saddr . ip saddr . ip daddr";

/// A protocol of VPN passthrough, as devices and places are told apart by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Vpn {
    /// Control connections and GRE.
    Pptp,
    /// L2TP, in UDP or straight over IP.
    L2tp,
    /// IKE, ESP, AH, with or without NAT traversal.
    Ipsec,
}

impl Vpn {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pptp, Self::L2tp, Self::Ipsec];

    /// As in the names of keys and sets.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pptp => "pptp",
            Self::L2tp => "l2tp",
            Self::Ipsec => "ipsec",
        }
    }

    /// As people call it.
    pub fn title(self) -> &'static str {
        match self {
            Self::Pptp => "PPTP",
            Self::L2tp => "L2TP",
            Self::Ipsec => "IPsec",
        }
    }

    /// The set that counts who tried it and may not use it; see [`Switch::tried`].
    pub const fn denied_hosts(self) -> &'static str {
        self.denied().name
    }

    /// The set that counts who found no place.
    pub const fn limited_hosts(self) -> &'static str {
        self.limited().name
    }

    pub(super) const fn denied(self) -> Learnt {
        let (name, why) = match self {
            Self::Pptp => ("pptp_denied_hosts", "who tried PPTP and may not use it"),
            Self::L2tp => ("l2tp_denied_hosts", "who tried L2TP and may not use it"),
            Self::Ipsec => ("ipsec_denied_hosts", "who tried IPsec and may not use it"),
        };
        Learnt::set(name, KEY, "10m", why).sized(MOST)
    }

    pub(super) const fn limited(self) -> Learnt {
        let (name, why) = match self {
            Self::Pptp => ("pptp_limited_hosts", "who found no place for a PPTP call"),
            Self::L2tp => ("l2tp_limited_hosts", "who found no place for an L2TP tunnel"),
            Self::Ipsec => ("ipsec_limited_hosts", "who found no place for an IPsec session"),
        };
        Learnt::set(name, KEY, "10m", why).sized(MOST)
    }

    /// What counts its packets that do not pass.
    pub(super) const fn refused(self) -> Counter {
        match self {
            Self::Pptp => Counter::PptpRefused,
            Self::L2tp => Counter::L2tpRefused,
            Self::Ipsec => Counter::IpsecRefused,
        }
    }

    /// Counts in `set` a packet that is going to be refused. A rule of its own: where the set is full the rule ends here.
    pub(super) fn counts(self, set: Learnt) -> String {
        // Of PPTP, only how often it called.
        let tcp = if self == Self::Pptp { "meta l4proto tcp " } else { "" };
        format!("{tcp}ct state new update @{} {{ {KEY} counter }}", set.name)
    }
}

/// Hardware address, address and server of an element's key.
pub fn tried_by(key: &[u8]) -> Option<([u8; 6], Ipv4Addr, Ipv4Addr)> {
    let address = |at: usize| <[u8; 4]>::try_from(key.get(at..at + 4)?).ok().map(Ipv4Addr::from);
    Some((key.get(..6)?.try_into().ok()?, address(8)?, address(12)?))
}
