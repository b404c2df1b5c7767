//! Swaps under a torrent: what befalls one packet in a hundred thousand is seen where there are millions.

use std::time::{Duration, Instant};

use lab::{Host, Kind, Lab, Process, address, figures, wait};
use serde_json::Value;

const SWAPS: usize = 300;
/// Fewer are no torrent. How fast they come is the machine's affair: it is swapped on until there were so many.
const PACKETS: u64 = 1_000_000;
/// As long after the last of the swaps.
const MORE: Duration = Duration::from_secs(180);
const PORT: &str = "udp:7001";

/// The last number that this program told.
fn told(process: &Process, what: &str) -> u64 {
    let lines = process.out();
    let last = lines.last().and_then(|line| serde_json::from_str::<Value>(line).ok());
    last.and_then(|told| told[what].as_u64()).unwrap_or_default()
}

/// Packets through the router that its rules dropped at the end, for whatever reason.
fn dropped(router: &Host) -> u64 {
    let text = router.ok(&["nft", "-j", "list", "counters", "table", "inet", "postern"]);
    let json: Value = serde_json::from_str(&text).expect("nft -j prints JSON");
    let parts = json["nftables"].as_array().cloned().unwrap_or_default();
    let ours =
        |counter: &&Value| counter["name"] == "forward_dropped" || counter["name"] == "invalid_dropped";
    let counters = parts.iter().map(|part| &part["counter"]).filter(ours);
    let packets: Vec<u64> = counters.filter_map(|counter| counter["packets"].as_u64()).collect();
    assert_eq!(packets.len(), 2, "{text}");
    packets.iter().sum()
}

#[test]
fn three_hundred_swaps_drop_no_packet_of_a_torrent() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let (router, owner) = (lab.router(), postern.owner());
    // The counters see a packet that nobody asked for.
    lab.hostile_provider();
    let before = dropped(&router);
    assert_eq!(lab.host("attacker").knock(Kind::Udp(7001), address("laptop1")).answered, 0);
    assert_eq!(dropped(&router), before + 1);

    let mut sender = lab.host("server1").spawn(&["postern-lab", "torrent", PORT]);
    sender.wait_for_line("ready", wait::SOON);
    let server = address("server1").to_string();
    let reader = lab.host("laptop1").spawn(&["postern-lab", "torrent", PORT, &server]);
    let flows = wait::until(wait::SOON, || (told(&reader, "got") > 1000).then_some(()));
    assert!(flows.is_some(), "the torrent does not flow:\n{}{}", sender.said(), reader.said());
    let (before, sent) = (dropped(&router), told(&sender, "sent"));
    let (mut round, mut done_at) = (0, Instant::now());
    while round < SWAPS || told(&sender, "sent") - sent <= PACKETS && done_at.elapsed() < MORE {
        let on = if round % 2 == 0 { "true" } else { "false" };
        let done = owner.change(&[("passthrough.pptp.enabled", on)], "");
        assert!(done.is_ok(), "swap {round}: {done:?}");
        round += 1;
        if round == SWAPS {
            done_at = Instant::now();
        }
    }
    let (lost, sent) = (dropped(&router) - before, told(&sender, "sent") - sent);
    assert!(sent > PACKETS, "{sent} packets are no torrent");
    let figures = format!(
        "{round} swaps under a torrent\n  one flow from the internet, asked for: {sent} packets, {lost} dropped"
    );
    assert_eq!(lost, 0, "{figures}");
    figures::keep(env!("CARGO_TARGET_TMPDIR"), "leak-torrent", &figures);
}
