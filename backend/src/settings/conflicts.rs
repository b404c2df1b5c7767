//! What a forward or the DMZ means for VPN passthrough: what it takes away from VPN clients of the home, and what it lacks for a
//! VPN server. Nothing of this is wrong; the owner reads it beside the field. Two forwards of one port are refused (`check.rs`).
//!
//! What a client of the home has begun always stays its own: conntrack knows it before a forward is asked. So all that a
//! forward can take is what a client did not ask for, or what comes from a peer that both speak with.

#[cfg(test)]
mod tests;

use super::Settings;
use super::forwards::{Forward, Preset, Taken};
use super::names::DmzHost;

const TCP: u8 = 6;
const UDP: u8 = 17;
const GRE: u8 = 47;
const ESP: u8 = 50;

/// ESP has no ports, and IKE must stay on 500: of one peer, only one device can be meant.
const IPSEC: &str = "VPN clients of your devices go on working. But ESP that a server sends before its client here has sent any \
    comes to this device; and with a peer of this device, nobody else can use IPsec without NAT traversal.";
/// The same, where the server of exactly one client may begin IKE with it.
const IPSEC_MANY: &str = "VPN clients of your devices go on working. But a VPN server on the internet that calls one of them of \
    its own accord gets this device instead; and with a peer of this device, nobody else can use IPsec without NAT traversal.";
/// A client keeps its port where it is free, so both conversations have the same two ends.
const NAT_TRAVERSAL: &str = "VPN clients of your devices go on working. But what a peer sends from its UDP port 4500 goes to a \
    device that has a tunnel with it already, not here.";
const L2TP: &str = "VPN clients of your devices go on working, except with a server that answers from another port than the one \
    called: that answer comes to this device. And what a peer sends from its UDP port 1701 goes to a device that has a tunnel with it already, not here.";
const IKE_ALONE: &str = "IKE alone is not enough for raw ESP: the presets for IPsec forward ESP too.";
const PPTP_ALONE: &str = "For a PPTP server choose its preset: it lets the calls' GRE in too.";
const PPTP_DMZ: &str =
    "A PPTP server needs a forward of its own, with its preset: GRE does not come in here.";
const PPTP_WEAK: &str = "PPTP's encryption is weak: prefer another kind of VPN.";

/// What is taken on the internet side.
struct Takes(Vec<Taken>);

impl Takes {
    fn port(&self, protocol: u8, port: u16) -> bool {
        let inside = |(first, last): (u16, u16)| (first..=last).contains(&port);
        self.0.iter().any(|taken| taken.0 == protocol && taken.1.is_some_and(inside))
    }

    fn protocol(&self, protocol: u8) -> bool {
        self.0.iter().any(|taken| taken.0 == protocol)
    }

    /// What is taken from, or shared with, clients of the home whose protocols are on.
    fn shared(&self, settings: &Settings) -> Vec<&'static str> {
        let (ipsec, l2tp) = (&settings.passthrough.ipsec, &settings.passthrough.l2tp);
        let mut notes = Vec::new();
        if ipsec.enabled && (self.port(UDP, 500) || self.protocol(ESP)) {
            notes.push(if ipsec.many_clients { IPSEC_MANY } else { IPSEC });
        }
        if ipsec.enabled && ipsec.nat_traversal && self.port(UDP, 4500) {
            notes.push(NAT_TRAVERSAL);
        }
        if l2tp.enabled && self.port(UDP, 1701) {
            notes.push(L2TP);
        }
        notes
    }
}

impl Forward {
    /// What the owner should know of a forward that is on and fine.
    pub fn notes(&self, settings: &Settings) -> Vec<&'static str> {
        if !self.enabled {
            return Vec::new();
        }
        let takes = Takes(self.takes());
        let mut notes = takes.shared(settings);
        if takes.port(UDP, 500) && !takes.protocol(ESP) {
            notes.push(IKE_ALONE);
        }
        if takes.port(TCP, 1723) && !takes.protocol(GRE) {
            notes.push(PPTP_ALONE);
        }
        if self.preset == Some(Preset::Pptp) {
            notes.push(PPTP_WEAK);
        }
        notes
    }
}

impl Settings {
    /// What the owner should know of the DMZ host: it gets what no forward takes.
    pub fn dmz_notes(&self) -> Vec<&'static str> {
        if self.firewall.dmz == DmzHost::None {
            return Vec::new();
        }
        let forwarded = self.forwards.iter().filter(|forward| forward.enabled);
        let forwarded = Takes(forwarded.flat_map(Forward::takes).collect());
        let alone = |port| (!forwarded.port(UDP, port)).then_some((UDP, Some((port, port))));
        let esp = (!forwarded.protocol(ESP)).then_some((ESP, None));
        let takes = Takes([alone(500), alone(4500), alone(1701), esp].into_iter().flatten().collect());
        let mut notes = takes.shared(self);
        if !forwarded.port(TCP, 1723) {
            notes.push(PPTP_DMZ);
        }
        notes
    }
}
