use super::*;
use crate::settings::tests::router;

fn rule(table: &str, chain: &str) -> Dropper {
    Dropper::Rule { table: table.into(), entry: chain.into(), chain: chain.into(), rule: "x".into() }
}

fn told(vpn: Vpn, how: Defeat, dropper: &Dropper) -> Vec<String> {
    let remedy = remedy(vpn, how, Some(dropper), &Others::default(), &router());
    assert!(remedy.commands.iter().all(|one| remedy.text.contains(one)), "{remedy:?}");
    remedy.commands
}

#[test]
fn each_firewall_is_told_in_its_own_words_and_the_one_of_a_table_is_known_by_its_names() {
    for (table, chain, begins) in [
        (
            "inet fw4",
            "forward",
            "nft insert rule inet fw4 forward 'iifname \"eth1\" oifname \"eth0\" udp dport { 1701 } accept'",
        ),
        (
            "ip filter",
            "FORWARD",
            "iptables -I FORWARD -i eth1 -o eth0 -p udp -m multiport --dports 1701 -j ACCEPT",
        ),
        ("ip filter", "forward", "nft insert rule ip filter forward "),
        ("inet firewalld", "filter_FORWARD", "firewall-cmd --permanent --new-policy=postern-l2tp"),
    ] {
        let commands = told(Vpn::L2tp, Defeat::LostOut, &rule(table, chain));
        assert!(commands[0].starts_with(begins), "{commands:?}");
    }
    assert_eq!(
        told(Vpn::L2tp, Defeat::LostIn, &Dropper::Hidden),
        ["iptables-legacy -I FORWARD -i eth0 -o eth1 -p 17 -m conntrack --ctstate DNAT -j ACCEPT"]
    );
    assert_eq!(
        told(Vpn::Ipsec, Defeat::LostIn, &rule("inet fw4", "forward")),
        [
            "nft insert rule inet fw4 forward 'iifname \"eth0\" oifname \"eth1\" meta l4proto 17 ct status dnat accept'",
            "nft insert rule inet fw4 forward 'iifname \"eth0\" oifname \"eth1\" meta l4proto 50 ct status dnat accept'",
        ],
        "nothing but IPsec"
    );
}

#[test]
fn every_rule_that_may_be_meant_is_passed_by_once() {
    let rules = vec![
        rule("ip raw", "PREROUTING"),
        rule("inet x", "raw"),
        rule("ip raw", "PREROUTING"),
        Dropper::Hidden,
    ];
    let commands = told(Vpn::L2tp, Defeat::Untracked, &Dropper::AnyOf { rules });
    assert_eq!(
        commands,
        [
            "iptables -t raw -I PREROUTING -i eth1 -p udp -m multiport --dports 1701 -j RETURN",
            "iptables -t raw -I PREROUTING -i eth0 -p udp -m multiport --sports 1701 -j RETURN",
            "nft insert rule inet x raw 'iifname \"eth1\" udp dport { 1701 } return'",
            "nft insert rule inet x raw 'iifname \"eth0\" udp sport { 1701 } return'",
            "iptables-legacy -t raw -I PREROUTING -i eth1 -p udp -m multiport --dports 1701 -j RETURN",
            "iptables-legacy -t raw -I PREROUTING -i eth0 -p udp -m multiport --sports 1701 -j RETURN",
        ]
    );
}

/// Whoever may add rules (a program that maps ports for devices) may not write root's commands.
#[test]
fn a_name_that_a_shell_would_take_for_more_is_in_no_command() {
    for (table, chain) in
        [("inet x;id", "forward"), ("inet x", "$(id)"), ("inet x", "a'b"), ("ip filter", "A B")]
    {
        for how in [Defeat::LostOut, Defeat::LostIn, Defeat::Untracked] {
            let several = Dropper::AnyOf { rules: vec![rule("inet y", "raw"), rule(table, chain)] };
            for dropper in [rule(table, chain), several] {
                let remedy = remedy(Vpn::L2tp, how, Some(&dropper), &Others::default(), &router());
                assert!(remedy.commands.is_empty() && !remedy.text.contains(chain), "{remedy:?}");
            }
        }
        assert!(!flow_table(&rule(table, chain)).unwrap().contains("nft insert"));
    }
}

#[test]
fn a_flow_table_is_told_with_what_keeps_ike_out_of_it() {
    let mine = flow_table(&rule("inet mine", "forward")).unwrap();
    assert!(
        mine.contains(
            "nft insert rule inet mine forward 'udp sport 500 udp dport 500 ct state established accept'"
        ),
        "{mine}"
    );
    let fw4 = flow_table(&rule("inet fw4", "forward")).unwrap();
    assert!(fw4.contains("option flow_offloading 0") && !fw4.contains("nft insert"), "{fw4}");
}
