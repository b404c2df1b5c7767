//! Argon2id (RFC 9106), at most two hashes at once: each takes up to 19 MiB, and a small box has 64.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use argon2::{Algorithm, Argon2, Params, Version};
use tokio::sync::{Semaphore, oneshot};

use crate::appliance::{Refusal, RefusalKind};
use crate::backup::Cost;

/// Fewest and most characters of a password.
const LENGTH: std::ops::RangeInclusive<usize> = 10..=128;
/// Hashes computed at once.
const AT_ONCE: usize = 2;
/// Callers that may wait for a hash; more are told to come back, before any memory is spent on them.
const WAITING: usize = 16;

/// Computes and verifies password hashes.
#[derive(Debug)]
pub(super) struct Hasher {
    argon2: Argon2<'static>,
    at_once: Arc<Semaphore>,
    queue: Arc<Semaphore>,
}

/// Whether a new password will do; `key`: the field where it stands.
pub(super) fn check(key: &str, password: &str) -> Result<(), Refusal> {
    let n = password.chars().count();
    let sentence = if n < *LENGTH.start() {
        format!("That password has {n} characters. Use at least {}.", LENGTH.start())
    } else if n > *LENGTH.end() {
        format!("That password is too long. Use at most {} characters.", LENGTH.end())
    } else if is_guessed_first(password) {
        "That password is one of the first that anybody tries. A few words in a row are better.".to_owned()
    } else {
        return Ok(());
    };
    Err(Refusal::field(RefusalKind::Invalid, key, sentence))
}

/// Rows that fingers go along, either way and from any place in them.
const ROWS: [&str; 6] = [
    "01234567890123456789012345678901234567890",
    "abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnmqwertyuiop",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "1q2w3e4r5t6y7u8i9o0p",
    "q1w2e3r4t5y6u7i8o9p0",
];
/// Words that are a password alone, twice, or with as many as [`AROUND`] digits and signs around them.
const WORDS: [&str; 16] = [
    "admin",
    "administrator",
    "changeme",
    "default",
    "firewall",
    "iloveyou",
    "internet",
    "letmein",
    "passw0rd",
    "password",
    "postern",
    "qwerty",
    "root",
    "router",
    "secret",
    "welcome",
];
/// Most digits and signs beside a word that add nothing to it.
const AROUND: usize = 6;

/// Whether it stands at the head of any guesser's list (NIST SP 800-63B section 5.1.1.2). No list of leaked passwords: at
/// the page the delay leaves 1,500 guesses a day.
fn is_guessed_first(password: &str) -> bool {
    let lower = password.to_lowercase();
    let mut different: Vec<char> = lower.chars().collect();
    different.sort_unstable();
    different.dedup();
    let backwards: String = lower.chars().rev().collect();
    let letters = lower.trim_matches(|c: char| !c.is_alphabetic());
    different.len() < 5
        || ROWS.iter().any(|row| row.contains(&lower) || row.contains(&backwards))
        || lower.chars().count() <= letters.chars().count() + AROUND
            && WORDS.iter().any(|word| letters == *word || letters == word.repeat(2))
}

impl Hasher {
    /// The two pairs of the OWASP list that cost the same time: 19 MiB twice, or 7 MiB five times below 96 MB of RAM.
    pub(super) fn for_this_box() -> Self {
        let small = memory_kib().is_some_and(|kib| kib < 96 * 1024);
        let (memory, passes) = if small { (7 * 1024, 5) } else { (19 * 1024, 2) };
        let params = Params::new(memory, passes, 1, None).unwrap_or_default();
        Self {
            argon2: Argon2::new(Algorithm::Argon2id, Version::V0x13, params),
            at_once: Arc::new(Semaphore::new(AT_ONCE)),
            queue: Arc::new(Semaphore::new(AT_ONCE + WAITING)),
        }
    }

