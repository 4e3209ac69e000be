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
pub struct Step {
    /// The source.
    pub source: &'static str,
    /// How it listens.
    pub mode: &'static str,
    /// Why it does not work; none when it does.
    pub refused: Option<String>,
    /// What it loses against the best.
    pub loses: &'static str,
}

/// All of it. The steps stand in the order in which they are tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    /// Where.
    pub host: Host,
    /// The facts.
    pub checks: Vec<Check>,
    /// The capture backends, best first.
    pub steps: Vec<Step>,
}

impl Diagnosis {
    /// The step that is taken unless another is asked for; none when none works.
    pub fn chosen(&self) -> Option<&Step> {
        self.steps.iter().find(|step| step.refused.is_none())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(mode: &'static str, refused: Option<&str>) -> Step {
        Step { source: "ebpf", mode, refused: refused.map(str::to_owned), loses: "nothing" }
    }

    pub(super) fn good() -> Diagnosis {
        let check = |name, found: &str| Check { name, state: State::Good, found: found.into(), advice: None };
        Diagnosis {
            host: Host { name: "lab-1".into(), kernel: "6.18.44".into() },
            checks: vec![
                check("capabilities", "CAP_BPF, CAP_PERFMON, CAP_SYSLOG"),
                check("tracepoint", "kfree_skb(skb, location, reason, rx_sk)"),
            ],
            steps: vec![step("tp_btf", None), step("raw_tracepoint", None)],
        }
    }

    pub(super) fn refused() -> Diagnosis {
        let refused = "this process lacks CAP_BPF; grant it by one of\n  once: sudo droptrace …";
        let mut diagnosis = good();
        diagnosis.checks[0] = Check {
            name: "capabilities",
            state: State::Missing,
            found: "none of use".into(),
            advice: Some(refused.into()),
        };
        diagnosis.steps = vec![step("tp_btf", Some(refused)), step("raw_tracepoint", Some(refused))];
        diagnosis
    }

    #[test]
    fn the_first_that_works_is_chosen() {
        assert_eq!(good().chosen().unwrap().mode, "tp_btf");
        let mut second = good();
        second.steps[0].refused = Some("no".into());
        assert_eq!(second.chosen().unwrap().mode, "raw_tracepoint");
        assert_eq!(refused().chosen(), None);
    }
}
