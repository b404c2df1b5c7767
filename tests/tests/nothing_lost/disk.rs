//! The real daemon and its page on a disk that is full, for reading only or failing, and without descriptors.

use lab::{Lab, NotDone, Owner, PASSWORD, Postern, Process, figures, wait};
use postern::door::messages::Rules;
use rustix::process::Signal;

const STATE: &str = "/run/postern/state";
/// A refused save has said why, in words of an owner.
const FULL: &str = "no room left";

/// The state folder is a file system of its own, of 1 MB.
fn small_disk(lab: &Lab) {
    lab.outer().ok(&["mkdir", "-p", STATE]);
    lab.outer().ok(&["mount", "-t", "tmpfs", "-o", "size=1m,mode=0700", "tmpfs", STATE]);
}

/// The page answers a laptop, and says the same of PPTP as the settings.
#[track_caller]
fn page(lab: &Lab, postern: &Postern, when: &str) {
    let on = postern.owner().settings().1.passthrough.pptp.enabled;
    let mut visitor = postern.visitor(lab, "laptop1");
    let form = visitor.form("/login", "password").fill("password", PASSWORD);
    assert_eq!(visitor.submit("/login", &form).status, 303, "{when}: the right password is taken");
    let shown = visitor.get("/security/vpn-passthrough").protocol("pptp", "data-effect");
    assert_eq!(shown.as_deref(), Some(if on { "ready" } else { "blocked" }), "{when}: on the page");
}

/// A page that was asked while the daemon began may not answer at once.
#[track_caller]
fn page_is_back(lab: &Lab, postern: &Postern, when: &str) {
    let mut visitor = postern.visitor(lab, "laptop1");
    let answer = wait::until(wait::SOON, || visitor.try_request("GET", "/login", "", &[]).ok());
    assert!(answer.is_some(), "{when}: the page is not back");
    page(lab, postern, when);
}

/// Stored = applied = shown is this name, which was saved last.
#[track_caller]
fn in_force(owner: &Owner, name: &str, when: &str) {
    let (revision, settings) = owner.settings();
    assert_eq!(settings.system.name.to_string(), name, "{when}");
    let status = owner.status();
    assert_eq!((status.revision, &status.rules, status.trial), (revision, &Rules::Loaded, None), "{when}");
    assert!(!status.needs_mending, "{when}: {:?}", status.notices);
}

/// Nothing is told of the disk.
#[track_caller]
fn is_well(owner: &Owner) {
    let notices = owner.status().notices;
    let told = notices.iter().find(|notice| notice.contains("disk") || notice.contains("settings store"));
    assert_eq!(told, None);
}

/// Saves until one is refused; the name that was saved last, how many were, and the refusal.
#[track_caller]
fn save_until_refused(owner: &Owner, first: usize) -> (String, usize, String) {
    let mut last = owner.settings().1.system.name.to_string();
    for number in 0..200 {
        let name = format!("box-{}", first + number);
        // A long one: the log has room from before.
        let macs: Vec<String> = (0..200).map(|n| format!("02:00:00:00:{number:02x}:{n:02x}")).collect();
        let on = (number % 2 == 0).to_string();
        let pairs = [
            ("system.name", name.as_str()),
            ("passthrough.priority", &macs.join(",")),
            ("passthrough.pptp.enabled", &on),
        ];
        match owner.change(&pairs, "") {
            Ok(_) => last = name,
            Err(NotDone::Refused(refusal)) => return (last, number, refusal.message),
            Err(NotDone::NoAnswer(error)) => panic!("no answer after {last}: {error}"),
        }
    }
    panic!("nothing was refused");
}

