//! Findings of hosts that drop far more than similar hosts.
//!
//! Rates of hosts are heavy-tailed: it is usual that a few hosts drop much more than most. On a logarithmic scale the
//! rates are about normal. Hosts are therefore compared on this scale, by median and median absolute deviation, which
//! outliers do not change. Only hosts that have drops with the reason are compared.

use std::collections::{HashMap, HashSet};

use super::build::{Draft, figure, hosts};
use super::robust::Robust;
use super::view::{ByHost, Cause, View, per_host, sums};
use super::{By, Options};
use crate::finding::{Finding, Kind, Severity};
use crate::model::{HostId, Place};

/// The hosts that were found, by the reason by which they stand out.
pub(super) type Found<'f> = HashMap<Cause<'f>, HashSet<HostId>>;

/// The reason and class by which hosts are compared.
type Slice<'f> = (Cause<'f>, Option<&'f str>);

/// Findings, and the hosts that they name.
pub(super) fn outliers<'f>(view: &View<'f>) -> (Vec<Finding>, Found<'f>) {
    let groups = Groups::of(view);
    let by_class = view.options.by.contains(&By::Class);
    let slices = sums(view.fleet, |place: Place<'f>| Some((Cause::of(place), place.class.filter(|_| by_class))));
    let (mut findings, mut found) = (Vec::new(), Found::new());
    for (slice, row) in &slices {
        for group in groups.compare(view, row) {
            found.entry(slice.0).or_default().extend(group.hosts.iter().map(|host| host.id));
            findings.push(group.finding(view, *slice));
        }
    }
    findings.extend(by_all_reasons(view, &groups, &found));
    (findings, found)
}

/// Finds hosts that stand out by the sum of all their reasons, and by none of the common reasons.
fn by_all_reasons(view: &View<'_>, groups: &Groups, found: &Found<'_>) -> Vec<Finding> {
    let told: HashSet<_> = found.values().flatten().copied().collect();
    let row: Vec<_> = per_host(&view.causes).into_iter().collect();
    let mut outliers = groups.compare(view, &row);
    for group in &mut outliers {
        group.hosts.retain(|host| !told.contains(&host.id));
    }
    outliers.retain(|group| !group.hosts.is_empty());
    outliers.into_iter().map(|group| group.finding_by_all(view)).collect()
}

/// The groups within which hosts are compared.
pub(super) struct Groups {
    names: Vec<String>,
    of_host: Vec<usize>,
}

#[derive(Clone, Copy)]
struct Member {
    id: HostId,
    packets: f64,
    a_second: f64,
}

/// The hosts of a group that stand out.
pub(super) struct Outliers {
    group: String,
    compared: usize,
    robust: Robust,
    hosts: Vec<Member>,
}

impl Groups {
    pub(super) fn of(view: &View<'_>) -> Self {
        let all: Vec<_> = view.fleet.ids().map(|id| view.group(id)).collect();
        let mut names = all.clone();
        names.sort_unstable();
        names.dedup();
        let of_host = all.iter().map(|name| names.binary_search(name).unwrap_or_default()).collect();
        Self { names, of_host }
    }

    /// Compares each host with its group, or with all hosts if the group is too small.
    pub(super) fn compare(&self, view: &View<'_>, row: &[(HostId, f64)]) -> Vec<Outliers> {
        let rate = |&(id, packets): &(HostId, f64)| Some(Member { id, packets, a_second: view.rate(id, packets)? });
        let rates: Vec<_> = row.iter().filter_map(rate).collect();
        let mut groups: Vec<Vec<Member>> = vec![Vec::new(); self.names.len()];
        for &rate in &rates {
            groups[self.of_host[rate.id.0 as usize]].push(rate);
        }
        let (mut found, mut left_over) = (Vec::new(), Vec::new());
        for (name, members) in self.names.iter().zip(groups) {
            if members.len() < view.options.min_hosts {
                left_over.extend(members);
            } else {
                found.extend(Outliers::among(view.options, name, &members, &members));
            }
        }
        if rates.len() >= view.options.min_hosts {
            found.extend(Outliers::among(view.options, "", &left_over, &rates));
        }
        found
    }
}

impl Outliers {
    fn among(options: &Options, group: &str, members: &[Member], peers: &[Member]) -> Option<Self> {
        let mut logarithms: Vec<_> = peers.iter().map(|peer| peer.a_second.ln()).collect();
        let robust = Robust::of(&mut logarithms)?;
        let stands_out = |member: &&Member| {
            member.packets >= options.min_packets && robust.score(member.a_second.ln()) >= options.deviations
        };
        let hosts: Vec<_> = members.iter().filter(stands_out).copied().collect();
        let is_some = !hosts.is_empty();
        is_some.then(|| Self { group: group.to_owned(), compared: peers.len(), robust, hosts })
    }

    fn finding(&self, view: &View<'_>, (cause, class): Slice<'_>) -> Finding {
        let at = class.map_or_else(String::new, |class| format!(" at {class} interfaces"));
        let title = format!("{} {} far more for {}{at} than {}", self.who(), self.verb(), cause.name(), self.others());
        self.draft(view, title).cause(view, cause).done()
    }

    /// Makes the finding for all reasons together. It names the most frequent reason of the first host.
    fn finding_by_all(&self, view: &View<'_>) -> Finding {
        let first = self.hosts.iter().max_by(|one, other| one.a_second.total_cmp(&other.a_second));
        let of = |row: &ByHost| {
            let id = first?.id;
            row.iter().find(|entry| entry.0 == id).map(|entry| entry.1)
        };
        let reasons = view.causes.iter().filter(|(cause, _)| !cause.netlink);
        let told = reasons.filter_map(|(cause, row)| Some((cause, of(row)?)));
        let foremost = told.max_by(|one, other| one.1.total_cmp(&other.1)).map(|(cause, _)| *cause);
        let mostly = foremost.map_or_else(String::new, |cause| format!(", mostly for {}", cause.name()));
        let title = format!("{} {} far more than {}{mostly}", self.who(), self.verb(), self.others());
        let draft = self.draft(view, title);
        match foremost {
            Some(cause) => draft.cause(view, cause).done(),
            None => draft.done(),
        }
    }

    /// Makes the finding for losses outside `kfree_skb` by one counter.
    pub(super) fn finding_by_counter(&self, view: &View<'_>, counter: &str) -> Finding {
        let verb = if self.hosts.len() == 1 { "loses" } else { "lose" };
        let title = format!("{} {verb} far more outside kfree_skb than {}: {counter}", self.who(), self.others());
        self.figures(Draft::new(Kind::Outside, Severity::Warning, title), view, "lost there")
            .counter(view, counter)
            .done()
    }

    fn draft(&self, view: &View<'_>, title: String) -> Draft {
        self.figures(Draft::new(Kind::Outlier, Severity::Warning, title), view, "dropped there")
    }

    /// Adds the hosts and the evidence; `sum` names the packets of these hosts.
    fn figures(&self, draft: Draft, view: &View<'_>, sum: &'static str) -> Draft {
        let most = self.hosts.iter().map(|host| host.a_second).fold(0.0, f64::max);
        let median = self.robust.median.exp();
        draft
            .group(self.group.clone())
            .hosts(view, self.hosts.iter().map(|host| (host.id, Some(host.a_second))), "packets/s")
            .evidence("most", most, "packets/s")
            .evidence("median of those compared", median, "packets/s")
            .evidence("most against the median", most / median, "times")
            .evidence("distance from the median", self.robust.score(most.ln()), "deviations")
            .evidence("compared", figure(self.compared), "hosts")
            .evidence(sum, self.hosts.iter().map(|host| host.packets).sum(), "packets")
    }

    fn who(&self) -> String {
        hosts(self.hosts.len())
    }

    fn verb(&self) -> &'static str {
        if self.hosts.len() == 1 { "drops" } else { "drop" }
    }

    fn others(&self) -> String {
        if self.group.is_empty() { "others".into() } else { format!("others with {}", self.group) }
    }
}
