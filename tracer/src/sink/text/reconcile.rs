//! The table of `reconcile`.

use std::io::{self, Write};

use super::ledger;
use crate::domain::bracket::{BracketedCounter, ReconcileReport, Verdict};
use crate::domain::reconciliation::Interface;
use crate::outside::printable;
use crate::render::number::{Grouped, seconds};
use crate::render::paint::{Painted, Style};
use crate::sink::ReconcileSink;

/// Shows the counters as a table.
pub(crate) struct ReconcileText<W> {
    out: W,
    color: bool,
}

impl<W: Write> ReconcileText<W> {
    /// Writes to `out`, with colours if wanted.
    pub(crate) const fn new(out: W, color: bool) -> Self {
        Self { out, color }
    }

    fn line(&mut self, text: &str, style: Style) -> io::Result<()> {
        writeln!(self.out, "{}", Painted { text, style, color: self.color })
    }

    fn table(&mut self, counters: &[BracketedCounter]) -> io::Result<()> {
        let headings = ["RISE", "EXPLAINED", "OUTSIDE", "COUNTER", "INTERFACE", "NETNS", "VERDICT"].map(str::to_owned);
        let rows: Vec<_> = counters.iter().map(cells).collect();
        let width = |column: usize| {
            let lengths = rows.iter().chain([&headings]).map(|row| row[column].chars().count());
            lengths.max().unwrap_or_default()
        };
        let [w0, w1, w2, w3, w4, w5, _]: [usize; 7] = std::array::from_fn(width);
        let text = |[rise, explained, outside, counter, interface, netns, verdict]: &[String; 7]| {
            let numbers = format!("{rise:>w0$}  {explained:>w1$}  {outside:>w2$}");
            format!("{numbers}  {counter:<w3$}  {interface:<w4$}  {netns:<w5$}  {verdict}")
        };
        self.line(&text(&headings), Style::Heading)?;
        for (counter, cells) in counters.iter().zip(&rows) {
            let style = if counter.verdict.is_wrong() { Style::Alarm } else { Style::Plain };
            self.line(&text(cells), style)?;
        }
        Ok(())
    }
}

impl<W: Write> ReconcileSink for ReconcileText<W> {
    fn report(&mut self, report: &ReconcileReport) -> io::Result<()> {
        let (name, kernel) = (printable(&report.host.name), printable(&report.host.kernel));
        let heading = format!(
            "Counters of {name} (Linux {kernel}) in {}, compared with the drops at {} readings",
            seconds(report.duration),
            report.readings
        );
        self.line(&heading, Style::Plain)?;
        if report.counters.is_empty() {
            self.line("No counter of drops moved.", Style::Plain)?;
        } else {
            self.table(&report.counters)?;
        }
        let wrong = report.wrong();
        let text = format!(
            "counters that moved: {}; network namespaces read: {}; contradictions: {wrong}",
            report.counters.len(),
            report.namespaces
        );
        self.line(&text, if wrong == 0 { Style::Plain } else { Style::Alarm })?;
        for line in ledger::accounting(&report.sources) {
            self.line(&line.text, if line.healthy { Style::Plain } else { Style::Alarm })?;
        }
        if !report.gaps.is_empty() {
            let text = format!("counters: {}", report.gaps.join("; "));
            self.line(printable(&text).as_ref(), Style::Plain)?;
        }
        self.out.flush()
    }
}

fn cells(counter: &BracketedCounter) -> [String; 7] {
    let is_unknown = counter.verdict == Verdict::Unknown;
    let rise = match (counter.least, counter.most) {
        _ if is_unknown => "-".into(),
        (least, most) if least == most => Grouped(most).to_string(),
        (least, most) => format!("{}-{}", Grouped(least), Grouped(most)),
    };
    let netns = match (&counter.netns_name, counter.netns) {
        (Some(name), _) => printable(name).to_string(),
        (None, 0) => "-".into(),
        (None, inum) => inum.to_string(),
    };
    let interface = match &counter.interface {
        None => "-".into(),
        Some(Interface { name: Some(name), .. }) => printable(name).to_string(),
        Some(Interface { name: None, ifindex }) => format!("if{ifindex}"),
    };
    [
        rise,
        Grouped(counter.explained).to_string(),
        if is_unknown { "-".into() } else { Grouped(counter.outside).to_string() },
        counter.name.to_string(),
        interface,
        netns,
        verdict(counter),
    ]
}

