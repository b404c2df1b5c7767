//! A settings document: what it says compiles, and to a firewall that is closed.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| postern::fuzz::settings(bytes));
