//! `postern-lab dialogue`: a TCP conversation word for word, each word in a segment of its own.

use std::io::{ErrorKind, Read, Result, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

use serde_json::json;

use super::{USAGE, tell};
use crate::forged::hex;

/// Arguments: the file with what to say, and `--listen ADDRESS:PORT` or `--call ADDRESS:PORT`. Each line is `say HEX`
/// (a segment; `[12:14]` in it stands for these bytes of what was last heard), `hear` (something must come first) or
/// `pause MS`. At the end the connection stays open.
pub(super) fn dialogue(words: &mut lexopt::Parser) -> std::result::Result<(), lexopt::Error> {
    let (mut listen, mut call, mut file) = (None, None, None);
    while let Some(word) = words.next()? {
        match word {
            lexopt::Arg::Long("listen") => {
                listen = Some(lexopt::ValueExt::parse::<SocketAddr>(&words.value()?)?)
            }
            lexopt::Arg::Long("call") => call = Some(lexopt::ValueExt::parse::<SocketAddr>(&words.value()?)?),
            lexopt::Arg::Value(path) if file.is_none() => file = Some(path),
            other => return Err(other.unexpected()),
        }
    }
    let (Some(file), Some(at)) = (file, listen.or(call)) else { return Err(USAGE.into()) };
    let script = std::fs::read_to_string(file).map_err(|error| error.to_string())?;
    let stream = if listen.is_some() { accept(at) } else { TcpStream::connect(at) };
    let spoken = stream.and_then(|stream| speak(stream, &script));
    spoken.map_err(|error| format!("{at}: {error}").into())
}

fn accept(at: SocketAddr) -> Result<TcpStream> {
    let listener = TcpListener::bind(at)?;
    tell(&json!({ "ready": true }));
    listener.accept().map(|(stream, _)| stream)
}

fn speak(mut stream: TcpStream, script: &str) -> Result<()> {
    stream.set_nodelay(true)?;
    let mut bytes = [0; 65_536];
    let mut heard = String::new();
    for line in script.lines() {
        match line.split_once(' ') {
            Some(("say", hex)) => {
                let hex = filled(hex, &heard);
                let pair = |at| hex.get(at..at + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok());
                let said: Option<Vec<u8>> = (0..hex.len()).step_by(2).map(pair).collect();
                stream.write_all(&said.ok_or(ErrorKind::InvalidData)?)?;
            }
            Some(("pause", ms)) => std::thread::sleep(Duration::from_millis(ms.parse().unwrap_or(100))),
            _ => {
                let length = stream.read(&mut bytes)?;
                heard = hex(&bytes[..length]);
                tell(&json!({ "heard": heard }));
            }
        }
    }
    tell(&json!({ "done": true }));
    while stream.read(&mut bytes)? > 0 {}
    Ok(())
}

/// `text` with the bytes of `heard` that it asks for, all in hexadecimal digits.
fn filled(text: &str, heard: &str) -> String {
    let mut parts = text.split('[');
    let mut all = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (range, rest) = part.split_once(']').unwrap_or_default();
        let (from, to) = range.split_once(':').unwrap_or_default();
        let at = |number: &str| number.parse::<usize>().unwrap_or_default() * 2;
        all += heard.get(at(from)..at(to)).unwrap_or_default();
        all += rest;
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_heard_is_said_back() {
        assert_eq!(filled("00[1:3]ff[0:1]", "a0b1c2d3"), "00b1c2ffa0");
        assert_eq!(filled("0102", ""), "0102");
    }
}
