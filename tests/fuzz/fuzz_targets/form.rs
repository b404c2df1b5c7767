//! The body of a browser's form.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    postern_web::form::parse(bytes);
});
