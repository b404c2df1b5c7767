//! The truth of a run: devices, sessions, pairs of SAs, and the clock.

use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::net::Ipv4Addr;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::count::{Again, Report, median_and_worst};
use super::ike::Exchange;
use super::plan::{Keys, Pattern, Plan, Side};
use super::port::Port;
use super::traffic::{Traffic, What};
use super::wire::{self, Body, Frame, Mac};
use crate::random::Random;

/// Microseconds since the run began.
pub(super) type Time = u64;
/// A second.
pub(super) const SECOND: Time = 1_000_000;
/// The router's port towards the clients: `topology.rs` gives it this address.
pub(super) const ROUTER_MAC: Mac = [2, 0, 0, 0, 0, 1];
/// The router's address towards the internet.
pub(super) const ROUTER: Ipv4Addr = Ipv4Addr::new(198, 51, 100, 2);
/// After the end, packets under way have this long to arrive.
const AFTERMATH: Duration = Duration::from_secs(1);
/// How often the report that others see is renewed.
const TELL: Time = SECOND / 10;
/// A session that was not served in this time never was.
const PATIENCE: Time = 10 * SECOND;

/// What others may ask of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Command {
    /// The router has forgotten everything it knew.
    Forget,
    /// It is enough.
    Stop,
}

/// What happens at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// A device comes to this LAN address.
    Arrive(usize),
    /// It leaves without a word.
    Leave(usize),
    /// The server notices that its client of this session is gone.
    Forget(usize),
    /// An IKE request of this session and side was not answered yet; the number says which.
    Retry(usize, Side, u64),
    /// An IKE answer is ready.
    Answer(super::ike::Answer),
    /// This session's pair of SAs is due to be renewed.
    Rekey(usize),
    /// This side's half of a pair of SAs ends.
    Drop(usize, Side),
    /// A client's traffic goes on; the number says whether it still wants to.
    Tick(usize, u64),
    /// A server's stream goes on.
    Stream(usize, u64),
    /// A server's answer is ready: session, what, number.
    Reply(usize, What, u32),
    /// The server speaks first on this pair, for the n-th time.
    Hello(usize, u32),
}

/// One device of the home. Its index is in its MAC.
#[derive(Debug)]
pub(super) struct Device {
    pub slot: usize,
    pub present: bool,
    pub sessions: Vec<usize>,
}

/// A client and a server, from the client's start until it leaves.
#[derive(Debug)]
pub(super) struct Session {
    pub device: usize,
    pub server: usize,
    pub keys: Keys,
    /// The client has left; the server has noticed.
    pub gone: [bool; 2],
    pub cookies: [u64; 2],
    /// Port from which the server last heard IKE.
    pub port: u16,
    /// The next number of an exchange, by who begins it.
    pub message: [u32; 2],
    /// The request of each side that is not answered yet.
    pub pending: [Option<Exchange>; 2],
    pub serial: u64,
    /// Oldest first.
    pub sas: Vec<usize>,
    pub rtt: Time,
    pub traffic: Traffic,
    pub first_out: Option<Time>,
    pub first_in: Option<Time>,
    /// The same since the router forgot everything; none within: not served since.
    pub again: Option<Option<Time>>,
}

/// Whether a side has its half of a pair of SAs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Half {
    NotYet,
    Live,
    Dropped,
}

/// A pair of SAs. Arrays have the client's first; `spi` is by who receives with it.
#[derive(Debug)]
pub(super) struct Sa {
    pub session: usize,
    pub spi: [u32; 2],
    /// Number of the exchange that made it, and who began that.
    pub made_by: (Side, u32),
    pub at: [Half; 2],
    /// Whether each side has received on it.
    pub heard: [bool; 2],
    /// The client has got a packet through on it since the router knows anything.
    pub spoken: bool,
    pub sequence: [u32; 2],
    /// The server has sent on it: the router could learn its SPI.
    pub used: bool,
    pub judged: Judged,
    /// The client has received on it.
    pub served: bool,
    /// Who has wrongly received on it, since when and until when.
    pub astray: Option<(usize, Time, Time)>,
}

/// What could be known of a pair of SAs when its server first sent on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Judged {
    /// Another client of the server had a pair whose inbound SPI the router had not seen either.
    pub several: bool,
    /// The server had not heard the client on this pair.
    pub server_first: bool,
}

pub(super) fn index(side: Side) -> usize {
    usize::from(side == Side::Server)
}

