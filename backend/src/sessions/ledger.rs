//! What was seen of sessions before: so that a rate is one that was measured, and the age of the last packet is known where the
//! kernel does not tell. Bounded: so many sessions, so many samples each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Folded, Session, Traffic};

/// Sessions that are remembered; of more, no rate is shown. One takes about 2 KB.
const SESSIONS: usize = 500;
/// Samples of each: ten minutes, one every ten seconds.
const SAMPLES: usize = 61;
/// Milliseconds between two samples that are kept.
const APART: u64 = 9_000;

/// What a session carried between two looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sample {
    /// Milliseconds since the sample was taken.
    pub age_ms: u64,
    /// How many milliseconds it covers.
    pub over_ms: u64,
    /// Bytes from the device meanwhile.
    pub sent: u64,
    /// Bytes to it.
    pub received: u64,
}

/// The look before, and the looks before that.
#[derive(Debug, Default)]
struct Track {
    /// When the last sample was taken, and what had gone through then.
    last: (u64, Traffic),
    /// What had gone through at the last look.
    seen: Traffic,
    /// When a packet was last seen to have gone through; none: not since we look.
    moved: Option<u64>,
    /// When each sample was taken, and over how long, and the bytes.
    samples: Vec<(u64, u64, u64, u64)>,
    /// The looks go on: which one saw it last.
    round: u64,
}

/// What was seen before.
#[derive(Debug, Default)]
pub struct Ledger {
    tracks: BTreeMap<String, Track>,
    round: u64,
}

impl Ledger {
    /// Takes down what is there at `now` (milliseconds of a clock that never goes back) and completes the sessions with what is
    /// known from before. What is not there any more is forgotten.
    pub fn note(&mut self, sessions: &mut [Folded], now: u64) {
        self.round += 1;
        for Folded { session, .. } in sessions.iter_mut() {
            let Some(traffic) = session.traffic else { continue };
            let full = self.tracks.len() >= SESSIONS;
            let track = match self.tracks.get_mut(&session.id) {
                Some(track) => track,
                None if full => continue,
                None => self.tracks.entry(session.id.clone()).or_insert_with(|| Track {
                    last: (now, traffic),
                    seen: traffic,
                    ..Track::default()
                }),
            };
            track.round = self.round;
            track.note(traffic, now);
            track.complete(session, now);
        }
        let round = self.round;
        self.tracks.retain(|_, track| track.round == round);
    }
}

impl Track {
    fn note(&mut self, traffic: Traffic, now: u64) {
        let (before, was) = self.last;
        let packets = |t: Traffic| t.packets_sent.saturating_add(t.packets_received);
        // Less than before: its entries have begun anew.
        if packets(traffic) < packets(self.seen) {
            (self.last, self.seen, self.moved) = ((now, traffic), traffic, Some(now));
            return;
        }
        if packets(traffic) > packets(self.seen) {
            self.moved = Some(now);
        }
        self.seen = traffic;
        if now.saturating_sub(before) >= APART {
            let sent = traffic.sent.saturating_sub(was.sent);
            let received = traffic.received.saturating_sub(was.received);
            self.samples.push((now, now - before, sent, received));
            if self.samples.len() > SAMPLES {
                self.samples.remove(0);
            }
            self.last = (now, traffic);
        }
    }

    fn complete(&self, session: &mut Session, now: u64) {
        let sample = |(at, over_ms, sent, received): &(u64, u64, u64, u64)| Sample {
            age_ms: now.saturating_sub(*at),
            over_ms: *over_ms,
            sent: *sent,
            received: *received,
        };
        session.samples = self.samples.iter().map(sample).collect();
        let moved = self.moved.map(|at| now.saturating_sub(at) / 1000);
        // Whichever saw the later packet.
        session.idle = [session.idle, moved].into_iter().flatten().min();
    }
}
