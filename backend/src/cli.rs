//! The command line: verbs in, one call through the door, words or JSON out.

mod backup;
mod beside;
mod diagnosis;
mod journal;
mod password;
pub mod selftest;
mod sessions;
mod show;
mod tools;

use std::ffi::OsString;
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::appliance::Assignment;
use crate::door::client::Door;
use crate::door::messages::{
    Call, Filter, JournalFilter, MAX_IMPORT, Password, RESET_WORD, Request, Response, Tool,
};
use crate::door::{ADMIN, DIRECTORY, DIRECTORY_OF_OPENWRT};
use crate::settings::keys::UNSET;
use lexopt::prelude::*;
use password::password_from_stdin;

const HELP: &str = "\
postern: administration and firewall of a home router

  postern status                     what is true now
  postern sessions                   VPN connections now [--filter TEXT] [--skip N] [--limit N] [--follow]
  postern diagnose [DEVICE]          why a VPN does not work: of the device with that address [--measure]; --measure: send pings to
                                     its server, to see whether big packets are lost on the way
  postern session end ID             end one of them
  postern ping|trace|lookup HOST     does a host answer, which way leads there, what is its address
  postern selftest [KEY=VALUE...]    prove with packets, in networks of its own, that VPN passthrough works on this
                                     kernel, with the settings (or the factory's) and these changes; needs no daemon
  postern get [KEY]                  settings, or those below KEY
  postern set KEY=VALUE...           change settings, as one change [--comment TEXT]
  postern confirm                    keep settings that are on trial
  postern undo [REVISION]            take back what the newest change (or that one) changed; at once what is on trial
  postern undo --to REVISION         go back to all settings of that revision
  postern history [--limit N]        past revisions, newest first
  postern journal                    what was done and what happened, newest first [--kind K] [--since T]
                                     [--filter TEXT] [--skip N] [--limit N] [--follow]; T: 30m, 2h, 7d or 2026-11-21T10:30:00Z
  postern ports [--ask]              the ports of this box; --ask: look on free ones for the provider
  postern devices                    the devices of the home, with their addresses
  postern device add MAC NAME [--address ADDRESS]
                                     name a device, and reserve an address for it (any: no more)
  postern device remove MAC          forget what is set for a device
  postern device end-connections MAC end every connection that a device has begun
  postern forward list               port forwards
  postern forward add NAME --preset pptp|l2tp|ikev2|openvpn|wireguard|sstp --to ADDRESS
  postern forward add NAME --protocol tcp|udp --port N[-M] --to ADDRESS[:PORT]
                                     lead ports to a device; a forward of that name is replaced
  postern forward remove NAME        no longer
  postern rules                      the nftables rules these settings mean
  postern check                      try those rules without loading them
  postern mend                       load them again where the kernel holds something else
  postern look-again                 ask the kernel anew what it can do, after a package was installed
  postern export                     the settings as TOML, with their secrets
  postern import FILE [--dry-run]    replace the settings; FILE may be - for standard input
  postern backup FILE --password-stdin
                                     the settings with their secrets, encrypted with a password of your choice
  postern restore FILE --password-stdin [--dry-run]
                                     replace the settings by those of a backup
  postern sides                      which devices seem to be the two sides, beside another firewall
  postern import uci [DIR] [--dry-run]
                                     take over OpenWrt's configuration (DIR: /etc/config)
  postern restart                    start Postern again; its rules stay in force meanwhile
  postern reset --yes                back to the factory state: settings, account, history and journal are deleted
  postern claim --password-stdin     take a new box: set its first password
  postern claim-code                 the code that the claim page asks for
  postern password --password-stdin  set a new password; ends every login
  postern stop                       stop; a router then forwards nothing
  postern daemon [--state DIR]       run the daemon
  postern deny [--state DIR]         close a router until its daemon runs (at boot, before any port is up)
  postern pppoe                      hold the PPPoE session (a service of its own, as root)
  postern hand [--state DIR]         do one thing for the daemon, as a service of its own that a socket starts

  --json       with a verb that reads: JSON instead of words
  --door DIR   where the daemon's sockets are (default $POSTERN_DOOR, then /run/postern, /var/run/postern)

Exit status: 0 done, 1 refused (the reason is on standard error), 2 wrong usage.";

/// The packaged state directory.
const STATE: &str = "/var/lib/postern";

/// How often sessions are looked at again.
const AGAIN: std::time::Duration = std::time::Duration::from_secs(2);

/// What to do.
pub enum Command {
    /// Be the daemon.
    Daemon {
        /// Where the store is.
        state: PathBuf,
        /// Where the sockets shall be.
        door: PathBuf,
    },
    /// Close the box until the daemon runs.
    Deny {
        /// Where the store is.
        state: PathBuf,
    },
    /// Hold the PPPoE session.
    Pppoe {
        /// Where the daemon's sockets are.
        door: PathBuf,
    },
    /// Do one thing for the daemon.
    Hand {
        /// Where the store is.
        state: PathBuf,
        /// Where the daemon's sockets are.
        door: PathBuf,
    },
    /// Test this kernel.
    SelfTest {
        /// Where the daemon's sockets are, if it runs.
        door: PathBuf,
        /// JSON out.
        json: bool,
        /// What differs from the settings.
        patch: Vec<Assignment>,
    },
    /// Ask the daemon.
    Ask {
        /// Where the sockets are.
        door: PathBuf,
        /// JSON out.
        json: bool,
        /// What for.
        request: Verb,
    },
}

/// A request, and how its answer is shown.
pub enum Verb {
    /// Settings below a key.
    Get(Option<String>),
    /// Port forwards.
    Forwards,
    /// VPN sessions, again and again.
    Follow(Filter),
    /// A ping, a trace or a lookup, until it is over.
    Try(Tool, String),
    /// The journal's new lines, again and again.
    FollowJournal(JournalFilter),
    /// An answer that goes into a file.
    Save(PathBuf, Request),
    /// OpenWrt's configuration in this folder; true: only what would change.
    Uci(PathBuf, bool),
    /// What seem to be the two sides beside another firewall.
    Sides,
    /// Anything else: the answer shows itself.
    Plain(Request),
}

/// Not a command.
pub enum Usage {
    /// Help was asked for.
    Asked(String),
    /// The words are off.
    Wrong(String),
}

impl From<lexopt::Error> for Usage {
    fn from(e: lexopt::Error) -> Self {
        Self::Wrong(e.to_string())
    }
}

/// Options and words as typed.
#[derive(Default)]
struct Typed {
    verb: Option<String>,
    words: Vec<String>,
    door: Option<PathBuf>,
    state: Option<PathBuf>,
    json: bool,
    password_stdin: bool,
    comment: Option<String>,
    limit: Option<u32>,
    to: Option<String>,
    preset: Option<String>,
    protocol: Option<String>,
    port: Option<String>,
    dry: bool,
    yes: bool,
    filter: Option<String>,
    skip: Option<u32>,
    follow: bool,
    ask: bool,
    address: Option<String>,
    kind: Option<String>,
    since: Option<String>,
    measure: bool,
}

/// Reads the command line.
pub fn parse(mut parser: lexopt::Parser) -> Result<Command, Usage> {
    let mut typed = Typed::default();
    while let Some(arg) = parser.next()? {
        match arg {
            Short('h') | Long("help") => return Err(Usage::Asked(HELP.to_owned())),
            Short('V') | Long("version") => {
                return Err(Usage::Asked(format!("postern {}", env!("CARGO_PKG_VERSION"))));
            }
            Long("ask") => typed.ask = true,
            Long("measure") => typed.measure = true,
            Long("json") => typed.json = true,
            Long("door") => typed.door = Some(parser.value()?.into()),
            Long("state") => typed.state = Some(parser.value()?.into()),
            Long("password-stdin") => typed.password_stdin = true,
            Long("comment") => typed.comment = Some(word(parser.value()?)?),
            Long("limit") => typed.limit = Some(amount("--limit", parser.value()?)?),
            Long("to") => typed.to = Some(word(parser.value()?)?),
            Long("preset") => typed.preset = Some(word(parser.value()?)?),
            Long("protocol") => typed.protocol = Some(word(parser.value()?)?),
            Long("port") => typed.port = Some(word(parser.value()?)?),
            Long("address") => typed.address = Some(word(parser.value()?)?),
            Long("dry-run") => typed.dry = true,
            Long("yes") => typed.yes = true,
            Long("filter") => typed.filter = Some(word(parser.value()?)?),
            Long("skip") => typed.skip = Some(amount("--skip", parser.value()?)?),
            Long("follow") => typed.follow = true,
            Long("kind") => typed.kind = Some(word(parser.value()?)?),
            Long("since") => typed.since = Some(word(parser.value()?)?),
            Value(value) if typed.verb.is_none() => typed.verb = Some(word(value)?),
            Value(value) => typed.words.push(word(value)?),
            _ => return Err(arg.unexpected().into()),
        }
    }
    command(typed)
}

fn word(value: OsString) -> Result<String, Usage> {
    value.into_string().map_err(|_| Usage::Wrong("an argument is not UTF-8".to_owned()))
}

fn amount(option: &str, value: OsString) -> Result<u32, Usage> {
    let said = word(value)?;
    said.parse()
        .map_err(|_| Usage::Wrong(format!("{option} needs a number from 0 to {}, not “{said}”", u32::MAX)))
}

/// Where the package has its door: on OpenWrt, which has no `/run`, beneath `/var/run`.
fn usual_door() -> PathBuf {
    let has_one = |folder: &&str| Path::new(folder).join(ADMIN).exists();
    [DIRECTORY, DIRECTORY_OF_OPENWRT].into_iter().find(has_one).unwrap_or(DIRECTORY).into()
}

impl Typed {
    /// The options that were given, but for `--door` and `--json`, which say how and not what.
    fn given(&self) -> impl Iterator<Item = &'static str> {
        let all = [
            ("--state", self.state.is_some()),
            ("--password-stdin", self.password_stdin),
            ("--comment", self.comment.is_some()),
            ("--limit", self.limit.is_some()),
            ("--to", self.to.is_some()),
            ("--preset", self.preset.is_some()),
            ("--protocol", self.protocol.is_some()),
            ("--port", self.port.is_some()),
            ("--dry-run", self.dry),
            ("--yes", self.yes),
            ("--filter", self.filter.is_some()),
            ("--skip", self.skip.is_some()),
            ("--follow", self.follow),
            ("--ask", self.ask),
            ("--address", self.address.is_some()),
            ("--kind", self.kind.is_some()),
            ("--since", self.since.is_some()),
            ("--measure", self.measure),
        ];
        all.into_iter().filter_map(|(option, given)| given.then_some(option))
    }
}

