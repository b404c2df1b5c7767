//! Postern in the lab: both processes under their real uids, and the command line.

use std::fs::read_to_string;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;

use crate::host::{Host, Output};
use crate::lab::{Lab, programs};
use crate::listing::without_learnt;
use crate::process::Process;
use crate::visitor::Visitor;
use crate::wait;

/// What the daemon may: exactly this.
pub const CAPABILITIES: [&str; 3] = ["net_admin", "net_raw", "net_bind_service"];

/// The owner's password in every test.
pub const PASSWORD: &str = "correct horse battery staple";

/// The settings that make the lab's router a router.
pub const ROUTER_SETTINGS: [&str; 8] = [
    "role=router",
    "internet.device=wan0",
    "internet.mode=static",
    "internet.address=198.51.100.2/24",
    "internet.gateway=198.51.100.1",
    "local_network.devices=lan0",
    "local_network.address=192.168.1.1/24",
    // The lab sets the IPv6 addresses by hand; tests/ipv6.rs has a provider that gives some.
    "internet.ipv6=false",
];

/// The folder of the daemon's doors, in the lab's own file system.
pub const DOOR: &str = "/run/postern/door";
const STATE: &str = "/run/postern/state";
/// A debug build on a busy machine may take a while to open its store.
const START: Duration = Duration::from_secs(30);

/// Postern on the lab's router. The processes end when this is dropped; use [`Postern::stop`] to end them in good order.
#[derive(Debug)]
pub struct Postern {
    router: Host,
    environment: Vec<(String, String)>,
    /// The program that runs the daemon, with its words; empty: none.
    under: Vec<String>,
    daemon: Option<Process>,
    web: Option<Process>,
}

impl Lab {
    /// Starts the daemon on the router, with an empty store. Nothing is set, nothing is claimed.
    ///
    /// # Panics
    /// When Postern is not built or does not start.
    #[track_caller]
    #[must_use]
    pub fn postern(&self) -> Postern {
        self.postern_with(&[])
    }

    /// The same with more environment for the daemon.
    ///
    /// # Panics
    /// When Postern is not built or does not start.
    #[track_caller]
    #[must_use]
    pub fn postern_with(&self, environment: &[(&str, &str)]) -> Postern {
        self.postern_as(environment, &[])
    }

    /// The same, run by another program as root: `strace` with its options, for example. Signals go to that one.
    ///
    /// # Panics
    /// When Postern is not built or does not start.
    #[track_caller]
    #[must_use]
    pub fn postern_under(&self, under: &[&str]) -> Postern {
        self.postern_as(&[], under)
    }

    #[track_caller]
    fn postern_as(&self, environment: &[(&str, &str)], under: &[&str]) -> Postern {
        for program in ["postern", "postern-web"] {
            let path = programs().join(program);
            assert!(path.exists(), "{} is not built: cargo build --workspace", path.display());
        }
        let router = self.router();
        let outer = self.outer();
        for (folder, mode) in [("/run/postern", "0755"), (DOOR, "0755"), (STATE, "0700")] {
            outer.ok(&["install", "-d", "-o", "postern", "-g", "postern", "-m", mode, folder]);
        }
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let (environment, under) =
            (environment.collect(), under.iter().map(|word| (*word).to_owned()).collect());
        let mut postern = Postern { router, environment, under, daemon: None, web: None };
        postern.start_daemon();
        postern
    }

    /// Postern as the lab's router: daemon and web run, the password is [`PASSWORD`], [`ROUTER_SETTINGS`] are in force.
    ///
    /// # Panics
    /// When any of that fails.
    #[track_caller]
    #[must_use]
    pub fn postern_router(&self) -> Postern {
        let postern = self.postern();
        postern.claim();
        postern.set(&ROUTER_SETTINGS);
        postern.ok(&["confirm"]);
        postern
    }
}

