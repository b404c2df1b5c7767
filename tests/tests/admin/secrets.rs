//! Where secrets are, and where they must not be.

use std::fs::{File, read_to_string};
use std::io::{Read, Seek, SeekFrom};

use lab::{Lab, Postern, ROUTER_SETTINGS, Said, Talk, figures, wait};
use std::time::Duration;

use crate::scene::{TOKEN, post, visitor_cookie};

const STATE: &str = "/run/postern/state";
const OWN: &str = "kanarie-of-the-owner-1";
const NEW: &str = "kanarie-of-the-owner-2";
const GUESS: &str = "kanarie-that-is-wrong-3";
const SEAL: &str = "kanarie-of-the-backup-4";
const PROVIDER: &str = "kanarie-of-the-provider-5";
const PROBE: &str = "kanarie-of-half-a-request-6";
const ALL: [&str; 5] = [OWN, NEW, GUESS, SEAL, PROVIDER];

/// How often it stands in the memory that a process may write.
fn in_memory(pid: &str, word: &str) -> usize {
    let maps = read_to_string(format!("/proc/{pid}/maps")).expect("its memory is listed");
    let mut memory = File::open(format!("/proc/{pid}/mem")).expect("root reads it");
    let mut found = 0;
    for line in maps.lines().filter(|line| line.contains(" rw")) {
        let range = line.split(' ').next().and_then(|range| range.split_once('-'));
        let (from, to) = range.expect("a range");
        let number = |text| u64::from_str_radix(text, 16).expect("hexadecimal digits");
        let (from, to) = (number(from), number(to));
        let mut bytes = vec![0; usize::try_from(to - from).expect("it fits")];
        if memory.seek(SeekFrom::Start(from)).is_ok() && memory.read_exact(&mut bytes).is_ok() {
            found += bytes.windows(word.len()).filter(|window| *window == word.as_bytes()).count();
        }
    }
    found
}

/// Files with it, of those that Postern keeps.
fn on_disk(lab: &Lab, word: &str) -> String {
    lab.router().run(&["grep", "-rlaF", word, STATE, "/run/postern/door"]).out
}

#[track_caller]
fn say(lab: &Lab, text: String) -> u16 {
    let talk = Talk { limit_ms: 30_000, ..Talk::new(1, vec![Said::new(text)]) };
    lab.host("laptop2").talk(&talk, Duration::from_secs(60))[0].status()
}

fn login(lab: &Lab, password: &str) -> u16 {
    say(lab, post("/login", &visitor_cookie(), &format!("token={TOKEN}&password={password}")))
}

#[track_caller]
fn home(lab: &Lab) -> Postern {
    let mut postern = lab.postern();
    assert!(postern.cli_with(&["claim", "--password-stdin"], OWN).ok());
    postern.set(&ROUTER_SETTINGS);
    postern.ok(&["confirm"]);
    postern.start_web(lab);
    postern
}

