use std::sync::Arc;

use super::super::{Assignment, Author, Options};
use super::*;
use crate::kernel::SeenLink;
use crate::kernel::fake::Fake;
use crate::store::Store;

async fn router() -> (Fake, Arc<Appliance<Fake>>) {
    let fake = Fake::new();
    let link = |name: &str, index| SeenLink {
        name: name.into(),
        up: true,
        carrier: true,
        index,
        ..SeenLink::default()
    };
    fake.set_links(vec![link("lan0", 2), link("lan1", 3), link("wan0", 4)]);
    let store = Store::in_memory().await.unwrap();
    let appliance = Arc::new(Appliance::open(fake.clone(), store, Options::default()).await.unwrap());
    appliance.boot().await;
    let set = |key: &str, value: &str| Assignment { key: key.into(), value: value.into() };
    let wanted = [
        set("role", "router"),
        set("internet.device", "wan0"),
        set("local_network.devices", "lan0,lan1"),
        set("internet.mtu", "1400"),
    ];
    appliance.change(None, &wanted, "", Author::command_line()).await.unwrap();
    appliance.confirm(None, Author::command_line()).await.unwrap();
    (fake, appliance)
}

fn lent(ip: &str, dns: &str) -> Option<InternetLease> {
    let word = |name: &str| match name {
        "ip" => Some(ip.to_owned()),
        "subnet" => Some("255.255.255.0".to_owned()),
        "router" => Some("198.51.100.1".to_owned()),
        "dns" => Some(dns.to_owned()),
        _ => None,
    };
    InternetLease::read("wan0".parse().unwrap(), word).ok()
}

async fn follow(appliance: &Appliance<Fake>) {
    let state = appliance.state.lock().await;
    appliance.follow_lease(&state).await;
}

fn addresses(fake: &Fake) -> Vec<String> {
    let network = fake.network();
    let wan = network.links.iter().find(|link| link.name.as_str() == "wan0");
    wan.map(|wan| wan.addresses.iter().map(ToString::to_string).collect()).unwrap_or_default()
}

#[tokio::test]
async fn a_lease_is_put_into_force_and_one_that_says_the_same_costs_nothing() {
    let (fake, appliance) = router().await;
    assert!(addresses(&fake).is_empty());
    fake.set_internet_lease(lent("198.51.100.20", "203.0.113.10"));
    fake.forget_calls();
    follow(&appliance).await;
    assert_eq!(fake.calls(), ["observe", "configure", "serve"]);
    assert_eq!(addresses(&fake), ["198.51.100.20/24"]);
    let served = fake.services().dnsmasq.unwrap().servers;
    assert_eq!(served, "server=203.0.113.10\n");
    fake.forget_calls();
    follow(&appliance).await;
    assert!(fake.calls().is_empty(), "{:?}", fake.calls());
    // Renewed.
    fake.set_internet_lease(lent("198.51.100.20", "203.0.113.10").map(|l| InternetLease { since: 60, ..l }));
    follow(&appliance).await;
    assert!(fake.calls().is_empty(), "{:?}", fake.calls());
    fake.set_internet_lease(lent("198.51.100.30", "203.0.113.10"));
    follow(&appliance).await;
    assert_eq!(fake.calls(), ["observe", "configure", "forget 198.51.100.20"]);
    fake.set_internet_lease(None);
    fake.forget_calls();
    follow(&appliance).await;
    assert_eq!(fake.calls(), ["observe", "configure", "forget 198.51.100.30", "serve"]);
    assert!(addresses(&fake).is_empty());
}

#[tokio::test]
async fn whichever_step_of_a_new_lease_fails_it_is_tried_again_until_it_is_in_force() {
    for k in 1.. {
        let (fake, appliance) = router().await;
        fake.set_internet_lease(lent("198.51.100.20", "203.0.113.10"));
        follow(&appliance).await;
        fake.set_internet_lease(lent("198.51.100.30", "203.0.113.11"));
        fake.forget_calls();
        fake.fail_at(k);
        follow(&appliance).await;
        let failed = appliance.internet().servers_due || appliance.internet().failed.is_some();
        follow(&appliance).await;
        assert!(!appliance.internet().servers_due && appliance.internet().failed.is_none(), "step {k}");
        assert_eq!(addresses(&fake), ["198.51.100.30/24"], "step {k}");
        assert_eq!(fake.services().dnsmasq.unwrap().servers, "server=203.0.113.11\n", "step {k}");
        assert!(fake.calls().contains(&"forget 198.51.100.20".to_owned()), "step {k}: {:?}", fake.calls());
        if !failed {
            assert_eq!(k, 5, "observe, configure, forget, serve");
            break;
        }
    }
}

