//! Reads rules and follows a packet through them. What it cannot know of the packet may be either way: so it finds every rule that
//! could accept it, and perhaps some that cannot. A word that it does not know ends the test.

use std::collections::{BTreeMap, BTreeSet};

/// What begins, as far as it is fixed; addresses and everything else may be anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) from: String,
    /// None: it is for the router itself.
    pub(super) to: Option<String>,
    pub(super) ipv6: bool,
    pub(super) protocol: u8,
    /// Where it goes to, by now.
    pub(super) port: u16,
    /// The type of an ICMP packet.
    pub(super) icmp: &'static str,
    /// Of conntrack.
    pub(super) state: &'static str,
    /// Translated on its way in.
    pub(super) dnat: bool,
    /// It may have a zone; [`Rules::accepts`] finds that out.
    pub(super) zoned: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holds {
    Yes,
    No,
    Perhaps,
}

impl From<bool> for Holds {
    fn from(holds: bool) -> Self {
        if holds { Self::Yes } else { Self::No }
    }
}

/// What a rule says, from left to right.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Said {
    /// What is compared, how, and with what.
    Match(Vec<String>, &'static str, String),
    /// Compares something that is not known, or does something that may end the rule.
    Perhaps,
    /// Does something, and the rest follows.
    Does,
    /// Gives it a conntrack zone, if it can.
    Zone,
    Jump(String),
    Goto(String),
    Return,
    Accept,
    Drop,
}

/// The rules of one table.
#[derive(Debug)]
pub(super) struct Rules {
    chains: BTreeMap<String, Vec<(String, Vec<Said>)>>,
    policies: BTreeMap<String, String>,
    /// Elements of the sets that only the settings fill, each with its parts.
    filled: BTreeMap<String, Vec<Vec<String>>>,
    /// Lines that are about something else than this table.
    strange: Vec<String>,
}

impl Rules {
    pub(super) fn read(text: &str) -> Self {
        let (declared, filled) = text.split_once("flush table inet postern\n").unwrap();
        let (chains, policies, strange) = Default::default();
        let mut rules = Self { chains, policies, filled: permanent(text), strange };
        let chain =
            |line: &str| line.strip_prefix("\tchain ").map(|name| name.trim_end_matches(" {").to_owned());
        let command = |line: &str| !line.starts_with(['\t', '}']) && !line.is_empty();
        let mut at = String::new();
        for line in declared.lines() {
            if let Some(name) = chain(line) {
                rules.chains.insert(name.clone(), Vec::new());
                at = name;
            } else if let Some((_, policy)) = line.split_once("; policy ") {
                rules.policies.insert(at.clone(), policy.trim_end_matches(';').to_owned());
            } else if command(line) {
                rules.command(line);
            }
        }
        at.clear();
        for line in filled.lines() {
            if let Some(name) = chain(line) {
                at = name;
            } else if line == "\t}" {
                at.clear();
            } else if let Some(rule) = line.strip_prefix("\t\t").filter(|_| !at.is_empty()) {
                rules.chains.get_mut(&at).unwrap().push((rule.to_owned(), said(rule)));
            } else if command(line) {
                rules.command(line);
            }
        }
        rules
    }

    fn command(&mut self, line: &str) {
        let about =
            |what: &str| line.strip_prefix(what).is_some_and(|rest| rest.starts_with(" inet postern "));
        let ours =
            ["flush set", "flush map", "add element", "add set", "add map", "delete set", "delete map"];
        let table = line == "table inet postern {" || line.starts_with("add table inet postern {");
        if !table && !ours.into_iter().any(about) {
            self.strange.push(line.to_owned());
        }
    }

    /// What should not be there: words about other tables, and other chains.
    pub(super) fn strange(&self, known: &BTreeSet<String>) -> Vec<String> {
        let chains = self.chains.keys().filter(|name| !known.contains(*name));
        self.strange.iter().cloned().chain(chains.map(|name| format!("the chain {name}"))).collect()
    }

