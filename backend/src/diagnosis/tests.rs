use super::*;
use crate::appliance::Barrier;
use crate::sessions::{Kind, Part, State, Traffic, device};

const NOW: i64 = 1_800_000_000;
const HOME: [u8; 4] = [192, 168, 1, 101];
const SERVER: [u8; 4] = [203, 0, 113, 10];

fn part(protocol: u8, port: u16, out: u64, back: u64) -> Part {
    Part {
        protocol,
        server_port: port,
        answered: back > 0,
        from_device: true,
        tcp_state: (protocol == 6).then_some(if back > 0 { 3 } else { 1 }),
        helped: true,
        traffic: Some(Traffic {
            sent: out * 60,
            received: back * 60,
            packets_sent: out,
            packets_received: back,
        }),
        idle: None,
        since: Some(NOW - 60),
    }
}

fn session(kind: Kind, state: State, parts: Vec<Part>) -> Session {
    Session {
        id: format!("{}-1", kind.word()),
        kind,
        device: device(HOME.into(), None),
        server: SERVER.into(),
        server_name: None,
        server_port: None,
        state,
        since: Some(NOW - 60),
        idle: Some(1),
        traffic: None,
        calls: Vec::new(),
        spis: Vec::new(),
        samples: Vec::new(),
        parts,
        can_end: true,
    }
}

fn case<'a>(sessions: &'a [Session], attempts: &'a [Attempt]) -> Case<'a> {
    Case {
        device: None,
        now: NOW,
        rules: &Rules::Loaded,
        internet: Internet::Up([198, 51, 100, 2].into()),
        conntrack: (10, 1000),
        over_share: &[],
        attempts,
        defeats: &[],
        resets: &[],
        sessions,
        measured: &[],
        forwards: &[],
    }
}

fn attempt(ago: u64, can_switch_on: bool) -> Attempt {
    Attempt {
        key: "passthrough.pptp.enabled".into(),
        title: "PPTP".into(),
        device: device(HOME.into(), None),
        server: SERVER.into(),
        servers: 1,
        times: 3,
        last_seconds: ago,
        can_switch_on,
        barrier: Barrier::Off,
    }
}

