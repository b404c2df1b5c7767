//! `postern-lab demo`: a made-up home with real VPN traffic, and the admin page on this machine's loopback.

use std::io::Write;
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::time::Duration;

use lab::{CallOptions, DOOR, Kind, Lab, PASSWORD, Postern, PptpServer, ROUTER_SETTINGS, address, wait};
use lexopt::prelude::*;

/// So often it is looked whether the daemon has ended.
const AGAIN: Duration = Duration::from_millis(200);
/// Pause before the next attempt of a call that failed.
const REDIAL: Duration = Duration::from_secs(3);

/// Runs the demo until it is interrupted. The lab's namespaces end with this process, however it ends.
pub fn run(mut words: lexopt::Parser) -> Result<(), lexopt::Error> {
    let (mut port, mut claimed) = (8080, false);
    while let Some(word) = words.next()? {
        match word {
            Long("port") => port = words.value()?.parse()?,
            Long("claimed") => claimed = true,
            other => return Err(other.unexpected()),
        }
    }
    let page = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if TcpStream::connect(page).is_ok() {
        return Err(format!("something listens at {page} already: choose another --port").into());
    }
    say("making the home, the internet and its servers");
    let lab = Lab::new();
    let server = lab.pptp_server("server1", 1723);
    let vpn = [Kind::Udp(500), Kind::Udp(4500), Kind::Udp(1701), Kind::Ip(50)];
    let _answers = ["server1", "server2"].map(|name| lab.host(name).echo(&vpn));

    say("starting Postern on the router");
    let mut postern = lab.postern();
    postern.set(&ROUTER_SETTINGS);
    postern.ok(&["confirm"]);
    if claimed {
        postern.claim();
    }
    let mut web = postern.web_process(&lab.outside(), &["--listen", &page.to_string()]);
    let answers = wait::until(Duration::from_secs(30), || {
        (web.ended().is_some() || TcpStream::connect(page).is_ok()).then(|| web.ended().is_none())
    });
    if answers != Some(true) {
        return Err(format!("the admin page did not start:\n{}", web.said()).into());
    }

    println!("\n  The admin page:  http://{page}/");
    if claimed {
        println!("  The password:    {PASSWORD}");
    } else {
        println!("  The claim code:  {}", claim_code(&postern));
        println!("  Claim the box with it, choose a password (10 characters or more), and log in.");
    }
    println!("  The command line, in another terminal:\n    {}", on_the_router(&lab));
    println!("  Then open Security, VPN Passthrough, and tick PPTP: laptop1 is trying to call.\n");
    println!(
        "  laptop2 keeps an IPsec NAT-T tunnel to server1, the phone plain ESP to server2, and laptop2 L2TP to server2."
    );
    println!("  Ctrl-C ends everything that runs here.\n");
    let _tunnels = [
        lab.host("laptop2").flow_at(Kind::Udp(4500), address("server1"), 5),
        lab.host("phone").flow_at(Kind::Ip(50), address("server2"), 5),
        lab.host("laptop2").flow_at(Kind::Udp(1701), address("server2"), 2),
    ];
    // What the page calls a restart ends the daemon, and somebody must start it again: here that is us.
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(AGAIN);
            if postern.keep_daemon() {
                say("Postern has started again");
                match claim_code(&postern).as_str() {
                    "" => {}
                    code => say(&format!("it has no owner; the claim code: {code}")),
                }
            }
        }
    });
    let mut refused = false;
    loop {
        if web.ended().is_some() {
            return Err(format!("the web process ended:\n{}", web.said()).into());
        }
        call(&lab, &server, &mut refused);
        std::thread::sleep(REDIAL);
    }
}

/// Empty: the box has an owner.
fn claim_code(postern: &Postern) -> String {
    postern.cli(&["claim-code"]).out.trim().to_owned()
}

/// A command for the router's namespaces, to be copied.
fn on_the_router(lab: &Lab) -> String {
    let program = std::env::current_exe().unwrap_or_default().with_file_name("postern");
    let command = lab.router().command(&[&program.display().to_string(), "--door", DOOR, "status"]);
    let words = command.get_args().map(|word| word.to_string_lossy());
    format!("{} {}", command.get_program().to_string_lossy(), words.collect::<Vec<_>>().join(" "))
}

/// One PPTP call of laptop1, as long as it lasts; `refused` is whether the one before was.
fn call(lab: &Lab, server: &PptpServer, refused: &mut bool) {
    let mut call = lab.host("laptop1").pptp_call(address("server1"), &CallOptions::default());
    match call.outcome() {
        Err(_) if *refused => {} // said once: it is tried again every few seconds
        Err(_) => {
            say("laptop1: the PPTP call is refused; it tries again every few seconds");
            *refused = true;
        }
        Ok(inner) => {
            *refused = false;
            say(&format!("laptop1: the PPTP call is up, as {inner}"));
            let mut missed = 0;
            while missed < 3 && !call.ends_within(Duration::from_secs(1)) {
                missed = if call.silent(server.inner) { missed + 1 } else { 0 };
            }
            say("laptop1: the PPTP call has ended");
            call.hang_up();
        }
    }
}

fn say(what: &str) {
    let now = wait::now_ms() / 1000 % 86400;
    println!("[{:02}:{:02}:{:02}] {what}", now / 3600, now / 60 % 60, now % 60);
    let _ = std::io::stdout().flush();
}
