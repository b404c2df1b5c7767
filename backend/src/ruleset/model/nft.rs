//! Reads the nft text of a ruleset into statements. It knows what the chains of IPsec use; any other token becomes
//! [`Stmt::Unknown`], and a packet that comes to it fails the test: the model cannot fall behind the rules.

use std::collections::HashMap;

/// A piece of a packet, or of what the kernel knows about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// Bits of the network header: offset, length.
    Network(u32, u32),
    /// Bits of the transport header: offset, length.
    Transport(u32, u32),
    EspSpi,
    UdpSource,
    UdpDestination,
    EtherSource,
    Protocol,
    Family,
    From,
    To,
    Zone,
    State,
    Status,
    Direction,
    OriginalPort,
    AddressType,
    /// A header that no packet of the model has: the rule ends.
    Absent,
}

/// What a match compares with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Right {
    /// Value and mask.
    Values(Vec<(u64, u64)>),
    Set(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Op {
    Add,
    Update,
    Delete,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stmt {
    Match { left: Vec<Field>, not: bool, right: Right },
    SetZone { key: Vec<Field>, map: Option<usize> },
    Dnat { key: Vec<Field>, map: usize },
    Learn { op: Op, set: usize, key: Vec<Field>, data: Option<Field>, timeout: Option<u64>, limit: bool },
    Nothing,
    Jump(usize),
    Goto(usize),
    Return,
    Accept,
    Drop,
    Unknown(String),
}

/// A declared set or map. Timeouts in milliseconds.
#[derive(Debug, Clone)]
pub(super) struct Set {
    pub(super) name: String,
    pub(super) key: Vec<String>,
    pub(super) data: Option<String>,
    pub(super) timeout: u64,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Chain {
    pub(super) name: String,
    pub(super) accepts: bool,
    pub(super) rules: Vec<Vec<Stmt>>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Program {
    pub(super) sets: Vec<Set>,
    pub(super) chains: Vec<Chain>,
}

impl Program {
    pub(super) fn chain(&self, name: &str) -> usize {
        self.chains.iter().position(|chain| chain.name == name).unwrap_or_else(|| panic!("no chain {name}"))
    }

    pub(super) fn set(&self, name: &str) -> usize {
        self.sets.iter().position(|set| set.name == name).unwrap_or_else(|| panic!("no set {name}"))
    }

    pub(super) fn read(text: &str) -> Self {
        let mut program = Self::default();
        let (objects, rules) = text.split_once("flush table inet postern\n").unwrap();
        let mut lines = objects.lines().map(str::trim);
        while let Some(line) = lines.next() {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [kind, name, "{"] = words[..] else { continue };
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "}").collect();
            match kind {
                "set" | "map" => program.sets.push(declared(name, &body)),
                "chain" => program.chains.push(Chain {
                    name: name.to_owned(),
                    accepts: body.iter().any(|line| line.ends_with("policy accept;")),
                    rules: Vec::new(),
                }),
                _ => {}
            }
        }
        let names = Names {
            sets: program.sets.iter().enumerate().map(|(n, set)| (set.name.clone(), n)).collect(),
            chains: program.chains.iter().enumerate().map(|(n, chain)| (chain.name.clone(), n)).collect(),
        };
        let mut chain = None;
        for line in rules.lines().map(str::trim) {
            if let Some(name) = line.strip_prefix("chain ") {
                chain = Some(names.chains[name.trim_end_matches(" {")]);
            } else if line == "}" || line.is_empty() || line.starts_with("table ") {
                continue;
            } else {
                let rule = names.rule(line);
                program.chains[chain.unwrap()].rules.push(rule);
            }
        }
        program
    }
}

fn declared(name: &str, body: &[&str]) -> Set {
    let value = |word: &str| body.iter().find_map(|line| line.strip_prefix(word)).map(str::trim);
    let (key, data) = match value("typeof ").unwrap().split_once(" : ") {
        Some((key, data)) => (key, Some(data.to_owned())),
        None => (value("typeof ").unwrap(), None),
    };
    Set {
        name: name.to_owned(),
        key: key.split(" . ").map(str::to_owned).collect(),
        data,
        timeout: value("timeout ").map_or(0, milliseconds),
    }
}

/// As nft writes a time with one unit.
fn milliseconds(text: &str) -> u64 {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap());
    let factor = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => panic!("unit of {text}"),
    };
    number.parse::<u64>().unwrap() * factor
}

/// Any word as a number (FNV-1a): names of devices, states and types only need to be told apart.
pub(super) fn symbol(word: &str) -> u64 {
    let fold = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    word.bytes().fold(0xcbf2_9ce4_8422_2325, fold)
}

/// A value and its mask.
fn value(word: &str) -> (u64, u64) {
    let word = word.trim_matches('"');
    if let Some((address, length)) = word.split_once('/') {
        // The model has no IPv6: fields of it are absent, and equal nothing.
        let Ok(address) = address.parse::<std::net::Ipv4Addr>() else { return (symbol(word), u64::MAX) };
        let mask = u32::MAX << (32 - length.parse::<u32>().unwrap());
        return (u64::from(u32::from(address) & mask), u64::from(mask));
    }
    // The hosts of a network: nobody in the model has its first or last address.
    if let Some((first, last)) = word.split_once('-')
        && let (Ok(first), Ok(last)) =
            (first.parse::<std::net::Ipv4Addr>(), last.parse::<std::net::Ipv4Addr>())
    {
        let mask = u32::MAX << (32 - (first.to_bits() ^ last.to_bits()).leading_zeros());
        return (u64::from(first.to_bits() & mask), u64::from(mask));
    }
    let number = match word {
        "tcp" => Some(6),
        "udp" => Some(17),
        _ => match word.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => word.parse().ok(),
        },
    };
    (number.unwrap_or_else(|| symbol(word)), u64::MAX)
}

