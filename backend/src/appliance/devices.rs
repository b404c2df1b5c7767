//! The devices of the home: what the owner has set for them, and what DHCP has lent them. And the care for the daemon
//! that lends.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::flows::lan_link;
use super::{Appliance, Author, Refusal, RefusalKind};
use crate::kernel::{Kernel, Load, Neighbour};
use crate::log;
use crate::services::{Lease, Service, Services};
use crate::sessions;
use crate::settings::names::{Label, Mac};
use crate::settings::{Device, FieldError, Settings};

/// So many fit into one answer of the door with room to spare (64 KiB; one takes at most 400 bytes).
const MOST: usize = 150;
/// Longest pause between two starts of a daemon that ends again and again, in looks: a minute.
const LONGEST_PAUSE: u32 = 20;

/// One device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KnownDevice {
    /// Its hardware address.
    pub mac: Mac,
    /// The owner's name for it; none: it is known by its lease alone.
    pub name: Option<Label>,
    /// The address reserved for it.
    pub reserved: Option<Ipv4Addr>,
    /// The address it has now.
    pub address: Option<Ipv4Addr>,
    /// What it calls itself: text of a stranger.
    pub calls_itself: Option<String>,
    /// Seconds since it was last seen on the local network, as the kernel's neighbour table has it; none: not lately.
    #[serde(default)]
    pub seen: Option<u32>,
    /// When its lease ends, in seconds since 1970; none: never, or there is none.
    pub ends: Option<i64>,
}

impl<K: Kernel> Appliance<K> {
    /// The devices that can be told, and how many leases found no place.
    pub async fn devices(&self) -> (Vec<KnownDevice>, u32) {
        let (_, settings) = self.settings();
        let served = self.kernel.served(&self.services(&settings));
        let seen = self.neighbours(&settings).await;
        merge(&settings.devices, served.leases, &seen)
    }

    /// Whose addresses these are.
    pub(super) async fn names(&self) -> Names {
        let (devices, _) = self.devices().await;
        let addressed = devices.into_iter().filter_map(|device| Some((device.address?, device)));
        Names(addressed.collect())
    }

    /// Whose these addresses are: hardware address and name, as far as they are known.
    pub async fn whose(&self, addresses: impl Iterator<Item = IpAddr>) -> Vec<sessions::Device> {
        let (_, settings) = self.settings();
        let neighbours = self.neighbours(&settings).await;
        let names = self.names().await;
        let told = |address| {
            let seen = neighbours.iter().find(|neighbour| neighbour.address == address);
            let mac = seen.and_then(|neighbour| Mac::of(neighbour.mac)).map(|mac| mac.to_string());
            let mut device = sessions::device(address, mac);
            names.tell(&mut device);
            device
        };
        addresses.map(told).collect()
    }

    /// The neighbours on the local network; none where the kernel does not tell.
    async fn neighbours(&self, settings: &Settings) -> Vec<Neighbour> {
        let both = (self.kernel.observe(&[]).await, self.kernel.neighbours().await);
        let (Ok(seen), Ok(mut neighbours)) = both else { return Vec::new() };
        let lan = lan_link(settings, &seen.links).map(|link| link.index);
        neighbours.retain(|neighbour| Some(neighbour.device) == lan);
        neighbours
    }

    /// Names a device, or changes what is set for it. The words are the owner's.
    pub async fn set_device(
        self: &Arc<Self>,
        base: Option<i64>,
        [mac, name]: [&str; 2],
        address: Option<&str>,
        author: Author,
    ) -> Result<String, Refusal> {
        let mut wrong = Vec::new();
        let mut note = |key: &str, message: String| wrong.push(FieldError::new(key, message));
        let mac = mac.trim().parse::<Mac>().map_err(|e| note("mac", e.to_string())).ok();
        let name = name.trim().parse::<Label>().map_err(|e| note("name", e.to_string())).ok();
        let address = match address.map(str::trim) {
            None => None,
            Some("") => Some(None),
            Some(typed) => {
                let odd = |_| note("address", "Write an IPv4 address, for example 192.168.1.20.".to_owned());
                Some(typed.parse::<Ipv4Addr>().map_err(odd).ok())
            }
        };
        let (Some(mac), Some(name), true) = (mac, name, wrong.is_empty()) else {
            return Err(Refusal::invalid(wrong));
        };
        self.edit_devices(base, author, |devices| {
            match devices.iter_mut().find(|known| known.mac == mac) {
                Some(known) => {
                    let address = address.unwrap_or(known.address);
                    *known = Device { mac, name, address };
                }
                None => devices.push(Device { mac, name, address: address.flatten() }),
            }
            Ok(())
        })
        .await
    }

