//! What the kernel and nft can do: asked of them with `nft --check`, which hands a table to the kernel and takes it
//! back. `/sys/module` says nothing about what is built in, and `nf_tables` loads helper modules by itself when asked.

use super::{Error, nft};
use crate::ruleset::Capabilities;

const NOTHING: &str = "table inet postern_probe {\n}\n";
const PPTP_HELPER: &str = "table inet postern_probe {
  ct helper pptp {
    type \"pptp\" protocol tcp; l3proto ip;
  }
}
";

pub(super) async fn capabilities() -> Result<Capabilities, Error> {
    // Without the right to ask, every answer would be no.
    nft::check(NOTHING).await?;
    Ok(Capabilities { pptp_helper: taken(PPTP_HELPER).await? })
}

async fn taken(table: &str) -> Result<bool, Error> {
    match nft::check(table).await {
        Ok(()) => Ok(true),
        Err(Error::NftRefused(_)) => Ok(false),
        Err(e) => Err(e),
    }
}
