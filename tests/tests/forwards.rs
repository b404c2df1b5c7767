//! Port forwards: servers of the home reached from the internet and from the home itself, what ends with them, and what never
//! opens.

use std::time::Duration;

use lab::{CallOptions, Forged, Kind, Lab, Postern, Program, address, wait};

/// VPN servers of the home run here.
const SERVER: &str = "phone";

/// The preset of a program, and the forward of it.
#[track_caller]
fn forward(postern: &Postern, preset: &str) {
    let to = address(SERVER).to_string();
    postern.ok(&["forward", "add", "VPN", "--preset", preset, "--to", &to]);
}

/// A real server at home; a real client on the internet, then one at home that dials the internet address. All switches of
/// passthrough are off: they are about clients.
#[track_caller]
fn reached_from_both_sides(program: Program, preset: &str) {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let off = ["ipsec", "l2tp", "pptp"].map(|name| format!("passthrough.{name}.enabled=false"));
    postern.set(&off.each_ref().map(String::as_str));
    let server = lab.vpn_server(program, SERVER);
    let router = address("router");
    let knock = lab.host("attacker").probe(Kind::Udp(program.port()), router);
    assert!(knock.silent(), "without a forward nothing answers: {knock:?}");
    forward(&postern, preset);
    let mut far = lab.host("server1").vpn_client_at(&server, router);
    far.wait_up();
    let mut near = lab.host("laptop1").vpn_client_at(&server, router);
    near.wait_up();
    assert!(far.ping() && near.ping(), "both at once:\n{}\n{}", far.said(), near.said());
    let said = postern.ok(&["forward", "remove", "VPN"]);
    assert!(said.contains("have ended"), "both ended: {said}");
    assert!(far.silent(), "removed, it moves nothing:\n{}", far.said());
    let ended = wait::until(Duration::from_secs(10), || near.silent().then_some(()));
    assert!(ended.is_some(), "the neighbour's neither:\n{}", near.said());
    assert!(far.silent(), "and does not come back by itself, though the server goes on sending");
}

#[test]
fn an_openvpn_server_of_the_home_is_reached_until_its_forward_is_removed() {
    reached_from_both_sides(Program::OpenVpn, "openvpn");
}

#[test]
fn a_wireguard_server_of_the_home_is_reached_until_its_forward_is_removed() {
    reached_from_both_sides(Program::WireGuard, "wireguard");
}

#[test]
fn an_ikev2_server_of_the_home_is_reached_until_its_forward_is_removed() {
    reached_from_both_sides(Program::StrongSwan, "ikev2");
}

#[test]
fn an_l2tp_server_of_the_home_is_reached_until_its_forward_is_removed() {
    reached_from_both_sides(Program::Xl2tpd, "l2tp");
}

#[test]
fn a_pptp_server_of_the_home_is_called_from_both_sides_and_its_gre_comes_by_expectation_only() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let server = lab.pptp_server(SERVER, 1723);
    let router = address("router");
    let hears = lab.host(SERVER).echo(&[Kind::Ip(47)]);
    forward(&postern, "pptp");
    let stranger = lab.host("attacker").knock(Kind::Ip(47), router);
    assert!(stranger.silent() && hears.heard().is_empty(), "GRE without a call stays outside: {stranger:?}");
    drop(hears);
    let mut far = lab.host("server1").pptp_call(router, &CallOptions::default());
    far.wait_up();
    assert!(far.ping(server.inner), "the call from the internet moves bytes:\n{}", far.said());
    let mut near = lab.host("laptop1").pptp_call(router, &CallOptions::default());
    near.wait_up();
    assert!(near.ping(server.inner) && far.ping(server.inner), "so does the neighbour's:\n{}", near.said());
    postern.set(&["passthrough.pptp.enabled=true"]);
    let other = lab.pptp_server("server2", 1723);
    let mut out = lab.host("laptop2").pptp_call(address("server2"), &CallOptions::default());
    out.wait_up();
    assert!(out.ping(other.inner) && far.ping(server.inner), "calls both ways at once:\n{}", out.said());
    postern.set(&["passthrough.pptp.enabled=false"]);
    assert!(far.ping(server.inner), "the switch is about calls of the home:\n{}", far.said());
    let gre = || {
        let all = lab.router().ok(&["conntrack", "-L", "-p", "gre"]);
        all.lines().any(|line| line.contains(&address(SERVER).to_string()))
    };
    assert!(gre(), "the call has GRE");
    // On, the switch lets GRE out: what refuses it then is the end of the forward.
    postern.set(&["passthrough.pptp.enabled=true"]);
    postern.ok(&["forward", "remove", "VPN"]);
    assert!(!gre(), "its GRE goes with it");
    assert!(far.silent(server.inner), "removed, the call has ended:\n{}", far.said());
    // Whoever of the home goes on sending is refused, so nothing makes the entry anew. A stranger's packet could not.
    let ears = lab.host("server1").echo(&[Kind::Ip(47)]);
    let again = lab.host(SERVER).ask(Kind::Ip(47), address("server1"));
    assert!(again.refused() && ears.heard().is_empty(), "GRE of the server: {again:?}");
    assert!(!gre(), "and no entry came of it");
    let _ = lab.host("laptop2").knock(Kind::Ip(47), address("server1"));
    let left = wait::until(wait::SOON, || (!ears.heard().is_empty()).then_some(()));
    assert!(left.is_some(), "that of another device leaves");
    drop(ears);
    // Forwarded again, a new call works at once: its GRE is expected.
    forward(&postern, "pptp");
    let mut anew = lab.host("server2").pptp_call(router, &CallOptions::default());
    anew.wait_up();
    assert!(anew.ping(server.inner), "a new call:\n{}", anew.said());
}

