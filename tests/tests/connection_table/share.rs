//! One device of the home that wants the whole connection table, while another one dials.

use std::time::Duration;

use lab::{Kind, Lab, Postern, Probe, Process, address, figures, wait};
use serde_json::Value;

/// Connections that the device wants: more than the table takes.
const WANTED: u32 = 300_000;
/// Tries a second.
const HZ: u32 = 20_000;
/// How often each kind of VPN is dialled.
const DIALS: usize = 100;
/// What is dialled by datagrams: L2TP, IKE, ESP, NAT traversal. (GRE of PPTP comes with its calls.)
const DATAGRAMS: [Kind; 4] = [Kind::Udp(1701), Kind::Udp(500), Kind::Ip(50), Kind::Udp(4500)];
const CONTROL: Kind = Kind::Tcp(1723);
/// A busy machine may take so long for what takes half a minute.
const LONG: Duration = Duration::from_secs(240);

/// The server's addresses beside its own: one for each dial, since IKE and ESP have one conversation with each.
const ADDRESSES: std::ops::Range<u8> = 100..200;

struct Scene {
    lab: Lab,
    postern: Postern,
    /// What answers at the server.
    _answers: Vec<Process>,
    _echo: lab::Echo,
}

impl Scene {
    #[track_caller]
    fn new() -> Self {
        let lab = Lab::new();
        let mut postern = lab.postern_router();
        postern.set(&["passthrough.pptp.enabled=true"]);
        postern.start_web(&lab);
        let server = lab.host("server1");
        let addresses: String =
            ADDRESSES.map(|last| format!("addr add 203.0.113.{last}/24 dev eth0\n")).collect();
        server.ok_with(&["ip", "-batch", "-"], &addresses);
        server.ok_with(
            &["nft", "-f", "-"],
            "table ip mute { chain out { type filter hook output priority 0; icmp type destination-unreachable drop; }\n}",
        );
        let kinds = DATAGRAMS.map(|kind| kind.to_string());
        let mirror = [&["postern-lab", "mirror"][..], &kinds.each_ref().map(String::as_str)].concat();
        let answers = [&mirror[..], &["postern-lab", "pptp-server", "1723"]].map(|words| {
            let mut answers = server.spawn(words);
            answers.wait_for_line("ready", wait::SOON);
            answers
        });
        let echo = server.echo(&[Kind::Tcp(80)]);
        Self { lab, postern, _answers: answers.into(), _echo: echo }
    }

    /// What somebody sees who asks the daemon.
    #[track_caller]
    fn over(&self) -> Vec<Value> {
        self.postern.json(&["status"])["over_share"].as_array().cloned().unwrap_or_default()
    }

    /// PPTP calls of laptop2, ten at a time: from the begin to the first GRE packet of its own that comes back, in milliseconds.
    #[track_caller]
    fn calls(&self) -> Vec<Option<u64>> {
        let to = format!("{}:1723", address("server1"));
        let host = self.lab.host("laptop2");
        let ten = |first: usize| {
            let begun = wait::now_ms();
            let calls: Vec<Process> = (first..first + 10)
                .map(|id| host.spawn(&["postern-lab", "pptp-call", &to, "--id", &(1000 + id).to_string()]))
                .collect();
            let answered = |call: &Process| {
                let mine = |line: &String| {
                    serde_json::from_str::<Value>(line).ok().filter(|told| told["mine"] == true)?["at"]
                        .as_u64()
                };
                call.out().iter().find_map(mine).map(|at| at.saturating_sub(begun))
            };
            calls.iter().map(|call| wait::until(wait::SOON, || answered(call))).collect::<Vec<_>>()
        };
        (0..DIALS).step_by(10).flat_map(ten).collect()
    }

