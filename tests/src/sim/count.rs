//! The judge: what was delivered to whom, and how long it took.

use std::fmt;
use std::time::Duration;

/// ESP packets delivered to another client than the one they were for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Wrong {
    /// When the server first used the SPI, one client at most had a tunnel to it whose inbound SPI was still unheard of.
    pub told_apart: u64,
    /// Several had; but this one had already sent on the new pair of SAs, so whoever makes pairs one at a time can tell.
    pub client_first: u64,
    /// Several had, and the server spoke first: nothing in the packets tells whose it is.
    pub server_first: u64,
    /// The new device at an address got what was for the one that had it before.
    pub inherited: u64,
}

impl Wrong {
    /// All of them.
    #[must_use]
    pub fn all(&self) -> u64 {
        self.told_apart + self.client_first + self.server_first + self.inherited
    }
}

/// How all came back after [`super::Crowd::forget`].
#[derive(Debug, Clone, Default)]
pub struct Again {
    /// Sessions that were served when the router forgot everything.
    pub sessions: u64,
    /// Of these, so many have been served since.
    pub served: u64,
    /// From then to the first delivery, half of them, and the slowest.
    pub took: (Duration, Duration),
}

/// What has been counted. Every number of packets is of those that were really sent, after the losses that are played.
#[derive(Debug, Clone, Default)]
pub struct Report {
    /// ESP and IKE packets sent, by clients and servers.
    pub sent: u64,
    /// Packets that were lost on purpose instead.
    pub played_lost: u64,
    /// ESP packets of clients that reached their server.
    pub out: u64,
    /// ESP packets of servers that reached their client.
    pub right: u64,
    /// Those that reached another client.
    pub wrong: Wrong,
    /// Packets to the address of a device that has left, which nobody took.
    pub nobody: u64,
    /// Packets that reached a server with a source that is not the router's.
    pub untranslated: u64,
    /// ESP packets on a pair of SAs that had been served, which never arrived; both directions.
    pub lost_after_served: u64,
    /// The longest time in which packets with one SPI went to the same wrong client, none to the right one, and no pause was over 5 s.
    pub longest_wrong: Duration,
    /// Pairs of SAs made.
    pub pairs: u64,
    /// Those on which the server ever sent anything, while their client was there.
    pub pairs_used: u64,
    /// Those whose client heard it.
    pub pairs_served: u64,
    /// Sessions (a client and a server until the client leaves) in which the client sent ESP.
    pub sessions: u64,
    /// Those in which it was answered.
    pub served: u64,
    /// Those that were not, though they went on for at least 10 s.
    pub never_served: u64,
    /// From a session's first ESP packet to the first that came back: half of them, and the slowest.
    pub first_answer: (Duration, Duration),
    /// IKE messages that reached who they were for, both directions.
    pub ike_right: u64,
    /// IKE messages of a server that reached another client.
    pub ike_wrong: u64,
    /// IKE messages to a device that had left, which the new device at its address got.
    pub ike_inherited: u64,
    /// IKE messages that reached nobody.
    pub ike_lost: u64,
    /// IKE messages that reached a server from another port than 500.
    pub ike_port_moved: u64,
    /// ICMP errors sent about ESP, and about IKE.
    pub icmp_sent: (u64, u64),
    /// Those that reached the client whose packet it was, quoting it as the client had sent it.
    pub icmp_right: (u64, u64),
    /// Those that reached another one, or with a quote that it cannot know again.
    pub icmp_wrong: u64,
    /// None: nothing was forgotten.
    pub again: Option<Again>,
    /// The longest time in which the machine did not let this simulator play: so late were clients and servers.
    pub stood_still: Duration,
}

/// Median and maximum; zero of nothing.
pub(super) fn median_and_worst(mut times: Vec<u64>) -> (Duration, Duration) {
    times.sort_unstable();
    let at = |index: usize| Duration::from_micros(times.get(index).copied().unwrap_or_default());
    (at(times.len() / 2), at(times.len().saturating_sub(1)))
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = |(median, worst): (Duration, Duration)| {
            format!("median {:.2} s, worst {:.2} s", median.as_secs_f64(), worst.as_secs_f64())
        };
        let w = &self.wrong;
        writeln!(
            f,
            "  packets sent {}, ESP out {}, ESP in right {}, wrong {}",
            self.sent,
            self.out,
            self.right,
            w.all()
        )?;
        writeln!(
            f,
            "  wrong: told apart {}; not told apart, client first {}, server first {}; address taken over {}; longest {:.2} s",
            w.told_apart,
            w.client_first,
            w.server_first,
            w.inherited,
            self.longest_wrong.as_secs_f64()
        )?;
        writeln!(
            f,
            "  sessions {}, served {}, never served {}; first answer: {}",
            self.sessions,
            self.served,
            self.never_served,
            seconds(self.first_answer)
        )?;
        writeln!(
            f,
            "  SA pairs {}, used by the server {}, served {}; lost after being served {}; to nobody {}; untranslated {}",
            self.pairs,
            self.pairs_used,
            self.pairs_served,
            self.lost_after_served,
            self.nobody,
            self.untranslated
        )?;
        write!(
            f,
            "  IKE right {}, wrong {}, address taken over {}, lost {}, source port not 500: {}; lost on purpose {}; stood still {} ms",
            self.ike_right,
            self.ike_wrong,
            self.ike_inherited,
            self.ike_lost,
            self.ike_port_moved,
            self.played_lost,
            self.stood_still.as_millis()
        )?;
        if self.icmp_sent != (0, 0) {
            let ((esp, ike), (esp_right, ike_right)) = (self.icmp_sent, self.icmp_right);
            write!(
                f,
                "\n  ICMP about ESP {esp}, right {esp_right}; about IKE {ike}, right {ike_right}; wrong {}",
                self.icmp_wrong
            )?;
        }
        if let Some(again) = &self.again {
            let (served, sessions) = (again.served, again.sessions);
            write!(
                f,
                "\n  after everything was forgotten: {served} of {sessions} served again, {}",
                seconds(again.took)
            )?;
        }
        Ok(())
    }
}
