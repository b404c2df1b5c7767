//! Wrong passwords of the last hour, by address: whether somebody is guessing.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use super::throttle::counted;

/// What is told is of so long.
const HOUR: Duration = Duration::from_secs(3600);
/// Wrong passwords of one address in an hour that are no slip of the fingers. The delay lets some fifteen through.
const SUSPECT: usize = 10;
/// The same of all addresses together.
const SUSPECT_ALL: usize = 30;
/// Addresses remembered; the one with the fewest goes. And times of each.
const MOST: (usize, usize) = (64, 100);

/// When passwords were wrong.
#[derive(Debug, Default)]
pub(super) struct Guesses(HashMap<IpAddr, VecDeque<Instant>>);

impl Guesses {
    pub(super) fn wrong(&mut self, source: IpAddr, now: Instant) {
        self.0.retain(|_, times| {
            times.retain(|at| now.saturating_duration_since(*at) < HOUR);
            !times.is_empty()
        });
        let source = counted(source);
        if self.0.len() >= MOST.0
            && !self.0.contains_key(&source)
            && let Some(fewest) = self.0.iter().min_by_key(|(_, times)| times.len()).map(|(ip, _)| *ip)
        {
            self.0.remove(&fewest);
        }
        let times = self.0.entry(source).or_default();
        times.push_back(now);
        if times.len() > MOST.1 {
            times.pop_front();
        }
    }

    /// In words; nothing: all is well.
    pub(super) fn notices(&self, now: Instant) -> Vec<String> {
        let lately = |times: &VecDeque<Instant>| {
            times.iter().filter(|at| now.saturating_duration_since(**at) < HOUR).count()
        };
        let mut all: Vec<(usize, IpAddr)> =
            self.0.iter().map(|(source, times)| (lately(times), *source)).filter(|one| one.0 > 0).collect();
        all.sort_unstable_by(|a, b| b.cmp(a));
        let sum: usize = all.iter().map(|(count, _)| count).sum();
        let advice = "Somebody may be guessing the password. Each guess takes longer than the one before; the journal says more.";
        match all.as_slice() {
            [(count, source), ..] if *count >= SUSPECT => {
                vec![format!("{count} wrong passwords came from {source} in the last hour. {advice}")]
            }
            all if sum >= SUSPECT_ALL => {
                let from = all.len();
                vec![format!("{sum} wrong passwords came from {from} addresses in the last hour. {advice}")]
            }
            _ => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_wrong_passwords_in_an_hour_are_told_and_forgotten_after_it() {
        let (mut guesses, start) = (Guesses::default(), Instant::now());
        let source = IpAddr::from([192, 168, 1, 66]);
        (0..9).for_each(|_| guesses.wrong(source, start));
        assert_eq!(guesses.notices(start), [] as [String; 0]);
        guesses.wrong(source, start + Duration::from_secs(60));
        let told = guesses.notices(start + Duration::from_secs(61));
        assert!(
            told[0].starts_with("10 wrong passwords came from 192.168.1.66 in the last hour."),
            "{told:?}"
        );
        assert_eq!(guesses.notices(start + HOUR), [] as [String; 0]);
    }

    #[test]
    fn many_addresses_are_told_together_and_ten_thousand_guesses_are_bounded() {
        let (mut guesses, start) = (Guesses::default(), Instant::now());
        (1..=40).for_each(|n| guesses.wrong(IpAddr::from([192, 168, 1, n]), start));
        assert!(guesses.notices(start)[0].starts_with("40 wrong passwords came from 40 addresses"));
        (0..10_000_u32).for_each(|n| guesses.wrong(IpAddr::from((0x0a00_0000 + n).to_be_bytes()), start));
        (0..10_000).for_each(|_| guesses.wrong(IpAddr::from([192, 168, 1, 1]), start));
        assert!(guesses.0.len() <= MOST.0 && guesses.0.values().all(|times| times.len() <= MOST.1));
    }
}
