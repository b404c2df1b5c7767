//! What goes through the tunnels.

use super::plan::{Pattern, Side};
use super::wire::Tag;
use super::world::{Event, SECOND, Time, World};

/// What a packet is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub(super) enum What {
    /// A question, and its answer.
    Ask,
    Answer,
    /// It came: no answer is needed.
    Ack,
    /// Send me a stream; its packets.
    Stream,
    Data,
    /// A stream of the client.
    Up,
    /// The server speaks first; the client says that it heard.
    Hello,
    HelloAck,
    /// Messages of an IKE exchange.
    Request,
    Response,
    Third,
}

impl What {
    const ALL: [Self; 11] = [
        Self::Ask,
        Self::Answer,
        Self::Ack,
        Self::Stream,
        Self::Data,
        Self::Up,
        Self::Hello,
        Self::HelloAck,
        Self::Request,
        Self::Response,
        Self::Third,
    ];

    pub fn read(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|what| *what as u8 == byte)
    }
}

/// A TCP retransmits after 1 s, doubling (RFC 6298 section 2); ours, give or take a tenth, at most every 8 s, so that a test need not wait for ever.
const MOST_DOUBLINGS: u32 = 3;
/// Questions of a conversation: the handshake, and seven more.
const QUESTIONS: u32 = 8;
/// A client whose stream has stopped for so long asks again.
const STOPPED: Time = 3 * SECOND;

/// Where a session's traffic stands.
#[derive(Debug)]
pub(super) struct Traffic {
    pattern: Pattern,
    pub begun: bool,
    /// The question that waits for its answer, or the next number.
    number: u32,
    waiting: bool,
    tries: u32,
    /// Older ticks are void.
    serial: u64,
    /// When the stream was last heard.
    heard: Option<Time>,
    /// The server streams; older stream events are void.
    stream: Option<u64>,
    streamed: u32,
    /// The newest pair of SAs on which the client has heard the server speak first.
    hello: u32,
    /// The server has acknowledged some of the client's stream.
    acknowledged: bool,
}

impl Traffic {
    pub fn new(pattern: Pattern) -> Self {
        Self {
            pattern,
            begun: false,
            number: 0,
            waiting: false,
            tries: 0,
            serial: 0,
            heard: None,
            stream: None,
            streamed: 0,
            hello: 0,
            acknowledged: false,
        }
    }
}

impl World {
    /// The client's next packet, or the same again.
    pub fn tick(&mut self, session: usize, serial: u64) {
        let now = self.now();
        let hz = self.plan.stream_hz.clamp(1, 1000);
        // No two computers' timers agree: without this all clients that began together would go on in step for ever.
        let tries = self.sessions[session].traffic.tries.min(MOST_DOUBLINGS);
        let backoff = (SECOND << tries) * (900 + self.random.below(200)) / 1000;
        let it = &mut self.sessions[session];
        if it.gone[0] || it.traffic.serial != serial {
            return;
        }
        let traffic = &mut it.traffic;
        let (what, next) = match traffic.pattern {
            Pattern::Ping => {
                traffic.number += 1;
                (Some(What::Ask), backoff)
            }
            Pattern::Up => {
                traffic.number += 1;
                (Some(What::Up), SECOND / hz)
            }
            Pattern::Down if traffic.heard.is_some_and(|heard| now < heard + STOPPED) => {
                traffic.tries = 0;
                (None, SECOND)
            }
            Pattern::Down => {
                traffic.tries += 1;
                (Some(What::Stream), backoff)
            }
            Pattern::Talk | Pattern::Idle => {
                traffic.tries += 1;
                traffic.waiting = true;
                (Some(What::Ask), backoff)
            }
        };
        let number = traffic.number;
        if let Some(what) = what {
            self.send_esp(session, Side::Client, what, number);
        }
        self.after(next, Event::Tick(session, serial));
    }

