//! Totals as comma-separated values ([RFC 4180](https://www.rfc-editor.org/rfc/rfc4180)).
//!
//! Names come from others. A program for spreadsheets runs a cell that starts with `=`, `+`, `-` or `@` as a formula, so that
//! such texts have an apostrophe before them.

use std::io::{self, Write};

use csv::{Terminator, Writer, WriterBuilder};

use crate::dimension::{Dimensions, Value};
use crate::domain::event::{NamedKey, Origin, reason_name};
use crate::domain::report::StatReport;
use crate::domain::total::{DropTotal, OverflowTotal};
use crate::explain::{Usual, usual_of, usual_of_reason};
use crate::outside::printable;
use crate::render::rank::{Ranking, Sort};
use crate::render::time::TimeText;
use crate::sink::StatSink;

/// Columns before those of the dimensions.
const FIRST: [&str; 5] = ["duration_ns", "row", "packets", "packets_at_most", "bytes"];
/// Columns behind those of the dimensions.
const LAST: [&str; 5] = ["usual", "kind", "seen_by", "first_seen", "last_seen"];

/// Shows each report as rows of CSV, with one header before all.
pub(crate) struct StatCsv<W: Write> {
    out: Writer<W>,
    ranking: Ranking,
    by: Dimensions,
    has_header: bool,
}

impl<W: Write> StatCsv<W> {
    /// Writes to `out`, all rows in the order of `sort`, with the members of the dimensions `by`.
    pub(crate) fn new(out: W, sort: Sort, by: Dimensions) -> Self {
        let out = WriterBuilder::new().terminator(Terminator::CRLF).from_writer(out);
        Self { out, ranking: Ranking::new(sort), by, has_header: false }
    }

    fn header(&mut self) -> csv::Result<()> {
        let key = NamedKey::default();
        let members = self.by.members(&key);
        let names = members.0.iter().map(|(name, _)| *name);
        self.out.write_record(FIRST.into_iter().chain(names).chain(LAST))
    }

    /// A row of these members, which every row has in the same order.
    fn row(&mut self, start: [String; 5], key: &NamedKey, end: [String; 5]) -> csv::Result<()> {
        let members = self.by.members(key);
        let names = members.0.into_iter().map(|(_, value)| value.map_or(String::new(), text));
        self.out.write_record(start.into_iter().chain(names).chain(end).map(|text| harmless(&text)))
    }

    fn drop_row(&mut self, duration: &str, total: &DropTotal) -> csv::Result<()> {
        let key = &*total.key;
        let usual = if self.by.contains("reason") { usual_of(key) } else { None };
        let seen_by: Vec<_> = total.seen_by.iter().map(|origin: &Origin| origin.name()).collect();
        let row = if key.kind.is_packet() { "drop" } else { "not_packet" };
        let times = [total.first_seen, total.last_seen].map(|time| TimeText::new(time).as_str().to_owned());
        let [first, last] = times;
        let end = [word(usual), key.kind.name().to_owned(), seen_by.join("+"), first, last];
        let [packets, most] = [total.packets.to_string(), number(total.at_most())];
        self.row([duration.to_owned(), row.to_owned(), packets, most, number(total.bytes)], key, end)
    }

    /// A row of drops of which at most the reason is known.
    fn sum_row(&mut self, start: [String; 5], reason: Option<&OverflowTotal>) -> csv::Result<()> {
        let mut key = NamedKey::default();
        let reason = reason.and_then(|total| total.reason.clone());
        let usual = reason.as_ref().and_then(|reason| usual_of_reason(reason_name(reason)));
        if let Some(reason) = reason {
            key.reason = reason;
        }
        let [none, other, third] = [String::new(), String::new(), String::new()];
        self.row(start, &key, [word(usual), String::new(), none, other, third])
    }

