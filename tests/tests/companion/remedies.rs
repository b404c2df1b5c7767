//! What is told to add there is done word for word, for every defeat beside every firewall: then it works, and it did not before.

use std::time::Duration;

use lab::wait;
use lab::{Kind, address};
use serde_json::Value;

use crate::firewalls::{Beside, Firewall};
use crate::suite::{heard, pptp_server};

/// A look of the daemon every 3 s, a trace of 4 s, and once more.
const TOLD: Duration = Duration::from_secs(40);
/// After the commands.
const WORKS: Duration = Duration::from_secs(30);

/// What is told of this, once there are commands.
#[track_caller]
pub fn told(beside: &Beside, name: &str, how: &str) -> Value {
    let mut last = Value::Null;
    let found = wait::until(TOLD, || {
        last = beside.postern.json(&["status"])["defeats"].clone();
        let all = last.as_array().cloned().unwrap_or_default();
        all.into_iter().find(|one| {
            one["name"] == name
                && one["how"] == how
                && one["commands"].as_array().is_some_and(|c| !c.is_empty())
        })
    });
    found.unwrap_or_else(|| {
        panic!("{:?}: {name} {how} is not told: {last:#}\n{}", beside.firewall, beside.postern.daemon_said())
    })
}

/// Runs the commands as they stand, which stand in the text too.
#[track_caller]
pub fn follow(beside: &Beside, told: &Value) {
    let commands = told["commands"].as_array().cloned().unwrap_or_default();
    for command in commands.iter().filter_map(Value::as_str) {
        assert!(
            told["remedy"].to_string().contains(&command.replace('"', "\\\"")),
            "{command} is in the words: {told:#}"
        );
        let done = beside.lab.router().run(&["sh", "-euc", command]);
        assert!(done.ok(), "{:?}: `{command}`: {}{}", beside.firewall, done.out, done.err);
    }
}

fn shell(beside: &Beside, command: &str) {
    beside.lab.router().ok(&["sh", "-euc", command]);
}

/// A rule of theirs drops NAT traversal on its way out.
fn lost_out(beside: &Beside) {
    shell(
        beside,
        match beside.firewall {
            Firewall::Fw4 => "nft insert rule inet fw4 forward_lan udp dport 4500 drop",
            Firewall::Hand => "nft insert rule inet mine forward udp dport 4500 drop",
            Firewall::Iptables => "iptables-nft -I FORWARD -p udp --dport 4500 -j DROP",
            Firewall::Legacy => "iptables-legacy -I FORWARD -p udp --dport 4500 -j DROP",
            Firewall::Firewalld => {
                "firewall-cmd --permanent --policy=out --add-rich-rule='rule port port=\"4500\" protocol=\"udp\" drop'; firewall-cmd --reload"
            }
        },
    );
    let flow = beside.lab.host("laptop1").flow(Kind::Udp(4500), address("server1"));
    let said = told(beside, "ipsec", "lost_out");
    assert!(flow.answered().is_empty(), "{:?}: if it is answered, nothing is dropped", beside.firewall);
    follow(beside, &said);
    flow.wait_answers(10);
}

/// Nobody masquerades.
fn plain(beside: &Beside) {
    shell(
        beside,
        match beside.firewall {
            Firewall::Fw4 => "nft flush chain inet fw4 srcnat_wan",
            Firewall::Hand => "nft flush chain inet mine post",
            Firewall::Iptables => "iptables-nft -t nat -F POSTROUTING",
            Firewall::Legacy => "iptables-legacy -t nat -F POSTROUTING",
            Firewall::Firewalld => {
                "firewall-cmd --permanent --zone=external --remove-masquerade; firewall-cmd --reload"
            }
        },
    );
    let flow = beside.lab.host("laptop2").flow(Kind::Udp(1701), address("server1"));
    let said = told(beside, "l2tp", "plain");
    assert!(flow.answered().is_empty(), "{:?}: if it is answered, somebody translates", beside.firewall);
    follow(beside, &said);
    let works = wait::until(WORKS, || (flow.answered().len() >= 10).then_some(()));
    assert!(works.is_some(), "{:?}: what was open begins anew:\n{}\n{said:#}", beside.firewall, flow.tail());
}

