//! The totals of a run as a self-contained page.

use std::collections::BTreeMap;
use std::io::{self, Write};

use super::{StatOptions, StatSink, verdict};
use crate::advice::values_of;
use crate::dimension::Dimensions;
use crate::domain::event::{NamedKey, Reason, reason_name};
use crate::domain::report::StatReport;
use crate::domain::total::{DropTotal, OverflowTotal};
use crate::explain::{Entrance, Explanation, Explanations, Usual, Values, fill, usual_of, usual_of_reason};
use crate::render::html::plot::{self, Bar};
use crate::render::html::{
    Card, Column, Escaped, Level, Maker, Secrets, badge, write_cards, write_commands, write_figure, write_finding,
    write_foot, write_head, write_list, write_table,
};
use crate::render::number::{Grouped, range, rate, seconds};
use crate::render::rank::{Rank, Ranking, Sort};
use crate::render::time::TimeText;

/// The most reasons in the plot.
const PLOTTED: usize = 15;

/// Writes the last report as a page.
pub(crate) struct StatPage<W> {
    out: W,
    sort: Sort,
    by: Dimensions,
    home_netns: u32,
}

/// The drops of one reason.
struct OfReason<'r> {
    name: &'r str,
    packets: u64,
    explanation: Option<&'r Explanation>,
    /// The row with the most of them; absent where none has a row.
    largest: Option<&'r DropTotal>,
}

/// The packets of which healthy hosts have such drops as `usual` says; absent for those for which this is unknown.
fn packets_that_are(usual: Option<Usual>, report: &StatReport) -> u64 {
    let rows = report
        .drops
        .iter()
        .filter(|total| total.key.kind.is_packet() && usual_of(&total.key) == usual)
        .map(|total| total.packets);
    let reason = |total: &OverflowTotal| usual_of_reason(total.reason.as_deref().and_then(reason_name));
    let overflow = report.overflow.iter().filter(|total| reason(total) == usual).map(|total| total.packets);
    rows.chain(overflow).sum()
}

impl<W: Write> StatPage<W> {
    /// Writes to `out`, all rows in the order and with the dimensions of `options`.
    pub(crate) fn new(out: W, options: StatOptions) -> Self {
        let StatOptions { sort, by, home_netns, .. } = options;
        Self { out, sort, by: by.unwrap_or_else(Dimensions::usual), home_netns }
    }

    fn page(&mut self, report: &StatReport, maker: &Maker) -> io::Result<()> {
        let explanations = Explanations::built_in().map_err(io::Error::other)?;
        let (ranks, _) = Ranking::new(self.sort).rank(report);
        let reasons = by_reason(report, &explanations);
        let out = &mut self.out;
        let host = &report.host;
        write_head(out, &format!("Packets dropped on {}", host.name), &[lead(report)])?;
        write_cards(out, &cards(report, &reasons, ranks.len()))?;
        if !reasons.is_empty() {
            write_figure(out, "Packets by reason.", &plot(&reasons)?)?;
        }
        let (lines, alarms): (Vec<_>, Vec<_>) = verdict(report).into_iter().partition(|line| line.healthy);
        writeln!(out, "<h2>What was counted, and what was not</h2>")?;
        for (level, lines) in [(Level::Warning, alarms), (Level::Plain, lines)] {
            if !lines.is_empty() {
                write_finding(out, level)?;
                write_list(out, &lines.into_iter().map(|line| line.text).collect::<Vec<_>>())?;
                writeln!(out, "</article>")?;
            }
        }
        write_rows(out, &ranks, &self.by)?;
        writeln!(out, "<h2>What the reasons mean</h2>")?;
        for reason in &reasons {
            write_reason(out, reason, self.home_netns)?;
        }
        write_foot(out, maker)
    }
}

impl<W: Write> StatSink for StatPage<W> {
    fn report(&mut self, report: &StatReport) -> io::Result<()> {
        if report.is_final {
            let program = concat!("droptrace ", env!("CARGO_PKG_VERSION")).to_owned();
            self.page(report, &Maker::here(program, Secrets::default()))?;
        }
        self.out.flush()
    }
}

fn lead(report: &StatReport) -> String {
    let started = TimeText::new(report.started_at);
    let (date, time) = (started.date(), &started.time_of_day()[..8]);
    format!("Linux {}, {} from {date} {time} UTC on.", report.host.kernel, seconds(report.duration))
}

