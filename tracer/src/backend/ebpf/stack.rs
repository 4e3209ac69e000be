//! The call stack of a record.

use crate::domain::event::{Location, Symbol};

/// The call stack of a record, from the drop site on: the functions before it are those that free the packet and run the
/// BPF program. A stack in which the drop site does not stand begins where the kernel's tracing ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallStack<'a> {
    addresses: &'a [[u8; 8]],
    has_site: bool,
}

impl<'a> CallStack<'a> {
    /// The call stack with these return addresses, up to the first that is 0. `site` is
    /// [`tracer_common::DropKey::location`].
    pub(crate) fn of(addresses: &'a [[u8; 8]], site: u64) -> Self {
        let known = addresses.split(|address| *address == [0; 8]).next().unwrap_or_default();
        let start = known.iter().position(|address| u64::from_ne_bytes(*address) == site);
        Self { addresses: &known[start.unwrap_or(0)..], has_site: start.is_some() }
    }

    /// The return addresses. Those at the start whose function [`is_before`](Self::is_before) the stack are no part of it.
    pub(crate) fn addresses(&self) -> impl Iterator<Item = u64> + use<'a> {
        self.addresses.iter().map(|address| u64::from_ne_bytes(*address))
    }

    /// Returns whether a function at the start belongs to the kernel's tracing.
    pub(crate) fn is_before(&self, function: &Location) -> bool {
        !self.has_site && is_tracing(function)
    }
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
    fn stack_starts_at_the_drop_site() {
        let addresses = [3_u64, 4, 5, 0, 4].map(u64::to_ne_bytes);
        let unresolved = Location { address: 3, symbol: None, trap_group: None };
        for (site, expected, is_before) in [(4, &[4_u64, 5][..], false), (6, &[3, 4, 5], true)] {
            let stack = CallStack::of(&addresses, site);
            assert_eq!(
                (stack.addresses().collect::<Vec<_>>(), stack.is_before(&unresolved)),
                (expected.to_vec(), is_before)
            );
        }
        assert_eq!(CallStack::of(&[], 4).addresses().count(), 0);
    }

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
