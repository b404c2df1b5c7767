use std::collections::BTreeSet;

use super::table::{Counter, LONGEST_COMMENT};
use super::*;
use crate::settings::keys::set;
use crate::settings::tests::router;

fn able() -> Capabilities {
    Capabilities::everything()
}

fn unable() -> Capabilities {
    Capabilities::nothing()
}

/// A good router document with these changes.
pub(in crate::ruleset) fn with(changes: &[(&str, &str)]) -> Settings {
    let mut settings = router();
    for (key, value) in changes {
        set(&mut settings, key, value).unwrap();
    }
    assert_eq!(settings.check(), []);
    settings
}

/// The rules of one chain, in order.
pub(in crate::ruleset) fn chain(ruleset: &Ruleset, name: &str) -> Vec<String> {
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
        "helpers.ftp",
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
            if combination & 32 != 0 {
                for key in ["helpers.tftp", "helpers.sip", "helpers.h323", "helpers.irc"] {
                    set(&mut settings, key, "true").unwrap();
                }
                set(&mut settings, "firewall.ipv6_ipsec", "strict").unwrap();
            }
            if combination & 16 != 0 {
                for (key, value) in [
                    ("passthrough.devices", "02:00:00:00:01:01,02:00:00:00:01:02"),
                    ("passthrough.priority", "02:00:00:00:01:01"),
                    ("passthrough.session_limit.pptp", "1"),
                    ("passthrough.session_limit.l2tp", "20"),
                    ("passthrough.session_limit.ipsec", "1000"),
                ] {
                    set(&mut settings, key, value).unwrap();
                }
            }
            rulesets.push(compile(&settings, &able()));
            rulesets.push(compile(&settings, &unable()));
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
        assert!(text.contains("flush table inet postern") && !text.contains("\ndelete"), "{text}");
    }
}

