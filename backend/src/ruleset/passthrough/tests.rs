//! Who may use passthrough, and how many at a time.

use crate::ruleset::tests::{chain, with};
use crate::ruleset::{Capabilities, compile, withdrawn};

const TWO: (&str, &str) = ("passthrough.devices", "02:00:00:00:01:01,02:00:00:00:01:02");

fn rules(changes: &[(&str, &str)], name: &str) -> Vec<String> {
    chain(&compile(&with(changes), &Capabilities::everything()), name)
}

#[test]
fn everyone_and_no_limit_cost_no_rule_and_no_set() {
    let text = compile(&with(&[]), &Capabilities::everything()).to_string();
    for word in ["ether saddr != {", "_denied_hosts", "_limited_hosts", "_sessions_", "_first"] {
        assert_eq!(text.lines().find(|line| line.contains(word)), None, "{word}");
    }
}

#[test]
fn a_device_is_refused_before_anything_of_it_is_known_learnt_or_counted_as_passed() {
    let first = &rules(&[TWO], "passthrough_out")[0];
    assert!(
        first.starts_with(
            "ether saddr != { 02:00:00:00:01:01, 02:00:00:00:01:02 } jump passthrough_denied comment"
        ),
        "{first}"
    );
    let text = compile(&with(&[TWO]), &Capabilities::everything()).to_string();
    assert_eq!(text.matches("02:00:00:00:01:02").count(), 1, "one set, however many rules");
    for (name, counter) in
        [("pptp_denied", "pptp_refused"), ("l2tp_denied", "l2tp_refused"), ("ipsec_denied", "ipsec_refused")]
    {
        let rules = rules(&[TWO, ("passthrough.pptp.enabled", "true")], name);
        let last = format!("counter name \"{counter}\" goto refused comment");
        assert!(rules.len() == 2 && rules[1].starts_with(&last), "{rules:#?}");
    }
}

#[test]
fn a_thousand_devices_are_one_set() {
    let thousand: Vec<String> =
        (0..1000).map(|n| format!("02:00:00:00:{:02x}:{:02x}", n / 256, n % 256)).collect();
    let thousand = thousand.join(",");
    let changes = [("passthrough.devices", thousand.as_str())];
    let all = compile(&with(&changes), &Capabilities::everything()).to_string();
    let one = compile(&with(&[("passthrough.devices", "02:00:00:00:00:00")]), &Capabilities::everything())
        .to_string();
    assert_eq!(all.lines().count(), one.lines().count());
    assert_eq!(all.matches("02:00:00:00:03:e7").count(), 1);
}

#[test]
fn a_protocol_that_is_off_is_refused_for_being_off() {
    let off = [TWO, ("passthrough.l2tp.enabled", "false"), ("passthrough.ipsec.nat_traversal", "false")];
    let denied = rules(&off, "passthrough_denied");
    assert!(!denied.iter().any(|rule| rule.contains("l2tp_denied") || rule.contains("4500")), "{denied:#?}");
    assert!(denied.iter().any(|rule| rule.contains("{ 500 }") && rule.contains("goto ipsec_denied")));
    assert_eq!(rules(&off, "l2tp_denied"), [""; 0]);
}

#[test]
fn whoever_runs_keeps_running_and_only_what_is_new_needs_a_place() {
    let limit = [("passthrough.session_limit.ipsec", "5")];
    for from in ["ipsec_out", "nat_traversal_out"] {
        let out = rules(&limit, from);
        let jump =
            out.iter().position(|rule| rule.starts_with("meta nfproto ipv4 jump ipsec_places")).unwrap();
        let learns = out.iter().position(|rule| rule.contains("esp_out") || rule.contains("ipsec_passed"));
        assert!(jump < learns.unwrap(), "{out:#?}");
    }
    let places = rules(&limit, "ipsec_places");
    let known = places.iter().position(|rule| rule.starts_with("ct state != new return")).unwrap();
    let refuses = places.iter().position(|rule| rule.contains("goto refused")).unwrap();
    assert!(known < refuses && refuses == places.len() - 1, "{places:#?}");
    let text = compile(&with(&limit), &Capabilities::everything()).to_string();
    assert!(text.contains("set ipsec_sessions_5 {\n\t\ttypeof ip saddr . ip daddr\n\t\tsize 5\n"), "{text}");
    assert_eq!(rules(&limit, "pptp_places"), [""; 0]);
}

#[test]
fn permission_is_withdrawn_only_where_somebody_loses_it() {
    let settings = |devices: &str| with(&[("passthrough.devices", devices)]);
    let (everyone, one, two) = (settings("everyone"), settings("02:00:00:00:01:01"), with(&[TWO]));
    assert!(withdrawn(&everyone, &one) && withdrawn(&two, &one));
    assert!(!withdrawn(&one, &two) && !withdrawn(&one, &everyone) && !withdrawn(&two, &two));
}
