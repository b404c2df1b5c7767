//! The life that is recorded.

use std::sync::OnceLock;
use std::time::SystemTime;

use lab::power::{CALLS, Recording};
use lab::rescue::Rescuer;
use lab::{Lab, Owner, ROUTER_SETTINGS, wait};
use postern::door::messages::{Assignment, Password, Request, Response};
use postern::settings::{Role, Settings};

use super::scratch;

const STATE: &str = "/run/postern/state";

/// What is kept from the moment on at which the owner was told so.
#[derive(Debug, Clone)]
pub struct Step {
    /// What he did.
    pub what: String,
    /// When he had the answer, in seconds since 1970.
    pub told: f64,
    /// The settings that are kept; those on trial are not.
    pub kept: Settings,
    /// Their revision.
    pub revision: i64,
    /// The password, hashed.
    pub password: Option<String>,
}

/// A box from its first start on.
#[derive(Debug)]
pub struct Life {
    pub recording: Recording,
    /// The first one is the box before anything was done.
    pub steps: Vec<Step>,
}

/// The one life that all tests of this file look at.
pub fn life() -> &'static Life {
    static LIFE: OnceLock<Life> = OnceLock::new();
    LIFE.get_or_init(live)
}

fn now() -> f64 {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

fn live() -> Life {
    let lab = Lab::new();
    let there = lab.outer().run(&["strace", "-V"]).ok();
    assert!(there, "strace is missing: tests/run installs the Debian package strace");
    let trace = format!("trace={CALLS}");
    let words = ["-f", "-y", "-xx", "-ttt", "-s", "1048576", "-e", &trace, "-o", "/run/lab/strace"];
    let postern = lab.postern_under(&[&["strace", "--seccomp-bpf"][..], &words].concat());
    let mut writer = Writer { lab: &lab, owner: postern.owner(), steps: Vec::new() };
    writer.note("the first start", 0.0);
    postern.claim();
    writer.done("the claim");
    let pairs: Vec<(&str, &str)> = ROUTER_SETTINGS.iter().filter_map(|pair| pair.split_once('=')).collect();
    writer.change(&pairs);
    for round in 0..6 {
        writer.round(round);
    }
    let steps = std::mem::take(&mut writer.steps);
    drop(writer);
    drop(postern);
    let said = lab.outer().path("/run/lab/strace");
    let strace =
        wait::until(wait::SOON, || std::fs::read_to_string(&said).ok().filter(|text| text.ends_with('\n')));
    let recording = Recording::read(&strace.expect("strace has written"), STATE);
    Life { recording, steps }
}

/// The owner, who writes down what he was told.
struct Writer<'a> {
    lab: &'a Lab,
    owner: Owner,
    steps: Vec<Step>,
}

impl Writer<'_> {
    /// Was told just now.
    fn done(&mut self, what: &str) {
        self.note(what, now());
    }

    #[track_caller]
    fn note(&mut self, what: &str, told: f64) {
        let (mut revision, mut kept) = self.owner.settings();
        if self.owner.status().trial.is_some() {
            let last = self.steps.last().expect("the first start has nothing on trial");
            (revision, kept) = (last.revision, last.kept.clone());
        }
        let last = self.steps.last().and_then(|step| step.password.clone());
        let password =
            if what.contains("claim") || what.starts_with("Password") { self.password() } else { last };
        self.steps.push(Step { what: what.to_owned(), told, kept, revision, password });
    }

    /// The password as it is stored, read from a copy of the files.
    #[track_caller]
    fn password(&self) -> Option<String> {
        let folder = scratch("password");
        std::fs::create_dir_all(&folder).expect("a folder of ours can be made");
        for file in ["postern.db", "postern.db-wal"] {
            std::fs::copy(self.lab.outer().path(&format!("{STATE}/{file}")), folder.join(file))
                .expect("it is there");
        }
        let password = Rescuer::new().start(&folder).password;
        std::fs::remove_dir_all(&folder).expect("it is ours");
        assert!(password.is_some(), "the box is claimed");
        password
    }

    #[track_caller]
    fn change(&mut self, pairs: &[(&str, &str)]) {
        let assignment =
            |(key, value): &(&str, &str)| Assignment { key: (*key).into(), value: (*value).into() };
        let patch = pairs.iter().map(assignment).collect();
        self.ask(Request::Change { base_revision: None, patch, comment: String::new() });
    }

    /// Asks, writes down what is kept from now on, and confirms it where that is due.
    #[track_caller]
    fn ask(&mut self, request: Request) {
        let what: String = format!("{request:?}").chars().take(120).collect();
        match self.owner.ask(request) {
            Ok(Response::Done { .. }) => self.done(&what),
            other => panic!("{what}: {other:?}"),
        }
        if self.owner.status().trial.is_some() {
            self.ask(Request::Confirm { revision: None });
        }
    }

    /// Saves of all sorts, small ones and long ones.
    fn round(&mut self, round: usize) {
        let odd = (round % 2 == 1).to_string();
        let even = round.is_multiple_of(2).to_string();
        let text = |n: usize| n.to_string();
        self.change(&[("passthrough.pptp.enabled", &even), ("passthrough.l2tp.enabled", &odd)]);
        self.change(&[("passthrough.l2tp.ports", &format!("1701,{}", 2000 + round))]);
        let macs: Vec<String> =
            (0..10 << round).map(|n| format!("02:00:00:00:{:02x}:{:02x}", n / 256, n % 256)).collect();
        self.change(&[("passthrough.priority", &macs.join(","))]);
        self.change(&[(&format!("forwards.Web {round}"), &format!("tcp {} to 192.168.1.20", 8000 + round))]);
        self.change(&[
            ("firewall.ping", &even),
            ("firewall.ipv6_ipsec", if round.is_multiple_of(2) { "strict" } else { "rfc6092" }),
        ]);
        self.change(&[("helpers.ftp", &even), ("system.name", &format!("box-{round}"))]);
        self.ask(Request::SetDevice {
            base_revision: None,
            mac: format!("02:00:00:00:09:{round:02x}"),
            name: format!("Device {round}"),
            address: Some(format!("192.168.1.{}", 30 + round)),
        });
        self.change(&[("access.port", &text(8080 + round))]);
        self.change(&[
            ("passthrough.session_limit.pptp", &text(10 + round)),
            ("access.idle_minutes", &text(10 + round)),
        ]);
        self.ask(Request::Undo { revision: None });
        if round == 2 {
            let (old, new) = (Password(String::new()), Password("another long password".to_owned()));
            self.ask(Request::Password { old, new });
        }
        if round == 3 {
            self.ask(Request::GoBack { revision: self.steps[self.steps.len() - 9].revision });
            let Ok(Response::Text { text }) = self.owner.ask(Request::Export) else {
                panic!("an export is text")
            };
            let text = text.replace("box-3", "box-imported");
            self.ask(Request::Import { text, dry: false, base_revision: None });
        }
        let last = self.steps.last().expect("there are some");
        assert_eq!(last.kept.role, Role::Router);
    }
}
