//! A daemon for tests and for looking at the pages: it remembers settings and tickets, and every change it was told.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard};

use async_trait::async_trait;
use postern::door::messages::{
    Assignment, Call, Effect, Greeting, LiveLogin, Protocol, Refusal, RefusalKind, Request, Response,
    Revision, Rules, Status, Trial,
};
use postern::kernel::SeenLink;
use postern::settings::{FieldError, Role, Settings};
use postern_web::daemon::{Daemon, Silence};

// With a path, because the preview takes this file under another name.
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
    pub confirmed: Vec<Option<i64>>,
    pub sources: Vec<IpAddr>,
    pub role: Role,
    pub trial: Option<Trial>,
    pub rules: Rules,
    pub notices: Vec<String>,
    pub open: [u32; 3],
    pub must_redial: u32,
    pub reason: Option<String>,
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
            confirmed: Vec::new(),
            sources: Vec::new(),
            role: Role::Router,
            trial: None,
            rules: Rules::Loaded,
            notices: Vec::new(),
            open: [0; 3],
            must_redial: 0,
            reason: None,
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
                source: *source,
                current: ticket == ours,
            })
            .collect();
        logins.sort_by_key(|login| std::cmp::Reverse(login.id));
        Response::Logins { logins }
    }

    fn password(&mut self, old: &str, new: &str, ours: &str) -> Response {
        let wrong = |kind, key: &str, message: &str| Response::Refused(Refusal::field(kind, key, message));
        if old != self.password {
            return wrong(RefusalKind::Wrong, "old", "That is not the password of now. Nothing was changed.");
        }
        if new.chars().count() < 10 {
            return wrong(RefusalKind::Invalid, "password", TOO_SHORT);
        }
        self.password = new.to_owned();
        self.tickets.retain(|ticket, _| ticket == ours);
        done("The password is changed. Every other login has ended.")
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

    fn status(&self) -> Status {
        let p = &self.settings.passthrough;
        let link = |name: &str, address: &str, prefix| SeenLink {
            name: name.into(),
            up: true,
            carrier: true,
            addresses: address.parse().map(|a| vec![(a, prefix)]).unwrap_or_default(),
            mac: Some([2, 0, 0, 0, 0, 1]),
            index: 2,
        };
        let unset = self.role == Role::Unset;
        Status {
            revision: self.revision(),
            role: self.role,
            trial: self.trial.clone(),
            rules: if unset { Rules::NotWanted } else { self.rules.clone() },
            passthrough: vec![
                self.protocol(2, "pptp", p.pptp.enabled),
                self.protocol(1, "l2tp", p.l2tp.enabled),
                self.protocol(0, "ipsec", p.ipsec.enabled),
            ],
            internet: (!unset).then(|| link("wan0", "203.0.113.7", 24)),
            local_network: (!unset).then(|| link("lan0", "192.168.1.1", 24)),
            conntrack: (318, 262_144),
            uptime_seconds: 4000,
            needs_mending: false,
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
            Request::Mend | Request::Undo { .. } | Request::GoBack { .. } | Request::Password { .. } => {
                state.refuse.take()
            }
            Request::Import { dry: false, .. } => state.refuse.take(),
            _ => None,
        };
        if let Some(refusal) = refused {
            return Ok(Response::Refused(refusal));
        }
        Ok(match call.request {
            Request::Greeting => Response::Greeting(Greeting {
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
            Request::Status => Response::Status(Box::new(state.status())),
            Request::Change { base_revision, patch, .. } => state.change(base_revision, patch),
            Request::Confirm { revision } => {
                state.trial = None;
                state.confirmed.push(revision);
                done("The settings are kept.")
            }
            Request::History { limit } => {
                Response::History { revisions: state.history.iter().take(limit as usize).cloned().collect() }
            }
            Request::Undo { revision } => state.undo(revision),
            Request::GoBack { revision } => state.go_back(revision),
            Request::Export => Response::Text { text: state.settings.masked().to_toml() },
            Request::Import { text, dry, base_revision } => state.import(&text, dry, base_revision),
            Request::Mend => {
                state.rules = Rules::Loaded;
                done("The rules of these settings were loaded anew.")
            }
            Request::Password { old, new } => state.password(&old.0, &new.0, &ours),
            Request::Logins => state.logins(&ours),
            Request::EndLogin { id } => {
                state.tickets.retain(|_, (its, _)| *its != id);
                done("That login has ended.")
            }
            Request::Rules => Response::Text { text: RULES.into() },
            _ => Response::Refused(refusal(RefusalKind::Forbidden, "This socket may not ask that.")),
        })
    }
}

const TOO_SHORT: &str = "The password is too short: take 10 characters or more.";

const RULES: &str = "table inet postern {\n\tchain forward {\n\t\ttype filter hook forward priority filter; policy drop;\n\
    \t\tct state vmap { established : accept, related : jump related, invalid : drop }\n\
    \t\tip protocol gre counter name pptp_refused drop comment \"PPTP is off: its calls may not begin\"\n\t\tdrop\n\t}\n}\n";