/// Refuses an option that the verb does not read: somebody who writes `postern set … --dry-run` must not find it done.
fn only_its_own(verb: &str, typed: &Typed) -> Result<(), Usage> {
    let first = typed.words.first().map_or("", String::as_str);
    let (verb, reads): (String, &[&str]) = match (verb, first) {
        ("daemon" | "deny" | "hand", _) => (verb.to_owned(), &["--state"]),
        ("set", _) => (verb.to_owned(), &["--comment"]),
        ("undo", _) => (verb.to_owned(), &["--to"]),
        ("history", _) => (verb.to_owned(), &["--limit"]),
        ("sessions", _) => (verb.to_owned(), &["--filter", "--skip", "--limit", "--follow"]),
        ("journal", _) => {
            (verb.to_owned(), &["--filter", "--skip", "--limit", "--follow", "--kind", "--since"])
        }
        ("diagnose", _) => (verb.to_owned(), &["--measure"]),
        ("ports", _) => (verb.to_owned(), &["--ask"]),
        ("device", "add") => ("device add".to_owned(), &["--address"]),
        ("forward", "add") => ("forward add".to_owned(), &["--preset", "--protocol", "--port", "--to"]),
        ("device" | "forward" | "session", _) => (format!("{verb} {first}"), &[]),
        ("import", _) => (verb.to_owned(), &["--dry-run"]),
        ("restore", _) => (verb.to_owned(), &["--password-stdin", "--dry-run"]),
        ("backup" | "claim" | "password", _) => (verb.to_owned(), &["--password-stdin"]),
        ("reset", _) => (verb.to_owned(), &["--yes"]),
        _ => (verb.to_owned(), &[]),
    };
    match typed.given().find(|option| !reads.contains(option)) {
        None => Ok(()),
        Some(option) => {
            Err(Usage::Wrong(format!("what is {option} for? postern {} does not take it", verb.trim())))
        }
    }
}

