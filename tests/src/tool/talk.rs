//! `postern-lab talk FILE`: carries out a [`Talk`].

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use lexopt::prelude::*;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::USAGE;
use crate::talk::{Heard, Part, Said, Talk};

/// So many bytes of the answers are told.
const TOLD: usize = 4096;
/// What is sent often is sent in pieces of so many bytes.
const PIECE: usize = 64 * 1024;

/// Tells what came of each conversation as it ends.
pub(super) fn talk(words: &mut lexopt::Parser) -> Result<(), lexopt::Error> {
    let Some(Value(file)) = words.next()? else { return Err(USAGE.into()) };
    let text = std::fs::read(&file).map_err(|error| error.to_string())?;
    let talk: Talk = serde_json::from_slice(&text).map_err(|error| error.to_string())?;
    // One descriptor for each conversation.
    let most = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: most, maximum: most })
        .map_err(|error| error.to_string())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(|error| error.to_string())?.block_on(all(talk));
    Ok(())
}

async fn all(talk: Talk) {
    let places = Arc::new(Semaphore::new(talk.parallel));
    let mut running = tokio::task::JoinSet::new();
    for (n, said) in talk.all.into_iter().enumerate() {
        let Ok(place) = places.clone().acquire_owned().await else { return };
        let limit = Duration::from_millis(talk.limit_ms);
        let pause = Duration::from_millis(talk.pause_ms);
        running.spawn(async move {
            let heard = one(n, talk.to, said, limit).await;
            if let Ok(heard) = serde_json::to_value(heard) {
                super::tell(&heard);
            }
            if !pause.is_zero() {
                sleep(pause).await;
            }
            drop(place);
        });
    }
    while running.join_next().await.is_some() {}
}

async fn one(n: usize, to: SocketAddr, said: Said, limit: Duration) -> Heard {
    let begun = Instant::now();
    let mut heard = Heard { n, ..Heard::default() };
    let mut bytes = Vec::new();
    let held = timeout(limit, async {
        let (read, mut write) = connect(to, &said).await?.into_split();
        let talking = async {
            // What was answered counts, though the server had no use for the rest; and whoever has said all waits for it.
            let _ = say(&mut write, &said.parts, &mut heard.sent).await;
            std::future::pending::<()>().await;
        };
        tokio::select! {
            listened = listen(read, begun, &mut bytes, &mut heard.first_ms) => listened,
            () = talking => Ok(()),
        }
    });
    match held.await {
        Ok(Ok(())) => heard.closed = true,
        Ok(Err(error)) => {
            heard.closed = heard.sent > 0;
            heard.error = Some(error.to_string());
        }
        Err(_) => {}
    }
    heard.end_ms = millis(begun);
    heard.statuses = statuses(&bytes);
    heard.text = bytes.iter().take(TOLD).map(|byte| char::from(*byte)).collect();
    heard
}

async fn connect(to: SocketAddr, said: &Said) -> std::io::Result<tokio::net::TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if let Some(from) = said.from {
        socket.bind(SocketAddr::new(IpAddr::V4(from), 0))?;
    }
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

async fn say(write: &mut OwnedWriteHalf, parts: &[Part], sent: &mut u64) -> std::io::Result<()> {
    for part in parts {
        let once: Vec<u8> = part.text.chars().map(|c| u8::try_from(u32::from(c)).unwrap_or(b'?')).collect();
        let at_once = if part.pause_ms > 0 {
            1
        } else {
            (PIECE / once.len().max(1)).clamp(1, part.times.max(1) as usize)
        };
        let piece = once.repeat(at_once);
        let mut left = part.times as usize;
        while left > 0 {
            let now = left.min(at_once);
            let bytes = &piece[..now * once.len()];
            write.write_all(bytes).await?;
            *sent += bytes.len() as u64;
            left -= now;
            if part.pause_ms > 0 {
                sleep(Duration::from_millis(part.pause_ms)).await;
            }
        }
    }
    Ok(())
}

async fn listen(
    mut read: OwnedReadHalf,
    begun: Instant,
    bytes: &mut Vec<u8>,
    first: &mut Option<u64>,
) -> std::io::Result<()> {
    let mut piece = [0; 16 * 1024];
    loop {
        match read.read(&mut piece).await? {
            0 => return Ok(()),
            length => {
                first.get_or_insert_with(|| millis(begun));
                bytes.extend_from_slice(&piece[..length]);
            }
        }
    }
}

fn millis(since: Instant) -> u64 {
    u64::try_from(since.elapsed().as_millis()).unwrap_or(u64::MAX)
}

/// Of every status line. None of our pages has such a word in it.
fn statuses(bytes: &[u8]) -> Vec<u16> {
    let lines = bytes.windows(12).filter(|words| words.starts_with(b"HTTP/1.") && words[8] == b' ');
    lines.filter_map(|words| std::str::from_utf8(&words[9..12]).ok()?.parse().ok()).collect()
}
