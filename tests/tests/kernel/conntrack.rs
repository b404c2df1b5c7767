//! Connections: found, described, ended, also when there are many.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream, UdpSocket};
use std::time::Instant;

use postern::kernel::linux::Linux;
use postern::kernel::{Event, Flow, FlowMatch, Kernel, nft};
use rustix::net::{AddressFamily, SendFlags, SocketType, ipproto, sendto, socket};

use super::namespace::{kernel_tests, sh};

kernel_tests!(
    flows_are_described,
    flows_are_ended,
    ends_are_told_of_where_a_rule_asks,
    events_that_were_lost_are_told_and_the_next_ones_are_heard,
    twenty_thousand_flows
);

const RULES: &str = r#"
table inet postern {
  counter seen { }
  ct helper pptp { type "pptp" protocol tcp; l3proto ip; }
  chain zones {
    type filter hook output priority -310; policy accept;
    ip daddr 127.0.0.2 udp dport 500 ct zone set 77
    ip daddr 127.0.0.3 udp dport 500 ct original zone set 78
  }
  chain output {
    type filter hook output priority 0; policy accept;
    counter name "seen" ct state vmap { invalid : drop }
    ip daddr 127.0.0.1 tcp dport 1723 ct helper set "pptp"
  }
}
"#;

fn udp(port: u16) -> FlowMatch {
    FlowMatch { protocol: 17, server_port: Some(port) }
}

const TCP_1723: FlowMatch = FlowMatch { protocol: 6, server_port: Some(1723) };
const GRE: FlowMatch = FlowMatch { protocol: 47, server_port: None };

async fn flows(kernel: &Linux, wanted: &[FlowMatch]) -> Vec<Flow> {
    kernel.observe(wanted).await.unwrap().flows
}

/// A GRE packet of PPTP (RFC 2637 section 4.1) with this call ID, to our own address.
fn send_gre(call: u16) {
    let raw = socket(AddressFamily::INET, SocketType::RAW, Some(ipproto::GRE)).expect("CAP_NET_RAW");
    let [high, low] = call.to_be_bytes();
    // K and S bits and version 1, protocol PPP, payload length, call ID, sequence number, payload
    let packet = [0x30, 0x01, 0x88, 0x0b, 0, 4, high, low, 0, 0, 0, 1, 0xff, 0x03, 0xc0, 0x21];
    sendto(&raw, &packet, SendFlags::empty(), &SocketAddrV4::new(Ipv4Addr::LOCALHOST, 0)).unwrap();
}

async fn flows_are_described() {
    nft::commit(RULES).await.unwrap();
    sh("echo 1 > /proc/sys/net/netfilter/nf_conntrack_acct");
    let kernel = Linux::new();
    let server = TcpListener::bind("127.0.0.1:1723").unwrap();
    let mut client = TcpStream::connect("127.0.0.1:1723").unwrap();
    let mut call = server.accept().unwrap().0;
    client.write_all(b"hello").unwrap();
    call.read_exact(&mut [0; 5]).unwrap();

    let seen = kernel.observe(&[TCP_1723]).await.unwrap();
    assert!(seen.conntrack.0 >= 1 && seen.conntrack.1 >= seen.conntrack.0, "{:?}", seen.conntrack);
    let [flow] = &seen.flows[..] else { panic!("{:?}", seen.flows) };
    assert_eq!(
        (flow.protocol, flow.client_port, flow.server_port),
        (6, client.local_addr().unwrap().port(), 1723)
    );
    assert_eq!((flow.client, flow.server), (Ipv4Addr::LOCALHOST.into(), Ipv4Addr::LOCALHOST.into()));
    assert_eq!(
        (flow.helper.as_deref(), flow.tcp_state, flow.answered, flow.zone),
        (Some("pptp"), Some(3), true, 0)
    );
    assert!(flow.sent.packets >= 3 && flow.sent.bytes > flow.received.bytes, "{flow:?}");
    assert_ne!(flow.handle.id, 0);

    let one_way = UdpSocket::bind("127.0.0.1:0").unwrap();
    one_way.send_to(b"x", "127.0.0.2:500").unwrap();
    one_way.send_to(b"x", "127.0.0.3:500").unwrap();
    let mut zones: Vec<u16> = flows(&kernel, &[udp(500)]).await.iter().map(|f| f.zone).collect();
    zones.sort();
    assert_eq!(zones, [77, 78]);
    assert!(
        flows(&kernel, &[udp(500)])
            .await
            .iter()
            .all(|f| !f.answered && f.tcp_state.is_none() && f.helper.is_none())
    );

    UdpSocket::bind("[::1]:0").unwrap().send_to(b"x", "[::1]:4500").unwrap();
    let six = flows(&kernel, &[udp(4500)]).await;
    assert_eq!((six.len(), six[0].server.to_string().as_str(), six[0].handle.family), (1, "::1", 10));

    send_gre(0x1234);
    let gre = flows(&kernel, &[GRE]).await;
    println!("{gre:?}\n{}", sh("conntrack -L -p gre 2>/dev/null || true"));
    assert_eq!((gre.len(), gre[0].protocol, gre[0].server_port), (1, 47, 0x1234));

    assert_eq!(flows(&kernel, &[]).await, []);
    assert_eq!(flows(&kernel, &[udp(9)]).await, []);
    assert_eq!(flows(&kernel, &[TCP_1723, udp(500), udp(4500), GRE]).await.len(), 5);
}