fn command(typed: Typed) -> Result<Command, Usage> {
    let from_environment = || std::env::var_os("POSTERN_DOOR").filter(|v| !v.is_empty()).map(PathBuf::from);
    let door = typed.door.clone().or_else(from_environment).unwrap_or_else(usual_door);
    let verb = typed.verb.as_deref().ok_or_else(|| Usage::Wrong("name a verb".to_owned()))?;
    only_its_own(verb, &typed)?;
    if verb == "daemon" {
        none_left(&typed.words)?;
        return Ok(Command::Daemon { state: typed.state.unwrap_or_else(|| STATE.into()), door });
    }
    if verb == "deny" {
        none_left(&typed.words)?;
        return Ok(Command::Deny { state: typed.state.unwrap_or_else(|| STATE.into()) });
    }
    if verb == "pppoe" {
        none_left(&typed.words)?;
        return Ok(Command::Pppoe { door });
    }
    if verb == "hand" {
        none_left(&typed.words)?;
        return Ok(Command::Hand { state: typed.state.unwrap_or_else(|| STATE.into()), door });
    }
    if verb == "selftest" {
        let patch = typed.words.iter().map(|word| assignment(word)).collect::<Result<_, _>>()?;
        return Ok(Command::SelfTest { door, json: typed.json, patch });
    }
    let verb = match (verb, typed.words.as_slice()) {
        ("get", []) => Verb::Get(None),
        ("get", [key]) => Verb::Get(Some(key.clone())),
        ("set", []) => {
            return Err(Usage::Wrong(
                "name what to set, for example passthrough.pptp.enabled=true".to_owned(),
            ));
        }
        ("set", words) => Verb::Plain(Request::Change {
            base_revision: None,
            patch: words.iter().map(|w| assignment(w)).collect::<Result<_, _>>()?,
            comment: typed.comment.clone().unwrap_or_default(),
        }),
        ("undo", []) => Verb::Plain(match typed.to.as_deref() {
            Some(revision) => Request::GoBack { revision: number(revision)? },
            None => Request::Undo { revision: None },
        }),
        ("undo", [revision]) if typed.to.is_none() => {
            Verb::Plain(Request::Undo { revision: Some(number(revision)?) })
        }
        ("sessions", []) => {
            let limit = typed.limit.unwrap_or(0) as usize;
            let text = typed.filter.clone().unwrap_or_default();
            let filter = Filter { text, kind: None, skip: typed.skip.unwrap_or(0) as usize, limit };
            if typed.follow { Verb::Follow(filter) } else { Verb::Plain(Request::Sessions { filter }) }
        }
        ("journal", []) => {
            let filter = journal::filter(&typed)?;
            if typed.follow { Verb::FollowJournal(filter) } else { Verb::Plain(Request::Journal { filter }) }
        }
        ("diagnose", []) => Verb::Plain(Request::Diagnose { device: None, measure: typed.measure }),
        ("diagnose", [device]) => {
            let device = device.parse().map_err(|_| Usage::Wrong(format!("{device:?} is no address")))?;
            Verb::Plain(Request::Diagnose { device: Some(device), measure: typed.measure })
        }
        ("ping", [host]) => Verb::Try(Tool::Ping, host.clone()),
        ("trace", [host]) => Verb::Try(Tool::Trace, host.clone()),
        ("lookup", [host]) => Verb::Try(Tool::Lookup, host.clone()),
        ("ping" | "trace" | "lookup", _) => {
            return Err(Usage::Wrong(format!("name one host: postern {verb} HOST")));
        }
        ("session", [end, id]) if end == "end" => Verb::Plain(Request::EndSession { id: id.clone() }),
        ("session", _) => return Err(Usage::Wrong("say: postern session end ID".to_owned())),
        ("forward", [what]) if what == "list" => Verb::Forwards,
        ("forward", [what, name]) if what == "add" => Verb::Plain(forward(name, &forward_words(&typed)?)),
        ("forward", [what, name]) if what == "remove" => Verb::Plain(forward(name, UNSET)),
        ("forward", _) => return Err(Usage::Wrong(FORWARD.to_owned())),
        ("device", [what, mac, name]) if what == "add" => Verb::Plain(Request::SetDevice {
            base_revision: None,
            mac: mac.clone(),
            name: name.clone(),
            address: typed.address.clone().map(|a| if a == "any" { String::new() } else { a }),
        }),
        ("device", [what, mac]) if what == "remove" => {
            Verb::Plain(Request::RemoveDevice { base_revision: None, mac: mac.clone() })
        }
        ("device", [what, mac]) if what == "end-connections" => {
            Verb::Plain(Request::EndConnections { mac: mac.clone() })
        }
        ("device", _) => {
            return Err(Usage::Wrong(
                "write: postern device add MAC NAME [--address ADDRESS], postern device remove MAC, or postern device end-connections MAC"
                    .to_owned(),
            ));
        }
        ("backup" | "restore", [file]) if typed.password_stdin && file != "-" => {
            backup::verb(verb, file, &typed)?
        }
        ("backup" | "restore", _) => {
            return Err(Usage::Wrong(format!(
                "name one file, and give its password on standard input: postern {verb} FILE --password-stdin"
            )));
        }
        ("import", [what]) if what == "uci" => Verb::Uci(beside::UCI.into(), typed.dry),
        ("import", [what, folder]) if what == "uci" => Verb::Uci(folder.into(), typed.dry),
        ("sides", []) => Verb::Sides,
        ("import", [file]) => {
            Verb::Plain(Request::Import { text: document(file)?, dry: typed.dry, base_revision: None })
        }
        ("import", _) => {
            return Err(Usage::Wrong("name one file to import, or - for standard input".to_owned()));
        }
        (verb, words) => {
            none_left(words)?;
            Verb::Plain(plain(verb, &typed)?)
        }
    };
    Ok(Command::Ask { door, json: typed.json, request: verb })
}

