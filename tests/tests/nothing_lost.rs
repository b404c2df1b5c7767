//! What was answered with "done" is not lost and nothing half done comes into force, whatever happens to the power, the disk or its
//! bytes.
//!
//! One life of a box is recorded by strace, from the empty folder on. The power is cut at any moment of it; then its files are
//! damaged in every way. Each time the product's own start code runs on what is left, on a kernel of paper. Other lives are lived on a
//! disk that refuses every call of them in turn; and the real daemon on one that is full, for reading only, failing.

#[path = "nothing_lost/cuts.rs"]
mod cuts;
#[path = "nothing_lost/damage.rs"]
mod damage;
#[path = "nothing_lost/disk.rs"]
mod disk;
#[path = "nothing_lost/life.rs"]
mod life;
#[path = "nothing_lost/refused.rs"]
mod refused;

use std::path::PathBuf;

/// How often: what is asked for by this variable, or else so often.
fn times(variable: &str, default: usize) -> usize {
    std::env::var(variable).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// A folder in memory where there is one: thousands of stores are opened in it, each of which is synced.
fn scratch(name: &str) -> PathBuf {
    let memory = PathBuf::from("/dev/shm");
    let folder = if memory.is_dir() { memory } else { std::env::temp_dir() };
    folder.join(format!("postern-{}-{name}", std::process::id()))
}
