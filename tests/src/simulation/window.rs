//! The counts of a window.

use rand::RngExt as _;

use super::draw::{count, gamma, mean_one, stream};
use super::levels::shares_segment;
use super::parameters::{CAMPAIGN_APART, FAULT_SHAPE, Family, SEGMENT_SHAPE, SERIES};
use super::{Basis, Change, Simulation};

/// The random factors of a window that hosts share, with the mean 1.
pub(super) struct Factors {
    /// The number of days before the window.
    pub(super) day: usize,
    /// Another number gives another window of the same fleet.
    redraw: u64,
    /// By zone and series.
    zones: Vec<Vec<f64>>,
    /// By rack and series.
    racks: Vec<Vec<f64>>,
}

impl Factors {
    pub(super) fn new(basis: &Basis, day: usize, redraw: u64) -> Self {
        let Basis { profile, seed, series, .. } = basis;
        let draws = |purpose, number| stream(*seed, &[purpose, number, day as u64, redraw]);
        let mut of_day = draws(0x0064_6179, 0);
        let days: Vec<_> = series.iter().map(|_| mean_one(profile.series_day_apart, &mut of_day)).collect();
        let zone = |number| {
            let mut draws = draws(0x7a6f_6e65, number);
            let apart = series.iter().map(|it| if it.family == Family::Scan { CAMPAIGN_APART } else { 0.0 });
            apart.zip(&days).map(|(apart, day)| day * mean_one(apart, &mut draws)).collect()
        };
        let rack = |number| {
            let mut draws = draws(0x7365_676d, number);
            let factor = |it| if shares_segment(it) { gamma(SEGMENT_SHAPE, &mut draws) } else { 1.0 };
            series.iter().map(factor).collect()
        };
        let racks = basis.hosts.last().map_or(0, |host| host.rack as u64 + 1);
        Self {
            day,
            redraw,
            zones: (0..profile.zones.len() as u64).map(zone).collect(),
            racks: (0..racks).map(rack).collect(),
        }
    }
}

/// The drops of a host in a window.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Window {
    /// Series and counts, none of which is 0, by series.
    pub(super) counts: Vec<(usize, u64)>,
    /// The host's parts of faults.
    pub(super) parts: Vec<Part>,
}

/// A host's part of a fault.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Part {
    /// Index of the fault.
    pub(super) fault: usize,
    pub(super) usual: f64,
    pub(super) expected: f64,
    /// Drops of the fault's series.
    pub(super) drawn: u64,
}

impl Simulation {
    /// The counts of a host; `None` if it does not report.
    pub(super) fn draw(&self, host: usize, factors: &Factors) -> Option<Window> {
        if !self.basis.hosts[host].reports[factors.day] {
            return None;
        }
        let usual = self.basis.usual(host, factors.day, &self.deployments);
        let mut counts = self.basis.counts(host, &usual, factors);
        let parts = if factors.day == 0 { self.add_faults(host, &usual, factors, &mut counts) } else { Vec::new() };
        let counts = counts.into_iter().enumerate().filter(|(_, count)| *count > 0).collect();
        Some(Window { counts, parts })
    }

    /// Adds the excess of the faults, whose draws are apart from those of the usual counts.
    fn add_faults(&self, number: usize, usual: &[f64], factors: &Factors, counts: &mut [u64]) -> Vec<Part> {
        let Basis { series, hosts, seed, .. } = &self.basis;
        let of_host = self.faults.iter().enumerate().filter(|(_, fault)| fault.has(&hosts[number], number));
        let mut parts = Vec::new();
        for (index, fault) in of_host {
            let usual = usual[fault.series];
            let excess = match fault.change {
                Change::Times(factor) => usual * (factor - 1.0),
                Change::New(expected) => expected,
            };
            if excess > 0.0 {
                let mut draws = stream(*seed, &[0x6578_6365_7373, index as u64, number as u64, factors.redraw]);
                let count = &mut counts[fault.series];
                *count += super::draw::count(excess, series[fault.series].shape.max(FAULT_SHAPE), &mut draws);
                parts.push(Part { fault: index, usual, expected: usual + excess, drawn: *count });
            }
        }
        parts
    }
}

impl Basis {
    /// The usual counts of all series.
    fn counts(&self, number: usize, usual: &[f64], factors: &Factors) -> Vec<u64> {
        let host = &self.hosts[number];
        let (of_zone, of_rack) = (&factors.zones[host.zone], &factors.racks[host.rack]);
        let mut draws = stream(self.seed, &[0x0063_6f75_6e74, number as u64, factors.day as u64, factors.redraw]);
        let of_host = mean_one(self.profile.host_day_apart, &mut draws);
        let mut counts = vec![0; self.series.len()];
        for at in (0..SERIES).filter(|&at| usual[at] > 0.0) {
            let series = &self.series[at];
            if draws.random_bool(series.idle) {
                continue;
            }
            let own = if series.traffic > 0.0 { of_host } else { 1.0 };
            let mean = usual[at] * of_zone[at] * of_rack[at] * own / (1.0 - series.idle);
            counts[at] = count(mean, series.shape, &mut draws);
        }
        counts
    }
}
