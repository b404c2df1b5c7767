//! CPU per forwarded packet, as a ratio to a bare masquerade of the same round.
//!
//! The laptop's and the server's cables are plugged straight into the router. A packet that the sender sends is forwarded in
//! the sender's own context as far as the server's port, so the sender's CPU is what the router costs. Contestants take
//! turns; the lower quartile of the rounds is printed. Every packet is counted at the server's port: a loss is an error.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use lab::{Host, Lab, Process, Random, wait};

use super::contestants::{AGAIN, Contestant};

/// Packets that are measured at a time, and before that so many to warm the caches.
const PACKETS: u32 = 20_000;
const WARM: u32 = 2_000;
/// Flows that are new in a round: enough to measure, far below conntrack's table.
const NEW: u32 = 10_000;
/// Flows that are established.
const FLOWS: u32 = 64;
/// As long as rounds are begun.
const TIME: Duration = Duration::from_secs(75);
/// How much later than the sender's end a packet may arrive: it may have been left to the kernel's own thread.
const LATE: Duration = Duration::from_secs(2);
/// Loses one packet in a thousand.
const LOSSY: &str = "table inet rival {
    chain forward {
        type filter hook forward priority filter; policy accept;
        numgen inc mod 1000 0 drop
    }
}
";
/// What is measured of every contestant; the last one only of those that forward a port.
const WHAT: [&str; 4] = ["established UDP", "established TCP", "new UDP flow", "new, from internet"];
/// Who begins it.
const HOME: usize = 3;

/// Opens a packet socket on eth0 (0: no protocol is received; 263, 20: SOL_PACKET, PACKET_QDISC_BYPASS of
/// linux/if_packet.h) as standard input of the program that follows.
const SOCKET: &str = "import os, socket, sys
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
s.bind(('eth0', 0))
s.setsockopt(263, 20, 1)
os.dup2(s.fileno(), 0)
os.execvp(sys.argv[1], sys.argv[1:])";

/// Drops what has been counted before the server's own stack would spend the sender's CPU on answers.
const SINK: &str = "table netdev sink {
    chain nobody {
        type filter hook ingress device eth0 priority 0
        drop
    }
}
";

/// Prints the table. `forwards`: the contestants forward a port, so what the internet begins with it is measured too.
pub(super) fn packets(all: &[Contestant], forwards: bool) -> Result<(), String> {
    let lab = Lab::new();
    let cables = Cables::new(&lab)?;
    let mut bench = Bench { cables, next: 1_000_000, forwards };
    bench.prove_that_a_loss_is_seen()?;
    let (end, mut rounds) = (Instant::now() + TIME, 0);
    let mut ratios = vec![Ratios::default(); all.len()];
    let mut yardsticks = Vec::new();
    let mut random = Random::new();
    while Instant::now() < end {
        let mut round = vec![[0.0; WHAT.len()]; all.len()];
        for at in shuffled(all.len(), &mut random) {
            round[at] = bench.measure(&all[at])?;
        }
        for (ratios, used) in ratios.iter_mut().zip(&round) {
            for (what, list) in ratios.iter_mut().enumerate() {
                list.push(used[what] / round[0][what]);
            }
        }
        yardsticks.push(round[0]);
        rounds += 1;
    }
    print_table(all, &mut ratios, rounds, bench.columns());
    for (what, name) in WHAT.iter().enumerate().take(bench.columns()) {
        let mut times: Vec<_> = yardsticks.iter().map(|round| round[what]).collect();
        println!("{}, {name}: {:.0} ns", all[0].name, quartile(&mut times, 1));
    }
    let there = Path::new("/usr/sbin/firewalld").exists();
    println!(
        "firewalld is {}: no figure",
        if there { "there, but this bench does not run it" } else { "not installed" }
    );
    Ok(())
}

/// Of one contestant, for each of [`WHAT`]: the ratio of every round.
type Ratios = [Vec<f64>; WHAT.len()];

fn print_table(all: &[Contestant], ratios: &mut [Ratios], rounds: usize, columns: usize) {
    println!(
        "CPU per forwarded packet / {}, {rounds} rounds, no packet lost: lower quartile (median)",
        all[0].name
    );
    print!("{:<28}", "");
    WHAT.iter().take(columns).for_each(|what| print!(" {what:>18}"));
    println!();
    for (contestant, ratios) in all.iter().zip(ratios.iter_mut()) {
        print!("{:<28}", contestant.name);
        for list in ratios.iter_mut().take(columns) {
            print!(" {:>18}", format!("{:.3} ({:.3})", quartile(list, 1), quartile(list, 2)));
        }
        println!();
    }
    print!("{:<28}", "noise: middle half of again");
    for list in ratios[AGAIN].iter_mut().take(columns) {
        print!(" {:>18}", format!("{:.3} to {:.3}", quartile(list, 1), quartile(list, 3)));
    }
    println!();
}

