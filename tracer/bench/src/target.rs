//! The tools under test: droptrace with each capture backend, and other tools that report drops.

use std::ffi::OsString;
use std::path::Path;

use clap::ValueEnum;
use clap::builder::PossibleValue;

/// A benchmark target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Target {
    /// No tool, which shows the error of the measurement itself.
    Nothing,
    /// A BPF program that does nothing.
    Empty,
    /// `droptrace stat`.
    Stat,
    /// `droptrace stat --by reason,cgroup`.
    StatOwners,
    /// `droptrace stat --by flow`.
    StatFlows,
    /// `droptrace trace` with its default rate limit.
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
    /// `droptrace stat` with both backends.
    Both,
    /// bpftrace with a count by drop reason and drop site.
    Bpftrace,
    /// bpftrace with a count by drop reason, drop site and control group: that of the socket that was to receive the
    /// packet (`rx_sk`, Linux 6.11 and later), else of the packet's own socket, as `stat` reads it. 0 without a socket.
    BpftraceOwners,
    /// bpftrace with a count by addresses, ports and transport in the headers of IPv4 packets. It does not count others.
    BpftraceFlows,
    /// perf, with each drop written to a file.
    Perf,
    /// dropwatch, the drop monitor's own client, in summary mode.
    DropwatchSummary,
    /// dropwatch in packet mode.
    DropwatchPacket,
    /// retis, with each drop shown as text.
    Retis,
}

/// The sign that a program is ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ready {
    /// The program prints these words on stdout or stderr.
    Says(&'static str),
    /// The program prints nothing, but has an open perf event, to which it attaches at once.
    HoldsEvent,
    /// The program receives a request through a FIFO, and acknowledges it through another.
    Acknowledges,
    /// The program prints nothing, but the kernel's drop monitor runs.
    MonitorRuns,
}

/// The part of the output that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    /// The last line.
    LastLine,
    /// The whole output.
    All,
}

/// A program to start.
#[derive(Clone, Debug)]
pub(super) struct Launch {
    pub(super) program: OsString,
    pub(super) arguments: Vec<OsString>,
    pub(super) ready: Ready,
    pub(super) keep: Keep,
    /// The input at the start.
    pub(super) input: &'static str,
    /// The input after Ctrl-C.
    pub(super) farewell: &'static str,
}

const BPFTRACE: &str = "tracepoint:skb:kfree_skb { @[args->reason, args->location] = count(); }";
/// bpftrace 0.17 has no type for `rx_sk` in a condition, hence the number.
const BPFTRACE_OWNERS: &str = "tracepoint:skb:kfree_skb { $sk = (uint64)args->rx_sk; \
    if ($sk == 0) { $sk = (uint64)((struct sk_buff *)args->skbaddr)->sk; } \
    @[args->reason, args->location, ((struct sock *)$sk)->sk_cgrp_data.cgroup->kn->id] = count(); }";
/// Numbers as they are in the headers. 0x800 is IPv4.
const BPFTRACE_FLOWS: &str = "tracepoint:skb:kfree_skb /args->protocol == 0x800/ { \
    $skb = (struct sk_buff *)args->skbaddr; $ip = (struct iphdr *)($skb->head + $skb->network_header); \
    $udp = (struct udphdr *)($skb->head + $skb->transport_header); \
    @[$ip->saddr, $udp->source, $ip->daddr, $udp->dest, $ip->protocol] = count(); }";

impl Target {
    /// All targets, in the order in which they are shown.
    pub const ALL: [Self; 19] = [
        Self::Nothing,
        Self::Empty,
        Self::Stat,
        Self::StatOwners,
        Self::StatFlows,
        Self::Trace,
        Self::TraceAll,
        Self::StatRaw,
        Self::TraceAllRaw,
        Self::NetDmSummary,
        Self::NetDmPacket,
        Self::Both,
        Self::Bpftrace,
        Self::BpftraceOwners,
        Self::BpftraceFlows,
        Self::Perf,
        Self::DropwatchSummary,
        Self::DropwatchPacket,
        Self::Retis,
    ];

