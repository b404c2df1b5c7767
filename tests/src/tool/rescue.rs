//! `postern-lab rescue`: starts on the state folders whose paths it is given, a line each, as the daemon does, but on a kernel of
//! paper; tells a line of [`Rescued`] for each.

use std::io::BufRead;
use std::path::Path;
use std::sync::Arc;

use postern::appliance::{Appliance, Options};
use postern::kernel::SeenLink;
use postern::kernel::fake::Fake;
use postern::ruleset::{self, Capabilities};
use postern::store::{FILE, Store, kept};
use serde_json::json;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePoolOptions};

use crate::rescue::Rescued;

/// Until the end of input.
///
/// # Errors
/// No runtime, no input.
pub(super) fn rescue() -> Result<(), lexopt::Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| error.to_string())?;
    for line in std::io::stdin().lock().lines() {
        let line = line.map_err(|error| error.to_string())?;
        let rescued = runtime.block_on(start(Path::new(&line)));
        super::tell(&json!(rescued));
    }
    Ok(())
}

async fn start(folder: &Path) -> Rescued {
    let copy = kept(folder).map(Result::ok);
    let store = match Store::rescue(folder).await {
        Ok(store) => store,
        Err(error) => return Rescued { error: Some(error.to_string()), copy, ..Rescued::default() },
    };
    let condition = store.condition().clone();
    let fake = Fake::new();
    let link = |name: &str, index| SeenLink {
        name: name.into(),
        up: true,
        carrier: true,
        index,
        ..SeenLink::default()
    };
    fake.set_links(vec![link("lan0", 2), link("wan0", 3)]);
    let options = Options { boot: "another boot".to_owned(), ..Options::default() };
    let appliance = match Appliance::open(fake.clone(), store.clone(), options).await {
        Ok(appliance) => Arc::new(appliance),
        Err(refusal) => return Rescued { error: Some(refusal.message), copy, ..Rescued::default() },
    };
    appliance.boot().await;
    let settings = appliance.settings().1;
    let loaded = fake.loaded();
    let compiled = ruleset::compile(&settings, &Capabilities::everything());
    let password = store.password().await.ok().flatten();
    store.close().await;
    let (integrity, revisions) =
        afterwards(folder).await.unwrap_or_else(|error| (error.to_string(), Vec::new()));
    Rescued {
        error: None,
        notice: condition.notice.clone(),
        closes: condition.closes(),
        integrity,
        password,
        revisions,
        copy,
        rules: loaded.as_deref().and_then(about),
        as_settings: loaded.is_some_and(|text| text.ends_with(&compiled.to_string())),
        settings,
    }
}

/// What the one rule of the chain `about` says.
fn about(text: &str) -> Option<String> {
    let (_, rest) = text.rsplit_once("\tchain about {\n\t\treturn comment \"")?;
    rest.split('"').next().map(str::to_owned)
}

/// SQLite's own word on the file, and the revisions in it: read without the store, which would read every document.
async fn afterwards(folder: &Path) -> Result<(String, Vec<(i64, String)>), sqlx::Error> {
    let options = SqliteConnectOptions::new().filename(folder.join(FILE));
    let pool = SqlitePoolOptions::new().max_connections(1).connect_with(options).await?;
    let (word,): (String,) = sqlx::query_as("PRAGMA integrity_check").fetch_one(&pool).await?;
    let revisions =
        sqlx::query_as("SELECT id, state FROM revision ORDER BY id DESC").fetch_all(&pool).await?;
    pool.close().await;
    Ok((word, revisions))
}
