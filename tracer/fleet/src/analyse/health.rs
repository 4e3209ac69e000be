//! Findings of reasons that no healthy host has.

use std::collections::HashSet;

use droptrace_base::explain::Usual;

use super::build::{Draft, hosts};
use super::view::{Cause, View, total};
use crate::finding::{Finding, Kind, Severity};

/// Finds such reasons, except those that are reported as new.
pub(super) fn unhealthy(view: &View<'_>, reported: &HashSet<Cause<'_>>) -> Vec<Finding> {
    let is_a_fault = |cause: Cause<'_>| view.explain(cause).is_some_and(|(_, it)| it.usual == Some(Usual::Never));
    let rows = view.causes.iter().filter(|(cause, row)| {
        total(row) >= view.options.min_packets && !reported.contains(*cause) && is_a_fault(**cause)
    });
    let finding = |(&cause, row): (&Cause<'_>, &Vec<_>)| {
        // Drops that the baseline has as well are already known.
        let severity = if view.fleet.baseline.is_some() { Severity::Notice } else { Severity::Warning };
        let title = format!("{} on {}: no healthy host shows it", cause.name(), hosts(row.len()));
        let rates = row.iter().map(|&(id, packets)| (id, view.rate(id, packets)));
        Draft::new(Kind::Unhealthy, severity, title)
            .cause(view, cause)
            .hosts(view, rates, "packets/s")
            .evidence("dropped", total(row), "packets")
            .done()
    };
    rows.map(finding).collect()
}
