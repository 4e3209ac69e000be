//! What this kernel and these rights allow: the facts that matter, each capture backend and whether it works, and what to
//! do about what does not.

mod examine;
mod json;
mod text;

pub use examine::examine;
pub use json::write_json;
pub use text::write_text;

use crate::domain::report::Host;

/// How good a fact is for droptrace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// As it should be.
    Good,
    /// Something is lost, but droptrace works.
    Degraded,
    /// Without it a capture backend does not work.
    Missing,
}

impl State {
    /// The word in text and JSON.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Degraded => "degraded",
            Self::Missing => "missing",
        }
    }
}

/// One fact.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Check {
    /// What was looked at.
    pub name: &'static str,
    /// How good it is.
    pub state: State,
    /// What was found.
    pub found: String,
    /// What to do about it; none where it is good.
    pub advice: Option<String>,
}

/// One capture backend, tried out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CaptureBackend {
    /// The source.
    pub source: &'static str,
    /// How it listens.
    pub mode: &'static str,
    /// Why it does not work; none when it does.
    pub unavailable: Option<String>,
    /// What it loses against the best.
    pub loses: &'static str,
}

/// All of it. The backends stand in the order in which they are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Where.
    pub host: Host,
    /// The facts.
    pub checks: Vec<Check>,
    /// The capture backends, best first.
    pub backends: Vec<CaptureBackend>,
}

impl Diagnosis {
    /// The backend that is taken unless another is asked for; none when none works.
    pub fn selected(&self) -> Option<&CaptureBackend> {
        self.backends.iter().find(|backend| backend.unavailable.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backend(mode: &'static str, unavailable: Option<&str>) -> CaptureBackend {
        CaptureBackend { source: "ebpf", mode, unavailable: unavailable.map(str::to_owned), loses: "nothing" }
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
        let unavailable = "this process lacks CAP_BPF; grant it by one of\n  once: sudo droptrace …";
        let mut diagnosis = good();
        diagnosis.checks[0] = Check {
            name: "capabilities",
            state: State::Missing,
            found: "none that is needed".into(),
            advice: Some(unavailable.into()),
        };
        diagnosis.backends = vec![backend("tp_btf", Some(unavailable)), backend("raw_tracepoint", Some(unavailable))];
        diagnosis
    }

    #[test]
    fn the_first_that_works_is_chosen() {
        assert_eq!(good().selected().unwrap().mode, "tp_btf");
        let mut second = good();
        second.backends[0].unavailable = Some("no".into());
        assert_eq!(second.selected().unwrap().mode, "raw_tracepoint");
        assert_eq!(unavailable().selected(), None);
    }
}
