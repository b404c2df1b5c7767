//! `postern-lab paper STATE DOOR`: the daemon with its own store, logins and door, on a kernel of paper.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use postern::appliance::{Appliance, Folders, Options, memory, reset};
use postern::certificate::Certificates;
use postern::door::server::{Ended, Server};
use postern::kernel::SeenLink;
use postern::kernel::fake::Fake;
use postern::kernel::hand::PROGRAMS;
use postern::login::Logins;
use postern::store::Store;

/// Until `postern stop`, a restart or a reset.
///
/// # Errors
/// There is no box at all: in words.
pub(super) fn paper(words: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
    let mut folder = || words.value().map(PathBuf::from);
    let (state, door) = (folder()?, folder()?);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    let ended = runtime.block_on(run(&state, &door))?;
    eprintln!("ended: {ended:?}");
    Ok(())
}

/// In the order of the real one's `daemon::run`.
async fn run(state: &Path, door: &Path) -> Result<Ended, String> {
    let link = |name: &str, index| SeenLink {
        name: name.into(),
        up: true,
        carrier: true,
        index,
        ..SeenLink::default()
    };
    let fake = Fake::new();
    fake.set_links(vec![link("lan0", 2), link("wan0", 3)]);
    let (state_folder, services, programs) = (state.to_owned(), door.join("services"), door.join(PROGRAMS));
    let folders = Folders { state: state_folder, services, programs };
    if reset::decided(&folders) {
        reset::forget(&fake, &folders).await;
    }
    let store = Store::rescue(state).await.map_err(|error| error.to_string())?;
    let options = Options {
        boot: "boot".to_owned(),
        memory: Some(state.join(memory::FILE)),
        folders: Some(folders.clone()),
        ..Options::default()
    };
    let appliance = Appliance::open(fake, store.clone(), options).await.map_err(|refusal| refusal.message)?;
    let appliance = Arc::new(appliance);
    let journal = appliance.journal().clone();
    tokio::spawn(async move { journal.keep().await });
    appliance.boot().await;
    let logins = Logins::new(store.clone());
    let server = Server::new(appliance.clone(), logins, Certificates::of(state));
    let ended = server.serve(door, None).await.map_err(|error| format!("no door: {error}"));
    appliance.rest().await;
    if reset::decided(&folders) {
        appliance.forget().await;
    }
    store.close().await;
    ended
}
