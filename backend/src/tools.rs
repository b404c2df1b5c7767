//! Ping, route trace and name lookup for the owner, by sockets of the daemon: what was typed never reaches a shell or
//! the argument of a program.
//!
//! One run at a time. It answers with what is known so far and goes on by itself; whoever wants the rest asks again.

mod dns;
#[cfg(fuzzing)]
pub(crate) mod fuzz;
mod icmp;
mod path;
mod target;
#[cfg(test)]
mod tests;
mod words;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::appliance::{Refusal, RefusalKind};

use icmp::Prober;
use target::Target;

pub use path::Paths;
pub use words::milliseconds;

/// Echo requests of a ping.
const PINGS: u16 = 5;
/// Between two of them.
const PING_PAUSE: Duration = Duration::from_secs(1);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// Farthest router that a trace asks.
const MOST_HOPS: u8 = 30;
/// Between two requests of a trace: many routers make fewer than 30 errors a second.
const TRACE_PAUSE: Duration = Duration::from_millis(50);
/// How often a trace asks for those that did not answer.
const ROUNDS: u16 = 3;

/// What to try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tool {
    /// ICMP echo (RFC 792, RFC 4443), five times.
    Ping,
    /// Echo requests that die after 1, 2, 3... hops: which routers are on the way.
    Trace,
    /// What the router's own DNS answers about a name, or about an address.
    Lookup,
}

/// What a run has found so far.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Which run.
    pub id: u64,
    /// What was tried.
    pub tool: Tool,
    /// As it was typed.
    pub target: String,
    /// The address that is asked; none: not known yet, or there is none.
    pub address: Option<IpAddr>,
    /// What came, in order.
    pub rows: Vec<Row>,
    /// What that means; none: it is not over.
    pub verdict: Option<String>,
}

/// One thing that came, or did not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Row {
    /// An answer to a ping.
    Answer {
        /// Which request, from 1.
        number: u16,
        /// Round trip in microseconds.
        microseconds: u64,
    },
    /// A request that was not answered within two seconds.
    Lost {
        /// Which request, from 1.
        number: u16,
    },
    /// Somebody on the way said why not.
    Refused {
        /// Which request, from 1.
        number: u16,
        /// Who.
        from: IpAddr,
        /// Why.
        why: String,
    },
    /// A router on the way, or the target itself.
    Hop {
        /// How far away, 1 to 30.
        hops: u8,
        /// Who answered; none: nobody, in three tries.
        from: Option<IpAddr>,
        /// Round trip in microseconds.
        microseconds: u64,
        /// It ends here, because; none: it is the target, or the way goes on.
        why: Option<String>,
    },
    /// A DNS record.
    Record {
        /// `A`, `AAAA`, `CNAME` or `PTR`.
        record: String,
        /// Address or name.
        value: String,
        /// How long it may be kept, in seconds.
        seconds: u32,
    },
}

/// Runs tools, one at a time, and remembers the last run.
#[derive(Debug, Default)]
pub struct Tools {
    last: Arc<Mutex<Option<Report>>>,
}

impl Tools {
    /// Begins a run. `resolvers` are asked for names, in this order; none: those of /etc/resolv.conf.
    ///
    /// # Errors
    /// `invalid` beside `target`, if that is neither a name nor an address that can be asked; `failed` while another run
    /// goes on.
    pub fn begin(&self, tool: Tool, typed: &str, resolvers: Vec<SocketAddr>) -> Result<Report, Refusal> {
        let resolvers = if resolvers.is_empty() { dns::of_this_box() } else { resolvers };
        let target = typed
            .parse::<Target>()
            .map_err(|wrong| Refusal::field(RefusalKind::Invalid, "target", wrong.0))?;
        let mut last = self.last();
        if let Some(other) = last.as_ref().filter(|last| last.verdict.is_none()) {
            let said = format!("{} is still being asked. Try again in some seconds.", other.target);
            return Err(Refusal::of(RefusalKind::Failed, said));
        }
        let id = last.as_ref().map_or(1, |last| last.id + 1);
        let address = target.address();
        let report =
            Report { id, tool, target: target.to_string(), address, rows: Vec::new(), verdict: None };
        *last = Some(report.clone());
        drop(last);
        let run = Run { last: self.last.clone(), resolvers };
        tokio::spawn(async move {
            // Ends with a verdict also if it is dropped half way: nobody could begin another otherwise.
            let mut ending = Ending { last: run.last.clone(), verdict: "It was given up.".to_owned() };
            ending.verdict = run.run(tool, &target).await;
        });
        Ok(report)
    }

    /// What the newest run has found by now; none: there was none.
    pub fn newest(&self) -> Option<Report> {
        self.last().clone()
    }

    fn last(&self) -> MutexGuard<'_, Option<Report>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Notes the verdict when it goes.
struct Ending {
    last: Arc<Mutex<Option<Report>>>,
    verdict: String,
}

impl Drop for Ending {
    fn drop(&mut self) {
        if let Some(last) = self.last.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            last.verdict = Some(std::mem::take(&mut self.verdict));
        }
    }
}

/// A run that goes on.
struct Run {
    last: Arc<Mutex<Option<Report>>>,
    resolvers: Vec<SocketAddr>,
}

