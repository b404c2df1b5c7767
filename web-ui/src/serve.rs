//! The accept loop. Our own, because `axum::serve` never closes a connection with half a header and has no limits.

mod form;
mod places;
mod tls;

use std::convert::Infallible;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use postern::door::client::Handed;
use postern::log;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tower::ServiceExt;

use form::Form;
use places::{Arriving, Place, Places, Refused};

/// Who is at the other end of a request's connection, and how it came.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The browser's address.
    pub address: SocketAddr,
    /// When the connection was accepted.
    pub since: Instant,
    /// The listener came from the daemon, not from `--listen`.
    pub handed_over: bool,
    /// By HTTPS.
    pub secure: bool,
    /// Our port.
    pub port: u16,
}

/// How much one visitor, and all of them, may hold.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// A request's head must have arrived after so long; an idle connection is closed after it too.
    pub header: Duration,
    /// A connection gets no further request after this, so that a slow reader holds nothing for ever.
    pub life: Duration,
    /// Connections at once. When all are taken, one that waits for its visitor makes room: the oldest of whoever holds
    /// most.
    pub total: usize,
    /// Connections at once from one address; of IPv6 from one /64, which any host has to itself.
    pub per_peer: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { header: Duration::from_secs(10), life: Duration::from_secs(300), total: 128, per_peer: 16 }
    }
}

/// Longest request head in bytes.
const HEAD: usize = 16 * 1024;
/// Whoever has just come may keep his place so long without a word.
const ARRIVING: Duration = Duration::from_millis(250);
/// And so long in the middle of shaking hands (TLS).
const SHAKING: Duration = Duration::from_millis(500);
/// As many wait for a listener at once (`listen(2)`, backend/src/kernel/hand/socket.rs: 128, and the kernel takes one more).
const QUEUE: usize = 129;
/// Pause before a place is looked for again.
const ROOM: Duration = Duration::from_millis(5);
/// An answer that is on its way at the end may take so long.
const GRACE: Duration = Duration::from_secs(3);

/// The port that plain HTTP leads to; 0: HTTPS is off, and plain HTTP shows the pages.
pub type HttpsPort = Arc<AtomicU16>;

/// Serves `app` on whichever listeners came last, until `stop`. New listeners replace the old ones; connections live on.
pub async fn serve(
    app: Router,
    https: HttpsPort,
    mut handed: mpsc::Receiver<Handed>,
    handed_over: bool,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let (stopping, stopped) = watch::channel(());
    let host = Host { app, limits, handed_over, tls: None, port: 0, places: Places::default(), stopped };
    let mut accepting = JoinSet::new();
    let mut replace = watch::channel(()).0;
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            Some(new) = handed.recv() => {
                let tls = new.https.as_ref().and_then(|https| {
                    let acceptor = tls::acceptor(&https.certificate);
                    acceptor.inspect_err(|e| log::warning(&format!("HTTPS cannot be served: {e}"))).ok()
                });
                // What cannot be served is not led to: plain HTTP goes on, so that the owner is not locked out.
                let secure = new.https.filter(|_| tls.is_some()).map(|https| https.ports).unwrap_or_default();
                // Each of the old loops takes who waits in its queue, and ends: nobody else holds the listeners of a daemon that is gone.
                let (sender, replaced) = watch::channel(());
                drop(std::mem::replace(&mut replace, sender));
                while accepting.try_join_next().is_some() {}
                https.store(secure.first().copied().unwrap_or(0), Ordering::Relaxed);
                for listener in new.listeners {
                    match adopt(listener) {
                        Ok((listener, port)) => {
                            let tls = tls.clone().filter(|_| secure.contains(&port));
                            accepting.spawn(accept(listener, Host { tls, port, ..host.clone() }, replaced.clone()));
                        }
                        Err(e) => log::warning(&format!("a listener could not be used: {e}")),
                    }
                }
            }
            () = &mut stop => break,
        }
    }
    drop(replace);
    // Dropping an accept loop between two accepts loses no connection that was taken.
    accepting.shutdown().await;
    drop(host);
    let _ = stopping.send(());
    // Every connection holds a receiver until it has ended.
    let _ = timeout(GRACE, stopping.closed()).await;
}

/// With its port.
fn adopt(listener: std::net::TcpListener) -> std::io::Result<(TcpListener, u16)> {
    listener.set_nonblocking(true)?;
    let port = listener.local_addr()?.port();
    Ok((TcpListener::from_std(listener)?, port))
}