    /// The PHC string of a new password, with a salt of its own.
    pub(super) async fn hash(&self, password: &str) -> Result<String, Refusal> {
        let (argon2, password) = (self.argon2.clone(), password.to_owned());
        self.alone(move || argon2.hash_password(password.as_bytes()).map(|phc| phc.to_string()))
            .await?
            .map_err(|_| {
                Refusal::of(RefusalKind::Failed, "The password could not be hashed; nothing was changed.")
            })
    }

    /// What a backup of this box costs whoever guesses its password: it leaves the house, where no delay protects it, so twice
    /// what a login costs.
    pub(super) fn backup_cost(&self) -> Cost {
        let params = self.argon2.params();
        Cost { memory: params.m_cost(), passes: 2 * params.t_cost() }
    }

    /// Whether `password` is the one of `phc`, with the parameters that stand there.
    pub(super) async fn verify(&self, password: &str, phc: &str) -> Result<bool, Refusal> {
        if password.chars().count() > *LENGTH.end() {
            return Ok(false);
        }
        let (argon2, password, phc) = (self.argon2.clone(), password.to_owned(), phc.to_owned());
        self.alone(move || {
            PasswordHash::new(&phc)
                .is_ok_and(|hash| argon2.verify_password(password.as_bytes(), &hash).is_ok())
        })
        .await
    }

    /// Does work that takes as much memory as a hash, in its turn.
    pub(super) async fn alone<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Refusal> {
        let busy = || Refusal {
            wait_seconds: 5,
            ..Refusal::of(RefusalKind::Wait, "Many logins at once. Try again in 5 seconds.")
        };
        let place = self.queue.clone().try_acquire_owned().map_err(|_| busy())?;
        let turn = self.at_once.clone().acquire_owned().await.map_err(|_| busy())?;
        let (done, result) = oneshot::channel();
        // A thread that ends with its work: the C library keeps what a thread has freed for that thread, and tokio's have many. The
        // turn lasts as long as the work does, even if nobody waits for it any more.
        let thread = std::thread::Builder::new().name("password".to_owned());
        let begun = thread.spawn(move || {
            let _ = done.send(work());
            drop((turn, place));
        });
        begun.map_err(|_| busy())?;
        result.await.map_err(|_| busy())
    }
}

fn memory_kib() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    text.lines().find_map(|l| l.strip_prefix("MemTotal:"))?.trim().strip_suffix(" kB")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_verifies_and_equal_ones_hash_differently() {
        let hasher = Hasher::for_this_box();
        let phc = hasher.hash("correct horse").await.unwrap();
        assert!(phc.starts_with("$argon2id$v=19$m="), "{phc}");
        assert_ne!(phc, hasher.hash("correct horse").await.unwrap());
        assert!(hasher.verify("correct horse", &phc).await.unwrap());
        assert!(!hasher.verify("correct horsf", &phc).await.unwrap());
        assert!(!hasher.verify("correct horse", "damaged").await.unwrap());
    }

    #[test]
    fn short_and_endless_passwords_are_refused_beside_the_field() {
        assert_eq!(check("password", "short").unwrap_err().fields[0].key, "password");
        assert!(check("password", &"x".repeat(129)).is_err());
        let first = [
            "aaaaaaaaaa",
            "1212121212",
            "1234567890",
            "0987654321",
            "abcdefghijkl",
            "QWERTYUIOP",
            "1qaz2wsx3edc",
            "1q2w3e4r5t",
            "password123",
            "Password2026!",
            "adminadmin",
            "123router456",
            "Administrator",
        ];
        for guessed in first {
            let refusal = check("password", guessed).unwrap_err();
            assert!(refusal.fields[0].message.contains("anybody tries"), "{guessed}: {refusal:?}");
        }
        for fine in
            ["my password is long", "correct horse", "0123 oranges", "routers and roses", "84921router73015"]
        {
            assert!(check("password", fine).is_ok(), "{fine}");
        }
        assert!(check("password", "ten letter").is_ok());
    }
}
