//! Whether a change lets somebody in from the internet who was not let in before.

use std::net::Ipv4Addr;

use super::firewall::Ipv6Ipsec;
use super::names::{DmzHost, Mac, Spi};
use super::{Role, Settings};

impl Settings {
    /// Whether these settings open more to the internet than `before` did: a port forward, a device that gets everything, or
    /// inspection off, or either of these for longer; a firewall that is given up, or whose sides become others; IPsec over IPv6 that
    /// may come in unasked (RFC 6092) and might not before. It may in the factory state, so that taking the role of a router opens
    /// nothing. And an address that something is led to, reserved for another device: it is led there then.
    pub fn opens(&self, before: &Self) -> bool {
        let known = |forward: &&super::Forward| {
            before
                .forwards
                .iter()
                .any(|old| old.enabled && old.what() == forward.what() && old.to == forward.to)
        };
        let forward = self.forwards.iter().filter(|forward| forward.enabled).any(|forward| !known(&forward));
        let dmz = match (self.firewall.dmz, before.firewall.dmz) {
            (DmzHost::None, _) => false,
            (DmzHost::Until(now, end), DmzHost::Until(then, ended)) => now != then || end > ended,
            (DmzHost::Until(..), DmzHost::None) => true,
        };
        let inspection = match (self.firewall.spi, before.firewall.spi) {
            (Spi::On, _) => false,
            (Spi::OffUntil(end), Spi::OffUntil(ended)) => end > ended,
            (Spi::OffUntil(_), Spi::On) => true,
        };
        let moved = |to: Ipv4Addr| self.holder(to).is_some_and(|now| before.holder(to) != Some(now));
        let led = self.forwards.iter().filter(|forward| forward.enabled).map(|forward| forward.to.address);
        let host = match self.firewall.dmz {
            DmzHost::Until(host, _) => Some(host),
            DmzHost::None => None,
        };
        let elsewhere = led.chain(host).any(moved);
        forward || dmz || inspection || elsewhere || self.gives_up(before)
    }

    /// For whom an address is reserved.
    fn holder(&self, address: Ipv4Addr) -> Option<Mac> {
        self.devices.iter().find(|device| device.address == Some(address)).map(|device| device.mac)
    }

    /// What only a router can open: before that there is no firewall of ours, or another one decides.
    fn gives_up(&self, before: &Self) -> bool {
        if before.role != Role::Router {
            return false;
        }
        // The port to the provider as one of the home would be trusted.
        let (devices, were) = (&self.local_network.devices, &before.local_network.devices);
        let sides = self.internet.device != before.internet.device
            || devices.iter().any(|device| !were.contains(device));
        let ipsec = |settings: &Self| {
            settings.passthrough.ipsec.enabled && settings.firewall.ipv6_ipsec == Ipv6Ipsec::Rfc6092
        };
        self.role != Role::Router || sides || (ipsec(self) && !ipsec(before))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Device, Settings, keys};

    /// Keys and values.
    type Pairs<'a> = &'a [(&'a str, &'a str)];

    fn settings(pairs: Pairs) -> Settings {
        let mut settings = Settings::default();
        pairs.iter().for_each(|(key, value)| keys::set(&mut settings, key, value).unwrap());
        settings
    }

