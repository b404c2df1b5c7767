//! The admin page's listening sockets. The daemon opens them, because ports below 1024 need a capability that the web
//! process does not have.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{SocketAddr, TcpListener};

use crate::kernel::hand;
use crate::log;
use crate::settings::access::IN_PLACE;

/// The open listeners, by address.
#[derive(Debug, Default)]
pub(super) struct Listeners {
    open: BTreeMap<SocketAddr, Open>,
    /// Those that could not be opened, and were complained about.
    refused: BTreeSet<SocketAddr>,
}

/// A listener, and where it is: elsewhere than wanted if another program has the port.
#[derive(Debug)]
struct Open {
    at: SocketAddr,
    listener: TcpListener,
}

impl Listeners {
    /// Opens what is new, closes what is no longer wanted, and keeps the rest open without a gap. True: something is
    /// different now.
    pub(super) async fn become_these(&mut self, wanted: &[SocketAddr]) -> bool {
        let before = self.open.len();
        self.open.retain(|address, _| wanted.contains(address));
        self.refused.retain(|address| wanted.contains(address));
        let mut changed = self.open.len() != before;
        for &address in wanted.iter().take(super::descriptors::MOST) {
            if self.open.contains_key(&address) {
                continue;
            }
            match open_or_beside(address, wanted).await {
                Ok(opened) => {
                    log::info(&format!("the admin page listens at {}", opened.at));
                    self.refused.remove(&address);
                    self.open.insert(address, opened);
                    changed = true;
                }
                // Said once: it is tried again and again.
                Err(e) if self.refused.insert(address) => {
                    log::warning(&format!("the admin page cannot be at {address} yet: {e}"));
                }
                Err(_) => {}
            }
        }
        changed
    }

    /// The open ones.
    pub(super) fn each(&self) -> (Vec<SocketAddr>, Vec<&TcpListener>) {
        self.open.values().map(|open| (open.at, &open.listener)).unzip()
    }

    /// Which ports are open where `wanted` was meant.
    pub(super) fn in_place_of(&self, wanted: u16) -> BTreeSet<u16> {
        let meant = self.open.iter().filter(|(address, _)| address.port() == wanted);
        meant.map(|(_, open)| open.at.port()).collect()
    }

    /// Whether one is elsewhere than wanted, since another program has its port.
    pub(super) fn moved(&self) -> bool {
        self.open.iter().any(|(wanted, open)| *wanted != open.at)
    }

    /// What the owner should know of where the page is.
    pub(super) fn notices(&self) -> Vec<String> {
        let moved = self.open.iter().filter(|(wanted, open)| **wanted != open.at);
        let say = |(wanted, open): (&SocketAddr, &Open)| {
            let scheme = if wanted.port() == 443 { "https" } else { "http" };
            format!(
                "Port {} of {} is another program\u{2019}s: the admin page is at {scheme}://{}/.",
                wanted.port(),
                wanted.ip(),
                open.at
            )
        };
        moved.map(say).collect()
    }

    /// Copies of the open ones' descriptors.
    pub(super) fn copies(&self) -> std::io::Result<(Vec<SocketAddr>, Vec<TcpListener>)> {
        let mut sockets = Vec::new();
        for open in self.open.values() {
            sockets.push(open.listener.try_clone()?);
        }
        Ok((self.open.values().map(|open| open.at).collect(), sockets))
    }
}

/// `all`: what is wanted; a port that is among them is not taken in another's place.
async fn open_or_beside(wanted: SocketAddr, all: &[SocketAddr]) -> std::io::Result<Open> {
    let mut at = wanted;
    let beside = IN_PLACE.iter().find(|(port, _)| *port == wanted.port());
    if let Some((_, beside)) = beside {
        at.set_port(*beside);
    }
    match open(wanted).await {
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse && !all.contains(&at) => {
            open(at).await.map(|listener| Open { at, listener })
        }
        opened => opened.map(|listener| Open { at: wanted, listener }),
    }
}

async fn open(address: SocketAddr) -> std::io::Result<TcpListener> {
    hand::open(&hand::Socket::Pages(address)).await.map(TcpListener::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn the_next_daemon_can_listen_while_the_web_process_holds_the_old_socket() {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let held = open(any).await.unwrap();
        let address = held.local_addr().unwrap();
        let mut next = Listeners::default();
        assert!(next.become_these(&[address]).await);
        assert_eq!(next.each().0, [address]);
        assert!(!next.become_these(&[address]).await, "nothing new");
        drop(held);
        std::net::TcpStream::connect(address).unwrap();
    }

    #[tokio::test]
    async fn an_address_that_cannot_be_had_costs_no_other() {
        let mut listeners = Listeners::default();
        let foreign = SocketAddr::from(([192, 0, 2, 1], 1));
        let ours = open(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap().local_addr().unwrap();
        assert!(listeners.become_these(&[foreign, ours]).await);
        assert_eq!(listeners.each().0, [ours]);
    }
}