async fn flows_are_ended() {
    nft::commit(RULES).await.unwrap();
    let kernel = Linux::new();
    let four = UdpSocket::bind("127.0.0.1:0").unwrap();
    for to in ["127.0.0.2:500", "127.0.0.3:500", "127.0.0.1:9"] {
        let _ = four.send_to(b"x", to);
    }
    UdpSocket::bind("[::1]:0").unwrap().send_to(b"x", "[::1]:500").unwrap();
    send_gre(7);
    let wanted = [udp(500), GRE];
    let there = flows(&kernel, &wanted).await;
    assert_eq!(there.len(), 4);
    assert_eq!(kernel.end(&there).await.unwrap(), 4);
    assert_eq!(flows(&kernel, &wanted).await, []);
    assert_eq!(flows(&kernel, &[udp(9)]).await.len(), 1, "others stay");
    assert_eq!(kernel.end(&there).await.unwrap(), 0, "they have gone already");

    // The same addresses and ports anew: a handle of another entry must not hit it.
    let _ = four.send_to(b"x", "127.0.0.2:500");
    let mut old = flows(&kernel, &[udp(500)]).await.remove(0);
    old.handle.id ^= 1;
    assert_eq!(kernel.end(std::slice::from_ref(&old)).await.unwrap(), 0);
    assert_eq!(flows(&kernel, &[udp(500)]).await.len(), 1);

    // No tuple would mean: all of them.
    let mut nobody = old;
    nobody.handle = Default::default();
    assert!(kernel.end(&[nobody]).await.is_err());
    assert_eq!(flows(&kernel, &[udp(9)]).await.len(), 1);
}

async fn ends_are_told_of_where_a_rule_asks() {
    sh("echo 0 > /proc/sys/net/netfilter/nf_conntrack_events");
    let asks = "ct helper set \"pptp\" ct event set new,destroy,protoinfo";
    nft::commit(&RULES.replace("ct helper set \"pptp\"", asks)).await.unwrap();
    let kernel = Linux::new();
    let mut told = kernel.events().await.unwrap();
    let _ = UdpSocket::bind("127.0.0.1:0").unwrap().send_to(b"x", "127.0.0.1:9");
    for port in [8080, 1723] {
        let server = TcpListener::bind(("127.0.0.1", port)).unwrap();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let call = server.accept().unwrap().0;
        drop(client);
        drop(call);
    }
    let mut seen = Vec::new();
    while let Ok(Some(event)) = tokio::time::timeout(std::time::Duration::from_secs(10), told.recv()).await {
        seen.push(event);
        let Some(Event::Update(flow)) = seen.last() else { continue };
        // TIME_WAIT: the connection has ended.
        if flow.tcp_state == Some(7) {
            assert_eq!(kernel.end(std::slice::from_ref(flow)).await.unwrap(), 1);
            seen.extend(tokio::time::timeout(std::time::Duration::from_secs(10), told.recv()).await.unwrap());
            break;
        }
    }
    assert!(
        matches!(seen.first(), Some(Event::New(flow)) if flow.helper.as_deref() == Some("pptp")),
        "{seen:?}"
    );
    assert!(matches!(seen.last(), Some(Event::Destroy(_))), "{seen:?}");
    let all_of_1723 = seen.iter().all(|event| match event {
        Event::New(flow) | Event::Update(flow) | Event::Destroy(flow) => flow.server_port == 1723,
        Event::Missed => false,
    });
    assert!(all_of_1723, "nothing else is told of: {seen:?}");
}

