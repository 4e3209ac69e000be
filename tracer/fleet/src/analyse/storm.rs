//! Findings of many drops in a short time at keys that are otherwise quiet.

use std::collections::{BTreeMap, HashMap};

use super::build::{Draft, figure, hosts};
use super::view::{Cause, View};
use crate::finding::{Finding, Kind, Severity};
use crate::model::{Burst, HostId, KeyId};

/// A storm has this many times the mean rate of its aggregation key and host.
const TIMES: f64 = 5.0;

/// Makes one finding for each reason.
pub(super) fn storms(view: &View<'_>) -> Vec<Finding> {
    let means = means(view);
    let is_storm = |burst: &&Burst| {
        let mean = means.get(&(burst.host, burst.key)).copied().flatten().unwrap_or_default();
        burst.rate.is_finite()
            && burst.rate >= view.options.storm_rate
            && burst.rate * burst.seconds >= view.options.min_packets
            && burst.rate >= TIMES * mean
    };
    let mut storms: BTreeMap<Cause<'_>, BTreeMap<HostId, Burst>> = BTreeMap::new();
    for burst in view.fleet.bursts.iter().filter(is_storm) {
        let cause = Cause::of(view.fleet.resolve(burst.key));
        let highest = storms.entry(cause).or_default().entry(burst.host).or_insert(*burst);
        if burst.rate > highest.rate {
            *highest = *burst;
        }
    }
    storms.iter().filter_map(|(cause, bursts)| finding(view, *cause, bursts, &means)).collect()
}

type Means = HashMap<(HostId, KeyId), Option<f64>>;

/// Mean rates of the keys that have bursts.
fn means(view: &View<'_>) -> Means {
    let mut sums: HashMap<_, f64> = view.fleet.bursts.iter().map(|burst| ((burst.host, burst.key), 0.0)).collect();
    if sums.is_empty() {
        return Means::new();
    }
    for count in view.fleet.counts() {
        if let Some(sum) = sums.get_mut(&(count.host, count.key)) {
            *sum += count.packets.float();
        }
    }
    sums.into_iter().map(|(key, packets)| (key, view.rate(key.0, packets))).collect()
}

fn finding(view: &View<'_>, cause: Cause<'_>, bursts: &BTreeMap<HostId, Burst>, means: &Means) -> Option<Finding> {
    let name = |id: HostId| view.host(id).name.as_str();
    let highest = bursts.values().max_by(|one, other| {
        // Of equal rates, the first by name is chosen.
        one.rate.total_cmp(&other.rate).then_with(|| name(other.host).cmp(name(one.host)))
    })?;
    let title =
        format!("storms of {} on {}, up to {:.0} packets a second", cause.name(), hosts(bursts.len()), highest.rate);
    let mut draft = Draft::new(Kind::Storm, Severity::Warning, title)
        .cause(view, cause)
        .symbol(view.fleet.resolve(highest.key).symbol)
        .hosts(view, bursts.iter().map(|(&id, burst)| (id, Some(burst.rate))), "packets/s")
        .evidence("highest rate", highest.rate, "packets/s")
        .evidence("for", highest.seconds, "seconds")
        .evidence("hosts with storms", figure(bursts.len()), "hosts");
    if let Some(mean) = means.get(&(highest.host, highest.key)).copied().flatten() {
        draft = draft.evidence("mean there over the whole time", mean, "packets/s");
    }
    if let Some(at) = highest.at {
        #[expect(clippy::cast_precision_loss, reason = "microseconds are fine enough")]
        let seconds = at.0 as f64 / 1e9;
        draft = draft.evidence("began", seconds, "unix_seconds");
    }
    Some(draft.done())
}
