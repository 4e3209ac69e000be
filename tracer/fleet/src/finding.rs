//! What is concluded from a fleet.

use serde::Serialize;

use super::number;

/// How much it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Severity {
    /// Worth knowing.
    Notice,
    /// Look into it.
    Warning,
    /// Look into it first.
    Critical,
}

/// What was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    /// Agents that should tell and do not.
    Silent,
    /// A reason that was not there before.
    NewReason,
    /// A place that was not there before; its reason was.
    NewPlace,
    /// Many times more drops of a reason than before.
    Grown,
    /// Hosts that drop far more than those like them.
    Outlier,
    /// A group of hosts that as a whole drops far more than the others.
    Group,
    /// Many drops in a short while.
    Storm,
    /// A reason that no healthy host shows.
    Unhealthy,
    /// Hosts that lost drops: their counts are too small.
    Loss,
    /// Hosts of which nobody can know how many drops they lost.
    LossUnknown,
    /// Hosts whose rows and ledger do not agree.
    Unbalanced,
    /// Hosts of which snapshots were left out because they cover a time that is counted already.
    Duplicate,
}

/// One thing found, with what shows it and what to do.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Finding {
    /// How much it matters.
    pub(crate) severity: Severity,
    /// What it is.
    pub(crate) kind: Kind,
    /// It in one sentence, without a full stop.
    pub(crate) title: String,
    /// The reason it is about; none: about no single one.
    pub(crate) reason: Option<String>,
    /// Subsystem of the reason.
    pub(crate) subsystem: Option<String>,
    /// The function it is about; none: about no single one.
    pub(crate) symbol: Option<String>,
    /// The group of hosts it is about, as `kernel=6.18.44`; none: the whole fleet.
    pub(crate) group: Option<String>,
    /// The hosts it is about.
    pub(crate) hosts: Subject,
    /// What shows it.
    pub(crate) evidence: Vec<Figure>,
    /// What the reason, or the finding, means.
    pub(crate) meaning: String,
    /// Shell commands and backends, the next one first.
    pub(crate) next: Vec<String>,
}

/// Hosts, of which only some are named.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Subject {
    /// How many.
    pub(crate) count: usize,
    /// The foremost, at most [`super::analyse::Options::named`].
    pub(crate) named: Vec<NamedHost>,
}

/// A host with its own figure.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct NamedHost {
    /// Its name.
    pub(crate) name: String,
    /// Its figure, in the unit of [`Self::unit`]; none: there is none.
    #[serde(serialize_with = "number::option")]
    pub(crate) value: Option<f64>,
    /// Unit of the figure.
    pub(crate) unit: &'static str,
}

/// A figure that shows something.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Figure {
    /// What is told.
    pub(crate) what: &'static str,
    /// How much.
    #[serde(serialize_with = "number::serialize")]
    pub(crate) value: f64,
    /// Of what: `packets`, `packets/s`, `hosts`, `times`, `deviations`, `seconds`, `%`.
    pub(crate) unit: &'static str,
}
