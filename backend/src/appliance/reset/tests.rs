use std::time::Duration;

use super::*;
use crate::appliance::Options;
use crate::appliance::tests::{Home, ROUTER};
use crate::kernel::SeenLink;
use crate::kernel::fake::Fake;
use crate::store::{FILE, Store};

/// What is there after a reset: the folder, with nothing in it.
const LEFT: [&str; 2] = [LOCK, PROGRAMS];

/// Folders as a daemon fills them.
struct Kept(Folders);

impl Kept {
    fn new(name: &str) -> Self {
        let at = std::env::temp_dir().join(format!("postern-reset-{name}-{}", std::process::id()));
        drop(std::fs::remove_dir_all(&at));
        let folders =
            Folders { state: at.join("state"), services: at.join("services"), programs: at.join("programs") };
        for folder in [&folders.state.join(PROGRAMS), &folders.services, &folders.programs] {
            std::fs::create_dir_all(folder).unwrap();
        }
        std::fs::write(folders.state.join(LOCK), "").unwrap();
        Self(folders)
    }

    fn fill(&self) {
        std::fs::create_dir_all(self.0.state.join("postern.db.damaged")).unwrap();
        for name in ["last-good.json", "learnt.json", "programs/dnsmasq.leases"] {
            std::fs::write(self.0.state.join(name), "canary").unwrap();
        }
        std::fs::write(self.0.services.join("pppoe.json"), "canary").unwrap();
        std::fs::write(self.0.programs.join("dnsmasq.conf"), "canary").unwrap();
    }

    fn names(&self) -> Vec<String> {
        let names = |folder: &Path| {
            let all = std::fs::read_dir(folder).unwrap();
            all.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect::<Vec<_>>()
        };
        let folders = [&self.0.state, &self.0.state.join(PROGRAMS), &self.0.services, &self.0.programs];
        let mut all = folders.map(|folder| names(folder)).concat();
        all.sort();
        all
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        drop(std::fs::remove_dir_all(self.0.state.parent().unwrap()));
    }
}

fn links() -> Vec<SeenLink> {
    let link = |name: &str, index| SeenLink { name: name.into(), up: true, index, ..SeenLink::default() };
    vec![link("lan0", 2), link("wan0", 3)]
}

/// A router of paper, as its daemon leaves it.
async fn router() -> Fake {
    let fake = Fake::new();
    fake.set_links(links());
    let home = Home::started(fake.clone(), Store::in_memory().await.unwrap()).await;
    home.set(&ROUTER).await.unwrap();
    fake
}

fn forwards(fake: &Fake) -> bool {
    fake.network().sysctls.iter().any(|(path, value)| path.ends_with("ip_forward") && value == "1")
}

fn has_rules(fake: &Fake) -> bool {
    fake.loaded().is_some_and(|text| text.contains("policy drop"))
}

fn has_internet(fake: &Fake) -> bool {
    let network = fake.network();
    network.links.iter().any(|link| link.name.as_str() == "wan0" && !link.addresses.is_empty())
}

#[tokio::test]
async fn wherever_a_reset_is_killed_the_box_is_closed_and_the_next_start_finishes_it() {
    let probe = router().await;
    assert!(forwards(&probe) && has_rules(&probe) && has_internet(&probe), "{:?}", probe.network());
    let mut deaths = 0;
    for k in 1..20 {
        let (fake, kept) = (router().await, Kept::new(&format!("kill-{k}")));
        kept.fill();
        write(&kept.0.state, &Mark { internet: Some("wan0".parse().unwrap()) }).unwrap();
        fake.die_at(k);
        let died = tokio::time::timeout(Duration::from_millis(50), forget(&fake, &kept.0)).await.is_err();
        assert!(has_rules(&fake) || !forwards(&fake) && !has_internet(&fake), "open after {k} calls");
        fake.revive();
        if died {
            deaths += 1;
            assert!(decided(&kept.0), "the next start knows");
            forget(&fake, &kept.0).await;
        }
        assert_eq!(kept.names(), LEFT, "after {k} calls");
        assert!(!has_rules(&fake) && !forwards(&fake) && !has_internet(&fake));
    }
    assert!((4..19).contains(&deaths), "{deaths} calls were cut off, and then none");
}

#[tokio::test]
async fn whatever_the_kernel_refuses_rules_stay_and_everything_is_deleted_all_the_same() {
    for k in 1..10 {
        let (fake, kept) = (router().await, Kept::new(&format!("fail-{k}")));
        kept.fill();
        write(&kept.0.state, &Mark { internet: Some("wan0".parse().unwrap()) }).unwrap();
        fake.fail_at(k);
        forget(&fake, &kept.0).await;
        assert!(has_rules(&fake) || !forwards(&fake) && !has_internet(&fake), "open after call {k} failed");
        assert_eq!(kept.names(), LEFT, "call {k}");
    }
}

#[tokio::test]
async fn a_box_without_a_role_keeps_its_network_and_a_mark_that_was_cut_short_counts() {
    let (fake, kept) = (Fake::new(), Kept::new("unset"));
    kept.fill();
    fake.set_links(links());
    std::fs::write(kept.0.state.join(MARK), "{\"inter").unwrap();
    forget(&fake, &kept.0).await;
    assert_eq!(kept.names(), LEFT);
    assert_eq!(fake.network(), Network::default(), "it is not ours");
}

#[tokio::test]
async fn a_reset_is_decided_before_anything_goes_and_nothing_begins_after_it() {
    let (fake, kept) = (Fake::new(), Kept::new("decide"));
    fake.set_links(links());
    let store = Store::open(&kept.0.state).await.unwrap();
    let options = Options { folders: Some(kept.0.clone()), ..Options::default() };
    let appliance = std::sync::Arc::new(Appliance::open(fake.clone(), store, options).await.unwrap());
    appliance.boot().await;
    let set = |key: &str| vec![crate::appliance::Assignment { key: key.into(), value: "true".into() }];
    let change = async |key| appliance.change(None, &set(key), "", Author::command_line()).await;
    change("helpers.ftp").await.unwrap();
    appliance.reset(&Author::command_line()).await.unwrap();
    assert!(decided(&kept.0) && kept.0.state.join(FILE).exists());
    assert_eq!(change("helpers.sip").await.unwrap_err().kind, RefusalKind::Failed);
    assert!(appliance.reset(&Author::command_line()).await.is_err(), "once is enough");
    appliance.rest().await;
    appliance.forget().await;
    assert_eq!(kept.names(), LEFT);
    let again = Store::rescue(&kept.0.state).await.unwrap();
    assert!(again.newest_confirmed().await.unwrap().is_none() && again.condition().notice.is_none());
    again.close().await;
}
