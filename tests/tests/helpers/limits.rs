//! What is open ends with the switch; what others attach, and what is too much.

use lab::wait::{self, SOON};
use lab::{Forged, address};

use super::scene::{Scene, WANTED};
use super::slipstream::PAGES;

#[test]
fn a_connection_that_was_let_in_ends_with_the_switch_though_the_device_goes_on_sending() {
    for (name, helped, body) in PAGES {
        let scene = Scene::new();
        scene.postern.set(&[&format!("helpers.{name}=true")]);
        let _page = scene.posts("laptop1", helped, &body(address("laptop1"), WANTED));
        // The device sends, for 20 seconds; whoever came in hears it.
        let mut device = scene.lab.host("laptop1").tcp_answers(WANTED, &"say 6869\npause 50\n".repeat(400));
        let caller = scene.lab.host("server1").tcp_says((scene.router, WANTED), &"hear\n".repeat(400));
        let heard = || caller.out().len();
        assert!(wait::until(SOON, || (heard() > 10).then_some(())).is_some(), "{name}:\n{}", caller.said());
        let said = scene.postern.set(&[&format!("helpers.{name}=false")]);
        assert!(said.contains("2 connections of it have ended"), "{name}: {said}");
        // The router answers the device in the place of the caller.
        device.wait_for_line("reset", SOON);
        let last = heard();
        assert_eq!(scene.tcp("server1", WANTED), [""; 0], "{name}");
        assert_eq!(heard(), last, "{name}: something came after the end");
        let list = scene.lab.router().ok(&["conntrack", "-L", "-p", "tcp"]);
        assert!(!list.contains(&format!("={WANTED} ")), "{name}: {list}");
    }
}

/// As some other firewall's rules would attach it.
const THEIRS: &str = r#"table ip theirs {
    ct helper chat { type "irc" protocol tcp; }
    chain f { type filter hook forward priority -20; tcp dport 6667 ct helper set "chat"; }
}
"#;

#[test]
fn what_a_helper_announces_that_somebody_else_has_attached_is_not_let_in() {
    let scene = Scene::new();
    scene.lab.router().ok_with(&["nft", "-f", "-"], THEIRS);
    let (_, irc, dcc) = PAGES.into_iter().find(|(name, ..)| *name == "irc").expect("IRC is one of them");
    // With others on as without.
    for others in ["helpers.ftp=false", "helpers.ftp=true"] {
        scene.postern.set(&[others]);
        // So that with FTP on only the helper's name is in the way.
        let _ftp = scene.posts("laptop1", 21, b"NOOP\r\n");
        let _page = scene.posts("laptop1", irc, &dcc(address("laptop1"), WANTED));
        let expected = scene.expectations();
        assert!(expected.contains(&format!("dport={WANTED}")), "their helper works: {expected}");
        for from in ["server1", "attacker"] {
            assert_eq!(scene.tcp(from, WANTED), [""; 0], "{others}, {from}");
        }
    }
    assert_eq!(scene.helper("irc")["let_in"], 0);
}

#[test]
fn a_device_that_floods_gets_a_helper_for_a_hundred_connections_and_its_neighbour_gets_its_own() {
    let scene = Scene::new();
    scene.postern.set(&["helpers.ftp=true"]);
    // Their entries stay if nobody answers.
    let _silent = scene.lab.silence("server2");
    let to = (address("server2"), 21);
    let flood: Vec<_> = (0..300).map(|n| Forged::syn((address("laptop1"), 20_000 + n), to)).collect();
    scene.lab.host("laptop1").forge(&flood, 1000);
    scene.lab.host("laptop2").forge(&[Forged::syn((address("laptop2"), 20_000), to)], 10);
    let list = scene.lab.router().ok(&["conntrack", "-L", "-p", "tcp", "--dport", "21"]);
    let of = |name: &str, words: &str| {
        let source = format!(" src={} ", address(name));
        list.lines().filter(|line| line.contains(&source) && line.contains(words)).count()
    };
    assert_eq!((of("laptop1", ""), of("laptop2", "")), (300, 1), "all pass");
    assert!((100..120).contains(&of("laptop1", "helper=ftp")), "{} got one", of("laptop1", "helper=ftp"));
    assert_eq!(of("laptop2", "helper=ftp"), 1, "the neighbour");
}
