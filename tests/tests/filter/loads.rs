//! The verifier accepts every filter that the language has, also long ones.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use droptrace_base::filter::Filter;
use droptrace_base::filter::code::MAX_OPS;
use libtest_mimic::Trial;
use rand::{RngExt, SeedableRng};
use rand_xorshift::XorShiftRng;
use tests::kernel;
use tests::trials::{Unable, trial_as_root};
use tracer::backend::ebpf::{EbpfSource, Mode, Options};
use tracer::kernel::btf::KernelBtf;
use tracer::kernel::symbols::Functions;

/// Conditions of all kinds.
const CONDITIONS: [&str; 44] = [
    "ip",
    "ip6",
    "arp",
    "tcp",
    "udp",
    "icmp",
    "icmp6",
    "sctp",
    "host 10.0.0.1",
    "src host 10.0.0.1",
    "dst net 10.0.0.0/8",
    "host fd00::1",
    "net fd00::/16",
    "port 53",
    "tcp dst port 443",
    "udp src port 53",
    "portrange 1000-2000",
    "src portrange 5-6",
    "ether host 02:00:00:00:00:01",
    "ether broadcast",
    "ip multicast",
    "ip proto 47",
    "ip6 proto 58",
    "less 100",
    "greater 1000",
    "len - 14 > 60",
    "vlan",
    "vlan 7",
    "ip[8] > 5",
    "ip[2:2] - ((ip[0] & 0xf) << 2) > 8",
    "tcp[tcpflags] & (tcp-syn | tcp-fin) != 0",
    "udp[4:2] = 9",
    "icmp[icmptype] = icmp-echo",
    "ip6[6] = 17",
    "ether[0] & 1 = 1",
    "ip[ip[0] % 40] / ip[9] = len >> (ip[1] & 7)",
    "reason NO_SOCKET",
    "reason TCP_*",
    "site tcp_*",
    "netns self",
    "iface lo",
    "iface 1",
    "cgroup /*",
    "usual",
];

/// A test in one attach mode.
type Test = fn(Mode) -> Result<()>;

pub(crate) fn trials() -> Vec<Trial> {
    let tests: [(&str, Test); 3] = [
        ("every_condition_loads", every_condition_loads),
        ("random_filters_load", random_filters_load),
        ("long_filters_load", long_filters_load),
    ];
    let of_mode = |(mode, name): (Mode, &'static str)| {
        tests.map(|(test, run)| {
            trial_as_root(&format!("{test}_by_{name}"), move || {
                let is_allowed = mode == Mode::TpBtf || !kernel::is_confidential();
                ensure!(is_allowed, Unable("this kernel is locked down".to_owned()));
                run(mode)
            })
        })
    };
    [(Mode::TpBtf, "tp_btf"), (Mode::RawTracepoint, "raw_tracepoint")].into_iter().flat_map(of_mode).collect()
}

fn every_condition_loads(mode: Mode) -> Result<()> {
    let kernel = KernelBtf::load()?;
    CONDITIONS.into_iter().try_for_each(|condition| loads(condition, mode, &kernel))
}

fn random_filters_load(mode: Mode) -> Result<()> {
    /// Filters, and the most conditions of one.
    const FILTERS: usize = 60;
    const MOST: usize = 24;
    let kernel = KernelBtf::load()?;
    let mut random = XorShiftRng::seed_from_u64(7);
    for _ in 0..FILTERS {
        let conditions = random.random_range(2..=MOST);
        loads(&expression(&mut random, conditions), mode, &kernel)?;
    }
    Ok(())
}

/// A random filter of so many conditions.
fn expression(random: &mut XorShiftRng, conditions: usize) -> String {
    if conditions == 1 {
        let condition = CONDITIONS[random.random_range(0..CONDITIONS.len())];
        let not = if random.random_range(0..4) == 0 { "not " } else { "" };
        return format!("{not}({condition})");
    }
    let left = random.random_range(1..conditions);
    let word = if random.random_range(0..2) == 0 { "and" } else { "or" };
    format!("({}) {word} ({})", expression(random, left), expression(random, conditions - left))
}

/// Lists of so many addresses or ports that the code is as long as it may be.
fn long_filters_load(mode: Mode) -> Result<()> {
    let kernel = KernelBtf::load()?;
    let host = |number: usize| format!("host 10.1.{}.{}", number >> 8, number & 0xff);
    let port = |number: usize| format!("port {}", number + 1);
    let relation = |number: usize| format!("ip[{} + (ip[0] & 0xf)] > {number}", number % 40);
    let filters: [&dyn Fn(usize) -> String; 3] = [&host, &port, &relation];
    for filter in filters {
        for word in [" or ", " and "] {
            let joined = |conditions: usize| (0..conditions).map(filter).collect::<Vec<_>>().join(word);
            let most = longest(|conditions| Filter::parse(&joined(conditions)).is_ok());
            loads(&joined(most), mode, &kernel)?;
        }
    }
    Ok(())
}

/// The largest number that fits, up to the most instructions.
fn longest(fits: impl Fn(usize) -> bool) -> usize {
    let (mut fitting, mut end) = (1, MAX_OPS);
    while end - fitting > 1 {
        let middle = fitting.midpoint(end);
        if fits(middle) { fitting = middle } else { end = middle }
    }
    fitting
}

fn loads(text: &str, mode: Mode, kernel: &KernelBtf) -> Result<()> {
    let shown = || text.chars().take(300).collect::<String>();
    let filter = Filter::parse(text).map_err(|error| anyhow::anyhow!("{error}")).with_context(shown)?;
    let options = Options { filter: Some(Arc::new(filter)), ..Options::least(mode, !kernel::is_confidential()) };
    let (mut source, _) = EbpfSource::start(&options, kernel, &Functions::default()).with_context(shown)?;
    ensure!(source.mode() == mode, "another mode");
    source.detach().with_context(shown)
}
