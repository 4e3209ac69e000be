//! The kernel programs on tracepoints. Each program is registered here once.

use std::iter;
use std::os::fd::OwnedFd;
use std::time::Instant;

use tracer_common::{ABSENT, Config, Offsets, UDP_RECEIVERS_UNKNOWN};

use super::feature::Features;
use super::loader::{Attachment, Loader, Program};
use super::stats::ProgramStats;
use super::{Error, Mode};
use crate::domain::event::Timestamp;
use crate::kernel::btf::Argument::{Any, Enum, Integer, OptionalInteger, Pointer, Struct};
use crate::kernel::btf::{Argument, KernelBtf};
use crate::kernel::clock::Clock;

/// A program beside the one on `kfree_skb`. The source works without it.
pub(super) struct Probe {
    /// Name of the tracepoint, and of the program on it.
    pub(super) name: &'static str,
    /// The facts that are not reported without it.
    pub(super) reports: &'static str,
    /// Whether the program counts drops of its own; else it only adds facts to the drops of another.
    pub(super) counts: bool,
    /// The tracepoint's arguments as far as the program uses them: on a kernel with others, it is not loaded.
    arguments: &'static [Argument],
    /// Whether the program can work on a kernel that has the tracepoint.
    is_useful: fn(&Config) -> bool,
}

impl Probe {
    /// Whether the kernel has the tracepoint (`include/trace/events/`).
    pub(super) fn exists(&self, btf: &KernelBtf) -> bool {
        btf.has_tracepoint(self.name, self.arguments)
    }
}

/// Reports the exact drop reason of queueing disciplines. It is attached behind the program on `kfree_skb`, so that
/// each of its notes is taken.
pub(super) const QDISC_DROP: Probe = Probe {
    name: "qdisc_drop",
    reports: "exact reasons of qdiscs",
    counts: false,
    arguments: &[Any, Any, Any, Struct("sk_buff"), Enum("qdisc_drop_reason")],
    is_useful: |config| config.qdisc_reason != 0,
};

/// Reports the drops of devices (since Linux 5.10).
const TRAP_REPORT: Probe = Probe {
    name: "devlink_trap_report",
    reports: "hardware drops",
    counts: true,
    arguments: &[Any, Struct("sk_buff"), Struct("devlink_trap_metadata")],
    is_useful: sees_traps,
};

/// Reports frames that XDP programs abort, or cannot send back (since Linux 4.10).
const XDP_EXCEPTION: Probe = Probe {
    name: "xdp_exception",
    reports: "drops by faults of XDP programs",
    counts: true,
    arguments: &[Struct("net_device"), Struct("bpf_prog"), Integer],
    is_useful: |config| sees_frames(config, "frames that XDP programs abort"),
};

/// Reports frames whose redirect by an XDP program fails (since Linux 5.6 for redirects of all kinds).
const XDP_REDIRECT_ERR: Probe = Probe {
    name: "xdp_redirect_err",
    reports: "drops by failed redirects of XDP",
    counts: true,
    arguments: &[Struct("net_device"), Struct("bpf_prog"), Pointer, Integer],
    is_useful: |config| sees_frames(config, "frames that XDP fails to redirect"),
};

/// Reports the sockets that have no room for a packet of UDP.
const UDP_FAIL_QUEUE_RCV_SKB: Probe = Probe {
    name: "udp_fail_queue_rcv_skb",
    reports: "receivers of packets",
    counts: false,
    arguments: &[Integer, Struct("sock")],
    is_useful: |config| config.udp_receivers != UDP_RECEIVERS_UNKNOWN,
};

/// Reports the segments that sockets send again (since Linux 4.15; newer kernels report those that could not be sent as well,
/// with an error). It is detached last, so that the retransmissions after the last drops are
/// reported.
pub(super) const TCP_RETRANSMIT_SKB: Probe = Probe {
    name: "tcp_retransmit_skb",
    reports: "retransmissions",
    counts: false,
    arguments: &[Struct("sock"), Struct("sk_buff"), OptionalInteger],
    is_useful: |config| config.retransmits != 0,
};

/// All programs, in the order in which they are attached and detached.
const PROBES: [&Probe; 6] =
    [&QDISC_DROP, &TRAP_REPORT, &XDP_EXCEPTION, &XDP_REDIRECT_ERR, &UDP_FAIL_QUEUE_RCV_SKB, &TCP_RETRANSMIT_SKB];

