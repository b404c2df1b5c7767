//! The world around the rules: clients, their server and their SAs, what can happen, and what must not.

use super::kernel::{Fate, Kernel, Packet};
use super::names::{
    CLIENTS, EVER, FORGED, GENERATIONS, LONG, Scale, TAIL, client_name, spi_forged, spi_in, spi_name, spi_out,
};

/// IKE exchanges (RFC 7296 section 3.1).
const IKE_SA_INIT: u64 = 34;
const IKE_AUTH: u64 = 35;
const CREATE_CHILD_SA: u64 = 36;

/// What can happen next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Event {
    /// A client makes an SA by IKE: its first, or by rekeying, whoever begins it.
    Ike(usize),
    /// A client has an SA that no IKE made.
    Keys(usize),
    /// A client sends on its newest SA, or on the one before.
    Send(usize, usize),
    /// The server sends to a client on an SA.
    Answer(usize, usize),
    /// ESP from the server's address that is nobody's.
    Forge(usize),
    /// Time passes: less than a second, a tick, five minutes.
    Pass(u8),
}

impl Event {
    pub(super) fn words(self) -> String {
        match self {
            Self::Ike(client) => format!("{} makes an SA by IKE", client_name(client)),
            Self::Keys(client) => format!("{} gets an SA without IKE", client_name(client)),
            Self::Send(client, generation) => {
                format!("{} sends {}", client_name(client), spi_name(spi_out(client, generation)))
            }
            Self::Answer(client, generation) => {
                format!("the server sends {}", spi_name(spi_in(client, generation)))
            }
            Self::Forge(n) => format!("somebody forges {}", spi_name(spi_forged(n))),
            Self::Pass(TAIL) => "0.1 s pass".to_owned(),
            Self::Pass(LONG) => "5 min pass".to_owned(),
            Self::Pass(_) => "a tick passes".to_owned(),
        }
    }
}

/// Who is answered in so many ticks in a row is served: longer than any probation.
const SETTLED: u8 = 7;

/// An SA in the state: not there, there, or known to be there because IKE or its first packet passed.
const KEYS: u8 = 1;
const MADE: u8 = 2;
/// An incoming SPI in the state: how it was when it first came to the router.
const APART: u8 = 1;
/// The same, but the client's own SA was not known either.
const UNKNOWN: u8 = 2;
/// Somebody else's could as well have come.
const UNTOLD: u8 = 3;
/// So it was not the first time, but the router has forgotten it since, and now it is.
const FORGOTTEN: u8 = 4;

/// What is found wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Wrong {
    /// P1: delivered to the wrong client though it could be told apart.
    ToldApart,
    /// The same, where the client's own SA was not known.
    ToldApartUnknown,
    /// It could be told apart once, and the router has forgotten it.
    Forgotten,
    /// P2: a wrong binding is certain.
    Sure,
    /// P2: a wrong binding is renewed.
    Renewed,
    /// P4: IKE of a known cookie.
    Cookie,
    /// P3: a client is not served.
    Starved,
}

/// Whether the server answers what reaches it on an SA.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answers {
    /// Perhaps, some time: any packet may be lost.
    Perhaps,
    /// Before the tick ends.
    InATick,
    /// Before the tail of a turn ends.
    AtOnce,
}

/// What can happen in this exploration.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    pub(super) clients: usize,
    pub(super) generations: usize,
    pub(super) ike: bool,
    pub(super) keys: bool,
    pub(super) forged: usize,
    pub(super) long: bool,
    /// Clients that have an SA of before a reboot of the router.
    pub(super) live: usize,
    pub(super) answers: Answers,
}

pub(super) struct World {
    pub(super) kernel: Kernel,
    pub(super) bounds: Bounds,
    esp_in: usize,
    esp_sure: usize,
    ike_in: usize,
}

impl World {
    pub(super) fn new(text: &str, scale: Scale, bounds: Bounds) -> Self {
        let kernel = Kernel::new(text, scale);
        let set = |name| kernel.program.set(name);
        let (esp_in, esp_sure, ike_in) = (set("esp_in"), set("esp_sure"), set("ike_in"));
        Self { kernel, bounds, esp_in, esp_sure, ike_in }
    }

    pub(super) fn start(&self) -> Vec<u8> {
        let mut state = vec![0; self.kernel.world + 3 * CLIENTS * GENERATIONS + 1];
        for client in 0..self.bounds.live {
            state[self.sa(client, 0)] = KEYS;
        }
        state
    }

    pub(super) fn sa(&self, client: usize, generation: usize) -> usize {
        self.kernel.world + client * GENERATIONS + generation
    }

    pub(super) fn seen(&self, client: usize, generation: usize) -> usize {
        self.kernel.world + (CLIENTS + client) * GENERATIONS + generation
    }

    /// The server has yet to answer on this SA.
    pub(super) fn owed(&self, client: usize, generation: usize) -> usize {
        self.kernel.world + (2 * CLIENTS + client) * GENERATIONS + generation
    }

    fn forged(&self) -> usize {
        self.kernel.world + 3 * CLIENTS * GENERATIONS
    }

