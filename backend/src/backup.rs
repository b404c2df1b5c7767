//! A backup: a document, encrypted with a password of the owner's choice, as text that can be pasted. Pure but for the
//! salt, which is random.
//!
//! ```text
//! Postern backup 1
//! argon2id m=19456 t=4 salt=<16 bytes, base64>
//! <ChaCha20-Poly1305 (RFC 8439) of the document, base64, 76 characters a line>
//! check=<8 bytes of BLAKE2s, hexadecimal>
//! ```
//!
//! The key is Argon2id (RFC 9106) of password and salt; both head lines are authenticated with the document. The last line is
//! no secret and needs none: it tells a damaged file from a wrong password, before any work is done for either.

use argon2::{Algorithm, Argon2, Params, Version};
use base64ct::{Base64, Encoding};
use blake2::{Blake2s256, Digest};
use chacha20poly1305::aead::{Aead, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, KeyInit, Nonce};

/// First words of the first line; the format's version follows.
const MAGIC: &str = "Postern backup ";
/// The format that is written, and the only one that is read.
const FORMAT: &str = "1";
const SALT: usize = 16;
const KEY: usize = 32;
/// Characters in a line of base64, as in RFC 2045 section 6.8.
const LINE: usize = 76;
/// Longest file in bytes: settings with 1,000 forwards take a tenth.
pub const MAX_FILE: usize = 768 * 1024;
/// Memory that a file may ask for, in KiB. A box of 64 MB must be able to read the backup of any other.
const MEMORY: std::ops::RangeInclusive<u32> = 1024..=32 * 1024;
/// Passes that it may ask for: with the most memory, about a second on the slowest boxes that we know of times ten.
const PASSES: std::ops::RangeInclusive<u32> = 1..=16;

/// What it costs to try a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    /// KiB.
    pub memory: u32,
    /// Times that all of it is filled.
    pub passes: u32,
}

/// Why a backup could not be made or read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// No head of ours.
    #[error("That is no backup of Postern. It begins with the line \"Postern backup 1\".")]
    Foreign,
    /// A version that we do not know.
    #[error("That backup was made by a newer Postern. Update this one, then restore it.")]
    Newer,
    /// Not as it was written: cut short, or changed.
    #[error("That backup is damaged: it is not as it was written. Take another copy of it, the whole file.")]
    Damaged,
    /// It asks for more memory or time than any of ours does.
    #[error(
        "That backup asks for more memory or time than any that Postern makes. Somebody has made it up; it was not read."
    )]
    Costly,
    /// Longer than [`MAX_FILE`].
    #[error("That is too long for a backup.")]
    TooLong,
    /// Everything else is right.
    #[error("That is not the password of this backup.")]
    Password,
}

/// A file whose head is in order. Nothing was spent on it yet.
#[derive(Debug)]
pub struct Sealed {
    cost: Cost,
    salt: [u8; SALT],
    /// What is authenticated with the document.
    head: String,
    body: Vec<u8>,
}

/// Encrypts `document`. Takes as long as `cost` says: not on a thread that others wait for.
pub fn seal(document: &str, password: &str, cost: Cost) -> Result<String, Error> {
    let mut salt = [0; SALT];
    // As for tickets: the kernel's generator fails only before it is seeded, and then getrandom blocks instead.
    getrandom::fill(&mut salt).expect("the kernel has random bytes");
    let head = format!(
        "{MAGIC}{FORMAT}\nargon2id m={} t={} salt={}\n",
        cost.memory,
        cost.passes,
        Base64::encode_string(&salt)
    );
    let payload = Payload { msg: document.as_bytes(), aad: head.as_bytes() };
    let body = cipher(password, &salt, cost)?.encrypt(&nonce(), payload).map_err(|_| Error::TooLong)?;
    let mut text = head;
    let body = Base64::encode_string(&body);
    for line in body.as_bytes().chunks(LINE) {
        text.extend(line.iter().map(|byte| char::from(*byte)));
        text.push('\n');
    }
    text += &format!("check={}\n", check(&text));
    if text.len() > MAX_FILE { Err(Error::TooLong) } else { Ok(text) }
}

