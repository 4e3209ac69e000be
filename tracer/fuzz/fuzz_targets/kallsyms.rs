//! Symbols: the texts of `/proc/kallsyms` and `/proc/modules`, split at the first zero byte.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer::kernel::symbols::look_up_in;

fuzz_target!(|input: (u64, &[u8])| {
    let (address, bytes) = input;
    let mut texts = bytes.splitn(2, |byte| *byte == 0);
    let (kallsyms, modules) = (texts.next().unwrap_or_default(), texts.next().unwrap_or_default());
    if let Some(symbol) = look_up_in(kallsyms, modules, address) {
        assert!(symbol.offset > 0 && symbol.offset <= address);
    }
});