/// What a client of the home does beside whatever takes the same ports and protocols: all that is in the table of
/// `backend/POLICY.md`.
#[test]
fn clients_of_the_home_go_on_beside_every_forward_and_the_dmz() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    postern.set(&["passthrough.pptp.enabled=true"]);
    let kinds = [
        Kind::Ip(50),
        Kind::Ip(51),
        Kind::Ip(115),
        Kind::Udp(500),
        Kind::Udp(4500),
        Kind::Udp(1701),
        Kind::Tcp(1723),
    ];
    let far = lab.host("server1").echo(&kinds);
    let at_home = lab.host(SERVER).echo(&kinds);
    let to = address(SERVER);
    let until = lab.outer().ok(&["date", "-u", "-d", "+3600 sec", "+%FT%TZ"]).trim().to_owned();
    for (n, beside) in [
        format!("forwards.a=l2tp to {to}"),
        format!("forwards.a=ikev2 to {to}"),
        format!("forwards.a=pptp to {to}"),
        format!("forwards.a=udp 400-5000 to {to}"),
        format!("forwards.a=tcp 1000-2000 to {to}"),
        format!("firewall.dmz={to} until {until}"),
    ]
    .into_iter()
    .enumerate()
    {
        if n == 5 {
            postern.set(&["forwards.a=unset"]);
        }
        postern.set(&[&beside]);
        // No conversation is known from before.
        lab.router().ok(&["conntrack", "-F"]);
        for kind in kinds {
            let probe = lab.host("laptop1").probe(kind, address("server1"));
            assert_eq!(probe.answered, 1, "{kind} of a client beside {beside}: {probe:?}");
        }
    }
    assert!(kinds.iter().all(|kind| !far.heard_of(*kind).is_empty()));
    for kind in [Kind::Udp(500), Kind::Udp(4500), Kind::Udp(1701), Kind::Tcp(1723), Kind::Ip(50)] {
        let probe = lab.host("attacker").probe(kind, address("router"));
        assert_eq!(probe.answered, 1, "{kind} of the internet reaches the DMZ host: {probe:?}");
    }
    assert!(!at_home.heard_of(Kind::Udp(4500)).is_empty());
    for kind in [Kind::Ip(51), Kind::Ip(115), Kind::Ip(47)] {
        let knock = lab.host("attacker").knock(kind, address("router"));
        assert_eq!(knock.answered, 0, "{kind} is taken by nothing: {knock:?}");
    }
}

#[test]
fn raw_esp_and_ike_reach_the_server_and_clients_of_the_home_keep_their_own() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    forward(&postern, "ikev2");
    let router = address("router");
    let kinds = [Kind::Ip(50), Kind::Udp(500), Kind::Udp(4500)];
    let at_home = lab.host(SERVER).echo(&kinds);
    let far = lab.host("server1").echo(&kinds);
    for kind in kinds {
        let probe = lab.host("attacker").probe(kind, router);
        assert_eq!(probe.answered, 1, "{kind} reaches the server at home: {probe:?}");
        let probe = lab.host("laptop1").probe(kind, router);
        assert_eq!(probe.answered, 1, "{kind} of a neighbour too: {probe:?}");
        let probe = lab.host("laptop2").probe(kind, address("server1"));
        assert_eq!(probe.answered, 1, "{kind} of a client of another server: {probe:?}");
        assert!(!far.heard_of(kind).is_empty() && !at_home.heard_of(kind).is_empty());
    }
}

