//! Frames as the web process would send them to the daemon.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| postern::fuzz::door(bytes));
