//! The admin page's certificate for HTTPS: a key of this box's own, signed by itself.
//!
//! No authority signs for 192.168.1.1, so the browser warns, once, and the owner compares the fingerprint with the one that the
//! claim page and `postern status` show. The key is made at the first start and goes with a factory reset; it never leaves the
//! box (backups have no key), and the web process gets it over the door, because it is what speaks TLS.

use std::path::{Path, PathBuf};

use base64ct::{Base64, Encoding};
use rcgen::{CertificateParams, DistinguishedName, DnType, KeyPair, SerialNumber, date_time_ymd};
use ring::rand::SecureRandom;
use serde::{Deserialize, Serialize};
use tokio::sync::{Mutex, watch};

use crate::{file, log};

/// File in the state folder.
pub const FILE: &str = "https.json";
/// Certificates kept for one key, for as many pasts: a LAN address on trial that goes back finds the old one again.
const KEPT: usize = 4;
/// Longest file that is read, in bytes. One of ours has 4 KiB.
const LARGEST: u64 = 64 * 1024;

/// What TLS needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// X.509, DER, in Base64.
    pub certificate: String,
    /// PKCS#8 of a P-256 key, DER, in Base64.
    pub key: Key,
}

/// A private key, which `Debug` does not show.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Key(pub String);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
pub enum CertificateError {
    /// The file holds something else.
    #[error("{0} does not hold a key")]
    Damaged(&'static str),
    /// A name is none, or the key none.
    #[error("the certificate could not be made: {0}")]
    Made(#[from] rcgen::Error),
    /// The file.
    #[error("{FILE}: {0}")]
    File(#[from] std::io::Error),
}

/// The file.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Kept {
    key: Key,
    /// Newest first.
    certificates: Vec<Signed>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Signed {
    names: Vec<String>,
    certificate: String,
}

/// The key of this box and what was signed with it.
#[derive(Debug)]
pub struct Certificates {
    file: PathBuf,
    kept: Mutex<Option<Kept>>,
    /// The names that were asked for last.
    names: watch::Sender<Vec<String>>,
}

impl Certificates {
    /// Those in the state folder `state`. Nothing is read yet.
    pub fn of(state: &Path) -> Self {
        Self { file: state.join(FILE), kept: Mutex::default(), names: watch::Sender::default() }
    }

    /// The certificate for `names` (host names and addresses), made if there is none. A key that cannot be read is replaced,
    /// and one that cannot be written lives until the daemon ends: both are told in the log.
    ///
    /// # Errors
    /// No certificate can have these names.
    pub async fn certificate(&self, names: &[String]) -> Result<Certificate, CertificateError> {
        self.names.send_if_modified(|last| {
            let others = last != names;
            if others {
                *last = names.to_vec();
            }
            others
        });
        let mut kept = self.kept.lock().await;
        if kept.is_none() {
            *kept = read(&self.file).unwrap_or_else(|error| {
                log::warning(&format!("this box gets a new key for HTTPS: {error}"));
                None
            });
        }
        let known = kept.as_ref().and_then(|kept| kept.of(names));
        if let Some(known) = known {
            return Ok(known);
        }
        let next = Kept::with(kept.take(), names)?;
        let written =
            serde_json::to_vec(&next).map_err(Into::into).and_then(|bytes| file::replace(&self.file, &bytes));
        if let Err(error) = written {
            log::warning(&format!("the certificate for HTTPS cannot be kept: {error}"));
        }
        let made =
            Certificate { certificate: next.certificates[0].certificate.clone(), key: next.key.clone() };
        *kept = Some(next);
        log::info(&format!("made a certificate for HTTPS: SHA-256 {}", made.fingerprint()));
        Ok(made)
    }

    /// Changes when a certificate for other names was asked for: whoever speaks TLS needs that one from then on.
    pub fn renamed(&self) -> watch::Receiver<Vec<String>> {
        self.names.subscribe()
    }
}

impl Certificate {
    /// Certificate (X.509) and key (PKCS#8). None: they are not Base64.
    pub fn der(&self) -> Option<(Vec<u8>, Vec<u8>)> {
        Some((Base64::decode_vec(&self.certificate).ok()?, Base64::decode_vec(&self.key.0).ok()?))
    }

    /// SHA-256 of the certificate, as browsers show it: `AB:CD:…`, 32 pairs. Empty: it is no certificate.
    pub fn fingerprint(&self) -> String {
        let Ok(der) = Base64::decode_vec(&self.certificate) else { return String::new() };
        let digest = ring::digest::digest(&ring::digest::SHA256, &der);
        let pairs: Vec<String> = digest.as_ref().iter().map(|byte| format!("{byte:02X}")).collect();
        pairs.join(":")
    }
}

impl Kept {
    fn of(&self, names: &[String]) -> Option<Certificate> {
        let signed = self.certificates.iter().find(|signed| signed.names == names)?;
        Some(Certificate { certificate: signed.certificate.clone(), key: self.key.clone() })
    }

    /// With one for `names` first; with a new key if there was none.
    fn with(before: Option<Self>, names: &[String]) -> Result<Self, CertificateError> {
        let (key, mut certificates) = match before {
            Some(kept) => (pair(&kept.key)?, kept.certificates),
            None => (KeyPair::generate()?, Vec::new()),
        };
        let mut params = CertificateParams::new(names)?;
        params.distinguished_name = DistinguishedName::new();
        params.distinguished_name.push(DnType::CommonName, "Postern");
        // From before any clock that was never set, to the last year that every client can read (RFC 5280, 4.1.2.5).
        params.not_before = date_time_ymd(1970, 1, 1);
        params.not_after = date_time_ymd(2049, 12, 31);
        // Browsers refuse a second certificate of one issuer with a number that they have seen (RFC 5280, 4.1.2.2), without a way past.
        let mut serial = [0; 16];
        ring::rand::SystemRandom::new().fill(&mut serial).map_err(|_| rcgen::Error::RingUnspecified)?;
        // Positive, and no shorter for it.
        serial[0] = serial[0] & 0x7f | 0x40;
        params.serial_number = Some(SerialNumber::from_slice(&serial));
        let certificate = Base64::encode_string(params.self_signed(&key)?.der());
        certificates.insert(0, Signed { names: names.to_vec(), certificate });
        certificates.truncate(KEPT);
        Ok(Self { key: Key(Base64::encode_string(&key.serialize_der())), certificates })
    }
}

fn pair(key: &Key) -> Result<KeyPair, CertificateError> {
    let der = Base64::decode_vec(&key.0).map_err(|_| CertificateError::Damaged(FILE))?;
    Ok(KeyPair::try_from(der)?)
}

/// None: there is none yet.
fn read(file: &Path) -> Result<Option<Kept>, CertificateError> {
    match std::fs::metadata(file) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(e.into()),
        Ok(it) if it.len() > LARGEST => return Err(CertificateError::Damaged(FILE)),
        Ok(_) => {}
    }
    let kept: Kept =
        serde_json::from_slice(&std::fs::read(file)?).map_err(|_| CertificateError::Damaged(FILE))?;
    pair(&kept.key)?;
    Ok(Some(kept))
}

#[cfg(test)]
mod tests;
