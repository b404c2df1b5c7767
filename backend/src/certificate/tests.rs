use std::os::unix::fs::PermissionsExt;
use std::sync::atomic::{AtomicU32, Ordering};

use super::*;

/// A state folder that goes with the test.
struct Dir(PathBuf);

fn scratch() -> Dir {
    static COUNT: AtomicU32 = AtomicU32::new(0);
    let n = COUNT.fetch_add(1, Ordering::Relaxed);
    let path = std::env::temp_dir().join(format!("postern-certificate-{}-{n}", std::process::id()));
    std::fs::create_dir_all(&path).unwrap();
    Dir(path)
}

impl Dir {
    fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn names(all: &[&str]) -> Vec<String> {
    all.iter().map(|&name| name.to_owned()).collect()
}

/// The serial number: 16 bytes after the version (RFC 5280, 4.1).
fn serial(certificate: &Certificate) -> [u8; 16] {
    let (der, _) = certificate.der().unwrap();
    let start = [0xa0, 3, 2, 1, 2, 2, 16];
    let at = der.windows(start.len()).position(|bytes| bytes == start).expect("a version and a number");
    der[at + start.len()..][..16].try_into().unwrap()
}

#[tokio::test]
async fn the_key_outlives_the_daemon_and_its_file_is_nobody_elses() {
    let state = scratch();
    let home = names(&["postern", "192.168.1.1"]);
    let first = Certificates::of(state.path()).certificate(&home).await.unwrap();
    let again = Certificates::of(state.path()).certificate(&home).await.unwrap();
    assert_eq!(first, again);
    assert_eq!(first.fingerprint().len(), 32 * 3 - 1);
    let mode = std::fs::metadata(state.path().join(FILE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!format!("{first:?}").contains(&first.key.0), "the key is shown");
}

#[tokio::test]
async fn another_address_gets_another_certificate_with_the_same_key_and_finds_the_old_one_when_it_goes_back()
{
    let state = scratch();
    let certificates = Certificates::of(state.path());
    let here = certificates.certificate(&names(&["192.168.1.1"])).await.unwrap();
    let there = certificates.certificate(&names(&["192.168.7.1"])).await.unwrap();
    assert_eq!(here.key, there.key);
    assert_ne!(here.fingerprint(), there.fingerprint());
    assert_ne!(serial(&here), serial(&there), "a browser would refuse the second one");
    assert_eq!(certificates.certificate(&names(&["192.168.1.1"])).await.unwrap(), here);
    for n in 0..10 {
        certificates.certificate(&names(&[&format!("10.0.0.{n}")])).await.unwrap();
    }
    assert_eq!(read(&state.path().join(FILE)).unwrap().unwrap().certificates.len(), KEPT);
}

#[tokio::test]
async fn a_damaged_file_gives_way_to_a_new_key() {
    let state = scratch();
    let home = names(&["192.168.1.1"]);
    let first = Certificates::of(state.path()).certificate(&home).await.unwrap();
    for damage in ["", "{}", "{\"key\":\"AAAA\",\"certificates\":[]}", "\u{0}\u{0}"] {
        std::fs::write(state.path().join(FILE), damage).unwrap();
        let next = Certificates::of(state.path()).certificate(&home).await.unwrap();
        assert_ne!(next.key, first.key, "{damage:?}");
        assert_eq!(Certificates::of(state.path()).certificate(&home).await.unwrap(), next);
    }
}

#[tokio::test]
async fn where_nothing_can_be_written_there_is_a_certificate_all_the_same() {
    let certificates = Certificates::of(Path::new("/proc/nowhere"));
    let home = names(&["192.168.1.1"]);
    let made = certificates.certificate(&home).await.unwrap();
    assert_eq!(certificates.certificate(&home).await.unwrap(), made, "and it stays the same");
}

#[tokio::test]
async fn boxes_do_not_share_a_key() {
    let (one, other) = (scratch(), scratch());
    let home = names(&["192.168.1.1"]);
    let of = async |state: &Path| Certificates::of(state).certificate(&home).await.unwrap().key;
    assert_ne!(of(one.path()).await, of(other.path()).await);
}
