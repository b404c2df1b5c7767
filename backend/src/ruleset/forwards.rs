//! Port forwards and the DMZ: what the internet may begin with a device of the home, over IPv4.
//!
//! Two permanent named maps lead from protocol and port to the device: one of single ports, which may lead to another port, and
//! one of ranges, which keep theirs. Kernels cannot ask a map for membership, so a set beside them says where a new
//! conversation may go. What was not translated by these rules is not in it, and nothing of it concerns this box's own
//! ports: only the chain `forward` ever asks.
//!
//! **Hairpin.** A device of the home that calls the internet address of this box is led the same way; its address is
//! translated too, or the server would answer it directly, with an address it has not called.
//!
//! **GRE** has no map: only the kernel's PPTP helper, attached to calls of the internet too, knows whose a packet is.
//! **ESP** has no ports: all that is no client's goes to the one VPN server (see also `many_clients/zones.rs`).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use super::learnt::Learnt;
use super::permanent::Permanent;
use super::table::{Chain, Counter, Table};
use super::{Capabilities, Helper, Ruleset, Sides};
use crate::settings::forwards::{Preset, Taken};
use crate::settings::names::DmzHost;
use crate::settings::{Role, Settings};

const TCP: u8 = 6;
const UDP: u8 = 17;
const GRE: u8 = 47;
const ESP: u8 = 50;
const IKE: u16 = 500;
/// What a DMZ gets besides ESP: protocols whose ports and checksums NAT understands.
const TO_THE_DMZ: [u8; 2] = [TCP, UDP];

/// Connections whose forward has ended, as the device of the home would go on sending in them: each of its packets would
/// begin the conversation anew, from the port that was forwarded. Prolonged by every try.
const ENDED: Learnt = Learnt::set(
    "forward_ended",
    "ip saddr . th sport . ip daddr . th dport",
    "10m",
    "conversations of forwards that have ended, as the home sends in them",
);
/// The same for ESP.
const ENDED_ESP: Learnt =
    Learnt::set("forward_ended_esp", "ip saddr . ip daddr", "10m", "ESP of forwards that have ended");

/// And GRE of calls to a PPTP server: a new call's GRE is expected, and so not new.
const ENDED_GRE: Learnt =
    Learnt::set("forward_ended_gre", "ip saddr . ip daddr", "10m", "GRE of forwards that have ended");

/// Something that is led to a device of the home.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Led {
    /// Protocol and ports on the internet side.
    pub taken: Taken,
    /// The device.
    pub to: Ipv4Addr,
    /// Its port for the first one of the internet side; the others follow.
    pub port: u16,
}

impl Led {
    /// GRE of the calls to this PPTP server.
    pub fn calls_to(server: Ipv4Addr) -> Self {
        Self { taken: (GRE, None), to: server, port: 0 }
    }

    /// Whether a conversation with this protocol and port of ours is led so.
    pub fn covers(&self, protocol: u8, port: u16) -> bool {
        let inside = self.taken.1.is_none_or(|(first, last)| (first..=last).contains(&port));
        self.taken.0 == protocol && inside
    }

    /// The device's port for this one of ours.
    fn port_of(&self, port: u16) -> u16 {
        match self.taken.1 {
            Some((first, _)) => self.port.saturating_add(port.saturating_sub(first)),
            None => 0,
        }
    }
}

/// A call to a VPN server of the home that nobody but the helper can lead: PPTP on a kernel without it is not forwarded. Nothing
/// is where a kernel cannot tell what is addressed to this box.
fn can(preset: Option<Preset>, capabilities: &Capabilities) -> bool {
    capabilities.forwards && (preset != Some(Preset::Pptp) || capabilities.knows(Helper::Pptp))
}

/// What is led where: the forwards, then what is left for the DMZ. GRE is not among it.
pub fn led(settings: &Settings, capabilities: &Capabilities) -> Vec<Led> {
    if settings.role != Role::Router || !capabilities.forwards {
        return Vec::new();
    }
    let mut all = forwarded(settings, capabilities);
    if let DmzHost::Until(to, _) = settings.firewall.dmz {
        all.extend(TO_THE_DMZ.map(|protocol| Led { taken: (protocol, Some((1, u16::MAX))), to, port: 1 }));
        if !all.iter().any(|led| led.taken.0 == ESP) {
            all.push(Led { taken: (ESP, None), to, port: 0 });
        }
    }
    all
}