    /// Forgets what is set for a device.
    pub async fn remove_device(
        self: &Arc<Self>,
        base: Option<i64>,
        mac: &str,
        author: Author,
    ) -> Result<String, Refusal> {
        let missing = || Refusal::field(RefusalKind::Invalid, "mac", "Nothing is set for that device.");
        let mac: Mac = mac.trim().parse().map_err(|_| missing())?;
        self.edit_devices(base, author, |devices| {
            let before = devices.len();
            devices.retain(|known| known.mac != mac);
            if devices.len() == before { Err(missing()) } else { Ok(()) }
        })
        .await
    }

    async fn edit_devices(
        self: &Arc<Self>,
        base: Option<i64>,
        author: Author,
        edit: impl FnOnce(&mut Vec<Device>) -> Result<(), Refusal> + Send,
    ) -> Result<String, Refusal> {
        let mut state = self.state.lock().await;
        state.refuse_now()?;
        state.refuse_stale(base)?;
        let mut wanted = state.settings.clone();
        edit(&mut wanted.devices)?;
        let done = self.replace(&mut state, wanted, "", author).await;
        // What is wrong with the list is wrong with the address that was just typed.
        done.map_err(|mut refusal| {
            for field in refusal.fields.iter_mut().filter(|field| field.key == "devices") {
                field.key = "address".to_owned();
            }
            refusal
        })
    }
}

/// The devices of the home by their addresses.
#[derive(Debug, Default)]
pub(super) struct Names(BTreeMap<Ipv4Addr, KnownDevice>);

impl Names {
    /// Tells what is known: the owner's name for it, or else what it calls itself.
    pub(super) fn tell(&self, device: &mut sessions::Device) {
        let IpAddr::V4(address) = device.address else { return };
        let Some(known) = self.0.get(&address) else { return };
        device.mac.get_or_insert_with(|| known.mac.to_string());
        let own = known.name.as_ref().map(|name| name.as_str().to_owned());
        device.name = own.or_else(|| known.calls_itself.clone());
    }
}

/// Those the owner has named first, in the order of the settings, then the others by address. As many as fit, and how many more.
fn merge(named: &[Device], leases: Vec<Lease>, seen: &[Neighbour]) -> (Vec<KnownDevice>, u32) {
    let mut by_mac: BTreeMap<Mac, Lease> = leases.into_iter().map(|lease| (lease.mac, lease)).collect();
    // By device: whoever forges addresses has the kernel know thousands.
    let mut near: BTreeMap<Mac, Near> = BTreeMap::new();
    for (mac, neighbour) in seen.iter().filter_map(|neighbour| Some((Mac::of(neighbour.mac)?, neighbour))) {
        near.entry(mac).or_default().note(neighbour);
    }
    let known = |mac, device: Option<&Device>, lease: Option<Lease>| {
        let (address, ends) = lease.as_ref().map_or((None, None), |lease| (Some(lease.address), lease.ends));
        let near = near.get(&mac).copied().unwrap_or_default();
        // One that uses an address of its own has no lease.
        let address = address.or_else(|| near.own.map(|(_, address)| address));
        KnownDevice {
            mac,
            name: device.map(|device| device.name.clone()),
            reserved: device.and_then(|device| device.address),
            address,
            calls_itself: lease.and_then(|lease| lease.name),
            seen: near.seen,
            ends,
        }
    };
    let mut all: Vec<KnownDevice> =
        named.iter().map(|device| known(device.mac, Some(device), by_mac.remove(&device.mac))).collect();
    let mut others: Vec<KnownDevice> =
        by_mac.into_values().map(|lease| known(lease.mac, None, Some(lease))).collect();
    let told: BTreeSet<Mac> = all.iter().chain(&others).map(|device| device.mac).collect();
    others.extend(near.keys().filter(|mac| !told.contains(mac)).map(|mac| known(*mac, None, None)));
    // Those without an address last: they are the ones that can be played by the thousand.
    others.sort_by_key(|device| (device.address.is_none(), device.address, device.mac));
    all.extend(others);
    let left_out = all.len().saturating_sub(MOST);
    all.truncate(MOST);
    (all, left_out as u32)
}

