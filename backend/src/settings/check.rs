//! What only the whole document can tell. Every message stands beside the field the owner would change.

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::net::{IpAddr, Ipv4Addr};

use super::forwards::{Forward, KEY, Taken};
use super::internet::Mode;
use super::local_network::BRIDGE;
use super::names::{DmzHost, InterfaceAddress, Port};
use super::passthrough::Allowed;
use super::{FieldError, Role, Settings};

/// Most ports of a range that leads to other ports.
const MOVED: u16 = 1024;

/// What is wrong so far.
struct Errors(Vec<FieldError>);

impl Errors {
    fn when(&mut self, wrong: bool, key: &str, message: impl Into<String>) {
        if wrong {
            self.0.push(FieldError::new(key, message));
        }
    }

    /// No entry twice, and a list short enough for every place that carries it.
    fn list<T: Ord + std::fmt::Display>(
        &mut self,
        key: &str,
        entries: impl IntoIterator<Item = T>,
        most: usize,
    ) {
        let mut seen = BTreeSet::new();
        let mut count = 0;
        for entry in entries {
            count += 1;
            self.when(seen.contains(&entry), key, format!("{entry} is in the list twice."));
            seen.insert(entry);
        }
        self.when(count > most, key, format!("The list has {count} entries; at most {most} are possible."));
    }
}

impl Settings {
    /// Everything that is wrong with the document as a whole; empty: it may be stored.
    pub fn check(&self) -> Vec<FieldError> {
        let mut errors = Errors(Vec::new());
        self.check_devices_of_the_box(&mut errors);
        self.check_internet(&mut errors);
        self.check_local_network(&mut errors);
        self.check_passthrough(&mut errors);
        self.check_devices_and_forwards(&mut errors);
        self.check_access(&mut errors);
        errors.0
    }

    fn check_devices_of_the_box(&self, errors: &mut Errors) {
        const INTERNET: &str = "internet.device";
        const LOCAL: &str = "local_network.devices";
        let (internet, local) = (&self.internet.device, &self.local_network.devices);
        if self.role == Role::Router {
            errors.when(internet.is_none(), INTERNET, "Choose the port that leads to the provider.");
            errors.when(local.is_empty(), LOCAL, "Choose at least one port for the local network.");
        }
        if self.role == Role::Companion {
            errors.when(
                internet.is_none(),
                INTERNET,
                "Name the device that leads to the internet, as the other firewall uses it.",
            );
            errors.when(
                local.is_empty(),
                LOCAL,
                "Name the device of the local network, as the other firewall uses it.",
            );
            // Joining them would be a change of the box, which is the other's.
            errors.when(
                local.len() > 1,
                LOCAL,
                "Beside another firewall this is one device: the bridge, if the box has one (br-lan, for example).",
            );
        }
        errors.list(LOCAL, local, 16);
        for port in local {
            let both = internet.as_ref() == Some(port);
            errors.when(both, LOCAL, format!("{port} already leads to the internet. Use another port here."));
            errors.when(
                port.as_str() == "lo",
                LOCAL,
                "lo is this box talking to itself. Choose a real port.",
            );
            let inside_itself = local.len() > 1 && port.as_str() == BRIDGE;
            errors.when(inside_itself, LOCAL, format!("{BRIDGE} is made of the other ports. Leave it out."));
        }
        if let Some(port) = internet {
            errors.when(
                port.as_str() == "lo",
                INTERNET,
                "lo is this box talking to itself. Choose a real port.",
            );
            let bridge = local.len() > 1 && port.as_str() == BRIDGE;
            errors.when(
                bridge,
                INTERNET,
                format!("{BRIDGE} is the local network. Choose the port to the provider."),
            );
        }
    }

