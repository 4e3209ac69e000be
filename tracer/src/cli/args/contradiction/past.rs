//! Options that have no effect on a time that is over.

#[cfg(feature = "top")]
use crate::cli::args::TopArgs;
use crate::cli::args::{CommonArgs, Mode, Source, StatArgs, TraceArgs};
use crate::sink::TraceFormat;

const NO_FLOWS: &str =
    "a history has no flows and processes: group by others; `droptrace trace --since` shows single drops";

/// What a history cannot show, and the way out.
pub(super) fn of_stat(args: &StatArgs) -> Option<String> {
    args.past.since.as_ref()?;
    let flows = args.by.as_ref().is_some_and(|by| by.flow_facts() != 0);
    let own = [
        (args.interval.is_some(), "--interval", "a history is shown once; `--since` and `--until` choose a part of it"),
        (args.stack, "--stack", "a history has no call stacks; record them with `droptrace trace --stack -o FILE.dtr`"),
        (args.retransmits, "--retransmits", "a history has no retransmissions; run `droptrace stat --retransmits` now"),
        (flows, "--by", NO_FLOWS),
    ];
    own.into_iter().find(|(is, ..)| *is).map(|(_, option, why)| refusal(option, why)).or_else(|| common(&args.common))
}

/// The same for the screen.
#[cfg(feature = "top")]
pub(super) fn of_top(args: &TopArgs) -> Option<String> {
    args.past.since.as_ref()?;
    let flows = args.by.as_ref().is_some_and(|by| by.flow_facts() != 0);
    let own = [
        (args.interval.is_some(), "--interval", "the totals do not change any more; leave it out"),
        (flows, "--by", NO_FLOWS),
    ];
    own.into_iter().find(|(is, ..)| *is).map(|(_, option, why)| refusal(option, why)).or_else(|| common(&args.common))
}

/// The same for single drops.
pub(super) fn of_trace(args: &TraceArgs) -> Option<String> {
    args.past.since.as_ref()?;
    let is_recording = args.raw || args.format() == TraceFormat::Dtr;
    let own = [
        (args.all, "--all", "a history has a sample of single drops; `droptrace stat --since` has the count of all"),
        (args.rate.is_some(), "--rate", "the agent has chosen the single drops; leave it out"),
        (
            is_recording,
            "a recording",
            "a history has no ledger of its single drops; use '--format json' or a packet capture",
        ),
        (args.stack, "--stack", "a history has no call stacks; record them with `droptrace trace --stack -o FILE.dtr`"),
        (
            args.retransmits,
            "--retransmits",
            "a history has no retransmissions; run `droptrace trace --retransmits` now",
        ),
        (args.ring_size.is_some(), "--ring-size", "nothing is traced; leave it out"),
        (args.no_owners, "--no-owners", "a history has the owners that the agent was asked for; leave it out"),
    ];
    own.into_iter().find(|(is, ..)| *is).map(|(_, option, why)| refusal(option, why)).or_else(|| common(&args.common))
}

fn common(args: &CommonArgs) -> Option<String> {
    let has_backend = args.source != Source::Auto || args.net_dm_mode.is_some() || args.mode != Mode::Auto;
    let options = [
        (args.duration.is_some(), "--duration", "nothing is counted now; '--until' is the end of the time"),
        (has_backend, "a backend", "the agent has counted already, with its own backend; leave it out"),
        (args.no_counters, "--no-counters", "a history never has the kernel's counters; leave it out"),
    ];
    options.into_iter().find(|(is, ..)| *is).map(|(_, option, why)| refusal(option, why))
}

fn refusal(option: &str, why: &str) -> String {
    let option = if option.starts_with('-') { format!("'{option}'") } else { option.to_owned() };
    format!("'--since' shows a time that is over, without {option}: {why}")
}