/// The value that `number` quarters of `values` lie below.
fn quartile(values: &mut [f64], number: usize) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() * number / 4).copied().unwrap_or(f64::NAN)
}

/// Places in an order of chance: nobody always follows the same neighbour.
fn shuffled(count: usize, random: &mut Random) -> Vec<usize> {
    let mut places: Vec<_> = (0..count).collect();
    for last in (1..count).rev() {
        let other = usize::try_from(random.below(last as u64 + 1)).unwrap_or_default();
        places.swap(last, other);
    }
    places
}

/// The lab's router with its two neighbours, each with a program that sends frames.
struct Cables {
    router: Host,
    /// Any process in the server's network, and in the laptop's.
    server: u32,
    laptop: u32,
    laptop_pulse: Pulse,
    server_pulse: Pulse,
}

impl Cables {
    fn new(lab: &Lab) -> Result<Self, String> {
        let (router, laptop, server) = (lab.router(), lab.host("laptop2"), lab.host("server2"));
        let mut script = "ip -n router link del lan0; ip -n router link del wan0\n".to_owned();
        for (host, port, last) in [("laptop2", "lan0", 1), ("server2", "wan0", 2)] {
            script += &format!(
                "ip -n {host} link del eth0\n\
                 ip link add eth0 netns {host} address 02:00:00:00:01:01 type veth peer name {port} netns router \
                 address 02:00:00:00:00:0{last}\n\
                 ip netns exec {host} sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1\n\
                 ip netns exec router sysctl -qw net.ipv6.conf.{port}.disable_ipv6=1\n\
                 ip -n {host} link set eth0 up; ip -n router link set {port} up\n"
            );
        }
        script += "ip -n router addr add 192.168.1.1/24 dev lan0; ip -n router addr add 198.51.100.2/24 dev wan0\n\
                   ip -n router neigh add 198.51.100.1 lladdr 02:00:00:00:01:01 dev wan0 nud permanent\n\
                   ip -n router route add default via 198.51.100.1\n\
                   ip netns exec router sysctl -qw net.ipv4.ip_forward=1\n";
        // The one that answers go to.
        script += "ip -n router neigh add 192.168.1.2 lladdr 02:00:00:00:01:01 dev lan0 nud permanent\n";
        lab.outer().ok_with(&["sh", "-eu", "-s"], &script);
        server.ok_with(&["nft", "-f", "-"], SINK);
        laptop.ok_with(&["nft", "-f", "-"], SINK);
        let laptop_pulse = Pulse::new(&laptop, "/run/lab/laptop.orders")?;
        let server_pulse = Pulse::new(&server, "/run/lab/server.orders")?;
        let (server, laptop) = (server_pulse.process.pid(), laptop_pulse.process.pid());
        Ok(Self { router, server, laptop, laptop_pulse, server_pulse })
    }

    /// Packets that have reached the port of the server, or the laptop's: the second word of its line in proc(5) net/dev, read
    /// without a program that would warm or cool any cache.
    fn arrived(&self, at: u32) -> Result<u64, String> {
        let path = format!("/proc/{at}/net/dev");
        let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
        let line = text.lines().find_map(|line| line.trim().strip_prefix("eth0:"));
        let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
        number.ok_or_else(|| format!("no eth0 in {path}:\n{text}"))
    }
}

/// `postern-lab pulse` on one host.
struct Pulse {
    process: Process,
    orders: File,
    told: usize,
}

impl Pulse {
    fn new(host: &Host, fifo: &str) -> Result<Self, String> {
        host.ok(&["mkfifo", fifo]);
        let process = host.spawn(&["python3", "-c", SOCKET, "postern-lab", "pulse", fifo]);
        // Both ways: opening does not wait for the reader.
        let orders = OpenOptions::new().read(true).write(true).open(host.path(fifo));
        Ok(Self { process, orders: orders.map_err(|error| error.to_string())?, told: 0 })
    }

