//! `postern selftest`: proves on this kernel that VPN passthrough works. It needs no daemon; with one, its settings are tested.

use std::path::Path;

use crate::appliance::Assignment;
use crate::door::ADMIN;
use crate::door::client::Door;
use crate::door::messages::{Call, Outcome, Request, Response, Subject, Tested};
use crate::selftest::process;
use crate::settings::{Settings, keys};

use super::say;

/// Tests, and prints each result when it is there; as JSON all of them at the end. The error is what belongs on standard error.
pub async fn run(door: &Path, json: bool, patch: &[Assignment]) -> Result<(), String> {
    let mut settings = settings(door).await;
    for Assignment { key, value } in patch {
        keys::set(&mut settings, key, value).map_err(|error| error.message)?;
    }
    let mut results: Vec<Tested> = Vec::new();
    let count = Subject::ALL.len();
    process::start(&settings.passthrough, |tested| {
        if !json {
            // The test goes on, and its exit status tells, also where nobody reads the words.
            let _ = say(&format!(
                "{:2}/{count}  {:<12}  {}\n       {}\n",
                results.len() + 1,
                word(tested.outcome),
                tested.title,
                tested.words
            ));
        }
        results.push(tested);
    })
    .await;
    if json {
        let text = serde_json::to_string_pretty(&results).map_err(|e| format!("cannot print: {e}"))?;
        say(&(text + "\n"))?;
    }
    let of = |outcome| results.iter().filter(|tested| tested.outcome == outcome).count();
    match (of(Outcome::Fails), of(Outcome::Untested)) {
        (0, 0) => Ok(()),
        (0, untested) => Err(format!("{untested} of {count} could not be tested here.")),
        (fail, _) => Err(format!("{fail} of {count} do not work on this kernel.")),
    }
}

fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Works => "works",
        Outcome::Fails => "DOES NOT WORK",
        Outcome::SwitchedOff => "switched off",
        Outcome::Untested => "not tested",
    }
}

/// The daemon's, or those of the factory.
async fn settings(door: &Path) -> Settings {
    let call = Call { ticket: None, source: None, attended: true, request: Request::Settings };
    match Door::new(door.join(ADMIN)).call(call).await {
        Ok(Response::Settings { settings, .. }) => *settings,
        _ => {
            eprintln!(
                "No daemon answers at {}: the factory settings are tested.",
                door.join(ADMIN).display()
            );
            Settings::default()
        }
    }
}
