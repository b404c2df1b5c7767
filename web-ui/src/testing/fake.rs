//! A daemon for tests and for looking at the pages: it remembers settings and tickets, and every change it was told.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use postern::door::messages::{
    Assignment, Attempt, Barrier, Beside, Call, Cause, Clock, Defeated, Diagnosis, Effect, FromUci, Greeting,
    Helper, HelperState, InternetState, JournalEntry, JournalFilter, JournalKind, JournalPage, KnownDevice,
    Lack, LiveLogin, ManyClients, OverShare, Party, Port, Protocol, RESET_WORD, Refusal, RefusalKind, Report,
    Request, Response, Revision, Rules, SelfTest, Session, Status, Step, Trial,
};
use postern::kernel::SeenLink;
use postern::services::Service;
use postern::sessions::Folded;
use postern::settings::{FieldError, Role, Settings};
use postern_web::daemon::{Daemon, Silence};

// With a path, because the preview takes this file under another name.
#[path = "fake/beside.rs"]
pub mod beside;
#[path = "fake/changes.rs"]
mod changes;

/// The code of the fake box.
pub const CODE: &str = "gate-42";
/// The password of a claimed fake box.
pub const PASSWORD: &str = "correct horse battery";

/// The fake daemon.
pub struct Fake(Mutex<State>);

/// What it remembers, and how it shall behave; tests set it.
pub struct State {
    pub claimed: bool,
    pub password: String,
    /// Live logins: number and where from, by ticket.
    pub tickets: BTreeMap<String, (u64, IpAddr)>,
    last_login: u64,
    pub settings: Settings,
    pub history: Vec<Revision>,
    /// The document after each revision; first the factory state.
    documents: Vec<Settings>,
    /// Every change that was tried: base revision and patch.
    pub changes: Vec<(Option<i64>, Vec<Assignment>)>,
    /// Every import that was not dry: base revision and document.
    pub imports: Vec<(Option<i64>, String)>,
    /// `restart` and `reset`, as they were asked for.
    pub ends: Vec<&'static str>,
    pub confirmed: Vec<Option<i64>>,
    pub sources: Vec<IpAddr>,
    /// Of every call with a ticket, whether a person made it.
    pub attended: Vec<bool>,
    pub role: Role,
    /// Address of the internet port.
    pub internet: String,
    pub trial: Option<Trial>,
    pub rules: Rules,
    pub notices: Vec<String>,
    pub attempts: Vec<Attempt>,
    pub sessions: Vec<Session>,
    /// Newest first.
    pub journal: Vec<JournalEntry>,
    pub verdict: Diagnosis,
    /// What its clock says.
    pub now: i64,
    /// Who was asked about with pings.
    pub measured: Vec<Option<std::net::IpAddr>>,
    pub tried: Option<Report>,
    pub self_test: SelfTest,
    /// Names of the sessions that were ended.
    pub ended: Vec<String>,
    pub open: [u32; 3],
    pub must_redial: u32,
    pub reason: Option<String>,
    pub dhcp_dns: Service,
    pub internet_state: InternetState,
    pub ports: Vec<Port>,
    /// Every look at the ports: whether DHCP servers were to be looked for.
    pub port_looks: Vec<bool>,
    pub devices: Vec<KnownDevice>,
    /// Every change of a device that was tried: base revision and words.
    pub device_changes: Vec<(Option<i64>, String)>,
    pub lacks: Vec<Lack>,
    pub defeats: Vec<Defeated>,
    pub page_elsewhere: Vec<String>,
    /// Devices that hold too much of the connection table.
    pub over_share: Vec<OverShare>,
    pub beside: Beside,
    /// What OpenWrt's configuration says, or why it does not.
    pub uci: Result<FromUci, Refusal>,
    /// Every part of it that was taken: base revision, digest and words.
    pub taken: Vec<(Option<i64>, String, String)>,
    pub many_clients: ManyClients,
    /// The password was typed too long ago to open anything to the internet.
    pub stale: bool,
    /// Answers the next change of settings, rules or password.
    pub refuse: Option<Refusal>,
    /// Answers the next login.
    pub refuse_login: Option<Refusal>,
    pub silent: bool,
}

/// A refusal of this kind.
pub fn refusal(kind: RefusalKind, message: &str) -> Refusal {
    Refusal { kind, message: message.to_owned(), fields: Vec::new(), wait_seconds: 0 }
}

