//! A stranger on the internet, who knows everything that is in use but holds none of the addresses.

use std::net::Ipv4Addr;

use lab::{CallOptions, Forged, address};

use super::scene::{ESP, HOME, IKE, L2TP, NAT_T, Scene, cookie};

/// Packets a second.
const HZ: u32 = 4000;

/// GRE Call IDs in use, as conntrack lists them.
fn call_ids(scene: &Scene) -> Vec<u16> {
    let list = scene.lab.router().ok(&["conntrack", "-L", "-p", "gre"]);
    let keys =
        list.split(' ').filter_map(|word| word.strip_prefix("srckey=").or(word.strip_prefix("dstkey=")));
    let ids: Vec<u16> =
        keys.filter_map(|key| u16::from_str_radix(key.trim_start_matches("0x"), 16).ok()).collect();
    assert!(!ids.is_empty(), "a call has Call IDs:\n{list}");
    ids
}

#[test]
fn nothing_of_a_stranger_who_knows_every_number_in_use_reaches_the_home_or_is_learnt() {
    let scene = Scene::new();
    scene.prove_the_ears();
    let known = scene.reached().len();
    let server = scene.lab.pptp_server("server1", 1723);
    let mut call = scene.lab.host("laptop1").pptp_call(address("server1"), &CallOptions::default());
    call.wait_up();
    assert!(call.ping(server.inner), "{}", call.said());
    let running = [
        scene.tunnel("laptop1", ESP, "server1"),
        scene.tunnel("laptop2", ESP, "server1"),
        scene.tunnel("laptop1", IKE, "server1"),
        scene.tunnel("phone", L2TP, "server1"),
        scene.tunnel("phone", NAT_T, "server1"),
    ];
    let ids = call_ids(&scene);
    let (l2tp, nat_t) = (scene.our_port(1701), scene.our_port(4500));
    let from = scene.attacker;
    let mut packets = Vec::new();
    for to in scene.targets() {
        let sweep = 0x0100_0000..0x0100_0000 + 500;
        packets.extend(scene.spis(0).into_iter().chain(sweep).map(|spi| Forged::esp(from, to, spi)));
        packets.extend(ids.iter().copied().chain(0..500).map(|id| Forged::gre(from, to, id)));
        for tag in scene.tags(0, IKE) {
            for exchange in [2, 32, 34, 35, 36, 37] {
                packets.push(Forged::ike(from, to, cookie(tag), exchange));
            }
        }
        for (ours, theirs) in [(l2tp, 1701), (nat_t, 4500), (500, 500), (500, 501), (500, 4500)] {
            for port in [theirs, ours, 1701, 500, 4500, 53, 40_000] {
                packets.push(Forged::udp((from, port), (to, ours), b"anything"));
            }
        }
    }
    let dropped = scene.dropped();
    for _ in 0..2 {
        scene.lab.host("attacker").forge(&packets, HZ);
    }
    let dropped = scene.dropped() - dropped;
    assert!(
        dropped >= packets.len() as u64 * 2,
        "of {} only {dropped} came to the router",
        packets.len() * 2
    );
    for tunnel in &running {
        tunnel.unharmed();
    }
    assert!(call.ping(server.inner), "the call goes on");
    assert_eq!(scene.reached()[known..], [], "nothing forged arrives");
    scene.nothing_misdelivered();
    let listing = scene.listing();
    for number in [from.to_string(), format!("{:x}", from.to_bits()), from.to_bits().to_string()] {
        assert!(!listing.contains(&number), "something was learnt of {number}:\n{listing}");
    }
}

