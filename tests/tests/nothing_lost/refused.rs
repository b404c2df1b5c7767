//! The disk refuses: each write, sync, opening and renaming of a life fails once, and from some moment on all of them do, with the errors
//! of a full, a broken and a busy disk. What was refused was told and has changed nothing; what was acknowledged is there after a kill.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock};

use lab::paper::{Fault, Paper};
use lab::power::{Image, write};
use lab::rescue::{Rescued, Rescuer};
use lab::{Owner, PASSWORD, ROUTER_SETTINGS, figures};
use postern::door::messages::{Assignment, Password, RefusalKind, Request, Response, Rules};
use postern::settings::{Role, Settings, keys};

use super::{scratch, times};

/// What fails, and how.
const KINDS: [(&str, &str); 8] = [
    ("pwrite64,write", "error=ENOSPC"),
    ("pwrite64,write", "error=EIO"),
    ("fsync,fdatasync", "error=EIO"),
    ("openat", "error=EMFILE"),
    ("rename,unlink", "error=EIO"),
    ("ftruncate", "error=EIO"),
    ("pread64,read", "error=EIO"),
    // A file system that the kernel has made one for reading only.
    ("pwrite64,write,fsync,fdatasync,ftruncate,rename,unlink", "error=EROFS"),
];
/// No life has more calls of one kind in one thread.
const MOST: usize = 600;

/// Which life is lived.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Life {
    /// A new box is claimed, and becomes a router.
    First,
    /// A router: changes of all sorts.
    Router,
    /// A router is reset.
    Reset,
}

/// What is known of a box, by what its owner was told.
#[derive(Debug, Clone, Default)]
struct Known {
    kept: Settings,
    /// Revisions that are kept.
    confirmed: Vec<i64>,
    /// Documents that were in force and kept at some time.
    ever: Vec<Settings>,
    claimed: bool,
    password: Option<String>,
    /// A new password was acknowledged.
    password_changed: bool,
    /// Everything goes at the next start.
    reset: bool,
    /// The sync of what was refused failed, and so did every write since: nobody can tell whether it lies on the disk, nor take it back.
    perhaps: bool,
}

/// A state folder to begin with, and what is known of its box.
struct Begun {
    image: Image,
    known: Known,
}

fn change(pairs: &[(&str, &str)]) -> Request {
    let one = |(key, value): &(&str, &str)| Assignment { key: (*key).into(), value: (*value).into() };
    Request::Change { base_revision: None, patch: pairs.iter().map(one).collect(), comment: String::new() }
}

fn secret(word: &str) -> Password {
    Password(word.to_owned())
}

fn claim() -> Request {
    Request::Claim { code: String::new(), password: secret(PASSWORD) }
}

fn become_router() -> Request {
    let pairs: Vec<(&str, &str)> = ROUTER_SETTINGS.iter().filter_map(|pair| pair.split_once('=')).collect();
    change(&pairs)
}

const CONFIRM: Request = Request::Confirm { revision: None };

/// What is asked in a life, one after the other.
fn requests(life: Life) -> Vec<Request> {
    let device = Request::SetDevice {
        base_revision: None,
        mac: "02:00:00:00:09:01".to_owned(),
        name: "Printer".to_owned(),
        address: Some("192.168.1.30".to_owned()),
    };
    match life {
        Life::First => vec![claim(), become_router(), CONFIRM, change(&[("firewall.ping", "true")])],
        Life::Router => vec![
            change(&[("passthrough.pptp.enabled", "true"), ("system.name", "gate")]),
            change(&[("access.port", "8081")]),
            CONFIRM,
            device,
            Request::Password { old: secret(""), new: secret("another long password") },
            change(&[("passthrough.priority", &priority())]),
            Request::Undo { revision: None },
            change(&[("forwards.Web", "tcp 80 to 192.168.1.20")]),
            change(&[("firewall.ping", "true")]),
        ],
        Life::Reset => vec![
            change(&[("system.name", "gate")]),
            Request::Reset { owner: secret(""), word: "reset".to_owned() },
            change(&[("firewall.ping", "true")]),
        ],
    }
}

/// A long document: more than one write of the log.
fn priority() -> String {
    (0..60).map(|n| format!("02:00:00:00:01:{n:02x}")).collect::<Vec<_>>().join(",")
}

/// One owner's way through a life. An error is what is wrong.
struct Way<'a> {
    owner: &'a Owner,
    known: Known,
    refused: Vec<String>,
}