impl Run {
    fn note(&self, change: impl FnOnce(&mut Report)) {
        if let Some(last) = self.last.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            change(last);
        }
    }

    /// The verdict.
    async fn run(&self, tool: Tool, target: &Target) -> String {
        let done = match (tool, target) {
            (Tool::Lookup, Target::Address(address)) => self.reverse(*address).await,
            (Tool::Lookup, Target::Name(name)) => self.lookup(name).await,
            (_, target) => self.reach(tool, target).await,
        };
        done.unwrap_or_else(|why| why)
    }

    async fn reverse(&self, address: IpAddr) -> Result<String, String> {
        let rows = dns::name_of(&self.resolvers, address).await?;
        let none = rows.is_empty();
        self.note(|report| report.rows = rows);
        Ok(match none {
            true => format!("{address} has no name."),
            false => format!("{address} has a name."),
        })
    }

    async fn lookup(&self, name: &str) -> Result<String, String> {
        let rows = dns::addresses(&self.resolvers, name).await?;
        let verdict = words::found(name, &rows);
        self.note(|report| report.rows = rows);
        Ok(verdict)
    }

    /// Ping and trace.
    async fn reach(&self, tool: Tool, target: &Target) -> Result<String, String> {
        let address = match target {
            Target::Address(address) => *address,
            Target::Name(name) => {
                let rows = dns::addresses(&self.resolvers, name).await?;
                let addresses: Vec<IpAddr> = rows.iter().filter_map(dns::address).collect();
                // IPv4 first, as the VPNs that this box is about; else whatever there is a way to.
                match icmp::first_with_route(&addresses).await.or(addresses.first().copied()) {
                    Some(address) => address,
                    None => return Err(words::found(name, &rows)),
                }
            }
        };
        self.note(|report| report.address = Some(address));
        let prober = Prober::new(address).await.map_err(|e| words::cannot_send(address, &e))?;
        match tool {
            Tool::Trace => self.trace(&prober, address).await,
            _ => self.ping(&prober, address).await,
        }
    }

    async fn ping(&self, prober: &Prober, address: IpAddr) -> Result<String, String> {
        let mut times = Vec::new();
        let mut told = None;
        for number in 1..=PINGS {
            let pause = tokio::time::sleep(PING_PAUSE);
            prober.send(number, None).await.map_err(|e| words::cannot_send(address, &e))?;
            let row = match prober.answer(number, PATIENCE).await {
                Some(heard) if heard.reached => {
                    let microseconds = words::microseconds(heard.after);
                    times.push(microseconds);
                    Row::Answer { number, microseconds }
                }
                Some(heard) => {
                    let why = heard.why.unwrap_or_else(|| "it took too many hops".to_owned());
                    told = Some((heard.from, why.clone()));
                    Row::Refused { number, from: heard.from, why }
                }
                None => Row::Lost { number },
            };
            self.note(|report| report.rows.push(row));
            if number < PINGS {
                pause.await;
            }
        }
        Ok(words::pinged(address, &times, told))
    }

    /// All hops at once, and again those that were silent: one hop after the other would take a minute where routers
    /// do not answer.
    async fn trace(&self, prober: &Prober, address: IpAddr) -> Result<String, String> {
        let mut hops: Vec<Option<icmp::Heard>> = vec![None; usize::from(MOST_HOPS)];
        for round in 0..ROUNDS {
            let last = end(&hops).unwrap_or(hops.len() - 1);
            for at in (0..=last).filter(|at| hops[*at].is_none()).collect::<Vec<_>>() {
                // The target has answered meanwhile: what is behind it is only itself again.
                if end(&hops).is_some_and(|end| at > end) {
                    break;
                }
                let hop = u8::try_from(at + 1).unwrap_or(MOST_HOPS);
                let number = round * u16::from(MOST_HOPS) + u16::from(hop);
                prober.send(number, Some(hop)).await.map_err(|e| words::cannot_send(address, &e))?;
                self.hear(prober, &mut hops, TRACE_PAUSE).await;
            }
            self.hear(prober, &mut hops, PATIENCE).await;
        }
        Ok(words::traced(address, &hops[..=end(&hops).unwrap_or(hops.len() - 1)]))
    }

    /// Listens for a while, or until nothing is missing.
    async fn hear(&self, prober: &Prober, hops: &mut [Option<icmp::Heard>], time: Duration) {
        let until = tokio::time::Instant::now() + time;
        while hops[..=end(hops).unwrap_or(hops.len() - 1)].iter().any(Option::is_none) {
            let Some((number, heard)) = prober.next(until).await else { break };
            let at = usize::from((number - 1) % u16::from(MOST_HOPS));
            hops[at].get_or_insert(heard);
        }
        let known = end(hops).or_else(|| hops.iter().rposition(Option::is_some));
        let rows = known.map_or_else(Vec::new, |last| words::hops(&hops[..=last]));
        self.note(|report| report.rows = rows);
        // Answers may be there already: a trace in the home would otherwise send all thirty.
        tokio::time::sleep_until(until.min(tokio::time::Instant::now() + TRACE_PAUSE)).await;
    }
}

/// Where the way ends: at the target, or where somebody says why it does.
fn end(hops: &[Option<icmp::Heard>]) -> Option<usize> {
    hops.iter().position(|hop| hop.as_ref().is_some_and(|heard| heard.reached || heard.why.is_some()))
}