/// Whether XDP's drops can be distinguished from those that `kfree_skb` reports again: the helper reads devices and
/// programs.
fn sees_frames(config: &Config, reports: &str) -> bool {
    let Offsets { dev_ifindex, dev_net, dev_xdp_prog, dev_xdp_state, .. } = config.offsets;
    let Offsets { dev_rtnl_link_ops, link_ops_kind, prog_attach_type, skb_dev, .. } = config.offsets;
    let devices = [dev_ifindex, dev_net, dev_xdp_prog, dev_xdp_state, dev_rtnl_link_ops, link_ops_kind];
    let has_fields = !devices.contains(&ABSENT) && ![prog_attach_type, skb_dev].contains(&ABSENT);
    if has_fields && config.may_probe == 0 {
        tracing::warn!("the kernel is locked down (confidentiality): {reports} are not counted");
    }
    has_fields && config.may_probe != 0
}

/// Whether retransmissions can be reported, or why not.
pub(super) fn sees_retransmissions(btf: &KernelBtf, config: &Config) -> Result<(), &'static str> {
    let Offsets { tcp_seq, tcp_end_seq, tcp_segments, tcp_clock, sock_source, sock_destination, .. } = config.offsets;
    let Offsets { sock_family, sock_port, sock_peer_port, sock_net, .. } = config.offsets;
    let segment = [tcp_seq, tcp_end_seq, tcp_segments, tcp_clock];
    let socket = [sock_source, sock_destination, sock_family, sock_port, sock_peer_port, sock_net];
    if config.may_probe == 0 {
        return Err("the kernel is locked down (confidentiality)");
    }
    if !TCP_RETRANSMIT_SKB.exists(btf) {
        return Err("the kernel does not have the tracepoint tcp_retransmit_skb with the expected arguments");
    }
    if segment.contains(&ABSENT) || socket.contains(&ABSENT) {
        return Err("the kernel does not have the expected fields of TCP's sockets and segments");
    }
    Ok(())
}

/// Whether the drops of devices can be reported: the helper reads the names of their traps.
fn sees_traps(config: &Config) -> bool {
    let has_names = config.offsets.trap_name != ABSENT;
    if has_names && config.may_probe == 0 {
        tracing::warn!("the kernel is locked down (confidentiality): drops by network devices are not counted");
    }
    has_names && config.may_probe != 0
}

/// The programs on their tracepoints. After they are detached they stay loaded, so that their counters can be read.
pub(super) struct Programs {
    main: Program,
    others: Vec<(&'static Probe, Program)>,
    /// The links, in the order of detaching: those of programs that count, that of the program on `kfree_skb`, and those of
    /// programs that add facts to its drops, so that it counts no drop without them.
    links: Vec<OwnedFd>,
    attached_at: (Timestamp, Instant),
}

impl Programs {
    /// Loads the program on `kfree_skb`, and attaches it.
    pub(super) fn attach(loader: &Loader, mode: Mode, btf: &KernelBtf, features: &Features) -> Result<Self, Error> {
        const TRACEPOINT: &str = "kfree_skb";
        let attachment = match mode {
            Mode::TpBtf => Attachment::Typed(btf.tracepoint_id(TRACEPOINT)?),
            Mode::RawTracepoint => Attachment::Raw,
        };
        let main = loader.load(mode.program(features), attachment)?;
        let attached_at = (Clock::now(), Instant::now());
        let links = vec![main.attach(TRACEPOINT)?];
        Ok(Self { main, others: Vec::new(), links, attached_at })
    }

    /// Attaches the other programs that can work here, and warns of those that should work and do not.
    pub(super) fn attach_others(&mut self, loader: &Loader, btf: &KernelBtf, config: &Config) {
        for probe in PROBES.into_iter().filter(|probe| probe.exists(btf) && (probe.is_useful)(config)) {
            if let Err(error) = self.attach_other(loader, probe) {
                tracing::warn!("{} are not reported: {:#}", probe.reports, anyhow::Error::from(error));
            }
        }
    }

    fn attach_other(&mut self, loader: &Loader, probe: &'static Probe) -> Result<(), Error> {
        let program = loader.load(probe.name, Attachment::Raw)?;
        let link = program.attach(probe.name)?;
        if probe.counts {
            self.links.insert(0, link);
        } else {
            self.links.push(link);
        }
        self.others.push((probe, program));
        Ok(())
    }