    pub(super) fn policy(&self, chain: &str) -> Option<&str> {
        self.policies.get(chain).map(String::as_str)
    }

    pub(super) fn policies(&self) -> impl Iterator<Item = (&str, &str)> {
        self.policies.iter().map(|(chain, policy)| (chain.as_str(), policy.as_str()))
    }

    /// Whether the last rule drops everything.
    pub(super) fn ends_in_drop(&self, chain: &str) -> bool {
        let last = self.chains.get(chain).and_then(|rules| rules.last());
        last.and_then(|(_, said)| said.split_last())
            .is_some_and(|(end, before)| *end == Said::Drop && before.iter().all(|one| *one == Said::Does))
    }

    /// Every rule that may accept it.
    pub(super) fn accepts(&self, hook: &str, packet: &Packet) -> Vec<&str> {
        // Rules that give it a zone are found like those that accept it.
        let mut zones = Vec::new();
        let earlier = Packet { state: "untracked", dnat: false, ..packet.clone() };
        self.walk("zone", &earlier, &mut zones, 0);
        let zoned = zones.iter().any(|rule| rule.contains("ct zone set "));
        let mut found = Vec::new();
        self.walk(hook, &Packet { zoned, ..packet.clone() }, &mut found, 0);
        found
    }

    /// Whether it may come back to the caller.
    fn walk<'a>(&'a self, chain: &str, packet: &Packet, found: &mut Vec<&'a str>, depth: usize) -> bool {
        assert!(depth < 16, "the kernel allows no more jumps (NFT_JUMP_STACK_SIZE)");
        let mut comes_back = false;
        'rules: for (text, said) in self.chains.get(chain).unwrap_or_else(|| panic!("no chain {chain}")) {
            let mut sure = true;
            for one in said {
                let back = match one {
                    Said::Match(left, how, right) => match self.holds(packet, left, how, right) {
                        Holds::No => continue 'rules,
                        holds => {
                            sure &= holds == Holds::Yes;
                            continue;
                        }
                    },
                    Said::Perhaps => {
                        sure = false;
                        continue;
                    }
                    Said::Zone => {
                        found.push(text);
                        sure = false;
                        continue;
                    }
                    Said::Does => continue,
                    Said::Accept => {
                        found.push(text);
                        false
                    }
                    Said::Drop => false,
                    Said::Return => true,
                    Said::Goto(to) => self.walk(to, packet, found, depth + 1),
                    Said::Jump(to) if self.walk(to, packet, found, depth + 1) => continue 'rules,
                    Said::Jump(_) => false,
                };
                comes_back |= back;
                if sure {
                    return comes_back;
                }
                continue 'rules;
            }
        }
        true
    }
}

/// Sets that the settings fill: emptied with the rules, and no rule puts anything into them.
fn permanent(text: &str) -> BTreeMap<String, Vec<Vec<String>>> {
    let mut all = BTreeMap::new();
    for name in text.lines().filter_map(|line| line.strip_prefix("flush set inet postern ")) {
        if !text.contains(&format!("@{name} {{")) {
            all.insert(name.to_owned(), Vec::new());
        }
    }
    let mut at = None;
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("add element inet postern ") {
            at = rest.strip_suffix(" {").and_then(|name| all.get_mut(name));
        } else if line == "}" {
            at = None;
        } else if let Some(elements) = &mut at {
            let element = line.trim().trim_end_matches(',');
            elements.push(element.split(" . ").map(str::to_owned).collect());
        }
    }
    all
}

impl Rules {
    fn holds(&self, packet: &Packet, left: &[String], how: &str, right: &str) -> Holds {
        let elements = right.strip_prefix('@').and_then(|name| self.filled.get(name));
        let fits = |element: &Vec<String>| {
            let parts = left.iter().zip(element);
            parts
                .into_iter()
                .all(|(what, value)| packet.compared(std::slice::from_ref(what), value) != Holds::No)
        };
        match elements {
            Some(elements) if !elements.iter().any(fits) => Holds::from(how == "!="),
            _ => packet.holds(left, how, right),
        }
    }
}