impl Way<'_> {
    /// Asks, and holds the answer against what is in force then.
    fn ask(&mut self, request: &Request) -> Result<(), String> {
        let what: String = format!("{request:?}").chars().take(60).collect();
        let before = self.owner.settings();
        let answer = self.owner.ask(request.clone());
        let acknowledged = match answer {
            Ok(Response::Done { .. } | Response::Ticket { .. }) => true,
            Ok(Response::Refused(refusal)) => {
                let words = &refusal.message;
                let told = ["disk", "store", "file", "directory"].iter().any(|word| words.contains(word));
                let bare = ["os error", "(code", "sqlx"].iter().any(|odd| words.contains(odd));
                if refusal.kind == RefusalKind::Failed && (!told || bare || !words.ends_with('.')) {
                    return Err(format!("{what} was refused without a sentence: {words}"));
                }
                self.refused.push(words.clone());
                false
            }
            other => return Err(format!("{what}: {other:?}")),
        };
        if acknowledged && matches!(request, Request::Reset { .. }) {
            self.known.reset = true;
            return Ok(());
        }
        let (revision, settings) = self.owner.settings();
        if !acknowledged && settings != before.1 {
            return Err(format!(
                "{what} was refused and is in force: {:?}",
                keys::difference(&before.1, &settings)
            ));
        }
        if let (true, Request::Change { patch, .. }) = (acknowledged, request) {
            let mut wanted = before.1.clone();
            let set = patch.iter().all(|one| keys::set(&mut wanted, &one.key, &one.value).is_ok());
            if !set || wanted != settings {
                return Err(format!("{what} was acknowledged and is not in force"));
            }
        }
        match request {
            Request::Claim { .. } if acknowledged => self.known.claimed = true,
            Request::Password { .. } if acknowledged => self.known.password_changed = true,
            _ => {}
        }
        let status = self.owner.status();
        let rules = if settings.role == Role::Router { Rules::Loaded } else { Rules::NotWanted };
        if (status.revision, &status.rules, status.needs_mending) != (revision, &rules, false) {
            return Err(format!("{what}: not one truth: {:?}, {:?}", status.rules, status.notices));
        }
        if status.trial.is_none() && settings != self.known.kept {
            self.known.confirmed.push(revision);
            self.known.ever.push(settings.clone());
            self.known.kept = settings;
        }
        Ok(())
    }

    /// A whole life. What is on trial because its confirmation was refused is confirmed again.
    fn live(&mut self, life: Life) -> Result<(), String> {
        for request in requests(life) {
            if self.known.reset {
                break;
            }
            for _ in 0..2 {
                if self.owner.status().trial.is_none() {
                    break;
                }
                self.ask(&CONFIRM)?;
            }
            self.ask(&request)?;
        }
        Ok(())
    }
}

/// What is wrong with what a start finds, if anything is. `aside`: the store was set aside, and the history with it.
fn wrong(found: &Rescued, known: &Known, found_before: &Known, aside: bool) -> Option<String> {
    if let Some(error) = &found.error {
        return Some(error.clone());
    }
    if found.integrity != "ok" {
        return Some(found.integrity.clone());
    }
    if let Some(notice) = found.notice.as_ref().filter(|_| !aside) {
        return Some(format!("a start says: {notice}"));
    }
    if known.perhaps && keys::difference(&known.kept, &found.settings).len() <= 2 {
        return None;
    }
    if found.settings != known.kept {
        let differs = keys::difference(&known.kept, &found.settings);
        return Some(format!("in force is something else: {differs:?}").chars().take(400).collect());
    }
    if found.password.is_some() != known.claimed {
        return Some("the claim is lost, or was refused and is there".to_owned());
    }
    if known.claimed
        && found_before.claimed
        && (found.password != found_before.password) != known.password_changed
    {
        return Some("the password is not the one that was acknowledged".to_owned());
    }
    let confirmed = |id: &i64| found.revisions.contains(&(*id, "confirmed".to_owned()));
    if let Some(id) = known.confirmed.iter().find(|id| !aside && !confirmed(id)) {
        return Some(format!("revision {id} is lost"));
    }
    let more =
        found.revisions.iter().find(|(id, state)| state == "confirmed" && !known.confirmed.contains(id));
    if let Some((id, _)) = more.filter(|_| !aside) {
        return Some(format!("revision {id} was refused and is kept"));
    }
    let on_the_way = found.revisions.iter().find(|(_, state)| ["saved", "applied"].contains(&state.as_str()));
    if let Some((id, state)) = on_the_way {
        return Some(format!("revision {id} is left {state}"));
    }
    if let Some(Some(copy)) =
        found.copy.as_ref().filter(|copy| copy.as_ref().is_some_and(|copy| !known.ever.contains(copy)))
    {
        return Some(format!("the copy is what was never kept: {:?}", keys::difference(&known.kept, copy)));
    }
    let as_role = match found.settings.role {
        Role::Router => found.as_settings,
        _ => found.rules.is_none(),
    };
    (!as_role).then(|| format!("the rules are {:?}", found.rules))
}

