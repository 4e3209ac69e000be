//! Type information: all that a start asks of it, from any bytes, as the image's and as a module's on top of itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tracer::kernel::btf::{Argument, KernelBtf};
use tracer::kernel::reasons::ReasonNames;

fuzz_target!(|bytes: &[u8]| {
    let Ok(btf) = KernelBtf::from_bytes(bytes) else { return };
    let _ = btf.offsets();
    let _ = btf.tracepoint();
    let _ = (btf.structure_id("sk_buff"), btf.function_id("bpf_rdonly_cast"), btf.trusts_pointers());
    let _ = (btf.vlan_present_mask(), btf.pkt_type_mask());
    let kinds = [Argument::Struct("sk_buff"), Argument::Pointer, Argument::Enum("skb_drop_reason"), Argument::Integer];
    let _ = (btf.has_tracepoint("kfree_skb", &kinds), btf.udp_failure());
    let mut names = ReasonNames::load(&btf);
    for raw in [2, 0x1_0001, 0x2_0001, u32::MAX] {
        assert_eq!(names.resolve(raw).value, Some(raw));
    }
    if let Ok(module) = btf.module_from_bytes(bytes) {
        let _ = module.offsets();
    }
});