#[test]
fn each_cause_is_told_apart_from_the_others() {
    use State as S;
    let control = || part(6, 1723, 6, 4);
    let table = [
        (Kind::Pptp, S::Open, vec![control(), part(47, 9, 20, 20)], Cause::Works),
        (Kind::Pptp, S::MustRedial, vec![control()], Cause::MustRedial),
        (Kind::Pptp, S::Calling, vec![part(6, 1723, 3, 0)], Cause::ServerSilent),
        (Kind::Pptp, S::Halfway, vec![control(), part(47, 9, 12, 0)], Cause::GreUnanswered),
        (Kind::Pptp, S::Halfway, vec![control()], Cause::GreNotSent),
        (
            Kind::Pptp,
            S::Halfway,
            vec![control(), Part { from_device: false, ..part(47, 9, 0, 0) }],
            Cause::GreNotSent,
        ),
        (Kind::Ike, S::Calling, vec![part(17, 500, 4, 0)], Cause::IkeSilent),
        (Kind::Ike, S::Halfway, vec![part(17, 500, 4, 4)], Cause::NoTunnel),
        (Kind::IpsecNatT, S::Halfway, vec![part(17, 500, 1, 1), part(17, 4500, 4, 0)], Cause::NatTSilent),
        (Kind::IpsecNatT, S::Calling, vec![part(17, 500, 1, 0), part(17, 4500, 4, 0)], Cause::IkeSilent),
        (Kind::IpsecNatT, S::Open, vec![part(17, 500, 1, 1), part(17, 4500, 4, 4)], Cause::Works),
        (Kind::IpsecEsp, S::Halfway, vec![part(17, 500, 4, 4), part(50, 0, 9, 0)], Cause::EspUnanswered),
        (Kind::IpsecEsp, S::Calling, vec![part(50, 0, 9, 0)], Cause::EspUnanswered),
        (Kind::IpsecEsp, S::Open, vec![part(50, 0, 9, 9)], Cause::Works),
        (Kind::Ike, S::Waiting, vec![part(17, 500, 4, 4)], Cause::Waiting),
        (Kind::IpsecAh, S::Halfway, vec![part(17, 500, 4, 4), part(51, 0, 9, 0)], Cause::AhUsed),
        (Kind::L2tp, S::Calling, vec![part(17, 1701, 3, 0)], Cause::L2tpSilent),
        (Kind::L2tp, S::Open, vec![part(17, 1701, 3, 3)], Cause::Works),
        (Kind::Wireguard, S::Calling, vec![part(17, 51820, 3, 0)], Cause::OtherSilent),
        (Kind::Openvpn, S::Calling, vec![part(17, 1194, 3, 0)], Cause::OtherSilent),
    ];
    for (kind, state, parts, cause) in table {
        let sessions = [session(kind, state, parts)];
        let verdict = diagnose(&case(&sessions, &[]));
        assert_eq!(verdict.cause, cause, "{:#?}", sessions[0]);
        assert_eq!(verdict.device.map(|d| d.address), Some(IpAddr::from(HOME)));
        // What is wrong is seen in the evidence, and something is to be done about it.
        assert_eq!(verdict.steps.iter().any(|step| !step.seen), cause.is_trouble(), "{:?}", verdict.steps);
        assert_eq!(verdict.remedy.is_empty(), cause == Cause::Works, "{cause:?}");
        let fresh = [Session { since: Some(NOW - 1), ..sessions[0].clone() }];
        let early = diagnose(&case(&fresh, &[])).cause;
        let certain = [Cause::MustRedial, Cause::Waiting, Cause::AhUsed].contains(&cause);
        assert!(certain || !early.is_trouble(), "{early:?} after a second");
    }
}

#[test]
fn behind_another_router_that_is_what_is_told() {
    for (kind, parts) in [
        (Kind::Pptp, vec![part(6, 1723, 6, 4), part(47, 9, 12, 0)]),
        (Kind::IpsecEsp, vec![part(17, 500, 4, 4), part(50, 0, 9, 0)]),
    ] {
        let sessions = [session(kind, State::Halfway, parts)];
        for private in [[192, 168, 178, 20], [100, 64, 3, 9], [10, 0, 0, 2], [172, 31, 0, 2]] {
            let case = Case { internet: Internet::Up(private.into()), ..case(&sessions, &[]) };
            assert_eq!(diagnose(&case).cause, Cause::DoubleNat, "{private:?}");
        }
        for public in [[100, 128, 0, 1], [172, 32, 0, 1], [198, 51, 100, 2]] {
            let case = Case { internet: Internet::Up(public.into()), ..case(&sessions, &[]) };
            assert_ne!(diagnose(&case).cause, Cause::DoubleNat, "{public:?}");
        }
    }
}

#[test]
fn what_concerns_everything_comes_first() {
    let sessions = [session(Kind::L2tp, State::Calling, vec![part(17, 1701, 3, 0)])];
    let plain = case(&sessions, &[]);
    for (internet, cause) in [
        (Internet::NoPort, Cause::NoInternet),
        (Internet::NoLink, Cause::NoInternet),
        (Internet::NoAddress, Cause::NoInternet),
    ] {
        assert_eq!(diagnose(&Case { internet, ..plain.clone() }).cause, cause);
    }
    assert_eq!(diagnose(&Case { conntrack: (1000, 1000), ..plain.clone() }).cause, Cause::TableFull);
    assert_eq!(diagnose(&Case { conntrack: (0, 0), ..plain.clone() }).cause, Cause::L2tpSilent);
    let over = |again| [OverShare { device: device(HOME.into(), None), held: 400, room: 1000, again }];
    let (refused, beside) = (over(Some(166)), over(None));
    let of = |device, over_share| diagnose(&Case { device, over_share, ..plain.clone() });
    assert_eq!(of(Some(HOME.into()), &refused).cause, Cause::TableFull);
    assert_eq!(of(None, &refused).cause, Cause::L2tpSilent, "others dial as ever");
    assert_eq!(of(Some(HOME.into()), &beside).cause, Cause::L2tpSilent, "it is not refused");
    for rules in [Rules::Edited, Rules::Missing, Rules::Deny, Rules::NotWanted] {
        assert_eq!(diagnose(&Case { rules: &rules, ..plain.clone() }).cause, Cause::RulesDiffer);
    }
}

