//! `postern-lab sim`: one run of the simulator in a lab of its own, under any rules.

use std::path::PathBuf;
use std::time::Duration;

use lab::sim::{Plan, Rekey, SCENARIOS};
use lab::{Lab, Nat};
use lexopt::prelude::*;

/// What `sim` takes.
const USAGE: &str = "usage: postern-lab sim [--rules FILE] [--scenario NAME] [--clients N] [--servers N] [--seconds N] [--packets N]
                       [--seed N] [--loss PER-MILLE] [--stream-hz N] [--spread SECONDS] [--rekey SECONDS] [--set KEY=VALUE]... [--show]
--rules FILE: nft text for the lab's router (lan0, wan0) instead of Postern; --rekey: at the earliest after so long, at three times that
at the latest, in a scenario with rekeys; --set: settings of Postern; --show: the table at the end";

/// What one option changes in a plan.
type Change = Box<dyn FnOnce(&mut Plan)>;

/// Runs it and prints the counts.
///
/// # Errors
/// Wrong usage, in words.
pub fn run(mut words: lexopt::Parser) -> Result<(), lexopt::Error> {
    let (mut rules, mut settings, mut show) = (None, Vec::new(), false);
    let mut name = "start".to_owned();
    let mut changes: Vec<Change> = Vec::new();
    while let Some(word) = words.next()? {
        match word {
            Long("rules") => rules = Some(PathBuf::from(words.value()?)),
            Long("scenario") => name = words.value()?.string()?,
            Long("set") => settings.push(words.value()?.string()?),
            Long("show") => show = true,
            Long(option) => {
                let option = option.to_owned();
                let number: u64 = words.value()?.parse()?;
                changes.push(change(&option, number)?);
            }
            other => return Err(other.unexpected()),
        }
    }
    let mut plan = Plan::named(&name)
        .ok_or_else(|| format!("there is no scenario `{name}`, but {}\n{USAGE}", SCENARIOS.join(", ")))?;
    for change in changes {
        change(&mut plan);
    }
    let text =
        rules.map(|path| std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display())));
    let text = text.transpose()?;
    let lab = Lab::new();
    let postern = match &text {
        Some(text) => {
            lab.plain_router(Nat::Open);
            let router = lab.router();
            router.ok(&["nft", "delete", "table", "inet", "plain"]);
            router.ok_with(&["nft", "-f", "-"], text);
            None
        }
        None => {
            let postern = lab.postern_router();
            if !settings.is_empty() {
                postern.set(&settings.iter().map(String::as_str).collect::<Vec<_>>());
                postern.ok(&["confirm"]);
            }
            Some(postern)
        }
    };
    println!("{name}: {} clients, {} servers, seed {}", plan.clients, plan.servers, plan.seed);
    println!("{}", lab.play(plan));
    if show {
        println!("{}", lab.router().ok(&["nft", "list", "ruleset"]));
    }
    drop(postern);
    Ok(())
}

/// What an option with a number changes in the plan.
fn change(option: &str, number: u64) -> Result<Change, lexopt::Error> {
    let count = usize::try_from(number).unwrap_or(usize::MAX);
    Ok(match option {
        "clients" => Box::new(move |plan| plan.clients = count),
        "servers" => Box::new(move |plan| plan.servers = count),
        "seconds" => Box::new(move |plan| plan.time = Duration::from_secs(number)),
        "packets" => Box::new(move |plan| plan.packets = Some(number)),
        "seed" => Box::new(move |plan| plan.seed = number),
        "loss" => Box::new(move |plan| plan.loss = number),
        "stream-hz" => Box::new(move |plan| plan.stream_hz = number),
        "spread" => Box::new(move |plan| plan.spread = Duration::from_secs(number)),
        "rekey" => Box::new(move |plan| {
            let every = (Duration::from_secs(number), Duration::from_secs(3 * number));
            plan.rekey = plan.rekey.map(|rekey| Rekey { every, ..rekey });
        }),
        _ => return Err(format!("there is no --{option}\n{USAGE}").into()),
    })
}
