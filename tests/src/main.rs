//! `postern-lab`: the programs that run inside the lab, the demo and the figures.

use std::process::ExitCode;

use lab::tool;
use lexopt::prelude::*;

mod bench;
mod demo;
mod simulate;

fn main() -> ExitCode {
    // What the lab cannot do it says in one sentence; where in the code is of no use here.
    std::panic::set_hook(Box::new(|panic| {
        eprintln!("postern-lab: {}", panic.payload_as_str().unwrap_or("something unforeseen happened"));
    }));
    let mut words = lexopt::Parser::from_env();
    let outcome = match words.next() {
        Ok(Some(Value(name))) if name == "demo" => demo::run(words),
        Ok(Some(Value(name))) if name == "bench" => bench::run(words),
        Ok(Some(Value(name))) if name == "sim" => simulate::run(words),
        Ok(Some(Value(name))) => tool::run(&name.to_string_lossy(), words),
        _ => Err(tool::USAGE.into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("postern-lab: {error}");
            ExitCode::FAILURE
        }
    }
}
