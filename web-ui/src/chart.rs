//! A rate, drawn from samples that were really taken.

use postern::door::messages::Sample;

use crate::words::rate;

/// A drawing, and what it says to who cannot see it.
pub struct Line {
    /// Of the polyline.
    pub points: String,
    /// The text alternative.
    pub label: String,
    /// The newest rate.
    pub now: String,
}

/// Both directions together. None: nothing was measured yet.
pub fn line(samples: &[Sample], width: u32, height: u32) -> Option<Line> {
    let (width, height) = (f64::from(width), f64::from(height));
    let bits = |s: &Sample| s.sent.saturating_add(s.received) as f64 * 8000.0 / s.over_ms.max(1) as f64;
    let newest = samples.last()?;
    let now = rate(bits(newest));
    let most = samples.iter().map(bits).fold(1.0, f64::max);
    let oldest = samples.first().map_or(1, |s| s.age_ms.saturating_add(s.over_ms)).max(1);
    let point = |age_ms: u64, bits: f64| {
        let x = width - age_ms as f64 * width / oldest as f64;
        format!("{x:.0},{:.0}", height - 2.0 - bits * (height - 4.0) / most)
    };
    // A sample is a mean over its time: a step, not a point.
    let ends = |s: &Sample| [point(s.age_ms.saturating_add(s.over_ms), bits(s)), point(s.age_ms, bits(s))];
    let points: Vec<String> = samples.iter().flat_map(ends).collect();
    let minutes = oldest.div_ceil(60_000);
    let s = if minutes == 1 { "" } else { "s" };
    Some(Line {
        points: points.join(" "),
        label: format!("rate over {minutes} minute{s}, now {now}, at most {}", rate(most)),
        now,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_a_step_for_each_sample_and_nothing_is_drawn_of_nothing() {
        assert!(line(&[], 100, 20).is_none());
        let sample = |age_ms, sent| Sample { age_ms, over_ms: 10_000, sent, received: 0 };
        let two = line(&[sample(10_000, 1_250_000), sample(0, 0)], 100, 20).expect("drawn");
        assert_eq!(two.points, "0,2 50,2 50,18 100,18");
        assert_eq!(two.label, "rate over 1 minute, now 0 bit/s, at most 1.0 Mbit/s");
    }
}
