//! A thousand conntrack events a second beside 10,000 sessions: what the daemon needs for it.
//!
//! The only entries that the kernel tells of are those of PPTP's control connections (`ct event set`), so these are what begins
//! and ends here, as fast as is asked for. A second listener counts what was told.

use std::fmt::Write as _;
use std::fs::File;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use lab::{Lab, Postern, ROUTER_SETTINGS, address};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::swap::cpu;
use super::{number, pss};

const SESSIONS: usize = 10_000;
/// Calls a second: each is told of six or seven times.
const CALLS: u32 = 160;
const SECONDS: u32 = 30;
/// Whoever has the page open asks so often.
const PAGE: Duration = Duration::from_secs(2);

/// Runs `work` in a host's network.
fn on<T: Send + 'static>(
    lab: &Lab,
    host: &str,
    work: impl FnOnce() -> std::io::Result<T> + Send + 'static,
) -> std::thread::JoinHandle<std::io::Result<T>> {
    let namespace = lab.host(host).path(&format!("/run/netns/{host}"));
    std::thread::spawn(move || {
        let namespace = File::open(namespace)?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))?;
        work()
    })
}

/// Puts sessions into the router's table: 250 devices with 40 servers each at UDP 4500.
fn fill(lab: &Lab) {
    let mut lines = String::new();
    for n in 0..SESSIONS {
        let (device, server) = (2 + n % 250, n / 250);
        let _ = writeln!(
            lines,
            "-A -t 3000 -u SEEN_REPLY,ASSURED -p udp -s 192.168.1.{device} -d 203.1.{server}.9 --sport 5000 --dport 4500"
        );
    }
    lab.router().write("/run/lab/entries", lines);
    lab.router().ok(&["conntrack", "-R", "/run/lab/entries"]);
}

/// Prints the figures.
pub(super) fn busy(lab: &Lab) -> Result<(), lexopt::Error> {
    let postern = lab.postern();
    postern.set(&ROUTER_SETTINGS);
    postern.ok(&["confirm"]);
    postern.set(&["passthrough.pptp.enabled=true"]);
    let daemon = number(&postern.daemon_status("Pid"))?;
    println!("PSS of the daemon without sessions: {}", pss(daemon)?);
    fill(lab);
    measure(lab, &postern, daemon, "10,000 sessions, no events", 0)?;
    measure(lab, &postern, daemon, "10,000 sessions, events", CALLS)?;
    println!(
        "PSS of the daemon after that: {}, at most {} (RSS)",
        pss(daemon)?,
        postern.daemon_status("VmHWM")
    );
    let lost = postern.json(&["status"])["notices"].to_string();
    println!(
        "it says of lost events: {}",
        if lost.contains("could tell of") { "some were lost" } else { "nothing" }
    );
    Ok(())
}

fn measure(lab: &Lab, postern: &Postern, daemon: u32, what: &str, calls: u32) -> Result<(), lexopt::Error> {
    let server = SocketAddr::from((address("server1"), 1723));
    let taken = on(lab, "server1", move || {
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 1723))?;
        listener.set_nonblocking(true)?;
        let (end, mut taken) = (Instant::now() + Duration::from_secs(u64::from(SECONDS) + 2), 0_u32);
        while Instant::now() < end {
            match listener.accept() {
                Ok(_) => taken += 1,
                Err(_) => std::thread::sleep(Duration::from_millis(1)),
            }
        }
        Ok(taken)
    });
    let listener = lab.router().spawn(&["conntrack", "-E", "-p", "tcp", "-b", "8000000"]);
    // The listeners are there.
    std::thread::sleep(Duration::from_secs(1));
    let (before, begun) = (cpu(daemon), Instant::now());
    let caller = on(lab, "laptop1", move || {
        let (begun, mut made) = (Instant::now(), 0_u32);
        while begun.elapsed() < Duration::from_secs(u64::from(SECONDS)) {
            if f64::from(made) < begun.elapsed().as_secs_f64() * f64::from(calls) {
                drop(TcpStream::connect_timeout(&server, Duration::from_secs(1))?);
                made += 1;
            } else {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        Ok(made)
    });
    let (mut looks, mut slowest) = (0, Duration::ZERO);
    while !caller.is_finished() {
        let started = Instant::now();
        let _ = postern.json(&["sessions", "--limit", "50"]);
        (looks, slowest) = (looks + 1, slowest.max(started.elapsed()));
        std::thread::sleep(PAGE.saturating_sub(started.elapsed()));
    }
    let (used, over) = (cpu(daemon) - before, begun.elapsed());
    let whole = |thread: std::thread::JoinHandle<std::io::Result<u32>>| match thread.join() {
        Ok(Ok(count)) => Ok(count),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err("a thread ended early".to_owned()),
    };
    let (made, taken) = (whole(caller)?, whole(taken)?);
    if made != taken {
        return Err(format!("{made} calls were made and {taken} taken").into());
    }
    let events = listener.out().len();
    println!(
        "{what}: {made} calls, {:.0} events a second; the daemon used {:.1} % of one core, PSS {}; {looks} looks at a page of \
         sessions, the slowest {} ms",
        events as f64 / over.as_secs_f64(),
        100.0 * used.as_secs_f64() / over.as_secs_f64(),
        pss(daemon)?,
        slowest.as_millis()
    );
    Ok(())
}