fn forwarded(settings: &Settings, capabilities: &Capabilities) -> Vec<Led> {
    let on = settings.forwards.iter().filter(|f| f.enabled && can(f.preset, capabilities));
    on.flat_map(|forward| {
        let to = forward.to;
        let led = move |taken: Taken| Led {
            taken,
            to: to.address,
            port: to.port.map_or(taken.1.map_or(0, |(first, _)| first), |port| port.number()),
        };
        forward.takes().into_iter().filter(|taken| taken.0 != GRE).map(led)
    })
    .collect()
}

/// The devices that get IKE or ESP that nobody at home has asked for: VPN servers. Two, where a forward takes port 500 alone
/// and the DMZ host gets ESP.
pub(super) fn ipsec_servers(settings: &Settings, capabilities: &Capabilities) -> Vec<Ipv4Addr> {
    let all = led(settings, capabilities);
    let ike = all.iter().find(|led| led.covers(UDP, IKE)).map(|led| led.to);
    let esp = all.iter().find(|led| led.taken.0 == ESP).map(|led| led.to);
    ike.into_iter().chain(esp.filter(|esp| ike != Some(*esp))).collect()
}

/// The PPTP server of the home, and its port.
fn pptp_server(settings: &Settings, capabilities: &Capabilities) -> Option<(Ipv4Addr, u16)> {
    let mut on = settings.forwards.iter().filter(|f| f.enabled && can(f.preset, capabilities));
    on.find(|forward| forward.preset == Some(Preset::Pptp))
        .map(|forward| (forward.to.address, forward.to.port.map_or(1723, |port| port.number())))
}

/// The map of single ports, the map of ranges, and the set of where they lead.
fn permanent(all: &[Led]) -> [Permanent; 3] {
    let (mut single, mut ranges) = (Vec::new(), Vec::new());
    let mut open: BTreeMap<(Ipv4Addr, u8), Vec<(u16, u16)>> = BTreeMap::new();
    for one in all {
        let (protocol, Some((first, last))) = one.taken else { continue };
        open.entry((one.to, protocol)).or_default().push((one.port, one.port_of(last)));
        if first < last && one.port == first {
            ranges.push(format!("{protocol} . {first}-{last} : {}", one.to));
        } else {
            let leads = |port| format!("{protocol} . {port} : {} . {}", one.to, one.port_of(port));
            single.extend((first..=last).map(leads));
        }
    }
    let mut places = Vec::new();
    for ((to, protocol), mut ports) in open {
        // Elements of a set may not overlap, and two forwards may well lead to one port.
        ports.sort_unstable();
        let mut merged: Vec<(u16, u16)> = Vec::new();
        for (first, last) in ports {
            match merged.last_mut() {
                Some(before) if first <= before.1.saturating_add(1) => before.1 = before.1.max(last),
                _ => merged.push((first, last)),
            }
        }
        places.extend(merged.into_iter().map(|(first, last)| match first == last {
            true => format!("{to} . {protocol} . {first}"),
            false => format!("{to} . {protocol} . {first}-{last}"),
        }));
    }
    [
        Permanent {
            kind: "map",
            name: "forward_port",
            of: "type inet_proto . inet_service : ipv4_addr . inet_service",
            interval: false,
            why: "forwarded ports: device and port",
            elements: single,
        },
        Permanent {
            kind: "map",
            name: "forward_range",
            of: "type inet_proto . inet_service : ipv4_addr",
            interval: true,
            why: "forwarded ranges of ports: device",
            elements: ranges,
        },
        Permanent {
            kind: "set",
            name: "forward_in",
            of: "type ipv4_addr . inet_proto . inet_service",
            interval: true,
            why: "where forwards lead: device, protocol, port",
            elements: places,
        },
    ]
}

