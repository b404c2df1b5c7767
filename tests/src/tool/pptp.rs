//! `postern-lab pptp-server` and `postern-lab pptp-call`: PPTP's control messages and GRE without PPP (RFC 2637), for what no
//! real program does: twenty callers with one Call ID, a call that is reset, a server that goes on sending.

use std::io::{Read, Result, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use lexopt::prelude::*;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, SocketType, bind, connect, ipproto, socket};
use serde_json::json;

use super::{USAGE, tell};
use crate::packet::without_header;
use crate::wait::now_ms;

/// Between two GRE packets of a call, either way.
const PACE: Duration = Duration::from_millis(100);
/// Start-Control-Connection-Request and -Reply, Outgoing-Call-Request and -Reply, Call-Clear-Request,
/// Call-Disconnect-Notify (RFC 2637 section 2), each with its length.
const START: (u16, usize) = (1, 156);
const STARTED: (u16, usize) = (2, 156);
const CALL: (u16, usize) = (7, 168);
const CALLED: (u16, usize) = (8, 32);
const CLEAR: (u16, usize) = (12, 16);
const CLEARED: (u16, usize) = (13, 148);

/// How a caller ends its call.
#[derive(Debug, Clone, Copy)]
enum End {
    /// The control connection is closed.
    Fin,
    /// It is reset.
    Reset,
    /// Call-Clear-Request; the control connection stays open.
    Clear,
}

impl FromStr for End {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "fin" => Ok(Self::Fin),
            "rst" => Ok(Self::Reset),
            "clear" => Ok(Self::Clear),
            _ => Err(format!("`{text}` is not fin, rst or clear")),
        }
    }
}

/// A control message: its fields lie behind the header of 12 bytes.
fn message((kind, length): (u16, usize), fields: &[u16]) -> Vec<u8> {
    let mut bytes = vec![0, u8::try_from(length).unwrap_or_default(), 0, 1, 0x1a, 0x2b, 0x3c, 0x4d];
    bytes.extend(kind.to_be_bytes());
    bytes.extend([0; 2]);
    fields.iter().for_each(|field| bytes.extend(field.to_be_bytes()));
    bytes.resize(length, 0);
    bytes
}

/// The next message: its kind and its fields.
fn next(stream: &mut TcpStream) -> Result<(u16, Vec<u16>)> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut rest = vec![0; usize::from(u16::from_be_bytes(length)).saturating_sub(2)];
    stream.read_exact(&mut rest)?;
    let words: Vec<u16> = rest.chunks_exact(2).map(|two| u16::from_be_bytes([two[0], two[1]])).collect();
    let kind = words.get(3).copied().unwrap_or_default();
    Ok((kind, words.get(5..).unwrap_or_default().to_vec()))
}

/// A GRE packet of a call; its payload is the sender's own Call ID.
fn gre(call: u16, own: u16, sequence: u32) -> Vec<u8> {
    let mut bytes = vec![0x30, 0x01, 0x88, 0x0b, 0, 4];
    bytes.extend(call.to_be_bytes());
    bytes.extend(sequence.to_be_bytes());
    bytes.extend([0x5a; 2]);
    bytes.extend(own.to_be_bytes());
    bytes
}

/// Call ID and payload of a GRE packet behind its IPv4 header.
fn read_gre(bytes: &[u8]) -> Option<(u16, u16)> {
    let packet = without_header(bytes, true);
    let word = |at: usize| Some(u16::from_be_bytes(packet.get(at..at + 2)?.try_into().ok()?));
    (word(0)? == 0x3001 && word(12)? == 0x5a5a).then_some(())?;
    Some((word(6)?, word(14)?))
}

fn raw(address: Ipv4Addr) -> Result<UdpSocket> {
    let socket = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::GRE))?;
    bind(&socket, &SocketAddrV4::new(address, 0))?;
    Ok(UdpSocket::from(socket))
}

/// A call as the server knows it.
#[derive(Debug, Clone, Copy)]
struct Known {
    caller: IpAddr,
    /// The caller's Call ID, as the server sees it.
    theirs: u16,
    ours: u16,
}

type Calls = Arc<Mutex<Vec<Known>>>;

fn all(calls: &Calls) -> MutexGuard<'_, Vec<Known>> {
    calls.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes every call, gives each a Call ID of its own, and sends GRE to it until killed, whatever becomes of the call.
pub(super) fn server(words: &mut lexopt::Parser) -> std::result::Result<(), lexopt::Error> {
    let port: u16 = match words.next()? {
        Some(Value(port)) => port.parse()?,
        _ => return Err(USAGE.into()),
    };
    serve(port).map_err(|error| error.to_string().into())
}

