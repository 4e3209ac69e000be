//! The order of rows, and how fast each grows.

use std::cmp::{Ordering, Reverse};
use std::collections::HashMap;
use std::time::Duration;

use foldhash::fast::RandomState;

use crate::domain::event::NamedKey;
use crate::domain::identity::Identity;
use crate::domain::report::StatReport;
use crate::domain::total::DropTotal;

/// The shortest time over which a rate is known: three drops within 2 ms are not 1,500 drops a second.
const SHORTEST_SPAN: Duration = Duration::from_millis(100);

/// What rows are ordered by. Ties fall to the packets, then to the key, so that the order is always the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Sort {
    /// Most packets first
    #[default]
    Packets,
    /// Most bytes first
    Bytes,
    /// Most packets a second first
    Rate,
    /// Name of the reason, core reasons first
    Reason,
    /// Name of the kernel's function, rows without one last
    Symbol,
    /// Latest drop first
    Last,
}

/// A row in its order.
#[derive(Clone, Copy, Debug)]
pub struct Rank<'r> {
    /// The row.
    pub total: &'r DropTotal,
    /// Packets a second over the time that [`Ranking::rank`] reports; unknown where that time is too short.
    pub rate: Option<f64>,
}

/// Orders the rows of one report after another, and remembers the last one for the rates.
#[derive(Debug, Default)]
pub struct Ranking {
    sort: Sort,
    packets: HashMap<Identity, u64, RandomState>,
    duration: Duration,
}

impl Ranking {
    /// The first report's rates are those of the whole run.
    pub fn new(sort: Sort) -> Self {
        Self { sort, ..Self::default() }
    }

    /// The rows of packets in order, and the time that the rates are over: since the last report, but for the first and for the
    /// final one, whose rates are over the whole run.
    pub fn rank<'r>(&mut self, report: &'r StatReport) -> (Vec<Rank<'r>>, Duration) {
        let since = if report.is_final { Duration::ZERO } else { self.duration };
        let span = report.duration.saturating_sub(since);
        let (mut ranks, mut now) = (Vec::with_capacity(report.drops.len()), HashMap::default());
        for total in &report.drops {
            let identity = Identity::from(&*total.key);
            if total.key.kind.is_packet() {
                let before = self.packets.get(&identity).filter(|_| !since.is_zero());
                let grown = total.packets.saturating_sub(before.copied().unwrap_or_default());
                ranks.push(Rank { total, rate: per_second(grown, span) });
            }
            now.insert(identity, total.packets);
        }
        ranks.sort_unstable_by(|a, b| compare(self.sort, a, b));
        self.packets = now;
        self.duration = report.duration;
        (ranks, span)
    }
}

/// Packets a second. Over less than `SHORTEST_SPAN` a rate is unknown.
#[expect(clippy::cast_precision_loss, reason = "a rate is no count: 53 bits are plenty")]
pub fn per_second(packets: u64, span: Duration) -> Option<f64> {
    (span >= SHORTEST_SPAN).then(|| packets as f64 / span.as_secs_f64())
}

fn compare(sort: Sort, a: &Rank<'_>, b: &Rank<'_>) -> Ordering {
    let (left, right) = (a.total, b.total);
    let wanted = match sort {
        Sort::Packets => Ordering::Equal,
        Sort::Bytes => right.bytes.cmp(&left.bytes),
        Sort::Rate => b.rate.unwrap_or_default().total_cmp(&a.rate.unwrap_or_default()),
        Sort::Reason => by_reason(&left.key).cmp(&by_reason(&right.key)),
        Sort::Symbol => by_symbol(&left.key).cmp(&by_symbol(&right.key)),
        Sort::Last => right.last_seen.cmp(&left.last_seen),
    };
    wanted
        .then_with(|| right.packets.cmp(&left.packets))
        .then_with(|| Identity::from(&*left.key).cmp(&Identity::from(&*right.key)))
}

fn by_reason(key: &NamedKey) -> impl Ord {
    let reason = &key.reason;
    (&*reason.subsystem != "core", &reason.subsystem, &reason.name)
}

fn by_symbol(key: &NamedKey) -> impl Ord {
    let symbol = key.location.symbol.as_ref();
    (Reverse(symbol.is_some()), symbol.map(|symbol| (&symbol.name, symbol.offset)))
}
