//! Every state that can be reached, and the shortest way to each kind of fault.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;
use std::hash::{BuildHasherDefault, Hasher};

use super::names::{CLIENTS, Domain, GENERATIONS};
use super::world::{Event, Fair, World, Wrong};

/// A state's fingerprint is its own hash.
#[derive(Default)]
struct Same(u64);

impl Hasher for Same {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, _: &[u8]) {
        unreachable!()
    }
    fn write_u128(&mut self, value: u128) {
        self.0 = value as u64;
    }
}

/// What an exploration found.
pub(super) struct Report {
    pub(super) states: usize,
    pub(super) transitions: usize,
    /// Whether nothing was left out.
    pub(super) complete: bool,
    /// Most events on the shortest way to a state.
    pub(super) depth: usize,
    /// How often, and the shortest way to it.
    pub(super) wrong: BTreeMap<Wrong, (usize, String)>,
    /// Slowest healing in ticks, and from where.
    pub(super) healing: (u8, String),
}

/// Fingerprints do not depend on which client is called A: of all exchanges of the clients, the smallest counts.
struct Fingerprints {
    /// For each exchange of clients: where each byte goes.
    slots: Vec<Vec<u32>>,
    exchanges: Vec<[usize; CLIENTS]>,
    /// Whether this byte is a client's number.
    data: Vec<bool>,
}

impl Fingerprints {
    fn new(world: &World) -> Self {
        let kernel = &world.kernel;
        let size = world.start().len();
        let mut exchanges = vec![[0, 1, 2]];
        if world.bounds.live == 0 || world.bounds.live == world.bounds.clients {
            exchanges.push([1, 0, 2]);
            if world.bounds.clients == 3 {
                exchanges.extend([[0, 2, 1], [2, 1, 0], [1, 2, 0], [2, 0, 1]]);
            }
        }
        let mut data = vec![false; size];
        let mut slots = Vec::new();
        for exchange in &exchanges {
            let mut to: Vec<u32> = (0..size as u32).collect();
            for (n, layout) in kernel.layouts.iter().enumerate() {
                let next =
                    kernel.layouts[n + 1..].iter().map(|layout| layout.base).find(|base| *base > layout.base);
                let end = next.unwrap_or(kernel.conntrack);
                if kernel.layouts[n + 1..].first().is_some_and(|after| after.base == layout.base) {
                    continue;
                }
                let width = if layout.data.is_some() { 2 } else { 1 };
                let size: usize = layout.domains.iter().map(|domain: &Domain| domain.size()).product();
                for number in 0..size.min((end - layout.base) / width) {
                    let mut rest = number;
                    let mut numbers = Vec::new();
                    for domain in layout.domains.iter().rev() {
                        numbers.push(domain.exchanged(rest % domain.size(), exchange));
                        rest /= domain.size();
                    }
                    numbers.reverse();
                    let target = kernel.element(n, &numbers);
                    let slot = layout.base + number * width;
                    to[slot] = target as u32;
                    if width == 2 {
                        to[slot + 1] = target as u32 + 1;
                        data[slot + 1] = true;
                    }
                }
            }
            for client in 0..CLIENTS {
                for offset in [0, CLIENTS] {
                    to[kernel.conntrack + offset + client] =
                        (kernel.conntrack + offset + exchange[client]) as u32;
                }
                for generation in 0..GENERATIONS {
                    to[world.sa(client, generation)] = world.sa(exchange[client], generation) as u32;
                    to[world.seen(client, generation)] = world.seen(exchange[client], generation) as u32;
                    to[world.owed(client, generation)] = world.owed(exchange[client], generation) as u32;
                }
            }
            slots.push(to);
        }
        Self { slots, exchanges, data }
    }

    fn of(&self, state: &[u8]) -> u128 {
        let mut filled = [(0usize, 0u8); 256];
        let mut count = 0;
        for (at, &byte) in state.iter().enumerate() {
            if byte != 0 || self.data[at] && state[at - 1] != 0 {
                filled[count] = (at, byte);
                count += 1;
            }
        }
        let one = |(slots, exchange): (&Vec<u32>, &[usize; CLIENTS])| {
            let (mut low, mut high) = (0u64, 0u64);
            for &(at, byte) in &filled[..count] {
                let value =
                    if self.data[at] { exchange[usize::from(byte)] as u64 + 1 } else { u64::from(byte) };
                let mixed = mix(u64::from(slots[at]) << 8 | value);
                low = low.wrapping_add(mixed);
                high = high.wrapping_add((mixed ^ mixed >> 29).wrapping_mul(0xff51_afd7_ed55_8ccd));
            }
            u128::from(high) << 64 | u128::from(low)
        };
        self.slots.iter().zip(&self.exchanges).map(one).min().unwrap()
    }
}

