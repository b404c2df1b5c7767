//! What the kernel does with a [`Program`]: sets whose elements expire, verdicts, zones, and as much of conntrack as
//! ESP and IKE need. The state is an array of bytes, one remaining lifetime for every element there could be.

use super::names::{CLIENTS, COOKIES, Domain, EVER, LAN, LONG, SERVERS, SPIS, Scale, TAIL};
use super::nft::{Field, Op, Program, Right, Stmt, symbol};

/// Where the elements of a set or map are in the state.
#[derive(Debug, Clone)]
pub(super) struct Layout {
    /// The first byte of its first element.
    pub(super) base: usize,
    pub(super) domains: Vec<Domain>,
    pub(super) data: Option<Domain>,
    pub(super) timeout: u8,
}

/// One packet as it is when it arrives.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packet {
    pub(super) outward: bool,
    pub(super) client: usize,
    pub(super) esp: bool,
    pub(super) spi: usize,
    pub(super) exchange: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Accept,
    Drop,
}

/// What became of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Dropped,
    /// Sent on to the server.
    Out,
    /// Delivered to this client.
    To(usize),
}

/// The rules, ready to run.
pub(super) struct Kernel {
    pub(super) program: Program,
    pub(super) layouts: Vec<Layout>,
    /// Bytes of all sets; the bytes after them are conntrack's (ESP, then IKE, of every client) and the world's.
    pub(super) conntrack: usize,
    pub(super) world: usize,
    /// The first byte of every element there could be.
    pub(super) timed: Vec<usize>,
    /// The same, and whether a value follows.
    elements: Vec<(usize, bool)>,
    /// Sets that limit: not part of the state, every key is in them and under its limit.
    limited: Vec<usize>,
    zone: usize,
    dstnat: usize,
    forward: usize,
    scale: Scale,
    local: u64,
    internet: u64,
}

/// One packet on its way.
struct Evaluation<'a> {
    kernel: &'a Kernel,
    state: &'a mut [u8],
    packet: Packet,
    /// Of the outer header now.
    source: u64,
    destination: u64,
    zone: u64,
    conntrack_state: u64,
    status: u64,
}

impl Kernel {
    pub(super) fn new(text: &str, scale: Scale) -> Self {
        let program = Program::read(text);
        let limited: Vec<usize> = program
            .chains
            .iter()
            .flat_map(|chain| chain.rules.iter().flatten())
            .filter_map(|stmt| match stmt {
                Stmt::Learn { set, limit: true, .. } => Some(*set),
                _ => None,
            })
            .collect();
        let mut at = 0;
        let mut elements = Vec::new();
        let mut layouts = Vec::new();
        for (n, set) in program.sets.iter().enumerate() {
            let domains: Vec<Domain> = set.key.iter().map(|text| Domain::of(text, false)).collect();
            let data = set.data.as_deref().map(|text| Domain::of(text, true));
            let count: usize = domains.iter().map(|domain| domain.size()).product();
            let width = if data.is_some() { 2 } else { 1 };
            let timeout = scale.ticks(set.timeout);
            layouts.push(Layout { base: at, domains, data, timeout });
            if !limited.contains(&n) {
                elements.extend((0..count).map(|k| (at + k * width, width == 2)));
                at += count * width;
            }
        }
        Self {
            zone: program.chain("zone"),
            dstnat: program.chain("dstnat"),
            forward: program.chain("forward"),
            local: symbol("eth1"),
            internet: symbol("eth0"),
            conntrack: at,
            world: at + 2 * CLIENTS,
            timed: elements.iter().map(|(slot, _)| *slot).collect(),
            elements,
            limited,
            layouts,
            program,
            scale,
        }
    }

    /// Which element this byte belongs to, in words.
    pub(super) fn describe(&self, slot: usize, state: &[u8]) -> String {
        let set = self.layouts.iter().rposition(|layout| layout.base <= slot).unwrap();
        let layout = &self.layouts[set];
        let width = if layout.data.is_some() { 2 } else { 1 };
        let mut number = (slot - layout.base) / width;
        let mut key = Vec::new();
        for domain in layout.domains.iter().rev() {
            key.push(domain.name(number % domain.size()));
            number /= domain.size();
        }
        key.reverse();
        let lives = match state[slot] {
            0 => return format!("-{}[{}]", self.program.sets[set].name, key.join(".")),
            TAIL => "tail".to_owned(),
            LONG => "5m".to_owned(),
            EVER => "1h".to_owned(),
            n => format!("{n}"),
        };
        let data = layout
            .data
            .map_or(String::new(), |domain| format!("={}", domain.name(usize::from(state[slot + 1]))));
        format!("{}[{}]{data} {lives}", self.program.sets[set].name, key.join("."))
    }

