//! DNS answers: the copies of ours, and those of the page's own questions.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| postern::fuzz::dns(bytes));
