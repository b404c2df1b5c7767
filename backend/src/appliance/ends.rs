//! Which conntrack entries a change takes the ground from. The rules stop their packets, or would let nothing begin anew;
//! the entries go, so that nothing lives on as known.

use std::net::{IpAddr, Ipv4Addr};

use super::flows::{from_the_home, is_device};
use crate::kernel::{Flow, SeenLink};
use crate::ruleset::forwards::{self, Led, Lost};
use crate::ruleset::{self, Capabilities, FlowMatch, Helper, helpers};
use crate::settings::{Role, Settings};

/// IP protocol number of GRE, which only PPTP's helper announces. It goes with its control connection; what a server of the home
/// goes on sending would make its entry anew.
pub(super) const GRE: u8 = 47;

/// What ends between two documents.
#[derive(Debug, Default)]
pub(super) struct Ends {
    /// What the home began.
    from_home: Vec<FlowMatch>,
    /// What the internet began, over IPv6.
    from_internet: Vec<FlowMatch>,
    /// Helpers that are off now: what they are attached to.
    helped: Vec<(Helper, Vec<FlowMatch>)>,
    /// What the helpers that are still on are attached to.
    still_helped: Vec<FlowMatch>,
    /// Forwards that are off or lead elsewhere now.
    led: Vec<Led>,
    /// All that there were, in their order.
    before: Vec<Led>,
    /// The PPTP server whose forward is no more.
    pptp: Option<Ipv4Addr>,
}

impl Ends {
    pub(super) fn between(from: &Settings, to: &Settings, capabilities: &Capabilities) -> Self {
        let on = helpers::on(to, capabilities);
        let off = helpers::on(from, capabilities).into_iter().filter(|helper| !on.contains(helper));
        // Who hands this box over to another firewall hangs up on nobody: that one decides from now on.
        let off = off.filter(|_| to.role != Role::Companion);
        Self {
            from_home: ruleset::ended_by(from, to, capabilities),
            from_internet: ruleset::let_in_ended_by(from, to),
            helped: off.map(|helper| (helper, helper.flows())).collect(),
            still_helped: on.into_iter().flat_map(Helper::flows).collect(),
            led: forwards::led_no_more(from, to, capabilities),
            before: forwards::led(from, capabilities),
            pptp: forwards::pptp_no_more(from, to, capabilities),
        }
    }

    /// What to look for.
    pub(super) fn wanted(&self) -> Vec<FlowMatch> {
        let helped = self.helped.iter().flat_map(|(_, flows)| flows);
        let led = self.led.iter().map(|led| FlowMatch {
            protocol: led.taken.0,
            server_port: led.taken.1.filter(|(first, last)| first == last).map(|(first, _)| first),
        });
        let gre = self.pptp.map(|_| FlowMatch { protocol: GRE, server_port: None });
        self.from_home
            .iter()
            .chain(&self.from_internet)
            .chain(helped)
            .copied()
            .chain(led)
            .chain(gre)
            .collect()
    }

    /// Of `all`, what was begun with a port of ours whose forward is no more: by the internet, or by a device of the home at
    /// our internet address. With a call to a PPTP server its GRE, whoever sent the first packet.
    pub(super) fn lost(&self, all: &[Flow], from: &Settings, links: &[SeenLink]) -> Vec<(Flow, Lost)> {
        if self.led.is_empty() {
            return Vec::new();
        }
        let home = IpAddr::V4(from.local_network.address.address());
        let ours =
            |address: IpAddr| links.iter().flat_map(|link| &link.addresses).any(|(own, _)| *own == address);
        let lost = |flow: &Flow| {
            let IpAddr::V4(peer) = flow.client else { return None };
            let covers = |led: &&Led| led.covers(flow.protocol, flow.server_port);
            // The first that covers it led it there: the DMZ is the last.
            let led = *self.before.iter().find(covers)?;
            let still = !self.led.contains(&led);
            let begun_with_us = ours(flow.server) && flow.server != home && !ours(flow.client);
            (begun_with_us && !still && flow.announced_by.is_none()).then(|| {
                (flow.clone(), Lost { led, port: flow.server_port, peer, peer_port: flow.client_port })
            })
        };
        let mut lost: Vec<(Flow, Lost)> = all.iter().filter_map(lost).collect();
        let gre = self.pptp.into_iter().flat_map(|server| gre_of(server, all, &lost)).collect::<Vec<_>>();
        lost.extend(gre);
        lost
    }

