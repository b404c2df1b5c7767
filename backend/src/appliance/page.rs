//! Where the admin page is to be.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use super::network::admin_addresses;
use super::{Appliance, State};
use crate::kernel::{Kernel, SeenLink};
use crate::log;
use crate::settings::access::IN_PLACE;
use crate::settings::{Role, Settings};

/// A file of this name in the state directory says that another program had the ports of a web page on this box.
const TAKEN: &str = "web-ports-taken";
/// So long the page of a box that has become a companion is where it was, too: whoever has just confirmed that in a browser is led on
/// by it, and reads where it is now.
const STAYS: Duration = Duration::from_mins(10);

/// Where the page was before this box became a companion, and since when it is one for good.
#[derive(Debug)]
pub(super) struct MovedFrom(Instant, Settings);

impl MovedFrom {
    /// What was on trial is kept now; none: it did not move the page.
    pub(super) fn by(before: Settings, now: &Settings) -> Option<Self> {
        let became = before.role != Role::Companion && now.role == Role::Companion;
        became.then(|| Self(Instant::now(), before))
    }
}

impl<K: Kernel> Appliance<K> {
    /// Publishes the settings in force, and where the admin page shall listen.
    pub(super) async fn publish(&self, state: &State) {
        self.in_force.send_replace((state.revision, state.settings.clone()));
        if state.settings.role != Role::Unset && state.trial.is_none() {
            self.forget_taken_ports();
        }
        if state.settings.role == Role::Router {
            // At the address that is set, whatever the ports have.
            return self.publish_addresses(state, &[]);
        }
        match self.kernel.observe(&[]).await {
            Ok(seen) => self.publish_addresses(state, &seen.links),
            Err(error) => drop(log::incident(&error)),
        }
    }

    /// Addresses come and go without us: a DHCP client of the box, a cable.
    ///
    /// Who has taken the role companion in a browser finds the page where it was, too, as long as that is on trial and a while longer:
    /// it moves to another port then (see `beside.rs`).
    pub(super) fn publish_addresses(&self, state: &State, links: &[SeenLink]) {
        let mut addresses = self.addresses(&state.settings, links);
        let moved = state.moved_from.as_ref().filter(|MovedFrom(at, _)| at.elapsed() < STAYS);
        let before =
            state.trial.as_ref().map(|trial| &trial.back_to.1).or(moved.map(|MovedFrom(_, before)| before));
        if let Some(before) = before.filter(|_| state.settings.role == Role::Companion) {
            for one in self.addresses(before, links) {
                if !addresses.contains(&one) {
                    addresses.push(one);
                }
            }
        }
        self.admin.send_if_modified(|now| {
            let differs = *now != addresses;
            *now = addresses;
            differs
        });
    }

    /// Those of these settings; without a role out of the way of another program that was seen to have the ports of a web page.
    fn addresses(&self, settings: &Settings, links: &[SeenLink]) -> Vec<SocketAddr> {
        let mut all = admin_addresses(settings, links);
        let taken = settings.role == Role::Unset && self.taken().is_some_and(|path| path.exists());
        for address in all.iter_mut().filter(|_| taken) {
            if let Some((_, instead)) = IN_PLACE.iter().find(|(port, _)| *port == address.port()) {
                address.set_port(*instead);
            }
        }
        all
    }

    /// Another program has port 80 or 443. At the next boot it may come after us (OpenWrt starts its web server late), and while this box
    /// has no role we have no business in its way.
    pub fn note_taken_ports(&self) {
        if let Some(path) = self.taken().filter(|path| !path.exists())
            && let Err(error) = std::fs::File::create(path)
        {
            log::warning(&format!("that another program has the web ports could not be noted: {error}"));
        }
    }

    /// The page has ports of its own from now on, and whether they are taken is seen where it listens.
    fn forget_taken_ports(&self) {
        if let Some(path) = self.taken().filter(|path| path.exists())
            && let Err(error) = std::fs::remove_file(path)
        {
            log::warning(&format!("the note that another program has the web ports stays: {error}"));
        }
    }

    /// What the owner should know of it, in words.
    pub(super) fn taken_notice(&self, settings: &Settings) -> Option<String> {
        let port = settings.access.port.number();
        let (_, instead) = IN_PLACE.iter().find(|(of, _)| *of == port)?;
        let applies = settings.role == Role::Unset && self.taken().is_some_and(|path| path.exists());
        applies.then(|| {
            format!(
                "Another program on this box had port {port} or 443: until this box has a role the admin page leaves them to it, and is at \
                 port {instead}."
            )
        })
    }

    fn taken(&self) -> Option<PathBuf> {
        self.options.folders.as_ref().map(|folders| folders.state.join(TAKEN))
    }
}
