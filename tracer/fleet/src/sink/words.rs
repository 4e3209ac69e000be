//! Phrases that text and page share.

use droptrace_base::domain::event::Timestamp;
use droptrace_base::render::number::{Grouped, rate};
use droptrace_base::render::time::TimeText;

use crate::finding::{Figure, Finding, NamedHost, Severity};
use crate::number::Amount;
use crate::report::{Dropped, OutsideSum, RateBand, Report, Sums};

/// The most unreadable files that are listed one by one.
pub(super) const REFUSED: usize = 10;
/// The most counters of losses outside `kfree_skb` that are named.
const COUNTERS: usize = 5;

/// The input of the report, line by line.
pub(super) fn introduction(report: &Report) -> Vec<String> {
    let Report { input, fleet, baseline, .. } = report;
    let mut lines = vec![format!("{}.", sums(fleet))];
    lines.extend(baseline.as_ref().map(|baseline| format!("Compared with {}.", sums(baseline))));
    lines.extend(outside(&report.outside));
    let what = if input.from == "prometheus" { "answer" } else { "snapshot" };
    let refused = input.refused.len() + input.baseline_refused.len();
    let parts = [
        Some(format!("{} read", count(input.read, what))),
        (input.baseline_read > 0).then(|| format!("{} of the baseline", grouped(input.baseline_read))),
        (refused > 0).then(|| match input.from {
            "hosts" => format!("{} failed", count(refused, "host")),
            _ => format!("{} refused", grouped(refused)),
        }),
        (input.passed_over > 0).then(|| format!("{} passed over", count(input.passed_over, "other file"))),
    ];
    lines.push(format!("{}.", parts.into_iter().flatten().collect::<Vec<_>>().join(", ")));
    lines.extend(input.notes.iter().cloned());
    lines
}

/// The losses outside `kfree_skb`; absent if there are none.
fn outside(losses: &[OutsideSum]) -> Option<String> {
    let loss = |loss: &OutsideSum| {
        format!(
            "{} {} on {} of {}",
            packets(loss.packets),
            loss.counter,
            grouped(loss.hosts),
            count(loss.of_hosts, "host")
        )
    };
    let mut shown: Vec<_> = losses.iter().take(COUNTERS).map(loss).collect();
    if losses.len() > COUNTERS {
        shown.push(count(losses.len() - COUNTERS, "more counter"));
    }
    (!shown.is_empty()).then(|| format!("Lost outside kfree_skb: {}.", shown.join(", ")))
}

fn sums(sums: &Sums) -> String {
    let between = sums
        .from
        .zip(sums.to)
        .map_or_else(String::new, |(from, to)| format!(" between {} and {}", moment(from), moment(to)));
    let lost = match (sums.lost != Amount::default(), sums.loss_unknown) {
        (false, 0) => "nothing lost".into(),
        (true, 0) => format!("{} lost", packets(sums.lost)),
        (_, unknown) => format!("{} lost, a number that {} cannot know", packets(sums.lost), count(unknown, "host")),
    };
    let silent = if sums.silent > 0 { format!("; {} silent", count(sums.silent, "host")) } else { String::new() };
    let (hosts, span) = (count(sums.hosts, "host"), duration(sums.host_seconds));
    let others = sums.not_packets.map(|count| format!("; {} copies, or no packets", packets(count)));
    let others = others.unwrap_or_default();
    let rounded = if sums.exact { "" } else { "; sums are rounded because the engine calculates with floats" };
    format!(
        "{hosts}, {span} in all{between}: {} packets dropped, {lost}{silent}{others}{rounded}",
        packets(sums.packets)
    )
}

/// The unreadable files, one by one; beyond the limit they are counted.
pub(super) fn refused(report: &Report) -> Vec<String> {
    let all = || report.input.refused.iter().chain(&report.input.baseline_refused);
    let mut lines: Vec<_> = all().take(REFUSED).map(|refused| format!("{}: {}", refused.file, refused.why)).collect();
    let more = all().count() - lines.len();
    if more > 0 {
        lines.push(format!("… and {} more; --format json has all", grouped(more)));
    }
    lines
}

/// Headings of [`dropped`].
pub(super) const DROPPED: [&str; 6] = ["PACKETS", "%", "HOSTS", "REASON", "MOSTLY AT", "USUAL"];

/// The number of the first columns, whose cells are numbers.
pub(super) const NUMBERS: usize = 3;

/// Cells of a reason.
pub(super) fn dropped(row: &Dropped) -> [String; 6] {
    [
        packets(row.packets),
        row.percent.map_or_else(|| "-".into(), |percent| format!("{percent:.1}")),
        grouped(row.hosts),
        reason(row),
        row.symbol.clone().unwrap_or_else(|| "-".into()),
        row.usual.unwrap_or("-").into(),
    ]
}

/// The reason, as other commands show it.
pub(super) fn reason(row: &Dropped) -> String {
    let name = match (row.reason.as_deref(), row.subsystem.as_deref()) {
        _ if row.other => "without a series of its own".into(),
        (None, _) => "-".into(),
        (Some(reason), None | Some("core")) => reason.to_owned(),
        (Some(reason), Some(subsystem)) => format!("{subsystem}:{reason}"),
    };
    if row.netlink { format!("{name} (netlink messages)") } else { name }
}

