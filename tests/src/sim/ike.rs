//! IKE as far as a router can see it: who sends which exchange when, with which cookies, and what is sent again.

use super::plan::{First, Keys, Side};
use super::traffic::What;
use super::wire::{self, IKE_PORT, Ike, Tag};
use super::world::{Event, Half, ROUTER, ROUTER_MAC, SECOND, Sa, Session, Time, World, index};
use super::{device, world};

/// Exchange types: RFC 7296 section 3.1; RFC 2409 appendix A for quick mode; RFC 2408 section 3.1 for main mode.
const SA_INIT: u8 = 34;
const AUTH: u8 = 35;
const CHILD: u8 = 36;
const MAIN: u8 = 2;
const QUICK: u8 = 32;
/// An unanswered request is sent again after 1, 2 and 4 s, and given up 8 s later.
const TRIES: u32 = 3;
/// No pair of SAs belongs to this message.
const NO_SA: u32 = u32::MAX;

/// A request that is not answered yet.
#[derive(Debug, Clone, Copy)]
pub(super) struct Exchange {
    kind: u8,
    message: u32,
    /// Main mode takes three rounds.
    round: u32,
    tries: u32,
    serial: u64,
}

/// An answer to a request that `side` has received.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Answer {
    session: usize,
    side: Side,
    kind: u8,
    message: u32,
    round: u32,
    sa: u32,
}

impl World {
    /// The client begins an IKE SA.
    pub fn ike_begin(&mut self, session: usize) {
        let kind = if self.sessions[session].keys == Keys::Ikev1 { MAIN } else { SA_INIT };
        self.request(session, Side::Client, kind, 0);
    }

    /// It is time to renew this session's SAs.
    pub fn rekey(&mut self, session: usize) {
        let Some(rekey) = self.plan.rekey else { return };
        let it = &self.sessions[session];
        if it.gone[0] || it.keys == Keys::Static {
            return;
        }
        let chance = if self.random.below(2) == 0 { Side::Client } else { Side::Server };
        let side = rekey.by.unwrap_or(chance);
        let it = &self.sessions[session];
        if it.first_in.is_some() && it.pending.iter().all(Option::is_none) {
            let kind = if it.keys == Keys::Ikev1 { QUICK } else { CHILD };
            self.request(session, side, kind, 0);
        }
        let moment = self.between(rekey.every);
        self.after(moment, Event::Rekey(session));
    }

    fn request(&mut self, session: usize, side: Side, kind: u8, round: u32) {
        let it = &mut self.sessions[session];
        it.serial += 1;
        let exchange =
            Exchange { kind, message: it.message[index(side)], round, tries: 0, serial: it.serial };
        it.message[index(side)] += 1;
        it.pending[index(side)] = Some(exchange);
        self.send_request(session, side, exchange);
    }

    fn send_request(&mut self, session: usize, side: Side, exchange: Exchange) {
        let Exchange { kind, message, round, tries, serial } = exchange;
        self.send_ike(session, side, What::Request, (kind, message, round, NO_SA));
        let jitter = 900 + self.random.below(200);
        self.after((SECOND << tries) * jitter / 1000, Event::Retry(session, side, serial));
    }

    /// No answer came in time.
    pub fn ike_retry(&mut self, session: usize, side: Side, serial: u64) {
        let it = &mut self.sessions[session];
        let waiting = it.pending[index(side)].filter(|exchange| exchange.serial == serial);
        let Some(mut exchange) = waiting.filter(|_| !it.gone[index(side)]) else { return };
        exchange.tries += 1;
        if exchange.tries <= TRIES {
            it.pending[index(side)] = Some(exchange);
            self.send_request(session, side, exchange);
            return;
        }
        it.pending[index(side)] = None;
        if !matches!(exchange.kind, CHILD | QUICK) || it.sas.is_empty() {
            // A new attempt is a new IKE SA.
            it.cookies[0] = self.random.below(u64::MAX) | 1;
            self.ike_begin(session);
        }
    }

