//! `postern-lab echo`: sends every packet back and tells that it arrived.

use std::io::{Read, Result, Write};
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};

use serde_json::json;

use super::{roomy, tell};
use crate::packet::{FRAME, Kind, datagram, read, without_header};
use crate::wait::now_ms;

/// Answers on every kind until it is killed.
pub(super) fn echo(kinds: &[Kind]) -> std::result::Result<(), String> {
    let mut threads = Vec::new();
    for kind in kinds.iter().copied() {
        let refused = |error: std::io::Error| format!("cannot listen on {kind}: {error}");
        match kind {
            Kind::Tcp(port) => {
                // One socket for both families.
                let listener = TcpListener::bind((Ipv6Addr::UNSPECIFIED, port)).map_err(refused)?;
                threads.push(std::thread::spawn(move || accept(&listener, kind)));
            }
            Kind::Udp(port) => {
                let socket = datagram(kind, true, port).map_err(refused)?;
                roomy(&socket).map_err(refused)?;
                threads.push(std::thread::spawn(move || answer(&socket, kind, false)));
            }
            Kind::Ip(_) => {
                for ipv6 in [false, true] {
                    let socket = datagram(kind, ipv6, 0).map_err(refused)?;
                    roomy(&socket).map_err(refused)?;
                    threads.push(std::thread::spawn(move || answer(&socket, kind, !ipv6)));
                }
            }
        }
    }
    tell(&json!({ "ready": true }));
    for thread in threads {
        let _ = thread.join();
    }
    Ok(())
}

fn arrived(kind: Kind, from: SocketAddr, bytes: &[u8]) {
    let from: IpAddr = from.ip().to_canonical();
    let (tag, sequence) = read(bytes).unzip();
    tell(&json!({ "kind": kind.to_string(), "from": from, "tag": tag, "got": sequence, "at": now_ms() }));
}

fn answer(socket: &UdpSocket, kind: Kind, raw_ipv4: bool) {
    let mut bytes = [0; 2048];
    loop {
        // An error here is an ICMP answer to a packet we sent back: of no interest.
        let Ok((length, from)) = socket.recv_from(&mut bytes) else { continue };
        let packet = without_header(&bytes[..length], raw_ipv4);
        arrived(kind, from, packet);
        // A raw socket on the host that sent the packet would see its own answers for ever.
        if read(packet).is_some() {
            let _ = socket.send_to(packet, from);
        }
    }
}

fn accept(listener: &TcpListener, kind: Kind) {
    for stream in listener.incoming().flatten() {
        std::thread::spawn(move || serve(stream, kind));
    }
}

fn serve(mut stream: TcpStream, kind: Kind) -> Result<()> {
    let from = stream.peer_addr()?;
    stream.set_nodelay(true)?;
    let mut bytes = [0; FRAME];
    loop {
        stream.read_exact(&mut bytes)?;
        arrived(kind, from, &bytes);
        stream.write_all(&bytes)?;
    }
}
