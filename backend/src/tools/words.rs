//! What a run means, in a sentence.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use rustix::io::Errno;

use super::Row;
use super::icmp::Heard;

pub(super) fn microseconds(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// `12.1 ms`, from microseconds.
pub fn milliseconds(microseconds: u64) -> String {
    let digits = usize::from(microseconds < 100_000);
    format!("{:.digits$} ms", microseconds as f64 / 1000.0)
}

pub(super) fn pinged(address: IpAddr, times: &[u64], told: Option<(IpAddr, String)>) -> String {
    let all = usize::from(super::PINGS);
    match (times.iter().sum::<u64>(), times.len() as u64) {
        (_, 0) => match told {
            Some((from, why)) => format!("{address} cannot be reached: {from} says that {why}."),
            None => format!("{address} did not answer. It may be down, or it does not answer to pings."),
        },
        (sum, count) => {
            let lost = if times.len() < all { "; the others were lost" } else { "" };
            let average = milliseconds(sum / count);
            format!("{address} answered {count} of {all} times, after {average} on average{lost}.")
        }
    }
}

pub(super) fn traced(address: IpAddr, hops: &[Option<Heard>]) -> String {
    let far = hops.len();
    match hops.last() {
        Some(Some(heard)) if heard.reached => {
            format!("{address} is {far} hop{} away.", if far == 1 { "" } else { "s" })
        }
        Some(Some(heard)) => {
            let why = heard.why.as_deref().unwrap_or("it goes no farther");
            format!("The way ends at {}: it says that {why}.", heard.from)
        }
        _ => match hops.iter().rposition(Option::is_some) {
            Some(last) => format!(
                "{address} did not answer. The last that did is hop {}; it, or whoever comes next, drops these packets.",
                last + 1
            ),
            None => format!("{address} did not answer, nor anybody on the way."),
        },
    }
}

pub(super) fn hops(hops: &[Option<Heard>]) -> Vec<Row> {
    let each = hops.iter().zip(1..).map(|(heard, hops)| match heard {
        Some(heard) => Row::Hop {
            hops,
            from: Some(heard.from),
            microseconds: microseconds(heard.after),
            why: heard.why.clone(),
        },
        None => Row::Hop { hops, from: None, microseconds: 0, why: None },
    });
    each.collect()
}

pub(super) fn found(name: &str, rows: &[Row]) -> String {
    match rows.iter().filter(|row| super::dns::address(row).is_some()).count() {
        0 => format!("{name} has no address."),
        1 => format!("{name} has one address."),
        many => format!("{name} has {many} addresses."),
    }
}

/// Why a request could not even leave.
pub(super) fn cannot_send(address: IpAddr, error: &io::Error) -> String {
    match error.raw_os_error().map(Errno::from_raw_os_error) {
        Some(Errno::NETUNREACH | Errno::HOSTUNREACH | Errno::ADDRNOTAVAIL) => {
            format!("This router has no way to {address}: it has no route there.")
        }
        Some(Errno::ACCESS | Errno::PERM) => {
            format!("This router may not send to {address}: a rule or the system forbids it.")
        }
        _ => format!("Nothing could be sent to {address}: {error}."),
    }
}
