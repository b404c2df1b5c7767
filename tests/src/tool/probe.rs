//! `postern-lab probe`: does something come back, and what?

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Options, error_name, own_tag};
use crate::packet::{Line, frame};

/// Time between two packets.
const PACE: Duration = Duration::from_millis(200);

/// Sends a packet every [`PACE`] until an answer or an error arrives or the time is over.
pub(super) fn probe(options: &Options) -> Value {
    let began = Instant::now();
    let (mut sent, mut answered) = (0, 0);
    let error = exchange(options, began, &mut sent, &mut answered).err().as_ref().map(error_name);
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    json!({ "sent": sent, "answered": answered, "error": error, "ms": ms })
}

fn exchange(options: &Options, began: Instant, sent: &mut u64, answered: &mut u64) -> std::io::Result<()> {
    let mut line = Line::open(options.kind, options.server, options.limit)?;
    let tag = own_tag();
    while began.elapsed() < options.limit && *answered == 0 {
        if *sent == 0 || !options.once {
            *sent += 1;
            line.send(&frame(options.kind, tag, *sent))?;
        }
        let end = Instant::now() + PACE;
        // A raw socket also sees packets of others.
        while let Some(left) = end.checked_duration_since(Instant::now()) {
            if line.receive(left)?.is_some_and(|(of, _)| of == tag) {
                *answered += 1;
                break;
            }
        }
    }
    Ok(())
}
