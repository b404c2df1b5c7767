//! What is played: every parameter of a run, and the named scenarios.

use std::time::Duration;

/// An end of a tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// Behind the router.
    Client,
    /// On the internet.
    Server,
}

impl Side {
    /// The other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::Client => Self::Server,
            Self::Server => Self::Client,
        }
    }
}

/// Where the keys of the tunnels come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys {
    /// IKEv2: `IKE_SA_INIT`, `IKE_AUTH`, rekeys by `CREATE_CHILD_SA`.
    Ikev2,
    /// IKEv1: main mode, quick mode, rekeys by quick mode.
    Ikev1,
    /// No IKE at all: configured by hand at both ends, ESP only.
    Static,
}

/// Who sends the first packet on a new pair of SAs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum First {
    /// The server keeps to the old pair until the client has used the new one.
    Client,
    /// The server sends at once; the client keeps to the old pair until then.
    Server,
    /// Each end uses the new pair as soon as it has it.
    Either,
}

/// What a client and its server do with their tunnel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pattern {
    /// One packet a second, answered after the round trip.
    Ping,
    /// Conversations like TCP's: a handshake, quick requests and answers, a pause; retransmitted after 1 s, doubling.
    Talk,
    /// The client asks once, the server streams, the client acknowledges every tenth.
    Down,
    /// The client streams, the server acknowledges every fourth.
    Up,
    /// One question, then silence for 20 to 60 s.
    Idle,
}

/// How pairs of SAs are renewed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rekey {
    /// Each session is rekeyed after a random time between these two, again and again.
    pub every: (Duration, Duration),
    /// Who begins it; none: either, by chance.
    pub by: Option<Side>,
    /// Who speaks first on the new pair.
    pub first: First,
}

/// One run.
#[derive(Debug, Clone)]
pub struct Plan {
    /// LAN addresses in use, 1 to 250, each by one device at a time.
    pub clients: usize,
    /// Servers, 1 to 100.
    pub servers: usize,
    /// Of these every client calls so many, 1 to `servers`.
    pub servers_each: usize,
    /// Chance that can be repeated: two runs with the same number make the same choices, though the kernel's timing differs.
    pub seed: u64,
    /// How long it goes on.
    pub time: Duration,
    /// It ends before that when so many packets have been sent.
    pub packets: Option<u64>,
    /// Clients start at a random moment within this.
    pub spread: Duration,
    /// Of a thousand packets, so many are lost at random before they are sent.
    pub loss: u64,
    /// Round trip times, from and to; each session has its own.
    pub rtt: (Duration, Duration),
    /// Kinds of keys; clients take turns.
    pub keys: Vec<Keys>,
    /// What the clients do; they take turns.
    pub patterns: Vec<Pattern>,
    /// Packets a second of a stream, 1 to 1000.
    pub stream_hz: u64,
    /// None: the first pair of SAs stays.
    pub rekey: Option<Rekey>,
    /// After a random time between these two a client leaves without a word; none: all stay.
    pub stay: Option<(Duration, Duration)>,
    /// How long its address is unused then.
    pub away: (Duration, Duration),
    /// Of a hundred addresses that are used again, so many are by another device.
    pub reuse: u64,
    /// All servers use the same SPI numbers, and so do the clients towards them.
    pub same_spi: bool,
    /// One packet in so many that reach a server is answered by an ICMP "fragmentation needed" from the internet; 0: none is.
    pub too_big: u64,
}

impl Default for Plan {
    fn default() -> Self {
        let ms = Duration::from_millis;
        Self {
            clients: 40,
            servers: 1,
            servers_each: 1,
            seed: 1,
            time: Duration::from_secs(20),
            packets: None,
            spread: ms(200),
            loss: 0,
            rtt: (ms(10), ms(80)),
            keys: vec![Keys::Ikev2],
            patterns: vec![Pattern::Ping, Pattern::Talk, Pattern::Down, Pattern::Up],
            stream_hz: 10,
            rekey: None,
            stay: None,
            away: (ms(500), ms(4000)),
            reuse: 0,
            same_spi: false,
            too_big: 0,
        }
    }
}

/// Names of the scenarios that [`Plan::named`] knows.
pub const SCENARIOS: [&str; 12] = [
    "start",
    "start-static",
    "start-ikev1",
    "rekey",
    "rekey-client-client",
    "rekey-client-server",
    "rekey-server-client",
    "rekey-server-server",
    "leave",
    "two-servers",
    "icmp",
    "million",
];

impl Plan {
    /// A scenario by its name in [`SCENARIOS`]; none: there is none of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        use {First as F, Side as S};
        Some(match name {
            "start" => Self::default(),
            "start-static" => Self { keys: vec![Keys::Static], ..Self::default() },
            "start-ikev1" => Self { keys: vec![Keys::Ikev1], ..Self::default() },
            "rekey" => Self::rekeyed(None, F::Either),
            "rekey-client-client" => Self::rekeyed(Some(S::Client), F::Client),
            "rekey-client-server" => Self::rekeyed(Some(S::Client), F::Server),
            "rekey-server-client" => Self::rekeyed(Some(S::Server), F::Client),
            "rekey-server-server" => Self::rekeyed(Some(S::Server), F::Server),
            "leave" => Self::leaving(),
            "two-servers" => Self::twins(),
            "icmp" => {
                Self { too_big: 3, keys: vec![Keys::Ikev2, Keys::Ikev1], ..Self::rekeyed(None, F::Client) }
            }
            "million" => Self::million(),
            _ => return None,
        })
    }

    /// Rekeys every few seconds, begun by `by`, with `first` first on the new pair.
    #[must_use]
    pub fn rekeyed(by: Option<Side>, first: First) -> Self {
        let every = (Duration::from_secs(12), Duration::from_secs(30));
        Self {
            rekey: Some(Rekey { every, by, first }),
            keys: vec![Keys::Ikev2, Keys::Ikev2, Keys::Ikev1],
            time: Duration::from_secs(60),
            ..Self::default()
        }
    }

    /// Clients leave without a word and come back; every second address is taken over by another device.
    #[must_use]
    pub fn leaving() -> Self {
        let stay = Some((Duration::from_secs(4), Duration::from_secs(15)));
        Self {
            stay,
            reuse: 50,
            loss: 10,
            keys: vec![Keys::Ikev2, Keys::Static],
            ..Self::rekeyed(None, First::Client)
        }
    }

    /// Two servers with the same SPI numbers, and every client has a tunnel to both.
    #[must_use]
    pub fn twins() -> Self {
        Self { servers: 2, servers_each: 2, same_spi: true, ..Self::rekeyed(None, First::Client) }
    }

    /// A million packets of 250 clients to one server that all start within 2 s, with losses and rekeys: 250 clients with the
    /// hour that is usual would make one in 14 s, these make one a second.
    #[must_use]
    pub fn million() -> Self {
        Self {
            clients: 250,
            packets: Some(1_000_000),
            time: Duration::from_secs(600),
            spread: Duration::from_secs(2),
            stream_hz: 60,
            loss: 2,
            rekey: Some(Rekey {
                every: (Duration::from_secs(120), Duration::from_secs(360)),
                by: None,
                first: First::Client,
            }),
            ..Self::default()
        }
    }
}
