//! dnsmasq's leases, with the names that devices give themselves.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| postern::fuzz::leases(bytes));