struct Names {
    sets: HashMap<String, usize>,
    chains: HashMap<String, usize>,
}

impl Names {
    fn rule(&self, line: &str) -> Vec<Stmt> {
        let (rule, _) = line.split_once(" comment \"").unwrap_or((line, ""));
        let words: Vec<&str> = rule.split_whitespace().collect();
        let mut at = 0;
        let mut rule = Vec::new();
        while at < words.len() {
            let begin = at;
            match self.statement(&words, &mut at) {
                Some(stmt) => rule.push(stmt),
                None => {
                    rule.push(Stmt::Unknown(words[begin..].join(" ")));
                    break;
                }
            }
        }
        rule
    }

    fn named(&self, word: &str) -> Option<usize> {
        self.sets.get(word.strip_prefix('@')?).copied()
    }

    fn statement(&self, words: &[&str], at: &mut usize) -> Option<Stmt> {
        let word = |n: usize| words.get(n).copied().unwrap_or("");
        let first = word(*at);
        let verdict = match first {
            "accept" => Some(Stmt::Accept),
            "drop" => Some(Stmt::Drop),
            "return" => Some(Stmt::Return),
            // The latter is of TCP, which no packet of the model is.
            "masquerade" | "notrack" => Some(Stmt::Nothing),
            _ => None,
        };
        if verdict.is_some() {
            *at += 1;
            return verdict;
        }
        match (first, word(*at + 1)) {
            ("jump", name) => {
                *at += 2;
                Some(Stmt::Jump(*self.chains.get(name)?))
            }
            ("goto", name) => {
                *at += 2;
                Some(Stmt::Goto(*self.chains.get(name)?))
            }
            ("counter", "name") => {
                *at += 3;
                Some(Stmt::Nothing)
            }
            ("ct", "zone") if word(*at + 2) == "set" => {
                *at += 3;
                let key = concatenation(words, at)?;
                let map = if word(*at) == "map" {
                    *at += 2;
                    Some(self.named(word(*at - 1))?)
                } else {
                    None
                };
                Some(Stmt::SetZone { key, map })
            }
            ("dnat", "ip") if word(*at + 2) == "to" => {
                *at += 3;
                let key = concatenation(words, at)?;
                *at += 2;
                (word(*at - 2) == "map").then_some(())?;
                Some(Stmt::Dnat { key, map: self.named(word(*at - 1))? })
            }
            // limit rate N/unit burst N packets: of IPv6, which is not played.
            ("limit", "rate") => {
                *at += 6;
                Some(Stmt::Nothing)
            }
            ("add" | "update" | "delete", set) => {
                let op = match first {
                    "add" => Op::Add,
                    "update" => Op::Update,
                    _ => Op::Delete,
                };
                let set = self.named(set)?;
                (word(*at + 2) == "{").then_some(())?;
                *at += 3;
                let key = concatenation(words, at)?;
                let (mut timeout, mut limit, mut data) = (None, false, None);
                loop {
                    match word(*at) {
                        "timeout" => {
                            timeout = Some(milliseconds(word(*at + 1)));
                            *at += 2;
                        }
                        "limit" => {
                            // limit rate over N/unit burst N packets
                            (word(*at + 1) == "rate"
                                && word(*at + 2) == "over"
                                && word(*at + 6) == "packets")
                                .then_some(())?;
                            limit = true;
                            *at += 7;
                        }
                        ":" => {
                            *at += 1;
                            let [field] = concatenation(words, at)?[..] else { return None };
                            data = Some(field);
                        }
                        "}" => {
                            *at += 1;
                            return Some(Stmt::Learn { op, set, key, data, timeout, limit });
                        }
                        _ => return None,
                    }
                }
            }
            _ => {
                let left = concatenation(words, at)?;
                let not = word(*at) == "!=";
                *at += usize::from(not);
                let right = if word(*at) == "{" {
                    let close = words[*at..].iter().position(|word| *word == "}")? + *at;
                    let inside = &words[*at + 1..close];
                    *at = close + 1;
                    Right::Values(inside.iter().map(|word| value(word.trim_end_matches(','))).collect())
                } else if word(*at).starts_with('@') {
                    *at += 1;
                    Right::Set(self.named(word(*at - 1))?)
                } else {
                    *at += 1;
                    Right::Values(word(*at - 1).split(',').map(value).collect())
                };
                Some(Stmt::Match { left, not, right })
            }
        }
    }
}

