use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::appliance::tests::{Home, ROUTER};
use crate::appliance::{Author, Folders, Options};
use crate::kernel::fake::Fake;
use crate::kernel::{DefaultRoute, Flow, FlowHandle, Link, SeenLink};
use crate::store::Store;

const COMPANION: [(&str, &str); 3] =
    [("role", "companion"), ("internet.device", "wan0"), ("local_network.devices", "lan0")];
const GRE: &str = "net/netfilter/nf_conntrack_gre_timeout";
const ESTABLISHED: &str = "net/netfilter/nf_conntrack_tcp_timeout_established";
const LIBERAL: &str = "net/netfilter/nf_conntrack_tcp_be_liberal";

async fn take(home: &Home, more: &[(&str, &str)]) -> String {
    let said = home.set(&[&COMPANION[..], more].concat()).await.unwrap();
    home.appliance.confirm(None, Author::command_line()).await.unwrap();
    said
}

fn sysctl(home: &Home, path: &str) -> String {
    let network = home.fake.network();
    network.sysctls.iter().find(|(p, _)| p == path).map(|(_, value)| value.clone()).unwrap_or_default()
}

/// What the box has before anything of ours: the paper kernel knows a key once it was written.
fn box_has(fake: &Fake, values: &[(&str, &str)]) {
    let sysctls = values.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
    fake.set_network(Network { sysctls, ..Network::default() });
}

fn call(answered: bool) -> Flow {
    Flow {
        protocol: TCP,
        client: "192.168.1.101".parse().unwrap(),
        client_port: 40000,
        server: "203.0.113.10".parse().unwrap(),
        server_port: 1723,
        zone: 0,
        helper: None,
        announced_by: None,
        answered,
        tcp_state: Some(if answered { 3 } else { 1 }),
        sent: Default::default(),
        received: Default::default(),
        handle: FlowHandle::default(),
    }
}

#[tokio::test]
async fn a_longer_timer_of_the_owner_stays_and_a_shorter_one_is_raised() {
    let home = Home::fresh().await;
    box_has(&home.fake, &[(GRE, "7200"), ("net/netfilter/nf_conntrack_udp_timeout", "30")]);
    take(&home, &[]).await;
    assert_eq!(sysctl(&home, GRE), "7200");
    assert_eq!(sysctl(&home, "net/netfilter/nf_conntrack_udp_timeout"), "120");
    assert!(!home.appliance.status().await.needs_mending);
    home.fake.set_sysctl(GRE, "10");
    assert!(home.appliance.status().await.needs_mending, "too short is told");
}

#[tokio::test]
async fn what_a_router_had_set_is_put_back_and_what_somebody_has_changed_since_stays() {
    let at = std::env::temp_dir().join(format!("postern-beside-{}", std::process::id()));
    let folders =
        Folders { state: at.join("state"), services: at.join("services"), programs: at.join("programs") };
    std::fs::create_dir_all(&folders.state).unwrap();
    let fake = Fake::new();
    let link = |name: &str, index| SeenLink {
        name: name.into(),
        up: true,
        carrier: true,
        index,
        ..SeenLink::default()
    };
    fake.set_links(vec![link("lan0", 2), link("wan0", 3)]);
    let before = [
        (GRE, "900"),
        (ESTABLISHED, "432000"),
        (LIBERAL, "1"),
        ("net/netfilter/nf_conntrack_events", "2"),
        ("net/netfilter/nf_conntrack_tcp_timeout_syn_sent", "120"),
    ];
    box_has(&fake, &before);
    let store = Store::in_memory().await.unwrap();
    let options = Options { boot: "this boot".into(), folders: Some(folders), ..Options::default() };
    let appliance = Arc::new(Appliance::open(fake.clone(), store.clone(), options).await.unwrap());
    appliance.boot().await;
    let home = Home { fake, store, appliance };
    home.set(&ROUTER).await.unwrap();
    home.appliance.confirm(None, Author::command_line()).await.unwrap();
    assert_eq!((sysctl(&home, GRE), sysctl(&home, ESTABLISHED)), ("600".into(), "86400".into()));
    home.fake.set_sysctl("net/netfilter/nf_conntrack_tcp_timeout_syn_sent", "77");
    take(&home, &[]).await;
    for (path, value) in before {
        let value = if path.ends_with("syn_sent") { "77" } else { value };
        assert_eq!(sysctl(&home, path), value, "{path}");
    }
    assert_eq!(sysctl(&home, "net/ipv4/ip_forward"), "1", "what is forwarded goes on");
    assert!(!at.join("state").join(NOTED).exists());
    std::fs::remove_dir_all(at).unwrap();
}

