//! Compares the hosts of one series: each with its own past where the baseline has enough of it, and with its peers
//! otherwise. A series is a reason, a drop site, the sum of all reasons, or one of the kernel's counters.

use std::thread;

use super::fit::{Fit, Residual, Typical};
use super::peers::{Level, Peers};
use super::robust::median;
use super::view::ByHost;
use crate::model::HostId;

/// A host, or a group, that drops as much as before stands out among its peers only from this factor on.
pub(super) const LASTING: f64 = 10.0;

/// What a host is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Basis {
    /// Its own past, and how the pasts of its peers went on.
    Past,
    /// Its own past, in which it had few drops, and peers that had few, too, and have some now.
    Quiet,
    /// Peers, whatever was in the past.
    Peers,
}

const BASES: [Basis; 3] = [Basis::Past, Basis::Quiet, Basis::Peers];

impl Basis {
    /// The standard deviation of the logarithm that is usual.
    const fn usual_deviation(self) -> f64 {
        match self {
            Self::Past => 0.5,
            Self::Quiet | Self::Peers => 1.0,
        }
    }
}

/// A host of a series.
#[derive(Clone, Copy)]
struct Member {
    id: HostId,
    packets: f64,
    /// What its own properties let expect, up to a factor that its peers have in common.
    expected: f64,
    /// The variance of the logarithm of `expected`, of the counts in the baseline and of the host's level.
    uncertain: f64,
    /// How many times less time than usual is known of the host; at least 1. Means over less time vary more.
    short: f64,
    residual: f64,
}

/// A host that may stand out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) series: usize,
    pub(super) basis: Basis,
    pub(super) id: HostId,
    pub(super) packets: f64,
    /// The median count of such hosts.
    pub(super) expected: f64,
    uncertain: f64,
    short: f64,
    pub(super) among: Among,
}

/// The hosts that a host is compared with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Among {
    /// The number of its group in [`super::peers::Groups`]; `None`: all hosts, because the group is too small.
    pub(super) group: Option<usize>,
    /// Hosts that were compared.
    pub(super) hosts: usize,
}

/// A host that stands out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Discovery {
    pub(super) of: Candidate,
    /// Its drops against what is expected, and the bounds within which 95 % of such hosts would have it.
    pub(super) times: f64,
    pub(super) at_least: f64,
    pub(super) at_most: f64,
    /// The probability of so many drops if nothing is wrong.
    pub(super) probability: f64,
    /// The expected share of wrong findings among those that are at least as certain.
    pub(super) q_value: f64,
}

/// The drops of a series.
pub(super) struct Series {
    /// Packets now, each host once, by id.
    pub(super) now: ByHost,
    /// Packets in the past, each present host once, by id.
    pub(super) past: ByHost,
    /// Whether hosts that have more for their other reasons are expected to have more.
    pub(super) level: bool,
    /// Whether hosts are compared with their peers even if their past is known.
    pub(super) peers: bool,
}

/// Comparisons of many series.
#[derive(Default)]
pub(super) struct Comparisons {
    fits: Vec<[Option<Fit>; 3]>,
    candidates: Vec<Candidate>,
    tests: usize,
}

/// Threads that compare.
const THREADS: usize = 2;

impl Comparisons {
    /// Compares so many series, which are made one after another.
    pub(super) fn of(peers: &Peers<'_>, count: usize, series: impl Fn(usize) -> Series + Sync) -> Self {
        let part = count.div_ceil(THREADS).max(1);
        let compare = |first: usize| {
            let mut part_of = Self::default();
            (first..count.min(first + part)).for_each(|at| part_of.add(peers, at, &series(at)));
            part_of
        };
        let parts: Vec<_> = thread::scope(|scope| {
            let threads: Vec<_> = (0..count).step_by(part).map(|first| scope.spawn(move || compare(first))).collect();
            threads.into_iter().filter_map(|thread| thread.join().ok()).collect()
        });
        parts.into_iter().fold(Self::default(), |mut all, part| {
            all.fits.extend(part.fits);
            all.candidates.extend(part.candidates);
            all.tests += part.tests;
            all
        })
    }