/// A run.
pub(super) struct World {
    pub plan: Plan,
    pub random: Random,
    lan: Port,
    wan: Port,
    began: Instant,
    events: BinaryHeap<Reverse<(Time, u64, Event)>>,
    order: u64,
    pub devices: Vec<Device>,
    /// The last device at each LAN address.
    pub slots: Vec<Option<usize>>,
    pub sessions: Vec<Session>,
    pub sas: Vec<Sa>,
    /// By server: pairs whose inbound SPI the router has not seen.
    pub unseen: Vec<BTreeSet<usize>>,
    /// By server: how many pairs it has made, for [`Plan::same_spi`].
    pub made: Vec<u32>,
    /// The internet's router, once it has asked for a server.
    pub gateway: Option<Mac>,
    pub report: Report,
    /// Packets whose loss counts: sent, and arrived.
    pub counting: (u64, u64),
    /// IKE messages sent.
    pub ike_sent: u64,
    forgot: Option<Time>,
}

impl World {
    pub fn new(plan: Plan, lan: Port, wan: Port) -> Self {
        let (clients, servers) = (plan.clients, plan.servers);
        let mut world = Self {
            random: Random::from(plan.seed),
            plan,
            lan,
            wan,
            began: Instant::now(),
            events: BinaryHeap::new(),
            order: 0,
            devices: Vec::new(),
            slots: vec![None; clients],
            sessions: Vec::new(),
            sas: Vec::new(),
            unseen: vec![BTreeSet::new(); servers],
            made: vec![0; servers],
            gateway: None,
            report: Report::default(),
            counting: (0, 0),
            ike_sent: 0,
            forgot: None,
        };
        for slot in 0..clients {
            let moment = world.random.below(micros(world.plan.spread));
            world.after(moment, Event::Arrive(slot));
        }
        world
    }

    pub fn now(&self) -> Time {
        micros(self.began.elapsed())
    }

    /// Lets `event` happen `delay` microseconds from now.
    pub fn after(&mut self, delay: Time, event: Event) {
        self.order += 1;
        self.events.push(Reverse((self.now() + delay, self.order, event)));
    }

    /// A random time between two.
    pub fn between(&mut self, (from, to): (Duration, Duration)) -> Time {
        let (from, to) = (micros(from), micros(to));
        from + self.random.below((to.saturating_sub(from)).max(1))
    }

    /// Runs it to its end.
    pub fn run(mut self, commands: &Receiver<Command>, live: &Arc<Mutex<Report>>) -> Report {
        let end = micros(self.plan.time);
        let (mut told, mut looked) = (0, Instant::now());
        loop {
            self.report.stood_still = self.report.stood_still.max(looked.elapsed());
            looked = Instant::now();
            match commands.try_recv() {
                Ok(Command::Forget) => self.forget(),
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => break,
                Err(TryRecvError::Empty) => {}
            }
            let now = self.now();
            if now >= end || self.plan.packets.is_some_and(|packets| self.report.sent >= packets) {
                break;
            }
            let busy = self.step(now);
            let heard = self.drain();
            if now >= told + TELL {
                told = now;
                *live.lock().unwrap_or_else(PoisonError::into_inner) = self.report();
            }
            if !busy && !heard {
                let next = self.events.peek().map_or(end, |Reverse((at, ..))| *at);
                std::thread::sleep(Duration::from_micros(next.saturating_sub(self.now()).clamp(20, 500)));
            }
        }
        let end = Instant::now() + AFTERMATH;
        while Instant::now() < end {
            self.drain();
            std::thread::sleep(Duration::from_millis(1));
        }
        let report = self.report();
        *live.lock().unwrap_or_else(PoisonError::into_inner) = report.clone();
        report
    }

    /// Lets what is due happen, a little at a time; whether there was anything.
    fn step(&mut self, now: Time) -> bool {
        for round in 0..32 {
            let due = self.events.peek().is_some_and(|Reverse((at, ..))| *at <= now);
            let Some(Reverse((_, _, event))) = due.then(|| self.events.pop()).flatten() else {
                return round > 0;
            };
            self.happen(event);
        }
        true
    }

    fn happen(&mut self, event: Event) {
        match event {
            Event::Arrive(slot) => self.arrive(slot),
            Event::Leave(slot) => self.leave(slot),
            Event::Forget(session) => self.server_forgets(session),
            Event::Retry(session, side, serial) => self.ike_retry(session, side, serial),
            Event::Answer(answer) => self.ike_answer(answer),
            Event::Rekey(session) => self.rekey(session),
            Event::Drop(sa, side) => self.drop_half(sa, side),
            Event::Tick(session, serial) => self.tick(session, serial),
            Event::Stream(session, serial) => self.stream(session, serial),
            Event::Reply(session, what, number) => self.reply(session, what, number),
            Event::Hello(sa, times) => self.hello(sa, times),
        }
    }

