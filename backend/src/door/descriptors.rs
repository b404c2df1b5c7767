//! Hands listening sockets over the door: SCM_RIGHTS of unix(7), by rustix's safe wrappers.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage,
    SendFlags,
};
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::UnixStream;

use super::frame::{self, FrameError};

/// Most descriptors of one message; the kernel's own limit is 253 (SCM_MAX_FD).
pub(super) const MOST: usize = 64;

/// Sends one frame with descriptors attached to its first byte.
pub(super) async fn send<T: serde::Serialize>(
    to: &mut UnixStream,
    message: &T,
    listeners: &[&TcpListener],
) -> Result<(), FrameError> {
    let bytes = frame::encode(message)?;
    let descriptors: Vec<BorrowedFd<'_>> = listeners.iter().take(MOST).map(|l| l.as_fd()).collect();
    let sent = loop {
        to.writable().await?;
        let tried = to.try_io(Interest::WRITABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if !descriptors.is_empty() {
                ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
            }
            Ok(rustix::net::sendmsg(&*to, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)?)
        });
        match tried {
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            other => break other?,
        }
    };
    Ok(to.write_all(&bytes[sent..]).await?)
}

/// Receives one frame and the descriptors that came with its first byte.
pub(super) async fn receive<T: serde::de::DeserializeOwned>(
    from: &mut UnixStream,
    longest: usize,
) -> Result<(T, Vec<TcpListener>), FrameError> {
    let mut header = [0u8; 4];
    let mut filled = 0;
    let mut listeners = Vec::new();
    while filled < header.len() {
        from.readable().await?;
        let tried = from.try_io(Interest::READABLE, || {
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MOST))];
            let mut ancillary = RecvAncillaryBuffer::new(&mut space);
            let mut slice = [IoSliceMut::new(&mut header[filled..])];
            let got = rustix::net::recvmsg(&*from, &mut slice, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
            let descriptors: Vec<OwnedFd> = ancillary
                .drain()
                .filter_map(|message| match message {
                    RecvAncillaryMessage::ScmRights(descriptors) => Some(descriptors),
                    _ => None,
                })
                .flatten()
                .collect();
            Ok((got.bytes, descriptors))
        });
        match tried {
            Err(e) if e.kind() == std::io::ErrorKind::WouldBlock => {}
            Ok((0, _)) => return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()),
            Ok((bytes, descriptors)) => {
                filled += bytes;
                listeners.extend(descriptors.into_iter().map(TcpListener::from));
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok((frame::read_body(from, header, longest).await?, listeners))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_listener_handed_over_takes_connections() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        send(&mut ours, &vec![address], &[&listener]).await.unwrap();
        drop(listener);
        let (addresses, listeners): (Vec<std::net::SocketAddr>, _) =
            receive(&mut theirs, 1000).await.unwrap();
        assert_eq!(addresses, [address]);
        std::net::TcpStream::connect(address).unwrap();
        listeners[0].accept().unwrap();
    }

    #[tokio::test]
    async fn no_listener_is_a_message_too() {
        let (mut ours, mut theirs) = UnixStream::pair().unwrap();
        send(&mut ours, &"none", &[]).await.unwrap();
        let (word, listeners): (String, _) = receive(&mut theirs, 1000).await.unwrap();
        assert_eq!((word.as_str(), listeners.len()), ("none", 0));
    }
}
