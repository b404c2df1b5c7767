//! What must not be lost on the way through the crate rtnetlink.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::Duration;

use postern::kernel::linux::Linux;
use postern::kernel::{Kernel, Network, configure};

use super::namespace::{kernel_tests, sh};
use super::network::{BEFORE, link, refuse, similar, state, wanted};

kernel_tests!(routes_come_back_as_they_were, a_change_outlives_its_caller, every_kind_of_link_is_seen);

async fn routes_come_back_as_they_were() {
    sh(BEFORE);
    sh("
        ip link set wan0 up
        ip route add 172.17.0.0/16 via 10.0.0.253 dev lan0 src 10.0.0.1 metric 7 mtu lock 1400 advmss 1300 initcwnd 20
        ip route add 172.18.0.0/16 via 198.51.100.9 dev lan0 onlink tos 0x10
        ip route add 172.20.0.0/16 via inet6 fe80::1 dev lan0
        ip route add 172.21.0.0/16 dev lan0 scope link table main
    ");
    let routes = || sh("ip -d route");
    let before = routes();
    let down = Network {
        links: vec![link("lan0", &[], false), link("wan0", &[], false)],
        default_route: Some(None),
        ..Network::default()
    };
    for k in 0.. {
        let ahead = |n| if n == k { Err(refuse()) } else { Ok(()) };
        match configure::change(&down, ahead).await {
            Err(_) => similar(&before, &routes(), &format!("step {k} failed")),
            Ok(_) => {
                assert!(k >= 5, "only {k} steps");
                break;
            }
        }
    }
    assert_eq!(routes(), "", "with the last link all have gone");
}

/// A change that has begun is brought to its end, though its caller goes away and the runtime is shut down.
async fn a_change_outlives_its_caller() {
    sh(BEFORE);
    let mut before = state();
    let mut done = 0;
    for patience in (0..8).map(|n| Duration::from_micros(n * 250)) {
        let given_up = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            let network = wanted();
            runtime.block_on(async {
                let kernel = Linux::new();
                let mut change = pin!(kernel.configure(&network, postern::kernel::Load::Commit));
                let waits = poll_fn(|context| Poll::Ready(change.as_mut().poll(context).is_pending())).await;
                std::thread::sleep(patience);
                waits
            })
        });
        let given_up = given_up.join().unwrap();
        let after = state();
        if after != before {
            done += usize::from(given_up);
            let all = configure::change(&wanted(), |n| panic!("step {n} was left out: {after}")).await;
            assert!(all.is_ok());
            sh(
                "ip link del lan0; ip link del wan0; echo 32768 60999 > /proc/sys/net/ipv4/ip_local_port_range",
            );
            sh(BEFORE);
            before = state();
        }
    }
    println!("{done} changes ended without their caller");
    assert!(done > 0, "every caller waited long enough");
}

/// What `ip link add` takes as type; after `link:` what it stands on.
#[rustfmt::skip]
const KINDS: &[&str] = &[
    "bareudp dstport 9 ethertype ipv4", "batadv", "bond", "bridge", "dummy", "geneve id 3 remote 10.0.0.9",
    "gre remote 10.0.0.9", "gretap remote 10.0.0.9", "hsr slave1 lan1 slave2 wan1", "ifb", "ip6tnl remote fd00::9",
    "ipip remote 10.0.0.9", "ipvlan link:wan1", "macsec link:lan0", "macvlan link:lan0", "macvtap link:wan0", "netkit",
    "nlmon", "sit remote 10.0.0.9", "team", "vcan", "vlan id 5 link:lan0", "vrf table 7", "vti remote 10.0.0.9",
    "vxlan id 4 dstport 4789", "wireguard", "xfrm dev lan0 if_id 3",
];

/// rtnetlink leaves out what it does not understand: of the kinds that this kernel has, that shall be none.
async fn every_kind_of_link_is_seen() {
    sh(BEFORE);
    for kind in KINDS.iter().copied() {
        let (kind, on) =
            kind.split_once(" link:").map_or((kind, String::new()), |(k, l)| (k, format!("link {l}")));
        let name = kind.split(' ').next().unwrap();
        sh(&format!("ip link add {on} name a-{name} type {kind} 2>/dev/null || true"));
    }
    sh("ip tuntap add a-tun mode tun || true; ip tuntap add a-tap mode tap || true");
    let (kernel, mut seen) = (Linux::new(), Vec::new());
    seen.extend(kernel.observe(&[]).await.unwrap().links.into_iter().map(|l| l.name));
    let listed = sh("ip -o link | cut -d' ' -f2 | sed 's/[:@].*//'");
    assert_eq!(seen, listed.lines().collect::<Vec<_>>());
    println!("{}", listed.replace('\n', " "));
}
