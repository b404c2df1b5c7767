//! Values below `/proc/sys`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use super::Error;

const ROOT: &str = "/proc/sys";

/// The value, without the newline; `None` where this kernel has no such key (yet: many appear with their module).
pub(super) fn read(path: &str) -> Result<Option<String>, Error> {
    read_below(Path::new(ROOT), path).map_err(|source| Error::Sysctl { path: path.into(), source })
}

/// Writes `value` unless it is already so. A key that this kernel does not have is left out: that is not an error.
pub(super) fn write(path: &str, value: &str) -> Result<(), Error> {
    write_below(Path::new(ROOT), path, value).map_err(|source| Error::Sysctl { path: path.into(), source })
}

/// Whether two values are the same: the kernel prints a list with tabs, people type blanks.
pub(super) fn same(a: &str, b: &str) -> bool {
    a.split_ascii_whitespace().eq(b.split_ascii_whitespace())
}

fn read_below(root: &Path, path: &str) -> io::Result<Option<String>> {
    match fs::read_to_string(file(root, path)?) {
        Ok(text) => Ok(Some(text.trim_end().to_owned())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

fn write_below(root: &Path, path: &str, value: &str) -> io::Result<()> {
    // Some keys are read-only in some places (nf_conntrack_max outside the first network namespace): right is right.
    match read_below(root, path)? {
        None => return Ok(()),
        Some(now) if same(&now, value) => return Ok(()),
        Some(_) => {}
    }
    // The kernel takes a value in one write and wants no second one.
    OpenOptions::new().write(true).open(file(root, path)?)?.write_all(value.as_bytes())
}

/// A file below `root`, whatever `path` says.
fn file(root: &Path, path: &str) -> io::Result<PathBuf> {
    let plain = |part: &str| {
        let letters = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.');
        !part.is_empty() && part.bytes().all(letters) && !matches!(part, "." | "..")
    };
    if !path.split('/').all(plain) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a path below /proc/sys"));
    }
    Ok(root.join(path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_stay_below_the_root() {
        let root = Path::new("/proc/sys");
        assert_eq!(
            file(root, "net/ipv4/conf/eth0.7/rp_filter").unwrap(),
            root.join("net/ipv4/conf/eth0.7/rp_filter")
        );
        for bad in [
            "",
            "/etc/passwd",
            "net/../../etc/passwd",
            "..",
            "net//x",
            "net/.",
            "net/x ",
            "net/a\nb",
            "net/é",
        ] {
            assert!(file(root, bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_missing_key_is_left_out() {
        let root = Path::new("/proc/sys");
        assert_eq!(read_below(root, "net/ipv4/no_such_key").unwrap(), None);
        write_below(root, "net/ipv4/no_such_key", "1").unwrap();
        assert!(matches!(read("a/../b"), Err(Error::Sysctl { .. })));
    }

    #[test]
    fn a_right_value_is_not_written_again() {
        let now = read("kernel/ostype").unwrap().unwrap();
        assert_eq!(now, "Linux");
        write("kernel/ostype", "Linux").unwrap(); // read-only
        assert!(write("kernel/ostype", "Hurd").is_err());
    }

    #[test]
    fn blanks_do_not_matter() {
        assert!(same("4096\t16384\t4194304", "4096 16384 4194304"));
        assert!(!same("4096", "40 96"));
    }
}
