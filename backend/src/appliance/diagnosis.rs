//! Collects what is known, for a verdict.

use std::net::IpAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::{Appliance, Refusal, Status};
use crate::diagnosis::{Case, Diagnosis, Internet, diagnose};
use crate::kernel::Kernel;
use crate::sessions::Session;

impl<K: Kernel> Appliance<K> {
    /// Why a VPN of this device, or of whoever has trouble, does not work.
    pub async fn diagnose(&self, device: Option<IpAddr>) -> Result<Diagnosis, Refusal> {
        let status = self.status().await;
        let mut watched = self.watched.lock().await;
        self.look(&mut watched).await.map_err(|e| Refusal::failed(&e))?;
        let sessions: Vec<Session> = watched.folded.iter().map(|one| one.session.clone()).collect();
        drop(watched);
        let resets = self.resets().told(Instant::now());
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs() as i64);
        let mut said = diagnose(&Case {
            device,
            now,
            rules: &status.rules,
            internet: internet(&status),
            conntrack: status.conntrack,
            attempts: &status.attempts,
            defeats: &status.defeats,
            resets: &resets,
            sessions: &sessions,
        });
        if let Some(device) = said.device.as_mut().filter(|device| device.name.is_none()) {
            self.names().await.tell(device);
        }
        Ok(said)
    }
}

fn internet(status: &Status) -> Internet {
    let Some(link) = &status.internet else { return Internet::NoPort };
    if !link.up || !link.carrier {
        return Internet::NoLink;
    }
    let address = link.addresses.iter().find_map(|(address, _)| match address {
        IpAddr::V4(address) => Some(*address),
        IpAddr::V6(_) => None,
    });
    address.map_or(Internet::NoAddress, Internet::Up)
}
