//! How big a packet the way to a server carries, by echo requests that nobody may cut (DF, RFC 1191). It is measured only when
//! somebody asks, one server at a time.
//!
//! A way that carries less than this box sends is no trouble while its routers say so ("fragmentation needed"): whoever sends
//! learns it. It is one where they do not, or somebody drops what they say: what is big vanishes (RFC 2923 section 2.1).

use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::time::timeout;

use super::icmp::Prober;
use crate::diagnosis::{Carries, Measured};

/// What every way carries (RFC 791: 68 bytes; all hosts must take 576).
const SMALL: u32 = 84;
/// Sizes that are asked for at once; the space between two of them becomes a sixteenth.
const AT_ONCE: u32 = 15;
/// Between two requests: a burst would be taken for a flood.
const PAUSE: Duration = Duration::from_millis(4);
/// How long an answer may take, before one has come and after.
const FIRST: Duration = Duration::from_millis(800);
const LEAST: Duration = Duration::from_millis(150);
/// The whole of it. Usually one round trip, or a second where big packets are lost; there, a server 200 ms away takes 9 s, for
/// each of ten questions waits for what never comes.
const MOST: Duration = Duration::from_secs(12);
/// A result is told for so long.
const KEPT: Duration = Duration::from_secs(600);
/// Somebody who asks again at once is told the same.
const FRESH: Duration = Duration::from_secs(5);
/// Most servers that are remembered.
const SERVERS: usize = 16;

/// Measures, and remembers in memory what came of it.
#[derive(Debug, Default)]
pub struct Paths {
    turn: tokio::sync::Mutex<()>,
    known: Mutex<Vec<(Instant, Measured)>>,
}

impl Paths {
    /// Measures the way to `server`, over a port that sends packets of up to `sends` bytes. Takes 12 s at most, and as long for
    /// each who asks at the same time.
    pub async fn measure(&self, server: IpAddr, sends: u32) {
        let _turn = self.turn.lock().await;
        if self.told(sends).iter().any(|known| known.server == server && known.ago < FRESH.as_secs()) {
            return;
        }
        // Over IPv6 no router cuts, and who is too big is told or lost in another way: not built.
        let prober = if server.is_ipv4() { Prober::new(server).await.ok() } else { None };
        let carries = match prober {
            Some(prober) => {
                let mut way = Real { prober, number: 0, patience: FIRST };
                timeout(MOST, search(&mut way, sends)).await.unwrap_or(Carries::Unknown)
            }
            None => Carries::Unknown,
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|(at, other)| other.server != server && at.elapsed() < KEPT);
        known.truncate(SERVERS - 1);
        known.insert(0, (Instant::now(), Measured { server, ago: 0, sends, carries }));
    }

    /// What was measured in the last ten minutes by a box that sends packets of up to `sends` bytes: whoever has followed the
    /// advice and sends smaller ones must not be told of larger ones.
    pub fn told(&self, sends: u32) -> Vec<Measured> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = known.iter().filter(|(at, measured)| at.elapsed() < KEPT && measured.sends == sends);
        fresh.map(|(at, measured)| Measured { ago: at.elapsed().as_secs(), ..*measured }).collect()
    }
}

/// What became of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Said {
    Nothing,
    Answered,
    /// Who says so, and how many bytes it carries on; 0: not told.
    TooBig(IpAddr, u32),
}

/// What can be asked.
trait Way {
    /// Sends one request of each size, and waits for all answers, or as long as one may take.
    async fn ask(&mut self, sizes: &[u32], whole: bool) -> Vec<Said>;
}

struct Real {
    prober: Prober,
    number: u16,
    patience: Duration,
}

impl Way for Real {
    async fn ask(&mut self, sizes: &[u32], whole: bool) -> Vec<Said> {
        let mut said = vec![Said::Nothing; sizes.len()];
        let first = self.number;
        for size in sizes {
            // What cannot be sent is not answered.
            let _ = self.prober.send_sized(self.number, *size as usize, whole).await;
            self.number = self.number.wrapping_add(1);
            tokio::time::sleep(PAUSE).await;
        }
        let until = tokio::time::Instant::now() + self.patience;
        while said.contains(&Said::Nothing) {
            let Some((number, heard)) = self.prober.next(until).await else { break };
            let Some(one) = said.get_mut(usize::from(number.wrapping_sub(first))) else { continue };
            *one = match heard.too_big {
                _ if heard.reached => Said::Answered,
                Some(bytes) => Said::TooBig(heard.from, bytes.into()),
                None => continue,
            };
            if heard.reached {
                self.patience = (heard.after * 4).clamp(LEAST, FIRST);
            }
        }
        said
    }
}