/// The reasons of packets, those with the most packets first.
fn by_reason<'r>(report: &'r StatReport, explanations: &'r Explanations) -> Vec<OfReason<'r>> {
    let mut reasons = BTreeMap::<&str, OfReason<'r>>::new();
    let mut add = |reason: Option<&'r Reason>, packets: u64, row: Option<&'r DropTotal>| {
        let name = reason.and_then(reason_name).unwrap_or("-");
        let known = reasons.entry(name).or_insert_with(|| {
            let explanation = explanations.get(name).map(|(_, explanation)| explanation);
            OfReason { name, packets: 0, explanation, largest: None }
        });
        known.packets += packets;
        known.largest = known.largest.into_iter().chain(row).max_by_key(|row| row.packets);
    };
    for row in report.drops.iter().filter(|row| row.key.kind.is_packet()) {
        add(Some(&row.key.reason), row.packets, Some(row));
    }
    for row in &report.overflow {
        add(row.reason.as_deref(), row.packets, None);
    }
    let mut reasons: Vec<_> = reasons.into_values().collect();
    reasons.sort_by(|one, other| other.packets.cmp(&one.packets).then_with(|| one.name.cmp(other.name)));
    reasons
}

/// The figures that a reader looks for first.
fn cards(report: &StatReport, reasons: &[OfReason<'_>], rows: usize) -> Vec<Card<'static>> {
    let outside =
        report.outside.as_ref().map(|found| found.outside().iter().map(|counter| counter.outside).sum::<u64>());
    let lost = report.sources.iter().map(|source| source.ledger.lost()).sum::<Option<u64>>();
    let number = |name, count, bad| {
        let level = if count > 0 { bad } else { Level::Good };
        Card { name, value: Grouped(count).to_string(), level }
    };
    let plain = |name, count| Card { name, value: Grouped(count).to_string(), level: Level::Plain };
    let unknown = |name| Card { name, value: "unknown".into(), level: Level::Warning };
    let dropped: u64 = reasons.iter().map(|reason| reason.packets).sum();
    let hidden: u64 = report.hidden.iter().map(|hidden| hidden.packets).sum();
    let mut cards = vec![
        plain(if hidden > 0 { "packets shown" } else { "packets dropped" }, dropped),
        number("never usual", packets_that_are(Some(Usual::Never), report), Level::Critical),
        number("sometimes usual", packets_that_are(Some(Usual::Sometimes), report), Level::Notice),
        plain("often usual", packets_that_are(Some(Usual::Often), report)),
        plain("usual or not: unknown", packets_that_are(None, report)),
        outside
            .map_or_else(|| unknown("outside kfree_skb"), |count| number("outside kfree_skb", count, Level::Warning)),
        lost.map_or_else(|| unknown("lost to the count"), |count| number("lost to the count", count, Level::Warning)),
        plain("rows", rows as u64),
    ];
    let refused = report.refused.as_ref().map(|found| found.packets() + found.without_room);
    cards.extend(refused.map(|packets| number("refused SYNs", packets, Level::Warning)));
    cards.extend((hidden > 0).then(|| plain("hidden", hidden)));
    cards
}

#[expect(clippy::cast_precision_loss, reason = "the length of a bar")]
fn plot(reasons: &[OfReason<'_>]) -> io::Result<String> {
    let bar = |reason: &OfReason<'_>| {
        let value = reason.packets as f64;
        Bar { name: reason.name.to_owned(), value, least: value, most: value }
    };
    plot::bars("packets", &reasons.iter().take(PLOTTED).map(bar).collect::<Vec<_>>())
}

fn write_rows(out: &mut impl Write, ranks: &[Rank<'_>], by: &Dimensions) -> io::Result<()> {
    writeln!(out, "<h2>Dropped where</h2>")?;
    let numbers = ["PACKETS", "PKT/S", "BYTES"].map(|name| Column { name, number: true });
    let names = by.iter().map(|dimension| dimension.column().heading).chain(["USUAL"]);
    let columns: Vec<_> = numbers.into_iter().chain(names.map(|name| Column { name, number: false })).collect();
    let cells: Vec<_> = ranks.iter().map(|rank| cells(rank, by)).collect();
    write_table(out, "drops", &columns, cells.iter().map(|row| row.iter().map(String::as_str).collect()))
}

fn cells(rank: &Rank<'_>, by: &Dimensions) -> Vec<String> {
    let (total, key) = (rank.total, &*rank.total.key);
    let numbers = [
        range(total.packets, total.at_most()),
        rank.rate.map_or("-".into(), rate),
        total.bytes.map_or("-".into(), |bytes| Grouped(bytes).to_string()),
    ];
    let names = by.iter().map(|dimension| dimension.value(key).into_owned());
    let usual = usual_of(key).map_or("-", Usual::name).to_owned();
    numbers.into_iter().chain(names).chain([usual]).collect()
}

/// The values of a row for commands. `home_netns` is the inode number of the reader's own network namespace.
fn values(key: &NamedKey, home_netns: u32) -> Values {
    let values = values_of(key, key.socket.is_some());
    if home_netns != 0 && key.netns == home_netns { Values { entrance: Entrance::Own, ..values } } else { values }
}

fn write_reason(out: &mut impl Write, reason: &OfReason<'_>, home_netns: u32) -> io::Result<()> {
    let Some(known) = reason.explanation else { return Ok(()) };
    let level = match known.usual {
        Some(Usual::Never) => Level::Critical,
        Some(Usual::Sometimes) => Level::Notice,
        None | Some(Usual::Often) => Level::Plain,
    };
    write_finding(out, level)?;
    let usual = badge(level, &format!("usual: {}", known.usual.map_or("unknown", Usual::name)));
    let packets = Grouped(reason.packets);
    writeln!(out, "<h3>{usual} {}, packets: {packets}</h3>", Escaped(reason.name))?;
    writeln!(out, "<p>{} {}</p>", Escaped(&known.meaning), Escaped(&known.because))?;
    write_list(out, &known.causes)?;
    let values = reason.largest.map(|row| values(&row.key, home_netns)).unwrap_or_default();
    writeln!(out, "<p>Next, for the row with the most packets:</p>")?;
    write_commands(out, &known.next.iter().map(|command| fill(command, &values).text).collect::<Vec<_>>())?;
    writeln!(out, "</article>")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::Timestamp;
    use crate::render::Size;
    use crate::sink::samples::{self, reason, report, totals};

    fn page(report: &StatReport) -> String {
        let (by, sort, top) = (None, Sort::default(), None);
        let size = Box::new(|| Size { width: 80, height: None });
        let options = StatOptions { by, sort, top, home_netns: 0, color: false, recorded: None, live: false, size };
        let mut sink = StatPage::new(Vec::new(), options);
        let (program, command) = ("droptrace 1.2.3".into(), "droptrace stat --format html".into());
        sink.page(report, &Maker { program, command, at: Timestamp(0) }).unwrap();
        String::from_utf8(sink.out).unwrap()
    }

    fn card(page: &str, name: &str) -> String {
        let (_, after) = page.split_once(&format!("<dt>{name}</dt><dd>")).unwrap();
        after.split_once("</dd>").unwrap().0.to_owned()
    }

    #[test]
    fn a_page_has_each_row_and_adds_up() {
        let overflow = OverflowTotal { reason: Some(reason(8, "core", "NETFILTER_DROP")), packets: 5, bytes: None };
        let report = report(totals(), vec![overflow]);
        let page = page(&report);
        let rows: Vec<_> = report.drops.iter().filter(|total| total.key.kind.is_packet()).collect();
        let body = page.split_once("<h2>Dropped where</h2>").unwrap().1.split_once("</table>").unwrap().0;
        assert_eq!(body.matches("<tr><td").count(), rows.len());
        let sum = rows.iter().map(|total| total.packets).sum::<u64>() + 5;
        assert_eq!(card(&page, "packets dropped"), Grouped(sum).to_string());
        let parts = ["never usual", "sometimes usual", "often usual", "usual or not: unknown"];
        let of_part = |name: &str| card(&page, name).replace(',', "").parse::<u64>().unwrap();
        assert_eq!(parts.map(of_part).iter().sum::<u64>(), sum);
        assert_eq!(card(&page, "lost to the count"), "0");
        assert_eq!(card(&page, "outside kfree_skb"), "unknown");
        let of_rule = rows.iter().filter(|total| &*total.key.reason.name == "NETFILTER_DROP");
        let of_rule = of_rule.map(|total| total.packets).sum::<u64>() + 5;
        assert!(page.contains(&format!("NETFILTER_DROP, packets: {}<", Grouped(of_rule))), "{page}");
    }

    #[test]
    fn a_page_needs_no_other_files_and_shows_no_tags_of_names() {
        let mut report = report(totals(), vec![]);
        report.host.name = "<script>".into();
        std::sync::Arc::make_mut(&mut report.drops[0].key).interface = Some("<script>".into());
        let page = page(&report);
        assert_eq!((page.matches("<script").count(), page.matches("<svg").count()), (1, 1));
        for foreign in ["<link", "src=", "href=", "@import", "url("] {
            assert!(!page.contains(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_page_without_drops_has_its_account() {
        let page = page(&report(vec![], vec![]));
        assert!(page.contains("nothing lost of the drops in kfree_skb") && !page.contains("<svg"), "{page}");
        assert_eq!(card(&page, "packets dropped"), "0");
    }

    #[test]
    fn only_the_last_report_is_a_page() {
        let mut report = samples::report(vec![], vec![]);
        report.is_final = false;
        let size = Box::new(|| Size { width: 80, height: None });
        let (by, sort, top) = (None, Sort::default(), None);
        let options = StatOptions { by, sort, top, home_netns: 0, color: false, recorded: None, live: true, size };
        let mut sink = StatPage::new(Vec::new(), options);
        sink.report(&report).unwrap();
        assert!(sink.out.is_empty());
        sink.report(&StatReport { is_final: true, ..report }).unwrap();
        assert!(sink.out.ends_with(b"</html>\n"));
    }
}
