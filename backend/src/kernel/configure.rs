//! Makes addresses, link states, the default route and sysctls as wanted: all of it or nothing.
//!
//! The state before is read first, and every step is planned together with the step that takes it back. The order
//! never takes away before it gives: new bridges, sysctls, links up, new addresses, ports into bridges, new route, old
//! routes, old addresses, links down, old bridges.

mod plan;

use std::net::{IpAddr, Ipv4Addr};

use rustix::io::Errno;

use super::links::{self, Address, Links, Request};
use super::{Bridge, Error, Network, sysctl};
use crate::settings::names::InterfaceAddress;
use plan::Before;

/// One change.
#[derive(Debug)]
enum Action {
    Sysctl {
        path: String,
        value: String,
    },
    Ask {
        what: String,
        request: Request,
    },
    /// Of those addresses of a device that share a network, the first is the one the kernel sends from; the others are
    /// secondary. So their order is part of the state.
    Order {
        device: u32,
        addresses: Vec<Address>,
    },
}

/// An action and the one that takes it back.
#[derive(Debug)]
struct Move {
    forth: Action,
    back: Action,
}

#[derive(Debug, Default)]
struct Plan {
    moves: Vec<Move>,
    /// Done last when the moves are taken back: what some of them change beside what they are for.
    settle: Vec<Action>,
}

/// Makes the network as `wanted` and returns what was there before, in the same shape. Sysctls that this kernel does
/// not have are left out of both. `ahead` is asked before each step, by number, and may refuse it: what was done is
/// then taken back as after any other failure.
/// Its few writes below /proc block: run it where that keeps nobody waiting.
pub async fn change(
    wanted: &Network,
    ahead: impl FnMut(usize) -> Result<(), Error>,
) -> Result<Network, Error> {
    let mut links = Links::open()?;
    let before = Before::read(&mut links, wanted).await?;
    let previous = before.of(wanted)?;
    let missing = before.missing_bridges(wanted);
    let done = make_and_run(&mut links, before, wanted, &missing, ahead).await;
    if done.is_err() {
        for bridge in missing {
            if let Err(e) = unmake(&mut links, bridge).await {
                crate::log::warning(&format!("while taking back a network change: {e}"));
            }
        }
    }
    done.map(|()| previous)
}

/// A bridge has a number only once it is there, and the rest of the plan needs that: so they are made first.
async fn make_and_run(
    links: &mut Links,
    mut before: Before,
    wanted: &Network,
    missing: &[&Bridge],
    mut ahead: impl FnMut(usize) -> Result<(), Error>,
) -> Result<(), Error> {
    for (number, bridge) in missing.iter().enumerate() {
        ahead(number)?;
        ask(links, &format!("make {}", bridge.name), &links::new_bridge(bridge.name.as_str(), bridge.mac))
            .await?;
    }
    if !missing.is_empty() {
        before = Before::read(links, wanted).await?;
    }
    run(&before.plan(wanted)?, links, |number| ahead(missing.len() + number)).await
}

/// Takes away a bridge that was made for a change that failed. Its ports go on alone.
async fn unmake(links: &mut Links, bridge: &Bridge) -> Result<(), Error> {
    let devices = links.devices().await?;
    match devices.iter().find(|device| device.name == bridge.name.as_str()) {
        Some(made) => ask(links, &format!("remove {}", bridge.name), &links::delete(made.index)).await,
        None => Ok(()),
    }
}

/// What is there now, in the shape of `wanted`.
pub async fn look(wanted: &Network) -> Result<Network, Error> {
    let mut links = Links::open()?;
    Before::read(&mut links, wanted).await?.of(wanted)
}

/// Does the moves in order. If one fails, those before it are taken back, the last one first.
async fn run(
    plan: &Plan,
    links: &mut Links,
    mut ahead: impl FnMut(usize) -> Result<(), Error>,
) -> Result<(), Error> {
    for (number, step) in plan.moves.iter().enumerate() {
        let done = match ahead(number) {
            Ok(()) => act(links, &step.forth).await,
            refused => refused,
        };
        let Err(failure) = done else { continue };
        let back = plan.moves[..number].iter().rev().map(|done| &done.back);
        for action in back.chain(&plan.settle) {
            if let Err(e) = act(links, action).await {
                crate::log::warning(&format!("while taking back a network change: {e}: {action:?}"));
            }
        }
        return Err(failure);
    }
    Ok(())
}

async fn act(links: &mut Links, action: &Action) -> Result<(), Error> {
    match action {
        Action::Sysctl { path, value } => sysctl::write(path, value),
        Action::Ask { what, request } => ask(links, what, request).await,
        Action::Order { device, addresses } => order(links, *device, addresses).await,
    }
}

async fn ask(links: &mut Links, what: &str, request: &Request) -> Result<(), Error> {
    // What shall be there is there; what shall go has gone (an address takes its routes with it).
    let fine = [Errno::EXIST, Errno::ADDRNOTAVAIL, Errno::SRCH].map(Errno::raw_os_error);
    match links.ask(request).await {
        Err(e) if e.raw_os_error().is_some_and(|n| fine.contains(&n)) => Ok(()),
        done => done.map_err(|source| Error::Netlink { what: what.to_owned(), source }),
    }
}

/// Where the kernel has the addresses of a network in another order, each is taken out and put at the end in turn.
async fn order(links: &mut Links, device: u32, wanted: &[Address]) -> Result<(), Error> {
    let mut now = links.addresses().await?;
    now.retain(|a| a.device == device);
    for address in misplaced(&now, wanted) {
        ask(links, "move an address", &address.delete()).await?;
        ask(links, "move an address", &address.add()).await?;
    }
    Ok(())
}

/// The addresses of those networks where `now` has them in another order than `wanted`.
fn misplaced<'a>(now: &[Address], wanted: &'a [Address]) -> Vec<&'a Address> {
    let mut networks: Vec<_> = wanted.iter().filter_map(network).collect();
    networks.sort_unstable();
    networks.dedup();
    let mut misplaced = Vec::new();
    for this in networks {
        let inside: Vec<&Address> = wanted.iter().filter(|a| network(a) == Some(this)).collect();
        let is = now.iter().map(|a| a.ip).filter(|ip| inside.iter().any(|a| a.ip == *ip));
        if !is.eq(inside.iter().map(|a| a.ip)) {
            misplaced.extend(inside);
        }
    }
    misplaced
}

fn network(address: &Address) -> Option<(Ipv4Addr, u8)> {
    ours(address).map(|a| (a.network(), a.prefix()))
}

fn is(address: &Address, wanted: InterfaceAddress) -> bool {
    ours(address) == Some(wanted)
}

fn ours(address: &Address) -> Option<InterfaceAddress> {
    match address.ip {
        IpAddr::V4(ip) => Some(InterfaceAddress::new(ip, address.prefix)),
        IpAddr::V6(_) => None,
    }
}