impl Sealed {
    /// Reads a file as pasted or loaded: spaces and kinds of line breaks at the ends of lines do not matter.
    pub fn read(text: &str) -> Result<Self, Error> {
        if text.len() > MAX_FILE {
            return Err(Error::TooLong);
        }
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        let version = lines.first().and_then(|line| line.strip_prefix(MAGIC)).ok_or(Error::Foreign)?;
        let (last, rest) = lines.split_last().ok_or(Error::Foreign)?;
        let whole: String = rest.iter().flat_map(|line| [line, "\n"]).collect();
        if last.strip_prefix("check=") != Some(check(&whole).as_str()) {
            return Err(Error::Damaged);
        }
        if version != FORMAT {
            return Err(Error::Newer);
        }
        let [first, second, body @ ..] = rest else { return Err(Error::Damaged) };
        let (cost, salt) = parameters(second).ok_or(Error::Damaged)?;
        if !MEMORY.contains(&cost.memory) || !PASSES.contains(&cost.passes) {
            return Err(Error::Costly);
        }
        let body = Base64::decode_vec(&body.concat()).map_err(|_| Error::Damaged)?;
        Ok(Self { cost, salt, head: format!("{first}\n{second}\n"), body })
    }

    /// The document. Takes as long as the file's cost says, which [`Self::read`] has bounded.
    pub fn open(&self, password: &str) -> Result<String, Error> {
        let payload = Payload { msg: &self.body, aad: self.head.as_bytes() };
        let cipher = cipher(password, &self.salt, self.cost)?;
        let document = cipher.decrypt(&nonce(), payload).map_err(|_| Error::Password)?;
        String::from_utf8(document).map_err(|_| Error::Damaged)
    }
}

/// `argon2id m=19456 t=4 salt=…`
fn parameters(line: &str) -> Option<(Cost, [u8; SALT])> {
    let mut words = line.split(' ');
    if words.next() != Some("argon2id") {
        return None;
    }
    let mut next = |name: &str| words.next()?.strip_prefix(name);
    let memory = next("m=")?.parse().ok()?;
    let passes = next("t=")?.parse().ok()?;
    let mut salt = [0; SALT];
    let whole = Base64::decode(next("salt=")?, &mut salt).ok()?.len() == SALT;
    (whole && words.next().is_none()).then_some((Cost { memory, passes }, salt))
}

fn cipher(password: &str, salt: &[u8; SALT], cost: Cost) -> Result<ChaCha20Poly1305, Error> {
    let params = Params::new(cost.memory, cost.passes, 1, Some(KEY)).map_err(|_| Error::Costly)?;
    let mut key = [0; KEY];
    Argon2::new(Algorithm::Argon2id, Version::V0x13, params)
        .hash_password_into(password.as_bytes(), salt, &mut key)
        .map_err(|_| Error::Costly)?;
    Ok(ChaCha20Poly1305::new(&Key::from(key)))
}

/// Always the same: with a salt of its own every file has a key of its own, and that key encrypts once.
fn nonce() -> Nonce {
    Nonce::from([0; 12])
}

fn check(text: &str) -> String {
    Blake2s256::digest(text.as_bytes()).iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

/// A file as it is, and with the right check behind it, which no bytes made at random have.
#[cfg(fuzzing)]
pub(crate) fn fuzz(text: &str) {
    drop(Sealed::read(text));
    let whole: String =
        text.lines().map(str::trim).filter(|line| !line.is_empty()).flat_map(|line| [line, "\n"]).collect();
    drop(Sealed::read(&format!("{whole}check={}\n", check(&whole))));
}

#[cfg(test)]
mod tests;
