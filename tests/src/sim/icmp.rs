//! A router on the internet that says "fragmentation needed" about packets of the clients.

use std::net::Ipv4Addr;

use super::plan::Side;
use super::wire::{self, Body, Frame, Quote};
use super::world::{ROUTER, World};
use super::{device, wire::Packet};

/// That router. It need not answer to anything.
const HOP: Ipv4Addr = Ipv4Addr::new(203, 0, 113, 250);
/// It quotes so much after the IP header: what RFC 1812 4.3.2.3 asks for is more; the IKE cookie ends here.
const QUOTED: usize = 28;

impl World {
    /// Answers one in so many of the packets that reach a server with an error, as a router with a narrow cable would.
    pub fn too_big(&mut self, frame: &[u8]) {
        if self.plan.too_big == 0 || self.random.below(self.plan.too_big) != 0 {
            return;
        }
        let Some(Frame::Holds(Packet { body, to, .. })) = wire::read(frame) else { return };
        match body {
            Body::Esp(..) => self.report.icmp_sent.0 += 1,
            Body::Ike(..) => self.report.icmp_sent.1 += 1,
            Body::TooBig(..) => return,
        }
        let server = self.server_of(to).unwrap_or_default();
        let macs = (self.gateway.unwrap_or([0xff; 6]), device::server_mac(server));
        let error = wire::ipv4(macs, HOP, ROUTER, 1, &wire::too_big(frame, QUOTED));
        self.put(Side::Server, &error);
    }

    /// An error has reached a device: is it about a packet of its own, and can it know it again?
    pub fn client_hears_icmp(&mut self, device: usize, from: Ipv4Addr, quote: Quote) {
        let own = from == device::address(self.devices[device].slot);
        let sessions = || self.sessions.iter().filter(|session| session.device == device);
        let to = |server: usize, ip: Ipv4Addr| device::server_address(server) == ip;
        match quote {
            Quote::Esp(server, spi) => {
                let known = sessions().any(|session| {
                    to(session.server, server) && session.sas.iter().any(|sa| self.sas[*sa].spi[1] == spi)
                });
                self.report.icmp_right.0 += u64::from(own && known);
                self.report.icmp_wrong += u64::from(!(own && known));
            }
            Quote::Ike(server, cookie) => {
                let known =
                    sessions().any(|session| to(session.server, server) && session.cookies[0] == cookie);
                self.report.icmp_right.1 += u64::from(own && known);
                self.report.icmp_wrong += u64::from(!(own && known));
            }
        }
    }
}
