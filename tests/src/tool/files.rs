//! `postern-lab ftp-server` and `postern-lab tftp-server`: as much of them as a client needs to get one file, `hello`, or a
//! file without an end, `long`.

use std::io::{BufRead, BufReader, Result, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::time::Duration;

use lexopt::prelude::*;
use serde_json::json;

use super::{USAGE, tell};
use crate::wait::now_ms;

/// What is in `hello`.
pub(crate) const CONTENT: &str = "hello from the server\n";
/// Between two lines of `long`.
const PACE: Duration = Duration::from_millis(50);
/// How long a client may take to answer a connection back to it.
const PATIENCE: Duration = Duration::from_secs(2);

fn port(words: &mut lexopt::Parser) -> std::result::Result<u16, lexopt::Error> {
    match words.next()? {
        Some(Value(text)) => Ok(text.parse()?),
        _ => Err(USAGE.into()),
    }
}

/// FTP (RFC 959; RFC 2428 for the E commands), active and passive.
pub(super) fn ftp(words: &mut lexopt::Parser) -> std::result::Result<(), lexopt::Error> {
    let port = port(words)?;
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).map_err(|error| error.to_string())?;
    tell(&json!({ "ready": true }));
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || {
            if let Err(error) = serve(stream) {
                tell(&json!({ "error": error.to_string() }));
            }
        });
    }
    Ok(())
}

/// Where the next file goes.
enum Data {
    Back(SocketAddr),
    Here(TcpListener),
}

fn serve(stream: TcpStream) -> Result<()> {
    let mut out = stream.try_clone()?;
    let mut data = None;
    let mut say = move |words: &str| out.write_all(format!("{words}\r\n").as_bytes());
    say("220 ready")?;
    for line in BufReader::new(stream.try_clone()?).lines() {
        let line = line?;
        tell(&json!({ "command": line, "at": now_ms() }));
        let (verb, rest) = line.split_once(' ').unwrap_or((&line, ""));
        match (verb.to_ascii_uppercase().as_str(), rest) {
            ("USER", _) => say("331 password")?,
            ("PASS", _) => say("230 come in")?,
            ("PWD", _) => say("257 \"/\"")?,
            ("PORT", words) => {
                data = six(words).map(Data::Back);
                say(if data.is_some() { "200 yes" } else { "501 what" })?;
            }
            ("EPRT", words) => {
                data = eprt(words).map(Data::Back);
                say(if data.is_some() { "200 yes" } else { "501 what" })?;
            }
            ("EPSV", _) => {
                let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
                say(&format!("229 here (|||{}|)", listener.local_addr()?.port()))?;
                data = Some(Data::Here(listener));
            }
            ("RETR", file) => {
                let connected = match data.take() {
                    Some(Data::Back(to)) => TcpStream::connect_timeout(&to, PATIENCE),
                    Some(Data::Here(listener)) => listener.accept().map(|(stream, _)| stream),
                    None => Err(std::io::ErrorKind::NotConnected.into()),
                };
                match connected {
                    Ok(to) => {
                        tell(&json!({ "data": to.peer_addr()?.to_string() }));
                        say("150 coming")?;
                        send(to, file);
                        say("226 done")?;
                    }
                    Err(error) => {
                        tell(&json!({ "nodata": error.to_string() }));
                        say("425 cannot connect")?;
                    }
                }
            }
            ("QUIT", _) => return say("221 bye"),
            ("TYPE", _) => say("200 yes")?,
            _ => say("502 no")?,
        }
    }
    Ok(())
}

fn send(mut to: TcpStream, file: &str) {
    if file == "long" {
        for line in 0.. {
            if to.write_all(format!("{line} {}\n", now_ms()).as_bytes()).is_err() {
                return;
            }
            std::thread::sleep(PACE);
        }
    }
    let _ = to.write_all(CONTENT.as_bytes());
}

/// `192,168,1,101,17,92`.
fn six(words: &str) -> Option<SocketAddr> {
    let n: Vec<u8> = words.split(',').map(|word| word.trim().parse().ok()).collect::<Option<_>>()?;
    let [a, b, c, d, high, low] = n[..] else { return None };
    Some((Ipv4Addr::new(a, b, c, d), u16::from_be_bytes([high, low])).into())
}

/// `|1|192.168.1.101|4444|`.
fn eprt(words: &str) -> Option<SocketAddr> {
    let parts: Vec<&str> = words.split('|').collect();
    let ["", "1", address, port, ""] = parts[..] else { return None };
    Some((address.parse::<Ipv4Addr>().ok()?, port.parse().ok()?).into())
}

/// TFTP (RFC 1350): one block, from a port of its own.
pub(super) fn tftp(words: &mut lexopt::Parser) -> std::result::Result<(), lexopt::Error> {
    let port = port(words)?;
    let answer = || -> Result<()> {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port))?;
        tell(&json!({ "ready": true }));
        let mut bytes = [0; 2048];
        loop {
            // An error is an ICMP answer to what we sent: of no interest.
            let Ok((_, from)) = socket.recv_from(&mut bytes) else { continue };
            tell(&json!({ "request": from.to_string() }));
            let own = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
            // DATA, block 1; shorter than 512 bytes, so it is the last one.
            let _ = own.send_to(&[&[0, 3, 0, 1][..], CONTENT.as_bytes()].concat(), from);
        }
    };
    answer().map_err(|error| error.to_string().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_to_name_an_address_are_understood() {
        let here: SocketAddr = "192.168.1.101:4444".parse().unwrap();
        assert_eq!((six("192,168,1,101,17,92"), eprt("|1|192.168.1.101|4444|")), (Some(here), Some(here)));
        assert_eq!((six("1,2,3"), eprt("|2|::1|4|"), eprt("")), (None, None, None));
    }
}
