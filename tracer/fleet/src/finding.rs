//! A conclusion from a fleet.

use serde::Serialize;

use super::number;

/// The severity of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// The finding is worth knowing.
    Notice,
    /// The finding needs a look.
    Warning,
    /// The finding needs a look first.
    Critical,
}

/// The kind of a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Agents that should report and do not.
    Silent,
    /// A reason that the baseline does not have.
    NewReason,
    /// A drop site that the baseline does not have; it has the reason.
    NewSite,
    /// Many times more drops of a reason than before.
    Grown,
    /// Hosts that drop far more than similar hosts.
    Outlier,
    /// A group of hosts that drops far more than the other hosts.
    Group,
    /// Many drops in a short time.
    Storm,
    /// A reason that no healthy host has.
    Unhealthy,
    /// Hosts that lose far more outside `kfree_skb` than similar hosts, by one of the kernel's counters.
    Outside,
    /// A pod, container, unit or control group to whose sockets most drops of a reason belong.
    Owner,
    /// Hosts that lost drops: their counts are too low.
    Loss,
    /// Hosts whose number of lost drops cannot be known.
    LossUnknown,
    /// Hosts whose rows and ledger do not agree.
    Unbalanced,
    /// Hosts with snapshots that were left out because they cover a time span that is already counted.
    Duplicate,
}

/// A finding, with its evidence and what to do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Finding {
    /// The severity.
    pub(crate) severity: Severity,
    /// The kind of the finding.
    pub(crate) kind: Kind,
    /// The finding in one sentence, without a full stop.
    pub(crate) title: String,
    /// The drop reason; `None` if the finding is not about a single reason.
    pub(crate) reason: Option<String>,
    /// Subsystem of the reason.
    pub(crate) subsystem: Option<String>,
    /// The function; `None` if the finding is not about a single function.
    pub(crate) symbol: Option<String>,
    /// The owner of the packets' sockets; `None` if the finding is not about a single owner.
    pub(crate) owner: Option<String>,
    /// The kernel's counter; `None` if the finding is not about a counter.
    pub(crate) counter: Option<String>,
    /// The group of hosts, such as `kernel=6.18.44`; `None` for the whole fleet.
    pub(crate) group: Option<String>,
    /// The hosts.
    pub(crate) hosts: Subject,
    /// How much more is dropped than expected; `None` if the finding is not a comparison of hosts.
    pub(crate) effect: Option<Effect>,
    /// The expected share of wrong findings among those that are at least as certain; `None` if the finding is not a test.
    #[serde(serialize_with = "number::option")]
    pub(crate) q_value: Option<f64>,
    /// The evidence.
    pub(crate) evidence: Vec<Figure>,
    /// The meaning of the reason, or of the finding.
    pub(crate) meaning: String,
    /// Shell commands, the next one first.
    pub(crate) next: Vec<String>,
}

impl Finding {
    /// The packets that the evidence is about, rounded; 0 if it has no number of packets.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rounded count; casts saturate")]
    pub(crate) fn packets(&self) -> u64 {
        let packets = self.evidence.iter().filter(|figure| figure.unit == "packets").map(|figure| figure.value);
        packets.fold(0.0, f64::max).round() as u64
    }
}

/// How many times as much is dropped as expected.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Effect {
    /// Drops against the expected drops; of several hosts, those of the host that is furthest from them.
    #[serde(serialize_with = "number::serialize")]
    pub(crate) times: f64,
    /// The lower bound of the range in which 95 % of hosts, or groups, with such an effect are.
    #[serde(serialize_with = "number::serialize")]
    pub(crate) at_least: f64,
    /// The upper bound.
    #[serde(serialize_with = "number::serialize")]
    pub(crate) at_most: f64,
}

/// Hosts, of which only some are named.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Subject {
    /// Number of hosts.
    pub(crate) count: usize,
    /// The first hosts, at most [`super::analyse::Options::named`].
    pub(crate) named: Vec<NamedHost>,
}

/// A host with its own value.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct NamedHost {
    /// Its name.
    pub(crate) name: String,
    /// The value, in the unit of [`Self::unit`]; `None` if there is none.
    #[serde(serialize_with = "number::option")]
    pub(crate) value: Option<f64>,
    /// Unit of the value.
    pub(crate) unit: &'static str,
}

/// A value that is evidence of a finding.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// The name of the value.
    pub(crate) what: &'static str,
    /// The value.
    #[serde(serialize_with = "number::serialize")]
    pub(crate) value: f64,
    /// The unit: `packets`, `packets/s`, `hosts`, `times`, `probability`, `seconds`, `%`.
    pub(crate) unit: &'static str,
}
