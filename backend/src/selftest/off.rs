//! Off means off: what is refused when a protocol is off is first seen to pass while it is on, so that a packet which never would
//! have arrived proves nothing. The same sockets go on while the rules are swapped: open conversations must end too.

use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use super::ends::{SOON, accept, payload, reaches, sender};
use super::{Bench, Seen, Stop, fails, ipsec, pptp};
use crate::kernel::scratch::{DEVICES, Place, SERVER, Scratch};
use crate::settings::Passthrough;

/// Packets of one pair of hosts arrive in the order in which they were sent, unless the box moves us from one core to another
/// in between: so a packet that has not come so long after a later one does not come.
const GRACE: Duration = Duration::from_millis(100);
/// An ordinary conversation, which no switch concerns.
const WITNESS: u16 = 9;
/// IP protocol numbers: L2TPv3 (RFC 3931 section 4.1.1), AH (RFC 4302 section 2).
const L2TPV3: u8 = 115;
const AH: u8 = 51;

/// What a probe is sent as.
#[derive(Clone, Copy)]
enum Kind {
    Udp(u16),
    Ip(u8),
}

impl Kind {
    fn called(self) -> String {
        match self {
            Self::Udp(port) => format!("UDP to port {port}"),
            Self::Ip(pptp::GRE) => "GRE".to_owned(),
            Self::Ip(ipsec::ESP) => "ESP".to_owned(),
            Self::Ip(AH) => "AH".to_owned(),
            Self::Ip(number) => format!("IP protocol {number}"),
        }
    }

    fn packet(self, name: &str) -> Vec<u8> {
        match self {
            Self::Udp(ipsec::IKE_PORT) => ipsec::ike_message(0x5e1f_7e57_0000_00ff, 0, name),
            Self::Udp(_) => payload(name),
            // Without a call there is no Call ID; only with 0 does conntrack know the answer (`gre_pkt_to_tuple`).
            Self::Ip(pptp::GRE) => pptp::gre(0, name),
            Self::Ip(ipsec::ESP) => ipsec::esp_packet(0x0c00_0001, 1, name),
            // Next header IPv4, five words, SPI, sequence number, 96 bits of integrity value.
            Self::Ip(AH) => [&[4, 4, 0, 0, 0x0c, 0, 0, 2, 0, 0, 0, 1][..], &[0; 12], &payload(name)].concat(),
            Self::Ip(_) => [&[0, 0, 0, 9][..], &payload(name)].concat(),
        }
    }
}

/// A conversation of a device with the server.
struct Probe {
    kind: Kind,
    client: UdpSocket,
    server: UdpSocket,
    /// Whom the server takes for the device.
    caller: Option<SocketAddr>,
}

impl Probe {
    fn open(scratch: &Scratch, kind: Kind) -> Result<Self, Stop> {
        let (client, server) = match kind {
            Kind::Udp(port) => (
                // IKE is from port 500.
                scratch.udp(Place::Home, DEVICES[0], if port == ipsec::IKE_PORT { port } else { 0 })?,
                scratch.udp(Place::Internet, SERVER, port)?,
            ),
            Kind::Ip(protocol) => (
                scratch.raw(Place::Home, DEVICES[0], protocol)?,
                scratch.raw(Place::Internet, SERVER, protocol)?,
            ),
        };
        Ok(Self { kind, client, server, caller: None })
    }

    fn ask(&self, name: &str) {
        let port = match self.kind {
            Kind::Udp(port) => port,
            Kind::Ip(_) => 0,
        };
        let _ = self.client.send_to(&self.kind.packet(name), (SERVER, port));
    }

    /// Whether a packet passes each way.
    fn passes(&mut self, name: &str) -> bool {
        self.ask(name);
        self.caller = sender(&self.server, name, SOON);
        let Some(caller) = self.caller else { return false };
        let back = format!("{name} back");
        let _ = self.server.send_to(&self.kind.packet(&back), caller);
        sender(&self.client, &back, SOON).is_some()
    }
}

/// TCP to the control port.
struct Control {
    port: u16,
    listener: TcpListener,
    open: Option<(TcpStream, TcpStream)>,
}