    /// Detaches all programs; false if they were detached already.
    pub(super) fn detach(&mut self) -> bool {
        let was_attached = self.are_attached();
        self.links.drain(..).for_each(drop);
        was_attached
    }

    /// Time at which the main program was attached, in real time and as an instant.
    pub(super) const fn attached_at(&self) -> (Timestamp, Instant) {
        self.attached_at
    }

    pub(super) const fn are_attached(&self) -> bool {
        !self.links.is_empty()
    }

    /// Whether the program of `probe` was attached.
    pub(super) fn have(&self, probe: &Probe) -> bool {
        self.others.iter().any(|(other, _)| other.name == probe.name)
    }

    /// Runs of the program of `probe` that the kernel left out, because the program was running already on that CPU.
    pub(super) fn missed(&self, probe: &Probe) -> u64 {
        let program = self.others.iter().find(|(other, _)| other.name == probe.name);
        program.and_then(|(_, program)| ProgramStats::read(program.fd()).ok()?.recursion_misses).unwrap_or_default()
    }

    /// The program on `kfree_skb`.
    pub(super) const fn main(&self) -> &Program {
        &self.main
    }

    /// The programs that count drops of their own.
    pub(super) fn counting(&self) -> impl Iterator<Item = &Program> {
        let others = self.others.iter().filter(|(probe, _)| probe.counts);
        iter::once(&self.main).chain(others.map(|(_, program)| program))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::btf::tests::signatures::{pointer_to, with_tracepoint};
    use crate::kernel::btf::writer::Writer;

    /// Whether `probe` is attached on a kernel with these arguments of its tracepoint.
    fn exists(probe: &Probe, arguments: impl FnOnce(&mut Writer) -> Vec<u32>) -> bool {
        probe.exists(&with_tracepoint(&format!("btf_trace_{}", probe.name), arguments))
    }

    #[test]
    fn exact_reasons_of_qdiscs_are_of_their_own_kind() {
        let with_reason = |reason: &str| {
            exists(&QDISC_DROP, |w| {
                let others = ["Qdisc", "netdev_queue", "net_device", "sk_buff"].map(|name| pointer_to(w, name));
                [others.to_vec(), vec![w.enumeration(reason, &[("QDISC_DROP_GENERIC", 0x3_0001)])]].concat()
            })
        };
        assert!(with_reason("qdisc_drop_reason"));
        assert!(!with_reason("skb_drop_reason"));
    }

    #[test]
    fn hardware_drops_need_the_metadata_of_a_trap() {
        let with_metadata = |last: &str| {
            exists(&TRAP_REPORT, |w| ["devlink", "sk_buff", last].map(|name| pointer_to(w, name)).to_vec())
        };
        assert!(with_metadata("devlink_trap_metadata"));
        assert!(!with_metadata("net_dm_hw_metadata"));
    }

    #[test]
    fn a_retransmission_has_a_socket_and_a_segment() {
        let with = |second: &str, other: fn(&mut Writer) -> Vec<u32>| {
            exists(&TCP_RETRANSMIT_SKB, |w| [vec![pointer_to(w, "sock"), pointer_to(w, second)], other(w)].concat())
        };
        assert!(with("sk_buff", |_| vec![]));
        assert!(with("sk_buff", |w| vec![w.int("int", 4)]));
        assert!(!with("sk_buff", |w| vec![pointer_to(w, "sk_buff")]));
        assert!(!with("request_sock", |_| vec![]));
    }

    #[test]
    fn frames_of_xdp_have_a_device_and_a_program() {
        let with = |probe: &Probe, pointers: &[&str]| {
            exists(probe, |w| {
                let mut types: Vec<_> = pointers.iter().map(|name| pointer_to(w, name)).collect();
                types.push(w.int("int", 4));
                types
            })
        };
        for (program, is_right) in [("bpf_prog", true), ("bpf_map", false)] {
            assert_eq!(with(&XDP_EXCEPTION, &["net_device", program]), is_right);
            assert_eq!(with(&XDP_REDIRECT_ERR, &["net_device", program, "target"]), is_right);
        }
        assert!(!with(&XDP_REDIRECT_ERR, &["net_device", "bpf_prog"]));
    }
}