impl Postern {
    /// Starts the daemon, and waits until its door opens.
    ///
    /// # Panics
    /// When it does not open in time.
    #[track_caller]
    pub fn start_daemon(&mut self) {
        self.daemon = None;
        let capabilities = CAPABILITIES.map(|name| format!(",+{name}")).concat();
        let (inherited, ambient) =
            (format!("--inh-caps=-all{capabilities}"), format!("--ambient-caps=-all{capabilities}"));
        let bounding = format!("--bounding-set=-all{capabilities}");
        let under = self.under.iter().map(String::as_str);
        let words: Vec<&str> = under.chain(identity("postern", &inherited, &ambient, &bounding)).collect();
        let mut command = self.router.command(&words);
        // Its own, and not of the programs that start it as another user.
        let environment = self.environment.iter().map(|(name, value)| format!("{name}={value}"));
        command.arg("env").args(environment);
        command.args(["postern", "daemon", "--state", STATE, "--door", DOOR]).env_remove("HOME");
        let mut process = Process::start(command, "the daemon", None).told_on_failure();
        let door = self.admin_socket();
        let open = wait::until(START, || {
            let ended = process.ended().is_some();
            (ended || UnixStream::connect(&door).is_ok()).then_some(!ended)
        });
        assert_eq!(open, Some(true), "the daemon did not open its door:\n{}", process.said());
        self.daemon = Some(process);
    }

    /// The socket of the command line, as this process can open it.
    #[must_use]
    pub fn admin_socket(&self) -> PathBuf {
        self.router.path(&format!("{DOOR}/admin.sock"))
    }

    /// Starts the web process, and waits until the admin page answers the laptops.
    ///
    /// # Panics
    /// When it does not in time.
    #[track_caller]
    pub fn start_web(&mut self, lab: &Lab) {
        self.web = Some(self.web_process(&self.router, &[]));
        let mut visitor = self.visitor(lab, "laptop1");
        let answers = wait::until(START, || visitor.try_request("GET", "/", "", &[]).ok());
        let said = self.web.as_ref().map(Process::said).unwrap_or_default();
        assert!(answers.is_some(), "the admin page does not answer at 192.168.1.1:\n{said}");
    }

    /// Starts a web process on `host` with more arguments. It has no capability at all.
    #[track_caller]
    #[must_use]
    pub fn web_process(&self, host: &Host, more: &[&str]) -> Process {
        let none = ["--inh-caps=-all", "--ambient-caps=-all", "--bounding-set=-all"];
        let mut command = host.command(&identity("postern-web", none[0], none[1], none[2]));
        command.args(["postern-web", "--door", DOOR]).args(more).env_remove("HOME");
        Process::start(command, "the web process", None).told_on_failure()
    }

    /// Somebody at `host` of `lab` who visits `http://192.168.1.1/`.
    #[track_caller]
    #[must_use]
    pub fn visitor(&self, lab: &Lab, host: &str) -> Visitor {
        Visitor::new(&lab.host(host), [192, 168, 1, 1])
    }

    /// Runs the command line as root on the router.
    #[track_caller]
    #[must_use]
    pub fn cli(&self, words: &[&str]) -> Output {
        self.cli_with(words, "")
    }

    /// The same with `stdin` as its input.
    #[track_caller]
    #[must_use]
    pub fn cli_with(&self, words: &[&str], stdin: &str) -> Output {
        let mut all = vec!["postern", "--door", DOOR];
        all.extend_from_slice(words);
        self.router.run_with(&all, stdin)
    }

