//! What goes through the internet port, from looks that were taken.

use std::sync::{MutexGuard, PoisonError};

use super::Appliance;
use crate::kernel::Kernel;
use crate::sessions::Sample;
use crate::settings::Settings;
use crate::settings::names::IfName;

/// Ten minutes, one every nine seconds.
const SAMPLES: usize = 61;
/// Milliseconds between two looks that are kept.
const APART: u64 = 9_000;

/// What was seen of one port.
#[derive(Debug, Default)]
pub(super) struct Throughput {
    device: Option<IfName>,
    /// When it was looked at last, and what it had received and sent since it was made.
    last: Option<(u64, u64, u64)>,
    /// When each sample was taken, over how long, bytes sent, bytes received.
    samples: Vec<(u64, u64, u64, u64)>,
}

impl Throughput {
    fn note(&mut self, device: &IfName, now: u64, received: u64, sent: u64) {
        if self.device.as_ref() != Some(device) {
            *self = Self { device: Some(device.clone()), ..Self::default() };
        }
        let Some((at, was_received, was_sent)) = self.last else {
            self.last = Some((now, received, sent));
            return;
        };
        let over = now.saturating_sub(at);
        if over < APART {
            return;
        }
        self.last = Some((now, received, sent));
        // Less than before: the port was made anew.
        if let (Some(received), Some(sent)) = (received.checked_sub(was_received), sent.checked_sub(was_sent))
        {
            self.samples.push((now, over, sent, received));
        }
        if self.samples.len() > SAMPLES {
            self.samples.remove(0);
        }
    }

    pub(super) fn told(&self, now: u64) -> Vec<Sample> {
        let sample = |(at, over_ms, sent, received): &(u64, u64, u64, u64)| Sample {
            age_ms: now.saturating_sub(*at),
            over_ms: *over_ms,
            sent: *sent,
            received: *received,
        };
        self.samples.iter().map(sample).collect()
    }
}

impl<K: Kernel> Appliance<K> {
    /// Looks at the internet port, if it is time.
    pub(super) async fn note_throughput(&self, settings: &Settings) {
        let Some(device) = &settings.internet.device else { return };
        let Some((received, sent)) = self.kernel.carried(device).await else { return };
        let now = self.started.elapsed().as_millis() as u64;
        self.throughput().note(device, now, received.bytes, sent.bytes);
    }

    pub(super) fn throughput(&self) -> MutexGuard<'_, Throughput> {
        self.throughput.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_measured_is_told() {
        let (wan, other): (IfName, IfName) = ("wan0".parse().unwrap(), "wan1".parse().unwrap());
        let mut seen = Throughput::default();
        seen.note(&wan, 0, 1000, 500);
        seen.note(&wan, 3_000, 2000, 600);
        assert_eq!(seen.told(3_000), [], "one look is no rate, and the second came too soon");
        seen.note(&wan, 9_000, 5000, 700);
        let first = Sample { age_ms: 1000, over_ms: 9_000, sent: 200, received: 4000 };
        assert_eq!(seen.told(10_000), [first]);
        seen.note(&wan, 20_000, 10, 10);
        assert_eq!(seen.told(20_000).len(), 1, "made anew is no negative rate");
        for n in 3..200 {
            seen.note(&wan, n * 10_000, 1000 * n, 10 * n);
        }
        assert_eq!(seen.told(2_000_000).len(), SAMPLES);
        seen.note(&other, 3_000_000, 1, 1);
        assert_eq!(seen.told(3_000_000), [], "another port");
    }
}
