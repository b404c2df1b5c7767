//! How the self-test is run: in a process of its own, which is we by another name ([`NAME`]), because a user namespace can only be
//! made by a process with one thread, and so that it can be ended whatever it does.
//!
//! It reads the passthrough section as one line of JSON and writes one line for each result. It takes no other word. When whoever
//! started it is gone, or after a minute, it ends, and its networks with it.

use std::io::{self, BufRead, Read, Write};
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use super::{Subject, Tested, our_rules, run};
use crate::kernel::{hand, scratch};
use crate::settings::Passthrough;

/// The name by which we are called for it.
pub const NAME: &str = "postern-selftest";
/// After so long it is ended; as a rule it takes six seconds.
const DEADLINE: Duration = Duration::from_secs(60);
/// Longest line that is read.
const LONGEST: u64 = 64 * 1024;
/// What tests here too where a user may not make namespaces.
pub const AS_ROOT: &str = "Run it as root: postern selftest";

/// The process itself.
pub fn main() -> Result<(), String> {
    let mut line = String::new();
    let mut input = io::stdin().lock();
    input.by_ref().take(LONGEST).read_line(&mut line).map_err(|e| format!("nothing to test: {e}"))?;
    drop(input);
    let passthrough: Passthrough =
        serde_json::from_str(&line).map_err(|e| format!("nothing to test: {e}"))?;
    // Before the first thread.
    let entered = scratch::enter();
    end_with_the_caller();
    let tell = |tested: Tested| {
        // Nobody listens: then nobody wants to know.
        if let Ok(line) = serde_json::to_string(&tested) {
            let mut out = io::stdout().lock();
            let _ = writeln!(out, "{line}").and_then(|()| out.flush());
        }
    };
    match entered {
        Ok(()) => run(&passthrough, &our_rules, tell),
        Err(error) => {
            Subject::ALL.into_iter().for_each(|subject| tell(Tested::untested(subject, forbidden(&error))))
        }
    }
    Ok(())
}

fn forbidden(error: &io::Error) -> String {
    let root = rustix::process::geteuid().is_root();
    let then = if root {
        "This container or kernel allows no network namespaces.".to_owned()
    } else {
        AS_ROOT.to_owned()
    };
    format!("This user may not make test networks here ({error}). {then}")
}

/// The caller holds our standard input open as long as it waits.
fn end_with_the_caller() {
    std::thread::spawn(|| {
        let _ = io::copy(&mut io::stdin().lock(), &mut io::sink());
        std::process::exit(1);
    });
    std::thread::spawn(|| {
        std::thread::sleep(DEADLINE);
        std::process::exit(1);
    });
}

/// Runs it and tells each result when it comes; at the end every subject has one.
pub async fn start(passthrough: &Passthrough, mut tell: impl FnMut(Tested)) {
    let mut left = Subject::ALL.to_vec();
    let mut each = |tested: Tested| {
        left.retain(|subject| *subject != tested.subject);
        tell(tested);
    };
    let done = timeout(DEADLINE, talk(passthrough, &mut each)).await;
    let why = match done {
        Ok(Ok(())) => "The self-test ended before it came to this.".to_owned(),
        Ok(Err(error)) => format!("The self-test could not be run: {error}."),
        Err(_) => format!("The self-test took longer than {} seconds and was ended.", DEADLINE.as_secs()),
    };
    for subject in left {
        tell(Tested::untested(subject, why.clone()));
    }
}

async fn talk(passthrough: &Passthrough, tell: &mut impl FnMut(Tested)) -> io::Result<()> {
    if let Some(process) = hand::self_test().await {
        let (output, input) = process?.into_split();
        return converse(passthrough, input, output, tell).await;
    }
    // Our own program, also if a newer one lies in its place by now.
    let mut child = Command::new("/proc/self/exe")
        .arg0(NAME)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let (Some(input), Some(output)) = (child.stdin.take(), child.stdout.take()) else {
        return Err(io::Error::from(io::ErrorKind::BrokenPipe));
    };
    converse(passthrough, input, output, tell).await?;
    child.wait().await.map(drop)
}

async fn converse(
    passthrough: &Passthrough,
    mut input: impl AsyncWrite + Unpin,
    output: impl AsyncRead + Unpin,
    tell: &mut impl FnMut(Tested),
) -> io::Result<()> {
    let mut line = serde_json::to_string(passthrough)?;
    line.push('\n');
    input.write_all(line.as_bytes()).await?;
    let mut lines = BufReader::new(output).lines();
    while let Some(line) = lines.next_line().await? {
        if let Ok(tested) = serde_json::from_str(&line) {
            tell(tested);
        }
    }
    // Held until now: it ends when this closes.
    drop(input);
    Ok(())
}