#[tokio::test]
async fn a_lease_inside_the_home_changes_nothing_and_is_told() {
    let (fake, appliance) = router().await;
    fake.set_internet_lease(lent("192.168.1.50", ""));
    fake.forget_calls();
    follow(&appliance).await;
    assert!(fake.calls().is_empty(), "{:?}", fake.calls());
    let status = appliance.status().await;
    let told = status.notices.join(" ");
    assert!(told.contains("192.168.1.50/24") && told.contains("192.168.77.1/24"), "{told}");
    assert_eq!(status.internet_state.clash.unwrap().free.unwrap().to_string(), "192.168.77.1/24");
}

#[tokio::test]
async fn a_cable_that_comes_back_asks_the_provider_again() {
    let (fake, appliance) = router().await;
    let (_, settings) = appliance.settings();
    let wan = |carrier| SeenLink { name: "wan0".into(), up: true, carrier, ..SeenLink::default() };
    fake.forget_calls();
    for (carrier, asked) in [(true, 0), (true, 0), (false, 0), (false, 0), (true, 1), (true, 1)] {
        let seen = Observation { links: vec![wan(carrier)], ..Observation::default() };
        appliance.follow_cable(&settings, &seen);
        assert_eq!(fake.calls().len(), asked);
    }
}

#[tokio::test]
async fn whichever_step_fails_on_the_way_to_two_ports_and_dhcp_the_state_before_is_back() {
    let set = |key: &str, value: &str| Assignment { key: key.into(), value: value.into() };
    let change = [
        set("local_network.devices", "lan0"),
        set("internet.mode", "static"),
        set("internet.address", "198.51.100.2/24"),
        set("internet.gateway", "198.51.100.1"),
    ];
    for k in 1.. {
        let (fake, appliance) = router().await;
        fake.set_internet_lease(lent("198.51.100.20", "203.0.113.10"));
        follow(&appliance).await;
        // Links that the fake has not known before are not forgotten by it.
        let truth = || (appliance.settings(), fake.loaded(), fake.services(), addresses(&fake));
        let before = truth();
        let bridge = fake.network().bridges;
        fake.fail_at(k);
        if appliance.change(None, &change, "", Author::command_line()).await.is_ok() {
            assert!(k > 6, "only {k} steps");
            break;
        }
        assert_eq!(truth(), before, "step {k}");
        let there = |bridges: &[crate::kernel::Bridge]| bridges.iter().map(|b| b.there).collect::<Vec<_>>();
        assert_eq!(there(&fake.network().bridges), there(&bridge), "step {k}");
    }
}

#[tokio::test]
async fn the_home_is_numbered_by_what_is_delegated_and_by_nothing_when_it_ends_or_is_switched_off() {
    let (fake, appliance) = router().await;
    let follow = async || {
        let state = appliance.state.lock().await;
        appliance.follow_prefix(&state).await;
    };
    let prefix = services::DelegatedPrefix {
        prefix: "2001:db8:a00::".parse().unwrap(),
        length: 56,
        preferred: 0,
        valid: 400,
    };
    let delegated = services::Delegated {
        device: "wan0".parse().unwrap(),
        prefixes: vec![prefix],
        dns: vec!["2001:db8:3::10".parse().unwrap()],
        since: 0,
        boot: String::new(),
    };
    fake.set_delegated(Some(delegated));
    follow().await;
    let (device, addresses) = fake.numbers().home.unwrap();
    assert_eq!(device.as_str(), "br-lan");
    let own: Vec<_> = addresses.iter().map(|a| (a.address.to_string(), a.preferred, a.valid)).collect();
    assert_eq!(own, [("2001:db8:a00::1".to_owned(), 0, 400)]);
    let ports: Vec<_> = fake.numbers().without.iter().map(ToString::to_string).collect();
    assert_eq!(ports, ["lan0", "lan1"], "what a port had before it joined the bridge");
    assert_eq!(
        (fake.numbers().unadvertised, fake.numbers().solicit.map(|p| p.to_string())),
        (None, Some("wan0".into()))
    );
    assert!(fake.services().dnsmasq.unwrap().servers.contains("server=2001:db8:3::10"));
    follow().await;
    assert_eq!(fake.numbers().solicit, None, "not at every look (RFC 7559)");
    fake.set_delegated(None);
    follow().await;
    assert_eq!(fake.numbers().home.unwrap().1, []);
    assert!(!fake.services().dnsmasq.unwrap().servers.contains("server="));
    let off = [Assignment { key: "internet.ipv6".into(), value: "false".into() }];
    appliance.change(None, &off, "", Author::command_line()).await.unwrap();
    follow().await;
    assert_eq!(fake.numbers().unadvertised.map(|p| p.to_string()), Some("wan0".into()));
    assert_eq!(fake.services().prefix_client, None);
    let accept = ("net/ipv6/conf/wan0/accept_ra".to_owned(), "0".to_owned());
    assert!(fake.network().sysctls.contains(&accept), "{:?}", fake.network().sysctls);
}
