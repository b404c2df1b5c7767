//! What is said through the door. Typed and small; whatever does not parse ends the connection.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};

use crate::certificate::Certificate;
use crate::sessions;
use crate::settings::Settings;

pub use super::guarded::RESET_WORD;
pub use crate::appliance::{
    Assignment, Attempt, Barrier, Beside, Defeated, Dropper, Effect, FromPart, FromUci, HelperState,
    InternetState, Ipv6State, KnownDevice, Lack, ManyClients, OverShare, Port, Protocol, Refusal,
    RefusalKind, Rules, Status, Trial, Uci, Use,
};
pub use crate::backup::MAX_FILE as MAX_BACKUP;
pub use crate::clock::Clock;
pub use crate::diagnosis::{Action, Cause, Diagnosis, Party, Step};
pub use crate::journal::{JournalEntry, JournalFilter, JournalKind, JournalPage};
pub use crate::kernel::SeenLink;
pub use crate::ruleset::{Defeat, Feature, Helper};
pub use crate::selftest::{Outcome, Subject, Tested};
pub use crate::sessions::{
    Device, Filter, Kind, Page as SessionPage, Sample, Session, State as SessionState,
};
pub use crate::sides::{Other, Proposal};
pub use crate::store::{Difference, Revision, RevisionState};
pub use crate::tools::{Report, Row, Tool};
pub use crate::uci::Part;

/// Version of this protocol; the first frame names it and the daemon refuses another.
pub const VERSION: u32 = 1;
/// Longest frame in bytes, but for a [`Request::Restore`].
pub const MAX_FRAME: usize = 192 * 1024;

/// Longest document of [`Request::Import`] in bytes.
pub const MAX_IMPORT: usize = 128 * 1024;

/// First frame of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// [`VERSION`] of the caller.
    pub version: u32,
}

/// One call: a request, and on whose behalf. One [`Response`] answers it, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Call {
    /// The login ticket, minted by [`Request::Login`]. `admin.sock` needs none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ticket: Option<String>,
    /// The browser's address, for the journal and the login delay.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<IpAddr>,
    /// True when a person did this; a page that polls says false and does not keep a login alive.
    #[serde(default)]
    pub attended: bool,
    /// What is asked.
    pub request: Request,
}

