//! `postern-lab pulse`: sends preformed Ethernet frames from one core and tells the CPU that took.
//!
//! Its standard input is a packet socket (`AF_PACKET`, bound to a port) that whoever starts it has opened: std and rustix bind
//! none without `unsafe`. Orders come, one a line, through a FIFO.

use std::fs::File;
use std::io::{BufRead, BufReader, stdin};
use std::str::FromStr;
use std::time::Duration;

use rustix::net::{SendFlags, send};
use rustix::thread::{CpuSet, sched_setaffinity};
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

use super::{USAGE, tell};
use crate::ethernet::{self, Flow, Step};

/// The core that sends. The packet is forwarded in the sender's own context, to the last cable.
const CORE: usize = 0;

/// One order: `STEP udp|tcp FIRST FLOWS COUNT`, COUNT frames of FLOWS flows in turn, the first of them number FIRST.
#[derive(Debug, PartialEq, Eq)]
struct Order {
    step: Step,
    tcp: bool,
    first: u32,
    flows: u32,
    count: u32,
}

impl FromStr for Order {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no order: STEP udp|tcp FIRST FLOWS COUNT");
        let mut words = text.split_whitespace();
        let step = words.next().ok_or_else(wrong)?.parse()?;
        let tcp = match words.next() {
            Some("tcp") => true,
            Some("udp") => false,
            _ => return Err(wrong()),
        };
        let numbers = words.map(str::parse).collect::<Result<Vec<u32>, _>>().map_err(|_| wrong())?;
        match numbers[..] {
            [first, flows, count] if flows > 0 => Ok(Self { step, tcp, first, flows, count }),
            _ => Err(wrong()),
        }
    }
}

/// Argument: the FIFO. Ends when nobody writes to it any more.
pub(super) fn pulse(words: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
    let Some(lexopt::Arg::Value(fifo)) = words.next()? else { return Err(USAGE.into()) };
    let mut cores = CpuSet::new();
    cores.set(CORE);
    sched_setaffinity(None, &cores).map_err(|error| error.to_string())?;
    let orders = File::open(fifo).map_err(|error| error.to_string())?;
    for line in BufReader::new(orders).lines() {
        let order: Order = line.map_err(|error| error.to_string())?.parse()?;
        let used = obey(&order).map_err(|error| error.to_string())?;
        tell(&json!({ "ns": u64::try_from(used.as_nanos()).unwrap_or(u64::MAX), "sent": order.count }));
    }
    Ok(())
}

/// CPU of this process while it sent.
fn obey(order: &Order) -> rustix::io::Result<Duration> {
    let frames: Vec<_> = (order.first..order.first.saturating_add(order.flows))
        .map(|number| ethernet::frame(order.step, Flow { tcp: order.tcp, number }))
        .collect();
    let socket = stdin();
    let before = cpu();
    for frame in frames.iter().cycle().take(usize::try_from(order.count).unwrap_or(usize::MAX)) {
        send(&socket, frame, SendFlags::empty())?;
    }
    Ok(cpu().saturating_sub(before))
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::try_from(time).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_read_and_a_wrong_one_is_refused() {
        let order = Order { step: Step::Go, tcp: true, first: 7, flows: 64, count: 1000 };
        assert_eq!("go tcp 7 64 1000".parse(), Ok(order));
        for wrong in ["", "go", "go sctp 0 1 1", "go udp 0 0 1", "go udp 0 1", "come udp 0 1 1"] {
            assert!(wrong.parse::<Order>().is_err(), "{wrong}");
        }
    }
}
