//! Forged with a VPN server's own address: its numbers cannot be told from the server's, all else must not matter.

use std::time::Duration;

use lab::{CallOptions, Forged, address, figures, wait};

use super::scene::{ESP, HOME, IKE, Scene, cookie};

/// Unknown SPIs a second.
const HZ: u32 = 1000;
/// The same, faster than a server in the lab answers.
const FASTER: u32 = 8000;

#[test]
fn what_is_forged_with_the_servers_address_reaches_only_the_client_whose_number_it_bears() {
    let scene = Scene::new();
    let running = [
        scene.tunnel("laptop1", ESP, "server1"),
        scene.tunnel("laptop2", ESP, "server1"),
        scene.tunnel("laptop1", IKE, "server1"),
        scene.tunnel("laptop2", IKE, "server1"),
    ];
    let (server, us) = (address("server1"), scene.router);
    let attacker = scene.lab.host("attacker");
    // Proof that a forged source arrives, and that the ears hear it.
    for (kind, tags) in [(50, scene.tags(0, ESP)), (17, scene.tags(0, IKE))] {
        for tag in tags {
            let forged = match kind {
                50 => Forged::esp(server, us, super::scene::spi(tag)),
                _ => Forged::ike(server, us, cookie(tag), 34),
            };
            let owner = |(_, ear): &&(&str, lab::Ear)| {
                ear.all().iter().any(|heard| heard.tag == Some(tag) && heard.protocol == kind)
            };
            let owners: Vec<_> = scene.ears.iter().filter(owner).map(|(name, _)| *name).collect();
            assert_eq!(owners.len(), 1, "one client has this number");
            let before: Vec<usize> = scene.ears.iter().map(|(_, ear)| ear.forged().len()).collect();
            attacker.forge(&[forged], 100);
            let after = wait::until(wait::SOON, || {
                let now: Vec<usize> = scene.ears.iter().map(|(_, ear)| ear.forged().len()).collect();
                (now != before).then_some(now)
            });
            let after = after.expect("a known number from the server's address arrives");
            for ((name, before), after) in HOME.iter().zip(before).zip(after) {
                assert_eq!(after - before, usize::from(*name == owners[0]), "{name}, for {owners:?}");
            }
        }
    }
    let known = scene.reached().len();
    let mut packets: Vec<Forged> = (0..5000).map(|n| Forged::esp(server, us, 0x0200_0000 + n)).collect();
    packets.extend((0..1000).map(|n| Forged::ike(server, us, 0x0200_0000 + n, 34)));
    packets.extend((0..500).map(|n| Forged::udp((server, 500), (us, n), b"anything")));
    packets.extend(HOME.map(|host| Forged::esp(server, address(host), 0x0300_0000)));
    attacker.forge(&packets, HZ);
    for tunnel in &running {
        tunnel.unharmed();
    }
    assert_eq!(scene.reached()[known..], [], "unknown numbers reach nobody");
    scene.nothing_misdelivered();
    scene.far_from_full("unknown SPIs from the server's address");
}

/// While `hz` unknown SPIs a second come from the server's address, a new client of it begins; what it was like. Whether it is
/// served meanwhile is only told: forged numbers and the server's own cannot be told apart. Afterwards it must be.
#[track_caller]
fn swept(hz: u32, seconds: u32) -> String {
    let scene = Scene::new();
    let running = [
        scene.tunnel("laptop1", ESP, "server1"),
        scene.tunnel("laptop2", ESP, "server1"),
        scene.tunnel("laptop1", ESP, "server2"),
        scene.tunnel("phone", ESP, "server2"),
    ];
    let (undisturbed, first) = scene.new_client("phone", "server1");
    drop(first);
    scene.rested("phone");
    let (server, us) = (address("server1"), scene.router);
    let sweep: Vec<Forged> = (0..60_000).map(|n| Forged::esp(server, us, 0x0200_0000 + n)).collect();
    let forger = scene.lab.host("attacker").forge_on(&sweep, hz);
    forger.wait(u64::from(hz));
    let (began, flow) = (wait::now_ms(), scene.lab.host("phone").flow(ESP, server));
    let first = wait::until(Duration::from_secs(seconds.into()), || flow.last_answer());
    let first = first.map_or("not".to_owned(), |at| format!("after {} ms", at - began));
    forger.wait(u64::from(hz * seconds));
    let fullest = scene.far_from_full("a sweep of SPIs from the server's address");
    let (answered, lost) = (flow.answered().len(), flow.missing(Duration::from_millis(500)).len());
    drop(forger);
    let began = wait::now_ms();
    let whole = wait::until(Duration::from_secs(30), || {
        let before = flow.answered().len();
        flow.watch(Duration::from_millis(500));
        (flow.answered().len() >= before + 8).then_some(())
    });
    assert!(whole.is_some(), "after the sweep the client should be served:\n{}", flow.tail());
    let healed = wait::now_ms() - began;
    for tunnel in &running {
        tunnel.unharmed();
    }
    scene.nothing_misdelivered();
    let (reached, others): (Vec<_>, Vec<_>) =
        scene.reached().into_iter().partition(|(host, _)| *host == "phone");
    assert_eq!(others, [], "only the client that is being paired may be met");
    format!(
        "attack: {hz} unknown SPIs/s from the server's address: a new client first answered: {first} (undisturbed \
         {undisturbed} ms), then {answered} packets answered and {lost} not, whole again {healed} ms after the end; {} forged \
         packets reached it, and nobody else; running tunnels lost nothing; fullest map {fullest:?}",
        reached.len(),
    )
}

#[test]
fn a_sweep_of_spis_from_the_servers_address_reaches_only_the_new_client_which_is_served_when_it_ends() {
    // The second is faster than a server in the lab answers: whoever answers later than in a third of a millisecond is so swept
    // by fewer.
    let text = [swept(HZ, 5), swept(FASTER, 5)].join("\n");
    figures::keep(env!("CARGO_TARGET_TMPDIR"), "attack-sweep", &text);
}

#[test]
fn a_slow_sweep_of_spis_from_the_servers_address_reaches_only_the_new_client_which_is_served_when_it_ends() {
    figures::keep(env!("CARGO_TARGET_TMPDIR"), "attack-sweep-slow", &swept(1, 10));
}

#[test]
fn a_sweep_of_call_ids_from_the_servers_address_passes_with_the_calls_own_ids_alone() {
    let scene = Scene::new();
    let server = scene.lab.pptp_server("server1", 1723);
    let same = CallOptions { same_call_id: true, ..Default::default() };
    let mut calls =
        ["laptop1", "laptop2"].map(|name| scene.lab.host(name).pptp_call(address("server1"), &same));
    for call in &mut calls {
        call.wait_up();
        assert!(call.ping(server.inner), "{}", call.said());
    }
    let sweep: Vec<Forged> =
        (0..=u16::MAX).map(|id| Forged::gre(address("server1"), scene.router, id)).collect();
    scene.lab.host("attacker").forge(&sweep, 12_000);
    for (host, call) in ["laptop1", "laptop2"].iter().zip(&calls) {
        scene.ear(host).wait_for("the call's own Call ID", |heard| heard.protocol == 47);
        assert!(call.ping(server.inner), "the call goes on: {}", call.said());
    }
    let reached: Vec<_> = scene.reached().iter().map(|(host, heard)| (*host, heard.head & 0xffff)).collect();
    assert_eq!(reached.len(), 2, "one Call ID for each call: {reached:?}");
    assert_eq!(reached[0].1, reached[1].1, "both callers have the same Call ID");
}