/// `1 finding`, `2 findings: 1 critical, 1 warning`.
pub(super) fn heading(findings: &[Finding]) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let counts = [Severity::Critical, Severity::Warning, Severity::Notice].map(|severity| (severity, count(severity)));
    let counts = counts.into_iter().filter(|(_, count)| *count > 0);
    let counts: Vec<_> = counts.map(|(severity, count)| format!("{count} {}", self::severity(severity))).collect();
    match findings.len() {
        0 => "Nothing found".into(),
        1 => format!("1 finding: {}", counts.join(", ")),
        many => format!("{many} findings: {}", counts.join(", ")),
    }
}

/// The name of a severity.
pub(super) const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Notice => "notice",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

/// Hosts by name, with their values; beyond the limit they are counted. `None` without hosts.
pub(super) fn hosts(finding: &Finding) -> Option<String> {
    let mut names: Vec<_> = finding.hosts.named.iter().map(host).collect();
    let more = finding.hosts.count - names.len();
    if more > 0 && !names.is_empty() {
        names.push(format!("{} more", grouped(more)));
    }
    (!names.is_empty()).then(|| names.join(", "))
}

fn host(host: &NamedHost) -> String {
    match host.value {
        Some(value) => format!("{} ({})", host.name, amount(value, host.unit)),
        None => host.name.clone(),
    }
}

/// `median of those compared: 12 packets/s`.
pub(super) fn evidence(figure: &Figure) -> String {
    format!("{}: {}", figure.what, amount(figure.value, figure.unit))
}

/// A value with its unit.
pub(super) fn amount(value: f64, unit: &str) -> String {
    match unit {
        "packets/s" => packets_a_second(value),
        "packets" => format!("{} packets", packets(value)),
        "seconds" => duration(value),
        "unix_seconds" => moment(Timestamp(whole(value * 1e9))),
        "%" if value > 0.0 && value < 0.01 => "<0.01 %".into(),
        "%" => format!("{value:.2} %"),
        "hosts" | "reasons" | "sites" => {
            let number = packets(value);
            let unit = if number == "1" { unit.trim_end_matches('s') } else { unit };
            format!("{number} {unit}")
        }
        "times" if value < 100.0 => format!("{value:.1} {unit}"),
        "probability" if value < 1e-100 => "below 1e-100".into(),
        "probability" if value < 0.001 => format!("{value:.0e}"),
        "probability" => format!("{value:.3}"),
        _ => format!("{} {unit}", rate(value)),
    }
}

/// `10 to 100 packets/s`.
pub(super) fn band(band: &RateBand) -> String {
    let bound = |value: f64| if value < 1.0 { format!("{value}") } else { Grouped(whole(value)).to_string() };
    match (band.from, band.to) {
        (Some(from), Some(to)) => format!("{} to {}", bound(from), bound(to)),
        _ => "none".into(),
    }
}

/// A whole count of packets.
pub(super) fn packets(value: impl Into<Amount>) -> String {
    match value.into() {
        Amount::Whole(count) => Grouped(count).to_string(),
        Amount::Float(value) => Grouped(whole(value)).to_string(),
    }
}

/// `1 host`, `2 hosts`.
fn count(number: usize, what: &str) -> String {
    format!("{} {what}{}", grouped(number), if number == 1 { "" } else { "s" })
}

pub(super) fn grouped(count: usize) -> String {
    Grouped(u64::try_from(count).unwrap_or(u64::MAX)).to_string()
}

/// A time to the second.
fn moment(time: Timestamp) -> String {
    let text = TimeText::new(time);
    format!("{}Z", text.as_str().get(..19).unwrap_or_default())
}

/// A duration in the unit that leaves few digits.
fn duration(seconds: f64) -> String {
    match seconds {
        172_800.0.. => format!("{} days", rate(seconds / 86_400.0)),
        7_200.0.. => format!("{} h", rate(seconds / 3_600.0)),
        120.0.. => format!("{} min", rate(seconds / 60.0)),
        _ => format!("{} s", rate(seconds)),
    }
}

/// A rate per second, hour or day, so that small rates keep some digits.
fn packets_a_second(value: f64) -> String {
    const SMALL: f64 = 0.05;
    match value {
        _ if value <= 0.0 || value >= SMALL => format!("{} packets/s", rate(value)),
        _ if value * 3_600.0 >= SMALL => format!("{} packets/h", rate(value * 3_600.0)),
        _ => format!("{} packets/day", rate(value * 86_400.0)),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts saturate, which is far beyond all")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts() {
        let cases = [
            (1_234.0, "packets", "1,234 packets"),
            (0.25, "packets/s", "0.2 packets/s"),
            (0.01, "packets/s", "36 packets/h"),
            (1e-6, "packets/s", "0.1 packets/day"),
            (0.0, "packets/s", "0 packets/s"),
            (1.0, "hosts", "1 host"),
            (3.0, "hosts", "3 hosts"),
            (7.25, "times", "7.2 times"),
            (7_528.0, "times", "7,528 times"),
            (0.0042, "probability", "0.004"),
            (4.2e-9, "probability", "4e-9"),
            (f64::MIN_POSITIVE, "probability", "below 1e-100"),
            (0.001, "%", "<0.01 %"),
            (12.5, "%", "12.50 %"),
            (90.0, "seconds", "90 s"),
            (5_400.0, "seconds", "90 min"),
            (7_164_000.0, "seconds", "83 days"),
            (1_767_225_600.0, "unix_seconds", "2026-01-01T00:00:00Z"),
            (f64::INFINITY, "packets", "18,446,744,073,709,551,615 packets"),
        ];
        for (value, unit, expected) in cases {
            assert_eq!(amount(value, unit), expected);
        }
    }
}
