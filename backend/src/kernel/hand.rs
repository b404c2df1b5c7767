//! The hands: what needs more than the daemon may do is done by a short process that may, started by a socket.
//!
//! The daemon's unit on Debian can make no internet or packet socket and speak to no address (packaging/README.md). Two others can, and run
//! only while there is something to do:
//!
//! - `hand`, which is `postern hand` ([`serve`]): it reads one typed [`Request`], and either becomes a program ([`Program`]) or opens one
//!   socket ([`Socket`]), hands that back and ends.
//! - `selftest`, which is the self-test (`selftest/process.rs`) with the connection as its standard input and output.
//!
//! Here is the one place that chooses: where [`FOLDER`] names the folder of those two sockets they are asked, and else (OpenWrt, by hand,
//! tests) this process does the same itself. A hand that cannot be reached is an error, as the kernel's would be: whoever asks tries again.
//!
//! **What whoever has taken over the daemon gets by a hand**: any of the four programs, with the arguments made here and the files that the
//! daemon may write (so any configuration of dnsmasq); listening TCP sockets at any address and port, raw ICMP, UDP. No other program, no
//! argument of its own. The unit of the hand lets nothing else be executed but what lies in /usr/lib (and busybox, which is udhcpc, has a shell).
//!
//! **What whoever has taken over one of these programs sees of ours there**: the two folders [`PROGRAMS`] (and dhcpcd's), not the store, the
//! copy of the settings or a door. It is the daemon's user all the same, so what lies in those folders is read and written as a stranger's
//! (`process.rs`), and the daemon has one capability more than a hand, of no other use, so that `/proc/PID` of it and of its nft is shut.

mod program;
pub mod serve;
mod socket;
#[cfg(test)]
mod tests;

use std::io::{self, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use rustix::process::Signal;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::net::UnixStream;
use tokio::process::{Child, Command};
use tokio::time::{sleep, timeout};

use super::process;

pub use program::PROGRAMS;
pub(super) use program::{Places, Program};
pub use socket::Socket;

/// The environment variable with the folder of the hands' sockets.
pub const FOLDER: &str = "POSTERN_HANDS";
/// The socket of `postern hand`.
const HAND: &str = "hand";
/// The socket of the self-test.
const SELF_TEST: &str = "selftest";

/// So long a hand may take to answer; as a rule that is the time in which the service manager starts it.
const PATIENCE: Duration = Duration::from_secs(10);
/// Longest request and longest answer, in bytes.
const LONGEST: usize = 4096;

/// What a hand shall do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Request {
    /// Open this and hand it back.
    Open(Socket),
    /// Become this.
    Start(Program),
}

/// What it says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
enum Answer {
    /// With the socket.
    Opened,
    /// It becomes the program, under this process number; the connection is the standard error of one that is heard.
    Starting(u32),
    /// The kernel did not let it: the number of the error (errno(3)).
    Refused(i32),
}

/// Opens a socket: non-blocking, closed at exec.
pub async fn open(socket: &Socket) -> io::Result<OwnedFd> {
    match folder() {
        Some(folder) => open_by(&folder, socket).await,
        None => socket.open(),
    }
}

async fn open_by(folder: &Path, socket: &Socket) -> io::Result<OwnedFd> {
    match ask(folder, &Request::Open(socket.clone())).await? {
        (Answer::Opened, Some(descriptor), _) => Ok(descriptor),
        (Answer::Refused(number), ..) => Err(io::Error::from_raw_os_error(number)),
        _ => Err(odd()),
    }
}

/// A program that was started and may outlive us: dropped, it goes on.
#[derive(Debug)]
pub(super) enum Started {
    /// By this process; tokio takes its end from it when that comes.
    Here(Child),
    /// By a hand.
    Handed(Handed),
}

/// A program that a hand has become.
#[derive(Debug)]
pub(super) struct Handed {
    number: u32,
    process: OwnedFd,
    said: UnixStream,
}

/// Starts a program that stays.
pub(super) async fn start(program: &Program, places: Places<'_>) -> io::Result<Started> {
    match start_by_hand(program).await {
        Some(handed) => Ok(Started::Handed(handed?)),
        None => {
            let command = program.command(places).ok_or(io::ErrorKind::NotFound)?;
            let passing = matches!(program, Program::Offer { .. });
            Ok(Started::Here(Command::from(command).kill_on_drop(passing).spawn()?))
        }
    }
}

/// The same by a hand; none: there are none.
pub(super) async fn start_by_hand(program: &Program) -> Option<io::Result<Handed>> {
    Some(start_by(&folder()?, program).await)
}