/// Before [`super::passthrough::rules`]: what belongs to a VPN server of the home is no client's, whatever the switches say.
pub(super) fn exempt(table: &mut Table, sides: &Sides, settings: &Settings, capabilities: &Capabilities) {
    for server in ipsec_servers(settings, capabilities) {
        if super::passthrough::learns(settings, capabilities) {
            // As with IPsec of this box itself. Only a peer that knows the server's cookies gets so far, no forged sender.
            let own = "update @ipsec_own { ip daddr }";
            let why = "its SPIs are the VPN server's, and not guessed";
            for these in
                [format!("udp sport {IKE} @th,208,8 {{ 32, 35, 36 }}"), format!("meta l4proto {ESP}")]
            {
                // Both sides have spoken: one forged packet of a neighbour marks nobody.
                let rule = format!("ip saddr {server} ct state established {these} {own}");
                table.rule(Chain::PassthroughOut, rule, why);
            }
        }
        for (from, side) in [(Chain::PassthroughOut, "saddr"), (Chain::PassthroughIn, "daddr")] {
            let rule = format!("ip {side} {server} meta l4proto {ESP} ct status dnat return");
            table.rule(from, rule, "ESP of a VPN server of the home: no switch of passthrough touches it");
        }
    }
    if let Some((server, _)) = pptp_server(settings, capabilities) {
        for (from, side) in [(Chain::PassthroughOut, "saddr"), (Chain::PassthroughIn, "daddr")] {
            let rule = format!("ip {side} {server} meta l4proto {GRE} ct helper \"pptp\" return");
            table.rule(
                from,
                rule,
                "calls to a PPTP server of the home: no switch of passthrough touches them",
            );
        }
        let rule = format!(
            "{} meta nfproto ipv4 meta l4proto {GRE} ip daddr {server} ct helper \"pptp\" accept",
            sides.inward()
        );
        table.rule(Chain::Related, rule, "GRE of a call to the PPTP server of the home");
    }
}

/// After [`super::passthrough::rules`], whose translations know better whose a packet is.
pub(super) fn rules(table: &mut Table, sides: &Sides, settings: &Settings, capabilities: &Capabilities) {
    let forwards = forwarded(settings, capabilities);
    table.permanent(permanent(&forwards));
    table.learnt(&[ENDED, ENDED_ESP, ENDED_GRE]);
    let all = led(settings, capabilities);
    if all.is_empty() {
        return;
    }
    let esp = all.iter().find(|led| led.taken.0 == ESP).map(|led| led.to);
    lead(table, sides, settings, !forwards.is_empty(), esp);
}

/// Addresses that no packet of the internet comes from (RFC 1918 section 3).
const PRIVATE: &str = "10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16";

/// The chain `forwards`, and the ways into it.
fn lead(table: &mut Table, sides: &Sides, settings: &Settings, forwards: bool, esp: Option<Ipv4Addr>) {
    let Sides { internet, local, .. } = sides;
    // Its own address and no other one of ours; not a broadcast.
    let rule = format!("iifname \"{internet}\" meta nfproto ipv4 fib daddr . iif type local jump forwards");
    table.rule(Chain::Dstnat, rule, "port forwards: what the internet begins with this box");
    let hairpin = format!(
        "iifname \"{local}\" meta nfproto ipv4 ip daddr != {} fib daddr type local jump forwards",
        settings.local_network.address.address()
    );
    table.rule(
        Chain::Dstnat,
        hairpin,
        "port forwards: what the home begins with this box at its internet address",
    );
    // No harm behind another NAT: its network is found through the internet port too. Kernels before 5.19 ask for the way back in
    // prerouting only (nft_fib_validate).
    let rule = format!("iifname \"{internet}\" fib saddr . iif oif missing return");
    table.rule(
        Chain::Forwards,
        rule,
        "a forged address of the home, from the internet (RFC 3704): led nowhere",
    );
    // Behind another NAT this box's address is private too, and its neighbours there may come.
    let rule = format!(
        "iifname \"{internet}\" ip saddr {{ {PRIVATE} }} ip daddr != {{ {PRIVATE}, 100.64.0.0/10 }} return"
    );
    table.rule(
        Chain::Forwards,
        rule,
        "a private address that comes to a public one (RFC 1918 section 3): led nowhere",
    );
    if forwards {
        let key = "meta l4proto . th dport";
        table.rule(Chain::Forwards, format!("dnat ip to {key} map @forward_port"), "by protocol and port");
        table.rule(Chain::Forwards, format!("dnat ip to {key} map @forward_range"), "by protocol and range");
    }
    if let Some(server) = esp {
        let rule = format!("meta l4proto {ESP} dnat ip to {server}");
        table.rule(Chain::Forwards, rule, "ESP that is no client's: to the VPN server");
    }
    if let DmzHost::Until(host, _) = settings.firewall.dmz {
        let protocols = TO_THE_DMZ.map(|protocol| protocol.to_string()).join(", ");
        let rule = format!("iifname \"{internet}\" meta l4proto {{ {protocols} }} dnat ip to {host}");
        table.rule(Chain::Forwards, rule, "the DMZ host gets the rest (firewall.dmz)");
    }
    let hairpin = format!("{} meta nfproto ipv4 ct status dnat masquerade", sides.is_device());
    table.rule(Chain::Srcnat, hairpin, "a server of the home answers a device of the home through this box");
}

