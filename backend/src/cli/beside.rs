//! `postern sides` and `postern import uci`: what another firewall on this box says, read by whoever runs the command line (root, as a
//! rule: the daemon may not read everything). What is taken goes through the door like any other change.

use std::fmt::Write as _;
use std::path::Path;

use crate::door::client::Door;
use crate::door::messages::{Call, Request, Response};
use crate::sides::files::Places;
use crate::sides::propose;
use crate::uci::{self, Files, Part};

use super::{ADMIN, say, show, unreachable};

pub use crate::sides::files::UCI;

/// What seems to be the two sides, and how to take it.
pub fn sides(json: bool) -> Result<String, String> {
    let said = Places::here(None).read().said;
    let proposal = propose(&said);
    if json {
        return serde_json::to_string_pretty(&proposal)
            .map(|text| text + "\n")
            .map_err(|e| format!("cannot print: {e}"));
    }
    let Some(found) = proposal else {
        return Ok("Nothing here tells the two sides for sure. Name them: postern set role=companion internet.device=DEVICE \
                   local_network.devices=DEVICE local_network.address=ADDRESS/PREFIX\n"
            .to_owned());
    };
    let address = found.address.as_deref().unwrap_or("address not known");
    Ok(format!(
        "By {}, {} leads to the internet and {} is the local network ({address}).\nTo be a companion of another firewall with these: postern set {}\n",
        found.from,
        found.internet,
        found.local,
        found.assignments().join(" ")
    ))
}

/// Reads the configuration in `folder` and takes it, or (`dry`) says what would change.
pub async fn import(door: &Path, json: bool, folder: &Path, dry: bool) -> Result<(), String> {
    let daemon = Door::new(door.join(ADMIN));
    let ask = async |request| {
        let call = Call { ticket: None, source: None, attended: true, request };
        match daemon.call(call).await.map_err(|e| unreachable(door, &e))? {
            Response::Refused(refusal) => Err(show::refusal(&refusal, json)),
            answer => Ok(answer),
        }
    };
    let Response::Settings { settings: now, revision } = ask(Request::Settings).await? else {
        return Err("The daemon gave another answer than was asked for.".to_owned());
    };
    let found = Places { uci: vec![folder.to_owned()], ..Places::default() }.read();
    if found.folder.is_none() {
        return Err(format!("There is no configuration of OpenWrt in {}.", folder.display()));
    }
    if let Some(path) = found.unreadable {
        return Err(format!(
            "{} cannot be read: it is no file, too long, or not yours to read.",
            path.display()
        ));
    }
    let [network, firewall, dhcp] = &found.said.uci;
    let read = uci::read(&Files { network, firewall, dhcp }, &now, &Part::ALL).map_err(|broken| {
        format!("{}/{broken} OpenWrt cannot read it either. Nothing was taken.", folder.display())
    })?;
    let request = Request::Import { text: read.settings.to_toml(), dry, base_revision: Some(revision) };
    let mut text = show::answer(&ask(request).await?, json)?;
    if !json {
        for left in &read.left_out {
            let _ = writeln!(text, "Not taken: {}", left.sentence); // writing to a String cannot fail
        }
    }
    say(&text)
}
