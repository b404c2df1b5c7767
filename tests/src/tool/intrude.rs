//! `postern-lab intrude`: what somebody would try who has taken over the web process.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::process::Command;

use lexopt::prelude::*;
use postern_web::confine;
use rustix::net::{AddressFamily, SocketType, socket};

/// Every attempt, each of which succeeds for root without confinement.
pub const ATTEMPTS: [&str; 9] =
    ["program", "child", "thread", "root", "read", "write", "listen", "socket", "netlink"];

/// Makes the attempt that `words` name, after confining itself as the web process does if `--confined` is among them,
/// and tells `"done"` or the name of the error. An attempt that ends the process tells nothing.
///
/// # Errors
/// Wrong usage.
pub(super) fn intrude(words: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
    let (mut confined, mut attempt) = (false, None);
    while let Some(word) = words.next()? {
        match word {
            Long("confined") => confined = true,
            Value(name) if attempt.is_none() => attempt = Some(name.string()?),
            other => return Err(other.unexpected()),
        }
    }
    if confined {
        let done = confine::confine();
        if !(done.calls && done.files) {
            return Err(format!("this kernel cannot: {}", done.in_words()).into());
        }
    }
    let outcome = match attempt.as_deref() {
        // It never returns but with an error; the control's program says "done" itself.
        Some("program") => Err(Command::new("echo").arg("\"done\"").exec()),
        Some("child") => Command::new("true").status().map(drop),
        Some("thread") => std::thread::Builder::new().spawn(|| ()).map(drop),
        Some("root") => std::os::unix::fs::chroot("/"),
        Some("read") => std::fs::read("/etc/passwd").map(drop),
        Some("write") => std::fs::write("/run/intruder", "was here"),
        Some("listen") => TcpListener::bind("127.0.0.1:0").map(drop),
        Some("socket") => match TcpStream::connect("127.0.0.1:1") {
            // Nobody listens there: the kernel of 127.0.0.1 has been asked.
            Err(e) if e.kind() == std::io::ErrorKind::ConnectionRefused => Ok(()),
            other => other.map(drop),
        },
        Some("netlink") => {
            socket(AddressFamily::NETLINK, SocketType::RAW, None).map(drop).map_err(std::io::Error::from)
        }
        _ => return Err(format!("usage: postern-lab intrude [--confined] {}", ATTEMPTS.join("|")).into()),
    };
    super::tell(&match outcome {
        Ok(()) => "done".into(),
        Err(error) => super::error_name(&error),
    });
    Ok(())
}
