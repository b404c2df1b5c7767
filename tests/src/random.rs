//! Chance that can be repeated.

/// Random numbers from a seed, which a failing test prints. `POSTERN_SEED` sets it.
///
/// SplitMix64 (Steele, Lea, Flood 2014): good enough to choose moments, and the same on every machine.
#[derive(Debug)]
pub struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    /// From `POSTERN_SEED`, or from the clock.
    #[must_use]
    pub fn new() -> Self {
        let asked = std::env::var("POSTERN_SEED").ok().and_then(|text| text.parse().ok());
        Self::from(asked.unwrap_or_else(crate::wait::now_ms))
    }

    /// The next number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % end.max(1)
    }

    /// Lets a random time below `limit` pass: the moment is what is tested.
    pub fn pause(&mut self, limit: std::time::Duration) -> std::time::Duration {
        let micros = self.below(limit.as_micros().try_into().unwrap_or(u64::MAX));
        let span = std::time::Duration::from_micros(micros);
        std::thread::sleep(span);
        span
    }
}

impl From<u64> for Random {
    fn from(seed: u64) -> Self {
        Self { seed, state: seed }
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("to see the same moments again: POSTERN_SEED={}", self.seed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_numbers_and_all_of_them_are_below_the_end() {
        let draw = |seed| {
            let mut random = Random::from(seed);
            [0; 100].map(|_| random.below(60))
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert!(draw(7).iter().all(|number| *number < 60));
        assert!((0..60).filter(|number| draw(7).contains(number)).count() > 30, "they are spread");
    }
}
