//! The tools under test: droptrace with each capture backend, and other tools that report drops.

use std::ffi::OsString;
use std::path::Path;

/// Who is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// Nobody: how far the measurement itself is off.
    Nothing,
    /// A kernel program that does nothing.
    Empty,
    /// `droptrace stat`.
    Stat,
    /// `droptrace trace`, bounded.
    Trace,
    /// `droptrace trace --all`.
    TraceAll,
    /// `droptrace stat` attached as a raw tracepoint.
    StatRaw,
    /// `droptrace trace --all` attached as a raw tracepoint.
    TraceAllRaw,
    /// `droptrace stat` on the drop monitor in summary mode.
    NetDmSummary,
    /// `droptrace trace --all` on the drop monitor in packet mode.
    NetDmPacket,
    /// `droptrace stat` on both sources.
    Both,
    /// A count by reason and place.
    Bpftrace,
    /// Each drop, into a file.
    Perf,
    /// The drop monitor's own client, summary mode.
    DropwatchSummary,
    /// The same, packet mode.
    DropwatchPacket,
    /// Each drop, as text.
    Retis,
}

/// How a program tells that it listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// By words on stdout or stderr.
    Says(&'static str),
    /// It does not, but holds the kernel's event, which it attaches to at once.
    HoldsEvent,
    /// Asked through a FIFO to begin, it says so through another.
    Acknowledges,
    /// It does not, but the kernel's drop monitor runs.
    MonitorRuns,
}

/// What of its output is needed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// The last line.
    LastLine,
    /// All of it.
    All,
}

/// A program to start.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
    pub(super) ready: Ready,
    pub(super) keep: Keep,
    /// What is typed at the start.
    pub(super) input: &'static str,
    /// What is typed after Ctrl-C.
    pub(super) farewell: &'static str,
}

const BPFTRACE: &str = "tracepoint:skb:kfree_skb { @[args->reason, args->location] = count(); }";