    fn rows(&mut self, report: &StatReport) -> csv::Result<()> {
        if !std::mem::replace(&mut self.has_header, true) {
            self.header()?;
        }
        let duration = report.duration.as_nanos().to_string();
        let totals: Vec<_> = self.ranking.rank(report).0.into_iter().map(|rank| rank.total).collect();
        let others = report.drops.iter().filter(|total| !total.key.kind.is_packet());
        for total in totals.into_iter().chain(others) {
            self.drop_row(&duration, total)?;
        }
        let start = |row: &str, packets: String, bytes| {
            [duration.clone(), row.to_owned(), packets, String::new(), number(bytes)]
        };
        for total in &report.overflow {
            self.sum_row(start("overflow", total.packets.to_string(), total.bytes), Some(total))?;
        }
        for hidden in &report.hidden {
            let row = format!("hidden_by_{}", hidden.by.name());
            self.sum_row(start(&row, hidden.packets.to_string(), hidden.bytes), None)?;
        }
        for source in &report.sources {
            let ledger = &source.ledger;
            let row = format!("lost_by_{}", ledger.source());
            self.sum_row(start(&row, number(ledger.lost()), None), None)?;
        }
        Ok(())
    }
}

impl<W: Write> StatSink for StatCsv<W> {
    fn report(&mut self, report: &StatReport) -> io::Result<()> {
        self.rows(report).map_err(|error| match error.into_kind() {
            csv::ErrorKind::Io(error) => error,
            kind => io::Error::other(format!("{kind:?}")),
        })?;
        self.out.flush()
    }
}

fn word(usual: Option<Usual>) -> String {
    usual.map_or("", Usual::name).to_owned()
}

/// Empty where the number is unknown.
fn number(number: Option<u64>) -> String {
    number.map_or(String::new(), |number| number.to_string())
}

fn text(value: Value<'_>) -> String {
    match value {
        Value::Text(text) => text.into_owned(),
        Value::Number(number) => number.to_string(),
        Value::Truth(truth) => truth.to_string(),
        Value::Process(process) => process.to_string(),
    }
}

/// The text without characters that a terminal would obey or hide, and with an apostrophe before what a spreadsheet would
/// run as a formula.
fn harmless(text: &str) -> String {
    let text = printable(text).to_string();
    if text.starts_with(['=', '+', '-', '@', '\t', '\r']) { format!("'{text}") } else { text }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::domain::report::{HiddenBy, HiddenDrops};
    use crate::sink::samples::{key, overflow, report, totals};

    fn shown(report: &StatReport, by: &str) -> String {
        let mut out = Vec::new();
        StatCsv::new(&mut out, Sort::Packets, by.parse().unwrap()).report(report).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_row_has_the_columns_of_the_header() {
        let hidden = vec![HiddenDrops { by: HiddenBy::Usual, rows: Some(2), packets: 7, bytes: None }];
        let text = shown(&StatReport { hidden, ..report(totals(), overflow()) }, "reason,netns");
        let mut lines = text.split_terminator("\r\n");
        assert_eq!(
            lines.next(),
            Some(
                "duration_ns,row,packets,packets_at_most,bytes,reason,subsystem,netns,netns_name,netns_cookie,usual,kind,seen_by,first_seen,last_seen"
            )
        );
        let rows: Vec<_> = lines.collect();
        assert_eq!(rows.len(), 6 + 3 + 1 + 1, "{text}");
        let columns = |row: &str| csv::Reader::from_reader(row.as_bytes()).headers().unwrap().len();
        assert!(rows.iter().all(|row| columns(row) == 15), "{text}");
        let first =
            "10000000000,drop,1000000,1000000,106000000,SOCKET_RCVBUFF,core,4026531833,,,sometimes,packet,ebpf,";
        assert!(rows[0].starts_with(first), "{text}");
        assert_eq!(rows[9], "10000000000,hidden_by_usual,7,,,,,,,,,,,,");
        assert_eq!(rows[10], "10000000000,lost_by_ebpf,0,,,,,,,,,,,,");
    }

    #[test]
    fn hostile_names_are_quoted_and_run_no_formula() {
        let evil =
            NamedKey { interface: Some("a,\"b\"\n".into()), netns_name: Some("=cmd|' /C calc'!A0".into()), ..key() };
        let mut drops = totals();
        drops.truncate(1);
        drops[0].key = Arc::new(evil);
        let text = shown(&report(drops, vec![]), "interface,netns");
        assert!(text.contains(",\"a,\"\"b\"\"�\",1,"), "{text}");
        let mut reader = csv::Reader::from_reader(text.as_bytes());
        let record = reader.records().next().unwrap().unwrap();
        assert!(record.iter().any(|cell| cell == "'=cmd|' /C calc'!A0"), "{record:?}");
        assert!(record.iter().any(|cell| cell == "a,\"b\"�"), "{record:?}");
    }
}