#[tokio::test]
async fn inspection_that_a_router_had_off_is_on_beside_another_firewall() {
    let home = Home::router().await;
    home.fake.set_sysctl(LIBERAL, "1");
    take(&home, &[]).await;
    assert_eq!(sysctl(&home, LIBERAL), "0");
}

#[tokio::test]
async fn calls_that_the_other_firewall_lets_through_leave_pptp_on_unless_the_owner_says_otherwise() {
    for (open, more, on) in
        [(true, &[][..], true), (false, &[], false), (true, &[("passthrough.pptp.enabled", "false")], false)]
    {
        let home = Home::fresh().await;
        home.fake.set_flows(vec![call(open)]);
        let said = take(&home, more).await;
        let pptp = home.appliance.settings().1.passthrough.pptp.enabled;
        assert_eq!((pptp, said.contains("PPTP call is open")), (on, on), "{said}");
        // Whatever was let through and is refused now ends, calls that nobody has answered too.
        assert_eq!(home.fake.flows().is_empty(), !on, "{said}");
    }
}

#[tokio::test]
async fn the_page_leaves_ports_80_and_443_to_others_and_keeps_a_port_that_the_owner_chose() {
    let home = Home::fresh().await;
    let said = take(&home, &[]).await;
    let access = home.appliance.settings().1.access;
    assert_eq!((access.port.number(), access.https_port.number()), (8080, 8443));
    assert!(said.contains("port 8080") && !said.contains("8443"), "HTTPS is off: {said}");
    home.set(&[("access.port", "80")]).await.unwrap();
    home.appliance.confirm(None, Author::command_line()).await.unwrap();
    assert_eq!(home.appliance.settings().1.access.port.number(), 80, "it is his to choose");
    let home = Home::fresh().await;
    take(&home, &[("access.port", "80"), ("access.https_port", "8080")]).await;
    let access = home.appliance.settings().1.access;
    assert_eq!((access.port.number(), access.https_port.number()), (80, 8080));
}

#[tokio::test]
async fn on_trial_and_a_while_longer_the_page_is_where_it_was_too() {
    let home = Home::fresh().await;
    let lan = SeenLink {
        name: "lan0".into(),
        up: true,
        carrier: true,
        index: 2,
        addresses: vec![("192.168.1.1".parse().unwrap(), 24)],
        ..SeenLink::default()
    };
    home.fake
        .set_links(vec![lan, SeenLink { name: "wan0".into(), up: true, index: 3, ..SeenLink::default() }]);
    let ports = || -> Vec<u16> {
        home.appliance.admin_addresses().borrow().iter().map(std::net::SocketAddr::port).collect()
    };
    home.set(&COMPANION).await.unwrap();
    assert_eq!(ports(), [8080, 80]);
    let trial = home.appliance.status().await.trial.unwrap();
    assert_eq!(trial.ports, [8080], "that the page is still at 80 shows nothing");
    home.appliance.confirm(None, Author::command_line()).await.unwrap();
    assert_eq!(ports(), [8080, 80]);
    let again = Home::started(home.fake.clone(), home.store.clone()).await;
    let after =
        again.appliance.admin_addresses().borrow().iter().map(std::net::SocketAddr::port).collect::<Vec<_>>();
    assert_eq!(after, [8080], "not after a start");
}