    /// Whether this VPN flow ends.
    pub(super) fn ends(&self, flow: &Flow, from: &Settings, links: &[SeenLink]) -> bool {
        let which = match from_the_home(flow, from, links) {
            true => &self.from_home,
            // Not the router's own IPsec.
            false if flow.client.is_ipv6() && is_device(flow.server, from, links) => &self.from_internet,
            false => return false,
        };
        covers(which, flow.protocol, flow.server_port)
    }

    /// Of `all`, what a helper that is off now was attached to, and what came in because one announced it.
    pub(super) fn helped(&self, all: &[Flow], from: &Settings, links: &[SeenLink]) -> Vec<Flow> {
        if self.helped.is_empty() {
            return Vec::new();
        }
        let ends = |flow: &&Flow| match from_the_home(flow, from, links) {
            true => self.helped.iter().any(|(helper, flows)| {
                let ours = |name: &str| helper.kernel_names().contains(&name);
                covers(flows, flow.protocol, flow.server_port) && flow.helper.as_deref().is_some_and(ours)
            }),
            false => flow.protocol != GRE && self.lost_its_announcer(flow, all),
        };
        all.iter().filter(ends).cloned().collect()
    }

    /// Whether nothing that is still on began the line of announcements that ends with this flow. H.323 announces H.245, and
    /// that the voice. What began it may be gone already: its port is known all the same.
    fn lost_its_announcer(&self, flow: &Flow, all: &[Flow]) -> bool {
        let Some(mut announcer) = flow.announced_by.as_ref() else { return false };
        // Two or three in truth; the bound is for what the kernel would never tell.
        for _ in 0..8 {
            let parent = all.iter().find(|other| other.handle.tuple == announcer.tuple);
            match parent.and_then(|parent| parent.announced_by.as_ref()) {
                Some(further) => announcer = further,
                None => break,
            }
        }
        !covers(&self.still_helped, announcer.protocol, announcer.server_port)
    }
}

/// GRE between this server and the peers of the calls that end.
fn gre_of(server: Ipv4Addr, all: &[Flow], ended: &[(Flow, Lost)]) -> Vec<(Flow, Lost)> {
    let led = Led::calls_to(server);
    let of = |flow: &Flow| {
        let call = ended.iter().map(|(_, lost)| lost).filter(|lost| lost.led.to == server).find(|lost| {
            let (peer, server) = (IpAddr::V4(lost.peer), IpAddr::V4(server));
            flow.client == peer || (flow.client == server && flow.server == peer)
        })?;
        Some((flow.clone(), Lost { led, port: 0, peer_port: 0, ..*call }))
    };
    all.iter().filter(|flow| flow.protocol == GRE).filter_map(of).collect()
}