#[test]
fn refusals_here_and_there_are_told_with_what_helps() {
    let off = [attempt(5, true)];
    let verdict = diagnose(&case(&[], &off));
    assert_eq!(verdict.cause, Cause::SwitchedOff);
    assert!(
        matches!(&verdict.action, Some(Action::SwitchOn { key, .. }) if key == "passthrough.pptp.enabled")
    );
    let missing = [attempt(5, false)];
    assert_eq!(diagnose(&case(&[], &missing)).cause, Cause::HelperMissing);
    let resets = [Reset { device: HOME.into(), server: SERVER.into(), port: 1723, ago: 9 }];
    let refused = Case { resets: &resets, ..case(&[], &[]) };
    assert_eq!(diagnose(&refused).cause, Cause::ServerRefuses);
    let again = [Session {
        since: Some(NOW - 6),
        ..session(Kind::Pptp, State::Open, vec![part(6, 1723, 6, 4), part(47, 9, 9, 9)])
    }];
    let later = Case { resets: &resets, ..case(&again, &[]) };
    assert_eq!(diagnose(&later).cause, Cause::Works, "it has called again since");
}

#[test]
fn the_newest_trouble_is_told_and_old_trouble_does_not_hide_what_works() {
    let works = session(Kind::L2tp, State::Open, vec![part(17, 1701, 3, 3)]);
    let mut silent = session(Kind::Ike, State::Calling, vec![part(17, 500, 3, 0)]);
    silent.device = device([192, 168, 1, 102].into(), None);
    silent.idle = Some(10);
    let both = [works, silent];
    assert_eq!(diagnose(&case(&both, &[])).cause, Cause::IkeSilent);
    let device = Some(IpAddr::from(HOME));
    assert_eq!(diagnose(&Case { device, ..case(&both, &[]) }).cause, Cause::Works);
    let newest = [attempt(2, true)];
    assert_eq!(diagnose(&case(&both, &newest)).cause, Cause::SwitchedOff);
    let old = [attempt(500, true)];
    assert_eq!(diagnose(&Case { device, ..case(&both, &old) }).cause, Cause::Works);
    let other = Some(IpAddr::from([192, 168, 1, 103]));
    assert_eq!(diagnose(&Case { device: other, ..case(&both, &old) }).cause, Cause::NothingSeen);
}

/// What was carried in the ten seconds before `age` seconds ago.
fn sample(age: u64, sent: u64, received: u64) -> crate::sessions::Sample {
    crate::sessions::Sample { age_ms: age * 1000, over_ms: 10_000, sent, received }
}