    fn slot(&self, set: usize, values: &[u64]) -> usize {
        let layout = &self.layouts[set];
        assert_eq!(layout.domains.len(), values.len(), "{}", self.program.sets[set].name);
        let fold =
            |number: usize, (domain, value): (&Domain, &u64)| number * domain.size() + domain.number(*value);
        let number = layout.domains.iter().zip(values).fold(0, fold);
        layout.base + number * if layout.data.is_some() { 2 } else { 1 }
    }

    /// The byte of the element with these numbers.
    pub(super) fn element(&self, set: usize, numbers: &[usize]) -> usize {
        let layout = &self.layouts[set];
        let fold = |number: usize, (domain, value): (&Domain, &usize)| number * domain.size() + value;
        let number = layout.domains.iter().zip(numbers).fold(0, fold);
        layout.base + number * if layout.data.is_some() { 2 } else { 1 }
    }

    /// Time passes: less than a second, one tick, or five minutes.
    pub(super) fn pass(&self, state: &mut [u8], by: u8) {
        for &(slot, map) in &self.elements {
            let left = state[slot];
            let after = match (left, by) {
                (0 | EVER, _) => continue,
                (TAIL, _) | (_, LONG) => 0,
                (_, TAIL) | (LONG, _) => continue,
                (left, _) => left - 1,
            };
            state[slot] = after;
            if after == 0 && map {
                state[slot + 1] = 0;
            }
        }
    }

    /// The packet's way through the box.
    pub(super) fn run(&self, state: &mut [u8], packet: Packet) -> Fate {
        let client = LAN + packet.client as u64;
        let (source, destination) = if packet.outward { (client, SERVERS) } else { (SERVERS, 0xcb00_7107) };
        let mut run = Evaluation {
            kernel: self,
            state,
            packet,
            source,
            destination,
            zone: 0,
            conntrack_state: symbol("new"),
            status: 0,
        };
        if run.hook(self.zone) == Verdict::Drop {
            return Fate::Dropped;
        }
        let mut to = None;
        let mut entry = None;
        if run.zone != 0 {
            let zone = Domain::Client.number(run.zone);
            let at = self.conntrack + zone + if packet.esp { 0 } else { CLIENTS };
            entry = Some(at);
            if run.state[at] != 0 {
                run.conntrack_state = symbol("established");
                to = Some(zone);
            } else if !packet.outward && run.hook(self.dstnat) == Verdict::Drop {
                return Fate::Dropped;
            }
        }
        if !packet.outward {
            if run.status != 0 {
                to = Some(Domain::Host.number(run.destination));
            }
            // What is for nobody in the home goes to the box itself, which did not ask for it.
            let Some(to) = to else { return Fate::Dropped };
            run.destination = LAN + to as u64;
        }
        if run.hook(self.forward) == Verdict::Drop {
            return Fate::Dropped;
        }
        if let Some(at) = entry {
            run.state[at] = 1;
        }
        to.filter(|_| !packet.outward).map_or(Fate::Out, Fate::To)
    }
}

