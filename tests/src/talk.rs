//! Many raw conversations over TCP at once, byte for byte: what no well-behaved client sends.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::process::Process;

/// Where the plan of a [`Talk`] lies while it is carried out.
const PLAN: &str = "/run/lab/talk";

/// What is said, by how many at once.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Talk {
    /// The server.
    pub to: SocketAddr,
    /// So many conversations at once.
    pub parallel: usize,
    /// Each one is ended after so many milliseconds.
    pub limit_ms: u64,
    /// Pause after each one, in milliseconds.
    pub pause_ms: u64,
    /// The conversations.
    pub all: Vec<Said>,
}

/// One conversation: a connection of its own.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Said {
    /// From this address of the host; none: whichever it chooses.
    pub from: Option<Ipv4Addr>,
    /// Sent one after the other; then it only listens.
    pub parts: Vec<Part>,
}

/// Some bytes, so many times.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Part {
    /// Each character is one byte: U+0000 to U+00FF.
    pub text: String,
    /// How often.
    pub times: u32,
    /// Pause after each time, in milliseconds.
    pub pause_ms: u64,
}

/// What came of one conversation.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Heard {
    /// Its number in the plan.
    pub n: usize,
    /// Status of each answer.
    pub statuses: Vec<u16>,
    /// The first bytes of all that was answered; each is one character.
    pub text: String,
    /// From the begin of the connection to the first byte, in milliseconds.
    pub first_ms: Option<u64>,
    /// To its end.
    pub end_ms: u64,
    /// The server closed it.
    pub closed: bool,
    /// Bytes that were sent.
    pub sent: u64,
    /// It could not be begun, or was reset.
    pub error: Option<String>,
}

impl Said {
    /// One request, as it stands.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self::default().then(text)
    }

    /// From this address.
    #[must_use]
    pub fn from(self, address: Ipv4Addr) -> Self {
        Self { from: Some(address), ..self }
    }

    /// And then this.
    #[must_use]
    pub fn then(self, text: impl Into<String>) -> Self {
        self.repeat(text, 1, 0)
    }

    /// And then this, so many times, with a pause after each.
    #[must_use]
    pub fn repeat(mut self, text: impl Into<String>, times: u32, pause_ms: u64) -> Self {
        self.parts.push(Part { text: text.into(), times, pause_ms });
        self
    }
}

impl Talk {
    /// With the admin page on plain HTTP, `parallel` at once, each for ten seconds at most.
    #[must_use]
    pub fn new(parallel: usize, all: Vec<Said>) -> Self {
        let to = SocketAddr::from(([192, 168, 1, 1], 80));
        Self { to, parallel, limit_ms: 10_000, pause_ms: 0, all }
    }
}

impl Heard {
    /// The first status; 0: there was no answer.
    #[must_use]
    pub fn status(&self) -> u16 {
        self.statuses.first().copied().unwrap_or_default()
    }

    /// First header of this name (in lower case) of the first answer.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        let head = self.text.split("\r\n\r\n").next()?;
        let known =
            |line: &&str| line.split(':').next().is_some_and(|known| known.eq_ignore_ascii_case(name));
        head.lines().skip(1).find(known)?.split_once(':').map(|(_, value)| value.trim())
    }
}

impl Host {
    /// Carries it out, to the end; in the order of the plan.
    ///
    /// # Panics
    /// When it takes longer than `limit`, or did not hear of all.
    #[track_caller]
    #[must_use]
    pub fn talk(&self, talk: &Talk, limit: Duration) -> Vec<Heard> {
        let mut process = self.talking(talk);
        let ended = process.wait_end(limit);
        assert!(
            ended.is_some_and(|status| status.success()),
            "it does not end: {}",
            process.err().join("\n")
        );
        let mut all = heard(&process);
        all.sort_by_key(|heard| heard.n);
        assert_eq!(all.len(), talk.all.len(), "{}", process.err().join("\n"));
        all
    }

    /// Begins it.
    ///
    /// # Panics
    /// When the plan cannot be written.
    #[track_caller]
    #[must_use]
    pub fn talking(&self, talk: &Talk) -> Process {
        let plan = format!("{PLAN}-{}", self.name);
        self.write(&plan, serde_json::to_vec(talk).expect("a plan can be written as JSON"));
        self.spawn(&["postern-lab", "talk", &plan])
    }

    /// Gives it these more addresses of the home's network.
    #[track_caller]
    pub fn more_addresses(&self, last: &[u8]) {
        let lines: Vec<String> =
            last.iter().map(|n| format!("addr add 192.168.1.{n}/24 dev eth0\n")).collect();
        self.ok_with(&["ip", "-batch", "-"], &lines.concat());
    }
}

/// What has been heard so far.
#[must_use]
pub fn heard(process: &Process) -> Vec<Heard> {
    process.out().iter().filter_map(|line| serde_json::from_str(line).ok()).collect()
}

/// A number of which so many in a hundred are not greater.
#[must_use]
pub fn percentile(mut all: Vec<u64>, hundredth: usize) -> u64 {
    all.sort_unstable();
    let at = (all.len() * hundredth).div_ceil(100).saturating_sub(1);
    all.get(at).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_hundred_numbers_95_are_not_greater_than_the_95th() {
        assert_eq!(percentile((1..=100).rev().collect(), 95), 95);
        assert_eq!((percentile(vec![7], 50), percentile(Vec::new(), 95)), (7, 0));
    }

    #[test]
    fn a_header_is_found_whatever_its_letters_are() {
        let text = "HTTP/1.1 303 See Other\r\nLocation: /login\r\n\r\nlocation: x".to_owned();
        let heard = Heard { text, ..Heard::default() };
        assert_eq!((heard.header("location"), heard.header("x")), (Some("/login"), None));
    }
}