impl Packet {
    fn holds(&self, left: &[String], how: &str, right: &str) -> Holds {
        // A header that it does not have, or an entry that there is none of: the rule ends, whatever it asks.
        if left.iter().any(|one| self.lacks(one)) {
            return Holds::No;
        }
        match (how, self.compared(left, right)) {
            ("!=", Holds::Yes) => Holds::No,
            ("!=", Holds::No) => Holds::Yes,
            (_, known) => known,
        }
    }

    fn lacks(&self, what: &str) -> bool {
        match what.split(' ').collect::<Vec<_>>()[..] {
            ["ip", ..] => self.ipv6,
            ["ip6" | "rt", ..] => !self.ipv6,
            ["tcp", ..] => self.protocol != 6,
            ["udp", ..] => self.protocol != 17,
            ["esp", ..] => self.protocol != 50,
            ["icmp", ..] => self.protocol != 1,
            ["icmpv6", ..] => self.protocol != 58,
            ["oifname"] => self.to.is_none(),
            ["ct", "state"] => false,
            // Of the connection that announced it: what is new has none (NFT_CT_HELPER, net/netfilter/nft_ct.c).
            ["ct", "helper"] => true,
            // What is invalid or untracked has no entry.
            ["ct", ..] => self.state != "new",
            _ => false,
        }
    }

    fn compared(&self, left: &[String], right: &str) -> Holds {
        let [one] = left else { return Holds::Perhaps };
        if right.starts_with('@') {
            return Holds::Perhaps;
        }
        let any = |test: &dyn Fn(&str) -> bool| {
            Holds::from(
                right.trim_matches(['{', '}']).split(',').any(|word| test(word.trim().trim_matches('"'))),
            )
        };
        let port = |word: &str| match word.split_once('-') {
            Some((first, last)) => {
                (first.parse().unwrap()..=last.parse::<u16>().unwrap()).contains(&self.port)
            }
            None => word.parse() == Ok(self.port),
        };
        match one.as_str() {
            "iifname" => any(&|word| word == self.from),
            "oifname" => any(&|word| Some(word) == self.to.as_deref()),
            "meta nfproto" => any(&|word| word == if self.ipv6 { "ipv6" } else { "ipv4" }),
            "meta l4proto" | "ip6 nexthdr" => any(&|word| self.is(word)),
            "ct state" => any(&|word| word == self.state),
            "ct zone" if !self.zoned => any(&|word| word == "0"),
            "ct direction" => any(&|word| word == "original"),
            // Confirmed: its entry is in the table already; of a few packets that come at once it may be.
            "ct status" => any(&|word| word == "dnat" && self.dnat || word == "confirmed"),
            "ct status & dnat ==" => Holds::from(!self.dnat),
            "tcp dport" | "udp dport" | "th dport" => any(&port),
            "icmp type" | "icmpv6 type" => {
                any(&|word| word == self.icmp || word.parse() == Ok(self.icmp_number()))
            }
            _ => Holds::Perhaps,
        }
    }

    /// Of IPv4 (RFC 792); the rules have no numbers of IPv6's.
    fn icmp_number(&self) -> u8 {
        match self.icmp {
            "destination-unreachable" => 3,
            "echo-request" => 8,
            "timestamp-request" => 13,
            _ => 255,
        }
    }

    fn is(&self, word: &str) -> bool {
        match word {
            "tcp" => self.protocol == 6,
            "udp" => self.protocol == 17,
            number => number.parse() == Ok(self.protocol),
        }
    }
}

/// Words, with what stands in braces as one.
fn words(rule: &str) -> Vec<String> {
    let rule = rule.split(" comment \"").next().unwrap_or_default();
    let mut words: Vec<String> = Vec::new();
    let mut inside = false;
    for word in rule.split_whitespace() {
        match words.last_mut().filter(|_| inside) {
            Some(last) => last.push_str(word),
            None => words.push(word.to_owned()),
        }
        inside = (inside || word == "{") && word != "}";
    }
    words
}

