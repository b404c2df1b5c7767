//! `postern backup` and `postern restore`: files in and out.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use crate::door::messages::{MAX_BACKUP, Password, Request};

use super::password::password_from_stdin;
use super::{Typed, Usage, Verb};

pub(super) fn verb(verb: &str, file: &str, typed: &Typed) -> Result<Verb, Usage> {
    // Root has proved itself already.
    let owner = Password(String::new());
    if verb == "backup" {
        let password = Password(password_from_stdin()?);
        return Ok(Verb::Save(PathBuf::from(file), Request::Backup { owner, password }));
    }
    // Before the password, which somebody may have to type.
    let text = read(Path::new(file))?;
    let password = Password(password_from_stdin()?);
    Ok(Verb::Plain(Request::Restore { owner, password, text, dry: typed.dry, base_revision: None }))
}

fn read(file: &Path) -> Result<String, Usage> {
    let mut bytes = Vec::new();
    let read = File::open(file).and_then(|f| f.take(MAX_BACKUP as u64 + 1).read_to_end(&mut bytes));
    read.map_err(|e| Usage::Wrong(format!("{} could not be read: {e}", file.display())))?;
    if bytes.len() > MAX_BACKUP {
        return Err(Usage::Wrong(format!("{} is too long for a backup", file.display())));
    }
    // What is no text is damaged, and the daemon says so.
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Writes a backup; says so. A file of that name is replaced only by a whole one.
pub(super) fn save(file: &Path, text: &str) -> Result<String, String> {
    let mut beside = file.as_os_str().to_owned();
    beside.push(".new");
    let beside = PathBuf::from(beside);
    let written = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)
        .and_then(|mut new| new.write_all(text.as_bytes()).and_then(|()| new.sync_all()))
        .and_then(|()| std::fs::rename(&beside, file));
    match written {
        Ok(()) => Ok(format!(
            "The backup is in {}. Whoever has its password can read it; without it nobody can, nor restore it.\n",
            file.display()
        )),
        Err(error) => Err(format!("postern: {} could not be written: {error}", file.display())),
    }
}
