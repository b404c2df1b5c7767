//! `postern-lab flow`: a steady flow of packets, and each answer.

use std::time::{Duration, Instant};

use serde_json::json;

use super::{Options, error_name, own_tag, tell};
use crate::packet::{Line, frame};
use crate::wait::now_ms;

/// Sends at the given rate until it is killed. TCP ends with its connection.
pub(super) fn flow(options: &Options) -> Result<(), String> {
    let refused = |error: std::io::Error| {
        tell(&json!({ "error": error_name(&error), "at": now_ms() }));
        format!("{} to {}: {error}", options.kind, options.server)
    };
    let mut line = Line::open(options.kind, options.server, options.limit).map_err(refused)?;
    let tag = own_tag();
    let pace = Duration::from_secs(1) / options.hz;
    let mut next = Instant::now();
    for sequence in 1.. {
        let sent = line.send(&frame(options.kind, tag, sequence));
        tell(&json!({ "sent": sequence, "at": now_ms() }));
        over(&line, sent.map(|()| None), tag)?;
        next += pace;
        while let Some(left) = next.checked_duration_since(Instant::now()) {
            let received = line.receive(left);
            over(&line, received, tag)?;
        }
    }
    Ok(())
}

/// Tells what was received. An error of a datagram socket is told and the flow goes on; that of a stream ends it.
fn over(line: &Line, received: std::io::Result<Option<(u64, u64)>>, tag: u64) -> Result<(), String> {
    match received {
        Ok(Some((of, sequence))) if of == tag => tell(&json!({ "answered": sequence, "at": now_ms() })),
        Ok(_) => {}
        Err(error) => {
            tell(&json!({ "error": error_name(&error), "at": now_ms() }));
            if matches!(line, Line::Stream(_)) {
                return Err(error.to_string());
            }
        }
    }
    Ok(())
}
