//! Options that have no effect with another option.

mod past;

use super::{Command, CommonArgs, Mode, ReplayArgs, Source, StatArgs, TraceArgs};
use crate::sink::{StatFormat, TraceFormat};

/// Why the options of the command contradict each other; `None` if they do not. `stat` has the options of the default
/// command.
pub(super) fn of(command: Option<&Command>, stat: &StatArgs) -> Option<String> {
    match command {
        None => of_stat(stat),
        Some(Command::Stat(args)) if !args.workload.is_empty() && args.stat.past.since.is_some() => Some(
            "'--since' shows a time that is over; a command after '--' would run now: leave one of them out".into(),
        ),
        Some(Command::Stat(args)) => of_stat(&args.stat),
        #[cfg(feature = "top")]
        Some(Command::Top(args)) => past::of_top(args).or_else(|| of_modes(&args.common)),
        Some(Command::Trace(args)) => {
            let of_options = past::of_trace(args)
                .or_else(|| of_modes(&args.common))
                .or_else(|| of_rate(args))
                .or_else(|| of_ring(args));
            let of_options = of_options.or_else(|| of_explanations(args));
            of_options.or_else(|| of_trace_stacks(args)).or_else(|| of_recording(args)).or_else(|| of_retransmits(args))
        }
        Some(Command::Replay(args)) => of_replay(args),
        Some(_) => None,
    }
}

fn of_stat(args: &StatArgs) -> Option<String> {
    if let Some(refused) = past::of_stat(args) {
        return Some(refused);
    }
    let CommonArgs { source, net_dm_mode, .. } = args.common;
    if args.format.is_of_stacks() && !args.stack {
        return Some("'--format folded' and '--format svg' show call stacks; add '--stack'".into());
    }
    if args.explain && args.format() != StatFormat::Text {
        return Some(only_text_explains());
    }
    if let Some(option) = args.hide.used().filter(|_| args.format.is_of_stacks()) {
        return Some(hides_no_stacks(option));
    }
    let has_other = net_dm_mode.is_some() || !matches!(source, Source::Auto | Source::Ebpf);
    let of_options = of_modes(&args.common).or_else(|| (args.stack && has_other).then(only_ebpf_has_stacks));
    of_options.or_else(|| (args.retransmits && has_other).then(only_ebpf_has_retransmissions))
}

fn of_replay(args: &ReplayArgs) -> Option<String> {
    if let Some(option) = args.hide.used().filter(|_| args.format.is_of_stacks()) {
        return Some(hides_no_stacks(option));
    }
    (args.stat && args.format.is_of_stacks())
        .then(|| "'--stat' shows a table, '--format folded' and '--format svg' call stacks; use one of them".into())
}

fn hides_no_stacks(option: &str) -> String {
    format!("'{option}' has no effect on call stacks; use a filter, such as `unusual`")
}

fn of_recording(args: &TraceArgs) -> Option<String> {
    if let Some(option) = args.hide.used().filter(|_| args.records()) {
        return Some(format!(
            "'{option}' has no effect on a recording, which has all drops; give it to 'droptrace replay'"
        ));
    }
    (args.is_dtr() && args.count.is_some())
        .then(|| "'--count' has no effect on a recording: it has all drops until it ends; use '--duration'".into())
}

fn of_explanations(args: &TraceArgs) -> Option<String> {
    (args.explain && args.format() != TraceFormat::Text).then(only_text_explains)
}

fn only_text_explains() -> String {
    "'--explain' writes text. A page (html) explains the reasons by itself; for programs, `droptrace explain --format json` has the explanations".into()
}

fn of_trace_stacks(args: &TraceArgs) -> Option<String> {
    (args.stack && args.common.source == Source::NetDm).then(only_ebpf_has_stacks)
}

fn of_retransmits(args: &TraceArgs) -> Option<String> {
    if args.retransmits && args.format().is_binary() {
        return Some("'--retransmits' has no effect on a recording or a capture, which have drops alone".into());
    }
    let has_other = args.common.net_dm_mode.is_some() || !matches!(args.common.source, Source::Auto | Source::Ebpf);
    (args.retransmits && has_other).then(only_ebpf_has_retransmissions)
}

fn only_ebpf_has_retransmissions() -> String {
    "'--retransmits' needs the BPF program: the drop monitor and the counters report no sequence numbers; use '--source ebpf'"
        .into()
}

fn only_ebpf_has_stacks() -> String {
    "'--stack' needs the BPF program: the drop monitor and the counters report no call stacks; use '--source ebpf'"
        .into()
}

/// A mode belongs to one backend.
fn of_modes(args: &CommonArgs) -> Option<String> {
    let (has_mode, has_alert_mode) = (args.mode != Mode::Auto, args.net_dm_mode.is_some());
    let no_effect =
        |option, source, way_out| Some(format!("'{option}' has no effect with '--source {source}'; {way_out}"));
    match args.source {
        Source::NetDm if has_mode => no_effect("--mode", "net-dm", "use --net-dm-mode for the mode of the drop monitor"),
        Source::Plain(backend) if has_mode => no_effect("--mode", backend.source(), "that backend has no modes"),
        Source::Plain(backend) if has_alert_mode => {
            no_effect("--net-dm-mode", backend.source(), "that backend has no modes")
        }
        Source::Ebpf if has_alert_mode => no_effect("--net-dm-mode", "ebpf", "use --mode for the mode of the BPF program"),
        Source::Auto if has_mode && has_alert_mode => Some(
            "'--mode' selects the BPF program and '--net-dm-mode' selects the drop monitor; for both, add '--source both'"
                .into(),
        ),
        _ => None,
    }
}

/// The drop monitor has no limit of records.
fn of_rate(args: &TraceArgs) -> Option<String> {
    let source = match args.common.source {
        Source::NetDm => "net-dm",
        Source::Both => "both",
        _ => return None,
    };
    args.rate.map(|_| {
        format!(
            "'--rate' has no effect with '--source {source}': the drop monitor reports every drop; use '--source ebpf'"
        )
    })
}

/// The drop monitor has no ring buffer.
fn of_ring(args: &TraceArgs) -> Option<String> {
    (args.common.source == Source::NetDm && args.ring_size.is_some()).then(|| {
        "'--ring-size' has no effect with '--source net-dm': its reports come over a netlink socket; use '--source ebpf'"
            .into()
    })
}
