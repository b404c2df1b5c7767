//! `WireGuard` at both ends by wireguard-go: this kernel has none of its own.

use std::fs;
use std::net::Ipv4Addr;

use crate::host::Host;
use crate::lab::need;
use crate::process::Process;
use crate::topology::address;
use crate::wait::{self, SOON};

const FOLDER: &str = "/run/lab/wireguard";
/// Who may dial.
const CLIENTS: [&str; 5] = ["laptop1", "laptop2", "phone", "server1", "server2"];

#[track_caller]
pub(super) fn serve(host: &Host, inner: Ipv4Addr) -> Process {
    let mut settings = "ListenPort = 51820\n".to_owned();
    for client in CLIENTS {
        settings += &format!(
            "[Peer]\nPublicKey = {}\nAllowedIPs = {}/32\n",
            keys(host, client).1,
            own(inner, client)
        );
    }
    start(host, inner, &settings)
}

#[track_caller]
pub(super) fn dial(host: &Host, server: &str, outer: Ipv4Addr, inner: Ipv4Addr) -> Process {
    let public = keys(host, server).1;
    let settings =
        format!("[Peer]\nPublicKey = {public}\nAllowedIPs = {inner}/32\nEndpoint = {outer}:51820\n");
    start(host, own(inner, host.name), &settings)
}

/// A client's address in the network of the server's inner address.
fn own(inner: Ipv4Addr, client: &str) -> Ipv4Addr {
    let [a, b, c, _] = inner.octets();
    Ipv4Addr::new(a, b, c, address(client).octets()[3])
}

/// The device is called after the host: the lab's hosts share /run, where wireguard-go keeps its sockets.
#[track_caller]
fn start(host: &Host, own: Ipv4Addr, settings: &str) -> Process {
    need("wireguard-go", "wireguard-go");
    let device = format!("wg-{}", host.name);
    let file = format!("{FOLDER}/{}.conf", host.name);
    let private = keys(host, host.name).0;
    host.write(&file, format!("[Interface]\nPrivateKey = {private}\n{settings}"));
    let mut process = host.spawn(&["wireguard-go", "-f", &device]);
    let set = wait::until(SOON, || {
        let done = host.run(&["wg", "setconf", &device, &file]).ok();
        (done || process.ended().is_some()).then_some(done)
    });
    assert_eq!(set, Some(true), "wireguard-go on {} takes no settings:\n{}", host.name, process.said());
    host.ok(&["ip", "addr", "add", &format!("{own}/24"), "dev", &device]);
    host.ok(&["ip", "link", "set", &device, "up"]);
    process
}

/// A host's private and public key, made when they are first asked for.
#[track_caller]
fn keys(host: &Host, name: &str) -> (String, String) {
    need("wg", "wireguard-tools");
    let file = format!("{FOLDER}/{name}.key");
    let private = fs::read_to_string(host.path(&file)).unwrap_or_else(|_| {
        let made = host.ok(&["wg", "genkey"]);
        host.write(&file, &made);
        made
    });
    let public = host.ok_with(&["wg", "pubkey"], &private);
    (private.trim().to_owned(), public.trim().to_owned())
}