/// What the kernel's neighbour table says of one device.
#[derive(Debug, Clone, Copy, Default)]
struct Near {
    /// Seconds since it was last seen.
    seen: Option<u32>,
    /// Its IPv4 address that was seen last, after so many seconds.
    own: Option<(u32, Ipv4Addr)>,
}

impl Near {
    fn note(&mut self, neighbour: &Neighbour) {
        let seconds = neighbour.seen_seconds;
        self.seen = Some(self.seen.map_or(seconds, |seen| seen.min(seconds)));
        if let IpAddr::V4(address) = neighbour.address {
            let own = (seconds, address);
            self.own = Some(self.own.map_or(own, |known| known.min(own)));
        }
    }
}

/// What the owner should know of DHCP and DNS.
pub(super) fn notice(service: &Service) -> Option<String> {
    match service {
        Service::Off | Service::Running => None,
        Service::NotInstalled => Some(
            "The devices get no addresses and no names from this box: dnsmasq is not installed. On Debian install the \
             package dnsmasq-base, on OpenWrt dnsmasq."
                .to_owned(),
        ),
        Service::Failed { words } => Some(format!(
            "The devices get no addresses and no names from this box: {words}. It is tried again by itself."
        )),
    }
}

/// Starts again what has ended: at once, and then after longer and longer pauses.
#[derive(Debug, Default)]
pub(super) struct Nurse {
    starts: u32,
    pause: u32,
    well: u32,
}

