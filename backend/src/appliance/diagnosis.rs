//! Collects what is known, for a verdict.

use std::net::IpAddr;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::{Appliance, Refusal, Status};
use crate::diagnosis::{Case, Diagnosis, Forwarded, Internet, Measured, diagnose};
use crate::kernel::Kernel;
use crate::sessions::Session;
use crate::settings::names::DmzHost;
use crate::settings::{Role, Settings};

/// No port of IPv4 sends less (RFC 791: what every host must take).
const LEAST: u32 = 576;

impl<K: Kernel> Appliance<K> {
    /// Why a VPN of this device, or of whoever has trouble, does not work. Sends nothing; `measured` is what others have.
    pub async fn diagnose(
        &self,
        device: Option<IpAddr>,
        measured: &[Measured],
    ) -> Result<Diagnosis, Refusal> {
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
            over_share: &status.over_share,
            attempts: &status.attempts,
            defeats: &status.defeats,
            resets: &resets,
            sessions: &sessions,
            measured,
            forwards: &forwards(&self.settings().1),
        });
        if let Some(device) = said.device.as_mut().filter(|device| device.name.is_none()) {
            self.names().await.tell(device);
        }
        Ok(said)
    }

    /// The largest packet that leaves for the internet, in bytes.
    pub async fn largest_sent(&self) -> Result<u32, Refusal> {
        let (_, settings) = self.settings();
        let links = self.kernel.observe(&[]).await.map_err(|e| Refusal::failed(&e))?.links;
        let outside = settings.internet.outside();
        let link = outside.and_then(|name| links.into_iter().find(|link| link.name == name.as_str()));
        // 0: a kernel that does not tell.
        Ok(link.map_or(0, |link| link.mtu).max(LEAST))
    }
}

/// Each thing that a forward or the DMZ takes; beside another firewall ours take nothing. GRE is not among it: only the kernel's
/// PPTP helper leads that.
fn forwards(settings: &Settings) -> Vec<Forwarded> {
    if settings.role != Role::Router {
        return Vec::new();
    }
    let on = settings.forwards.iter().filter(|forward| forward.enabled);
    let mut all: Vec<Forwarded> = on
        .flat_map(|forward| {
            forward.takes().into_iter().map(|(protocol, ports)| Forwarded {
                name: Some(forward.name.to_string()),
                protocol,
                ports,
                to: forward.to.address,
            })
        })
        .collect();
    if let DmzHost::Until(to, _) = settings.firewall.dmz {
        let taken = [(6, Some((1, u16::MAX))), (17, Some((1, u16::MAX))), (50, None)];
        all.extend(taken.map(|(protocol, ports)| Forwarded { name: None, protocol, ports, to }));
    }
    all
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
