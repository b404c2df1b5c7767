use std::path::Path;

use super::*;
use crate::appliance::Options;
use crate::appliance::tests::Home;
use crate::kernel::fake::Fake;
use crate::sides::files::Places;
use crate::store::Store;

/// A folder of OpenWrt's configuration that goes with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("postern-uci-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let this = Self(folder);
        for name in ["network", "firewall", "dhcp"] {
            let fixtures = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src/uci/fixtures"));
            std::fs::copy(fixtures.join(name), this.0.join(name)).unwrap();
        }
        this
    }

    async fn home(&self) -> Home {
        let places = Places { uci: vec![self.0.clone()], ..Places::default() };
        let (fake, store) = (Fake::new(), Store::in_memory().await.unwrap());
        let options = Options { places, ..Options::default() };
        let appliance = Arc::new(Appliance::open(fake.clone(), store.clone(), options).await.unwrap());
        appliance.boot().await;
        Home { fake, store, appliance }
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn author() -> Author {
    Author::command_line()
}

fn keys_of(from: &FromUci, part: Part) -> Vec<&str> {
    let part = from.parts.iter().find(|one| one.part == part).unwrap();
    part.differs.iter().map(|differs| differs.key.as_str()).collect()
}

#[tokio::test]
async fn what_openwrt_says_is_shown_by_part_and_taken_when_told_to() {
    let folder = Folder::new("parts");
    let home = folder.home().await;
    let beside = home.appliance.beside().await;
    assert_eq!(beside.uci, Uci::There { folder: folder.0.display().to_string() });
    assert_eq!(beside.proposal.map(|one| one.internet).as_deref(), Some("wan"));
    let from = home.appliance.from_uci().unwrap();
    assert_eq!(
        keys_of(&from, Part::Sides),
        ["internet.device", "local_network.devices", "local_network.address"]
    );
    assert_eq!(keys_of(&from, Part::Devices), ["devices.02:00:00:00:00:20"]);
    assert_eq!(keys_of(&from, Part::Forwards).len(), 4);
    assert_eq!(keys_of(&from, Part::Helpers), ["passthrough.pptp.enabled", "helpers.ftp"]);
    assert_eq!(home.appliance.settings().0, 0, "looked at, not taken");

    // The home of these is not ours yet.
    let alone = home.appliance.take_uci(None, &from.digest, &[Part::Forwards], author()).await.unwrap_err();
    assert_eq!((alone.kind, alone.fields[0].key.as_str()), (RefusalKind::Invalid, "forwards"));
    let other = home.appliance.take_uci(None, "0", &Part::ALL, author()).await.unwrap_err();
    assert_eq!(other.kind, RefusalKind::Conflict);
    home.appliance.take_uci(Some(0), &from.digest, &[Part::Helpers], author()).await.unwrap();
    let stale = home.appliance.take_uci(Some(0), &from.digest, &[Part::Sides], author()).await.unwrap_err();
    assert_eq!(stale.kind, RefusalKind::Conflict);
    let said = home.appliance.take_uci(None, &from.digest, &Part::ALL, author()).await.unwrap();
    assert!(said.contains("on trial"), "{said}");
    home.appliance.confirm(None, author()).await.unwrap();
    let again = home.appliance.from_uci().unwrap();
    assert!(again.parts.iter().all(|part| part.differs.is_empty()), "{again:?}");
    assert_eq!(home.appliance.settings().1.forwards.len(), 4);
}

#[tokio::test]
async fn its_forwards_are_taken_only_with_the_password_typed_just_now() {
    let folder = Folder::new("proof");
    let home = folder.home().await;
    let from = home.appliance.from_uci().unwrap();
    let browser = |fresh| Author::browser(None).with_proof(fresh);
    let take = |fresh| home.appliance.take_uci(None, &from.digest, &Part::ALL, browser(fresh));
    assert_eq!(take(false).await.unwrap_err().kind, RefusalKind::Prove);
    assert_eq!(home.appliance.settings(), (0, Settings::default()), "nothing was taken");
    take(true).await.unwrap();
    assert_eq!(home.appliance.settings().1.forwards.len(), 4);
}

#[tokio::test]
async fn files_that_changed_meanwhile_or_cannot_be_read_are_not_taken() {
    let folder = Folder::new("changed");
    let home = folder.home().await;
    let from = home.appliance.from_uci().unwrap();
    std::fs::write(folder.0.join("dhcp"), "config host\n\toption name 'x\n").unwrap();
    let refused = home.appliance.take_uci(None, &from.digest, &Part::ALL, author()).await.unwrap_err();
    assert_eq!(refused.kind, RefusalKind::Conflict);
    let broken = home.appliance.from_uci().unwrap_err();
    assert!(broken.message.contains("dhcp, line 2: a quote begins here"), "{}", broken.message);
    std::fs::remove_file(folder.0.join("dhcp")).unwrap();
    std::fs::create_dir(folder.0.join("dhcp")).unwrap();
    assert!(matches!(home.appliance.beside().await.uci, Uci::Unreadable { .. }));
    assert!(home.appliance.from_uci().unwrap_err().message.contains("As root"));
    for name in ["network", "firewall"] {
        std::fs::remove_file(folder.0.join(name)).unwrap();
    }
    std::fs::remove_dir(folder.0.join("dhcp")).unwrap();
    assert_eq!(home.appliance.beside().await, Beside::default());
    assert!(home.appliance.from_uci().is_err());
}
