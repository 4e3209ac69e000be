//! See [`droptrace_fleet::hostile::answer`].
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| droptrace_fleet::hostile::answer(bytes));