#[test]
fn two_clients_of_one_server_are_named_only_when_one_fell_silent_as_the_other_began() {
    let tunnel = |last: u8, age: i64, samples: Vec<crate::sessions::Sample>| Session {
        device: device([192, 168, 1, last].into(), None),
        since: Some(NOW - age),
        samples,
        ..session(Kind::IpsecNatT, State::Open, vec![part(17, 500, 1, 1), part(17, 4500, 40, 40)])
    };
    let told = |older: Vec<crate::sessions::Sample>, newer: Session| {
        let sessions = [tunnel(101, 300, older), newer];
        let verdict = diagnose(&Case { device: Some(HOME.into()), ..case(&sessions, &[]) });
        (
            verdict.cause,
            diagnose(&Case { device: Some([192, 168, 1, 102].into()), ..case(&sessions, &[]) }).cause,
        )
    };
    let newer = || tunnel(102, 60, Vec::new());
    let alive = || vec![sample(75, 900, 900), sample(65, 900, 900)];
    let with = |more: Vec<crate::sessions::Sample>| [alive(), more].concat();
    let silent =
        || with(vec![sample(55, 900, 90), sample(25, 900, 0), sample(15, 900, 0), sample(5, 900, 0)]);
    assert_eq!(told(silent(), newer()), (Cause::TwoClients, Cause::Works));
    let healthy: [(&str, Vec<crate::sessions::Sample>, Session); 7] = [
        ("it is answered", with(vec![sample(25, 900, 900), sample(15, 900, 900)]), newer()),
        (
            "it was answered once since",
            with(vec![sample(25, 900, 60), sample(15, 900, 0), sample(5, 900, 0)]),
            newer(),
        ),
        (
            "it only keeps its mapping alive",
            with(vec![sample(25, 29, 0), sample(15, 29, 0), sample(5, 0, 0)]),
            newer(),
        ),
        ("it was silent before", vec![sample(65, 900, 0), sample(25, 900, 0), sample(15, 900, 0)], newer()),
        ("one look is too few", with(vec![sample(25, 9000, 0)]), newer()),
        ("another server", silent(), Session { server: [203, 0, 113, 20].into(), ..newer() }),
        (
            "the other is not answered either",
            silent(),
            Session { parts: vec![part(17, 500, 1, 1), part(17, 4500, 9, 0)], ..newer() },
        ),
    ];
    for (what, samples, newer) in healthy {
        assert_eq!(told(samples, newer).0, Cause::Works, "{what}");
    }
}

#[test]
fn lost_big_packets_are_named_only_where_they_were_measured_and_are_lost() {
    let open = [session(Kind::Wireguard, State::Open, vec![part(17, 51820, 9, 9)])];
    let keys =
        [Session { since: Some(NOW - 60), ..session(Kind::Ike, State::Halfway, vec![part(17, 500, 4, 4)]) }];
    let silent = [session(Kind::L2tp, State::Calling, vec![part(17, 1701, 3, 0)])];
    let told = |sessions: &[Session], carries: Carries| {
        let measured = [Measured { server: SERVER.into(), ago: 3, sends: 1500, carries }];
        diagnose(&Case { measured: &measured, ..case(sessions, &[]) })
    };
    let lost = Carries::Lost { largest: 1400, cut_arrives: true };
    for sessions in [&open, &keys] {
        let said = told(sessions, lost);
        assert_eq!(said.cause, Cause::BigPacketsLost);
        assert_eq!(said.action, Some(Action::SetMtu { bytes: 1400 }));
        assert!(said.explanation.contains("1400") && said.remedy.contains("1400"), "{said:#?}");
        assert!(said.steps.iter().any(|step| !step.seen) && said.can_measure);
    }
    assert!(told(&open, lost).remedy.contains("1340"), "1400 bytes less the 60 of WireGuard over IPv4");
    assert_eq!(told(&silent, lost).cause, Cause::L2tpSilent, "a silent server is told first");
    assert!(!told(&silent, lost).can_measure);
    // Below what IPv6 needs nobody narrows a whole port, and a server may simply ignore large pings.
    let tiny = told(&open, Carries::Lost { largest: 1000, cut_arrives: true });
    assert_eq!((tiny.cause, tiny.action), (Cause::BigPacketsLost, None));
    for (carries, says) in [
        (Carries::All, "up to 1500 bytes"),
        (Carries::Told { largest: 1400, by: [198, 51, 100, 1].into() }, "198.51.100.1 says so"),
        (Carries::Unknown, "could not be measured"),
        (Carries::Lost { largest: 1000, cut_arrives: false }, "may simply ignore"),
    ] {
        let said = told(&open, carries);
        assert_eq!(said.cause, Cause::Works, "{carries:?}");
        assert!(said.explanation.contains(says), "{}", said.explanation);
        assert_eq!(said.action, None);
    }
    let elsewhere = [Measured { server: [203, 0, 113, 20].into(), ago: 3, sends: 1500, carries: lost }];
    let said = diagnose(&Case { measured: &elsewhere, ..case(&open, &[]) });
    assert_eq!((said.cause, said.can_measure), (Cause::Works, true), "another server's way");
}