    /// IKE and then ESP with each of the server's addresses, half of them by the phone: a device begins IKE 60 times at once, and then
    /// once a second. To the answer, in milliseconds.
    #[track_caller]
    fn ipsec(&self) -> Vec<Option<u64>> {
        let dials = |host: &str, these: &mut dyn Iterator<Item = u8>| {
            let script: String = these
                .flat_map(|last| ["udp:500", "ip:50"].map(|kind| (kind, last)))
                .map(|(kind, last)| format!("postern-lab probe {kind} 203.0.113.{last} --for-ms 3000\n"))
                .collect();
            self.lab.host(host).spawn(&["sh", "-c", &script])
        };
        let mut all =
            [dials("laptop2", &mut ADDRESSES.step_by(2)), dials("phone", &mut ADDRESSES.skip(1).step_by(2))];
        let told = |dials: &mut Process| {
            assert!(dials.wait_end(LONG).is_some(), "they do not end: {}", dials.said());
            dials.out().iter().filter_map(|line| serde_json::from_str(line).ok()).collect::<Vec<Probe>>()
        };
        let told: Vec<Probe> = all.iter_mut().flat_map(told).collect();
        assert_eq!(told.len(), 2 * DIALS);
        told.into_iter().map(|probe| (probe.answered > 0).then_some(probe.ms)).collect()
    }

    /// L2TP and NAT traversal, each packet from a new port: how many were answered, and how many were not.
    #[track_caller]
    fn datagrams(&self) -> [(u64, u64); 2] {
        [1701, 4500].map(|port| {
            let dials = self.lab.host("laptop2").ever_new(Kind::Udp(port), address("server1"), 50);
            dials.wait(DIALS as u64);
            let totals = dials.settled();
            (totals.answered, totals.lost + totals.unsent)
        })
    }
}

/// So many live entries that laptop1 has had for a while, which saves the test's time; none with `POSTERN_HOARD=whole`: it opens every
/// single one.
#[track_caller]
fn held_before(lab: &Lab, count: u32) {
    if std::env::var("POSTERN_HOARD").is_ok_and(|asked| asked == "whole") {
        return;
    }
    let (from, to) = (address("laptop1"), address("server2"));
    let entry = |n: u32| {
        let (port, service) = (1024 + n % 60_000, 30_000 + n / 60_000);
        format!(
            "-A -t 3600 -u SEEN_REPLY,ASSURED -p udp -s {from} -d {to} --sport {port} --dport {service}\n"
        )
    };
    for first in (0..count).step_by(20_000) {
        let part: String = (first..count.min(first + 20_000)).map(entry).collect();
        lab.router().write("/run/lab/entries", part);
        lab.router().ok(&["conntrack", "-R", "/run/lab/entries"]);
    }
}

/// How many, and the median and the worst of them.
fn said(times: &[Option<u64>]) -> String {
    let mut known: Vec<u64> = times.iter().flatten().copied().collect();
    known.sort_unstable();
    let (median, worst) = (known.get(known.len() / 2), known.last());
    let of = |time: Option<&u64>| time.copied().unwrap_or_default();
    format!("{} of {}, median {} ms, worst {} ms", known.len(), times.len(), of(median), of(worst))
}

#[test]
fn without_shares_one_device_takes_the_whole_table_and_nobody_else_can_dial() {
    let lab = Lab::new();
    let postern = lab.postern_router();
    postern.set(&["passthrough.pptp.enabled=true"]);
    let _echo = lab.host("server1").echo(&[&DATAGRAMS[..], &[CONTROL]].concat());
    for chain in ["share", "share_over"] {
        lab.router().ok(&["nft", "flush", "chain", "inet", "postern", chain]);
    }
    let dialler = lab.host("laptop2");
    assert_eq!(dialler.probe(CONTROL, address("server1")).answered, 1, "before");
    held_before(&lab, 200_000);
    let hoard = lab.hoard("laptop1", "server2", WANTED, 2 * HZ);
    let from = address("laptop2").to_string();
    let answered = || {
        // Without what it had begun before: the place is another's at once.
        let _ = lab.router().run(&["conntrack", "-D", "-s", &from]);
        let full = wait::until(LONG, || {
            let (count, room) = lab.conntrack();
            (count >= room).then_some(())
        });
        assert!(full.is_some(), "{} connections are open", hoard.open());
        let kinds = DATAGRAMS.into_iter().chain([CONTROL]);
        kinds.filter(|kind| dialler.knock(*kind, address("server1")).answered > 0).collect::<Vec<_>>()
    };
    let failed = wait::until(LONG, || answered().is_empty().then_some(()));
    assert!(
        failed.is_some(),
        "{:?} are answered though the table is full: the test shows nothing",
        answered()
    );
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "share-without",
        &format!(
            "without shares one device holds {} of the table's entries, and 5 of 5 kinds of VPN of another one fail",
            lab.conntrack().0
        ),
    );
}