async fn start_by(folder: &Path, program: &Program) -> io::Result<Handed> {
    match ask(folder, &Request::Start(program.clone())).await? {
        (Answer::Starting(number), _, said) => {
            // Somebody else's, if it has ended already: not to be touched.
            let (process, _) = process::of(&number.to_string())
                .ok_or_else(|| io::Error::other("the program ended at its start"))?;
            Ok(Handed { number, process, said })
        }
        (Answer::Refused(number), ..) => Err(io::Error::from_raw_os_error(number)),
        _ => Err(odd()),
    }
}

/// A self-test that reads and writes at the other end; none: there are no hands.
pub async fn self_test() -> Option<io::Result<UnixStream>> {
    Some(UnixStream::connect(folder()?.join(SELF_TEST)).await)
}

impl Started {
    /// Its process number; none: it has ended already.
    pub(super) fn number(&self) -> Option<u32> {
        match self {
            Self::Here(child) => child.id(),
            Self::Handed(handed) => Some(handed.number),
        }
    }

    /// Waits for its end, and ends it if that does not come in time.
    pub(super) async fn end_within(self, limit: Duration) {
        match self {
            Self::Here(mut child) => {
                if timeout(limit, child.wait()).await.is_err() {
                    let _ = child.kill().await;
                }
            }
            Self::Handed(handed) => {
                if !handed.ends_within(limit).await {
                    process::tell(&handed.process, Signal::KILL);
                }
            }
        }
    }
}

impl Handed {
    async fn ends_within(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while !self.ended() {
            if Instant::now() > end {
                return false;
            }
            sleep(Duration::from_millis(20)).await;
        }
        true
    }

    /// Whether it has ended.
    pub(super) fn ended(&self) -> bool {
        process::ended(&self.process)
    }

    /// Ends it the hard way; what it has said on standard error, 4 KiB of it at most, if it is one that is heard.
    pub(super) async fn last_words(mut self) -> String {
        process::tell(&self.process, Signal::KILL);
        let mut words = Vec::new();
        let mut said = (&mut self.said).take(LONGEST as u64);
        // A child of its own may still hold the other end.
        let _ = timeout(Duration::from_secs(1), said.read_to_end(&mut words)).await;
        String::from_utf8_lossy(&words).into_owned()
    }
}

/// Where the hands' sockets are; none: this process has hands of its own.
fn folder() -> Option<PathBuf> {
    std::env::var_os(FOLDER).filter(|folder| !folder.is_empty()).map(PathBuf::from)
}

fn odd() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "a hand gave an odd answer")
}

async fn ask(folder: &Path, request: &Request) -> io::Result<(Answer, Option<OwnedFd>, UnixStream)> {
    let talk = async {
        let mut stream = UnixStream::connect(folder.join(HAND)).await?;
        stream.write_all(&encode(request)?).await?;
        let (answer, descriptor) = receive(&mut stream).await?;
        Ok((answer, descriptor, stream))
    };
    match timeout(PATIENCE, talk).await {
        Ok(done) => done,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

/// A frame: a u32 length (big endian) and that many bytes of JSON.
fn encode(message: &impl Serialize) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 4];
    serde_json::to_writer(&mut bytes, message)?;
    let length = u32::try_from(bytes.len() - 4).map_err(|_| odd())?;
    bytes[..4].copy_from_slice(&length.to_be_bytes());
    Ok(bytes)
}

/// How long the body of a frame is, if that may be.
fn length(header: [u8; 4]) -> io::Result<usize> {
    let length = u32::from_be_bytes(header) as usize;
    (length <= LONGEST).then_some(length).ok_or_else(odd)
}

/// One answer, and the descriptor that came with its first byte.
async fn receive(from: &mut UnixStream) -> io::Result<(Answer, Option<OwnedFd>)> {
    let (mut header, mut filled, mut descriptor) = ([0; 4], 0, None);
    while filled < header.len() {
        from.readable().await?;
        let tried = from.try_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut slice = [IoSliceMut::new(&mut header[filled..])];
            let got = recvmsg(&*from, &mut slice, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
            for message in ancillary.drain() {
                if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
                    descriptor = descriptor.take().or_else(|| descriptors.next());
                }
            }
            Ok(got.bytes)
        });
        match tried {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {}
            Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(bytes) => filled += bytes,
            Err(e) => return Err(e),
        }
    }
    let mut body = vec![0; length(header)?];
    from.read_exact(&mut body).await?;
    Ok((serde_json::from_slice(&body)?, descriptor))
}