    /// Hears everything that has arrived on both cables; whether there was anything.
    pub fn drain(&mut self) -> bool {
        let mut bytes = [0; 2048];
        let mut any = false;
        while let Some(length) = self.lan.receive(&mut bytes) {
            any = true;
            match wire::read(&bytes[..length]) {
                Some(Frame::Asks { mac, ip, target }) => self.lan_asks(mac, ip, target),
                Some(Frame::Holds(packet)) => {
                    let Some(device) = self.device_of(packet.to_mac) else { continue };
                    match packet.body {
                        Body::Esp(_, tag) => self.client_hears_esp(device, tag),
                        Body::Ike(_, _, header, tag) => self.client_hears_ike(device, header, tag),
                        Body::TooBig(from, quote) => self.client_hears_icmp(device, from, quote),
                    }
                }
                None => {}
            }
        }
        while let Some(length) = self.wan.receive(&mut bytes) {
            any = true;
            match wire::read(&bytes[..length]) {
                Some(Frame::Asks { mac, ip, target }) => self.wan_asks(mac, ip, target),
                // Our own servers' packets are not heard here: the kernel does not give a socket what it sends.
                Some(Frame::Holds(packet)) if self.server_of(packet.to).is_some() => {
                    if packet.from != ROUTER {
                        self.report.untranslated += 1;
                    }
                    match packet.body {
                        Body::Esp(_, tag) => self.server_hears_esp(tag),
                        Body::Ike(port, _, header, tag) => self.server_hears_ike(port, header, tag),
                        Body::TooBig(..) => {}
                    }
                    self.too_big(&bytes[..length]);
                }
                _ => {}
            }
        }
        any
    }

    /// Puts a frame of ours on its cable. Played losses have been decided before.
    pub fn put(&self, side: Side, frame: &[u8]) {
        match side {
            Side::Client => self.lan.send(frame),
            Side::Server => self.wan.send(frame),
        }
    }

    /// Whether the next packet is lost on purpose; if not, it counts as sent.
    pub fn plays_loss(&mut self) -> bool {
        let lost = self.plan.loss > 0 && self.random.below(1000) < self.plan.loss;
        self.report.played_lost += u64::from(lost);
        self.report.sent += u64::from(!lost);
        lost
    }

    /// The router knows nothing any more: what was served must be served anew, and every SPI is unheard of.
    fn forget(&mut self) {
        self.forgot = Some(self.now());
        for session in &mut self.sessions {
            let lives = session.first_in.is_some() && !session.gone[0];
            session.again = lives.then_some(None);
        }
        for (index, sa) in self.sas.iter_mut().enumerate() {
            (sa.used, sa.spoken, sa.served, sa.astray) = (false, false, false, None);
            let session = &self.sessions[sa.session];
            if sa.at[0] == Half::Live && sa.at[1] == Half::Live && !session.gone[0] {
                self.unseen[session.server].insert(index);
            }
        }
    }

    /// What there is to tell now.
    fn report(&self) -> Report {
        let mut report = self.report.clone();
        let now = self.now();
        let mut first = Vec::new();
        for session in &self.sessions {
            let Some(out) = session.first_out else { continue };
            report.sessions += 1;
            match session.first_in {
                Some(back) => first.push(back - out),
                None if !session.gone[0] && now > out + PATIENCE => report.never_served += 1,
                None => {}
            }
        }
        report.served = first.len() as u64;
        report.first_answer = median_and_worst(first);
        report.lost_after_served = self.counting.0 - self.counting.1;
        report.ike_lost = self.ike_sent.saturating_sub(report.ike_right + report.ike_wrong);
        report.pairs = self.sas.len() as u64;
        report.again = self.forgot.map(|forgot| {
            let all: Vec<Option<Time>> = self.sessions.iter().filter_map(|session| session.again).collect();
            let took: Vec<u64> = all.iter().flatten().map(|at| at - forgot).collect();
            Again { sessions: all.len() as u64, served: took.len() as u64, took: median_and_worst(took) }
        });
        report
    }

    /// What the clients of `slot` do.
    pub fn pattern(&self, slot: usize) -> Pattern {
        self.plan.patterns[slot % self.plan.patterns.len()]
    }
}

pub(super) fn micros(span: Duration) -> Time {
    u64::try_from(span.as_micros()).unwrap_or(u64::MAX)
}
