//! `postern-lab bench`: the figures of the product. Nothing here asserts a time; `tests/bench` prints them.

mod contestants;
mod forwards;
mod packets;
mod sessions;
mod swap;

use std::fs::read_to_string;
use std::time::Instant;

use lab::{Lab, Postern, ROUTER_SETTINGS, programs};
use lexopt::Arg::Value;

/// Prints every figure; with the word `quick` those of packets not, which take minutes; with `sessions` those of many sessions alone, with `forwards` those of
/// a thousand port forwards.
pub fn run(mut words: lexopt::Parser) -> Result<(), lexopt::Error> {
    let quick = match words.next()? {
        None => false,
        Some(Value(word)) if word == "quick" => true,
        Some(Value(word)) if word == "sessions" => return sessions::busy(&Lab::new()),
        Some(Value(word)) if word == "forwards" => return forwards::forwards(&Lab::new()),
        Some(word) => return Err(word.unexpected()),
    };
    sizes()?;
    let lab = Lab::new();
    let started = Instant::now();
    let mut postern = lab.postern();
    let door = started.elapsed();
    postern.set(&ROUTER_SETTINGS);
    postern.ok(&["confirm"]);
    let started = Instant::now();
    postern.start_web(&lab);
    println!("start, first time (new store): {} ms to the open door", door.as_millis());
    println!(
        "start of the web process to its first page (HTTP client included): {} ms",
        started.elapsed().as_millis()
    );
    let started = Instant::now();
    postern.start_daemon();
    println!(
        "restart of the daemon with rules in force: {} ms to the open door",
        started.elapsed().as_millis()
    );
    memory(&postern)?;
    swap::swaps(&lab, &postern)?;
    if !quick {
        packets::packets(&contestants::all(&postern), false)?;
    }
    Ok(())
}

fn sizes() -> Result<(), lexopt::Error> {
    for program in ["postern", "postern-web"] {
        let bytes = std::fs::metadata(programs().join(program)).map_err(|e| e.to_string())?.len();
        println!("size of {program}: {:.2} MB", bytes as f64 / 1e6);
    }
    Ok(())
}

fn memory(postern: &Postern) -> Result<(), lexopt::Error> {
    for (name, pid) in [("daemon", postern.daemon_status("Pid")), ("web", postern.web_status("Pid"))] {
        println!("idle PSS of the {name}: {}", pss(number(&pid)?)?);
    }
    Ok(())
}

/// What a process holds of the memory, its share of what is shared included.
fn pss(pid: u32) -> Result<String, lexopt::Error> {
    let rollup = read_to_string(format!("/proc/{pid}/smaps_rollup")).map_err(|e| e.to_string())?;
    Ok(rollup.lines().find_map(|l| l.strip_prefix("Pss:")).unwrap_or_default().trim().to_owned())
}

fn number(text: &str) -> Result<u32, lexopt::Error> {
    Ok(text.trim().parse().map_err(|_| format!("{text:?} is no process"))?)
}