/// Into `forward`, where known conversations are accepted already.
pub(super) fn let_in(table: &mut Table, sides: &Sides, settings: &Settings, capabilities: &Capabilities) {
    let ipv4 = format!("{} meta nfproto ipv4", sides.outward());
    let refused = format!("goto {}", Chain::Refused);
    let key = ENDED.of;
    for (protocol, only) in [(TCP, "tcp flags & syn == 0 "), (UDP, "")] {
        let rule = format!(
            "{ipv4} meta l4proto {protocol} {only}{key} @{} update @{} {{ {key} }} {refused}",
            ENDED.name, ENDED.name
        );
        table.rule(Chain::Forward, rule, "its forward has ended: not begun anew by its answers");
    }
    for (protocol, ended) in [(format!("{ESP}"), ENDED_ESP), (format!("{GRE} ct state new"), ENDED_GRE)] {
        let Learnt { name, of: key, .. } = ended;
        let rule =
            format!("{ipv4} meta l4proto {protocol} {key} @{name} update @{name} {{ {key} }} {refused}");
        table.rule(Chain::Forward, rule, "its forward has ended: not begun anew by its answers");
    }
    let new = format!("{} meta nfproto ipv4 ct state new ct status dnat", sides.inward());
    let counted = format!("{} accept", Counter::ForwardsLetIn);
    if let Some((server, port)) = pptp_server(settings, capabilities) {
        // As for calls of the home (see `passthrough/pptp.rs`); a device of the home may call too.
        let told = if capabilities.events { " ct event set new,destroy,protoinfo" } else { "" };
        let rule = format!(
            "meta nfproto ipv4 ip daddr {server} tcp dport {port} ct state new ct status dnat ct helper set \"pptp\"{told}"
        );
        table.rule(Chain::Forward, rule, "calls to the PPTP server of the home: track them, for their GRE");
    }
    if !forwarded(settings, capabilities).is_empty() {
        let rule = format!("{new} ip daddr . meta l4proto . th dport @forward_in {counted}");
        table.rule(Chain::Forward, rule, "a port forward");
    }
    let all = led(settings, capabilities);
    if let Some(led) = all.iter().find(|led| led.taken.0 == ESP) {
        let rule = format!("{new} meta l4proto {ESP} ip daddr {} {counted}", led.to);
        table.rule(Chain::Forward, rule, "ESP for the VPN server of the home");
    }
    if let DmzHost::Until(host, _) = settings.firewall.dmz
        && capabilities.forwards
    {
        table.rule(Chain::Forward, format!("{new} ip daddr {host} {counted}"), "the DMZ host (firewall.dmz)");
    }
}

/// What is led in one document and is not, or elsewhere, in the other.
pub fn led_no_more(before: &Settings, after: &Settings, capabilities: &Capabilities) -> Vec<Led> {
    if after.role != Role::Router {
        return Vec::new();
    }
    let now = led(after, capabilities);
    led(before, capabilities).into_iter().filter(|led| !now.contains(led)).collect()
}

/// The PPTP server whose calls end between the two documents.
pub fn pptp_no_more(before: &Settings, after: &Settings, capabilities: &Capabilities) -> Option<Ipv4Addr> {
    let was = pptp_server(before, capabilities).filter(|_| before.role == Role::Router)?;
    (after.role == Role::Router && pptp_server(after, capabilities) != Some(was)).then_some(was.0)
}

/// A conversation that the internet began with a port of ours and that has lost its forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lost {
    /// How it was led.
    pub led: Led,
    /// The port of ours.
    pub port: u16,
    /// The other side.
    pub peer: Ipv4Addr,
    /// Its port.
    pub peer_port: u16,
}

/// Refuses what the devices would go on sending in these. To be loaded over the rules that are there.
pub fn not_begun_anew(lost: &[Lost]) -> Ruleset {
    let mut text = String::new();
    for Lost { led, port, peer, peer_port } in lost {
        let Led { to, taken: (protocol, _), .. } = led;
        text += &match *protocol {
            ESP => format!("add element inet postern {} {{ {to} . {peer} }}\n", ENDED_ESP.name),
            GRE => format!("add element inet postern {} {{ {to} . {peer} }}\n", ENDED_GRE.name),
            _ => {
                let own = led.port_of(*port);
                format!("add element inet postern {} {{ {to} . {own} . {peer} . {peer_port} }}\n", ENDED.name)
            }
        };
    }
    Ruleset { about: None, text }
}