#[test]
fn a_full_disk_and_one_for_reading_only_refuse_with_the_reason_and_lose_nothing() {
    let lab = Lab::new();
    small_disk(&lab);
    let mut postern = lab.postern_router();
    postern.start_web(&lab);
    let owner = postern.owner();
    owner.change(&[("system.name", "before")], "").expect("there is room");
    // Reading that it is full is dd's purpose here.
    let _ =
        lab.outer().run(&["dd", "if=/dev/zero", &format!("of={STATE}/filling"), "bs=1024", "status=none"]);
    let (last, saved, said) = save_until_refused(&owner, 0);
    assert!(said.contains(FULL) && said.contains("The log has the details"), "{said}");
    in_force(&owner, &last, "refused");
    page(&lab, &postern, "the disk is full");
    // Neither a kill nor a good end makes anything of it, and a start needs no room.
    for end in [Postern::crash_daemon, Postern::end_daemon] {
        end(&mut postern);
        postern.start_daemon();
        in_force(&owner, &last, "started on a full disk");
        page_is_back(&lab, &postern, "started on a full disk");
    }
    let (last, _, _) = save_until_refused(&owner, 1000);
    postern.crash_daemon();
    lab.outer().ok(&["rm", &format!("{STATE}/filling")]);
    postern.start_daemon();
    in_force(&owner, &last, "there is room again");
    is_well(&owner);
    owner.change(&[("system.name", "roomy")], "").expect("there is room again");

    // For reading only, after a kill and after a good end: the log is there, and it is not.
    let mut read_only = Vec::new();
    for end in [Postern::crash_daemon, Postern::end_daemon] {
        end(&mut postern);
        // Over it, for what the daemon has left running writes there still.
        lab.outer().ok(&["mount", "--bind", STATE, STATE]);
        lab.outer().ok(&["mount", "-o", "remount,ro,bind", STATE]);
        postern.start_daemon();
        in_force(&owner, "roomy", "for reading only");
        page_is_back(&lab, &postern, "for reading only");
        let told = owner.status().notices.join(" ");
        match owner.change(&[("system.name", "lost")], "") {
            Ok(_) => {
                assert!(told.contains("lost at the next start"), "{told}");
                read_only.push("saves are taken, and that they are lost is told");
            }
            Err(NotDone::Refused(refusal)) => {
                assert!(refusal.message.contains("store"), "{refusal:?}");
                read_only.push("saves are refused");
            }
            Err(error) => panic!("{error:?}"),
        }
        postern.crash_daemon();
        lab.outer().ok(&["umount", "--lazy", STATE]);
        postern.start_daemon();
        in_force(&owner, "roomy", "for writing again");
        is_well(&owner);
        owner.change(&[("firewall.ping", "true")], "").expect("it can be written again");
        owner.change(&[("firewall.ping", "false")], "").expect("it can be written again");
    }
    let history = owner.history(200);
    assert!(history.iter().any(|revision| revision.id == 1), "the history is whole");
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "full-disk",
        &format!(
            "a full disk: {saved} saves into the room of the log, then refused (\"{}\"); the page answered, 0 lost over 4 starts\n  \
             for reading only, with its log: {}; without: {}",
            said.split(" The log").next().unwrap_or_default(),
            read_only[0],
            read_only[1]
        ),
    );
}

/// Each of these calls about the store fails from now on, until it is ended.
struct Failing {
    strace: Process,
    lab: std::path::PathBuf,
}

impl Failing {
    #[track_caller]
    fn new(lab: &Lab, postern: &Postern, calls: &str, error: &str) -> Self {
        let pid = pid(postern);
        let (trace, inject) = (format!("trace={calls}"), format!("inject={calls}:error={error}"));
        let mut words =
            vec!["strace", "-f", "-p", &pid, "-e", &trace, "-e", &inject, "-o", "/run/lab/failing"];
        let paths = ["/postern.db", "/postern.db-wal", "/last-good.json", "/last-good.new", ""]
            .map(|name| format!("{STATE}{name}"));
        paths.iter().for_each(|path| words.extend(["-P", path]));
        let mut strace = lab.outer().spawn(&words);
        strace.wait_for_line("attached", wait::SOON);
        Self { strace, lab: lab.outer().path("/run/lab/failing") }
    }