    /// An IKE message has reached a server.
    pub fn server_hears_ike(&mut self, port: u16, header: Ike, tag: Tag) {
        let session = tag.session as usize;
        self.report.ike_right += 1;
        self.report.ike_port_moved += u64::from(port != IKE_PORT);
        if !self.sessions[session].gone[index(Side::Server)] {
            self.sessions[session].port = port;
            self.ike_heard(Side::Server, session, header, tag);
        }
    }

    /// An IKE message has reached a device.
    pub fn client_hears_ike(&mut self, device: usize, header: Ike, tag: Tag) {
        let session = tag.session as usize;
        if device != tag.device as usize {
            // The message to a device that has left is not counted as sent.
            let inherited = self.devices[device].slot == self.devices[tag.device as usize].slot;
            self.report.ike_wrong += u64::from(!inherited);
            self.report.ike_inherited += u64::from(inherited);
            return;
        }
        self.report.ike_right += 1;
        if self.devices[device].present && !self.sessions[session].gone[0] {
            self.ike_heard(Side::Client, session, header, tag);
        }
    }

    fn ike_heard(&mut self, side: Side, session: usize, header: Ike, tag: Tag) {
        if header.initiator != self.sessions[session].cookies[0] {
            return;
        }
        match What::read(tag.what) {
            Some(What::Request) => {
                let made_by = (side.other(), header.message);
                let sa = if matches!(header.exchange, AUTH | CHILD | QUICK) {
                    let known = self.sessions[session].sas.iter().copied();
                    let known = known.rev().find(|sa| self.sas[*sa].made_by == made_by);
                    u32::try_from(known.unwrap_or_else(|| self.new_sa(session, made_by))).unwrap_or(NO_SA)
                } else {
                    NO_SA
                };
                let (kind, message, round) = (header.exchange, header.message, tag.number);
                let answer = Answer { session, side, kind, message, round, sa };
                let delay = self.sessions[session].rtt;
                self.after(delay, Event::Answer(answer));
            }
            Some(What::Response) => {
                let waiting = self.sessions[session].pending[index(side)];
                let answered = |e: &Exchange| e.kind == header.exchange && e.message == header.message;
                if waiting.filter(answered).is_some() {
                    self.sessions[session].pending[index(side)] = None;
                    self.answered(side, session, header, tag);
                }
            }
            Some(What::Third) => self.install(tag.sa as usize, side),
            _ => {}
        }
    }

    fn answered(&mut self, side: Side, session: usize, header: Ike, tag: Tag) {
        match (header.exchange, tag.number) {
            (SA_INIT, _) => self.request(session, side, AUTH, 0),
            (MAIN, 0 | 1) => self.request(session, side, MAIN, tag.number + 1),
            (MAIN, _) => self.request(session, side, QUICK, 0),
            (QUICK, _) => {
                self.send_ike(session, side, What::Third, (QUICK, header.message, 0, tag.sa));
                self.install(tag.sa as usize, side);
            }
            _ => self.install(tag.sa as usize, side),
        }
    }

    /// The answer leaves. An IKEv2 responder has its SAs then; an IKEv1 responder waits for the third message.
    pub fn ike_answer(&mut self, answer: Answer) {
        let Answer { session, side, kind, message, round, sa } = answer;
        if self.sessions[session].gone[index(side)] {
            return;
        }
        self.send_ike(session, side, What::Response, (kind, message, round, sa));
        if sa != NO_SA && kind != QUICK {
            self.install(sa as usize, side);
        }
    }