/// What can be asked. `(open)`: without a ticket, on either socket. `(admin)`: only on `admin.sock`.
/// Everything else needs a live ticket on `web.sock`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "do", rename_all = "snake_case", deny_unknown_fields)]
pub enum Request {
    /// (open) Is this box claimed, what is it called, which Host names are ours. Answer: [`Response::Greeting`].
    Greeting,
    /// (open) Takes an unclaimed box: sets the first password. Works once. On `admin.sock` the code may be empty.
    /// Answer: [`Response::Ticket`].
    Claim {
        /// The one-time code that the daemon printed.
        code: String,
        /// The new password, 10 to 128 characters.
        password: Password,
    },
    /// (open) Answer: [`Response::Ticket`], or refused with `wrong` or `wait`.
    Login {
        /// As typed.
        password: Password,
    },
    /// Ends the ticket. Answer: [`Response::Done`].
    Logout,
    /// (admin) The one-time code. Answer: [`Response::Done`] with the code as message.
    ClaimCode,
    /// Answer: [`Response::Settings`], the newest revision.
    Settings,
    /// Answer: [`Response::Status`].
    Status,
    /// VPN sessions, a page of them. Answer: [`Response::Sessions`].
    Sessions {
        /// Which.
        #[serde(default)]
        filter: Filter,
    },
    /// Why a VPN does not work. Answer: [`Response::Diagnosis`].
    Diagnose {
        /// Of this device; none: of whoever has trouble.
        #[serde(default)]
        device: Option<IpAddr>,
        /// Whether pings shall be sent to its server, to measure how big a packet the way carries: if the verdict says that it can
        /// be. Takes 6 s at most; what came of it is told for ten minutes. Without it nothing is sent.
        #[serde(default)]
        measure: bool,
    },
    /// Begins a ping, a trace or a lookup; one at a time. Answer: [`Response::Tried`] with what is known so far.
    Try {
        /// Which.
        tool: Tool,
        /// A host, by name or address.
        target: String,
    },
    /// What the newest run has found by now. Answer: [`Response::Tried`].
    Tried,
    /// Begins the self-test with the newest settings, unless one runs; it touches nothing of the box. Answer: [`Response::Done`].
    BeginSelfTest,
    /// The newest self-test since the daemon's start. Answer: [`Response::SelfTest`].
    SelfTest,
    /// Ends a VPN session. Answer: [`Response::Done`].
    EndSession {
        /// Its name in [`Response::Sessions`].
        id: String,
    },
    /// Changes settings. Answer: [`Response::Done`] with what is true now, or refused.
    Change {
        /// The revision the owner looked at. Not the newest any more: refused with `conflict`. None: the newest.
        base_revision: Option<i64>,
        /// Keys with their new values, in words as on the command line.
        patch: Vec<Assignment>,
        /// Why; may be empty. At most 200 characters.
        comment: String,
    },
    /// Keeps settings that are on trial. With nothing on trial: done. Answer: [`Response::Done`].
    Confirm {
        /// Which revision; none: whichever is on trial.
        revision: Option<i64>,
    },
    /// Takes back what one revision changed, as a new revision: each key it changed gets its value of before, if
    /// nobody has changed that key since; else refused with `conflict` and the keys in `fields`. What is on trial goes
    /// back at once, without a new revision. Answer: [`Response::Done`].
    Undo {
        /// Which, among the newest 50 confirmed ones; none: the newest.
        revision: Option<i64>,
    },
    /// Goes back to the whole document of a past revision, as a new revision. Answer: [`Response::Done`].
    GoBack {
        /// Which.
        revision: i64,
    },
    /// Loads the rules of the settings anew where the kernel holds something else. Answer: [`Response::Done`].
    Mend,
    /// Asks the kernel anew what it can do (a package may have been installed), and makes the rules anew if that has
    /// changed. Answer: [`Response::Done`] with what is still missing.
    LookAgain,
    /// The settings as TOML. Secrets are masked on `web.sock`. Answer: [`Response::Text`].
    Export,
    /// Replaces the settings by a TOML document. A masked secret keeps the one that is stored. Refused with `invalid`
    /// and one field: its key is the document's, its message names the line. Answer: [`Response::Differences`] when
    /// dry, else [`Response::Done`].
    Import {
        /// The document, at most [`MAX_IMPORT`] bytes.
        text: String,
        /// Only say what would differ.
        dry: bool,
        /// As in [`Request::Change`].
        base_revision: Option<i64>,
    },
    /// The settings with their secrets, encrypted. Journal, history and account are not in it. On `web.sock` the password of
    /// this router is asked for again, here and in the next three: refused with `wrong` and the field `owner`, or with
    /// `wait`. On `admin.sock` it may be empty. Answer: [`Response::Text`].
    Backup {
        /// The password of this router.
        owner: Password,
        /// The password of the backup, 10 to 128 characters.
        password: Password,
    },
    /// Replaces the settings by those of a backup. Refused with `invalid`: a wrong password of the backup at the field
    /// `password`, what is wrong with the file at `backup`, with its settings at their keys. Answer:
    /// [`Response::Differences`] when dry, else [`Response::Done`].
    Restore {
        /// The password of this router.
        owner: Password,
        /// The password of the backup.
        password: Password,
        /// The file, at most [`MAX_BACKUP`] bytes.
        text: String,
        /// Only say what would differ.
        dry: bool,
        /// As in [`Request::Change`].
        base_revision: Option<i64>,
    },
    /// The daemon ends with a status that starts it again; the rules stay in force. Answer: [`Response::Done`].
    Restart {
        /// The password of this router.
        owner: Password,
    },
    /// The password again, on `web.sock`: what opens something to the internet (a port forward, a DMZ, inspection off) is refused with
    /// `prove` to a login whose password was typed more than five minutes ago. Answer: [`Response::Done`], or refused as above.
    Prove {
        /// The password of this router.
        owner: Password,
    },
    /// Back to the factory state: settings, account, history and journal go, and the daemon ends as for
    /// [`Request::Restart`]. Answer: [`Response::Done`].
    Reset {
        /// The password of this router.
        owner: Password,
        /// [`RESET_WORD`], as typed.
        word: String,
    },
    /// A new password; ends every other login. On `admin.sock` the old one is not asked for. Answer:
    /// [`Response::Done`]; a wrong old one is refused with `wrong` and the field `old`, a bad new one with `invalid`
    /// and the field `password`.
    Password {
        /// The old one.
        old: Password,
        /// The new one, 10 to 128 characters.
        new: Password,
    },
    /// Live logins. Answer: [`Response::Logins`].
    Logins,
    /// Ends a login. Answer: [`Response::Done`].
    EndLogin {
        /// Its number in [`Response::Logins`].
        id: u64,
    },
    /// Answer: [`Response::History`], newest first.
    History {
        /// At most so many, 1 to 200.
        limit: u32,
    },
    /// What was done to the box, by whom, and what happened to it; a page of it. Answer: [`Response::Journal`].
    Journal {
        /// Which.
        #[serde(default)]
        filter: JournalFilter,
    },
    /// The ruleset that would be loaded. Answer: [`Response::Text`].
    Rules,
    /// Compiles and tries the ruleset with `nft --check`. Answer: [`Response::Done`], also with what the kernel lacks.
    Check,
    /// The ports of this box. Answer: [`Response::Ports`].
    Ports {
        /// Switch on those that have no use yet and ask on them for a DHCP server; takes seconds.
        ask: bool,
    },
    /// What stands on this box besides Postern, and which devices seem to be the two sides. Answer: [`Response::Beside`].
    Beside,
    /// What OpenWrt's configuration says that ours does not. Answer: [`Response::FromUci`], or refused with `invalid` where there is
    /// none, or it cannot be read: then with file and line.
    FromUci,
    /// Takes parts of that. Answer: [`Response::Done`], or refused: with `conflict` if the files or the settings are others by now,
    /// with `invalid` and the part as field if it does not fit without another one.
    TakeUci {
        /// As in [`Request::Change`].
        base_revision: Option<i64>,
        /// [`FromUci::digest`] of what was looked at.
        digest: String,
        /// Which.
        parts: Vec<Part>,
    },
    /// The devices of the home: those the owner has named, and those that have an address of ours. Answer:
    /// [`Response::Devices`].
    Devices,
    /// Names a device, or changes what is set for it. Answer: [`Response::Done`], or refused as in [`Request::Change`].
    SetDevice {
        /// As in [`Request::Change`].
        base_revision: Option<i64>,
        /// Its hardware address, as typed.
        mac: String,
        /// The owner's name for it, as typed.
        name: String,
        /// The address reserved for it, as typed; empty: none. Not told: as it is.
        #[serde(default)]
        address: Option<String>,
    },
    /// Forgets what is set for a device. Answer: [`Response::Done`].
    RemoveDevice {
        /// As in [`Request::Change`].
        base_revision: Option<i64>,
        /// Its hardware address.
        mac: String,
    },
    /// Ends every connection that a device of the home has begun. Answer: [`Response::Done`], or refused with `invalid` where nothing
    /// is known of it.
    EndConnections {
        /// Its hardware address.
        mac: String,
    },
    /// (admin) Deny state in role router, table gone in role companion; the daemon ends. Answer: [`Response::Done`].
    Stop,
    /// (web.sock only, open) This connection becomes a stream of [`Response::Listeners`], each with that many file
    /// descriptors of listening TCP sockets: at once, and again whenever the addresses change.
    Listen,
}