/// A device that tried this, three times.
pub fn attempt(key: &str, title: &str, can_switch_on: bool) -> Attempt {
    Attempt {
        key: key.into(),
        title: title.into(),
        device: postern::sessions::device([192, 168, 1, 23].into(), Some("3c:52:82:1a:0b:7f".into())),
        server: [203, 0, 113, 20].into(),
        servers: 1,
        times: 3,
        last_seconds: 20,
        can_switch_on,
        barrier: Barrier::Off,
    }
}

/// A line of the journal, of 2026-11-18 11:06 UTC.
pub fn line(id: i64, kind: JournalKind, who: &str, what: &str) -> JournalEntry {
    let (at, via) = (1_795_000_000, "192.168.1.23".to_owned());
    JournalEntry {
        id,
        at,
        until: at,
        times: 1,
        kind,
        who: who.into(),
        via,
        what: what.into(),
        changes: Vec::new(),
    }
}

/// Nothing to say.
pub fn healthy() -> Diagnosis {
    Diagnosis {
        cause: Cause::NothingSeen,
        title: "Nothing of a VPN has been seen".into(),
        explanation: "No packet of a VPN has come by in the last minutes.".into(),
        remedy: "Start the VPN on the device, then look again.".into(),
        action: None,
        device: None,
        server: None,
        server_name: None,
        steps: Vec::new(),
        can_measure: false,
    }
}

/// Trouble, with a word in it that is no markup.
pub fn verdict() -> Diagnosis {
    let step = |from, to, what: &str, seen| Step { from, to, what: what.into(), seen };
    Diagnosis {
        cause: Cause::GreUnanswered,
        title: "The server\u{2019}s GRE packets do not arrive".into(),
        explanation: "192.168.1.23 reached 203.0.113.20 and has sent 12 packets of GRE; none came back."
            .into(),
        remedy: "Your internet provider or the server\u{2019}s network blocks GRE (protocol 47).".into(),
        action: None,
        device: Some(postern::sessions::device([192, 168, 1, 23].into(), None)),
        server: Some([203, 0, 113, 20].into()),
        server_name: Some("vpn.example.com".into()),
        steps: vec![
            step(Party::Device, Party::Server, "GRE, 12 packets", true),
            step(Party::Server, Party::Router, "none <b>", false),
        ],
        can_measure: false,
    }
}

/// What the daemon's clock says, in seconds since 1970: another time than that of the machine which runs the tests.
pub const CLOCK: i64 = 1_795_257_000;

fn clock(zone: &postern::settings::names::TimeZone, now: i64) -> Clock {
    let mut clock = Clock::read(zone);
    clock.now = now;
    clock
}

/// Some sessions as the daemon would fold them.
pub fn some_sessions() -> Vec<Session> {
    use postern::sessions::{Call as CallIds, Kind, Sample, Spi, State as How, Traffic, device};
    let one = |kind: Kind, last: u8, server: u8, state: How, out: u64| Session {
        id: format!("{}-192.168.1.{last}-203.0.113.{server}", kind.word()),
        kind,
        device: device([192, 168, 1, last].into(), None),
        server: [203, 0, 113, server].into(),
        server_name: (server == 20).then(|| "vpn.example.com".to_owned()),
        server_port: None,
        state,
        since: Some(1_790_000_000),
        idle: Some(1),
        traffic: Some(Traffic { sent: out, received: 7 * out, packets_sent: 9, packets_received: 9 }),
        calls: Vec::new(),
        spis: Vec::new(),
        samples: (0..40)
            .rev()
            .map(|n| Sample {
                age_ms: n * 10_000,
                over_ms: 10_000,
                sent: 20_000 + n * n % 7 * 9000,
                received: n % 5 * 30_000,
            })
            .collect(),
        parts: Vec::new(),
        can_end: kind.passthrough().is_some(),
    };
    let spi = |number, sent| Spi { number, sent, sure: true };
    vec![
        Session {
            spis: vec![spi(0xc4a1_09be, true), spi(0x1122_3344, false)],
            ..one(Kind::IpsecEsp, 23, 10, How::Open, 48_000_000)
        },
        Session {
            server_port: Some(4500),
            samples: Vec::new(),
            ..one(Kind::IpsecNatT, 31, 10, How::Open, 2_000_000)
        },
        Session {
            calls: vec![CallIds { device: 7, server: 1024 }],
            server_port: Some(1723),
            traffic: None,
            samples: Vec::new(),
            ..one(Kind::Pptp, 23, 20, How::Halfway, 0)
        },
        Session { server_port: Some(51820), ..one(Kind::Wireguard, 40, 30, How::Calling, 1480) },
    ]
}

