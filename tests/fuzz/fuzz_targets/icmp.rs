//! Answers to pings and traces.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| postern::fuzz::icmp(bytes));
