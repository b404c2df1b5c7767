//! `postern-lab hostile`: a web process that somebody has taken over, at the daemon's door. It has the owner's ticket, for he is
//! logged in, and says whatever it likes.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use lexopt::prelude::*;
use postern::door::messages::{MAX_FRAME, VERSION};
use postern::settings::keys;
use serde_json::{Value as Json, json};

use crate::random::Random;

/// What is tried as the value of every setting.
const VALUES: [&str; 12] = [
    "",
    "\"; flush ruleset; #",
    "lan0\n\tadd rule inet foreign kept accept",
    "} add table inet mine {",
    "../../../etc/passwd",
    "$(touch /run/intruder)",
    "internet0",
    "0.0.0.0/0",
    "-1",
    "99999999999999999999",
    "\u{0}\u{1b}[2J\u{202e}",
    "true",
];

/// Requests in every form, each of which needs more than there is: no ticket, another side, the password again.
const REQUESTS: [&str; 26] = [
    "{\"do\":\"claim_code\"}",
    "{\"do\":\"stop\"}",
    "{\"do\":\"settings\"}",
    "{\"do\":\"status\"}",
    "{\"do\":\"export\"}",
    "{\"do\":\"logins\"}",
    "{\"do\":\"rules\"}",
    "{\"do\":\"mend\"}",
    "{\"do\":\"claim\",\"code\":\"\",\"password\":\"a new password\"}",
    "{\"do\":\"login\",\"password\":\"not the password\"}",
    "{\"do\":\"backup\",\"owner\":\"\",\"password\":\"a password\"}",
    "{\"do\":\"restart\",\"owner\":\"\"}",
    "{\"do\":\"prove\",\"owner\":\"\"}",
    "{\"do\":\"reset\",\"owner\":\"\",\"word\":\"reset\"}",
    "{\"do\":\"password\",\"old\":\"\",\"new\":\"a new password\"}",
    "{\"do\":\"change\",\"base_revision\":null,\"patch\":[],\"comment\":\"\"}",
    "{\"do\":\"import\",\"text\":\"role = 5\",\"dry\":false,\"base_revision\":null}",
    "{\"do\":\"try\",\"tool\":\"ping\",\"target\":\"-f 127.0.0.1; id\"}",
    "{\"do\":\"end_connections\",\"mac\":\"02:00:00:00:01:65'; drop\"}",
    "{\"do\":\"end_session\",\"id\":\"tcp 0.0.0.0 0.0.0.0\"}",
    "{\"do\":\"go_back\",\"revision\":-9223372036854775808}",
    "{\"do\":\"history\",\"limit\":4294967295}",
    "{\"do\":\"set_device\",\"base_revision\":null,\"mac\":\"\",\"name\":\"<script>\",\"address\":\"0.0.0.0\"}",
    "{\"do\":\"end_login\",\"id\":18446744073709551615}",
    "{\"do\":\"ports\",\"ask\":\"yes\"}",
    "{\"do\":\"sessions\",\"filter\":{\"page\":4294967295}}",
];

/// Says the crafted messages at the socket, or `--random N` ones, and tells how many were answered by what; and the ticket, if it still
/// opens anything.
///
/// # Errors
/// Wrong usage, or a door that does not open.
pub(super) fn hostile(words: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
    let (mut door, mut password, mut ticket, mut random, mut seed) = (None, String::new(), None, 0, 1);
    while let Some(word) = words.next()? {
        match word {
            Value(path) if door.is_none() => door = Some(path.string()?),
            Long("password") => password = words.value()?.string()?,
            Long("ticket") => ticket = Some(words.value()?.string()?),
            Long("random") => random = words.value()?.parse()?,
            Long("seed") => seed = words.value()?.parse()?,
            other => return Err(other.unexpected()),
        }
    }
    let door =
        door.ok_or("usage: postern-lab hostile SOCKET --password P|--ticket T [--random N --seed N]")?;
    let mut caller = Caller::at(door, &password, ticket).map_err(|e| e.to_string())?;
    match random {
        0 => crafted(&mut caller),
        _ => mutated(&mut caller, random, &mut Random::from(seed)),
    }
    .map_err(|e| format!("the door does not open any more: {e}"))?;
    let ticket = caller.opens_anything().map_err(|e| e.to_string())?.then_some(&caller.ticket);
    super::tell(&json!({ "sent": caller.sent, "answers": caller.answers, "ticket": ticket }));
    Ok(())
}

/// One caller, who comes again whenever he is thrown out.
struct Caller {
    door: String,
    stream: UnixStream,
    ticket: String,
    sent: u64,
    answers: BTreeMap<String, u64>,
}

impl Caller {
    /// With the ticket of one who came before, or else with one for the password.
    fn at(door: String, password: &str, ticket: Option<String>) -> std::io::Result<Self> {
        let stream = connect(&door)?;
        let known = ticket.is_some();
        let ticket = ticket.unwrap_or_default();
        let mut caller = Self { door, stream, ticket, sent: 0, answers: BTreeMap::new() };
        if known {
            return Ok(caller);
        }
        let call = json!({ "request": { "do": "login", "password": password }, "attended": true });
        let until = Instant::now() + Duration::from_secs(20);
        let answer = loop {
            caller.stream.write_all(&frame(call.to_string().as_bytes()))?;
            let answer = answer(&mut caller.stream)?;
            // Whoever came before has guessed passwords.
            if answer["kind"] != "wait" || Instant::now() > until {
                break answer;
            }
            std::thread::sleep(Duration::from_millis(300));
        };
        caller.ticket = answer["ticket"].as_str().unwrap_or_default().to_owned();
        if caller.ticket.is_empty() {
            return Err(std::io::Error::other(format!("no ticket: {answer}")));
        }
        Ok(caller)
    }