fn done(message: &str) -> Response {
    Response::Done { message: message.to_owned() }
}

impl Fake {
    /// Nobody has claimed it.
    pub fn unclaimed() -> Self {
        Self(Mutex::new(State {
            claimed: false,
            password: String::new(),
            tickets: BTreeMap::new(),
            last_login: 0,
            settings: Settings::default(),
            history: Vec::new(),
            documents: vec![Settings::default()],
            changes: Vec::new(),
            imports: Vec::new(),
            ends: Vec::new(),
            confirmed: Vec::new(),
            sources: Vec::new(),
            attended: Vec::new(),
            role: Role::Router,
            internet: "203.0.113.7".into(),
            trial: None,
            rules: Rules::Loaded,
            notices: Vec::new(),
            attempts: Vec::new(),
            sessions: Vec::new(),
            self_test: SelfTest::default(),
            journal: Vec::new(),
            verdict: healthy(),
            now: CLOCK,
            measured: Vec::new(),
            tried: None,
            ended: Vec::new(),
            open: [0; 3],
            must_redial: 0,
            reason: None,
            dhcp_dns: Service::Running,
            internet_state: InternetState::default(),
            ports: Vec::new(),
            port_looks: Vec::new(),
            devices: Vec::new(),
            device_changes: Vec::new(),
            lacks: Vec::new(),
            defeats: Vec::new(),
            page_elsewhere: Vec::new(),
            over_share: Vec::new(),
            beside: Beside::default(),
            uci: Ok(FromUci::default()),
            taken: Vec::new(),
            many_clients: ManyClients::default(),
            stale: false,
            refuse: None,
            refuse_login: None,
            silent: false,
        }))
    }

    /// Claimed, with [`PASSWORD`].
    pub fn claimed() -> Self {
        let fake = Self::unclaimed();
        (fake.state().claimed, fake.state().password) = (true, PASSWORD.to_owned());
        fake
    }

    /// To look and to set.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(|e| e.into_inner())
    }
}

impl State {
    fn ticket(&mut self, source: Option<IpAddr>) -> Response {
        self.last_login += 1;
        let ticket = format!("ticket-{}", self.last_login);
        let source = source.unwrap_or(IpAddr::from([127, 0, 0, 1]));
        self.tickets.insert(ticket.clone(), (self.last_login, source));
        Response::Ticket { ticket }
    }

    /// As if somebody had logged in from there.
    pub fn log_in(&mut self, source: [u8; 4]) {
        self.ticket(Some(source.into()));
    }

    fn logins(&self, ours: &str) -> Response {
        let mut logins: Vec<LiveLogin> = self
            .tickets
            .iter()
            .map(|(ticket, (id, source))| LiveLogin {
                id: *id,
                age_seconds: (self.last_login - id) * 2900 + 40,
                idle_seconds: if ticket == ours { 0 } else { 130 },
                device: postern::sessions::Device {
                    address: *source,
                    mac: Some("02:00:00:00:01:07".to_owned()),
                    name: Some("<b>desk".to_owned()),
                },
                current: ticket == ours,
            })
            .collect();
        logins.sort_by_key(|login| std::cmp::Reverse(login.id));
        Response::Logins { logins }
    }

    fn password(&mut self, old: &str, new: &str, ours: &str) -> Response {
        let wrong = |kind, key: &str, message: &str| Response::Refused(Refusal::field(kind, key, message));
        if old != self.password {
            return wrong(
                RefusalKind::Wrong,
                "old",
                "That is not the present password. Nothing was changed.",
            );
        }
        if new.chars().count() < 10 {
            return wrong(RefusalKind::Invalid, "password", TOO_SHORT);
        }
        self.password = new.to_owned();
        self.tickets.retain(|ticket, _| ticket == ours);
        done("The password is changed. Every other login has ended.")
    }

    /// As the daemon selects, as far as the pages can tell.
    fn journal(&self, filter: &JournalFilter) -> JournalPage {
        let fits = |line: &&JournalEntry| {
            filter.kind.is_none_or(|kind| kind == line.kind)
                && filter.since.is_none_or(|since| line.until >= since)
                && line.who.contains(&filter.text.to_lowercase())
        };
        let fitting: Vec<JournalEntry> = self.journal.iter().filter(fits).cloned().collect();
        let skipped = filter.skip.min(fitting.len());
        let count = |kind| self.journal.iter().filter(|line| line.kind == kind).count();
        JournalPage {
            total: self.journal.len(),
            matching: fitting.len(),
            skipped,
            entries: fitting.into_iter().skip(skipped).take(filter.limit).collect(),
            kinds: JournalKind::ALL
                .into_iter()
                .map(|kind| (kind, count(kind)))
                .filter(|one| one.1 > 0)
                .collect(),
            unwritten: None,
        }
    }

