//! By which names devices have lately reached an address: what the router's DNS has answered them. In memory only, bounded,
//! and nobody but the sessions asks for it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Session;
use crate::kernel::Named;

/// Most addresses that have a name. A name has at most 253 bytes: less than a megabyte in all.
const MOST: usize = 2_048;
/// A name is told for so long after it was last answered, or seen at a session.
const KEPT_MS: u64 = 24 * 3_600_000;

/// Address to name.
#[derive(Debug, Default)]
pub struct ServerNames(BTreeMap<IpAddr, (u64, String)>);

impl ServerNames {
    /// The newest name of an address counts. `now` in milliseconds since some start.
    pub fn learn(&mut self, named: Named, now: u64) {
        for address in named.addresses {
            self.0.insert(address, (now, named.name.clone()));
        }
        if self.0.len() > MOST {
            // An eighth at once: a device that asks for thousands of names costs a sort now and then.
            let mut all: Vec<(u64, IpAddr)> =
                self.0.iter().map(|(address, (at, _))| (*at, *address)).collect();
            all.sort_unstable();
            for (_, address) in all.iter().take(all.len() - MOST * 7 / 8) {
                self.0.remove(address);
            }
        }
    }

    /// Tells the session its server's name. While it lives the name does not grow old.
    pub fn tell(&mut self, session: &mut Session, now: u64) {
        let Some((at, name)) = self.0.get_mut(&session.server) else { return };
        if now.saturating_sub(*at) <= KEPT_MS {
            *at = now;
            session.server_name = Some(name.clone());
        }
    }

    /// No name is known.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Forgets what is too old.
    pub fn age(&mut self, now: u64) {
        self.0.retain(|_, (at, _)| now.saturating_sub(*at) <= KEPT_MS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str, address: u32) -> Named {
        Named { name: name.to_owned(), addresses: vec![std::net::Ipv4Addr::from_bits(address).into()] }
    }

    fn told(names: &mut ServerNames, address: u32, now: u64) -> Option<String> {
        let mut session: Session = serde_json::from_value(serde_json::json!({
            "id": "l2tp-1", "kind": "l2tp", "device": { "address": "192.168.1.2" }, "state": "open",
            "server": std::net::Ipv4Addr::from_bits(address), "calls": [], "spis": [], "samples": [], "parts": [],
            "can_end": true,
        }))
        .unwrap();
        names.tell(&mut session, now);
        session.server_name
    }

    #[test]
    fn the_newest_name_counts_and_is_forgotten_a_day_after_its_last_session() {
        let mut names = ServerNames::default();
        assert_eq!(told(&mut names, 1, 0), None);
        names.learn(named("old.example", 1), 0);
        names.learn(named("new.example", 1), 1);
        assert_eq!(told(&mut names, 1, 2).as_deref(), Some("new.example"));
        assert_eq!(told(&mut names, 1, KEPT_MS).as_deref(), Some("new.example"), "a session prolongs it");
        assert_eq!(told(&mut names, 1, KEPT_MS * 2).as_deref(), Some("new.example"));
        assert_eq!(told(&mut names, 1, KEPT_MS * 3 + 1), None);
        names.age(KEPT_MS * 3 + 1);
        assert!(names.0.is_empty());
    }

    #[test]
    fn no_more_than_so_many_are_kept_and_the_oldest_go() {
        let mut names = ServerNames::default();
        for n in 0..10_000 {
            names.learn(named("x.example", n), u64::from(n));
        }
        assert!(names.0.len() <= MOST, "{}", names.0.len());
        assert!(told(&mut names, 9_999, 10_000).is_some() && told(&mut names, 1, 10_000).is_none());
        let many: Vec<IpAddr> = (0..5_000).map(|n| std::net::Ipv4Addr::from_bits(n).into()).collect();
        names.learn(Named { name: "many.example".into(), addresses: many }, 20_000);
        assert!(names.0.len() <= MOST, "all of one moment");
    }
}
