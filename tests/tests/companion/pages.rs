//! The owner chooses the role, takes OpenWrt's configuration and changes the role again in the browser, with a call alive.

use lab::wait::SOON;
use lab::{Form, Lab, PASSWORD, Postern, ROUTER_SETTINGS, Visitor, address};

use crate::firewalls::{Firewall, stand, theirs};
use crate::suite::wait_heard;

const ROLE: &str = "/network/role";
const OPENWRT: &str = "/network/role/openwrt";

/// Where root has left what OpenWrt's configuration says: beside the door.
const HANDED: &str = "/run/postern/door-uci";

/// As OpenWrt would say it of the lab's router.
const UCI: [(&str, &str); 3] = [
    (
        "network",
        "config interface 'lan'\n\toption device 'lan0'\n\toption ipaddr '192.168.1.1'\n\toption netmask '255.255.255.0'\n\
         config interface 'wan'\n\toption device 'wan0'\n\toption proto 'dhcp'\n",
    ),
    (
        "firewall",
        "config zone\n\toption name 'lan'\n\tlist network 'lan'\n\toption input 'ACCEPT'\n\tlist helper 'pptp'\n\
         config zone\n\toption name 'wan'\n\tlist network 'wan'\n\toption masq '1'\n\
         config forwarding\n\toption src 'lan'\n\toption dest 'wan'\n\
         config redirect\n\toption name '<b>Web</b>'\n\toption src 'wan'\n\toption src_dport '8080'\n\
         \toption dest_ip '192.168.1.50'\n\toption proto 'tcp'\n\
         config redirect\n\toption name 'One sender'\n\toption src 'wan'\n\toption src_ip '203.0.113.9'\n\
         \toption src_dport '22'\n\toption dest_ip '192.168.1.50'\n\toption proto 'tcp'\n",
    ),
    (
        "dhcp",
        "config host\n\toption name 'nas'\n\toption mac '02:00:00:00:00:50'\n\toption ip '192.168.1.50'\n",
    ),
];

fn hand_over(lab: &Lab, name: &str, text: &str) {
    let script = format!("mkdir -p {HANDED}; cat > {HANDED}/{name}; chmod 644 {HANDED}/{name}");
    lab.outer().ok_with(&["sh", "-euc", &script], text);
}

/// Sends the form of `path` that holds `field`, after `edit`; the page that it leads to.
#[track_caller]
fn send(owner: &mut Visitor, path: &str, field: &str, edit: impl Fn(Form) -> Form) -> String {
    let form = edit(owner.form(path, field));
    let answer = owner.submit(path, &form);
    assert_eq!(answer.status, 303, "{path}: {}", answer.body);
    owner.get(answer.header("location").unwrap_or(path)).body
}

/// Chooses the role on its page: on trial first, and kept by the next page.
#[track_caller]
fn choose(owner: &mut Visitor, postern: &Postern, role: &str) {
    let form = owner.form(ROLE, "internet.device").choose("role", role);
    let answer = owner.submit(ROLE, &form);
    assert_eq!(answer.status, 303, "{}", answer.body);
    assert!(!postern.json(&["status"])["trial"].is_null(), "{role}: it is on trial");
    if role == "companion" {
        // The first time it is still at port 80 as well, and that it is there shows nothing.
        let again = owner.get(ROLE);
        let moved = again.body.contains("data-elsewhere=\"8080\"");
        let status = postern.json(&["status"]);
        assert_eq!((again.status, status["trial"].is_null()), (200, !moved), "{status}");
        owner.at_port(8080);
    }
    assert_eq!(owner.get(ROLE).status, 200);
    let status = postern.json(&["status"]);
    assert!(status["trial"].is_null(), "{role}: the owner reached the page, so it is kept: {status}");
    assert_eq!(status["role"], role);
}