#[test]
fn what_the_internet_begins_is_never_accepted() {
    // Every rule that accepts, in whatever chain, names what it accepts; these are all there may be.
    let may_accept = [
        "iifname \"lo\" accept",
        "iifname \"eth1\" accept",
        "iifname \"eth1\" udp dport { 53, 67, 547 } ct state new,related ct status & confirmed == 0 update @share_served { ether saddr \
         limit rate 16/second burst 100 packets } accept",
        "iifname \"eth1\" udp dport { 53, 67, 547 } ct state new,related ct status & confirmed == 0 update @share_served { ether saddr \
         limit rate 1/second burst 100 packets } accept",
        "iifname \"eth1\" oifname \"eth0\" accept",
        "iifname \"eth1\" oifname \"eth1\" accept",
        "ct state established accept",
        // DHCPv6 answers of the same link.
        "iifname \"eth0\" ip6 saddr fe80::/10 ip6 daddr fe80::/10 udp dport 546 accept",
        "iifname \"eth0\" icmp type echo-request accept",
        "iifname \"eth0\" icmpv6 type echo-request accept",
        "iifname \"eth0\" oifname \"eth1\" meta nfproto ipv4 meta l4proto 47 ct helper \"pptp\" accept",
        // Only what was translated for a client that has spoken to this very server.
        "ct state new ct zone != 0 ct status dnat counter name \"ipsec_passed\" accept",
        "meta l4proto 17 ct state new ct status dnat counter name \"l2tp_passed\" accept",
        // RFC 6092; the test of this rule says when.
        "meta nfproto ipv6 ct state new ct status confirmed counter name \"ipsec_passed\" accept",
        "meta nfproto ipv6 ct state new limit rate 1/second burst 60 packets counter name \"ipsec_passed\" accept",
    ];
    // What a helper announced: from the internet to a host that has such a connection, to no privileged port.
    let announced = |rule: &str| {
        let from_to = "iifname \"eth0\" oifname \"eth1\" meta nfproto ipv4 meta l4proto";
        ["6", "17"]
            .iter()
            .any(|protocol| rule.starts_with(&format!("{from_to} {protocol} th dport >= 1024 ct helper {{ ")))
            && (rule.contains(" ip daddr . ip saddr @") || rule.contains(" ip daddr @irc_hosts "))
    };
    // Chains that decide about zones and translation: to accept there is to go on to the chains above.
    let decide_nothing = |text: &str| -> String {
        let mut rest = text.to_owned();
        for name in ["zone", "zone_esp", "zone_ike", "output", "dstnat"] {
            let head = format!("\tchain {name} {{\n\t\t");
            if let Some(start) = rest.rfind(&head) {
                let end = start + rest[start..].find("\n\t}").unwrap();
                rest.replace_range(start..end, "");
            }
        }
        rest
    };
    for ruleset in all_rulesets().iter().filter(|ruleset| ruleset.about().unwrap().ends_with("role router")) {
        let text = decide_nothing(&ruleset.to_string());
        for rule in text.lines().filter_map(|line| line.trim().split_once(" comment ")).map(|(rule, _)| rule)
        {
            let known = rule.ends_with("ct state established accept") || super::unasked::ICMP.contains(&rule);
            assert!(
                !rule.contains("accept") || known || announced(rule) || may_accept.contains(&rule),
                "{rule}"
            );
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
        assert!(
            chain(&ruleset, "input").iter().any(|rule| rule.contains("tcp dport { 22, 80, 8080 } accept"))
        );
        assert_eq!(ruleset.about(), Some("postern schema 2, deny"));
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
        assert_eq!(compile(&settings, &able()), deny(&settings));
    }
    let mut settings = router();
    set(&mut settings, "internet.device", "eth1").unwrap();
    assert_eq!(compile(&settings, &able()), deny(&settings));
}

#[test]
fn without_a_role_there_is_no_table() {
    assert_eq!(compile(&with(&[("role", "unset")]), &able()), absent());
    assert_eq!(absent().about(), None);
}

/// A companion's document with these changes, on a kernel that can do everything.
fn companion(changes: &[(&str, &str)]) -> Ruleset {
    compile(&with(&[&[("role", "companion")], changes].concat()), &able())
}

/// What the others have closed stays closed and what they have opened stays open, but for VPN protocols that are off.
#[test]
fn beside_another_firewall_nothing_is_dropped_but_what_vpn_passthrough_refuses() {
    let all_on =
        [("passthrough.pptp.enabled", "true"), ("helpers.ftp", "true"), ("firewall.ipv6_ipsec", "strict")];
    let all_off = [("passthrough.l2tp.enabled", "false"), ("passthrough.ipsec.enabled", "false")];
    for changes in [&[][..], &all_on, &all_off] {
        let ruleset = companion(changes);
        let text = ruleset.to_string();
        assert_eq!(ruleset.about(), Some("postern schema 2, role companion"));
        assert!(beside_others(ruleset.about()) && !denies(ruleset.about().unwrap()));
        assert!(!text.contains("policy drop") && !text.contains("masquerade"), "{text}");
        for gone in ["input", "forward", "srcnat", "dstnat"] {
            let moved = ruleset.clone().from_another_role().to_string();
            assert!(moved.contains(&format!("delete chain inet postern {gone}\n")), "{gone}");
            assert!(!text.contains(&format!("chain {gone} {{")), "{gone}");
        }
        let (_, rules) = text.split_once("flush table inet postern\n").unwrap();
        let mut at = "";
        for line in rules.lines().map(str::trim) {
            at = line.strip_prefix("chain ").map_or(at, |name| name.trim_end_matches(" {"));
            // Chains that only packets of a VPN protocol between home and internet reach.
            let vpn = ["pptp_", "l2tp_", "ipsec_", "nat_traversal_", "esp_", "ike_", "refused"];
            let ends = line.contains(" drop ") || line.contains("reject ");
            // IKE and ESP once, to come again without a zone.
            let ours = [
                "ip saddr 192.168.1.0/24 meta nfproto ipv4 meta l4proto 50 ct zone != 0 ",
                "ip saddr 192.168.1.0/24 meta nfproto ipv4 udp sport 500 udp dport 500 ct zone != 0 ",
            ];
            let once =
                "ip saddr . ip daddr != @ipsec_elsewhere update @ipsec_elsewhere { ip saddr . ip daddr } ";
            let again = ours.iter().any(|what| line.contains(what)) && line.contains(once);
            // A server's answer to one of two calls, before the next packet has told whose it is.
            let early = at == "companion_dstnat"
                && line.contains("meta l4proto 17 ip saddr . udp dport @l2tp_contested drop ");
            assert!(!ends || again || early || vpn.iter().any(|of| at.starts_with(of)), "{at}: {line}");
        }
    }
}

#[test]
fn what_is_off_is_refused_beside_another_firewall_as_by_the_router() {
    let off = [("passthrough.l2tp.enabled", "false"), ("passthrough.ipsec.enabled", "false")];
    let (beside, router) = (companion(&off), compile(&with(&off), &able()));
    for name in [
        "pptp_out",
        "pptp_in",
        "l2tp_out",
        "l2tp_in",
        "ipsec_out",
        "ipsec_in",
        "passthrough_out",
        "passthrough_in",
    ] {
        assert_eq!(chain(&beside, name), chain(&router, name), "{name}");
    }
    let forward = chain(&beside, "companion_forward");
    assert!(forward.iter().any(|rule| rule.contains("oifname \"eth0\" jump passthrough_out")), "{forward:?}");
    assert_eq!(ended_by(&with(&[]), &with(&[("role", "companion")]), &able()), [], "a move ends nothing");
    assert_eq!(ended_by(&with(&[("role", "companion")]), &with(&[]), &able()), []);
    let switched = with(&[&[("role", "companion")][..], &off].concat());
    assert!(ended_by(&with(&[("role", "companion")]), &switched, &able()).contains(&flow(50, None)));
}

#[test]
fn what_is_watched_before_the_other_firewall_is_struck_out_after_it() {
    let ruleset = companion(&[("passthrough.pptp.enabled", "true")]);
    let (before, through) = (chain(&ruleset, "companion_before"), chain(&ruleset, "companion_through"));
    let elements = |rules: &[String], word: &str| -> Vec<String> {
        let found =
            rules.iter().filter(|rule| rule.contains("_lost_")).filter_map(|rule| rule.split_once(word));
        let of = |what: &str| what.trim_start_matches("ct state new,related,untracked ").to_owned();
        found.map(|(what, rest)| of(what) + rest.split(" comment").next().unwrap()).collect()
    };
    let noted = elements(&before, "update @");
    assert_eq!(noted, elements(&through, "delete @"));
    assert!(noted.len() >= 8, "{noted:?}");
}

#[test]
fn a_companion_that_does_not_know_its_sides_has_no_table_and_touches_no_forwarding() {
    for key in ["internet.device", "local_network.devices"] {
        let mut settings = router();
        settings.role = Role::Companion;
        set(&mut settings, key, "unset").unwrap();
        assert_eq!(compile(&settings, &able()), absent());
        assert!(settings.check().iter().any(|error| error.key == key), "{:?}", settings.check());
    }
    let beside = with(&[("role", "companion")]);
    assert_eq!(at_rest(&beside), absent());
    let values = sysctls(&beside);
    assert!(values.len() >= 7 && values.iter().all(|(path, _)| path.contains("nf_conntrack_")), "{values:?}");
}

#[test]
fn passthrough_is_decided_before_established_and_only_between_home_and_internet() {
    for ruleset in all_rulesets().iter().filter(|ruleset| ruleset.about().unwrap().ends_with("role router")) {
        let forward = chain(ruleset, "forward");
        // Before it, only what is none of its ports, AH over IPv6 where that is off, what is refused whatever is on, and what begins of a
        // device beyond its share.
        let at = forward.iter().position(|rule| rule.contains("jump passthrough_out ")).unwrap();
        for rule in &forward[..at] {
            let shortcut = rule.contains(" ct state established accept ") && rule.contains("port != { ");
            let closes = rule.contains(" drop comment ") || rule.contains(" jump refused comment ");
            let begins = rule.contains(" ct status & confirmed == 0 jump share ");
            let ah = rule.contains("ip6 nexthdr 51 ") && rule.contains("jump ipsec_");
            assert!(shortcut || closes || begins || ah, "{rule}");
        }
        assert!(forward[at].starts_with("iifname \"eth1\" oifname \"eth0\" jump passthrough_out "));
        assert!(forward[at + 1].starts_with("iifname \"eth0\" oifname \"eth1\" jump passthrough_in "));
        let helped = usize::from(forward[at + 2].contains(" jump helpers "));
        assert!(forward[at + 2 + helped].starts_with("ct state established accept "));
        let text = ruleset.to_string();
        for chain in ["passthrough_out", "passthrough_in"] {
            assert_eq!(text.matches(&format!("jump {chain} ")).count(), 1);
        }
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
        declared
            .lines()
            .filter(|l| {
                l.ends_with('{')
                    && !l.contains("ct helper")
                    && !l.starts_with("\tset")
                    && !l.starts_with("\tmap")
            })
            .map(str::to_owned)
            .collect()
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
    for capabilities in [able(), unable()] {
        let text = compile(&with(&[]), &capabilities).to_string();
        assert!(!text.contains("ct helper set") && !text.contains("ct helper \"pptp\""), "{text}");
    }
}

#[test]
fn without_the_helper_pptp_is_refused_and_the_table_still_loads() {
    let on = with(&[("passthrough.pptp.enabled", "true")]);
    let ruleset = compile(&on, &unable());
    assert!(!ruleset.to_string().contains("ct helper"));
    let refuses = |rule: &String| {
        ["reject", "goto refused", "update @pptp_tried_hosts { "].iter().any(|part| rule.contains(part))
    };
    assert!(chain(&ruleset, "pptp_out").iter().all(refuses));
    assert!(chain(&ruleset, "pptp_in").last().unwrap().contains("this kernel has no PPTP helper"));
}

#[test]
fn only_the_control_connections_of_calls_are_told_of_and_only_where_the_kernel_can() {
    let on = with(&[("passthrough.pptp.enabled", "true")]);
    let told = |capabilities: &Capabilities| {
        let text = compile(&on, capabilities).to_string();
        text.lines().filter(|rule| rule.contains("ct event")).map(str::to_owned).collect::<Vec<_>>()
    };
    let [rule] = &told(&able())[..] else { panic!("{:?}", told(&able())) };
    assert!(rule.contains("ct helper set \"pptp\" ct event set new,destroy,protoinfo"), "{rule}");
    assert_eq!(told(&Capabilities { events: false, ..able() }), [""; 0]);
    assert!(sysctls(&on).contains(&("net/netfilter/nf_conntrack_events".into(), "0".into())));
}

#[test]
fn l2tp_off_neither_learns_nor_hands_over_and_refuses_what_was_handed_over() {
    let off = compile(&with(&[("passthrough.l2tp.enabled", "false")]), &able());
    let text = off.to_string();
    assert!(!text.contains("map @l2tp_back") && chain(&off, "l2tp_learn").is_empty());
    for (from, to) in [("passthrough_out", "goto l2tp_out"), ("passthrough_in", "goto l2tp_in")] {
        let moved = |rule: &String| rule.contains("@l2tp_moved") && rule.contains(to);
        assert!(chain(&off, from).iter().any(moved), "{text}");
    }
    assert!(chain(&off, "l2tp_in").iter().all(|rule| rule.contains("drop")));
    let forward = chain(&off, "forward");
    let shortcuts = forward.iter().filter(|rule| rule.starts_with("udp ") && rule.contains("established"));
    let guarded: Vec<bool> = shortcuts.map(|rule| rule.contains("ct status & dnat == 0")).collect();
    assert_eq!(guarded, [true, true], "the shortcut would let it pass");
}

#[test]
fn no_ruleset_puts_a_flow_past_the_rules() {
    for ruleset in all_rulesets() {
        let text = ruleset.to_string();
        assert!(
            !text.contains("flow add") && !text.contains("flow offload") && !text.contains("flowtable"),
            "{text}"
        );
    }
}

#[test]
fn helpers_are_attached_only_where_they_are_on_and_known() {
    let all = ["ftp", "tftp", "sip", "h323", "irc"];
    for name in all {
        let on = with(&[(&format!("helpers.{name}"), "true")]);
        let rules = compile(&on, &able());
        let text = rules.to_string();
        let (declared, used) = text.split_once("flush table inet postern\n").unwrap();
        for other in Helper::ALL {
            let counted = other.counter().map(|counter| counter.to_string());
            let theirs = counted.is_some_and(|counter| used.contains(&counter));
            assert_eq!(theirs, other.name() == name, "{name}: {other:?}");
        }
        assert!(declared.contains("ct helper"), "{text}");
        let let_in: Vec<_> =
            chain(&rules, "related").into_iter().filter(|rule| rule.contains("ct helper")).collect();
        assert_eq!(let_in.len(), if name == "h323" { 2 } else { 1 }, "one a protocol: {let_in:?}");
        // What is full of UDP would be no place for TCP.
        for rule in let_in {
            assert_eq!(rule.contains("@helper_let_in"), rule.contains("l4proto 6 "), "{rule}");
        }
        assert!(chain(&rules, "helpers").iter().any(|rule| rule.contains("ct helper set")), "{text}");
        // What was known of the others is forgotten.
        for other in all {
            assert_eq!(text.contains(&format!("flush set inet postern {other}_hosts\n")), other != name);
        }
        let lacking = compile(&on, &unable()).to_string();
        assert!(!lacking.contains("ct helper"), "{lacking}");
        assert_eq!(lacking, compile(&with(&[]), &unable()).to_string());
    }
    let off = compile(&with(&[]), &able());
    assert!(chain(&off, "helpers").is_empty() && !off.to_string().contains("jump helpers"));
}

#[test]
fn ipsec_comes_in_over_ipv6_only_while_ipsec_is_on_and_not_strict() {
    let rule = "meta nfproto ipv6 ct state new ";
    let comes_in = |changes: &[(&str, &str)]| {
        let rules = compile(&with(changes), &able());
        let text = rules.to_string();
        assert_eq!(
            text.matches(rule).count(),
            chain(&rules, "ipsec_in").iter().filter(|r| r.contains(rule)).count()
        );
        text.contains(rule)
    };
    let rules = compile(&with(&[]), &able());
    let new = chain(&rules, "ipsec_in").into_iter().filter(|r| r.contains(rule));
    assert!(
        new.clone().count() == 2 && new.clone().all(|r| r.contains("confirmed") || r.contains("limit rate"))
    );
    assert!(comes_in(&[]));
    assert!(comes_in(&[("passthrough.ipsec.many_clients", "false")]));
    assert!(!comes_in(&[("firewall.ipv6_ipsec", "strict")]));
    assert!(!comes_in(&[("passthrough.ipsec.enabled", "false")]));
}

fn flow(protocol: u8, server_port: impl Into<Option<u16>>) -> FlowMatch {
    FlowMatch { protocol, server_port: server_port.into() }
}

#[test]
fn a_change_ends_exactly_the_flows_it_no_longer_lets_through() {
    let all_on = [("passthrough.pptp.enabled", "true"), ("passthrough.pptp.ports", "1723,1823")];
    let on = with(&all_on);
    let ended = |changes: &[(&str, &str)]| ended_by(&on, &with(&[&all_on, changes].concat()), &able());

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
    assert_eq!(ended_by(&off, &with(&[("passthrough.l2tp.ports", "1701,1702")]), &able()), []);
    assert_eq!(ended_by(&off, &with(&[("passthrough.pptp.ports", "1723,1823")]), &able()), [flow(6, 1823)]);
    assert_eq!(ended_by(&off, &with(&[("passthrough.pptp.enabled", "true")]), &able()), []);
    assert_eq!(ended_by(&off, &with(&[("passthrough.pptp.enabled", "true")]), &unable()), []);
    assert_eq!(ended_by(&Settings::default(), &off, &able()), [flow(6, 1723), flow(47, None)]);
}

#[test]
fn the_flows_to_count_are_the_flows_the_rules_catch() {
    let settings = with(&[("passthrough.pptp.ports", "1823,1723")]);
    let flows = passthrough_flows(&settings);
    assert_eq!(flows.pptp, [flow(6, 1723), flow(6, 1823), flow(47, None)]);
    assert_eq!(flows.l2tp, [flow(17, 1701), flow(115, None)]);
    assert_eq!(flows.ipsec, [flow(17, 500), flow(50, None), flow(51, None), flow(17, 4500)]);
    let caught = chain(&compile(&settings, &able()), "passthrough_out");
    for (set, to) in [
        ("tcp dport { 1723, 1823 } ct direction original", "pptp_out"),
        ("{ 47 }", "pptp_out"),
        ("udp dport { 1701 } ct direction original", "l2tp_out"),
        ("{ 115 }", "l2tp_out"),
        ("udp dport { 500 } ct direction original", "ipsec_out"),
        ("{ 50, 51 }", "ipsec_out"),
        ("udp dport { 4500 } ct direction original", "nat_traversal_out"),
    ] {
        let jump = format!("{set} goto {to} ");
        assert_eq!(caught.iter().filter(|rule| rule.contains(&jump)).count(), 1, "{jump}: {caught:?}");
    }
}

#[test]
fn no_rule_looks_into_an_anonymous_map_which_would_lose_packets_in_a_swap() {
    for ruleset in all_rulesets() {
        let text = ruleset.to_string();
        assert!(!text.contains("vmap") && !text.contains(" map {"), "{text}");
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
    assert!(value("conntrack_udp_timeout_stream") >= 300, "RFC 4787 REQ-5, RFC 6092 REC-14");
    assert!(value("generic_timeout") >= 300, "RFC 6092 REC-12");
    assert!(value("tcp_timeout_established") >= 7440, "RFC 5382 REQ-5");
    assert!(value("tcp_timeout_syn_sent") >= 240, "RFC 5382 REQ-5");
    assert!(value("icmp_timeout") >= 60, "RFC 5508 REQ-2");
}