    /// How many SAs a client has made.
    fn made(&self, state: &[u8], client: usize) -> usize {
        (0..GENERATIONS).take_while(|generation| state[self.sa(client, *generation)] != 0).count()
    }

    pub(super) fn events(&self, state: &[u8], events: &mut Vec<Event>) {
        events.clear();
        for client in 0..self.bounds.clients {
            let made = self.made(state, client);
            if made < self.bounds.generations {
                if self.bounds.ike {
                    events.push(Event::Ike(client));
                }
                if self.bounds.keys {
                    events.push(Event::Keys(client));
                }
            }
            for generation in 0..made {
                events.push(Event::Send(client, generation));
                events.push(Event::Answer(client, generation));
            }
        }
        if usize::from(state[self.forged()]) < self.bounds.forged.min(FORGED) {
            events.push(Event::Forge(usize::from(state[self.forged()])));
        }
        let mut lives = [false; 3];
        for &slot in &self.kernel.timed {
            match state[slot] {
                0 | EVER => {}
                TAIL => lives[0] = true,
                LONG => lives[2] = true,
                _ => lives[1] = true,
            }
        }
        let owed = self.owed(0, 0);
        let owing = state[owed..owed + CLIENTS * GENERATIONS].iter().any(|owed| *owed != 0);
        if lives[0] && !(owing && self.bounds.answers == Answers::AtOnce) {
            events.push(Event::Pass(TAIL));
        }
        if owing {
            return;
        }
        if lives[1] {
            events.push(Event::Pass(1));
        }
        if lives[2] && self.bounds.long {
            events.push(Event::Pass(LONG));
        }
    }

    fn ike(&self, state: &mut [u8], client: usize, exchange: u64, outward: bool) -> Fate {
        self.kernel.run(state, Packet { outward, client, esp: false, spi: 0, exchange })
    }

    fn esp(&self, state: &mut [u8], client: usize, spi: usize, outward: bool) -> Fate {
        self.kernel.run(state, Packet { outward, client, esp: true, spi, exchange: 0 })
    }

    /// The state after the event, what became of its packet, and what is wrong with it.
    pub(super) fn happen(&self, state: &mut [u8], event: Event) -> (Option<Fate>, Option<Wrong>) {
        let bound = self.wrong_bindings(state);
        let (fate, mut wrong) = self.step(state, event);
        if wrong.is_none() && !matches!(event, Event::Pass(_)) {
            for (spi, (before, after)) in bound.iter().zip(self.wrong_bindings(state)).enumerate() {
                if after > 0 && state[self.kernel.element(self.esp_sure, &[0, spi_in(0, 0) + spi])] != 0 {
                    wrong = Some(Wrong::Sure);
                } else if *before > 0 && after > *before {
                    wrong = Some(Wrong::Renewed);
                }
            }
        }
        (fate, wrong)
    }

    /// For each incoming SPI that is bound to the wrong client: how long yet.
    fn wrong_bindings(&self, state: &[u8]) -> [u8; CLIENTS * GENERATIONS] {
        let mut bound = [0; CLIENTS * GENERATIONS];
        for client in 0..self.bounds.clients {
            for generation in 0..GENERATIONS {
                let slot = self.kernel.element(self.esp_in, &[0, spi_in(client, generation)]);
                if state[slot] != 0 && usize::from(state[slot + 1]) != client {
                    bound[client * GENERATIONS + generation] = state[slot];
                }
            }
        }
        bound
    }

    fn step(&self, state: &mut [u8], event: Event) -> (Option<Fate>, Option<Wrong>) {
        match event {
            Event::Pass(by) => {
                self.kernel.pass(state, by);
                (None, None)
            }
            Event::Ike(client) => {
                let made = self.made(state, client);
                if made == 0 && self.ike(state, client, IKE_SA_INIT, true) != Fate::Out {
                    return (Some(Fate::Dropped), None);
                }
                let exchange = if made == 0 { IKE_AUTH } else { CREATE_CHILD_SA };
                let fate = self.ike(state, client, exchange, true);
                if fate == Fate::Out {
                    state[self.sa(client, made)] = MADE;
                    if self.ike(state, client, exchange, false) != Fate::To(client) {
                        return (Some(fate), Some(Wrong::Cookie));
                    }
                }
                (Some(fate), self.cookies(state))
            }
            Event::Keys(client) => {
                state[self.sa(client, self.made(state, client))] = KEYS;
                (None, None)
            }
            Event::Send(client, generation) => {
                let fate = self.esp(state, client, spi_out(client, generation), true);
                if fate == Fate::Out {
                    state[self.sa(client, generation)] = MADE;
                    if self.bounds.answers != Answers::Perhaps {
                        state[self.owed(client, generation)] = 1;
                    }
                }
                (Some(fate), None)
            }
            Event::Forge(n) => {
                state[self.forged()] += 1;
                (Some(self.esp(state, 0, spi_forged(n), false)), None)
            }
            Event::Answer(client, generation) => {
                state[self.owed(client, generation)] = 0;
                let seen = self.seen(client, generation);
                let binding = self.kernel.element(self.esp_in, &[0, spi_in(client, generation)]);
                if state[seen] == 0 || state[binding] == 0 {
                    let now = self.told_apart(state, client, generation);
                    let before = matches!(state[seen], APART | FORGOTTEN);
                    state[seen] = if before && now != APART { FORGOTTEN } else { now };
                }
                let fate = self.esp(state, client, spi_in(client, generation), false);
                let wrong = match (fate, state[seen]) {
                    (Fate::To(to), APART) if to != client => Some(Wrong::ToldApart),
                    (Fate::To(to), FORGOTTEN) if to != client => Some(Wrong::Forgotten),
                    (Fate::To(to), UNKNOWN) if to != client => Some(Wrong::ToldApartUnknown),
                    _ => None,
                };
                (Some(fate), wrong)
            }
        }
    }

