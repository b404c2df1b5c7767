//! Processes of other programs that outlive our daemon: found again by pid file, proved before every signal, and ended.
//! Never by name.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, PidfdFlags, Signal, geteuid, pidfd_open, pidfd_send_signal};
use tokio::time::sleep;

use super::Error;

/// After so long without an end, SIGTERM was not enough.
const GOODBYE: Duration = Duration::from_secs(3);
/// So much of a file is read.
const MOST_BYTES: u64 = 1 << 20;

/// The process of the pid file `pid`, if it is ours: it runs as our uid, and one of the words it was started with is
/// `mark`, which names just this pid file. The descriptor stands for that process whatever becomes of its number.
pub(super) fn running(pid: &Path, mark: &str) -> Option<OwnedFd> {
    let (process, words) = found(pid)?;
    words.iter().any(|word| word == mark).then_some(process)
}

/// The process of a pid file, if it runs as our uid, and the words it was started with.
pub(super) fn found(pid: &Path) -> Option<(OwnedFd, Vec<String>)> {
    of(String::from_utf8(read(pid).ok()?).ok()?.trim())
}

/// The same of the process of this number.
pub(super) fn of(number: &str) -> Option<(OwnedFd, Vec<String>)> {
    let pid = number.parse().ok().and_then(Pid::from_raw)?;
    let process = pidfd_open(pid, PidfdFlags::empty()).ok()?;
    let proc = PathBuf::from(format!("/proc/{number}"));
    if std::fs::metadata(&proc).ok()?.uid() != geteuid().as_raw() {
        return None;
    }
    let words = read(&proc.join("cmdline")).ok()?;
    let words = words.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned());
    Some((process, words.collect()))
}

/// Ends it, the hard way if it does not listen. False: it is still there.
pub(super) async fn end(process: &OwnedFd) -> bool {
    for signal in [Signal::TERM, Signal::KILL] {
        tell(process, signal);
        let end = Instant::now() + GOODBYE;
        while !ended(process) && Instant::now() < end {
            sleep(Duration::from_millis(5)).await;
        }
        if ended(process) {
            return true;
        }
    }
    false
}

/// It may have ended meanwhile; then there is nobody to tell.
pub(super) fn tell(process: &OwnedFd, signal: Signal) {
    let _ = pidfd_send_signal(process, signal);
}

/// A pidfd is readable once its process has ended (pidfd_open(2)).
pub(super) fn ended(process: &OwnedFd) -> bool {
    let mut asked = [PollFd::new(process, PollFlags::IN)];
    poll(&mut asked, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// The first megabyte of a file. Whoever has taken over one of these programs can lay anything in its folder: no link is followed, which may
/// lead to what that one cannot see, and nothing is waited for.
pub(super) fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = std::fs::File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    io::Read::read_to_end(&mut io::Read::take(file, MOST_BYTES), &mut bytes)?;
    Ok(bytes)
}

/// All of it or nothing, for nobody else to read. What lies beside it, left or laid there, is not written through.
pub(super) fn write(path: &Path, text: &str) -> Result<(), Error> {
    let failed = |e: io::Error| Error::Service(format!("{} could not be written: {e}", path.display()));
    let beside = path.with_extension("new");
    let whole = || {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        let _ = std::fs::remove_file(&beside);
        let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
        io::Write::write_all(&mut file, text.as_bytes())?;
        std::fs::rename(&beside, path)
    };
    whole().map_err(failed)
}

#[cfg(test)]
mod tests {
    use rustix::fs::FileType;

    use super::*;

    #[test]
    fn what_somebody_has_laid_in_the_way_is_neither_followed_nor_waited_for() {
        let folder = std::env::temp_dir().join(format!("postern-process-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let at = |name: &str| folder.join(name);
        write(&at("store"), "settings").unwrap();
        assert_eq!(read(&at("store")).unwrap(), b"settings", "the probe");

        std::os::unix::fs::symlink(at("store"), at("leases")).unwrap();
        read(&at("leases")).unwrap_err();
        rustix::fs::mknodat(rustix::fs::CWD, at("pipe"), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        read(&at("pipe")).unwrap_err();

        std::os::unix::fs::symlink(at("store"), at("config.new")).unwrap();
        write(&at("config"), "ours").unwrap();
        assert_eq!(read(&at("config")).unwrap(), b"ours");
        assert_eq!(read(&at("store")).unwrap(), b"settings");
        std::fs::remove_dir_all(&folder).unwrap();
    }
}