fn covers(which: &[FlowMatch], protocol: u8, server_port: u16) -> bool {
    which.iter().any(|one| one.covers(protocol, server_port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{Announcer, Counter, FlowHandle};
    use crate::settings::keys::set;
    use crate::settings::tests::router;

    fn with(changes: &[(&str, &str)]) -> Settings {
        let mut settings = router();
        for (key, value) in changes {
            set(&mut settings, key, value).unwrap();
        }
        settings
    }

    fn flow(protocol: u8, from: &str, server_port: u16, number: u8) -> Flow {
        let to: IpAddr =
            if from.contains(':') { "2001:db8:1::1".parse() } else { "203.0.113.10".parse() }.unwrap();
        Flow {
            protocol,
            client: from.parse().unwrap(),
            client_port: 40_000,
            server: to,
            server_port,
            zone: 0,
            helper: None,
            announced_by: None,
            answered: true,
            tcp_state: (protocol == 6).then_some(3),
            sent: Counter::default(),
            received: Counter::default(),
            handle: FlowHandle { id: number.into(), family: 2, tuple: vec![number] },
        }
    }

    fn by(parent: &Flow, child: Flow) -> Flow {
        let FlowHandle { tuple, .. } = parent.handle.clone();
        let announcer = Announcer { protocol: parent.protocol, server_port: parent.server_port, tuple };
        Flow { announced_by: Some(announcer), ..child }
    }

    fn ended(from: &[(&str, &str)], to: &[(&str, &str)], flows: &[Flow]) -> Vec<u32> {
        let (from, to) = (with(from), with(to));
        let lan = SeenLink {
            name: from.local_network.device().unwrap().to_string(),
            up: true,
            carrier: true,
            addresses: vec![("2001:db8:1::ff".parse().unwrap(), 64)],
            index: 2,
            ..SeenLink::default()
        };
        let ends = Ends::between(&from, &to, &Capabilities::everything());
        let mut all = ends.helped(flows, &from, &[]);
        all.extend(flows.iter().filter(|flow| ends.ends(flow, &from, std::slice::from_ref(&lan))).cloned());
        all.iter().map(|flow| flow.handle.id).collect()
    }

    const HOME: &str = "192.168.1.101";
    const SERVER: &str = "203.0.113.10";

    #[test]
    fn a_helper_that_is_switched_off_ends_what_it_watched_and_what_it_let_in_and_nothing_else() {
        let helped = |name: &str, flow: Flow| Flow { helper: Some(name.into()), ..flow };
        let ftp = helped("ftp", flow(6, HOME, 21, 1));
        let unwatched = flow(6, HOME, 21, 2);
        let active = by(&ftp, flow(6, SERVER, 5000, 3));
        let passive = by(&ftp, flow(6, HOME, 6000, 4));
        let sip = helped("sip", flow(17, HOME, 5060, 5));
        let voice = by(&sip, flow(17, SERVER, 7000, 6));
        let call = by(&flow(6, HOME, 1723, 90), flow(47, SERVER, 7, 7));
        let all = [ftp, unwatched, active, passive, sip, voice, call];
        let on = [("helpers.ftp", "true"), ("helpers.sip", "true")];
        assert_eq!(ended(&on, &on[1..], &all), [1, 3]);
        assert_eq!(ended(&on, &on[..1], &all), [5, 6]);
        assert_eq!(ended(&on, &[], &all), [1, 3, 5, 6]);
        assert_eq!(ended(&on, &on, &all), [0; 0]);
    }

    #[test]
    fn the_voice_of_h323_ends_though_it_was_announced_by_what_was_announced_and_that_is_gone() {
        let q931 = Flow { helper: Some("Q.931".into()), ..flow(6, HOME, 1720, 1) };
        let h245 = by(&q931, Flow { helper: Some("H.245".into()), ..flow(6, SERVER, 3333, 2) });
        let voice = by(&h245, flow(17, SERVER, 4444, 3));
        let on = [("helpers.h323", "true"), ("helpers.ftp", "true")];
        assert_eq!(ended(&on, &on[1..], &[q931.clone(), h245.clone(), voice.clone()]), [1, 2, 3]);
        assert_eq!(ended(&on, &on[..1], &[q931, h245, voice.clone()]), [0; 0]);
        assert_eq!(ended(&on, &on[1..], &[voice]), [3]);
    }

    #[test]
    fn strict_ends_the_ipsec_that_the_internet_began_over_ipv6_and_only_that() {
        let six = |protocol, port, number| flow(protocol, "2001:db8:9::1", port, number);
        let all = [six(50, 0, 1), six(51, 0, 2), six(17, 500, 3), six(17, 4500, 4), flow(50, SERVER, 0, 5)];
        let own = Flow { server: "2001:db8:9::1".parse().unwrap(), ..flow(17, "2001:db8:2::2", 500, 6) };
        let all = [&all[..], &[own]].concat();
        let strict = [("firewall.ipv6_ipsec", "strict")];
        assert_eq!(ended(&[], &strict, &all), [1, 2, 3]);
        assert_eq!(ended(&[], &[("passthrough.ipsec.enabled", "false")], &all), [1, 2, 3]);
        assert_eq!(ended(&strict, &[], &all), [0; 0]);
        assert_eq!(ended(&strict, &[("passthrough.ipsec.enabled", "false")], &all), [0; 0]);
    }

    #[test]
    fn a_forward_that_goes_ends_what_was_begun_with_its_port_of_ours_and_nothing_else() {
        const OURS: &str = "198.51.100.2";
        let at = |to: &str, flow: Flow| Flow { server: to.parse().unwrap(), ..flow };
        let stranger = at(OURS, flow(6, SERVER, 8080, 1));
        let neighbour = at(OURS, flow(6, HOME, 8080, 2));
        let other_port = at(OURS, flow(6, SERVER, 8081, 3));
        let out = flow(6, HOME, 8080, 4);
        let own = Flow { client: OURS.parse().unwrap(), ..flow(6, HOME, 8080, 5) };
        let esp = at(OURS, flow(50, SERVER, 0, 6));
        let in_range = at(OURS, flow(17, SERVER, 5003, 7));
        let all = [stranger, neighbour, other_port, out, own, esp, in_range];
        let wan = SeenLink { addresses: vec![(OURS.parse().unwrap(), 24)], ..SeenLink::default() };
        let ended = |from: &[(&str, &str)], to: &[(&str, &str)]| -> Vec<u32> {
            let (from, to) = (with(from), with(to));
            let ends = Ends::between(&from, &to, &Capabilities::everything());
            let lost = ends.lost(&all, &from, std::slice::from_ref(&wan));
            lost.iter().map(|(flow, _)| flow.handle.id).collect()
        };
        let web = ("forwards.web", "tcp 8080 to 192.168.1.20:80");
        let vpn = ("forwards.vpn", "ikev2 to 192.168.1.20");
        let game = ("forwards.game", "udp 5000-5010 to 192.168.1.20");
        assert_eq!(ended(&[web, vpn, game], &[web, vpn, game]), [0; 0]);
        assert_eq!(ended(&[web, vpn, game], &[vpn, game]), [1, 2]);
        assert_eq!(ended(&[web, vpn, game], &[web, game]), [6]);
        assert_eq!(ended(&[web, vpn, game], &[web, vpn]), [7]);
        assert_eq!(ended(&[web], &[("forwards.web", "tcp 8080 to 192.168.1.21:80")]), [1, 2], "elsewhere");
        assert_eq!(ended(&[web], &[("forwards.web", "tcp 8080 to 192.168.1.20:80 (off)")]), [1, 2]);
        assert_eq!(ended(&[], &[web, vpn, game]), [0; 0]);
    }

    #[test]
    fn with_the_forward_of_a_pptp_server_the_gre_of_its_calls_ends_and_no_other() {
        const OURS: &str = "198.51.100.2";
        const DEVICE: &str = "192.168.1.20";
        let between = |from: &str, to: &str, flow: Flow| Flow {
            client: from.parse().unwrap(),
            server: to.parse().unwrap(),
            ..flow
        };
        let call = between(SERVER, OURS, flow(6, SERVER, 1723, 1));
        let from_peer = by(&call, between(SERVER, OURS, flow(47, SERVER, 7, 2)));
        let from_device = by(&call, between(DEVICE, SERVER, flow(47, DEVICE, 8, 3)));
        let other_peer = between(DEVICE, "203.0.113.99", flow(47, DEVICE, 8, 4));
        let other_device = between(HOME, SERVER, flow(47, HOME, 8, 5));
        let all = [call, from_peer, from_device, other_peer, other_device];
        let wan = SeenLink { addresses: vec![(OURS.parse().unwrap(), 24)], ..SeenLink::default() };
        let lost = |to: &[(&str, &str)]| {
            let (from, to) = (with(&[("forwards.vpn", "pptp to 192.168.1.20")]), with(to));
            let ends = Ends::between(&from, &to, &Capabilities::everything());
            assert_eq!(ends.wanted().iter().any(|flow| flow.protocol == GRE), ends.pptp.is_some());
            ends.lost(&all, &from, std::slice::from_ref(&wan))
        };
        let ids = |lost: &[(Flow, Lost)]| lost.iter().map(|(flow, _)| flow.handle.id).collect::<Vec<_>>();
        let gone = lost(&[]);
        assert_eq!(ids(&gone), [1, 2, 3]);
        let lost_ones: Vec<Lost> = gone.iter().map(|(_, lost)| *lost).collect();
        let refused = ruleset::forwards::not_begun_anew(&lost_ones).to_string();
        assert!(
            refused.contains("forward_ended_gre { 192.168.1.20 . 203.0.113.10 }")
                && refused.contains("forward_ended { 192.168.1.20 . 1723 . 203.0.113.10 . 40000 }"),
            "{refused}"
        );
        assert_eq!(ids(&lost(&[("forwards.vpn", "pptp to 192.168.1.21")])), [1, 2, 3], "elsewhere");
        assert_eq!(ids(&lost(&[("forwards.vpn", "pptp to 192.168.1.20")])), [0; 0]);
        let more = [("forwards.vpn", "pptp to 192.168.1.20"), ("forwards.web", "tcp 80 to 192.168.1.20")];
        assert_eq!(ids(&lost(&more)), [0; 0]);
    }
}
