//! Runs a test again inside a fresh network namespace.

use std::process::{Command, Output};

const MARK: &str = "POSTERN_TEST_INSIDE";
const CAPABILITIES: &str = "-all,+net_admin,+net_raw,+net_bind_service";
const NOBODY: &str = "65534";

/// Who the test is, inside.
#[derive(Clone, Copy, PartialEq)]
pub enum Who {
    Root,
    Daemon,
}

/// Runs `test` as `who` in a namespace of its own. `name` is the path of the calling test function.
pub fn run<F: Future<Output = ()>>(who: Who, name: &str, test: impl FnOnce() -> F) {
    if std::env::var(MARK).is_ok_and(|inside| inside == name) {
        sh("ip link set lo up");
        return tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime")
            .block_on(test());
    }
    let root = rustix::process::geteuid().is_root();
    let mut command = Command::new("unshare");
    match (who, root) {
        (Who::Root, true) => command.arg("-n"),
        (Who::Root, false) => command.args(["-U", "-r", "-n"]),
        (Who::Daemon, true) => {
            command.args(["-n", "setpriv", "--reuid", NOBODY, "--regid", NOBODY, "--clear-groups"])
        }
        (Who::Daemon, false) => command.args(["-U", "-n", "--map-user", NOBODY, "--keep-caps", "setpriv"]),
    };
    if who == Who::Daemon {
        command.args(["--no-new-privs", "--inh-caps", CAPABILITIES, "--ambient-caps", CAPABILITIES]);
    }
    let me = std::env::current_exe().expect("the path of this program");
    command
        .arg(&me)
        .args(["--exact", name, "--nocapture", "--test-threads=1"])
        .env(MARK, name)
        .env("RUST_BACKTRACE", "0");
    let output = command.output().expect("unshare and setpriv, of util-linux, are needed for this test");
    if output.status.success() {
        print!("{}", said(&output));
    }
    assert!(
        output.status.success(),
        "{name} failed inside its namespace (this needs root or user namespaces, and {} readable to all):\n{}",
        me.display(),
        said(&output)
    );
    assert!(said(&output).contains("1 passed"), "{name} did not run: is the name right?\n{}", said(&output));
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

/// Runs a shell script; returns what it printed.
#[track_caller]
pub fn sh(script: &str) -> String {
    let output = Command::new("sh")
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .args(["-ec", script])
        .output()
        .expect("a shell");
    assert!(output.status.success(), "{script}\n{}", said(&output));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Makes the two functions of a test: as root and as the daemon.
macro_rules! kernel_tests {
    ($($name:ident),* $(,)?) => {
        mod as_root {
            $(#[test] fn $name() {
                let name = concat!(module_path!(), "::", stringify!($name));
                $crate::namespace::run($crate::namespace::Who::Root, name.split_once("::").unwrap().1, super::$name);
            })*
        }
        mod as_daemon {
            $(#[test] fn $name() {
                let name = concat!(module_path!(), "::", stringify!($name));
                $crate::namespace::run($crate::namespace::Who::Daemon, name.split_once("::").unwrap().1, super::$name);
            })*
        }
    };
}
pub(crate) use kernel_tests;
