//! Tunnels that run while something else is changed: a change is no reason for a packet of theirs to be lost.

use std::time::{Duration, Instant};

use lab::{CallOptions, Kind, Lab, address, figures, missing_pongs, wait};

/// `POSTERN_APPLIES` changes this many times.
const APPLIES: usize = 40;
const HOME: [&str; 3] = ["laptop1", "laptop2", "phone"];
/// Changes that concern no tunnel of the home.
const CHANGES: [(&str, &str); 6] = [
    ("firewall.ping", "true"),
    ("forwards.test", "tcp 8080 to 192.168.1.103"),
    ("helpers.ftp", "true"),
    ("firewall.ping", "false"),
    ("forwards.test", "unset"),
    ("helpers.ftp", "false"),
];

#[test]
fn fifty_tunnels_lose_no_packet_while_other_settings_change_again_and_again() {
    let applies = std::env::var("POSTERN_APPLIES").map_or(APPLIES, |n| n.parse().expect("a number"));
    let lab = Lab::new();
    let postern = lab.postern_router();
    postern.set(&["passthrough.pptp.enabled=true"]);
    let udp = [Kind::Udp(4500), Kind::Udp(1701)];
    let _servers = ["server1", "server2"].map(|name| lab.host(name).echo(&[udp[0], udp[1], Kind::Ip(50)]));
    let pptp = lab.pptp_server("server1", 1723);
    // 3 calls, 6 clients of raw ESP, 41 tunnels in UDP.
    let calls = HOME.map(|name| {
        let mut call = lab.host(name).pptp_call(address("server1"), &CallOptions::default());
        call.wait_up();
        let pings = call.ping_on(pptp.inner);
        (call, pings)
    });
    let mut esp = Vec::new();
    for name in HOME {
        for server in ["server1", "server2"] {
            let flow = lab.host(name).flow(Kind::Ip(50), address(server));
            flow.wait_answers(10);
            // What was held back while they were paired is not a change's doing.
            esp.push((flow.lost(Duration::from_secs(1)).len(), flow));
        }
    }
    let flows: Vec<_> = (0..41)
        .map(|n| lab.host(HOME[n % 3]).steady(udp[n / 3 % 2], address(["server1", "server2"][n % 2]), 70))
        .collect();
    for (_, pings) in &calls {
        let up = wait::until(wait::SOON, || {
            pings.out().iter().any(|line| line.contains("icmp_seq=20 ")).then_some(())
        });
        assert!(up.is_some(), "{}", pings.said());
    }

    let owner = postern.owner();
    let (before, first) = (flows.iter().map(|flow| flow.totals().sent).sum::<u64>(), owner.status().revision);
    let begun = Instant::now();
    for round in 0..applies {
        let change = CHANGES[round % CHANGES.len()];
        let done = owner.change(&[change], "");
        assert!(done.is_ok(), "change {round} ({change:?}): {done:?}");
    }
    let took = begun.elapsed();
    assert_eq!(owner.status().revision, first + applies as i64, "each of them was a change");

    let totals: Vec<_> = flows.iter().map(|flow| flow.settled()).collect();
    let sent = totals.iter().map(|totals| totals.sent).sum::<u64>() - before;
    let lost: Vec<_> = totals.iter().filter(|totals| totals.lost + totals.unsent > 0).collect();
    assert!(lost.is_empty(), "{lost:?}");
    for (before, flow) in &esp {
        flow.wait_answers(3);
        let lost = flow.lost(Duration::from_secs(1));
        assert!(lost.len() <= *before, "ESP lost {lost:?}:\n{}", flow.tail());
    }
    for (call, pings) in &calls {
        assert!(call.ping(pptp.inner), "the call goes on: {}", call.said());
        assert_eq!(missing_pongs(pings), [0; 0], "a call's packets");
    }
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "leak-tunnels",
        &format!(
            "{applies} changes of other settings under 50 tunnels (3 PPTP calls, 6 of ESP, 21 of NAT-T, 20 of L2TP): {sent} packets of \
             the latter two in {:.0} s ({:.0} a second), 0 lost; ESP and PPTP lost none; no tunnel ended",
            took.as_secs_f64(),
            sent as f64 / took.as_secs_f64(),
        ),
    );
}
