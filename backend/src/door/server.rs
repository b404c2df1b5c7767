//! The daemon's side: who may ask what, and the answer.

use std::net::{IpAddr, Ipv4Addr};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Mutex, Semaphore, watch};
use tokio::time::timeout;

use super::descriptors;
use super::frame::{self, FrameError};
use super::listeners::Listeners;
use super::messages::{
    Call, Greeting, Hello, Https, LiveLogin, MAX_IMPORT, Refusal, RefusalKind, Request, Response, VERSION,
};
use super::selftest::SelfTests;
use crate::appliance::{Appliance, Author, Imported};
use crate::certificate::{Certificate, Certificates};
use crate::journal::{By, Journal, JournalKind};
use crate::kernel::Kernel;
use crate::log;
use crate::login::{Logins, Ticket};
use crate::tools::{Paths, Tools};

/// Connections at once, per socket.
const AT_ONCE: usize = 64;
/// Of them, those that send a backup.
const LARGE_AT_ONCE: usize = 1;
/// A connection that says nothing at first is closed after this time.
const GREETING_TIME: Duration = Duration::from_secs(5);

/// Pause before an address that could not be had is tried again.
const AGAIN: Duration = Duration::from_secs(1);
/// The same after [`TRIES`]: each may be a process of its own (`kernel/hand.rs`).
const LATER: Duration = Duration::from_secs(10);
/// IPv6 looks for duplicates for a second or two.
const TRIES: u32 = 10;

/// Why the daemon shall end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// By `postern stop`.
    Stopped,
    /// To be started again.
    Restart,
    /// To be started again, after everything was forgotten.
    Reset,
}

/// Which socket a call came through; the file mode has decided who can reach it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Web,
    Admin,
}

/// What answers.
#[derive(Debug)]
pub struct Server<K> {
    pub(super) appliance: Arc<Appliance<K>>,
    pub(super) logins: Logins,
    tools: Tools,
    certificates: Certificates,
    paths: Paths,
    listeners: Mutex<Listeners>,
    self_tests: SelfTests,
    /// Counts up when the listeners have changed.
    listening: watch::Sender<u64>,
    stop: watch::Sender<Option<Ended>>,
}

impl<K: Kernel> Server<K> {
    /// For this box, its logins and its certificate.
    pub fn new(appliance: Arc<Appliance<K>>, logins: Logins, certificates: Certificates) -> Arc<Self> {
        Arc::new(Self {
            appliance,
            logins,
            tools: Tools::default(),
            certificates,
            paths: Paths::default(),
            listeners: Mutex::default(),
            self_tests: SelfTests::default(),
            listening: watch::Sender::new(0),
            stop: watch::Sender::new(None),
        })
    }

    /// Makes both sockets in `dir` and answers until an end was asked for. `web_group` is the group id of the web
    /// process; none: only the daemon's own user reaches `web.sock`.
    pub async fn serve(self: Arc<Self>, dir: &Path, web_group: Option<u32>) -> std::io::Result<Ended> {
        let web = bind(&dir.join(super::WEB), web_group)?;
        let admin = bind(&dir.join(super::ADMIN), None)?;
        tokio::spawn(self.clone().keep_listeners());
        let mut stop = self.stop.subscribe();
        tokio::select! {
            () = self.clone().accept(web, Side::Web) => Ok(Ended::Stopped),
            () = self.clone().accept(admin, Side::Admin) => Ok(Ended::Stopped),
            ended = stop.wait_for(Option::is_some) => Ok(ended.ok().and_then(|ended| *ended).unwrap_or(Ended::Stopped)),
        }
    }

    /// Follows the addresses. One that cannot be had yet (IPv6 looks for duplicates first) is tried again.
    async fn keep_listeners(self: Arc<Self>) {
        let mut wanted = self.appliance.admin_addresses();
        let mut tries = 0;
        loop {
            let addresses = wanted.borrow_and_update().clone();
            tries += 1;
            let mut listeners = self.listeners.lock().await;
            let changed = listeners.become_these(&addresses).await;
            if listeners.moved() {
                self.appliance.note_taken_ports();
            }
            drop(listeners);
            if changed {
                self.listening.send_modify(|n| *n += 1);
            }
            let missing = self.listeners.lock().await.each().0.len() < addresses.len();
            tokio::select! {
                differs = wanted.changed() => match differs {
                    Ok(()) => tries = 0,
                    Err(_) => return,
                },
                () = tokio::time::sleep(if tries < TRIES { AGAIN } else { LATER }), if missing => {}
            }
        }
    }

