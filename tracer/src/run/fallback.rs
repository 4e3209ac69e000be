//! The capture backends that are not available: each is tried where the one above it in the fallback order is not.

use std::fmt;

use super::backend::CaptureBackend;
use crate::domain::unavailable::Unavailable;

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
    use crate::backend::ebpf::Mode;
    use crate::backend::net_dm::AlertMode;

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
}
