//! What the DHCP client of the internet port shall do, and what it was lent. Whatever stands in a lease was said by
//! somebody out there: only what reads as an address, in a place where one can be used, goes on.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use crate::settings::internet::Mode;
use crate::settings::names::{IfName, InterfaceAddress, Mac};
use crate::settings::{Role, Settings};

/// So many name servers are used.
const MOST_SERVERS: usize = 3;
/// What we offer instead of a local network that the provider uses too: few routers come with these.
const OTHERS: [u8; 8] = [77, 78, 79, 80, 87, 97, 107, 117];

/// A DHCP client on one port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DhcpClient {
    /// The port.
    pub device: IfName,
    /// The hardware address to name (client identifier, RFC 2132 section 9.14); none: the port's own.
    pub mac: Option<Mac>,
}

/// What these settings mean; none: none of ours runs.
pub fn dhcp_client(settings: &Settings) -> Option<DhcpClient> {
    let internet = &settings.internet;
    let wanted = settings.role == Role::Router && internet.mode == Mode::Dhcp;
    let device = internet.device.clone().filter(|_| wanted)?;
    Some(DhcpClient { device, mac: internet.mac })
}

/// An address that a DHCP server of the internet side has lent us.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InternetLease {
    /// Of which port.
    pub device: IfName,
    /// Our address with its network.
    pub address: InterfaceAddress,
    /// The provider's router.
    pub gateway: Option<Ipv4Addr>,
    /// The provider's name servers, at most three.
    pub dns: Vec<Ipv4Addr>,
    /// Who has lent it.
    pub server: Option<Ipv4Addr>,
    /// For so many seconds from `since`.
    pub seconds: u32,
    /// Seconds since the kernel's start (CLOCK_BOOTTIME) when it was lent or renewed: a box of this kind often does not
    /// know what time it is.
    pub since: u64,
    /// Seconds since the kernel's start when this address was first lent, without an interruption since.
    pub first: u64,
    /// Which start of the kernel.
    pub boot: String,
    /// Nobody has lent it: the box had it before, and asks for it.
    #[serde(default)]
    pub kept: bool,
}

impl InternetLease {
    /// From the words of a DHCP client (`ip`, `subnet`, `router`, `dns`, `lease`, `serverid`); the error says in words
    /// what is wrong with them. Times and boot are the caller's.
    pub fn read(device: IfName, word: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let address = |name: &str| word(name)?.trim().parse::<Ipv4Addr>().ok();
        let ip = address("ip").ok_or("it names no address")?;
        let mask = address("subnet").map_or(u32::MAX, Ipv4Addr::to_bits);
        let prefix = mask.leading_ones() as u8;
        if mask.checked_shl(prefix.into()).unwrap_or(0) != 0 || prefix < 8 {
            return Err("its network mask is none".to_owned());
        }
        let ours = InterfaceAddress::new(ip, prefix);
        let edge = prefix <= 30 && (ip == ours.network() || ip == ours.broadcast());
        if !one_box(ip) || edge {
            return Err(format!("{ip}/{prefix} is not an address that a box can have"));
        }
        let gateway = word("router").and_then(|all| addresses(&all).find(|g| one_box(*g) && *g != ip));
        let dns = word("dns").unwrap_or_default();
        let dns = addresses(&dns).filter(|s| one_box(*s) && *s != ip).take(MOST_SERVERS).collect();
        Ok(Self {
            device,
            address: ours,
            gateway,
            dns,
            server: address("serverid").filter(|s| one_box(*s)),
            // RFC 2131 section 3.3: all ones is for ever. Without one, an hour.
            seconds: word("lease").and_then(|s| s.trim().parse().ok()).unwrap_or(3600),
            since: 0,
            first: 0,
            boot: String::new(),
            kept: false,
        })
    }

    /// Whether it holds `now` seconds after the start `boot` of the kernel.
    pub fn holds(&self, boot: &str, now: u64) -> bool {
        let ends = self.since.saturating_add(self.seconds.into());
        self.boot == boot && (self.seconds == u32::MAX || now < ends)
    }

    /// It holds no longer than until then, in seconds since the kernel's start.
    pub fn end_by(&mut self, then: u64) {
        let left = u32::try_from(then.saturating_sub(self.since)).unwrap_or(u32::MAX);
        self.seconds = self.seconds.min(left);
    }

    /// Why it cannot be used beside these settings, and what address the local network could have instead.
    pub fn clash(&self, settings: &Settings) -> Option<Clash> {
        let local = settings.local_network.address;
        let inside = |ip: &Ipv4Addr| local.contains(*ip);
        if !local.overlaps(self.address) && !self.gateway.as_ref().is_some_and(inside) {
            return None;
        }
        let free = OTHERS.into_iter().map(|n| InterfaceAddress::new([192, 168, n, 1].into(), 24));
        let free = free.into_iter().find(|a| {
            !a.overlaps(self.address) && !self.gateway.is_some_and(|g| a.contains(g)) && !a.overlaps(local)
        });
        Some(Clash { theirs: self.address, ours: local, free })
    }
}

/// The provider lends us an address of the network that the home uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clash {
    /// What was lent.
    pub theirs: InterfaceAddress,
    /// The home's.
    pub ours: InterfaceAddress,
    /// A network that neither uses.
    pub free: Option<InterfaceAddress>,
}

/// Somebody between us and the internet translates addresses too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BehindNat {
    /// RFC 1918: another router, as a rule the provider's box in the home.
    AnotherRouter,
    /// RFC 6598: the provider's own, which many customers share.
    Carrier,
}

