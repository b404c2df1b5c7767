//! A device that asks and asks and is never answered.

use std::net::SocketAddr;
use std::time::Duration;

use lab::{Kind, Lab, Said, Talk, address, figures};

/// More conversations than the table takes.
const ASKED: u32 = 330_000;
const HZ: u32 = 60_000;
const CALLS: usize = 100;

#[test]
fn conversations_that_nobody_answers_give_way_to_new_ones_of_others_though_they_fill_the_table() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let _server = lab.host("server1").echo(&[Kind::Tcp(80)]);
    // Without a device's share: else it could not fill the table.
    for chain in ["share", "share_over"] {
        lab.router().ok(&["nft", "flush", "chain", "inet", "postern", chain]);
    }
    lab.spray("laptop1", "server2", ASKED, HZ);
    let (count, room) = lab.conntrack();
    assert!(count * 100 >= room * 99, "{count} of {room}: the table is not full, and this shows nothing");
    let timeout = lab.router().ok(&["sysctl", "-n", "net.netfilter.nf_conntrack_udp_timeout"]);
    assert_eq!(timeout.trim(), "120", "with our timers");
    let talk = Talk {
        to: SocketAddr::from((address("server1"), 80)),
        limit_ms: 15_000,
        ..Talk::new(CALLS, vec![Said::new("x".repeat(64)); CALLS])
    };
    let heard = lab.host("laptop2").talk(&talk, Duration::from_secs(120));
    let mut times: Vec<u64> = heard.iter().filter_map(|one| one.first_ms).collect();
    times.sort_unstable();
    let figure = format!(
        "{ASKED} conversations without an answer, {count} of {room} entries: {} of {CALLS} new connections of another device work, median {} ms, worst {} \
         ms",
        times.len(),
        times.get(times.len() / 2).copied().unwrap_or_default(),
        times.last().copied().unwrap_or_default()
    );
    figures::keep(env!("CARGO_TARGET_TMPDIR"), "unanswered", &figure);
    assert_eq!(times.len(), CALLS, "{figure}");
    assert!(postern.ok(&["status"]).contains("The connection table is "), "and the owner is told");
}
