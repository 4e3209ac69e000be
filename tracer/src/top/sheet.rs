//! What the screen shows of a reading: its rows in their order, and the sums of the drops without a row.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::history::{CELLS, Entry, Reading, Trend};
use super::knowledge::Knowledge;
use crate::dimension::Dimensions;
use crate::domain::event::NamedKey;
use crate::domain::identity::Identity;
use crate::domain::total::DropTotal;
use crate::explain::Usual;
use crate::filter::Filter;
use crate::pipeline::group::group_by;

/// The dimensions that name the owner of a packet: one column has the most exact of them.
pub(crate) const WHO: [&str; 4] = ["pod", "container", "unit", "cgroup"];

/// The dimensions of rows, where nothing else is asked for.
pub(crate) fn default_dimensions() -> Dimensions {
    Dimensions::named(&[&["reason", "site", "netns"][..], &WHO].concat())
}

/// The order of rows. Ties fall to the packets, then to the key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Order {
    /// Most drops a second first.
    #[default]
    Rate,
    /// Most drops first.
    Total,
    /// By the names in the columns.
    Name,
}

impl Order {
    /// The order after this one.
    pub(crate) const fn next(self) -> Self {
        match self {
            Self::Rate => Self::Total,
            Self::Total => Self::Name,
            Self::Name => Self::Rate,
        }
    }

    /// The name on the screen.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Rate => "rate",
            Self::Total => "total",
            Self::Name => "name",
        }
    }
}

/// Which rows to show, and how.
#[derive(Clone, Debug)]
pub(crate) struct Look {
    /// The dimensions that drops are grouped by.
    pub(crate) by: Dimensions,
    /// The order of rows.
    pub(crate) order: Order,
    /// Sum up the drops of reasons that healthy hosts often have in one line.
    pub(crate) hides_usual: bool,
    /// Show only drops that match.
    pub(crate) filter: Option<Filter>,
}

/// A row.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// The drops of the row.
    pub(crate) total: DropTotal,
    /// Drops a second; absent where it is unknown.
    pub(crate) rate: Option<f64>,
    /// The rate over time.
    pub(crate) trend: Trend,
    /// Whether healthy hosts have drops of this reason; absent where rows have no reason, or it is not explained.
    pub(crate) usual: Option<Usual>,
    /// Whether all drops of the row belong to sockets.
    pub(crate) has_sockets: bool,
}

impl Row {
    /// Whether drops were counted since the reading before.
    pub(crate) fn is_active(&self) -> bool {
        self.rate.is_none_or(|rate| rate > 0.0)
    }
}

/// Sums of some drops.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sum {
    /// Drops.
    pub(crate) packets: u64,
    /// Drops a second; absent where it is unknown.
    pub(crate) rate: Option<f64>,
}

impl Sum {
    fn add(&mut self, packets: u64, rate: Option<f64>) {
        self.packets += packets;
        self.rate = match (self.rate, rate) {
            (Some(sum), Some(rate)) => Some(sum + rate),
            (sum, rate) => sum.or(rate),
        };
    }
}

/// The rows, and the sums of what has no row: together all packets that were counted.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sheet {
    /// The rows in their order.
    pub(crate) rows: Vec<Row>,
    /// Drops of usual reasons that are hidden.
    pub(crate) usual: Sum,
    /// Drops that the filter of the screen leaves out.
    pub(crate) filtered: Sum,
    /// Drops without a drop site.
    pub(crate) overflow: Sum,
    /// All drops.
    pub(crate) total: Sum,
}