#[test]
fn the_owner_takes_the_role_and_openwrts_configuration_and_moves_to_router_and_back_by_http_with_a_call_alive()
 {
    let lab = Lab::new();
    let _running = stand(&lab, Firewall::Fw4);
    let before = theirs(&lab);
    let mut postern = lab.postern();
    for (name, text) in UCI {
        hand_over(&lab, name, text);
    }
    postern.start_web(&lab);
    let mut owner = postern.visitor(&lab, "laptop1");
    let code = postern.ok(&["claim-code"]);
    send(&mut owner, "/claim", "code", |form| {
        form.fill("code", code.trim()).fill("password", PASSWORD).fill("repeat", PASSWORD)
    });
    assert!(owner.get("/").body.contains("href=\"/network/role\""), "the first page leads there");

    let page = owner.get(ROLE).body;
    for part in [
        "data-firewall=\"inet fw4\"",
        "Recommended here",
        "data-proposal=\"OpenWrt",
        "value=\"wan0\"",
        "value=\"lan0\"",
        "value=\"192.168.1.1/24\"",
        "href=\"/network/role/openwrt\"",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert_eq!(postern.json(&["get", "role"]), "unset", "proposed, not taken");
    choose(&mut owner, &postern, "companion");
    assert!(postern.table().is_some_and(|table| table.contains("role companion")));

    let page = owner.get(OPENWRT).body;
    for part in [
        "data-part=\"sides\" data-changes=\"0\"",
        "data-part=\"devices\" data-changes=\"1\"",
        "data-part=\"forwards\" data-changes=\"1\"",
        "data-part=\"helpers\" data-changes=\"1\"",
        "tcp 8080 to 192.168.1.50",
        "One sender",
        "src_ip",
    ] {
        assert!(page.contains(part), "{part}: {page}");
    }
    assert!(!page.contains("<b>Web"), "names are text: {page}");
    // Somebody edits the file between the look and the click: what is taken is what was shown, or nothing.
    let old = owner.form(OPENWRT, "digest");
    hand_over(
        &lab,
        "dhcp",
        "config host\n\toption name 'other'\n\toption mac '02:00:00:00:00:51'\n\toption ip '192.168.1.51'\n",
    );
    let answer = owner.submit(OPENWRT, &old);
    assert!(answer.status == 409 && answer.body.contains("has changed since you looked"), "{}", answer.body);
    hand_over(&lab, "dhcp", "config host\n\toption name 'broken\n");
    let page = owner.get(OPENWRT).body;
    assert!(page.contains("dhcp, line 2: a quote begins here"), "{page}");
    hand_over(&lab, "dhcp", UCI[2].1);
    let page = send(&mut owner, OPENWRT, "digest", |form| form);
    assert!(page.contains("Nothing to take"), "{page}");
    for (key, value) in [("forwards", "192.168.1.50"), ("devices", "nas 02:00:00:00:00:50 192.168.1.50")] {
        let said = postern.ok(&["get", key]);
        assert!(said.contains(value), "{key}: {said}");
    }
    assert_eq!(
        postern.ok(&["get", "passthrough.pptp.enabled"]).trim(),
        "true",
        "its helper was named for the zone"
    );
    assert!(owner.get("/security/forwards").body.contains("data-theirs"), "forwards are the other's here");

    let mut server = lab.host("server1").spawn(&["postern-lab", "pptp-server", "1723"]);
    server.wait_for_line("ready", SOON);
    let to = format!("{}:1723", address("server1"));
    let caller = lab.host("laptop2").spawn(&["postern-lab", "pptp-call", &to]);
    wait_heard(&caller, 10);
    // The internet side of a router; in companion it has no effect.
    postern.set(&ROUTER_SETTINGS[2..5]);
    postern.set(&["internet.ipv6=false"]);
    assert_eq!(theirs(&lab), before, "their rules are what they were");
    choose(&mut owner, &postern, "router");
    assert!(!owner.get("/security/forwards").body.contains("data-theirs"));
    wait_heard(&caller, 10);
    choose(&mut owner, &postern, "companion");
    wait_heard(&caller, 10);
    assert_eq!(theirs(&lab), before, "their rules are what they were");
}