    fn add(&mut self, peers: &Peers<'_>, number: usize, series: &Series) {
        let pairs = pairs(peers, series);
        let fits = BASES.map(|basis| {
            if basis == Basis::Peers && !series.peers && !peers.has_unknown_past {
                return None;
            }
            let members = pairs.iter().filter_map(|&pair| member(peers, pair, basis, series.level)).collect();
            self.compare(peers, number, basis, members)
        });
        self.fits.push(fits);
    }

    fn compare(&mut self, peers: &Peers<'_>, series: usize, basis: Basis, mut members: Vec<Member>) -> Option<Fit> {
        if members.len() < peers.min_hosts() {
            return None;
        }
        let among = centre(peers, basis, &mut members);
        explain_by_groups(peers, basis, &mut members);
        let residual = |member: &Member| Residual {
            value: member.residual,
            noise: 1.0 / (member.packets + 1.0) + member.uncertain,
        };
        let fit = Fit::of(&mut members.iter().map(residual).collect::<Vec<_>>())?;
        self.tests += members.len();
        for (member, among) in members.iter().zip(among) {
            let least = least(peers, basis, member).ln().max(fit.usual());
            if member.packets >= peers.view.options.min_host_packets && member.residual >= least {
                let Member { id, packets, uncertain, short, residual, .. } = *member;
                let expected = packets / residual.exp();
                self.candidates.push(Candidate { series, basis, id, packets, expected, uncertain, short, among });
            }
        }
        Some(fit)
    }

    /// The number of tests, and those whose probability is at most `most`.
    pub(super) fn probable(self, most: f64) -> (usize, Vec<Discovery>) {
        let mut discoveries = Vec::new();
        for (at, basis) in BASES.into_iter().enumerate() {
            let fits: Vec<_> = self.fits.iter().filter_map(|fits| fits[at].as_ref()).collect();
            let typical = Typical::of(&fits, basis.usual_deviation(), basis == Basis::Past);
            let of_basis = self.candidates.iter().filter(|candidate| candidate.basis == basis);
            discoveries.extend(of_basis.filter_map(|candidate| {
                let fit = self.fits[candidate.series][at].as_ref()?;
                Discovery::of(candidate, fit, &typical, most)
            }));
        }
        (self.tests, discoveries)
    }
}

impl Discovery {
    fn of(candidate: &Candidate, fit: &Fit, typical: &Typical, most: f64) -> Option<Self> {
        /// Of the normal distribution, 95 % are within so many deviations.
        const WITHIN: f64 = 1.959_963_984_540_054;
        let mut dispersion = typical.dispersion(fit);
        dispersion.deviation = (dispersion.deviation * candidate.short.sqrt()).hypot(candidate.uncertain.sqrt());
        let Candidate { packets, expected, .. } = *candidate;
        let times = packets / expected;
        let spread = (WITHIN * dispersion.deviation.hypot(packets.sqrt().recip())).exp();
        if dispersion.is_usual(packets, expected, most) {
            return None;
        }
        let probability = dispersion.at_least(packets, expected);
        let is_kept = probability <= most && times.is_finite() && (times * spread).is_finite();
        let (at_least, at_most) = (times / spread, times * spread);
        is_kept.then_some(Self { of: *candidate, times, at_least, at_most, probability, q_value: 1.0 })
    }
}

/// A host of a series with its packets, now and in the past.
#[derive(Clone, Copy)]
struct Pair {
    index: usize,
    now: f64,
    past: f64,
}

/// The hosts with drops, now or in the past, by id.
fn pairs(peers: &Peers<'_>, series: &Series) -> Vec<Pair> {
    let (mut now, mut past) = (series.now.iter().peekable(), series.past.iter().peekable());
    let mut pairs = Vec::with_capacity(series.now.len().max(series.past.len()));
    while let Some(id) = [now.peek(), past.peek()].into_iter().flatten().map(|entry| entry.0).min() {
        let of = |row: &mut std::iter::Peekable<std::slice::Iter<'_, (HostId, f64)>>| {
            row.next_if(|entry| entry.0 == id).map_or(0.0, |entry| entry.1)
        };
        let index = id.0 as usize;
        let pair = Pair { index, now: of(&mut now), past: of(&mut past) };
        if peers.seconds[index] > 0.0 {
            pairs.push(pair);
        }
    }
    pairs
}