impl BehindNat {
    /// By our internet address.
    pub fn of(address: Ipv4Addr) -> Option<Self> {
        match address.octets() {
            [100, 64..=127, ..] => Some(Self::Carrier),
            _ if address.is_private() => Some(Self::AnotherRouter),
            _ => None,
        }
    }
}

fn addresses(words: &str) -> impl Iterator<Item = Ipv4Addr> {
    words.split_ascii_whitespace().take(16).filter_map(|word| word.parse().ok())
}

/// Not one of the ranges that never name one box out there (RFC 6890): this network, loopback, link-local, groups, and
/// what was never given to anybody.
fn one_box(address: Ipv4Addr) -> bool {
    let [first, ..] = address.octets();
    first != 0 && first < 224 && !address.is_loopback() && !address.is_link_local()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::tests::router;

    fn read(words: &[(&str, &str)]) -> Result<InternetLease, String> {
        let word = |name: &str| words.iter().find(|(n, _)| *n == name).map(|(_, v)| (*v).to_owned());
        InternetLease::read("wan0".parse().unwrap(), word)
    }

    const GOOD: [(&str, &str); 6] = [
        ("ip", "198.51.100.20"),
        ("subnet", "255.255.255.0"),
        ("router", "198.51.100.1 198.51.100.2"),
        ("dns", "203.0.113.10 203.0.113.11"),
        ("lease", "600"),
        ("serverid", "198.51.100.1"),
    ];

    fn with(name: &str, value: &str) -> Vec<(&'static str, String)> {
        GOOD.iter().map(|(n, v)| (*n, if *n == name { value } else { v }.to_owned())).collect()
    }

    fn changed(name: &str, value: &str) -> Result<InternetLease, String> {
        let words = with(name, value);
        read(&words.iter().map(|(n, v)| (*n, v.as_str())).collect::<Vec<_>>())
    }

    #[test]
    fn a_lease_is_read() {
        let lease = read(&GOOD).unwrap();
        assert_eq!(lease.address.to_string(), "198.51.100.20/24");
        assert_eq!(lease.gateway, Some([198, 51, 100, 1].into()));
        assert_eq!(lease.dns, [Ipv4Addr::from([203, 0, 113, 10]), [203, 0, 113, 11].into()]);
        assert_eq!((lease.seconds, lease.server), (600, Some([198, 51, 100, 1].into())));
        let alone = read(&GOOD[..1]).unwrap();
        assert_eq!(
            (alone.address.prefix(), alone.gateway, alone.dns.len(), alone.seconds),
            (32, None, 0, 3600)
        );
    }

    #[test]
    fn what_is_no_address_of_a_box_is_refused_or_left_out() {
        for ip in
            ["", "no", "0.0.0.0", "127.0.0.1", "169.254.1.1", "224.0.0.1", "255.255.255.255", "198.51.100.0"]
        {
            assert!(changed("ip", ip).is_err(), "{ip}");
        }
        for mask in ["0.0.0.0", "255.0.255.0", "0.0.0.255", "254.0.0.0"] {
            assert!(changed("subnet", mask).is_err(), "{mask}");
        }
        for hostile in ["$(reboot)", "198.51.100.20", "127.0.0.1", "1.2.3.4;x", "::1", "\n", "224.0.0.1"] {
            assert_eq!(changed("router", hostile).unwrap().gateway, None, "{hostile}");
            assert_eq!(changed("dns", hostile).unwrap().dns, [Ipv4Addr::UNSPECIFIED; 0], "{hostile}");
        }
        let many = "203.0.113.1 ".repeat(500);
        assert_eq!(changed("dns", &many).unwrap().dns.len(), MOST_SERVERS);
        assert_eq!(changed("lease", "-1").unwrap().seconds, 3600);
    }

    #[test]
    fn a_lease_ends_with_its_time_and_with_the_kernel() {
        let lease = InternetLease { since: 100, boot: "a".into(), ..read(&GOOD).unwrap() };
        assert!(lease.holds("a", 699) && !lease.holds("a", 700) && !lease.holds("b", 100));
        let mut short = lease.clone();
        short.end_by(200);
        assert!(short.holds("a", 199) && !short.holds("a", 200));
        short.end_by(300);
        assert!(!short.holds("a", 200), "never longer than it was lent for");
        assert!(InternetLease { seconds: u32::MAX, ..lease }.holds("a", u64::MAX));
    }

    #[test]
    fn a_lease_inside_the_home_is_a_clash_and_a_free_network_is_offered() {
        let settings = router();
        assert_eq!(read(&GOOD).unwrap().clash(&settings), None);
        let clash = changed("ip", "192.168.1.50").unwrap().clash(&settings).unwrap();
        assert_eq!(clash.free.unwrap().to_string(), "192.168.77.1/24");
        assert!(changed("router", "192.168.1.254").unwrap().clash(&settings).is_some());
        let wide = [("ip", "192.168.77.9"), ("subnet", "255.255.0.0")];
        assert_eq!(read(&wide).unwrap().clash(&settings).unwrap().free, None);
    }

    #[test]
    fn whose_nat_it_is_stands_in_the_address() {
        let of = |s: &str| BehindNat::of(s.parse().unwrap());
        assert_eq!(
            (of("192.168.0.2"), of("10.1.1.1")),
            (Some(BehindNat::AnotherRouter), Some(BehindNat::AnotherRouter))
        );
        assert_eq!(
            (of("100.64.0.1"), of("100.127.255.254")),
            (Some(BehindNat::Carrier), Some(BehindNat::Carrier))
        );
        assert_eq!((of("100.63.0.1"), of("100.128.0.1"), of("198.51.100.2")), (None, None, None));
    }
}