fn concatenation(words: &[&str], at: &mut usize) -> Option<Vec<Field>> {
    let mut fields = vec![field(words, at)?];
    while words.get(*at) == Some(&".") {
        *at += 1;
        fields.push(field(words, at)?);
    }
    Some(fields)
}

fn field(words: &[&str], at: &mut usize) -> Option<Field> {
    let raw = |word: &str, base: &str| -> Option<(u32, u32)> {
        let (offset, length) = word.strip_prefix(base)?.split_once(',')?;
        Some((offset.parse().ok()?, length.parse().ok()?))
    };
    let word = words.get(*at)?;
    if let Some((offset, length)) = raw(word, "@nh,") {
        *at += 1;
        return Some(Field::Network(offset, length));
    }
    if let Some((offset, length)) = raw(word, "@th,") {
        *at += 1;
        return Some(Field::Transport(offset, length));
    }
    let known = [
        ("ip saddr", Field::Network(96, 32)),
        ("ip daddr", Field::Network(128, 32)),
        ("esp spi", Field::EspSpi),
        ("udp sport", Field::UdpSource),
        ("udp dport", Field::UdpDestination),
        ("ether saddr", Field::EtherSource),
        ("meta l4proto", Field::Protocol),
        ("meta nfproto", Field::Family),
        ("iifname", Field::From),
        ("oifname", Field::To),
        ("ct zone", Field::Zone),
        ("ct state", Field::State),
        ("ct status", Field::Status),
        ("ct original proto-dst", Field::OriginalPort),
        ("fib daddr type", Field::AddressType),
        ("tcp sport", Field::Absent),
        ("tcp dport", Field::Absent),
        ("ct direction", Field::Direction),
        ("icmp type", Field::Absent),
        ("icmpv6 type", Field::Absent),
        ("ip6 saddr", Field::Absent),
        ("ip6 daddr", Field::Absent),
        ("ip6 nexthdr", Field::Absent),
        ("rt type", Field::Absent),
    ];
    for (text, field) in known {
        let text: Vec<&str> = text.split(' ').collect();
        if words[*at..].starts_with(&text) {
            *at += text.len();
            return Some(field);
        }
    }
    None
}
