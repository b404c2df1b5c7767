//! The owner at the admin door, without a new process for every word: for tests that ask a thousand times.

use std::path::PathBuf;

use postern::door::client::{Door, DoorError};
use postern::door::messages::{Assignment, Call, Refusal, Request, Response, Revision, Status};
use postern::settings::Settings;
use tokio::runtime::{Builder, Runtime};

use crate::postern::Postern;

/// Speaks through `admin.sock` as the command line does. Connects anew when the daemon was restarted.
#[derive(Debug)]
pub struct Owner {
    door: Door,
    runtime: Runtime,
}

/// Why a change was not acknowledged.
#[derive(Debug)]
pub enum NotDone {
    /// The daemon said no.
    Refused(Refusal),
    /// There was no answer: whether it was done is not known.
    NoAnswer(DoorError),
}

impl Postern {
    /// The owner at this Postern's door. Nothing is connected yet, and the daemon need not run.
    ///
    /// # Panics
    /// When no thread can be had.
    #[must_use]
    pub fn owner(&self) -> Owner {
        Owner::at(self.admin_socket())
    }
}

impl Owner {
    /// At this socket.
    ///
    /// # Panics
    /// When no thread can be had.
    #[must_use]
    pub fn at(socket: PathBuf) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build();
        Self { door: Door::new(socket), runtime: runtime.expect("a runtime needs no rights") }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// There was none.
    pub fn ask(&self, request: Request) -> Result<Response, DoorError> {
        let call = Call { ticket: None, source: None, attended: true, request };
        self.runtime.block_on(self.door.call(call))
    }

    /// One change of these keys, with a comment; what is true then.
    ///
    /// # Errors
    /// It was refused, or not answered.
    ///
    /// # Panics
    /// When the answer is none to a change.
    pub fn change(&self, pairs: &[(&str, &str)], comment: &str) -> Result<String, NotDone> {
        let assignment =
            |(key, value): &(&str, &str)| Assignment { key: (*key).into(), value: (*value).into() };
        let patch = pairs.iter().map(assignment).collect();
        let request = Request::Change { base_revision: None, patch, comment: comment.to_owned() };
        match self.ask(request) {
            Ok(Response::Done { message }) => Ok(message),
            Ok(Response::Refused(refusal)) => Err(NotDone::Refused(refusal)),
            Ok(other) => panic!("that is no answer to a change: {other:?}"),
            Err(error) => Err(NotDone::NoAnswer(error)),
        }
    }

    /// What is true now.
    ///
    /// # Panics
    /// When the daemon does not say.
    #[track_caller]
    #[must_use]
    pub fn status(&self) -> Status {
        match self.ask(Request::Status) {
            Ok(Response::Status(status)) => *status,
            other => panic!("no status: {other:?}"),
        }
    }

    /// The settings in force with their revision.
    ///
    /// # Panics
    /// When the daemon does not say.
    #[track_caller]
    #[must_use]
    pub fn settings(&self) -> (i64, Settings) {
        match self.ask(Request::Settings) {
            Ok(Response::Settings { revision, settings }) => (revision, *settings),
            other => panic!("no settings: {other:?}"),
        }
    }

    /// The newest `limit` revisions, newest first.
    ///
    /// # Panics
    /// When the daemon does not say.
    #[track_caller]
    #[must_use]
    pub fn history(&self, limit: u32) -> Vec<Revision> {
        match self.ask(Request::History { limit }) {
            Ok(Response::History { revisions }) => revisions,
            other => panic!("no history: {other:?}"),
        }
    }

    /// The ruleset of the settings in force.
    ///
    /// # Panics
    /// When the daemon does not say.
    #[track_caller]
    #[must_use]
    pub fn rules(&self) -> String {
        match self.ask(Request::Rules) {
            Ok(Response::Text { text }) => text,
            other => panic!("no rules: {other:?}"),
        }
    }
}