impl Control {
    /// Opens a connection that carries something.
    fn passes(&mut self, scratch: &Scratch) -> Result<bool, Stop> {
        let Ok(mut client) = scratch.connect(DEVICES[0], self.port, SOON)? else { return Ok(false) };
        let Some((mut server, _)) = accept(&self.listener, SOON) else { return Ok(false) };
        let carried = reaches(&mut client, &mut server, &payload("control"), SOON);
        self.open = Some((client, server));
        Ok(carried)
    }
}

pub(super) fn pptp(bench: &Bench<'_>) -> Seen {
    let with = |enabled| {
        let mut passthrough = bench.passthrough.clone();
        passthrough.pptp.enabled = enabled;
        passthrough
    };
    let port = bench.passthrough.pptp.ports.iter().next().map_or(1723, |port| port.number());
    off(bench, [with(true), with(false)], &[Kind::Ip(pptp::GRE)], Some(port))
}

pub(super) fn l2tp(bench: &Bench<'_>) -> Seen {
    let with = |enabled| {
        let mut passthrough = bench.passthrough.clone();
        passthrough.l2tp.enabled = enabled;
        passthrough
    };
    let port = bench.passthrough.l2tp.ports.iter().next().map_or(1701, |port| port.number());
    off(bench, [with(true), with(false)], &[Kind::Udp(port), Kind::Ip(L2TPV3)], None)
}

pub(super) fn ipsec(bench: &Bench<'_>) -> Seen {
    let with = |enabled| {
        let mut passthrough = bench.passthrough.clone();
        (passthrough.ipsec.enabled, passthrough.ipsec.nat_traversal) = (enabled, true);
        passthrough
    };
    let all = [Kind::Udp(ipsec::IKE_PORT), Kind::Udp(ipsec::NAT_T_PORT), Kind::Ip(ipsec::ESP), Kind::Ip(AH)];
    off(bench, [with(true), with(false)], &all, None)
}

fn off(bench: &Bench<'_>, [on, off]: [Passthrough; 2], kinds: &[Kind], control: Option<u16>) -> Seen {
    let (scratch, capabilities) = bench.lay(&on)?;
    if control.is_some() {
        pptp::helper(&capabilities).map_err(Stop::Untested)?;
    }
    let mut witness = Probe::open(&scratch, Kind::Udp(WITNESS))?;
    let mut control = match control {
        Some(port) => Some(Control { port, listener: scratch.listen(port)?, open: None }),
        None => None,
    };
    let mut probes = Vec::new();
    for kind in kinds {
        probes.push(Probe::open(&scratch, *kind)?);
    }
    if !witness.passes("witness") {
        return Err(Stop::Untested("Ordinary traffic did not pass the test networks.".to_owned()));
    }
    let mut what = Vec::new();
    if let Some(control) = &mut control {
        what.push(format!("TCP to port {}", control.port));
        if !control.passes(&scratch)? {
            return fails(format!("While it was on, {} did not pass.", what.concat()));
        }
    }
    for probe in &mut probes {
        if !probe.passes("on") {
            return fails(format!("While it was on, {} did not pass both ways.", probe.kind.called()));
        }
        what.push(probe.kind.called());
    }
    bench.load(&scratch, &off, &capabilities)?;
    if let Some(control) = &mut control {
        if let Some((client, server)) = &mut control.open
            && reaches(client, server, &payload("still"), GRACE)
        {
            return fails("It was switched off, and an open control connection went on.");
        }
        if scratch.connect(DEVICES[0], control.port, SOON)?.is_ok() {
            return fails(format!(
                "It was switched off, and TCP port {} could still be opened.",
                control.port
            ));
        }
    }
    for probe in &probes {
        probe.ask("off");
        if let Some(caller) = probe.caller {
            let _ = probe.server.send_to(&probe.kind.packet("off back"), caller);
        }
    }
    if !witness.passes("witness again") {
        return fails("It was switched off, and ordinary traffic stopped too.");
    }
    for probe in &probes {
        if sender(&probe.server, "off", GRACE).is_some() {
            return fails(format!(
                "It was switched off, and {} still reached the server.",
                probe.kind.called()
            ));
        }
        if sender(&probe.client, "off back", GRACE).is_some() {
            return fails(format!(
                "It was switched off, and {} of the server still came in.",
                probe.kind.called()
            ));
        }
    }
    Ok(format!("{}: passed while it was on, and stopped at once when it was off.", what.join(", ")))
}