    /// No other client has an SA whose SPI the rules do not know for certain.
    fn told_apart(&self, state: &[u8], client: usize, generation: usize) -> u8 {
        let others = (0..self.bounds.clients).filter(|other| *other != client);
        let pending = |other: usize| {
            (0..GENERATIONS).any(|generation| {
                let bound = self.kernel.element(self.esp_in, &[0, spi_in(other, generation)]);
                let sure = state[self.kernel.element(self.esp_sure, &[0, spi_in(other, generation)])] != 0;
                let known = sure && state[bound] != 0 && usize::from(state[bound + 1]) == other;
                state[self.sa(other, generation)] == MADE && !known
            })
        };
        if state[self.forged()] > 0 || others.into_iter().any(pending) {
            UNTOLD
        } else if state[self.sa(client, generation)] == MADE {
            APART
        } else {
            UNKNOWN
        }
    }

    /// The server's IKE goes to whom its cookie belongs to, and teaches nothing.
    fn cookies(&self, state: &mut [u8]) -> Option<Wrong> {
        for client in 0..self.bounds.clients {
            if state[self.kernel.element(self.ike_in, &[0, client])] != 0 {
                let before = state.to_vec();
                if self.ike(state, client, CREATE_CHILD_SA, false) != Fate::To(client) || before != state {
                    return Some(Wrong::Cookie);
                }
            }
        }
        None
    }

    /// Everybody sends every second, and the server answers what reaches it: after how many ticks every client in
    /// `present` (bits) has had an answer on its newest SA. `absent`: the server goes on sending to those who left.
    pub(super) fn heals(&self, state: &[u8], fair: Fair, limit: u8) -> Option<u8> {
        let mut state = state.to_vec();
        let order = fair.order;
        let present = |client: usize| fair.present >> client & 1 == 1;
        let mut served = [0u8; CLIENTS];
        let mut answers: Vec<(usize, usize)> = Vec::new();
        for client in 0..self.bounds.clients {
            answers.extend(
                (0..GENERATIONS)
                    .filter(|n| state[self.owed(client, *n)] != 0)
                    .map(|generation| (client, generation)),
            );
        }
        for (client, generation) in answers.drain(..) {
            self.step(&mut state, Event::Answer(client, generation));
        }
        for tick in 0..limit {
            let mut now = [false; CLIENTS];
            for client in order.into_iter().filter(|client| *client < self.bounds.clients) {
                let made = self.made(&state, client);
                if !present(client) {
                    continue;
                }
                let mut made = made;
                if made == 0 && self.bounds.ike {
                    self.step(&mut state, Event::Ike(client));
                    made = self.made(&state, client);
                }
                if made == 0 {
                    now[client] |= !self.bounds.ike;
                    continue;
                }
                if self.step(&mut state, Event::Send(client, made - 1)).0 == Some(Fate::Out) {
                    answers.push((client, made - 1));
                }
                if !fair.burst {
                    self.answer(&mut state, &mut answers, &mut now);
                    self.kernel.pass(&mut state, TAIL);
                }
            }
            self.answer(&mut state, &mut answers, &mut now);
            self.kernel.pass(&mut state, TAIL);
            for client in (0..self.bounds.clients).filter(|client| fair.haunted && !present(*client)) {
                if let Some(newest) = self.made(&state, client).checked_sub(1) {
                    self.step(&mut state, Event::Answer(client, newest));
                }
            }
            for (row, now) in served.iter_mut().zip(now) {
                *row = if now { *row + 1 } else { 0 };
            }
            if (0..self.bounds.clients).all(|client| served[client] >= SETTLED || !present(client)) {
                return Some(tick + 1 - SETTLED);
            }
            self.kernel.pass(&mut state, 1);
        }
        None
    }

    fn answer(&self, state: &mut [u8], answers: &mut Vec<(usize, usize)>, served: &mut [bool; CLIENTS]) {
        for (client, generation) in answers.drain(..) {
            let (fate, _) = self.step(state, Event::Answer(client, generation));
            served[client] |= fate == Some(Fate::To(client));
        }
    }
}

/// How everybody behaves while it heals.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fair {
    pub(super) present: u8,
    pub(super) order: [usize; CLIENTS],
    /// All send, then the server answers all; otherwise each is answered at once.
    pub(super) burst: bool,
    pub(super) haunted: bool,
}
