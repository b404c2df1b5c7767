//! The accept loop. Our own, because `axum::serve` never closes a connection with half a header and has no limits.

mod places;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::pin;
use std::time::{Duration, Instant};

use axum::Router;
use axum::body::Body;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use postern::log;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tower::ServiceExt;

use places::{Place, Places};

/// Who is at the other end of a request's connection, and how it came.
#[derive(Debug, Clone, Copy)]
pub struct Peer {
    /// The browser's address.
    pub address: SocketAddr,
    /// When the connection was accepted.
    pub since: Instant,
    /// The listener came from the daemon, not from `--listen`.
    pub handed_over: bool,
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
/// An answer that is on its way at the end may take so long.
const GRACE: Duration = Duration::from_secs(3);

/// Serves `app` on whichever listeners came last, until `stop`. New listeners replace the old ones; connections live on.
pub async fn serve(
    app: Router,
    mut listeners: mpsc::Receiver<Vec<std::net::TcpListener>>,
    handed_over: bool,
    limits: Limits,
    stop: impl Future<Output = ()>,
) {
    let (stopping, stopped) = watch::channel(());
    let host = Host { app, limits, handed_over, places: Places::default(), stopped };
    let mut accepting = JoinSet::new();
    let mut stop = pin!(stop);
    loop {
        tokio::select! {
            Some(new) = listeners.recv() => {
                // Dropping an accept loop between two accepts loses no connection: see `accept`.
                accepting.shutdown().await;
                for listener in new {
                    match adopt(listener) {
                        Ok(listener) => { accepting.spawn(accept(listener, host.clone())); }
                        Err(e) => log::warning(&format!("a listener could not be used: {e}")),
                    }
                }
            }
            () = &mut stop => break,
        }
    }
    accepting.shutdown().await;
    drop(host);
    let _ = stopping.send(());
    // Every connection holds a receiver until it has ended.
    let _ = timeout(GRACE, stopping.closed()).await;
}

fn adopt(listener: std::net::TcpListener) -> std::io::Result<TcpListener> {
    listener.set_nonblocking(true)?;
    TcpListener::from_std(listener)
}

/// What an accept loop and a connection need.
#[derive(Clone)]
struct Host {
    app: Router,
    limits: Limits,
    handed_over: bool,
    places: Places,
    stopped: watch::Receiver<()>,
}

async fn accept(listener: TcpListener, host: Host) {
    loop {
        match listener.accept().await {
            // No await between here and the spawn: this task may be dropped at any await.
            Ok((stream, address)) => {
                if let Some(place) = Place::take(&host.places, &host.limits, address.ip()) {
                    tokio::spawn(connection(stream, address, host.clone(), place));
                }
            }
            // Out of descriptors or the like: it passes.
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn connection(stream: TcpStream, address: SocketAddr, host: Host, place: Place) {
    let _ = stream.set_nodelay(true);
    let Host { app, limits, handed_over, mut stopped, .. } = host;
    let peer = Peer { address, since: Instant::now(), handed_over };
    let busy = place.busy();
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let working = busy.work();
        let mut request = request.map(Body::new);
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
    tokio::select! {
        // An error is the visitor's: he hung up, was too slow, or does not speak HTTP.
        _ = connection.as_mut() => return,
        // Somebody else needs the place, and this one is not waiting for an answer.
        () = place.wanted_back() => return,
        () = sleep(limits.life) => {}
        _ = stopped.changed() => {}
    }
    connection.as_mut().graceful_shutdown();
    let _ = timeout(GRACE, connection).await;
}

#[cfg(test)]
mod tests;
