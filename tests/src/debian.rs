//! A Debian with its own systemd as process 1, as the lab's router: for packages and their units.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::host::Host;
use crate::lab::{Lab, programs};
use crate::process::{Process, descendants};
use crate::wait;

/// A first boot of systemd, and a package's scripts, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// A booted Debian in the network of the lab's router. Ends when dropped; its files are gone with it.
#[derive(Debug)]
pub struct Debian {
    lab: Host,
    upper: String,
    cgroup: String,
    machine: Option<(Process, Host)>,
}

impl Lab {
    /// Boots a fresh Debian as the router. Nothing of ours is in it.
    ///
    /// # Panics
    /// When it cannot be made or does not come up.
    #[track_caller]
    #[must_use]
    pub fn debian(&self) -> Debian {
        let cgroup = format!("postern-lab-{}", self.holder());
        let upper = format!("/run/lab/{cgroup}");
        self.outer().ok(&["mkdir", "-p", &upper]);
        // The overlay's files: in memory, for /run is the lab's own.
        self.outer().ok(&["mount", "-t", "tmpfs", "tmpfs", &upper]);
        let mut debian = Debian { lab: self.router(), upper, cgroup, machine: None };
        debian.boot();
        debian
    }
}

impl Debian {
    /// Boots the machine with the files that it has.
    ///
    /// # Panics
    /// When systemd does not say that it runs.
    #[track_caller]
    pub fn boot(&mut self) {
        let (root, boot) = (root(), source().join("debian-boot"));
        let words = [&boot.to_string_lossy(), &*root.to_string_lossy(), &self.upper, &self.cgroup];
        let mut command = self.lab.command(&["unshare", "--mount", "--"]);
        command.args(words);
        let mut process = Process::start(command, "a Debian", None).told_on_failure();
        let first = wait::until(PATIENCE, || {
            assert!(process.ended().is_none(), "the Debian does not boot:\n{}", process.said());
            descendants(process.pid()).into_iter().find(|pid| name(*pid) == "systemd")
        });
        let host = Host { name: "", lab: first.expect("systemd begins"), outside: false };
        let up = wait::until(PATIENCE, || {
            let state = host.run(&["systemctl", "is-system-running"]).out;
            ["running", "degraded"].contains(&state.trim()).then_some(())
        });
        assert!(up.is_some(), "systemd does not come up:\n{}", host.run(&["systemctl", "list-jobs"]).out);
        self.machine = Some((process, host));
    }

    /// Pulls the plug. The network keeps what the kernel holds, as no real box does: whoever wants a true reboot flushes it.
    pub fn power_off(&mut self) {
        self.machine = None;
        let kill = format!(
            "cd {}/mounts 2>/dev/null || exit 0; mount -t cgroup2 cgroup2 cgroup || exit 0; c=cgroup/{}; \
             echo 1 >$c/cgroup.kill; for n in $(seq 100); do find $c -depth -type d -exec rmdir {{}} + 2>/dev/null && break; sleep 0.1; done; \
             umount cgroup",
            self.upper, self.cgroup
        );
        let _ = self.lab.run(&["sh", "-c", &kill]);
    }

    /// Where programs run inside it: its files, its processes, the router's network.
    ///
    /// # Panics
    /// When it is off.
    #[track_caller]
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.machine.as_ref().expect("it is on").1
    }

    /// Runs a program inside, which must succeed; what it printed.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn ok(&self, words: &[&str]) -> String {
        self.host().ok(words)
    }

    /// `dpkg --install` of a package that lies outside; what it said, and whether it succeeded.
    #[track_caller]
    #[must_use]
    pub fn install(&self, package: &Path) -> (bool, String) {
        let bytes = std::fs::read(package).expect("a package that was just built can be read");
        self.host().write("/root/package.deb", bytes);
        // Half the patience of the package's own: a test of versions that never come up waits for each.
        let words = ["env", "POSTERN_UPGRADE_SECONDS=20", "dpkg", "--install", "/root/package.deb"];
        let output = self.host().run_for(&words, PATIENCE * 2);
        self.ok(&["rm", "/root/package.deb"]);
        (output.ok(), output.out + &output.err)
    }

    /// What the journal has of a unit.
    #[must_use]
    pub fn journal(&self, unit: &str) -> String {
        self.host().run(&["journalctl", "--no-pager", "--output=cat", "--unit", unit]).out
    }

    /// A property of a unit, as `systemctl show` says it.
    #[track_caller]
    #[must_use]
    pub fn property(&self, unit: &str, name: &str) -> String {
        self.ok(&["systemctl", "show", "--value", "--property", name, unit]).trim().to_owned()
    }

    /// `/proc/PID/status` of a unit's main process, by field.
    #[track_caller]
    #[must_use]
    pub fn status(&self, unit: &str, field: &str) -> String {
        let status = self.ok(&["cat", &format!("/proc/{}/status", self.property(unit, "MainPID"))]);
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
        line.unwrap_or_default().split_whitespace().collect::<Vec<_>>().join(" ")
    }

    /// Every file, link and folder but what processes show, in order.
    #[track_caller]
    #[must_use]
    pub fn files(&self) -> Vec<String> {
        let text = self.ok(&["find", "/", "-xdev", "-not", "-path", "/mnt/*"]);
        let mut files: Vec<String> = text.lines().map(str::to_owned).collect();
        files.sort();
        files
    }
}

impl Drop for Debian {
    fn drop(&mut self) {
        self.power_off();
    }
}

/// Builds a package of the programs that were built for this test.
///
/// # Panics
/// When `packaging/build-deb` fails.
#[track_caller]
#[must_use]
pub fn package(programs: &Path, version: &str) -> PathBuf {
    let out = own_folder();
    let script = source().join("../packaging/build-deb");
    let mut command = Command::new(script);
    command.arg("--bin").arg(programs).args(["--version", version]).arg("--out").arg(&out);
    let output = command.output().expect("packaging/build-deb can be started");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "packaging/build-deb fails:\n{said}");
    PathBuf::from(String::from_utf8_lossy(&output.stdout).lines().last().unwrap_or_default())
}

/// The built programs.
#[must_use]
pub fn built() -> PathBuf {
    programs()
}

/// The Debian that every machine begins with: made once, never written to.
#[track_caller]
fn root() -> PathBuf {
    let root = kept().join("debian-root");
    let output = Command::new(source().join("debian-root")).arg(&root).output();
    let output = output.expect("tests/debian-root can be started");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "no Debian could be made:\n{said}");
    root
}

fn source() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// A folder of this build's for what is made once.
fn kept() -> PathBuf {
    let folder = programs().canonicalize().expect("the programs are built").join("packages");
    std::fs::create_dir_all(&folder).expect("the build's folder can be written");
    folder
}

/// A folder of this process's. Those of processes that are gone go.
fn own_folder() -> PathBuf {
    const BEGINS: &str = "of-";
    let kept = kept();
    for entry in std::fs::read_dir(&kept).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let gone = name.strip_prefix(BEGINS).is_some_and(|pid| !Path::new("/proc").join(pid).exists());
        if gone {
            drop(std::fs::remove_dir_all(entry.path()));
        }
    }
    kept.join(format!("{BEGINS}{}", std::process::id()))
}

fn name(pid: u32) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default().trim().to_owned()
}
