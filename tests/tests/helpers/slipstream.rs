//! What a web page makes a browser say opens nothing while the helper is off; while it is on, nothing for anybody but the
//! host that speaks, and no privileged port of it.

use std::net::Ipv4Addr;

use lab::address;

use super::scene::{Scene, WANTED};

fn port(of: Ipv4Addr, port: u16) -> Vec<u8> {
    let [a, b, c, d] = of.octets();
    format!("PORT {a},{b},{c},{d},{},{}\r\n", port >> 8, port & 0xff).into_bytes()
}

fn dcc(of: Ipv4Addr, port: u16) -> Vec<u8> {
    format!("PRIVMSG friend :\u{1}DCC SEND file {} {port} 1000\u{1}\r\n", u32::from(of)).into_bytes()
}

/// Q.931 FACILITY (ITU-T Q.931 section 3) with an H.225 facility-UUIE: forward the call to this address. Packed encoding as
/// nf_conntrack_h323_asn1.c reads it: user information without options, a PDU without, message 6 of 8 (facility) with
/// alternativeAddress, the object identifier, an IPv4 address and port, reason 1 (call forwarded).
fn forward(to: Ipv4Addr, port: u16) -> Vec<u8> {
    let mut pdu = vec![0x06, 0x40, 6, 0, 8, 0x91, 0x4a, 0, 2, 0x00];
    pdu.extend(to.octets());
    pdu.extend(port.to_be_bytes());
    pdu.push(0x20);
    let length = u16::try_from(pdu.len() + 1).expect("a short message").to_be_bytes();
    let q931 = [&[0x08, 2, 0, 1, 0x62, 0x7e][..], &length, &[5], &pdu].concat();
    // TPKT (RFC 1006 section 6)
    let whole = u16::try_from(q931.len() + 4).expect("a short message").to_be_bytes();
    [&[3, 0][..], &whole, &q931].concat()
}

pub fn register(inside: Ipv4Addr, port: u16, first: &str) -> Vec<u8> {
    format!(
        "{first}\r\nVia: SIP/2.0/UDP {inside}:5060;branch=z9hG4bK1\r\nFrom: <sip:a@{inside}>;tag=1\r\nTo: <sip:a@server>\r\n\
         Call-ID: 1@{inside}\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@{inside}:{port}>\r\nExpires: 600\r\nContent-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// What a page says on a TCP port of a helper, with the helper's name.
pub type Says = (&'static str, u16, fn(Ipv4Addr, u16) -> Vec<u8>);
pub const PAGES: [Says; 3] = [("ftp", 21, port), ("irc", 6667, dcc), ("h323", 1720, forward)];

#[test]
fn what_is_said_with_the_helper_off_opens_nothing() {
    let scene = Scene::new();
    let inside = address("laptop1");
    let mut open: Vec<_> =
        PAGES.iter().map(|(_, port, body)| scene.posts("laptop1", *port, &body(inside, WANTED))).collect();
    open.push(scene.posts(
        "laptop1",
        5060,
        &register(inside, WANTED, "REGISTER sip:server;transport=TCP SIP/2.0"),
    ));
    assert!(!scene.expectations().contains("dport="), "{}", scene.expectations());
    for from in ["server1", "attacker"] {
        assert_eq!((scene.tcp(from, WANTED), scene.udp(from, WANTED)), (vec![], vec![]));
    }
}

#[test]
fn what_is_announced_reaches_the_host_that_speaks_and_from_that_server_only() {
    for (name, helped, body) in PAGES {
        let scene = Scene::new();
        scene.postern.set(&[&format!("helpers.{name}=true")]);
        let _open = scene.posts("laptop1", helped, &body(address("laptop1"), WANTED));
        let from_anybody = name == "irc";
        // An announcement is used up by the first who comes: first the one who should not.
        if !from_anybody {
            assert_eq!(scene.tcp("attacker", WANTED), [""; 0], "{name}: somebody else");
        }
        assert_eq!(scene.udp("server1", WANTED), [""; 0], "{name}: the wrong protocol");
        assert_eq!(scene.tcp("server1", WANTED + 1), [""; 0], "{name}: another port");
        let who = if from_anybody { "attacker" } else { "server1" };
        assert_eq!(scene.tcp(who, WANTED), ["laptop1"], "{name}");
        assert_eq!(scene.helper(name)["let_in"], 1, "{name}");
    }
}

#[test]
fn no_privileged_port_and_no_other_host_is_reached_whatever_is_announced() {
    for (name, helped, body) in PAGES {
        for (target, wanted) in
            [("laptop1", 80), ("laptop1", 1023), ("laptop2", WANTED), ("attacker", WANTED)]
        {
            let scene = Scene::new();
            scene.postern.set(&[&format!("helpers.{name}=true")]);
            let _open = scene.posts("laptop1", helped, &body(address(target), wanted));
            let expected = scene.expectations();
            // Without this the test would show nothing of the rules. The helpers themselves refuse another host, but H.323's
            // does not refuse a neighbour (call forwarding).
            let announced = expected.contains(&format!("dport={wanted}"));
            let refused = target == "attacker" || target == "laptop2" && name != "h323";
            assert!(announced || refused, "{name} {target} {wanted}: {expected}");
            for from in ["server1", "attacker"] {
                assert_eq!(scene.tcp(from, wanted), [""; 0], "{name} {target} {wanted}:\n{expected}");
            }
            assert_eq!(scene.helper(name)["let_in"], 0, "{name} {target} {wanted}");
        }
    }
}

#[test]
fn a_page_over_tcp_opens_no_tcp_port_by_sip() {
    let scene = Scene::new();
    scene.postern.set(&["helpers.sip=true"]);
    let inside = address("laptop1");
    let page =
        String::from_utf8(register(inside, WANTED, "REGISTER sip:server;transport=TCP SIP/2.0")).unwrap();
    let page = page
        .replace("SIP/2.0/UDP", "SIP/2.0/TCP")
        .replace(&format!(":{WANTED}>"), &format!(":{WANTED};transport=tcp>"));
    let answer = page
        .replace("REGISTER sip:server;transport=TCP SIP/2.0", "SIP/2.0 200 OK")
        .replace(&inside.to_string(), &scene.router.to_string());
    let mut server =
        scene.lab.host("server1").tcp_answers(5060, &format!("hear\nsay {}\n", lab::hex(answer.as_bytes())));
    let script = format!("say {}\nhear\n", lab::hex(page.as_bytes()));
    let mut client = scene.lab.host("laptop1").tcp_says((scene.server, 5060), &script);
    server.wait_for_line("done", lab::wait::SOON);
    client.wait_for_line("done", lab::wait::SOON);
    let expected = scene.expectations();
    assert!(expected.contains(&format!("dport={WANTED}")), "the helper takes it for a telephone: {expected}");
    assert_eq!((scene.tcp("server1", WANTED), scene.udp("server1", WANTED)), (vec![], vec![]));
}
