//! See [`tracer::hostile::history`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tracer::hostile::history(bytes));
