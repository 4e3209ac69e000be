//! Records of the ring buffer, and the packets in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer::packet::decode;
use tracer::backend::ebpf::Record;

fuzz_target!(|bytes: &[u8]| {
    if let Some(record) = Record::parse(bytes) {
        assert!(record.bytes.len() <= bytes.len());
        let _ = record.report.interface();
        let decoded = decode(record.report.start, record.report.header.key.protocol, record.bytes);
        let _ = (decoded.source(), decoded.destination(), decoded.transport());
    }
});