#[test]
fn a_port_forward_is_named_when_the_server_has_begun_with_its_device_and_only_then() {
    let other = |kind, parts: Vec<Part>| Session {
        device: device([192, 168, 1, 102].into(), None),
        ..session(kind, State::Calling, parts)
    };
    let begun = |part: Part| Part { from_device: false, ..part };
    let forward = |name: Option<&str>, protocol, ports, last| Forwarded {
        name: name.map(str::to_owned),
        protocol,
        ports,
        to: [192, 168, 1, last].into(),
    };
    let l2tp = [
        session(Kind::L2tp, State::Calling, vec![part(17, 1701, 3, 0)]),
        other(Kind::L2tp, vec![begun(part(17, 40000, 0, 9))]),
    ];
    let keys = || part(17, 500, 4, 4);
    let esp_after = |parts| {
        let one = session(Kind::IpsecEsp, State::Halfway, parts);
        [one, other(Kind::IpsecEsp, vec![begun(part(50, 0, 0, 9))])]
    };
    let (esp, no_esp) = (esp_after(vec![keys(), part(50, 0, 9, 0)]), esp_after(vec![keys()]));
    let vpn = [forward(Some("Work"), 17, Some((1701, 1701)), 102), forward(Some("Work"), 50, None, 102)];
    let dmz = [forward(None, 17, Some((1, u16::MAX)), 102), forward(None, 50, None, 102)];
    let told = |sessions: &[Session], forwards: &[Forwarded]| {
        let device = Some(HOME.into());
        diagnose(&Case { device, forwards, ..case(sessions, &[]) })
    };
    for sessions in [&l2tp, &esp, &no_esp] {
        let said = told(sessions, &vpn);
        assert_eq!(said.cause, Cause::ForwardTakes, "{said:#?}");
        assert_eq!(said.action, Some(Action::SeeForward { name: Some("Work".into()) }));
        assert!(said.remedy.contains("Work") && said.steps.iter().any(|step| !step.seen));
        assert!(told(sessions, &dmz).remedy.contains("DMZ"));
    }
    let elsewhere = [forward(Some("x"), 17, Some((1701, 1701)), 103), forward(Some("x"), 50, None, 103)];
    let other_port = [forward(Some("x"), 17, Some((9, 9)), 102), forward(Some("x"), 6, Some((1, 9999)), 102)];
    for forwards in [&elsewhere[..], &other_port[..], &[]] {
        assert_eq!(told(&l2tp, forwards).cause, Cause::L2tpSilent, "{forwards:?}");
        assert_eq!(told(&esp, forwards).cause, Cause::EspUnanswered, "{forwards:?}");
        assert_eq!(told(&no_esp, forwards).cause, Cause::NoTunnel, "{forwards:?}");
    }
    // The other device calls the same server itself, or another server begins with it, or it did before the call.
    let mut calls = l2tp.clone();
    calls[1].parts[0].from_device = true;
    let mut stranger = l2tp.clone();
    stranger[1].server = [203, 0, 113, 20].into();
    let mut before = l2tp.clone();
    before[1].parts[0].since = Some(NOW - 100);
    for sessions in [calls, stranger, before] {
        assert_eq!(told(&sessions, &vpn).cause, Cause::L2tpSilent);
    }
    let works = [
        session(Kind::L2tp, State::Open, vec![part(17, 1701, 3, 3)]),
        other(Kind::L2tp, vec![begun(part(17, 40000, 0, 9))]),
    ];
    assert_eq!(told(&works, &vpn).cause, Cause::Works);
}