impl Nurse {
    /// One look, every few seconds.
    pub(super) async fn look(&mut self, kernel: &impl Kernel, wanted: &Services) {
        let served = kernel.served(wanted);
        let failed = |service: &Service| matches!(service, Service::Failed { .. });
        let names = [("dnsmasq", &served.dnsmasq), ("udhcpc", &served.dhcp_client)];
        let ended: Vec<&str> = names.iter().filter(|(_, is)| failed(is)).map(|(name, _)| *name).collect();
        if ended.is_empty() {
            self.well += 1;
            if self.well >= LONGEST_PAUSE {
                (self.starts, self.pause) = (0, 0);
            }
            return;
        }
        self.well = 0;
        if self.pause > 0 {
            self.pause -= 1;
            return;
        }
        self.pause = 1u32.checked_shl(self.starts).unwrap_or(u32::MAX).min(LONGEST_PAUSE) - 1;
        self.starts = (self.starts + 1).min(LONGEST_PAUSE);
        match kernel.serve(wanted, Load::Commit).await {
            Ok(()) => log::warning(&format!("{} had ended; it was started again", ended.join(" and "))),
            Err(error) => drop(log::incident(&error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::fake::Fake;
    use crate::settings::tests::router;

    fn lease(last: u8, name: Option<&str>) -> Lease {
        Lease {
            mac: format!("02:00:00:00:01:{last:02x}").parse().unwrap(),
            address: [192, 168, 1, last].into(),
            name: name.map(str::to_owned),
            ends: Some(1_795_000_000),
        }
    }

    #[test]
    fn an_address_is_told_by_the_owners_name_or_else_by_what_the_device_calls_itself() {
        let named = Device { mac: lease(7, None).mac, name: "Desk".parse().unwrap(), address: None };
        let (all, _) = merge(&[named], vec![lease(7, Some("tv")), lease(8, Some("phone"))], &[]);
        let names = Names(all.into_iter().map(|known| (known.address.unwrap(), known)).collect());
        let told = |last: u8| {
            let mut device = sessions::device([192, 168, 1, last].into(), None);
            names.tell(&mut device);
            (device.name, device.mac.is_some())
        };
        assert_eq!(told(7), (Some("Desk".to_owned()), true));
        assert_eq!(told(8), (Some("phone".to_owned()), true));
        assert_eq!(told(9), (None, false));
    }

    #[test]
    fn a_lease_and_a_reservation_of_one_device_are_one_line() {
        let named = |last: u8| Device {
            mac: lease(last, None).mac,
            name: format!("Device {last}").parse().unwrap(),
            address: Some([192, 168, 1, 20].into()),
        };
        let leases = vec![lease(9, Some("<b>")), lease(7, Some("tv")), lease(8, None)];
        let (all, left_out) = merge(&[named(5), named(7)], leases, &[]);
        let lines: Vec<String> = all
            .iter()
            .map(|d| format!("{:?} {:?} {:?}", d.name.as_ref().map(Label::as_str), d.address, d.calls_itself))
            .collect();
        assert_eq!(
            lines,
            [
                "Some(\"Device 5\") None None",
                "Some(\"Device 7\") Some(192.168.1.7) Some(\"tv\")",
                "None Some(192.168.1.8) None",
                "None Some(192.168.1.9) Some(\"<b>\")",
            ]
        );
        assert_eq!(left_out, 0);
        let many = (0..=255).map(|last| lease(last, None)).collect();
        assert_eq!(merge(&[], many, &[]).1, 106);
    }

    #[test]
    fn a_neighbour_without_a_lease_is_a_device_and_one_with_a_lease_was_seen() {
        let seen = |last: u8, address: IpAddr, seconds| Neighbour {
            device: 2,
            mac: [2, 0, 0, 0, 1, last],
            address,
            seen_seconds: seconds,
        };
        let neighbours = [
            seen(7, [192, 168, 1, 7].into(), 40),
            seen(7, "fe80::7".parse().unwrap(), 3),
            seen(9, [192, 168, 1, 200].into(), 5),
            Neighbour { mac: [1, 0, 0x5e, 0, 0, 1], ..seen(1, [224, 0, 0, 1].into(), 0) },
        ];
        let (all, _) = merge(&[], vec![lease(7, Some("tv")), lease(8, None)], &neighbours);
        let lines: Vec<_> =
            all.iter().map(|d| (d.address.map(|a| a.octets()[3]), d.seen, d.ends.is_some())).collect();
        assert_eq!(lines, [(Some(7), Some(3), true), (Some(8), None, true), (Some(200), Some(5), false)]);
    }

    #[test]
    fn a_full_answer_fits_into_a_frame_of_the_door() {
        let many = (0..=255).map(|last| lease(last, Some(&"\u{10ffff}".repeat(63)))).collect();
        let (devices, left_out) = merge(&[], many, &[]);
        let answer = crate::door::messages::Response::Devices { devices, left_out };
        assert!(serde_json::to_vec(&answer).unwrap().len() < 64 * 1024);
    }

    #[tokio::test]
    async fn what_ends_again_and_again_is_started_less_and_less_often() {
        let (fake, wanted) = (Fake::new(), crate::services::compile(&router(), None, None));
        let mut nurse = Nurse::default();
        let mut starts = Vec::new();
        for look in 0..40 {
            fake.forget_calls();
            nurse.look(&fake, &wanted).await;
            if !fake.calls().is_empty() {
                starts.push(look);
                fake.serve(&Services::default(), Load::Commit).await.unwrap();
            }
        }
        assert_eq!(starts, [0, 1, 3, 7, 15, 31], "at once, then after 1, 2, 4, 8, 16 looks");
    }
}
