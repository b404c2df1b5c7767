//! What this process takes from itself before it answers anybody: whoever takes it over finds no program to start, no
//! file to open and no network to call.
//!
//! Two walls, because not every kernel has both:
//!
//! - **System calls** (seccomp, Documentation/userspace-api/seccomp_filter.rst): a list of what serving pages needs.
//!   Anything else is refused with `EPERM`, so that a library that tries something harmless lives on; what only an
//!   intruder would call ends the process.
//! - **Files and ports** (Landlock, Documentation/userspace-api/landlock.rst): none, as far as the kernel's version goes.
//!
//! Neither can be taken back. The door's socket is still reached: connecting to a path needs no right to open it.

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
mod calls;

use landlock::{
    ABI, Access, AccessFs, AccessNet, CompatLevel, Compatible, Ruleset, RulesetAttr, RulesetStatus, Scope,
};
use postern::log;

/// How far the process is confined.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Confined {
    /// System calls are filtered. False: this kernel or this processor cannot.
    pub calls: bool,
    /// Files are out of reach. False: this kernel has no Landlock (before 5.13, or not configured).
    pub files: bool,
}

impl Confined {
    /// The line for the log.
    pub fn in_words(self) -> &'static str {
        match (self.calls, self.files) {
            (true, true) => "confined: no program, no file, no other network",
            (true, false) => "confined by its system calls; this kernel has no Landlock as a second wall",
            (false, true) => "confined to no file by Landlock; system calls cannot be filtered here",
            (false, false) => "NOT confined: this kernel has neither seccomp nor Landlock",
        }
    }
}

/// Confines this process, which must have one thread and hold every descriptor it will not get from the daemon: from
/// here on it can open no file, start no thread or program, and make no socket but local ones.
///
/// What the kernel lacks is left out and told: a router with an old kernel still has its page.
pub fn confine() -> Confined {
    // Landlock first: the filter does not let its calls pass.
    let files = files();
    let confined = Confined { calls: calls(), files };
    if confined.calls && confined.files {
        log::info(confined.in_words());
    } else {
        log::warning(confined.in_words());
    }
    confined
}

/// No file, no TCP port to bind or to call, no signal to others, as far as this kernel knows the words.
fn files() -> bool {
    let none = || {
        // `BestEffort` leaves out what the kernel does not know, and says so in the status.
        Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(ABI::V6))?
            .handle_access(AccessNet::from_all(ABI::V6))?
            .scope(Scope::Signal)?
            .create()?
            .restrict_self()
    };
    match none() {
        Ok(status) => status.ruleset != RulesetStatus::NotEnforced,
        Err(e) => {
            log::warning(&format!("Landlock: {e}"));
            false
        }
    }
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64"))]
fn calls() -> bool {
    calls::filter().inspect_err(|e| log::warning(&format!("seccomp: {e}"))).is_ok()
}

/// The crate that writes the filter knows no other processor.
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64", target_arch = "riscv64")))]
fn calls() -> bool {
    false
}
