//! Devices that come and go, and who has which address.

use std::net::Ipv4Addr;

use super::plan::{Keys, Side};
use super::traffic::Traffic;
use super::wire::{self, Mac};
use super::world::{Device, Event, Half, SECOND, Session, Time, World, index};

/// Addresses in 192.168.1.0/24 that the lab's own hosts have.
const TAKEN: [u8; 4] = [1, 101, 102, 103];
/// A server notices after so long that its client is gone.
const NOTICE: Time = 5 * SECOND;

/// So many LAN addresses can be played.
pub(super) const ADDRESSES: usize = 250;
/// So many servers.
pub(super) const SERVERS: usize = 100;

/// The LAN address at `slot`.
pub(super) fn address(slot: usize) -> Ipv4Addr {
    let free = (1..=254_u8).filter(|last| !TAKEN.contains(last)).nth(slot);
    Ipv4Addr::new(192, 168, 1, free.unwrap_or_default())
}

/// The address of a server.
pub(super) fn server_address(server: usize) -> Ipv4Addr {
    Ipv4Addr::new(203, 0, 113, 100 + u8::try_from(server).unwrap_or_default())
}

pub(super) fn server_mac(server: usize) -> Mac {
    [2, 0, 0, 1, 0, u8::try_from(server).unwrap_or_default()]
}

pub(super) fn mac(device: usize) -> Mac {
    let [high, low] = u16::try_from(device).unwrap_or(u16::MAX).to_be_bytes();
    [2, 0, 0, 16, high, low]
}

impl World {
    /// The device with this MAC, whether it is there or not.
    pub fn device_of(&self, mac: Mac) -> Option<usize> {
        let [2, 0, 0, 16, high, low] = mac else { return None };
        let device = usize::from(u16::from_be_bytes([high, low]));
        (device < self.devices.len()).then_some(device)
    }

    pub fn server_of(&self, ip: Ipv4Addr) -> Option<usize> {
        (0..self.plan.servers).find(|server| server_address(*server) == ip)
    }

    /// Somebody asks in the LAN for an address: its device answers if it is there.
    pub fn lan_asks(&mut self, from: Mac, ip: Ipv4Addr, target: Ipv4Addr) {
        let there = self.slots.iter().enumerate().find_map(|(slot, device)| {
            device.filter(|device| address(slot) == target && self.devices[*device].present)
        });
        if let Some(device) = there {
            self.put(Side::Client, &wire::arp(2, (mac(device), target), (from, ip)));
        }
    }

    /// The internet's router asks for a server.
    pub fn wan_asks(&mut self, from: Mac, ip: Ipv4Addr, target: Ipv4Addr) {
        if let Some(server) = self.server_of(target) {
            self.gateway = Some(from);
            self.put(Side::Server, &wire::arp(2, (server_mac(server), target), (from, ip)));
        }
    }

    /// The last device of this address comes back, or another one takes it; and it calls its servers.
    pub fn arrive(&mut self, slot: usize) {
        let other = self.random.below(100) < self.plan.reuse;
        let device = match self.slots[slot] {
            Some(device) if !other => device,
            _ => {
                self.devices.push(Device { slot, present: false, sessions: Vec::new() });
                self.devices.len() - 1
            }
        };
        self.slots[slot] = Some(device);
        self.devices[device].present = true;
        // As every device does before it can send anything; so the router knows its MAC.
        let router = Ipv4Addr::new(192, 168, 1, 1);
        self.put(Side::Client, &wire::arp(1, (mac(device), address(slot)), ([0; 6], router)));
        for turn in 0..self.plan.servers_each {
            let server = (slot + turn) % self.plan.servers;
            self.call(device, server);
        }
        if let Some(stay) = self.plan.stay {
            let stay = self.between(stay);
            self.after(stay, Event::Leave(slot));
        }
    }

    /// A new session of a device with a server.
    fn call(&mut self, device: usize, server: usize) {
        let slot = self.devices[device].slot;
        let keys = self.plan.keys[slot % self.plan.keys.len()];
        let rtt = self.between(self.plan.rtt);
        let mut cookie = || self.random.below(u64::MAX) | 1;
        let cookies = [cookie(), cookie()];
        let session = self.sessions.len();
        self.sessions.push(Session {
            device,
            server,
            keys,
            gone: [false; 2],
            cookies,
            port: wire::IKE_PORT,
            message: [0; 2],
            pending: [None, None],
            serial: 0,
            sas: Vec::new(),
            rtt,
            traffic: Traffic::new(self.pattern(slot)),
            first_out: None,
            first_in: None,
            again: None,
        });
        self.devices[device].sessions.push(session);
        if keys == Keys::Static {
            let sa = self.new_sa(session, (Side::Client, 0));
            self.install(sa, Side::Server);
            self.install(sa, Side::Client);
        } else {
            self.ike_begin(session);
        }
        if let Some(rekey) = self.plan.rekey {
            let moment = self.between(rekey.every);
            self.after(moment, Event::Rekey(session));
        }
    }

    /// The device at `slot` is switched off.
    pub fn leave(&mut self, slot: usize) {
        // What has reached it, has.
        self.drain();
        let Some(device) = self.slots[slot] else { return };
        self.devices[device].present = false;
        for session in std::mem::take(&mut self.devices[device].sessions) {
            self.sessions[session].gone[index(Side::Client)] = true;
            for sa in self.sessions[session].sas.clone() {
                self.drop_half(sa, Side::Client);
            }
            self.after(NOTICE, Event::Forget(session));
        }
        let away = self.between(self.plan.away);
        self.after(away, Event::Arrive(slot));
    }

    /// The server gives up on a client that is gone.
    pub fn server_forgets(&mut self, session: usize) {
        self.sessions[session].gone[index(Side::Server)] = true;
        for sa in self.sessions[session].sas.clone() {
            self.drop_half(sa, Side::Server);
        }
    }

    /// One side has no use for a pair of SAs any more.
    pub fn drop_half(&mut self, sa: usize, side: Side) {
        self.sas[sa].at[index(side)] = Half::Dropped;
        if self.sas[sa].at == [Half::Dropped; 2] {
            let server = self.sessions[self.sas[sa].session].server;
            self.unseen[server].remove(&sa);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_address_is_another_one_and_none_is_taken() {
        let all: std::collections::BTreeSet<_> = (0..ADDRESSES).map(address).collect();
        assert_eq!(all.len(), ADDRESSES);
        for host in ["laptop1", "laptop2", "phone"] {
            assert!(!all.contains(&crate::address(host)), "{host}");
        }
        assert!(
            !all.contains(&Ipv4Addr::new(192, 168, 1, 1)) && !all.contains(&Ipv4Addr::new(192, 168, 1, 0))
        );
    }
}
