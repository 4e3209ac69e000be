//! Call stacks as a flame graph: a picture in SVG.

use std::io::{self, Write};

use inferno::flamegraph::{Options, from_lines};

use super::StatSink;
use super::folded::folded;
use crate::domain::report::StatReport;
use crate::outside::printable;
use crate::render::html::Escaped;

/// Draws the call stacks of the last report.
pub(crate) struct StatFlameGraph<W> {
    out: W,
    /// The drops are those of a recording, not a sample.
    is_recorded: bool,
}

impl<W: Write> StatFlameGraph<W> {
    /// Writes to `out`. `is_recorded` if the drops are those of a recording, and not a sample.
    pub(crate) fn new(out: W, is_recorded: bool) -> Self {
        Self { out, is_recorded }
    }
}

impl<W: Write> StatSink for StatFlameGraph<W> {
    fn report(&mut self, report: &StatReport) -> io::Result<()> {
        if !report.is_final {
            return Ok(());
        }
        let lines = folded(report.stacks.as_deref().unwrap_or_default());
        let lines: Vec<_> = lines.into_iter().map(|(functions, samples)| format!("{functions} {samples}")).collect();
        let host = &report.host;
        let title = format!("Call stacks of packets dropped on {}", printable(&host.name));
        if lines.is_empty() {
            let nothing = if self.is_recorded { "no drop is in the recording" } else { "no drop was sampled" };
            return write_nothing(&mut self.out, &title, nothing);
        }
        let (of, count_name) = if self.is_recorded {
            ("the drops of a recording", "drops")
        } else {
            ("a sample of the drops of each key", "sampled drops")
        };
        let mut options = Options::default();
        options.title = title;
        options.subtitle = Some(format!("Linux {}, {of}", printable(&host.kernel)));
        options.count_name = count_name.into();
        // The picture has no random colours, so that two of them can be compared.
        options.hash = true;
        from_lines(&mut options, lines.iter().map(String::as_str), &mut self.out).map_err(io::Error::other)?;
        self.out.flush()
    }
}

/// A picture that says why there is nothing to draw.
fn write_nothing(out: &mut impl Write, title: &str, nothing: &str) -> io::Result<()> {
    writeln!(
        out,
        r#"<?xml version="1.0" standalone="no"?>
<svg version="1.1" width="1200" height="80" xmlns="http://www.w3.org/2000/svg">
<title>{0}</title>
<text x="600" y="30" text-anchor="middle" font-family="monospace" font-size="17">{0}</text>
<text x="600" y="56" text-anchor="middle" font-family="monospace" font-size="12">{nothing}</text>
</svg>"#,
        Escaped(title)
    )?;
    out.flush()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::samples::{report, stacks, totals};

    #[test]
    fn a_picture_names_the_functions() {
        let mut out = Vec::new();
        let shown = StatReport { stacks: Some(stacks()), is_final: true, ..report(totals(), vec![]) };
        StatFlameGraph::new(&mut out, false).report(&shown).unwrap();
        let picture = String::from_utf8(out).unwrap();
        for text in ["<svg", "udp_queue_rcv_one_skb", "SOCKET_RCVBUFF", "sampled drops"] {
            assert!(picture.contains(text), "{text}: {picture}");
        }
    }

    #[test]
    fn drops_of_a_recording_are_no_sample() {
        let of = |stacks| {
            let mut out = Vec::new();
            let shown = StatReport { stacks: Some(stacks), is_final: true, ..report(totals(), vec![]) };
            StatFlameGraph::new(&mut out, true).report(&shown).unwrap();
            String::from_utf8(out).unwrap()
        };
        let (picture, empty) = (of(stacks()), of(vec![]));
        assert!(picture.contains("the drops of a recording") && !picture.contains("sampled"), "{picture}");
        assert!(empty.contains("no drop is in the recording"), "{empty}");
    }

    #[test]
    fn picture_without_samples_says_so() {
        let mut out = Vec::new();
        let mut shown = StatReport { stacks: Some(vec![]), is_final: true, ..report(totals(), vec![]) };
        shown.host.name = "a<b".into();
        StatFlameGraph::new(&mut out, false).report(&shown).unwrap();
        let picture = String::from_utf8(out).unwrap();
        assert!(picture.contains("no drop was sampled") && picture.ends_with("</svg>\n"), "{picture}");
        assert!(picture.contains("on a&lt;b</title>"), "{picture}");
    }
}
