use std::net::IpAddr;

use super::icmp::Heard;
use super::target::Target;
use super::*;

#[test]
fn only_one_host_can_be_asked() {
    for (typed, taken) in [
        ("203.0.113.10", "203.0.113.10"),
        (" VPN.Example.com. ", "vpn.example.com"),
        ("2001:DB8::10", "2001:db8::10"),
        ("laptop", "laptop"),
        ("_sip._udp.example.com", "_sip._udp.example.com"),
    ] {
        assert_eq!(typed.parse::<Target>().map(|t| t.to_string()).as_deref(), Ok(taken));
    }
    for typed in [
        "",
        " ",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "ff02::1",
        "203.0.113",
        "203.0.113.256",
        "a b",
        "$(reboot)",
        "a;b",
        "--help",
        "a..b",
        "café.example",
        &"a".repeat(64),
        &"a.".repeat(128),
    ] {
        assert!(typed.parse::<Target>().is_err(), "{typed}");
    }
}

fn heard(from: [u8; 4], reached: bool, why: Option<&str>) -> Option<Heard> {
    let after = Duration::from_micros(1500);
    Some(Heard { from: from.into(), reached, why: why.map(str::to_owned), too_big: None, after })
}

#[test]
fn a_verdict_says_how_far_it_goes() {
    let target = IpAddr::from([203, 0, 113, 10]);
    let traced = |hops: &[Option<Heard>]| words::traced(target, hops);
    let way = [heard([198, 51, 100, 1], false, None), None, heard([203, 0, 113, 10], true, None)];
    assert_eq!(end(&way), Some(2));
    assert_eq!(traced(&way), "203.0.113.10 is 3 hops away.");
    assert_eq!(traced(&way[2..]), "203.0.113.10 is 1 hop away.");
    assert!(traced(&way[..2]).contains("last that did is hop 1;"));
    assert!(traced(&[None, None]).contains("nor anybody"));
    let closed = [heard([198, 51, 100, 1], false, Some("its rules forbid it"))];
    assert_eq!(end(&closed), Some(0));
    assert!(traced(&closed).contains("198.51.100.1: it says that its rules forbid it"));
    assert!(words::pinged(target, &[], None).contains("did not answer"));
    let said = words::pinged(target, &[1000, 2000, 3000], None);
    assert_eq!(said, "203.0.113.10 answered 3 of 5 times, after 2.0 ms on average; the others were lost.");
}

#[tokio::test]
async fn one_run_at_a_time_and_the_last_one_is_kept() {
    let tools = Tools::default();
    // Nobody answers there: a socket of our own that stays silent.
    let silent = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let resolver = silent.local_addr().unwrap();
    let first = tools.begin(Tool::Lookup, "vpn.example.com", vec![resolver]).unwrap();
    assert_eq!((first.id, first.verdict.as_deref()), (1, None));
    let refused = tools.begin(Tool::Ping, "127.0.0.1", Vec::new()).unwrap_err();
    assert_eq!(refused.kind, RefusalKind::Failed);
    let refused = tools.begin(Tool::Ping, "a b", Vec::new()).unwrap_err();
    assert_eq!(refused.fields[0].key, "target");
    let verdict = loop {
        if let Some(verdict) = tools.newest().unwrap().verdict {
            break verdict;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    assert_eq!(verdict, "The DNS server 127.0.0.1 did not answer.");
    let second = tools.begin(Tool::Lookup, "vpn.example.com", vec![resolver]).unwrap();
    assert_eq!((second.id, tools.newest()), (2, Some(second)));
}
