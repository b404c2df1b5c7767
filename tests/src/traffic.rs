//! Traffic between hosts: one-off probes, steady flows, and who heard them.

use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

use serde::Deserialize;

use crate::host::Host;
use crate::packet::Kind;
use crate::process::Process;
use crate::wait::{self, SOON};

/// So late an answer may be.
const LATE: Duration = Duration::from_secs(5);

/// The moment so long ago, in milliseconds since 1970.
fn before(grace: Duration) -> u64 {
    wait::now_ms().saturating_sub(u64::try_from(grace.as_millis()).unwrap_or_default())
}

/// What became of a probe.
#[derive(Debug, Clone, Deserialize)]
pub struct Probe {
    /// Packets sent.
    pub sent: u64,
    /// Packets that came back.
    pub answered: u64,
    /// The error that came back instead, by its kernel name: `EHOSTUNREACH`, `EACCES`, `ECONNREFUSED`...
    pub error: Option<String>,
    /// How long it took.
    pub ms: u64,
}

impl Probe {
    /// An error arrived, so the client need not wait for a timeout.
    #[must_use]
    pub fn refused(&self) -> bool {
        const REASONS: [&str; 5] = ["EHOSTUNREACH", "EACCES", "ECONNREFUSED", "ENETUNREACH", "ENOPROTOOPT"];
        self.answered == 0 && self.error.as_deref().is_some_and(|error| REASONS.contains(&error))
    }

    /// Nothing came back at all.
    #[must_use]
    pub fn silent(&self) -> bool {
        self.answered == 0
            && self.error.as_deref().is_none_or(|error| error == "ETIMEDOUT" || error.contains("timed out"))
    }
}

/// One packet that arrived at an [`Echo`].
#[derive(Debug, Clone, Deserialize)]
pub struct Arrival {
    /// What it was.
    pub kind: String,
    /// Who sent it, as the host that heard it sees it.
    pub from: IpAddr,
    /// The sender's number; none: not one of the lab's packets.
    pub tag: Option<u64>,
    /// The packet's number.
    pub got: Option<u64>,
    /// When, in milliseconds since 1970.
    pub at: u64,
}

/// A host that answers, and remembers what it heard.
#[derive(Debug)]
pub struct Echo(Process);