fn verdict(counter: &BracketedCounter) -> String {
    match counter.verdict {
        Verdict::Excess(by) => format!("WRONG: {} more drops than the counter can have counted", Grouped(by)),
        Verdict::Missing(by) => format!("WRONG: {} drops of the counter were not counted", Grouped(by)),
        Verdict::Outside => "outside kfree_skb".into(),
        Verdict::Undecided(most) => format!("undecided: up to {} may be outside kfree_skb", Grouped(most)),
        Verdict::Agrees => "agrees".into(),
        Verdict::NotCompared if counter.class == "no-loss" => "not compared: no packet is lost".into(),
        Verdict::NotCompared if counter.of.is_empty() && counter.class == "at-most" => {
            "not compared: some of its drops only, or several at once".into()
        }
        Verdict::NotCompared if counter.of.is_empty() => {
            "not compared: drops of other interfaces may be among it".into()
        }
        Verdict::NotCompared => format!("not compared: a part or a sum of {}", counter.of.join(", ")),
        Verdict::Unknown => "unknown: the counter fell".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::domain::event::Timestamp;
    use crate::domain::report::Host;
    use crate::sink::json::ReconcileJson;

    fn counter(name: &str, class: &'static str, [least, most]: [u64; 2], verdict: Verdict) -> BracketedCounter {
        let outside = if verdict == Verdict::Outside { least } else { 0 };
        let of = if class == "copy" { vec!["IpOutDiscards".to_owned()] } else { vec![] };
        BracketedCounter {
            name: name.into(),
            class,
            of,
            netns: 4_026_532_201,
            interface: (name == "rx_dropped").then(|| Interface { ifindex: 9, name: Some("eth0".into()) }),
            netns_name: (name != "UdpNoPorts").then(|| "web\u{1b}".into()),
            least,
            most,
            explained: most - outside,
            possible: 0,
            outside,
            verdict,
        }
    }

    fn report() -> ReconcileReport {
        ReconcileReport {
            host: Host { name: "lab-1".into(), kernel: "6.18.44".into() },
            started_at: Timestamp(0),
            duration: Duration::from_secs(10),
            sources: vec![],
            readings: 11,
            namespaces: 2,
            gaps: vec!["a fell".into()],
            counters: vec![
                counter("UdpMemErrors", "exact", [3, 3], Verdict::Missing(2)),
                counter("UdpRcvbufErrors", "exact", [3, 4], Verdict::Excess(1)),
                counter("TcpExtListenDrops", "not-traceable", [1_082, 1_082], Verdict::Outside),
                counter("UdpNoPorts", "exact", [20, 23], Verdict::Agrees),
                counter("UdpSndbufErrors", "copy", [7, 7], Verdict::NotCompared),
                counter("IpInDiscards", "at-most", [7, 7], Verdict::NotCompared),
                counter("rx_dropped", "partly-traceable", [5, 5], Verdict::NotCompared),
                counter("softnet_time_squeeze", "no-loss", [5, 5], Verdict::NotCompared),
                counter("IpInUnknownProtos", "exact", [0, 9], Verdict::Unknown),
            ],
        }
    }

    #[test]
    fn each_counter_has_a_row_with_its_verdict() {
        let mut out = Vec::new();
        ReconcileText::new(&mut out, false).report(&report()).unwrap();
        insta::assert_snapshot!(String::from_utf8(out).unwrap());
        let mut out = Vec::new();
        let nothing = ReconcileReport { counters: vec![], gaps: vec![], ..report() };
        ReconcileText::new(&mut out, false).report(&nothing).unwrap();
        assert!(String::from_utf8(out).unwrap().contains("No counter of drops moved."));
    }

    #[test]
    fn json_has_the_same_rows() {
        let mut out = Vec::new();
        ReconcileJson::new(&mut out).report(&report()).unwrap();
        let document: serde_json::Value = serde_json::from_slice(&out).unwrap();
        assert_eq!((document["wrong"].as_u64(), document["readings"].as_u64()), (Some(2), Some(11)));
        let shown: Vec<_> = document["counters"].as_array().unwrap().iter().map(|row| row["verdict"].clone()).collect();
        let expected = [
            "missing",
            "excess",
            "outside",
            "agrees",
            "not-compared",
            "not-compared",
            "not-compared",
            "not-compared",
            "unknown",
        ];
        assert_eq!(shown, expected);
        assert_eq!(document["counters"][0]["by"], 2);
        assert_eq!(document["counters"][4]["of"][0], "IpOutDiscards");
    }
}