impl Evaluation<'_> {
    fn hook(&mut self, chain: usize) -> Verdict {
        let policy = if self.kernel.program.chains[chain].accepts { Verdict::Accept } else { Verdict::Drop };
        self.chain(chain).unwrap_or(policy)
    }

    /// No verdict: back to the caller.
    fn chain(&mut self, chain: usize) -> Option<Verdict> {
        let kernel = self.kernel;
        'rules: for rule in &kernel.program.chains[chain].rules {
            for stmt in rule {
                match stmt {
                    Stmt::Match { left, not, right } => match self.matches(left, right) {
                        Some(found) if found != *not => {}
                        _ => continue 'rules,
                    },
                    Stmt::SetZone { key, map } => match self.looked_up(key, *map) {
                        Some(zone) => self.zone = zone,
                        None => continue 'rules,
                    },
                    Stmt::Dnat { key, map } => match self.looked_up(key, Some(*map)) {
                        Some(host) => {
                            self.destination = host;
                            self.status = symbol("dnat");
                        }
                        None => continue 'rules,
                    },
                    // Never over the limit: the rule ends.
                    Stmt::Learn { limit: true, .. } => continue 'rules,
                    Stmt::Learn { op, set, key, data, timeout, .. } => {
                        if !self.learn(*op, *set, key, *data, *timeout) {
                            continue 'rules;
                        }
                    }
                    Stmt::Nothing => {}
                    Stmt::Jump(to) => {
                        if let Some(verdict) = self.chain(*to) {
                            return Some(verdict);
                        }
                        continue 'rules;
                    }
                    Stmt::Goto(to) => return self.chain(*to),
                    Stmt::Return => return None,
                    Stmt::Accept => return Some(Verdict::Accept),
                    Stmt::Drop => return Some(Verdict::Drop),
                    Stmt::Unknown(text) => panic!("the model does not know: {text}"),
                }
            }
        }
        None
    }

    fn values(&self, fields: &[Field]) -> Option<([u64; 4], usize)> {
        let mut values = [0; 4];
        for (n, field) in fields.iter().enumerate() {
            values[n] = self.value(*field)?;
        }
        Some((values, fields.len()))
    }

    fn matches(&self, left: &[Field], right: &Right) -> Option<bool> {
        let (values, count) = self.values(left)?;
        Some(match right {
            Right::Values(list) => list.iter().any(|(value, mask)| values[0] & mask == *value),
            Right::Set(set) if self.kernel.limited.contains(set) => true,
            Right::Set(set) => {
                let layout = &self.kernel.layouts[*set];
                // A server set asked about a LAN address has no such element.
                if layout.domains[0] == Domain::Server && values[0] != SERVERS {
                    return Some(false);
                }
                self.state[self.kernel.slot(*set, &values[..count])] != 0
            }
        })
    }

    fn looked_up(&self, key: &[Field], map: Option<usize>) -> Option<u64> {
        let (values, count) = self.values(key)?;
        let Some(map) = map else { return Some(values[0]) };
        let slot = self.kernel.slot(map, &values[..count]);
        let domain = self.kernel.layouts[map].data.unwrap();
        (self.state[slot] != 0).then(|| domain.base() + u64::from(self.state[slot + 1]))
    }

    /// As nft_dynset_eval does it.
    fn learn(
        &mut self,
        op: Op,
        set: usize,
        key: &[Field],
        data: Option<Field>,
        timeout: Option<u64>,
    ) -> bool {
        let Some((values, count)) = self.values(key) else { return false };
        let slot = self.kernel.slot(set, &values[..count]);
        let layout = &self.kernel.layouts[set];
        let lives = timeout.map_or(layout.timeout, |timeout| self.kernel.scale.ticks(timeout));
        let there = self.state[slot] != 0;
        match op {
            Op::Delete => {
                self.state[slot] = 0;
                if layout.data.is_some() {
                    self.state[slot + 1] = 0;
                }
            }
            Op::Add if there => {}
            // Renews the timeout, and leaves the data of a map as they are.
            Op::Update if there => self.state[slot] = lives,
            Op::Add | Op::Update => {
                if let Some(domain) = layout.data {
                    let Some(value) = self.value(data.unwrap()) else { return false };
                    self.state[slot + 1] = u8::try_from(domain.number(value)).unwrap();
                }
                self.state[slot] = lives;
            }
        }
        true
    }

    fn value(&self, field: Field) -> Option<u64> {
        let Packet { outward, client, esp, spi, exchange } = self.packet;
        Some(match field {
            Field::Network(96, 32) => self.source,
            Field::Network(128, 32) => self.destination,
            Field::Network(112, 16) => self.source & 0xffff,
            Field::EspSpi if esp => SPIS + spi as u64,
            Field::Transport(0, 32) if esp => SPIS + spi as u64,
            Field::Transport(0, 32) => 0x01f4_01f4,
            Field::Transport(64, 64) if !esp => COOKIES + client as u64,
            Field::Transport(208, 8) if !esp => exchange,
            Field::UdpSource | Field::UdpDestination if !esp => 500,
            Field::OriginalPort if !esp => 500,
            Field::EspSpi
            | Field::UdpSource
            | Field::UdpDestination
            | Field::OriginalPort
            | Field::Absent => {
                return None;
            }
            Field::EtherSource => client as u64,
            Field::Protocol => {
                if esp {
                    50
                } else {
                    17
                }
            }
            Field::Family => symbol("ipv4"),
            Field::From => {
                if outward {
                    self.kernel.local
                } else {
                    self.kernel.internet
                }
            }
            Field::To => {
                if outward {
                    self.kernel.internet
                } else {
                    self.kernel.local
                }
            }
            Field::Zone => self.zone,
            Field::State => self.conntrack_state,
            Field::Status => self.status,
            Field::AddressType => symbol("unicast"),
            Field::Network(..) | Field::Transport(..) | Field::Direction => {
                panic!("the model's packets have no {field:?}")
            }
        })
    }
}