#[tokio::test]
async fn a_router_by_dhcp_keeps_the_address_that_the_box_had_until_it_is_lent_one() {
    let home = Home::fresh().await;
    take(&home, &[]).await;
    let address: InterfaceAddress = "198.51.100.7/24".parse().unwrap();
    let gateway = "198.51.100.1".parse().unwrap();
    let route = Some(DefaultRoute { gateway, device: "wan0".parse().unwrap() });
    home.fake.set_network(Network {
        links: vec![Link::new("wan0".parse().unwrap(), vec!["192.168.100.2/24".parse().unwrap(), address])],
        default_route: Some(route.clone()),
        ..home.fake.network()
    });
    home.set(&[("role", "router")]).await.unwrap();
    let network = home.fake.network();
    let wan = network.links.iter().find(|link| link.name.as_str() == "wan0").unwrap();
    assert_eq!((&wan.addresses, network.default_route), (&vec![address], Some(route)));
    let lease = home.appliance.lease().unwrap();
    assert_eq!((lease.address, lease.gateway, lease.seconds), (address, Some(gateway), KEPT));
    assert!(Duration::from_secs(KEPT.into()) > crate::appliance::TRIAL);
    let waits = home.appliance.status().await.trial.unwrap().waits.unwrap_or_default();
    assert!(waits.contains("DHCP server has not answered"), "{waits}");
    home.fake.set_internet_lease(Some(InternetLease { kept: false, ..lease }));
    home.appliance.follow_lease(&*home.appliance.state.lock().await).await;
    assert_eq!(home.appliance.status().await.trial.unwrap().waits, None);
}

#[tokio::test]
async fn many_clients_are_not_promised_beside_a_flow_table_that_takes_ike() {
    let home = Home::fresh().await;
    take(&home, &[]).await;
    assert!(home.appliance.status().await.many_clients.in_force);
    let listing = "table inet fw4 {\n\tchain forward {\n\t\tmeta l4proto { tcp, udp } flow add @ft\n\t}\n}\n";
    home.fake.set_listing(listing);
    home.appliance.list_others(None).await;
    let status = home.appliance.status().await;
    let why = status.many_clients.reason.unwrap_or_default();
    assert!(!status.many_clients.in_force, "{why}");
    assert!(why.contains("flow add @ft") && why.contains("chain forward of table inet fw4"), "{why}");
    assert!(status.notices.contains(&why), "{:?}", status.notices);
    home.fake.set_listing("");
    home.appliance.list_others(None).await;
    assert!(home.appliance.status().await.many_clients.in_force);
}

/// A control connection that carries another helper than PPTP's is told with the rule that attaches that one.
#[tokio::test]
async fn another_helper_on_a_call_is_told_with_the_rule_that_attaches_it() {
    let home = Home::fresh().await;
    take(&home, &[("passthrough.pptp.enabled", "true")]).await;
    home.fake.set_listing(
        "table inet mine {\n\tct helper f {\n\t\ttype \"ftp\" protocol tcp\n\t}\n\n\tct helper t {\n\t\ttype \"pptp\" protocol tcp\n\t}\n\n\
         \tchain pre {\n\t\ttcp dport 21 ct helper set \"f\"\n\t\ttcp dport 1723 ct helper set \"t\"\n\t\ttcp dport 1000-2000 ct helper set \"f\"\n\t}\n}\n",
    );
    home.appliance.list_others(None).await;
    home.fake.set_flows(vec![Flow { helper: Some("pptp".into()), ..call(true) }]);
    assert_eq!(home.appliance.status().await.defeats, []);
    home.fake.set_flows(vec![Flow { helper: Some("ftp".into()), ..call(true) }]);
    let told = home.appliance.status().await.defeats;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(told[0].sentence.contains("tcp dport 1000-2000 ct helper set"), "{told:?}");
    assert_eq!(
        told[0].commands,
        ["nft insert rule inet mine pre 'iifname \"lan0\" tcp dport { 1723 } return'"]
    );
}