    /// Some of what was said may have ended the login.
    fn opens_anything(&mut self) -> std::io::Result<bool> {
        let call = json!({ "ticket": self.ticket, "request": { "do": "settings" } });
        let mut stream = connect(&self.door)?;
        stream.write_all(&frame(call.to_string().as_bytes()))?;
        Ok(answer(&mut stream)?["is"] == "settings")
    }

    /// Bytes as they are. Whoever is thrown out connects again: that must always work.
    fn say(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.sent += 1;
        let told = self.stream.write_all(bytes).and_then(|()| answer(&mut self.stream));
        let kind = match &told {
            Ok(answer) => {
                let kind = answer["kind"].as_str().unwrap_or_default();
                format!("{} {kind}", answer["is"].as_str().unwrap_or_default()).trim_end().to_owned()
            }
            Err(e) if matches!(e.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                "silence".to_owned()
            }
            Err(_) => "thrown out".to_owned(),
        };
        *self.answers.entry(kind).or_default() += 1;
        if told.is_err() {
            self.stream = connect(&self.door)?;
        }
        Ok(())
    }
}

fn connect(door: &str) -> std::io::Result<UnixStream> {
    let mut stream = UnixStream::connect(door)?;
    stream.set_read_timeout(Some(Duration::from_secs(60)))?;
    stream.write_all(&frame(json!({ "version": VERSION }).to_string().as_bytes()))?;
    Ok(stream)
}

fn frame(body: &[u8]) -> Vec<u8> {
    let mut bytes = u32::try_from(body.len()).unwrap_or(u32::MAX).to_be_bytes().to_vec();
    bytes.extend_from_slice(body);
    bytes
}

fn answer(from: &mut UnixStream) -> std::io::Result<Json> {
    let mut header = [0; 4];
    from.read_exact(&mut header)?;
    let mut body = vec![0; u32::from_be_bytes(header) as usize];
    from.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

/// Every setting with every value, every request without a ticket and with a wrong one, and what is no message at all.
fn crafted(caller: &mut Caller) -> std::io::Result<()> {
    let ticket = caller.ticket.clone();
    for key in keys::ALL {
        for value in VALUES {
            let patch = json!([{ "key": key.name, "value": value }]);
            let change = json!({ "do": "change", "base_revision": null, "patch": patch, "comment": value });
            let call = json!({ "ticket": ticket, "attended": true, "request": change });
            caller.say(&frame(call.to_string().as_bytes()))?;
        }
    }
    for request in REQUESTS {
        for ticket in ["null", "\"\"", "\"00\"", &format!("\"{ticket}\"")] {
            caller.say(&frame(format!("{{\"ticket\":{ticket},\"request\":{request}}}").as_bytes()))?;
        }
    }
    let deep = "[".repeat(10_000);
    let doubled = format!("{{\"ticket\":\"{ticket}\",\"ticket\":null,\"request\":{{\"do\":\"export\"}}}}");
    let odd: [&[u8]; 12] = [
        b"",
        b"{}",
        b"null",
        b"\xff\xfe",
        deep.as_bytes(),
        doubled.as_bytes(),
        b"{\"request\":{\"do\":\"export\"},\"admin\":true}",
        b"{\"request\":{\"do\":\"no_such\"}}",
        b"{\"request\":{\"do\":\"stop\"}}{\"request\":{\"do\":\"stop\"}}",
        b"{\"request\":{\"do\":\"history\",\"limit\":1e400}}",
        b"{\"request\":{\"do\":\"history\",\"limit\":-1}}",
        b"{\"request\":{\"do\":\"greeting\"},\"source\":\"192.168.1.1; drop\"}",
    ];
    for body in odd {
        caller.say(&frame(body))?;
    }
    // A length that lies, and one that nobody may have.
    for length in [u32::MAX, u32::try_from(MAX_FRAME).unwrap_or(u32::MAX) + 1, 1 << 20, (1 << 20) + 1] {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(&vec![b' '; (length as usize).min(2 << 20)]);
        caller.say(&bytes)?;
    }
    Ok(())
}

/// Valid messages with a few bytes changed, cut or doubled; a few of them with the owner's ticket.
fn mutated(caller: &mut Caller, number: u64, chance: &mut Random) -> std::io::Result<()> {
    let ticket = caller.ticket.clone();
    for _ in 0..number {
        let request = REQUESTS[pick(chance, REQUESTS.len())];
        let ticket = if chance.below(50) == 0 { ticket.as_str() } else { "00" };
        let mut body =
            format!("{{\"ticket\":\"{ticket}\",\"attended\":true,\"request\":{request}}}").into_bytes();
        for _ in 0..chance.below(4) {
            if body.is_empty() {
                break;
            }
            let at = pick(chance, body.len());
            match chance.below(4) {
                0 => body[at] = u8::try_from(chance.below(256)).unwrap_or_default(),
                1 => drop(body.remove(at)),
                2 => body.insert(at, body[at]),
                _ => body.truncate(at.max(1)),
            }
        }
        caller.say(&frame(&body))?;
    }
    Ok(())
}

fn pick(chance: &mut Random, of: usize) -> usize {
    usize::try_from(chance.below(of as u64)).unwrap_or_default()
}
