//! Which other firewall's rules the kernel holds, by `nft list ruleset`. It is told to the owner; nothing is decided by it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Another firewall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Other {
    /// As people call it.
    pub name: String,
    /// Its tables, for example `inet fw4`.
    pub tables: Vec<String>,
}

/// Those whose rules forward, refuse or translate.
pub fn others(listing: &str) -> Vec<Other> {
    let mut all: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let (mut table, mut text) = ("", String::new());
    for line in listing.lines().chain(["table end {"]) {
        let Some(name) = line.strip_prefix("table ").and_then(|rest| rest.strip_suffix(" {")) else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        if let Some(owner) = owner(table, &text) {
            // The kernel takes any letters for a name; a terminal and a page show these.
            let shown = table.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect();
            all.entry(owner).or_default().push(shown);
        }
        (table, text) = (name, String::new());
    }
    all.into_iter().map(|(name, tables)| Other { name: name.to_owned(), tables }).collect()
}

/// Whose table it is; none: ours, or it decides nothing.
fn owner(table: &str, text: &str) -> Option<&'static str> {
    if table == "inet postern" || !decides(text) {
        return None;
    }
    Some(match table {
        "inet fw4" => "OpenWrt\u{2019}s firewall (fw4)",
        "inet firewalld" | "ip firewalld" | "ip6 firewalld" => "firewalld",
        _ if text.contains("\tchain ufw-") || text.contains("\tchain ufw6-") => "ufw",
        "ip filter" | "ip6 filter" | "ip nat" | "ip6 nat" | "ip mangle" | "ip6 mangle" | "ip raw"
        | "ip6 raw" => "a firewall of iptables",
        _ => "nftables rules of your own",
    })
}

/// It has a chain where packets are let through or translated, and a rule or a policy there.
fn decides(text: &str) -> bool {
    let hooks = ["hook forward ", "hook input ", "hook postrouting "];
    let hooked = text.lines().any(|line| hooks.iter().any(|hook| line.contains(hook)));
    let rule = |line: &str| {
        line.strip_prefix("\t\t").is_some_and(|rule| !rule.starts_with("type ") && !rule.starts_with('\t'))
    };
    // In a chain: a set has lines of the same kind.
    let mut chain = false;
    let rules = text.lines().any(|line| {
        chain = (chain || line.starts_with("\tchain ")) && line != "\t}";
        chain && rule(line)
    });
    hooked && (rules || text.contains("policy drop;"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(listing: &str) -> Vec<String> {
        others(listing).into_iter().map(|one| format!("{}: {}", one.name, one.tables.join(", "))).collect()
    }

    #[test]
    fn whose_rules_stand_is_told_by_their_tables() {
        let chain = |hook: &str, rule: &str| {
            format!(
                "\tchain a {{\n\t\ttype filter hook {hook} priority filter; policy accept;\n{rule}\t}}\n}}\n"
            )
        };
        let drop = chain("forward", "\t\tdrop\n");
        let all = format!(
            "table inet postern {{\n{drop}table inet fw4 {{\n{drop}# Warning: table ip filter is managed by iptables-nft\n\
             table ip filter {{\n\tchain ufw-before {{\n\t}}\n{drop}table ip nat {{\n{}table inet mine {{\n{drop}",
            chain("postrouting", "\t\toifname \"wan0\" masquerade\n")
        );
        let known = [
            "OpenWrt\u{2019}s firewall (fw4): inet fw4",
            "a firewall of iptables: ip nat",
            "nftables rules of your own: inet mine",
            "ufw: ip filter",
        ];
        assert_eq!(names(&all), known);
    }

    #[test]
    fn what_decides_nothing_is_no_firewall() {
        for nothing in [
            "",
            "table inet fw4 {\n}\n",
            "table ip filter {\n\tchain INPUT {\n\t\ttype filter hook input priority filter; policy accept;\n\t}\n}\n",
            "table inet x {\n\tset s {\n\t\ttype ipv4_addr\n\t\tflags timeout\n\t}\n\tchain y {\n\t\ttype filter hook input \
             priority filter; policy accept;\n\t}\n}\n",
            "table inet x {\n\tchain y {\n\t\ttype filter hook output priority filter; policy accept;\n\t\tdrop\n\t}\n}\n",
        ] {
            assert_eq!(names(nothing), [""; 0], "{nothing}");
        }
        let closed = "table inet x {\n\tchain y {\n\t\ttype filter hook forward priority filter; policy drop;\n\t}\n}\n";
        assert_eq!(names(closed).len(), 1, "a policy is a rule");
    }
}
