//! Both ends' other end: how postern-web and the command line talk to the daemon.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::UnixStream;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;

use super::messages::{Call, Hello, Https, Request, Response, VERSION};
use super::{FrameError, descriptors, frame};

/// How long an answer may take. An apply waits for nft (20 s at most), and there can be one before ours.
const PATIENCE: Duration = Duration::from_secs(60);
/// Pause before the daemon is tried again.
const AGAIN: Duration = Duration::from_millis(300);
/// Idle connections kept.
const KEPT: usize = 4;

/// Why the daemon gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum DoorError {
    /// Nobody answers at the socket.
    #[error("the Postern daemon is not running")]
    NotRunning(#[source] std::io::Error),
    /// The connection broke, or the answer was not understood.
    #[error("the Postern daemon did not answer")]
    Broken(#[from] FrameError),
    /// It took longer than a minute.
    #[error("the Postern daemon did not answer in time")]
    Late,
}

/// One of the daemon's sockets. Connects when needed, and again after the daemon was restarted.
#[derive(Debug, Clone)]
pub struct Door {
    path: PathBuf,
    idle: Arc<Mutex<Vec<UnixStream>>>,
}

impl Door {
    /// The socket at `path`. Nothing is connected yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into(), idle: Arc::default() }
    }

    /// Asks and waits for the answer.
    pub async fn call(&self, call: Call) -> Result<Response, DoorError> {
        timeout(PATIENCE, self.ask(&call)).await.map_err(|_| DoorError::Late)?
    }

    async fn ask(&self, call: &Call) -> Result<Response, DoorError> {
        let kept = self.idle.lock().await.pop();
        let (mut stream, kept) = match kept {
            Some(stream) if still_open(&stream) => (stream, true),
            _ => (connect(&self.path).await?, false),
        };
        let sent = frame::write(&mut stream, call).await;
        if sent.is_err() && kept {
            // The daemon was restarted since: nothing of the call was taken, so it may be sent again.
            stream = connect(&self.path).await?;
            frame::write(&mut stream, call).await?;
        } else {
            sent?;
        }
        let answer = frame::read(&mut stream, frame::ANSWER).await?;
        let response = answer.ok_or_else(|| FrameError::Io(std::io::ErrorKind::UnexpectedEof.into()))?;
        let mut idle = self.idle.lock().await;
        if idle.len() < KEPT {
            idle.push(stream);
        }
        Ok(response)
    }
}

/// A kept connection has nothing to say; if it is readable, its end is what can be read.
fn still_open(stream: &UnixStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(e) if e.kind() == std::io::ErrorKind::WouldBlock)
}

async fn connect(path: &Path) -> Result<UnixStream, DoorError> {
    let mut stream = UnixStream::connect(path).await.map_err(DoorError::NotRunning)?;
    frame::write(&mut stream, &Hello { version: VERSION }).await?;
    Ok(stream)
}

/// What the daemon has handed over.
#[derive(Debug)]
pub struct Handed {
    /// Where to listen.
    pub listeners: Vec<TcpListener>,
    /// What those on its port speak; none: all speak plain HTTP.
    pub https: Option<Https>,
}

/// Receives the admin page's listening sockets from the daemon, for ever: at once, and again whenever they change.
/// When the daemon goes away the last ones stay; ends only when nobody takes them any more.
pub async fn listen(path: PathBuf, take: mpsc::Sender<Handed>) {
    while !take.is_closed() {
        // Why it ended does not matter: the daemon is away or going, and is asked again.
        let _ = listen_once(&path, &take).await;
        tokio::time::sleep(AGAIN).await;
    }
}

async fn listen_once(path: &Path, take: &mpsc::Sender<Handed>) -> Result<(), DoorError> {
    let mut stream = connect(path).await?;
    let call = Call { ticket: None, source: None, attended: false, request: Request::Listen };
    frame::write(&mut stream, &call).await?;
    loop {
        let (answer, listeners): (Response, _) = descriptors::receive(&mut stream, frame::ANSWER).await?;
        let https = match answer {
            Response::Listeners { https, .. } => https,
            _ => None,
        };
        if take.send(Handed { listeners, https }).await.is_err() {
            return Ok(());
        }
    }
}
