//! What the kernel tells of tables, rules and elements.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| postern::fuzz::nft(bytes));
