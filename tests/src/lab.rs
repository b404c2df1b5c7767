//! One lab: the outer namespace, and its end.

use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use crate::host::Host;
use crate::process::children;
use crate::{topology, wait};

/// Programs without which no lab can be made, with the Debian package that brings each.
const NEEDED: [(&str, &str); 8] = [
    ("ip", "iproute2"),
    ("nft", "nftables"),
    ("unshare", "util-linux"),
    ("nsenter", "util-linux"),
    ("setpriv", "util-linux"),
    ("sysctl", "procps"),
    ("ping", "iputils-ping"),
    ("conntrack", "conntrack"),
];

/// A little internet. Dropping it ends every program in it and removes every namespace.
///
/// `postern-lab hold` is process 1 of the lab's PID namespace and ends when its standard input closes: so the kernel
/// removes the lab even when the test was killed.
#[derive(Debug)]
pub struct Lab {
    holder: Child,
    pid: u32,
}

impl Lab {
    /// Makes a lab with every host of [`crate`]'s picture, its cables, addresses and routes. The router has its ports, without IPv4
    /// addresses, and forwards no IPv4.
    ///
    /// # Panics
    /// When it cannot be made; the message says what is missing.
    #[track_caller]
    #[must_use]
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        check_needs();
        let own = programs().join("postern-lab");
        let mut holder = Command::new("unshare")
            .args(["--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc", "--"])
            .arg(&own)
            .arg("hold")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("unshare was found and can be started");
        let mut line = String::new();
        let out = holder.stdout.take().map(BufReader::new);
        let read = out.map(|mut out| out.read_line(&mut line));
        assert!(matches!(read, Some(Ok(n)) if n > 0), "the lab's own namespaces could not be made ({own:?})");
        let pid = wait::until(wait::SOON, || children(holder.id()).first().copied());
        let lab = Self { pid: pid.expect("the holder runs, as it said"), holder };
        for program in ["postern-lab", "postern", "postern-web"] {
            lab.install(program);
        }
        topology::build(&lab);
        lab
    }

    /// A host by its name in the picture of [`crate`].
    ///
    /// # Panics
    /// When there is none of that name.
    #[track_caller]
    #[must_use]
    pub fn host(&self, name: &str) -> Host {
        let Some(name) = topology::HOSTS.into_iter().find(|known| *known == name) else {
            panic!("the lab has no host `{name}`");
        };
        Host { name, lab: self.pid, outside: false }
    }

    /// PID of the lab's holder: no two labs of one machine have the same.
    pub(crate) fn holder(&self) -> u32 {
        self.pid
    }

    /// The router.
    #[must_use]
    pub fn router(&self) -> Host {
        self.host("router")
    }

    /// The lab's files and processes without any of its networks.
    #[must_use]
    pub fn outer(&self) -> Host {
        Host { name: "", lab: self.pid, outside: false }
    }

    /// The lab's files and processes in the network of whoever runs the lab: for the demo's web page.
    #[must_use]
    pub fn outside(&self) -> Host {
        Host { name: "", lab: self.pid, outside: true }
    }

    /// Mounts a built program at `/run/lab/bin`, where every user may run it even if the build lies in root's home.
    fn install(&self, program: &str) {
        let built = programs().join(program);
        let target = format!("/run/lab/bin/{program}");
        if built.exists() {
            self.outer().write(&target, "");
            self.outer().ok(&["mount", "--bind", &built.to_string_lossy(), &target]);
        }
    }

    /// Writes a program (a script) to `/run/lab/bin`; its path there.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn script(&self, name: &str, content: &str) -> String {
        let target = format!("/run/lab/bin/{name}");
        self.outer().replace(&target, content, 0o755);
        target
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        drop(self.holder.stdin.take());
        if wait::until(wait::SOON, || self.holder.try_wait().ok().flatten()).is_none() {
            let _ = self.holder.kill();
            let _ = self.holder.wait();
        }
    }
}

/// Where the built programs lie: `$POSTERN_BIN_DIR`, or beside the program that asks.
///
/// # Panics
/// When the own path cannot be read.
#[must_use]
pub fn programs() -> PathBuf {
    if let Some(path) = std::env::var_os("POSTERN_BIN_DIR") {
        return PathBuf::from(path);
    }
    let own = std::env::current_exe().expect("a program can read its own path");
    let folder = own.parent().expect("a program lies in a folder");
    let deps = folder.file_name().is_some_and(|name| name == "deps");
    if deps { folder.join("..") } else { folder.to_owned() }
}

#[track_caller]
fn check_needs() {
    assert!(rustix::process::geteuid().is_root(), "the lab needs root: it makes network namespaces");
    let own = programs().join("postern-lab");
    assert!(own.exists(), "{} is not built: cargo build --workspace", own.display());
    for (program, package) in NEEDED {
        need(program, package);
    }
}

/// Says what is missing, if it is: a program by its name, or a file by its whole path.
///
/// # Panics
/// When it is missing.
#[track_caller]
pub(crate) fn need(program: &str, package: &str) {
    let folders = ["/usr/sbin", "/usr/bin", "/sbin", "/bin"];
    // A whole path replaces the folder.
    let found = folders.iter().any(|folder| PathBuf::from(folder).join(program).exists());
    assert!(found, "{program} is missing: tests/run installs the Debian package {package}");
}
