use std::collections::BTreeSet;

use super::table::{Counter, LONGEST_COMMENT};
use super::*;
use crate::settings::keys::set;
use crate::settings::tests::router;

const ABLE: Capabilities = Capabilities { pptp_helper: true };
const UNABLE: Capabilities = Capabilities { pptp_helper: false };

/// A good router document with these changes.
fn with(changes: &[(&str, &str)]) -> Settings {
    let mut settings = router();
    for (key, value) in changes {
        set(&mut settings, key, value).unwrap();
    }
    assert_eq!(settings.check(), []);
    settings
}

/// The rules of one chain, in order.
fn chain(ruleset: &Ruleset, name: &str) -> Vec<String> {
    let text = ruleset.to_string();
    let (_, rules) = text.split_once("flush table inet postern\n").unwrap();
    let inside = rules.lines().skip_while(|line| *line != format!("\tchain {name} {{")).skip(1);
    inside.take_while(|line| *line != "\t}").map(|line| line.trim().to_owned()).collect()
}

/// Every combination of the switches that reach the rules, with each kernel, and deny.
fn all_rulesets() -> Vec<Ruleset> {
    let switches = [
        "passthrough.pptp.enabled",
        "passthrough.l2tp.enabled",
        "passthrough.ipsec.enabled",
        "passthrough.ipsec.nat_traversal",
        "firewall.ping",
    ];
    let mut rulesets =
        vec![deny(&router()), deny(&Settings::default()), deny(&with(&[("access.port", "8080")]))];
    for combination in 0..1 << switches.len() {
        for ports in
            ["1723", "1,1701,1723,65535", "2000,2001,2002,2003,2004,2005,2006,2007,2008,2009,2010,2011,2012"]
        {
            let mut settings = router();
            for (bit, key) in switches.iter().enumerate() {
                set(&mut settings, key, if combination >> bit & 1 == 1 { "true" } else { "false" }).unwrap();
            }
            set(&mut settings, "passthrough.pptp.ports", ports).unwrap();
            set(&mut settings, "passthrough.l2tp.ports", ports).unwrap();
            rulesets.push(compile(&settings, &ABLE));
            rulesets.push(compile(&settings, &UNABLE));
        }
    }
    rulesets
}

#[test]
fn no_settings_compile_to_an_open_chain() {
    for ruleset in all_rulesets() {
        let text = ruleset.to_string();
        for name in ["input", "forward"] {
            let policy =
                format!("\tchain {name} {{\n\t\ttype filter hook {name} priority filter; policy drop;\n");
            assert_eq!(text.matches(&policy).count(), 1, "{text}");
            let rules = chain(&ruleset, name);
            let last = format!("counter name \"{name}_dropped\" drop comment \"nobody asked for this\"");
            assert_eq!(rules.last(), Some(&last), "{text}");
        }
        assert!(text.contains("flush table inet postern") && !text.contains("delete"), "{text}");
    }
}

#[test]
fn what_the_internet_begins_is_never_accepted() {
    // Every rule that accepts, in whatever chain, names what it accepts; these are all there may be.
    let may_accept = [
        "iifname \"lo\" accept",
        "iifname \"eth1\" accept",
        "iifname \"eth1\" oifname \"eth0\" accept",
        "iifname \"eth1\" oifname \"eth1\" accept",
        "ct state established accept",
        "icmp type { destination-unreachable, time-exceeded, parameter-problem } accept",
        "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept",
        "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert } ip6 hoplimit 255 accept",
        "iifname \"eth0\" icmp type echo-request accept",
        "iifname \"eth0\" icmpv6 type echo-request accept",
        "iifname \"eth0\" oifname \"eth1\" meta nfproto ipv4 meta l4proto 47 ct helper \"pptp\" accept",
    ];
    for ruleset in all_rulesets().iter().filter(|ruleset| ruleset.about().unwrap().ends_with("role router")) {
        let text = ruleset.to_string();
        for rule in text.lines().filter_map(|line| line.trim().split_once(" comment ")).map(|(rule, _)| rule)
        {
            assert!(!rule.contains("accept") || may_accept.contains(&rule), "{rule}");
        }
        // The chain `related` is entered for related packets alone.
        let jumps = text.matches("jump related").count();
        assert_eq!(jumps, text.matches("\t\tct state related jump related ").count(), "{text}");
    }
}

