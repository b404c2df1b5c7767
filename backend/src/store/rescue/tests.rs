use super::*;
use crate::settings::keys::set;
use crate::settings::tests::router;

/// A state directory of its own, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("postern-rescue-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn of(role: Role) -> Settings {
    Settings { role, ..router() }
}

/// Keeps these one after the other, as owners do, and then spoils the newest and perhaps the copy.
async fn damaged(folder: &Folder, roles: &[Role], spoilt: &str, copy_too: bool) {
    let store = Store::rescue(&folder.0).await.unwrap();
    let before = Before { boot: String::new(), network: Network::default() };
    for (number, role) in roles.iter().enumerate() {
        let mut settings = of(*role);
        set(&mut settings, "system.name", &format!("box{number}")).unwrap();
        let new = NewRevision {
            settings: &settings,
            base: number as i64,
            before: &before,
            who: "root",
            via: "command line",
            comment: "",
        };
        let id = store.save(new).await.unwrap();
        store.mark(id, RevisionState::Confirmed).await.unwrap();
    }
    sqlx::query("UPDATE revision SET settings = ?1 WHERE id = (SELECT max(id) FROM revision)")
        .bind(spoilt)
        .execute(&store.pool)
        .await
        .unwrap();
    store.close().await;
    if copy_too {
        std::fs::write(folder.0.join(COPY), "lightning").unwrap();
    }
}

async fn start(folder: &Folder) -> (Option<Settings>, Condition) {
    let store = Store::rescue(&folder.0).await.unwrap();
    let kept = store.newest_confirmed().await.unwrap().map(|kept| kept.settings);
    let condition = store.condition().clone();
    store.close().await;
    (kept, condition)
}

/// The store's schema takes nothing but JSON; what is none sets the whole store aside.
const NOTHING: &str = "1";

#[tokio::test]
async fn a_damaged_newest_revision_is_made_up_for_by_the_copy_which_is_as_new() {
    let folder = Folder::new("copy");
    damaged(&folder, &[Role::Router, Role::Companion], NOTHING, false).await;
    for start_number in 0..2 {
        let (kept, condition) = start(&folder).await;
        let kept = kept.unwrap();
        assert_eq!((kept.role, kept.system.name.to_string().as_str()), (Role::Companion, "box1"));
        assert_eq!(condition.notice.is_some_and(|told| told.contains("damaged")), start_number == 0);
        assert!(!condition.lost);
    }
}

#[tokio::test]
async fn without_the_copy_the_one_before_is_used_if_it_is_of_the_same_role() {
    for role in [Role::Router, Role::Companion] {
        let folder = Folder::new("before");
        damaged(&folder, &[role, role], NOTHING, true).await;
        let (kept, condition) = start(&folder).await;
        assert_eq!(kept.unwrap().system.name.to_string(), "box0");
        assert!(!condition.lost && condition.notice.unwrap().contains("Revision 1 is in force"));
    }
}

#[tokio::test]
async fn a_companion_never_becomes_a_router_and_a_router_never_a_companion_by_damage() {
    let named = |role: &str| format!(r#"{{"role":"{role}","from":"the future"}}"#);
    for (roles, spoilt, closes) in [
        ([Role::Router, Role::Companion], NOTHING.to_owned(), false),
        ([Role::Router, Role::Companion], named("companion"), false),
        ([Role::Companion, Role::Router], NOTHING.to_owned(), true),
        ([Role::Companion, Role::Router], named("router"), true),
        ([Role::Unset, Role::Router], NOTHING.to_owned(), true),
    ] {
        let folder = Folder::new("another");
        damaged(&folder, &roles, &spoilt, true).await;
        for _ in 0..2 {
            let (kept, condition) = start(&folder).await;
            assert_eq!(kept, None, "{roles:?} {spoilt}: no settings are better than another role's");
            assert_eq!((condition.lost, condition.closes()), (true, closes), "{roles:?} {spoilt}");
            assert_eq!(beside_others(&folder.0), !closes);
        }
    }
}

#[tokio::test]
async fn a_copy_of_another_role_than_the_damaged_revision_says_of_itself_is_not_used() {
    let folder = Folder::new("stale");
    damaged(&folder, &[Role::Router, Role::Router], r#"{"role":"companion","x":1}"#, false).await;
    // Of the revision before, which the power cut left it at.
    let stale = read(&folder.0).map(|copy| Copy { revision: 1, ..copy }).unwrap();
    write(&folder.0, &stale).unwrap();
    let mut told = Vec::new();
    for _ in 0..2 {
        let (kept, condition) = start(&folder).await;
        assert_eq!((kept, condition.lost, condition.closes()), (None, true, false));
        told.push(condition.notice.unwrap_or_default());
    }
    assert!(
        told.iter().all(|told| told.contains("another role") && told.contains(OF_ANOTHER_ROLE)),
        "{told:?}"
    );
    let aside = std::fs::read_to_string(folder.0.join(OF_ANOTHER_ROLE)).unwrap();
    assert!(aside.contains("\"role\":\"router\""), "the owner\u{2019}s settings are not destroyed: {aside}");
}

#[tokio::test]
async fn what_is_kept_after_a_loss_ends_it() {
    let folder = Folder::new("anew");
    damaged(&folder, &[Role::Router, Role::Companion], NOTHING, true).await;
    start(&folder).await;
    damaged(&folder, &[Role::Companion, Role::Companion], NOTHING, false).await;
    let (kept, condition) = start(&folder).await;
    assert_eq!((kept.unwrap().role, condition.lost), (Role::Companion, false));
}

#[tokio::test]
async fn a_damaged_password_is_kept_in_the_copy_and_a_copy_that_cannot_be_written_is_told_until_it_can() {
    let folder = Folder::new("password");
    damaged(&folder, &[Role::Router], NOTHING, false).await;
    let store = Store::rescue(&folder.0).await.unwrap();
    assert!(store.claim("a hash").await.unwrap() && !store.copy_is_old());
    store.damage_the_password().await;
    let before = Before { boot: String::new(), network: Network::default() };
    let mut settings = of(Role::Router);
    let mut kept = 1;
    let mut keep = async |store: &Store, name: &str| {
        set(&mut settings, "system.name", name).unwrap();
        let new = NewRevision {
            settings: &settings,
            base: kept,
            before: &before,
            who: "root",
            via: "",
            comment: "",
        };
        kept = store.save(new).await.unwrap();
        store.mark(kept, RevisionState::Confirmed).await.unwrap();
    };
    keep(&store, "later").await;
    let copy = read(&folder.0).unwrap();
    assert_eq!(
        (copy.password.as_deref(), copy.settings.system.name.to_string().as_str()),
        (Some("a hash"), "later")
    );
    // What it is written as first cannot be made.
    let new = folder.0.join(COPY).with_extension("new");
    std::fs::create_dir(&new).unwrap();
    keep(&store, "last").await;
    assert!(store.copy_is_old(), "the store has it and the copy has not");
    std::fs::remove_dir(&new).unwrap();
    store.keep_copy().await;
    assert!(!store.copy_is_old());
    assert_eq!(read(&folder.0).unwrap().settings.system.name.to_string(), "last");
    store.close().await;
}