    fn protocol(&self, at: usize, name: &str, on: bool) -> Protocol {
        let open = if on { self.open[at] } else { 0 };
        let differs = self.rules != Rules::Loaded || self.reason.is_some() && name == "pptp";
        Protocol {
            name: name.into(),
            configured: on,
            effect: match (self.role, on, open) {
                (Role::Unset, ..) => Effect::Inactive,
                _ if differs => Effect::Differs,
                (_, false, _) => Effect::Blocked,
                (_, true, 0) => Effect::Ready,
                _ => Effect::Working,
            },
            reason: self.reason.clone().filter(|_| differs),
            passed: if on { 1_204_310 / (at as u64 * 40_000 + 1) } else { 0 },
            refused: if on { 0 } else { 7 },
            open,
            nat_traversal: if name == "ipsec" { open / 2 } else { 0 },
            must_redial: if name == "pptp" { self.must_redial } else { 0 },
        }
    }

    fn helper(&self, helper: Helper) -> HelperState {
        let on = helper.wanted(&self.settings);
        HelperState {
            helper,
            title: helper.name().to_uppercase(),
            configured: on,
            effect: match (self.role, on) {
                (Role::Unset, _) => Effect::Inactive,
                (_, true) => Effect::Ready,
                (_, false) => Effect::Blocked,
            },
            reason: None,
            attached: 0,
            let_in: 0,
        }
    }

    fn status(&self) -> Status {
        let p = &self.settings.passthrough;
        let link = |name: &str, address: &str, prefix| SeenLink {
            name: name.into(),
            up: true,
            carrier: true,
            addresses: address.parse().map(|a| vec![(a, prefix)]).unwrap_or_default(),
            mac: Some([2, 0, 0, 0, 0, 1]),
            index: 2,
            ..SeenLink::default()
        };
        let unset = self.role == Role::Unset;
        Status {
            fingerprint: Some("AB:CD".into()),
            revision: self.revision(),
            role: self.role,
            trial: self.trial.clone(),
            rules: if unset { Rules::NotWanted } else { self.rules.clone() },
            passthrough: vec![
                self.protocol(2, "pptp", p.pptp.enabled),
                self.protocol(1, "l2tp", p.l2tp.enabled),
                self.protocol(0, "ipsec", p.ipsec.enabled),
            ],
            helpers: Helper::ALL.into_iter().filter(|h| *h != Helper::Pptp).map(|h| self.helper(h)).collect(),
            many_clients: ManyClients {
                configured: p.ipsec.many_clients,
                in_force: p.ipsec.enabled && p.ipsec.many_clients,
                ..self.many_clients.clone()
            },
            lacks: self.lacks.clone(),
            flow_tables: false,
            internet: (!unset).then(|| link("wan0", &self.internet, 24)),
            local_network: (!unset).then(|| link("lan0", "192.168.1.1", 24)),
            dhcp_dns: self.dhcp_dns.clone(),
            internet_state: self.internet_state.clone(),
            conntrack: (318, 262_144),
            clock: clock(&self.settings.system.timezone, self.now),
            uptime_seconds: 4000,
            needs_mending: false,
            throughput: self.sessions.first().map(|one| one.samples.clone()).unwrap_or_default(),
            attempts: self.attempts.clone(),
            defeats: self.defeats.clone(),
            pages: Vec::new(),
            page_elsewhere: self.page_elsewhere.clone(),
            over_share: self.over_share.clone(),
            notices: self.notices.clone(),
        }
    }
}