#[test]
fn ports_lead_where_the_settings_say_and_to_nothing_else() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let to = |port: &str| format!("{}{port}", address(SERVER));
    let kinds =
        [Kind::Tcp(80), Kind::Udp(5000), Kind::Udp(5010), Kind::Udp(5011), Kind::Udp(7001), Kind::Tcp(81)];
    let server = lab.host(SERVER).echo(&kinds);
    let router = address("router");
    let probe = |host: &str, kind| lab.host(host).probe(kind, router).answered;
    for kind in [Kind::Tcp(8080), Kind::Udp(5000), Kind::Udp(6001)] {
        assert_eq!(probe("attacker", kind), 0, "{kind} is closed at first");
    }
    postern.set(&[
        &format!("forwards.web=tcp 8080 to {}", to(":80")),
        &format!("forwards.range=udp 5000-5010 to {}", to("")),
        &format!("forwards.moved=udp 6000-6002 to {}", to(":7000")),
    ]);
    for kind in [Kind::Tcp(8080), Kind::Udp(5000), Kind::Udp(5010), Kind::Udp(6001)] {
        assert_eq!(probe("attacker", kind), 1, "{kind} from the internet");
        assert_eq!(probe("laptop1", kind), 1, "{kind} from the home");
    }
    assert!(server.heard_of(Kind::Udp(7001)).len() >= 2, "a range that moves keeps its order");
    for kind in
        [Kind::Udp(5011), Kind::Udp(4999), Kind::Tcp(5000), Kind::Udp(8080), Kind::Tcp(80), Kind::Tcp(22)]
    {
        let knock = lab.host("attacker").knock(kind, router);
        assert!(knock.silent(), "{kind} was not forwarded: {knock:?}");
    }
    let direct = lab.host("attacker").knock(Kind::Tcp(80), address(SERVER));
    assert_eq!(direct.answered, 0, "the device itself, with its own address: {direct:?}");
}

#[test]
fn a_forged_private_address_is_led_nowhere() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    postern.set(&[&format!("forwards.x=udp 7000 to {}", address(SERVER))]);
    let ear = lab.host(SERVER).ear();
    let (router, real) = (address("router"), address("attacker"));
    let knock = |from: std::net::Ipv4Addr| {
        let packet = Forged::udp((from, 40_000), (router, 7000), b"anything");
        lab.host("attacker").forge(std::slice::from_ref(&packet), 100);
        // What might still be on its way has arrived when this has.
        assert!(lab.host(SERVER).run(&["ping", "-c", "2", "-i", "0.2", &real.to_string()]).ok());
        ear.forged().len()
    };
    assert_eq!(knock(real), 1, "the ear hears one that is no forgery");
    for forged in [[10, 1, 2, 3], [172, 31, 0, 1], [192, 168, 9, 9], [192, 168, 1, 102]] {
        assert_eq!(knock(forged.into()), 1, "{forged:?} came in");
    }
}

#[test]
fn a_connection_ends_with_its_forward_and_the_server_cannot_begin_it_anew() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let kinds = [Kind::Tcp(80), Kind::Udp(5000), Kind::Ip(50)];
    let _server = lab.host(SERVER).echo(&kinds);
    let to = address(SERVER);
    let forwards = [format!("forwards.web=tcp 80 to {to}"), format!("forwards.game=udp 5000 to {to}")];
    postern.set(&forwards.each_ref().map(String::as_str));
    forward(&postern, "ikev2");
    let flows = kinds.map(|kind| lab.host("server1").flow(kind, address("router")));
    for flow in &flows {
        flow.wait_answers(5);
    }
    postern.set(&["forwards.web=unset", "forwards.game=unset", "forwards.VPN=unset"]);
    let off = wait::now_ms();
    for flow in &flows {
        flow.watch(Duration::from_secs(2));
        let last = flow.last_answer().unwrap_or_default();
        assert!(last <= off + 1000, "answered {} ms after its forward went: {}", last - off, flow.tail());
    }
}