fn plain(verb: &str, typed: &Typed) -> Result<Request, Usage> {
    Ok(match verb {
        "status" => Request::Status,
        "confirm" => Request::Confirm { revision: None },
        "history" => Request::History { limit: typed.limit.unwrap_or(50) },
        "devices" => Request::Devices,
        "ports" => Request::Ports { ask: typed.ask },
        "rules" => Request::Rules,
        "check" => Request::Check,
        "mend" => Request::Mend,
        "look-again" => Request::LookAgain,
        "export" => Request::Export,
        "claim-code" => Request::ClaimCode,
        "stop" => Request::Stop,
        "restart" => Request::Restart { owner: Password(String::new()) },
        "reset" if typed.yes => {
            Request::Reset { owner: Password(String::new()), word: RESET_WORD.to_owned() }
        }
        "reset" => {
            return Err(Usage::Wrong(
                "that deletes settings, account, history and journal, and cannot be undone: postern reset --yes"
                    .to_owned(),
            ));
        }
        "claim" if typed.password_stdin => {
            Request::Claim { code: String::new(), password: Password(password_from_stdin()?) }
        }
        "password" if typed.password_stdin => {
            Request::Password { old: Password(String::new()), new: Password(password_from_stdin()?) }
        }
        "password" => {
            return Err(Usage::Wrong(
                "give it on standard input: postern password --password-stdin".to_owned(),
            ));
        }
        // A password among the arguments would be seen by every user of the box in the process list.
        "claim" => {
            return Err(Usage::Wrong(
                "give the password on standard input: postern claim --password-stdin".to_owned(),
            ));
        }
        other => return Err(Usage::Wrong(format!("there is no verb {other:?}"))),
    })
}