#[test]
fn no_password_is_in_a_file_or_a_log() {
    let lab = Lab::new();
    let postern = home(&lab);
    assert_eq!(login(&lab, OWN), 303);
    assert_eq!(login(&lab, GUESS), 422);
    let changed = postern.cli_with(&["password", "--password-stdin"], NEW);
    assert!(changed.ok(), "{changed:?}");
    assert_eq!(login(&lab, NEW), 303);
    postern.set(&[&format!("internet.pppoe.password={PROVIDER}")]);
    let backup = postern.cli_with(&["backup", "/run/postern/state/kept.backup", "--password-stdin"], SEAL);
    assert!(backup.ok(), "{backup:?}");
    // The probes see a word that is there: one in a file, one in the memory of a process.
    let web = postern.web_status("Pid");
    let half = Said::new(format!("GET /login HTTP/1.1\r\nX-Probe: {PROBE}"));
    let mut asks = lab.host("laptop2").talking(&Talk { limit_ms: 60_000, ..Talk::new(1, vec![half]) });
    let seen = |word| wait::until(wait::SOON, || (in_memory(&web, word) > 0).then_some(()));
    assert!(seen(PROBE).is_some(), "the probe of the memory sees nothing");
    asks.kill();
    assert!(
        on_disk(&lab, PROVIDER).contains("postern.db"),
        "the provider's password is kept: the box dials with it"
    );

    for word in [OWN, NEW, GUESS, SEAL] {
        assert_eq!(on_disk(&lab, word), "", "{word} is in a file");
    }
    for word in ALL {
        for (what, text) in [
            ("the daemon's log", postern.daemon_said()),
            ("the web process's log", postern.web_said()),
            ("the journal", postern.ok(&["journal", "--json"])),
            ("the history", postern.ok(&["history", "--json"])),
            ("the status", postern.ok(&["status", "--json"])),
        ] {
            assert!(!text.contains(word), "{word} is in {what}");
        }
    }
    // The folder is the daemon's alone; the files of dnsmasq in it have the mode that dnsmasq gives them.
    assert_eq!(lab.router().ok(&["stat", "-c", "%a %U", STATE]).trim(), "700 postern");
    let open = lab.router().ok(&["find", STATE, "-type", "f", "-perm", "/077", "-not", "-name", "dnsmasq.*"]);
    assert_eq!(open, "", "others may read files of the daemon");
    let count = || ALL.map(|word| in_memory(&web, word));
    let at_once = count();
    let gone = wait::until(wait::SOON, || {
        (count().iter().sum::<usize>() + in_memory(&web, PROBE) == 0).then_some(())
    });
    assert!(
        gone.is_some(),
        "in the web process's memory stay {:?}, and of the probe {}",
        count(),
        in_memory(&web, PROBE)
    );
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "admin_secrets",
        &format!(
            "passwords in the web process's memory, each: {at_once:?} at once, 0 after their connections"
        ),
    );
}

#[test]
fn a_reset_leaves_none_of_forty_traces_of_its_owner() {
    let lab = Lab::new();
    let mut postern = home(&lab);
    let mut traces = vec![OWN.to_owned()];
    let mut trace = |what: &str| {
        let word = format!("spoor{}{what}", traces.len());
        traces.push(word.clone());
        word
    };
    let settings = [
        format!("internet.pppoe.user={}", trace("user")),
        format!("internet.pppoe.password={}", trace("secret")),
        format!("internet.pppoe.service={}", trace("service")),
        format!("local_network.domain={}.arpa", trace("domain")),
        format!("system.name={}", trace("name")),
    ];
    for setting in &settings {
        let _ = postern.cli(&["set", setting]);
        let _ = postern.cli(&["confirm"]);
    }
    for n in 0..12 {
        let name = trace("forward");
        let to = format!("192.168.1.{}", 120 + n);
        let port = (9000 + n).to_string();
        postern.ok(&["forward", "add", &name, "--protocol", "udp", "--port", &port, "--to", &to]);
    }
    let owner = postern.owner();
    for n in 0..12 {
        let comment = trace("comment");
        let value = if n % 2 == 0 { "true" } else { "false" };
        owner.change(&[("passthrough.pptp.enabled", value)], &comment).expect("it is changed");
    }
    for n in 0..10 {
        let request = postern::door::messages::Request::SetDevice {
            base_revision: None,
            mac: format!("02:00:00:00:99:{n:02x}"),
            name: trace("device"),
            address: Some(String::new()),
        };
        let done = owner.ask(request).expect("the daemon answers");
        assert!(matches!(done, postern::door::messages::Response::Done { .. }), "{done:?}");
    }
    assert!(traces.len() >= 40, "{}", traces.len());
    let kept = traces.iter().filter(|word| !on_disk(&lab, word).is_empty()).count();
    assert!(kept >= 38, "{kept} of {} were kept at all", traces.len());
    postern.ok(&["reset", "--yes"]);
    let _ = postern.wait_end();
    postern.start_daemon();
    for word in &traces {
        assert_eq!(on_disk(&lab, word), "", "{word} is left");
        for verb in ["export", "history", "journal", "status"] {
            assert!(!postern.ok(&[verb]).contains(word.as_str()), "{verb} tells {word}");
        }
    }
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "admin_reset",
        &format!("{} traces of an owner, {kept} of them in files; after a reset: 0", traces.len()),
    );
}
