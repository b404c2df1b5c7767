use std::io::{Read, Write};
use std::net::TcpStream as Client;

use axum::routing::get;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, spawn_blocking};

use super::*;

/// A server of one page, with short limits, on its own listener.
struct Server {
    address: SocketAddr,
    listeners: mpsc::Sender<Handed>,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<()>,
}

async fn server(limits: Limits) -> Server {
    let app = Router::new().route("/", get(async || "hello").post(async |sent: String| sent));
    let (listeners, take) = mpsc::channel(1);
    let (stop, stopped) = oneshot::channel::<()>();
    let ended =
        tokio::spawn(serve(app, HttpsPort::default(), take, true, limits, async { drop(stopped.await) }));
    let address = hand_over(&listeners).await;
    Server { address, listeners, stop, ended }
}

async fn hand_over(listeners: &mpsc::Sender<Handed>) -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    listeners.send(Handed { listeners: vec![listener], https: None }).await.unwrap();
    address
}

fn connect(address: SocketAddr) -> Client {
    let client = Client::connect(address).unwrap();
    client.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    client
}

fn ask(client: &mut Client) -> String {
    client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    let mut answer = [0; 1024];
    let length = client.read(&mut answer).unwrap();
    String::from_utf8_lossy(&answer[..length]).into_owned()
}

/// Reads until the other side closes.
fn is_closed(client: &mut Client) -> bool {
    let mut rest = Vec::new();
    match client.read_to_end(&mut rest) {
        Ok(_) => true,
        Err(e) => e.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

fn short() -> Limits {
    Limits { header: Duration::from_millis(150), ..Limits::default() }
}

#[tokio::test]
async fn half_a_request_and_an_idle_connection_are_closed_in_time() {
    let server = server(short()).await;
    spawn_blocking(move || {
        let begun = Instant::now();
        let mut half = connect(server.address);
        half.write_all(b"GET / HTTP/1.1\r\nHost:").unwrap();
        let mut silent = connect(server.address);
        let mut idle = connect(server.address);
        assert!(ask(&mut idle).ends_with("hello"));
        for (what, client) in [("half", &mut half), ("silent", &mut silent), ("idle", &mut idle)] {
            assert!(is_closed(client), "{what}");
        }
        assert!(begun.elapsed() < Duration::from_secs(3));
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn one_visitor_cannot_take_every_place() {
    let limits = Limits { per_peer: 2, ..short() };
    let server = server(Limits { header: Duration::from_secs(30), ..limits }).await;
    spawn_blocking(move || {
        let (mut a, mut b) = (connect(server.address), connect(server.address));
        assert!(ask(&mut a).ends_with("hello") && ask(&mut b).ends_with("hello"));
        assert!(is_closed(&mut connect(server.address)), "the third is turned away");
        drop(a);
        let until = Instant::now() + Duration::from_secs(5);
        while Instant::now() < until {
            let mut again = connect(server.address);
            if again.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").is_ok()
                && again.read(&mut [0; 9]).is_ok_and(|n| n > 0)
            {
                return;
            }
        }
        panic!("a place that is free again is not given");
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn a_form_that_does_not_arrive_holds_no_place_that_somebody_else_needs() {
    let server = server(Limits { total: 2, per_peer: 8, ..Limits::default() }).await;
    spawn_blocking(move || {
        let head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n";
        let mut slow = [connect(server.address), connect(server.address)];
        for client in &mut slow {
            client.write_all(head).unwrap();
            client.write_all(b"he").unwrap();
        }
        // Both are being answered by now, or will be before the third has its place.
        for _ in 0..2 {
            assert!(ask(&mut connect(server.address)).ends_with("hello"), "slow forms hold every place");
        }
        assert!(slow.iter_mut().any(is_closed), "and one of them has lost it");
        // Whose form arrives is answered.
        let mut whole = connect(server.address);
        whole.write_all(head).unwrap();
        whole.write_all(b"hello").unwrap();
        let mut answer = [0; 1024];
        let length = whole.read(&mut answer).unwrap();
        assert!(answer[..length].ends_with(b"hello"), "{}", String::from_utf8_lossy(&answer[..length]));
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn new_listeners_replace_the_old_and_connections_live_on() {
    let server = server(Limits::default()).await;
    let old = server.address;
    let mut client = spawn_blocking(move || {
        let mut client = connect(old);
        assert!(ask(&mut client).ends_with("hello"));
        client
    })
    .await
    .unwrap();
    let new = hand_over(&server.listeners).await;
    spawn_blocking(move || {
        assert!(ask(&mut connect(new)).ends_with("hello"));
        assert!(Client::connect(old).is_err(), "the old listener is gone");
        assert!(ask(&mut client).ends_with("hello"), "an open connection is served on");
    })
    .await
    .unwrap();
    // And an idle connection does not delay the end.
    server.stop.send(()).unwrap();
    timeout(Duration::from_secs(2), server.ended).await.unwrap().unwrap();
}

#[tokio::test]
async fn who_waits_at_an_old_listener_is_served_after_it_was_replaced() {
    let server = server(Limits::default()).await;
    // Nothing else runs until the next await: they are in the kernel's queue when the new listener comes.
    let mut waiting: Vec<Client> = (0..8).map(|_| connect(server.address)).collect();
    hand_over(&server.listeners).await;
    spawn_blocking(move || {
        for client in &mut waiting {
            assert!(ask(client).ends_with("hello"));
        }
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn what_hyper_answers_by_itself_has_no_content_that_our_headers_would_guard() {
    let server = server(Limits::default()).await;
    spawn_blocking(move || {
        let long = "x".repeat(HEAD);
        for (request, status) in [
            ("nonsense\r\n\r\n".to_owned(), 400),
            ("GET / HTTP/1.1\r\nHost x\r\n\r\n".to_owned(), 400),
            ("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: a\r\n\r\n".to_owned(), 400),
            (format!("GET / HTTP/1.1\r\nHost: x\r\nA: {long}\r\n\r\n"), 431),
            (format!("GET /{long} HTTP/1.1\r\nHost: x\r\n\r\n"), 431),
        ] {
            let mut client = connect(server.address);
            let _ = client.write_all(request.as_bytes());
            let mut answer = Vec::new();
            // Reset after the answer: we were still sending.
            let _ = client.read_to_end(&mut answer);
            let answer = String::from_utf8(answer).unwrap();
            let short: String = request.chars().take(40).collect();
            let (head, body) = answer.split_once("\r\n\r\n").unwrap();
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{short}: {head}");
            let head = head.to_lowercase();
            assert!(body.is_empty() && head.contains("content-length: 0"), "{short}: {answer}");
            assert!(!head.contains("set-cookie") && !head.contains("location"), "{short}: {answer}");
        }
    })
    .await
    .unwrap();
}
