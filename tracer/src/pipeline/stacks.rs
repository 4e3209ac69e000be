//! Adds up the call stacks of sampled drops.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use crate::domain::event::{DropEvent, Location, Reason};
use crate::domain::stack::{SampledStack, SampledStacks};
use crate::domain::total::DropTotal;

/// A drop site and a drop reason.
type SiteReason = (Arc<Location>, Arc<Reason>);

/// The stacks of sampled drops, by drop site and reason.
#[derive(Default)]
pub(crate) struct Stacks {
    sites: HashMap<SiteReason, SiteStacks, RandomState>,
    kept: usize,
}

#[derive(Default)]
struct SiteStacks {
    sampled: u64,
    stacks: HashMap<Arc<[Arc<Location>]>, u64, RandomState>,
}

impl Stacks {
    /// Different stacks that are kept; samples of further ones count at their drop site only.
    pub(crate) const MOST: usize = 16_384;

    /// Adds a sampled drop.
    pub(crate) fn add(&mut self, event: &DropEvent<'_>) {
        let site = (Arc::clone(&event.key.location), Arc::clone(&event.key.reason));
        let of_site = self.sites.entry(site).or_default();
        of_site.sampled += 1;
        match of_site.stacks.get_mut(event.stack) {
            Some(samples) => *samples += 1,
            None if event.stack.is_empty() || self.kept == Self::MOST => {}
            None => {
                of_site.stacks.insert(event.stack.into(), 1);
                self.kept += 1;
            }
        }
    }

    /// All stacks. Drop sites with the most drops come first; `drops` are the counted drops.
    pub(crate) fn report(&self, drops: &[DropTotal]) -> Vec<SampledStacks> {
        let mut counted = HashMap::<(&Arc<Location>, &Arc<Reason>), u64, RandomState>::default();
        for total in drops {
            *counted.entry((&total.key.location, &total.key.reason)).or_default() += total.packets;
        }
        let of_site = |((location, reason), of_site): (&SiteReason, &SiteStacks)| SampledStacks {
            reason: Arc::clone(reason),
            location: Arc::clone(location),
            drops: counted.get(&(location, reason)).copied().unwrap_or_default(),
            sampled: of_site.sampled,
            stacks: of_site.most_sampled_first(),
        };
        let mut sites: Vec<_> = self.sites.iter().map(of_site).collect();
        sites.sort_by(|one, other| {
            let by_drops = other.drops.cmp(&one.drops).then(other.sampled.cmp(&one.sampled));
            by_drops.then(one.location.address.cmp(&other.location.address))
        });
        sites
    }
}

impl SiteStacks {
    fn most_sampled_first(&self) -> Vec<SampledStack> {
        let stack = |(functions, samples): (&Arc<_>, &u64)| SampledStack {
            functions: Arc::clone(functions),
            samples: *samples,
        };
        let mut stacks: Vec<_> = self.stacks.iter().map(stack).collect();
        stacks.sort_by(|one, other| {
            let addresses =
                |stack: &SampledStack| stack.functions.iter().map(|function| function.address).collect::<Vec<_>>();
            other.samples.cmp(&one.samples).then_with(|| addresses(one).cmp(&addresses(other)))
        });
        stacks
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::event::{NamedKey, PacketStart, Timestamp};
    use crate::domain::facts::Facts;

    fn function(address: u64) -> Arc<Location> {
        Location { address, symbol: None, trap_group: None }.into()
    }

    fn add(stacks: &mut Stacks, key: &Arc<NamedKey>, stack: &[Arc<Location>], times: u64) {
        for _ in 0..times {
            stacks.add(&DropEvent {
                timestamp: Timestamp(0),
                key,
                seen_by: &[],
                length: 0,
                start: PacketStart::Nothing,
                bytes: &[],
                facts: Facts::default(),
                process: None,
                stack,
            });
        }
    }

    #[test]
    fn stacks_are_counted_by_site_and_reason() {
        let here = Arc::new(NamedKey { location: function(1), ..NamedKey::default() });
        let there = Arc::new(NamedKey { location: function(9), ..NamedKey::default() });
        let mut stacks = Stacks::default();
        add(&mut stacks, &here, &[function(1), function(2)], 3);
        add(&mut stacks, &here, &[function(1), function(3)], 5);
        add(&mut stacks, &here, &[], 2);
        add(&mut stacks, &there, &[function(9)], 1);
        let total = |key: &Arc<NamedKey>, packets| DropTotal {
            key: Arc::clone(key),
            packets,
            bytes: None,
            first_seen: Timestamp(0),
            last_seen: Timestamp(0),
            seen_by: &[],
            more: 0,
        };
        let report = stacks.report(&[total(&here, 1_000), total(&here, 24), total(&there, 7)]);
        let sums: Vec<_> = report.iter().map(|site| (site.drops, site.sampled)).collect();
        assert_eq!(sums, [(1_024, 10), (7, 1)]);
        let samples: Vec<_> =
            report[0].stacks.iter().map(|stack| (stack.samples, stack.functions[1].address)).collect();
        assert_eq!(samples, [(5, 3), (3, 2)]);
    }

    #[test]
    fn further_stacks_count_without_being_kept() {
        let here = Arc::default();
        let mut stacks = Stacks::default();
        for address in 0..Stacks::MOST as u64 + 5 {
            add(&mut stacks, &here, &[function(address)], 1);
        }
        let report = stacks.report(&[]);
        assert_eq!((report[0].sampled, report[0].stacks.len()), (Stacks::MOST as u64 + 5, Stacks::MOST));
    }
}
