//! `postern-web`: the pages, on the listeners that the daemon hands over. By any other name it is `postern`: what ships is this one
//! program and a link to it (packaging/README.md).

use std::alloc::System;
use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use postern::door::{self, client};
use postern::log;
use postern_web::{Config, app, confine, serve};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use zeroizing_alloc::ZeroAlloc;

const USAGE: &str = "usage: postern-web [--door DIR] [--listen ADDRESS:PORT]
  --door DIR             where the daemon's sockets are (default $POSTERN_DOOR, then /run/postern)
  --listen ADDRESS:PORT  serve there instead of on the listeners of the daemon; for tests";

/// What is given back is wiped: forms bear passwords, and whoever takes over this process reads its memory.
#[global_allocator]
static ALLOCATOR: ZeroAlloc<System> = ZeroAlloc(System);

/// The name by which this program is the pages.
const NAME: &str = "postern-web";

/// What the command line asks for.
struct Asked {
    door: PathBuf,
    listen: Option<SocketAddr>,
}

fn main() -> ExitCode {
    let name = std::env::args_os().next().unwrap_or_default();
    if Path::new(&name).file_name() == Some(NAME.as_ref()) { pages() } else { postern::program::main() }
}

fn pages() -> ExitCode {
    let asked = match parse(lexopt::Parser::from_env()) {
        Ok(Some(asked)) => asked,
        Ok(None) => {
            println!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        Err(why) => {
            eprintln!("postern-web: {why}\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    // A panic ends one request, not the process; its line in the log is one like the others.
    std::panic::set_hook(Box::new(|panic| log::warning(&panic.to_string())));
    // One thread: the pages wait for the daemon, not for the processor.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime.and_then(|runtime| runtime.block_on(run(asked))) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            log::warning(&format!("postern-web ends: {e}"));
            ExitCode::FAILURE
        }
    }
}

fn parse(mut words: lexopt::Parser) -> Result<Option<Asked>, lexopt::Error> {
    use lexopt::prelude::*;
    let from_environment: Option<OsString> = std::env::var_os("POSTERN_DOOR").filter(|door| !door.is_empty());
    let mut asked =
        Asked { door: from_environment.unwrap_or_else(|| door::DIRECTORY.into()).into(), listen: None };
    while let Some(word) = words.next()? {
        match word {
            Long("door") => asked.door = words.value()?.into(),
            // An address, not a name: looking up names needs files that a static binary may not find.
            Long("listen") => asked.listen = Some(words.value()?.parse()?),
            Short('h') | Long("help") => return Ok(None),
            _ => return Err(word.unexpected()),
        }
    }
    Ok(Some(asked))
}

async fn run(asked: Asked) -> std::io::Result<()> {
    let socket = asked.door.join(door::WEB);
    let (give, take) = mpsc::channel(1);
    match asked.listen {
        Some(address) => {
            let listener = std::net::TcpListener::bind(address)?;
            log::info(&format!("the pages are at http://{}", listener.local_addr()?));
            // The channel was just made and holds one.
            let alone = client::Handed { listeners: vec![listener], https: None };
            give.try_send(alone).map_err(std::io::Error::other)?;
        }
        None => drop(tokio::spawn(client::listen(socket.clone(), give))),
    }
    let config = Config { listen: asked.listen, ..Config::default() };
    let app = app(Arc::new(client::Door::new(socket)), &config);
    let mut terminated = signal(SignalKind::terminate())?;
    let mut interrupted = signal(SignalKind::interrupt())?;
    // Everything is open that ever will be, and nobody has been answered yet: no task runs before the next await.
    confine::confine();
    let stop = async {
        tokio::select! {
            _ = terminated.recv() => {}
            _ = interrupted.recv() => {}
        }
    };
    serve::serve(app, config.https, take, asked.listen.is_none(), serve::Limits::default(), stop).await;
    Ok(())
}
