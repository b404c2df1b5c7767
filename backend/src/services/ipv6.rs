//! What the DHCPv6 client of the internet port shall do, and which prefixes the provider has delegated (RFC 8415 section 6.3).
//! What it is told was said by somebody out there: only what reads as a prefix that a home can have goes on.

use std::net::Ipv6Addr;

use serde::{Deserialize, Serialize};

use crate::settings::names::IfName;
use crate::settings::{Role, Settings};

/// So many prefixes of one answer are read: as a rule one, and while it changes two.
const MOST_PREFIXES: usize = 4;
/// So many name servers are used.
const MOST_SERVERS: usize = 3;
/// Longest lifetime in seconds that an address of ours gets at a time: 30 days. "For ever" (RFC 8415 section 7.7) would leave it
/// behind if nobody renewed it; what holds longer is given its time again and again.
const LONGEST: u32 = 30 * 24 * 3600;

/// A DHCPv6 client on one port, which asks for a prefix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PrefixClient {
    /// The port.
    pub device: IfName,
}

/// What these settings mean; none: none of ours runs. Without a home nobody needs a prefix.
pub fn prefix_client(settings: &Settings) -> Option<PrefixClient> {
    let wanted = settings.role == Role::Router && settings.local_network.device().is_some();
    let device = settings.internet.ipv6_device().filter(|_| wanted)?.clone();
    Some(PrefixClient { device })
}

impl PrefixClient {
    /// dhcpcd.conf(5): asks for a prefix and for name servers, and sets nothing itself. It asks whatever the provider's router
    /// advertisements say of DHCPv6 (RFC 7084 WPD-4), and hints at a /56 (RFC 8415 section 21.22); whatever comes is used.
    pub fn config(&self) -> String {
        format!(
            "# Written by Postern. A change here is lost.\nipv6only\nnoconfigure\nnoipv6rs\nnodev\n\
             option dhcp6_name_servers\ninterface {}\nia_pd 1/::/56\n",
            self.device
        )
    }
}

/// What the provider has delegated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delegated {
    /// Through which port.
    pub device: IfName,
    /// The prefixes, at most four; none: it has taken back all.
    pub prefixes: Vec<DelegatedPrefix>,
    /// The provider's name servers, at most three.
    pub dns: Vec<Ipv6Addr>,
    /// Seconds since the kernel's start (CLOCK_BOOTTIME) when it said so.
    pub since: u64,
    /// Which start of the kernel.
    pub boot: String,
}

/// A prefix (RFC 8415 section 21.22).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DelegatedPrefix {
    /// Its bits; those behind its length are zero.
    pub prefix: Ipv6Addr,
    /// Its length, 16 to 64.
    pub length: u8,
    /// Seconds during which new conversations may use it; 0: it is deprecated, [`u32::MAX`]: for ever.
    pub preferred: u32,
    /// Seconds during which it may be used at all; [`u32::MAX`]: for ever.
    pub valid: u32,
}

/// An address of ours that holds for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LentAddress {
    /// Which; its network is a /64.
    pub address: Ipv6Addr,
    /// For so many seconds new conversations may use it; 0: it is deprecated (RFC 4862 section 5.5.4).
    pub preferred: u32,
    /// For so many seconds it is ours, 1 to 30 days.
    pub valid: u32,
}

impl Delegated {
    /// From the words of dhcpcd (`new_dhcp6_ia_pd1_prefix1` and so on); the error says in words what is wrong with them. Time and
    /// boot are the caller's. A prefix that cannot be used is left out; if none is left though one was there that did not
    /// end (RFC 8415 section 18.2.10.1), that is an error.
    pub fn read(device: IfName, word: impl Fn(&str) -> Option<String>) -> Result<Self, String> {
        let mut prefixes: Vec<DelegatedPrefix> = Vec::new();
        let mut wrong = Some("it names no prefix".to_owned());
        for number in 1..=MOST_PREFIXES {
            let name = format!("new_dhcp6_ia_pd1_prefix{number}");
            let Some(prefix) = word(&name) else { break };
            let number = |what: &str| word(&format!("{name}_{what}"))?.trim().parse::<u32>().ok();
            match DelegatedPrefix::read(&prefix, number) {
                Ok(read) if read.valid == 0 => wrong = None,
                Ok(read) if prefixes.iter().all(|other| other.home() != read.home()) => prefixes.push(read),
                Ok(_) => {}
                Err(why) => wrong = wrong.map(|_| why),
            }
        }
        if let (true, Some(why)) = (prefixes.is_empty(), wrong) {
            return Err(why);
        }
        let dns = word("new_dhcp6_name_servers").unwrap_or_default();
        let dns = dns.split_whitespace().filter_map(|server| server.parse().ok()).filter(|ip| one(*ip));
        Ok(Self { device, prefixes, dns: dns.take(MOST_SERVERS).collect(), since: 0, boot: String::new() })
    }

