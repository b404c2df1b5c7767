//! `postern-lab hold`: process 1 of a lab.

use std::io::Read;
use std::process::Command;
use std::time::Duration;

use rustix::process::{WaitOptions, waitpid};

/// Gives the lab a `/run` of its own, says so, and waits for the end of standard input. When this process ends, the kernel
/// ends every other process of the lab.
pub(super) fn hold() {
    let steps: [&[&str]; 4] = [
        &["mount", "-t", "tmpfs", "-o", "mode=755", "lab", "/run"],
        &["mkdir", "-p", "/run/netns", "/run/lab/bin", "/run/lock"],
        &["ip", "link", "set", "lo", "up"],
        // No name server: a lookup fails at once. (A symbolic link points into the /run that is gone.)
        &[
            "sh",
            "-c",
            "touch /run/resolv.conf; [ ! -e /etc/resolv.conf ] || mount --bind /run/resolv.conf /etc/resolv.conf",
        ],
    ];
    for words in steps {
        let done = Command::new(words[0]).args(&words[1..]).status();
        if !matches!(&done, Ok(status) if status.success()) {
            eprintln!("the lab's holder could not run `{}`: {done:?}", words.join(" "));
            std::process::exit(1);
        }
    }
    super::tell(&serde_json::json!({ "ready": true }));
    // Orphans of the lab become our children; somebody must collect them.
    std::thread::spawn(|| {
        loop {
            while matches!(waitpid(None, WaitOptions::NOHANG), Ok(Some(_))) {}
            std::thread::sleep(Duration::from_millis(500));
        }
    });
    let _ = std::io::stdin().read_to_end(&mut Vec::new());
}
