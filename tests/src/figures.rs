//! Figures that a test has measured, kept where `tests/run` shows them.

use std::path::Path;

/// Prints `text` and keeps it as `NAME.txt` in the folder `figures` of `folder`, which is `env!("CARGO_TARGET_TMPDIR")` of
/// the test that calls: `tests/run` shows them at its end.
///
/// # Panics
/// When it cannot be written.
#[track_caller]
pub fn keep(folder: &str, name: &str, text: &str) {
    println!("{text}");
    let folder = Path::new(folder).join("figures");
    std::fs::create_dir_all(&folder).expect("cargo's folder for tests can be written");
    std::fs::write(folder.join(format!("{name}.txt")), format!("{text}\n"))
        .expect("cargo's folder for tests can be written");
}
