//! NAT slipstreaming: a web page makes the browser of a host in the home send the attacker's server what a helper of the
//! kernel would take for SIP (v1), H.323 (v2) or PPTP, so that the router opens ports. <https://samy.pl/slipstream/>

use std::net::Ipv4Addr;
use std::time::Duration;

use lab::{Forged, Process, address, hex, wait};

use super::scene::{HOME, Scene};

/// Ports that the kernel has a helper for: FTP, TFTP, SNMP, Amanda, SIP, IRC, H.323 RAS and Q.931, SANE, NetBIOS.
const HELPED: [u16; 10] = [21, 69, 161, 10_080, 5060, 6667, 1719, 1720, 6566, 137];
/// What the page wants opened.
const WANTED: u16 = 4444;

/// The beginning of a POST whose body the page has chosen; the body begins in a segment of its own.
fn post(body: &[Vec<u8>]) -> String {
    let head = b"POST / HTTP/1.1\r\nHost: attacker\r\nContent-Type: multipart/form-data\r\nContent-Length: 9999\r\n\r\n";
    let mut script = format!("say {}\npause 50\n", hex(head));
    for part in body {
        script += &format!("say {}\nhear\n", hex(part));
    }
    script
}

/// The attacker's web server, which answers each part in turn.
fn answers(parts: &[Vec<u8>]) -> String {
    let mut script = "hear\n".to_owned();
    for part in parts {
        script += &format!("hear\nsay {}\n", hex(part));
    }
    script
}

fn sip(first: &str, inside: Ipv4Addr) -> Vec<u8> {
    format!(
        "{first}\r\nVia: SIP/2.0/TCP {inside}:5060;branch=z9hG4bK1\r\nFrom: <sip:a@{inside}>;tag=1\r\nTo: <sip:a@attacker>\r\n\
         Call-ID: 1@{inside}\r\nCSeq: 1 REGISTER\r\nContact: <sip:a@{inside}:{WANTED};transport=tcp>\r\nExpires: 600\r\n\
         Content-Length: 0\r\n\r\n"
    )
    .into_bytes()
}

/// A PPTP control message (RFC 2637 section 2), filled up with zeros.
fn pptp(kind: u8, length: u8, head: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, length, 0, 1, 0x1a, 0x2b, 0x3c, 0x4d, 0, kind, 0, 0];
    bytes.extend(head);
    bytes.resize(length.into(), 0);
    bytes
}

fn expectations(scene: &Scene) -> Vec<String> {
    let list = scene.lab.router().ok(&["conntrack", "-L", "expect"]);
    list.lines().filter(|line| line.contains("proto=")).map(str::to_owned).collect()
}

/// The page in laptop1's browser, and the attacker's server, until all is said.
#[track_caller]
fn visit(scene: &Scene, port: u16, page: &str, server: &str) -> [Process; 2] {
    let mut server = scene.lab.host("attacker").tcp_answers(port, server);
    let mut page = scene.lab.host("laptop1").tcp_says((scene.attacker, port), page);
    server.wait_for_line("done", wait::SOON);
    page.wait_for_line("done", wait::SOON);
    [server, page]
}

/// From the attacker, to whatever might have been opened: of the router and, through it, of every host.
fn knocks(scene: &Scene) -> Vec<Forged> {
    let mut packets = Vec::new();
    for to in scene.targets() {
        for port in [WANTED, 22, 80, 445, 1720, 1723, 5060] {
            for own in [WANTED, 1720, 1723, 5060, 40_000] {
                packets.push(Forged::syn((scene.attacker, own), (to, port)));
                packets.push(Forged::udp((scene.attacker, own), (to, port), b"anything"));
            }
        }
        packets.push(Forged::esp(scene.attacker, to, 0x0200_0000));
    }
    packets
}

/// Nothing of `knocks` is delivered.
#[track_caller]
fn nothing_is_open(scene: &Scene, what: &str) {
    let before = scene.reached().len();
    scene.lab.host("attacker").forge(&knocks(scene), 2000);
    // What might still be on its way has arrived when this has.
    let ping = scene.lab.host("laptop1").run(&["ping", "-c", "2", "-i", "0.2", "203.0.113.66"]);
    assert!(ping.ok(), "{}", ping.out);
    let reached = scene.reached();
    assert_eq!(reached.len(), before, "{what}: {reached:?}");
}

fn register() -> ([Vec<u8>; 1], [Vec<u8>; 1]) {
    let inside = address("laptop1");
    ([sip("REGISTER sip:attacker;transport=TCP SIP/2.0", inside)], [sip("SIP/2.0 200 OK", address("router"))])
}

