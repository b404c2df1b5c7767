//! `postern sides` and `postern import uci`: what another firewall on this box says, read by whoever runs the command line (root, as a
//! rule: the daemon may not read everything). What is taken goes through the door like any other change.

use std::fmt::Write as _;
use std::fs::read_to_string;
use std::path::Path;

use crate::door::client::Door;
use crate::door::messages::{Call, Request, Response};
use crate::sides::{Said, propose};
use crate::uci::{self, Files};

use super::{ADMIN, show, unreachable};

/// Where OpenWrt keeps its configuration.
pub const UCI: &str = "/etc/config";
/// Where firewalld keeps its zones, as somebody has changed them.
const ZONES: &str = "/etc/firewalld/zones";

fn file(path: &Path) -> String {
    read_to_string(path).unwrap_or_default()
}

/// What seems to be the two sides, and how to take it.
pub fn sides(json: bool) -> Result<String, String> {
    let config = Path::new(UCI);
    let zones = std::fs::read_dir(ZONES).into_iter().flatten().flatten();
    let zones = zones.filter(|entry| entry.path().extension().is_some_and(|kind| kind == "xml"));
    let said = Said {
        uci: [file(&config.join("network")), file(&config.join("firewall"))],
        zones: zones.map(|entry| file(&entry.path())).collect(),
        route: file(Path::new("/proc/net/route")),
        addresses: file(Path::new("/proc/net/fib_trie")),
    };
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
        "By {}, {} leads to the internet and {} is the local network ({address}).\nTo take it: postern set {}\n",
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
    let [network, firewall, dhcp] = ["network", "firewall", "dhcp"].map(|name| file(&folder.join(name)));
    if network.is_empty() && firewall.is_empty() {
        return Err(format!("There is no configuration of OpenWrt in {}.", folder.display()));
    }
    let read = uci::read(&Files { network: &network, firewall: &firewall, dhcp: &dhcp }, &now);
    let request = Request::Import { text: read.settings.to_toml(), dry, base_revision: Some(revision) };
    let mut text = show::answer(&ask(request).await?, json)?;
    if !json {
        for told in &read.left_out {
            let _ = writeln!(text, "Not taken: {told}"); // writing to a String cannot fail
        }
    }
    print!("{text}");
    Ok(())
}