    #[track_caller]
    fn end(mut self) -> usize {
        self.strace.signal(Signal::INT);
        assert!(self.strace.wait_end(wait::SOON).is_some(), "strace lets go");
        std::fs::read_to_string(&self.lab).unwrap_or_default().matches("(INJECTED)").count()
    }
}

/// As the lab's own programs see it.
#[track_caller]
fn pid(postern: &Postern) -> String {
    let pids = postern.daemon_status("NSpid");
    pids.split(' ').next_back().expect("a daemon has a number").to_owned()
}

#[test]
fn a_daemon_whose_disk_fails_or_that_has_no_descriptors_says_so_and_its_page_lives() {
    let lab = Lab::new();
    let mut postern = lab.postern_router();
    postern.start_web(&lab);
    let owner = postern.owner();
    owner.change(&[("system.name", "before")], "").expect("a good disk");
    let mut lines = Vec::new();
    for (calls, error, word) in [
        ("pwrite64,write", "ENOSPC", FULL),
        ("fsync,fdatasync", "EIO", "reports an error"),
        ("pwrite64,write,fsync,fdatasync,ftruncate,rename,unlink", "EROFS", "disk"),
    ] {
        let failing = Failing::new(&lab, &postern, calls, error);
        let said = owner.change(&[("system.name", "after"), ("passthrough.pptp.enabled", "true")], "");
        let Err(NotDone::Refused(refusal)) = said else { panic!("{calls} {error}: {said:?}") };
        assert!(refusal.message.contains(word), "{calls} {error}: {}", refusal.message);
        in_force(&owner, "before", calls);
        page(&lab, &postern, calls);
        let times = failing.end();
        assert!(times > 0, "{calls} {error}: nothing was injected");
        lines.push(format!("{error} of {calls}, {times} times: {}", refusal.message));
        owner.change(&[("system.name", "between")], "").expect("the disk is good again");
        owner.change(&[("system.name", "before")], "").expect("the disk is good again");
    }
    let pid = pid(&postern);
    let numbers = lab.outer().ok(&["ls", &format!("/proc/{pid}/fd")]);
    let taken: Vec<u32> = numbers.lines().filter_map(|number| number.parse().ok()).collect();
    // As its own user, who may do that without any capability.
    let limit = |n: u32| {
        let soft = format!("--nofile={n}:");
        let as_daemon = ["setpriv", "--reuid", "postern", "--regid", "postern", "--init-groups"];
        lab.outer().ok(&[&as_daemon[..], &["prlimit", "--pid", &pid, &soft]].concat())
    };
    for more in [0, 2, 4] {
        let end = (0..).filter(|number| !taken.contains(number)).nth(more).expect("numbers do not end");
        limit(end);
        let said = owner.change(&[("system.name", "after"), ("passthrough.pptp.enabled", "true")], "");
        let answer = postern.visitor(&lab, "laptop1").try_request("GET", "/login", "", &[]);
        let answer = answer.map(|page| page.status);
        limit(1024);
        let told = match said {
            Ok(_) => {
                in_force(&owner, "after", "done all the same");
                owner
                    .change(&[("system.name", "before"), ("passthrough.pptp.enabled", "false")], "")
                    .expect("as before");
                "done".to_owned()
            }
            Err(NotDone::Refused(refusal)) => refusal.message,
            Err(error) => panic!("{error:?}"),
        };
        in_force(&owner, "before", "descriptors again");
        page(&lab, &postern, "descriptors again");
        lines.push(format!("{more} descriptors left: {told}; the page answered {answer:?}"));
        assert!(answer.is_ok(), "the page: {lines:?}");
    }
    postern.crash_daemon();
    postern.start_daemon();
    in_force(&owner, "before", "after all of it");
    assert!(!postern.daemon_said().contains("panicked"));
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "failing-disk",
        &format!("the real daemon and its page:\n  {}", lines.join("\n  ")),
    );
}
