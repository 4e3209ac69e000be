//! The capture backends in the fallback order: each is tried where the one above it is not available.

use std::fmt;

use crate::backend::ebpf::Mode;
use crate::backend::net_dm::AlertMode;
use crate::backend::{TOTALS_BACKENDS, TotalsBackend};
use crate::domain::unavailable::Unavailable;

/// One capture backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CaptureBackend {
    /// The BPF program on `kfree_skb`, attached in this mode.
    Ebpf(Mode),
    /// The kernel's drop monitor, in this mode.
    NetDm(AlertMode),
    /// A backend that reports only totals.
    Totals(&'static TotalsBackend),
    /// The kernel program and the drop monitor at once. It is not in the fallback order: it is used only on request.
    Both(Mode, AlertMode),
}

impl CaptureBackend {
    /// The fallback order, best first.
    pub const FALLBACK_ORDER: [Self; 4 + TOTALS_BACKENDS.len()] = {
        let mut order = [Self::Ebpf(Mode::TpBtf); 4 + TOTALS_BACKENDS.len()];
        order[1] = Self::Ebpf(Mode::RawTracepoint);
        order[2] = Self::NetDm(AlertMode::Packet);
        order[3] = Self::NetDm(AlertMode::Summary);
        let mut at = 0;
        while at < TOTALS_BACKENDS.len() {
            order[4 + at] = Self::Totals(TOTALS_BACKENDS[at]);
            at += 1;
        }
        order
    };

    /// The source's name in JSON.
    pub const fn source(self) -> &'static str {
        match self {
            Self::Ebpf(_) => "ebpf",
            Self::NetDm(_) => "net_dm",
            Self::Totals(backend) => backend.source,
            Self::Both(..) => "both",
        }
    }

    /// The mode's name in JSON.
    pub const fn mode(self) -> &'static str {
        match self {
            Self::Ebpf(mode) => mode.name(),
            Self::NetDm(mode) => mode.name(),
            Self::Totals(backend) => backend.mode,
            Self::Both(Mode::RawTracepoint, AlertMode::Packet) => "raw_tracepoint+packet",
            Self::Both(Mode::RawTracepoint, AlertMode::Summary) => "raw_tracepoint+summary",
            Self::Both(_, AlertMode::Packet) => "tp_btf+packet",
            Self::Both(_, AlertMode::Summary) => "tp_btf+summary",
        }
    }

    /// The losses that the backend cannot see.
    pub const fn cannot_see(self) -> &'static str {
        match self {
            Self::Ebpf(_) | Self::Both(..) => {
                "connections that a listener refuses, losses in network cards and drivers, XDP_DROP in a driver; counters beside show most"
            }
            Self::NetDm(_) => "as ebpf, and frames that XDP programs fail to pass on",
            Self::Totals(_) => "losses that no counter in /proc/net counts",
        }
    }

    /// The facts that the backend lacks, compared with the best one.
    pub const fn loses(self) -> &'static str {
        match self {
            Self::Ebpf(Mode::RawTracepoint) | Self::Both(Mode::RawTracepoint, _) => {
                "time: each drop costs several times as much"
            }
            Self::Ebpf(_) | Self::Both(..) => "nothing",
            Self::NetDm(AlertMode::Packet) => {
                "namespaces, packets without a MAC header, and under load drops, which it counts"
            }
            Self::NetDm(AlertMode::Summary) => {
                "reasons, interfaces, bytes, single drops, and some drops without a count"
            }
            Self::Totals(backend) => backend.loses,
        }
    }

    /// Whether the backend reports single drops, and not only sums.
    pub fn reports_single_drops(self) -> bool {
        !matches!(self, Self::NetDm(AlertMode::Summary) | Self::Totals(_) | Self::Both(_, AlertMode::Summary))
    }
}

impl fmt::Display for CaptureBackend {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.source(), self.mode())
    }
}

/// A backend that is not available.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UnavailableBackend {
    /// The backend.
    pub backend: CaptureBackend,
    /// The cause and the remedy.
    pub why: Unavailable,
}

/// Backends that are not available, in the order in which they were tried. Each cause is shown once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnavailableBackends(pub Vec<UnavailableBackend>);

impl fmt::Display for UnavailableBackends {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups = self.0.chunk_by(|one, other| one.why == other.why);
        for (index, group) in groups.enumerate() {
            let backends: Vec<_> = group.iter().map(|each| each.backend.to_string()).collect();
            let separator = if index > 0 { "\n" } else { "" };
            write!(formatter, "{separator}{}: {}", backends.join(" and "), group[0].why)?;
        }
        Ok(())
    }
}

/// None of the wanted backends is available.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct NoneAvailable(pub UnavailableBackends);

impl fmt::Display for NoneAvailable {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.0.as_slice() {
            both if both.iter().all(|each| matches!(each.backend, CaptureBackend::Both(..))) => {
                write!(
                    formatter,
                    "both backends cannot run at once here; `stat` and `trace` with `--source auto` use one\n{}",
                    self.0
                )
            }
            // Only one backend was wanted, so no other is named.
            [only] => only.why.fmt(formatter),
            _ => write!(formatter, "no capture backend works here (`droptrace doctor` reports more)\n{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unavailable(causes: &[&str]) -> UnavailableBackends {
        let unavailable = CaptureBackend::FALLBACK_ORDER.into_iter().zip(causes);
        UnavailableBackends(
            unavailable
                .map(|(backend, cause)| UnavailableBackend { backend, why: Unavailable::because(cause) })
                .collect(),
        )
    }

    #[test]
    fn a_cause_that_backends_share_is_shown_once() {
        let text = unavailable(&["no rights", "no rights", "no such family"]).to_string();
        assert_eq!(text, "ebpf tp_btf and ebpf raw_tracepoint: no rights\nnet_dm packet: no such family");
    }

    #[test]
    fn cause_of_the_only_wanted_backend_has_no_prefix() {
        assert_eq!(NoneAvailable(unavailable(&["no rights"])).to_string(), "no rights");
        let all = NoneAvailable(unavailable(&["one", "two"])).to_string();
        assert!(all.ends_with("\nebpf tp_btf: one\nebpf raw_tracepoint: two"), "{all}");
    }

    #[test]
    fn unavailable_both_suggests_source_auto() {
        let backend = CaptureBackend::Both(Mode::TpBtf, AlertMode::Packet);
        let text = NoneAvailable(UnavailableBackends(vec![UnavailableBackend {
            backend,
            why: Unavailable::because("no such family"),
        }]))
        .to_string();
        assert!(text.contains("`--source auto`") && text.ends_with(": no such family"), "{text}");
    }

    #[test]
    fn first_three_backends_report_single_drops() {
        let reports = CaptureBackend::FALLBACK_ORDER.map(CaptureBackend::reports_single_drops);
        assert_eq!(reports[..4], [true, true, true, false]);
        assert!(reports[4..].iter().all(|reports| !reports));
    }
}
