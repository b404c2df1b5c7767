//! Backups: the work that takes a hash's memory waits for its turn among the logins.

use super::{Logins, password};
use crate::appliance::{Refusal, RefusalKind};
use crate::backup::{self, Sealed};

impl Logins {
    /// Encrypts a document with a password of 10 to 128 characters, which is not one that is tried first.
    pub async fn seal(&self, document: String, password: String) -> Result<String, Refusal> {
        password::check("password", &password)?;
        let cost = self.hasher.backup_cost();
        let sealed = self.hasher.alone(move || backup::seal(&document, &password, cost)).await?;
        sealed.map_err(|error| refused(&error))
    }

    /// The document of a backup. What is wrong with the file stands beside `backup`, a wrong password beside `password`.
    pub async fn unseal(&self, text: &str, password: String) -> Result<String, Refusal> {
        let sealed = Sealed::read(text).map_err(|error| refused(&error))?;
        let opened = self.hasher.alone(move || sealed.open(&password)).await?;
        opened.map_err(|error| refused(&error))
    }
}

fn refused(error: &backup::Error) -> Refusal {
    let key = if *error == backup::Error::Password { "password" } else { "backup" };
    Refusal::field(RefusalKind::Invalid, key, error.to_string())
}
