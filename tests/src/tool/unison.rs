//! `postern-lab unison`: one new SPI to each of many servers, at moments that others keep too: what happens when two do the same
//! at the same instant, on two processors.

use std::io::Result;
use std::net::{IpAddr, Ipv4Addr};

use lexopt::prelude::*;
use serde_json::json;

use super::{USAGE, own_tag, tell};
use crate::packet::{Kind, datagram, frame, target};
use crate::wait;

const ESP: Kind = Kind::Ip(50);
/// From one server to the next.
const PACE_US: u64 = 20_000;

/// Arguments: FIRST COUNT AT. To COUNT addresses from FIRST on, from AT (milliseconds since 1970) on, one each 20 ms. Tells how late the
/// latest of them was, in microseconds.
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
    let mut late = 0;
    for number in 0..count {
        let to = target(ESP, IpAddr::V4((first.to_bits() + number).into()));
        let packet = frame(ESP, own_tag(), number.into());
        let moment = at + u64::from(number) * PACE_US;
        wait::moment(moment);
        socket.send_to(&packet, to)?;
        late = late.max(wait::now_us().saturating_sub(moment));
    }
    tell(&json!({ "sent": count, "late_us": late }));
    Ok(())
}
