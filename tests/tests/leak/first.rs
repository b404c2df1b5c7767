//! The first apply: from a box that Postern has not touched to a router, and back when it fails or dies on the way.

use std::time::Duration;

use lab::{Lab, NotDone, Postern, ROUTER_SETTINGS, Random};

use super::edges::{cold_targets, stubborn_nft};
use super::scene::{HZ, STRICT};

/// A lab whose router forwards nothing in either family yet, as a box does that was never told to.
fn untouched_box() -> (Lab, Postern) {
    let lab = Lab::new();
    lab.router().ok(&["sysctl", "-qw", "net.ipv6.conf.all.forwarding=0"]);
    let postern = lab.postern();
    postern.claim();
    (lab, postern)
}

/// Addresses, forwarding and rules: what the first apply changes and a failure must put back.
fn found(lab: &Lab) -> String {
    let script = "ip -o -4 addr show dev lan0; ip -o -4 addr show dev wan0; ip -4 route show default
        sysctl net.ipv4.ip_forward net.ipv6.conf.all.forwarding; nft list tables | grep -v 'inet hail' || :";
    lab.router().ok_with(&["sh", "-eu", "-s"], script)
}

fn router_settings() -> Vec<(&'static str, &'static str)> {
    ROUTER_SETTINGS.into_iter().chain([STRICT]).filter_map(|pair| pair.split_once('=')).collect()
}

#[test]
fn the_first_apply_lets_nothing_in_and_one_that_fails_leaves_the_box_as_it_was_found() {
    let (lab, postern) = untouched_box();
    stubborn_nft(&lab);
    let hail = lab.hail(HZ, &cold_targets());
    let before = found(&lab);
    let owner = postern.owner();
    lab.outer().write("/run/lab/refuse", "role router\n");
    for _ in 0..10 {
        let refused = owner.change(&router_settings(), "");
        assert!(matches!(refused, Err(NotDone::Refused(_))), "{refused:?}");
        assert_eq!(found(&lab), before);
    }
    hail.wait(400);
    assert!(hail.let_in().is_empty(), "first applies that failed let in {:?}", hail.let_in());
    lab.outer().ok(&["rm", "/run/lab/refuse"]);
    postern.set(&[&ROUTER_SETTINGS[..], &[STRICT]].concat());
    hail.wait(400);
    assert!(hail.let_in().is_empty(), "the first apply let in {:?}", hail.let_in());
    assert_ne!(found(&lab), before, "it is a router now");
}

#[test]
fn a_daemon_that_dies_in_the_first_apply_leaves_no_open_box() {
    let mut random = Random::new();
    let (lab, mut postern) = untouched_box();
    let hail = lab.hail(HZ, &cold_targets());
    let before = found(&lab);
    for round in 0..40 {
        let owner = postern.owner();
        let moment = std::thread::scope(|threads| {
            threads.spawn(move || owner.change(&router_settings(), ""));
            let moment = random.pause(Duration::from_millis(80));
            postern.crash_daemon();
            moment
        });
        postern.start_daemon();
        assert_eq!(found(&lab), before, "round {round}, killed after {moment:?}: not as it was found");
        hail.wait(100);
        let let_in = hail.let_in();
        assert!(let_in.is_empty(), "round {round}, killed after {moment:?}: let in {let_in:?}");
    }
}
