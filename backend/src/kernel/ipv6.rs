//! Numbers the home: the addresses of the prefix that the provider has delegated, and what is left of an older one taken away.

use std::net::{IpAddr, Ipv6Addr, SocketAddrV6};

use rustix::io::Errno;
use rustix::net::{SendFlags, sendto, sockopt};

use super::hand;
use super::links::{self, Address, Links, Request};
use super::{Error, Numbers};
use crate::services::LentAddress;
use crate::settings::names::IfName;

/// So many seconds, and a hundredth of the whole, an address may lie beside the lifetime it shall have before it gets that
/// again: the kernel counts whole seconds, and who tells it needs a moment.
const SLACK: u32 = 5;

/// Makes it so. What goes goes last, and an address that was there keeps its connections.
pub(super) async fn number(wanted: &Numbers) -> Result<(), Error> {
    let mut links = Links::open()?;
    let devices = links.devices().await?;
    let addresses = links.addresses().await?;
    let index = |name: &IfName| devices.iter().find(|d| d.name == name.as_str()).map(|d| d.index);
    let lent = |device: u32| {
        addresses
            .iter()
            .filter(move |a| a.device == device && a.global && a.ip.is_ipv6() && a.lifetimes.is_some())
    };
    let home = wanted.home.as_ref().and_then(|(name, shall)| Some((index(name)?, shall)));
    let mut gone: Vec<&Address> = Vec::new();
    if let Some((device, shall)) = home {
        for address in shall {
            let is = lent(device).find(|a| a.ip == IpAddr::V6(address.address));
            if !is.and_then(|is| is.lifetimes).is_some_and(|is| near(is, address)) {
                let new = links::new_lent_address(device, address.address, address.preferred, address.valid);
                ask(&mut links, format!("add address {}", address.address), &new.set()).await?;
            }
        }
        gone.extend(lent(device).filter(|a| shall.iter().all(|s| a.ip != IpAddr::V6(s.address))));
    }
    let without = wanted.without.iter().chain(&wanted.unadvertised);
    gone.extend(without.filter_map(index).filter(|i| home.is_none_or(|(home, _)| home != *i)).flat_map(lent));
    for address in gone {
        ask(&mut links, format!("delete address {}", address.ip), &address.delete()).await?;
    }
    if let Some(port) = wanted.unadvertised.as_ref().and_then(index) {
        for route in links.default_routes6().await? {
            if route.advertised && route.device == port {
                ask(&mut links, "delete an IPv6 default route".to_owned(), &route.delete()).await?;
            }
        }
    }
    if let Some(port) = wanted.solicit.as_ref().and_then(index) {
        // Without a link, or a link-local address yet, there is nobody to ask: it is tried again.
        let _ = solicit(port).await;
    }
    Ok(())
}

/// Asks the routers of a link to advertise themselves (RFC 4861 section 4.1): to all of them, from our link-local address, with
/// hop limit 255, which proves that nobody forwarded it. The kernel sets the checksum of ICMPv6 (RFC 3542 section 3.1).
async fn solicit(device: u32) -> std::io::Result<()> {
    const ALL_ROUTERS: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 2);
    const SOLICITATION: [u8; 8] = [133, 0, 0, 0, 0, 0, 0, 0];
    let socket = hand::open(&hand::Socket::Icmp6).await?;
    sockopt::set_ipv6_multicast_hops(&socket, 255)?;
    sendto(&socket, &SOLICITATION, SendFlags::empty(), &SocketAddrV6::new(ALL_ROUTERS, 0, 0, device))?;
    Ok(())
}

/// Whether an address with these seconds left need not be told anew.
fn near((preferred, valid): (u32, u32), shall: &LentAddress) -> bool {
    let near = |is: u32, shall: u32| is.abs_diff(shall) <= SLACK + shall / 100;
    // Deprecated at once, not seconds later.
    (preferred == 0) == (shall.preferred == 0) && near(preferred, shall.preferred) && near(valid, shall.valid)
}

async fn ask(links: &mut Links, what: String, request: &Request) -> Result<(), Error> {
    // It has ended meanwhile.
    let fine = [Errno::ADDRNOTAVAIL, Errno::SRCH].map(Errno::raw_os_error);
    match links.ask(request).await {
        Err(e) if e.raw_os_error().is_some_and(|n| fine.contains(&n)) => Ok(()),
        done => done.map_err(|source| Error::Netlink { what, source }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lifetime_is_told_anew_where_it_differs_and_deprecation_always() {
        let shall =
            |preferred, valid| LentAddress { address: "2001:db8::1".parse().unwrap(), preferred, valid };
        assert!(near((200, 400), &shall(203, 404)) && !near((200, 400), &shall(220, 400)));
        assert!(
            !near((200, 400), &shall(200, 800)) && near((2_590_000, 2_590_000), &shall(2_592_000, 2_592_000))
        );
        assert!(!near((3, 400), &shall(0, 400)) && near((0, 400), &shall(0, 398)));
    }
}