    #[test]
    fn what_opens_more_to_the_internet_than_before_is_told_and_nothing_else() {
        const WEB: (&str, &str) = ("forwards.web", "tcp 80 to 192.168.1.20");
        const OFF: (&str, &str) = ("forwards.web", "tcp 80 to 192.168.1.20 (off)");
        const DMZ: (&str, &str) = ("firewall.dmz", "192.168.1.20 until 2030-01-01T00:00:00Z");
        const SPI: (&str, &str) = ("firewall.spi", "off until 2030-01-01T00:00:00Z");
        let later = |key, text: &str| (key, text.replace("2030", "2031"));
        let (longer, open) = (later(DMZ.0, DMZ.1), later(SPI.0, SPI.1));
        let cases: [(Pairs, Pairs, bool); 18] = [
            (&[], &[WEB], true),
            (&[], &[OFF], false),
            (&[OFF], &[WEB], true),
            (&[WEB], &[OFF], false),
            (&[WEB], &[], false),
            (&[WEB], &[WEB], false),
            (&[WEB], &[("forwards.other", WEB.1)], false),
            (&[WEB], &[("forwards.web", "tcp 81 to 192.168.1.20")], true),
            (&[WEB], &[("forwards.web", "tcp 80-81 to 192.168.1.20")], true),
            (&[WEB], &[("forwards.web", "udp 80 to 192.168.1.20")], true),
            (&[WEB], &[("forwards.web", "tcp 80 to 192.168.1.20:81")], true),
            (&[], &[("forwards.vpn", "pptp to 192.168.1.20")], true),
            (&[], &[DMZ], true),
            (&[DMZ], &[(longer.0, &longer.1)], true),
            (&[(longer.0, &longer.1)], &[DMZ], false),
            (&[DMZ], &[("firewall.dmz", "192.168.1.21 until 2030-01-01T00:00:00Z")], true),
            (&[SPI], &[(open.0, &open.1)], true),
            (&[(open.0, &open.1)], &[SPI], false),
        ];
        for (before, after, wanted) in cases {
            assert_eq!(settings(after).opens(&settings(before)), wanted, "{before:?} to {after:?}");
        }
        assert!(settings(&[SPI]).opens(&settings(&[])) && !settings(&[]).opens(&settings(&[SPI, DMZ, WEB])));
        let held = |led: (&str, &str), devices: &[(&str, &str)]| {
            let device = |(mac, address): &(&str, &str)| Device {
                mac: mac.parse().unwrap(),
                name: "box".parse().unwrap(),
                address: Some(address.parse().unwrap()),
            };
            Settings { devices: devices.iter().map(device).collect(), ..settings(&[led]) }
        };
        let mine = ("02:00:00:00:00:01", "192.168.1.20");
        let (other, beside) = (("02:00:00:00:00:02", "192.168.1.20"), ("02:00:00:00:00:02", "192.168.1.21"));
        for led in [WEB, DMZ] {
            assert!(held(led, &[other]).opens(&held(led, &[mine])), "{led:?} to another device");
            assert!(held(led, &[other]).opens(&held(led, &[])), "{led:?}, which nobody held");
            assert!(!held(led, &[]).opens(&held(led, &[mine])));
            assert!(!held(led, &[mine, beside]).opens(&held(led, &[mine])));
        }
        assert!(!held(OFF, &[other]).opens(&held(OFF, &[mine])));
        let harmless = [("passthrough.pptp.enabled", "true"), ("access.port", "8080"), ("role", "companion")];
        assert!(!settings(&harmless).opens(&settings(&[])));
    }
    #[test]
    fn a_router_that_gives_its_firewall_up_opens_and_one_that_begins_does_not() {
        const WAN: (&str, &str) = ("internet.device", "eth0");
        const LAN: (&str, &str) = ("local_network.devices", "eth1");
        const STRICT: (&str, &str) = ("firewall.ipv6_ipsec", "strict");
        const NO_IPSEC: (&str, &str) = ("passthrough.ipsec.enabled", "false");
        let router = |more: Pairs| settings(&[&[("role", "router"), WAN, LAN], more].concat());
        let factory = || router(&[]);
        assert!(!factory().opens(&Settings::default()), "the first run");
        assert!(!factory().opens(&settings(&[("role", "companion"), WAN])), "it begins to guard");
        assert!(!factory().opens(&factory()));
        for role in ["unset", "companion"] {
            assert!(router(&[("role", role)]).opens(&factory()), "{role}");
        }
        let sides: [(&str, &str, bool); 5] = [
            (WAN.0, "eth2", true),
            (WAN.0, "unset", true),
            (LAN.0, "eth2", true),
            (LAN.0, "eth1,eth2", true),
            (LAN.0, "eth1", false),
        ];
        for (key, value, wanted) in sides {
            assert_eq!(router(&[(key, value)]).opens(&factory()), wanted, "{key} {value}");
        }
        assert!(!factory().opens(&router(&[(LAN.0, "eth1,eth2")])), "a port less");
        assert!(factory().opens(&router(&[STRICT])) && factory().opens(&router(&[NO_IPSEC])));
        assert!(!router(&[STRICT]).opens(&router(&[STRICT, NO_IPSEC])), "over IPv4 nothing comes in unasked");
        assert!(!router(&[STRICT]).opens(&factory()) && !router(&[NO_IPSEC]).opens(&factory()));
        // No firewall of ours decides yet.
        let unset = settings(&[WAN, LAN, STRICT]);
        assert!(!settings(&[LAN]).opens(&unset));
    }
}
