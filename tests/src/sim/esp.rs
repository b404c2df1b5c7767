//! ESP: which pair of SAs a packet goes on, and the verdict when it arrives.

use std::time::Duration;

use super::plan::{First, Side};
use super::traffic::What;
use super::wire::{self, Tag};
use super::world::{Half, Judged, SECOND, Time, World, index};

/// A binding that brings nothing for so long counts as ended.
const SILENCE: Time = 5 * SECOND;

impl World {
    /// The pair of SAs on which `side` sends now.
    fn sending_on(&self, session: usize, side: Side) -> Option<usize> {
        let live = |sa: &usize| self.sas[*sa].at[index(side)] == Half::Live;
        let mut newest_first = self.sessions[session].sas.iter().rev().copied().filter(live);
        let newest = newest_first.next()?;
        let first = self.plan.rekey.map_or(First::Either, |rekey| rekey.first);
        let waits = matches!((first, side), (First::Client, Side::Server) | (First::Server, Side::Client));
        let older = if waits && !self.sas[newest].heard[index(side)] { newest_first.next() } else { None };
        Some(older.unwrap_or(newest))
    }

    /// Sends one packet of a session; nothing happens while there is no pair of SAs.
    pub fn send_esp(&mut self, session: usize, side: Side, what: What, number: u32) {
        if let Some(sa) = self.sending_on(session, side) {
            self.send_on(sa, side, what, number);
        }
    }

    /// Sends one packet on this pair.
    pub fn send_on(&mut self, sa: usize, side: Side, what: What, number: u32) {
        let session = self.sas[sa].session;
        let gone = self.sessions[session].gone;
        if gone[index(side)] || self.plays_loss() {
            return;
        }
        match side {
            Side::Client => {
                let now = self.now();
                self.sessions[session].first_out.get_or_insert(now);
            }
            Side::Server => self.judge(sa),
        }
        let far = index(side.other());
        let it = &mut self.sas[sa];
        let counts = it.served && it.at[far] == Half::Live && !gone[far];
        self.counting.0 += u64::from(counts);
        it.sequence[index(side)] += 1;
        let device = self.sessions[session].device;
        let number_of = |index: usize| u32::try_from(index).unwrap_or_default();
        let (device, session_number) = (number_of(device), number_of(session));
        let tag =
            Tag { device, session: session_number, sa: number_of(sa), number, what: what as u8, counts };
        let body = wire::esp(it.spi[far], it.sequence[index(side)], tag);
        let frame = self.packet(session, side, 50, &body);
        self.put(side, &frame);
    }

    /// The server sends on this pair: what could be known of it, if it is the first time?
    fn judge(&mut self, sa: usize) {
        let session = self.sas[sa].session;
        if self.sas[sa].used {
            return;
        }
        self.sas[sa].used = true;
        self.report.pairs_used += u64::from(!self.sessions[session].gone[0]);
        let server = self.sessions[session].server;
        let me = self.sessions[session].device;
        let another = |other: &usize| self.sessions[self.sas[*other].session].device != me;
        let several = self.unseen[server].iter().any(another);
        let server_first = !self.sas[sa].spoken;
        self.sas[sa].judged = Judged { several, server_first };
        self.unseen[server].remove(&sa);
    }

    /// ESP has reached a server.
    pub fn server_hears_esp(&mut self, tag: Tag) {
        let sa = tag.sa as usize;
        self.report.out += 1;
        self.counting.1 += u64::from(tag.counts);
        self.sas[sa].heard[index(Side::Server)] = true;
        self.sas[sa].spoken = true;
        // Who can use a pair of SAs has it, even if the last message of the exchange was lost.
        self.install(sa, Side::Server);
        if !self.sessions[self.sas[sa].session].gone[index(Side::Server)] {
            self.server_reads(tag);
        }
    }

    /// ESP has reached a device.
    pub fn client_hears_esp(&mut self, receiver: usize, tag: Tag) {
        let (sa, owner) = (tag.sa as usize, tag.device as usize);
        if !self.devices[receiver].present {
            self.report.nobody += 1;
            return;
        }
        let now = self.now();
        if receiver != owner {
            let Judged { several, server_first } = self.sas[sa].judged;
            let wrong = &mut self.report.wrong;
            if self.devices[receiver].slot == self.devices[owner].slot {
                wrong.inherited += 1;
                return;
            }
            match (several, server_first) {
                (false, _) => wrong.told_apart += 1,
                (true, false) => wrong.client_first += 1,
                (true, true) => wrong.server_first += 1,
            }
            // Another receiver, or a long silence: that is another binding, not the same going on.
            let same = |astray: &(usize, Time, Time)| astray.0 == receiver && now < astray.2 + SILENCE;
            let since = self.sas[sa].astray.filter(same).map_or(now, |(_, since, _)| since);
            self.sas[sa].astray = Some((receiver, since, now));
            let longest = Duration::from_micros(now - since);
            self.report.longest_wrong = self.report.longest_wrong.max(longest);
            return;
        }
        self.report.right += 1;
        self.counting.1 += u64::from(tag.counts);
        let it = &mut self.sas[sa];
        it.astray = None;
        it.heard[index(Side::Client)] = true;
        self.report.pairs_served += u64::from(!it.served);
        it.served = true;
        let session = it.session;
        let times = &mut self.sessions[session];
        times.first_in.get_or_insert(now);
        if let Some(again) = &mut times.again {
            again.get_or_insert(now);
        }
        if !times.gone[index(Side::Client)] {
            self.install(sa, Side::Client);
            self.client_reads(tag);
        }
    }
}