/// What an accept loop and a connection need.
#[derive(Clone)]
struct Host {
    app: Router,
    limits: Limits,
    handed_over: bool,
    /// None: plain HTTP.
    tls: Option<TlsAcceptor>,
    /// The listener's.
    port: u16,
    places: Places,
    stopped: watch::Receiver<()>,
}

/// Until `replaced` is dropped at its other end: then who waits in the queue is taken still, without waiting for more.
async fn accept(listener: TcpListener, host: Host, mut replaced: watch::Receiver<()>) {
    loop {
        let taken = tokio::select! {
            taken = listener.accept() => taken,
            _ = replaced.changed() => break,
        };
        match taken {
            Ok((stream, address)) => host.receive(stream, address).await,
            // Out of descriptors or the like: it passes.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
    let Ok(listener) = listener.into_std() else { return };
    // Those that wait now, and not all who come while they are served: this is no listener any more.
    for _ in 0..QUEUE {
        match listener.accept() {
            Ok((stream, address)) => {
                if stream.set_nonblocking(true).is_ok()
                    && let Ok(stream) = TcpStream::from_std(stream)
                {
                    host.receive(stream, address).await;
                }
            }
            Err(error) if error.kind() == ErrorKind::WouldBlock => return,
            // One who has hung up before he was taken, for example.
            Err(_) => {}
        }
    }
}

impl Host {
    /// Serves somebody who has come, if there is a place for him.
    async fn receive(&self, stream: TcpStream, address: SocketAddr) {
        let place = loop {
            match Place::take(&self.places, &self.limits, address.ip()) {
                // While all places are being answered, he waits, and all after him in the kernel's queue: an owner among guessers is
                // served late and not turned away.
                Err(Refused::Full) => sleep(ROOM).await,
                taken => break taken,
            }
        };
        // No await between a place at once and the spawn: this task may be dropped at any await.
        if let Ok(place) = place {
            // From now on: in a storm many are accepted in a row, before the first of them is looked at.
            let arriving = place.arriving();
            tokio::spawn(connection(stream, address, self.clone(), place, arriving));
        }
    }
}

async fn connection(stream: TcpStream, address: SocketAddr, host: Host, place: Place, arriving: Arriving) {
    let _ = stream.set_nodelay(true);
    let Some(tls) = host.tls.clone() else { return converse(stream, address, host, place, arriving).await };
    let (mut stopped, mut arriving) = (host.stopped.clone(), Some(arriving));
    let mut shaking = pin!(timeout(host.limits.header, tls.accept(stream)));
    let shaken = loop {
        tokio::select! {
            biased;
            shaken = shaking.as_mut() => break shaken,
            // Whoever shakes hands for longer is waiting for nothing of ours, and the place may be taken back.
            () = sleep(SHAKING), if arriving.is_some() => arriving = None,
            () = place.wanted_back() => return,
            _ = stopped.changed() => return,
        }
    };
    // An error is the visitor's: he hung up, was too slow, does not trust us yet, or does not speak TLS.
    if let Ok(Ok(stream)) = shaken {
        let arriving = place.arriving();
        converse(stream, address, host, place, arriving).await;
    }
}

/// The requests of one connection; `arriving` until the first of them had time to come.
async fn converse<S>(stream: S, address: SocketAddr, host: Host, place: Place, arriving: Arriving)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let Host { app, limits, handed_over, tls, port, mut stopped, .. } = host;
    let peer = Peer { address, since: Instant::now(), handed_over, secure: tls.is_some(), port };
    let busy = place.busy();
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let working = busy.work();
        let mut request = request.map(|body| Body::new(Form::new(body, busy.clone())));
        request.extensions_mut().insert(peer);
        let app = app.clone();
        async move {
            let answer = app.oneshot(request).await.map_err(|never: Infallible| never);
            drop(working);
            answer
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header).max_buf_size(HEAD);
    let mut connection = pin!(http.serve_connection(TokioIo::new(stream), service));
    let mut arriving = Some(arriving);
    let mut life = pin!(sleep(limits.life));
    loop {
        tokio::select! {
            // What it has sent is looked at before its place may be taken back: then a whole request is being answered.
            biased;
            // An error is the visitor's: he hung up, was too slow, or does not speak HTTP.
            _ = connection.as_mut() => return,
            () = sleep(ARRIVING), if arriving.is_some() => arriving = None,
            // Somebody else needs the place, and this one is not waiting for an answer.
            () = place.wanted_back() => return,
            () = life.as_mut() => break,
            _ = stopped.changed() => break,
        }
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(GRACE, connection).await;
}

#[cfg(test)]
mod tests;