/// Lives a life on a disk that refuses; what was wrong, the sentences of what was refused, and how often the disk has refused.
fn case(
    from: &Begun,
    life: Life,
    fault: &Fault,
    folder: &Path,
    rescuer: &mut Rescuer,
) -> (Option<String>, Vec<String>, usize) {
    let _ = std::fs::remove_dir_all(folder);
    std::fs::create_dir_all(folder).expect("a folder of ours can be made");
    let state = folder.join("state");
    write(&from.image, &state);
    let mut paper = match Paper::start(folder, Some(fault)) {
        Ok(paper) => paper,
        Err(said) => return (Some(format!("no box: {said}")), Vec::new(), 1),
    };
    let owner = paper.owner();
    // Nothing of this life is on the disk: the owner is told.
    let told = owner.status().notices.join(" ");
    let (forgets, damaged) = (told.contains("lost at the next start"), told.contains("damaged"));
    let mut way = Way { owner: &owner, known: from.known.clone(), refused: Vec::new() };
    let found = owner.settings().1;
    let lived = if found == from.known.kept {
        way.live(life)
    } else if told.is_empty() {
        Err("the start has lost the settings and says nothing".to_owned())
    } else {
        // What could be read says less than what is there, and that was told. Only that it is there afterwards counts.
        Ok(())
    };
    let (mut known, refused) = (way.known, way.refused);
    if lived.is_ok() && known.reset {
        paper.wait_end();
    }
    let said = paper.said();
    let refusals = paper.kill();
    if let Err(wrong) = lived {
        return (Some(wrong), refused, refusals);
    }
    if said.contains("panicked") {
        return (Some(format!("a panic: {said}")), refused, refusals);
    }
    if known.reset {
        // Whatever was left of it is done at the next start.
        match Paper::start(folder, None) {
            Ok(paper) => drop(paper.kill()),
            Err(said) => return (Some(format!("no box after the reset: {said}")), refused, refusals),
        }
        known = Known::default();
    } else if forgets {
        known = from.known.clone();
    }
    let syncs_and_writes = fault.calls.contains("fsync") && fault.calls.contains("write");
    known.perhaps = fault.on && syncs_and_writes && !refused.is_empty();
    let aside = damaged && state.join("postern.db.damaged").exists();
    if damaged && !aside && !forgets && known.claimed {
        return (Some(format!("nothing was damaged: {told}")), refused, refusals);
    }
    let found = rescuer.start(&state);
    let fault_of = wrong(&found, &known, &from.known, aside);
    (fault_of, refused, refusals)
}

/// After all that, a start without faults; a save; and the next start.
fn goes_on(folder: &Path, rescuer: &mut Rescuer) -> Option<String> {
    let paper = match Paper::start(folder, None) {
        Ok(paper) => paper,
        Err(said) => return Some(format!("no box on a good disk: {said}")),
    };
    let owner = paper.owner();
    let saved = owner.change(&[("system.name", "after")], "").is_ok();
    drop(owner);
    paper.kill();
    let found = rescuer.start(&folder.join("state"));
    let kept = found.settings.system.name.to_string() == "after";
    (!saved || !kept).then(|| format!("the next save was {saved}, and is there: {kept}"))
}

/// Boxes to begin with: a new one, and a router whose owner has saved a few times.
fn boxes() -> &'static (Begun, Begun) {
    static BOXES: OnceLock<(Begun, Begun)> = OnceLock::new();
    BOXES.get_or_init(begin)
}

fn begin() -> (Begun, Begun) {
    let folder = scratch("boxes");
    let paper = Paper::start(&folder, None).expect("a box on a good disk");
    let owner = paper.owner();
    let mut way = Way {
        owner: &owner,
        known: Known { ever: vec![Settings::default()], ..Known::default() },
        refused: Vec::new(),
    };
    let new = Begun { image: Image::new(), known: way.known.clone() };
    way.live(Life::First).expect("a good disk refuses nothing");
    for n in 0..4 {
        way.ask(&change(&[("access.idle_minutes", &(20 + n).to_string())])).expect("a good disk");
    }
    let mut known = way.known;
    drop(owner);
    paper.kill();
    let state = folder.join("state");
    let read = |name: &str| Some((name.to_owned(), std::fs::read(state.join(name)).ok()?));
    let image: Image =
        ["postern.db", "postern.db-wal", "last-good.json"].into_iter().filter_map(read).collect();
    known.password = Rescuer::new().start(&state).password;
    assert_eq!(image.len(), 3, "they are there after a kill");
    std::fs::remove_dir_all(&folder).expect("it is ours");
    (new, Begun { image, known })
}