    /// Runs the command line, which must succeed; what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn ok(&self, words: &[&str]) -> String {
        let output = self.cli(words);
        assert!(
            output.ok(),
            "`postern {}` failed with {}:\n{}{}",
            words.join(" "),
            output.code,
            output.out,
            output.err
        );
        output.out
    }

    /// `postern set`: one change; what it printed.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn set(&self, assignments: &[&str]) -> String {
        let mut words = vec!["set"];
        words.extend_from_slice(assignments);
        self.ok(&words)
    }

    /// Claims the box with [`PASSWORD`], as root.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn claim(&self) {
        let output = self.cli_with(&["claim", "--password-stdin"], PASSWORD);
        assert!(output.ok(), "`postern claim` failed with {}:\n{}{}", output.code, output.out, output.err);
    }

    /// A reading verb with `--json`.
    ///
    /// # Panics
    /// When it fails or prints no JSON.
    #[track_caller]
    #[must_use]
    pub fn json(&self, words: &[&str]) -> Value {
        let mut all = words.to_vec();
        all.push("--json");
        let text = self.ok(&all);
        match serde_json::from_str(&text) {
            Ok(value) => value,
            Err(error) => panic!("`postern {}` printed no JSON ({error}):\n{text}", all.join(" ")),
        }
    }

    /// What `postern status` says about one protocol.
    ///
    /// # Panics
    /// When it says nothing.
    #[track_caller]
    #[must_use]
    pub fn protocol(&self, name: &str) -> Value {
        let status = self.json(&["status"]);
        let all = status["passthrough"].as_array().cloned().unwrap_or_default();
        let found = all.into_iter().find(|protocol| protocol["name"] == name);
        found.unwrap_or_else(|| panic!("the status says nothing of {name}: {status}"))
    }

    /// Our table in the router's kernel as nft lists it, without what it has counted and learnt; none: it is not there.
    #[must_use]
    pub fn table(&self) -> Option<String> {
        let output = self.router.run(&["nft", "-s", "list", "table", "inet", "postern"]);
        output.ok().then(|| without_learnt(&output.out))
    }

    /// `/proc/PID/status` of the daemon, by field.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    #[must_use]
    pub fn daemon_status(&self, field: &str) -> String {
        process_field(self.daemon.as_ref(), field)
    }

    /// `/proc/PID/status` of the web process, by field.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    #[must_use]
    pub fn web_status(&self, field: &str) -> String {
        process_field(self.web.as_ref(), field)
    }

    /// What the daemon wrote.
    #[must_use]
    pub fn daemon_said(&self) -> String {
        self.daemon.as_ref().map(Process::said).unwrap_or_default()
    }

    /// What the web process wrote.
    #[must_use]
    pub fn web_said(&self) -> String {
        self.web.as_ref().map(Process::said).unwrap_or_default()
    }

    /// Kills the daemon as a crash would.
    ///
    /// # Panics
    /// When it does not run.
    #[track_caller]
    pub fn crash_daemon(&mut self) {
        let daemon = self.daemon.as_mut().expect("the daemon runs");
        daemon.signal(Signal::KILL);
        assert!(daemon.wait_end(wait::SOON).is_some(), "a killed daemon ends");
    }

    /// Kills a daemon that may just have ended by itself.
    ///
    /// # Panics
    /// When none was started.
    #[track_caller]
    pub fn crash_daemon_if_it_runs(&mut self) {
        self.daemon.as_mut().expect("a daemon was started").kill();
    }

    /// Ends the daemon as a box that goes down does, by SIGTERM, and waits for it.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn end_daemon(&mut self) {
        let daemon = self.daemon.as_mut().expect("the daemon runs");
        daemon.signal(Signal::TERM);
        assert!(
            daemon.wait_end(wait::SOON).is_some(),
            "a daemon that is told to end ends:\n{}",
            daemon.said()
        );
    }

    /// Waits until the daemon has ended by itself; how.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn wait_end(&mut self) -> ExitStatus {
        let daemon = self.daemon.as_mut().expect("the daemon runs");
        let ended = daemon.wait_end(wait::SOON);
        ended.unwrap_or_else(|| panic!("the daemon does not end:\n{}", daemon.said()))
    }

    /// Starts the daemon again if it has ended with an error or to be started again, as a service manager does; whether it had.
    ///
    /// # Panics
    /// When none was started, or it does not come up.
    #[track_caller]
    pub fn keep_daemon(&mut self) -> bool {
        let ended =
            self.daemon.as_mut().expect("a daemon was started").ended().is_some_and(|how| !how.success());
        if ended {
            self.start_daemon();
        }
        ended
    }

    /// Deletes what the daemon keeps of what packets have taught the rules, if it has kept anything.
    pub fn forget_learnt(&self) {
        self.router.ok(&["rm", "-f", &format!("{STATE}/learnt.json")]);
    }

    /// `postern stop`, and waits for the daemon's end.
    ///
    /// # Panics
    /// When it does not end.
    #[track_caller]
    pub fn stop(&mut self) {
        self.ok(&["stop"]);
        let daemon = self.daemon.as_mut().expect("the daemon runs");
        assert!(
            daemon.wait_end(wait::SOON).is_some(),
            "after `postern stop` the daemon ends:\n{}",
            daemon.said()
        );
    }
}

/// The words that give a program its uid and nothing more.
fn identity<'a>(user: &'a str, inherited: &'a str, ambient: &'a str, bounding: &'a str) -> [&'a str; 10] {
    let ids = ["setpriv", "--reuid", user, "--regid", user, "--init-groups"];
    let [a, b, c, d, e, f] = ids;
    [a, b, c, d, e, f, inherited, ambient, bounding, "--no-new-privs"]
}

#[track_caller]
fn process_field(process: Option<&Process>, field: &str) -> String {
    let pid = process.expect("it has been started").pid();
    let status = read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    match line {
        Some(value) => value.split_whitespace().collect::<Vec<_>>().join(" "),
        None => panic!("/proc/{pid}/status has no {field}:\n{status}"),
    }
}