#[test]
fn deny_forwards_nothing() {
    for ruleset in [deny(&router()), deny(&Settings::default())] {
        assert_eq!(chain(&ruleset, "forward").len(), 1);
        assert!(chain(&ruleset, "srcnat").is_empty());
        assert!(chain(&ruleset, "input").iter().any(|rule| rule.contains("tcp dport { 22, 80 } accept")));
        assert_eq!(ruleset.about(), Some("postern schema 1, deny"));
    }
    let mut half = Settings::default();
    half.internet.device = router().internet.device;
    for rule in chain(&deny(&half), "input").iter().filter(|rule| rule.contains("saddr")) {
        assert!(rule.starts_with("iifname != \"eth0\" "), "{rule}");
    }
}

#[test]
fn a_router_that_does_not_know_its_sides_denies() {
    for key in ["internet.device", "local_network.devices"] {
        let mut settings = router();
        set(&mut settings, key, "unset").unwrap();
        assert_eq!(compile(&settings, &ABLE), deny(&settings));
    }
    let mut settings = router();
    set(&mut settings, "internet.device", "eth1").unwrap();
    assert_eq!(compile(&settings, &ABLE), deny(&settings));
}

#[test]
fn without_the_router_role_there_is_no_table() {
    for role in ["unset", "companion"] {
        assert_eq!(compile(&with(&[("role", role)]), &ABLE), absent());
    }
    assert_eq!(absent().about(), None);
}

#[test]
fn passthrough_is_decided_before_established_and_only_between_home_and_internet() {
    for ruleset in all_rulesets().iter().filter(|ruleset| ruleset.about().unwrap().ends_with("role router")) {
        let forward = chain(ruleset, "forward");
        assert!(forward[0].starts_with("iifname \"eth1\" oifname \"eth0\" jump passthrough_out "));
        assert!(forward[1].starts_with("iifname \"eth0\" oifname \"eth1\" jump passthrough_in "));
        assert!(forward[2].starts_with("ct state established accept "));
        assert_eq!(ruleset.to_string().matches("jump passthrough_").count(), 2);
    }
}

#[test]
fn every_rule_carries_a_reason_that_fits() {
    for ruleset in all_rulesets() {
        let text = ruleset.to_string();
        let (_, rules) = text.split_once("flush table inet postern\n").unwrap();
        for rule in rules.lines().filter(|line| line.starts_with("\t\t")) {
            let reason = rule.split_once(" comment \"").and_then(|(_, rest)| rest.strip_suffix('"'));
            assert!(reason.is_some_and(|why| !why.is_empty() && why.len() <= LONGEST_COMMENT), "{rule}");
        }
    }
}

#[test]
fn every_ruleset_has_the_same_chains_and_counters() {
    let objects = |ruleset: &Ruleset| -> BTreeSet<String> {
        let text = ruleset.to_string();
        let (declared, _) = text.split_once("flush table").unwrap();
        declared.lines().filter(|l| l.ends_with('{') && !l.contains("ct helper")).map(str::to_owned).collect()
    };
    let all = all_rulesets();
    let first = objects(&all[0]);
    assert_eq!(first.iter().filter(|line| line.contains("counter")).count(), Counter::ALL.len());
    for ruleset in &all {
        assert_eq!(objects(ruleset), first);
    }
}

#[test]
fn pptp_off_attaches_no_helper() {
    for capabilities in [ABLE, UNABLE] {
        let text = compile(&with(&[]), &capabilities).to_string();
        assert!(!text.contains("ct helper set") && !text.contains("ct helper \"pptp\""), "{text}");
    }
}

#[test]
fn without_the_helper_pptp_is_refused_and_the_table_still_loads() {
    let on = with(&[("passthrough.pptp.enabled", "true")]);
    let ruleset = compile(&on, &UNABLE);
    assert!(!ruleset.to_string().contains("ct helper"));
    assert!(chain(&ruleset, "pptp_out").iter().all(|rule| rule.contains("reject")));
    assert!(chain(&ruleset, "pptp_in")[0].contains("this kernel has no PPTP helper"));
}

fn flow(protocol: u8, server_port: impl Into<Option<u16>>) -> FlowMatch {
    FlowMatch { protocol, server_port: server_port.into() }
}

