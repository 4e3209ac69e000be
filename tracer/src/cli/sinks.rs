//! Makes the sink of a command's results from its options.

use anyhow::{Result, bail};

use super::args::{ReplayArgs, Source, StatArgs, TraceArgs};
use crate::backend::replay::Start;
use crate::render::output::{ColorChoice, Output};
use crate::render::rank::Sort;
use crate::sink::{DropSink, RawJson, RawOptions, Recorded, StatOptions, StatSink, TraceFormat, TraceTextOptions};

/// The sink for `stat`. On a terminal, each interval's table replaces the one before if it is `is_live`; other outputs receive
/// one table each interval. `home_netns` is the inode number of the reader's own network namespace, 0 if it is unknown.
pub(crate) fn stat(args: &StatArgs, output: Output, home_netns: u32, is_live: bool) -> Box<dyn StatSink> {
    let options = StatOptions {
        by: args.by.clone(),
        sort: args.sort,
        top: args.top,
        home_netns,
        color: output.wants_color(args.common.destination.color),
        recorded: None,
        live: output.redraws() && is_live,
        size: output.size_of_tables(),
    };
    args.format().sink(output, options)
}

/// The sink for `trace`. `home_netns` is as for [`stat`]; `captured` counts the leading bytes that records have.
pub(crate) fn trace(args: &TraceArgs, output: Output, home_netns: u32, captured: usize) -> Box<dyn DropSink> {
    if args.raw {
        let both_sources = args.common.source == Source::Both;
        return Box::new(RawJson::new(output, RawOptions { captured, home_netns, both_sources }));
    }
    let color = output.wants_color(args.common.destination.color);
    let options = TraceTextOptions {
        color,
        home_netns,
        seen_by: args.common.source == Source::Both,
        // `--since` takes times of the same zone.
        local_time: args.local_time || args.past.since.is_some(),
    };
    args.format().sink(output, options, captured)
}

/// Returns an error if the results are not text, and would go to a terminal.
pub(crate) fn refuse_terminal(format: TraceFormat, output: &Output) -> Result<()> {
    if format.is_binary() && output.is_terminal() {
        bail!("the results are not text: write them to a file with -o, or to a pipe");
    }
    Ok(())
}

/// The sink for the single drops of a recording.
pub(crate) fn replayed_trace(
    color: ColorChoice,
    format: TraceFormat,
    output: Output,
    start: &Start,
) -> Box<dyn DropSink> {
    let (color, home_netns) = (output.wants_color(color), start.home_netns);
    format.sink(output, TraceTextOptions { color, home_netns, seen_by: start.both_sources, local_time: false }, 0)
}

/// The sink for the totals of a recording.
pub(crate) fn replayed_stat(
    args: &ReplayArgs,
    output: Output,
    home_netns: u32,
    recorded: Recorded,
) -> Box<dyn StatSink> {
    let (color, size) = (output.wants_color(args.destination.color), output.size_of_tables());
    let (by, sort, top, recorded) = (None, Sort::default(), Some(0), Some(recorded));
    let options = StatOptions { by, sort, top, home_netns, color, recorded, live: false, size };
    args.format.sink(output, options)
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::path::Path;
    use std::time::Duration;

    use clap::Parser as _;

    use super::*;
    use crate::cli::args::{Cli, Command};
    use crate::domain::event::{DropEvent, Location, NamedKey, Origin, PacketStart, Reason, Timestamp};
    use crate::domain::report::{Host, StatReport};
    use crate::render::output::reader_gone;
    use crate::sink::RunEnd;

    fn host() -> Host {
        Host { name: "lab-1".into(), kernel: "6.18.44".into() }
    }

    fn command(line: &str) -> Command {
        Cli::try_parse_from(line.split(' ')).unwrap().into_command()
    }

    /// Shows a sample on the sink of the command.
    fn show(command: &Command, output: Output) -> io::Result<()> {
        match command {
            Command::Stat(args) => stat(&args.stat, output, 0, false).report(&StatReport {
                host: host(),
                started_at: Timestamp(0),
                duration: Duration::from_secs(1),
                is_final: true,
                sources: vec![],
                drops: vec![],
                overflow: vec![],
                hidden: vec![],
                own_netlink_drops: Some(0),
                stacks: None,
                attribution: None,
                flows: None,
                retransmissions: None,
                refused: None,
                outside: None,
                past: None,
            }),
            Command::Trace(args) => {
                let mut sink = trace(args, output, 0, 128);
                sink.start(&host(), Timestamp(0))?;
                let key = NamedKey {
                    reason: Reason { value: Some(6), subsystem: "core".into(), name: "SOCKET_RCVBUFF".into() }.into(),
                    location: Location { address: 1, symbol: None, trap_group: None }.into(),
                    ..NamedKey::default()
                };
                sink.event(&DropEvent {
                    stack: &[],
                    process: None,
                    facts: crate::domain::facts::Facts::default(),
                    timestamp: Timestamp(0),
                    key: &key.into(),
                    seen_by: &[Origin::Ebpf],
                    length: 0,
                    start: PacketStart::Nothing,
                    bytes: &[],
                })?;
                sink.finish(&RunEnd::default())
            }
            _ => unreachable!("not among COMMANDS"),
        }
    }

    const COMMANDS: [&str; 7] = [
        "droptrace stat",
        "droptrace stat --format json",
        "droptrace trace",
        "droptrace trace --format json",
        "droptrace trace --raw",
        "droptrace trace --format dtr",
        "droptrace trace --format pcapng",
    ];

    #[test]
    fn every_sink_reports_a_full_disk() {
        for line in COMMANDS {
            let output = Output::open(Some(Path::new("/dev/full"))).unwrap();
            let error = anyhow::Error::from(show(&command(line), output).unwrap_err());
            let text = format!("{error:#}");
            assert_eq!(text, "writing to /dev/full failed: No space left on device (os error 28)", "{line}");
        }
    }

    #[test]
    fn every_sink_succeeds_when_its_pipe_is_closed() {
        for line in COMMANDS {
            let (reader, writer) = io::pipe().unwrap();
            drop(reader);
            let output = Output::from_file(std::os::fd::OwnedFd::from(writer).into(), None).unwrap();
            let error = anyhow::Error::from(show(&command(line), output).unwrap_err());
            assert!(reader_gone(&error), "{line}: {error:#}");
        }
    }
}