    /// A server's packet has reached its client.
    pub fn client_reads(&mut self, tag: Tag) {
        let (session, now) = (tag.session as usize, self.now());
        match What::read(tag.what) {
            Some(What::Answer) => self.client_is_answered(session, tag.number),
            Some(What::Data) => {
                self.sessions[session].traffic.heard = Some(now);
                if tag.number.is_multiple_of(10) {
                    self.send_esp(session, Side::Client, What::Ack, tag.number);
                }
            }
            Some(What::Hello) => self.send_esp(session, Side::Client, What::HelloAck, tag.sa),
            _ => {}
        }
    }

    fn client_is_answered(&mut self, session: usize, number: u32) {
        let pause = match self.sessions[session].traffic.pattern {
            Pattern::Talk => SECOND + self.random.below(2 * SECOND),
            Pattern::Idle => 20 * SECOND + self.random.below(40 * SECOND),
            _ => return,
        };
        let traffic = &mut self.sessions[session].traffic;
        if !traffic.waiting || traffic.number != number {
            return;
        }
        let talk = traffic.pattern == Pattern::Talk;
        traffic.serial += 1;
        traffic.number += 1;
        traffic.tries = 0;
        let serial = traffic.serial;
        if talk && number.is_multiple_of(QUESTIONS) {
            self.send_esp(session, Side::Client, What::Ack, number);
        }
        if talk && !(number + 1).is_multiple_of(QUESTIONS) {
            self.tick(session, serial);
        } else {
            self.sessions[session].traffic.waiting = false;
            self.after(pause, Event::Tick(session, serial));
        }
    }

    /// A client's packet has reached its server.
    pub fn server_reads(&mut self, tag: Tag) {
        let session = tag.session as usize;
        let rtt = self.rtt(session);
        match What::read(tag.what) {
            Some(What::Ask) => {
                let talk = self.sessions[session].traffic.pattern == Pattern::Talk;
                // A server answers what it is asked within a conversation at once.
                let delay = if talk && !tag.number.is_multiple_of(QUESTIONS) { 1000 + rtt / 10 } else { rtt };
                self.after(delay, Event::Reply(session, What::Answer, tag.number));
            }
            // The first that comes and every fourth.
            Some(What::Up)
                if tag.number.is_multiple_of(4) || !self.sessions[session].traffic.acknowledged =>
            {
                self.sessions[session].traffic.acknowledged = true;
                self.after(rtt, Event::Reply(session, What::Ack, tag.number));
            }
            Some(What::Stream) => {
                let traffic = &mut self.sessions[session].traffic;
                let serial = traffic.stream.map_or(0, |serial| serial + 1);
                traffic.stream = Some(serial);
                self.after(rtt, Event::Stream(session, serial));
            }
            Some(What::HelloAck) => {
                let traffic = &mut self.sessions[session].traffic;
                traffic.hello = traffic.hello.max(tag.number);
            }
            _ => {}
        }
    }

    /// The server answers.
    pub fn reply(&mut self, session: usize, what: What, number: u32) {
        self.send_esp(session, Side::Server, what, number);
    }

    /// The server's stream goes on until the server notices that nobody is there.
    pub fn stream(&mut self, session: usize, serial: u64) {
        let hz = self.plan.stream_hz.clamp(1, 1000);
        let it = &mut self.sessions[session];
        if it.gone[1] || it.traffic.stream != Some(serial) {
            return;
        }
        let number = it.traffic.streamed;
        it.traffic.streamed += 1;
        self.send_esp(session, Side::Server, What::Data, number);
        self.after(SECOND / hz, Event::Stream(session, serial));
    }

    /// The server speaks first on a pair of SAs, again and again until the client says that it heard.
    pub fn hello(&mut self, sa: usize, times: u32) {
        let session = self.sas[sa].session;
        let heard = self.sessions[session].traffic.hello as usize >= sa;
        if !heard && times <= MOST_DOUBLINGS {
            self.send_on(sa, Side::Server, What::Hello, times);
            self.after(SECOND << times, Event::Hello(sa, times + 1));
        }
    }
}
