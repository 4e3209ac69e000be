//! Records of the ring buffer, and the packets in them.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer::backend::ebpf::Record;
use tracer::packet::decode;

fuzz_target!(|bytes: &[u8]| {
    if let Some(record) = Record::parse(bytes) {
        assert!(record.bytes.len() <= bytes.len());
        let _ = record.report.interface();
        let (stack, packet) = record.report.split(record.bytes);
        assert!(size_of_val(stack) + packet.len() <= record.bytes.len());
        let decoded = decode(record.report.start, record.report.header.key.protocol, packet);
        let _ = (decoded.source(), decoded.destination(), decoded.transport());
    }
});
