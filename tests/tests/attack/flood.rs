//! A host of the home that floods, forges its neighbours, or claims the turn again and again.

use std::net::Ipv4Addr;

use lab::{Forged, address, figures};

use super::scene::{ESP, IKE, Running, Scene, cookie};

/// Packets a second.
const HZ: u32 = 5000;
/// How many different packets a flood has.
const MANY: u32 = 20_000;

fn running(scene: &Scene) -> [Running; 3] {
    [
        scene.tunnel("laptop1", ESP, "server1"),
        scene.tunnel("laptop1", IKE, "server1"),
        scene.tunnel("phone", ESP, "server2"),
    ]
}

/// While `packets` rain from laptop2, a new client on the phone is paired; what it was like.
#[track_caller]
fn disturbed(scene: &Scene, what: &str, packets: &[Forged], hz: u32, unharmed: &[Running]) -> String {
    scene.rested("phone");
    let quiet = scene.new_client("phone", "server1").0;
    scene.rested("phone");
    let flood = scene.lab.host("laptop2").forge_on(packets, hz);
    flood.wait(u64::from(hz));
    let took = scene.new_client("phone", "server1").0;
    flood.wait(u64::from(hz));
    let fullest = scene.far_from_full(what);
    let sent = flood.sent();
    drop(flood);
    for tunnel in unharmed {
        tunnel.unharmed();
    }
    scene.nothing_misdelivered();
    let text = format!(
        "attack from the home: {what} ({sent} packets): a neighbour's new tunnel answered after {took} ms, undisturbed \
         {quiet} ms; fullest map {fullest:?}"
    );
    println!("{text}");
    text
}

fn keep(name: &str, lines: &[String]) {
    figures::keep(env!("CARGO_TARGET_TMPDIR"), name, &lines.join("\n"));
}

#[test]
fn a_flood_of_new_spis_or_cookies_from_one_host_hurts_no_neighbour_and_fills_nothing() {
    let scene = Scene::new();
    let tunnels = running(&scene);
    let (from, server) = (address("laptop2"), address("server1"));
    let one: Vec<_> = (0..MANY).map(|n| Forged::esp(from, server, 0x0200_0000 + n)).collect();
    let many_servers: Vec<_> = (0..MANY)
        .map(|n| {
            Forged::esp(
                from,
                Ipv4Addr::from_bits(server.to_bits() / 256 * 256 + 10 + n % 240),
                0x0300_0000 + n,
            )
        })
        .collect();
    let cookies: Vec<_> =
        (0..MANY).map(|n| Forged::ike(from, server, 0x0200_0000 + u64::from(n), 32)).collect();
    keep(
        "attack-flood",
        &[
            disturbed(&scene, "new SPIs to one server", &one, HZ, &tunnels),
            disturbed(&scene, "new SPIs to 240 servers", &many_servers, HZ, &tunnels),
            disturbed(&scene, "new IKE cookies to one server", &cookies, HZ, &tunnels),
        ],
    );
}

#[test]
fn a_flood_with_forged_addresses_of_the_home_hurts_no_neighbour_and_fills_nothing() {
    let scene = Scene::new();
    let tunnels = running(&scene);
    let server = address("server1");
    // Not those of the three hosts themselves.
    let host = |n: u32| Ipv4Addr::from_bits(0xc0a8_0100 + 110 + n % 140);
    let spis: Vec<_> = (0..MANY).map(|n| Forged::esp(host(n), server, 0x0200_0000 + n)).collect();
    let cookies: Vec<_> =
        (0..MANY).map(|n| Forged::ike(host(n), server, 0x0400_0000 + u64::from(n), 35)).collect();
    keep(
        "attack-forged",
        &[
            disturbed(&scene, "new SPIs from 140 forged addresses", &spis, HZ, &tunnels),
            disturbed(&scene, "new cookies from 140 forged addresses", &cookies, HZ, &tunnels),
        ],
    );
}

#[test]
fn a_host_that_sends_with_a_neighbours_address_spi_and_cookie_takes_nothing_from_it() {
    let scene = Scene::new();
    let tunnels = running(&scene);
    let (own, victim, server) = (address("laptop2"), address("laptop1"), address("server1"));
    let mut packets = Vec::new();
    for tag in scene.tags(0, IKE) {
        packets.extend([2, 32, 34, 35, 36].map(|exchange| Forged::ike(own, server, cookie(tag), exchange)));
    }
    for spi in scene.spis(0) {
        packets.push(Forged::esp(own, server, spi));
        packets.push(Forged::esp(victim, server, spi));
    }
    packets.extend((0..MANY).map(|n| Forged::esp(victim, server, 0x0500_0000 + n)));
    let stolen = disturbed(&scene, "a neighbour's address, SPI and cookie", &packets, HZ, &tunnels);
    keep("attack-neighbour", &[stolen]);
}

#[test]
fn a_host_that_claims_the_turn_each_second_delays_others_but_does_not_stop_them() {
    let scene = Scene::new();
    let tunnels = running(&scene);
    let server = address("server1");
    let own: Vec<_> = (0..600).map(|n| Forged::esp(address("laptop2"), server, 0x0200_0000 + n)).collect();
    let one_a_second = disturbed(&scene, "one new SPI a second, never answered", &own, 1, &tunnels);
    // The worst: always the first to claim when a turn ends, each time as somebody else.
    let forged: Vec<_> = (0..140)
        .map(|n| Forged::esp(Ipv4Addr::from_bits(0xc0a8_0100 + 110 + n), server, 0x0600_0000 + n))
        .collect();
    let greedy = disturbed(&scene, "140 forged addresses that claim again and again", &forged, HZ, &tunnels);
    keep("attack-turn", &[one_a_second, greedy]);
}