#[test]
fn the_sip_of_a_web_page_opens_a_port_where_somebody_attaches_the_helper_and_the_ears_hear_it() {
    let scene = Scene::new();
    scene.prove_the_ears();
    let planted = "table inet planted {
        ct helper sip { type \"sip\" protocol tcp; l3proto ip; }
        chain f { type filter hook forward priority -10; tcp dport 5060 ct state new ct helper set \"sip\"; }
    }";
    scene.lab.router().ok_with(&["nft", "-f", "-"], planted);
    let (page, server) = register();
    let _open = visit(&scene, 5060, &post(&page), &answers(&server));
    let expected = expectations(&scene);
    assert!(expected.iter().any(|line| line.contains(&format!("dport={WANTED}"))), "{expected:?}");
    // Postern accepts `related` of no helper but its own.
    nothing_is_open(&scene, "a helper that somebody else attached");
}

#[test]
fn with_and_without_pptp_no_web_page_gets_a_helper_on_the_port_of_another_protocol() {
    let scene = Scene::new();
    let (page, server) = register();
    for setting in ["passthrough.pptp.enabled=false", "passthrough.pptp.enabled=true"] {
        scene.postern.set(&[setting]);
        let _open: Vec<_> =
            HELPED.into_iter().map(|port| visit(&scene, port, &post(&page), &answers(&server))).collect();
        let inside = address("laptop1");
        let datagram = |port| Forged::udp((inside, port), (scene.attacker, port), &page[0]);
        scene.lab.host("laptop1").forge(&HELPED.map(datagram), 500);
        let list = scene.lab.router().ok(&["conntrack", "-L"]);
        assert!(list.contains("dport=1720 "), "the visits are tracked:\n{list}");
        assert!(!list.contains("helper="), "{setting}: something has a helper:\n{list}");
        assert_eq!(expectations(&scene), [""; 0], "{setting}");
        // UDP from the attacker's helped ports answers what was sent from there: only others are knocked at.
        nothing_is_open_but(&scene, setting, &HELPED);
    }
}

/// As `nothing_is_open`, where the host itself has sent from `ports` to the same ports of the attacker.
#[track_caller]
fn nothing_is_open_but(scene: &Scene, what: &str, ports: &[u16]) {
    let before = scene.reached().len();
    scene.lab.host("attacker").forge(&knocks(scene), 2000);
    let ping = scene.lab.host("laptop1").run(&["ping", "-c", "2", "-i", "0.2", "203.0.113.66"]);
    assert!(ping.ok(), "{}", ping.out);
    let answer = |head: u32| ports.iter().any(|port| head == u32::from(*port) << 16 | u32::from(*port));
    let reached = scene.reached();
    // The attacker's kernel says by ICMP that nobody listened to what laptop1 itself has sent.
    let answers = reached.iter().filter(|(host, heard)| {
        *host == "laptop1" && (heard.protocol == 1 || heard.protocol == 17 && answer(heard.head))
    });
    assert_eq!(answers.count(), reached.len(), "{what}: {reached:?} (before: {before})");
}

#[test]
fn the_pptp_of_a_web_page_opens_nothing_but_gre_between_the_same_two_hosts() {
    let scene = Scene::new();
    scene.prove_the_ears();
    let before = scene.reached().len();
    // Start-Control-Connection, Outgoing-Call with Call ID 0x1111 here and 0x2222 there, Set-Link-Info (sections 2.1 to 2.15).
    let call = [pptp(1, 156, &[1, 0]), pptp(7, 168, &[0x11, 0x11]), pptp(15, 24, &[0x22, 0x22])];
    let server =
        [pptp(2, 156, &[1, 0, 1]), pptp(8, 32, &[0x22, 0x22, 0x11, 0x11, 1]), pptp(15, 24, &[0x11, 0x11])];
    // The helper has changed the Call ID: the attacker names the one that came.
    let server = answers(&server).replace("22221111", "2222[12:14]");
    let _open = visit(&scene, 1723, &post(&call), &server);
    let expected = expectations(&scene);
    assert!(!expected.is_empty(), "the helper takes the page for a caller: else this test shows nothing");
    let (us, inside, attacker) =
        (scene.router.to_string(), address("laptop1").to_string(), scene.attacker.to_string());
    for line in &expected {
        let ends: Vec<&str> = line
            .split(' ')
            .filter_map(|word| word.strip_prefix("src=").or(word.strip_prefix("dst=")))
            .take(2)
            .collect();
        assert!(line.contains("proto=47"), "{line}");
        let allowed = |end: &&&str| [&us, &inside, &attacker].contains(&&(**end).to_owned());
        assert_eq!(ends.iter().filter(allowed).count(), 2, "{line}");
    }
    nothing_is_open(&scene, "after the page's call");
    let mut gre: Vec<_> = (0..=u16::MAX).map(|id| Forged::gre(scene.attacker, scene.router, id)).collect();
    for to in scene.targets() {
        for from in [scene.attacker, address("server1"), address("server2")] {
            gre.extend((0x1100..0x1140).chain(0x2200..0x2240).map(|id| Forged::gre(from, to, id)));
        }
    }
    scene.lab.host("attacker").forge(&gre, 12_000);
    scene.ear("laptop1").wait_for("GRE of the page's own call", |heard| heard.protocol == 47);
    wait::until(Duration::from_millis(300), || None::<()>);
    let reached = scene.reached();
    let ours = reached.iter().filter(|(host, heard)| {
        *host == HOME[0]
            && heard.protocol == 47
            && heard.from == scene.attacker
            && heard.head & 0xffff == 0x1111
    });
    // One more was heard as the ears were proved.
    assert_eq!(ours.count() + before, reached.len(), "{reached:?}");
}
