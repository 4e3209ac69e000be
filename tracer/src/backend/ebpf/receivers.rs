//! How the socket of a packet that UDP cannot queue is known on this kernel.

use tracer_common::{CodeRange, UDP_QUEUES, UDP_RECEIVERS_LATER, UDP_RECEIVERS_NOTED, UDP_RECEIVERS_UNKNOWN};

use super::{Options, filter};
use crate::kernel::btf::{KernelBtf, UdpFailure};
use crate::kernel::symbols;

/// The functions that drop a packet for which a UDP socket has no room (`net/ipv4/udp.c`, `net/ipv6/udp.c`), each of
/// which the compiler may put into the next one.
const QUEUES: [&str; 6] = [
    "__udp_queue_rcv_skb",
    "udp_queue_rcv_one_skb",
    "udp_queue_rcv_skb",
    "__udpv6_queue_rcv_skb",
    "udpv6_queue_rcv_one_skb",
    "udpv6_queue_rcv_skb",
];

/// The receivers of packets that UDP cannot queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Receivers {
    /// One of the `UDP_RECEIVERS_*` values.
    pub(super) form: u32,
    /// Where the kernel drops such packets. Set only with [`UDP_RECEIVERS_LATER`].
    pub(super) queues: [CodeRange; UDP_QUEUES],
}

impl Receivers {
    /// Asks the kernel, if the options need these receivers. `takes_numbers`: the program on `kfree_skb` can read through
    /// an address that was noted.
    pub(super) fn ask(options: &Options, btf: &KernelBtf, takes_numbers: bool) -> Self {
        let reports_receiver = btf.tracepoint().is_ok_and(|tracepoint| tracepoint.has_rx_sk);
        // Flows are counted with the key that a drop has at first.
        let is_asked = options.cgroups || options.filter.as_deref().is_some_and(filter::asks_cgroups);
        if reports_receiver || !is_asked {
            return Self::default();
        }
        match btf.udp_failure() {
            Some(UdpFailure::BeforeFree) if takes_numbers => Self { form: UDP_RECEIVERS_NOTED, ..Self::default() },
            Some(UdpFailure::AfterFree) if options.cgroups && options.flows == 0 => Self::later(options.may_probe),
            _ => Self::default(),
        }
    }

    /// For kernels that report the socket after they have freed the packet.
    fn later(may_probe: bool) -> Self {
        if !may_probe {
            tracing::warn!("the kernel is locked down (confidentiality): receivers of packets are unknown");
            return Self::default();
        }
        let found = symbols::code_of(&QUEUES).unwrap_or_default();
        if found.is_empty() {
            tracing::warn!("the kernel does not show where UDP drops packets (/proc/kallsyms): receivers are unknown");
        }
        if found.len() > UDP_QUEUES {
            tracing::warn!(
                "UDP drops packets in {} parts of the kernel's code, of which droptrace can watch {UDP_QUEUES}: some \
                 receivers are unknown",
                found.len()
            );
        }
        Self::at(&found)
    }

    fn at(found: &[std::ops::Range<u64>]) -> Self {
        let mut queues = [CodeRange::default(); UDP_QUEUES];
        for (to, code) in queues.iter_mut().zip(found) {
            *to = CodeRange { start: code.start, end: code.end };
        }
        Self { form: if found.is_empty() { UDP_RECEIVERS_UNKNOWN } else { UDP_RECEIVERS_LATER }, queues }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_addresses_receivers_are_unknown() {
        assert_eq!(Receivers::at(&[]), Receivers::default());
        let known = Receivers::at(&[4..9, 12..20]);
        assert_eq!(known.form, UDP_RECEIVERS_LATER);
        assert_eq!(known.queues[..2], [CodeRange { start: 4, end: 9 }, CodeRange { start: 12, end: 20 }]);
        assert_eq!(known.queues[2..], [CodeRange::default(); UDP_QUEUES - 2]);
    }

    #[test]
    fn functions_without_room_have_unknown_receivers() {
        let found: Vec<_> = (1..).map(|at| 10 * at..10 * at + 5).take(UDP_QUEUES + 1).collect();
        let known = Receivers::at(&found);
        let last = UDP_QUEUES - 1;
        assert_eq!(known.queues[last], CodeRange { start: found[last].start, end: found[last].end });
    }
}