/// Every `step`-th call of each kind; in each life, once and from then on.
#[test]
fn every_failing_write_sync_and_opening_is_told_changes_nothing_and_loses_nothing() {
    let (new, router) = boxes();
    let step = times("POSTERN_FAULT_STEP", 4);
    let lives = [(Life::First, new), (Life::Router, router), (Life::Reset, router)];
    let jobs: Vec<_> = lives
        .into_iter()
        .flat_map(|(life, from)| KINDS.map(|kind| (life, from, kind)))
        .flat_map(|(life, from, kind)| [false, true].map(|on| (life, from, kind, on)))
        .collect();
    let next = AtomicUsize::new(0);
    let (bad, sentences) = (Mutex::new(Vec::new()), Mutex::new(std::collections::BTreeMap::new()));
    let (lived, refusals, refused) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|threads| {
        for worker in 0..2 {
            let (next, jobs, bad, sentences) = (&next, &jobs, &bad, &sentences);
            let (lived, refusals, refused) = (&lived, &refusals, &refused);
            threads.spawn(move || {
                let (folder, mut rescuer) = (scratch(&format!("refused-{worker}")), Rescuer::new());
                loop {
                    let job = next.fetch_add(1, Relaxed);
                    let Some((life, from, (calls, how), on)) = jobs.get(job).copied() else { break };
                    // Another first one for each kind, so that not the same ones are looked at.
                    let mut k = 1 + (job * 5) % step;
                    loop {
                        assert!(k < MOST, "{calls}: a life has no end");
                        let fault = Fault { calls, how, from: k, on };
                        let (mut wrong, said, times) = case(from, life, &fault, &folder, &mut rescuer);
                        if wrong.is_none() && lived.fetch_add(1, Relaxed).is_multiple_of(4) {
                            wrong = goes_on(&folder, &mut rescuer);
                        }
                        refusals.fetch_add(times, Relaxed);
                        refused.fetch_add(said.len(), Relaxed);
                        for one in said {
                            let one = one.split(" The log has").next().unwrap_or_default().to_owned();
                            *sentences.lock().expect("nobody panics").entry(one).or_insert(0_usize) += 1;
                        }
                        bad.lock()
                            .expect("nobody panics")
                            .extend(wrong.map(|wrong| format!("{life:?}, {fault}: {wrong}")));
                        // With a thread's last call the life is over.
                        if times == 0 {
                            break;
                        }
                        k += step;
                    }
                }
                let _ = std::fs::remove_dir_all(&folder);
            });
        }
    });
    let (bad, sentences) = (bad.into_inner().expect("done"), sentences.into_inner().expect("done"));
    let said: Vec<String> = sentences.iter().map(|(words, times)| format!("{times} x {words}")).collect();
    figures::keep(
        env!("CARGO_TARGET_TMPDIR"),
        "refused-writes",
        &format!(
            "{} lives on a disk that refuses, {} calls failed (each {step}th of each kind): {} requests refused with a sentence; {} wrong\n  {}",
            lived.load(Relaxed),
            refusals.load(Relaxed),
            refused.load(Relaxed),
            bad.len(),
            said.join("\n  ")
        ),
    );
    assert!(bad.is_empty(), "{}: {:#?}", bad.len(), &bad[..bad.len().min(12)]);
    assert!(refused.load(Relaxed) > 20, "it was seen that something is refused");
}

/// A disk that says that it has written and has not; and a refused save that was kept all the same.
#[test]
fn a_disk_that_lies_and_a_refusal_that_was_none_are_seen() {
    let (_, router) = boxes();
    let (folder, mut rescuer) = (scratch("lying"), Rescuer::new());
    let mut seen = 0;
    // SQLite's log has 24 bytes before each page of 1024.
    for from in [1, 2, 9, 20, 35] {
        let lie = Fault { calls: "pwrite64", how: "retval=1024", from, on: true };
        let (wrong, _, times) = case(router, Life::Router, &lie, &folder, &mut rescuer);
        assert!(times > 0, "{lie}: nothing was left out");
        println!("{lie}: {wrong:?}");
        seen += usize::from(wrong.is_some());
    }
    assert!(seen >= 4, "only {seen} of 5 lies were seen");
    // Known is what it was before a save that was acknowledged, as if that had been refused.
    write(&router.image, &folder.join("state"));
    let paper = Paper::start(&folder, None).expect("a box on a good disk");
    paper.owner().change(&[("system.name", "gate")], "").expect("a good disk");
    paper.kill();
    let wrong = wrong(&rescuer.start(&folder.join("state")), &router.known, &router.known, false);
    assert!(wrong.is_some_and(|wrong| wrong.contains("system.name")), "what was refused is in force");
    std::fs::remove_dir_all(&folder).expect("it is ours");
}