/// How to write it.
const FORWARD: &str = "write: postern forward add NAME --preset PRESET --to ADDRESS, postern forward add NAME --protocol \
     tcp|udp --port N[-M] --to ADDRESS[:PORT], postern forward remove NAME, or postern forward list";

fn forward(name: &str, words: &str) -> Request {
    let one = Assignment { key: format!("forwards.{name}"), value: words.to_owned() };
    Request::Change { base_revision: None, patch: vec![one], comment: String::new() }
}

/// What is forwarded and where, as the setting says it.
fn forward_words(typed: &Typed) -> Result<String, Usage> {
    let to = typed.to.as_deref();
    match (typed.preset.as_deref(), typed.protocol.as_deref(), typed.port.as_deref(), to) {
        (Some(preset), None, None, Some(to)) => Ok(format!("{preset} to {to}")),
        (None, Some(protocol), Some(port), Some(to)) => Ok(format!("{protocol} {port} to {to}")),
        _ => Err(Usage::Wrong(FORWARD.to_owned())),
    }
}

fn number(revision: &str) -> Result<i64, Usage> {
    revision.parse().map_err(|_| Usage::Wrong(format!("{revision:?} is no revision")))
}

fn none_left(words: &[String]) -> Result<(), Usage> {
    match words {
        [] => Ok(()),
        [first, ..] => Err(Usage::Wrong(format!("what is {first:?} for?"))),
    }
}

