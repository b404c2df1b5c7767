//! Who attacks the admin page: guessers, thieves of logins, whoever sends too much, too slowly or nonsense, and names that are traps.

#[path = "admin/claim.rs"]
mod claim;
#[path = "admin/fresh.rs"]
mod fresh;
#[path = "admin/names.rs"]
mod names;
#[path = "admin/overload.rs"]
mod overload;
#[path = "admin/scene.rs"]
mod scene;
#[path = "admin/secrets.rs"]
mod secrets;
#[path = "admin/storm.rs"]
mod storm;
#[path = "admin/wire.rs"]
mod wire;