/// While nobody reads, the kernel's buffer for us overflows, and the next read says so (ENOBUFS).
async fn events_that_were_lost_are_told_and_the_next_ones_are_heard() {
    sh("echo 0 > /proc/sys/net/netfilter/nf_conntrack_events");
    let asks = "ip daddr 127.0.0.4 udp dport != 0 ct event set new,destroy";
    nft::commit(&RULES.replace("ip daddr 127.0.0.1 tcp dport 1723 ct helper set \"pptp\"", asks))
        .await
        .unwrap();
    let kernel = Linux::new();
    let mut told = kernel.events().await.unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    // This runtime has one thread: nothing is read meanwhile.
    const MANY: u16 = 20_000;
    for port in 1..=MANY {
        let _ = sender.send_to(b"x", ("127.0.0.4", port));
    }
    let there = kernel.observe(&[FlowMatch { protocol: 17, server_port: None }]).await.unwrap().flows;
    assert_eq!(there.len(), usize::from(MANY), "the probe made that many");
    let (mut heard, mut missed) = (0, 0);
    let last = loop {
        match tokio::time::timeout(std::time::Duration::from_secs(10), told.recv()).await {
            Ok(Some(Event::Missed)) => {
                missed += 1;
                // It goes on hearing after that.
                let _ = sender.send_to(b"x", ("127.0.0.4", MANY + 1));
            }
            Ok(Some(Event::New(flow))) if flow.server_port == MANY + 1 => break Some(flow),
            Ok(Some(_)) => heard += 1,
            Ok(None) | Err(_) => break None,
        }
    };
    println!("{MANY} events at once: {heard} heard, told {missed} times that some were lost");
    assert!(heard < usize::from(MANY), "none was lost: the test proves nothing");
    assert!(missed > 0, "{heard} of {MANY} were heard, and nobody was told");
    assert!(last.is_some(), "deaf after that");
}

async fn twenty_thousand_flows() {
    nft::commit(RULES).await.unwrap();
    // Otherwise a busy machine has not looked at the last of them when the first, which nobody answers, have left after 30 s.
    sh("echo 600 > /proc/sys/net/netfilter/nf_conntrack_udp_timeout");
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    for port in 10_000..30_000 {
        let _ = sender.send_to(b"x", (Ipv4Addr::LOCALHOST, port));
    }
    let _ = sender.send_to(b"x", (Ipv4Addr::LOCALHOST, 4500));
    let kernel = Linux::new();
    let seen = kernel.observe(&[udp(4500)]).await.unwrap();
    assert!(seen.conntrack.0 > 20_000, "{:?}", seen.conntrack);
    assert_eq!(seen.flows.len(), 1);
    const UDP: FlowMatch = FlowMatch { protocol: 17, server_port: None };
    for (what, wanted) in
        [("no flow asked for", &[][..]), ("1 flow kept", &[udp(4500)]), ("20,001 kept", &[UDP])]
    {
        let (start, cpu) = (Instant::now(), ticks());
        for _ in 0..20 {
            kernel.observe(wanted).await.unwrap();
        }
        println!(
            "observe, 20,001 entries, {what}: {:?}, CPU {} ms",
            start.elapsed() / 20,
            (ticks() - cpu) * 10 / 20
        );
    }
    println!("peak memory: {}", sh(&format!("grep VmHWM /proc/{}/status", std::process::id())).trim());
    let most = flows(&kernel, &[UDP]).await;
    let start = Instant::now();
    assert_eq!(kernel.end(&most).await.unwrap(), 20_001);
    println!("end, 20,001 flows: {:?}", start.elapsed());
    for (what, words) in [("nft::commit", false), ("nft -f from a shell", true)] {
        let start = Instant::now();
        let rules = RULES.replace("table inet postern {", "flush table inet postern\ntable inet postern {");
        for _ in 0..20 {
            match words {
                false => nft::commit(&rules).await.unwrap(),
                true => drop(sh(&format!("nft -f - <<'END'\n{rules}\nEND"))),
            }
        }
        println!("{what}: {:?}", start.elapsed() / 20);
    }
}

/// User and system time of this process, in hundredths of a second.
fn ticks() -> u64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let after = stat.rsplit_once(") ").unwrap().1;
    after.split(' ').skip(11).take(2).map(|n| n.parse::<u64>().unwrap()).sum()
}
