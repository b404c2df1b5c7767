//! `postern-lab unison`: one new SPI to each of many servers, at moments that others keep too: what happens when two do the same
//! at the same instant, on two processors.

use std::io::Result;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use lexopt::prelude::*;
use serde_json::json;

use super::{USAGE, own_tag, tell};
use crate::packet::{Kind, datagram, frame, target};
use crate::wait::now_us;

const ESP: Kind = Kind::Ip(50);
/// From one server to the next.
const PACE_US: u64 = 50_000;
/// So long before the moment it sleeps no more: a sleep is late by less.
const AWAKE_US: u64 = 2_000;

/// Arguments: FIRST COUNT AT. To COUNT addresses from FIRST on, from AT (milliseconds since 1970) on, one each 50 ms.
pub(super) fn unison(words: &mut lexopt::Parser) -> std::result::Result<(), lexopt::Error> {
    let mut given = Vec::new();
    while let Some(word) = words.next()? {
        match word {
            Value(text) => given.push(text.string()?),
            other => return Err(other.unexpected()),
        }
    }
    let [first, count, at] = &given[..] else { return Err(USAGE.into()) };
    let first: Ipv4Addr = first.parse().map_err(|_| USAGE)?;
    let (count, at): (u32, u64) = (count.parse().map_err(|_| USAGE)?, at.parse().map_err(|_| USAGE)?);
    Ok(send(first, count, at * 1000).map_err(|error| error.to_string())?)
}

fn send(first: Ipv4Addr, count: u32, at: u64) -> Result<()> {
    let socket = datagram(ESP, false, 0)?;
    for number in 0..count {
        let to = target(ESP, IpAddr::V4((first.to_bits() + number).into()));
        let packet = frame(ESP, own_tag(), number.into());
        let moment = at + u64::from(number) * PACE_US;
        let left = moment.saturating_sub(now_us());
        std::thread::sleep(Duration::from_micros(left.saturating_sub(AWAKE_US)));
        while now_us() < moment {
            std::hint::spin_loop();
        }
        socket.send_to(&packet, to)?;
    }
    tell(&json!({ "sent": count }));
    Ok(())
}
