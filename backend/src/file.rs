//! A file that is there whole or not at all.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Puts `bytes` in the place of what `path` holds, for nobody else to read (0600). After a power cut the old or the new one is
/// there. What is written first lies beside it, with the extension `new`.
///
/// # Errors
/// Of the file system; the old one is then still there.
pub fn replace(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let new = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&new, path)?;
    // Without this the name itself may still lead to the old one.
    path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
}
