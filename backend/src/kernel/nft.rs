//! Runs `nft`. Rules go in as text: JSON on nft 1.0.6 cannot express them, and cut-off JSON on a pipe counts as
//! success there. The words nft prints are for the log and the rules page; nothing is decided by them.

use std::ffi::OsStr;
use std::io;
use std::net::Ipv4Addr;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::Command;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::Error;
use crate::ruleset::TRACED;

/// Debian and OpenWrt, merged `/usr` or not.
const PLACES: [&str; 3] = ["/usr/sbin/nft", "/sbin/nft", "/usr/bin/nft"];
/// A thousand port forwards take 50 ms; a hanging nft must not hold up the box for good.
const PATIENCE: Duration = Duration::from_secs(20);

/// Tries `text` without doing it.
pub async fn check(text: &str) -> Result<(), Error> {
    run(&["-c", "-f", "-"], text).await.map(drop)
}

/// Does `text`: all of it or nothing, in one transaction.
pub async fn commit(text: &str) -> Result<(), Error> {
    run(&["-f", "-"], text).await.map(drop)
}

/// So long nft takes at most to begin to listen; it does not say when it does.
const LISTENS: Duration = Duration::from_millis(500);
/// Longest trace that is read, in bytes.
const MOST: usize = 256 << 10;

/// Lets the next packets `from` whom `to` whom tell their way through everybody's rules (`nft monitor trace`), until that is `enough`
/// or `patience` has passed; what nft said.
pub(super) async fn trace(
    (from, to): (Ipv4Addr, Ipv4Addr),
    patience: Duration,
    enough: &(dyn Fn(&str) -> bool + Sync),
) -> Result<String, Error> {
    let mut child = Command::new(program())
        .args(["monitor", "trace"])
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(Error::NftRun)?;
    let Some(stdout) = child.stdout.take() else { return Ok(String::new()) };
    let mut lines = BufReader::new(stdout).lines();
    sleep(LISTENS).await;
    commit(&format!("add element inet postern {TRACED} {{ {from} . {to} }}\n")).await?;
    let end = Instant::now() + patience;
    let mut told = String::new();
    while let Ok(Ok(Some(line))) = timeout_at(end, lines.next_line()).await {
        told.push_str(&line);
        told.push('\n');
        if told.len() > MOST || enough(&told) {
            break;
        }
    }
    child.kill().await.map_err(Error::NftRun)?;
    Ok(told)
}

/// The rules of everybody, without the elements of sets (a list of addresses may have 100,000) and without counts.
pub(super) async fn listing() -> Result<String, Error> {
    run(&["-s", "-t", "list", "ruleset"], "").await
}

fn program() -> &'static str {
    PLACES.iter().find(|place| Path::new(place).exists()).unwrap_or(&PLACES[0])
}

/// Runs nft with `input` on its standard input; returns what it printed.
pub(super) async fn run(arguments: &[&str], input: &str) -> Result<String, Error> {
    run_program(program(), arguments, input, PATIENCE).await
}

async fn run_program(
    program: impl AsRef<OsStr>,
    arguments: &[&str],
    input: &str,
    patience: Duration,
) -> Result<String, Error> {
    let mut child = Command::new(program)
        .args(arguments)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .map_err(Error::NftRun)?;
    let mut stdin = child.stdin.take();
    // nft may end before it has read everything: its own words then say more than the broken pipe.
    let write = async {
        let written = match &mut stdin {
            Some(pipe) => pipe.write_all(input.as_bytes()).await,
            None => Ok(()),
        };
        drop(stdin.take());
        written
    };
    let both = async { tokio::join!(write, child.wait_with_output()) };
    let (written, output) = timeout(patience, both).await.map_err(|_| late())?;
    let output = output.map_err(Error::NftRun)?;
    if !output.status.success() {
        return Err(match (output.status.code(), String::from_utf8_lossy(&output.stderr).trim()) {
            (None, _) => Error::NftRun(io::Error::other(output.status.to_string())),
            (Some(code), "") => Error::NftRefused(format!("it ended with code {code} and no word")),
            (Some(_), words) => Error::NftRefused(words.to_owned()),
        });
    }
    written.map_err(Error::NftRun)?;
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn late() -> Error {
    Error::NftRun(io::Error::from(io::ErrorKind::TimedOut))
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn shell(script: &str, input: &str) -> Result<String, Error> {
        run_program("/bin/sh", &["-c", script], input, Duration::from_millis(500)).await
    }

    #[tokio::test]
    async fn what_was_said_comes_back() {
        assert_eq!(shell("cat", "rules").await.unwrap(), "rules");
        let refused = shell("echo no such thing >&2; exit 1", "").await;
        assert!(matches!(refused, Err(Error::NftRefused(words)) if words == "no such thing"));
        assert!(matches!(shell("exit 1", "").await, Err(Error::NftRefused(_))));
    }

    #[tokio::test]
    async fn input_that_is_not_read_and_much_output_do_not_block() {
        let much = "x".repeat(1 << 20);
        assert!(
            matches!(shell("echo bad >&2; exit 1", &much).await, Err(Error::NftRefused(w)) if w == "bad")
        );
        assert!(matches!(shell("exit 0", &much).await, Err(Error::NftRun(_))));
        assert_eq!(shell("cat", &much).await.unwrap().len(), much.len());
    }

    #[tokio::test]
    async fn a_program_that_hangs_or_is_killed_is_an_error() {
        assert!(matches!(shell("exec sleep 60", "").await,
            Err(Error::NftRun(e)) if e.kind() == io::ErrorKind::TimedOut));
        assert!(matches!(shell("kill -9 $$", "").await, Err(Error::NftRun(_))));
        assert!(matches!(run_program("/no/such", &[], "", PATIENCE).await, Err(Error::NftRun(_))));
    }

    #[tokio::test]
    async fn the_environment_stays_outside() {
        assert_eq!(
            shell("echo ${HOME-none} $PATH", "").await.unwrap(),
            "none /usr/sbin:/usr/bin:/sbin:/bin\n"
        );
    }
}