    fn check_internet(&self, errors: &mut Errors) {
        const ADDRESS: &str = "internet.address";
        const GATEWAY: &str = "internet.gateway";
        let internet = &self.internet;
        if self.role == Role::Router && internet.mode == Mode::Static {
            errors.when(
                internet.address.is_none(),
                ADDRESS,
                "Static mode needs our address, for example 203.0.113.7/24.",
            );
            errors.when(
                internet.gateway.is_none(),
                GATEWAY,
                "Static mode needs the address of the provider's router.",
            );
        }
        if self.role == Role::Router && internet.mode == Mode::Pppoe {
            errors.when(
                internet.pppoe.user.is_none(),
                "internet.pppoe.user",
                "PPPoE needs the account's user name.",
            );
            errors.when(
                internet.pppoe.password.is_none(),
                "internet.pppoe.password",
                "PPPoE needs the account's password.",
            );
        }
        if let Some(ours) = internet.address {
            errors.when(
                !is_host(ours, ours.address()),
                ADDRESS,
                format!("{ours} is not an address that a box can have."),
            );
            if let Some(gateway) = internet.gateway {
                errors.when(
                    gateway == ours.address(),
                    GATEWAY,
                    "This is our own address. The gateway is the provider's router.",
                );
                let reachable = ours.contains(gateway) && is_host(ours, gateway);
                errors.when(
                    !reachable,
                    GATEWAY,
                    format!("{gateway} cannot be reached from {ours}: it is not in that network."),
                );
            }
            let local = self.local_network.address;
            let clash = internet.mode == Mode::Static && local.overlaps(ours);
            errors.when(
                clash,
                ADDRESS,
                format!("{ours} overlaps the local network {local}. The two sides need different networks."),
            );
        }
        errors.list("internet.dns", &internet.dns, 8);
        for server in &internet.dns {
            let loops = server.is_loopback() || *server == IpAddr::V4(self.local_network.address.address());
            let nobody = server.is_unspecified()
                || server.is_multicast()
                || *server == IpAddr::V4(Ipv4Addr::BROADCAST);
            errors.when(
                loops,
                "internet.dns",
                format!("{server} is this box itself, which would ask itself forever."),
            );
            errors.when(nobody, "internet.dns", format!("{server} is not the address of one server."));
        }
    }

    fn check_local_network(&self, errors: &mut Errors) {
        const ADDRESS: &str = "local_network.address";
        let ours = self.local_network.address;
        // /16: the low 16 bits of a device's address must tell it apart (a conntrack zone has 16). /30: one device.
        let size = (16..=30).contains(&ours.prefix());
        errors.when(
            !size,
            ADDRESS,
            format!("The prefix is /{}. A local network has /16 to /30.", ours.prefix()),
        );
        errors.when(
            !is_host(ours, ours.address()),
            ADDRESS,
            format!("{ours} is not an address that a box can have."),
        );
        // RFC 1918 section 3. Any other range belongs to somebody, who could then not be reached.
        let private = ours.address().is_private();
        errors.when(!private, ADDRESS, "Use a private address: 10.…, 172.16.… to 172.31.…, or 192.168.….");
        let dhcp = &self.local_network.dhcp;
        for (key, address) in [("local_network.dhcp.start", dhcp.start), ("local_network.dhcp.end", dhcp.end)]
        {
            let outside = address.filter(|address| !is_host(ours, *address));
            if let Some(address) = outside {
                errors.when(
                    true,
                    key,
                    format!("{address} is no device's address in the local network {ours}."),
                );
            }
        }
        if let (Some(start), Some(end)) = (dhcp.start, dhcp.end) {
            errors.when(
                end < start,
                "local_network.dhcp.end",
                format!("The range ends below its start, {start}."),
            );
        }
    }

    fn check_passthrough(&self, errors: &mut Errors) {
        // A listed port is refused while its protocol is off. These carry the web, names and the clock.
        const PPTP_NEVER: &[u16] = &[22, 53, 80, 443, 853];
        const L2TP_NEVER: &[u16] = &[53, 67, 68, 123, 443, 853];
        // More than there are in a home. The whole document must fit into a frame of the door (192 KiB), 20 bytes each.
        const DEVICES: usize = 1024;
        let passthrough = &self.passthrough;
        for port in passthrough.pptp.ports.iter() {
            let everyday = PPTP_NEVER.contains(&port.number());
            errors.when(everyday, "passthrough.pptp.ports", everyday_port("TCP", port, "PPTP"));
        }
        for port in passthrough.l2tp.ports.iter() {
            let everyday = L2TP_NEVER.contains(&port.number());
            errors.when(everyday, "passthrough.l2tp.ports", everyday_port("UDP", port, "L2TP"));
            let ipsec = matches!(port.number(), 500 | 4500);
            errors.when(
                ipsec,
                "passthrough.l2tp.ports",
                format!("UDP port {port} belongs to IPsec, which has a switch of its own."),
            );
        }
        if let Allowed::Only(macs) = &passthrough.devices {
            errors.when(macs.is_empty(), "passthrough.devices", Allowed::NOBODY);
            errors.list("passthrough.devices", macs, DEVICES);
        }
        errors.list("passthrough.priority", &passthrough.priority, DEVICES);
    }

    fn check_devices_and_forwards(&self, errors: &mut Errors) {
        let local = self.local_network.address;
        let other_device = |address| is_host(local, address) && address != local.address();
        errors.list("devices", self.devices.iter().map(|device| device.mac), 256);
        errors.list("devices", self.devices.iter().filter_map(|device| device.address), 256);
        for device in &self.devices {
            if let Some(address) = device.address.filter(|address| !other_device(*address)) {
                errors.when(
                    true,
                    "devices",
                    format!("{address} is no device's address in the local network {local}."),
                );
            }
        }
        if let DmzHost::Until(address, _) = self.firewall.dmz {
            errors.when(
                !other_device(address),
                "firewall.dmz",
                format!("{address} is no device's address in the local network {local}."),
            );
        }
        self.check_forwards(errors);
    }

