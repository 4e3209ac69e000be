//! Findings about hosts that report nothing, and hosts whose counts are too low.

use std::collections::{BTreeMap, HashMap};

use super::build::{Draft, figure, hosts, subject};
use super::view::{View, total};
use crate::finding::{Finding, Kind, Severity};
use crate::model::{Host, HostId};
use crate::number::Amount;

/// A tenth of the fleet without reports is graver than a few hosts.
const MANY: f64 = 0.1;

/// The evidence that hosts of the baseline are silent.
const GONE: &str = "the baseline has the host, and this time span has not";
/// The most causes of silence that are listed.
const REASONS: usize = 3;

/// Finds agents that went silent: those that the input reports as silent, and those of the baseline that are missing
/// now.
pub(super) fn silent(view: &View<'_>) -> Option<Finding> {
    let fleet = view.fleet;
    let reported = fleet.hosts().iter().filter_map(|host| Some((host.name.as_str(), host.silence.as_ref()?.seconds)));
    let is_reported = one_of(fleet.hosts());
    let known = fleet.baseline.iter().flat_map(|baseline| baseline.hosts());
    let gone = known.filter(|host| host.silence.is_none() && !is_reported(host));
    let gone: Vec<_> = gone.map(|host| (host.name.as_str(), None)).collect();
    let all = fleet.hosts().len() + gone.len();
    let subject = subject(reported.chain(gone.iter().copied()), "seconds", view.options.named);
    let silent = subject.count;
    if silent == 0 {
        return None;
    }
    let whys = fleet.hosts().iter().filter_map(|host| Some(host.silence.as_ref()?.why.as_str()));
    let mut whys: Vec<_> = whys.chain((!gone.is_empty()).then_some(GONE)).collect();
    whys.sort_unstable();
    whys.dedup();
    whys.truncate(REASONS);
    let is_many = figure(silent) >= MANY * figure(all);
    let severity = if is_many { Severity::Critical } else { Severity::Warning };
    let draft = Draft::new(Kind::Silent, severity, format!("{} silent", are(silent)))
        .named(subject)
        .evidence("silent", figure(silent), "hosts")
        .evidence("known", figure(all), "hosts")
        .means(&format!("The counts do not contain the drops of these hosts. Evidence: {}.", whys.join("; ")))
        .next(&["systemctl status 'droptrace*'", "journalctl -u 'droptrace*' --since -1h", "droptrace doctor"]);
    Some(draft.done())
}

/// Returns whether a host may be one of these.
fn one_of(hosts: &[Host]) -> impl Fn(&Host) -> bool + '_ {
    let mut by_node: HashMap<&str, Vec<&Host>> = HashMap::new();
    for host in hosts {
        by_node.entry(host.node()).or_default().push(host);
    }
    move |host| by_node.get(host.node()).is_some_and(|known| known.iter().any(|other| other.may_be(host)))
}

fn are(count: usize) -> String {
    if count == 1 { "1 host is".into() } else { format!("{count} hosts are") }
}

/// Finds hosts whose ledger shows loss, cannot know it, or does not agree with the rows.
pub(super) fn ledgers(view: &View<'_>) -> Vec<Finding> {
    lost(view).into_iter().chain(unknown(view)).chain(unbalanced(view)).chain(duplicates(view)).collect()
}

fn lost(view: &View<'_>) -> Option<Finding> {
    let lost: Vec<_> =
        by_id(view).filter_map(|(id, host)| Some((id, host.lost?.float()))).filter(|host| host.1 > 0.0).collect();
    if lost.is_empty() {
        return None;
    }
    let sum: f64 = lost.iter().map(|host| host.1).sum();
    let counted: f64 = view.causes.values().map(|row| total(row)).sum();
    let title = format!("{} lost drops: their counts are too small", hosts(lost.len()));
    let draft = Draft::new(Kind::Loss, Severity::Warning, title)
        .evidence("lost", sum, "packets")
        .evidence("share of all drops", 100.0 * sum / (counted + sum), "%")
        .evidence("hosts that lost some", figure(lost.len()), "hosts")
        .hosts(view, lost.into_iter().map(|(id, lost)| (id, Some(lost))), "packets")
        .means("The ledger of these hosts shows drops that are in no count, neither by reason nor by drop site.")
        .next(&["droptrace doctor", "droptrace stat --duration 10s"]);
    Some(draft.done())
}

/// Makes one finding for each capture backend.
fn unknown(view: &View<'_>) -> Vec<Finding> {
    let mut by_backend: BTreeMap<&str, Vec<HostId>> = BTreeMap::new();
    for (id, host) in by_id(view).filter(|(_, host)| host.lost.is_none() && host.silence.is_none()) {
        by_backend.entry(host.backend.as_deref().unwrap_or("-")).or_default().push(id);
    }
    let finding = |(backend, ids): (&str, Vec<HostId>)| {
        let title = format!("{} with the backend {backend} cannot know how many drops they lost", hosts(ids.len()));
        Draft::new(Kind::LossUnknown, Severity::Notice, title)
            .group(format!("backend={backend}"))
            .evidence("hosts", figure(ids.len()), "hosts")
            .evidence("hosts of the fleet", figure(view.fleet.hosts().len()), "hosts")
            .hosts(view, ids.into_iter().map(|id| (id, None)), "packets")
            .means("This capture backend can lose drops without counting them: the counts are lower bounds.")
            .next(&["droptrace doctor"])
            .done()
    };
    by_backend.into_iter().map(finding).collect()
}

fn unbalanced(view: &View<'_>) -> Option<Finding> {
    let hosts_off: Vec<_> = by_id(view).filter(|(_, host)| host.unbalanced > 0).map(|(id, _)| (id, None)).collect();
    if hosts_off.is_empty() {
        return None;
    }
    let title = format!("rows and ledger of {} do not agree", hosts(hosts_off.len()));
    let draft = Draft::new(Kind::Unbalanced, Severity::Warning, title)
        .evidence("hosts", figure(hosts_off.len()), "hosts")
        .hosts(view, hosts_off, "packets")
        .means("Their data was changed on its way, or droptrace has a fault.")
        .next(&["droptrace snapshot | jq .sources"]);
    Some(draft.done())
}

fn duplicates(view: &View<'_>) -> Option<Finding> {
    let twice: Vec<_> = by_id(view).filter(|(_, host)| host.duplicates > 0).collect();
    if twice.is_empty() {
        return None;
    }
    let snapshots = twice.iter().map(|(_, host)| Amount::from(host.duplicates)).sum::<Amount>();
    let title = format!("snapshots of {} cover a time span that is already counted", hosts(twice.len()));
    let draft = Draft::new(Kind::Duplicate, Severity::Warning, title)
        .evidence("left out", snapshots.float(), "snapshots")
        .hosts(view, twice.into_iter().map(|(id, _)| (id, None)), "packets")
        .means(
            "They are copies of others, or two machines share name and machine id, as clones of one image do: then the drops of \
             one of them are not counted here.",
        )
        .next(&["hostname; cat /etc/machine-id"]);
    Some(draft.done())
}

fn by_id<'f>(view: &View<'f>) -> impl Iterator<Item = (HostId, &'f Host)> {
    view.fleet.ids().zip(view.fleet.hosts())
}
