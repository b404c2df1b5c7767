use std::io::Write;
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::unix::net::{UnixListener, UnixStream as Blocking};
use std::thread::{JoinHandle, spawn};

use super::serve::serve;
use super::*;

fn places() -> (PathBuf, PathBuf) {
    (PathBuf::from("/run/postern/programs"), PathBuf::from("/var/lib/postern/programs"))
}

/// Serves one connection, as a service manager's instance does; what became of it.
fn answered(stream: &Blocking) -> io::Result<Option<Vec<String>>> {
    let (run, state) = places();
    let command = serve(stream, Places { run: &run, state: &state })?;
    Ok(command.map(|command| command.get_args().map(|word| word.to_string_lossy().into_owned()).collect()))
}

/// Where a hand is found; gone when dropped.
struct Folder(PathBuf);

impl Folder {
    /// With a socket that nobody serves yet.
    fn new(name: &str) -> (Self, UnixListener) {
        let folder = std::env::temp_dir().join(format!("postern-hand-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let listener = UnixListener::bind(folder.join(HAND)).unwrap();
        (Self(folder), listener)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A hand that serves one connection.
fn hand(name: &str) -> (Folder, JoinHandle<io::Result<Option<Vec<String>>>>) {
    let (folder, listener) = Folder::new(name);
    (folder, spawn(move || answered(&listener.accept()?.0)))
}

/// What a hand makes of these bytes.
fn given(bytes: &[u8]) -> io::Result<Option<Vec<String>>> {
    let (mut ours, theirs) = Blocking::pair().unwrap();
    let hand = spawn(move || answered(&theirs));
    ours.write_all(bytes).unwrap();
    ours.shutdown(std::net::Shutdown::Write).unwrap();
    hand.join().unwrap()
}

fn frame(json: &str) -> Vec<u8> {
    let mut bytes = u32::try_from(json.len()).unwrap().to_be_bytes().to_vec();
    bytes.extend(json.as_bytes());
    bytes
}

#[tokio::test]
async fn a_listener_from_a_hand_takes_connections_and_a_port_in_use_is_told_as_that() {
    let (folder, served) = hand("listens");
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let listener = TcpListener::from(open_by(&folder.0, &Socket::Pages(any)).await.unwrap());
    assert_eq!(served.join().unwrap().unwrap(), None);
    TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    listener.set_nonblocking(false).unwrap();
    listener.accept().unwrap();

    let other = TcpListener::bind(any).unwrap();
    let (folder, served) = hand("refuses");
    let refused = open_by(&folder.0, &Socket::Pages(other.local_addr().unwrap())).await.unwrap_err();
    assert_eq!(refused.kind(), io::ErrorKind::AddrInUse);
    served.join().unwrap().unwrap();
}

#[tokio::test]
async fn a_datagram_socket_from_a_hand_does_not_block_and_reaches_whom_it_is_for() {
    let (folder, _served) = hand("udp");
    let other = UdpSocket::bind("127.0.0.1:0").unwrap();
    let to = other.local_addr().unwrap();
    let socket = UdpSocket::from(open_by(&folder.0, &Socket::udp(to)).await.unwrap());
    socket.send_to(b"question", to).unwrap();
    assert_eq!(other.recv(&mut [0; 16]).unwrap(), 8);
    assert_eq!(socket.recv(&mut [0; 16]).unwrap_err().kind(), io::ErrorKind::WouldBlock);
}

#[tokio::test]
async fn where_no_hand_is_nothing_is_opened() {
    let nowhere = std::env::temp_dir().join("postern-hand-nowhere");
    assert_eq!(open_by(&nowhere, &Socket::Udp).await.unwrap_err().kind(), io::ErrorKind::NotFound);
    // A hand that ends without a word.
    let (folder, listener) = Folder::new("deaf");
    let deaf = spawn(move || drop(listener.accept()));
    open_by(&folder.0, &Socket::Udp).await.unwrap_err();
    deaf.join().unwrap();
}

#[test]
fn a_program_is_called_with_what_its_request_says_and_the_places_of_the_hand() {
    let (run, state) = places();
    let at = Places { run: &run, state: &state };
    let asked = Request::Start(Program::Lease {
        device: "wan0".parse().unwrap(),
        mac: "02:00:00:00:00:0a".parse().ok(),
        address: Some([198, 51, 100, 50].into()),
    });
    let bytes = encode(&asked).unwrap();
    let text = r#"{"start":{"lease":{"device":"wan0","mac":"02:00:00:00:00:0a","address":"198.51.100.50"}}}"#;
    assert_eq!(bytes, frame(text));
    let Request::Start(program) = asked else { panic!("it is one") };
    // Without udhcpc on this box there is no command.
    if let Some(command) = program.command(at) {
        let words: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        let words = words.join(" ");
        assert!(words.starts_with(
            "-f -i wan0 -s /run/postern/programs/postern-dhcp-event -p /var/lib/postern/programs/udhcpc.pid"
        ));
        assert!(words.ends_with("-x 0x3d:0102000000000a -r 198.51.100.50"), "{words}");
    }
}

#[test]
fn a_hand_takes_nothing_but_its_requests() {
    // The probe: one that it takes.
    assert_eq!(given(&frame(r#"{"open":"udp"}"#)).unwrap(), None);
    for wrong in [
        r#"{"open":"packet"}"#,
        r#"{"open":{"pages":"everywhere"}}"#,
        r#"{"start":"sh"}"#,
        r#"{"start":{"dnsmasq":{"words":["--dhcp-script=/tmp/x"]}}}"#,
        r#"{"start":{"offer":{"device":"-s /tmp/x"}}}"#,
        r#"{"start":{"offer":{"device":"../../tmp"}}}"#,
        r#"{"start":{"offer":{"device":"wan0","script":"/tmp/x"}}}"#,
        r#"{"start":{"lease":{"device":"wan0","mac":"02:00","address":null}}}"#,
        r#"{"start":{"lease":{"device":"wan0","mac":null,"address":"-x"}}}"#,
        r#"{"open":"udp","start":"dnsmasq"}"#,
        r#""open""#,
        "[]",
        "",
    ] {
        assert!(given(&frame(wrong)).is_err(), "{wrong}");
    }
}

#[test]
fn a_request_that_is_cut_off_or_endless_is_refused_before_it_is_read() {
    let whole = frame(r#"{"open":"udp"}"#);
    for length in 0..whole.len() {
        assert!(given(&whole[..length]).is_err(), "{length} bytes of it");
    }
    let mut endless = u32::try_from(LONGEST + 1).unwrap().to_be_bytes().to_vec();
    endless.extend(vec![b' '; LONGEST + 1]);
    assert!(given(&endless).is_err());
}