/// A password on its way. Its Debug shows nothing.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Password(pub String);

impl std::fmt::Debug for Password {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Password(…)")
    }
}

/// What is answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "is", rename_all = "snake_case")]
pub enum Response {
    /// To [`Request::Greeting`].
    Greeting(Greeting),
    /// A live login.
    Ticket {
        /// Opaque, 256 bits.
        ticket: String,
    },
    /// The newest settings. Secrets are replaced by `••••` on `web.sock`.
    Settings {
        /// Their revision; 0: factory state, nothing was saved yet.
        revision: i64,
        /// The document.
        settings: Box<Settings>,
    },
    /// What is true now.
    Status(Box<Status>),
    /// The verdict.
    Diagnosis(Box<Diagnosis>),
    /// The newest self-test.
    SelfTest(Box<SelfTest>),
    /// VPN sessions.
    Sessions(Box<SessionPage>),
    /// A ping, a trace or a lookup.
    Tried {
        /// The newest; none: there was none since the daemon started.
        report: Option<Report>,
    },
    /// Past revisions, newest first.
    History {
        /// Newest first.
        revisions: Vec<Revision>,
    },
    /// The journal.
    Journal(Box<JournalPage>),
    /// What an import would change.
    Differences {
        /// Key by key; empty: nothing.
        differs: Vec<Difference>,
    },
    /// Live logins, newest first.
    Logins {
        /// Newest first.
        logins: Vec<LiveLogin>,
    },
    /// Ports of this box.
    Ports {
        /// In the kernel's order.
        ports: Vec<Port>,
    },
    /// Devices of the home.
    Devices {
        /// Those with a name or a reservation first, then by address.
        devices: Vec<KnownDevice>,
        /// How many leases found no place in this answer.
        left_out: u32,
    },
    /// What stands on this box besides Postern.
    Beside(Box<Beside>),
    /// What OpenWrt's configuration says.
    FromUci(Box<FromUci>),
    /// Text to read.
    Text {
        /// As it is.
        text: String,
    },
    /// It was done; the sentence says what is true now.
    Done {
        /// For the owner.
        message: String,
    },
    /// It was not done.
    Refused(Refusal),
    /// To [`Request::Listen`], with one file descriptor for each address.
    Listeners {
        /// Where they listen.
        addresses: Vec<SocketAddr>,
        /// What those on its port speak; none: all speak plain HTTP.
        https: Option<Https>,
    },
}