/// At most three tries for the largest size and for the smallest, then ladders of 15 sizes, each rung tried twice.
async fn search(way: &mut impl Way, sends: u32) -> Carries {
    let (mut top, mut teller) = (sends, None);
    let (mut reached, mut silent) = (false, Said::Nothing);
    // Each router on the way may tell of a smaller one.
    for _ in 0..4 {
        silent = Said::Nothing;
        for _ in 0..3 {
            let said = way.ask(&[SMALL, top], true).await;
            reached |= said.first() == Some(&Said::Answered);
            silent = *said.last().unwrap_or(&Said::Nothing);
            if silent != Said::Nothing {
                break;
            }
        }
        match silent {
            Said::Answered => {
                return teller.map_or(Carries::All, |by| Carries::Told { largest: top, by });
            }
            Said::TooBig(by, bytes) if (SMALL..top).contains(&bytes) => (top, teller) = (bytes, Some(by)),
            _ => break,
        }
    }
    if !reached {
        return Carries::Unknown;
    }
    let (mut low, mut high) = (SMALL, top);
    // Answers that contradict each other can make the lower one the larger: what has arrived counts.
    while high > low + 1 {
        let count = AT_ONCE.min(high - low - 1);
        let rungs: Vec<u32> = (1..=count).map(|n| low + (high - low) * n / (count + 1)).collect();
        for _ in 0..2 {
            let open: Vec<u32> = rungs.iter().copied().filter(|size| low < *size && *size < high).collect();
            for (size, said) in open.iter().zip(way.ask(&open, true).await) {
                match said {
                    Said::Answered => low = low.max(*size),
                    Said::TooBig(..) if *size < high => (high, silent) = (*size, said),
                    _ => {}
                }
            }
        }
        // The lowest rung that nobody answered.
        if let Some(size) = rungs.into_iter().find(|size| low < *size && *size < high) {
            (high, silent) = (size, Said::Nothing);
        }
    }
    if let Said::TooBig(by, _) = silent {
        return Carries::Told { largest: low, by };
    }
    // Once more: what was lost by chance would be called too big.
    if way.ask(&[low + 1, low + 1], true).await.contains(&Said::Answered) {
        return Carries::Unknown;
    }
    let cut_arrives = way.ask(&[sends, sends], false).await.contains(&Said::Answered);
    Carries::Lost { largest: low, cut_arrives }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOP: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(198, 51, 100, 1));

    /// A way that carries so much.
    struct Fake {
        carries: u32,
        tells: Option<u32>,
        pings: bool,
        cuts: bool,
        /// Every so-many-th request is lost.
        loses: usize,
        asked: usize,
    }

    const PLAIN: Fake =
        Fake { carries: 1500, tells: None, pings: true, cuts: true, loses: usize::MAX, asked: 0 };

    impl Way for Fake {
        async fn ask(&mut self, sizes: &[u32], whole: bool) -> Vec<Said> {
            let mut one = |size: u32| {
                self.asked += 1;
                match (size <= self.carries || (!whole && self.cuts), self.tells) {
                    _ if self.asked.is_multiple_of(self.loses) => Said::Nothing,
                    (true, _) if self.pings => Said::Answered,
                    (false, Some(bytes)) => Said::TooBig(HOP, bytes),
                    _ => Said::Nothing,
                }
            };
            sizes.iter().map(|size| one(*size)).collect()
        }
    }

    async fn found(mut way: Fake) -> Carries {
        let found = search(&mut way, 1500).await;
        assert!(way.asked <= 120, "{} requests", way.asked);
        found
    }

    #[tokio::test]
    async fn the_size_is_found_to_the_byte() {
        assert_eq!(found(PLAIN).await, Carries::All);
        for carries in [84, 85, 576, 1279, 1280, 1399, 1400, 1492, 1499] {
            let lost = Carries::Lost { largest: carries, cut_arrives: true };
            assert_eq!(found(Fake { carries, ..PLAIN }).await, lost);
            let told = Carries::Told { largest: carries, by: HOP };
            assert_eq!(found(Fake { carries, tells: Some(carries), ..PLAIN }).await, told);
            assert_eq!(found(Fake { carries, tells: Some(0), ..PLAIN }).await, told, "it says no number");
        }
        let whole = Carries::Lost { largest: 1400, cut_arrives: false };
        assert_eq!(found(Fake { carries: 1400, cuts: false, ..PLAIN }).await, whole);
    }

    #[tokio::test]
    async fn who_answers_no_ping_is_not_judged() {
        assert_eq!(found(Fake { pings: false, ..PLAIN }).await, Carries::Unknown);
        assert_eq!(found(Fake { pings: false, carries: 1400, ..PLAIN }).await, Carries::Unknown);
    }

    #[tokio::test]
    async fn a_lossy_way_is_not_called_narrow() {
        for loses in 2..40 {
            let found = found(Fake { loses, ..PLAIN }).await;
            assert!([Carries::All, Carries::Unknown].contains(&found), "{loses}: {found:?}");
        }
    }
}