    fn check_forwards(&self, errors: &mut Errors) {
        let local = self.local_network.address;
        let other_device = |address| is_host(local, address) && address != local.address();
        errors.list("forwards", self.forwards.iter().map(|forward| &forward.name), 1024);
        let mut taken: Vec<(Taken, &str)> = Vec::new();
        for forward in &self.forwards {
            let name = forward.name.as_str();
            let key = |field: &str| format!("{KEY}{name}.{field}");
            let complete = match forward.preset {
                Some(_) => forward.protocol.is_none() && forward.port.is_none(),
                None => forward.protocol.is_some() && forward.port.is_some(),
            };
            errors.when(
                !complete,
                &key("what"),
                format!("{name}: name either a preset, or a protocol and a port."),
            );
            let to = forward.to.address;
            errors.when(
                !other_device(to),
                &key("to"),
                format!("{name}: {to} is no device's address in the local network {local}."),
            );
            self.check_ports_of(forward, errors);
            for mine in forward.takes().into_iter().filter(|_| forward.enabled) {
                if let Some((_, other)) = taken.iter().find(|(theirs, _)| clash(*theirs, mine)) {
                    let what = in_words(mine);
                    errors.when(
                        true,
                        &key("port"),
                        format!("{name} and {other} both take {what}. Only one of them can be on."),
                    );
                }
                taken.push((mine, name));
            }
        }
    }

    fn check_ports_of(&self, forward: &Forward, errors: &mut Errors) {
        let name = forward.name.as_str();
        let Some(port) = forward.to.port else { return };
        let to = format!("{KEY}{name}.to");
        if let Some(preset) = forward.preset {
            let several = !preset.one_port();
            errors.when(
                several,
                &to,
                format!("{name}: this kind of server has fixed ports. Leave :{port} out."),
            );
        }
        if let Some(range) = forward.port {
            let (first, last) = (range.first().number(), range.last().number());
            let many = last - first;
            errors.when(
                u16::MAX - port.number() < many,
                &to,
                format!("{name}: the range would end above port 65535 of the device."),
            );
            // Each port of a range that moves is an element of its own in the kernel.
            errors.when(
                port != range.first() && many >= MOVED,
                &to,
                format!(
                    "{name}: at most {MOVED} ports can lead to other ports. Leave :{port} out, or take fewer."
                ),
            );
        }
    }

    fn check_access(&self, errors: &mut Errors) {
        let access = &self.access;
        let same = access.port == access.https_port;
        errors.when(
            same,
            "access.https_port",
            format!("Port {} is already the admin page's port for HTTP.", access.port),
        );
        for (key, port) in [("access.port", access.port), ("access.https_port", access.https_port)] {
            errors.when(port.number() == 22, key, "Port 22 is SSH's, the other way into this box.");
            errors.when(port.number() == 53, key, "Port 53 is the name server's.");
        }
    }
}

fn everyday_port(transport: &str, port: Port, name: &str) -> String {
    format!("{transport} port {port} carries everyday traffic, which would stop whenever {name} is off.")
}

/// `TCP port 443`, `UDP ports 5000 to 5010`, `ESP`.
fn in_words((protocol, ports): Taken) -> String {
    let name = match protocol {
        6 => "TCP",
        17 => "UDP",
        47 => "GRE",
        _ => "ESP",
    };
    match ports {
        None => name.to_owned(),
        Some((first, last)) if first == last => format!("{name} port {first}"),
        Some((first, last)) => format!("{name} ports {first} to {last}"),
    }
}

/// Whether two forwards want the same packets.
fn clash(a: Taken, b: Taken) -> bool {
    let meet = match (a.1, b.1) {
        (Some(a), Some(b)) => a.0 <= b.1 && b.0 <= a.1,
        _ => true,
    };
    a.0 == b.0 && meet
}

/// Whether one box can have `address` in `network`: not the network's first or last address (RFC 1122 section
/// 3.2.1.3; a /31 has two hosts, RFC 3021), and not one of the ranges that never name one box.
fn is_host(network: InterfaceAddress, address: Ipv4Addr) -> bool {
    let edge = network.prefix() <= 30 && (address == network.network() || address == network.broadcast());
    let [first, ..] = address.octets();
    let nobody = first == 0 || first >= 224 || address.is_loopback();
    network.contains(address) && !edge && !nobody
}
