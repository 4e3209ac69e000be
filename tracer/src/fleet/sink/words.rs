//! The words that text and page share.

use std::time::Duration;

use crate::event::Timestamp;
use crate::fleet::finding::{Figure, Finding, NamedHost, Severity};
use crate::fleet::report::{Dropped, RateBand, Report, Sums};
use crate::sink::time::TimeText;
use crate::sink::{Grouped, rate};

/// What cannot be read is told one by one up to so many.
pub(super) const REFUSED: usize = 10;

/// What the report is of, line by line.
pub(super) fn introduction(report: &Report) -> Vec<String> {
    let Report { input, fleet, baseline, .. } = report;
    let mut lines = vec![format!("{}.", sums(fleet))];
    lines.extend(baseline.as_ref().map(|baseline| format!("Compared with {}.", sums(baseline))));
    let what = if input.from == "snapshots" { "snapshots" } else { "answers" };
    let mut read = format!("{} {what} of {} read", grouped(input.read), input.from);
    if input.from == "snapshots" {
        read = format!("{} snapshots read", grouped(input.read));
    }
    let not = input.refused.len() + input.baseline_refused.len();
    if input.baseline_read > 0 {
        read += &format!(", {} of the baseline", grouped(input.baseline_read));
    }
    if not > 0 {
        read += &format!("; {} could not be read or were not added", grouped(not));
    }
    if input.passed_over > 0 {
        read += &format!("; {} other files passed over", grouped(input.passed_over));
    }
    lines.push(format!("{read}."));
    lines.extend(input.notes.iter().cloned());
    lines
}

fn sums(sums: &Sums) -> String {
    let span = duration(sums.host_seconds);
    let mut text = format!("{} hosts, {span} of hosts' time", grouped(sums.hosts));
    if let (Some(from), Some(to)) = (sums.from, sums.to) {
        text += &format!(" between {} and {}", moment(from), moment(to));
    }
    text += &format!(": {} packets dropped", packets(sums.packets));
    match (sums.lost > 0.0, sums.loss_unknown) {
        (false, 0) => text += ", nothing lost",
        (true, 0) => text += &format!(", {} lost", packets(sums.lost)),
        (_, unknown) => {
            text +=
                &format!(", {} lost as far as is known, which {} hosts do not", packets(sums.lost), grouped(unknown));
        }
    }
    if sums.silent > 0 {
        text += &format!("; {} hosts silent", grouped(sums.silent));
    }
    text
}

/// What was refused, one by one, the rest counted.
pub(super) fn refused(report: &Report) -> Vec<String> {
    let all = || report.input.refused.iter().chain(&report.input.baseline_refused);
    let mut lines: Vec<_> = all().take(REFUSED).map(|refused| format!("{}: {}", refused.file, refused.why)).collect();
    let more = all().count() - lines.len();
    if more > 0 {
        lines.push(format!("… and {} more; --format json tells all", grouped(more)));
    }
    lines
}

/// Headings of [`dropped`].
pub(super) const DROPPED: [&str; 6] = ["PACKETS", "%", "HOSTS", "REASON", "MOSTLY AT", "USUAL"];

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

/// As other commands show it.
pub(super) fn reason(row: &Dropped) -> String {
    let name = match (row.reason.as_deref(), row.subsystem.as_deref()) {
        _ if row.other => "beyond the bound on series".into(),
        (None, _) => "-".into(),
        (Some(reason), None | Some("core")) => reason.to_owned(),
        (Some(reason), Some(subsystem)) => format!("{subsystem}:{reason}"),
    };
    if row.netlink { format!("{name} (netlink messages)") } else { name }
}

/// `1 finding`, `2 findings: 1 critical, 1 warning`.
pub(super) fn heading(findings: &[Finding]) -> String {
    let count = |severity| findings.iter().filter(|finding| finding.severity == severity).count();
    let told = [Severity::Critical, Severity::Warning, Severity::Notice].map(|severity| (severity, count(severity)));
    let told = told.into_iter().filter(|(_, count)| *count > 0);
    let told: Vec<_> = told.map(|(severity, count)| format!("{count} {}", self::severity(severity))).collect();
    match findings.len() {
        0 => "Nothing found".into(),
        1 => format!("1 finding: {}", told.join(", ")),
        many => format!("{many} findings: {}", told.join(", ")),
    }
}

/// The word for it.
pub(super) const fn severity(severity: Severity) -> &'static str {
    match severity {
        Severity::Notice => "notice",
        Severity::Warning => "warning",
        Severity::Critical => "critical",
    }
}

/// Hosts by name, with their figures; the rest counted. None where there are none.
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

/// A figure with its unit.
pub(super) fn amount(value: f64, unit: &str) -> String {
    match unit {
        "packets" => format!("{} packets", packets(value)),
        "seconds" => duration(value),
        "unix_seconds" => moment(Timestamp(whole(value * 1e9))),
        "%" => format!("{value:.2} %"),
        "times" | "deviations" if value < 100.0 => format!("{value:.1} {unit}"),
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

/// A count of packets, whole.
pub(super) fn packets(value: f64) -> String {
    Grouped(whole(value)).to_string()
}

pub(super) fn grouped(count: usize) -> String {
    Grouped(u64::try_from(count).unwrap_or(u64::MAX)).to_string()
}

/// To the second.
fn moment(time: Timestamp) -> String {
    let text = TimeText::new(time);
    format!("{}Z", text.as_str().get(..19).unwrap_or_default())
}

/// In the two largest units.
fn duration(seconds: f64) -> String {
    if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    let text = humantime::format_duration(Duration::from_secs(whole(seconds))).to_string();
    text.split(' ').take(2).collect::<Vec<_>>().join(" ")
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "casts saturate, which is far beyond all")]
fn whole(value: f64) -> u64 {
    value.round() as u64
}