impl Echo {
    /// Everything heard so far.
    #[must_use]
    pub fn heard(&self) -> Vec<Arrival> {
        self.0.out().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Arrivals of one kind.
    #[must_use]
    pub fn heard_of(&self, kind: Kind) -> Vec<Arrival> {
        let kind = kind.to_string();
        self.heard().into_iter().filter(|arrival| arrival.kind == kind).collect()
    }
}

/// A line of a flow.
#[derive(Debug, Clone, Deserialize)]
struct Event {
    sent: Option<u64>,
    answered: Option<u64>,
    error: Option<String>,
    at: u64,
}

/// A steady flow of packets; ends when dropped.
#[derive(Debug)]
pub struct Flow(Process);

impl Flow {
    fn events(&self) -> Vec<Event> {
        self.0.out().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// Numbers of the packets that were answered, in the order of the answers.
    #[must_use]
    pub fn answered(&self) -> Vec<u64> {
        self.events().iter().filter_map(|event| event.answered).collect()
    }

    /// Numbers sent up to now, leaving out the last `grace`, that were not answered yet.
    #[must_use]
    pub fn missing(&self, grace: Duration) -> Vec<u64> {
        self.missing_of_before(before(grace))
    }

    /// Numbers sent up to now, leaving out the last `grace`, that are never answered. If there are any, what is still on its way is waited
    /// for: a busy machine is late, and loses nothing.
    #[must_use]
    pub fn lost(&self, grace: Duration) -> Vec<u64> {
        let end = before(grace);
        let all = || self.missing_of_before(end).is_empty().then(Vec::new);
        wait::until(LATE, all).unwrap_or_else(|| self.missing_of_before(end))
    }

    fn missing_of_before(&self, end: u64) -> Vec<u64> {
        let events = self.events();
        let answered: HashSet<u64> = events.iter().filter_map(|event| event.answered).collect();
        let sent = events.iter().filter(|event| event.at < end).filter_map(|event| event.sent);
        sent.filter(|number| !answered.contains(number)).collect()
    }

    /// When the last answer came, in milliseconds since 1970.
    #[must_use]
    pub fn last_answer(&self) -> Option<u64> {
        self.events().iter().rev().find(|event| event.answered.is_some()).map(|event| event.at)
    }

    /// Errors so far with the time of each.
    #[must_use]
    pub fn errors(&self) -> Vec<(String, u64)> {
        self.events().into_iter().filter_map(|event| event.error.map(|error| (error, event.at))).collect()
    }

    /// Waits until `count` more packets than now have been answered.
    ///
    /// # Panics
    /// When they are not.
    #[track_caller]
    pub fn wait_answers(&self, count: usize) {
        let wanted = self.answered().len() + count;
        let came = wait::until(SOON, || (self.answered().len() >= wanted).then_some(()));
        assert!(came.is_some(), "{count} more packets should have been answered:\n{}", self.tail());
    }

    /// Waits until it has sent (or tried to) for `span` more: the time in which something must *not* arrive.
    ///
    /// # Panics
    /// When the flow has ended.
    #[track_caller]
    pub fn watch(&self, span: Duration) {
        let end = wait::now_ms() + u64::try_from(span.as_millis()).unwrap_or_default();
        let sent = |event: &Event| event.at >= end && event.sent.is_some();
        let came = wait::until(span + SOON, || self.events().iter().any(sent).then_some(()));
        assert!(came.is_some(), "the flow should go on sending:\n{}", self.tail());
    }

    /// Whether it has ended by itself, as a TCP connection does that was cut.
    #[must_use]
    pub fn ended(&mut self) -> bool {
        self.0.ended().is_some()
    }

    /// Its last lines, for messages.
    #[must_use]
    pub fn tail(&self) -> String {
        let said = self.0.said();
        let lines: Vec<_> = said.lines().collect();
        lines[lines.len().saturating_sub(12)..].join("\n")
    }
}

impl Host {
    /// Lets this host answer on every one of `kinds`, over IPv4 and IPv6.
    #[track_caller]
    #[must_use]
    pub fn echo(&self, kinds: &[Kind]) -> Echo {
        let names: Vec<String> = kinds.iter().map(Kind::to_string).collect();
        let mut words = vec!["postern-lab", "echo"];
        words.extend(names.iter().map(String::as_str));
        let mut process = self.spawn(&words);
        process.wait_for_line("ready", SOON);
        Echo(process)
    }

    /// Sends packets of `kind` to `server` until something comes back or three seconds are over.
    #[track_caller]
    #[must_use]
    pub fn probe(&self, kind: Kind, server: impl Into<IpAddr>) -> Probe {
        self.probe_words(kind, server.into(), &["--for-ms", "3000"])
    }

    /// Sends one packet and waits 0.4 s for an answer: for probes that should be answered by nobody.
    #[track_caller]
    #[must_use]
    pub fn knock(&self, kind: Kind, server: impl Into<IpAddr>) -> Probe {
        self.probe_words(kind, server.into(), &["--for-ms", "400", "--once"])
    }

    /// Sends one packet and waits ten seconds for an answer: for one that should come, and to one packet.
    #[track_caller]
    #[must_use]
    pub fn ask(&self, kind: Kind, server: impl Into<IpAddr>) -> Probe {
        self.probe_words(kind, server.into(), &["--for-ms", "10000", "--once"])
    }

    #[track_caller]
    fn probe_words(&self, kind: Kind, server: IpAddr, more: &[&str]) -> Probe {
        let (kind, server) = (kind.to_string(), server.to_string());
        let mut words = vec!["postern-lab", "probe", &kind, &server];
        words.extend_from_slice(more);
        let text = self.ok(&words);
        serde_json::from_str(&text).expect("a probe tells its result as JSON")
    }

    /// A flow of 20 packets a second to `server`, answered by its [`Echo`].
    #[track_caller]
    #[must_use]
    pub fn flow(&self, kind: Kind, server: impl Into<IpAddr>) -> Flow {
        self.flow_at(kind, server, 20)
    }

    /// The same with `hz` packets a second.
    #[track_caller]
    #[must_use]
    pub fn flow_at(&self, kind: Kind, server: impl Into<IpAddr>, hz: u32) -> Flow {
        let (kind, server, hz) = (kind.to_string(), server.into().to_string(), hz.to_string());
        Flow(self.spawn(&["postern-lab", "flow", &kind, &server, "--hz", &hz]))
    }
}
