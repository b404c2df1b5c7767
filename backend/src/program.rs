//! `postern`: the daemon, and the command line that talks to it. In the library, because what ships is one program that is both
//! this and the pages (web-ui/src/main.rs): they share half of their code, and its pages in memory.

use std::path::Path;
use std::process::ExitCode;

use crate::cli::{self, Command, Usage};
use crate::daemon;
use crate::door::server::Ended;
use crate::kernel::hand::{self, PROGRAMS};
use crate::kernel::{dhcpcd, pppoe, udhcpc};
use crate::selftest::process;

/// The daemon wants to be started again: EX_TEMPFAIL of sysexits.h. To systemd (`Restart=on-failure`) and procd (`respawn`)
/// it is an end that calls for a start, as a crash is.
const START_AGAIN: u8 = 75;

/// Does what the name it was called by and its words say; the exit status is the command line's (README.md).
pub fn main() -> ExitCode {
    if let Some(heard) = event() {
        return match heard {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("postern: {why}");
                ExitCode::FAILURE
            }
        };
    }
    if std::env::args_os()
        .next()
        .is_some_and(|name| Path::new(&name).file_name() == Some(process::NAME.as_ref()))
    {
        return match process::main() {
            Ok(()) => ExitCode::SUCCESS,
            Err(why) => {
                eprintln!("postern: {why}");
                ExitCode::FAILURE
            }
        };
    }
    let command = match cli::parse(lexopt::Parser::from_env()) {
        Ok(command) => command,
        Err(Usage::Asked(text)) => {
            println!("{text}");
            return ExitCode::SUCCESS;
        }
        Err(Usage::Wrong(why)) => {
            eprintln!("postern: {why}\nTry \"postern --help\".");
            return ExitCode::from(2);
        }
    };
    // One thread is enough for a page and a command line; SQLite and password hashes have threads of their own.
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(e) => {
            eprintln!("postern: cannot start: {e}");
            return ExitCode::FAILURE;
        }
    };
    let done = match command {
        Command::Daemon { state, door } => match runtime.block_on(daemon::run(&state, &door)) {
            Ok(Ended::Stopped) => Ok(()),
            Ok(Ended::Restart | Ended::Reset) => return ExitCode::from(START_AGAIN),
            Err(why) => Err(why),
        },
        Command::Deny { state } => runtime.block_on(daemon::deny(&state)),
        Command::Pppoe { door } => runtime.block_on(pppoe::run(&door.join(daemon::SERVICES))),
        Command::Hand { state, door } => hand::serve::main(&door.join(PROGRAMS), &state.join(PROGRAMS)),
        Command::SelfTest { door, json, patch } => runtime.block_on(cli::selftest::run(&door, json, &patch)),
        Command::Ask { door, json, request } => runtime.block_on(cli::ask(&door, json, request)),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// udhcpc, dhcpcd and pppd call us by these names; none: this is an ordinary call.
fn event() -> Option<Result<(), String>> {
    let mut words = std::env::args_os();
    let program = words.next()?;
    let program = Path::new(&program);
    let rest: Vec<_> = words.collect();
    match program.file_name()?.to_str()? {
        udhcpc::EVENT => {
            Some(udhcpc::event(program, rest.first().map(|word| word.as_os_str()).unwrap_or_default()))
        }
        dhcpcd::EVENT => Some(dhcpcd::event(program)),
        pppoe::UP | pppoe::DOWN => Some(pppoe::event(program, &rest)),
        _ => None,
    }
}