/// A `notrack` of theirs, and one before it that does not matter.
fn untracked(beside: &Beside) {
    shell(
        beside,
        match beside.firewall {
            Firewall::Fw4 => {
                "nft add rule inet fw4 raw_prerouting udp dport 9 notrack; nft add rule inet fw4 raw_prerouting udp dport 1701 notrack"
            }
            Firewall::Hand => {
                "nft 'add chain inet mine early { type filter hook prerouting priority raw; }'; nft add rule inet mine early udp dport 9 notrack
                 nft add rule inet mine early iifname lan0 meta l4proto udp notrack"
            }
            Firewall::Iptables => {
                "iptables-nft -t raw -A PREROUTING -p udp --dport 9 -j NOTRACK; iptables-nft -t raw -A PREROUTING -p udp --dport 1701 -j CT --notrack"
            }
            Firewall::Legacy => "iptables-legacy -t raw -A PREROUTING -p udp --dport 1701 -j CT --notrack",
            // Its own language has none.
            Firewall::Firewalld => return,
        },
    );
    let flow = beside.lab.host("laptop1").flow(Kind::Udp(1701), address("server1"));
    let said = told(beside, "l2tp", "untracked");
    assert!(flow.answered().is_empty(), "{:?}: if it is answered, it is tracked", beside.firewall);
    let named = match beside.firewall {
        Firewall::Hand => "meta l4proto udp notrack",
        Firewall::Legacy => "nft does not show",
        _ => "udp dport 1701",
    };
    let sentence = said["sentence"].to_string();
    assert!(
        sentence.contains(named) && !sentence.contains("dport 9"),
        "the rule that is met is named: {sentence}"
    );
    follow(beside, &said);
    let works = wait::until(WORKS, || (flow.answered().len() >= 10).then_some(()));
    assert!(works.is_some(), "{:?}:\n{}\n{said:#}", beside.firewall, flow.tail());
}

/// Another helper of theirs on PPTP's control connections.
fn helped(beside: &Beside) {
    shell(
        beside,
        match beside.firewall {
            Firewall::Fw4 => "nft insert rule inet fw4 helper_lan tcp dport 1723 ct helper set ftp",
            Firewall::Hand => {
                "nft 'add ct helper inet mine calls { type \"ftp\" protocol tcp; }'; nft 'add chain inet mine helpers { type filter hook prerouting priority 0; }'
                 nft add rule inet mine helpers tcp dport 1700-1800 ct helper set calls"
            }
            Firewall::Iptables => "iptables-nft -t raw -A PREROUTING -p tcp --dport 1723 -j CT --helper ftp",
            Firewall::Legacy => "iptables-legacy -t raw -A PREROUTING -p tcp --dport 1723 -j CT --helper ftp",
            Firewall::Firewalld => return,
        },
    );
    beside.postern.set(&["passthrough.pptp.enabled=true"]);
    let _server = pptp_server(beside);
    let to = format!("{}:1723", address("server1"));
    let first = beside.lab.host("laptop1").spawn(&["postern-lab", "pptp-call", &to]);
    let said = told(beside, "pptp", "helped");
    assert_eq!(heard(&first, true), 0, "{:?}: a call with another helper carries nothing", beside.firewall);
    follow(beside, &said);
    // Dialled anew, as the remedy says, with another Call ID: the server's GRE of the first call has been nobody's.
    drop(first);
    let again = beside.lab.host("laptop1").spawn(&["postern-lab", "pptp-call", &to, "--id", "9"]);
    let works = wait::until(WORKS, || (heard(&again, true) >= 10).then_some(()));
    let entries = || beside.lab.router().run(&["sh", "-c", "conntrack -L; conntrack -L expect"]).out;
    assert!(works.is_some(), "{:?}:\n{}\n{}", beside.firewall, again.said(), entries());
}

fn all(firewall: Firewall) {
    let beside = Beside::new(firewall);
    let _echo = beside.lab.host("server1").echo(&[Kind::Udp(4500), Kind::Udp(1701)]);
    lost_out(&beside);
    plain(&beside);
    untracked(&beside);
    helped(&beside);
}

#[test]
fn beside_fw4_what_is_told_to_add_works_word_for_word() {
    all(Firewall::Fw4);
}

#[test]
fn beside_firewalld_what_is_told_to_add_works_word_for_word() {
    all(Firewall::Firewalld);
}

#[test]
fn beside_rules_written_by_hand_what_is_told_to_add_works_word_for_word() {
    all(Firewall::Hand);
}

#[test]
fn beside_iptables_what_is_told_to_add_works_word_for_word() {
    all(Firewall::Iptables);
}

#[test]
fn beside_old_iptables_what_is_told_to_add_works_word_for_word() {
    all(Firewall::Legacy);
}
