//! SIP telephones: packets of our own making from the telephone and its server, since no Debian package calls without an
//! account and a sound card.

use std::net::Ipv4Addr;

use lab::{Forged, address};

use super::scene::{Scene, WANTED};
use super::slipstream::register;

/// Where the telephone of laptop1 says that it wants the voice.
const VOICE: u16 = 6000;

/// INVITE (RFC 3261 section 13) with a session description (RFC 4566).
fn invite(inside: Ipv4Addr) -> Vec<u8> {
    let sdp = format!(
        "v=0\r\no=a 1 1 IN IP4 {inside}\r\ns=call\r\nc=IN IP4 {inside}\r\nt=0 0\r\nm=audio {VOICE} RTP/AVP 0\r\n"
    );
    // What the lab's packets end with is part of the content.
    let length = sdp.len() + 8;
    format!(
        "INVITE sip:b@server SIP/2.0\r\nVia: SIP/2.0/UDP {inside}:5060;branch=z9hG4bK2\r\nFrom: <sip:a@{inside}>;tag=2\r\n\
         To: <sip:b@server>\r\nCall-ID: 2@{inside}\r\nCSeq: 1 INVITE\r\nContact: <sip:a@{inside}:5060>\r\n\
         Content-Type: application/sdp\r\nContent-Length: {length}\r\n\r\n{sdp}"
    )
    .into_bytes()
}

/// The telephone says this to its server.
fn says(scene: &Scene, words: &[u8]) {
    let telephone = (address("laptop1"), 5060);
    scene.lab.host("laptop1").forge(&[Forged::udp(telephone, (scene.server, 5060), words)], 10);
}

#[test]
fn a_telephone_that_has_registered_is_called_by_its_server_over_udp_and_by_nobody_else() {
    // The kernel's helper itself takes no port below 1024.
    for (on, port) in [(true, WANTED), (true, 80), (false, WANTED)] {
        let scene = Scene::new();
        scene.postern.set(&[&format!("helpers.sip={on}")]);
        says(&scene, &register(address("laptop1"), port, "REGISTER sip:server SIP/2.0"));
        let list = scene.lab.router().ok(&["conntrack", "-L", "-p", "udp", "--dport", "5060"]);
        assert_eq!(list.contains("helper=sip"), on, "{list}");
        let answer = register(scene.router, port, "SIP/2.0 200 OK");
        let answer = Forged::udp((scene.server, 5060), (scene.router, 5060), &answer);
        assert_eq!(scene.knock("server1", &answer), ["laptop1"], "its server's answer");
        let called = on && port == WANTED;
        let expected = scene.expectations();
        assert_eq!(expected.contains(&format!("dport={port}")), called, "{expected}");
        assert_eq!(scene.udp("attacker", port), [""; 0], "somebody else");
        assert_eq!(scene.tcp("server1", port), [""; 0], "not over TCP");
        let reached = if called { vec!["laptop1"] } else { Vec::new() };
        assert_eq!(scene.udp("server1", port), reached, "helper {on}, port {port}");
    }
}

#[test]
fn the_voice_comes_from_the_server_only_and_until_sip_is_off() {
    let scene = Scene::new();
    says(&scene, &invite(address("laptop1")));
    assert_eq!(scene.udp("server1", VOICE), [""; 0], "off");
    // A conversation that was open before has no helper: the telephone calls anew.
    scene.lab.router().ok(&["conntrack", "-D", "-p", "udp", "--dport", "5060"]);
    scene.postern.set(&["helpers.sip=true"]);
    says(&scene, &invite(address("laptop1")));
    let expected = scene.expectations();
    assert!(expected.contains(&format!("dport={VOICE}")), "the helper has read the call: {expected}");
    assert_eq!(scene.udp("attacker", VOICE), [""; 0], "somebody else");
    assert_eq!(scene.tcp("server1", VOICE), [""; 0], "not over TCP");
    for _ in 0..3 {
        assert_eq!(scene.udp("server1", VOICE), ["laptop1"]);
    }
    let said = scene.postern.set(&["helpers.sip=false"]);
    assert!(said.contains("2 connections of it have ended"), "{said}");
    assert_eq!(scene.udp("server1", VOICE), [""; 0], "off ends the voice");
    scene.postern.set(&["helpers.sip=true"]);
    assert_eq!(scene.udp("server1", VOICE), [""; 0], "on again, nobody has called");
}