impl Sheet {
    /// The sheet of a reading.
    pub(crate) fn of(reading: &Reading, look: &Look, knowledge: &Knowledge) -> Self {
        let mut sheet = Self::default();
        let mut kept = Vec::new();
        for entry in reading.entries.iter().filter(|entry| entry.total.packets > 0) {
            let (packets, rate) = (entry.total.packets, entry.rate);
            sheet.total.add(packets, rate);
            let matches = look.filter.as_ref().is_none_or(|filter| knowledge.matches(filter, &entry.total.key));
            if !matches {
                sheet.filtered.add(packets, rate);
            } else if look.hides_usual && knowledge.is_usual(&entry.total.key) {
                sheet.usual.add(packets, rate);
            } else {
                kept.push(entry);
            }
        }
        sheet.overflow.add(reading.overflow, reading.overflow_rate);
        sheet.total.add(reading.overflow, reading.overflow_rate);
        sheet.rows = rows(&kept, look, knowledge);
        sheet
    }
}

/// The key with its values in the dimensions of the rows. The control group of an owner with a better name is left out,
/// because the column shows one name.
pub(crate) fn reduced(by: &Dimensions, key: &NamedKey) -> NamedKey {
    by.reduce(&without_second_name(by, key))
}

fn without_second_name(by: &Dimensions, key: &NamedKey) -> NamedKey {
    let mut key = key.clone();
    let has_name = key.owner.pod.is_some() || key.owner.container.is_some() || key.owner.unit.is_some();
    if has_name && WHO.iter().all(|name| by.contains(name)) {
        key.cgroup_id = 0;
        Arc::make_mut(&mut key.owner).cgroup = None;
    }
    key
}

/// What rows have beside their totals.
struct Growth {
    rate: Option<f64>,
    trend: Trend,
    has_sockets: bool,
}

fn rows(entries: &[&Entry], look: &Look, knowledge: &Knowledge) -> Vec<Row> {
    let (mut totals, mut growth) = (Vec::with_capacity(entries.len()), HashMap::<_, Growth, RandomState>::default());
    for entry in entries {
        let key = without_second_name(&look.by, &entry.total.key);
        let of_row = growth.entry(Identity::from(&look.by.reduce(&key)));
        of_row.and_modify(|growth| growth.add(entry)).or_insert_with(|| Growth::of(entry));
        totals.push(entry.total.with_key(Arc::new(key)));
    }
    let has_reason = look.by.contains("reason");
    let row = |total: DropTotal| {
        let Growth { rate, trend, has_sockets } = growth.remove(&Identity::from(&*total.key)).unwrap_or_default();
        let usual = if has_reason { knowledge.usual(&total.key) } else { None };
        Row { total, rate, trend, usual, has_sockets }
    };
    let mut rows: Vec<Row> = group_by(&totals, &look.by).into_iter().map(row).collect();
    sort(&mut rows, look);
    rows
}

impl Default for Growth {
    fn default() -> Self {
        Self { rate: None, trend: [0.0; CELLS], has_sockets: false }
    }
}

impl Growth {
    fn of(entry: &Entry) -> Self {
        Self { rate: entry.rate, trend: entry.trend, has_sockets: entry.total.key.socket.is_some() }
    }

    fn add(&mut self, entry: &Entry) {
        self.rate = self.rate.zip(entry.rate).map(|(sum, rate)| sum + rate);
        self.has_sockets &= entry.total.key.socket.is_some();
        for (sum, rate) in self.trend.iter_mut().zip(entry.trend) {
            *sum += rate;
        }
    }
}

fn sort(rows: &mut [Row], look: &Look) {
    match look.order {
        Order::Rate => rows.sort_by(|a, b| {
            b.rate.unwrap_or_default().total_cmp(&a.rate.unwrap_or_default()).then_with(|| by_total(a, b))
        }),
        Order::Total => rows.sort_by(by_total),
        Order::Name => rows.sort_by_cached_key(|row| {
            let names: Vec<String> =
                look.by.iter().map(|dimension| dimension.value(&row.total.key).into_owned()).collect();
            (names, Reverse(row.total.packets))
        }),
    }
}

fn by_total(a: &Row, b: &Row) -> std::cmp::Ordering {
    let identity = |row: &Row| Identity::from(&*row.total.key);
    b.total.packets.cmp(&a.total.packets).then_with(|| identity(a).cmp(&identity(b)))
}