fn assignment(word: &str) -> Result<Assignment, Usage> {
    match word.split_once('=') {
        Some((key, value)) => Ok(Assignment { key: key.to_owned(), value: value.to_owned() }),
        None => Err(Usage::Wrong(format!("{word:?} is not KEY=VALUE"))),
    }
}

/// The document to import; a little more than may be sent is read, so that the daemon says what is too long.
fn document(file: &str) -> Result<String, Usage> {
    let mut text = String::new();
    let most = MAX_IMPORT as u64 + 1;
    let read = match file {
        "-" => std::io::stdin().take(most).read_to_string(&mut text),
        path => std::fs::File::open(path).and_then(|f| f.take(most).read_to_string(&mut text)),
    };
    read.map_err(|e| Usage::Wrong(format!("{file} could not be read: {e}")))?;
    Ok(text)
}

/// Asks the daemon and prints its answer. The error is what belongs on standard error.
pub async fn ask(door: &Path, json: bool, verb: Verb) -> Result<(), String> {
    let request = match &verb {
        Verb::Follow(filter) => return follow(door, json, filter).await,
        Verb::Uci(folder, dry) => return beside::import(door, json, folder, *dry).await,
        Verb::Sides => return beside::sides(json).and_then(|text| say(&text)),
        Verb::Try(tool, target) => return tools::run(door, json, *tool, target).await,
        Verb::FollowJournal(filter) => return journal::follow(door, json, filter).await,
        Verb::Get(_) | Verb::Forwards => Request::Settings,
        Verb::Plain(request) | Verb::Save(_, request) => request.clone(),
    };
    let call = Call { ticket: None, source: None, attended: true, request };
    let answer = Door::new(door.join(ADMIN)).call(call).await.map_err(|e| unreachable(door, &e))?;
    let text = match (answer, verb) {
        (Response::Refused(refusal), _) => return Err(show::refusal(&refusal, json)),
        (Response::Settings { settings, .. }, Verb::Get(key)) => {
            show::settings(&settings, key.as_deref(), json)?
        }
        (Response::Settings { settings, .. }, Verb::Forwards) => show::forwards(&settings.forwards, json)?,
        (Response::Text { text }, Verb::Save(file, _)) => backup::save(&file, &text)?,
        (answer, _) => show::answer(&answer, json)?,
    };
    say(&text)
}

/// To standard output. A reader that has seen enough (`postern rules | head`) is not a failure.
fn say(text: &str) -> Result<(), String> {
    match std::io::Write::write_all(&mut std::io::stdout(), text.as_bytes()) {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(format!("cannot write: {e}")),
        _ => Ok(()),
    }
}

/// VPN sessions whenever something is new, until nobody reads any more. As JSON, one line each time.
async fn follow(door: &Path, json: bool, filter: &Filter) -> Result<(), String> {
    let daemon = Door::new(door.join(ADMIN));
    let mut last = String::new();
    loop {
        let request = Request::Sessions { filter: filter.clone() };
        let call = Call { ticket: None, source: None, attended: false, request };
        let text = match daemon.call(call).await.map_err(|e| unreachable(door, &e))? {
            Response::Refused(refusal) => return Err(show::refusal(&refusal, json)),
            Response::Sessions(page) if json => {
                serde_json::to_string(&page).map_err(|e| format!("cannot print: {e}"))? + "\n"
            }
            answer => show::answer(&answer, false)?,
        };
        if text != last {
            let mut out = std::io::stdout();
            let gap = if json || last.is_empty() { "" } else { "\n" };
            let written = std::io::Write::write_all(&mut out, format!("{gap}{text}").as_bytes());
            if written.and_then(|()| std::io::Write::flush(&mut out)).is_err() {
                return Ok(());
            }
            last = text;
        }
        tokio::time::sleep(AGAIN).await;
    }
}