    async fn accept(self: Arc<Self>, listener: UnixListener, side: Side) {
        let places = Arc::new(Semaphore::new(AT_ONCE));
        let large = Arc::new(Semaphore::new(LARGE_AT_ONCE));
        loop {
            let Ok(place) = places.clone().acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => {
                    let (this, large) = (self.clone(), large.clone());
                    tokio::spawn(async move {
                        // A broken or talkative peer is its own problem; its connection ends.
                        let _ = this.talk(stream, side, &large).await;
                        drop(place);
                    });
                }
                Err(e) => {
                    log::warning(&format!("the door could not take a connection: {e}"));
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        }
    }

    async fn talk(&self, mut stream: UnixStream, side: Side, large: &Semaphore) -> Result<(), FrameError> {
        let hello = timeout(GREETING_TIME, frame::read::<Hello>(&mut stream, frame::REQUEST));
        let Ok(hello) = hello.await else { return Ok(()) };
        match hello? {
            Some(hello) if hello.version == VERSION => {}
            Some(hello) => {
                let said = format!(
                    "This daemon speaks version {VERSION} of the door, not {}. Restart both.",
                    hello.version
                );
                return frame::write(&mut stream, &refused(Refusal::of(RefusalKind::Forbidden, said))).await;
            }
            None => return Ok(()),
        }
        while let Some(call) = frame::read_request::<Call>(&mut stream, large).await? {
            if call.request == Request::Listen {
                return if side == Side::Web { self.hand_over(stream).await } else { Ok(()) };
            }
            let end = match call.request {
                Request::Stop => Some(Ended::Stopped),
                Request::Restart { .. } => Some(Ended::Restart),
                Request::Reset { .. } => Some(Ended::Reset),
                _ => None,
            };
            let answer = self.answer(call, side).await;
            let done = matches!(answer, Ok(Response::Done { .. }));
            let written = frame::write(&mut stream, &answer.unwrap_or_else(refused)).await;
            // Even if nobody waits for the answer any more.
            if end.is_some() && done {
                self.stop.send_replace(end);
            }
            written?;
        }
        Ok(())
    }

    /// Sends the listening sockets now and whenever they change, until the web process goes.
    async fn hand_over(&self, mut stream: UnixStream) -> Result<(), FrameError> {
        let mut listening = self.listening.subscribe();
        let mut renamed = self.certificates.renamed();
        // Two ports that change places listen where they did, and mean something else.
        let mut in_force = self.appliance.in_force();
        let mut told = None;
        loop {
            let count = *listening.borrow_and_update();
            renamed.borrow_and_update();
            in_force.borrow_and_update();
            let https = self.https().await;
            if told.as_ref() != Some(&(count, https.clone())) {
                // Copies: a web process that does not read must not hold up the others.
                let (addresses, sockets) = self.listeners.lock().await.copies()?;
                let sockets: Vec<&std::net::TcpListener> = sockets.iter().collect();
                told = Some((count, https.clone()));
                descriptors::send(&mut stream, &Response::Listeners { addresses, https }, &sockets).await?;
            }
            tokio::select! {
                changed = listening.changed() => if changed.is_err() { return Ok(()) },
                changed = renamed.changed() => if changed.is_err() { return Ok(()) },
                changed = in_force.changed() => if changed.is_err() { return Ok(()) },
                // The web process has nothing to say here: whatever is readable is its end.
                _ = stream.readable() => return Ok(()),
            }
        }
    }

    async fn answer(&self, call: Call, side: Side) -> Result<Response, Refusal> {
        let source = call.source.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        match &call.request {
            Request::Greeting => return self.greeting().await,
            Request::Claim { code, password } => {
                let code = (side == Side::Web).then_some(code.as_str());
                let tried = self.logins.claim(code, &password.0, source).await;
                self.note_login(side, source, &tried, "gave a wrong claim code");
                let ticket = tried?;
                match side {
                    Side::Admin => {
                        // The command line keeps no login.
                        self.logins.logout(&ticket);
                        log::info("this box was claimed by root on the command line");
                        self.journal().note(JournalKind::Login, Author::command_line().by(), "took this box");
                    }
                    Side::Web => {
                        log::info(&format!("this box was claimed from {source}"));
                        let author = Author::browser(Some(source));
                        self.journal().note(JournalKind::Login, author.by(), "took this box");
                    }
                }
                return Ok(Response::Ticket { ticket });
            }
            Request::Login { password } => {
                let tried = self.logins.login(&password.0, source).await;
                self.note_login(side, source, &tried, "gave a wrong password");
                match &tried {
                    Ok(_) => {
                        log::info(&format!("login from {source}"));
                        let author = Author::browser(Some(source));
                        self.journal().note(JournalKind::Login, author.by(), "logged in");
                    }
                    Err(refusal) if refusal.kind == RefusalKind::Wrong => {
                        log::warning(&format!("wrong password from {source}"));
                    }
                    Err(_) => {} // told to wait: not worth a line each, an attacker would fill the log
                }
                return Ok(Response::Ticket { ticket: tried? });
            }
            _ => {}
        }
        if side == Side::Web {
            self.needs_login(&call)?;
        }
        self.answer_owner(call, side).await
    }

    fn needs_login(&self, call: &Call) -> Result<(), Refusal> {
        let idle = self.idle();
        match call.ticket.as_deref().map(|ticket| self.logins.check(ticket, call.attended, idle)) {
            Some(Ticket::Live) => Ok(()),
            _ => Err(Refusal::of(RefusalKind::Login, "This login has ended. Log in again.")),
        }
    }

    /// What only the owner may ask, who has been proved: by a ticket, or by reaching `admin.sock`.
    async fn answer_owner(&self, call: Call, side: Side) -> Result<Response, Refusal> {
        let author = match side {
            Side::Admin => Author::command_line(),
            Side::Web => {
                let fresh = call.ticket.as_deref().is_some_and(|ticket| self.logins.fresh(ticket));
                Author::browser(call.source).with_proof(fresh)
            }
        };
        let admin_only = || match side {
            Side::Admin => Ok(()),
            Side::Web => {
                Err(Refusal::of(RefusalKind::Forbidden, "Only root may do that, on the command line."))
            }
        };
        let done = |message| Ok(Response::Done { message });
        match call.request {
            Request::Logout => {
                self.logins.logout(call.ticket.as_deref().unwrap_or_default());
                self.journal().note(JournalKind::Login, author.by(), "logged out");
                done("You are logged out.".to_owned())
            }
            Request::ClaimCode => {
                admin_only()?;
                done(self.logins.claim_code().await?)
            }
            Request::Settings => {
                let (revision, settings) = self.appliance.settings();
                // The web process shows that there is a password, never which.
                let settings = if side == Side::Web { settings.masked() } else { settings };
                Ok(Response::Settings { revision, settings: Box::new(settings) })
            }
            Request::Status => {
                let mut status = self.appliance.status().await;
                status.fingerprint = self.certificate().await.map(|it| it.fingerprint());
                status.notices.extend(self.logins.notices());
                let listeners = self.listeners.lock().await;
                (status.pages, status.page_elsewhere) = (listeners.each().0, listeners.notices());
                drop(listeners);
                status.notices.extend(status.page_elsewhere.iter().cloned());
                Ok(Response::Status(Box::new(status)))
            }
            Request::Sessions { filter } => {
                Ok(Response::Sessions(Box::new(self.appliance.sessions(&filter).await?)))
            }
            Request::BeginSelfTest => {
                let (_, settings) = self.appliance.settings();
                done(self.self_tests.begin(settings.passthrough))
            }
            Request::SelfTest => Ok(Response::SelfTest(Box::new(self.self_tests.told()))),
            Request::Diagnose { device, measure } => {
                let sends = self.appliance.largest_sent().await?;
                let mut said = self.appliance.diagnose(device, &self.paths.told(sends)).await?;
                if let Some(server) = said.server.filter(|_| measure && said.can_measure) {
                    self.paths.measure(server, sends).await;
                    let device = device.or_else(|| said.device.map(|device| device.address));
                    said = self.appliance.diagnose(device, &self.paths.told(sends)).await?;
                }
                Ok(Response::Diagnosis(Box::new(said)))
            }
            Request::Try { tool, target } => {
                let report = self.tools.begin(tool, &target, self.appliance.resolvers())?;
                Ok(Response::Tried { report: Some(report) })
            }
            Request::Tried => Ok(Response::Tried { report: self.tools.newest() }),
            Request::EndSession { id } => {
                let Some(ended) = self.appliance.end_session(&id).await? else {
                    return done("There is no such session: it may have ended already.".to_owned());
                };
                log::info(&format!("{} ended a VPN session", author.who));
                self.journal().note(JournalKind::Change, author.by(), "ended a VPN session");
                done(ended)
            }
            Request::Change { base_revision, patch, comment } => {
                done(self.appliance.change(base_revision, &patch, &comment, author).await?)
            }
            Request::Confirm { revision } => done(self.appliance.confirm(revision, author).await?),
            Request::Undo { revision } => done(self.appliance.undo(revision, author).await?),
            Request::GoBack { revision } => done(self.appliance.go_back_to(revision, author).await?),
            Request::Mend => done(self.appliance.mend_rules(author).await?),
            Request::LookAgain => done(self.appliance.look_again().await?),
            Request::Export => {
                let (_, settings) = self.appliance.settings();
                // The web process may look but not know; what root does with its secrets is root's affair.
                let settings = if side == Side::Web { settings.masked() } else { settings };
                Ok(Response::Text { text: settings.to_toml() })
            }
            Request::Import { text, .. } if text.len() > MAX_IMPORT => Err(Refusal::field(
                RefusalKind::Invalid,
                "",
                format!("The document has {} bytes; at most {MAX_IMPORT} are taken.", text.len()),
            )),
            Request::Import { text, dry, base_revision } => {
                match self.appliance.import(&text, dry, base_revision, author).await? {
                    Imported::Would(differs) => Ok(Response::Differences { differs }),
                    Imported::Done(message) => done(message),
                }
            }
            Request::Backup { .. }
            | Request::Restore { .. }
            | Request::Restart { .. }
            | Request::Prove { .. }
            | Request::Reset { .. } => self.answer_guarded(call, side, author).await,
            Request::Password { .. } | Request::Logins | Request::EndLogin { .. } => {
                self.answer_account(call, side, &author).await
            }
            Request::History { limit } => {
                Ok(Response::History { revisions: self.appliance.history(limit).await? })
            }
            Request::Journal { filter } => {
                Ok(Response::Journal(Box::new(self.appliance.told(&filter).await)))
            }
            Request::Ports { ask } => Ok(Response::Ports { ports: self.appliance.ports(ask).await? }),
            Request::Beside => Ok(Response::Beside(Box::new(self.appliance.beside().await))),
            Request::FromUci => Ok(Response::FromUci(Box::new(self.appliance.from_uci()?))),
            Request::TakeUci { base_revision, digest, parts } => {
                done(self.appliance.take_uci(base_revision, &digest, &parts, author).await?)
            }
            Request::Devices => {
                let (devices, left_out) = self.appliance.devices().await;
                Ok(Response::Devices { devices, left_out })
            }
            Request::SetDevice { base_revision, mac, name, address } => done(
                self.appliance.set_device(base_revision, [&mac, &name], address.as_deref(), author).await?,
            ),
            Request::RemoveDevice { base_revision, mac } => {
                done(self.appliance.remove_device(base_revision, &mac, author).await?)
            }
            Request::EndConnections { mac } => {
                let ended = self.appliance.end_connections(&mac).await?;
                log::info(&format!("{} ended every connection of {}", author.who, mac.trim()));
                self.journal().note(
                    JournalKind::Change,
                    author.by(),
                    &format!("ended every connection of {}", mac.trim()),
                );
                done(ended)
            }
            Request::Rules => Ok(Response::Text { text: self.appliance.rules().await }),
            Request::Check => done(self.appliance.check().await?),
            Request::Stop => {
                admin_only()?;
                done(self.appliance.stop().await?)
            }
            Request::Greeting | Request::Claim { .. } | Request::Login { .. } | Request::Listen => {
                Err(Refusal::of(RefusalKind::Forbidden, "That was answered elsewhere."))
            }
        }
    }

    async fn answer_account(&self, call: Call, side: Side, author: &Author) -> Result<Response, Refusal> {
        let source = call.source.unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED));
        let ticket = call.ticket.as_deref().unwrap_or_default();
        let done = |message: &str| Ok(Response::Done { message: message.to_owned() });
        match call.request {
            Request::Password { old, new } => {
                let old = (side == Side::Web).then_some((old.0.as_str(), ticket));
                let changed = self.logins.change_password(old, &new.0, source).await;
                self.note_login(side, source, &changed, "gave a wrong old password");
                changed?;
                self.journal().note(JournalKind::Login, author.by(), "changed the password");
                log::info("the password was changed; every other login has ended");
                done("The password is changed. Every other login has ended.")
            }
            Request::EndLogin { id } if self.logins.end(id) => {
                self.journal().note(JournalKind::Login, author.by(), "ended another login");
                done("That login has ended.")
            }
            Request::EndLogin { .. } => done("That login had ended already."),
            _ => {
                let live = self.logins.live(self.idle());
                let devices = self.appliance.whose(live.iter().map(|live| live.source)).await;
                let logins = live.into_iter().zip(devices).map(|(live, device)| LiveLogin {
                    id: live.id,
                    age_seconds: live.age.as_secs(),
                    idle_seconds: live.idle.as_secs(),
                    device,
                    current: live.ticket == ticket,
                });
                Ok(Response::Logins { logins: logins.collect() })
            }
        }
    }

    pub(super) fn journal(&self) -> &Journal {
        self.appliance.journal()
    }

    /// A password or code that was refused: counted, for an attacker makes as many as he likes.
    pub(super) fn note_login<T>(&self, side: Side, source: IpAddr, tried: &Result<T, Refusal>, wrong: &str) {
        let what = match tried.as_ref().err().map(|refusal| refusal.kind) {
            Some(RefusalKind::Wrong) => wrong,
            Some(RefusalKind::Wait) => "had to wait after wrong passwords",
            _ => return,
        };
        let via = if side == Side::Web { source.to_string() } else { "command line".to_owned() };
        self.journal().count(JournalKind::Refused, By { who: "somebody", via: &via }, what, 1, 0);
    }

    /// How long a login may idle.
    fn idle(&self) -> Duration {
        let (_, settings) = self.appliance.settings();
        Duration::from_secs(60 * u64::from(settings.access.idle_minutes.minutes()))
    }

    async fn greeting(&self) -> Result<Response, Refusal> {
        let (_, settings) = self.appliance.settings();
        let listening = self.appliance.admin_addresses().borrow().clone();
        let name = settings.system.name.to_string();
        let mut hosts = vec![format!("{name}.{}", settings.local_network.domain), name];
        hosts.extend(listening.iter().map(|address| address.ip().to_string()));
        Ok(Response::Greeting(Greeting {
            claimed: self.logins.claimed().await?,
            hosts,
            idle_minutes: settings.access.idle_minutes.minutes(),
            fingerprint: self.certificate().await.map(|it| it.fingerprint()),
        }))
    }

    /// For the names of the settings, and not for whatever address the box has now: so the owner of a new box has seen at
    /// the claim what he meets when HTTPS is on.
    async fn certificate(&self) -> Option<Certificate> {
        let (_, settings) = self.appliance.settings();
        let name = settings.system.name.to_string();
        let address = settings.local_network.address.address().to_string();
        let names = [format!("{name}.{}", settings.local_network.domain), name, address];
        let made = self.certificates.certificate(&names).await;
        made.inspect_err(|error| log::warning(&error.to_string())).ok()
    }

    /// None: HTTPS is off, or has no certificate. Then plain HTTP goes on, so that the owner is not locked out.
    async fn https(&self) -> Option<Https> {
        let (_, settings) = self.appliance.settings();
        if !settings.access.https {
            return None;
        }
        let ports = self.listeners.lock().await.in_place_of(settings.access.https_port.number());
        // Nothing listens there yet: what is told must be true.
        (!ports.is_empty()).then_some(Https { ports, certificate: self.certificate().await? })
    }
}

fn refused(refusal: Refusal) -> Response {
    Response::Refused(refusal)
}

/// A fresh socket of mode 0660. The kernel checks the mode at connect(2): that is the whole of who may ask.
fn bind(path: &Path, group: Option<u32>) -> std::io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    if let Some(group) = group {
        std::os::unix::fs::chown(path, None, Some(group))?;
    }
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o660))?;
    Ok(listener)
}