fn said(rule: &str) -> Vec<Said> {
    let words = words(rule);
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let mut rest = &words[..];
    let mut said = Vec::new();
    while let [first, after @ ..] = rest {
        let (one, left) = match (*first, after) {
            ("accept", after) => (Said::Accept, after),
            ("drop", after) => (Said::Drop, after),
            ("return", after) => (Said::Return, after),
            ("jump", [to, after @ ..]) => (Said::Jump((*to).to_owned()), after),
            ("goto", [to, after @ ..]) => (Said::Goto((*to).to_owned()), after),
            ("reject", _) => (Said::Drop, &[][..]),
            ("notrack" | "masquerade", after) => (Said::Does, after),
            ("counter", ["name", _, after @ ..]) => (Said::Does, after),
            ("counter", after) => (Said::Does, after),
            ("log", ["group", _, after @ ..]) => (Said::Does, after),
            ("meta", ["nftrace", "set", _, after @ ..]) => (Said::Does, after),
            ("limit", ["rate", _, "burst", _, "packets", after @ ..]) => (Said::Perhaps, after),
            ("limit", ["rate", _, after @ ..]) => (Said::Perhaps, after),
            // An element that is there, a set that is full, a limit in it: the rule may end.
            ("add" | "update" | "delete", [_, _, after @ ..]) => (Said::Perhaps, after),
            ("ct", ["helper" | "event", "set", _, after @ ..]) => (Said::Does, after),
            // Where the map has no such element the rule ends.
            ("ct", ["zone", "set", after @ ..]) => (Said::Zone, from_verdict(after)),
            ("dnat", ["ip", "to", after @ ..]) => (Said::Perhaps, from_verdict(after)),
            ("tcp", ["option", "maxseg", "size", "set", "rt", "mtu", after @ ..]) => (Said::Does, after),
            ("tcp", ["flags", "syn", "/", _, after @ ..]) => (Said::Perhaps, after),
            _ => compared(rest, rule),
        };
        said.push(one);
        rest = left;
    }
    said
}

fn from_verdict<'a, 'b>(words: &'a [&'b str]) -> &'a [&'b str] {
    &words[words.iter().position(|word| *word == "accept").unwrap_or(words.len())..]
}

/// `iifname "x"`, `ip saddr . th dport @set`, `ct state != new`, `ct status & dnat == 0`.
fn compared<'a, 'b>(mut rest: &'a [&'b str], rule: &str) -> (Said, &'a [&'b str]) {
    let mut left = Vec::new();
    loop {
        let length = match rest {
            ["iifname" | "oifname", ..] => 1,
            ["ct", "original" | "reply", "ip", ..] => 4,
            ["ct", "original" | "reply", ..] => 3,
            ["fib", ..] => {
                1 + rest.iter().position(|word| ["type", "oif", "oifname"].contains(word)).unwrap()
            }
            [
                "meta" | "ct" | "ip" | "ip6" | "rt" | "tcp" | "udp" | "th" | "ether" | "esp" | "icmp"
                | "icmpv6",
                ..,
            ] => 2,
            [raw, ..] if raw.starts_with("@th,") || raw.starts_with("@nh,") => 1,
            _ => panic!("not known: {} in {rule}", rest.join(" ")),
        };
        left.push(rest[..length].join(" "));
        rest = &rest[length..];
        match rest {
            [".", after @ ..] => rest = after,
            _ => break,
        }
    }
    match rest {
        ["&", mask, "==", right, after @ ..] => {
            left[0] = format!("{} & {mask} ==", left[0]);
            (Said::Match(left, "", (*right).to_owned()), after)
        }
        ["!=", right, after @ ..] => (Said::Match(left, "!=", (*right).to_owned()), after),
        [">=", _, after @ ..] => (Said::Perhaps, after),
        [right, after @ ..] => (Said::Match(left, "", (*right).to_owned()), after),
        [] => panic!("nothing to compare with in {rule}"),
    }
}