fn unreachable(door: &Path, error: &crate::door::client::DoorError) -> String {
    use std::error::Error;
    let why = error.source().map_or_else(String::new, |e| format!(" ({}: {e})", door.join(ADMIN).display()));
    format!("postern: {error}{why}. If it ran here, its last rules stay in force.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wrong(words: &[&str]) -> String {
        match parse(lexopt::Parser::from_args(words)) {
            Err(Usage::Wrong(why)) => why,
            Err(Usage::Asked(_)) => "help".to_owned(),
            Ok(_) => panic!("{words:?} was taken"),
        }
    }

    #[test]
    fn wrong_words_are_named() {
        assert!(wrong(&[]).contains("verb"));
        assert!(wrong(&["fly"]).contains("fly"));
        assert!(wrong(&["set", "passthrough.pptp.enabled"]).contains("KEY=VALUE"));
        assert!(wrong(&["status", "now"]).contains("now"));
        assert!(wrong(&["claim"]).contains("--password-stdin"));
        assert!(wrong(&["status", "--frob"]).contains("frob"));
        assert!(wrong(&["journal", "--kind", "magic"]).contains("attempt"));
        assert!(wrong(&["journal", "--since", "yesterday"]).contains("2h"));
    }

    #[test]
    fn an_option_that_the_verb_does_not_read_is_refused_and_nothing_is_done() {
        for words in [
            &["set", "role=router", "--dry-run"][..],
            &["undo", "--dry-run"],
            &["reset", "--yes", "--dry-run"],
            &["device", "remove", "02:00:00:00:01:65", "--dry-run"],
            &["forward", "remove", "web", "--dry-run"],
            &["backup", "/nowhere/file", "--password-stdin", "--dry-run"],
            &["restart", "--dry-run"],
            &["daemon", "--dry-run"],
            &["password", "--password-stdin", "--dry-run"],
        ] {
            let why = wrong(words);
            assert!(why.contains("what is --dry-run for?"), "{words:?}: {why}");
        }
        assert!(
            wrong(&["forward", "remove", "web", "--to", "x"]).contains("postern forward remove does not")
        );
        assert!(wrong(&["status", "--follow"]).contains("--follow"));
        assert!(wrong(&["status", "--state", "/tmp"]).contains("--state"));
    }

    #[test]
    fn every_option_is_taken_where_it_is_read_and_the_door_everywhere() {
        for words in [
            &["status", "--json"][..],
            &["daemon", "--state", "/tmp/s"],
            &["deny", "--state", "/tmp/s"],
            &["hand", "--state", "/tmp/s"],
            &["pppoe"],
            &["selftest", "passthrough.pptp.enabled=true", "--json"],
            &["set", "a=1", "--comment", "why", "--json"],
            &["undo", "--to", "3"],
            &["history", "--limit", "3"],
            &["sessions", "--filter", "x", "--skip", "1", "--limit", "2", "--follow", "--json"],
            &["journal", "--kind", "change", "--since", "2h", "--filter", "x", "--skip", "1", "--limit", "2"],
            &["journal", "--follow"],
            &["diagnose", "192.168.1.101", "--measure"],
            &["ports", "--ask"],
            &["device", "add", "02:00:00:00:01:65", "Laptop", "--address", "any"],
            &["forward", "add", "x", "--preset", "pptp", "--to", "192.168.1.101"],
            &["forward", "add", "x", "--protocol", "tcp", "--port", "80", "--to", "192.168.1.101:80"],
            &["import", "/dev/null", "--dry-run"],
            &["import", "uci", "/tmp", "--dry-run"],
            &["reset", "--yes"],
        ] {
            let all = [words, &["--door", "/tmp/d"]].concat();
            assert!(parse(lexopt::Parser::from_args(&all)).is_ok(), "{words:?}");
        }
    }

    #[test]
    fn a_set_is_one_change_and_values_may_hold_equal_signs() {
        let typed = ["set", "a=1", "b=x=y", "--comment", "why", "--door", "/tmp/d"];
        let Ok(Command::Ask { door, request: Verb::Plain(Request::Change { patch, comment, .. }), .. }) =
            parse(lexopt::Parser::from_args(typed))
        else {
            panic!("not a change")
        };
        assert_eq!(door, PathBuf::from("/tmp/d"));
        assert_eq!((patch.len(), patch[1].value.as_str(), comment.as_str()), (2, "x=y", "why"));
    }
}
