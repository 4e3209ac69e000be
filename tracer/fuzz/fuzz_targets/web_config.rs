//! See [`tracer::hostile::web_config`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| tracer::hostile::web_config(bytes));