    /// The name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Empty => "empty",
            Self::Stat => "stat",
            Self::StatOwners => "stat-owners",
            Self::StatFlows => "stat-flows",
            Self::Trace => "trace",
            Self::TraceAll => "trace-all",
            Self::StatRaw => "stat-raw",
            Self::TraceAllRaw => "trace-all-raw",
            Self::NetDmSummary => "net-dm-summary",
            Self::NetDmPacket => "net-dm-packet",
            Self::Both => "both",
            Self::Bpftrace => "bpftrace",
            Self::BpftraceOwners => "bpftrace-owners",
            Self::BpftraceFlows => "bpftrace-flows",
            Self::Perf => "perf",
            Self::DropwatchSummary => "dropwatch-summary",
            Self::DropwatchPacket => "dropwatch-packet",
            Self::Retis => "retis",
        }
    }

    /// Returns whether the target reports the drops of all network namespaces, which only the drop site distinguishes.
    pub(super) const fn reports_only_drop_sites(self) -> bool {
        matches!(self, Self::NetDmSummary | Self::Both | Self::Bpftrace | Self::BpftraceOwners | Self::DropwatchSummary)
    }

    /// Returns whether the target uses the drop monitor, which knows no network namespaces.
    pub(super) const fn uses_net_dm(self) -> bool {
        matches!(
            self,
            Self::NetDmSummary | Self::NetDmPacket | Self::Both | Self::DropwatchSummary | Self::DropwatchPacket
        )
    }

    /// Returns whether the target ends before it reports the last drops, so that it needs time before the end.
    pub(super) const fn is_late(self) -> bool {
        matches!(self, Self::DropwatchSummary | Self::DropwatchPacket)
    }

    /// The arguments of droptrace's own command.
    fn own_arguments(self) -> &'static str {
        match self {
            Self::StatOwners => "stat --by reason,cgroup --interval 100ms --source ebpf",
            Self::StatFlows => "stat --by flow --interval 100ms --source ebpf",
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

    /// The program of bpftrace; `None` for all other targets.
    const fn bpftrace_program(self) -> Option<&'static str> {
        match self {
            Self::Bpftrace => Some(BPFTRACE),
            Self::BpftraceOwners => Some(BPFTRACE_OWNERS),
            Self::BpftraceFlows => Some(BPFTRACE_FLOWS),
            _ => None,
        }
    }

    /// The command line; `None` if the target is not a program.
    pub(super) fn command(self, snaplen: Option<u32>) -> Option<String> {
        if let Some(program) = self.bpftrace_program() {
            return Some(format!("bpftrace -e '{program}'"));
        }
        let snaplen = snaplen.map_or(String::new(), |snaplen| format!(" --snaplen {snaplen}"));
        Some(match self {
            Self::Nothing | Self::Empty => return None,
            Self::Perf => "perf record -e skb:kfree_skb -a -D -1 --control fifo:CONTROL,ANSWER -o FILE".into(),
            Self::DropwatchSummary => "dropwatch (set alertmode summary, start)".into(),
            Self::DropwatchPacket => "dropwatch (set alertmode packet, start)".into(),
            Self::Retis => "retis collect -c skb-drop".into(),
            own if own.uses_net_dm() => format!("droptrace {}{snaplen} --format json", own.own_arguments()),
            own => format!("droptrace {}{snaplen} --format json --netns NETNS", own.own_arguments()),
        })
    }

    /// The program to start; `None` if the target is not a program. `folder` is for its files, and `netns` is the
    /// network namespace of the load.
    pub(super) fn launch(self, own: &Path, folder: &Path, netns: u32, snaplen: Option<u32>) -> Option<Launch> {
        let (program, arguments, ready): (&str, Vec<OsString>, _) = match self {
            Self::Nothing | Self::Empty => return None,
            Self::Bpftrace | Self::BpftraceOwners | Self::BpftraceFlows => {
                ("bpftrace", words(&["-e", self.bpftrace_program()?]), Ready::HoldsEvent)
            }
            Self::Perf => ("perf", perf(folder), Ready::Acknowledges),
            Self::DropwatchSummary | Self::DropwatchPacket => ("dropwatch", vec![], Ready::MonitorRuns),
            Self::Retis => ("retis", words(&["collect", "-c", "skb-drop"]), Ready::Says("probe(s) loaded")),
            _ => {
                let mut arguments = words(&self.own_arguments().split(' ').collect::<Vec<_>>());
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
            // dropwatch leaves the monitor in the mode that was set; summary is the kernel's default.
            Self::DropwatchPacket => ("set alertmode packet\nstart\n", "set alertmode summary\nexit\n"),
            _ => ("", ""),
        };
        Some(Launch { program: program.into(), arguments, ready, keep: Keep::All, input, farewell })
    }
}

impl ValueEnum for Target {
    fn value_variants<'a>() -> &'a [Self] {
        &Self::ALL
    }

    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.name()))
    }
}

fn words(words: &[&str]) -> Vec<OsString> {
    words.iter().map(OsString::from).collect()
}

/// The names of perf's files in the benchmark's folder.
pub(super) const PERF_DATA: &str = "perf.data";
pub(super) const PERF_CONTROL: &str = "control";
pub(super) const PERF_ANSWER: &str = "answer";

/// The arguments of perf. It starts with its events off, and only its answer shows that they are on.
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
    fn names_are_distinct_and_only_programs_have_commands() {
        let names: std::collections::HashSet<_> = Target::ALL.map(Target::name).into_iter().collect();
        assert_eq!(names.len(), Target::ALL.len());
        for target in Target::ALL {
            let launch = target.launch(Path::new("/own"), Path::new("/folder"), 7, None);
            assert_eq!(launch.is_some(), target.command(None).is_some(), "{target:?}");
        }
    }

    #[test]
    fn only_backends_with_namespaces_get_a_netns_option() {
        let arguments = |target: Target| {
            let launch = target.launch(Path::new("/own"), Path::new("/folder"), 7, Some(64)).unwrap();
            launch.arguments.iter().map(|word| word.to_string_lossy().into_owned()).collect::<Vec<_>>().join(" ")
        };
        assert!(arguments(Target::TraceAll).ends_with("--netns 7 --snaplen 64"));
        assert!(!arguments(Target::NetDmPacket).contains("--netns"));
        assert!(arguments(Target::Perf).contains("--control=fifo:/folder/control,/folder/answer"));
    }
}