/// The host as it is compared on a basis; `None` if it is not.
fn member(peers: &Peers<'_>, pair: Pair, basis: Basis, level: bool) -> Option<Member> {
    let Pair { index, now: packets, past } = pair;
    let (id, seconds, seconds_before) = (peers.ids[index], peers.seconds[index], peers.past.seconds[index]);
    let own = peers.past.expected(index, past, seconds);
    let of_past = |before: f64, packets_or_part: f64| {
        let load = if level { peers.loads[index] } else { Level::default() };
        let expected = before * seconds / seconds_before * load.logarithm.exp();
        let short = (peers.usual_seconds / seconds).max(peers.past.usual_seconds / seconds_before).max(1.0);
        let uncertain = before.recip() + load.variance;
        Member { id, packets, expected, uncertain, short, residual: (packets_or_part / expected).ln() }
    };
    match basis {
        Basis::Past => own.map(|_| of_past(past, packets + 0.5)),
        Basis::Quiet if own.is_none() && seconds_before > 0.0 && packets > 0.0 => {
            // One drop more than there were: that there were none says only that there are few.
            let member = of_past(past + 1.0, packets);
            let expected = member.expected.max(1.0);
            Some(Member { expected, residual: (packets / expected).ln(), ..member })
        }
        Basis::Peers if packets > 0.0 => {
            let size = if level { peers.sizes[index] } else { Level::default() };
            let expected = seconds * size.logarithm.exp();
            let short = (peers.usual_seconds / seconds).max(1.0);
            let residual = (packets / expected).ln();
            Some(Member { id, packets, expected, uncertain: size.variance, short, residual })
        }
        Basis::Quiet | Basis::Peers => None,
    }
}

/// The factor from which on a host stands out: among peers a greater one if its past is known, which then is compared, too.
fn least(peers: &Peers<'_>, basis: Basis, member: &Member) -> f64 {
    let is_known = peers.past.seconds[member.id.0 as usize] > 0.0;
    let times = peers.view.options.min_times;
    if basis == Basis::Peers && is_known { times.max(LASTING) } else { times }
}

/// Sets residuals against the median of each host's group, or of all if its group is too small. Returns what each was
/// compared with.
fn centre(peers: &Peers<'_>, basis: Basis, members: &mut [Member]) -> Vec<Among> {
    let mut groups: Vec<Vec<f64>> = vec![Vec::new(); peers.groups.names.len()];
    for member in members.iter() {
        groups[peers.groups.of_host[member.id.0 as usize]].push(member.residual);
    }
    let mut all: Vec<_> = members.iter().map(|member| member.residual).collect();
    let middle = median(&mut all).unwrap_or_default();
    let known: Vec<_> = groups
        .iter_mut()
        .map(|group| (group.len() >= peers.min_hosts()).then(|| (median(group).unwrap_or_default(), group.len())))
        .collect();
    let mut among = Vec::with_capacity(members.len());
    for member in members.iter_mut() {
        let group = peers.groups.of_host[member.id.0 as usize];
        let (middle, hosts) = known[group].unwrap_or((middle, all.len()));
        member.expected *= middle.exp();
        member.residual -= middle;
        // A host with a drop is expected to have one: hosts without any are not compared.
        if basis != Basis::Past && member.expected < 1.0 {
            member.expected = 1.0;
            member.residual = member.packets.ln();
        }
        among.push(Among { group: known[group].map(|_| group), hosts });
    }
    among
}

/// Hosts are expected to drop as much as the other hosts of their rack, image or role, if these drop more than usual:
/// then the group is a finding, and not each host.
fn explain_by_groups(peers: &Peers<'_>, basis: Basis, members: &mut [Member]) {
    let mut shifts = vec![0.0_f64; members.len()];
    for dimension in peers.dimensions.iter().filter(|dimension| basis == Basis::Past || dimension.is_asked_for) {
        let residuals = members.iter().map(|member| (member.id, member.residual));
        for (shift, of_group) in shifts.iter_mut().zip(dimension.shifts(residuals, peers.min_hosts())) {
            *shift = shift.max(of_group);
        }
    }
    for (member, shift) in members.iter_mut().zip(shifts) {
        member.expected *= shift.exp();
        member.residual -= shift;
    }
}
