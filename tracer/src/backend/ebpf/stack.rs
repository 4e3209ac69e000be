//! The functions of a record's call stack.

use std::sync::Arc;

use crate::domain::event::{Location, Symbol};

/// Puts the functions of a record's call stack into `stack`, from the drop site on: the functions before it are those
/// that free the packet and run the BPF program. `site` is [`tracer_common::DropKey::location`]. A stack in which it
/// does not stand begins where the kernel's tracing ends. `name` returns the function of an address.
pub fn functions(
    addresses: &[[u8; 8]],
    site: u64,
    mut name: impl FnMut(u64) -> Arc<Location>,
    stack: &mut Vec<Arc<Location>>,
) {
    stack.clear();
    let addresses = addresses.iter().map(|address| u64::from_ne_bytes(*address)).take_while(|address| *address != 0);
    let known = addresses.clone().position(|address| address == site);
    let Some(start) = known else {
        return stack.extend(addresses.map(name).skip_while(|location| is_tracing(location)));
    };
    stack.extend(addresses.skip(start).map(&mut name));
}

/// Returns whether this is a BPF program, or a function by which a tracepoint runs it (`kernel/trace/bpf_trace.c`,
/// `include/linux/tracepoint.h`).
fn is_tracing(location: &Location) -> bool {
    let Some(Symbol { name, module, .. }) = &location.symbol else { return true };
    module.as_deref() == Some("bpf")
        || ["bpf_", "__bpf_trace_", "__traceiter_", "__probestub_"].iter().any(|start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_and_tracepoints_are_no_part_of_the_stack() {
        let at = |name: &str, module: Option<&str>| Location {
            address: 1,
            symbol: Some(Symbol { name: name.into(), offset: 4, module: module.map(Into::into) }),
            trap_group: None,
        };
        for name in ["bpf_prog_05a1_kfree_skb_btf", "bpf_trace_run4", "__bpf_trace_kfree_skb", "__traceiter_kfree_skb"]
        {
            assert!(is_tracing(&at(name, None)), "{name}");
        }
        assert!(is_tracing(&at("kfree_skb_btf", Some("bpf"))));
        assert!(is_tracing(&Location { address: 1, symbol: None, trap_group: None }));
        assert!(!is_tracing(&at("sk_skb_reason_drop", None)) && !is_tracing(&at("nft_do_chain", Some("nf_tables"))));
    }
}
