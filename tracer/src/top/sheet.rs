//! What the screen shows of a reading: its rows in their order, and the sums of the drops without a row.

use std::cmp::Reverse;
use std::sync::Arc;

use super::history::{Entry, Reading, Trend};
use super::knowledge::Knowledge;
use crate::dimension::Dimensions;
use crate::domain::event::NamedKey;
use crate::domain::total::DropTotal;
use crate::explain::Usual;
use crate::filter::Filter;
use crate::pipeline::group::{Group, GroupKey, Grouper};

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
#[derive(Debug)]
pub(crate) struct Look {
    /// The groups that are rows.
    pub(crate) grouper: Grouper,
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
    /// What the row is of.
    pub(crate) of: Arc<GroupKey>,
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
    pub(crate) fn of(reading: &Reading, look: &mut Look, knowledge: &Knowledge) -> Self {
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

/// Groups by these dimensions. The control group of an owner with a better name is left out, because the column shows one
/// name.
pub(crate) fn grouper(by: Dimensions) -> Grouper {
    let has_all_names = WHO.iter().all(|name| by.contains(name));
    Grouper::reducing(by, if has_all_names { with_one_name } else { Dimensions::reduce })
}

fn with_one_name(by: &Dimensions, key: &NamedKey) -> NamedKey {
    let mut key = by.reduce(key);
    if key.owner.pod.is_some() || key.owner.container.is_some() || key.owner.unit.is_some() {
        key.cgroup_id = 0;
        Arc::make_mut(&mut key.owner).cgroup = None;
    }
    key
}

fn rows(entries: &[&Entry], look: &mut Look, knowledge: &Knowledge) -> Vec<Row> {
    let totals: Vec<_> = entries.iter().map(|entry| &entry.total).collect();
    let (groups, numbers) = look.grouper.group(&totals);
    let has_reason = look.grouper.by().contains("reason");
    let mut rows: Vec<Option<Row>> = groups.iter().map(|_| None).collect();
    for (entry, number) in entries.iter().zip(numbers) {
        match &mut rows[number] {
            Some(row) => row.add(entry),
            row => *row = Some(Row::of(&groups[number], entry)),
        }
    }
    let mut rows: Vec<Row> = rows.into_iter().flatten().collect();
    for row in rows.iter_mut().filter(|_| has_reason) {
        row.usual = knowledge.usual(&row.total.key);
    }
    sort(&mut rows, look);
    rows
}

impl Row {
    /// The row of a group, with the growth of its first entry.
    fn of(group: &Group, entry: &Entry) -> Self {
        let Entry { total, rate, trend } = entry;
        let Group { of, total: sums } = group.clone();
        Self { of, total: sums, rate: *rate, trend: *trend, usual: None, has_sockets: total.key.socket.is_some() }
    }

    /// Adds the growth of another entry.
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
        Order::Rate => rows.sort_unstable_by(|a, b| {
            b.rate.unwrap_or_default().total_cmp(&a.rate.unwrap_or_default()).then_with(|| by_total(a, b))
        }),
        Order::Total => rows.sort_unstable_by(by_total),
        Order::Name => rows.sort_by_cached_key(|row| {
            let dimensions = look.grouper.by().iter();
            let names: Vec<String> = dimensions.map(|dimension| dimension.value(&row.total.key).into_owned()).collect();
            (names, Reverse(row.total.packets))
        }),
    }
}

fn by_total(a: &Row, b: &Row) -> std::cmp::Ordering {
    b.total.packets.cmp(&a.total.packets).then_with(|| a.of.identity.cmp(&b.of.identity))
}