/// The finalizer of splitmix64.
fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ value >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ value >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ value >> 31
}

/// Breadth first; `fair`: the behaviours that must heal every state within `patience` ticks.
pub(super) fn explore(world: &World, most: usize, fair: &[Fair], patience: u8) -> Report {
    let prints = Fingerprints::new(world);
    let mut known: HashMap<u128, (), BuildHasherDefault<Same>> = HashMap::default();
    let mut ways: Vec<(u32, Event)> = vec![(0, Event::Pass(0))];
    let start = world.start();
    known.insert(prints.of(&start), ());
    let size = start.len();
    let mut level = start;
    let mut first = 0;
    let mut report = Report {
        states: 1,
        transitions: 0,
        complete: true,
        depth: 0,
        wrong: BTreeMap::new(),
        healing: (0, String::new()),
    };
    let mut events = Vec::new();
    let mut state = vec![0; size];
    while !level.is_empty() && report.complete {
        let mut next = Vec::new();
        let count = level.len() / size;
        for n in 0..count {
            let from = &level[n * size..(n + 1) * size];
            for fair in fair {
                let told = || {
                    let way = trace(world, &ways, first + n, None);
                    format!("{way}{}", schedule(world, from, *fair))
                };
                match world.heals(from, *fair, patience) {
                    None => report.wrong.entry(Wrong::Starved).or_insert_with(|| (0, told())).0 += 1,
                    Some(time) if time > report.healing.0 => report.healing = (time, told()),
                    Some(_) => {}
                }
            }
            world.events(from, &mut events);
            for &event in &events {
                state.copy_from_slice(from);
                let (_, wrong) = world.happen(&mut state, event);
                report.transitions += 1;
                if let Some(wrong) = wrong {
                    let entry = report
                        .wrong
                        .entry(wrong)
                        .or_insert_with(|| (0, trace(world, &ways, first + n, Some(event))));
                    entry.0 += 1;
                }
                if known.insert(prints.of(&state), ()).is_none() {
                    ways.push((u32::try_from(first + n).unwrap(), event));
                    next.extend_from_slice(&state);
                    report.states += 1;
                }
            }
            if report.states >= most {
                report.complete = false;
                break;
            }
        }
        first += count;
        level = next;
        report.depth += 1;
    }
    report
}

/// The way to a state in words: each event, what became of its packet, and which elements it changed.
fn trace(world: &World, ways: &[(u32, Event)], to: usize, last: Option<Event>) -> String {
    let mut events: Vec<Event> = last.into_iter().collect();
    let mut at = to;
    while at > 0 {
        events.push(ways[at].1);
        at = ways[at].0 as usize;
    }
    events.reverse();
    let mut state = world.start();
    let mut text = String::new();
    for event in events {
        told(world, &mut state, event, &mut text);
    }
    text
}

fn told(world: &World, state: &mut [u8], event: Event, text: &mut String) {
    let before = state.to_vec();
    let (fate, wrong) = world.happen(state, event);
    let fate = fate.map_or(String::new(), |fate| format!(" -> {fate:?}"));
    let wrong = wrong.map_or(String::new(), |wrong| format!(" WRONG: {wrong:?}"));
    writeln!(text, "  {}{fate}{wrong}", event.words()).unwrap();
    let changed: Vec<String> = world
        .kernel
        .timed
        .iter()
        .filter(|slot| {
            let (old, new) = (before[**slot], state[**slot]);
            let ticked = matches!(event, Event::Pass(_)) && new != 0;
            old != new && !ticked
        })
        .map(|slot| world.kernel.describe(*slot, state))
        .collect();
    if !changed.is_empty() {
        writeln!(text, "      {}", changed.join("; ")).unwrap();
    }
}

/// The state, and how it goes on while everybody behaves.
fn schedule(world: &World, state: &[u8], fair: Fair) -> String {
    let elements: Vec<String> = world
        .kernel
        .timed
        .iter()
        .filter(|slot| state[**slot] != 0)
        .map(|slot| world.kernel.describe(*slot, state))
        .collect();
    format!("  THEN {fair:?} FROM\n      {}\n", elements.join("; "))
}
