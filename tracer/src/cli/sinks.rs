//! Selects the sink for a command's results.

use super::args::{DropFormat, Format, ReplayArgs, Source, StatArgs, TraceArgs, Updates};
use crate::dimension::Dimensions;
use crate::render::output::Output;
use crate::render::rank::Sort;
#[cfg(feature = "html")]
use crate::sink::StatFlameGraph;
use crate::sink::{
    DropSink, Dtr, RawJson, RawOptions, StatFolded, StatJson, StatSink, StatText, StatTextOptions, TraceJson,
    TraceText, TraceTextOptions,
};

/// The sink for `stat`. On a terminal, each interval's table replaces the one before; other outputs receive one table
/// each interval. `home_netns` is the inode number of the reader's own network namespace, 0 if it is unknown.
pub fn stat(args: &StatArgs, output: Output, home_netns: u32) -> Box<dyn StatSink> {
    match args.common.format {
        DropFormat::Json => {
            Box::new(StatJson::new(output, args.sort, args.by.clone().unwrap_or_else(Dimensions::usual)))
        }
        DropFormat::Folded => Box::new(StatFolded::new(output)),
        #[cfg(feature = "html")]
        DropFormat::Svg => Box::new(StatFlameGraph::new(output)),
        // A recording is refused for `stat`.
        DropFormat::Text | DropFormat::Dtr => {
            let options = StatTextOptions {
                by: args.by.clone(),
                sort: args.sort,
                top: args.top,
                home_netns,
                color: output.wants_color(args.common.color),
                recorded: false,
                live: output.is_terminal() && args.updates(true) != Updates::AtEnd,
                size: output.size(),
            };
            Box::new(StatText::new(output, options))
        }
    }
}

/// The sink for `trace`. `home_netns` is as for [`stat`]; `captured` counts the leading bytes that records have.
pub fn trace(args: &TraceArgs, output: Output, home_netns: u32, captured: usize) -> Box<dyn DropSink> {
    match args.common.format {
        _ if args.is_dtr() => Box::new(Dtr::new(output, RawOptions { captured, home_netns })),
        _ if args.raw => Box::new(RawJson::new(output, RawOptions { captured, home_netns })),
        DropFormat::Json => Box::new(TraceJson::new(output)),
        // The forms of call stacks are refused for `trace`.
        _ => {
            let options = TraceTextOptions {
                color: output.wants_color(args.common.color),
                home_netns,
                seen_by: args.common.source == Source::Both,
            };
            Box::new(TraceText::new(output, options))
        }
    }
}

/// The sink for a recording. `home_netns` is the namespace of the recording process.
pub fn replayed_trace(args: &ReplayArgs, output: Output, home_netns: u32) -> Box<dyn DropSink> {
    match args.format {
        Format::Json => Box::new(TraceJson::new(output)),
        Format::Text => {
            let color = output.wants_color(args.color);
            Box::new(TraceText::new(output, TraceTextOptions { color, home_netns, seen_by: true }))
        }
    }
}

/// The table of a recording.
pub fn replayed_stat(args: &ReplayArgs, output: Output, home_netns: u32) -> Box<dyn StatSink> {
    match args.format {
        Format::Json => Box::new(StatJson::new(output, Sort::default(), Dimensions::usual())),
        Format::Text => {
            let (color, size) = (output.wants_color(args.color), output.size());
            let (by, sort, top) = (None, Sort::default(), Some(0));
            let options = StatTextOptions { by, sort, top, home_netns, color, recorded: true, live: false, size };
            Box::new(StatText::new(output, options))
        }
    }
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
            Command::Stat(args) => stat(&args.stat, output, 0).report(&StatReport {
                host: host(),
                started_at: Timestamp(0),
                duration: Duration::from_secs(1),
                is_final: true,
                sources: vec![],
                drops: vec![],
                overflow: vec![],
                own_netlink_drops: Some(0),
                stacks: None,
                attribution: None,
                flows: None,
                outside: None,
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

    const COMMANDS: [&str; 6] = [
        "droptrace stat",
        "droptrace stat --format json",
        "droptrace trace",
        "droptrace trace --format json",
        "droptrace trace --raw",
        "droptrace trace --format dtr",
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