    /// Gives an order; the CPU per packet in nanoseconds.
    fn order(&mut self, text: &str) -> Result<f64, String> {
        writeln!(self.orders, "{text}").map_err(|error| error.to_string())?;
        let line = wait::until(wait::SOON, || self.process.out().get(self.told).cloned());
        let line = line.ok_or_else(|| format!("`{text}` was not obeyed:\n{}", self.process.said()))?;
        self.told += 1;
        let value: serde_json::Value = serde_json::from_str(&line).map_err(|error| error.to_string())?;
        let number = |name: &str| value[name].as_f64().unwrap_or(f64::NAN);
        Ok(number("ns") / number("sent"))
    }
}

/// What goes from round to round.
struct Bench {
    cables: Cables,
    /// Number of the next new flow.
    next: u32,
    /// Whether a port is forwarded.
    forwards: bool,
}

impl Bench {
    /// How many of [`WHAT`] are measured.
    fn columns(&self) -> usize {
        if self.forwards { WHAT.len() } else { HOME }
    }

    /// CPU per packet in nanoseconds, of each of [`WHAT`].
    fn measure(&mut self, contestant: &Contestant) -> Result<[f64; WHAT.len()], String> {
        let router = &self.cables.router;
        router.ok_with(&["nft", "-f", "-"], &format!("flush ruleset\n{}", contestant.rules));
        let mut used = [0.0; WHAT.len()];
        for (what, kind) in ["udp", "tcp"].into_iter().enumerate() {
            self.forget();
            let flows = format!("{kind} 0 {FLOWS}");
            self.cables.laptop_pulse.order(&format!("ask {flows} {FLOWS}"))?;
            self.cables.server_pulse.order(&format!("answer {flows} {FLOWS}"))?;
            self.cables.laptop_pulse.order(&format!("go {flows} {WARM}"))?;
            used[what] = self.counted(&contestant.name, &format!("go {flows} {PACKETS}"), PACKETS)?;
        }
        self.forget();
        let order = format!("ask udp {} {NEW} {NEW}", self.next);
        self.next = if self.next > 1_400_000 { 1_000_000 } else { self.next + NEW };
        used[2] = self.counted(&contestant.name, &order, NEW)?;
        if self.forwards {
            self.forget();
            let before = self.cables.arrived(self.cables.laptop)?;
            used[HOME] = self.cables.server_pulse.order(&format!("knock udp 0 {NEW} {NEW}"))?;
            self.all_arrived(&contestant.name, "knock", self.cables.laptop, before, NEW)?;
        }
        Ok(used)
    }

    /// A figure of packets that were dropped would be a good one.
    fn prove_that_a_loss_is_seen(&mut self) -> Result<(), String> {
        let lossy = Contestant { name: "lossy".to_owned(), rules: LOSSY.to_owned() };
        match self.measure(&lossy) {
            Ok(_) => Err("one packet in a thousand was dropped and the count did not see it".to_owned()),
            Err(said) if said.contains("packets arrived") => Ok(()),
            Err(other) => Err(other),
        }
    }

    /// Every conversation ends.
    fn forget(&self) {
        // Without netfilter there is nothing to forget: no error of interest.
        let _ = self.cables.router.run(&["conntrack", "--flush"]);
    }

    fn counted(&mut self, name: &str, order: &str, sent: u32) -> Result<f64, String> {
        let before = self.cables.arrived(self.cables.server)?;
        let used = self.cables.laptop_pulse.order(order)?;
        self.all_arrived(name, order, self.cables.server, before, sent)?;
        Ok(used)
    }

    fn all_arrived(&self, name: &str, order: &str, at: u32, before: u64, sent: u32) -> Result<(), String> {
        let wanted = before + u64::from(sent);
        let arrived = wait::until(LATE, || self.cables.arrived(at).ok().filter(|got| *got >= wanted));
        match arrived {
            Some(got) if got == wanted => Ok(()),
            _ => Err(format!(
                "{name}: `{order}`: {} of {sent} packets arrived",
                self.cables.arrived(at)? - before
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use lab::Random;

    use super::{quartile, shuffled};

    #[test]
    fn a_shuffle_loses_no_place_and_a_quartile_is_one_of_the_values() {
        let mut places = shuffled(8, &mut Random::new());
        places.sort_unstable();
        assert_eq!(places, (0..8).collect::<Vec<_>>());
        assert_eq!(quartile(&mut [4.0, 1.0, 3.0, 2.0, 5.0], 1), 2.0);
        assert!(quartile(&mut [], 1).is_nan());
    }
}
