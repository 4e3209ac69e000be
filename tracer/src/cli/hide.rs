//! Leaves counted drops out of the results, and counts them, so that shown and hidden drops add up to the ledger.

use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::args::HideArgs;
use crate::dimension::Dimensions;
use crate::domain::event::NamedKey;
use crate::domain::report::{HiddenBy, HiddenDrops, StatReport};
use crate::domain::total::DropTotal;
use crate::explain::{Usual, UsualDrops};
use crate::filter::{Filter, Named, View};
use crate::pipeline::group::group_by;

/// Which drops have no row.
pub(super) struct Hide {
    unusual: bool,
    filter: Option<Filter>,
    usual: &'static UsualDrops,
    home_netns: u32,
    /// Single drops that were hidden so far, in the order of [`HiddenBy::ALL`].
    events: [u64; 2],
}

impl Hide {
    /// Takes the options, and the network namespace that `netns self` means; none if nothing is hidden.
    pub(super) fn of(args: &HideArgs, home_netns: u32) -> Result<Option<Self>> {
        if args.used().is_none() {
            return Ok(None);
        }
        let usual = UsualDrops::built_in().context("cannot read the explanations of drop reasons")?;
        let HideArgs { unusual, hide } = args.clone();
        Ok(Some(Self { unusual, filter: hide, usual, home_netns, events: [0; 2] }))
    }

    /// Why a drop is hidden; none if it is shown. Buffers that are not packets of a network are in no row.
    fn why(&self, key: &NamedKey) -> Option<HiddenBy> {
        let matches =
            |filter: &Filter| filter.matches(&View::default(), &Named::of_key(key, self.usual, self.home_netns));
        if !key.kind.is_packet() {
            None
        } else if self.filter.as_ref().is_some_and(matches) {
            Some(HiddenBy::Expression)
        } else {
            let is_usual = self.unusual && self.usual.of_key(key) == Some(Usual::Often);
            is_usual.then_some(HiddenBy::Usual)
        }
    }

    /// Whether a single drop is shown. Counts those that are not.
    pub(super) fn shows(&mut self, key: &Arc<NamedKey>) -> bool {
        let why = self.why(key);
        if let Some(by) = why {
            self.events[usize::from(by == HiddenBy::Expression)] += 1;
        }
        why.is_none()
    }

    /// The single drops that were hidden so far.
    pub(super) fn hidden_events(&self) -> Vec<HiddenDrops> {
        let counted = HiddenBy::ALL.into_iter().zip(self.events).filter(|(_, packets)| *packets > 0);
        counted.map(|(by, packets)| HiddenDrops { by, rows: None, packets, bytes: None }).collect()
    }

    /// Takes the hidden drops out of a report. Rows are those of the dimensions `by`; absent for rows as they are.
    pub(super) fn apply(&self, report: &mut StatReport, by: Option<&Dimensions>) {
        let drops = std::mem::take(&mut report.drops);
        let (mut shown, mut hidden) = (Vec::with_capacity(drops.len()), HiddenBy::ALL.map(|by| (by, Vec::new())));
        for total in drops {
            match self.why(&total.key) {
                None => shown.push(total),
                Some(by) => hidden[usize::from(by == HiddenBy::Expression)].1.push(total),
            }
        }
        report.drops = shown;
        report.hidden = hidden.into_iter().filter_map(|(why, drops)| sum_of(why, &drops, by)).collect();
    }
}

/// The sum of hidden drops; none if there are none.
fn sum_of(why: HiddenBy, drops: &[DropTotal], by: Option<&Dimensions>) -> Option<HiddenDrops> {
    let rows = by.map_or(drops.len(), |by| group_by(drops, by).len());
    (rows > 0).then(|| HiddenDrops {
        by: why,
        rows: Some(rows as u64),
        packets: drops.iter().map(|total| total.packets).sum(),
        bytes: drops.iter().map(|total| total.bytes).sum(),
    })
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::*;
    use crate::sink::samples::{overflow, report, totals_of_two_namespaces};

    #[derive(clap::Parser)]
    struct Line {
        #[command(flatten)]
        hide: HideArgs,
    }

    fn hide(line: &[&str]) -> Option<Hide> {
        let words = std::iter::once("x").chain(line.iter().copied());
        Hide::of(&Line::parse_from(words).hide, 7).unwrap()
    }

    fn packets(report: &StatReport) -> u64 {
        report.drops.iter().map(|total| total.packets).sum()
    }

    #[test]
    fn shown_and_hidden_drops_add_up() {
        let all = report(totals_of_two_namespaces(), overflow());
        assert!(hide(&[]).is_none());
        for line in [&["--unusual"][..], &["--hide", "netns blue"], &["--unusual", "--hide", "reason NO_SOCKET"]] {
            for by in [None, Some("reason"), Some("netns")] {
                let by: Option<Dimensions> = by.map(|by| by.parse().unwrap());
                let mut shown = all.clone();
                hide(line).unwrap().apply(&mut shown, by.as_ref());
                let hidden: u64 = shown.hidden.iter().map(|hidden| hidden.packets).sum();
                assert_eq!(packets(&shown) + hidden, packets(&all), "{line:?}");
                assert!(hidden > 0 && packets(&shown) > 0, "{line:?}");
                assert_eq!(shown.overflow, all.overflow, "drops without a drop site stay");
            }
        }
    }

    #[test]
    fn unusual_hides_what_is_often_and_nothing_else() {
        let mut shown = report(totals_of_two_namespaces(), vec![]);
        hide(&["--unusual"]).unwrap().apply(&mut shown, None);
        let reasons: Vec<_> = shown.drops.iter().map(|total| &*total.key.reason.name).collect();
        assert_eq!(reasons, ["SOCKET_RCVBUFF", "OVS_DROP_EXPLICIT_WITH_ERROR", "NOT_SPECIFIED"]);
        let hidden = &shown.hidden[..];
        assert!(
            matches!(hidden, [HiddenDrops { by: HiddenBy::Usual, rows: Some(4), packets: 4_270, .. }]),
            "{hidden:?}"
        );
    }

    #[test]
    fn single_drops_are_counted() {
        let mut hide = hide(&["--unusual", "--hide", "netns blue"]).unwrap();
        let shown: Vec<_> = totals_of_two_namespaces().iter().map(|total| hide.shows(&total.key)).collect();
        assert_eq!(shown, [true, false, true, false, true, false, false]);
        let counts: Vec<_> = hide.hidden_events().iter().map(|hidden| (hidden.by, hidden.packets)).collect();
        assert_eq!(counts, [(HiddenBy::Usual, 3), (HiddenBy::Expression, 1)]);
    }
}
