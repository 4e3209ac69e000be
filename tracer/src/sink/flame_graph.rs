//! Call stacks as a flame graph: a picture in SVG.

use std::io::{self, Write};

use inferno::flamegraph::{Options, from_lines};

use super::StatSink;
use super::folded::folded;
use crate::domain::report::StatReport;
use crate::outside::printable;

/// Draws the call stacks of the last report.
pub struct StatFlameGraph<W> {
    out: W,
}

impl<W: Write> StatFlameGraph<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { out }
    }
}

impl<W: Write> StatSink for StatFlameGraph<W> {
    fn report(&mut self, report: &StatReport) -> io::Result<()> {
        if !report.is_final {
            return Ok(());
        }
        let lines = folded(report.stacks.as_deref().unwrap_or_default());
        let lines: Vec<_> = lines.into_iter().map(|(functions, samples)| format!("{functions} {samples}")).collect();
        if lines.is_empty() {
            return Err(io::Error::other("no drop has a call stack, so there is nothing to draw"));
        }
        let host = &report.host;
        let mut options = Options::default();
        options.title = format!("Call stacks of packets dropped on {}", printable(&host.name));
        options.subtitle = Some(format!("Linux {}, a sample of the drops of each key", printable(&host.kernel)));
        options.count_name = "sampled drops".into();
        // The picture has no random colours, so that two of them can be compared.
        options.hash = true;
        from_lines(&mut options, lines.iter().map(String::as_str), &mut self.out).map_err(io::Error::other)?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples::{report, stacks, totals};

    #[test]
    fn a_picture_names_the_functions() {
        let mut out = Vec::new();
        let shown = StatReport { stacks: Some(stacks()), is_final: true, ..report(totals(), vec![]) };
        StatFlameGraph::new(&mut out).report(&shown).unwrap();
        let picture = String::from_utf8(out).unwrap();
        for text in ["<svg", "udp_queue_rcv_one_skb", "SOCKET_RCVBUFF", "sampled drops"] {
            assert!(picture.contains(text), "{text}: {picture}");
        }
    }

    #[test]
    fn nothing_is_not_drawn() {
        let shown = StatReport { stacks: Some(vec![]), is_final: true, ..report(totals(), vec![]) };
        let error = StatFlameGraph::new(Vec::new()).report(&shown).unwrap_err();
        assert!(error.to_string().contains("nothing to draw"), "{error}");
    }
}
