//! The usual drops of hosts: the mean of each count, which host, rack, role, kernel, time and restarts determine.

use std::f64::consts::TAU;

use rand::RngExt as _;

use super::catalogue::{PHYSICAL, Series};
use super::draw::{apart, stream};
use super::hosts::Host;
use super::parameters::{BOOT_EXCESS, BOOT_SECONDS, Family, HOUR, PEAK_HOUR, Profile, WEEKEND, WEEKEND_LOSS, WINDOW};

/// Factors of all series for each role, rack and kernel; 0: no such drops there.
#[derive(Debug)]
pub(super) struct Tables {
    roles: Vec<Vec<f64>>,
    racks: Vec<Vec<f64>>,
    kernels: Vec<Vec<f64>>,
}

impl Tables {
    pub(super) fn new(profile: &Profile, series: &[Series], racks: usize, seed: u64) -> Self {
        let role = |number| of_role(profile, series, seed, number);
        let rack = |number| {
            let mut draws = stream(seed, &[0x6672_616d_6573, number]);
            series
                .iter()
                .map(|it| apart(if shares_segment(it) { profile.racks_apart } else { 0.0 }, &mut draws))
                .collect()
        };
        let kernel = |number| {
            let mut draws = stream(seed, &[0x6b65_726e_656c, number]);
            let mut factor = || {
                let factor = apart(profile.kernels_apart, &mut draws);
                if draws.random_bool(profile.kernel_has) { factor } else { 0.0 }
            };
            series.iter().map(|_| factor()).collect()
        };
        Self {
            roles: (0..profile.roles as u64).map(role).collect(),
            racks: (0..racks as u64).map(rack).collect(),
            kernels: (0..profile.kernels.len() as u64).map(kernel).collect(),
        }
    }
}

fn of_role(profile: &Profile, series: &[Series], seed: u64, role: u64) -> Vec<f64> {
    let mut draws = stream(seed, &[0x726f_6c65, role]);
    let mut absent: Vec<&str> = series.iter().map(|it| it.class).filter(|class| *class != PHYSICAL).collect();
    absent.sort_unstable();
    absent.dedup();
    absent.retain(|_| !draws.random_bool(profile.role_has_class));
    let mut factor = |it: &Series| {
        let (factor, has_it) = (apart(profile.roles_apart, &mut draws), draws.random_bool(profile.role_has));
        if has_it && !absent.contains(&it.class) { factor } else { 0.0 }
    };
    series.iter().map(&mut factor).collect()
}

/// Whether the hosts of a rack see the same frames.
pub(super) fn shares_segment(series: &Series) -> bool {
    series.family == Family::Noise
}

/// Whether a host without its services has more of these drops.
pub(super) fn grows_at_boot(series: &Series) -> bool {
    series.family == Family::Closed
}

/// Drops a second of each series at the host's full time, which persist over days; 0: the host has no such drops.
pub(super) fn rates(tables: &Tables, series: &[Series], host: &Host, number: usize, seed: u64) -> Vec<f64> {
    let mut draws = stream(seed, &[0x7261_7465, number as u64]);
    let (role, rack, kernel) = (&tables.roles[host.role], &tables.racks[host.rack], &tables.kernels[host.kernel]);
    let rate = |(at, it): (usize, &Series)| {
        let own = apart(it.hosts_apart, &mut draws);
        let has_it = draws.random_bool(it.prevalence);
        let shared = it.rate * role[at] * rack[at] * kernel[at];
        if has_it && shared > 0.0 { shared * own * host.traffic.powf(it.traffic) } else { 0.0 }
    };
    series.iter().enumerate().map(rate).collect()
}

/// The part of a series' rate that the time and a restart determine, times the seconds that the host was up. `day` is
/// the number of days before the window, 0 for the window.
pub(super) fn seconds(profile: &Profile, series: &Series, host: &Host, day: usize) -> f64 {
    let local = HOUR + profile.zones[host.zone].ahead;
    let rhythm = 1.0 + series.rhythm * (TAU * (local - PEAK_HOUR) / 24.0).cos();
    let weekend = if WEEKEND.contains(&day) { 1.0 - WEEKEND_LOSS * series.rhythm } else { 1.0 };
    let uptime = host.facts.uptime.filter(|_| day == 0);
    let boot = uptime.filter(|_| grows_at_boot(series)).map_or(1.0, boot_factor);
    rhythm * weekend * boot * uptime.unwrap_or(WINDOW)
}

/// The mean factor over the time since a restart.
pub(super) fn boot_factor(uptime: f64) -> f64 {
    1.0 + BOOT_EXCESS * BOOT_SECONDS / uptime * (1.0 - (-uptime / BOOT_SECONDS).exp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn excess_after_a_restart_fades() {
        assert!((boot_factor(0.001) - 5.0).abs() < 1e-3);
        assert!(boot_factor(60.0) < 4.0 && boot_factor(60.0) > boot_factor(600.0));
        assert!((boot_factor(1e9) - 1.0).abs() < 1e-6);
    }
}