    fn send_ike(&mut self, session: usize, side: Side, what: What, of: (u8, u32, u32, u32)) {
        let (exchange, message, number, sa) = of;
        if self.plays_loss() {
            return;
        }
        let it = &self.sessions[session];
        // RFC 7296: 0x08 from who began the IKE SA, 0x20 a response.
        let mut flags = if side == Side::Client { 0x08 } else { 0 };
        flags |= if what == What::Response { 0x20 } else { 0 };
        let header = Ike {
            initiator: it.cookies[0],
            responder: if matches!((exchange, number, what), (SA_INIT | MAIN, 0, What::Request)) {
                0
            } else {
                it.cookies[1]
            },
            version: if it.keys == Keys::Ikev1 { 0x10 } else { 0x20 },
            exchange,
            flags: if it.keys == Keys::Ikev1 { 0 } else { flags },
            message,
        };
        let tag = Tag {
            device: u32::try_from(it.device).unwrap_or_default(),
            session: u32::try_from(session).unwrap_or_default(),
            sa,
            number,
            what: what as u8,
            counts: false,
        };
        let ports = (IKE_PORT, if side == Side::Client { IKE_PORT } else { it.port });
        let body = wire::ike(ports, header, tag);
        // A message to somebody who has left is not lost.
        self.ike_sent += u64::from(side == Side::Client || !it.gone[0]);
        let frame = self.packet(session, side, 17, &body);
        self.put(side, &frame);
    }

    /// A packet between a session's two ends, as `side` sends it.
    pub fn packet(&self, session: usize, side: Side, protocol: u8, body: &[u8]) -> Vec<u8> {
        let Session { device, server, .. } = self.sessions[session];
        let far = device::server_address(server);
        match side {
            Side::Client => {
                let near = device::address(self.devices[device].slot);
                wire::ipv4((ROUTER_MAC, device::mac(device)), near, far, protocol, body)
            }
            Side::Server => {
                let macs = (self.gateway.unwrap_or([0xff; 6]), device::server_mac(server));
                wire::ipv4(macs, far, ROUTER, protocol, body)
            }
        }
    }

    /// A new pair of SAs, which no side has yet.
    pub fn new_sa(&mut self, session: usize, made_by: (Side, u32)) -> usize {
        let server = self.sessions[session].server;
        self.made[server] += 1;
        let count = self.made[server];
        // SPIs below 256 are reserved (RFC 4303 section 2.1).
        let mut chance = || u32::try_from(self.random.below(1 << 32)).unwrap_or_default().max(256);
        let spi =
            if self.plan.same_spi { [0xc000_0000 + count, 0x1000 + count] } else { [chance(), chance()] };
        let sa = Sa {
            session,
            spi,
            made_by,
            at: [Half::NotYet; 2],
            heard: [false; 2],
            spoken: false,
            sequence: [0; 2],
            used: false,
            judged: world::Judged::default(),
            served: false,
            astray: None,
        };
        self.sas.push(sa);
        let sa = self.sas.len() - 1;
        self.sessions[session].sas.push(sa);
        self.unseen[server].insert(sa);
        sa
    }

    /// `side` has a pair of SAs from now on; older ones live one more second.
    pub fn install(&mut self, sa: usize, side: Side) {
        let (me, session) = (index(side), self.sas[sa].session);
        if self.sas[sa].at[me] != Half::NotYet || self.sessions[session].gone[me] {
            return;
        }
        self.sas[sa].at[me] = Half::Live;
        let older: Vec<usize> = self.sessions[session].sas.iter().copied().filter(|old| *old < sa).collect();
        let renewed = !older.is_empty();
        for old in older {
            self.after(SECOND, Event::Drop(old, side));
        }
        let soon = 1000 + self.random.below(20_000);
        if side == Side::Client && !self.sessions[session].traffic.begun {
            self.sessions[session].traffic.begun = true;
            self.after(soon, Event::Tick(session, 0));
        }
        let server_first = self.plan.rekey.is_some_and(|rekey| rekey.first == First::Server);
        if side == Side::Server && renewed && server_first {
            self.after(soon, Event::Hello(sa, 0));
        }
    }

    /// Time between a request and its answer.
    pub fn rtt(&self, session: usize) -> Time {
        self.sessions[session].rtt
    }
}
