//! One session as a row of the table.

use postern::door::messages::{Clock, Kind, Session, SessionState};

use crate::chart::{Line, line};
use crate::words::bytes;

/// In words; everything that comes from outside is text.
pub(crate) struct Row {
    pub id: String,
    pub device: String,
    pub address: String,
    pub server: String,
    /// Its address, where it has a name.
    pub server_address: String,
    pub kind: &'static str,
    /// Call IDs, SPIs, ports.
    pub marks: Vec<String>,
    /// Class, shape and word of the chip, and a sentence.
    pub state: (&'static str, &'static str, &'static str, &'static str),
    /// Time, and day.
    pub since: (String, String),
    pub traffic: Option<(String, String)>,
    pub idle: String,
    pub line: Option<Line>,
    pub can_end: bool,
    /// What else ends with it.
    pub with_it: &'static str,
}

impl Row {
    pub(crate) fn of(session: &Session, clock: &Clock) -> Self {
        let (class, shape) = match session.state {
            SessionState::Open => ("working", "\u{25cf}"),
            SessionState::Calling | SessionState::Halfway => ("ready", "\u{25cb}"),
            SessionState::Waiting | SessionState::Pairing => ("differs", "\u{25d0}"),
            SessionState::MustRedial => ("differs", "\u{25b2}"),
            SessionState::Ending => ("inactive", "\u{2013}"),
        };
        let address = session.device.address.to_string();
        Self {
            id: session.id.clone(),
            device: session.device.name.clone().unwrap_or_else(|| address.clone()),
            address: match &session.device.name {
                Some(_) => address,
                None => session.device.mac.clone().unwrap_or_default(),
            },
            server: session.server_name.clone().unwrap_or_else(|| session.server.to_string()),
            server_address: session
                .server_name
                .as_ref()
                .map_or_else(String::new, |_| session.server.to_string()),
            kind: session.kind.title(),
            marks: marks(session),
            state: (class, shape, session.state.title(), session.state.sentence()),
            since: session
                .since
                .map_or_else(|| ("not known".to_owned(), String::new()), |at| since(at, clock)),
            traffic: session.traffic.map(|t| (bytes(t.sent), bytes(t.received))),
            idle: session.idle.map_or_else(|| "not known".to_owned(), ago),
            line: line(&session.samples, 110, 26),
            can_end: session.can_end,
            with_it: match session.kind {
                Kind::Pptp | Kind::Gre => ", with every PPTP call of the two",
                _ => "",
            },
        }
    }
}

/// Time and day.
fn since(at: i64, clock: &Clock) -> (String, String) {
    let text = clock.say(at);
    let (day, time) = text.split_once(' ').unwrap_or(("", &text));
    (time.to_owned(), day.to_owned())
}

fn ago(seconds: u64) -> String {
    match seconds {
        0..3 => "now".to_owned(),
        3..120 => format!("{seconds} s ago"),
        120..7200 => format!("{} min ago", seconds / 60),
        _ => format!("{} h ago", seconds / 3600),
    }
}

fn marks(session: &Session) -> Vec<String> {
    let mut all: Vec<String> =
        session.calls.iter().map(|call| format!("Call IDs {} and {}", call.device, call.server)).collect();
    // A tunnel has two; what was rekeyed stays known for an hour.
    for sent in [true, false] {
        let spis: Vec<_> = session.spis.iter().filter(|spi| spi.sent == sent).collect();
        if let Some(spi) = spis.last() {
            let way = if sent { "out" } else { "in" };
            let more = if spis.len() > 1 { format!(", {} in all", spis.len()) } else { String::new() };
            all.push(format!("SPI {way} {:04x} {:04x}{more}", spi.number >> 16, spi.number & 0xffff));
        }
    }
    all.extend(session.server_port.map(|port| format!("port {port}")));
    all
}
