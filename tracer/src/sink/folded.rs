//! Call stacks as folded lines, which programs that draw flame graphs read: the functions from the outermost on, then the
//! reason, then the number of sampled drops.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::StatSink;
use crate::dimension;
use crate::domain::event::Location;
use crate::domain::report::StatReport;
use crate::domain::stack::SampledStacks;
use crate::outside::printable;

/// Shows the call stacks of the last report as folded lines.
pub(crate) struct StatFolded<W> {
    out: W,
}

impl<W: Write> StatFolded<W> {
    /// Writes to `out`.
    pub(crate) fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> StatSink for StatFolded<W> {
    fn report(&mut self, report: &StatReport) -> io::Result<()> {
        if !report.is_final {
            return Ok(());
        }
        for (functions, samples) in folded(report.stacks.as_deref().unwrap_or_default()) {
            writeln!(self.out, "{functions} {samples}")?;
        }
        self.out.flush()
    }
}

/// The folded stacks. Stacks that differ only in the offsets within functions are one.
pub(super) fn folded(sites: &[SampledStacks]) -> BTreeMap<String, u64> {
    let mut lines = BTreeMap::new();
    for site in sites {
        for stack in &site.stacks {
            let mut line: String = stack.functions.iter().rev().map(|location| function(location) + ";").collect();
            line.push_str(&dimension::reason(&site.reason).replace(';', ":"));
            *lines.entry(line).or_default() += stack.samples;
        }
    }
    lines
}

/// The function's name, with its module; or its address.
fn function(location: &Location) -> String {
    let name = match &location.symbol {
        Some(symbol) => match &symbol.module {
            Some(module) => format!("{}_[{}]", printable(&symbol.name), printable(module)),
            None => printable(&symbol.name).into_owned(),
        },
        None => format!("{:#x}", location.address),
    };
    name.replace(';', ":")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples::{report, stacks, totals};

    #[test]
    fn lines_are_folded_from_the_outermost_function_on() {
        let mut out = Vec::new();
        let shown = StatReport { stacks: Some(stacks()), ..report(totals(), vec![]) };
        StatFolded::new(&mut out).report(&StatReport { is_final: false, ..shown.clone() }).unwrap();
        assert!(out.is_empty());
        StatFolded::new(&mut out).report(&StatReport { is_final: true, ..shown }).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
    }
}