    /// What is left of it at a time of this start of the kernel: what has ended is gone. None: nothing, or it is of another start.
    pub fn at(&self, boot: &str, now: u64) -> Option<Self> {
        let gone = u32::try_from(now.saturating_sub(self.since)).unwrap_or(u32::MAX);
        let left = |seconds: u32| if seconds == u32::MAX { seconds } else { seconds.saturating_sub(gone) };
        let prefixes: Vec<DelegatedPrefix> = self
            .prefixes
            .iter()
            .map(|p| DelegatedPrefix { preferred: left(p.preferred), valid: left(p.valid), ..p.clone() })
            .filter(|p| p.valid > 0)
            .collect();
        let holds = self.boot == boot && !prefixes.is_empty();
        holds.then(|| Self { prefixes, since: now, ..self.clone() })
    }

    /// The router's addresses in the home, with the times of its prefixes.
    pub fn addresses(&self) -> Vec<LentAddress> {
        let own = |p: &DelegatedPrefix| LentAddress {
            address: p.home(),
            preferred: p.preferred.min(LONGEST),
            valid: p.valid.min(LONGEST),
        };
        self.prefixes.iter().map(own).collect()
    }
}

impl DelegatedPrefix {
    fn read(prefix: &str, number: impl Fn(&str) -> Option<u32>) -> Result<Self, String> {
        let bits: Ipv6Addr = prefix.trim().parse().map_err(|_| "what it names is no prefix".to_owned())?;
        let length = number("length").and_then(|length| u8::try_from(length).ok());
        let length = length.ok_or("it names no length of the prefix")?;
        if !(16..=64).contains(&length) {
            return Err(format!("a prefix of {length} bits is of no use for a home: 16 to 64 are"));
        }
        let (Some(preferred), Some(valid)) = (number("pltime"), number("vltime")) else {
            return Err("it does not say for how long".to_owned());
        };
        // RFC 8415 section 21.22: then the client discards it.
        if preferred > valid {
            return Err("it says to use the prefix for longer than it holds".to_owned());
        }
        let prefix = Ipv6Addr::from_bits(bits.to_bits() & (u128::MAX << (128 - u32::from(length))));
        if !unicast(prefix) {
            return Err(format!("{prefix}/{length} is no prefix that a home can have"));
        }
        Ok(Self { prefix, length, preferred, valid })
    }

    /// The router's own address: the first of the first /64 (RFC 7084 L-2).
    pub fn home(&self) -> Ipv6Addr {
        Ipv6Addr::from_bits(self.prefix.to_bits() | 1)
    }
}

/// Of the internet (2000::/3, RFC 4291 section 2.4) or unique local (RFC 4193).
fn unicast(ip: Ipv6Addr) -> bool {
    ip.to_bits() >> 125 == 1 || ip.is_unique_local()
}