#[test]
fn a_change_ends_exactly_the_flows_it_no_longer_lets_through() {
    let all_on = [("passthrough.pptp.enabled", "true"), ("passthrough.pptp.ports", "1723,1823")];
    let on = with(&all_on);
    let ended = |changes: &[(&str, &str)]| ended_by(&on, &with(&[&all_on, changes].concat()), &ABLE);

    assert_eq!(ended(&[]), []);
    assert_eq!(ended(&[("firewall.ping", "true"), ("access.port", "8080")]), []);
    assert_eq!(
        ended(&[("passthrough.pptp.enabled", "false")]),
        [flow(6, 1723), flow(6, 1823), flow(47, None)]
    );
    assert_eq!(ended(&[("passthrough.pptp.ports", "1723")]), [flow(6, 1823)]);
    assert_eq!(ended(&[("passthrough.pptp.ports", "1723,1823,1923")]), []);
    assert_eq!(
        ended(&[("passthrough.pptp.enabled", "false"), ("passthrough.pptp.ports", "1723")]),
        [flow(6, 1723), flow(47, None), flow(6, 1823)]
    );
    assert_eq!(ended(&[("passthrough.l2tp.enabled", "false")]), [flow(17, 1701), flow(115, None)]);
    assert_eq!(ended(&[("passthrough.ipsec.nat_traversal", "false")]), [flow(17, 4500)]);
    assert_eq!(
        ended(&[("passthrough.ipsec.enabled", "false")]),
        [flow(17, 500), flow(50, None), flow(51, None), flow(17, 4500)]
    );
    assert_eq!(ended(&[("role", "unset")]), []);
}

#[test]
fn what_was_refused_before_is_not_ended_again_but_becoming_the_router_ends_it() {
    let off = with(&[]);
    assert_eq!(ended_by(&off, &with(&[("passthrough.l2tp.ports", "1701,1702")]), &ABLE), []);
    assert_eq!(ended_by(&off, &with(&[("passthrough.pptp.ports", "1723,1823")]), &ABLE), [flow(6, 1823)]);
    assert_eq!(ended_by(&off, &with(&[("passthrough.pptp.enabled", "true")]), &ABLE), []);
    assert_eq!(ended_by(&off, &with(&[("passthrough.pptp.enabled", "true")]), &UNABLE), []);
    assert_eq!(ended_by(&Settings::default(), &off, &ABLE), [flow(6, 1723), flow(47, None)]);
}

#[test]
fn the_flows_to_count_are_the_flows_the_rules_catch() {
    let settings = with(&[("passthrough.pptp.ports", "1823,1723")]);
    let flows = passthrough_flows(&settings);
    assert_eq!(flows.pptp, [flow(6, 1723), flow(6, 1823), flow(47, None)]);
    assert_eq!(flows.l2tp, [flow(17, 1701), flow(115, None)]);
    assert_eq!(flows.ipsec, [flow(17, 500), flow(50, None), flow(51, None), flow(17, 4500)]);
    let caught = chain(&compile(&settings, &ABLE), "passthrough_out");
    for (set, to) in [
        ("{ tcp . 1723, tcp . 1823 }", "pptp_out"),
        ("{ 47 }", "pptp_out"),
        ("{ udp . 1701 }", "l2tp_out"),
        ("{ 115 }", "l2tp_out"),
        ("{ udp . 500 }", "ipsec_out"),
        ("{ 50, 51 }", "ipsec_out"),
        ("{ udp . 4500 }", "nat_traversal_out"),
    ] {
        let jump = format!("{set} jump {to} ");
        assert_eq!(caught.iter().filter(|rule| rule.contains(&jump)).count(), 1, "{jump}: {caught:?}");
    }
}

#[test]
fn no_rule_looks_into_a_map_which_would_lose_packets_in_a_swap() {
    for ruleset in all_rulesets() {
        let text = ruleset.to_string();
        assert!(!text.contains("vmap") && !text.contains(" map "), "{text}");
    }
}

#[test]
fn forwarding_is_switched_on_last_and_only_by_a_router() {
    assert_eq!(sysctls(&Settings::default()), []);
    let values = sysctls(&router());
    assert_eq!(values.last(), Some(&("net/ipv4/ip_forward".to_owned(), "1".to_owned())));
    let value = |name: &str| -> u32 {
        values.iter().find(|(path, _)| path.ends_with(name)).unwrap().1.parse().unwrap()
    };
    assert!(value("conntrack_udp_timeout") >= 120, "RFC 4787 REQ-5");
    assert!(value("tcp_timeout_established") >= 7440, "RFC 5382 REQ-5");
    assert!(value("tcp_timeout_syn_sent") >= 240, "RFC 5382 REQ-5");
    assert!(value("icmp_timeout") >= 60, "RFC 5508 REQ-2");
}
