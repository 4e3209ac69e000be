//! See [`tracer::hostile::filter`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tracer::hostile::filter(bytes));