#[async_trait]
impl Daemon for Fake {
    async fn call(&self, call: Call) -> Result<Response, Silence> {
        let mut state = self.state();
        if state.silent {
            return Err(Silence("nobody answers at the door".into()));
        }
        state.sources.extend(call.source);
        if call.ticket.is_some() {
            state.attended.push(call.attended);
        }
        let open = matches!(call.request, Request::Greeting | Request::Claim { .. } | Request::Login { .. });
        let known = call.ticket.as_ref().is_some_and(|t| state.tickets.contains_key(t));
        if !open && !known {
            return Ok(Response::Refused(refusal(
                RefusalKind::Login,
                "You were logged out after 10 idle minutes.",
            )));
        }
        let ours = call.ticket.unwrap_or_default();
        let refused = match call.request {
            Request::SetDevice { .. } | Request::RemoveDevice { .. } | Request::TakeUci { .. } => {
                state.refuse.take()
            }
            Request::Mend
            | Request::LookAgain
            | Request::Undo { .. }
            | Request::GoBack { .. }
            | Request::Backup { .. }
            | Request::Restart { .. }
            | Request::Prove { .. }
            | Request::Password { .. } => state.refuse.take(),
            Request::Restore { dry: false, .. } => state.refuse.take(),
            Request::Import { dry: false, .. } => state.refuse.take(),
            _ => None,
        };
        if let Some(refusal) = refused {
            return Ok(Response::Refused(refusal));
        }
        Ok(match call.request {
            Request::Greeting => Response::Greeting(Greeting {
                fingerprint: Some("AB:CD".into()),
                claimed: state.claimed,
                hosts: vec!["192.168.1.1".into(), "postern.home.arpa".into(), "127.0.0.1".into()],
                idle_minutes: 10,
            }),
            Request::Claim { code, password } if code == CODE && !state.claimed => {
                if password.0.chars().count() < 10 {
                    let fields = vec![FieldError::new("password", TOO_SHORT)];
                    return Ok(Response::Refused(Refusal {
                        fields,
                        ..refusal(RefusalKind::Invalid, "Not claimed.")
                    }));
                }
                (state.claimed, state.password) = (true, password.0);
                state.ticket(call.source)
            }
            Request::Claim { .. } => {
                Response::Refused(refusal(RefusalKind::Wrong, "That is not the one-time code."))
            }
            Request::Login { .. } if state.refuse_login.is_some() => Response::Refused(
                state.refuse_login.take().unwrap_or_else(|| refusal(RefusalKind::Wrong, "")),
            ),
            Request::Login { password } if password.0 == state.password => state.ticket(call.source),
            Request::Login { .. } => {
                Response::Refused(refusal(RefusalKind::Wrong, "That is not the password."))
            }
            Request::Logout => {
                state.tickets.remove(&ours);
                done("Logged out.")
            }
            Request::Settings => {
                Response::Settings { revision: state.revision(), settings: Box::new(state.settings.clone()) }
            }
            Request::Ports { ask } => {
                state.port_looks.push(ask);
                Response::Ports { ports: state.ports.clone() }
            }
            Request::Status => Response::Status(Box::new(state.status())),
            Request::Sessions { filter } => {
                let folded = |session: &Session| Folded { session: session.clone(), flows: Vec::new() };
                let all: Vec<Folded> = state.sessions.iter().map(folded).collect();
                Response::Sessions(Box::new(filter.page(&all)))
            }
            Request::BeginSelfTest => {
                state.self_test = SelfTest { running: true, ..SelfTest::default() };
                done("The self-test is running.")
            }
            Request::SelfTest => Response::SelfTest(Box::new(state.self_test.clone())),
            Request::Diagnose { device, measure } => {
                if measure {
                    state.measured.push(device);
                }
                Response::Diagnosis(Box::new(state.verdict.clone()))
            }
            Request::Tried => Response::Tried { report: state.tried.clone() },
            Request::Try { target, .. } if target.contains(' ') => {
                let said = "That is neither a name nor an address.";
                Response::Refused(Refusal::field(RefusalKind::Invalid, "target", said))
            }
            Request::Try { tool, target } => {
                let report = Report { id: 1, tool, target, address: None, rows: Vec::new(), verdict: None };
                state.tried = Some(report.clone());
                Response::Tried { report: Some(report) }
            }
            Request::EndSession { id } => {
                state.sessions.retain(|session| session.id != id);
                state.ended.push(id);
                done(
                    "PPTP from 192.168.1.23 to 203.0.113.20 has ended, with every PPTP call of the two. For a minute the two cannot begin it anew.",
                )
            }
            Request::Change { base_revision, patch, .. } => state.change(base_revision, patch),
            Request::Confirm { revision } => {
                state.trial = None;
                state.confirmed.push(revision);
                done("The settings are kept.")
            }
            Request::History { limit } => {
                Response::History { revisions: state.history.iter().take(limit as usize).cloned().collect() }
            }
            Request::Journal { filter } => Response::Journal(Box::new(state.journal(&filter))),
            Request::Undo { revision }
                if state.trial.take_if(|trial| Some(trial.revision) == revision).is_some() =>
            {
                done("The settings before are in force again.")
            }
            Request::Undo { revision } => state.undo(revision),
            Request::GoBack { revision } => state.go_back(revision),
            Request::Export => Response::Text { text: state.settings.masked().to_toml() },
            Request::Import { text, dry, base_revision } => state.import(&text, dry, base_revision),
            Request::Backup { owner, .. }
            | Request::Restore { owner, .. }
            | Request::Restart { owner }
            | Request::Prove { owner }
            | Request::Reset { owner, .. }
                if owner.0 != state.password =>
            {
                let said = "That is not the password of this router. Nothing was done.";
                Response::Refused(Refusal::field(RefusalKind::Wrong, "owner", said))
            }
            Request::Backup { password, .. } => {
                Response::Text { text: format!("sealed {}\n{}", password.0, state.settings.to_toml()) }
            }
            Request::Restore { password, text, dry, base_revision, .. } => {
                match text.strip_prefix("sealed ").and_then(|text| text.split_once('\n')) {
                    Some((sealed_with, document)) if sealed_with == password.0 => {
                        state.import(document, dry, base_revision)
                    }
                    Some(_) => {
                        let said = "That is not the password of this backup.";
                        Response::Refused(Refusal::field(RefusalKind::Invalid, "password", said))
                    }
                    None => {
                        let said = "That is no backup of Postern.";
                        Response::Refused(Refusal::field(RefusalKind::Invalid, "backup", said))
                    }
                }
            }
            Request::Restart { .. } => {
                state.ends.push("restart");
                state.tickets.clear();
                done("Postern restarts. The rules stay in force, and every login ends.")
            }
            Request::Prove { .. } => {
                state.stale = false;
                done("That is the password of this router.")
            }
            Request::Reset { word, .. } if word != RESET_WORD => {
                Response::Refused(Refusal::field(RefusalKind::Invalid, "word", "Type the word reset here."))
            }
            Request::Reset { .. } => {
                state.ends.push("reset");
                state.tickets.clear();
                done("Everything goes.")
            }
            Request::Mend => {
                state.rules = Rules::Loaded;
                done("The rules of these settings were loaded anew.")
            }
            Request::LookAgain => {
                state.lacks.clear();
                done("This kernel can do everything.")
            }
            Request::Password { old, new } => state.password(&old.0, &new.0, &ours),
            Request::Logins => state.logins(&ours),
            Request::EndLogin { id } => {
                state.tickets.retain(|_, (its, _)| *its != id);
                done("That login has ended.")
            }
            Request::Beside => Response::Beside(Box::new(state.beside.clone())),
            Request::FromUci => match state.uci.clone() {
                Ok(from) => Response::FromUci(Box::new(from)),
                Err(refusal) => Response::Refused(refusal),
            },
            Request::TakeUci { base_revision, digest, parts } => {
                let words: Vec<&str> = parts.iter().map(|part| part.word()).collect();
                state.taken.push((base_revision, digest, words.join(" ")));
                done("What was ticked is taken.")
            }
            Request::Rules => Response::Text { text: RULES.into() },
            Request::Devices => Response::Devices { devices: state.devices.clone(), left_out: 0 },
            Request::SetDevice { base_revision, mac, name, address } => {
                state
                    .device_changes
                    .push((base_revision, format!("{mac} {name} {}", address.unwrap_or_default())));
                done("The device is set.")
            }
            Request::EndConnections { mac } => {
                state.over_share.retain(|one| one.device.mac.as_ref() != Some(&mac));
                state.ended.push(mac);
                done("90,000 connections have ended.")
            }
            Request::RemoveDevice { base_revision, mac } => {
                state.device_changes.push((base_revision, format!("remove {mac}")));
                done("Nothing is set for that device any more.")
            }
            _ => Response::Refused(refusal(RefusalKind::Forbidden, "This socket may not ask that.")),
        })
    }
}

const TOO_SHORT: &str = "The password is too short: take 10 characters or more.";

const RULES: &str = "table inet postern {\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n\
    \t\tct state vmap { established : accept, related : jump related, invalid : drop }\n\
    \t\tip protocol gre counter name pptp_refused drop comment \"PPTP is off: its calls may not begin\"\n\t\tdrop\n\t}\n}\n";
