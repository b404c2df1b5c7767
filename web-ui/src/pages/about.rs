//! `/system/about`: which version this is, under which licence, what runs, and what the kernel can do.

use askama::Template;
use axum::http::StatusCode;
use axum::response::Response;
use postern::door::messages::{Rules, Status};
use postern::services::Service;
use postern::settings::Role;

use super::look_again::Able;
use crate::error::Problem;
use crate::login::Admin;
use crate::view::{Chrome, html};
use crate::words::{grouped, span};

/// Where it is.
pub const HERE: &str = "/system/about";

/// What both programs are built from: a line for each licence, `MIT: axum, tokio`. Made by `cargo tree --edges normal
/// --prefix none --format '{p}|{l}' -p postern -p postern-web`.
const CRATES: &str = include_str!("about/crates.txt");

#[derive(Template)]
#[template(path = "about.html")]
struct AboutPage {
    chrome: Chrome,
    version: &'static str,
    licence: &'static str,
    /// What runs: its name, and how it is.
    runs: Vec<(&'static str, String)>,
    /// Licence, and the parts that are under it.
    parts: Vec<(&'static str, &'static str)>,
    able: Able,
}

/// As it is now.
pub async fn show(admin: Admin) -> Result<Response, Problem> {
    let page = AboutPage {
        chrome: admin.chrome(HERE).await,
        version: env!("CARGO_PKG_VERSION"),
        licence: env!("CARGO_PKG_LICENSE"),
        runs: runs(&admin.status),
        parts: CRATES.lines().filter_map(|line| line.split_once(": ")).collect(),
        able: Able::of(&admin.status, |_| true),
    };
    Ok(html(StatusCode::OK, &page))
}

fn runs(status: &Status) -> Vec<(&'static str, String)> {
    let (entries, most) = status.conntrack;
    let entries = if most > 0 {
        format!("{} of {} entries", grouped(entries), grouped(most))
    } else {
        "not known".to_owned()
    };
    vec![
        ("Role", role(status.role).to_owned()),
        ("Daemon", format!("running for {}", span(status.uptime_seconds))),
        ("Firewall rules", rules(&status.rules).to_owned()),
        ("DHCP and names (dnsmasq)", service(&status.dhcp_dns)),
        ("Connection table", entries),
        ("Settings", format!("revision {}", status.revision)),
    ]
}

fn role(role: Role) -> &'static str {
    match role {
        Role::Unset => "none yet",
        Role::Router => "router",
        Role::Companion => "companion of another firewall",
    }
}

fn rules(rules: &Rules) -> &'static str {
    match rules {
        Rules::Loaded => "in the kernel, as Postern loaded them",
        Rules::NotWanted => "none: this box has no role",
        Rules::Deny => "only the safe ones: nothing is forwarded",
        Rules::Edited => "in the kernel, and changed by somebody else",
        Rules::Missing => "missing in the kernel",
        Rules::Unknown { .. } => "not known: the kernel could not be asked",
    }
}

fn service(service: &Service) -> String {
    match service {
        Service::Off => "off".to_owned(),
        Service::Running => "running".to_owned(),
        Service::NotInstalled => "not installed".to_owned(),
        Service::Failed { words } => format!("does not run: {words}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::browser::Browser;

    #[tokio::test]
    async fn it_says_what_this_is_what_runs_and_what_the_kernel_lacks() {
        let mut browser = Browser::logged_in().await;
        browser.open("/").await;
        assert!(browser.body.contains("href=\"/system/about\""), "the menu leads there");
        browser.open(HERE).await;
        let version = format!("Postern {}", env!("CARGO_PKG_VERSION"));
        for part in
            [&version, "GPL-2.0-or-later", "in the kernel, as Postern loaded them", "axum", "Look again"]
        {
            assert!(browser.body.contains(part), "{part}: {}", browser.body);
        }
        assert!(browser.body.contains("aria-current=\"page\">About"));
    }

    #[test]
    fn every_part_is_listed_once_and_under_a_licence() {
        let mut all = Vec::new();
        for line in CRATES.lines() {
            let (licence, names) = line.split_once(": ").unwrap_or_else(|| panic!("{line}"));
            assert!(licence != "?" && !names.is_empty(), "{line}");
            all.extend(names.split(", "));
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count);
        // What the two programs name themselves in their Cargo.toml is among it.
        for manifest in [include_str!("../../Cargo.toml"), include_str!("../../../backend/Cargo.toml")] {
            let section = manifest.split("\n[dependencies]\n").nth(1).unwrap_or_default();
            let section = section.split("\n[").next().unwrap_or_default();
            for line in section.lines().filter(|line| line.contains(".workspace = true")) {
                let name = line.split('.').next().unwrap_or_default();
                assert!(name == "postern" || all.contains(&name), "{name} is not in about/crates.txt");
            }
        }
    }
}