impl Target {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 15] = [
        Self::Nothing,
        Self::Empty,
        Self::Stat,
        Self::Trace,
        Self::TraceAll,
        Self::StatRaw,
        Self::TraceAllRaw,
        Self::NetDmSummary,
        Self::NetDmPacket,
        Self::Both,
        Self::Bpftrace,
        Self::Perf,
        Self::DropwatchSummary,
        Self::DropwatchPacket,
        Self::Retis,
    ];

    /// The name, in reports and as it is typed.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Empty => "empty",
            Self::Stat => "stat",
            Self::Trace => "trace",
            Self::TraceAll => "trace-all",
            Self::StatRaw => "stat-raw",
            Self::TraceAllRaw => "trace-all-raw",
            Self::NetDmSummary => "net-dm-summary",
            Self::NetDmPacket => "net-dm-packet",
            Self::Both => "both",
            Self::Bpftrace => "bpftrace",
            Self::Perf => "perf",
            Self::DropwatchSummary => "dropwatch-summary",
            Self::DropwatchPacket => "dropwatch-packet",
            Self::Retis => "retis",
        }
    }

    /// Tells drops of all namespaces by their place alone.
    pub(super) const fn tells_places(self) -> bool {
        matches!(self, Self::NetDmSummary | Self::Both | Self::Bpftrace | Self::DropwatchSummary)
    }

    /// Listens to the drop monitor, which knows no namespaces.
    pub(super) const fn uses_net_dm(self) -> bool {
        matches!(
            self,
            Self::NetDmSummary | Self::NetDmPacket | Self::Both | Self::DropwatchSummary | Self::DropwatchPacket
        )
    }

    /// Ends without having reported what it heard last, so that it is to be given time.
    pub(super) const fn is_late(self) -> bool {
        matches!(self, Self::DropwatchSummary | Self::DropwatchPacket)
    }

    /// What was typed as droptrace's command.
    fn own_words(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::TraceAll => "trace --all",
            Self::StatRaw => "stat --interval 100ms --mode raw_tracepoint",
            Self::TraceAllRaw => "trace --all --mode raw_tracepoint",
            Self::NetDmSummary => "stat --interval 100ms --source net-dm --net-dm-mode summary",
            Self::NetDmPacket => "trace --all --source net-dm --net-dm-mode packet",
            Self::Both => "stat --interval 100ms --source both",
            _ => "stat --interval 100ms --source ebpf",
        }
    }

    /// The command as it would be typed; none for what is no program.
    pub(super) fn command(self, snaplen: Option<u32>) -> Option<String> {
        let snaplen = snaplen.map_or(String::new(), |snaplen| format!(" --snaplen {snaplen}"));
        Some(match self {
            Self::Nothing | Self::Empty => return None,
            Self::Bpftrace => format!("bpftrace -e '{BPFTRACE}'"),
            Self::Perf => "perf record -e skb:kfree_skb -a -D -1 --control fifo:CONTROL,ANSWER -o FILE".into(),
            Self::DropwatchSummary => "dropwatch (set alertmode summary, start)".into(),
            Self::DropwatchPacket => "dropwatch (set alertmode packet, start)".into(),
            Self::Retis => "retis collect -c skb-drop".into(),
            own if own.uses_net_dm() => format!("droptrace {}{snaplen} --format json", own.own_words()),
            own => format!("droptrace {}{snaplen} --format json --netns NETNS", own.own_words()),
        })
    }

    /// How to start it; none for what is no program. `folder` is for its files, `netns` is where the load is.
    pub(super) fn launch(self, own: &Path, folder: &Path, netns: u32, snaplen: Option<u32>) -> Option<Launch> {
        let (program, arguments, ready): (&str, Vec<OsString>, _) = match self {
            Self::Nothing | Self::Empty => return None,
            Self::Bpftrace => ("bpftrace", words(&["-e", BPFTRACE]), Ready::HoldsEvent),
            Self::Perf => ("perf", perf(folder), Ready::Acknowledges),
            Self::DropwatchSummary | Self::DropwatchPacket => ("dropwatch", vec![], Ready::MonitorRuns),
            Self::Retis => ("retis", words(&["collect", "-c", "skb-drop"]), Ready::Says("probe(s) loaded")),
            _ => {
                let mut arguments = words(&self.own_words().split(' ').collect::<Vec<_>>());
                arguments.extend(words(&["--format", "json"]));
                if !self.uses_net_dm() {
                    arguments.extend(words(&["--netns", &netns.to_string()]));
                }
                if let Some(snaplen) = snaplen {
                    arguments.extend(words(&["--snaplen", &snaplen.to_string()]));
                }
                return Some(Launch {
                    program: own.into(),
                    arguments,
                    ready: Ready::Says("Ctrl-C ends"),
                    keep: Keep::LastLine,
                    input: "",
                    farewell: "",
                });
            }
        };
        let (input, farewell) = match self {
            Self::DropwatchSummary => ("set alertmode summary\nstart\n", "exit\n"),
            // It leaves the monitor in the mode that was set; summary is the kernel's own.
            Self::DropwatchPacket => ("set alertmode packet\nstart\n", "set alertmode summary\nexit\n"),
            _ => ("", ""),
        };
        Some(Launch { program: program.into(), arguments, ready, keep: Keep::All, input, farewell })
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// Files of perf, within the benchmark's folder.
pub(super) const PERF_DATA: &str = "perf.data";
pub(super) const PERF_CONTROL: &str = "control";
pub(super) const PERF_ANSWER: &str = "answer";

/// perf starts with its events off: whether they are on shows by its answer alone.
fn perf(folder: &Path) -> Vec<OsString> {
    let mut arguments = words(&["record", "-e", "skb:kfree_skb", "-a", "-D", "-1", "-o"]);
    arguments.push(folder.join(PERF_DATA).into());
    let [control, answer] = [PERF_CONTROL, PERF_ANSWER].map(|name| folder.join(name));
    arguments.push(format!("--control=fifo:{},{}", control.display(), answer.display()).into());
    arguments
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_distinct_and_commands_are_told_of_programs() {
        let names: std::collections::HashSet<_> = Target::ALL.map(Target::name).into_iter().collect();
        assert_eq!(names.len(), Target::ALL.len());
        for target in Target::ALL {
            let launch = target.launch(Path::new("/own"), Path::new("/folder"), 7, None);
            assert_eq!(launch.is_some(), target.command(None).is_some(), "{target:?}");
        }
    }

    #[test]
    fn only_sources_that_know_namespaces_are_asked_for_one() {
        let arguments = |target: Target| {
            let launch = target.launch(Path::new("/own"), Path::new("/folder"), 7, Some(64)).unwrap();
            launch.arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert!(arguments(Target::TraceAll).ends_with("--netns 7 --snaplen 64"));
        assert!(!arguments(Target::NetDmPacket).contains("--netns"));
        assert!(arguments(Target::Perf).contains("--control=fifo:/folder/control,/folder/answer"));
    }
}