fn serve(port: u16) -> Result<()> {
    let calls = Calls::default();
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port))?;
    let gre_socket = raw(Ipv4Addr::UNSPECIFIED)?;
    let (sender, known) = (gre_socket.try_clone()?, calls.clone());
    std::thread::spawn(move || {
        for sequence in 0.. {
            let now = all(&known).clone();
            for call in now {
                let _ = sender.send_to(&gre(call.theirs, call.ours, sequence), (call.caller, 0));
            }
            std::thread::sleep(PACE);
        }
    });
    std::thread::spawn(move || {
        let mut bytes = [0; 2048];
        loop {
            let Ok((length, from)) = gre_socket.recv_from(&mut bytes) else { continue };
            if let Some((call, payload)) = read_gre(&bytes[..length]) {
                tell(&json!({ "call": call, "payload": payload, "from": from.ip(), "at": now_ms() }));
            }
        }
    });
    tell(&json!({ "ready": true }));
    for stream in listener.incoming().flatten() {
        let calls = calls.clone();
        std::thread::spawn(move || control(stream, &calls));
    }
    Ok(())
}

fn control(mut stream: TcpStream, calls: &Calls) -> Result<()> {
    let caller = stream.peer_addr()?.ip();
    loop {
        let (kind, fields) = next(&mut stream)?;
        let first = fields.first().copied().unwrap_or_default();
        let answer = if kind == START.0 {
            message(STARTED, &[0x0100, 0x0100])
        } else if kind == CALL.0 {
            let ours = {
                let mut all = all(calls);
                let ours = 1000 + u16::try_from(all.len()).unwrap_or_default();
                all.push(Known { caller, theirs: first, ours });
                ours
            };
            message(CALLED, &[ours, first, 0x0100])
        } else if kind == CLEAR.0 {
            let known = all(calls).iter().rev().find(|c| c.caller == caller && c.theirs == first).copied();
            message(CLEARED, &[known.map_or(0, |call| call.ours), 0x0400])
        } else {
            continue;
        };
        stream.write_all(&answer)?;
    }
}

/// Calls from `from`, sends GRE, tells every GRE packet of its call that comes in, ends the call after a while if told to,
/// and goes on listening.
pub(super) fn call(words: &mut lexopt::Parser) -> std::result::Result<(), lexopt::Error> {
    let (mut server, mut from, mut end) = (None, Ipv4Addr::UNSPECIFIED, None);
    let (mut id, mut after) = (7, Duration::from_secs(2));
    while let Some(word) = words.next()? {
        match word {
            Value(text) if server.is_none() => server = Some(text.parse::<SocketAddrV4>()?),
            Long("from") => from = words.value()?.parse()?,
            Long("id") => id = words.value()?.parse()?,
            Long("end") => end = Some(words.value()?.parse::<End>()?),
            Long("after-ms") => after = Duration::from_millis(words.value()?.parse()?),
            other => return Err(other.unexpected()),
        }
    }
    let server = server.ok_or(USAGE)?;
    dial(server, from, id, end.map(|end| (end, after))).map_err(|error| error.to_string().into())
}

fn dial(server: SocketAddrV4, from: Ipv4Addr, id: u16, end: Option<(End, Duration)>) -> Result<()> {
    let gre_socket = raw(from)?;
    let fd = socket(AddressFamily::INET, SocketType::STREAM, None)?;
    bind(&fd, &SocketAddrV4::new(from, 0))?;
    connect(&fd, &server)?;
    let mut stream = TcpStream::from(fd);
    stream.write_all(&message(START, &[0x0100]))?;
    next(&mut stream)?;
    stream.write_all(&message(CALL, &[id, 1]))?;
    let (_, fields) = next(&mut stream)?;
    let peer = fields.first().copied().unwrap_or_default();
    tell(&json!({ "up": peer, "at": now_ms() }));
    let mut control = Some(stream);
    let (begin, mut sequence, mut bytes) = (Instant::now(), 0, [0; 2048]);
    let mut ended = false;
    loop {
        if let (Some((end, after)), false) = (end, ended)
            && begin.elapsed() >= after
        {
            ended = true;
            match end {
                End::Clear => control.as_mut().map_or(Ok(()), |c| c.write_all(&message(CLEAR, &[id])))?,
                End::Reset => set_socket_linger(
                    control.as_ref().ok_or(std::io::ErrorKind::Other)?,
                    Some(Duration::ZERO),
                )?,
                End::Fin => {}
            }
            if !matches!(end, End::Clear) {
                control = None;
            }
            tell(&json!({ "ended": true, "at": now_ms() }));
        }
        if !ended {
            let _ = gre_socket.send_to(&gre(peer, peer, sequence), (*server.ip(), 0));
            sequence += 1;
        }
        let until = Instant::now() + PACE;
        while let Some(left) = until.checked_duration_since(Instant::now()) {
            gre_socket.set_read_timeout(Some(left.max(Duration::from_millis(1))))?;
            let Ok((length, sender)) = gre_socket.recv_from(&mut bytes) else { continue };
            if let Some((call, payload)) = read_gre(&bytes[..length]) {
                let mine = call == id && payload == peer && sender.ip() == IpAddr::V4(*server.ip());
                tell(&json!({ "mine": mine, "at": now_ms() }));
            }
        }
    }
}
