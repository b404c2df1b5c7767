//! The pages, with a daemon that only pretends: to look at them. `cargo run -p postern-web --example preview [PORT]`,
//! then http://127.0.0.1:8099 with the password `correct horse battery`, or `fresh` after the port for an unclaimed box.

use std::future::pending;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::Arc;

use postern::door::client::Handed;
use postern::door::messages::{Defeat, JournalKind, RevisionState, Rules, Trial};
use postern::settings::Role;
use postern_web::{Config, app, serve};

#[allow(dead_code, missing_docs, clippy::unwrap_used)]
#[path = "../src/testing/fake.rs"]
mod fake;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let says = |word: &str| words.iter().any(|w| w == word);
    let port = words.first().map_or(Ok(8099), |word| word.parse())?;
    let daemon = if says("fresh") { fake::Fake::unclaimed() } else { fake::Fake::claimed() };
    {
        let mut state = daemon.state();
        state.open = [2, 0, 1];
        if !says("empty") {
            state.sessions = fake::some_sessions();
        }
        let history = [
            ("root", "command line", "first setup", "passthrough.l2tp.ports", "1701,1702"),
            ("owner", "192.168.1.23", "for the old office server", "passthrough.pptp.enabled", "true"),
            ("owner", "fd00::a8bb:ccff:fedd:ee01", "", "access.idle_minutes", "15"),
            ("owner", "192.168.1.23", "they have WireGuard now", "passthrough.pptp.enabled", "false"),
        ];
        if !says("fresh") && !says("empty") {
            for (who, via, comment, key, value) in history {
                state.save_with_comment(who, via, comment, key, value);
            }
            state.history[1].state = RevisionState::Reverted;
        }
        if !says("empty") {
            let mut attempt = fake::line(
                9,
                JournalKind::Attempt,
                "\u{201c}Laptop\u{201d}",
                "tried PPTP, which is refused here",
            );
            (attempt.times, attempt.until) = (14, attempt.at + 600);
            state.journal = vec![
                attempt,
                fake::line(8, JournalKind::Refused, "somebody", "gave a wrong password"),
                fake::line(7, JournalKind::Login, "owner", "logged in"),
            ];
        }
        for source in [[192, 168, 1, 57], [192, 168, 1, 101]] {
            state.log_in(source);
        }
        if says("edited") {
            state.rules = Rules::Edited;
        }
        if says("busy") {
            state.verdict = fake::verdict();
            state.attempts = vec![fake::attempt("passthrough.pptp.enabled", "PPTP", true)];
        }
        if says("trial") {
            state.trial = Some(Trial {
                revision: 4,
                age_ms: 3000,
                seconds_left: 87,
                https: false,
                ports: vec![80],
                waits: None,
            });
            if let Some(newest) = state.history.first_mut() {
                newest.state = RevisionState::Applied;
            }
        }
        if says("unset") {
            state.role = Role::Unset;
        }
        if says("openwrt") {
            state.beside = fake::beside::openwrt();
            state.uci = Ok(fake::beside::from_uci());
        }
        if says("beside") {
            state.role = Role::Companion;
            state.defeats = vec![fake::beside::defeated(20, Defeat::LostIn, 3)];
            state.page_elsewhere =
                vec!["Port 80 of 192.168.1.1 is another program\u{2019}s: the admin page is at http://192.168.1.1:8080/.".into()];
        }
        if says("differs") {
            state.reason = Some("This kernel has no PPTP helper (nf_conntrack_pptp), so calls cannot pass. Install it, or leave PPTP off.".into());
        }
    }
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))?;
    println!("http://{}", listener.local_addr()?);
    let config = Config { listen: Some(listener.local_addr()?), ..Config::default() };
    let (give, take) = tokio::sync::mpsc::channel(1);
    give.send(Handed { listeners: vec![listener], https: None }).await?;
    let app = app(Arc::new(daemon), &config);
    serve::serve(app, config.https, take, false, serve::Limits::default(), pending()).await;
    Ok(())
}
