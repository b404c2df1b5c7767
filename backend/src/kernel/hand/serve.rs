//! `postern hand`: reads one request at its standard input, which is a connection of the daemon's, and does it. Anything else it refuses
//! by ending.

use std::io::{self, IoSlice, Read};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::io::Errno;
use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

use super::{Answer, Places, Request, encode, length};

/// Whoever connects says at once what he wants.
const PATIENCE: Duration = Duration::from_secs(5);

/// The process itself. The programs find their files in `run` (gone at boot) and `state` (kept). Does not return where it becomes one.
pub fn main(run: &Path, state: &Path) -> Result<(), String> {
    let input = io::stdin().as_fd().try_clone_to_owned();
    let stream = input.map(UnixStream::from).map_err(|e| format!("postern: no standard input: {e}"))?;
    let odd = |e: io::Error| {
        format!("postern: what a hand shall do must come from the daemon, over its socket: {e}")
    };
    match serve(&stream, Places { run, state }).map_err(odd)? {
        Some(mut command) => {
            let error = command.exec();
            Err(format!("postern: {} could not be started: {error}", command.get_program().to_string_lossy()))
        }
        None => Ok(()),
    }
}

/// Answers one request; what is to be become then.
pub(super) fn serve(stream: &UnixStream, places: Places<'_>) -> io::Result<Option<Command>> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    match read(stream)? {
        Request::Open(socket) => match socket.open() {
            Ok(descriptor) => send(stream, &Answer::Opened, Some(descriptor.as_fd()))?,
            Err(error) => refuse(stream, &error)?,
        },
        Request::Start(program) => match program.command(places) {
            Some(mut command) => {
                if program.is_heard() {
                    command.stderr(Stdio::from(OwnedFd::from(stream.try_clone()?)));
                }
                send(stream, &Answer::Starting(std::process::id()), None)?;
                return Ok(Some(command));
            }
            None => refuse(stream, &Errno::NOENT.into())?,
        },
    }
    Ok(None)
}

fn read(mut stream: &UnixStream) -> io::Result<Request> {
    let mut header = [0; 4];
    stream.read_exact(&mut header)?;
    let mut body = vec![0; length(header)?];
    stream.read_exact(&mut body)?;
    Ok(serde_json::from_slice(&body)?)
}

fn refuse(stream: &UnixStream, error: &io::Error) -> io::Result<()> {
    let number = error.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
    send(stream, &Answer::Refused(number), None)
}

fn send(mut stream: &UnixStream, answer: &Answer, descriptor: Option<BorrowedFd<'_>>) -> io::Result<()> {
    let bytes = encode(answer)?;
    let descriptors: Vec<BorrowedFd<'_>> = descriptor.into_iter().collect();
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = SendAncillaryBuffer::new(&mut space);
    if !descriptors.is_empty() {
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
    }
    let sent = sendmsg(stream, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?;
    io::Write::write_all(&mut stream, &bytes[sent..])
}