/// The listeners on these ports speak TLS with this certificate, and all others lead to the first of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Https {
    /// `access.https_port`, or what was taken in its place. Never empty.
    pub ports: BTreeSet<u16>,
    /// With its key.
    pub certificate: Certificate,
}

/// What anybody on the local network may know before logging in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// False: the claim page is shown.
    pub claimed: bool,
    /// Host names and addresses (without port) a browser may use for us.
    pub hosts: Vec<String>,
    /// A login ends after so many idle minutes.
    pub idle_minutes: u16,
    /// SHA-256 of the certificate for HTTPS, on or off, as browsers show it; none: it could not be made.
    #[serde(default)]
    pub fingerprint: Option<String>,
}

/// The newest self-test.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfTest {
    /// More results will come.
    pub running: bool,
    /// Those that are there, in the order of [`Subject::ALL`]; empty: none was run.
    pub results: Vec<Tested>,
    /// Seconds since it ended.
    pub ended_seconds: Option<u64>,
}

/// A live login.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveLogin {
    /// Its number, for [`Request::EndLogin`]; not the ticket.
    pub id: u64,
    /// Seconds since it began.
    pub age_seconds: u64,
    /// Seconds since a person last did something with it.
    pub idle_seconds: u64,
    /// Whose browser it is, by the address that the web process names.
    pub device: sessions::Device,
    /// Whether it is the one that asks.
    pub current: bool,
}