#[test]
fn packets_from_the_internet_with_an_address_of_the_home_reach_nobody_and_are_not_learnt() {
    let scene = Scene::new();
    scene.prove_the_ears();
    let known = scene.reached().len();
    let running = [scene.tunnel("laptop1", ESP, "server1"), scene.tunnel("laptop2", ESP, "server1")];
    let before = scene.learnt();
    let mut packets = Vec::new();
    let mut sources = HOME.map(address).to_vec();
    sources.extend([Ipv4Addr::new(192, 168, 1, 1), Ipv4Addr::new(192, 168, 1, 77)]);
    for from in sources {
        for to in scene.targets().into_iter().chain([address("server1")]) {
            packets.extend(
                scene
                    .spis(0)
                    .into_iter()
                    .chain(0x0200_0000..0x0200_0040)
                    .map(|spi| Forged::esp(from, to, spi)),
            );
            packets.extend((0..20).map(|number| Forged::ike(from, to, number, 34)));
            packets.push(Forged::gre(from, to, 7));
            packets.push(Forged::udp((from, 1701), (to, 1701), b"anything"));
            packets.push(Forged::syn((from, 4444), (to, 4444)));
        }
    }
    let dropped = scene.dropped();
    scene.lab.host("internet").forge(&packets, HZ);
    let dropped = scene.dropped() - dropped;
    assert!(dropped > packets.len() as u64 / 2, "of {} only {dropped} came to the router", packets.len());
    for tunnel in &running {
        tunnel.unharmed();
    }
    // Laptop1 hears what was for itself only if the router let it through.
    assert_eq!(scene.reached()[known..], []);
    let after = scene.learnt();
    for set in ["zone_host", "esp_sent", "ike_sent", "ike_in", "esp_in", "ipsec_pair"] {
        assert_eq!(after[set], before[set], "{set} learnt something: {before:?} {after:?}");
    }
}

#[test]
fn an_icmp_error_gets_in_only_if_it_quotes_a_tunnel_that_exists() {
    let scene = Scene::new();
    scene.prove_the_ears();
    let known = scene.reached().len();
    let _running = [scene.tunnel("laptop1", ESP, "server1"), scene.tunnel("laptop2", ESP, "server1")];
    let _ike = scene.tunnel("phone", IKE, "server1");
    let (from, us, server) = (scene.attacker, scene.router, address("server1"));
    let ours = scene.spis(0);
    let about = |quoted: &Forged| Forged::error(from, us, quoted);
    let wrong = [
        Forged::esp(us, server, 0x0bad_0bad),
        Forged::esp(us, address("server2"), *ours.first().expect("two tunnels")),
        Forged::esp(address("laptop1"), server, 0x0bad_0bad),
        Forged::ike(us, server, 0x0bad_0bad, 34),
        Forged::udp((us, 1701), (server, 1701), b"anything"),
        Forged::new(us, server, 47, &[0x30, 1, 0x88, 0x0b, 0, 8, 0, 7, 0, 0, 0, 1]),
    ];
    let mut packets: Vec<Forged> = wrong.iter().map(about).collect();
    for host in HOME.map(address) {
        packets.extend(wrong.iter().map(|quoted| Forged::error(from, host, quoted)));
        packets.extend(ours.iter().map(|spi| Forged::error(from, host, &Forged::esp(us, server, *spi))));
    }
    scene.lab.host("attacker").forge(&packets, HZ);
    let right: Vec<Forged> = ours.iter().map(|spi| about(&Forged::esp(us, server, *spi))).collect();
    scene.lab.host("attacker").forge(&right, 100);
    for host in ["laptop1", "laptop2"] {
        scene
            .ear(host)
            .wait_for("an error that quotes it right", |heard| heard.protocol == 1 && heard.from == from);
    }
    let cookie = scene.tags(0, IKE).into_iter().map(cookie).next().expect("one tunnel");
    scene.lab.host("attacker").forge(&[about(&Forged::ike(us, server, cookie, 34))], 100);
    scene.ear("phone").wait_for("an error that quotes its cookie", |heard| heard.protocol == 1);
    let reached = scene.reached();
    assert_eq!(reached.len() - known, 3, "each to its own host and no more: {reached:?}");
}
