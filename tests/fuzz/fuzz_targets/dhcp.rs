//! What a provider's DHCP server says, as a client hands it on.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| postern::fuzz::dhcp(bytes));
