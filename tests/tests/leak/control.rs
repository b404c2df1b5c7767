//! Both witnesses are shown to see what they are there to see.

use std::collections::BTreeMap;

use lab::{Hail, Lab, Nat};

use super::scene::{ALLOWED, HZ, Scene};

/// Streams that were counted, out of all; `other` and `forwarded` are no streams.
fn streams(let_in: &BTreeMap<String, u64>) -> usize {
    let stream = |name: &&String| !name.ends_with(" other") && !name.ends_with(" forwarded");
    let_in.keys().filter(stream).count()
}

#[track_caller]
fn every_stream_is_counted(hail: &Hail) {
    let let_in = hail.let_in();
    assert_eq!(streams(&let_in), hail.streams, "{let_in:?}");
    assert!(let_in.contains_key("router forwarded"), "{let_in:?}");
    assert!(let_in.keys().all(|name| !name.ends_with(" other")), "{let_in:?}");
}

#[test]
fn through_an_open_router_every_stream_of_the_hail_is_counted_where_it_arrives() {
    let lab = Lab::new();
    lab.plain_router(Nat::Open);
    let hail = lab.hail(HZ, &lab.targets());
    assert_eq!(hail.streams, 24);
    hail.wait(24 * 40);
    every_stream_is_counted(&hail);
    let let_in = hail.let_in();
    for stream in ["laptop1 gre_192_168_1_101", "router tcp_192_168_1_1", "router esp_198_51_100_2"] {
        assert!(let_in.contains_key(stream), "{stream} should be counted: {let_in:?}");
    }
}

#[test]
fn without_strict_ipv6_esp_and_ike_to_a_device_are_let_in_and_nothing_else_of_the_hail() {
    let lab = Lab::new();
    let _postern = lab.postern_router();
    let hail = lab.hail(HZ, &lab.targets());
    hail.wait(24 * 60);
    let let_in = hail.let_in();
    let names: Vec<&str> = let_in.keys().map(String::as_str).collect();
    let [esp, ike, all] = ["laptop1 esp_2001_db8_1__101", "laptop1 udp_2001_db8_1__101", "router forwarded"];
    assert_eq!(names, [esp, ike, all], "{let_in:?}");
    // One of the six ports of the hail's UDP is 500.
    assert!(let_in[ike] < let_in[esp] / 3, "{let_in:?}");
}

#[test]
fn a_leak_of_milliseconds_and_a_stolen_packet_are_seen() {
    let scene = Scene::new();
    let (router, hail) = (scene.lab.router(), &scene.hail);
    hail.wait(1000);
    scene.untouched("before anything is planted");

    for chain in ["forward", "input"] {
        router.ok(&["nft", "insert", "rule", "inet", "postern", chain, "accept"]);
    }
    hail.wait(24 * 40);
    scene.postern.ok(&["mend"]);
    every_stream_is_counted(hail);
    hail.forget();
    hail.wait(1000);
    scene.untouched("after the planted rules were taken out");

    // Each of these is over in the one or two milliseconds that nft needs; nobody sees it every time.
    let rule = "handle=$(nft --echo --handle insert rule inet postern forward accept | sed 's/.* handle //')
        nft delete rule inet postern forward handle $handle";
    let gap = "nft -s list table inet postern >/run/lab/table
        nft delete table inet postern; nft -f /run/lab/table";
    for (what, script) in [("a rule for an instant", rule), ("a table deleted and made again", gap)] {
        let sent = || hail.sent().iter().sum::<u64>();
        let (before, mut times) = (sent(), 0);
        let forwarded = || hail.let_in().get("router forwarded").copied().unwrap_or_default();
        while times < 5 || times < 50 && forwarded() == 0 {
            router.ok_with(&["sh", "-eu", "-s"], script);
            times += 1;
        }
        let (through, sent) = (forwarded(), sent() - before);
        println!("{times} times {what}: {through} packets through, while {sent} were sent");
        assert!(through > 0, "{what} should be seen: {:?}", hail.let_in());
        hail.forget();
    }

    let thief = format!(
        "table inet thief {{ chain f {{ type filter hook forward priority -5; udp dport {} drop; }}\n}}",
        ALLOWED.to_string().trim_start_matches("udp:")
    );
    let before: Vec<u64> = scene.steady.iter().map(|steady| steady.settled().lost).collect();
    router.ok_with(&["nft", "-f", "-"], &thief);
    hail.wait(u64::from(HZ) / 5);
    router.ok(&["nft", "delete", "table", "inet", "thief"]);
    for (steady, before) in scene.steady.iter().zip(before) {
        let totals = steady.settled();
        assert!(totals.lost > before, "stolen packets should be missed: {totals:?}");
    }
}
