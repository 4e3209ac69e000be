//! Diagnoses what this kernel and the capabilities of this process allow: the facts that matter, whether each capture
//! backend works, and the remedies.

mod container;
mod counters;
mod examine;
mod json;
mod owners;
mod sites;
mod text;

pub(crate) use examine::examine;
pub(crate) use json::write_json;
pub(crate) use text::write_text;

use crate::domain::report::Host;
use crate::domain::unavailable::Unavailable;

/// The effect of a fact on droptrace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The fact limits nothing.
    Good,
    /// droptrace works, but some information is lost.
    Degraded,
    /// A capture backend needs the missing part.
    Missing,
}

impl State {
    /// The name of the state in text and JSON.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
        }
    }
}

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Check {
    /// The name of the fact.
    pub(crate) name: &'static str,
    /// The effect of the fact.
    pub(crate) state: State,
    /// The finding.
    pub(crate) found: String,
    /// The remedy; absent if the state is good.
    pub(crate) advice: Option<String>,
}

/// A capture backend, with the result of a trial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct CaptureBackend {
    /// The backend's name.
    pub(crate) source: &'static str,
    /// The backend's mode.
    pub(crate) mode: &'static str,
    /// Why the backend is not available; absent if the backend works.
    pub(crate) unavailable: Option<Unavailable>,
    /// The information that the backend loses in comparison with the best one.
    pub(crate) loses: &'static str,
    /// The losses that the backend cannot see.
    pub(crate) cannot_see: &'static str,
}

/// A whole diagnosis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Diagnosis {
    /// The host that was examined.
    pub(crate) host: Host,
    /// The facts.
    pub(crate) checks: Vec<Check>,
    /// The capture backends in the fallback order, the best one first.
    pub(crate) backends: Vec<CaptureBackend>,
}

impl Diagnosis {
    /// The backend that droptrace uses unless the user selects another one; `None` if no backend works.
    pub(crate) fn selected(&self) -> Option<&CaptureBackend> {
        self.backends.iter().find(|backend| backend.unavailable.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(mode: &'static str, unavailable: Option<&Unavailable>) -> CaptureBackend {
        CaptureBackend {
            source: "ebpf",
            mode,
            unavailable: unavailable.cloned(),
            loses: "nothing",
            cannot_see: "losses in drivers",
        }
    }

    pub(super) fn good() -> Diagnosis {
        let check = |name, found: &str| Check { name, state: State::Good, found: found.into(), advice: None };
        Diagnosis {
            host: Host { name: "lab-1".into(), kernel: "6.18.44".into() },
            checks: vec![
                check("capabilities", "CAP_BPF, CAP_PERFMON, CAP_SYSLOG"),
                check("tracepoint", "kfree_skb(skb, location, reason, rx_sk)"),
            ],
            backends: vec![backend("tp_btf", None), backend("raw_tracepoint", None)],
        }
    }

    pub(super) fn unavailable() -> Diagnosis {
        let unavailable =
            Unavailable::new("this process lacks CAP_BPF", "grant it by one of\n  once: sudo droptrace …");
        let mut diagnosis = good();
        diagnosis.checks[0] = Check {
            name: "capabilities",
            state: State::Missing,
            found: "none of those that droptrace uses".into(),
            advice: Some(unavailable.to_string()),
        };
        diagnosis.backends = vec![backend("tp_btf", Some(&unavailable)), backend("raw_tracepoint", Some(&unavailable))];
        diagnosis
    }

    #[test]
    fn first_working_backend_is_selected() {
        assert_eq!(good().selected().unwrap().mode, "tp_btf");
        let mut second = good();
        second.backends[0].unavailable = Some(Unavailable::because("no"));
        assert_eq!(second.selected().unwrap().mode, "raw_tracepoint");
        assert_eq!(unavailable().selected(), None);
    }
}