#[test]
fn one_device_never_holds_half_of_the_table_and_another_one_dials_every_vpn_meanwhile() {
    let scene = Scene::new();
    let Scene { lab, postern, .. } = &scene;
    let (greedy, server) = (lab.host("laptop1"), address("server1"));
    let live = greedy.flow(Kind::Udp(4500), server);
    live.wait_answers(2);
    held_before(lab, 45_000);
    let begun = wait::now_ms();
    let hoard = lab.hoard("laptop1", "server2", WANTED, HZ);
    let mut most = 0;
    let mut watch = || {
        let (count, room) = lab.conntrack();
        most = most.max(count);
        assert!(count < room / 2, "{count} of {room}: half is passed");
    };
    let told = wait::until(LONG, || {
        watch();
        scene.over().pop()
    });
    let told = told.unwrap_or_else(|| panic!("nobody says so; {} are open", hoard.open()));
    let seconds = (wait::now_ms() - begun) / 1000;
    println!("told after {seconds} s");
    assert_eq!(told["device"]["mac"], "02:00:00:00:01:65", "{told}");
    // From now on it gets no more, though it tries, and what it had goes on.
    let refused = greedy.knock(Kind::Tcp(80), server);
    assert_eq!(refused.answered, 0, "it opens no new connection: {refused:?}");
    let calls = scene.calls();
    watch();
    let ipsec = scene.ipsec();
    watch();
    let datagrams = scene.datagrams();
    watch();
    let tries = hoard.tries();
    assert!(
        wait::until(LONG, || (hoard.tries() > tries + u64::from(HZ)).then_some(())).is_some(),
        "it goes on"
    );
    watch();
    let figure = format!(
        "one device opens {WANTED} connections at {HZ} a second: told and stopped after {seconds} s, never more than {most} of {} entries; another \
         one meanwhile dials PPTP with GRE {}; IKE and ESP {}; L2TP {} and NAT traversal {}, none lost",
        told["room"],
        said(&calls),
        said(&ipsec),
        datagrams[0].0,
        datagrams[1].0
    );
    figures::keep(env!("CARGO_TARGET_TMPDIR"), "share", &figure);
    assert!(calls.iter().chain(&ipsec).all(Option::is_some), "{figure}");
    assert_eq!(datagrams.map(|(_, lost)| lost), [0, 0], "{figure}");
    assert_eq!(live.lost(Duration::from_secs(2)), [0; 0], "what the greedy one had before goes on");
    assert!(hoard.open() < 131_072, "{}", hoard.open());
    // It is not cut off from this box.
    assert_eq!(postern.visitor(lab, "laptop1").get("/login").status, 200, "our page answers it");
    let named = greedy.run(&["dig", "+short", "+time=2", "+tries=3", "@192.168.1.1", "postern.home.arpa"]);
    assert!(named.ok(), "our DNS answers it: {}{}", named.out, named.err);
    let notice = postern.ok(&["status"]);
    assert!(notice.contains("too many for one device"), "{notice}");
    assert!(postern.ok(&["journal"]).contains("held more than a third of the connection table"));
    // One click ends what it has, and then it opens connections again.
    drop(hoard);
    let (begun, held) = (wait::now_ms(), lab.conntrack().0);
    let said = postern.ok(&["device", "end-connections", told["device"]["mac"].as_str().unwrap_or_default()]);
    let left = lab.conntrack().0;
    assert!(
        said.contains(" connections of 02:00:00:00:01:65 ended") && left < held / 10,
        "{said}{left} of {held}"
    );
    let ended = format!(
        "end-connections: {held} entries in the table before, {left} after {} ms",
        wait::now_ms() - begun
    );
    figures::keep(env!("CARGO_TARGET_TMPDIR"), "share-ended", &ended);
    let free = wait::until(LONG, || scene.over().is_empty().then_some(()));
    assert!(free.is_some(), "it stays refused: {:?}", scene.over());
    assert_eq!(greedy.probe(Kind::Tcp(80), server).answered, 1, "it opens connections again");
    live.wait_answers(2);
}