#[test]
fn no_forward_opens_a_port_of_the_router_itself() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let router = address("router");
    let own = [Kind::Tcp(80), Kind::Tcp(22), Kind::Udp(53), Kind::Tcp(53), Kind::Udp(500)];
    let _listens = lab.router().echo(&[Kind::Tcp(2222)]);
    for forward in ["all-tcp=tcp 1-65535", "all-udp=udp 1-65535"] {
        postern.set(&[&format!("forwards.{forward} to {}", address("laptop2"))]);
        for kind in own.into_iter().chain([Kind::Tcp(2222)]) {
            let knock = lab.host("attacker").knock(kind, router);
            assert_eq!(knock.answered, 0, "{kind} of the router with {forward}: {knock:?}");
        }
    }
    for target in ["192.168.1.1", "198.51.100.2", "192.168.1.255", "203.0.113.66"] {
        let output =
            postern.cli(&["forward", "add", "own", "--protocol", "tcp", "--port", "80", "--to", target]);
        assert!(!output.ok() && output.err.contains("no device's address"), "{target}: {}", output.err);
    }
}

#[test]
fn the_dmz_gets_what_no_forward_takes_and_ends_by_itself_with_what_it_let_in() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    let router = address("router");
    let _web = lab.host("laptop2").echo(&[Kind::Tcp(80)]);
    let _dmz = lab.host(SERVER).echo(&[Kind::Udp(9000), Kind::Tcp(9001)]);
    postern.set(&[&format!("forwards.web=tcp 80 to {}", address("laptop2"))]);
    let until = |seconds: u64| {
        lab.outer().ok(&["date", "-u", "-d", &format!("+{seconds} sec"), "+%FT%TZ"]).trim().to_owned()
    };
    for (time, word) in [(until(90_000), "within 24 hours"), ("2020-01-01T00:00:00Z".to_owned(), "is past")] {
        let output = postern.cli(&["set", &format!("firewall.dmz={} until {time}", address(SERVER))]);
        assert!(!output.ok() && output.err.contains(word), "{time}: {}", output.err);
    }
    assert!(lab.host("attacker").knock(Kind::Udp(9000), router).silent());
    postern.set(&[&format!("firewall.dmz={} until {}", address(SERVER), until(25))]);
    for kind in [Kind::Udp(9000), Kind::Tcp(9001), Kind::Tcp(80)] {
        assert_eq!(lab.host("attacker").probe(kind, router).answered, 1, "{kind}");
    }
    assert_eq!(lab.host("attacker").knock(Kind::Ip(47), router).answered, 0, "GRE stays outside");
    let live = lab.host("server1").flow(Kind::Udp(9000), router);
    live.wait_answers(5);
    let over = wait::until(Duration::from_secs(60), || {
        (postern.json(&["get", "firewall.dmz"]).to_string().contains("none")).then_some(())
    });
    assert!(over.is_some(), "it should end by itself: {}", postern.ok(&["get", "firewall.dmz"]));
    let off = wait::now_ms();
    live.watch(Duration::from_secs(2));
    assert!(live.last_answer().unwrap_or_default() <= off + 1000, "what it let in ends too: {}", live.tail());
    assert_eq!(lab.host("attacker").probe(Kind::Tcp(80), router).answered, 1, "the forward is still there");
}

#[test]
fn a_daemon_that_starts_begins_without_what_is_to_end_and_says_so() {
    let lab = Lab::new();
    let mut postern = lab.postern_router();
    let time = lab.outer().ok(&["date", "-u", "-d", "+3600 sec", "+%FT%TZ"]).trim().to_owned();
    postern.set(&[
        &format!("firewall.dmz={} until {time}", address(SERVER)),
        &format!("firewall.spi=off until {time}"),
    ]);
    let liberal =
        || lab.router().ok(&["sysctl", "-n", "net.netfilter.nf_conntrack_tcp_be_liberal"]).trim().to_owned();
    assert_eq!(liberal(), "1");
    postern.start_daemon();
    assert_eq!(postern.ok(&["get", "firewall.dmz"]).trim().rsplit(['=', ' ']).next(), Some("none"));
    assert_eq!(liberal(), "0");
    let rules = postern.table().unwrap_or_default();
    assert!(!rules.contains("DMZ host gets the rest"), "{rules}");
    assert!(postern.ok(&["history"]).contains("no clock to trust"), "{}", postern.ok(&["history"]));
}
