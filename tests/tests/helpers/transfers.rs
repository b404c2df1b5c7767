//! Real transfers: active and passive FTP, TFTP.

use std::time::Duration;

use lab::wait::{self, SOON, now_ms};
use lab::{Output, Process};

use super::scene::Scene;

const CONTENT: &str = "hello from the server\n";
/// How long after `set` has returned the last line may come.
const SECOND: u64 = 1000;

fn server(scene: &Scene, kind: &str, port: &str) -> Process {
    let mut server = scene.lab.host("server1").spawn(&["postern-lab", kind, port]).told_on_failure();
    server.wait_for_line("ready", SOON);
    server
}

fn get(scene: &Scene, more: &[&str], url: &str) -> Output {
    scene.lab.host("laptop1").run(&[&["curl", "-sS", "--max-time", "5"], more, &[url]].concat())
}

const HELLO: &str = "ftp://203.0.113.10/hello";
const EPRT: [&str; 2] = ["--ftp-port", "-"];
const PORT: [&str; 3] = ["--disable-eprt", "--ftp-port", "-"];

#[test]
fn active_ftp_works_while_the_helper_is_on_and_passive_always() {
    let scene = Scene::new();
    let _server = server(&scene, "ftp-server", "21");
    for _ in 0..2 {
        assert_eq!(get(&scene, &[], HELLO).out, CONTENT, "passive FTP needs no helper");
        for active in [&EPRT[..], &PORT] {
            let refused = get(&scene, active, HELLO);
            assert!(!refused.ok() && refused.out.is_empty(), "off: {refused:?}");
        }
        let before = scene.helper("ftp");
        let said = scene.postern.set(&["helpers.ftp=true"]);
        assert!(said.contains("FTP is on") && said.contains("connect again"), "{said}");
        for active in [&EPRT[..], &PORT] {
            assert_eq!(get(&scene, active, HELLO).out, CONTENT, "on");
        }
        assert_eq!(get(&scene, &[], HELLO).out, CONTENT, "passive FTP works with it too");
        let count = |state: &serde_json::Value| state["let_in"].as_u64().unwrap_or_default();
        let after = scene.helper("ftp");
        assert_eq!((count(&after) - count(&before), &after["configured"]), (2, &true.into()), "{after}");
        scene.postern.set(&["helpers.ftp=false"]);
    }
}

#[test]
fn off_ends_a_transfer_that_runs_and_it_is_not_begun_anew() {
    let scene = Scene::new();
    let _server = server(&scene, "ftp-server", "21");
    scene.postern.set(&["helpers.ftp=true", "helpers.irc=true"]);
    let words = ["curl", "-sSN", "--ftp-port", "-", "ftp://203.0.113.10/long"];
    let client = scene.lab.host("laptop1").spawn(&words);
    let came = wait::until(SOON, || (client.out().len() > 20).then_some(()));
    assert!(came.is_some(), "the file comes:\n{}", client.said());
    let state = scene.helper("ftp");
    assert_eq!((&state["effect"], &state["attached"]), (&"working".into(), &1.into()), "{state}");
    // Another one's switch does not matter.
    let said = scene.postern.set(&["helpers.irc=false"]);
    assert!(!said.contains("ended"), "{said}");
    let lines = client.out().len();
    let goes_on = wait::until(SOON, || (client.out().len() > lines + 20).then_some(()));
    assert!(goes_on.is_some(), "it goes on:\n{}", client.said());

    let said = scene.postern.set(&["helpers.ftp=false"]);
    let returned = now_ms();
    assert!(said.contains("FTP is off") && said.contains("2 connections of it have ended"), "{said}");
    wait::until(Duration::from_millis(2500), || None::<()>);
    let last = client.out().iter().filter_map(|line| line.split_once(' ')?.1.parse::<u64>().ok()).max();
    let last = last.unwrap_or_default();
    assert!(last <= returned + SECOND, "a line came {} ms after off", last.saturating_sub(returned));
    let state = scene.helper("ftp");
    assert_eq!((&state["effect"], &state["attached"]), (&"blocked".into(), &0.into()), "{state}");
}

#[test]
fn tftp_works_while_the_helper_is_on() {
    let scene = Scene::new();
    let server = server(&scene, "tftp-server", "69");
    let get = || get(&scene, &["--max-time", "3"], "tftp://203.0.113.10/hello");
    let off = get();
    assert!(!off.ok() && off.out.is_empty(), "{off:?}");
    assert!(server.said().contains("request"), "the request itself passes");
    scene.postern.set(&["helpers.tftp=true"]);
    assert_eq!(get().out, CONTENT);
    assert_eq!(scene.helper("tftp")["let_in"], 1);
    scene.postern.set(&["helpers.tftp=false"]);
    assert!(!get().ok());
}