/// A name server of one box.
fn one(ip: Ipv6Addr) -> bool {
    unicast(ip)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::keys::set;
    use crate::settings::tests::router;

    fn read(words: &[(&str, &str)]) -> Result<Delegated, String> {
        let word = |name: &str| {
            let short = name.strip_prefix("new_dhcp6_").unwrap();
            words.iter().rfind(|(n, _)| *n == short).map(|(_, value)| (*value).to_owned())
        };
        Delegated::read("wan0".parse().unwrap(), word)
    }

    const GOOD: [(&str, &str); 5] = [
        ("ia_pd1_prefix1", "2001:db8:a00::"),
        ("ia_pd1_prefix1_length", "56"),
        ("ia_pd1_prefix1_pltime", "200"),
        ("ia_pd1_prefix1_vltime", "400"),
        ("name_servers", "2001:db8:3::10 ::1 ff02::1 fe80::1 $(x)"),
    ];

    fn changed(name: &str, value: &str) -> Result<Delegated, String> {
        read(&[&GOOD[..], &[(name, value)]].concat())
    }

    #[test]
    fn a_prefix_is_read_with_its_times_and_its_name_servers() {
        let read = read(&GOOD).unwrap();
        let prefix: Ipv6Addr = "2001:db8:a00::".parse().unwrap();
        assert_eq!(read.prefixes, [DelegatedPrefix { prefix, length: 56, preferred: 200, valid: 400 }]);
        assert_eq!(read.dns, ["2001:db8:3::10".parse::<Ipv6Addr>().unwrap()]);
        let own = &read.addresses()[0];
        assert_eq!(own.address, "2001:db8:a00::1".parse::<Ipv6Addr>().unwrap());
        let rest = changed("ia_pd1_prefix1", "2001:db8:a00:12:3::5").unwrap().prefixes[0].prefix;
        assert_eq!(rest, prefix, "bits behind the length count for nothing");
    }

    #[test]
    fn what_an_honest_provider_never_says_is_refused() {
        for (name, value) in [
            ("ia_pd1_prefix1", "fe80::"),
            ("ia_pd1_prefix1", "ff02::"),
            ("ia_pd1_prefix1", "::"),
            ("ia_pd1_prefix1", "::1"),
            ("ia_pd1_prefix1", "64:ff9b::"),
            ("ia_pd1_prefix1", "192.0.2.1"),
            ("ia_pd1_prefix1", "2001:db8::/32\ninterface=x"),
            ("ia_pd1_prefix1_length", "0"),
            ("ia_pd1_prefix1_length", "15"),
            ("ia_pd1_prefix1_length", "65"),
            ("ia_pd1_prefix1_length", "312"),
            ("ia_pd1_prefix1_length", "-1"),
            ("ia_pd1_prefix1_pltime", "401"),
            ("ia_pd1_prefix1_vltime", "soon"),
            ("ia_pd1_prefix1_vltime", "4294967296"),
        ] {
            assert!(changed(name, value).is_err(), "{name} {value}");
        }
        assert!(read(&[]).is_err());
    }

    #[test]
    fn a_prefix_without_time_has_ended_and_one_without_preference_is_deprecated() {
        let ended =
            read(&[&GOOD[..], &[("ia_pd1_prefix1_pltime", "0"), ("ia_pd1_prefix1_vltime", "0")]].concat());
        assert_eq!(ended.unwrap().prefixes, []);
        let both = read(
            &[
                &GOOD[..],
                &[
                    ("ia_pd1_prefix1_pltime", "0"),
                    ("ia_pd1_prefix2", "2001:db8:b00::"),
                    ("ia_pd1_prefix2_length", "60"),
                    ("ia_pd1_prefix2_pltime", "4294967295"),
                    ("ia_pd1_prefix2_vltime", "4294967295"),
                ],
            ]
            .concat(),
        );
        let times: Vec<_> = both.unwrap().addresses().iter().map(|a| (a.preferred, a.valid)).collect();
        assert_eq!(times, [(0, 400), (LONGEST, LONGEST)]);
    }

    #[test]
    fn it_ends_by_itself_and_with_the_kernel_that_heard_it() {
        let lent = Delegated { since: 100, boot: "a".into(), ..read(&GOOD).unwrap() };
        let left = |now| lent.at("a", now).map(|l| (l.prefixes[0].preferred, l.prefixes[0].valid));
        assert_eq!((left(100), left(301), left(499)), (Some((200, 400)), Some((0, 199)), Some((0, 1))));
        assert_eq!((left(500), lent.at("b", 100)), (None, None));
        let once = lent.at("a", 150).unwrap();
        assert_eq!(once.at("a", 160), lent.at("a", 160), "no time is taken off twice");
    }

    #[test]
    fn it_is_asked_for_by_a_router_that_may_and_not_by_pppoe() {
        assert!(prefix_client(&router()).unwrap().config().ends_with("interface eth0\nia_pd 1/::/56\n"));
        for (key, value) in [("internet.ipv6", "false"), ("internet.mode", "pppoe"), ("role", "unset")] {
            let mut settings = router();
            set(&mut settings, key, value).unwrap();
            assert_eq!(prefix_client(&settings), None, "{key}");
        }
    }
}
